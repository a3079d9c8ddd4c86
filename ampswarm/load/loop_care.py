"""What keeps the loop of a process with thousands of charge points free for them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

import gevent

_FREEZE_EVERY: Final = 1.0
"""Seconds between two looks at whether the fleet has grown."""
_THRESHOLDS: Final = (50_000, 20, 100)
"""Of the garbage collector's generations, where 700, 10 and 10 are Python's own."""


class LoopCare:
    """Keeps garbage collection rare and short while a test runs.

    Args:
        count: returns how many charge points there are.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._greenlet: gevent.Greenlet | None = None
        self._before = gc.get_threshold()

    def begin(self, *, is_wanted: bool) -> None:
        """A test begins."""
        self.end()
        if not is_wanted:
            return
        self._before = gc.get_threshold()
        gc.set_threshold(*_THRESHOLDS)
        self._greenlet = gevent.spawn(self._run)

    def end(self) -> None:
        """The test is over, and its charge points are gone: nobody waits while what they left is collected."""
        if self._greenlet is None:
            return
        self._greenlet.kill(block=False)
        self._greenlet = None
        gc.set_threshold(*self._before)
        gc.unfreeze()

    def _run(self) -> None:
        most = 0
        while True:
            gevent.sleep(_FREEZE_EVERY)
            count = self._count()
            if count > most:
                most = count
                gc.freeze()
