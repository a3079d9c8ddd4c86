"""SLOs as the judge of a load: what a hold has to meet, and what nobody can tell."""

from __future__ import annotations

from ampswarm.capacity.judge import DefaultJudge
from ampswarm.capacity.slos import SloJudge
from ampswarm.results.histogram import Histogram
from ampswarm.results.slo import parse_slo
from ampswarm.results.timeline import Timeline


def heartbeats(milliseconds: float, *, failed: bool = False) -> Timeline:
    timeline = Timeline()
    for second in range(10):
        timeline.add("OCPP", "Heartbeat", second + 0.5, milliseconds, failed=failed)
    return timeline


def judge_of(timeline: Timeline, *slos: str) -> SloJudge:
    return SloJudge([parse_slo(each) for each in slos], timeline)


def test_every_slo_has_to_be_met_in_the_hold() -> None:
    """The ones that are missed are the reason, and no others."""
    judge = judge_of(heartbeats(20.0), "OCPP/* p99 < 30ms", "OCPP/* p50 < 10ms")
    assert judge(0.0, 10.0) == "missed: OCPP/* p50 < 10ms: 20 ms for OCPP/Heartbeat, 10 samples"


def test_one_that_nothing_was_ever_there_for_is_named_in_the_end() -> None:
    """Misspelt: a load that it did not judge has not met it."""
    judge = judge_of(heartbeats(20.0), "OCPP/Hartbeat p99 < 1ms", "OCPP/* p99 < 1s")
    assert judge(0.0, 10.0) == ""
    assert judge.unjudged() == ["OCPP/Hartbeat p99 < 1ms"]
    assert judge_of(heartbeats(20.0), "OCPP/Hartbeat p99 < 1ms")(0.0, 10.0)


def test_a_load_that_only_the_generators_lag_has_missed_is_doubted() -> None:
    """And one that was missed for certain is not, whatever else is doubtful."""
    lag = Histogram.of({15.0: 100})
    judge = judge_of(heartbeats(20.0), "OCPP/* p99 < 10ms")
    assert judge(0.0, 10.0)
    # Of ten samples, the p99 is one; the loop may have been twice as late as a look at it was.
    assert "of which up to 30 ms may be the load generator's own loop lag" in judge.doubt(lag)
    assert judge.doubt(Histogram.of({0.5: 100})) == ""
    certain = judge_of(heartbeats(20.0, failed=True), "OCPP/* p99 < 10ms", "fail_ratio < 1%")
    assert certain(0.0, 10.0)
    assert certain.doubt(lag) == ""


def test_the_rule_where_nobody_gave_slos_is_doubted_as_well() -> None:
    """Its p99 is a time like any other; failures are the target's."""
    lag = Histogram.of({400.0: 100})
    judge = DefaultJudge(heartbeats(1200.0), 1.0)
    assert judge(0.0, 10.0) == "p99 was 1200 ms"
    assert "may be the load generator's own loop lag" in judge.doubt(lag)
    failing = DefaultJudge(heartbeats(1200.0, failed=True), 1.0)
    assert failing(0.0, 10.0) == "100.0% of Calls failed"
    assert failing.doubt(lag) == ""
