"""What is measured in all processes comes together in the timeline of the one that judges."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from locust.runners import LocalRunner, WorkerRunner

from ampswarm.results.timeline import Timeline

if TYPE_CHECKING:
    from locust.env import Environment

    from ampswarm.load.fleet import Fleet


def collect(environment: Environment, fleet: Fleet) -> None:
    """Fill the fleet's timeline, and bring together what became of arrivals, and how many are online."""
    mine = fleet.timeline if isinstance(environment.runner, LocalRunner) else Timeline()
    began = time.monotonic()

    def note(request_type: str, name: str, response_time: float, exception: Any, **_: object) -> None:  # noqa: ANN401
        mine.add(request_type, name, time.monotonic() - began, response_time, failed=exception is not None)

    def begin() -> None:
        nonlocal began
        began = time.monotonic()
        mine.clear()
        fleet.timeline.clear()

    environment.events.test_start.add_listener(lambda **_: begin())
    if not isinstance(environment.runner, LocalRunner):
        fleet.reports.add("timeline", mine.take, lambda _, taken: fleet.timeline.accept(taken))
    if isinstance(environment.runner, (LocalRunner, WorkerRunner)):
        environment.events.request.add_listener(note)
    fleet.open_load.report_by(fleet.reports)
