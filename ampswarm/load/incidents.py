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

    def note(self, what: str, **details: object) -> None:
        """Remember that something happened now.

        Args:
            what: in a few words, the same for all of a kind.
            details: what JSON can hold.
        """
        if len(self._all) >= MAX_INCIDENTS:
            return
        self._all.append({"at": round(self._elapsed(), 3), "what": what, **details})

    def clear(self) -> None:
        """A test begins."""
        self._all.clear()

    def as_list(self) -> list[dict[str, Any]]:
        """Return them in order: `at` in seconds since the test began, `what`, and details."""
        return list(self._all)
