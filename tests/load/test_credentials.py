"""Security profiles on real connections: passwords, TLS and certificates, each charge point with its own."""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from ampswarm.charge_point.certificates import Credential, read_root
from ampswarm.charge_point.certificates import read_credential as credential_of
from ampswarm.charge_point.configuration import ConfigurationStatus
from ampswarm.charge_point.security import CertificateUse, DeleteStatus, InstallStatus, Security, SecurityEvent
from ampswarm.charge_point.security_commands import (
    certificate_signed,
    change_security_setting,
    connection_refused,
    sign_certificate,
)
from ampswarm.load.credentials import (
    Cause,
    TlsContexts,
    cause_of,
    check_scheme,
    endpoint_for,
    read_credential,
    read_roots,
)
from ampswarm.load.options import InvalidOption
from ampswarm.load.paths import Paths
from ampswarm.load.transport import BufferedSocket, ConnectFailed, Connection, Connector, Resolver
from ampswarm.ocppj.identity import Endpoint
from tests.fakes import pki
from tests.fakes.peer import ScriptedPeer, read_frame, read_request, upgraded
from tests.fakes.secured_station import SecuredStation

NOW = time.time()
SOON = 5.0
CPO = "Volt & Co"
PASSWORD = bytes.fromhex("000102030405060708090A0B0C0D0E0F101112FF")


@pytest.fixture(scope="module")
def cpo() -> pki.Authority:
    """The root of the charge point operator's hierarchy, for both sides of a connection."""
    return pki.Authority("CPO root", NOW)


@pytest.fixture(scope="module")
def stranger() -> pki.Authority:
    """A root that nobody knows."""
    return pki.Authority("Stranger", NOW)


def server_context(
    authority: pki.Authority,
    folder: Path,
    *,
    clients: pki.Authority | None = None,
    name: str = "localhost",
    has_alternative_name: bool = True,
) -> ssl.SSLContext:
    """A central system's context; with `clients`, it demands certificates that these have signed."""
    key = pki.new_key()
    names = [(x509.SubjectAlternativeName([x509.DNSName(name)]), False)] if has_alternative_name else []
    certificate = authority.issue(key.public_key(), name, CPO, extensions=names)
    file = folder / f"server-{len(list(folder.iterdir()))}.pem"
    file.write_text(pki.pem(certificate) + pki.key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem)
    return context


def trusting(*authorities: pki.Authority) -> ssl.SSLContext:
    """What a fleet was given: the context of those without roots of their own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for each in authorities:
        context.load_verify_locations(cadata=each.pem)
    return context


def connector(*given: pki.Authority) -> Connector:
    return Connector(Resolver(), TlsContexts(lambda: trusting(*given)), SOON)


def endpoint(peer: ScriptedPeer, scheme: str = "wss", host: str = "localhost") -> Endpoint:
    return Endpoint(scheme, host, peer.port, "/ocpp")


def credential(authority: pki.Authority, identity: str = "CP1", key: pki.PrivateKey | None = None) -> Credential:
    key = key or pki.new_key()
    return credential_of(pki.pem(authority.issue(key.public_key(), identity, CPO)), pki.key_pem(key))


def secured(profile: int, own: Credential | None = None, *roots: pki.Authority) -> Security:
    return Security(
        profile,
        password=PASSWORD,
        credential=own,
        central_system_roots=tuple(read_root(each.pem) for each in roots),
    )


class Visitors:
    """What a peer learns of those that connect: certificate and Authorization header."""

    def __init__(self) -> None:
        self.certificates: list[bytes | None] = []
        self.headers: list[str | None] = []

    def script(self, sock: socket.socket) -> None:
        if isinstance(sock, ssl.SSLSocket):
            self.certificates.append(sock.getpeercert(binary_form=True))
        request = read_request(sock)
        found = [line[15:] for line in request.decode().split("\r\n") if line.lower().startswith("authorization: ")]
        self.headers.append(found[0] if found else None)
        sock.sendall(upgraded(request))
        read_frame(sock)


def failure(connect: Callable[[], Connection]) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        connect()
    return caught.value


# -- Basic authentication -------------------------------------------------------------------------


def test_profile_1_sends_identity_and_password() -> None:
    """A00.FR.203 to 205: the name is the identity as it is, and the password is bytes, not their text (J 6.2.2)."""
    visitors = Visitors()
    with ScriptedPeer(visitors.script) as peer:
        connector().connect(endpoint(peer, "ws"), "CP 1", secured(1)).close(SOON)
        connector().connect(endpoint(peer, "ws"), "CP 1", secured(0)).close(SOON)
        connector().connect(endpoint(peer, "ws"), "CP 1").close(SOON)
    assert visitors.headers == ["Basic " + base64.b64encode(b"CP 1:" + PASSWORD).decode(), None, None]


def test_profile_2_sends_them_over_tls(cpo: pki.Authority, tmp_path: Path) -> None:
    """A00.FR.301, A00.FR.311; and no certificate, even where it has one."""
    visitors = Visitors()
    context = server_context(cpo, tmp_path)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=cpo.pem)
    with ScriptedPeer(visitors.script, context) as peer:
        connector().connect(endpoint(peer), "CP1", secured(2, credential(cpo), cpo), NOW).close(SOON)
    assert visitors.headers == ["Basic " + base64.b64encode(b"CP1:" + PASSWORD).decode()]
    assert visitors.certificates == [None]


def test_a_wrong_password_is_a_failure_of_its_own() -> None:
    """HTTP 401: the charge point raises FailedToAuthenticationAtCentralSystem (whitepaper chapter 8)."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n")

    with ScriptedPeer(script) as peer:
        error = failure(lambda: connector().connect(endpoint(peer, "ws"), "CP1", secured(1)))
    assert (error.reason, error.cause) == ("HTTP 401 Unauthorized", Cause.PASSWORD)
    assert error.cause.security_event is SecurityEvent.FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM


