"""Times in milliseconds, counted with three significant digits."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import ceil
from typing import Any, Final

_FINEST: Final = 0.001
"""Milliseconds: what a clock can tell."""


def bucket(milliseconds: float) -> float:
    """Return a time with three significant digits; a microsecond is the finest difference."""
    if milliseconds >= 100:
        if milliseconds < 1000:
            return round(milliseconds)
        if milliseconds < 10_000:
            return round(milliseconds, -1)
        if milliseconds < 100_000:
            return round(milliseconds, -2)
        return round(milliseconds, -3)
    if milliseconds >= 10:
        return round(milliseconds, 1)
    if milliseconds >= 1:
        return round(milliseconds, 2)
    return round(milliseconds, 3)


def rank_of(percent: float, timed: int) -> int:
    """Return the nearest rank of a percentile, above 0 and at most 100, among so many times."""
    # In thousandths, so that 99.9 of 1000 is 999 and not a little more.
    return max(1, ceil(round(percent * 1000) * timed / 100_000))


def nearest_ranks(counts: Mapping[Any, int], percents: Iterable[float]) -> list[float]:
    """Return for each of `percents` of 100 the time within which so many were; 0 for none.

    Args:
        counts: how often each time was seen.
        percents: above 0 and at most 100, in any order.
    """
    keys = sorted(counts)
    # How many were within each time. The loop is C's: a long run has thousands of times, and is looked at all along.
    within = list(accumulate(map(counts.__getitem__, keys)))
    timed = within[-1] if within else 0
    if not timed:
        return [0.0 for _ in percents]
    return [keys[bisect_left(within, rank_of(each, timed))] for each in percents]


class Histogram:
    """How often which time was seen. A failure has a time too, and counts among them."""

    __slots__ = ("counts", "failures", "highest", "lowest", "total", "without_time")

    def __init__(self) -> None:
        self.counts: dict[float, int] = {}
        """By `bucket`."""
        self.failures = 0
        self.total = 0.0
        """Sum of all times, in milliseconds."""
        self.lowest = float("inf")
        self.highest = 0.0
        self.without_time = 0
        """What was counted and has no time."""

    def add(self, milliseconds: float | None, *, failed: bool = False) -> None:
        """Count one."""
        self.failures += failed
        if milliseconds is None:
            self.without_time += 1
            return
        milliseconds = max(milliseconds, 0.0)
        key = bucket(milliseconds)
        counts = self.counts
        counts[key] = counts.get(key, 0) + 1
        self.total += milliseconds
        self.lowest = min(self.lowest, milliseconds)
        self.highest = max(self.highest, milliseconds)

    def merge(self, other: Histogram) -> None:
        """Add all that another one has counted."""
        if self.counts:
            counts = self.counts
            for key, count in other.counts.items():
                counts[key] = counts.get(key, 0) + count
        else:
            self.counts = other.counts.copy()
        self.failures += other.failures
        self.total += other.total
        self.without_time += other.without_time
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)

    @property
    def timed(self) -> int:
        """How many times were seen."""
        return sum(self.counts.values())

    @property
    def count(self) -> int:
        """How many were counted, with a time or without."""
        return self.timed + self.without_time

    @property
    def mean(self) -> float:
        """Milliseconds; 0 for none."""
        timed = self.timed
        return self.total / timed if timed else 0.0

    @property
    def fail_ratio(self) -> float:
        """0 to 1; 0 for none."""
        count = self.count
        return self.failures / count if count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the time in milliseconds within which `percent` of 100 were; the nearest rank, 0 for none."""
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Iterable[float]) -> list[float]:
        """Return a time for each of `percents`, which may come in any order."""
        found = nearest_ranks(self.counts, percents)
        if not self.counts:
            return found
        # What was rounded must not lie outside what was seen.
        return [min(max(each, self.lowest), self.highest) for each in found]

    def pack(self) -> list[object]:
        """Return what `unpack` takes: lists and numbers, for a message or a file."""
        lowest = None if self.lowest == float("inf") else self.lowest
        pairs = [part for pair in sorted(self.counts.items()) for part in pair]
        return [self.failures, self.without_time, self.total, lowest, self.highest, pairs]

    @classmethod
    def unpack(cls, packed: list[object]) -> Histogram:
        """Return what was packed.

        Raises:
            ValueError: it was something else.
        """
        try:
            failures, without_time, total, lowest, highest, pairs = packed
            histogram = cls()
            histogram.failures = int(failures)  # type: ignore[call-overload]
            histogram.without_time = int(without_time)  # type: ignore[call-overload]
            histogram.total = float(total)  # type: ignore[arg-type]
            histogram.lowest = float("inf") if lowest is None else float(lowest)  # type: ignore[arg-type]
            histogram.highest = float(highest)  # type: ignore[arg-type]
            assert isinstance(pairs, list)
            histogram.counts = {float(key): int(count) for key, count in zip(pairs[::2], pairs[1::2], strict=True)}
        except (TypeError, AssertionError) as error:
            raise ValueError(f"no histogram: {error}") from None
        if min(histogram.failures, histogram.without_time, *histogram.counts, *histogram.counts.values()) < 0:
            raise ValueError("no histogram: a number in it is negative")
        return histogram

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return the sum of `histograms`."""
        merged = cls()
        for each in histograms:
            merged.merge(each)
        return merged

    @classmethod
    def of(cls, counts: Mapping[float, int]) -> Histogram:
        """Return one of times and how often each was seen."""
        histogram = cls()
        for milliseconds, count in counts.items():
            key = bucket(milliseconds)
            histogram.counts[key] = histogram.counts.get(key, 0) + count
            histogram.total += milliseconds * count
            histogram.lowest = min(histogram.lowest, milliseconds)
            histogram.highest = max(histogram.highest, milliseconds)
        return histogram


def three_digits(milliseconds: float) -> str:
    """Return a time as it is shown: with three significant digits, and no exponent."""
    return f"{bucket(milliseconds):.10g}"
