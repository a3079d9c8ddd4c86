"""What a charge point's connection proves itself with and whom it trusts, as TLS contexts and files.

A context of its own for every charge point would cost tens of KiB each. OpenSSL copies a context's
certificate and key into each connection that is made from it (SSL_CTX_use_certificate(3)), so one
context serves all that trust the same roots: each charge point's certificate is put into it right
before its connection is made from it, and stays with that connection.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.security import MAX_PROFILE, Security, SecurityEvent
from ampswarm.load.options import InvalidOption
from ampswarm.ocppj.identity import Endpoint

if TYPE_CHECKING:
    from ampswarm.charge_point.certificates import Credential, Root

UNUSABLE: Final = "fleet file: a certificate, key or CA file cannot be used"
"""What all charge points say that cannot connect for want of a file."""

_MAX_CONTEXTS: Final = 32
"""One for each set of roots and kind of key that is in use; while roots are changed, a few more."""

_Key = tuple[tuple[bytes, ...], str]


class Unlisted(InvalidOption):
    """A charge point that needs a password or a certificate, and is not in the list of them.

    Args:
        key: of the list: `passwords` or `certificates`.
        file: its name.
        identity: the charge point's.
    """

    def __init__(self, key: str, file: str, identity: str) -> None:
        super().__init__(f"{file or key}: has no row for {identity!r}")
        self.reason = f"fleet file: {key} has no row for the charge point"
        """The same for all."""


class Cause(Enum):
    """Why an attempt to connect failed, as far as it matters to the charge point's security."""

    OTHER = "other"
    SERVER_CERTIFICATE = "the central system's certificate is not to be trusted"
    HOST_NAME = "the central system's certificate is another host's"
    CLIENT_CERTIFICATE = "the central system does not take the charge point's certificate"
    PASSWORD = "the central system does not take the charge point's password"  # noqa: S105  no password
    TLS_VERSION = "the central system speaks no TLS version that is allowed"

    @property
    def security_event(self) -> SecurityEvent | None:
        """The security event that the charge point raises (whitepaper chapter 8), if any."""
        return _EVENTS.get(self)


_EVENTS: Final = {
    Cause.SERVER_CERTIFICATE: SecurityEvent.INVALID_CENTRAL_SYSTEM_CERTIFICATE,
    Cause.HOST_NAME: SecurityEvent.INVALID_CENTRAL_SYSTEM_CERTIFICATE,
    Cause.CLIENT_CERTIFICATE: SecurityEvent.FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM,
    Cause.PASSWORD: SecurityEvent.FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM,
    Cause.TLS_VERSION: SecurityEvent.INVALID_TLS_VERSION,
}
# X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH (x509_vfy.h).
_NAME_MISMATCHES: Final = frozenset({62, 64})
# Alerts that a server sends about a client's certificate (RFC 8446, 6.2). A plain handshake_failure,
# which TLS 1.2 has for a missing one, says too little: it is as often about cipher suites.
_CERTIFICATE_ALERTS: Final = frozenset(
    {
        "ACCESS_DENIED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REQUIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "UNKNOWN_CA",
        "UNSUPPORTED_CERTIFICATE",
    }
)
_VERSION_REASONS: Final = frozenset({"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"})


def certificate_alert(error: ssl.SSLError) -> str | None:
    """Return what the central system said about the charge point's certificate; `None` if nothing."""
    _, alert, name = (error.reason or "").partition("_ALERT_")
    return name.replace("_", " ").lower() if alert and name in _CERTIFICATE_ALERTS else None


