"""What was measured, second by second."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from math import ceil, floor
from typing import Final, NamedTuple

from ampswarm.results.histogram import Histogram

Key = tuple[str, str]
"""Type and name, as in Locust's table."""

MAX_WINDOWS: Final = 1200
"""Windows that are kept: 20 minutes of seconds, 40 minutes of two seconds, and so on."""


_generations: Final = count()


class Cell(NamedTuple):
    """A window of a timeline, as it is now."""

    begin: float
    version: int | None
    """The same for as long as nothing is added to it; `None` while that may happen at any moment."""
    histograms: Mapping[Key, Histogram]


class Timeline:
    """Histograms by window of time, type and name.

    Times are seconds since the test began. A window is as wide as `width`; when there are more than
    `MAX_WINDOWS` of them, each two become one.
    """

    def __init__(self) -> None:
        self.width = 1
        """Seconds of a window."""
        self.since = 0.0
        """When it was begun anew, in seconds since the test began."""
        self._windows: dict[int, dict[Key, Histogram]] = {}
        # How often something was added to a window that is not the current one; and to which timeline of all.
        self._versions: dict[int, int] = {}
        self.generation = next(_generations)
        """Another one as soon as windows are gone, or are others than before."""
        # The window that samples go into now, and where it begins and ends.
        self._current: dict[Key, Histogram] = {}
        self._from = self._until = 0.0
        self._last = 0

    def add(self, kind: str, name: str, at: float, milliseconds: float | None, *, failed: bool = False) -> None:
        """Count a sample that ended `at`."""
        at = max(at, 0.0)
        while not self._from <= at < self._until:
            self._turn(at)  # twice, where the windows have become wider
        key = kind, name
        histogram = self._current.get(key)
        if histogram is None:
            histogram = self._current[key] = Histogram()
        histogram.add(milliseconds, failed=failed)

    def add_all(self, kind: str, name: str, at: float, histogram: Histogram) -> None:
        """Count many samples that ended about `at`."""
        self._merge(max(0, int(at // self.width)), [((kind, name), Histogram.merged([histogram]))])
        self._widen()

    def _turn(self, at: float) -> None:
        index = int(at // self.width)
        self._current = self._windows.setdefault(index, {})
        self._versions[index] = self._versions.get(index, 0) + 1
        self._from, self._until = float(index * self.width), float((index + 1) * self.width)
        if index > self._last:
            self._last = index
            self._widen()

    def _widen(self) -> None:
        while self._last >= MAX_WINDOWS:
            self.width *= 2
            self._last //= 2
            self.generation = next(_generations)
            old, self._windows = self._windows, {}
            self._versions.clear()
            for index, cells in old.items():
                self._merge(index // 2, cells.items())
            # What comes next has to look for its window again.
            self._from = self._until = 0.0
            self._current = {}

    def _merge(self, index: int, cells: Iterable[tuple[Key, Histogram]]) -> None:
        self._last = max(self._last, index)
        self._versions[index] = self._versions.get(index, 0) + 1
        window = self._windows.setdefault(index, {})
        for key, histogram in cells:
            if key in window:
                window[key].merge(histogram)
            else:
                window[key] = histogram

    def clear(self, since: float = 0.0) -> None:
        """Forget everything; what comes now is that since a time of the test."""
        self.__init__()  # type: ignore[misc]
        self.since = since

    def seen(self) -> list[Key]:
        """Return every type and name that was seen, in order."""
        return sorted({key for cells in self._windows.values() for key in cells})

    def windows(self, key: Key) -> Iterator[tuple[float, Histogram]]:
        """Yield where each window begins, in seconds, and what it has; those without a sample are left out."""
        for index in sorted(self._windows):
            histogram = self._windows[index].get(key)
            if histogram is not None and histogram.count:
                yield float(index * self.width), histogram

    def cells(self, after: float = float("-inf")) -> Iterator[Cell]:
        """Yield every window that has something and begins after a time, in order."""
        for index in sorted(self._windows):
            begin = float(index * self.width)
            if begin > after and self._windows[index]:
                is_current = index >= self._last
                yield Cell(begin, None if is_current else self._versions.get(index, 0), self._windows[index])

    @property
    def last(self) -> int:
        """Number of the last window; it is `width` times as many seconds since the test began."""
        return self._last

    @property
    def versions(self) -> Mapping[int, int]:
        """How often something came to each window, by its number; to the last one, and nobody knows."""
        return self._versions

    def window(self, number: int) -> Mapping[Key, Histogram]:
        """Return what a window has."""
        return self._windows.get(number, {})

    def whole(self, after: float, before: float) -> tuple[int, int]:
        """Return where the windows begin and end that lie wholly between two times; there is none if not in order."""
        return ceil(after / self.width) * self.width, floor(before / self.width) * self.width

    def total(self, key: Key, *, after: float = 0.0, before: float = float("inf")) -> Histogram:
        """Return the sum of the windows that lie wholly between two times."""
        return Histogram.merged(
            histogram for begin, histogram in self.windows(key) if after <= begin and begin + self.width <= before
        )

    # -- from workers to the master ----------------------------------------------------------

    def take(self) -> list[object]:
        """Return all that was counted since the last time, for `accept`, and forget it."""
        packed: list[object] = [
            [index * self.width, self.width, kind, name, histogram.pack()]
            for index, cells in self._windows.items()
            for (kind, name), histogram in cells.items()
        ]
        self.clear()
        return packed

    def accept(self, packed: Iterable[object], later: float = 0.0) -> None:
        """Add what another timeline had taken.

        Args:
            packed: what `take` returned.
            later: seconds by which the other one began after this one.

        Raises:
            ValueError: it is nothing of the sort.
        """
        for each in packed:
            if not isinstance(each, list) or len(each) != 5:
                raise ValueError("no window of a timeline")
            begin, _, kind, name, histogram = each
            # A worker's windows are as fine or finer: it forgets them with each report.
            self._merge(
                max(0, int(begin + later) // self.width), [((str(kind), str(name)), Histogram.unpack(histogram))]
            )
            self._widen()
