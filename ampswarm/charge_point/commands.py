"""What the central system may ask of a charge point: one handler for each action (core chapter 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point import profile_commands, security_commands
from ampswarm.charge_point.charging_profile import ChargingProfile, InvalidProfile, Purpose
from ampswarm.charge_point.configuration import ConfigurationStatus
from ampswarm.charge_point.configuration_keys import Profile
from ampswarm.charge_point.link import Registration
from ampswarm.charge_point.transaction import Reason
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.station import ChargePoint

Handler = Callable[["ChargePoint", Payload, float], Payload]


def handle(station: ChargePoint, action: str, payload: Payload, now: float) -> Payload:
    """Carry out one command and return the payload of its CallResult.

    Args:
        station: the charge point that was called.
        action: the command.
        payload: its arguments; they have passed the action's schema.
        now: the time, in seconds on the station's clock.

    Raises:
        OcppError: NotSupported for an action of a feature profile that this charge point does not have,
            or that only charge points send; whatever a handler has to refuse.
    """
    handler = _HANDLERS.get(action)
    if handler is None:
        raise OcppError(ErrorCode.NOT_SUPPORTED, f"{action} is for central systems")
    profile = _PROFILES.get(action)
    if profile is not None and profile.value not in station.configuration.profiles:
        raise OcppError(ErrorCode.NOT_SUPPORTED, f"this charge point does not have the feature profile {profile}")
    return handler(station, payload, now)


def _change_availability(station: ChargePoint, payload: Payload, now: float) -> Payload:
    is_operative = payload["type"] == "Operative"
    charging = station.charging(now)
    return {"status": charging.change_availability(payload["connectorId"], now, is_operative=is_operative)}


def _change_configuration(station: ChargePoint, payload: Payload, now: float) -> Payload:
    name, value = payload["key"], payload["value"]
    if security_commands.is_security_key(name):
        return {"status": security_commands.change_security_setting(station, name, value, now).value}
    status = station.configuration.change(name, value)
    if status is ConfigurationStatus.ACCEPTED:
        station.configuration_changed(name, now)
    return {"status": status.value}


def _clear_cache(station: ChargePoint, _payload: Payload, _now: float) -> Payload:
    return {"status": "Accepted" if station.clear_cache() else "Rejected"}


def _data_transfer(station: ChargePoint, payload: Payload, _now: float) -> Payload:
    if payload["vendorId"].casefold() != station.template.vendor.casefold():
        return {"status": "UnknownVendorId"}
    # The vendor's own one has no messages that have a name (core 4.3).
    return {"status": "UnknownMessageId" if "messageId" in payload else "Accepted"}


def _get_configuration(station: ChargePoint, payload: Payload, _now: float) -> Payload:
    station.sync_configuration()
    return station.configuration.get(payload.get("key"))


def _remote_start(station: ChargePoint, payload: Payload, now: float) -> Payload:
    if station.registration is not Registration.ACCEPTED:
        return {"status": "Rejected"}  # core 4.2: not allowed while Pending
    profile = None
    if "chargingProfile" in payload and Profile.SMART_CHARGING.value in station.configuration.profiles:
        try:
            profile = ChargingProfile.from_payload(payload["chargingProfile"], station.capabilities)
        except InvalidProfile:
            return {"status": "Rejected"}
        if profile.purpose is not Purpose.TX or profile.transaction_id is not None:
            return {"status": "Rejected"}  # core 5.16.2
    charging = station.charging(now)
    accepted = charging.remote_start(payload.get("connectorId"), payload["idTag"], profile, now)
    return {"status": "Accepted" if accepted else "Rejected"}


def _remote_stop(station: ChargePoint, payload: Payload, now: float) -> Payload:
    if station.registration is not Registration.ACCEPTED:
        return {"status": "Rejected"}
    charging = station.charging(now)
    connector = charging.transaction(payload["transactionId"])
    if connector is None:
        return {"status": "Rejected"}
    charging.stop(connector, Reason.REMOTE, now)
    return {"status": "Accepted"}


def _reset(station: ChargePoint, payload: Payload, now: float) -> Payload:
    station.reset(now, Reason.HARD_RESET if payload["type"] == "Hard" else Reason.SOFT_RESET)
    return {"status": "Accepted"}


def _unlock_connector(station: ChargePoint, payload: Payload, now: float) -> Payload:
    return {"status": station.charging(now).unlock(payload["connectorId"], now)}


def _get_diagnostics(station: ChargePoint, payload: Payload, now: float) -> Payload:
    return station.maintenance.get_diagnostics(payload, now)


def _update_firmware(station: ChargePoint, payload: Payload, now: float) -> Payload:
    return station.maintenance.update_firmware(payload, now)


def _signed_update_firmware(station: ChargePoint, payload: Payload, now: float) -> Payload:
    return station.maintenance.signed_update_firmware(payload, now)


def _delete_certificate(station: ChargePoint, payload: Payload, now: float) -> Payload:
    if not station.has_security:
        return {"status": "NotFound"}  # a question makes no charge point one of the security extension
    return security_commands.delete_certificate(station, payload, now)


def _get_installed_certificate_ids(station: ChargePoint, payload: Payload, now: float) -> Payload:
    if not station.has_security:
        return {"status": "NotFound"}
    return security_commands.get_installed_certificate_ids(station, payload, now)


def _get_log(station: ChargePoint, payload: Payload, now: float) -> Payload:
    return station.maintenance.get_log(payload, now)


_HANDLERS: Final[dict[str, Handler]] = {
    "CancelReservation": profile_commands.cancel_reservation,
    "CertificateSigned": profile_commands.certificate_signed,
    "ChangeAvailability": _change_availability,
    "ChangeConfiguration": _change_configuration,
    "ClearCache": _clear_cache,
    "ClearChargingProfile": profile_commands.clear_charging_profile,
    "DataTransfer": _data_transfer,
    "DeleteCertificate": _delete_certificate,
    "ExtendedTriggerMessage": profile_commands.extended_trigger_message,
    "GetCompositeSchedule": profile_commands.get_composite_schedule,
    "GetConfiguration": _get_configuration,
    "GetDiagnostics": _get_diagnostics,
    "GetInstalledCertificateIds": _get_installed_certificate_ids,
    "GetLocalListVersion": profile_commands.get_local_list_version,
    "GetLog": _get_log,
    "InstallCertificate": security_commands.install_certificate,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "ReserveNow": profile_commands.reserve_now,
    "Reset": _reset,
    "SendLocalList": profile_commands.send_local_list,
    "SetChargingProfile": profile_commands.set_charging_profile,
    "SignedUpdateFirmware": _signed_update_firmware,
    "TriggerMessage": profile_commands.trigger_message,
    "UnlockConnector": _unlock_connector,
    "UpdateFirmware": _update_firmware,
}

# What core errata 3.2 puts into each feature profile. GetLocalListVersion has an answer of its own for
# a charge point without lists (core 5.10).
_PROFILES: Final = {
    "CancelReservation": Profile.RESERVATION,
    "ClearChargingProfile": Profile.SMART_CHARGING,
    "GetCompositeSchedule": Profile.SMART_CHARGING,
    "GetDiagnostics": Profile.FIRMWARE_MANAGEMENT,
    "ReserveNow": Profile.RESERVATION,
    "SendLocalList": Profile.LOCAL_AUTH_LIST_MANAGEMENT,
    "SetChargingProfile": Profile.SMART_CHARGING,
    "TriggerMessage": Profile.REMOTE_TRIGGER,
    "UpdateFirmware": Profile.FIRMWARE_MANAGEMENT,
}
