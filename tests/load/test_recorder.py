"""The time of a test, and what is left of it after a reset."""

from __future__ import annotations

from typing import Any

import gevent
from locust.env import Environment

from ampswarm.load.recorder import Recorder


class NoReports:
    """A process that is alone."""

    def add(self, *_: Any) -> None:
        """There is nobody to report to."""


def test_the_time_of_a_test_stands_still_when_it_ends() -> None:
    """SLOs on a page would be missed by and by, of a test that is over."""
    environment = Environment()
    recorder = Recorder(environment, NoReports())  # type: ignore[arg-type]
    recorder.begin()
    environment.events.test_stopping.fire(environment=environment)
    ended = recorder.elapsed
    gevent.sleep(0.01)
    assert recorder.elapsed == ended < recorder.time
    recorder.begin()
    gevent.sleep(0.01)
    assert 0 < recorder.elapsed < ended + 1


def test_a_reset_is_told() -> None:
    """Whoever judges what is left has to know that something is not."""
    environment = Environment()
    recorder = Recorder(environment, NoReports())  # type: ignore[arg-type]
    told: list[float] = []
    recorder.was_reset = lambda: told.append(recorder.timeline.since)
    recorder.begin()
    gevent.sleep(0.01)
    environment.events.reset_stats.fire()
    assert told == [recorder.timeline.since]
    assert 0 < told[0] <= recorder.elapsed
