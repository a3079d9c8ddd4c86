"""Certificates: what a charge point asks for, what it takes, and how it names what it has."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import warnings
from collections.abc import Sequence
from itertools import permutations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ampswarm.charge_point.certificates import (
    Credential,
    InvalidCertificate,
    Root,
    check_firmware_certificate,
    check_signed,
    hash_data,
    new_private_key,
    read_credential,
    read_root,
    read_roots,
    signing_request,
)
from tests.fakes import pki

UTC = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""
CPO = "Volt & Co"


@pytest.fixture(scope="module")
def cpo() -> pki.Authority:
    """The root of the charge point operator's hierarchy."""
    return pki.Authority("CPO root", UTC)


@pytest.fixture(scope="module")
def sub_ca(cpo: pki.Authority) -> pki.Authority:
    """A CA below the root, for charge points."""
    return pki.Authority("CPO charge points", UTC, parent=cpo, path_length=0)


@pytest.fixture(scope="module")
def private_key() -> bytes:
    """The charge point's pending key."""
    return new_private_key()


def public_key(private_key: bytes) -> ec.EllipticCurvePublicKey:
    key = serialization.load_der_private_key(private_key, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.public_key()


def usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def check(pem: str, private_key: bytes, roots: Sequence[pki.Authority], utc: float = UTC) -> Credential:
    return check_signed(
        pem, private_key, [read_root(each.pem) for each in roots], utc, common_name="CP1", organization=CPO
    )


# -- signing requests -----------------------------------------------------------------------------


def test_a_signing_request_says_who_asks_and_is_signed_with_the_new_key() -> None:
    """A02.FR.03, A02.FR.13, A00.FR.511: what a CA checks before it signs."""
    private_key = new_private_key()
    request = x509.load_pem_x509_csr(signing_request(private_key, "CP1", CPO).encode())
    assert request.is_signature_valid
    assert request.public_key() == public_key(private_key)
    names = {each.oid: each.value for each in request.subject}
    assert names == {NameOID.COMMON_NAME: "CP1", NameOID.ORGANIZATION_NAME: CPO}


def test_a_key_is_strong_enough_and_new_each_time() -> None:
    """A00.FR.503 and A00.FR.427: two charge points never share a key."""
    first, second = new_private_key(), new_private_key()
    assert first != second
    assert public_key(first).key_size >= 224


@pytest.mark.parametrize(
    ("common_name", "organization", "why"),
    [
        ("", CPO, "the serial number must have 1 to 64 characters for a certificate"),
        ("x" * 65, CPO, "the serial number must have 1 to 64 characters for a certificate"),
        ("CP1", "", "the CpoName must have 1 to 64 characters for a certificate"),
        ("CP1", "x" * 65, "the CpoName must have 1 to 64 characters for a certificate"),
        ("10.0.0.1", CPO, "the serial number must not be a URL or an IP address"),
        ("[::1]", CPO, "the serial number must not be a URL or an IP address"),
        ("wss://cs/1", CPO, "the serial number must not be a URL or an IP address"),
    ],
)
def test_no_request_is_made_that_no_ca_may_sign(common_name: str, organization: str, why: str) -> None:
    """The prerequisite of A02 (CpoName is set), A00.FR.511, and the lengths of RFC 5280."""
    with pytest.raises(InvalidCertificate) as caught:
        signing_request(new_private_key(), common_name, organization)
    assert why == str(caught.value)


# -- CertificateSigned ----------------------------------------------------------------------------


def test_a_certificate_that_was_asked_for_is_taken(cpo: pki.Authority, private_key: bytes) -> None:
    """A02.FR.06: signed by the installed root, as the CSR said."""
    pem = cpo.sign(signing_request(private_key, "CP1", CPO))
    found = check(pem, private_key, [cpo])
    assert (ssl_der(pem),) == found.chain
    assert (private_key, "EC") == (found.private_key, found.key_type)
    assert (found.not_before, found.not_after) == (UTC - pki.DAY, UTC + 365 * pki.DAY)
    assert private_key.hex() not in repr(found)
    assert repr(private_key) not in repr(found)


def ssl_der(pem: str) -> bytes:
    return pki.der(x509.load_pem_x509_certificate(pem.encode()))


@pytest.mark.parametrize("with_root", [False, True])
def test_a_chain_is_taken_with_and_without_its_root(
    cpo: pki.Authority, sub_ca: pki.Authority, private_key: bytes, with_root: bool
) -> None:
    """Whitepaper 5.1: sub CA certificates may come along; a root is installed, and not sent in TLS."""
    own = sub_ca.sign(signing_request(private_key, "CP1", CPO))
    found = check(own + sub_ca.pem + cpo.pem * with_root, private_key, [cpo])
    assert (ssl_der(own), ssl_der(sub_ca.pem)) == found.chain


def test_one_that_is_not_valid_yet_is_taken_for_later(cpo: pki.Authority, private_key: bytes) -> None:
    """A02.FR.08: the charge point switches to it when its time has come."""
    pem = cpo.sign(signing_request(private_key, "CP1", CPO), begins=UTC + 1, ends=UTC + 100)
    found = check(pem, private_key, [cpo])
    assert not found.is_valid(UTC)
    assert found.is_valid(UTC + 1)


@pytest.mark.parametrize(
    ("common_name", "organization", "why"),
    [
        ("CP2", CPO, "its CN is not the serial number of this charge point"),
        ("CP10", CPO, "its CN is not the serial number of this charge point"),
        (None, CPO, "its CN is not the serial number of this charge point"),
        ("CP1", "Somebody Else", "its O does not contain CpoName"),
        ("CP1", None, "its O does not contain CpoName"),
        ("CP1", f"{CPO} Ltd", None),
    ],
)
def test_the_subject_must_be_this_charge_point_of_this_operator(
    cpo: pki.Authority, private_key: bytes, common_name: str | None, organization: str | None, why: str | None
) -> None:
    """A00.FR.404, A00.FR.509, A00.FR.511: another one's certificate must not be used, nor another CPO's."""
    pem = pki.pem(cpo.issue(public_key(private_key), common_name, organization))
    expect(pem, private_key, [cpo], why)


def expect(pem: str, private_key: bytes, roots: Sequence[pki.Authority], why: str | None, utc: float = UTC) -> None:
    """Expect a refusal with these words, or none."""
    if why is None:
        check(pem, private_key, roots, utc)
        return
    with pytest.raises(InvalidCertificate) as caught:
        check(pem, private_key, roots, utc)
    assert why == str(caught.value)


@pytest.mark.parametrize(
    ("utc", "why"),
    [
        (UTC + 365 * pki.DAY - 1, None),
        (UTC + 365 * pki.DAY, None),
        (UTC + 365 * pki.DAY + 1, "it has expired"),
    ],
)
def test_an_expired_certificate_is_refused(cpo: pki.Authority, private_key: bytes, utc: float, why: str | None) -> None:
    """A02.FR.06: valid up to and with its last second (RFC 5280, 4.1.2.5)."""
    expect(pki.pem(cpo.issue(public_key(private_key))), private_key, [cpo], why, utc)


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([(usage(digital_signature=True), True)], None),
        ([(usage(), True)], "its key may not make signatures"),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)], None),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)], None),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)], "it is not for TLS clients"),
        ([(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)], None),
        (
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
            "a critical extension that nobody knows",
        ),
    ],
)
def test_a_certificate_that_may_not_sign_in_is_refused(
    cpo: pki.Authority,
    private_key: bytes,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    why: str | None,
) -> None:
    """A00.FR.512: key usage restricts; with a wrong one, the next connection would fail."""
    pem = pki.pem(cpo.issue(public_key(private_key), extensions=extensions))
    expect(pem, private_key, [cpo], why)


