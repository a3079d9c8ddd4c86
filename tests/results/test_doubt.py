"""Whether an SLO was missed by the target, or by the load generator's own lag."""

from __future__ import annotations

import pytest

from ampswarm.results.doubt import doubt
from ampswarm.results.histogram import Histogram
from ampswarm.results.slo import judge, parse_slo
from ampswarm.results.timeline import Timeline


def timeline(*milliseconds: float) -> Timeline:
    found = Timeline()
    for each in milliseconds:
        found.add("OCPP", "Heartbeat", 1.0, each)
    return found


def lag(*milliseconds: float) -> Histogram:
    found = Histogram()
    for each in milliseconds:
        found.add(each)
    return found


@pytest.mark.parametrize(
    ("slo", "times", "lags", "is_doubted"),
    [
        # Missed by 5 ms, and the loop was 8 ms late.
        ("p99 < 20ms", [25.0] * 100, [8.0] * 100, True),
        ("mean < 20ms", [25.0] * 100, [8.0] * 100, True),
        ("max <= 20ms", [5.0] * 99 + [25.0], [0.1] * 99 + [8.0], True),
        # The lag would have to be more than it was.
        ("p99 < 20ms", [29.0] * 100, [8.0] * 100, False),
        # Only the latest looks were that late, and the median is not made of them.
        ("p50 < 20ms", [25.0] * 100, [0.1] * 99 + [8.0], False),
        # A tenth of the limit is tolerated: a regression is not to hide behind a millisecond.
        ("p99 < 20ms", [21.0] * 100, [2.0] * 100, False),
        # It held in spite of the lag.
        ("p99 < 20ms", [15.0] * 100, [8.0] * 100, False),
        # Nothing that the lag makes larger than it is.
        ("min > 20ms", [15.0] * 100, [8.0] * 100, False),
        ("fail_ratio < 0", [15.0] * 100, [8.0] * 100, False),
        ("count < 10", [15.0] * 100, [8.0] * 100, False),
        # Nobody has looked.
        ("p99 < 20ms", [25.0] * 100, [], False),
    ],
)
def test_a_miss_that_the_generators_lag_may_have_made_is_doubted(
    slo: str, times: list[float], lags: list[float], *, is_doubted: bool
) -> None:
    """Else a target is blamed for what is the generator's own."""
    judgement = judge(parse_slo(f"OCPP/Heartbeat {slo}"), timeline(*times), 10)
    why = doubt(judgement, lag(*lags))
    assert (why is not None) == is_doubted
    if why is not None:
        assert "25 ms, of which up to 8 ms may be the load generator's own loop lag" in why


def test_a_percentile_of_few_samples_may_be_the_worst_moment_of_the_loop() -> None:
    """The loop stood still once for 0.1 s or a little more, and one Heartbeat of 80 was due just then."""
    judgement = judge(parse_slo("OCPP/Heartbeat p99 < 50ms"), timeline(*[2.0] * 79, 190.0), 10)
    assert "of which up to 150 ms may be" in (doubt(judgement, lag(*[0.1] * 199, 100.0)) or "")
    # It was never as late as that.
    assert doubt(judgement, lag(*[0.1] * 199, 60.0)) is None
