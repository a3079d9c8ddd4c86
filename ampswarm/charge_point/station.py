"""A charge point: its power, its link, its registration, and what it may send when.

Sans-IO. An adapter moves bytes and calls the methods below; it asks `next_deadline` how long it may
wait, sends what `poll` returns, and hands in what arrives. All times are seconds on one monotonic
clock of the adapter's choice.
"""

from __future__ import annotations

from random import Random
from typing import Final

from ampswarm.charge_point import commands, security_commands
from ampswarm.charge_point.calls import Calls
from ampswarm.charge_point.configuration import MAX_HEARTBEAT_INTERVAL, Key
from ampswarm.charge_point.connector import NEVER
from ampswarm.charge_point.events import CommandReceived, Online, Registered, StationEvent
from ampswarm.charge_point.link import LINK_TRANSITIONS, CloseReason, Link, Registration, Trigger
from ampswarm.charge_point.notice import Done, Notice
from ampswarm.charge_point.parts import Parts
from ampswarm.charge_point.ping_watch import Pinger, PingWatch, WatchMode
from ampswarm.charge_point.security import Security, SecurityEvent
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.transaction import Reason
from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.session import Answered, Failed, Ignored, Received, Refused, UniqueIds
from ampswarm.ocppj.timestamps import parse_utc

_SOON: Final = 0.5
"""Seconds by which the clock may be set without any plan being made anew."""
_NOTED: Final = 10.0
"""Seconds from which on setting the clock is a security event: below, it only keeps the clock right."""


_HARD_RESET_PATIENCE: Final = 1.0
"""Seconds for the answer to an outstanding Call to come before a hard reset, which waits for nothing else."""


