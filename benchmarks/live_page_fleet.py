"""The locustfile of `benchmarks.live_page`: a fleet at everyday work, whose master has an hour behind it."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

from locust import events, task

from ampswarm.load import ChargePointUser, Vehicle
from ampswarm.load.fleet import fleet_of
from ampswarm.results.census import CONDITIONS, Count
from ampswarm.results.generators import REPORT_INTERVAL
from ampswarm.results.histogram import Histogram

if TYPE_CHECKING:
    from locust.env import Environment

PAST = int(os.environ.get("BENCH_PAST", "3600"))
"""Seconds."""
ACTIONS = (
    *("BootNotification", "Heartbeat", "StatusNotification"),
    *("Authorize", "StartTransaction", "MeterValues", "StopTransaction"),
)
ROWS = (
    *((kind, action) for kind in ("OCPP", "DUE") for action in ACTIONS),
    *(("WS", part) for part in ("connect", "tcp", "upgrade")),
    ("FLOW", "online"),
)


class ChargePoint(ChargePointUser):
    """Every third one charges; all send a Heartbeat as often as the central system wants."""

    @task
    def live(self) -> None:
        """Plug in and stay."""
        if self.charge_point and self.number % 3 == 0:
            self.plug_in(Vehicle(soc=20))
            self.start_charging("TAG")
        self.sleep(100_000)


def _on_init(environment: Environment, web_ui: object, **_: object) -> None:
    fleet = fleet_of(environment)

    def remember(**_: object) -> None:
        """Make the last hour: as many samples and rows as that many charge points and workers leave."""
        draw = random.Random(7)
        recorder, census = fleet.recorder, fleet.census.census
        recorder._began -= PAST  # noqa: SLF001  it is the benchmark's to set the clock
        if web_ui is None:
            return  # a worker has told all of it
        for second in range(PAST):
            for kind, name in ROWS:
                histogram = Histogram()
                for _sample in range(draw.randrange(5, 40)):
                    histogram.add(draw.lognormvariate(1.0, 0.6))
                recorder.timeline.add_all(kind, name, float(second), histogram)
        workers = [f"worker {number}" for number in range(20)]
        for at in range(0, PAST, int(REPORT_INTERVAL)):
            then = float(at)
            for worker in workers:
                counts = tuple(draw.randrange(100) for _ in CONDITIONS)
                census.accept(worker, [Count(3.0, counts, 3, 2, 1, 0, 40, at=then)], then)
            census.note(then, {"loop_lag_p99_ms": draw.random() * 5, "cpu_percent": draw.random() * 40})

    environment.events.test_start.add_listener(remember)


events.init.add_listener(_on_init)
