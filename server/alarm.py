"""Timers that are exact: an event loop's own may be a millisecond late, and a delay of 50 ms is to be one of 50 ms.

asyncio waits with epoll, in whole milliseconds, rounded up. Linux has timers that are files (timerfd), at which epoll
wakes when they are due. Python knows them from 3.13 on; here they are called by ctypes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import os
import sys
from collections.abc import Callable
from itertools import count
from typing import Any, Final

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_FLAGS: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_NANOSECONDS: Final = 1_000_000_000


class _Setting(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class Alarm:
    """Calls back when something is due. For one event loop, from the first use on."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._file = -1
        self._library: Any = None
        self._numbers = count()
        self._waiting: list[tuple[float, int, asyncio.Handle]] = []

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> asyncio.Handle:
        """Call back in `delay` seconds, unless the handle that is returned is cancelled."""
        loop = self._loop or self._begin()
        if self._file < 0:
            return loop.call_later(delay, callback, *args)
        due = loop.time() + delay
        handle = asyncio.Handle(callback, args, loop)
        heapq.heappush(self._waiting, (due, next(self._numbers), handle))
        if self._waiting[0][2] is handle:
            self._set(due)
        return handle

    def _begin(self) -> asyncio.AbstractEventLoop:
        self._loop = loop = asyncio.get_running_loop()
        if sys.platform == "linux" and ctypes.sizeof(ctypes.c_long) == 8:
            # Where it does not work, the loop's own timers do.
            with contextlib.suppress(OSError, AttributeError):
                self._library = ctypes.CDLL(None, use_errno=True)
                self._file = self._library.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
                if self._file >= 0:
                    loop.add_reader(self._file, self._ring)
        return loop

    def _set(self, due: float) -> None:
        seconds, rest = divmod(max(due, 1e-9), 1.0)
        # A time that is over is due at once; all zeros would switch it off.
        setting = _Setting(0, 0, int(seconds), int(rest * _NANOSECONDS) or 1)
        self._library.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(setting), None)

    def _ring(self) -> None:
        assert self._loop is not None
        with contextlib.suppress(BlockingIOError):
            os.read(self._file, 8)
        now = self._loop.time()
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            handle = heapq.heappop(waiting)[2]
            if not handle.cancelled():
                handle._run()  # noqa: SLF001  as the loop does, which reports what it raises
        while waiting and waiting[0][2].cancelled():
            heapq.heappop(waiting)
        if waiting:
            self._set(waiting[0][0])
