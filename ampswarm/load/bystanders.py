"""How well those are served whom a storm does not hit: before it, while the others come back, and after that."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from ampswarm.ocppj.session import Answered, Failed
from ampswarm.results.recovery import BEFORE, Recovery

if TYPE_CHECKING:
    from collections.abc import Callable

    from ampswarm.charge_point.events import StationEvent
    from ampswarm.load.storm_spec import Storm

_REMEMBERED: Final = 10_000
"""Calls: what was before a storm that nobody had announced."""
_ENDED: Final = (Answered, Failed)


class _Watched(NamedTuple):
    began: float
    is_hit: Callable[[int], bool]
    counts: Recovery


class Bystanders:
    """The Calls of the charge points of one process, for the storms that are looked at."""

    def __init__(self) -> None:
        # Number of the charge point, end of the Call, wire time and time since due in ms, whether it failed.
        self._recent: deque[tuple[int, float, float, float, bool]] = deque(maxlen=_REMEMBERED)
        self._watched: list[_Watched] = []

    def note(self, number: int, event: StationEvent) -> None:
        """Take note of what a charge point observed; called for everything.

        Args:
            number: its number in the fleet.
            event: what it observed.
        """
        if not isinstance(event, _ENDED):
            return
        ended = event.ended
        wire, due, failed = (ended - event.sent) * 1000, (ended - event.due) * 1000, isinstance(event, Failed)
        self._recent.append((number, ended, wire, due, failed))
        for began, is_hit, counts in self._watched:
            if not is_hit(number):
                counts.note_other(ended - began, (wire, due), failed=failed)

    def watch(self, storm: Storm, began: float, counts: Recovery) -> None:
        """Count for a storm from now on, and what is remembered from before it.

        Args:
            storm: which.
            began: when it began, in seconds of the monotonic clock.
            counts: where to count.
        """
        is_hit = storm.hits()
        for number, ended, wire, due, failed in self._recent:
            if ended >= began - BEFORE and not is_hit(number):
                counts.note_other(ended - began, (wire, due), failed=failed)
        self._watched.append(_Watched(began, is_hit, counts))

    def look_away(self, counts: Recovery) -> None:
        """Count no more for the storm with `counts`."""
        self._watched = [each for each in self._watched if each.counts is not counts]

    def clear(self) -> None:
        """Forget everything: another test begins."""
        self._recent.clear()
        self._watched.clear()
