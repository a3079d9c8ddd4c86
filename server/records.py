"""What charge points said of themselves, kept small: there may be a million of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import orjson

from ampswarm.ocppj.frames import Payload

MAX_CONNECTORS: Final = 64
"""Connectors whose status is kept, for each charge point."""
_MAX_SHARED: Final = 4096


class Registered(Enum):
    """What the charge point's last BootNotification was answered, as far as this process knows."""

    UNKNOWN = "unknown"
    """It did not boot since this process started."""
    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


Statuses = tuple[tuple[int, str, str | None], ...]
"""For each connector: its number, the payload of its last StatusNotification without the timestamp,
as JSON, and the timestamp."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a charge point that is not connected."""

    registered: Registered
    boot: str | None
    """The payload of its last BootNotification, as JSON."""
    statuses: Statuses
    last_seen: float
    """Seconds since 1970."""


class Sharing:
    """Gives equal payloads of different charge points one place in memory.

    Bounded: of the first 4096 different ones, one is kept for the life of the process; others are
    not shared.
    """

    __slots__ = ("_shared",)

    def __init__(self) -> None:
        self._shared: dict[str, str] = {}

    def keep(self, payload: Payload) -> str:
        """Return `payload` as JSON."""
        # Text, although orjson reads and writes bytes: those of orjson are cut from a block of 1 KiB,
        # and keeping them leaves holes in the heap: 4 KiB for each charge point.
        text = orjson.dumps(payload).decode()
        if len(self._shared) < _MAX_SHARED:
            return self._shared.setdefault(text, text)
        return self._shared.get(text, text)


def with_status(statuses: Statuses, payload: Payload, sharing: Sharing) -> Statuses:
    """Return `statuses` with that of a StatusNotification.req in it."""
    connector_id: int = payload["connectorId"]
    status = sharing.keep({name: value for name, value in payload.items() if name != "timestamp"})
    others = [each for each in statuses if each[0] != connector_id]
    if len(others) >= MAX_CONNECTORS:
        return statuses
    return tuple(sorted([*others, (connector_id, status, payload.get("timestamp"))]))


def connectors(statuses: Statuses) -> dict[str, Payload]:
    """Return the payload of each connector's last StatusNotification, by connector number."""
    return {
        str(connector_id): {**orjson.loads(status), **({} if timestamp is None else {"timestamp": timestamp})}
        for connector_id, status, timestamp in statuses
    }
