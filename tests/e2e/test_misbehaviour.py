"""Charge points that misbehave: the other side sees what was meant, and healthy rows stay clean."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.processes import CentralSystem, Locust, Run, run_locust

HEALTHY = {
    "OCPP/BootNotification", "OCPP/StatusNotification", "OCPP/Heartbeat", "WS/connect", "FLOW/online",
    "DUE/BootNotification", "DUE/StatusNotification", "DUE/Heartbeat", "WS/tcp", "WS/upgrade",
}  # fmt: skip

EACH = """
import gc
import gevent
import psutil
from locust import events, task
from ampswarm.load import ChargePointUser
from ampswarm.load.misbehaviour import Misdeed

class Healthy(ChargePointUser):
    fixed_count = 3

class _Bad(ChargePointUser):
    abstract = True
    fixed_count = 1
    misdeeds = ()

    @task
    def misdeed(self):
        self.wait_until(lambda: self.charge_point.is_online, 10)
        self.sleep(1)
        for misdeed, seconds in self.misdeeds:
            if not self.misbehave(misdeed, seconds):
                print("could not", misdeed)
            if self.misbehave(Misdeed.FLOOD):
                print("two at once")
            self.sleep(2)
        self.sleep(600)

class HalfOpen(_Bad):
    misdeeds = ((Misdeed.HALF_OPEN, 3),)

class NoPong(_Bad):
    misdeeds = ((Misdeed.NO_PONG, None),)

class Slow(_Bad):
    misdeeds = ((Misdeed.SLOW_READER, 0.7),)

class Twin(_Bad):
    misdeeds = ((Misdeed.DUPLICATE_IDENTITY, 1),)

class Broken(_Bad):
    misdeeds = ((Misdeed.MALFORMED, None), (Misdeed.SCHEMA_BREAKING, None), (Misdeed.STRAY_ANSWER, None))

class Flooding(_Bad):
    misdeeds = ((Misdeed.FLOOD, None),)

class _AtTheEnd(ChargePointUser):
    abstract = True
    fixed_count = 1

    @task
    def misdeed(self):
        self.sleep(7)
        self.misbehave(self.wrong)
        self.sleep(600)

class HalfOpenAtTheEnd(_AtTheEnd):
    wrong = Misdeed.HALF_OPEN

class TwinAtTheEnd(_AtTheEnd):
    wrong = Misdeed.DUPLICATE_IDENTITY

class SlowAtTheEnd(_AtTheEnd):
    wrong = Misdeed.SLOW_READER

@events.test_stop.add_listener
def count(**_):
    open_ones = [each for each in psutil.Process().net_connections() if each.status == "ESTABLISHED"]
    beside = [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet) and not each.dead]
    ours = [each for each in beside if "impersonate" in repr(each) or "reset" in repr(each)]
    print("left over:", len(open_ones), "sockets", len(ours), "greenlets")
"""


@pytest.fixture
def pinging(tmp_path: Path) -> Any:
    """A central system that pings every second."""
    with CentralSystem(
        tmp_path / "cs.log", "--boot-interval", "1", env={"HEARTBEAT_INT_MS": "1000"}
    ) as running:  # fmt: skip
        yield running


def misdeeds(run: Run) -> dict[str, tuple[int, int]]:
    """Return requests and failures of each misdeed."""
    return {
        name.removeprefix("MISBEHAVIOUR/"): (row.requests, row.failures)
        for name, row in run.rows.items()
        if name.startswith("MISBEHAVIOUR/")
    }


def test_each_misdeed_is_seen_for_what_it_is(pinging: CentralSystem, tmp_path: Path) -> None:
    """The central system counts each kind, every one has its row, and no healthy row has a failure.

    Nor does anything stay behind of those that Locust's stop meets in the middle of it.
    """
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(EACH)
    started = time.monotonic()
    run = run_locust(
        tmp_path, "--headless", "-t", "9s", "-u", "12", "--host", pinging.url, "--call-timeout", "2",
        "--reconnect-max", "1.2", locustfile=locustfile,
    )  # fmt: skip
    assert time.monotonic() - started < 15
    assert run.status == 0, run.output
    assert "could not" not in run.output
    assert "two at once" not in run.output
    assert "left over: 0 sockets 0 greenlets" in run.output
    expected = [
        "duplicate_identity", "flood", "half_open", "malformed", "no_pong", "schema_breaking", "slow_reader",
        "stray_answer",
    ]  # fmt: skip
    assert dict.fromkeys(expected, (1, 0)) == misdeeds(run)
    rows = run.rows
    assert {name for name in rows if not name.startswith(("MISBEHAVIOUR/", "/"))} == HEALTHY
    assert rows["/Aggregated"].failures == 0
    # One each at the start, and none for coming back after a misdeed.
    assert rows["WS/connect"].requests == rows["FLOW/online"].requests == 12
    assert rows["OCPP/BootNotification"].requests == 12
    summary = pinging.summary()
    seen = summary["events"]
    # Those without a PONG, half-open ones among them, were found by PINGs.
    assert seen["pings lost"] >= 2
    assert seen["connections replaced"] >= 1
    assert sum(count for name, count in seen.items() if name.startswith("malformed: ")) == 1
    assert seen["answers to no outstanding Call"] == 1
    assert 1 <= sum(summary["errors"].values()) <= 2
    # The flood is not among the Heartbeats that Locust counted.
    assert summary["calls"]["Heartbeat"] >= rows["OCPP/Heartbeat"].requests + 100
    assert summary["connections"] == 0


ONE_CALL_GOES_WRONG = """
from locust import task
from ampswarm.load import ChargePointUser
from ampswarm.load.misbehaviour import Misdeed

