"""How a charge point stands to the network, as one table of states."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Link(StrEnum):
    """How the charge point stands to the network."""

    OFF = "off"
    """No power."""
    WAITING = "waiting"
    """For the time of the next attempt to connect."""
    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    """The charge point wants the connection closed; the adapter closes it."""


class Trigger(StrEnum):
    """What moves a link from one state to another."""

    POWER_ON = "power on"
    ATTEMPT = "attempt"
    OPENED = "opened"
    REFUSED = "refused"
    CLOSE = "close"
    LOST = "lost"
    POWER_OFF = "power off"


LINK_TRANSITIONS: Final[dict[tuple[Link, Trigger], Link]] = {
    (Link.OFF, Trigger.POWER_ON): Link.WAITING,
    (Link.WAITING, Trigger.ATTEMPT): Link.CONNECTING,
    (Link.CONNECTING, Trigger.OPENED): Link.OPEN,
    (Link.CONNECTING, Trigger.REFUSED): Link.WAITING,
    (Link.OPEN, Trigger.CLOSE): Link.CLOSING,
    (Link.OPEN, Trigger.LOST): Link.WAITING,
    (Link.CLOSING, Trigger.LOST): Link.WAITING,
    (Link.WAITING, Trigger.POWER_OFF): Link.OFF,
    (Link.CONNECTING, Trigger.POWER_OFF): Link.OFF,
    (Link.OPEN, Trigger.POWER_OFF): Link.OFF,
    (Link.CLOSING, Trigger.POWER_OFF): Link.OFF,
}
"""Every transition of a link. What is not here is a fault of the adapter and raises `ValueError`."""


class Registration(StrEnum):
    """What the central system last said to BootNotification since power-on (core 7.38)."""

    NONE = "none"
    PENDING = "Pending"
    REJECTED = "Rejected"
    ACCEPTED = "Accepted"


class CloseReason(StrEnum):
    """Why the charge point itself ends a connection."""

    RESET = "reset"
    PING_MISSING = "no PING in time"
    PONG_MISSING = "no PONG in time"
    CREDENTIALS = "new credentials"