# -- client certificates --------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_profile_3_signs_in_with_the_charge_point_s_own_certificate(
    cpo: pki.Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """A00.FR.401, A00.FR.427: each its own, whatever kind of key; and no password goes out."""
    visitors = Visitors()
    context = server_context(cpo, tmp_path, clients=cpo)
    context.maximum_version = version
    own = [
        credential(cpo, "CP1"),
        credential(cpo, "CP2", rsa.generate_private_key(65537, 2048)),
        credential(cpo, "CP3"),
        credential(cpo, "CP4", rsa.generate_private_key(65537, 2048)),
    ]
    shared = connector(cpo)
    with ScriptedPeer(visitors.script, context) as peer:
        for number, each in enumerate(own * 2):
            shared.connect(endpoint(peer), f"CP{number % 4 + 1}", secured(3, each, cpo), NOW).close(SOON)
    assert [each.chain[0] for each in own * 2] == visitors.certificates
    assert visitors.headers == [None] * 8


def test_handshakes_that_overlap_keep_their_certificates_apart(cpo: pki.Authority, tmp_path: Path) -> None:
    """One context serves them all: a charge point must never sign in as the one that came after it."""
    names = [f"CP{number}" for number in range(1, 9)]
    everybody_began = threading.Barrier(len(names), timeout=10)
    seen: dict[int, bytes | None] = {}
    peers: list[ScriptedPeer] = []

    def late(number: int) -> Callable[[socket.socket], None]:
        context = server_context(cpo, tmp_path, clients=cpo)

        def script(sock: socket.socket) -> None:
            everybody_began.wait()
            with context.wrap_socket(sock, server_side=True) as secure:
                seen[number] = secure.getpeercert(binary_form=True)
                secure.sendall(upgraded(read_request(secure)))
                read_frame(secure)

        return script

    own = [credential(cpo, name) for name in names]
    shared = connector(cpo)
    try:
        for number in range(len(names)):
            peers.append(ScriptedPeer(late(number)))
            peers[-1].__enter__()
        attempts = [
            gevent.spawn(shared.connect, endpoint(peer), name, secured(3, each, cpo), NOW)
            for peer, name, each in zip(peers, names, own, strict=True)
        ]
        gevent.joinall(attempts, timeout=20, raise_error=True)
        for attempt in attempts:
            attempt.value.close(SOON)
    finally:
        for peer in peers:
            peer.__exit__(None, None, None)
    assert {number: each.chain[0] for number, each in enumerate(own)} == seen


