"""The capacity of a central system that was told to have one, found within 10 % of it."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from ampswarm.results.report import load
from tests.processes import ROOT, CentralSystem, Locust, Run, run_locust, until

CAPACITY = ROOT / "locustfiles" / "capacity.py"
LIMIT = 40
SLOW = """
[[delays]]
actions = ["Heartbeat"]
seconds = 0.1
"""


def search(tmp_path: Path, central_system: CentralSystem, *args: str, locustfile: Path = CAPACITY) -> Run:
    with Locust(
        tmp_path, "--headless", "--host", central_system.url, "--capacity-settle", "1",
        "--capacity-out", str(tmp_path / "out"), *args, locustfile=locustfile,
    ) as locust:  # fmt: skip
        return locust.wait(180)


def found(tmp_path: Path) -> dict[str, Any]:
    svg = ET.fromstring((tmp_path / "out" / "capacity.svg").read_text())
    report: dict[str, Any] = json.loads((tmp_path / "out" / "capacity.json").read_text())
    dots = svg.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(dots) >= len(report["trials"])
    return report


def test_the_number_of_connections_that_a_central_system_takes_is_found(tmp_path: Path) -> None:
    """`--max-connections`: the fleet steps over it, comes back, and holds the edge for longer."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1", "--max-connections", str(LIMIT)) as central_system:
        run = search(
            tmp_path, central_system, "--capacity-from", "16", "--capacity-step", "16", "--capacity-to", "1000",
            "--capacity-precision", "10", "--capacity-hold", "1", "--capacity-patience", "4",
            *("--slo", "OCPP/* p99 < 10s"),
            *("--report-json", str(tmp_path / "run.json"), "--junit-xml", str(tmp_path / "run.xml")),
            *("--summary-md", str(tmp_path / "run.md")),
        )  # fmt: skip
    assert run.status == 0, run.output
    report = found(tmp_path)
    assert report["outcome"] == "found"
    assert 0.9 * LIMIT <= report["capacity"] <= LIMIT
    assert f"capacity: the target holds {report['capacity']} charge points" in run.output
    last = report["trials"][-1]
    assert last["held"]
    assert last["purpose"] == "confirm"
    assert last["before"] - last["after"] == 2
    assert last["achieved"] >= report["capacity"]
    assert last["calls"] > 0
    # At least one load was too much, and says so.
    assert any("charge points were online 4 s after the last began" in trial["reason"] for trial in report["trials"])
    # And each file for a pipeline says what was found.
    sentence = f"the target holds {report['capacity']} charge points"
    whole = load(tmp_path / "run.json").data
    assert whole["verdict"]["found"] == {"status": "passed", "text": sentence}
    assert (whole["verdict"]["status"], whole["verdict"]["exit_status"]) == ("passed", 0)
    case = ET.parse(tmp_path / "run.xml").find(".//testcase[@name='what the scenario found']/system-out")
    assert case is not None
    assert case.text == sentence
    assert (tmp_path / "run.md").read_text().startswith(f"# Passed: {sentence}\n")


def test_the_rate_of_messages_that_a_central_system_takes_is_found(tmp_path: Path) -> None:
    """20 charge points with one outstanding Call, each answered 100 ms late: 200 in a second, and not one more.

    The wire time is 100 ms whatever the load is: only what counts from the due time shows the edge.
    """
    chaos = tmp_path / "chaos.toml"
    chaos.write_text(SLOW)
    with CentralSystem(tmp_path / "cs.log", "--chaos", str(chaos)) as central_system:
        run = search(
            tmp_path, central_system, "-u", "20", "-r", "20", "--capacity-of", "messages", "--arrivals-of", "Heartbeat",
            "--capacity-from", "185", "--capacity-step", "30", "--capacity-to", "1000", "--capacity-precision", "15",
            "--capacity-hold", "3", "--capacity-patience", "20", "--capacity-p99", "0.5",
        )  # fmt: skip
    assert run.status == 0, run.output
    report = found(tmp_path)
    assert report["outcome"] == "found"
    assert 180 <= report["capacity"] <= 220
    last = report["trials"][-1]
    assert last["achieved"] == pytest.approx(report["capacity"], rel=0.06)
    assert report["action"] == "Heartbeat"


