"""TLS of the central system itself (whitepaper A00.FR.305 to 323 and 403 to 424)."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CIPHERS: Final = (
    # A00.FR.317 and A00.FR.421 want the ECDSA ones and the last two; ECDHE-RSA keeps the past secret as well.
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:"
    "AES128-GCM-SHA256:AES256-GCM-SHA384"
)
"""Of TLS 1.2; those of 1.3 are all good."""
_LEAST_RSA_BITS: Final = 2048
_LEAST_EC_BITS: Final = 224


class BadTls(ValueError):  # noqa: N818  one line for whoever starts the process
    """A certificate, key or CA file that cannot be used."""


def server_context(
    certificates: Sequence[tuple[Path, Path]], client_ca: Path | None, *, needs_certificate: bool
) -> ssl.SSLContext:
    """Return the context of connections that begin with TLS.

    Args:
        certificates: PEM files: a certificate with its chain, and its private key; one pair for each kind of key.
        client_ca: PEM file of the CAs behind client certificates; `None` asks for no certificate.
        needs_certificate: whether clients without one are refused, where there is a `client_ca`.

    Raises:
        BadTls: with one line that names the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # A00.FR.312, A00.FR.416
    context.set_ciphers(CIPHERS)
    context.options |= (
        ssl.OP_NO_COMPRESSION  # A00.FR.320
        | ssl.OP_NO_RENEGOTIATION
        | ssl.OP_CIPHER_SERVER_PREFERENCE
        # Without tickets every connection proves itself anew, against the CAs of now.
        | ssl.OP_NO_TICKET
    )
    context.num_tickets = 0
    kinds: dict[str, Path] = {}
    for certificate_file, key_file in certificates:
        kind = _check(certificate_file)
        if kind in kinds:
            raise BadTls(f"{certificate_file}: is a second certificate with an {kind} key, beside {kinds[kind]}")
        kinds[kind] = certificate_file
        _load(context, certificate_file, key_file)
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            raise BadTls(f"{client_ca}: {_why(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED if needs_certificate else ssl.CERT_OPTIONAL
    return context


def _check(file: Path) -> str:
    """Return the kind of key of a certificate that charge points would take."""
    try:
        certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
        key = certificate.public_key()
    except OSError as error:
        raise BadTls(f"{file}: {_why(error)}") from None
    except ValueError:
        raise BadTls(f"{file}: is no certificate in PEM") from None
    now = dt.datetime.now(dt.UTC)
    if certificate.not_valid_after_utc <= now:
        raise BadTls(f"{file}: has expired")
    if certificate.not_valid_before_utc > now:
        raise BadTls(f"{file}: is not valid yet")
    # A00.FR.501: as good as 112 bits of a symmetric key.
    if isinstance(key, rsa.RSAPublicKey):
        kind, is_strong = "RSA", key.key_size >= _LEAST_RSA_BITS
    elif isinstance(key, ec.EllipticCurvePublicKey):
        kind, is_strong = "ECDSA", key.key_size >= _LEAST_EC_BITS
    else:
        raise BadTls(f"{file}: its key is neither RSA nor elliptic curve")
    if not is_strong:
        raise BadTls(f"{file}: its key has only {key.key_size} bits")
    return kind


def _load(context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
    try:
        key_file.read_bytes()
    except OSError as error:
        raise BadTls(f"{key_file}: {_why(error)}") from None
    try:
        # A password of any kind keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(certificate_file, key_file, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise BadTls(f"{key_file}: is not the key of {certificate_file}") from None
        raise BadTls(f"{key_file}: is no private key in PEM without a password") from None
    except (OSError, ValueError):
        raise BadTls(f"{certificate_file} and {key_file}: cannot be used") from None


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "holds no certificate in PEM"
    return "no such file" if isinstance(error, FileNotFoundError) else f"{error.strerror}".lower()
