"""A rate over time, made of straight pieces: constant, ramps, steps, spikes, the hours of a day."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Final

HOURS: Final = 24
_HOUR: Final = 3600.0
_MOST_STEPS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Segment:
    """A rate that stays, or changes evenly.

    Args:
        seconds: how long; infinity for a last one without an end, which then has one rate.
        begin: arrivals per second at its beginning.
        end: arrivals per second at its end.

    Raises:
        ValueError: that cannot be.
    """

    seconds: float
    begin: float
    end: float

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ValueError("a time must be above 0")
        if not (isfinite(self.begin) and isfinite(self.end) and self.begin >= 0 and self.end >= 0):
            raise ValueError("a rate must be 0 or more")
        if self.seconds == inf and self.begin != self.end:
            raise ValueError("what changes has to end")

    def integral(self, elapsed: float) -> float:
        """Return how much comes in its first `elapsed` seconds."""
        if self.begin == self.end:
            return self.begin * elapsed if self.begin else 0.0  # not 0 times infinity
        return elapsed * (self.begin + (self.end - self.begin) * elapsed / (2 * self.seconds))

    def inverse(self, amount: float) -> float:
        """Return after how many seconds `amount` has come."""
        slope = 0.0 if self.begin == self.end else (self.end - self.begin) / self.seconds
        # Of the two forms of the root, the one that subtracts nothing.
        divisor = self.begin + sqrt(max(0.0, self.begin * self.begin + 2 * slope * amount))
        return min(2 * amount / divisor, self.seconds) if divisor else 0.0


class Curve:
    """Segments, one after the other.

    Args:
        segments: at least one; only the last may have no end.

    Raises:
        ValueError: none, or one after what does not end.
    """

    __slots__ = ("_begins", "_segments", "_sums", "duration", "total")

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._segments = tuple(segments)
        if not self._segments:
            raise ValueError("a curve needs at least one segment")
        self._begins: list[float] = []
        self._sums: list[float] = []
        begin = amount = 0.0
        for each in self._segments:
            if begin == inf:
                raise ValueError("something comes after what does not end")
            self._begins.append(begin)
            self._sums.append(amount)
            begin += each.seconds
            amount += each.integral(each.seconds)
        self.duration = begin
        """Seconds; infinity without an end."""
        self.total = amount
        """The whole integral, which need not be a whole number."""

    def integral(self, elapsed: float) -> float:
        """Return how much comes in the first `elapsed` seconds."""
        if elapsed <= 0:
            return 0.0
        if elapsed >= self.duration:
            return self.total
        index = bisect_right(self._begins, elapsed) - 1
        return self._sums[index] + self._segments[index].integral(elapsed - self._begins[index])

    def inverse(self, amount: float) -> float:
        """Return when `amount` has come, at the earliest; infinity for more than comes at all."""
        if amount > self.total or amount == inf:
            return inf
        index = max(0, bisect_left(self._sums, amount) - 1)
        return self._begins[index] + self._segments[index].inverse(amount - self._sums[index])

    def rate(self, elapsed: float) -> float:
        """Return arrivals per second at one time; 0 before and after."""
        if not 0 <= elapsed < self.duration:
            return 0.0
        index = bisect_right(self._begins, elapsed) - 1
        segment = self._segments[index]
        if segment.begin == segment.end:
            return segment.begin
        return segment.begin + (segment.end - segment.begin) * (elapsed - self._begins[index]) / segment.seconds

    def for_seconds(self, seconds: float) -> Curve:
        """Return its first `seconds`; what is shorter goes on with its last rate.

        Raises:
            ValueError: no time at all.
        """
        if not seconds > 0:
            raise ValueError("a time must be above 0")
        cut: list[Segment] = []
        for begin, each in zip(self._begins, self._segments, strict=True):
            left = seconds - begin
            if left <= 0:
                break
            if left < each.seconds:
                cut.append(Segment(left, each.begin, self.rate(seconds) if each.begin != each.end else each.end))
            else:
                cut.append(each)
        if seconds > self.duration:
            last = self._segments[-1].end
            cut.append(Segment(seconds - self.duration, last, last))
        return Curve(cut)


def constant(rate: float, seconds: float = inf) -> Curve:
    """Return one rate."""
    return Curve([Segment(seconds, rate, rate)])


def ramp(begin: float, end: float, seconds: float) -> Curve:
    """Return a rate that changes evenly."""
    return Curve([Segment(seconds, begin, end)])


def steps(begin: float, step: float, every: float, end: float) -> Curve:
    """Return rates that go up, or down, by `step` every so many seconds; the last one lasts as long as each.

    Raises:
        ValueError: they never get there, or in far too many steps.
    """
    if not step or (end - begin) * step < 0:
        raise ValueError("the steps lead away from where they should end")
    count = int((end - begin) / step + 1e-9)
    if count > _MOST_STEPS:
        raise ValueError(f"more than {_MOST_STEPS} steps")
    rates = [begin + step * index for index in range(count + 1)]
    if abs(rates[-1] - end) > abs(step) * 1e-6:
        rates.append(end)
    return Curve(Segment(every, rate, rate) for rate in rates)


def spike(rate: float, peak: float, at: float, seconds: float, over: float = inf) -> Curve:
    """Return one rate, with another one for some seconds.

    Raises:
        ValueError: it would end within the spike.
    """
    if over <= at + seconds:
        raise ValueError("it must be over after the spike")
    before = [Segment(at, rate, rate)] if at else []
    return Curve([*before, Segment(seconds, peak, peak), Segment(over - at - seconds, rate, rate)])


def day(hours: Sequence[float], acceleration: float, begin: float = 0.0, seconds: float | None = None) -> Curve:
    """Return a day: so many arrivals in each hour from midnight on. The next day is like it.

    Args:
        hours: 24 numbers of arrivals.
        acceleration: how many times as fast as in life; the arrivals are as many, in less time.
        begin: the hour at which it begins.
        seconds: how long, in seconds of the test; `None` for one day.

    Raises:
        ValueError: not 24 hours, or no time at all.
    """
    if len(hours) != HOURS:
        raise ValueError(f"a day has {HOURS} hours, not {len(hours)}")
    left = HOURS * _HOUR / acceleration if seconds is None else seconds
    segments: list[Segment] = []
    at = begin * _HOUR
    while left > 1e-9:
        hour = int(at // _HOUR)
        width = min((hour + 1) * _HOUR - at, left * acceleration)
        rate = hours[hour % HOURS] / _HOUR * acceleration
        segments.append(Segment(width / acceleration, rate, rate))
        at += width
        left -= width / acceleration
    return Curve(segments)