GIVES_UP = """
import time
from locust import task
from ampswarm.load import ChargePointUser
from ampswarm.load.capacity import CapacitySearch

class ChargePoint(ChargePointUser):
    @task
    def live(self):
        # More than four are too many for this process.
        while len(self.environment.ampswarm.charge_points) <= 4:
            self.sleep(0.2)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            pass
        self.sleep(1000)
"""


def test_it_says_when_it_was_the_generator_that_gave_up(central_system: CentralSystem, tmp_path: Path) -> None:
    """Status 4, and what held until then: the number of a starved generator is none of the target's."""
    locustfile = tmp_path / "gives_up.py"
    locustfile.write_text(GIVES_UP)
    run = search(
        tmp_path, central_system, "--capacity-from", "3", "--capacity-hold", "1", "--capacity-to", "9",
        *("--report-json", str(tmp_path / "run.json"), "--junit-xml", str(tmp_path / "run.xml")),
        locustfile=locustfile,
    )  # fmt: skip
    assert run.status == 4, run.output
    report = found(tmp_path)
    assert (report["outcome"], report["capacity"]) == ("generator", 3)
    assert "its loop was " in report["reason"]
    sentence = "the load generator gave up, not the target, which held 3 charge points"
    assert sentence in run.output
    whole = load(tmp_path / "run.json").data
    assert (whole["verdict"]["status"], whole["verdict"]["exit_status"]) == ("invalid", 4)
    assert sentence in whole["verdict"]["found"]["text"]
    assert whole["capacity"] == report
    assert ET.parse(tmp_path / "run.xml").find(".//testcase[@name='what the scenario found']/error") is not None


def test_a_target_that_holds_all_and_one_that_holds_nothing(central_system: CentralSystem, tmp_path: Path) -> None:
    """`at least` and status 0; nothing and status 3."""
    args = ("--capacity-from", "2", "--capacity-step", "2", "--capacity-to", "3", "--capacity-hold", "1")
    run = search(tmp_path, central_system, *args, "--processes", "2")
    assert run.status == 0, run.output
    assert (found(tmp_path)["outcome"], found(tmp_path)["capacity"]) == ("at least", 3)
    central_system.stop()
    run = search(tmp_path, central_system, "--capacity-from", "1", "--capacity-to", "1", "--capacity-patience", "2")
    assert run.status == 3, run.output
    assert found(tmp_path)["outcome"] == "nothing"


def test_a_search_that_is_ended_has_its_evidence(central_system: CentralSystem, tmp_path: Path) -> None:
    """`--run-time` and Ctrl-C: what held until then is on file, and Locust's own status stays."""
    args = ("--capacity-from", "2", "--capacity-hold", "1")
    run = search(tmp_path, central_system, *args, "--run-time", "8s")
    assert run.status == 0, run.output
    assert found(tmp_path)["outcome"] == "interrupted"
    assert "messages" not in run.output.split("capacity: interrupted; ")[1].splitlines()[0]
    with Locust(
        tmp_path, "--headless", "--host", central_system.url, "--capacity-out", str(tmp_path / "again"), *args,
        locustfile=CAPACITY, name="again",
    ) as locust:  # fmt: skip
        until(lambda: "capacity: trying 2" in (tmp_path / "again.log").read_text())
        locust.process.send_signal(signal.SIGINT)
        run = locust.wait()
    assert "capacity: interrupted; 0 charge points held until then" in run.output
    assert json.loads((tmp_path / "again" / "capacity.json").read_text())["outcome"] == "interrupted"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--capacity-of", "drivers"], "'drivers' is none of: charge-points, messages"),
        (["--capacity-from", "50", "--capacity-to", "10"], "must begin at 1 or more and end above that"),
        (
            ["--capacity-of", "messages", "--arrivals-of", "drivers"],
            "--arrivals-of: messages are Heartbeat, MeterValues",
        ),
        (["--arrivals", "constant 5/s"], "--arrivals: a search for capacity has arrivals of its own"),
        (["--slo", "OCPP/* p99 < 1s after 5s"], "a search judges each load in its own time: neither after nor before"),
        (["--capacity-out", "/proc/no"], "--capacity-out /proc/no: No such file or directory"),
    ],
)
def test_a_mistake_ends_it_before_the_start(tmp_path: Path, args: list[str], said: str) -> None:
    """One line and status 2."""
    run = run_locust(tmp_path, "--headless", *args, locustfile=CAPACITY)
    assert run.status == 2, run.output
    errors = [line for line in run.output.splitlines() if ": error: " in line]
    assert len(errors) == 1, run.output
    assert said in errors[0]
