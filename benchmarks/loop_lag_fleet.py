"""The locustfile of `benchmarks.loop_lag`: a steady fleet whose generators say how late their loops were."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import locust.argument_parser
from locust import constant, events, task

from ampswarm.load import ChargePointUser
from ampswarm.load.fleet import fleet_of

if TYPE_CHECKING:
    from locust.env import Environment


class ChargePoint(ChargePointUser):
    """Connects, boots, and sends a Heartbeat each second, as the central system asks it to."""

    wait_time = constant(3600)

    @task
    def live(self) -> None:
        """Do nothing of its own."""


def _on_init(**_: object) -> None:
    if os.environ.get("BENCH_NO_CACHE"):
        # As Locust has it: `ampswarm.load.fleet` has wrapped it by now.
        cached: Any = locust.argument_parser.default_args_dict
        locust.argument_parser.default_args_dict = cached.__wrapped__


def _on_quitting(environment: Environment, **_: object) -> None:
    file = os.environ.get("BENCH_RESULT")
    if file and not hasattr(environment.runner, "worker_state"):
        fleet = fleet_of(environment)
        fleet.reports.finish()
        Path(file).write_text(json.dumps(fleet.health.section()))


events.init.add_listener(_on_init)
events.quitting.add_listener(_on_quitting)
