"""A run that goes on, looked at again and again: what did not change is not counted anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ampswarm.results.histogram import Histogram, bucket
from ampswarm.results.timeline import Cell, Key, Timeline

Row = list[float]
"""Count, failures, and p50, p95 and p99 in milliseconds, of a type and name in a window."""
_PERCENTS: Final = (50.0, 95.0, 99.0)


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
        if self._generation != self._timeline.generation:
            self._generation = self._timeline.generation
            self._known.clear()
        return [(cell.begin, self._rows(cell)) for cell in self._timeline.cells(after)]

    def _rows(self, cell: Cell) -> Mapping[Key, Row]:
        known = self._known.get(cell.begin)
        if known is not None and known[0] == cell.version:
            return known[1]
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
        timeline = self._timeline
        if self._generation != timeline.generation:
            self._forget()
        found = [
            cell for cell in timeline.cells()
            if self._after <= cell.begin and cell.begin + timeline.width <= self._before
        ]  # fmt: skip
        if any(cell.version != self._summed.get(cell.begin, cell.version) for cell in found):
            self._forget()  # something came late, to a window that is in the sum already
        rest: list[Cell] = []
        for cell in found:
            if cell.begin in self._summed:
                continue
            if cell.version is None:
                rest.append(cell)
                continue
            self._summed[cell.begin] = cell.version
            for key, histogram in cell.histograms.items():
                self._sums.setdefault(key, Histogram()).merge(histogram)
        totals = dict(self._sums)
        for cell in rest:
            for key, histogram in cell.histograms.items():
                known = totals.get(key)
                totals[key] = Histogram.merged([histogram] if known is None else [known, histogram])
        return totals

    def _forget(self) -> None:
        self._generation = self._timeline.generation
        self._sums: dict[Key, Histogram] = {}
        self._summed: dict[float, int] = {}
