"""What a charge point is at, in one word: for whoever looks at thousands of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from ampswarm.charge_point.connector import ConnectorStatus
from ampswarm.charge_point.link import Link, Registration

if TYPE_CHECKING:
    from ampswarm.charge_point.station import ChargePoint


class Condition(StrEnum):
    """What a charge point is at; one of them at a time."""

    OFF = "off"
    """It has no power, or starts: at first, after a power cut, after a Reset."""
    CONNECTING = "connecting"
    """It is about to open a connection: name, TCP, TLS, upgrade."""
    BOOTING = "booting"
    """It is connected, and its boot is not Accepted (core 4.2)."""
    ONLINE = "online"
    """It is connected and Accepted, and nobody charges."""
    CHARGING = "charging"
    """As online, and a transaction runs."""
    FAULTED = "faulted"
    """As online, and it, or one of its connectors, is Faulted (core 7.7)."""
    OFFLINE = "offline"
    """It waits for the time of its next attempt to connect."""


def condition_of(station: ChargePoint) -> Condition:
    """Return what a charge point is at."""
    match station.link:
        case Link.OFF:
            return Condition.OFF
        case Link.WAITING:
            return Condition.OFFLINE if station.is_running else Condition.OFF
        case Link.CONNECTING:
            return Condition.CONNECTING
    if station.registration is not Registration.ACCEPTED:
        return Condition.BOOTING
    connectors = station.connectors
    if connectors is None:
        return Condition.ONLINE
    is_charging = False
    for connector in connectors:
        if connector.status is ConnectorStatus.FAULTED:
            return Condition.FAULTED
        is_charging = is_charging or connector.transaction is not None
    return Condition.CHARGING if is_charging else Condition.ONLINE
