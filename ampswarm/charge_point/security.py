"""What a charge point proves itself with and whom it trusts: security profile, password, certificates."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Container, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc

if TYPE_CHECKING:
    from ampswarm.charge_point.certificates import Credential, Root

MAX_PROFILE: Final = 3
"""TLS with client side certificates (whitepaper 2.1)."""
PROFILE_ATTEMPTS: Final = 3
"""Attempts to connect with a new profile before the previous one is taken again (A05.FR.08)."""
_MONTH: Final = 30 * 24 * 60 * 60.0
_MIN_KEY_DIGITS: Final = 32
_MAX_KEY_DIGITS: Final = 40
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_MAX_CREDENTIALS: Final = 3
"""The one to come, the one in use, and the one before it."""
_MAX_TECH_INFO: Final = 255


class SecurityEvent(StrEnum):
    """What happened to the security of a charge point (whitepaper chapter 8)."""

    FIRMWARE_UPDATED = "FirmwareUpdated"
    FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM = "FailedToAuthenticationAtCentralSystem"
    CENTRAL_SYSTEM_FAILED_TO_AUTHENTICATE = "CentralSystemFailedToAuthentication"
    SETTING_SYSTEM_TIME = "SettingSystemTime"
    STARTUP_OF_THE_DEVICE = "StartupOfTheDevice"
    RESET_OR_REBOOT = "ResetOrReboot"
    SECURITY_LOG_WAS_CLEARED = "SecurityLogWasCleared"
    RECONFIGURATION_OF_SECURITY_PARAMETERS = "ReconfigurationOfSecurityParameters"
    MEMORY_EXHAUSTION = "MemoryExhaustion"
    INVALID_MESSAGES = "InvalidMessages"
    ATTEMPTED_REPLAY_ATTACKS = "AttemptedReplayAttacks"
    TAMPER_DETECTION_ACTIVATED = "TamperDetectionActivated"
    INVALID_FIRMWARE_SIGNATURE = "InvalidFirmwareSignature"
    INVALID_FIRMWARE_SIGNING_CERTIFICATE = "InvalidFirmwareSigningCertificate"
    INVALID_CENTRAL_SYSTEM_CERTIFICATE = "InvalidCentralSystemCertificate"
    INVALID_CHARGE_POINT_CERTIFICATE = "InvalidChargePointCertificate"
    INVALID_TLS_VERSION = "InvalidTLSVersion"
    INVALID_TLS_CIPHER_SUITE = "InvalidTLSCipherSuite"

    @property
    def is_critical(self) -> bool:
        """Whether the whitepaper calls it critical (chapter 8)."""
        return self in _CRITICAL

    @property
    def is_told(self) -> bool:
        """Whether the central system must be told (A04.FR.01, L01.FR.02, L01.FR.03); the others are only logged."""
        return self in _CRITICAL or self in _TOLD_AS_WELL


_CRITICAL: Final = frozenset(
    {
        SecurityEvent.FIRMWARE_UPDATED,
        SecurityEvent.SETTING_SYSTEM_TIME,
        SecurityEvent.STARTUP_OF_THE_DEVICE,
        SecurityEvent.RESET_OR_REBOOT,
        SecurityEvent.SECURITY_LOG_WAS_CLEARED,
        SecurityEvent.MEMORY_EXHAUSTION,
        SecurityEvent.TAMPER_DETECTION_ACTIVATED,
    }
)
_TOLD_AS_WELL: Final = frozenset(
    {SecurityEvent.INVALID_FIRMWARE_SIGNATURE, SecurityEvent.INVALID_FIRMWARE_SIGNING_CERTIFICATE}
)


def security_event_notification(event: SecurityEvent, utc: float, tech_info: str = "") -> Payload:
    """Return SecurityEventNotification.req (whitepaper 5.15) of an event at `utc`, seconds since 1970."""
    payload: Payload = {"type": event.value, "timestamp": format_utc(utc)}
    if tech_info:
        payload["techInfo"] = tech_info[:_MAX_TECH_INFO]
    return payload


class CertificateUse(StrEnum):
    """CertificateUseEnumType (whitepaper 6.4)."""

    CENTRAL_SYSTEM_ROOT = "CentralSystemRootCertificate"
    MANUFACTURER_ROOT = "ManufacturerRootCertificate"


class SignedStatus(StrEnum):
    """CertificateSignedStatusEnumType (whitepaper 6.2)."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"


class InstallStatus(StrEnum):
    """CertificateStatusEnumType (whitepaper 6.3)."""

    ACCEPTED = "Accepted"
    FAILED = "Failed"
    REJECTED = "Rejected"


