"""What happens at the connectors: cables, id tags, transactions, energy (core 3.6, 4.8-4.10).

Each method is something that a driver, an EV or the central system does at `now`. What becomes due by
itself meanwhile is `connectors`'s.
"""

from __future__ import annotations

from contextlib import suppress

from ampswarm.charge_point import metering
from ampswarm.charge_point import reservation as reservations
from ampswarm.charge_point.charging_profile import ChargingProfile, InvalidProfile
from ampswarm.charge_point.configuration import Key
from ampswarm.charge_point.connector import (
    EV_SIDE_DISCONNECTED,
    FAULTS,
    NEVER,
    NO_ERROR,
    Authorized,
    Connector,
    ConnectorStatus,
)
from ampswarm.charge_point.connectors import Connectors
from ampswarm.charge_point.events import TransactionEnded, TransactionStarted
from ampswarm.charge_point.id_tag_check import check_id_tag
from ampswarm.charge_point.id_tags import IdTagInfo, same_id_tag
from ampswarm.charge_point.power import settle
from ampswarm.charge_point.reservation import Reservation
from ampswarm.charge_point.sampling import shown_register
from ampswarm.charge_point.transaction import Reason, Transaction
from ampswarm.charge_point.vehicle import Battery, Vehicle


class Charging(Connectors):
    """What can be done at the connectors of one charge point; made when one of them is used for the first time."""

    __slots__ = ()

    # -- what drivers and EVs do --------------------------------------------------------------

    def plug_in(self, connector_id: int, vehicle: Vehicle, now: float) -> bool:
        """Put an EV's cable in; False when there is one already.

        Raises:
            ValueError: there is no such connector.
        """
        self.advance(now)
        template = self._site.template
        connector = self.connector(connector_id)
        if connector.is_plugged or not connector_id:
            return False
        connector.battery = Battery(vehicle, is_dc=template.is_dc, voltage=template.supply.voltage)
        connector.is_ev_connected = True
        authorized = connector.authorized
        if authorized is not None and not connector.is_faulted and self._site.may_charge:
            self._start(connector, authorized, now)
        else:
            self._expect_user(connector, now)
        self.update(now)
        return True

    def unplug(self, connector_id: int, now: float) -> bool:
        """Take the EV away; False when the cable stays, locked or with the transaction that goes on.

        With a running transaction this is what core 4.10 calls the EV side's disconnection.
        """
        self.advance(now)
        connector = self.connector(connector_id)
        if not connector.is_plugged:
            return False
        if connector.transaction is not None:
            self._disconnect_ev(connector, now)
            if connector.transaction is not None:
                return False
        if connector.locked_for is not None:
            return False
        self._remove_cable(connector)
        self.update(now)
        return True

    def disconnect_ev(self, connector_id: int, now: float) -> None:
        """Pull the cable out at the EV's side only (core 4.9, 4.10)."""
        self.advance(now)
        connector = self.connector(connector_id)
        if connector.is_ev_connected:
            self._disconnect_ev(connector, now)
            self.update(now)

    def reconnect_ev(self, connector_id: int, now: float) -> None:
        """Put the cable back into the same EV: energy flows again if the transaction still runs (core 4.10)."""
        self.advance(now)
        connector = self.connector(connector_id)
        if connector.is_plugged and not connector.is_ev_connected:
            connector.is_ev_connected = True
            connector.is_stale = False
            connector.info = ""
            self.update(now)

    def pause_ev(self, connector_id: int, now: float, *, is_paused: bool) -> None:
        """Let the EV stop or resume taking energy by itself (SuspendedEV, core 7.7)."""
        self.advance(now)
        connector = self.connector(connector_id)
        connector.is_ev_paused = is_paused
        self.update(now)

    def present(self, connector_id: int, id_tag: str, now: float) -> None:
        """Hold an id tag before the reader: to start, to stop, to cancel, or to get one's cable back (core 4.1)."""
        self.advance(now)
        connector = self.connector(connector_id)
        transaction = connector.transaction
        if transaction is not None:
            if same_id_tag(id_tag, transaction.id_tag):
                # Core 4.1: no Authorize for the id tag that started it.
                self.stop(connector, Reason.LOCAL, now, id_tag=id_tag)
            else:
                self._check_stop(connector, transaction, id_tag, now)
        elif connector.locked_for is not None:
            if same_id_tag(id_tag, connector.locked_for):
                self._give_cable_back(connector, now)
            elif connector.locked_for_group is not None:
                self._check_owner(connector, id_tag, now)
        elif connector.authorized is not None and same_id_tag(id_tag, connector.authorized.id_tag):
            self._cancel(connector)
            self.update(now)
        elif self._can_start(connector):
            self._check_start(connector, id_tag, None, now)

    def emergency_stop(self, now: float) -> None:
        """Press the emergency button: every transaction stops, every connector is faulted until `repair`."""
        self.advance(now)
        for connector_id in range(1, self._site.template.connectors + 1):
            connector = self.connector(connector_id)
            if connector.transaction is not None:
                self._stop(connector, Reason.EMERGENCY_STOP, now)
            self._break(connector, "OtherError", "emergency stop", now)
        self.update(now)
        self._tell_when_all_ended(now)

    def fault(self, connector_id: int, error_code: str, now: float, *, info: str = "") -> None:
        """Let a fault keep a connector from being used; its transaction is suspended (core 4.9, C9).

        Args:
            connector_id: 0 for the charge point itself.
            error_code: ChargePointErrorCode (core 7.6).
            now: the time.
            info: more for a person.

        Raises:
            ValueError: the error is not one that goes with Faulted.
        """
        if error_code not in FAULTS:
            raise ValueError(f"{error_code!r} is no error that goes with Faulted")
        self.advance(now)
        self._break(self.connector(connector_id), error_code, info, now)
        self.update(now)

    def repair(self, connector_id: int, now: float) -> None:
        """End a fault: the connector goes back to what it was (core 4.9, I1-I8)."""
        self.advance(now)
        connector = self.connector(connector_id)
        connector.error_code, connector.info = NO_ERROR, ""
        if connector.authorized is not None and connector.is_plugged and self._site.may_charge:
            self._start(connector, connector.authorized, now)
        self.update(now)

    # -- what the charge point and the central system do --------------------------------------

    def remote_start(self, connector_id: int | None, id_tag: str, profile: ChargingProfile | None, now: float) -> bool:
        """Start a transaction for RemoteStartTransaction.req; False when it cannot (core 5.11)."""
        self.advance(now)
        connector = self._choose(connector_id, id_tag)
        if connector is None:
            return False
        is_asked = self._site.configuration.boolean(Key.AUTHORIZE_REMOTE_TX_REQUESTS)
        if is_asked or not self._may_use(connector, id_tag, None):
            self._check_start(connector, id_tag, profile, now)
        else:
            self._authorized(connector, Authorized(id_tag, None, profile), now)
        return True

    def stop(self, connector: Connector, reason: Reason, now: float, *, id_tag: str | None = None) -> None:
        """Stop the transaction on a connector (core 4.10)."""
        self.advance(now)
        self._stop(connector, reason, now, id_tag)
        self.update(now)
        self._tell_when_all_ended(now)

    def stop_all(self, reason: Reason, now: float) -> None:
        """Stop every running transaction (core 5.14)."""
        self.advance(now)
        for connector in self:
            if connector.transaction is not None:
                self._stop(connector, reason, now)
        self.update(now)

    def change_availability(self, connector_id: int, now: float, *, is_operative: bool) -> str:
        """Return the status of ChangeAvailability.conf, and do it now or when the connector is free (core 5.2)."""
        self.advance(now)
        last = self._site.template.connectors
        if not 0 <= connector_id <= last:
            return "Rejected"
        status = "Accepted"
        # The charge point itself comes last: it is unavailable when no connector allows charging any more.
        for each in [connector_id] if connector_id else [*range(1, last + 1), 0]:
            connector = self.connector(each)
            if connector.is_operative is is_operative:
                connector.scheduled = None
            elif is_operative or (connector.is_free if each else status == "Accepted"):
                self._set_operative(connector, is_operative=is_operative)
                self._end_reservation(connector, now)
            else:
                # Neither does an EV that is about to charge lose its place (core 4.9 knows no B8).
                connector.scheduled = is_operative
                status = "Scheduled"
        self.update(now)
        return status

    def unlock(self, connector_id: int, now: float) -> str:
        """Return the status of UnlockConnector.conf; a transaction is finished first (core 5.18)."""
        self.advance(now)
        template = self._site.template
        if not 1 <= connector_id <= template.connectors or template.is_dc or not template.has_cable_lock:
            # Core errata 3.87: also for a connector that does not exist.
            return "NotSupported"
        connector = self.connector(connector_id)
        if connector.transaction is not None:
            self.stop(connector, Reason.UNLOCK_COMMAND, now)
        if connector.error_code == "ConnectorLockFailure":
            return "UnlockFailed"  # core 7.46
        connector.locked_for = connector.locked_for_group = None
        return "Unlocked"

    def reserve(self, connector_id: int, reservation: Reservation, now: float) -> str:
        """Return the status of ReserveNow.conf (core 5.13)."""
        self.advance(now)
        last = self._site.template.connectors
        if not 0 <= connector_id <= last:
            return "Rejected"
        if not connector_id and not self._site.configuration.boolean(Key.RESERVE_CONNECTOR_ZERO_SUPPORTED):
            return "Rejected"
        status = reservations.status_of(self._connectors, last, connector_id, reservation.reservation_id)
        if status == "Accepted" and self.is_withheld:
            return "Unavailable"
        if status == "Accepted":
            replaced = reservations.find(self._connectors, reservation.reservation_id)
            if replaced is not None:
                replaced.reservation = None
            self.connector(connector_id).reservation = reservation
            self.update(now)
        return status

    def cancel_reservation(self, reservation_id: int, now: float) -> bool:
        """End a reservation; False when there is none with this id (core 5.1)."""
        self.advance(now)
        connector = reservations.find(self._connectors, reservation_id)
        if connector is None:
            return False
        self._end_reservation(connector, now)
        self.update(now)
        return True

    def withhold(self, now: float, *, is_withheld: bool) -> None:
        """Keep free connectors unavailable, or no longer (core errata 3.49)."""
        self.advance(now)
        self.is_withheld = is_withheld
        for connector_id in range(1, self._site.template.connectors + 1):
            connector = self.connector(connector_id)
            if not is_withheld and connector.is_plugged and connector.status is ConnectorStatus.UNAVAILABLE:
                self._expect_user(connector, now)
        self.update(now)

    def start_confirmed(self, transaction: Transaction, transaction_id: int, info: IdTagInfo, now: float) -> None:
        """Take what StartTransaction.conf says (core 4.8, errata 3.17)."""
        self.advance(now)
        transaction.transaction_id = transaction_id
        if transaction.parent_id_tag is None:
            transaction.parent_id_tag = info.parent
        connector = self.connector(transaction.connector_id)
        if info.status == "Accepted" or connector.transaction is not transaction:
            return
        settle(self, now)
        transaction.is_invalid = True
        connector.invalid_register = connector.register
        if self._site.configuration.boolean(Key.STOP_TRANSACTION_ON_INVALID_ID):
            self._stop(connector, Reason.DE_AUTHORIZED, now)
            self._lock(connector, transaction)
            self._tell_when_all_ended(now)
        self.update(now)

    def power_lost(self, now: float) -> None:
        """Stop what runs, as the meter has it at this moment, and forget what waits for a driver."""
        self.advance(now)
        for connector in self:
            if connector.transaction is not None:
                self._stop(connector, Reason.POWER_LOSS, now)
            self._forget_user(connector)
        self.update(now)
        self.timer = self._aligned_at = NEVER

    def restarted(self, now: float) -> None:
        """The charge point works again after a reboot or a loss of power."""
        utc = self._site.utc(now)
        for connector in self:
            connector.settled_at = now
            if connector.reservation is not None and connector.reservation.expires <= utc:
                connector.reservation = None
            self._forget_user(connector)
            if connector.is_plugged and not connector.is_finishing:
                self._expect_user(connector, now)
        self.clock_changed(now)

    # -- id tags ------------------------------------------------------------------------------

    def _check_start(self, connector: Connector, id_tag: str, profile: ChargingProfile | None, now: float) -> None:
        def use(info: IdTagInfo | None, when: float) -> None:
            self.advance(when)
            connector.is_checking = False
            if info is not None:
                self._authorized(connector, Authorized(id_tag, info.parent, profile), when)

        connector.is_checking = True
        is_parent_needed = reservations.is_of_a_group(self._connectors, connector, id_tag)
        check_id_tag(self._site, id_tag, now, use, is_parent_needed=is_parent_needed)

    def _check_stop(self, connector: Connector, transaction: Transaction, id_tag: str, now: float) -> None:
        def use(info: IdTagInfo | None, when: float) -> None:
            # Core 3.10: another id tag of the same group may stop it.
            parent = transaction.parent_id_tag
            if info is None or info.parent is None or parent is None or not same_id_tag(info.parent, parent):
                return
            if connector.transaction is transaction:
                self.stop(connector, Reason.LOCAL, when, id_tag=id_tag)

        check_id_tag(self._site, id_tag, now, use, is_parent_needed=True)

    def _check_owner(self, connector: Connector, id_tag: str, now: float) -> None:
        owner = connector.locked_for

        def use(info: IdTagInfo | None, when: float) -> None:
            group = connector.locked_for_group
            if info is None or info.parent is None or group is None or not same_id_tag(info.parent, group):
                return
            if connector.locked_for is owner:
                self._give_cable_back(connector, when)

        check_id_tag(self._site, id_tag, now, use, is_parent_needed=True)

    def _give_cable_back(self, connector: Connector, now: float) -> None:
        """Unlock for the id tag that the cable came with, or one of its group (core errata 3.5)."""
        connector.locked_for = connector.locked_for_group = None
        if not connector.is_ev_connected:
            self._remove_cable(connector)
            self.update(now)

    def _authorized(self, connector: Connector, authorized: Authorized, now: float) -> None:
        if not self._can_start(connector) or not self._may_use(connector, authorized.id_tag, authorized.parent_id_tag):
            return
        if connector.is_plugged and connector.is_ev_connected:
            if connector.is_finishing:
                connector.is_finishing = False  # F2: a new transaction, with a status Preparing between
                self.update(now)
            self._start(connector, authorized, now)
        elif not connector.is_plugged:
            connector.authorized = authorized
            self._expect_user(connector, now)
        self.update(now)

    def _can_start(self, connector: Connector) -> bool:
        return (
            self._site.may_charge
            and connector.connector_id > 0
            and connector.transaction is None
            and connector.authorized is None
            and not connector.is_checking
            and connector.is_operative
            and connector.is_plugged is connector.is_ev_connected
            and not connector.is_stale
            and connector.locked_for is None
            and not connector.is_faulted
            and connector.scheduled is not False
            and not self._is_withheld(connector)
        )

    def _may_use(self, connector: Connector, id_tag: str, parent_id_tag: str | None) -> bool:
        reservation = self._reservation(connector)
        return reservation is None or reservation.is_for(id_tag, parent_id_tag)

    def _reservation(self, connector: Connector) -> Reservation | None:
        return reservations.in_the_way(self._connectors, self._site.template.connectors, connector)

    def _choose(self, connector_id: int | None, id_tag: str) -> Connector | None:
        """Return the connector for a remote start; one with an EV before one without (core 5.11)."""
        if connector_id is not None:
            if not 1 <= connector_id <= self._site.template.connectors:
                return None
            candidates = [self.connector(connector_id)]
        else:
            every = [self.connector(each) for each in range(1, self._site.template.connectors + 1)]
            candidates = sorted(every, key=lambda each: not each.is_plugged)
        for connector in candidates:
            if not self._can_start(connector):
                continue
            reservation = self._reservation(connector)
            # For a group: whether the id tag is one of it has to be asked.
            if reservation is None or reservation.parent_id_tag is not None or reservation.is_for(id_tag, None):
                return connector
        return None

    # -- transactions -------------------------------------------------------------------------

    def _start(self, connector: Connector, authorized: Authorized, now: float) -> None:
        site = self._site
        utc = site.utc(now)
        reservation_id = reservations.take(self._connectors, connector, authorized.id_tag, authorized.parent_id_tag)
        transaction = Transaction(
            connector.connector_id,
            authorized.id_tag,
            parent_id_tag=authorized.parent_id_tag,
            meter_start=shown_register(connector.register),
            started=utc,
            started_at=now,
            reservation_id=reservation_id,
        )
        connector.authorized = None
        connector.deadline = NEVER
        connector.info = ""
        # Seen as Preparing before anything else is, also where cable and id tag come at once.
        self._look_prepared(connector, now)
        connector.transaction = transaction
        connector.settled_at = now
        # Of a period, a transaction tells only what is its own (core errata 3.16).
        connector.sampled_register = connector.aligned_register = connector.register
        period = site.configuration.integer(Key.METER_VALUE_SAMPLE_INTERVAL)
        connector.sample_at = now + period if period else NEVER
        if authorized.profile is not None:
            # One that no longer fits limits nothing; the transaction goes on without it.
            with suppress(InvalidProfile):
                site.install_profile(connector.connector_id, authorized.profile, now)
        metering.boundary_sample(site, connector, transaction, utc, ends=False)
        site.submit("StartTransaction", transaction, transaction.start_request(), now)
        site.observe(TransactionStarted(connector.connector_id, authorized.id_tag))

    def _look_prepared(self, connector: Connector, now: float) -> None:
        if connector.status is not ConnectorStatus.PREPARING:
            self._look(connector, now)

    def _stop(self, connector: Connector, reason: Reason, now: float, id_tag: str | None = None) -> None:
        site = self._site
        transaction = connector.transaction
        assert transaction is not None
        settle(self, now)
        utc = site.utc(now)
        metering.boundary_sample(site, connector, transaction, utc, ends=True)
        meter_stop = shown_register(connector.register)
        connector.transaction = None
        connector.sample_at = NEVER
        connector.power = connector.offered = 0.0
        connector.is_finishing = connector.is_plugged
        if site.profiles is not None:
            site.profiles.end_transaction(connector.connector_id)
        # The clock may have been set back meanwhile: no transaction ends before it began.
        stopped = max(utc, transaction.started)
        site.submit("StopTransaction", transaction, transaction.stop_request(reason, meter_stop, stopped, id_tag), now)
        site.observe(
            TransactionEnded(
                connector.connector_id,
                transaction.id_tag,
                reason.value,
                meter_stop - transaction.meter_start,
                now - transaction.started_at,
            )
        )
        if not connector.is_ev_connected and not site.template.locks_cables:
            # D1, E1: a fixed cable, back in its holder.
            self._remove_cable(connector)
        elif not connector.is_plugged:
            self._apply_scheduled(connector)

    def _tell_when_all_ended(self, now: float) -> None:
        if not self.has_transactions:
            self._site.transactions_ended(now)

    def _disconnect_ev(self, connector: Connector, now: float) -> None:
        settle(self, now)
        connector.is_ev_connected = False
        transaction = connector.transaction
        if transaction is None:
            if not self._site.template.locks_cables:
                self._remove_cable(connector)
            return
        configuration = self._site.configuration
        if not configuration.boolean(Key.STOP_TRANSACTION_ON_EV_SIDE_DISCONNECT):
            connector.info = EV_SIDE_DISCONNECTED
            self.update(now)
            return
        self._stop(connector, Reason.EV_DISCONNECTED, now)
        if self._site.template.locks_cables:
            connector.info = EV_SIDE_DISCONNECTED
            if not configuration.boolean(Key.UNLOCK_CONNECTOR_ON_EV_SIDE_DISCONNECT):
                self._lock(connector, transaction)
            self.update(now)
        else:
            # C1: a fixed cable leaves nothing for anybody to do.
            self._remove_cable(connector)
        self._tell_when_all_ended(now)

    def _remove_cable(self, connector: Connector) -> None:
        connector.battery = None
        connector.is_ev_connected = connector.is_ev_paused = False
        connector.is_finishing = connector.is_stale = False
        connector.locked_for = connector.locked_for_group = None
        connector.info = ""
        if connector.authorized is None:
            connector.deadline = NEVER
        self._apply_scheduled(connector)

    def _lock(self, connector: Connector, transaction: Transaction) -> None:
        if self._site.template.locks_cables and connector.is_plugged:
            connector.locked_for, connector.locked_for_group = transaction.id_tag, transaction.parent_id_tag

    def _expect_user(self, connector: Connector, now: float) -> None:
        """Give the driver ConnectionTimeOut for what is missing: the cable or the id tag (core 9.1.6)."""
        seconds = self._site.configuration.integer(Key.CONNECTION_TIME_OUT)
        # A reserved connector with somebody's cable in it stays reserved (core 4.9 knows no G6).
        is_reserved = connector.reservation is not None and connector.authorized is None
        is_here = connector.is_operative and not (connector.authorized is None and self._is_withheld(connector))
        waits = is_here and connector.transaction is None and seconds > 0 and not is_reserved
        connector.deadline = now + seconds if waits else NEVER

    def _connection_timed_out(self, connector: Connector) -> None:
        connector.deadline = NEVER
        connector.authorized = None
        if connector.is_plugged and connector.transaction is None:
            connector.is_finishing = connector.is_stale = True  # B6, core errata 3.20
        else:
            self._apply_scheduled(connector)  # B1

    def _cancel(self, connector: Connector) -> None:
        connector.authorized = None
        connector.deadline = NEVER
        self._apply_scheduled(connector)

    def _forget_user(self, connector: Connector) -> None:
        connector.authorized = None
        connector.deadline = connector.status_at = NEVER
        self._apply_scheduled(connector)

    # -- availability and reservations --------------------------------------------------------

    def _apply_scheduled(self, connector: Connector) -> None:
        if connector.scheduled is not None and connector.is_free:
            self._set_operative(connector, is_operative=connector.scheduled)

    def _apply_to_main(self, main: Connector) -> None:
        if main.scheduled is not None and all(each.scheduled is None for each in self if each.connector_id):
            self._set_operative(main, is_operative=main.scheduled)

    def _set_operative(self, connector: Connector, *, is_operative: bool) -> None:
        connector.is_operative = is_operative
        connector.scheduled = None
        connector.reservation = None  # core 5.13 (3)

    def _end_reservation(self, connector: Connector, now: float) -> None:
        connector.reservation = None
        if connector.is_plugged and connector.transaction is None and not connector.is_finishing:
            self._expect_user(connector, now)

    def _break(self, connector: Connector, error_code: str, info: str, now: float) -> None:
        connector.error_code, connector.info = error_code, info
        # Core 5.13 (3): of the charge point or of the connector.
        for each in [connector] if connector.connector_id else self:
            if each.reservation is not None:
                self._end_reservation(each, now)
