"""A run that goes on, looked at again and again: what did not change is not counted anew.

Whoever looks at hours for the first time counts them in steps (`catch_up`), and lets others have their turn between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ampswarm.results.generators import REPORT_INTERVAL
from ampswarm.results.histogram import Histogram, bucket
from ampswarm.results.timeline import Cell, Key, Timeline

Row = list[float]
"""Count, failures, and p50, p95 and p99 in milliseconds, of a type and name in a window."""
_PERCENTS: Final = (50.0, 95.0, 99.0)
_SETTLED: Final = 3 * REPORT_INTERVAL
"""Seconds behind the last window: of what is older, workers have told everything, but for one that hung."""
STEP: Final = 10
"""Windows that are counted in some milliseconds, whatever is in them."""


class RunningRows:
    """The windows of a timeline as rows of numbers.

    Args:
        timeline: whose.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._generation = -1
        self._known: dict[float, tuple[int, dict[Key, Row]]] = {}

    def windows(self, after: float = float("-inf")) -> list[tuple[float, Mapping[Key, Row]]]:
        """Return where each window begins that begins after a time, and its rows, in order."""
        self._check_generation()
        return [(cell.begin, self._rows(cell)) for cell in self._timeline.cells(after)]

    def catch_up(self, after: float = float("-inf")) -> bool:
        """Count the next `STEP` windows that `windows` would have to count; return whether it has no more of them."""
        self._check_generation()
        unknown = [
            cell for cell in self._timeline.cells(after) if cell.version is not None and self._of(cell) is None
        ]  # fmt: skip
        for cell in unknown[:STEP]:
            self._rows(cell)
        return len(unknown) <= STEP

    def _check_generation(self) -> None:
        if self._generation != self._timeline.generation:
            self._generation = self._timeline.generation
            self._known.clear()

    def _of(self, cell: Cell) -> Mapping[Key, Row] | None:
        known = self._known.get(cell.begin)
        return known[1] if known is not None and known[0] == cell.version else None

    def _rows(self, cell: Cell) -> Mapping[Key, Row]:
        known = self._of(cell)
        if known is not None:
            return known
        rows = {key: _row(histogram) for key, histogram in cell.histograms.items()}
        if cell.version is not None:
            self._known[cell.begin] = cell.version, rows
        return rows


def _row(histogram: Histogram) -> Row:
    return [histogram.count, histogram.failures, *(bucket(each) for each in histogram.percentiles(_PERCENTS))]


class RunningTotals:
    """The sums of the windows that lie wholly between two times, by type and name.

    Args:
        timeline: whose.
        after: seconds since the test began.
        before: seconds since the test began.
    """

    def __init__(self, timeline: Timeline, after: float = 0.0, before: float = float("inf")) -> None:
        self._timeline = timeline
        self._after = after
        self._before = before
        self._forget()

    def totals(self) -> dict[Key, Histogram]:
        """Return them as they are now."""
        while not self.catch_up():
            pass
        rest: dict[Key, list[Histogram]] = {}
        for number in self._unknown():
            for key, histogram in self._timeline.window(number).items():
                rest.setdefault(key, []).append(histogram)
        totals = dict(self._sums)
        for key, histograms in rest.items():
            totals[key] = Histogram.merged([totals[key], *histograms] if key in totals else histograms)
        return totals

    def catch_up(self) -> bool:
        """Add the next `STEP` windows that are settled to the sum; return whether there are no more of them."""
        timeline = self._timeline
        if self._generation != timeline.generation:
            self._forget()
        if not self._summed.items() <= timeline.versions.items():
            self._forget()  # something came late, to a window that is in the sum already
        settled = timeline.last - max(1, _SETTLED / timeline.width)
        unknown = [number for number in self._unknown() if number < settled]
        for number in unknown[:STEP]:
            self._summed[number] = timeline.versions[number]
            for key, histogram in timeline.window(number).items():
                self._sums.setdefault(key, Histogram()).merge(histogram)
        return len(unknown) <= STEP

    def _unknown(self) -> list[int]:
        """Return the windows that lie wholly in the time and are not in the sum, in order."""
        width = self._timeline.width
        return sorted(
            number for number in self._timeline.versions.keys() - self._summed.keys()
            if self._after <= number * width and (number + 1) * width <= self._before
        )  # fmt: skip

    def _forget(self) -> None:
        self._generation = self._timeline.generation
        self._sums: dict[Key, Histogram] = {}
        self._summed: dict[int, int] = {}
        """By the number of each window that is in the sum, its version."""