class Wrong(ChargePointUser):
    @task
    def wrong(self):
        self.wait_until(lambda: self.charge_point.is_online, 10)
        self.misbehave(Misdeed({misdeed!r}), {seconds})
        self.sleep(600)
"""


def run_while_a_call_goes_wrong(
    pinging: CentralSystem, tmp_path: Path, misdeed: str, seconds: float, *, calls_again: bool
) -> Run:
    """Let the central system call a charge point that has begun with a misdeed, and see its Call time out once."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(ONE_CALL_GOES_WRONG.format(misdeed=misdeed, seconds=seconds))
    with Locust(
        tmp_path, "--headless", "-t", "10s", "-u", "1", "--host", pinging.url, locustfile=locustfile
    ) as locust:  # fmt: skip
        pinging.wait_for(lambda line: line["event"] == "booted")
        status, answer = pinging.request("POST", "/api/v1/charge-points/CP000001/calls/ClearCache?timeout=1", {})
        assert status != 200, answer
        if calls_again:
            assert pinging.call("CP000001", "ClearCache") == {"status": "Accepted"}
        run = locust.wait()
    assert run.status == 0, run.output
    assert misdeeds(run) == {misdeed: (1, 0)}
    assert run.rows["/Aggregated"].failures == 0
    summary = pinging.summary()
    assert summary["calls_failed"] == {"TimedOut": 1}
    assert summary["events"]["answers to no outstanding Call"] == 1
    return run


def test_a_late_answer_comes_when_nobody_waits_for_it_any_more(pinging: CentralSystem, tmp_path: Path) -> None:
    """J 4.1.1: the Call has timed out, its answer comes later, and Heartbeats go on meanwhile."""
    run = run_while_a_call_goes_wrong(pinging, tmp_path, "late_answers", 2.5, calls_again=False)
    assert run.rows["OCPP/Heartbeat"].requests >= 3


def test_a_call_that_is_answered_under_a_wrong_id_times_out(pinging: CentralSystem, tmp_path: Path) -> None:
    """J 4.2.2: the central system gets an answer that nobody asked for, and none to its Call; the next one it gets."""
    run_while_a_call_goes_wrong(pinging, tmp_path, "wrong_id", 2, calls_again=True)


WRONG_CLOCK = """
[[populations]]
name = "healthy"
count = 3
connectors = 1

[[populations]]
name = "wrong clock"
count = 2
connectors = 4
identity_format = "ZONE-{}"
misbehaviour = {clock_skew_hours = -3}
"""


def test_a_clock_that_is_off_has_a_row_of_its_own(pinging: CentralSystem, tmp_path: Path) -> None:
    """Six StatusNotifications of clocks that are right, ten of clocks that are not; Heartbeats tell no time."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(WRONG_CLOCK)
    run = run_locust(
        tmp_path, "--headless", "-t", "4s", "--host", pinging.url, "--fleet", str(fleet), "--require-online"
    )  # fmt: skip
    assert run.status == 0, run.output
    assert misdeeds(run) == {"clock_skew": (10, 0)}
    rows = run.rows
    assert rows["OCPP/StatusNotification"].requests == 6
    assert rows["OCPP/BootNotification"].requests == rows["WS/connect"].requests == rows["FLOW/online"].requests == 5
    assert rows["/Aggregated"].failures == 0
    assert pinging.summary()["calls"]["StatusNotification"] == 16


FLEET = """
[[populations]]
name = "healthy"
count = 10
identity_format = "GOOD-{}"

[[populations]]
name = "clone"
count = 20
identity_format = "CLONE-{}"
misbehaviour = {schema_breaking = 1800}
"""


def test_a_population_misbehaves_as_often_as_its_file_says(pinging: CentralSystem, tmp_path: Path) -> None:
    """1800 an hour are one in two seconds from each; the others of the fleet are spared."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    run = run_locust(
        tmp_path, "--headless", "-t", "6s", "--host", pinging.url, "--fleet", str(fleet), "--seed", "7",
        "--require-online",
    )  # fmt: skip
    assert run.status == 0, run.output
    ((name, (count, failures)),) = misdeeds(run).items()
    assert (name, failures) == ("schema_breaking", 0)
    # Half a misdeed a second from each of 20, for some 5 s: 50, and four standard deviations to each side.
    assert 21 <= count <= 79
    assert run.rows["/Aggregated"].failures == 0
    guilty = {
        line.split("identity='")[1].split("'")[0] for line in run.output.splitlines() if "misbehaves identity" in line
    }
    assert guilty
    assert all(each.startswith("CLONE-") for each in guilty)