def test_what_does_not_lead_to_an_installed_root_is_refused(
    cpo: pki.Authority, sub_ca: pki.Authority, private_key: bytes
) -> None:
    """A02.FR.06: it must be of the operator's hierarchy, each one signed by the next."""
    other = pki.Authority("CPO root", UTC)  # the same name, another key
    request = signing_request(private_key, "CP1", CPO)
    own = sub_ca.sign(request)
    nowhere = "it does not lead to an installed root certificate that is valid"
    broken = "each certificate of a chain must be signed by the next"
    expect(other.sign(request), private_key, [cpo], nowhere)
    expect(own, private_key, [cpo], nowhere)
    expect(own + sub_ca.pem, private_key, [], nowhere)
    expect(own + sub_ca.pem, private_key, [other], nowhere)
    expect(own + sub_ca.pem, private_key, [other, cpo], None)
    expect(own + other.pem + sub_ca.pem, private_key, [cpo], broken)
    expect(sub_ca.pem + own, private_key, [cpo], "it was made for another key")
    expect(own + sub_ca.pem, new_private_key(), [cpo], "it was made for another key")
    old = pki.Authority("Old", UTC - 3651 * pki.DAY, days=3650)
    expect(pki.pem(old.issue(public_key(private_key), ends=UTC + 1)), private_key, [old], nowhere)


