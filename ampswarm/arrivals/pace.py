"""When exactly each arrival comes: evenly, as a Poisson process, or as it was recorded; one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from math import inf
from random import Random
from typing import Final

from ampswarm.arrivals.curve import Curve

_BLOCK: Final = 256.0
"""Arrivals that a Poisson process draws at a time, on average."""
_BLOCKS_KEPT: Final = 8
_SETTLES_WITHIN: Final = 4


class Arrivals(ABC):
    """Arrivals 0, 1, 2 … at elapsed times that are known beforehand. Times in seconds."""

    __slots__ = ()

    @property
    @abstractmethod
    def duration(self) -> float:
        """When they are over; infinity for never."""

    @abstractmethod
    def at(self, index: int) -> float:
        """Return when arrival `index` comes; infinity when there is none."""

    @abstractmethod
    def rate(self, elapsed: float) -> float:
        """Return arrivals per second, as planned at one time."""

    @abstractmethod
    def _estimate(self, elapsed: float) -> int:
        """Return about how many have come: rounding errors do not matter."""

    def count(self, elapsed: float) -> int:
        """Return how many have come by `elapsed`."""
        if elapsed < 0:
            return 0
        count = self._estimate(elapsed)
        # What `at` says is the truth; the way back to it is off by one at times.
        while self.at(count) <= elapsed:
            count += 1
        while count and self.at(count - 1) > elapsed:
            count -= 1
        return count

    def next(self, after: float) -> float | None:
        """Return when the next one comes after `after`; `None` when none does."""
        at = self.at(self.count(after))
        return None if at == inf else at

    @property
    def total(self) -> float:
        """How many come at all; infinity without an end."""
        return inf if self.duration == inf else float(self.count(self.duration))


class Even(Arrivals):
    """Arrivals that are as evenly spread as the rate lets them be, without any chance.

    The first one comes in the middle of the time that one takes, so that 10/s for 1 s are 10.
    """

    __slots__ = ("curve",)

    def __init__(self, curve: Curve) -> None:
        self.curve = curve

    @property
    def duration(self) -> float:
        """When they are over."""
        return self.curve.duration

    def at(self, index: int) -> float:
        """Return when arrival `index` comes."""
        return self.curve.inverse(index + 0.5)

    def rate(self, elapsed: float) -> float:
        """Return arrivals per second."""
        return self.curve.rate(elapsed)

    def _estimate(self, elapsed: float) -> int:
        return max(0, int(self.curve.integral(elapsed) + 0.5))


class Poisson(Arrivals):
    """A Poisson process whose rate follows a curve; the same one for the same seed, in every process.

    Drawn at the rate 1 and stretched to the curve, in blocks with a seed each, so that memory does not
    grow with every arrival and a late beginner comes to the same times.
    """

    __slots__ = ("_blocks", "_counts", "_seed", "curve")

    def __init__(self, curve: Curve, seed: str) -> None:
        self.curve = curve
        self._seed = seed
        # How many arrivals come before each block, and the last blocks that were looked at.
        self._counts = array("q", [0])
        self._blocks: dict[int, list[float]] = {}

    @property
    def duration(self) -> float:
        """When it is over."""
        return self.curve.duration

    def at(self, index: int) -> float:
        """Return when arrival `index` comes."""
        while self._counts[-1] <= index:
            begin = (len(self._counts) - 1) * _BLOCK
            if begin >= self.curve.total:
                return inf
            self._counts.append(self._counts[-1] + len(self._block(len(self._counts) - 1)))
        block = bisect_right(self._counts, index) - 1
        amount = block * _BLOCK + self._block(block)[index - self._counts[block]]
        return self.curve.inverse(amount)

    def rate(self, elapsed: float) -> float:
        """Return arrivals per second on average."""
        return self.curve.rate(elapsed)

    def _estimate(self, elapsed: float) -> int:
        amount = self.curve.integral(elapsed)
        block = int(amount // _BLOCK)
        while len(self._counts) <= block:
            self._counts.append(self._counts[-1] + len(self._block(len(self._counts) - 1)))
        return self._counts[block] + bisect_right(self._block(block), amount - block * _BLOCK)

    def _block(self, number: int) -> list[float]:
        block = self._blocks.get(number)
        if block is None:
            random = Random(f"{self._seed}/{number}")  # noqa: S311  chance that can be repeated
            block = []
            at = random.expovariate(1.0)
            while at < _BLOCK:
                block.append(at)
                at += random.expovariate(1.0)
            while len(self._blocks) >= _BLOCKS_KEPT:
                del self._blocks[next(iter(self._blocks))]
            self._blocks[number] = block
        return block


class Replay(Arrivals):
    """Arrivals at times that were recorded.

    Args:
        times: seconds, in any order.
        acceleration: how many times as fast as they were.

    Raises:
        ValueError: there are none.
    """

    __slots__ = ("_times",)

    def __init__(self, times: Iterable[float], acceleration: float = 1.0) -> None:
        self._times = array("d", sorted(each / acceleration for each in times))
        if not self._times:
            raise ValueError("there are no times")

    @property
    def duration(self) -> float:
        """When the last one has come."""
        return self._times[-1]

    def at(self, index: int) -> float:
        """Return when arrival `index` comes."""
        return self._times[index] if index < len(self._times) else inf

    def rate(self, elapsed: float) -> float:
        """Return how many come in the second around `elapsed`."""
        return float(self.count(elapsed + 0.5) - self.count(elapsed - 0.5))

    def _estimate(self, elapsed: float) -> int:
        return bisect_right(self._times, elapsed)


class Sequence(Arrivals):
    """One after the other: each begins when the one before is over.

    Args:
        pieces: at least one; only the last may have no end.

    Raises:
        ValueError: none, or one after what does not end.
    """

    __slots__ = ("_begins", "_firsts", "_pieces")

    def __init__(self, pieces: Iterable[Arrivals]) -> None:
        self._pieces = tuple(pieces)
        if not self._pieces:
            raise ValueError("there are no arrivals")
        self._begins = [0.0]
        for each in self._pieces[:-1]:
            if each.duration == inf:
                raise ValueError("something comes after what does not end")
            self._begins.append(self._begins[-1] + each.duration)
        # How many arrivals come before each piece, as far as somebody had to know.
        self._firsts = [0]

    @property
    def duration(self) -> float:
        """When the last one is over."""
        return self._begins[-1] + self._pieces[-1].duration

    def at(self, index: int) -> float:
        """Return when arrival `index` comes."""
        piece = bisect_right(self._firsts, index) - 1
        while True:
            at = self._pieces[piece].at(index - self._firsts[piece])
            if at < inf:
                return self._begins[piece] + at
            if piece + 1 == len(self._pieces):
                return inf
            piece += 1
            self._first(piece)

    def rate(self, elapsed: float) -> float:
        """Return arrivals per second."""
        if not 0 <= elapsed <= self.duration:
            return 0.0
        piece = bisect_right(self._begins, elapsed) - 1
        return self._pieces[piece].rate(elapsed - self._begins[piece])

    def _estimate(self, elapsed: float) -> int:
        piece = bisect_right(self._begins, elapsed) - 1
        return self._first(piece) + self._pieces[piece].count(elapsed - self._begins[piece])

    def _first(self, piece: int) -> int:
        while len(self._firsts) <= piece:
            before = len(self._firsts) - 1
            self._firsts.append(self._firsts[before] + int(self._pieces[before].total))
        return self._firsts[piece]
