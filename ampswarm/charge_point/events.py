"""What a charge point observes, for whoever measures or logs it."""

from __future__ import annotations

from dataclasses import dataclass

from ampswarm.charge_point.link import Registration
from ampswarm.ocppj.session import Answered, Failed, Ignored, Refused


@dataclass(frozen=True, slots=True)
class Online:
    """The charge point is at work again.

    After a boot: it was Accepted. After a lost network, where no boot is due: the connection is open.
    """

    since: float
    """When it was switched on, or lost the connection that it had been online with."""
    now: float


@dataclass(frozen=True, slots=True)
class Registered:
    """BootNotification was answered."""

    registration: Registration
    interval: int
    """Seconds, as the answer had it."""


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """The central system called; `outcome` is the status answered, or the error code."""

    action: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message that the charge point gave up, and that the central system will never see."""

    action: str
    why: str
    """The same text for every charge point."""


@dataclass(frozen=True, slots=True)
class ProgressTold:
    """The central system knows how far a firmware update, an upload of diagnostics or one of a log has come."""

    action: str
    """The message that told it, such as FirmwareStatusNotification."""
    status: str


@dataclass(frozen=True, slots=True)
class TransactionStarted:
    """Energy may flow."""

    connector_id: int
    id_tag: str


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """A transaction has stopped at the charge point; the central system may not know yet."""

    connector_id: int
    id_tag: str
    reason: str
    energy: int
    """Wh, the difference of the two register readings that are sent."""
    seconds: float


StationEvent = (
    Online
    | Registered
    | CommandReceived
    | Dropped
    | ProgressTold
    | TransactionStarted
    | TransactionEnded
    | Answered
    | Failed
    | Refused
    | Ignored
)
