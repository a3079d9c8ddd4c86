"""Certificate authorities for tests: real keys and certificates, also such as no sane CA would issue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

DAY = 24 * 60 * 60.0


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def key_pem(key: PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def name(common_name: str | None, organization: str | None) -> x509.Name:
    attributes = []
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    if organization is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def certify(
    subject: x509.Name,
    public_key: CertificateIssuerPublicKeyTypes,
    issuer: x509.Name,
    issuer_key: PrivateKey,
    *,
    begins: float,
    ends: float,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> x509.Certificate:
    """Sign a certificate with what is given, sense or nonsense; times in seconds since 1970."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(begins, UTC))
        .not_valid_after(datetime.fromtimestamp(ends, UTC))
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, is_critical)
    return builder.sign(issuer_key, hashes.SHA256())


class Authority:
    """A CA: a root, or one below `parent`.

    Args:
        common_name: what it is called.
        utc: its certificates are valid from a day before this, in seconds since 1970.
        days: for so long.
        parent: who signs its certificate; itself for `None`.
        key: its key; a new one for `None`.
        path_length: how many CAs may stand below it.
        is_ca: what its certificate says of it.
    """

    def __init__(
        self,
        common_name: str,
        utc: float,
        *,
        days: float = 3650,
        parent: Authority | None = None,
        key: PrivateKey | None = None,
        path_length: int | None = None,
        is_ca: bool = True,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> None:
        self.utc = utc
        self.subject = name(common_name, "Test CAs")
        self.key: PrivateKey = key or new_key()
        constraints = x509.BasicConstraints(ca=is_ca, path_length=path_length)
        self.certificate = certify(
            self.subject,
            self.key.public_key(),
            (parent or self).subject,
            (parent or self).key,
            begins=utc - DAY,
            ends=utc + days * DAY,
            extensions=((constraints, True), *extensions),
        )
        self.pem = pem(self.certificate)

    def issue(
        self,
        public_key: CertificateIssuerPublicKeyTypes,
        common_name: str | None = "CP1",
        organization: str | None = "Volt & Co",
        *,
        begins: float | None = None,
        ends: float | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> x509.Certificate:
        """Certify a key; from a day ago for a year if not told otherwise."""
        return certify(
            name(common_name, organization),
            public_key,
            self.subject,
            self.key,
            begins=self.utc - DAY if begins is None else begins,
            ends=self.utc + 365 * DAY if ends is None else ends,
            extensions=extensions,
        )

    def sign(self, csr: str, *, begins: float | None = None, ends: float | None = None) -> str:
        """Certify what a signing request asks for; return the certificate in PEM."""
        request = x509.load_pem_x509_csr(csr.encode())
        assert request.is_signature_valid
        public_key = request.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
        certificate = certify(
            request.subject,
            public_key,
            self.subject,
            self.key,
            begins=self.utc - DAY if begins is None else begins,
            ends=self.utc + 365 * DAY if ends is None else ends,
        )
        return pem(certificate)
