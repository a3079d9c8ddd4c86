"""Commands of the feature profiles beyond Core: lists, reservations, charging profiles, triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ampswarm.charge_point import security_commands
from ampswarm.charge_point.charging_profile import ChargingProfile, InvalidProfile, Purpose, RateUnit
from ampswarm.charge_point.configuration import Key
from ampswarm.charge_point.configuration_keys import Profile
from ampswarm.charge_point.id_tags import UpdateStatus
from ampswarm.charge_point.link import Registration
from ampswarm.charge_point.reservation import Reservation
from ampswarm.charge_point.smart_charging import ChargingProfiles
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc, parse_utc

if TYPE_CHECKING:
    from ampswarm.charge_point.station import ChargePoint

_EXTENDED: Final = {
    "FirmwareStatusNotification": "SignedFirmwareStatusNotification",
    "Heartbeat": "Heartbeat",
    "LogStatusNotification": "LogStatusNotification",
    "MeterValues": "MeterValues",
    "StatusNotification": "StatusNotification",
}
"""What ExtendedTriggerMessage calls it, and the message that is sent (whitepaper 6.16)."""
_OF_FIRMWARE_MANAGEMENT: Final = frozenset({"DiagnosticsStatusNotification", "FirmwareStatusNotification"})

# -- Local Auth List Management ---------------------------------------------------------------


def get_local_list_version(station: ChargePoint, _payload: Payload, _now: float) -> Payload:
    """Answer GetLocalListVersion.req (core 5.10)."""
    if Profile.LOCAL_AUTH_LIST_MANAGEMENT.value not in station.configuration.profiles:
        return {"listVersion": -1}
    return {"listVersion": station.local_list.version}


def send_local_list(station: ChargePoint, payload: Payload, _now: float) -> Payload:
    """Answer SendLocalList.req (core 5.15)."""
    configuration = station.configuration
    if not configuration.boolean(Key.LOCAL_AUTH_LIST_ENABLED):
        return {"status": UpdateStatus.NOT_SUPPORTED.value}
    status = station.local_list.update(
        payload,
        max_length=configuration.integer(Key.LOCAL_AUTH_LIST_MAX_LENGTH),
        max_update=configuration.integer(Key.SEND_LOCAL_LIST_MAX_LENGTH),
    )
    return {"status": status.value}


# -- Reservation ------------------------------------------------------------------------------


def reserve_now(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer ReserveNow.req (core 5.13)."""
    try:
        expires = parse_utc(payload["expiryDate"])
    except ValueError as error:
        raise OcppError(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, f"expiryDate: {error}") from None
    if expires <= station.utc(now):
        return {"status": "Rejected"}
    reservation = Reservation(payload["reservationId"], payload["idTag"], payload.get("parentIdTag"), expires)
    return {"status": station.charging(now).reserve(payload["connectorId"], reservation, now)}


