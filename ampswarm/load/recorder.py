"""Every sample of a run, second by second: what SLOs, storms and reports read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from locust.runners import WorkerRunner

from ampswarm.results.timeline import Timeline

if TYPE_CHECKING:
    from locust.env import Environment

    from ampswarm.load.reports import Reports


class Recorder:
    """The timeline of a process, and on the master that of the run.

    Args:
        environment: Locust's. All that is reported to its `request` event is recorded, a scenario's own too.
        reports: how a worker's part comes to the master.
    """

    def __init__(self, environment: Environment, reports: Reports) -> None:
        self._environment = environment
        self.timeline = Timeline()
        """On a worker only what has not been reported yet."""
        self._began = time.monotonic()
        self._ended: float | None = None
        self.was_reset: Callable[[], None] = lambda: None
        """Called when the statistics are reset: what was before is gone."""
        listen = environment.events
        listen.request.add_listener(self._on_request)
        listen.reset_stats.add_listener(lambda **_: self._reset())
        listen.test_stopping.add_listener(lambda **_: self._end())
        if environment.reset_stats:
            listen.spawning_complete.add_listener(lambda **_: self._reset())
        if isinstance(environment.runner, WorkerRunner):
            reports.add("timeline", self.timeline.take, _nobody)
        else:
            reports.add(
                "timeline", _nothing, lambda worker, packed: self.timeline.accept(packed, reports.later(worker))
            )

    def begin(self) -> None:
        """A test begins: its times count from now."""
        self._began = time.monotonic()
        self._ended = None
        self.timeline.clear()

    @property
    def elapsed(self) -> float:
        """Seconds since the test began, until it ends."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def time(self) -> float:
        """The same, and it goes on after the end."""
        return time.monotonic() - self._began

    def view(self, kind: str, name: str, milliseconds: float, exception: Exception | None = None) -> None:
        """Count another view of what is counted already: in Locust's table, and not in its Aggregated row."""
        self.timeline.add(kind, name, time.monotonic() - self._began, milliseconds, failed=exception is not None)
        # Not by the `request` event, which counts in the Aggregated row too.
        entry = self._environment.stats.entries[(name, kind)]
        entry.log(milliseconds, 0)  # type: ignore[arg-type]
        if exception is not None:
            entry.log_error(exception)

    def _end(self) -> None:
        self._ended = self._ended or time.monotonic()

    def _reset(self) -> None:
        self.timeline.clear(self.elapsed)
        self.was_reset()

    def _on_request(
        self,
        request_type: str,
        name: str,
        response_time: float | None,
        exception: object = None,
        **_: object,
    ) -> None:
        at = time.monotonic() - self._began
        self.timeline.add(request_type, name, at, response_time, failed=exception is not None)


def _nothing() -> None:
    return None


def _nobody(_worker: str, _packed: object) -> None:
    """Take the place of a part that has nothing to accept."""