def test_only_a_ca_may_stand_between_a_certificate_and_its_root(cpo: pki.Authority, private_key: bytes) -> None:
    """RFC 5280, 6.1.4: or any charge point could certify any other."""
    request = signing_request(private_key, "CP1", CPO)
    no_ca = pki.Authority("CP7", UTC, parent=cpo, is_ca=False)
    expect(no_ca.sign(request) + no_ca.pem, private_key, [cpo], "what signs certificates must be a CA's")
    no_signer = pki.Authority("CA", UTC, parent=cpo, extensions=[(usage(digital_signature=True), True)])
    expect(no_signer.sign(request) + no_signer.pem, private_key, [cpo], "its CA may not sign certificates")
    upper = pki.Authority("Upper", UTC, parent=cpo, path_length=0)
    lower = pki.Authority("Lower", UTC, parent=upper)
    chain = lower.sign(request) + lower.pem + upper.pem
    expect(chain, private_key, [cpo], "a longer chain than its CA allows")
    upper = pki.Authority("Upper", UTC, parent=cpo, path_length=1)
    lower = pki.Authority("Lower", UTC, parent=upper)
    expect(lower.sign(request) + lower.pem + upper.pem, private_key, [cpo], None)
    strict = pki.Authority("Strict root", UTC, path_length=0)
    below = pki.Authority("Below", UTC, parent=strict)
    expect(below.sign(request) + below.pem, private_key, [strict], "a longer chain than its CA allows")
    ended = pki.Authority("Ended", UTC - 10 * pki.DAY, days=1, parent=cpo)
    expect(
        pki.pem(ended.issue(public_key(private_key), ends=UTC + 9)) + ended.pem, private_key, [cpo], "it has expired"
    )
    coming = pki.Authority("Coming", UTC + 10 * pki.DAY, parent=cpo)
    expect(pki.pem(coming.issue(public_key(private_key))) + coming.pem, private_key, [cpo], "it is not valid yet")


def test_what_is_too_weak_for_ocpp_is_refused(cpo: pki.Authority) -> None:
    """A00.FR.502 and A00.FR.504: RSA below 2048 bits, and signatures over SHA-1."""
    short = rsa.generate_private_key(65537, 1024)
    pem = pki.pem(cpo.issue(short.public_key()))
    expect(pem, pkcs8(short), [cpo], "a key that is too short")
    good = rsa.generate_private_key(65537, 2048)
    authority = pki.Authority("RSA root", UTC, key=good)
    expect(pki.pem(authority.issue(good.public_key())), pkcs8(good), [authority], None)
    # sha256WithRSAEncryption to sha1WithRSAEncryption (RFC 8017, appendix A.2.4).
    oid = bytes.fromhex("2a864886f70d0101")
    weak = pki.der(authority.issue(good.public_key())).replace(oid + b"\x0b", oid + b"\x05")
    pem = pki.pem(x509.load_der_x509_certificate(weak))
    expect(pem, pkcs8(good), [authority], "a signature over SHA1")
    with pytest.raises(InvalidCertificate, match="^a key that is too short$"):
        read_root(pki.Authority("Short", UTC, key=short).pem)


