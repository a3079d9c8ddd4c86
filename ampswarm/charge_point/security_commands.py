"""Security commands of the central system, and what the charge point asks of it (A01 to A05, M03 to M05)."""

from __future__ import annotations

from typing import Final, Protocol

from ampswarm.charge_point.configuration import Configuration, ConfigurationStatus, Key
from ampswarm.charge_point.security import (
    MAX_PROFILE,
    CertificateUse,
    Security,
    SecurityEvent,
    SignedStatus,
    parse_authorization_key,
)
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.frames import Payload

SECURITY_KEYS: Final = frozenset({Key.AUTHORIZATION_KEY, Key.CPO_NAME, Key.SECURITY_PROFILE})
"""The configuration keys whose changes go through `change_security_setting`."""

_NAMES: Final = {key.casefold(): key for key in SECURITY_KEYS}
_INSTANT: Final = 0.001
"""Seconds: clocks are no finer."""
_MAX_SERIAL_NUMBER: Final = 25
"""Characters of chargePointSerialNumber (core 6.3), which is the CN of its certificate (A00.FR.511)."""


class SecuredStation(Protocol):
    """What these commands need of a charge point."""

    @property
    def identity(self) -> str:
        """Its charge point identity."""

    @property
    def template(self) -> Template:
        """What it has in common with its fleet."""

    @property
    def configuration(self) -> Configuration:
        """Its configuration keys."""

    @property
    def security(self) -> Security:
        """Its security, made when first asked for."""

    def utc(self, now: float) -> float:
        """Return what its own clock shows, in seconds since 1970."""

    def notify(self, action: str, payload: Payload, now: float, *, is_kept: bool = False) -> None:
        """Queue a Call of its own."""

    def security_event(self, event: SecurityEvent, now: float, tech_info: str = "") -> None:
        """Log a security event, and tell the central system of a critical one (A04)."""

    def reconnect(self, now: float) -> None:
        """Close the connection once the answer is out, and connect again."""


def factory_security(configuration: Configuration) -> Security:
    """Return the security of a charge point that has nothing but its configuration."""
    password = parse_authorization_key(configuration.text(Key.AUTHORIZATION_KEY))
    return Security(configuration.integer(Key.SECURITY_PROFILE), password=password)


def is_security_key(name: str) -> bool:
    """Whether a ChangeConfiguration of the key `name` is one of `change_security_setting`'s."""
    return name.casefold() in _NAMES


def change_security_setting(station: SecuredStation, name: str, value: str, now: float) -> ConfigurationStatus:
    """Carry out ChangeConfiguration of AuthorizationKey, SecurityProfile or CpoName (A01, A05).

    Args:
        station: the charge point.
        name: the key; its case does not count.
        value: what it is to be.
        now: the time, in seconds on the station's clock.
    """

    def check(key: Key, parsed: object) -> ConfigurationStatus | None:
        # What these two do, they do at once; whatever needs a reboot otherwise (A01, A05.FR.05).
        match key:
            case Key.AUTHORIZATION_KEY:
                return _change_password(station, value, now)
            case Key.SECURITY_PROFILE:
                assert isinstance(parsed, int)
                return _change_profile(station, parsed, now)
            case _:
                return None

    status = station.configuration.change(name, value, check=check)
    if status is ConfigurationStatus.ACCEPTED:
        # The name of the key, never what it holds (A01.FR.11, A01.FR.12).
        event = SecurityEvent.RECONFIGURATION_OF_SECURITY_PARAMETERS
        station.security_event(event, now, _NAMES[name.casefold()].value)
    return status


def _change_password(station: SecuredStation, value: str, now: float) -> ConfigurationStatus:
    password = parse_authorization_key(value)
    if password is None:
        return ConfigurationStatus.REJECTED
    security = station.security
    # Here and nowhere else: a configuration is shown, logged and compared.
    security.change_password(password)
    if security.authorization(station.identity) is not None:
        station.reconnect(now)
    return ConfigurationStatus.ACCEPTED


def _change_profile(station: SecuredStation, profile: int, now: float) -> ConfigurationStatus:
    security = station.security
    if not security.check_profile(profile, station.utc(now)):
        return ConfigurationStatus.REJECTED
    security.change_profile(profile)
    station.configuration.set(Key.SECURITY_PROFILE, profile)
    station.reconnect(now)
    return ConfigurationStatus.ACCEPTED


