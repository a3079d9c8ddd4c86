"""SLOs mean what they say, and what is none is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results.slo import InvalidSlo, Outcome, judge, parse_slo, parse_slos
from ampswarm.results.timeline import Timeline


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("OCPP/BootNotification p99 < 250ms", ("OCPP/BootNotification", "p99", "<", 250, 0, float("inf"))),
        ("FLOW/online max < 60s", ("FLOW/online", "max", "<", 60_000, 0, float("inf"))),
        ("fail_ratio < 0.1%", ("", "fail_ratio", "<", 0.001, 0, float("inf"))),
        ("fail_ratio<=0.05", ("", "fail_ratio", "<=", 0.05, 0, float("inf"))),
        ("DUE/* p99.9 < 1s", ("DUE/*", "p99.9", "<", 1000, 0, float("inf"))),
        ("OCPP/* rate > 500/s after 60s before 5min", ("OCPP/*", "rate", ">", 500, 60, 300)),
        ("p50<1.5ms before 1h", ("", "p50", "<", 1.5, 0, 3600)),
        ("HTTP/GET /api/v1 mean < 800us", ("HTTP/GET /api/v1", "mean", "<", 0.8, 0, float("inf"))),
        ("OCPP/Heartbeat count >= 1000", ("OCPP/Heartbeat", "count", ">=", 1000, 0, float("inf"))),
    ],
)
def test_an_expression_is_read(text: str, read: tuple[str, str, str, float, float, float]) -> None:
    """The examples of the documentation, and their like: target, metric, operator, limit, after, before."""
    slo = parse_slo(text)
    target, metric, operator, limit, after, before = read
    assert (target, metric, operator, after, before) == (slo.target, slo.metric, slo.operator, slo.after, slo.before)
    assert limit == pytest.approx(slo.limit)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "at the end: something is missing; wanted: a metric, or TYPE/NAME and a metric"),
        ("OCPP/Heartbeat", "at the end: something is missing; wanted: a metric behind 'OCPP/Heartbeat'"),
        ("OCPP/Heartbeat p101 < 1s", "at '< 1s': something is missing; wanted: a metric behind"),
        ("latency < 1s", "at 'latency < 1s': 'latency' is no metric; wanted: p0.001 to p100, min"),
        ("p99 1s", "at '1s': no comparison; wanted: <, <=, > or >="),
        ("p99 < fast", "at 'fast': no number; wanted: a number and its unit"),
        ("p99 < 250", "at the end: a time without its unit; wanted: us, ms, s, min, h"),
        ("p99 < 250 ns", "at 'ns': 'ns' is no unit of time; wanted: us"),
        ("fail_ratio < 250ms", "at 'ms': 'ms' is no unit of a ratio; wanted: %, or none"),
        ("fail_ratio < 110%", "at '%': more than everything; wanted: 0 to 1"),
        ("rate > 5", "a rate without its unit; wanted: /s"),
        ("count > 5s", "count has no unit, and not 's'; wanted: a number"),
        ("p99 < 1s since 60s", "at 'since 60s': 'since'; wanted: after T or before T"),
        ("p99 < 1s after", "at the end: no number; wanted: a time behind after, such as 60s"),
        ("p99 < 1s after 60s before 60s", "no time is left; wanted: after a time that is earlier than before"),
        (f"p99 < {'9' * 400}ms", "larger than any number; wanted: a number and its unit"),
        ("p99 == 1s", "at '== 1s': no comparison; wanted: <"),
    ],
)
def test_what_is_no_slo_is_refused_with_its_place(text: str, complaint: str) -> None:
    """One line that says what is wrong, where, and what is wanted."""
    with pytest.raises(InvalidSlo) as raised:
        parse_slo(text)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@given(st.text(max_size=60))
def test_any_text_is_an_slo_or_refused(text: str) -> None:
    """A pipeline's variable may hold anything: no traceback."""
    try:
        parse_slos(text)
    except InvalidSlo as error:
        assert str(error)


def test_a_file_has_one_a_line_and_comments() -> None:
    """A mistake is named with its line."""
    assert [each.metric for each in parse_slos("# ours\n\np99 < 1s  # all\n fail_ratio < 1%\n")] == [
        "p99",
        "fail_ratio",
    ]
    assert [each.target for each in parse_slos("HTTP/GET /#top p99 < 1s #all")] == ["HTTP/GET /#top"]
    with pytest.raises(InvalidSlo, match=r"^slos\.txt:2: 'p99 <', at the end: no number"):
        parse_slos("p50 < 1s\np99 <\n", "slos.txt")


def a_run() -> Timeline:
    """100 seconds: Heartbeats of 1 to 100 ms, one in ten failed; boots of 5 s in the first 10 s, and views of all."""
    timeline = Timeline()
    for second in range(100):
        timeline.add("OCPP", "Heartbeat", second + 0.5, second + 1.0, failed=second % 10 == 9)
        timeline.add("DUE", "Heartbeat", second + 0.5, 10 * (second + 1.0), failed=second % 10 == 9)
        timeline.add("WS", "tcp", second + 0.5, 90_000.0)
    for second in range(10):
        timeline.add("OCPP", "BootNotification", second + 0.5, 5000.0)
    timeline.add("OUTBOX", "MeterValues", 50.0, None, failed=True)
    return timeline


