"""A rate that somebody sets while it runs: a search for capacity does."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import floor, inf

from ampswarm.arrivals.pace import Arrivals


class Dial(Arrivals):
    """Evenly spread arrivals, at a rate that is 0 until it is set. Times in seconds."""

    __slots__ = ("_begins", "_rates", "_sums")

    def __init__(self) -> None:
        self._begins = [0.0]
        self._rates = [0.0]
        self._sums = [0]

    def set(self, at: float, rate: float) -> None:
        """Take another rate from `at` on, which must not be before the last change.

        Raises:
            ValueError: it is, or the rate is below 0.
        """
        last = self._begins[-1]
        if at < last or rate < 0:
            raise ValueError(f"cannot set {rate:g}/s at {at:g} s: the last change was at {last:g} s")
        # Whole numbers: the first one never comes in the first instant, and none is left over from before.
        amount = floor(self._sums[-1] + self._rates[-1] * (at - last) + 0.5)
        if at == last:
            self._begins.pop()
            self._rates.pop()
            self._sums.pop()
        self._begins.append(at)
        self._rates.append(rate)
        self._sums.append(amount)

    @property
    def duration(self) -> float:
        """Infinity: it can be set again."""
        return inf

    def at(self, index: int) -> float:
        """Return when arrival `index` comes, as far as rates are set."""
        amount = index + 0.5
        piece = bisect_left(self._sums, amount) - 1
        rate = self._rates[piece]
        return self._begins[piece] + (amount - self._sums[piece]) / rate if rate else inf

    def rate(self, elapsed: float) -> float:
        """Return arrivals per second."""
        return self._rates[bisect_right(self._begins, elapsed) - 1] if elapsed >= 0 else 0.0

    def _estimate(self, elapsed: float) -> int:
        piece = bisect_right(self._begins, elapsed) - 1
        return max(0, int(self._sums[piece] + self._rates[piece] * (elapsed - self._begins[piece]) + 0.5))
