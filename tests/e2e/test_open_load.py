"""Open load against a real central system: everything that was planned arrives, however slow the target is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import ROOT, CentralSystem, Locust, free_port, run_locust, until

OPEN_LOAD = ROOT / "locustfiles" / "open_load.py"
SLOW = """
[[delays]]
actions = ["Heartbeat"]
seconds = 0.5
"""


def test_arrivals_on_two_workers_are_the_planned_ones_to_the_message(tmp_path: Path) -> None:
    """The recorded times are on the master alone; what was planned, handed out, answered and counted is the same."""
    times = tmp_path / "times.csv"
    times.write_text("seconds\n" + "".join(f"{number * 0.013:.3f}\n" for number in range(300)))
    with CentralSystem(tmp_path / "cs.log") as central_system:
        run = run_locust(
            tmp_path, "--headless", "-t", "20s", "-u", "24", "-r", "24", "--processes", "2",
            "--host", central_system.url, "--arrivals", f'replay "{times}", poisson 50/s for 4s',
            "--arrivals-of", "DataTransfer", "--seed", "5", locustfile=OPEN_LOAD,
        )  # fmt: skip
        calls = central_system.summary()["calls"]
    assert run.status == 0, run.output
    rows = run.rows
    planned = rows["OCPP/DataTransfer"].requests
    assert 300 + 200 - 60 < planned < 300 + 200 + 60
    assert calls["DataTransfer"] == planned == rows["DUE/DataTransfer"].requests
    assert (
        f"open load: {planned} arrivals of DataTransfer were planned, {planned} were handed to charge points: "
        f"{planned} answered, 0 without an answer, 0 unfinished at the end, 0 turned away"
    ) in run.output


def test_a_slow_target_gets_no_less_and_its_queue_is_in_due(tmp_path: Path) -> None:
    """160 messages in 4 s to 10 charge points that get 2 answers a second each: the last ones wait for about 4 s."""
    chaos = tmp_path / "chaos.toml"
    chaos.write_text(SLOW)
    with CentralSystem(tmp_path / "cs.log", "--chaos", str(chaos)) as central_system:
        run = run_locust(
            tmp_path, "--headless", "-t", "24s", "-u", "10", "-r", "10", "--host", central_system.url,
            "--arrivals", "constant 40/s for 4s", "--arrivals-of", "Heartbeat", locustfile=OPEN_LOAD,
        )  # fmt: skip
        calls = central_system.summary()["calls"]
    assert run.status == 0, run.output
    wire, due = run.rows["OCPP/Heartbeat"], run.rows["DUE/Heartbeat"]
    assert calls["Heartbeat"] == wire.requests == due.requests == 160
    # Arrival n of a charge point is due after n / 4 s, and answered after (n + 1) / 2 s at the earliest: n is 0 to 15.
    assert wire.average >= 500
    assert due.average >= 500 + 1000 * sum(number / 4 for number in range(16)) / 16 - 50
    assert due.maximum >= 500 + 15 / 4 * 1000 - 50


def test_charge_points_arrive_as_planned_on_two_workers(tmp_path: Path) -> None:
    """The test ends by itself when all have come; each boots once, and comes in its turn."""
    with CentralSystem(tmp_path / "cs.log") as central_system:
        run = run_locust(
            tmp_path, "--headless", "--processes", "2", "--host", central_system.url,
            "--arrivals", "ramp 0/s to 20/s over 4s", "--arrivals-of", "charge-points", locustfile=OPEN_LOAD,
        )  # fmt: skip
        connected = [line["identity"] for line in central_system.lines("connected")]
        calls = central_system.summary()["calls"]
    assert run.status == 0, run.output
    assert calls["BootNotification"] == run.rows["FLOW/online"].requests == 40
    assert sorted(connected) == [f"CP{number:06d}" for number in range(1, 41)]
    # Those of the first seconds of a ramp are far from each other: nothing comes in bursts.
    assert connected[:3] == ["CP000001", "CP000002", "CP000003"]


def test_drivers_arrive_and_charge(tmp_path: Path) -> None:
    """Two to each of 10 connectors: the first ones charge, the others drive on."""
    with CentralSystem(tmp_path / "cs.log") as central_system:
        run = run_locust(
            tmp_path, "--headless", "-t", "16s", "-u", "10", "-r", "10", "--host", central_system.url,
            "--arrivals", "constant 10/s for 2s", "--arrivals-of", "drivers", "--acceleration", "60",
            locustfile=OPEN_LOAD,
        )  # fmt: skip
        calls = central_system.summary()["calls"]
    assert run.status == 0, run.output
    assert "20 arrivals of drivers were planned, 20 were handed to charge points: 10 came" in run.output
    assert "10 turned away" in run.output
    assert calls["StartTransaction"] == 10


def test_arrivals_without_their_charge_point_are_counted(tmp_path: Path) -> None:
    """Half of the fleet is not there yet when messages are due: none of them is just forgotten."""
    with CentralSystem(tmp_path / "cs.log") as central_system:
        run = run_locust(
            tmp_path, "--headless", "-t", "12s", "-u", "20", "-r", "2", "--arrivals-after", "0",
            "--host", central_system.url, "--arrivals", "constant 20/s for 4s", locustfile=OPEN_LOAD,
        )  # fmt: skip
        calls = central_system.summary()["calls"]
    assert run.status == 0, run.output
    assert "open load: 80 arrivals of MeterValues were planned" in run.output
    handed = calls["MeterValues"]
    assert 0 < handed < 60
    assert f"open load: {80 - handed} arrivals had no charge point" in run.output


def test_a_worker_that_comes_late_takes_on_its_part(tmp_path: Path) -> None:
    """Locust moves charge points to it, which have new numbers there: the arrivals of those that went become theirs."""
    port = free_port()
    master = ("--headless", "--master", "--master-bind-port", str(port), "--expect-workers", "1")
    worker = ("--worker", "--master-port", str(port))
    with (
        CentralSystem(tmp_path / "cs.log") as central_system,
        Locust(
            tmp_path, *master, "--enable-rebalancing", "-t", "34s", "-u", "20", "-r", "20",
            "--host", central_system.url, "--arrivals", "constant 40/s for 10s", "--arrivals-after", "16",
            locustfile=OPEN_LOAD, name="master",
        ) as running,
        Locust(tmp_path, *worker, locustfile=OPEN_LOAD, name="one"),
    ):  # fmt: skip
        until(lambda: len(central_system.lines("connected")) == 20)
        with Locust(tmp_path, *worker, locustfile=OPEN_LOAD, name="two"):
            run = running.wait()
        connected = {line["identity"] for line in central_system.lines("connected")}
        calls = central_system.summary()["calls"]
    assert run.status == 0, run.output
    assert len(connected) > 20
    # All of them, but for what is due while charge points move: on a slow machine, that takes until the arrivals begin.
    assert run.rows["OCPP/MeterValues"].requests == calls["MeterValues"]
    assert 320 <= calls["MeterValues"] <= 400


OWN_SHAPE = """
from locust import LoadTestShape
from ampswarm.load import ChargePointUser