class DeleteStatus(StrEnum):
    """DeleteCertificateStatusEnumType (whitepaper 6.7)."""

    ACCEPTED = "Accepted"
    FAILED = "Failed"
    NOT_FOUND = "NotFound"


class FirmwareCertificateStatus(StrEnum):
    """What of UpdateFirmwareStatusEnumType (whitepaper 6.18) a signing certificate decides."""

    ACCEPTED = "Accepted"
    INVALID = "InvalidCertificate"
    REVOKED = "RevokedCertificate"


def parse_authorization_key(value: str) -> bytes | None:
    """Return the password that an AuthorizationKey stands for, or `None` for a bad value.

    The value is hexadecimal, for 16 to 20 bytes (A00.FR.205, whitepaper 7.2).
    """
    is_good = _MIN_KEY_DIGITS <= len(value) <= _MAX_KEY_DIGITS and len(value) % 2 == 0 and _HEX_DIGITS.issuperset(value)
    return bytes.fromhex(value) if is_good else None


class Security:
    """The security of one charge point. It outlives reboots, as what it holds is stored for good.

    Args:
        profile: the security profile in use, 0 to 3.
        password: for HTTP Basic authentication, as the bytes to send; `None` for none. What the
            manufacturer put in need not keep the rules for AuthorizationKey.
        credential: the ChargePointCertificate with its private key.
        central_system_roots: the CentralSystemRootCertificates. Share the tuple.
        manufacturer_roots: the ManufacturerRootCertificates. Share the tuple.
    """

    __slots__ = (
        "_credentials",
        "_fallback_root",
        "_password",
        "_pending_key",
        "_previous_profile",
        "_refused",
        "_root_in_use",
        "_roots",
        "_skipped",
        "profile",
    )

    def __init__(
        self,
        profile: int = 0,
        *,
        password: bytes | None = None,
        credential: Credential | None = None,
        central_system_roots: tuple[Root, ...] = (),
        manufacturer_roots: tuple[Root, ...] = (),
    ) -> None:
        self.profile = profile
        """The security profile of the next connection."""
        self._password = password
        # Newest first, as measured by the start of their validity (A02.FR.09).
        self._credentials: tuple[Credential, ...] = () if credential is None else (credential,)
        self._pending_key: bytes | None = None
        self._roots = (central_system_roots, manufacturer_roots)
        self._fallback_root: Root | None = None
        self._root_in_use: Root | None = None
        self._previous_profile: int | None = None
        self._refused = 0
        self._skipped = 0

    def __repr__(self) -> str:
        """Return what may be seen of it: no password, no key."""
        return f"Security(profile={self.profile})"

    # -- what a connection needs --------------------------------------------------------------

    @property
    def uses_tls(self) -> bool:
        """Whether its profile asks for TLS (whitepaper 2.1, table 2)."""
        return self.profile >= 2

    def authorization(self, identity: str) -> str | None:
        """Return the Authorization header of its connections; `None` where its profile has none.

        The password goes out as the bytes themselves, not as their hexadecimal text: the example of
        J 6.2.2 has it so.

        Args:
            identity: the user name, as in the URL (A00.FR.204, A00.FR.303).
        """
        if self.profile not in {1, 2} or self._password is None:
            return None
        return "Basic " + b64encode(identity.encode() + b":" + self._password).decode()

    def credential(self, utc: float) -> Credential | None:
        """Return the ChargePointCertificate to use: the newest that is valid at `utc` (A02.FR.08, A02.FR.09).

        One that the central system refuses is passed over for the one before, if that is still kept
        (A02.FR.10).
        """
        if len(self._credentials) > 1:
            self._forget_old_credentials(utc)
        valid = [each for each in self._credentials if each.is_valid(utc)]
        return valid[self._skipped % len(valid)] if valid else None

    @property
    def central_system_roots(self) -> tuple[Root, ...]:
        """Whom it trusts to sign the central system's certificate, the fallback included (M05.FR.13)."""
        roots = self._roots[0]
        return roots if self._fallback_root is None else (*roots, self._fallback_root)

    def opened(self, server_chain: Sequence[bytes] = ()) -> None:
        """A connection stands, with all that is set now: what was kept to fall back to can go.

        Args:
            server_chain: DER of the central system's certificate and those that lead to the root;
                empty without TLS, or where it is not known.
        """
        self._previous_profile = None
        self._refused = 0
        self._root_in_use = None
        for certificate in server_chain:
            for root in self.central_system_roots:
                if root.der == certificate:
                    self._root_in_use = root
                    if root is not self._fallback_root:
                        self._fallback_root = None  # M05.FR.12
                    return

    def refused(self, *, was_own_certificate: bool = False) -> bool:
        """An attempt to connect failed; return whether it is back at its previous profile (A05.FR.08).

        Args:
            was_own_certificate: whether the central system did not take the charge point's certificate.
        """
        if was_own_certificate:
            self._skipped += 1
        if self._previous_profile is None:
            return False
        self._refused += 1
        if self._refused < PROFILE_ATTEMPTS:
            return False
        self.profile, self._previous_profile = self._previous_profile, None
        self._refused = 0
        return True

    # -- password and profile -----------------------------------------------------------------

    def change_password(self, password: bytes) -> None:
        """Use `password` from the next connection on (A01)."""
        self._password = password

    def check_profile(self, new: int, utc: float) -> bool:
        """Whether all is there for the profile `new`, and it is a higher one (A05.FR.01 to 05)."""
        if not self.profile < new <= MAX_PROFILE:
            return False
        if new in {1, 2} and self._password is None:
            return False
        if new >= 2 and not any(root.is_valid(utc) for root in self._roots[0]):
            return False
        return new < MAX_PROFILE or self.credential(utc) is not None

    def change_profile(self, new: int) -> None:
        """Use the profile `new` from the next connection on; the last one that worked is kept to fall back to."""
        if self._previous_profile is None:
            self._previous_profile = self.profile
        self.profile = new
        self._refused = 0

    # -- the charge point's certificate -------------------------------------------------------

    def sign_request(self, serial_number: str, cpo_name: str) -> str:
        """Make a new key pair and return the CSR for it, in PEM (A02.FR.02, A02.FR.03, A02.FR.13).

        Raises:
            InvalidCertificate: the names cannot stand in a certificate; an empty CpoName for one
                (prerequisite of A02).
        """
        from ampswarm.charge_point import certificates  # noqa: PLC0415  see there

        private_key = certificates.new_private_key()
        request = certificates.signing_request(private_key, serial_number, cpo_name)
        self._pending_key = private_key
        return request

    def certificate_signed(
        self, pem: str, utc: float, *, serial_number: str, cpo_name: str
    ) -> tuple[SignedStatus, SecurityEvent | None, str]:
        """Take the certificate that was asked for (A02.FR.06, A02.FR.07).

        Returns the status, and the event to raise with its technical information.
        """
        from ampswarm.charge_point import certificates  # noqa: PLC0415

        invalid = SecurityEvent.INVALID_CHARGE_POINT_CERTIFICATE
        if self._pending_key is None:
            return SignedStatus.REJECTED, invalid, "no certificate was asked for"
        try:
            new = certificates.check_signed(
                pem,
                self._pending_key,
                self.central_system_roots,
                utc,
                common_name=serial_number,
                organization=cpo_name,
            )
        except certificates.InvalidCertificate as error:
            return SignedStatus.REJECTED, invalid, str(error)
        self._pending_key = None
        self._skipped = 0
        newest_first = sorted((new, *self._credentials), key=lambda each: each.not_before, reverse=True)
        self._credentials = tuple(newest_first[:_MAX_CREDENTIALS])
        return SignedStatus.ACCEPTED, None, ""

    @property
    def renewal_due(self) -> float | None:
        """When to ask for a new certificate, in seconds since 1970; `None` for never.

        One month before the end (A03.FR.02); in the last third of a shorter life, or it would be
        renewed again and again. Not while one is asked for: A03 advises against trying again.
        """
        if self._pending_key is not None or not self._credentials:
            return None
        newest = max(self._credentials, key=lambda each: each.not_after)
        return newest.not_after - min(_MONTH, (newest.not_after - newest.not_before) / 3)

    def next_credential(self, utc: float) -> float | None:
        """Return when a certificate that is still to come becomes valid, in seconds since 1970 (A02.FR.08)."""
        return min((each.not_before for each in self._credentials if each.not_before > utc), default=None)

    def _forget_old_credentials(self, utc: float) -> None:
        """Drop what was replaced more than a month ago (A02.FR.10)."""
        for number, newer in enumerate(self._credentials, start=1):
            if newer.not_before + _MONTH < utc:
                self._credentials = self._credentials[:number]
                return

    # -- root certificates --------------------------------------------------------------------

    def install(self, use: CertificateUse, pem: str, utc: float, *, max_length: int, replaces: bool) -> InstallStatus:
        """Install a root certificate (M05).

        Args:
            use: what for.
            pem: the certificate.
            utc: the time, in seconds since 1970.
            max_length: CertificateStoreMaxLength, the number of roots of both uses together.
            replaces: AdditionalRootCertificateCheck: a CentralSystemRootCertificate replaces the one
                before, which must have signed it, and which is kept until the new one has proved good.
        """
        from ampswarm.charge_point import certificates  # noqa: PLC0415

        known = self._known(use)
        try:
            new = certificates.read_root(pem, known)
        except certificates.InvalidCertificate:
            return InstallStatus.REJECTED
        if any(each.der == new.der for each in known):
            return InstallStatus.ACCEPTED
        present = self._of(use)
        if new.not_after < utc:
            return InstallStatus.REJECTED
        if replaces and use is CertificateUse.CENTRAL_SYSTEM_ROOT and present:
            return self._replace_root(new, present)
        if len(self._roots[0]) + len(self._roots[1]) >= max_length:
            return InstallStatus.REJECTED  # M05.FR.03
        self._set(use, (*present, new))
        return InstallStatus.ACCEPTED

    def delete(self, wanted: Payload, utc: float) -> DeleteStatus:
        """Delete the root certificate that a CertificateHashDataType names (M04).

        Neither its own certificate (M04.FR.05) nor the root that vouches for the present connection
        (M04.FR.06) can be deleted.
        """
        from ampswarm.charge_point import certificates  # noqa: PLC0415

        algorithm: str = wanted["hashAlgorithm"]
        asked = _comparable(wanted)
        for use in CertificateUse:
            for root in self._known(use):
                if asked != _comparable(certificates.hash_data(root.der, root.issuer, algorithm)):
                    continue
                # A root may be there for both uses: the central system's comes first.
                if root is self._in_use(utc):
                    return DeleteStatus.FAILED
                if root is self._fallback_root:
                    self._fallback_root = None
                else:
                    self._set(use, tuple(each for each in self._of(use) if each is not root))
                return DeleteStatus.ACCEPTED
        for each in self._credentials:
            issuer = certificates.issuer_of(each, self.central_system_roots)
            if issuer and asked == _comparable(certificates.hash_data(each.chain[0], issuer, algorithm)):
                return DeleteStatus.FAILED
        return DeleteStatus.NOT_FOUND

    def installed(self, use: CertificateUse) -> list[Payload]:
        """Return CertificateHashDataType of each root certificate for `use` (M03.FR.04)."""
        from ampswarm.charge_point import certificates  # noqa: PLC0415

        return [certificates.hash_data(root.der, root.issuer) for root in self._known(use)]

    def verify_firmware_certificate(
        self, pem: str, utc: float, *, revoked: Container[int] = ()
    ) -> FirmwareCertificateStatus:
        """Return what SignedUpdateFirmware.conf says of a signing certificate (L01.FR.23 to 25).

        Args:
            pem: the certificate.
            utc: the time, in seconds since 1970.
            revoked: serial numbers that online verification would find revoked.
        """
        from ampswarm.charge_point import certificates  # noqa: PLC0415

        try:
            serial_number = certificates.check_firmware_certificate(pem, self._roots[1], utc)
        except certificates.InvalidCertificate:
            return FirmwareCertificateStatus.INVALID
        return FirmwareCertificateStatus.REVOKED if serial_number in revoked else FirmwareCertificateStatus.ACCEPTED

    # -- inside -------------------------------------------------------------------------------

    def _of(self, use: CertificateUse) -> tuple[Root, ...]:
        return self._roots[use is CertificateUse.MANUFACTURER_ROOT]

    def _known(self, use: CertificateUse) -> tuple[Root, ...]:
        return self.central_system_roots if use is CertificateUse.CENTRAL_SYSTEM_ROOT else self._roots[1]

    def _set(self, use: CertificateUse, roots: tuple[Root, ...]) -> None:
        central, manufacturer = self._roots
        self._roots = (roots, manufacturer) if use is CertificateUse.CENTRAL_SYSTEM_ROOT else (central, roots)

    def _replace_root(self, new: Root, present: tuple[Root, ...]) -> InstallStatus:
        from ampswarm.charge_point import certificates  # noqa: PLC0415

        signer = next((each for each in present if certificates.is_signed_by(new, each)), None)
        if signer is None:
            return InstallStatus.REJECTED  # M05.FR.10
        self._set(CertificateUse.CENTRAL_SYSTEM_ROOT, (new,))
        self._fallback_root = signer  # M05.FR.11
        return InstallStatus.ACCEPTED

    def _in_use(self, utc: float) -> Root | None:
        """Return the root that vouches for the present connection."""
        if self._root_in_use is None and self.uses_tls:
            # Not told: with only one that is valid, there is no doubt.
            valid = [each for each in self.central_system_roots if each.is_valid(utc)]
            return valid[0] if len(valid) == 1 else None
        return self._root_in_use


def _comparable(hash_data: Payload) -> tuple[str, str, str]:
    # CiStrings: their case does not count (whitepaper 6.1).
    return (
        str(hash_data["issuerNameHash"]).lower(),
        str(hash_data["issuerKeyHash"]).lower(),
        str(hash_data["serialNumber"]).lower(),
    )