def pkcs8(key: pki.PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\näöü\n-----END CERTIFICATE-----\n",
        "\ud800",
    ],
)
def test_what_is_no_certificate_has_one_clear_error(pem: str, private_key: bytes) -> None:
    """A central system's mistake is Rejected: it must not end as an InternalError."""
    expect(pem, private_key, [], "no certificate in PEM")
    with pytest.raises(InvalidCertificate, match="^no certificate in PEM$"):
        read_root(pem)
    with pytest.raises(InvalidCertificate, match="^no certificate in PEM$"):
        read_credential(pem, "")


@given(damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=300)
@example(damage=[(0, 0x31)])
def test_a_damaged_certificate_never_raises_anything_else(
    cpo: pki.Authority, private_key: bytes, damage: list[tuple[int, int]]
) -> None:
    """Whatever bytes come: the answer is a status."""
    root = read_root(cpo.pem)
    own = damaged(cpo.issue(public_key(private_key)), damage)
    for read in (
        lambda: check_signed(own, private_key, [root], UTC, common_name="CP1", organization=CPO),
        lambda: read_root(damaged(cpo.certificate, damage), [root]),
        lambda: check_firmware_certificate(own, [root], UTC),
    ):
        with warnings.catch_warnings(), contextlib.suppress(InvalidCertificate):
            warnings.simplefilter("ignore")  # of cryptography's, about what is odd and can be read
            read()


def damaged(certificate: x509.Certificate, damage: list[tuple[int, int]]) -> str:
    data = bytearray(pki.der(certificate))
    for place, byte in damage:
        data[place % len(data)] = byte
    return ssl.DER_cert_to_PEM_cert(bytes(data))


# -- from the factory -----------------------------------------------------------------------------


def test_a_certificate_from_a_file_comes_with_its_key(sub_ca: pki.Authority) -> None:
    """A00.FR.801: a fleet's own certificates; RSA as well as EC, and a chain."""
    key = rsa.generate_private_key(65537, 2048)
    own = pki.pem(sub_ca.issue(key.public_key()))
    found = read_credential(own + sub_ca.pem, pki.key_pem(key))
    assert (ssl_der(own), ssl_der(sub_ca.pem)) == found.chain
    assert found.key_type == "RSA"
    assert pkcs8(key) == found.private_key


def test_files_that_do_not_belong_together_are_refused(cpo: pki.Authority, sub_ca: pki.Authority) -> None:
    """One line each, for the line that names the file."""
    key = pki.new_key()
    own = pki.pem(sub_ca.issue(key.public_key()))
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    ).decode()
    for certificate, private, why in (
        (own, pki.key_pem(pki.new_key()), "the certificate and the private key do not belong together"),
        (own, encrypted, "the private key is encrypted"),
        (own, own, "no private key in PEM"),
        (own + cpo.pem, pki.key_pem(key), "each certificate of a chain must be signed by the next"),
    ):
        with pytest.raises(InvalidCertificate) as caught:
            read_credential(certificate, private)
        assert why == str(caught.value)


# -- roots and their names ------------------------------------------------------------------------


def test_equal_roots_are_one_object(cpo: pki.Authority) -> None:
    """50,000 charge points with the same root keep one of it."""
    assert read_root(cpo.pem) is read_root("".join(cpo.pem))


def test_a_root_signed_itself_or_is_signed_by_an_installed_one(cpo: pki.Authority, sub_ca: pki.Authority) -> None:
    """Whitepaper 6.1 names a certificate by its issuer's key, so the issuer must be known."""
    with pytest.raises(InvalidCertificate, match="^neither it nor an installed root has signed it$"):
        read_root(sub_ca.pem)
    assert pki.der(cpo.certificate) == read_root(sub_ca.pem, [read_root(cpo.pem)]).issuer
    with pytest.raises(InvalidCertificate, match="^what signs certificates must be a CA's$"):
        read_root(pki.Authority("No CA", UTC, is_ca=False).pem)
    with pytest.raises(InvalidCertificate, match="^more than one certificate$"):
        read_root(cpo.pem + sub_ca.pem)


