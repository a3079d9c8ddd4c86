"""Latency that tells the truth of a target that stalls: coordinated omission does not hide it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ampswarm.results.histogram import Histogram
from ampswarm.results.report import load
from tests.processes import CentralSystem, Locust, until

FLEET = 20
STALL = 5.0
SLOW = 1500.0
"""Milliseconds: whatever took as long waited for the stall."""


def slow(histogram: Histogram) -> list[float]:
    """Return the times of all that waited for the stall, in seconds."""
    return sorted(
        milliseconds / 1000
        for milliseconds, count in histogram.counts.items()
        for _ in range(count)
        if milliseconds > SLOW
    )


def test_a_stall_is_in_every_heartbeat_that_was_due(tmp_path: Path) -> None:
    """Each charge point has one Heartbeat on the wire when all stands still for 5 s, and the next one is due a second
    after that one was sent. The wire time shows the first, between 4 and 5 s, and the second as if nothing had been;
    since it was due, the second took a second less than the first.
    """
    report = tmp_path / "report.json"
    with (
        CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as central_system,
        Locust(
            tmp_path, "--headless", "-u", f"{FLEET}", "-r", f"{FLEET}", "-t", "16s", "--host", central_system.url,
            "--report-json", str(report), "--slo", "OCPP/Heartbeat p50 < 1s",
        ) as locust,
    ):  # fmt: skip
        for number in range(1, FLEET + 1):
            central_system.wait_for(lambda line, name=f"CP{number:06d}": line.get("identity") == name)  # type: ignore[misc]
        time.sleep(3)  # everybody beats for a while: there is no event to wait for
        assert central_system.request("POST", "/api/v1/chaos/stalls", {"seconds": STALL})[0] < 300
        run = locust.wait()
    assert run.status == 0, run.output
    histograms = load(report).histograms()
    wire, due = slow(histograms["OCPP/Heartbeat"]), slow(histograms["DUE/Heartbeat"])
    assert len(wire) == FLEET
    assert len(due) == 2 * FLEET
    # Sent at any time in a second's beat.
    assert all(STALL - 1 - 0.1 <= each <= STALL + 0.5 for each in wire), wire
    second, first = due[:FLEET], due[FLEET:]
    assert sum(first) / FLEET == pytest.approx(sum(wire) / FLEET, abs=0.1)
    assert sum(second) / FLEET == pytest.approx(sum(wire) / FLEET - 1, abs=0.2)
    # And so the percentiles: one in ten beats was slow on the wire, and one in five was late.
    assert histograms["OCPP/Heartbeat"].percentile(83) < SLOW < histograms["DUE/Heartbeat"].percentile(83)


CHARGING = """
from locust import task
from ampswarm.load import ChargePointUser, Vehicle

class Station(ChargePointUser):
    @task
    def charge(self):
        self.plug_in(Vehicle(soc=20))
        assert self.start_charging("TAG1")
        self.sleep(1000)
"""
METERING = f"""
[[populations]]
name = "posts"
count = {FLEET}
[populations.configuration]
MeterValueSampleInterval = 1
"""


def test_a_stall_is_in_every_sample_that_was_due_while_one_was_on_the_wire(tmp_path: Path) -> None:
    """A sample each second, one on the wire for the whole stall: those that became due behind it took a second less
    each, and none of them shows in the wire time.
    """
    (tmp_path / "charging.py").write_text(CHARGING)
    (tmp_path / "fleet.toml").write_text(METERING)
    report = tmp_path / "report.json"
    with (
        CentralSystem(tmp_path / "cs.log", "--boot-interval", "60", "--store", "memory") as central_system,
        Locust(
            tmp_path, "--headless", "-u", f"{FLEET}", "-r", f"{FLEET}", "-t", "16s", "--host", central_system.url,
            "--fleet", str(tmp_path / "fleet.toml"), "--report-json", str(report), "--slo", "OCPP/MeterValues p50 < 1s",
            locustfile=tmp_path / "charging.py",
        ) as locust,
    ):  # fmt: skip
        until(lambda: central_system.request("GET", "/api/v1/ledger")[1]["open"] == FLEET)
        time.sleep(3)  # everybody measures for a while: there is no event to wait for
        assert central_system.request("POST", "/api/v1/chaos/stalls", {"seconds": STALL})[0] < 300
        run = locust.wait()
    assert run.status == 0, run.output
    histograms = load(report).histograms()
    wire, due = slow(histograms["OCPP/MeterValues"]), slow(histograms["DUE/MeterValues"])
    assert len(wire) == FLEET
    mean = sum(wire) / FLEET
    assert STALL - 1 - 0.1 <= mean <= STALL + 0.5
    # Of each charge point the one on the wire, and those that were due one, two and perhaps three seconds later.
    assert 3 * FLEET <= len(due) <= 4 * FLEET
    assert sum(due[-3 * FLEET :]) / FLEET == pytest.approx(mean + (mean - 1) + (mean - 2), abs=0.4)