def connection_refused(
    station: SecuredStation,
    now: float,
    *,
    event: SecurityEvent | None = None,
    tech_info: str = "",
    was_own_certificate: bool = False,
) -> None:
    """An attempt to connect failed: raise the event, and go back to the previous profile if it is time.

    Only for a charge point that has a `Security`: the others have nothing to go back to.

    Args:
        station: the charge point.
        now: the time, in seconds on the station's clock.
        event: what the failure means to its security (A00.FR.309, A00.FR.413); `None` for nothing.
        tech_info: the failure in words.
        was_own_certificate: whether the central system did not take the charge point's certificate.
    """
    if event is not None:
        station.security_event(event, now, tech_info)
    security = station.security
    if security.refused(was_own_certificate=was_own_certificate):
        station.configuration.set(Key.SECURITY_PROFILE, security.profile)
        reconfigured = SecurityEvent.RECONFIGURATION_OF_SECURITY_PARAMETERS
        station.security_event(reconfigured, now, f"back to security profile {security.profile}")


def serial_number(station: SecuredStation) -> str:
    """Return the serial number of a charge point, as BootNotification.req has it."""
    return station.template.serial_number.format(identity=station.identity)[:_MAX_SERIAL_NUMBER]


def signing_request(station: SecuredStation) -> str | None:
    """Make a new key pair and return the CSR for it (A02.FR.02, A02.FR.03).

    `None` where that cannot be: CpoName is not set, or the serial number cannot stand in a certificate.
    """
    from ampswarm.charge_point.certificates import InvalidCertificate  # noqa: PLC0415  see there

    cpo_name = station.configuration.text(Key.CPO_NAME)
    try:
        return station.security.sign_request(serial_number(station), cpo_name)
    except InvalidCertificate:
        return None


def sign_certificate(station: SecuredStation, now: float) -> bool:
    """Ask for a new certificate because the old one ends (A03); False where it cannot."""
    request = signing_request(station)
    if request is not None:
        # Kept: the key is made, and nobody would ask for it again.
        station.notify("SignCertificate", {"csr": request}, now, is_kept=True)
    return request is not None


def renew(station: SecuredStation, now: float) -> None:
    """Ask for a new certificate if the old one ends (A03), or else use the one that has become valid (A02.FR.08)."""
    security = station.security
    due = security.renewal_due
    if due is not None and due <= station.utc(now) + _INSTANT:
        sign_certificate(station, now)
    elif security.profile == MAX_PROFILE:
        station.reconnect(now)


def certificate_signed(station: SecuredStation, payload: Payload, now: float) -> Payload:
    """Answer CertificateSigned.req (A02, A03).

    A charge point that signs in with certificates connects again, to use it as soon as it is valid
    (A02.FR.08): what becomes valid later, on another new connection then.
    """
    chain: str = payload["certificateChain"]
    configuration = station.configuration
    event: SecurityEvent | None
    if len(chain) > configuration.integer(Key.CERTIFICATE_SIGNED_MAX_CHAIN_SIZE):
        status = SignedStatus.REJECTED
        event, tech_info = SecurityEvent.INVALID_CHARGE_POINT_CERTIFICATE, "longer than CertificateSignedMaxChainSize"
    else:
        status, event, tech_info = station.security.certificate_signed(
            chain,
            station.utc(now),
            serial_number=serial_number(station),
            cpo_name=configuration.text(Key.CPO_NAME),
        )
    if status is SignedStatus.ACCEPTED:
        event, tech_info = SecurityEvent.RECONFIGURATION_OF_SECURITY_PARAMETERS, "charge point certificate"
        if station.security.profile == MAX_PROFILE:
            station.reconnect(now)
    if event is not None:
        station.security_event(event, now, tech_info)
    return {"status": status.value}


def install_certificate(station: SecuredStation, payload: Payload, now: float) -> Payload:
    """Answer InstallCertificate.req (M05)."""
    use = CertificateUse(payload["certificateType"])
    configuration = station.configuration
    status = station.security.install(
        use,
        payload["certificate"],
        station.utc(now),
        max_length=configuration.integer(Key.CERTIFICATE_STORE_MAX_LENGTH),
        replaces=configuration.boolean(Key.ADDITIONAL_ROOT_CERTIFICATE_CHECK),
    )
    return {"status": status.value}


def delete_certificate(station: SecuredStation, payload: Payload, now: float) -> Payload:
    """Answer DeleteCertificate.req (M04)."""
    return {"status": station.security.delete(payload["certificateHashData"], station.utc(now)).value}


def get_installed_certificate_ids(station: SecuredStation, payload: Payload, _now: float) -> Payload:
    """Answer GetInstalledCertificateIds.req (M03)."""
    found = station.security.installed(CertificateUse(payload["certificateType"]))
    return {"status": "Accepted", "certificateHashData": found} if found else {"status": "NotFound"}
