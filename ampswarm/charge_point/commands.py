"""What the central system may ask of a charge point: one handler for each action (core chapter 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.configuration import ConfigurationStatus, parse_heartbeat_interval
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.station import ChargePoint


def handle(station: ChargePoint, action: str, payload: Payload, now: float) -> Payload:
    """Carry out one command and return the payload of its CallResult.

    Args:
        station: the charge point that was called.
        action: the command.
        payload: its arguments; they have passed the action's schema.
        now: the time, in seconds on the station's clock.

    Raises:
        OcppError: NotImplemented for an action that this charge point does not know.
    """
    handler = _HANDLERS.get(action)
    if handler is None:
        raise OcppError(ErrorCode.NOT_IMPLEMENTED, f"{action} is not implemented")
    return handler(station, payload, now)


def _reset(station: ChargePoint, _payload: Payload, _now: float) -> Payload:
    # Soft and Hard differ only in what becomes of transactions (core errata 3.36).
    station.reset()
    return {"status": "Accepted"}


def _change_configuration(station: ChargePoint, payload: Payload, _now: float) -> Payload:
    # A key is a CiString50Type: its case does not count (core 6.9).
    if payload["key"].casefold() != "heartbeatinterval":
        return {"status": ConfigurationStatus.NOT_SUPPORTED.value}
    seconds = parse_heartbeat_interval(payload["value"])
    if seconds is None:
        return {"status": ConfigurationStatus.REJECTED.value}
    station.change_heartbeat_interval(seconds)
    return {"status": ConfigurationStatus.ACCEPTED.value}


def _trigger_message(station: ChargePoint, payload: Payload, now: float) -> Payload:
    requested: str = payload["requestedMessage"]
    if requested == "BootNotification":
        return {"status": "Accepted" if station.trigger_boot(now) else "Rejected"}
    if requested not in _TRIGGERABLE:
        return {"status": "NotImplemented"}
    connector_ids = [0]
    if requested == "StatusNotification":
        # Without a connector, it is asked of all of them, the charge point itself included.
        last = station.template.connectors
        asked: int | None = payload.get("connectorId")
        connector_ids = list(range(last + 1)) if asked is None else [asked]
        if not 0 <= connector_ids[0] <= last:
            return {"status": "Rejected"}
    accepted = station.trigger([(requested, connector_id) for connector_id in connector_ids])
    return {"status": "Accepted" if accepted else "Rejected"}


_TRIGGERABLE: Final = frozenset(
    {
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "StatusNotification",
    }
)

_HANDLERS: Final[dict[str, Callable[[ChargePoint, Payload, float], Payload]]] = {
    "ChangeConfiguration": _change_configuration,
    "Reset": _reset,
    "TriggerMessage": _trigger_message,
}
