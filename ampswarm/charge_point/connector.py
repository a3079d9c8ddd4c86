"""Connectors: what is true of one, and the status that follows from it (core 4.9)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ampswarm.charge_point.charging_profile import ChargingProfile
from ampswarm.charge_point.reservation import Reservation
from ampswarm.charge_point.transaction import Transaction
from ampswarm.charge_point.vehicle import Battery
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc

NEVER: Final = float("inf")

NO_ERROR: Final = "NoError"
EV_SIDE_DISCONNECTED: Final = "EV side disconnected"

FAULTS: Final = frozenset(
    {
        "ConnectorLockFailure",
        "GroundFailure",
        "HighTemperature",
        "InternalError",
        "OtherError",
        "OverCurrentFailure",
        "OverVoltage",
        "PowerMeterFailure",
        "PowerSwitchFailure",
        "ReaderFailure",
        "ResetFailure",
        "UnderVoltage",
        "WeakSignal",
    }
)
"""ChargePointErrorCode (core 7.6) of a Faulted connector; EVCommunicationError shall not go with it (core 4.9)."""


class ConnectorStatus(StrEnum):
    """ChargePointStatus (core 7.7).

    Connector 0, the charge point itself, knows only AVAILABLE, UNAVAILABLE and FAULTED (core 4.9).
    """

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDED_EV = "SuspendedEV"
    SUSPENDED_EVSE = "SuspendedEVSE"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


@dataclass(frozen=True, slots=True)
class Authorized:
    """An id tag that may start a transaction as soon as there is an EV."""

    id_tag: str
    parent_id_tag: str | None
    profile: ChargingProfile | None = None
    """The charging profile that came with RemoteStartTransaction (core 5.16.2)."""


class Connector:
    """One connector that was ever used; those that never were do not exist in memory."""

    __slots__ = (
        "aligned_register",
        "authorized",
        "battery",
        "change_at",
        "connector_id",
        "deadline",
        "error_code",
        "info",
        "invalid_register",
        "is_checking",
        "is_ev_connected",
        "is_ev_paused",
        "is_finishing",
        "is_operative",
        "is_stale",
        "locked_for",
        "locked_for_group",
        "offered",
        "phases",
        "power",
        "register",
        "reported",
        "reported_error",
        "reservation",
        "sample_at",
        "sampled_register",
        "scheduled",
        "settled_at",
        "status",
        "status_at",
        "told_error",
        "transaction",
    )

    def __init__(self, connector_id: int) -> None:
        self.connector_id = connector_id
        self.status = ConnectorStatus.AVAILABLE
        """As it was when last looked at; `present_status` is what it is."""
        self.reported = ConnectorStatus.AVAILABLE
        """What the central system knows."""
        self.status_at = NEVER
        """When the present status is to be told, if it lasts (MinimumStatusDuration)."""
        self.info = ""
        self.error_code = self.reported_error = NO_ERROR
        self.told_error = NO_ERROR
        """The error code that went with `status`."""
        self.is_operative = True
        self.scheduled: bool | None = None
        """What ChangeAvailability will make of `is_operative` when the connector is free."""
        self.reservation: Reservation | None = None
        self.battery: Battery | None = None
        """Of the EV whose cable is plugged in."""
        self.is_ev_connected = False
        """Whether the cable is plugged into the EV as well."""
        self.is_ev_paused = False
        """Whether the EV takes no energy of its own accord, though it is not full."""
        self.locked_for: str | None = None
        """The id tag that has to be shown before the cable is unlocked (core errata 3.5, 9.1.33)."""
        self.locked_for_group: str | None = None
        """The group of it, any id tag of which will do as well."""
        self.is_finishing = False
        """Whether what there was is over, but the cable is still in."""
        self.is_stale = False
        """Whether no id tag came in time: no other driver's may start what is plugged in (core errata 3.20)."""
        self.authorized: Authorized | None = None
        self.is_checking = False
        """Whether somebody who wants to charge waits for the answer about an id tag."""
        self.deadline = NEVER
        """When ConnectionTimeOut ends what PREPARING waits for."""
        self.transaction: Transaction | None = None
        self.register = 0.0
        """Wh; only grows (core 7.31)."""
        self.settled_at = 0.0
        """Until when the register has been brought forward."""
        self.offered = 0.0
        """W that the EV may draw."""
        self.power = 0.0
        """W that it drew when last looked at."""
        self.phases = 0
        self.change_at = NEVER
        """When the offer changes or the battery is full."""
        self.sample_at = NEVER
        self.sampled_register = self.aligned_register = 0.0
        self.invalid_register = 0.0
        """The register when the central system refused the id tag (MaxEnergyOnInvalidId)."""

    @property
    def is_plugged(self) -> bool:
        """Whether a cable is in the connector."""
        return self.battery is not None

    @property
    def is_faulted(self) -> bool:
        """Whether a fault keeps it from being used."""
        return self.error_code != NO_ERROR

    @property
    def is_reported(self) -> bool:
        """Whether the central system knows its present status."""
        return (self.status, self.error_code) == (self.reported, self.reported_error)

    @property
    def is_free(self) -> bool:
        """Whether nobody uses it or is about to."""
        return self.battery is None and self.authorized is None and self.transaction is None

    def present_status(self, *, is_withheld: bool) -> ConnectorStatus:
        """Return the status that follows from what is true now (core 4.9).

        Args:
            is_withheld: whether the charge point keeps it to itself.
        """
        if self.is_faulted:
            return ConnectorStatus.FAULTED
        if self.transaction is not None:
            return self._charging_status()
        if self.is_finishing:
            return ConnectorStatus.FINISHING
        if not self.is_operative or is_withheld:
            return ConnectorStatus.UNAVAILABLE
        if self.reservation is not None and self.authorized is None and self.connector_id:
            return ConnectorStatus.RESERVED
        if not self.is_free:
            return ConnectorStatus.PREPARING
        return ConnectorStatus.AVAILABLE

    def _charging_status(self) -> ConnectorStatus:
        # Where both suspend, SuspendedEVSE has precedence (core 4.9).
        if self.offered <= 0 and self.is_ev_connected:
            return ConnectorStatus.SUSPENDED_EVSE
        if self.power <= 0:
            return ConnectorStatus.SUSPENDED_EV
        return ConnectorStatus.CHARGING


def status_notification(
    connector_id: int, status: ConnectorStatus, utc: float, *, error_code: str = NO_ERROR, info: str = ""
) -> Payload:
    """Return StatusNotification.req (core 6.47).

    Args:
        connector_id: 0 for the charge point itself, from 1 for its connectors (core 3.8).
        status: the connector's present status.
        utc: the charge point's clock, in seconds since 1970.
        error_code: ChargePointErrorCode (core 7.6).
        info: more for a person, up to 50 characters.
    """
    payload: Payload = {
        "connectorId": connector_id,
        "errorCode": error_code,
        "status": status.value,
        "timestamp": format_utc(utc),
    }
    if info:
        payload["info"] = info[:50]
    return payload
