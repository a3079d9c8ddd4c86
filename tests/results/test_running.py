"""A run that is looked at while it goes on: the same figures as from the beginning, without counting all anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results import timeline as timelines
from ampswarm.results.histogram import Histogram, bucket
from ampswarm.results.running import RunningRows, RunningTotals
from ampswarm.results.timeline import Timeline

KEYS = st.sampled_from([("OCPP", "Heartbeat"), ("DUE", "Heartbeat"), ("WS", "connect")])
SAMPLES = st.tuples(KEYS, st.floats(0, 3000), st.one_of(st.none(), st.floats(0, 5000)), st.booleans())
Sample = tuple[tuple[str, str], float, float | None, bool]
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "report", "look", "clear"]), st.lists(SAMPLES, min_size=1, max_size=4)),
    max_size=40,
)


def add(timeline: Timeline, samples: list[Sample]) -> None:
    for (kind, name), at, milliseconds, failed in samples:
        timeline.add(kind, name, at, milliseconds, failed=failed)


def dumped(histograms: dict[tuple[str, str], Histogram]) -> dict[tuple[str, str], list[object]]:
    packed = {key: histogram.pack() for key, histogram in histograms.items() if histogram.count}
    # Sums depend on the order in which they were made, in their last digits.
    return {key: [*each[:2], round(float(str(each[2])), 3), *each[3:]] for key, each in packed.items()}


@given(STEPS, st.sampled_from([(0.0, float("inf")), (60.0, float("inf")), (60.0, 1500.0)]))
def test_what_is_told_on_the_way_is_what_is_there(
    steps: list[tuple[str, list[Sample]]], span: tuple[float, float]
) -> None:
    """Samples late, windows that become wider, statistics that are reset: a page never shows what is not so."""
    timeline = Timeline()
    rows, totals = RunningRows(timeline), RunningTotals(timeline, *span)
    for what, how in [*steps, ("look", [])]:
        match what:
            case "add":
                add(timeline, how)
            case "report":
                worker = Timeline()
                add(worker, how)
                timeline.accept(worker.take())
            case "clear":
                timeline.clear()
            case _:
                expected = {key: timeline.total(key, after=span[0], before=span[1]) for key in timeline.seen()}
                assert dumped(totals.totals()) == dumped(expected)
                shown = {(begin, key): row for begin, cells in rows.windows() for key, row in cells.items()}
                there = {
                    (begin, key): [
                        found.count,
                        found.failures,
                        *map(bucket, found.percentiles([50, 95, 99])),
                    ]
                    for key in timeline.seen()
                    for begin, found in timeline.windows(key)
                }
                assert shown == there


def test_windows_that_do_not_change_are_not_made_again() -> None:
    """An hour of history costs no more with each look than its last windows."""
    timeline = Timeline()
    for second in range(100):
        timeline.add("OCPP", "Heartbeat", second, 1.0)
    rows = RunningRows(timeline)
    before = dict(rows.windows())
    timeline.add("OCPP", "Heartbeat", 99.5, 1.0)
    after = dict(rows.windows())
    assert all(after[begin] is before[begin] for begin in range(99))
    assert after[99.0]["OCPP", "Heartbeat"][0] == 2
    assert [begin for begin, _ in rows.windows(97.0)] == [98.0, 99.0]


def test_another_generation_tells_that_windows_are_others() -> None:
    """A page that has the old ones must forget them."""
    timeline = Timeline()
    generations = {timeline.generation}
    timeline.add("OCPP", "Heartbeat", 1.0, 1.0)
    assert {timeline.generation} == generations
    timeline.clear()
    generations.add(timeline.generation)
    timeline.add("OCPP", "Heartbeat", timelines.MAX_WINDOWS + 1.0, 1.0)
    generations.add(timeline.generation)
    assert len(generations) == 3
