"""How many charge points are online, over all processes of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from locust.runners import LocalRunner

_FORGOTTEN_AFTER: Final = 10.0
"""Seconds after which a worker that says nothing has none online, as far as anybody knows."""


class Attendance:
    """Who is there.

    Args:
        count: returns how many charge points of this process are online, and how many there are.
        runner: Locust's, of any kind.
    """

    def __init__(self, count: Callable[[], tuple[int, int]], runner: Any) -> None:  # noqa: ANN401
        self._count = count
        self._is_local = isinstance(runner, LocalRunner)
        self._said: dict[str, tuple[float, int]] = {}

    @property
    def online(self) -> int:
        """How many are, as far as is known; on the master, or in a single process."""
        if self._is_local:
            return self._count()[0]
        now = time.monotonic()
        return sum(online for at, online in self._said.values() if now - at < _FORGOTTEN_AFTER)

    def take(self) -> list[int]:
        """Return what this process has to say."""
        return list(self._count())

    def accept(self, process: str, said: Any) -> None:  # noqa: ANN401  whatever came in a message
        """Take what a process said.

        Raises:
            ValueError: it is something else.
        """
        online, _ = said
        self._said[process] = time.monotonic(), int(online)
