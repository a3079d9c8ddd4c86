"""The connectors of one charge point in time: power, meters, and the status that everybody is told.

`advance` does what became due by itself, each at its own due time, however late it is called. What people
and commands do at the connectors is `charging`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

from ampswarm.charge_point import metering
from ampswarm.charge_point.configuration import Key
from ampswarm.charge_point.connector import NEVER, Connector, ConnectorStatus
from ampswarm.charge_point.power import INSTANT, offer, settle
from ampswarm.charge_point.site import Site
from ampswarm.charge_point.smart_charging import Charging as ChargingSince

_AFTER_AVAILABLE: Final = frozenset({ConnectorStatus.RESERVED, ConnectorStatus.UNAVAILABLE})


class Connectors(ABC):
    """The connectors that were ever used, and connector 0, which is the charge point itself."""

    __slots__ = ("_aligned_at", "_connectors", "_site", "_slot_began", "_slot_ends", "is_withheld", "timer")

    def __init__(self, site: Site, now: float) -> None:
        self._site = site
        self._connectors: dict[int, Connector] = {}
        self._aligned_at = NEVER
        self._slot_began = self._slot_ends = 0.0
        self.is_withheld = False
        """Whether free connectors are kept unavailable, for an installation that waits (core errata 3.49)."""
        self.timer = NEVER
        """When `advance` has something to do."""
        self.clock_changed(now)

    # -- looking ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Connector]:
        return iter(self._connectors.values())

    def connector(self, connector_id: int) -> Connector:
        """Return a connector; 0 is the charge point itself.

        Raises:
            ValueError: there is none with this number.
        """
        connector = self._connectors.get(connector_id)
        if connector is None:
            if not 0 <= connector_id <= self._site.template.connectors:
                raise ValueError(f"{self._site.identity} has no connector {connector_id}")
            connector = self._connectors[connector_id] = Connector(connector_id)
        return connector

    def transaction(self, transaction_id: int) -> Connector | None:
        """Return the connector on which a transaction runs."""
        for connector in self:
            if connector.transaction is not None and connector.transaction.transaction_id == transaction_id:
                return connector
        return None

    @property
    def has_transactions(self) -> bool:
        """Whether any transaction runs."""
        return any(each.transaction is not None for each in self)

    def charging_since(self) -> dict[int, ChargingSince]:
        """Return the running transactions as smart charging sees them."""
        return {
            each.connector_id: ChargingSince(each.transaction.started, each.transaction.transaction_id)
            for each in self
            if each.transaction is not None
        }

    def clock_changed(self, now: float) -> None:
        """The clock was set, or ClockAlignedDataInterval or MeterValueSampleInterval changed."""
        configuration = self._site.configuration
        interval = configuration.integer(Key.CLOCK_ALIGNED_DATA_INTERVAL)
        if interval:
            utc = self._site.utc(now)
            self._slot_ends = metering.next_slot(utc, interval)
            self._slot_began = metering.slot_began(utc, interval)
            if self._aligned_at == NEVER:
                # Nothing was read before: the first period is what is left of the slot.
                self._slot_began = utc
                settle(self, now)
                for connector in self:
                    connector.aligned_register = connector.register
            self._aligned_at = now + self._slot_ends - utc
        else:
            self._aligned_at = NEVER
        period = configuration.integer(Key.METER_VALUE_SAMPLE_INTERVAL)
        for connector in self:
            if connector.transaction is None or not period:
                connector.sample_at = NEVER
            elif connector.sample_at == NEVER or connector.sample_at > now + period:
                connector.sample_at = now + period
        self.update(now)

    # -- time ---------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Do everything that became due up to `now`, in order and each at its own time."""
        while self.timer <= now:
            self._fire(self.timer)

    def update(self, now: float) -> None:
        """Settle the energy, work out anew what each connector gives, and tell of changed status."""
        settle(self, now)
        main = self._connectors.get(0)
        if main is not None and main.scheduled is not None:
            self._apply_to_main(main)
        offer(self._site, self, now, is_faulted=main is not None and main.is_faulted)
        for connector in self:
            self._look(connector, now)
        self._reschedule(now)

    def _fire(self, now: float) -> None:
        settle(self, now)
        utc = self._site.utc(now)
        for connector in self:
            if connector.deadline <= now:
                self._connection_timed_out(connector)
            if connector.sample_at <= now:
                self._sample(connector, now, utc)
            if connector.reservation is not None and connector.reservation.expires <= utc + INSTANT:
                self._end_reservation(connector, now)
        if self._aligned_at <= now:
            self._sample_aligned(now)
        self.update(now)
        for connector in self:
            if connector.status_at <= now:
                connector.status_at = NEVER
                if not connector.is_reported:
                    self._site.report_status(connector, now)
        self._reschedule(now)

    def _reschedule(self, now: float) -> None:
        if not self._site.is_running:
            self.timer = NEVER
            return
        timer = self._aligned_at
        for connector in self:
            timer = min(timer, connector.deadline, connector.sample_at, connector.change_at, connector.status_at)
            if connector.reservation is not None:
                expires = now + connector.reservation.expires - self._site.utc(now)
                timer = min(timer, max(expires, now + INSTANT))
        self.timer = timer

    def _look(self, connector: Connector, now: float) -> None:
        status = connector.present_status(is_withheld=self._is_withheld(connector))
        if status is ConnectorStatus.UNAVAILABLE:
            connector.reservation = None  # core 5.13 (3)
        if status is connector.status and connector.error_code == connector.told_error:
            return
        if connector.status is ConnectorStatus.PREPARING and status in _AFTER_AVAILABLE:
            # Core 4.9 knows no B7 and no B8.
            self._turn(connector, ConnectorStatus.AVAILABLE, now)
        self._turn(connector, status, now)

    def _turn(self, connector: Connector, status: ConnectorStatus, now: float) -> None:
        connector.status, connector.told_error = status, connector.error_code
        stable_for = self._site.configuration.integer(Key.MINIMUM_STATUS_DURATION)
        if not stable_for:
            self._site.report_status(connector, now)
        else:
            connector.status_at = NEVER if connector.is_reported else now + stable_for

    # -- meters -------------------------------------------------------------------------------

    def _sample(self, connector: Connector, now: float, utc: float) -> None:
        site = self._site
        transaction = connector.transaction
        period = site.configuration.integer(Key.METER_VALUE_SAMPLE_INTERVAL)
        if transaction is None or not period:
            connector.sample_at = NEVER
            return
        connector.sample_at += period
        elements = metering.periodic_sample(site, connector, utc)
        if elements:
            site.submit("MeterValues", transaction, transaction.meter_values(elements), now)

    def _sample_aligned(self, now: float) -> None:
        site = self._site
        interval = site.configuration.integer(Key.CLOCK_ALIGNED_DATA_INTERVAL)
        # The slot's own time, not the clock's, which may have been set by a little since.
        began, utc = self._slot_began, self._slot_ends
        self._slot_began, self._slot_ends = utc, metering.next_slot(utc, interval)
        self._aligned_at = max(now + self._slot_ends - site.utc(now), now + INSTANT)
        for connector_id in range(1, site.template.connectors + 1):
            connector = self.connector(connector_id)
            elements = metering.aligned_sample(site, connector, utc, began)
            if not elements:
                continue
            transaction = connector.transaction
            if transaction is not None:
                site.submit("MeterValues", transaction, transaction.meter_values(elements), now)
            else:
                site.notify("MeterValues", {"connectorId": connector_id, "meterValue": elements}, now)

    def _is_withheld(self, connector: Connector) -> bool:
        # Once it is unavailable, a cable does not change that.
        is_unused = connector.is_free or connector.status is ConnectorStatus.UNAVAILABLE
        return self.is_withheld and is_unused and connector.connector_id > 0

    # -- what follows from time --------------------------------------------------------------

    @abstractmethod
    def _connection_timed_out(self, connector: Connector) -> None:
        """End what a connector waits for (ConnectionTimeOut, core 9.1.6)."""

    @abstractmethod
    def _end_reservation(self, connector: Connector, now: float) -> None:
        """End a reservation whose time is over (core 5.13)."""

    @abstractmethod
    def _apply_to_main(self, main: Connector) -> None:
        """Let connector 0 follow what was asked of the whole charge point (core 5.2)."""
