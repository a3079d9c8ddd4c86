"""`deployment_template/make-certificates`: files that TLS, the load side and the central system take."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ampswarm.load.credentials import read_credential, read_roots
from server.certificates import CertificateAuthority
from tests.fakes import pki

PROGRAM = Path(__file__).parents[2] / "deployment_template" / "make-certificates"
IDENTITY = "CP000001"
SERVER_AUTH, CLIENT_AUTH = ssl.Purpose.SERVER_AUTH.oid, ssl.Purpose.CLIENT_AUTH.oid


def make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # Without a mask, so that whatever can be read by others is.
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), "--output", str(folder), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        umask=0,
    )
    assert "Traceback" not in ran.stderr
    return ran


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run makes for a proxy and two charge points; only to be read."""
    folder = tmp_path_factory.mktemp("fleet") / "certificates"
    ran = make(
        folder, "--name", "proxy.example.com", "--name", "192.0.2.7", "--name", "2001:db8::1", "--organization", "Volt",
        "--client-certificates", "2",
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return folder


@pytest.fixture
def folder(fleet: Path, tmp_path: Path) -> Path:
    """A copy of it, to go on in."""
    copied = tmp_path / "certificates"
    shutil.copytree(fleet, copied)
    return copied


def certificate_in(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_in(path: Path) -> list[str]:
    names = certificate_in(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def shake_hands(folder: Path, name: str, identity: str | None = IDENTITY) -> dict[str, object]:
    """Connect as a charge point; return what the proxy learns about its certificate."""
    proxy = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # One file, as HAProxy takes it.
    proxy.load_cert_chain(folder / "proxy-bundle.pem")
    proxy.load_verify_locations(folder / "ca.pem")
    proxy.verify_mode = ssl.CERT_REQUIRED
    proxy.verify_flags |= ssl.VERIFY_X509_STRICT
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(folder / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    if identity is not None:
        client.load_cert_chain(folder / "clients" / f"{identity}.pem", folder / "clients" / f"{identity}.key")
    here, there = socket.socketpair()
    seen: list[dict[str, object] | ssl.SSLError] = []

    def serve() -> None:
        with there:
            there.settimeout(10)
            try:
                with proxy.wrap_socket(there, server_side=True) as connection:
                    seen.append(dict(connection.getpeercert() or {}))
                    connection.sendall(b"!")
            except ssl.SSLError as error:
                seen.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with here:
            here.settimeout(10)
            with client.wrap_socket(here, server_hostname=name) as connection:
                # With TLS 1.3, a client is done before its certificate was looked at.
                connection.recv(1)
    finally:
        thread.join()
    (result,) = seen
    if isinstance(result, ssl.SSLError):
        raise result
    return result


def subject_in(seen: dict[str, object]) -> dict[str, str]:
    subject = seen["subject"]
    assert isinstance(subject, tuple)
    return dict(pair for (pair,) in subject)


@pytest.mark.parametrize("name", ["proxy.example.com", "192.0.2.7", "2001:db8::1"])
def test_a_charge_point_connects_by_each_name(fleet: Path, name: str) -> None:
    """The whole point: the proxy is trusted by name and by address, and learns who the charge point is."""
    subject = subject_in(shake_hands(fleet, name))

    assert subject == {"organizationName": "Volt", "commonName": IDENTITY}


def test_who_is_not_let_in(fleet: Path, tmp_path: Path) -> None:
    """A CA that lets others in, or names that it does not have, would make a test of security worthless."""
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(fleet, "other.example.com")
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED|PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake_hands(fleet, "proxy.example.com", None)
    other = tmp_path / "other"
    make(other, "--name", "proxy.example.com", "--client-certificates", "1")
    shutil.copy(fleet / "ca.pem", other / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer|signature failure"):
        shake_hands(other, "proxy.example.com")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_finds_nothing_wrong(fleet: Path) -> None:
    """Stacks of real charge points are strict about extensions, each in another way."""
    for purpose, file in (("sslserver", "proxy.pem"), ("sslclient", f"clients/{IDENTITY}.pem")):
        ran = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-CAfile", fleet / "ca.pem", "-purpose", purpose, fleet / file],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (ran.returncode, ran.stdout) == (0, f"{fleet / file}: OK\n")


def test_what_certificates_may_be_used_for(fleet: Path) -> None:
    """A charge point's certificate that can sign others, or be a server's, would be a hole in a real fleet."""
    ca, proxy, client = (certificate_in(fleet / file) for file in ("ca.pem", "proxy.pem", f"clients/{IDENTITY}.pem"))

    for certificate, is_ca, purpose in ((ca, True, None), (proxy, False, SERVER_AUTH), (client, False, CLIENT_AUTH)):
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
        issuer = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        own = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert (constraints.critical, constraints.value.ca) == (True, is_ca)
        assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, is_ca, not is_ca)
        assert issuer.key_identifier == own.digest
        if purpose is not None:
            purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            assert [each.dotted_string for each in purposes] == [purpose]
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.key_size == 256
    assert len({certificate.serial_number for certificate in (ca, proxy, client)}) == 3


def test_the_load_side_takes_what_it_is_told_to(fleet: Path) -> None:
    """The line for the fleet file is copied as it stands; a path or a key that does not fit ends every connect."""
    ran = make(fleet, "--client-certificates", "2")

    told = ran.stdout.splitlines()[-1].removeprefix("for the fleet file: ")
    security = tomllib.loads(told)["security"]
    assert security["profile"] == 3
    for identity in (IDENTITY, "CP000002"):
        files = (security[key].format(identity=identity) for key in ("certificate", "private_key"))
        assert read_credential(*files).is_valid(time.time())
    assert len(read_roots(security["ca_file"])) == 1


def test_the_central_system_can_sign_with_the_ca(fleet: Path) -> None:
    """`--csr-ca-cert` with this CA renews certificates over OCPP."""
    CertificateAuthority(fleet / "ca.pem", fleet / "ca.key")


def test_only_the_owner_reads_keys(fleet: Path) -> None:
    """Whoever reads the CA's key is every charge point; certificates, everybody has to be able to read."""
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in fleet.rglob("*") if path.is_file()}

    secret = {"ca.key", "proxy.key", "proxy-bundle.pem", "CP000001.key", "CP000002.key"}
    assert modes == {name: 0o600 if name in secret else 0o644 for name in modes}
    assert secret < set(modes)


def test_a_second_run_changes_nothing(folder: Path) -> None:
    """It stands in scripts that run again and again, and everything that runs has the files already."""
    before = contents(folder)

    ran = make(folder, "--name", "proxy.example.com", "--client-certificates", "2")

    assert (ran.returncode, "2 kept" in ran.stdout) == (0, True)
    assert contents(folder) == before


def test_names_and_charge_points_are_added(folder: Path) -> None:
    """A fleet that grows must not get another CA, nor a proxy another key or fewer names."""
    before = contents(folder)

    ran = make(folder, "--name", "Proxy2.example.com", "--client-certificates", "2", "--first", "2")

    after = contents(folder)
    assert "1 made, 1 kept, CP000002 to CP000003" in ran.stdout
    assert names_in(folder / "proxy.pem") == ["proxy.example.com", "192.0.2.7", "2001:db8::1", "proxy2.example.com"]
    assert after["proxy-bundle.pem"] == after["proxy.pem"] + after["proxy.key"]
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"proxy.pem", "proxy-bundle.pem", "clients/CP000003.pem", "clients/CP000003.key"}
    assert subject_in(shake_hands(folder, "proxy2.example.com", "CP000003"))["organizationName"] == "Volt"


def test_another_organization_keeps_the_keys(folder: Path) -> None:
    """The central system refuses a certificate with another O: asked for one, it has to be there."""
    key = (folder / "clients/CP000001.key").read_bytes()

    make(folder, "--client-certificates", "1", "--organization", "Ampère & Co")

    subject = subject_in(shake_hands(folder, "proxy.example.com"))
    assert subject["organizationName"] == "Ampère & Co"
    assert (folder / "clients/CP000001.key").read_bytes() == key


def test_what_ends_soon_is_renewed(folder: Path) -> None:
    """Certificates that ran out overnight would look like a broken central system in the morning."""
    ca = certificate_in(folder / "ca.pem")
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    old = certificate_in(folder / f"clients/{IDENTITY}.pem")
    public = old.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    now = time.time()
    late = pki.certify(old.subject, public, ca.subject, key, begins=now - 3 * pki.DAY, ends=now + pki.DAY)
    (folder / f"clients/{IDENTITY}.pem").write_text(pki.pem(late))

    ran = make(folder, "--client-certificates", "2")

    assert "1 renewed, 1 kept" in ran.stdout
    renewed = certificate_in(folder / f"clients/{IDENTITY}.pem")
    assert (renewed.public_key(), renewed.not_valid_after_utc.timestamp() > now + 300 * pki.DAY) == (public, True)


def test_nothing_of_others_is_overwritten(folder: Path) -> None:
    """A proxy's real certificate may lie in the same folder, and its key exists nowhere else."""
    public_ca = pki.Authority("A public CA", time.time())
    key = pki.new_key()
    (folder / "proxy.pem").write_text(pki.pem(public_ca.issue(key.public_key())))
    (folder / "proxy.key").write_text(pki.key_pem(key))
    before = contents(folder)

    ran = make(folder, "--name", "proxy.example.com")

    error = f"make-certificates: error: {folder}/proxy.pem is of another CA; --force makes both anew\n"
    assert (ran.returncode, ran.stderr) == (2, error)
    assert contents(folder) == before


def test_force_makes_new_keys_and_leaves_the_ca(folder: Path) -> None:
    """A key that became known is replaced at one command, without a new CA for everybody."""
    before = contents(folder)

    make(folder, "--name", "new.example.com", "--client-certificates", "1", "--force")

    after = contents(folder)
    assert names_in(folder / "proxy.pem") == ["new.example.com"]
    changed = {name for name in after if after[name] != before[name]}
    proxy = {"proxy.pem", "proxy.key", "proxy-bundle.pem"}
    assert changed == {*proxy, "clients/CP000001.pem", "clients/CP000001.key"}
    assert subject_in(shake_hands(folder, "new.example.com"))["commonName"] == IDENTITY


def test_a_run_that_was_broken_off(folder: Path) -> None:
    """The next one goes on from there, with the keys that were made."""
    key = (folder / f"clients/{IDENTITY}.key").read_bytes()
    (folder / f"clients/{IDENTITY}.pem").unlink()

    make(folder, "--client-certificates", "2")

    assert (folder / f"clients/{IDENTITY}.key").read_bytes() == key
    shake_hands(folder, "proxy.example.com")


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("ca.key", "ca.pem is there without {}/ca.key: bring it back, or take another folder"),
        ("proxy.key", "proxy.pem is there without {}/proxy.key; --force makes both anew"),
    ],
)
def test_a_key_that_is_missing(folder: Path, missing: str, says: str) -> None:
    """It may lie in a safe: to make another one in silence would part it from all that was signed."""
    (folder / missing).unlink()
    before = contents(folder)

    ran = make(folder, "--name", "proxy.example.com")

    assert (ran.returncode, ran.stderr) == (2, f"make-certificates: error: {folder}/{says.format(folder)}\n")
    assert contents(folder) == before


