"""The README's own example, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.processes import ROOT, CentralSystem, run_locust


def test_the_scenario_of_the_readme_charges(central_system: CentralSystem, tmp_path: Path) -> None:
    """Twenty minutes are made two seconds; nothing else is changed."""
    readme = (ROOT / "README.md").read_text()
    block = re.search(r"### Your own scenario\n\n```python\n(.*?)```", readme, re.DOTALL)
    assert block is not None
    example = block[1]
    code = [line for line in example.splitlines() if line.strip()]
    assert len(code) <= 15
    shortened = example.replace("20 * 60", "2").replace("between(60, 600)", "between(0.1, 0.2)")
    assert shortened.count("\n") == example.count("\n")
    (tmp_path / "scenario.py").write_text(shortened)
    run = run_locust(
        tmp_path, "--headless", "-t", "8s", "-u", "3", "--host", central_system.url, locustfile=tmp_path / "scenario.py"
    )
    assert run.status == 0, run.output
    assert run.rows["OCPP/StartTransaction"].requests >= 6
    assert run.rows["OCPP/StopTransaction"].requests >= 6
    assert run.rows["/Aggregated"].failures == 0
