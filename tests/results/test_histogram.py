"""Histograms keep what they are given, to three significant digits."""

from __future__ import annotations

from math import ceil

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results.histogram import Histogram, bucket

TIMES = st.floats(0.0, 10_000_000.0, allow_nan=False)
SAMPLES = st.lists(st.tuples(st.none() | TIMES, st.booleans()), max_size=200)


def counted(samples: list[tuple[float | None, bool]]) -> Histogram:
    histogram = Histogram()
    for milliseconds, failed in samples:
        histogram.add(milliseconds, failed=failed)
    return histogram


@given(TIMES)
def test_a_bucket_has_three_digits_down_to_a_microsecond(milliseconds: float) -> None:
    """What is shown is off by half a unit of the third digit at most."""
    found = bucket(milliseconds)
    assert abs(found - milliseconds) <= max(0.0005, milliseconds * 0.005) * (1 + 1e-9)
    assert len(f"{found:.12g}".replace(".", "").strip("0")) <= 3 or found >= 1_000_000
    assert found == bucket(found)


@given(st.lists(TIMES, min_size=1, max_size=300), st.sampled_from([0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0]))
def test_a_percentile_is_the_nearest_rank(times: list[float], percent: float) -> None:
    """Counted from the samples themselves, the same time comes out, to three digits."""
    exact = sorted(times)[max(1, ceil(round(percent * 1000) * len(times) / 100_000)) - 1]
    found = counted([(each, False) for each in times]).percentile(percent)
    assert found == pytest.approx(exact, rel=0.006, abs=0.0006)
    assert min(times) <= found <= max(times)


@given(SAMPLES, SAMPLES)
def test_a_merged_histogram_is_that_of_all_samples(
    some: list[tuple[float | None, bool]], others: list[tuple[float | None, bool]]
) -> None:
    """Workers' histograms add up to what one process would have counted."""
    merged = counted(some)
    merged.merge(counted(others))
    expected = counted(some + others)
    assert (expected.counts, expected.failures, expected.count) == (merged.counts, merged.failures, merged.count)
    assert (expected.lowest, expected.highest) == (merged.lowest, merged.highest)
    assert merged.mean == pytest.approx(expected.mean)


@given(SAMPLES)
def test_a_packed_histogram_comes_out_whole(samples: list[tuple[float | None, bool]]) -> None:
    """By way of JSON too, as in a report."""
    histogram = counted(samples)
    again = Histogram.unpack(orjson.loads(orjson.dumps(histogram.pack())))
    assert histogram.pack() == again.pack()


@pytest.mark.parametrize(
    "packed",
    [
        *([], [1], [None] * 6, [0, 0, 0.0, None, 0.0, [1.0]], [0, 0, "x", None, 0.0, []]),
        *([-1, 0, 0.0, None, 0.0, []], [0, -1, 0.0, None, 0.0, []]),
        *([0, 0, 1.0, 1.0, 1.0, [1.0, -1]], [0, 0, 1.0, 1.0, 1.0, [-1.0, 1]]),
    ],
)
def test_what_is_no_histogram_is_refused(packed: list[object]) -> None:
    """A report that was edited, or a worker of another version, gets a clear word."""
    with pytest.raises(ValueError):
        Histogram.unpack(packed)
