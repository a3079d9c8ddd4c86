"""What the last boot of a charge point was answered, and what it may not be asked because of it (core 4.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from server.records import Registered
from server.store import StoreFailed

_REMOTE: Final = frozenset({"RemoteStartTransaction", "RemoteStopTransaction"})
_FORCE: Final = "force=true sends it all the same"


def objection(registered: Registered, action: str) -> str | None:
    """Return why a charge point should not be asked something, in one line; `None` when it may be.

    Args:
        registered: what its last boot was answered.
        action: what it is to be asked.
    """
    if registered is Registered.REJECTED:
        return f"its boot was answered Rejected, and no Call should be sent then (core 4.2); {_FORCE}"
    if registered is Registered.PENDING and action in _REMOTE:
        return f"its boot was answered Pending, and {action} is not allowed then (core 4.2); {_FORCE}"
    return None


class Recall:
    """Looks up what boots were answered: of all that is asked for at one moment, at once.

    Args:
        read: returns what the boots of charge points were answered, of those that are known.
    """

    def __init__(self, read: Callable[[Collection[str]], Awaitable[Mapping[str, Registered]]]) -> None:
        self._read = read
        self._wanted: set[str] = set()
        self._next: asyncio.Task[Mapping[str, Registered]] | None = None

    async def of(self, identity: str) -> Registered:
        """Return what the last boot of a charge point was answered; unknown, too, while the store has no answer."""
        self._wanted.add(identity)
        if self._next is None:
            self._next = asyncio.create_task(self._look_up())
        # Whoever goes away must not take the answer of the others along.
        return (await asyncio.shield(self._next)).get(identity, Registered.UNKNOWN)

    async def _look_up(self) -> Mapping[str, Registered]:
        wanted, self._wanted, self._next = self._wanted, set(), None
        try:
            return await self._read(wanted)
        except StoreFailed:
            # It is advice; who has lost the store wants to reach charge points all the more.
            return {}