def cause_of(error: Exception) -> Cause:
    """Return what an error means to the charge point's security."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Cause.HOST_NAME if error.verify_code in _NAME_MISMATCHES else Cause.SERVER_CERTIFICATE
    if isinstance(error, ssl.SSLError):
        if certificate_alert(error) is not None:
            return Cause.CLIENT_CERTIFICATE
        if error.reason in _VERSION_REASONS:
            return Cause.TLS_VERSION
    return Cause.OTHER


def check_scheme(endpoint: Endpoint, profile: int) -> None:
    """Refuse a fleet whose security profile needs TLS at an endpoint without.

    The other way round is allowed: below profile 2, TLS is often an offloader's affair.

    Raises:
        InvalidOption: it does.
    """
    if profile >= 2 and not endpoint.is_secure:
        raise InvalidOption(f"security profile {profile} needs TLS: {endpoint.url} must start with wss://")


def endpoint_for(endpoint: Endpoint, security: Security | None) -> Endpoint:
    """Return where a charge point connects to: with a profile that it was raised to over OCPP, over TLS.

    OCPP 1.6 has no way to tell it another address (A00.FR.006 allows one): it is the same host and
    port, or the usual port of wss where it was the usual one of ws.
    """
    if security is None or not security.uses_tls or endpoint.is_secure:
        return endpoint
    return Endpoint("wss", endpoint.host, 443 if endpoint.port == 80 else endpoint.port, endpoint.path)


class TlsContexts:
    """The TLS contexts of all charge points of a process.

    Args:
        make: makes the context of those without certificates and roots of their own.
    """

    def __init__(self, make: Callable[[], ssl.SSLContext]) -> None:
        self._make = make
        self._shared: ssl.SSLContext | None = None
        # The oldest first.
        self._contexts: dict[_Key, ssl.SSLContext] = {}

    @property
    def shared(self) -> ssl.SSLContext:
        """The context of all that have nothing of their own; made when first asked for."""
        if self._shared is None:
            self._shared = self._new(())
        return self._shared

    def context_for(self, security: Security | None, utc: float) -> ssl.SSLContext:
        """Return the context for one connection; make the connection from it before anything else happens.

        The next charge point may put another certificate into the same context.

        Args:
            security: the charge point's; `None` where it has none.
            utc: the charge point's clock, in seconds since 1970, which chooses its certificate.

        Raises:
            OSError: its certificate cannot be loaded.
        """
        if security is None or not security.uses_tls:
            # Below profile 2, TLS is not the charge point's affair: an offloader's, and the options'.
            return self.shared
        credential = security.credential(utc) if security.profile == MAX_PROFILE else None
        roots = security.central_system_roots
        if credential is None and not roots:
            return self.shared
        # OpenSSL keeps a certificate for each kind of key: one of another kind would be left behind.
        key = tuple(root.der for root in roots), credential.key_type if credential else ""
        context = self._contexts.pop(key, None) or self._new(roots)
        if credential is not None:
            _load(context, credential)
        self._contexts[key] = context
        if len(self._contexts) > _MAX_CONTEXTS:
            del self._contexts[next(iter(self._contexts))]
        return context

    def _new(self, roots: tuple[Root, ...]) -> ssl.SSLContext:
        if not roots:
            context = self._make()
        else:
            # Those and no others: what is installed replaces what the fleet was given.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = self.shared.check_hostname
            context.verify_mode = self.shared.verify_mode
            for root in roots:
                context.load_verify_locations(cadata=root.der)
            # A root that another one signed is good enough, also when that one is gone (whitepaper 7.1).
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # A00.FR.312, A00.FR.416
        return context


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    """Put a certificate and its key into a context, which takes them from a file only."""
    chain = "".join(ssl.DER_cert_to_PEM_cert(each) for each in credential.chain)
    with _short_lived_file(chain.encode() + _key_pem(credential.private_key)) as path:
        context.load_cert_chain(path)


def _key_pem(der: bytes) -> bytes:
    text = ssl.DER_cert_to_PEM_cert(der)  # the same armour, for another thing
    return text.replace(" CERTIFICATE-----", " PRIVATE KEY-----").encode()


@contextlib.contextmanager
def _short_lived_file(content: bytes) -> Iterator[str]:
    """Give the path of a file that is gone afterwards, and is never on a disk where that can be had."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
        descriptor = os.memfd_create("credential")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp()  # its mode is 0600
    try:
        os.write(descriptor, content)
        os.close(descriptor)
        yield path
    finally:
        Path(path).unlink()


def read_credential(certificate_file: str, key_file: str) -> Credential:
    """Return the certificate that a charge point was made with.

    Raises:
        InvalidOption: a file cannot be used; one line that names it.
    """
    from ampswarm.charge_point import certificates  # noqa: PLC0415  see there

    certificate, key = _read(certificate_file), _read(key_file)
    try:
        return certificates.read_credential(certificate, key)
    except certificates.InvalidCertificate as error:
        raise InvalidOption(f"{certificate_file} and {key_file}: {error}") from None


def read_roots(ca_file: str) -> tuple[Root, ...]:
    """Return the root certificates that charge points were made with. Share the tuple.

    Raises:
        InvalidOption: the file cannot be used; one line that names it.
    """
    from ampswarm.charge_point import certificates  # noqa: PLC0415

    pem = _read(ca_file)
    try:
        return tuple(certificates.read_roots(pem))
    except certificates.InvalidCertificate as error:
        raise InvalidOption(f"{ca_file}: {error}") from None


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidOption(f"{file}: {error.strerror}") from None