@pytest.mark.parametrize(
    ("text", "outcome", "value", "worst", "samples"),
    [
        ("OCPP/Heartbeat p99 < 100ms", "held", 99.0, "OCPP/Heartbeat", 100),
        ("OCPP/Heartbeat p99 < 99ms", "missed", 99.0, "OCPP/Heartbeat", 100),
        ("OCPP/Heartbeat p99 <= 99ms", "held", 99.0, "OCPP/Heartbeat", 100),
        ("OCPP/* p50 < 1s", "missed", 5000.0, "OCPP/BootNotification", 10),
        ("OCPP/* p50 < 1s after 10s", "held", 55.0, "OCPP/Heartbeat", 90),
        ("OCPP/Heartbeat max < 51ms before 50s", "held", 50.0, "OCPP/Heartbeat", 50),
        ("OCPP/* min > 2ms", "missed", 1.0, "OCPP/Heartbeat", 100),
        ("OCPP/* count > 109", "held", 110.0, "", 110),
        ("OCPP/* rate >= 1/s after 10s before 60s", "held", 1.0, "OCPP/Heartbeat", 50),
        ("OCPP/Heartbeat rate >= 1/s after 10.5s before 60.5s", "held", 1.0, "OCPP/Heartbeat", 49),
        ("OCPP/Heartbeat rate >= 1/s after 10.5s before 1h", "held", 1.0, "OCPP/Heartbeat", 89),
        ("OCPP/Heartbeat fail_ratio < 10%", "missed", 0.1, "OCPP/Heartbeat", 100),
        ("OCPP/Heartbeat fail_ratio <= 10%", "held", 0.1, "OCPP/Heartbeat", 100),
        ("D?E/* mean < 1s", "held", 505.0, "DUE/Heartbeat", 100),
        ("OUTBOX/* failures < 1", "missed", 1.0, "OUTBOX/MeterValues", 1),
        # All of the Aggregated row: neither DUE nor the parts of a connect.
        ("count <= 111", "held", 111.0, "", 111),
        ("max <= 5s", "held", 5000.0, "", 111),
        ("fail_ratio < 10%", "held", 11 / 111, "", 111),
        # Nothing is there, or nothing with a time: never a pass.
        ("OCPP/Authorize p99 < 1s", "no sample", None, "", 0),
        ("OCPP/Heartbeat p99 < 1s after 100s", "no sample", None, "", 0),
        ("OUTBOX/* max < 1s", "no sample", None, "", 0),
        ("OCPP/Authorize count < 5", "no sample", None, "", 0),
        # No class of characters, as in a shell.
        ("OCPP/Heartbea[t] count > 1", "no sample", None, "", 0),
    ],
)
def test_an_slo_is_judged(text: str, outcome: str, value: float | None, worst: str, samples: int) -> None:
    """Passing and missing, each metric, patterns and times."""
    judgement = judge(parse_slo(text), a_run(), 100.0)
    assert (outcome, worst, samples) == (judgement.outcome.value, judgement.worst, judgement.samples)
    assert judgement.value == (None if value is None else pytest.approx(value))


def test_too_few_samples_for_a_percentile_are_flagged() -> None:
    """p99.9 of 100 samples is but the largest."""
    run = a_run()
    assert judge(parse_slo("OCPP/Heartbeat p99.9 < 1s"), run, 100.0).is_few
    assert not judge(parse_slo("OCPP/Heartbeat p99 < 1s"), run, 100.0).is_few
    assert "(few samples)" in str(judge(parse_slo("OCPP/Heartbeat p99.9 < 1s"), run, 100.0))


def test_a_judgement_reads_as_a_line() -> None:
    """Of a log or a table: what was wanted, what it was, and whose."""
    assert (
        str(judge(parse_slo("OCPP/* p50 < 1s"), a_run(), 100.0))
        == "missed: OCPP/* p50 < 1s: 5000 ms for OCPP/BootNotification, 10 samples"
    )
    assert str(judge(parse_slo("OCPP/Reset p50 < 1s"), a_run(), 100.0)) == "no sample: OCPP/Reset p50 < 1s"
    assert Outcome("no sample") is Outcome.NO_SAMPLE


def test_a_rate_is_that_of_the_run_and_not_of_its_end() -> None:
    """A thousand StopTransactions when it has stopped are counted, and come in no time."""
    timeline = Timeline()
    for tenth in range(100):
        timeline.add("OCPP", "Heartbeat", tenth / 10, 1.0)
    for _ in range(500):
        timeline.add("OCPP", "StopTransaction", 10.05, 1.0)
    for after in ("after 5s", "after 9s", ""):
        judgement = judge(parse_slo(f"OCPP/* rate <= 11/s {after}"), timeline, 10.04)
        assert judgement.outcome.value == "held", after
        assert judgement.value == pytest.approx(10.0)
    assert judge(parse_slo("OCPP/* count > 599"), timeline, 10.04).outcome.value == "held"


def test_a_rate_counts_from_when_the_statistics_were_reset() -> None:
    """`--reset-stats` after a long ramp: seconds that nothing was kept of are none."""
    timeline = Timeline()
    timeline.clear(60.0)
    for second in range(60, 100):
        timeline.add("OCPP", "Heartbeat", second + 0.5, 1.0)
    assert judge(parse_slo("OCPP/* rate >= 1/s"), timeline, 100.0).value == pytest.approx(1.0)
