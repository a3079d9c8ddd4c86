"""X.509: keys, signing requests, and what makes a certificate one to trust (whitepaper 2.6, RFC 5280).

Import it inside functions: it loads `cryptography`, which a fleet without certificates need not hold.
What is kept of a certificate is its DER encoding, a tenth of the parsed object.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ampswarm.ocppj.frames import Payload

MAX_NAME: Final = 64
"""Characters of a common name or an organization (RFC 5280, appendix A.1)."""

_HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}
_BROKEN_HASHES: Final = (hashes.MD5, hashes.SHA1)
_MIN_RSA_BITS: Final = 2048
_MIN_EC_BITS: Final = 224
_SHARED_ROOTS: Final = 64
_BROKEN: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What reading a damaged certificate may raise."""

T = TypeVar("T")


class InvalidCertificate(ValueError):  # noqa: N818  the sentence reads better: "InvalidCertificate: it has expired"
    """A certificate, chain or key that is not to be used; one line says why."""


@dataclass(frozen=True, slots=True)
class Root:
    """An installed root certificate. One object for all charge points that have it."""

    der: bytes
    not_before: float
    """Seconds since 1970, as every time here."""
    not_after: float
    issuer: bytes
    """DER of the certificate of whoever signed it; its own where it signed itself."""

    def is_valid(self, utc: float) -> bool:
        """Whether `utc` is in its period of validity."""
        return self.not_before <= utc <= self.not_after


@dataclass(frozen=True, slots=True)
class Credential:
    """A ChargePointCertificate with what belongs to it."""

    chain: tuple[bytes, ...]
    """DER: the certificate itself first, then each that signed the one before; without the root."""
    private_key: bytes = field(repr=False)
    """DER, PKCS #8."""
    key_type: str
    """`EC`, `RSA` or the like: OpenSSL keeps one certificate of each."""
    not_before: float
    not_after: float

    def is_valid(self, utc: float) -> bool:
        """Whether `utc` is in its period of validity."""
        return self.not_before <= utc <= self.not_after


# -- the charge point's own -----------------------------------------------------------------------


