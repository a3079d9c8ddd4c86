"""What a load is judged by: failures, percentiles from the due time, and how much was answered."""

from __future__ import annotations

import pytest

from ampswarm.capacity.judge import DefaultJudge, answered, is_enough, measured
from ampswarm.results.timeline import Timeline


def filled(seconds: int, wire: float, due: float | None, failures: int = 0) -> Timeline:
    timeline = Timeline()
    for second in range(seconds):
        for place in range(10):
            timeline.add("OCPP", "Heartbeat", second + place / 10, wire, failed=place < failures)
            if due is not None:
                timeline.add("DUE", "Heartbeat", second + place / 10, due, failed=place < failures)
        timeline.add("WS", "connect", second, 9000.0, failed=True)
    return timeline


@pytest.mark.parametrize(
    ("timeline", "said"),
    [
        (filled(10, 20.0, 30.0), ""),
        (filled(10, 20.0, None), ""),
        (filled(10, 20.0, 600.0), "p99 was 600 ms"),
        (filled(10, 700.0, None), "p99 was 700 ms"),
        (filled(10, 20.0, 30.0, failures=1), "10.0% of Calls failed"),
        (Timeline(), ""),
    ],
)
def test_the_rule_where_nobody_gave_slos(timeline: Timeline, said: str) -> None:
    """The wire time of a target with one outstanding Call stays what it is: the queue in front counts."""
    assert said == DefaultJudge(timeline, 0.5)(2.0, 8.0)


def test_only_what_was_measured_in_the_hold_counts() -> None:
    """Neither the step before nor the one after."""
    timeline = filled(4, 20.0, 30.0)
    timeline.add("OCPP", "Heartbeat", 5.5, 900.0)
    assert measured(timeline, 0.0, 4.0) == (40, 30.0, 30.0, 0.0)
    assert measured(timeline, 5.0, 6.0) == (1, 900.0, 900.0, 0.0)
    assert measured(timeline, 6.0, 9.0) == (0, 0.0, 0.0, 0.0)


def test_answers_are_counted_in_whole_windows() -> None:
    """A long search has windows of two seconds and more: rates must not be halved by that."""
    timeline = filled(12, 20.0, 30.0, failures=1)
    assert answered(timeline, "Heartbeat", 2.0, 7.0) == (45, 5.0)
    timeline.add("OCPP", "Heartbeat", 2000.0, 1.0)
    assert timeline.width == 2
    assert answered(timeline, "Heartbeat", 3.0, 9.0) == (36, 4.0)
    assert answered(timeline, "MeterValues", 3.0, 9.0) == (0, 4.0)
    assert is_enough(950, 1000.0)
    assert is_enough(2, 4.0)
    assert not is_enough(940, 1000.0)
