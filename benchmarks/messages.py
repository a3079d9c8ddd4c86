"""What charge points say in measurements."""

from __future__ import annotations

import json
from typing import Any, Final

_TIME: Final = "2026-11-26T12:00:00.000Z"

BOOT: Final[dict[str, Any]] = {
    "chargePointVendor": "Ampswarm",
    "chargePointModel": "AC-22",
    "chargePointSerialNumber": "AC-22-000001",
    "firmwareVersion": "1.0.0",
}
HEARTBEAT: Final[dict[str, Any]] = {}
METER_VALUES: Final[dict[str, Any]] = {
    "connectorId": 1,
    "meterValue": [
        {
            "timestamp": f"2026-11-26T12:0{minute}:00.000Z",
            "sampledValue": [
                {"value": str(1000 + minute), "context": "Sample.Periodic", "format": "Raw",
                 "measurand": "Energy.Active.Import.Register", "location": "Outlet", "unit": "Wh"},
                {"value": "7360.0", "measurand": "Power.Active.Import", "unit": "W"},
            ],
        }
        for minute in (0, 1)
    ],
}  # fmt: skip
"""Of some 580 bytes as a Call."""


def status(connector_id: int) -> dict[str, Any]:
    """Return the payload of a StatusNotification.req."""
    return {"connectorId": connector_id, "errorCode": "NoError", "status": "Available", "timestamp": _TIME}


def start(id_tag: str, meter: int) -> dict[str, Any]:
    """Return the payload of a StartTransaction.req."""
    return {"connectorId": 1, "idTag": id_tag, "meterStart": meter, "timestamp": _TIME}


def stop(transaction_id: int, id_tag: str, meter: int) -> dict[str, Any]:
    """Return the payload of a StopTransaction.req."""
    return {"transactionId": transaction_id, "idTag": id_tag, "meterStop": meter, "timestamp": _TIME}


def call(unique_id: str, action: str, payload: dict[str, Any]) -> bytes:
    """Return the text of a Call."""
    return json.dumps([2, unique_id, action, payload], separators=(",", ":")).encode()
