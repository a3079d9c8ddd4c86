"""What happened to a run that was not planned, or is worth a mark in a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

MAX_INCIDENTS: Final = 1000
"""That are remembered."""


class Incidents:
    """What happened, and when.

    Args:
        elapsed: returns the seconds since the test began.
    """

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._all: list[dict[str, Any]] = []

    def note(self, what: str, *, ago: float = 0.0, **details: object) -> None:
        """Remember that something happened.

        Args:
            what: in a few words, the same for all of a kind.
            ago: how many seconds.
            details: what JSON can hold.
        """
        if len(self._all) >= MAX_INCIDENTS:
            return
        at = max(0.0, self._elapsed() - ago)
        self._all.append({"at": round(at, 3), "what": what, **details})

    def clear(self) -> None:
        """A test begins."""
        self._all.clear()

    def as_list(self) -> list[dict[str, Any]]:
        """Return them in order: `at` in seconds since the test began, `what`, and details."""
        return sorted(self._all, key=lambda each: float(each["at"]))