def test_rsa_for_charge_points_that_know_nothing_else(tmp_path: Path) -> None:
    """Some stations have RSA alone, and then the CA has to have it too."""
    make(tmp_path, "--name", "proxy.example.com", "--key-type", "rsa-2048", "--client-certificates", "1")

    for file in ("ca.pem", "proxy.pem", f"clients/{IDENTITY}.pem"):
        key = certificate_in(tmp_path / file).public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        assert key.key_size == 2048
    shake_hands(tmp_path, "proxy.example.com")


def test_identities_as_the_load_side_makes_them(folder: Path) -> None:
    """With other names than Locust's, no charge point finds its certificate."""
    make(folder, "--client-certificates", "2", "--first", "41", "--identity-format", "DEPOT:{:04X}.a")

    assert {path.name for path in (folder / "clients").glob("DEPOT*.key")} == {"DEPOT:0029.a.key", "DEPOT:002A.a.key"}
    subject = certificate_in(folder / "clients/DEPOT:0029.a.pem").subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "DEPOT:0029.a"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--name is needed"),
        (["--name", "wss://proxy.example.com"], "is neither a DNS name nor an IP address"),
        (["--name", "proxy.example.com:8443"], "is neither a DNS name nor an IP address"),
        (["--name", "10.0.0.300"], "is neither a DNS name nor an IP address"),
        (["--name", "x", "--client-certificates", "-1"], "'-1' is not a number of certificates"),
        (["--name", "x", "--client-certificates", "2", "--identity-format", "CP"], "the same identity"),
        (["--name", "x", "--client-certificates", "2", "--identity-format", "{"], "is not a format of identities"),
        (["--name", "x", "--client-certificates", "2", "--identity-format", "a/{}"], "cannot be the name of a file"),
        (["--name", "x", "--client-certificates", "2", "--identity-format", "{:0>65}"], "more than the 64 characters"),
        (["--name", "x", "--client-certificates", "2", "--identity-format", "10.0.0.{}"], "is an address"),
        (["--name", "x", "--days", "0"], "'0' is not a number of days"),
        (["--name", "x", "--organization", ""], "'' is not an organization"),
        (["--name", "x", "--key-type", "dsa"], "invalid choice: 'dsa'"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, options: list[str], says: str) -> None:
    """Whoever mistypes needs to know what, and must not find half of a CA afterwards."""
    folder = tmp_path / "certificates"

    ran = make(folder, *options)

    assert (ran.returncode, len(ran.stderr.splitlines()), says in ran.stderr) == (2, 1, True)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """One line that names it."""
    (tmp_path / "file").touch()

    ran = make(tmp_path / "file" / "certificates", "--name", "x")

    error = f"make-certificates: error: {tmp_path}/file/certificates: Not a directory\n"
    assert (ran.returncode, ran.stderr) == (2, error)


def test_with_the_wrong_python() -> None:
    """That of the system has no Ampswarm, and a traceback would not say which one has."""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(PROGRAM), "--name", "x"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )

    assert (ran.returncode, len(ran.stderr.splitlines())) == (2, 1)
    assert "run it with the Python of Ampswarm's environment" in ran.stderr