def test_a_file_of_roots_is_read_whole_in_any_order(cpo: pki.Authority, sub_ca: pki.Authority) -> None:
    """A CA file may hold several, as the system's bundles and what CAs send do: the root first or last."""
    lower = pki.Authority("Lower", UTC, parent=sub_ca)
    expected = {pki.der(each.certificate) for each in (cpo, sub_ca, lower)}
    for order in permutations((cpo, sub_ca, lower)):
        assert expected == {each.der for each in read_roots("".join(each.pem for each in order))}
    with pytest.raises(InvalidCertificate, match="^neither it nor an installed root has signed it$"):
        read_roots(lower.pem + cpo.pem)


@pytest.mark.parametrize("algorithm", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_hash_data_is_that_of_rfc_6960(algorithm: str, kind: str) -> None:
    """Whitepaper 6.1: over the issuer's name and the bits of the issuer's key, without tag and length."""
    key = pki.new_key() if kind == "EC" else rsa.generate_private_key(65537, 2048)
    issuer = pki.Authority("Issuer", UTC, key=key)
    certificate = pki.Authority("Below", UTC, parent=issuer).certificate
    bits = (
        issuer.key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        if kind == "EC"
        else issuer.key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
    )
    name = issuer.certificate.subject.public_bytes()
    assert {
        "hashAlgorithm": algorithm,
        "issuerNameHash": hashlib.new(algorithm, name).hexdigest(),
        "issuerKeyHash": hashlib.new(algorithm, bits).hexdigest(),
        "serialNumber": f"{certificate.serial_number:x}".upper(),
    } == hash_data(pki.der(certificate), pki.der(issuer.certificate), algorithm)


def test_a_serial_number_has_no_leading_zeroes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whitepaper 6.1: the serial number 4095 is FFF."""
    monkeypatch.setattr(x509, "random_serial_number", lambda: 4095)
    root = pki.Authority("Root", UTC)
    der = pki.der(root.certificate)
    assert hash_data(der, der)["serialNumber"] == "FFF"


# -- firmware -------------------------------------------------------------------------------------


def test_a_firmware_certificate_is_signed_by_the_manufacturer_s_root_and_by_nobody_between() -> None:
    """L01.FR.12, L01.FR.23, and the remark that intermediate certificates are not used."""
    maker = pki.Authority("Maker", UTC)
    below = pki.Authority("Maker 2", UTC, parent=maker)
    roots = [read_root(maker.pem)]
    key = pki.new_key().public_key()
    good = maker.issue(key, "Signer", "Maker")
    assert good.serial_number == check_firmware_certificate(pki.pem(good), roots, UTC)
    indirect = pki.pem(below.issue(key, "Signer", "Maker"))
    nowhere = "it does not lead to an installed root certificate that is valid"
    for pem, trusted, utc, why in (
        (pki.pem(good), [], UTC, nowhere),
        (indirect, roots, UTC, nowhere),
        (indirect + below.pem, roots, UTC, "a firmware signing certificate has no intermediate certificates"),
        (pki.pem(good), roots, UTC - 2 * pki.DAY, "it is not valid yet"),
        (pki.pem(good), roots, UTC + 366 * pki.DAY, "it has expired"),
        (pki.pem(maker.issue(key, extensions=[(usage(), True)])), roots, UTC, "its key may not make signatures"),
    ):
        with pytest.raises(InvalidCertificate) as caught:
            check_firmware_certificate(pem, trusted, utc)
        assert why == str(caught.value)


def test_a_root_is_valid_in_its_period_only() -> None:
    """Both ends belong to it (RFC 5280, 4.1.2.5)."""
    root = Root(b"", 10.0, 20.0, b"")
    assert [root.is_valid(utc) for utc in (9.0, 10.0, 20.0, 21.0)] == [False, True, True, False]