def test_intermediate_certificates_go_along(cpo: pki.Authority, tmp_path: Path) -> None:
    """A central system that knows the root only must still find the way to it."""
    visitors = Visitors()
    below = pki.Authority("CPO charge points", NOW, parent=cpo)
    key = pki.new_key()
    chain = pki.pem(below.issue(key.public_key())) + below.pem
    with ScriptedPeer(visitors.script, server_context(cpo, tmp_path, clients=cpo)) as peer:
        own = credential_of(chain, pki.key_pem(key))
        connector(cpo).connect(endpoint(peer), "CP1", secured(3, own, cpo), NOW).close(SOON)
    assert [own.chain[0]] == visitors.certificates


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_refused_client_certificate_is_a_failure_of_its_own(
    cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """A00.FR.407: the central system does not know who signed it. With TLS 1.3 that comes after the handshake."""
    context = server_context(cpo, tmp_path, clients=cpo)
    context.maximum_version = version
    with ScriptedPeer(Visitors().script, context) as peer:
        error = failure(
            lambda: connector(cpo).connect(endpoint(peer), "CP1", secured(3, credential(stranger), cpo), NOW)
        )
    assert error.reason == "TLS: charge point's certificate not accepted: unknown ca"
    assert error.cause is Cause.CLIENT_CERTIFICATE
    assert error.cause.security_event is SecurityEvent.FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM


def test_a_refusal_is_heard_although_sending_failed(
    cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path
) -> None:
    """The central system hangs up while the charge point sends: the reason is not "broken pipe"."""
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path, clients=cpo)) as peer:
        link = BufferedSocket(socket.AF_INET, time.monotonic() + SOON)
        link.connect(("127.0.0.1", peer.port), Paths())
        context = TlsContexts(lambda: trusting(cpo)).context_for(secured(3, credential(stranger), cpo), NOW)
        link.start_tls(context, "localhost")
        # It leaves the charge point's Finished unread, so that its end comes as a reset.
        reset = select.poll()
        reset.register(link.fileno(), 0)
        assert reset.poll(5000)
        with pytest.raises(ssl.SSLError) as caught:
            link.send(b"GET")
        link.close()
    assert cause_of(caught.value) is Cause.CLIENT_CERTIFICATE


def test_a_missing_client_certificate_is_the_same_class(cpo: pki.Authority, tmp_path: Path) -> None:
    """A charge point of profile 2 at a central system for profile 3 (A00.FR.002)."""
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path, clients=cpo)) as peer:
        error = failure(lambda: connector(cpo).connect(endpoint(peer), "CP1", secured(2, None, cpo), NOW))
    assert error.reason == "TLS: charge point's certificate not accepted: certificate required"
    assert error.cause is Cause.CLIENT_CERTIFICATE


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("SSLV3_ALERT_BAD_CERTIFICATE", Cause.CLIENT_CERTIFICATE),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", Cause.CLIENT_CERTIFICATE),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", Cause.CLIENT_CERTIFICATE),
        ("SSL/TLS_ALERT_CERTIFICATE_UNKNOWN", Cause.CLIENT_CERTIFICATE),
        ("TLSV1_ALERT_ACCESS_DENIED", Cause.CLIENT_CERTIFICATE),
        ("TLSV1_ALERT_PROTOCOL_VERSION", Cause.TLS_VERSION),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", Cause.OTHER),
        ("WRONG_VERSION_NUMBER", Cause.OTHER),
        (None, Cause.OTHER),
    ],
)
def test_what_an_alert_means(name: str | None, cause: Cause) -> None:
    """RFC 8446, 6.2, in OpenSSL's spelling of the reasons."""
    error: Any = ssl.SSLError()
    error.reason = name
    assert cause is cause_of(error)


# -- the central system's certificate -------------------------------------------------------------


def test_what_is_installed_is_trusted_and_nothing_else(
    cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path
) -> None:
    """A00.FR.307, A00.FR.309: InvalidCentralSystemCertificate, though the fleet was given that root."""
    visitors = Visitors()
    with ScriptedPeer(visitors.script, server_context(cpo, tmp_path)) as peer:
        shared = connector(cpo)
        error = failure(lambda: shared.connect(endpoint(peer), "CP1", secured(2, None, stranger), NOW))
        assert error.reason.startswith("TLS: certificate not accepted: ")
        assert error.cause is Cause.SERVER_CERTIFICATE
        assert error.cause.security_event is SecurityEvent.INVALID_CENTRAL_SYSTEM_CERTIFICATE
        shared.connect(endpoint(peer), "CP1", secured(2), NOW).close(SOON)
        # Below profile 2, TLS belongs to an offloader, and what is installed is only prepared.
        shared.connect(endpoint(peer), "CP1", secured(1, None, stranger), NOW).close(SOON)
        connector(stranger).connect(endpoint(peer), "CP1", secured(2, None, stranger, cpo), NOW).close(SOON)


