"""A timeline loses no sample, however long the run and however many workers."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results.histogram import Histogram
from ampswarm.results.timeline import MAX_WINDOWS, Timeline

KEYS = st.sampled_from([("OCPP", "Heartbeat"), ("DUE", "Heartbeat"), ("WS", "connect")])
SAMPLES = st.lists(st.tuples(KEYS, st.floats(0.0, 20_000.0), st.floats(0.0, 5000.0), st.booleans()), max_size=80)


def filled(samples: list[tuple[tuple[str, str], float, float, bool]]) -> Timeline:
    timeline = Timeline()
    for (kind, name), at, milliseconds, failed in samples:
        timeline.add(kind, name, at, milliseconds, failed=failed)
    return timeline


@given(SAMPLES)
def test_every_sample_is_in_a_window_that_was_open_then(
    samples: list[tuple[tuple[str, str], float, float, bool]],
) -> None:
    """In any order, and where windows had to become wider meanwhile."""
    timeline = filled(samples)
    for key in timeline.seen():
        mine = [(at, milliseconds, failed) for other, at, milliseconds, failed in samples if other == key]
        assert len(mine) == timeline.total(key).count
        assert sum(failed for *_, failed in mine) == timeline.total(key).failures
        for begin, histogram in timeline.windows(key):
            inside = Histogram()
            for at, milliseconds, failed in mine:
                if begin <= at < begin + timeline.width:
                    inside.add(milliseconds, failed=failed)
            assert inside.counts == histogram.counts
            assert begin < MAX_WINDOWS * timeline.width


@given(st.lists(SAMPLES, max_size=4))
def test_what_workers_took_adds_up_on_the_master(
    reports: list[list[tuple[tuple[str, str], float, float, bool]]],
) -> None:
    """As messages, in any order; nothing is sent twice."""
    master = Timeline()
    for samples in reports:
        worker = filled(samples)
        master.accept(orjson.loads(orjson.dumps(worker.take())))
        assert worker.take() == []
    everything = filled([each for samples in reports for each in samples])
    assert everything.seen() == master.seen()
    for key in master.seen():
        expected, found = everything.total(key), master.total(key)
        assert (expected.counts, expected.failures) == (found.counts, found.failures)


def test_a_total_may_leave_out_the_beginning_and_the_end() -> None:
    """`after 60s`: whole windows only, so that nothing from before is in it."""
    timeline = Timeline()
    for second in range(10):
        timeline.add("OCPP", "Heartbeat", second + 0.5, float(second))
    assert timeline.total(("OCPP", "Heartbeat"), after=3.0).count == 7
    assert timeline.total(("OCPP", "Heartbeat"), after=3.5).count == 6
    assert timeline.total(("OCPP", "Heartbeat"), before=9.0).count == 9
    assert timeline.total(("OCPP", "Heartbeat"), after=20.0).count == 0