def cancel_reservation(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer CancelReservation.req (core 5.1)."""
    cancelled = station.charging(now).cancel_reservation(payload["reservationId"], now)
    return {"status": "Accepted" if cancelled else "Rejected"}


# -- Smart Charging ---------------------------------------------------------------------------


def set_charging_profile(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer SetChargingProfile.req (core 5.16)."""
    connector_id: int = payload["connectorId"]
    if not 0 <= connector_id <= station.template.connectors:
        # Core errata 3.39.
        raise OcppError(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, f"there is no connector {connector_id}")
    charging = station.charging(now)
    charging.advance(now)
    try:
        profile = ChargingProfile.from_payload(payload["csChargingProfiles"], station.capabilities)
        if profile.purpose is Purpose.TX:
            _check_transaction(station, connector_id, profile, now)
        station.install_profile(connector_id, profile, now)
    except InvalidProfile:
        return {"status": "Rejected"}
    charging.update(now)
    return {"status": "Accepted"}


def _check_transaction(station: ChargePoint, connector_id: int, profile: ChargingProfile, now: float) -> None:
    transaction = station.charging(now).connector(connector_id).transaction
    if transaction is None:
        raise InvalidProfile("no transaction runs on this connector (core 3.13.1)")
    if profile.transaction_id is not None and profile.transaction_id != transaction.transaction_id:
        raise InvalidProfile("it is for another transaction")


def clear_charging_profile(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer ClearChargingProfile.req (core 5.5, errata 3.25, 3.26)."""
    if station.profiles is None:
        return {"status": "Unknown"}
    charging = station.charging(now)
    charging.advance(now)
    purpose = payload.get("chargingProfilePurpose")
    cleared = station.profiles.clear(
        profile_id=payload.get("id"),
        connector_id=payload.get("connectorId"),
        purpose=None if purpose is None else Purpose(purpose),
        stack_level=payload.get("stackLevel"),
    )
    charging.update(now)
    return {"status": "Accepted" if cleared else "Unknown"}


def get_composite_schedule(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer GetCompositeSchedule.req (core 5.7)."""
    connector_id: int = payload["connectorId"]
    template = station.template
    if not 0 <= connector_id <= template.connectors or payload["duration"] <= 0:
        return {"status": "Rejected"}
    charging = station.charging(now)
    charging.advance(now)
    utc = station.utc(now)
    profiles = station.profiles or ChargingProfiles()
    schedule = profiles.composite_schedule(
        connector_id,
        utc,
        payload["duration"],
        RateUnit(payload.get("chargingRateUnit", RateUnit.W)),
        charging=charging.charging_since(),
        supply=template.supply,
        connectors=template.connectors,
    )
    return {
        "status": "Accepted",
        "connectorId": connector_id,
        "scheduleStart": format_utc(utc),
        "chargingSchedule": schedule,
    }


# -- Remote Trigger, and the security extension's own ------------------------------------------


def trigger_message(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer TriggerMessage.req (core 5.17)."""
    is_firmware = payload["requestedMessage"] in _OF_FIRMWARE_MANAGEMENT
    if is_firmware and Profile.FIRMWARE_MANAGEMENT.value not in station.configuration.profiles:
        return {"status": "NotImplemented"}
    return {"status": _trigger(station, payload["requestedMessage"], payload.get("connectorId"), now)}


def extended_trigger_message(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer ExtendedTriggerMessage.req (whitepaper 5.5)."""
    requested: str = payload["requestedMessage"]
    if requested == "BootNotification":
        return {"status": _trigger(station, requested, None, now)}
    if requested == "SignChargePointCertificate":
        request = security_commands.signing_request(station)
        is_sent = request is not None and station.trigger("SignCertificate", now, payload={"csr": request})
        return {"status": "Accepted" if is_sent else "Rejected"}
    return {"status": _trigger(station, _EXTENDED[requested], payload.get("connectorId"), now)}


def certificate_signed(station: ChargePoint, payload: Payload, now: float) -> Payload:
    """Answer CertificateSigned.req (whitepaper A02), and look when the new certificate ends (A03)."""
    answer = security_commands.certificate_signed(station, payload, now)
    station.security_changed(now)
    return answer


def _trigger(station: ChargePoint, action: str, connector_id: int | None, now: float) -> str:
    last = station.template.connectors
    match action:
        case "BootNotification":
            return "Accepted" if station.trigger_boot(now) else "Rejected"
        case "StatusNotification":
            # Without a connector, it is asked of all of them, the charge point itself included.
            allowed = range(last + 1)
        case "MeterValues":
            # No main meter: nothing is measured at connector 0 (core 3.16.3).
            allowed = range(1, last + 1)
            if not station.configuration.measurands(Key.METER_VALUES_SAMPLED_DATA):
                return "Rejected"
        case _:
            # Core 5.17: a connector that means nothing to the message is ignored.
            allowed, connector_id = range(1), None
    if connector_id is None:
        wanted = list(allowed)
    elif connector_id in allowed:
        wanted = [connector_id]
    else:
        return "Rejected"
    if station.registration not in (Registration.ACCEPTED, Registration.PENDING):
        return "Rejected"
    return "Accepted" if station.trigger(action, now, wanted) else "Rejected"