def test_a_wrong_host_name_is_a_failure_of_its_own(cpo: pki.Authority, tmp_path: Path) -> None:
    """A00.FR.308, A00.FR.412."""
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path, name="cs.example.com")) as peer:
        error = failure(lambda: connector().connect(endpoint(peer), "CP1", secured(2, None, cpo), NOW))
    assert error.cause is Cause.HOST_NAME
    assert error.cause.security_event is SecurityEvent.INVALID_CENTRAL_SYSTEM_CERTIFICATE


def test_the_common_name_is_enough(cpo: pki.Authority, tmp_path: Path) -> None:
    """A00.FR.308, A00.FR.511: certificates of OCPP have no subjectAltName, as a rule."""
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path, has_alternative_name=False)) as peer:
        connector().connect(endpoint(peer), "CP1", secured(2, None, cpo), NOW).close(SOON)


def test_tls_1_1_is_refused(cpo: pki.Authority, tmp_path: Path) -> None:
    """A00.FR.315: InvalidTLSVersion."""
    context = server_context(cpo, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's: nobody should
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with ScriptedPeer(Visitors().script, context) as peer:
        error = failure(lambda: connector(cpo).connect(endpoint(peer), "CP1", secured(2), NOW))
    assert error.cause is Cause.TLS_VERSION
    assert error.cause.security_event is SecurityEvent.INVALID_TLS_VERSION


def test_verification_that_is_switched_off_stays_off(
    cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path
) -> None:
    """--tls-verify false holds for charge points with roots of their own too."""

    def unverified() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    security = secured(2, None, stranger)
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path)) as peer:
        Connector(Resolver(), TlsContexts(unverified), SOON).connect(endpoint(peer), "CP1", security, NOW).close(SOON)


# -- what changes while a charge point lives ------------------------------------------------------


def test_a_root_is_rolled_over_with_its_fallback(cpo: pki.Authority, tmp_path: Path) -> None:
    """M05.FR.11 to 13 on real connections: the old server first, then the new one, then never the old again."""
    visitors = Visitors()
    second = pki.Authority("CPO root 2", NOW, parent=cpo)
    security = secured(2, None, cpo)
    use = CertificateUse.CENTRAL_SYSTEM_ROOT
    assert InstallStatus.ACCEPTED is security.install(use, second.pem, NOW, max_length=4, replaces=True)
    shared = connector()
    with (
        ScriptedPeer(visitors.script, server_context(cpo, tmp_path)) as old,
        ScriptedPeer(visitors.script, server_context(second, tmp_path)) as new,
    ):
        shared.connect(endpoint(old), "CP1", security, NOW).close(SOON)
        assert len(security.central_system_roots) == 2
        shared.connect(endpoint(new), "CP1", security, NOW).close(SOON)
        assert [pki.der(second.certificate)] == [each.der for each in security.central_system_roots]
        # Its signer is gone, and it is still good enough (whitepaper 7.1).
        shared.connect(endpoint(new), "CP1", security, NOW).close(SOON)
        error = failure(lambda: shared.connect(endpoint(old), "CP1", security, NOW))
        assert error.cause is Cause.SERVER_CERTIFICATE


@pytest.mark.parametrize(("profile", "status"), [(1, DeleteStatus.ACCEPTED), (2, DeleteStatus.FAILED)])
def test_the_root_behind_the_present_connection_stays(
    cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path, profile: int, status: DeleteStatus
) -> None:
    """M04.FR.06, for the root that really was used; below profile 2, what is installed is not used at all."""
    security = secured(profile, None, stranger, cpo)
    _, used = security.installed(CertificateUse.CENTRAL_SYSTEM_ROOT)
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path)) as peer:
        connector(cpo).connect(endpoint(peer), "CP1", security, NOW).close(SOON)
    assert status is security.delete(used, NOW)


def test_a_certificate_is_rotated(cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path) -> None:
    """A02 on real connections: the manufacturer's certificate, a CSR, and the CPO's from then on."""
    visitors = Visitors()
    station = SecuredStation(NOW, {"CpoName": CPO, "SecurityProfile": "3"})
    factory = credential(stranger)
    station.security = Security(3, credential=factory, central_system_roots=(read_root(cpo.pem),))
    context = server_context(cpo, tmp_path, clients=cpo)
    context.load_verify_locations(cadata=stranger.pem)
    shared = connector()
    with ScriptedPeer(visitors.script, context) as peer:
        shared.connect(endpoint(peer), "CP1", station.security, NOW).close(SOON)
        assert sign_certificate(station, 0.0)
        chain = cpo.sign(station.calls[-1][1]["csr"])
        assert certificate_signed(station, {"certificateChain": chain}, 0.0) == {"status": "Accepted"}
        assert station.reconnects == 1
        shared.connect(endpoint(peer), "CP1", station.security, NOW).close(SOON)
    assert visitors.certificates == [factory.chain[0], ssl.PEM_cert_to_DER_cert(chain)]


