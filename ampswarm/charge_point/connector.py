"""Connectors and what is said of them in StatusNotification (core 4.9)."""

from __future__ import annotations

from enum import StrEnum

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc


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


def status_notification(connector_id: int, status: ConnectorStatus, utc: float) -> Payload:
    """Return StatusNotification.req for a connector without an error.

    Args:
        connector_id: 0 for the charge point itself, from 1 for its connectors (core 3.8).
        status: the connector's present status.
        utc: the charge point's clock, in seconds since 1970.
    """
    return {
        "connectorId": connector_id,
        "errorCode": "NoError",
        "status": status.value,
        "timestamp": format_utc(utc),
    }
