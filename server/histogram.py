"""Histograms: how often something took how long, in a few fixed buckets."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

HANDLER_BOUNDS: Final = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0),
)
"""Seconds: from 10 us, because most Calls are handled in less than 100."""
DURATION_BOUNDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Seconds: of what waits for a disk or a network."""
ANSWER_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds: of what waits for a charge point."""
SIZE_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0)
"""How many things."""


class Histogram:
    """Counts observations in buckets.

    Args:
        bounds: the greatest value of each bucket, in rising order; a last bucket takes all that is greater.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...] = DURATION_BOUNDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each bucket alone, not of those below it as well."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.counts)

    def state(self) -> dict[str, float | list[int]]:
        """Return what was counted, as JSON has it."""
        return {"counts": list(self.counts), "sum": self.sum}
