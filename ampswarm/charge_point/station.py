"""A charge point: its power, its link, its registration, and what it may send when.

Sans-IO. An adapter moves bytes and calls the methods below; it asks `next_deadline` how long it may
wait, sends what `poll` returns, and hands in what arrives. All times are seconds on one monotonic
clock of the adapter's choice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

from ampswarm.charge_point import commands
from ampswarm.charge_point.configuration import MAX_HEARTBEAT_INTERVAL
from ampswarm.charge_point.connector import ConnectorStatus, status_notification
from ampswarm.charge_point.ping_watch import PingWatch, WatchMode
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.session import (
    Answered,
    Failed,
    Failure,
    Ignored,
    Received,
    Refused,
    Session,
    UniqueIds,
)
from ampswarm.ocppj.timestamps import parse_utc

_FOREVER: Final = float("inf")
_NO_CONNECTOR: Final = -1


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


StationEvent = Online | Registered | CommandReceived | Answered | Failed | Refused | Ignored


class ChargePoint:
    """One charge point.

    Args:
        identity: its charge point identity (J 3.1.1).
        template: what it has in common with its fleet.
        unique_ids: where its message ids come from; may be shared.
        random: the source of its jitter; may be shared.
        utc_offset: what to add to the adapter's clock to get seconds since 1970, until the central
            system has told the time.
    """

    __slots__ = (
        "_boot_at",
        "_events",
        "_failures_in_a_row",
        "_heartbeat_interval",
        "_last_activity",
        "_last_heartbeat",
        "_offline_since",
        "_opened_at",
        "_random",
        "_replies",
        "_retry_at",
        "_session",
        "_status_due",
        "_status_in_flight",
        "_triggered",
        "_utc_offset",
        "_watch",
        "close_reason",
        "identity",
        "is_heard",
        "link",
        "registration",
        "template",
    )

    def __init__(
        self,
        identity: str,
        template: Template,
        *,
        unique_ids: UniqueIds,
        random: Random,
        utc_offset: float = 0.0,
    ) -> None:
        self.identity = identity
        self.template = template
        self.link = Link.OFF
        """How it stands to the network."""
        self.registration = Registration.NONE
        """How it stands to the central system. Kept over a lost network, forgotten by a reboot."""
        self.close_reason: CloseReason | None = None
        """Why it wants its connection closed; `None` unless `link` is CLOSING."""
        self.is_heard = True
        """Whether the central system has served it: False while its last Call got no CallResult."""
        self._session = Session(unique_ids, template.call_timeout)
        self._random = random
        self._utc_offset = utc_offset
        self._heartbeat_interval = template.heartbeat_interval
        self._failures_in_a_row = 0
        self._retry_at = 0.0
        self._boot_at = 0.0
        self._opened_at = 0.0
        self._last_activity = 0.0
        self._last_heartbeat = 0.0
        self._offline_since: float | None = None
        # One bit for each connector whose present status the central system has not confirmed.
        self._status_due = 0
        self._status_in_flight = _NO_CONNECTOR
        # Made when first needed: most charge points never need them.
        self._watch: PingWatch | None = None
        self._triggered: deque[tuple[str, int]] | None = None
        self._replies: list[bytes] | None = None
        self._events: list[StationEvent] | None = None

    # -- what the adapter reads ---------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        """Whether it is connected and accepted, so that it can do its work."""
        return self.link is Link.OPEN and self.registration is Registration.ACCEPTED

    @property
    def heartbeat_interval(self) -> int:
        """Seconds without a message after which a Heartbeat is due (core 9.1.10)."""
        return self._heartbeat_interval

    def utc(self, now: float) -> float:
        """Return what its own clock shows, in seconds since 1970."""
        return now + self._utc_offset

    def take_events(self) -> list[StationEvent]:
        """Return what happened since the last call, in order."""
        events = self._events
        if events is None:
            return []
        self._events = None
        return events

    def next_deadline(self) -> float:
        """Return when something becomes due by itself; infinity when nothing does."""
        if self.link is Link.WAITING:
            return self._retry_at
        if self.link is not Link.OPEN:
            return _FOREVER
        deadline = self._session.deadline
        if self.close_reason is not None:
            # Nothing but the outstanding Call is waited for: see `poll`.
            return 0.0 if deadline is None else deadline
        if deadline is None:
            deadline = self._next_call_at()
        if self._watch is not None:
            missing = self._watch.deadline
            if missing is not None and missing < deadline:
                return missing
        return deadline

    # -- power and link -----------------------------------------------------------------------

    def power_on(self, now: float, *, after: float = 0.0) -> None:
        """Switch it on; it connects `after` seconds and boots, because it was without power (J 5.4)."""
        self._move(Trigger.POWER_ON)
        self._boot(now + after)

    def power_off(self, now: float) -> None:
        """Cut its power: the connection goes, and with it the registration."""
        self._move(Trigger.POWER_OFF)
        self._forget_connection(now)
        self.registration = Registration.NONE
        self._offline_since = None

    def attempt(self, now: float) -> bool:
        """Return whether to connect now; if so, say next how it went: `opened` or `refused`."""
        if self.link is not Link.WAITING or now < self._retry_at:
            return False
        self._move(Trigger.ATTEMPT)
        return True

    def opened(self, now: float) -> None:
        """The connection stands: upgraded, with `ocpp1.6` agreed on."""
        self._move(Trigger.OPENED)
        self._opened_at = now
        if self._watch is not None:
            self._watch.opened()
        if self.registration is Registration.ACCEPTED:
            # J 5.4: no BootNotification after a mere loss of the network.
            self._online(now)

    def refused(self, now: float, *, retry_after: float = 0.0) -> None:
        """The attempt failed: no TCP, no TLS, no upgrade, or no subprotocol.

        Args:
            now: the time.
            retry_after: seconds that the central system asked for (Retry-After); the back-off's
                delay comes on top.
        """
        self._move(Trigger.REFUSED)
        self._back_off(now, retry_after)

    def lost(self, now: float) -> None:
        """The connection is gone, whoever ended it."""
        was_reset = self.close_reason is CloseReason.RESET
        self._move(Trigger.LOST)
        if self.registration is Registration.ACCEPTED and self._offline_since is None:
            self._offline_since = now
        if now - self._opened_at > self.template.backoff.maximum:
            self._failures_in_a_row = 0
        self._forget_connection(now)
        if was_reset:
            self._boot(now + self._jittered(self.template.reboot_time))
        else:
            self._back_off(now, 0.0)

    # -- messages -----------------------------------------------------------------------------

    def poll(self, now: float) -> list[bytes]:
        """Return the text messages to send now, in order.

        May find that the connection is dead, or that a Reset is to be carried out: `link` is then
        CLOSING, and the messages are still to be sent before the connection is closed.
        """
        if self.link is not Link.OPEN:
            return []
        replies = self._replies
        messages: list[bytes] = [] if replies is None else replies
        self._replies = None
        failed = self._session.expire(now)
        if failed is not None:
            self._call_failed(failed, now)
        if self.close_reason is not None:
            # Not before the outstanding Call has its answer: it would look like the network's fault.
            if self._session.is_idle:
                self._move(Trigger.CLOSE)
            return messages
        if self._watch is not None:
            missing = self._watch.deadline
            if missing is not None and now >= missing:
                self._watch.missed()
                self.close_reason = CloseReason.PING_MISSING
                self._move(Trigger.CLOSE)
                return messages
        if self._session.is_idle:
            message = self._next_call(now)
            if message is not None:
                messages.append(message)
        return messages

    def receive(self, text: str | bytes, now: float) -> None:
        """Take one text message of the central system. What it leads to comes out of `poll`."""
        if self._watch is not None:
            self._watch.heard(now)
        event = self._session.receive(text, now)
        match event:
            case Answered():
                self._failures_in_a_row = 0
                self.is_heard = True
                self._emit(event)
                self._call_answered(event, now)
            case Failed():
                self._call_failed(event, now)
            case Received(call):
                if self.registration is Registration.REJECTED:
                    # Core 4.2: it SHALL NOT respond while Rejected.
                    self._session.leave_unanswered(call.unique_id)
                    self._emit(CommandReceived(call.action, "not answered while Rejected"))
                else:
                    self._command(call.unique_id, call.action, call.payload, now)
            case Refused(_, reply):
                if self.registration is not Registration.REJECTED:
                    self._reply(reply)
                self._emit(event)
            case Ignored():
                self._emit(event)

    def ping_received(self, now: float) -> None:
        """A PING frame came in; the adapter has answered it."""
        if self._watch is None:
            if self.template.ping_watch.mode is WatchMode.OFF:
                return
            self._watch = PingWatch(self.template.ping_watch)
        self._watch.ping(now)

    # -- what commands ask for ----------------------------------------------------------------

    def trigger(self, wanted: list[tuple[str, int]]) -> bool:
        """Send each (action, connector) once, as TriggerMessage asked (core 5.17).

        Returns False when it may not send them.
        """
        if self.registration not in (Registration.ACCEPTED, Registration.PENDING):
            # Core 4.2: no other request between power-on and a BootNotification that succeeded.
            return False
        if self._triggered is None:
            self._triggered = deque()
        # Once is enough (core 5.17), which also bounds how many can wait.
        self._triggered.extend(each for each in wanted if each not in self._triggered)
        return True

    def trigger_boot(self, now: float) -> bool:
        """Send BootNotification without waiting for the interval to pass (core 4.2, 5.17).

        Returns False once it was Accepted, as core errata 3.35 recommends.
        """
        if self.registration is Registration.ACCEPTED:
            return False
        self._boot_at = min(self._boot_at, now)
        return True

    def reset(self) -> None:
        """Reboot once the answer to Reset.req is on its way (core 5.14)."""
        self.close_reason = CloseReason.RESET

    def change_heartbeat_interval(self, seconds: int) -> None:
        """Beat every `seconds` from now on (core 9.1.10)."""
        self._heartbeat_interval = seconds

    # -- inside -------------------------------------------------------------------------------

    def _move(self, trigger: Trigger) -> None:
        try:
            self.link = LINK_TRANSITIONS[self.link, trigger]
        except KeyError:
            raise ValueError(f"{self.identity}: {trigger} while {self.link}") from None

    def _emit(self, event: StationEvent) -> None:
        if self._events is None:
            self._events = []
        self._events.append(event)

    def _reply(self, text: bytes) -> None:
        if self._replies is None:
            self._replies = []
        self._replies.append(text)

    def _jittered(self, seconds: float) -> float:
        return seconds * self._random.uniform(0.5, 1.5)

    def _boot(self, at: float) -> None:
        """Start as after power-on: connect at `at`, and BootNotification first."""
        self.registration = Registration.NONE
        self._heartbeat_interval = self.template.heartbeat_interval
        self._failures_in_a_row = 0
        self._retry_at = self._boot_at = at
        self._offline_since = at

    def _back_off(self, now: float, retry_after: float) -> None:
        delay = self.template.backoff.delay(self._failures_in_a_row, self._random)
        self._failures_in_a_row += 1
        # On top, not instead: a fleet that was refused in one instant must not come back in one.
        self._retry_at = now + retry_after + delay

    def _forget_connection(self, now: float) -> None:
        for failed in self._session.lost(now):
            self._call_failed(failed, now)
        self.close_reason = None
        self._replies = None
        self._triggered = None

    def _online(self, now: float) -> None:
        since = self._offline_since
        self._offline_since = None
        if since is not None:
            self._emit(Online(since, now))

    def _heartbeat_at(self) -> float:
        # Any message may stand in for a Heartbeat, but for one in 24 h (core 4.6).
        return min(
            self._last_activity + self._heartbeat_interval,
            self._last_heartbeat + MAX_HEARTBEAT_INTERVAL,
        )

    def _next_call_at(self) -> float:
        match self.registration:
            case Registration.ACCEPTED:
                if self._triggered or self._status_due:
                    return 0.0
                return self._heartbeat_at()
            case Registration.PENDING:
                return 0.0 if self._triggered else self._boot_at
            case _:
                return self._boot_at

    def _next_call(self, now: float) -> bytes | None:
        """Return the next Call that may go out now, or `None`. In the order of what matters first."""
        registration = self.registration
        if registration in (Registration.ACCEPTED, Registration.PENDING) and self._triggered:
            return self._call_triggered(now)
        if registration is not Registration.ACCEPTED:
            # Core 4.2: nothing else goes first, and nothing at all before the interval is over.
            if now < self._boot_at:
                return None
            return self._call_boot(now)
        if self._status_due:
            connector_id = (self._status_due & -self._status_due).bit_length() - 1
            self._status_due &= ~(1 << connector_id)
            return self._call_status(connector_id, now)
        due = self._heartbeat_at()
        return self._call_heartbeat(now, due) if now >= due else None

    def _call_triggered(self, now: float) -> bytes | None:
        assert self._triggered
        action, connector_id = self._triggered.popleft()
        match action:
            case "Heartbeat":
                return self._call_heartbeat(now, now)
            case "StatusNotification":
                self._status_due &= ~(1 << connector_id)
                return self._call_status(connector_id, now)
            case _:
                return self._call(action, {"status": "Idle"}, now, now)

    def _call_boot(self, now: float) -> bytes | None:
        payload = self.template.boot_notification(self.identity)
        return self._call("BootNotification", payload, now, max(self._boot_at, self._opened_at))

    def _call_heartbeat(self, now: float, due: float) -> bytes | None:
        self._last_heartbeat = now
        # A due time before the connection stood would measure the network's absence, not the
        # central system; that is what `Online` is for.
        return self._call("Heartbeat", {}, now, max(due, self._opened_at))

    def _call_status(self, connector_id: int, now: float) -> bytes | None:
        self._status_in_flight = connector_id
        payload = status_notification(connector_id, ConnectorStatus.AVAILABLE, self.utc(now))
        return self._call("StatusNotification", payload, now, now)

    def _call(self, action: str, payload: Payload, now: float, due: float) -> bytes | None:
        self._last_activity = now
        return self._session.call(action, payload, now, due=due)

    def _call_answered(self, answered: Answered, now: float) -> None:
        if answered.action == "Heartbeat":
            self._set_clock(answered.payload["currentTime"], now)
        elif answered.action == "BootNotification":
            self._registered(answered.payload, now)

    def _call_failed(self, failed: Failed, now: float) -> None:
        self._emit(failed)
        was_cut = failed.failure is Failure.CONNECTION_LOST
        if not was_cut:
            self.is_heard = False
        if failed.action == "BootNotification":
            # Core 4.2 gives no time for a lost answer: after a cut the back-off is pause enough.
            pause = 0.0 if was_cut else self._jittered(self.template.boot_retry_interval)
            self._boot_at = now + pause
        elif failed.action == "StatusNotification" and was_cut:
            # The central system may not know this status: say it again when back (core 4.9).
            self._status_due |= 1 << self._status_in_flight

    def _registered(self, payload: Payload, now: float) -> None:
        registration = Registration(payload["status"])
        interval: int = payload["interval"]
        self._emit(Registered(registration, interval))
        self.registration = registration
        self._set_clock(payload["currentTime"], now)
        if registration is Registration.ACCEPTED:
            if interval > 0:
                self._heartbeat_interval = min(interval, MAX_HEARTBEAT_INTERVAL)
            # The answer brought the time, as a Heartbeat would have.
            self._last_heartbeat = now
            # Core errata 3.22: connector 0 and every connector, with the present status.
            self._status_due = (1 << (self.template.connectors + 1)) - 1
            self._online(now)
        else:
            wait = interval if interval > 0 else self._jittered(self.template.boot_retry_interval)
            self._boot_at = now + wait

    def _set_clock(self, current_time: str, now: float) -> None:
        try:
            self._utc_offset = parse_utc(current_time) - now
        except ValueError:
            # The schema lets any text through; a charge point keeps the clock it has.
            return

    def _command(self, unique_id: str, action: str, payload: Payload, now: float) -> None:
        try:
            answer = commands.handle(self, action, payload, now)
        except OcppError as error:
            self._reply(self._session.refuse(unique_id, error))
            self._emit(CommandReceived(action, error.code.value))
        else:
            self._reply(self._session.respond(unique_id, answer))
            self._emit(CommandReceived(action, str(answer.get("status", ""))))
