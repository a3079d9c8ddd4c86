"""The scenarios that the documentation shows, run as it says, but for a shorter time."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.processes import ROOT, CentralSystem, run_locust

PAGE = (ROOT / "docs" / "how-to" / "scenario.md").read_text()
SCENARIOS = dict(re.findall(r"```python\n# scenario: (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
SECONDS = {"commuter.py": 9, "town.py": 16, "by_population.py": 8}


def command_of(name: str) -> list[str]:
    """Return the arguments with which the page starts a scenario."""
    found = re.search(rf"```sh\nlocust -f {re.escape(name)} (.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return shlex.split(found[1].replace("\\\n", " "))


def test_there_are_no_others() -> None:
    """A scenario that is added to the page is run here as well."""
    assert sorted(SCENARIOS) == sorted(SECONDS)


@pytest.mark.parametrize("name", sorted(SECONDS))
def test_a_scenario_of_the_page_runs_as_it_says(name: str, tmp_path: Path, central_system: CentralSystem) -> None:
    """Whoever copies it has something that works to begin with."""
    code = SCENARIOS[name]
    if name == "commuter.py":
        # As the page says for whoever looks at one charge point.
        code = code.replace("20 * 60", "4").replace("between(60, 600)", "between(1, 2)")
    # A storm that never comes makes a run invalid.
    code = code.replace("at=60s share=30% kind=network for=5s", "at=2s share=30% kind=network for=1s")
    (tmp_path / name).write_text(code)
    args = command_of(name)
    args[args.index("--host") + 1] = central_system.url
    if "--fleet" in args:
        args[args.index("--fleet") + 1] = str(ROOT / args[args.index("--fleet") + 1])
    for flag, value in (("--run-time", f"{SECONDS[name]}s"), ("--operator-api", central_system.admin)):
        if flag in args:
            args[args.index(flag) + 1] = value
        else:
            args += [flag, value]
    run = run_locust(tmp_path, *args, "--headless", "--reconnect-max", "1", locustfile=tmp_path / name)
    assert run.status == 0, run.output
    assert "Traceback" not in run.output
    assert run.rows["OCPP/StartTransaction"].requests > 0
