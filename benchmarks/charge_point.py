"""CPU and memory of one charge point without sockets or Locust: `python -m benchmarks.charge_point`.

A central system that answers at once, on a manual clock; both sides' JSON counts, validation by the
charge point counts, the central system's does not exist.
"""

from __future__ import annotations

import json
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.ocppj.session import UniqueIds

RANDOM = Random(1)
TIME = "2026-01-01T00:00:00Z"
INFO = {"idTagInfo": {"status": "Accepted"}}
ANSWERS: dict[str, dict[str, Any]] = {
    "Authorize": INFO,
    "BootNotification": {"status": "Accepted", "currentTime": TIME, "interval": 86400},
    "Heartbeat": {"currentTime": TIME},
    "MeterValues": {},
    "StartTransaction": {"transactionId": 1, **INFO},
    "StatusNotification": {},
    "StopTransaction": {},
}
EVERYTHING = (
    "Energy.Active.Import.Register,Energy.Active.Import.Interval,Power.Active.Import,Power.Offered,"
    "Current.Import,Current.Offered,Voltage,Temperature,Frequency"
)


class Bench:
    """One charge point, booted."""

    def __init__(self, template: Template, ids: UniqueIds) -> None:
        self.now = 0.0
        self.charge_point = ChargePoint("CP1", template, unique_ids=ids, random=RANDOM, utc_offset=1.7e9)
        self.charge_point.power_on(0.0)
        assert self.charge_point.attempt(0.0)
        self.charge_point.opened(0.0)
        self.converse()

    def converse(self) -> int:
        """Let it send what it has to, and answer; return how many Calls that were."""
        calls = 0
        while texts := self.charge_point.poll(self.now):
            for text in texts:
                _, unique_id, action, _ = json.loads(text)
                self.charge_point.receive(json.dumps([3, unique_id, ANSWERS[action]]), self.now)
                calls += 1
            self.charge_point.take_events()
        return calls

    def charge(self, seconds: float) -> int:
        """Run a whole session; return how many Calls that were."""
        charging = self.charge_point.charging(self.now)
        charging.plug_in(1, Vehicle(battery=1e9), self.now)
        charging.present(1, "TAG1", self.now)
        calls = self.converse()
        end = self.now + seconds
        while (due := self.charge_point.next_deadline()) < end:
            self.now = due
            calls += self.converse()
        self.now = end
        charging.present(1, "TAG1", self.now)
        charging.unplug(1, self.now)
        return calls + self.converse()


def microseconds(work: Callable[[], int]) -> tuple[float, int]:
    """Return the CPU time of some work in us, divided by what it says that it did."""
    best, count = float("inf"), 0
    for _ in range(3):
        began = time.process_time()
        count = work()
        best = min(best, (time.process_time() - began) / count * 1e6)
    return best, count


def kibibytes(make: Callable[[], object], count: int = 500) -> float:
    """Return the KiB that each object made takes."""
    make()
    tracemalloc.start()
    kept = [make() for _ in range(count)]
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept
    return used / count / 1024


def main() -> None:
    """Measure and print."""
    ids = UniqueIds("b-")
    plain = Template(settings=(("MeterValueSampleInterval", "60"), ("ClockAlignedDataInterval", "0")))
    rich = Template(settings=(("MeterValueSampleInterval", "60"), ("MeterValuesSampledData", EVERYTHING)))
    beating = Template()
    print(f"Python {platform.python_version()}, {platform.machine()}", file=sys.stderr)

    def heartbeats() -> int:
        bench = Bench(beating, ids)
        for _ in range(20_000):
            bench.now += 86_400
            bench.converse()
        return 20_000

    def sessions() -> int:
        bench = Bench(plain, ids)
        for _ in range(1000):
            bench.charge(1.0)
        return 1000

    def samples(template: Template) -> Callable[[], int]:
        return lambda: Bench(template, ids).charge(60.0 * 10_000)

    def charging() -> object:
        bench = Bench(plain, ids)
        connectors = bench.charge_point.charging(0.0)
        connectors.plug_in(1, Vehicle(), 0.0)
        connectors.present(1, "TAG1", 0.0)
        bench.converse()
        return bench.charge_point

    def cut_off() -> object:
        bench = Bench(rich, ids)
        connectors = bench.charge_point.charging(0.0)
        connectors.plug_in(1, Vehicle(battery=1e9), 0.0)
        connectors.present(1, "TAG1", 0.0)
        bench.converse()
        bench.charge_point.lost(0.0)
        bench.charge_point.advance(100 * 60.0)
        assert bench.charge_point.unsent == 100
        return bench.charge_point

    for name, work in (
        ("Heartbeat", heartbeats),
        ("MeterValues, 2 measurands", samples(plain)),
        ("MeterValues, 9 measurands", samples(rich)),
        ("session of 8 Calls, without MeterValues", sessions),
    ):
        cost, count = microseconds(work)
        print(f"{name:44}{cost:9.1f} us each, of {count}")
    print(f"{'idle charge point':44}{kibibytes(lambda: Bench(plain, ids).charge_point):9.2f} KiB of objects")
    print(f"{'charging charge point':44}{kibibytes(charging):9.2f} KiB of objects")
    queued = (kibibytes(cut_off, 100) - kibibytes(charging, 100)) / 100
    print(f"{'MeterValues of 9 measurands in the outbox':44}{queued:9.2f} KiB each")


if __name__ == "__main__":
    main()
