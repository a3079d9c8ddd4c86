"""How many Calls there were, counted where they are made: what the statistics have to add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ampswarm.load.measurements import Measurements
    from ampswarm.load.reports import Reports
    from ampswarm.ocppj.session import UniqueIds

KINDS: Final = ("sent", "answered", "failed", "cut_off", "commands")
"""`sent` is counted by the message ids that were given away, and not by what was measured. It is the sum of those
answered, failed, and cut off by the end of the test. `commands` are the central system's Calls."""


class CallCounts:
    """Calls by action, in this process and, where all comes together, of the run.

    Args:
        unique_ids: which count the Calls that are sent.
        measurements: which count what became of them.
        reports: how a worker's part comes to the master.
    """

    def __init__(self, unique_ids: UniqueIds, measurements: Measurements, reports: Reports) -> None:
        self._sources: dict[str, Callable[[], Mapping[str, int]]] = {
            "sent": lambda: unique_ids.given,
            "answered": lambda: measurements.answered,
            "failed": lambda: measurements.failed,
            "cut_off": lambda: measurements.cut_off,
            "commands": lambda: measurements.commands,
        }
        self._told: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        self._sums: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        reports.add("calls", self._take, self._accept)

    def begin(self) -> None:
        """A test begins: count from here."""
        for kind, source in self._sources.items():
            self._told[kind] = dict(source())
            self._sums[kind].clear()

    def _take(self) -> dict[str, dict[str, int]]:
        news: dict[str, dict[str, int]] = {}
        for kind, source in self._sources.items():
            now, told = source(), self._told[kind]
            more = {action: count - told.get(action, 0) for action, count in now.items() if count != told.get(action)}
            if more:
                news[kind] = more
                self._told[kind] = dict(now)
        return news

    def _accept(self, _worker: str, news: Mapping[str, Mapping[str, Any]]) -> None:
        for kind, more in news.items():
            self._sums[kind].update({str(action): int(count) for action, count in more.items()})

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Return how many of each kind (`KINDS`) there were, by action; those of which there were none are left out."""
        actions = sorted({action for kind in KINDS for action in self._sums[kind]})
        return {
            action: {kind: self._sums[kind][action] for kind in KINDS if self._sums[kind][action]} for action in actions
        }
