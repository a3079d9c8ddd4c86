"""Certificates for charge points: what they ask to have signed, signed by the operator's CA (whitepaper A02, A03)."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.frames import Payload
from server.calls import CallFailed
from server.metrics import Metrics

MAX_CHAIN: Final = 10_000
"""Characters of CertificateSigned.req's certificateChain (whitepaper 5.1)."""
_VALIDITY: Final = dt.timedelta(days=365)
_CLOCK_SKEW: Final = dt.timedelta(minutes=5)
"""By how much a charge point's clock may be behind without taking the certificate for one of the future."""
_CALL_TIMEOUT: Final = 60.0
_MAX_WAITING: Final = 1000
"""Certificates that may wait to be signed, or to be accepted by their charge points."""
_LEAST_RSA_BITS: Final = 2048
_LEAST_EC_BITS: Final = 224


class BadAuthority(ValueError):  # noqa: N818  one line for whoever starts the process
    """Files that are no certificate authority."""


class BadRequest(ValueError):  # noqa: N818  why a CSR is not signed
    """A certificate signing request that cannot be signed."""


class CertificateAuthority:
    """A CA that signs certificates of charge points.

    Args:
        certificate_file: PEM; the CA's certificate, and after it those that lead to the root, if any.
        key_file: PEM; the private key of the first one, not encrypted; RSA or elliptic curve.

    Raises:
        BadAuthority: with one line that says why.
    """

    def __init__(self, certificate_file: Path, key_file: Path) -> None:
        try:
            certificates = x509.load_pem_x509_certificates(certificate_file.read_bytes())
        except (OSError, ValueError) as error:
            raise BadAuthority(f"{certificate_file}: {_line(error)}") from None
        try:
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadAuthority(f"{key_file}: {_line(error)}") from None
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise BadAuthority(f"{key_file}: the key is neither RSA nor elliptic curve")
        self._certificate = certificates[0]
        self._key = key
        if self._certificate.public_key() != key.public_key():
            raise BadAuthority(f"{key_file} is not the key of {certificate_file}")
        if not _may_sign(self._certificate):
            raise BadAuthority(f"{certificate_file} is not the certificate of a CA")
        if self._certificate.not_valid_after_utc <= dt.datetime.now(dt.UTC):
            raise BadAuthority(f"{certificate_file} has expired")
        # The root is installed at the charge point; what lies between may not be.
        self._intermediates = b"".join(
            each.public_bytes(serialization.Encoding.PEM) for each in certificates if each.subject != each.issuer
        )

    def check(self, csr: str, identity: str, organization: str | None) -> x509.CertificateSigningRequest:
        """Return the certificate signing request in `csr`.

        Args:
            csr: as PEM.
            identity: of the charge point that asks: the CN, or it could have the certificate of another one.
            organization: what the O must be; `None` for anything.

        Raises:
            BadRequest: it cannot be read, is not signed by its own key, or would give a certificate
                that breaks the whitepaper's rules (A00.FR.502, 503, 509, 511).
        """
        try:
            request = x509.load_pem_x509_csr(csr.encode())
            key = request.public_key()
            is_signed = request.is_signature_valid
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise BadRequest(f"it cannot be read: {_line(error)}") from None
        if not is_signed:
            raise BadRequest("it is not signed by its own key")
        if isinstance(key, rsa.RSAPublicKey):
            is_strong = key.key_size >= _LEAST_RSA_BITS
        elif isinstance(key, ec.EllipticCurvePublicKey):
            is_strong = key.key_size >= _LEAST_EC_BITS
        else:
            raise BadRequest("its key is neither RSA nor elliptic curve")
        if not is_strong:
            raise BadRequest(f"its key has only {key.key_size} bits")
        for name, oid, wanted in (
            ("commonName", NameOID.COMMON_NAME, identity),
            ("organizationName", NameOID.ORGANIZATION_NAME, organization),
        ):
            values = [attribute.value for attribute in request.subject.get_attributes_for_oid(oid)]
            if not values:
                raise BadRequest(f"its subject has no {name}")
            if wanted is not None and values != [wanted]:
                raise BadRequest(f"the {name} of its subject is not this charge point's")
        return request

    def sign(self, request: x509.CertificateSigningRequest, now: dt.datetime) -> str:
        """Return the certificate chain for a request that `check` let pass, as PEM.

        Raises:
            ValueError: the CA has expired meanwhile, or the chain is too long for CertificateSigned.req.
        """
        issuer = self._certificate
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(issuer.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _CLOCK_SKEW, issuer.not_valid_before_utc))
            .not_valid_after(min(now + _VALIDITY, issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_DIGITAL_SIGNATURE, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(request.public_key()), critical=False)
            .add_extension(_authority_key_identifier(issuer), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        chain = (certificate.public_bytes(serialization.Encoding.PEM) + self._intermediates).decode()
        if len(chain) > MAX_CHAIN:
            raise ValueError(f"the certificate chain has {len(chain)} characters, and not at most {MAX_CHAIN}")
        return chain


class CertificateDesk:
    """Takes SignCertificate.req, and sends CertificateSigned.req when the certificate is made.

    Args:
        authority: who signs.
        call: sends a Call: identity, action, payload, seconds.
        metrics: where requests and their ends are counted.
        lifecycle: where refusals are logged.
        organization: the O that a certificate must have; `None` for any.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        call: Callable[[str, str, Payload, float], Awaitable[Payload]],
        metrics: Metrics,
        lifecycle: LifecycleLog,
        organization: str | None = None,
    ) -> None:
        self._organization = organization
        self._authority = authority
        self._call = call
        self._metrics = metrics
        self._lifecycle = lifecycle
        # An RSA key of 4096 bits takes 1.7 ms: too long for a loop that a fleet waits for.
        self._thread = ThreadPoolExecutor(1, "certificates")
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, identity: str, csr: str) -> bool:
        """Return whether a SignCertificate.req can be processed (whitepaper A02.FR.11, 12).

        If so, CertificateSigned.req follows, after the answer to this one.
        """
        if len(self._tasks) >= _MAX_WAITING:
            self._count(identity, "rejected", "too many wait to be signed")
            return False
        try:
            request = self._authority.check(csr, identity, self._organization)
        except BadRequest as bad:
            self._count(identity, "rejected", str(bad))
            return False
        task = asyncio.get_running_loop().create_task(self._sign_and_send(identity, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def close(self) -> None:
        """Sign nothing any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _sign_and_send(self, identity: str, request: x509.CertificateSigningRequest) -> None:
        now = dt.datetime.now(dt.UTC)
        loop = asyncio.get_running_loop()
        try:
            chain = await loop.run_in_executor(self._thread, self._authority.sign, request, now)
            answer = await self._call(identity, "CertificateSigned", {"certificateChain": chain}, _CALL_TIMEOUT)
        except (ValueError, RuntimeError, CallFailed, OcppError) as error:
            # RuntimeError: the thread was shut down.
            self._count(identity, "lost", str(error))
        else:
            if answer["status"] == "Accepted":
                self._metrics.events["certificates accepted by charge points"] += 1
            else:
                self._count(identity, "refused by charge points", answer["status"])

    def _count(self, identity: str, what: str, why: str) -> None:
        key = "certificate signing requests rejected" if what == "rejected" else f"certificates {what}"
        self._metrics.events[key] += 1
        self._lifecycle.write("certificate", time.monotonic(), identity=identity, outcome=what, why=why[:200])


_DIGITAL_SIGNATURE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
"""What a charge point does with its key in TLS (whitepaper A00.FR.512)."""


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "cannot be read"
    return (str(error).splitlines() or ["cannot be read"])[0][:200]