class ChargePoint(Parts):
    """One charge point.

    Args:
        identity: its charge point identity (J 3.1.1).
        template: what it has in common with its population.
        unique_ids: where its message ids come from; may be shared.
        random: the source of its jitter; may be shared.
        utc_offset: what to add to the adapter's clock to get seconds since 1970, until the central
            system has told the time.
        security: what it proves itself with; `None` for nothing beyond its template.
    """

    __slots__ = (
        "_close_by",
        "_drain_until",
        "_events",
        "_failures_in_a_row",
        "_heartbeat_interval",
        "_is_down",
        "_offline_since",
        "_pinger",
        "_replies",
        "_retry_at",
        "_utc_offset",
        "_was_accepted",
        "_watch",
        "boot_at",
        "close_reason",
        "firmware_version",
        "is_heard",
        "link",
        "opened_at",
        "registration",
    )

    def __init__(
        self,
        identity: str,
        template: Template,
        *,
        unique_ids: UniqueIds,
        random: Random,
        utc_offset: float = 0.0,
        security: Security | None = None,
    ) -> None:
        super().__init__(identity, template, random=random, security=security)
        self.link = Link.OFF
        """How it stands to the network."""
        self.registration = Registration.NONE
        """How it stands to the central system. Kept over a lost network, forgotten by a reboot."""
        self.close_reason: CloseReason | None = None
        """Why it wants its connection closed; `None` for not at all."""
        self.is_heard = True
        """Whether the central system has served it: False while its last Call got no CallResult."""
        self.firmware_version = template.firmware_version
        self._calls = Calls(self, unique_ids)
        self._utc_offset = utc_offset + template.clock_error
        # Beside the configuration, which would need a table for each charge point of a fleet that is
        # told another interval than its default.
        self._heartbeat_interval = self.configuration.integer(Key.HEARTBEAT_INTERVAL)
        self._failures_in_a_row = 0
        self._retry_at = 0.0
        self.boot_at = 0.0
        self.opened_at = 0.0
        self._offline_since: float | None = None
        self._was_accepted = False
        self._is_down = True
        self._drain_until = 0.0
        self._close_by = NEVER
        # Made when first needed: most charge points never need them.
        self._watch: PingWatch | None = None
        self._pinger: Pinger | None = None
        self._replies: list[bytes] | None = None
        self._events: list[StationEvent] | None = None

    # -- what the adapter reads ---------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        """Whether it is connected and accepted, so that it can do its work."""
        return self.link is Link.OPEN and self.registration is Registration.ACCEPTED

    @property
    def is_running(self) -> bool:
        """Whether it has power and is not rebooting."""
        return self.link is not Link.OFF and not self._is_down

    @property
    def may_charge(self) -> bool:
        """Whether it runs, and was ever accepted, and not Rejected since (core 4.2.1)."""
        # Nothing starts any more that a Reset would have to stop (core errata 3.36).
        is_allowed = self._was_accepted and self.registration is not Registration.REJECTED
        return is_allowed and self.is_running and self.close_reason is not CloseReason.RESET

    @property
    def heartbeat_interval(self) -> int:
        """Seconds without a message after which a Heartbeat is due (core 9.1.10)."""
        return self._heartbeat_interval

    @property
    def is_waiting(self) -> bool:
        """Whether a Call of its own has no answer so far."""
        return self._calls.session.deadline is not None

    @property
    def unsent(self) -> int:
        """Transaction messages that the central system has not taken yet."""
        return self._calls.unsent

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
        deadline, timer = self._link_deadline(), self._timer()
        return timer if timer < deadline else deadline  # noqa: FURB136  a call less for every message

    def _link_deadline(self) -> float:
        if self.link is Link.WAITING:
            return self._retry_at
        if self.link is not Link.OPEN:
            return NEVER
        deadline = self._calls.session.deadline
        if self.close_reason is not None:
            # Nothing but the outstanding Call and the last transactions are waited for: see `poll`.
            if deadline is not None:
                return min(deadline, self._close_by)
            return self._calls.ready_at if self._is_draining() else 0.0
        if deadline is None:
            deadline = self._calls.next_at()
        if self._watch is not None:
            missing = self._watch.deadline
            if missing is not None and missing < deadline:
                deadline = missing
        if self._pinger is not None and self._pinger.deadline < deadline:
            return self._pinger.deadline
        return deadline

    def _timer(self) -> float:
        """Return when something becomes due that has nothing to do with the connection."""
        timer = NEVER if self.connectors is None else self.connectors.timer
        if self._maintenance is not None and self._maintenance.deadline < timer:
            timer = self._maintenance.deadline
        # Looked at for every message: what most charge points do not have costs a comparison.
        return self._renew_at if self._renew_at < timer and self.is_online else timer

    # -- power and link -----------------------------------------------------------------------

    def power_on(self, now: float, *, after: float = 0.0) -> None:
        """Switch it on; it connects `after` seconds and boots, because it was without power (J 5.4)."""
        self._move(Trigger.POWER_ON)
        self._boot(now + after)

    def power_off(self, now: float) -> None:
        """Cut its power: the connection goes, and with it the registration; transactions stop (core 7.36)."""
        self.advance(now)
        self._move(Trigger.POWER_OFF)
        self._forget_connection(now)
        self.registration = Registration.NONE
        self._offline_since = None
        if self.connectors is not None:
            self.connectors.power_lost(now)
        if self._maintenance is not None:
            self._maintenance.power_lost(now)
        self._is_down = True

    def attempt(self, now: float) -> bool:
        """Return whether to connect now; if so, say next how it went: `opened` or `refused`."""
        if self.link is not Link.WAITING or now < self._retry_at:
            return False
        if self._is_down:
            self._start_up(now)
        self._move(Trigger.ATTEMPT)
        return True

    def opened(self, now: float) -> None:
        """The connection stands: upgraded, with `ocpp1.6` agreed on."""
        self._move(Trigger.OPENED)
        self.opened_at = now
        if self._watch is not None:
            self._watch.opened()
        interval = self.configuration.integer(Key.WEB_SOCKET_PING_INTERVAL)
        self._pinger = Pinger(interval, now) if interval else None
        if self._security is not None:
            self.security_changed(now)
        if self.registration is Registration.ACCEPTED:
            # J 5.4: no BootNotification after a mere loss of the network.
            self._online(now)

    def refused(
        self,
        now: float,
        *,
        retry_after: float = 0.0,
        event: SecurityEvent | None = None,
        why: str = "",
        was_own_certificate: bool = False,
    ) -> None:
        """The attempt failed: no TCP, no TLS, no upgrade, or no subprotocol.

        Args:
            now: the time.
            retry_after: seconds that the central system asked for (Retry-After); the back-off's
                delay comes on top.
            event: what it means to the charge point's security.
            why: the failure in words.
            was_own_certificate: whether the central system did not take the charge point's certificate.
        """
        self._move(Trigger.REFUSED)
        if self._security is not None:
            security_commands.connection_refused(
                self, now, event=event, tech_info=why, was_own_certificate=was_own_certificate
            )
        if self.close_reason is CloseReason.RESET:
            self._reboot(now)
        else:
            self._back_off(now, retry_after)

    def retry_at(self, at: float) -> None:
        """Make the next attempt to connect `at`, whatever the back-off says; not while it reboots, or is connected."""
        if self.link is Link.WAITING and not self._is_down:
            self._retry_at = at

    def lost(self, now: float) -> None:
        """The connection is gone, whoever ended it."""
        reason = self.close_reason
        self.advance(now)
        self._move(Trigger.LOST)
        if self.registration is Registration.ACCEPTED and self._offline_since is None:
            self._offline_since = now
        if now - self.opened_at > self.template.backoff.maximum:
            self._failures_in_a_row = 0
        self._forget_connection(now)
        match reason:
            case CloseReason.RESET:
                self._reboot(now)
            case CloseReason.CREDENTIALS:
                # Whitepaper A01, A05: it connects again with the new ones, at once.
                self._retry_at = now
            case _:
                self._back_off(now, 0.0)

    # -- messages -----------------------------------------------------------------------------

    def poll(self, now: float) -> list[bytes]:
        """Return the text messages to send now, in order.

        May find that the connection is dead, or that a Reset is to be carried out: `link` is then
        CLOSING, and the messages are still to be sent before the connection is closed.
        """
        self.advance(now)
        if self.link is not Link.OPEN:
            return []
        replies = self._replies
        messages: list[bytes] = [] if replies is None else replies
        self._replies = None
        self._calls.expire(now)
        if self.close_reason is not None:
            # Not before the outstanding Call has its answer: it would look like the network's fault.
            if self._calls.session.is_idle or now >= self._close_by:
                if not self._is_draining():
                    self._move(Trigger.CLOSE)
                elif self._calls.ready_at <= now:
                    messages.append(self._calls.call_transaction(now))
            return messages
        if self._is_dead(now):
            self._move(Trigger.CLOSE)
            return messages
        if self._calls.session.is_idle:
            message = self._calls.next(now)
            if message is not None:
                messages.append(message)
        return messages

    def send(self, action: str, payload: Payload | None, now: float, *, due: float, done: Done | None = None) -> None:
        """Send a message that was planned, in its turn: it waits for a Call before it, and for the network.

        Args:
            action: what to send.
            payload: its request; `None` reads the meter of connector 1, for MeterValues.
            now: the time.
            due: when it was planned to go out, which may be past.
            done: called with the answer, or with `None` when there is none.
        """
        if payload is None:
            payload = self._calls.meter_values(1, now)
        self._calls.notify(action, payload, now, is_kept=True, done=done, due=due)

    def planned(self) -> list[Notice]:
        """Return the planned messages that were not sent yet, in order."""
        return self._calls.planned()

    def take_ping(self, now: float) -> bool:
        """Return whether to send a PING frame now (WebSocketPingInterval)."""
        return self._pinger is not None and self.link is Link.OPEN and self._pinger.take(now)

    def receive(self, text: str | bytes, now: float) -> None:
        """Take one text message of the central system. What it leads to comes out of `poll`."""
        self.advance(now)
        if self._watch is not None:
            self._watch.heard(now)
        event = self._calls.session.receive(text, now)
        match event:
            case Answered():
                self._failures_in_a_row = 0
                self.is_heard = True
                self.observe(event)
                self._calls.answered(event, now)
            case Failed():
                self._calls.failed(event, now)
            case Received(call):
                if self.registration is Registration.REJECTED:
                    # Core 4.2: it SHALL NOT respond while Rejected.
                    self._calls.session.leave_unanswered(call.unique_id)
                    self.observe(CommandReceived(call.action, "not answered while Rejected"))
                else:
                    self._command(call.unique_id, call.action, call.payload, now)
            case Refused(_, reply):
                if self.registration is not Registration.REJECTED:
                    self._replies = [*(self._replies or ()), reply]
                self.observe(event)
            case Ignored():
                self.observe(event)

    def ping_received(self, now: float) -> None:
        """A PING frame came in; the adapter has answered it."""
        if self._watch is None:
            if self.template.ping_watch.mode is WatchMode.OFF:
                return
            self._watch = PingWatch(self.template.ping_watch)
        self._watch.ping(now)

    def pong_received(self, now: float) -> None:
        """A PONG frame came in."""
        if self._watch is not None:
            self._watch.heard(now)
        if self._pinger is not None:
            self._pinger.pong()

    def advance(self, now: float) -> None:
        """Do what became due by itself up to `now`, whether connected or not. `poll` does it as well."""
        if self._timer() > now:
            return
        if self.connectors is not None:
            self.connectors.advance(now)
        if self._maintenance is not None and self._maintenance.deadline <= now:
            self._maintenance.advance(now)
        if self._renew_at <= now and self.is_online:
            security_commands.renew(self, now)
            self.security_changed(now)
            if self._renew_at <= now:
                # It cannot ask: not again before something changes.
                self._renew_at = NEVER

    # -- what commands ask for ----------------------------------------------------------------

    def trigger_boot(self, now: float) -> bool:
        """Send BootNotification without waiting for the interval to pass (core 4.2, 5.17).

        Returns False once it was Accepted, as core errata 3.35 recommends.
        """
        if self.registration is Registration.ACCEPTED:
            return False
        if self.registration is Registration.PENDING:
            # `boot_at` stays: if the network cuts this one off, the interval holds again.
            return self._calls.trigger("BootNotification", now)
        self.boot_at = min(self.boot_at, now)
        return True

    def reset(self, now: float, reason: Reason) -> None:
        """Stop what runs, and reboot once the answer to Reset.req is on its way (core 5.14, errata 3.36).

        After a hard reset, what the central system has to know of transactions comes after the boot;
        otherwise before, as far as it answers.
        """
        if not self.is_running:
            return
        if self.connectors is not None:
            self.connectors.stop_all(reason, now)
        if reason is Reason.HARD_RESET:
            self._drain_until = now
            self._close_by = now + _HARD_RESET_PATIENCE
        elif self.close_reason is not CloseReason.RESET:
            self._drain_until = now + self._calls.session.timeout
        if self.close_reason is not CloseReason.RESET:
            self.security_event(SecurityEvent.RESET_OR_REBOOT, now)
        self.close_reason = CloseReason.RESET
        if self.link is Link.WAITING:
            self._reboot(now)

    def restart(self, now: float) -> None:
        """Reboot of its own accord, as after an installation or when its watchdog barks."""
        self.reset(now, Reason.REBOOT)

    def reconnect(self, now: float) -> None:  # noqa: ARG002  the others of its kind need it
        """Close the connection once all answers are out, and open another one with what is set now."""
        if self.link is Link.OPEN and self.close_reason is None:
            self.close_reason = CloseReason.CREDENTIALS

    def configuration_changed(self, name: str, now: float) -> None:
        """Do what follows at once from the new value of a configuration key.

        Args:
            name: the key; its case does not count.
            now: the time.
        """
        match name.casefold():
            case "heartbeatinterval":
                self._heartbeat_interval = self.configuration.integer(Key.HEARTBEAT_INTERVAL)
                self._calls.heartbeat_interval_changed(now)
            case "messagetimeout":
                self._calls.session.timeout = float(self.configuration.integer(Key.MESSAGE_TIMEOUT))
            case "websocketpinginterval":
                interval = self.configuration.integer(Key.WEB_SOCKET_PING_INTERVAL)
                self._pinger = Pinger(interval, now) if interval and self.link is Link.OPEN else None
            case "clockaligneddatainterval" | "metervaluesampleinterval":
                self.charging(now).clock_changed(now)
            case _:
                if self.connectors is not None:
                    self.connectors.update(now)

    def sync_configuration(self) -> None:
        """Put what is kept beside the configuration into it, before it is shown."""
        self.configuration.set(Key.HEARTBEAT_INTERVAL, self._heartbeat_interval)

    def observe(self, event: StationEvent) -> None:
        """Put an event where the adapter takes it."""
        if self._events is None:
            self._events = []
        self._events.append(event)

    # -- inside: link -------------------------------------------------------------------------

    def _move(self, trigger: Trigger) -> None:
        try:
            self.link = LINK_TRANSITIONS[self.link, trigger]
        except KeyError:
            raise ValueError(f"{self.identity}: {trigger} while {self.link}") from None

    def _is_dead(self, now: float) -> bool:
        if self._watch is not None:
            missing = self._watch.deadline
            if missing is not None and now >= missing:
                self._watch.missed()
                self.close_reason = CloseReason.PING_MISSING
                return True
        if self._pinger is not None and self._pinger.is_missing(now):
            self.close_reason = CloseReason.PONG_MISSING
            return True
        return False

    def _jittered(self, seconds: float) -> float:
        return seconds * self.random.uniform(0.5, 1.5)

    def _boot(self, at: float) -> None:
        """Start as after power-on: connect at `at`, and BootNotification first."""
        self.registration = Registration.NONE
        self._is_down = True
        self._failures_in_a_row = 0
        self._retry_at = self.boot_at = at
        self._offline_since = at

    def _reboot(self, now: float) -> None:
        """Be gone for the time that a reboot takes."""
        self.close_reason = None
        self._close_by = NEVER
        if self.connectors is not None:
            self.connectors.timer = NEVER
        if self._maintenance is not None:
            self._maintenance.power_lost(now)
        self._boot(now + self._jittered(self.template.reboot_time))

    def _start_up(self, now: float) -> None:
        self._is_down = False
        changed = self.configuration.reboot()
        self._heartbeat_interval = self.configuration.integer(Key.HEARTBEAT_INTERVAL)
        if self.connectors is not None:
            self.connectors.restarted(now)
        elif self.configuration.integer(Key.CLOCK_ALIGNED_DATA_INTERVAL):
            self.charging(now)
        for name in changed:
            self.configuration_changed(name, now)
        if self._maintenance is not None:
            self._maintenance.power_back(now)
        if self._security is not None:
            self.security_changed(now)
            self.security_event(SecurityEvent.STARTUP_OF_THE_DEVICE, now)

    def _back_off(self, now: float, retry_after: float) -> None:
        delay = self.template.backoff.delay(self._failures_in_a_row, self.random)
        self._failures_in_a_row += 1
        # On top, not instead: a fleet that was refused in one instant must not come back in one.
        self._retry_at = now + retry_after + delay

    def _forget_connection(self, now: float) -> None:
        self._calls.connection_lost(now)
        self.close_reason = None
        self._close_by = NEVER
        self._pinger = None
        self._replies = None

    def _online(self, now: float) -> None:
        since = self._offline_since
        self._offline_since = None
        if since is not None:
            self.observe(Online(since, now))
        # Core 4.9: after an offline time only the present status, and only if it changed.
        self._calls.report_changed()

    # -- inside: what to send next ------------------------------------------------------------

    def _is_draining(self) -> bool:
        """Whether the last transactions are still to be told before the reboot (core errata 3.36)."""
        return (
            self.close_reason is CloseReason.RESET
            and self.registration is Registration.ACCEPTED
            and self._calls.ready_at < self._drain_until
        )

    # -- inside: what came of it --------------------------------------------------------------

    def boot_failed(self, now: float, *, was_cut: bool) -> None:
        """BootNotification got no usable answer: try again after a while."""
        # Core 4.2 gives no time for a lost answer: after a cut the back-off is pause enough.
        pause = 0.0 if was_cut else self._jittered(self.template.boot_retry_interval)
        self.boot_at = max(self.boot_at, now + pause)

    def registered(self, payload: Payload, now: float) -> None:
        """Take BootNotification.conf (core 4.2)."""
        registration = Registration(payload["status"])
        interval: int = payload["interval"]
        self.observe(Registered(registration, interval))
        self.registration = registration
        self.set_clock(payload["currentTime"], now)
        if registration is Registration.ACCEPTED:
            self._was_accepted = True
            if interval > 0:
                self._heartbeat_interval = min(interval, MAX_HEARTBEAT_INTERVAL)
            # The answer brought the time, as a Heartbeat would have.
            self._calls.clock_told(now)
            self._calls.report_all()
            self._online(now)
            if self._maintenance is not None:
                self._maintenance.booted(now)
        else:
            wait = interval if interval > 0 else self._jittered(self.template.boot_retry_interval)
            self.boot_at = now + wait

    def set_clock(self, current_time: str, now: float) -> None:
        """Take the time that the central system told (core 4.6)."""
        try:
            offset = parse_utc(current_time) - now + self.template.clock_error
        except ValueError:
            # The schema lets any text through; a charge point keeps the clock it has.
            return
        was, self._utc_offset = self._utc_offset, offset
        if abs(offset - was) > _SOON:
            if self.connectors is not None:
                self.connectors.clock_changed(now)
            if self._security is not None:
                self.security_changed(now)
            if self._maintenance is not None:
                self._maintenance.clock_changed(now)
            if abs(offset - was) > _NOTED:
                self.security_event(SecurityEvent.SETTING_SYSTEM_TIME, now)

    def _command(self, unique_id: str, action: str, payload: Payload, now: float) -> None:
        try:
            answer = commands.handle(self, action, payload, now)
        except OcppError as error:
            reply = self._calls.session.refuse(unique_id, error)
            self.observe(CommandReceived(action, error.code.value))
        else:
            reply = self._calls.session.respond(unique_id, answer)
            self.observe(CommandReceived(action, str(answer.get("status", ""))))
        self._replies = [*(self._replies or ()), reply]
