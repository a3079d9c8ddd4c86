"""Security profiles of a real fleet: passwords and certificates of each charge point's own, and their renewal."""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.fakes.pki import Authority, PrivateKey, key_pem, new_key, pem
from tests.fakes.tls_offloader import TlsOffloader
from tests.processes import CentralSystem, Locust, run_locust, until

FLEET = """
[[populations]]
name = "mutual"

[populations.configuration]
CpoName = "Ampswarm Test"

[populations.security]
profile = 3
certificates = "certificates.csv"
ca_file = "ca.pem"
"""


def server_certificate(authority: Authority, key: PrivateKey) -> x509.Certificate:
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    return authority.issue(key.public_key(), "localhost", "Ampswarm Test", extensions=[(names, False)])


@pytest.fixture
def authority() -> Authority:
    """The operator's CA, for the central system and for the charge points."""
    return Authority("Test CA", time.time())


@pytest.fixture
def ca_files(authority: Authority, tmp_path: Path) -> tuple[Path, Path]:
    """Its certificate and key, where the fleet and the central system find them."""
    certificate, key = tmp_path / "ca.pem", tmp_path / "ca-key.pem"
    certificate.write_text(pem(authority.certificate))
    key.write_text(key_pem(authority.key))
    return certificate, key


@pytest.fixture
def signing(ca_files: tuple[Path, Path], tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system that signs the certificates that charge points ask for."""
    certificate, key = ca_files
    arguments = ("--csr-ca-cert", str(certificate), "--csr-ca-key", str(key), "--ping-interval-ms", "0")
    with CentralSystem(tmp_path / "signing.log", *arguments) as running:
        yield running


@pytest.fixture
def mutual(
    authority: Authority, ca_files: tuple[Path, Path], signing: CentralSystem, tmp_path: Path
) -> Iterator[TlsOffloader]:
    """TLS in front of it that wants a certificate for the identity in the URL."""
    server_key = new_key()
    chain = tmp_path / "server.pem"
    chain.write_text(pem(server_certificate(authority, server_key)) + key_pem(server_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.load_verify_locations(ca_files[0])
    context.verify_mode = ssl.CERT_REQUIRED
    running = TlsOffloader(context, signing.port)
    yield running
    running.close()


def equip(authority: Authority, tmp_path: Path, count: int, *, wrong: int = 0) -> None:
    """Give each of the first `count` charge points a certificate of its own; number `wrong` gets another's."""
    lines = ["identity,certificate,private_key"]
    for number in range(1, count + 1):
        identity = f"CP{number:06d}"
        key = new_key()
        common_name = "CP999999" if number == wrong else identity
        certificate = authority.issue(key.public_key(), common_name, "Ampswarm Test")
        (tmp_path / f"{identity}.pem").write_text(pem(certificate))
        (tmp_path / f"{identity}.key").write_text(key_pem(key))
        lines.append(f"{identity},{identity}.pem,{identity}.key")
    (tmp_path / "certificates.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "fleet.toml").write_text(FLEET)


def options(mutual: TlsOffloader, tmp_path: Path, users: int, seconds: int) -> list[str]:
    return [
        *("--headless", "-t", f"{seconds}s", "-u", f"{users}", "--spawn-rate", f"{users}"),
        *("--host", f"wss://localhost:{mutual.port}/ocpp", "--fleet", str(tmp_path / "fleet.toml")),
        *("--reconnect-max", "1.5"),
    ]


def test_each_charge_point_proves_itself_with_its_own_certificate(
    mutual: TlsOffloader, authority: Authority, signing: CentralSystem, tmp_path: Path
) -> None:
    """Security profile 3: one with another's certificate is refused, and does not stand in the way of the others."""
    equip(authority, tmp_path, 12, wrong=7)
    run = run_locust(tmp_path, *options(mutual, tmp_path, 12, 5))
    assert run.status == 1
    assert list(run.failures) == ["WS/connect: ConnectFailed('HTTP 403 Forbidden')"]
    assert run.rows["FLOW/online"].requests == 11
    visitors = {each.identity: each.common_name for each in mutual.visitors}
    assert visitors == {f"CP{n:06d}": "CP999999" if n == 7 else f"CP{n:06d}" for n in range(1, 13)}
    assert signing.summary()["calls"]["BootNotification"] == 11


def test_a_certificate_that_was_asked_for_is_signed_installed_and_used(
    mutual: TlsOffloader, authority: Authority, signing: CentralSystem, tmp_path: Path
) -> None:
    """Whitepaper A02: trigger, CSR, a CA that signs, CertificateSigned, and the next connection proves the new key."""
    equip(authority, tmp_path, 5)
    with Locust(tmp_path, *options(mutual, tmp_path, 5, 12)) as locust:
        # Core 4.2: before its boot is accepted, a charge point would refuse.
        until(lambda: len(signing.lines("booted")) == 5)
        before = {each.identity: each.serial_number for each in mutual.visitors}
        for answer in signing.call_all("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}):
            assert answer["result"] == {"status": "Accepted"}
        until(lambda: len(mutual.visitors) == 10)
        run = locust.wait()
    assert run.status == 0, run.output
    after = {each.identity: (each.serial_number, each.organization) for each in mutual.visitors[5:]}
    assert before.keys() == after.keys()
    for identity, (serial_number, organization) in after.items():
        assert serial_number != before[identity]
        assert organization == "Ampswarm Test"
    assert run.rows["OCPP/SignCertificate"].requests == 5
    assert run.rows["/Aggregated"].failures == 0
    # J 5.4: a new certificate is no reboot.
    assert run.rows["OCPP/BootNotification"].requests == 5


def test_a_password_is_changed_and_the_profile_raised_over_ocpp(
    signing: CentralSystem, authority: Authority, ca_files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Whitepaper A01 and A05: the new password on the next connection, never readable; then profile 2."""
    server_key = new_key()
    (tmp_path / "server.pem").write_text(pem(server_certificate(authority, server_key)) + key_pem(server_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    offloader = TlsOffloader(context, signing.port)
    (tmp_path / "fleet.toml").write_text(
        '[[populations]]\nname = "basic"\n[populations.security]\nprofile = 1\n'
        'password = "secret-of-{identity}"\nca_file = "ca.pem"\n'
    )
    new = "00112233445566778899aabbccddeeff"
    try:
        with Locust(
            tmp_path, "--headless", "-t", "10s", "-u", "1", "--host", f"wss://localhost:{offloader.port}/ocpp",
            "--tls-ca-file", str(ca_files[0]), "--fleet", str(tmp_path / "fleet.toml"), "--reconnect-max", "1.5",
        ) as locust:  # fmt: skip
            until(lambda: signing.connections == 1)
            change: dict[str, Any] = {"key": "AuthorizationKey", "value": new}
            assert signing.call("CP000001", "ChangeConfiguration", change) == {"status": "Accepted"}
            until(lambda: len(offloader.visitors) == 2 and signing.connections == 1)
            answer = signing.call("CP000001", "GetConfiguration", {"key": ["AuthorizationKey", "SecurityProfile"]})
            assert [(each["key"], each.get("value")) for each in answer["configurationKey"]] == [
                ("AuthorizationKey", None),
                ("SecurityProfile", "1"),
            ]
            raised = {"key": "SecurityProfile", "value": "2"}
            assert signing.call("CP000001", "ChangeConfiguration", raised) == {"status": "Accepted"}
            until(lambda: len(offloader.visitors) == 3)
            lowered = {"key": "SecurityProfile", "value": "1"}
            until(lambda: signing.connections == 1)
            assert signing.call("CP000001", "ChangeConfiguration", lowered) == {"status": "Rejected"}
            run = locust.wait()
    finally:
        offloader.close()
    assert run.status == 0, run.output
    sent = [base64.b64decode(str(each.authorization).removeprefix("Basic ")) for each in offloader.visitors]
    assert sent == [b"CP000001:secret-of-CP000001", *[b"CP000001:" + bytes.fromhex(new)] * 2]
    assert new not in run.output