class Shape(LoadTestShape):
    def tick(self):
        return 1, 1.0

class ChargePoint(ChargePointUser):
    pass
"""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--arrivals", "constant 5"], "--arrivals or AMPSWARM_ARRIVALS: '5' where a rate as in 50/s"),
        (["--arrivals", "replay no-such.csv"], "AMPSWARM_ARRIVALS: no-such.csv: no such file"),
        (["--arrivals", "replay bad.csv"], "bad.csv: line 3: seconds: 'x' is not a number of 0 or more"),
        (["--arrivals-of", "heartbeats"], "AMPSWARM_ARRIVALS_OF: 'heartbeats' is none of: charge-points, drivers"),
        (
            ["--arrivals", "constant 5/s", "--arrivals-of", "charge-points"],
            "the locustfile has a load shape of its own",
        ),
    ],
)
def test_a_mistake_ends_it_before_the_start(tmp_path: Path, args: list[str], said: str) -> None:
    """One line, status 2, and no charge point has connected."""
    bad = tmp_path / "bad.csv"
    bad.write_text("seconds\n1\nx\n")
    locustfile = tmp_path / "own_shape.py"
    locustfile.write_text(OWN_SHAPE)
    given = [each.replace("bad.csv", str(bad)) for each in args]
    run = run_locust(tmp_path, "--headless", "-t", "1s", *given, locustfile=locustfile)
    assert run.status == 2, run.output
    errors = [line for line in run.output.splitlines() if ": error: " in line]
    assert len(errors) == 1, run.output
    assert said in errors[0]
    assert "Traceback" not in run.output
