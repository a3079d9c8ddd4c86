"""The end of a process: its charge points are sent away, not all at once, and nothing that was confirmed is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from server.connections import CentralSystem, CloseCode

_TICK: Final = 0.05
_CLOSE_TIMEOUT: Final = 3.0
"""Seconds for the last charge points to answer the Close frame."""
_ABORT_TIMEOUT: Final = 1.0


async def drain(central: CentralSystem, *, rate: int, delay: float, hurry: asyncio.Event) -> None:
    """Close all connections with 1012 ("service restart": come back later, or elsewhere).

    Args:
        central: what has stopped to take new ones.
        rate: connections closed in a second.
        delay: seconds before the first.
        hurry: set by who cannot wait any longer.
    """
    await _wait(hurry, delay)
    central.close_calls()
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number, connection in enumerate(central.connections()):
        ahead = number / rate - (loop.time() - began)
        if ahead > 0:
            await _wait(hurry, max(ahead, _TICK))
        central.leave(connection, CloseCode.SERVICE_RESTART, "the central system restarts")
    await _until(lambda: not len(central), _CLOSE_TIMEOUT, hurry)
    central.abort_all()
    await _until(lambda: not len(central), _ABORT_TIMEOUT, None)


async def _wait(hurry: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await hurry.wait()


async def _until(condition: Callable[[], bool], seconds: float, hurry: asyncio.Event | None) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    # No event tells the last.
    while not condition() and loop.time() < deadline and not (hurry is not None and hurry.is_set()):  # noqa: ASYNC110
        await asyncio.sleep(_TICK)