def test_the_old_certificate_is_used_where_the_new_one_is_refused(
    cpo: pki.Authority, stranger: pki.Authority, tmp_path: Path
) -> None:
    """A02.FR.10: kept as fallback, and used without anybody's help."""
    visitors = Visitors()
    station = SecuredStation(NOW, {"CpoName": CPO})
    old = credential(stranger)
    station.security = Security(3, credential=old, central_system_roots=(read_root(cpo.pem),))
    assert sign_certificate(station, 0.0)
    # Newer, as measured by the start of its validity, than what it is to replace (A02.FR.09).
    chain = cpo.sign(station.calls[-1][1]["csr"], begins=NOW - 3600)
    certificate_signed(station, {"certificateChain": chain}, 0.0)
    context = server_context(cpo, tmp_path, clients=stranger)
    shared = connector()
    with ScriptedPeer(visitors.script, context) as peer:
        error = failure(lambda: shared.connect(endpoint(peer), "CP1", station.security, NOW))
        assert error.cause is Cause.CLIENT_CERTIFICATE
        connection_refused(station, 0.0, was_own_certificate=error.cause is Cause.CLIENT_CERTIFICATE)
        shared.connect(endpoint(peer), "CP1", station.security, NOW).close(SOON)
    assert [old.chain[0]] == visitors.certificates


def test_a_profile_is_raised_to_tls_on_the_same_host_and_port(cpo: pki.Authority, tmp_path: Path) -> None:
    """A05: ws before, wss afterwards; and back where that does not connect (A05.FR.08)."""
    settings = {"AuthorizationKey": PASSWORD.hex()}
    station = SecuredStation(NOW, settings)
    station.security = secured(0, None, cpo)
    shared = connector()
    with ScriptedPeer(Visitors().script, server_context(cpo, tmp_path)) as peer:
        assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "SecurityProfile", "2", 0.0)
        shared.connect(endpoint(peer, "ws"), "CP1", station.security, NOW).close(SOON)
    assert not station.security.refused()
    station = SecuredStation(NOW, settings)
    station.security = secured(0, None, cpo)
    visitors = Visitors()

    def plain(sock: socket.socket) -> None:
        if sock.recv(1, socket.MSG_PEEK) == b"G":
            visitors.script(sock)

    with ScriptedPeer(plain) as peer:
        change_security_setting(station, "SecurityProfile", "2", 0.0)
        while station.security.profile == 2:
            failure(lambda: shared.connect(endpoint(peer, "ws"), "CP1", station.security, NOW))
            connection_refused(station, 0.0)
        shared.connect(endpoint(peer, "ws"), "CP1", station.security, NOW).close(SOON)
    assert visitors.headers == [None]


# -- contexts and files ---------------------------------------------------------------------------


def test_contexts_are_shared_by_all_that_trust_the_same(cpo: pki.Authority, stranger: pki.Authority) -> None:
    """A context for every charge point would take tens of KiB each."""
    contexts = TlsContexts(lambda: trusting(cpo))
    plain = contexts.shared
    assert plain is contexts.context_for(None, NOW)
    assert plain is contexts.context_for(secured(0, credential(cpo), cpo), NOW)
    assert plain is contexts.context_for(secured(2), NOW)
    with_root = contexts.context_for(secured(2, None, cpo), NOW)
    own = contexts.context_for(secured(3, credential(cpo), cpo), NOW)
    assert own is contexts.context_for(secured(3, credential(cpo, "CP2"), cpo), NOW)
    assert with_root is contexts.context_for(secured(2, None, cpo), NOW)
    others = [
        contexts.context_for(secured(3, credential(cpo), stranger), NOW),
        contexts.context_for(secured(3, credential(cpo, "CP3", rsa.generate_private_key(65537, 2048)), cpo), NOW),
    ]
    assert len({id(each) for each in (plain, with_root, own, *others)}) == 5
    assert all(each.minimum_version is ssl.TLSVersion.TLSv1_2 for each in (plain, with_root, own, *others))


