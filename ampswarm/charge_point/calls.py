"""What a charge point sends, in which order, and what comes of it (core 3.7, 4.2, 4.9).

One Call at a time (J 4.1.1), and the next one chosen only when it may go: what was current when it was
planned may not be so any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ampswarm.charge_point.configuration import MAX_HEARTBEAT_INTERVAL, Key
from ampswarm.charge_point.connector import NEVER, NO_ERROR, Connector, ConnectorStatus, status_notification
from ampswarm.charge_point.events import Dropped, ProgressTold
from ampswarm.charge_point.link import Registration
from ampswarm.charge_point.metering import triggered_sample
from ampswarm.charge_point.notice import MAX_NOTICES, Done, Notice
from ampswarm.charge_point.outbox import Message, Outbox, Retry
from ampswarm.charge_point.transaction import Transaction
from ampswarm.ocppj.frames import Payload, pack, with_member
from ampswarm.ocppj.session import Answered, Failed, Failure, Session, UniqueIds

if TYPE_CHECKING:
    from ampswarm.charge_point.station import ChargePoint

_PROGRESS: Final = frozenset(
    {
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "LogStatusNotification",
        "SignedFirmwareStatusNotification",
    }
)


class _Triggered(NamedTuple):
    """A message that a command asked for, and that waits for its turn."""

    action: str
    connector_id: int
    payload: Payload | None
    """`None` is made when its turn comes."""
    asked: float


class Calls:
    """The Calls of one charge point.

    Args:
        station: the charge point.
        unique_ids: where message ids come from.
    """

    __slots__ = (
        "_in_flight",
        "_last_activity",
        "_last_heartbeat",
        "_notices",
        "_outbox",
        "_station",
        "_status_due",
        "_triggered",
        "session",
    )

    def __init__(self, station: ChargePoint, unique_ids: UniqueIds) -> None:
        self._station = station
        self.session = Session(unique_ids, station.template.call_timeout)
        """The conversation itself."""
        self._last_activity = 0.0
        self._last_heartbeat = 0.0
        # One bit for each connector whose present status the central system has not confirmed.
        self._status_due = 0
        self._in_flight: Notice | Message | None = None
        # Made when first needed: most charge points never need them.
        self._triggered: list[_Triggered] | None = None
        self._notices: list[Notice] | None = None
        self._outbox: Outbox | None = None

    # -- what is to be sent -------------------------------------------------------------------

    def submit(self, action: str, transaction: Transaction, payload: Payload, now: float) -> None:
        """Send a transaction message in its turn, now or when the central system is there again (core 3.7)."""
        if self._outbox is None:
            self._outbox = Outbox(self._station.template.outbox_capacity)
        message = Message(action, transaction, pack(payload), now, is_backlog=not self._station.is_online)
        for dropped in self._outbox.add(message):
            self._station.observe(Dropped(dropped.action, "more than the charge point can keep"))

    def notify(
        self,
        action: str,
        payload: Payload,
        now: float,
        *,
        is_kept: bool = False,
        subject: Connector | None = None,
        done: Done | None = None,
        due: float | None = None,
    ) -> None:
        """Send another message as soon as possible.

        Args:
            action: what to send.
            payload: its request.
            now: the time.
            is_kept: whether to send it later when it cannot be sent now.
            subject: the connector that a StatusNotification is about.
            done: called with the answer, or with `None` when there is none.
            due: when it was planned to go out, for what does not wait for the central system; else `None`.
        """
        if not is_kept and not self._station.is_online:
            if done is not None:
                done(None, now)
            return
        if self._notices is None:
            self._notices = []
        if len(self._notices) >= MAX_NOTICES:
            self._drop_oldest_notice(now)
            if subject is not None and self._status_due >> subject.connector_id & 1:
                return
        self._notices.append(Notice(action, payload, now, is_kept=is_kept, subject=subject, done=done, due=due))

    def _drop_oldest_notice(self, now: float) -> None:
        assert self._notices is not None
        oldest = self._notices[0]
        dropped = [oldest]
        if oldest.subject is not None:
            # Nobody would ever tell it otherwise: the present status goes first, and stands for all that wait.
            self._status_due |= 1 << oldest.subject.connector_id
            dropped = [each for each in self._notices if each.subject is oldest.subject]
        self._notices[:] = [each for each in self._notices if each not in dropped]
        for each in dropped:
            self._station.observe(Dropped(each.action, "more than the charge point can keep"))
            if each.done is not None:
                each.done(None, now)

    def report_status(self, connector: Connector, now: float) -> None:
        """Send StatusNotification with the present status; offline, it is told on return if it still differs."""
        if not self._station.is_online or self._status_due >> connector.connector_id & 1:
            return
        if self._triggered:
            # This one complies with what was triggered (core 5.17), and none may go before what happened first (4.9).
            told = ("StatusNotification", connector.connector_id)
            self._triggered = [each for each in self._triggered if each[:2] != told] or None
        self.notify("StatusNotification", self.status_of(connector.connector_id, now), now, subject=connector)

    def trigger(
        self, action: str, now: float, connector_ids: Iterable[int] = (0,), payload: Payload | None = None
    ) -> bool:
        """Send a message once for each connector, as TriggerMessage asked (core 5.17).

        Args:
            action: what to send.
            now: when it was asked for, from which it is due.
            connector_ids: for which connectors.
            payload: what to send; `None` is made when its turn comes.

        Returns False when it may not send them.
        """
        if self._station.registration not in (Registration.ACCEPTED, Registration.PENDING):
            # Core 4.2: no other request between power-on and a BootNotification that succeeded.
            return False
        if self._triggered is None:
            self._triggered = []
        if payload is not None:
            # What was made last counts: the key of an older signing request is gone already.
            self._triggered = [each for each in self._triggered if each.action != action]
        # Once is enough (core 5.17), which also bounds how many can wait.
        waiting = {each[:2] for each in self._triggered}
        for connector_id in connector_ids:
            if (action, connector_id) not in waiting and not self._is_about_to_tell(action, connector_id):
                self._triggered.append(_Triggered(action, connector_id, payload, now))
        return True

    def report_all(self) -> None:
        """Send the present status of connector 0 and of every connector (core errata 3.22)."""
        self._status_due = (1 << (self._station.template.connectors + 1)) - 1

    def report_changed(self) -> None:
        """Send the present status of what is not as the central system knows it (core 4.9)."""
        for connector in self._station.connectors or ():
            if not connector.is_reported:
                self._status_due |= 1 << connector.connector_id

    def clock_told(self, now: float) -> None:
        """The central system told the time without a Heartbeat."""
        self._last_heartbeat = now

    def heartbeat_interval_changed(self, now: float) -> None:
        """Count from now what a shorter HeartbeatInterval makes overdue: nobody waited for it until now."""
        self._last_activity = max(self._last_activity, now - self._station.heartbeat_interval)

    # -- when, and in which order -------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Transaction messages that the central system has not taken yet."""
        return 0 if self._outbox is None else len(self._outbox)

    def planned(self) -> list[Notice]:
        """Return the planned messages that wait for their turn, in order."""
        return [each for each in self._notices or () if each.due is not None]

    @property
    def ready_at(self) -> float:
        """When the next transaction message may go out; infinity when there is none."""
        return NEVER if self._outbox is None else self._outbox.ready_at

    @property
    def _heartbeat_at(self) -> float:
        # Any message may stand in for a Heartbeat, but for one in 24 h (core 4.6).
        return min(
            self._last_activity + self._station.heartbeat_interval,
            self._last_heartbeat + MAX_HEARTBEAT_INTERVAL,
        )

    def next_at(self) -> float:
        """Return when the next Call may go out."""
        match self._station.registration:
            case Registration.ACCEPTED:
                if self._triggered or self._status_due or self._notices:
                    return 0.0
                return min(self.ready_at, self._heartbeat_at)
            case Registration.PENDING:
                return 0.0 if self._triggered else self._station.boot_at
            case _:
                return self._station.boot_at

    def next(self, now: float) -> bytes | None:
        """Return the next Call that may go out now, or `None`. In the order of what matters first."""
        registration = self._station.registration
        if registration in (Registration.ACCEPTED, Registration.PENDING) and self._triggered:
            return self._call_triggered(now)
        if registration is not Registration.ACCEPTED:
            # Core 4.2: nothing else goes first, and nothing at all before the interval is over.
            if now < self._station.boot_at:
                return None
            return self._call_boot(now, max(self._station.boot_at, self._station.opened_at))
        if self._status_due:
            connector_id = (self._status_due & -self._status_due).bit_length() - 1
            self._status_due &= ~(1 << connector_id)
            return self._call_status(connector_id, now, now)
        if self.ready_at <= now:
            assert self._outbox is not None
            # What happened first goes first; core 3.7 would let any notice overtake.
            if not self._notices or self._outbox.first.created <= self._notices[0].created:
                return self.call_transaction(now)
        if self._notices:
            notice = self._notices.pop(0)
            if not self._notices:
                self._notices = None
            self._in_flight = notice
            due = max(notice.created, self._station.opened_at) if notice.due is None else notice.due
            return self._call(notice.action, notice.payload, now, due)
        due = self._heartbeat_at
        return self._call_heartbeat(now, due) if now >= due else None

    def _call_triggered(self, now: float) -> bytes:
        assert self._triggered
        action, connector_id, payload, due = self._triggered.pop(0)
        if not self._triggered:
            self._triggered = None
        if payload is not None:
            return self._call(action, payload, now, due)
        match action:
            case "BootNotification":
                return self._call_boot(now, due)
            case "Heartbeat":
                return self._call_heartbeat(now, due)
            case "StatusNotification":
                self._status_due &= ~(1 << connector_id)
                return self._call_status(connector_id, now, due)
            case "MeterValues":
                payload = self.meter_values(connector_id, now)
            case "DiagnosticsStatusNotification":
                payload = self._station.maintenance.diagnostics_status()
            case "LogStatusNotification":
                payload = self._station.maintenance.log_status()
            case "SignedFirmwareStatusNotification":
                payload = self._station.maintenance.signed_firmware_status()
            case _:
                payload = self._station.maintenance.firmware_status()
        return self._call(action, payload, now, due)

    def _is_about_to_tell(self, action: str, connector_id: int) -> bool:
        """Whether a message that waits complies with what is triggered (core 5.17)."""
        return action == "StatusNotification" and any(
            each.subject is not None and each.subject.connector_id == connector_id for each in self._notices or ()
        )

    def meter_values(self, connector_id: int, now: float) -> Payload:
        """Return MeterValues.req with a reading of now."""
        connector = self._station.charging(now).connector(connector_id)
        self._station.charging(now).update(now)
        elements = triggered_sample(self._station, connector, self._station.utc(now))
        payload: Payload = {"connectorId": connector_id, "meterValue": elements}
        transaction = connector.transaction
        if transaction is not None and transaction.transaction_id is not None:
            payload["transactionId"] = transaction.transaction_id
        return payload

    def _call_boot(self, now: float, due: float) -> bytes:
        payload = self._station.template.boot_notification(self._station.identity, self._station.firmware_version)
        return self._call("BootNotification", payload, now, due)

    def _call_heartbeat(self, now: float, due: float) -> bytes:
        self._last_heartbeat = now
        # A due time before the connection stood would measure the network's absence, not the
        # central system; that is what `Online` is for.
        return self._call("Heartbeat", {}, now, max(due, self._station.opened_at))

    def status_of(self, connector_id: int, now: float) -> Payload:
        """Return StatusNotification.req with what was last seen of a connector."""
        status, error_code, info = ConnectorStatus.AVAILABLE, NO_ERROR, ""
        for connector in self._station.connectors or ():
            if connector.connector_id == connector_id:
                status, error_code, info = connector.status, connector.error_code, connector.info
        return status_notification(connector_id, status, self._station.utc(now), error_code=error_code, info=info)

    def _call_status(self, connector_id: int, now: float, due: float) -> bytes:
        payload = self.status_of(connector_id, now)
        subject = None if self._station.connectors is None else self._station.connectors.connector(connector_id)
        self._in_flight = Notice("StatusNotification", payload, now, subject=subject)
        return self._call("StatusNotification", payload, now, due)

    def call_transaction(self, now: float) -> bytes:
        """Return the next transaction message, which is ready."""
        assert self._outbox is not None
        # With the pace of what had to wait for the network in it: that is the charge point's own.
        ready_at = self._outbox.ready_at
        message = self._outbox.take()
        self._in_flight = message
        payload = message.payload
        if message.action != "StartTransaction":
            # Only now: the answer to StartTransaction may have come since it was made.
            payload = with_member(payload, "transactionId", message.transaction.wire_id)
        return self._call(message.action, payload, now, max(ready_at, self._station.opened_at))

    def _call(self, action: str, payload: Payload | bytes, now: float, due: float) -> bytes:
        self._last_activity = now
        text = self.session.call(action, payload, now, due=due)
        assert text is not None  # only called while the session is idle
        return text

    # -- what came of it ----------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Give up the outstanding Call if its time is over."""
        failed = self.session.expire(now)
        if failed is not None:
            self.failed(failed, now)

    def connection_lost(self, now: float) -> None:
        """Nothing comes back any more. Keep what outlives a connection."""
        for failed in self.session.lost(now):
            self.failed(failed, now)
        if self._outbox is not None:
            self._outbox.interrupted()
        self._triggered = None
        notices, self._notices = self._notices, None
        if notices is None:
            return
        kept = [each for each in notices if each.is_kept]
        self._notices = kept or None
        for each in notices:
            if not each.is_kept and each.done is not None:
                each.done(None, now)

    def answered(self, answered: Answered, now: float) -> None:
        """Take the answer to the outstanding Call."""
        in_flight, self._in_flight = self._in_flight, None
        payload = answered.payload
        match in_flight:
            case Message():
                self._transaction_answered(payload, now)
            case Notice():
                if in_flight.subject is not None:
                    self._note_reported(in_flight.subject, in_flight.payload)
                if in_flight.done is not None:
                    in_flight.done(payload, now)
                if in_flight.action in _PROGRESS:
                    self._station.observe(ProgressTold(in_flight.action, in_flight.payload["status"]))
        if answered.action == "Heartbeat":
            self._station.set_clock(payload["currentTime"], now)
        elif answered.action == "BootNotification":
            # It complies with what was triggered meanwhile (core 5.17).
            self._triggered = [each for each in self._triggered or () if each.action != "BootNotification"] or None
            self._station.registered(payload, now)

    def _transaction_answered(self, payload: Payload, now: float) -> None:
        assert self._outbox is not None
        message = self._outbox.answered(now, self._station.template.drain_interval)
        transaction = message.transaction
        if message.action == "StartTransaction":
            self._station.start_confirmed(transaction, payload, now)
        elif message.action == "StopTransaction":
            self._station.learn(transaction.stopped_by or transaction.id_tag, payload, now)

    def failed(self, failed: Failed, now: float) -> None:
        """Take it that the outstanding Call got no usable answer."""
        self._station.observe(failed)
        in_flight, self._in_flight = self._in_flight, None
        was_cut = failed.failure is Failure.CONNECTION_LOST
        if not was_cut:
            self._station.is_heard = False
        if failed.action == "BootNotification":
            self._station.boot_failed(now, was_cut=was_cut)
        match in_flight:
            case Message():
                self._transaction_failed(now, was_cut=was_cut)
            case Notice():
                self._notice_failed(in_flight, now, was_cut=was_cut)

    def _transaction_failed(self, now: float, *, was_cut: bool) -> None:
        assert self._outbox is not None
        if was_cut:
            self._outbox.interrupted()
            return
        configuration = self._station.configuration
        retry = Retry(
            configuration.integer(Key.TRANSACTION_MESSAGE_ATTEMPTS),
            configuration.integer(Key.TRANSACTION_MESSAGE_RETRY_INTERVAL),
        )
        dropped = self._outbox.failed(now, retry)
        if dropped is not None:
            self._station.observe(Dropped(dropped.action, "given up after TransactionMessageAttempts"))

    def _notice_failed(self, notice: Notice, now: float, *, was_cut: bool) -> None:
        if was_cut and notice.is_kept:
            self._notices = [notice, *(self._notices or ())]
            return
        if notice.action == "StatusNotification":
            if was_cut:
                # The central system may not know this status: say it again when back (core 4.9).
                self._status_due |= 1 << notice.payload["connectorId"]
            elif notice.subject is not None:
                self._note_reported(notice.subject, notice.payload)
        if notice.done is not None:
            notice.done(None, now)

    def _note_reported(self, connector: Connector, payload: Payload) -> None:
        connector.reported = ConnectorStatus(payload["status"])
        connector.reported_error = payload["errorCode"]
        is_planned = connector.status_at < NEVER or any(each.subject is connector for each in self._notices or ())
        if not connector.is_reported and not is_planned:
            # It went back to what was told before while this was under way (MinimumStatusDuration).
            self._status_due |= 1 << connector.connector_id