def new_private_key() -> bytes:
    """Return a new private key, EC P-256, as PKCS #8 in DER.

    From the system's randomness, never from a seed: it protects a real connection (A00.FR.501, 802).
    """
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(private_key: bytes, common_name: str, organization: str) -> str:
    """Return a CSR in PEM (RFC 2986; A02.FR.03, A02.FR.13).

    Args:
        private_key: DER, PKCS #8.
        common_name: the serial number of the charge point (A00.FR.511).
        organization: the value of CpoName.

    Raises:
        InvalidCertificate: a name is empty or too long for a certificate, or the serial number looks
            like a central system's name.
    """
    if _is_address(common_name):
        raise InvalidCertificate("the serial number must not be a URL or an IP address")
    for what, name in (("serial number", common_name), ("CpoName", organization)):
        if not 1 <= len(name) <= MAX_NAME:
            raise InvalidCertificate(f"the {what} must have 1 to {MAX_NAME} characters for a certificate")
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        ]
    )
    key = serialization.load_der_private_key(private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def check_signed(
    pem: str, private_key: bytes, roots: Collection[Root], utc: float, *, common_name: str, organization: str
) -> Credential:
    """Return what CertificateSigned.req brought, if all of it is right (A02.FR.06).

    A certificate that is not valid yet is right: it is switched to when its time has come (A02.FR.08).

    Args:
        pem: the chain, the charge point's certificate first and each signed by the next, as TLS will
            send it; a root that is installed may end it.
        private_key: the one whose public key was sent to be signed; DER, PKCS #8.
        roots: the CentralSystemRootCertificates.
        utc: the time, in seconds since 1970.
        common_name: the serial number of the charge point (A00.FR.511).
        organization: the value of CpoName, which O must contain (A00.FR.404, A00.FR.509).

    Raises:
        InvalidCertificate: with what is wrong.
    """
    chain = _read_chain(pem)
    own = chain[0]
    if _public_bytes(own) != _public_bytes_of_key(private_key):
        raise InvalidCertificate("it was made for another key")
    names = _names(own, NameOID.COMMON_NAME)
    if names != [common_name]:
        raise InvalidCertificate("its CN is not the serial number of this charge point")
    if _is_address(common_name):
        raise InvalidCertificate("its CN is a URL or an IP address")
    if not any(organization and organization in each for each in _names(own, NameOID.ORGANIZATION_NAME)):
        raise InvalidCertificate("its O does not contain CpoName")
    _check_may_sign_in(own)
    chain = _check_path(chain, roots, utc, allow_early=True)
    return _credential(chain, private_key)


def read_credential(certificate_pem: str, key_pem: str) -> Credential:
    """Return a certificate that the charge point was made with, and its private key.

    It is not checked against any root: who signed it is the manufacturer's affair (A00.FR.804).

    Raises:
        InvalidCertificate: one of them is no PEM, the key is encrypted, or they do not belong together.
    """
    chain = _read_chain(certificate_pem)
    try:
        # Without the check that an RSA key is sound, 80 ms for each charge point: OpenSSL finds one that is not.
        key = serialization.load_pem_private_key(key_pem.encode(), None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise InvalidCertificate("the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidCertificate("no private key in PEM") from None
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    own = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if _public_bytes(chain[0]) != own:
        raise InvalidCertificate("the certificate and the private key do not belong together")
    for certificate, issuer in pairwise(chain):
        if not _is_signed_by(certificate, issuer):
            raise InvalidCertificate("each certificate of a chain must be signed by the next")
    return _credential(chain, der)


def _credential(chain: Sequence[x509.Certificate], private_key: bytes) -> Credential:
    own = chain[0]
    return Credential(
        tuple(_der(each) for each in chain),
        private_key,
        type(own.public_key()).__name__.removesuffix("PublicKey"),
        own.not_valid_before_utc.timestamp(),
        own.not_valid_after_utc.timestamp(),
    )


# -- roots ----------------------------------------------------------------------------------------


def read_root(pem: str, installed: Sequence[Root] = ()) -> Root:
    """Return the root certificate in `pem`.

    One that did not sign itself must be signed by one of `installed`: without its issuer's key nobody
    can name it (whitepaper 6.1).

    Raises:
        InvalidCertificate: it is not one certificate, or cannot be anybody's root.
    """
    root = _shared_root(pem)
    if root.issuer:
        return root
    for older in installed:
        if is_signed_by(root, older):
            return _with_issuer(root, older.der)
    raise InvalidCertificate("neither it nor an installed root has signed it")


def read_roots(pem: str) -> list[Root]:
    """Return all root certificates of a file: those that signed themselves, and CAs below them.

    Raises:
        InvalidCertificate: there is none, or one of them cannot be anybody's root.
    """
    left = [each.public_bytes(serialization.Encoding.PEM).decode() for each in _read_chain(pem)]
    # In whatever order they stand: those that signed themselves first, then those that the others signed.
    left.sort(key=lambda each: not _shared_root(each).issuer)
    roots: list[Root] = []
    while left:
        try:
            found = read_root(left[0], roots)
        except InvalidCertificate:
            if not any(_is_below(each, roots) for each in left):
                raise
            left.append(left.pop(0))
        else:
            roots.append(found)
            del left[0]
    return roots


def _is_below(pem: str, roots: Sequence[Root]) -> bool:
    return any(is_signed_by(_shared_root(pem), each) for each in roots)


@lru_cache(maxsize=_SHARED_ROOTS)
def _shared_root(pem: str) -> Root:
    """Return the one object for this root; `issuer` is empty where it did not sign itself."""
    certificate, *more = _read_chain(pem)
    if more:
        raise InvalidCertificate("more than one certificate")
    _check_authority(certificate, signs=0)
    _check_strength(certificate)
    der = _der(certificate)
    return Root(
        der,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        der if _is_signed_by(certificate, certificate) else b"",
    )


@lru_cache(maxsize=_SHARED_ROOTS)
def _with_issuer(root: Root, issuer: bytes) -> Root:
    return replace(root, issuer=issuer)


def is_signed_by(root: Root, older: Root) -> bool:
    """Whether `older` signed `root` (M05.FR.09)."""
    return _is_signed_by(x509.load_der_x509_certificate(root.der), x509.load_der_x509_certificate(older.der))


@lru_cache(maxsize=_SHARED_ROOTS)
def hash_data(der: bytes, issuer: bytes, algorithm: str = "SHA256") -> Payload:
    """Return a certificate's CertificateHashDataType (whitepaper 6.1): share it, do not change it.

    Args:
        der: the certificate.
        issuer: the certificate of whoever signed it.
        algorithm: SHA256, SHA384 or SHA512.
    """
    # What RFC 6960 calls a CertID: name and key are the issuer's, hashed as they stand in DER.
    request = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(der), x509.load_der_x509_certificate(issuer), _HASHES[algorithm]()
    )
    found = request.build()
    return {
        "hashAlgorithm": algorithm,
        "issuerNameHash": found.issuer_name_hash.hex(),
        "issuerKeyHash": found.issuer_key_hash.hex(),
        "serialNumber": f"{found.serial_number:X}",
    }


def issuer_of(credential: Credential, roots: Collection[Root]) -> bytes | None:
    """Return the DER of the certificate that signed a ChargePointCertificate, if it is here."""
    if len(credential.chain) > 1:
        return credential.chain[1]
    own = x509.load_der_x509_certificate(credential.chain[0])
    for root in roots:
        if _is_signed_by(own, x509.load_der_x509_certificate(root.der)):
            return root.der
    return None


# -- firmware -------------------------------------------------------------------------------------


def check_firmware_certificate(pem: str, roots: Collection[Root], utc: float) -> int:
    """Return the serial number of a firmware signing certificate, if it is right (L01.FR.12, L01.FR.23).

    Nothing may stand between it and a root (remark of L01).

    Args:
        pem: the certificate.
        roots: the ManufacturerRootCertificates.
        utc: the time, in seconds since 1970.

    Raises:
        InvalidCertificate: with what is wrong.
    """
    certificate, *more = _read_chain(pem)
    if more:
        raise InvalidCertificate("a firmware signing certificate has no intermediate certificates")
    _check_digital_signature(certificate)
    _check_path([certificate], roots, utc)
    return certificate.serial_number


# -- inside ---------------------------------------------------------------------------------------


def _read_chain(pem: str) -> list[x509.Certificate]:
    return _reading("no certificate in PEM", lambda: x509.load_pem_x509_certificates(pem.encode()))


def _reading(what: str, read: Callable[[], T]) -> T:
    """Return what `read` does; whatever it finds broken becomes an InvalidCertificate."""
    try:
        return read()
    except _BROKEN:
        raise InvalidCertificate(what) from None


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _public_key(certificate: x509.Certificate) -> CertificatePublicKeyTypes:
    return _reading("a key of a kind that nobody knows", certificate.public_key)


def _public_bytes(certificate: x509.Certificate) -> bytes:
    return _public_key(certificate).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public_bytes_of_key(private_key: bytes) -> bytes:
    key = serialization.load_der_private_key(private_key, None)
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    return _reading("an extension that cannot be read", lambda: certificate.extensions)


def _extension(certificate: x509.Certificate, kind: type[T]) -> T | None:
    for each in _extensions(certificate):
        if isinstance(each.value, kind):
            return each.value
    return None


def _names(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    subject = _reading("a subject that cannot be read", lambda: certificate.subject)
    return [each.value for each in subject.get_attributes_for_oid(kind) if isinstance(each.value, str)]


def _is_address(name: str) -> bool:
    """Whether `name` has the format of a URL or an IP address (A00.FR.511)."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return "://" in name
    return True


def _is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _check_path(
    chain: list[x509.Certificate], roots: Collection[Root], utc: float, *, allow_early: bool = False
) -> list[x509.Certificate]:
    """Return the chain without its root, if it leads to one of `roots` (RFC 5280, 6.1).

    Args:
        chain: each signed by the next.
        roots: whom to trust.
        utc: the time.
        allow_early: whether the first certificate's time may be still to come.

    Raises:
        InvalidCertificate: with what is wrong.
    """
    if len(chain) > 1 and any(_der(chain[-1]) == root.der for root in roots):
        chain = chain[:-1]
    for number, certificate in enumerate(chain):
        begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        if utc > ends:
            raise InvalidCertificate("it has expired")
        if utc < begins and not (allow_early and number == 0):
            raise InvalidCertificate("it is not valid yet")
        _check_strength(certificate)
        if any(
            each.critical and isinstance(each.value, x509.UnrecognizedExtension) for each in _extensions(certificate)
        ):
            raise InvalidCertificate("a critical extension that nobody knows")
    for number, issuer in enumerate(chain[1:]):
        _check_authority(issuer, signs=number)
        if not _is_signed_by(chain[number], issuer):
            raise InvalidCertificate("each certificate of a chain must be signed by the next")
    for root in roots:
        anchor = x509.load_der_x509_certificate(root.der)
        if root.is_valid(utc) and _is_signed_by(chain[-1], anchor):
            _check_authority(anchor, signs=len(chain) - 1)
            return chain
    raise InvalidCertificate("it does not lead to an installed root certificate that is valid")


def _check_authority(certificate: x509.Certificate, *, signs: int) -> None:
    """Refuse what may not sign certificates, or not with `signs` intermediate ones below it."""
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise InvalidCertificate("what signs certificates must be a CA's")
    if constraints.path_length is not None and constraints.path_length < signs:
        raise InvalidCertificate("a longer chain than its CA allows")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise InvalidCertificate("its CA may not sign certificates")


def _check_strength(certificate: x509.Certificate) -> None:
    """Refuse what is too weak for OCPP (A00.FR.501 to 504)."""
    key = _public_key(certificate)
    match key:
        case rsa.RSAPublicKey() | dsa.DSAPublicKey():
            is_weak = key.key_size < _MIN_RSA_BITS
        case ec.EllipticCurvePublicKey():
            is_weak = key.key_size < _MIN_EC_BITS
        case _:
            is_weak = False
    if is_weak:
        raise InvalidCertificate("a key that is too short")
    used = _reading("a signature of a kind that nobody knows", lambda: certificate.signature_hash_algorithm)
    if isinstance(used, _BROKEN_HASHES):
        raise InvalidCertificate(f"a signature over {used.name.upper()}")


def _check_digital_signature(certificate: x509.Certificate) -> None:
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise InvalidCertificate("its key may not make signatures")


def _check_may_sign_in(certificate: x509.Certificate) -> None:
    """Refuse what no TLS server would take from a client (A00.FR.402, A00.FR.512)."""
    _check_digital_signature(certificate)
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extended is not None and not allowed & set(extended):
        raise InvalidCertificate("it is not for TLS clients")