def test_contexts_do_not_pile_up() -> None:
    """A fleet whose roots are changed all day keeps the latest."""
    contexts = TlsContexts(trusting)
    for number in range(40):
        contexts.context_for(secured(2, None, pki.Authority(f"Root {number}", NOW)), NOW)
    assert len(contexts._contexts) == 32


@pytest.mark.parametrize("has_memfd", [True, False])
def test_no_private_key_stays_on_disk_and_no_file_open(
    cpo: pki.Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_memfd: bool
) -> None:
    """A02.FR.05, and a worker with 50,000 charge points has no descriptor to lose."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not has_memfd:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    seen: list[tuple[int, bool]] = []
    load = ssl.SSLContext.load_cert_chain

    class Watching(ssl.SSLContext):
        def load_cert_chain(self, certfile: str, *more: object) -> None:  # type: ignore[override]
            seen.append((os.stat(certfile).st_mode & 0o077, certfile.startswith(str(tmp_path))))  # noqa: PTH116
            load(self, certfile)

    def make() -> ssl.SSLContext:
        return Watching(ssl.PROTOCOL_TLS_CLIENT)

    contexts = TlsContexts(make)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        contexts.context_for(secured(3, credential(cpo, f"CP{number}")), NOW)
    assert before == len(list(Path("/proc/self/fd").iterdir()))
    assert list(tmp_path.iterdir()) == []
    assert len(seen) == 20
    if not has_memfd:
        assert seen == [(0, True)] * 20, "nobody else may read it while it is there"
    else:
        assert not any(on_disk for _, on_disk in seen)


@pytest.mark.parametrize(
    ("url", "profile", "expected"),
    [
        (("ws", 8080), 0, ("ws", 8080)),
        (("ws", 8080), 1, ("ws", 8080)),
        (("ws", 8080), 2, ("wss", 8080)),
        (("ws", 80), 3, ("wss", 443)),
        (("wss", 80), 3, ("wss", 80)),
        (("wss", 443), 0, ("wss", 443)),
    ],
)
def test_where_a_profile_leads_to(url: tuple[str, int], profile: int, expected: tuple[str, int]) -> None:
    """TLS from profile 2 on; below it, what the fleet was told, also wss in front of an offloader."""
    scheme, port = url
    found = endpoint_for(Endpoint(scheme, "cs", port, "/ocpp"), Security(profile))
    assert Endpoint(*expected[:1], "cs", expected[1], "/ocpp") == found


@pytest.mark.parametrize("profile", [0, 1, 2, 3])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_fleet_with_tls_and_an_endpoint_without_is_a_mistake(profile: int, scheme: str) -> None:
    """Found at the start, in one line; the other way round is usual."""
    target = Endpoint(scheme, "cs", 8080, "/ocpp")
    if scheme == "wss" or profile < 2:
        check_scheme(target, profile)
        return
    with pytest.raises(InvalidOption) as caught:
        check_scheme(target, profile)
    assert str(caught.value) == f"security profile {profile} needs TLS: ws://cs:8080/ocpp must start with wss://"


def test_files_of_certificates_are_read_and_mistakes_name_the_file(cpo: pki.Authority, tmp_path: Path) -> None:
    """One line that says which file is wrong, before the first connection."""
    key = pki.new_key()
    files = {
        "own.pem": pki.pem(cpo.issue(key.public_key())),
        "key.pem": pki.key_pem(key),
        "other-key.pem": pki.key_pem(pki.new_key()),
        "ca.pem": cpo.pem,
        "empty.pem": "",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    path = {name: str(tmp_path / name) for name in (*files, "missing.pem")}
    own = read_credential(path["own.pem"], path["key.pem"])
    assert (ssl.PEM_cert_to_DER_cert(files["own.pem"]),) == own.chain
    assert (read_root(cpo.pem),) == read_roots(path["ca.pem"])
    for read, why in (
        (lambda: read_credential(path["missing.pem"], path["key.pem"]), "missing.pem: No such file or directory"),
        (lambda: read_credential(path["own.pem"], path["empty.pem"]), "empty.pem: no private key in PEM"),
        (
            lambda: read_credential(path["own.pem"], path["other-key.pem"]),
            "other-key.pem: the certificate and the private key do not belong together",
        ),
        (lambda: read_roots(path["empty.pem"]), "empty.pem: no certificate in PEM"),
        (lambda: read_roots(path["own.pem"]), "own.pem: what signs certificates must be a CA's"),
    ):
        with pytest.raises(InvalidOption) as caught:
            read()
        assert str(caught.value).endswith(why)
        assert "\n" not in str(caught.value)
