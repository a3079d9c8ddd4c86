"""Who may connect to the central system, and how much: passwords, TLS, certificates and limits, over real sockets."""

from __future__ import annotations

import base64
import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as ws_connect
from websockets.typing import Subprotocol

from server.passwords import Cost, make_hash
from tests.fakes.pki import DAY, Authority, PrivateKey, key_pem, new_key, pem
from tests.processes import ROOT, CentralSystem, clean_environment, until

CHEAP = Cost(memory_kib=8, iterations=1)
PASSWORD = b"secret-\x00\xff-0123456789"
TIMEOUT = 10.0


def head(path: str = "/raw", *more: str, key: str = "dGhlIHNhbXBsZSBub25jZQ==") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ocpp1.6", *more,
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def basic(identity: str, password: bytes = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(identity.encode() + b":" + password).decode()}


def connect(
    server: CentralSystem, identity: str = "CP1", headers: Mapping[str, str] | None = None, tls: Any = None
) -> ClientConnection:
    port = server.port if tls is None else server.tls_port
    scheme = "ws" if tls is None else "wss"
    return ws_connect(
        f"{scheme}://localhost:{port}/ocpp/{identity}",
        subprotocols=[Subprotocol("ocpp1.6")],
        proxy=None,
        compression=None,
        additional_headers=headers,
        ssl=tls,
        open_timeout=TIMEOUT,
        sock=socket.create_connection(("127.0.0.1", port)),
    )


def refused(server: CentralSystem, *args: Any, **more: Any) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of the refusal."""
    with pytest.raises(InvalidStatus) as caught:
        connect(server, *args, **more)
    response = caught.value.response
    return response.status_code, {name.lower(): value for name, value in response.headers.raw_items()}


def works(ws: ClientConnection) -> bool:
    ws.send('[2,"1","Heartbeat",{}]')
    answer = json.loads(ws.recv(timeout=TIMEOUT))
    return bool(answer[0] == 3)


def dial(server: CentralSystem) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT)


def secured(server: CentralSystem, pki: Pki) -> ssl.SSLSocket:
    sock = socket.create_connection(("127.0.0.1", server.tls_port), timeout=TIMEOUT)
    return pki.client().wrap_socket(sock, server_hostname="localhost")


def read_all(sock: socket.socket) -> bytes:
    """Return everything until the other side closes."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def server_files(authority: Authority, folder: Path, key: PrivateKey, name: str) -> tuple[str, str]:
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = authority.issue(key.public_key(), "localhost", "Volt & Co", extensions=[(names, False)])
    (folder / f"{name}.pem").write_text(pem(certificate))
    (folder / f"{name}.key").write_text(key_pem(key))
    return str(folder / f"{name}.pem"), str(folder / f"{name}.key")


class Pki:
    """A CA, a central system's certificates of both kinds, and certificates for charge points."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority("Test CA", time.time())
        self.ca = folder / "ca.pem"
        self.ca.write_text(self.authority.pem)
        self.ecdsa = server_files(self.authority, folder, new_key(), "ecdsa")
        self.rsa = server_files(self.authority, folder, rsa.generate_private_key(65537, 2048), "rsa")

    @property
    def options(self) -> list[str]:
        return ["--tls-cert", self.ecdsa[0], "--tls-key", self.ecdsa[1], "--tls-cert", self.rsa[0], "--tls-key",
                self.rsa[1]]  # fmt: skip

    def client(self, certificate: x509.Certificate | None = None, key: PrivateKey | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None and key is not None:
            path = self.folder / "client.pem"
            path.write_text(pem(certificate) + key_pem(key))
            context.load_cert_chain(path)
        return context

    def charge_point(
        self, common_name: str, organization: str = "Volt & Co", *, authority: Authority | None = None, **more: Any
    ) -> ssl.SSLContext:
        key = new_key()
        return self.client(
            (authority or self.authority).issue(key.public_key(), common_name, organization, **more), key
        )


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def password_file(folder: Path, **passwords: bytes) -> Path:
    path = folder / "passwords"
    path.write_text("".join(f"{identity}:{make_hash(each, CHEAP)}\n" for identity, each in passwords.items()))
    return path


@pytest.fixture(scope="module")
def guarded(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """Passwords on both ports, certificates on the one with TLS: profiles 1, 2 and 3 beside each other."""
    folder = tmp_path_factory.mktemp("guarded")
    options = ["--password-file", str(password_file(folder, CP1=PASSWORD, CP2=b"another-secret-0123456789")),
               "--tls-client-ca", str(pki.ca), "--tls-client-organization", "Volt & Co", "--log-payload"]  # fmt: skip
    with CentralSystem(folder / "log", *pki.options, *options) as running:
        yield running
        # Whatever the tests of this module did: no secret in any line (whitepaper A01.FR.12), and no escape sequence.
        log = (folder / "log").read_bytes()
        for secret in (PASSWORD, base64.b64encode(b"CP1:" + PASSWORD), b"another-secret", b"argon2", b"Basic "):
            assert secret not in log
        assert b"\x1b" not in log
        assert b'"event":"log"' not in log


# -- passwords ------------------------------------------------------------------------------------


def test_the_right_password_opens_the_plain_port(guarded: CentralSystem) -> None:
    """Security profile 1: any bytes, a zero among them; and once more, when it is known already."""
    for _ in range(2):
        with connect(guarded, headers=basic("CP1")) as ws:
            assert works(ws)


@pytest.mark.parametrize(
    ("identity", "headers"),
    [
        ("CP1", {}),
        ("CP1", basic("CP1", b"wrong")),
        ("CP1", basic("CP1", b"")),
        ("CP1", basic("CP2", b"another-secret-0123456789")),
        ("CP9", basic("CP9")),
        ("CP1", {"Authorization": "Basic ???"}),
        ("CP1", {"Authorization": "Basic"}),
        ("CP1", {"Authorization": "Bearer secret"}),
        ("CP1", {"Authorization": "Basic " + base64.b64encode(b"CP1").decode()}),
        ("a%3Ab", basic("a:b")),
    ],
)
def test_no_password_or_a_wrong_one_is_401(guarded: CentralSystem, identity: str, headers: dict[str, str]) -> None:
    """With the challenge that RFC 7617 wants, and the same answer to all of them."""
    status, answer = refused(guarded, identity, headers)
    assert status == 401
    assert answer["www-authenticate"] == 'Basic realm="OCPP-J", charset="UTF-8"'


def test_a_refused_password_is_logged_with_its_reason_and_address(guarded: CentralSystem) -> None:
    """Whitepaper A00.FR.323: an operator must see who knocks, though the client learns nothing."""
    refused(guarded, "CP8", basic("CP8"))
    line = guarded.wait_for(lambda line: line["event"] == "refused" and line.get("identity") == "CP8")
    assert (line["status"], line["why"], line["address"]) == (401, "unknown charge point", "127.0.0.1")


def test_what_is_sent_before_the_answer_is_not_lost(guarded: CentralSystem) -> None:
    """A hasty charge point sends its first Call right behind the request, while its password is still being hashed."""
    message = b'[2,"early","Heartbeat",{}]'
    frame = b"\x81" + bytes([0x80 | len(message)]) + b"\0\0\0\0" + message
    with dial(guarded) as sock:
        sock.sendall(head("/CP1", f"Authorization: {basic('CP1')['Authorization']}") + frame * 3)
        received = b""
        while received.count(b'[3,"early"') < 3:
            data = sock.recv(65536)
            assert data, received
            received += data
    assert received.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_lot_that_is_sent_before_the_answer_waits_in_the_kernel(tmp_path: Path, pki: Pki, is_secure: bool) -> None:
    """While a hash takes its time, a client cannot fill the memory; and everything is answered afterwards."""
    path = tmp_path / "passwords"
    path.write_text(f"CP1:{make_hash(PASSWORD, Cost(131072, 2))}\n")
    message = b'[2,"early","Heartbeat",{}]'
    frame = b"\x81" + bytes([0x80 | len(message)]) + b"\0\0\0\0" + message
    with CentralSystem(tmp_path / "log", "--password-file", str(path), *pki.options) as server:
        with secured(server, pki) if is_secure else dial(server) as sock:
            sock.sendall(head("/CP1", f"Authorization: {basic('CP1')['Authorization']}") + frame * 5000)
            received = bytearray()
            while received.count(b'[3,"early"') < 5000:
                data = sock.recv(65536)
                assert data
                received += data
        assert server.summary()["calls"]["Heartbeat"] == 5000


def test_a_client_that_leaves_while_its_password_is_checked_is_no_trouble(tmp_path: Path) -> None:
    """Neither an error in the log, nor a connection of nobody, nor a password less for the others."""
    path = tmp_path / "passwords"
    path.write_text(f"CP1:{make_hash(PASSWORD, Cost(65536, 2))}\n")  # some 0.1 s each
    with CentralSystem(tmp_path / "log", "--password-file", str(path)) as server:
        for _ in range(5):
            with dial(server) as sock:
                sock.sendall(head("/CP1", f"Authorization: {basic('CP1')['Authorization']}"))
        with connect(server, headers=basic("CP1")) as ws:
            assert works(ws)
        summary = server.summary()
    assert summary["events"]["handshakes dropped: the client left"] == 5
    assert summary["events"]["connections opened"] == 1
    assert not server.lines("log")


def test_passwords_are_read_again_on_sighup(tmp_path: Path) -> None:
    """New ones from the next connection on; a mistake is logged, and what was read before stays."""
    path = password_file(tmp_path, CP1=PASSWORD)
    with CentralSystem(tmp_path / "log", "--password-file", str(path)) as server:
        with connect(server, headers=basic("CP1")) as standing:
            path.write_text("nonsense-secret\n")
            server.signal(signal.SIGHUP)
            line = server.wait_for(lambda line: line["event"] == "reread")
            assert f"{path}: line 1: is not identity:hash" == line["error"]
            with connect(server, headers=basic("CP1")) as again:
                assert works(again)
        password_file(tmp_path, CP1=b"new-secret-0123456789")
        server.signal(signal.SIGHUP)
        assert server.wait_for(lambda line: line["event"] == "reread" and "error" not in line)["passwords"] == 1
        assert refused(server, "CP1", basic("CP1"))[0] == 401
        with connect(server, headers=basic("CP1", b"new-secret-0123456789")) as ws:
            assert works(ws)
        del standing


def test_a_sighup_without_files_ends_nothing(tmp_path: Path) -> None:
    """Its default would be the end of the process."""
    with CentralSystem(tmp_path / "log") as server, connect(server) as ws:
        server.signal(signal.SIGHUP)
        server.wait_for(lambda line: line["event"] == "reread")
        assert works(ws)


# -- TLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ciphers", "version"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2),
        ("ECDHE-ECDSA-AES256-GCM-SHA384", ssl.TLSVersion.TLSv1_2),
        ("AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2),
        ("AES256-GCM-SHA384", ssl.TLSVersion.TLSv1_2),
        (None, ssl.TLSVersion.TLSv1_3),
    ],
)
def test_every_charge_point_finds_a_cipher_suite(
    guarded: CentralSystem, pki: Pki, ciphers: str | None, version: ssl.TLSVersion
) -> None:
    """Whitepaper A00.FR.317: these four, with an RSA and an ECDSA certificate; no compression (A00.FR.320)."""
    context = pki.client()
    context.minimum_version = context.maximum_version = version
    if ciphers is not None:
        context.set_ciphers(ciphers)
    with connect(guarded, headers=basic("CP1"), tls=context) as ws:
        assert works(ws)
        assert isinstance(ws.socket, ssl.SSLSocket)
        assert ws.socket.compression() is None
        cipher = ws.socket.cipher()
        assert cipher is not None
        assert ciphers in {None, cipher[0]}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_and_weak_cipher_suites_are_refused(guarded: CentralSystem, pki: Pki) -> None:
    """Whitepaper A00.FR.312 and A00.FR.319."""
    old = pki.client()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = pki.client()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-RSA-AES128-SHA")
    for context in (old, weak):
        with pytest.raises(ssl.SSLError):
            connect(guarded, headers=basic("CP1"), tls=context)


def test_with_tls_a_password_is_needed_where_there_is_no_certificate(guarded: CentralSystem, pki: Pki) -> None:
    """Security profile 2."""
    with connect(guarded, headers=basic("CP1"), tls=pki.client()) as ws:
        assert works(ws)
    assert refused(guarded, tls=pki.client())[0] == 401
    assert refused(guarded, headers=basic("CP1", b"wrong"), tls=pki.client())[0] == 401


def test_a_certificate_of_its_own_takes_the_place_of_a_password(guarded: CentralSystem, pki: Pki) -> None:
    """Security profile 3; also for a charge point that no password was ever made for."""
    with connect(guarded, "CP7", tls=pki.charge_point("CP7")) as ws:
        assert works(ws)


@pytest.mark.parametrize(
    ("common_name", "organization", "headers"),
    [("CP2", "Volt & Co", {}), ("CP1", "Others", {}), ("CP2", "Volt & Co", basic("CP1")), ("cp1", "Volt & Co", {})],
)
def test_a_certificate_of_another_is_403(
    guarded: CentralSystem, pki: Pki, common_name: str, organization: str, headers: dict[str, str]
) -> None:
    """Whitepaper A00.FR.404 and A00.FR.405; a right password beside it does not help."""
    assert refused(guarded, "CP1", headers, tls=pki.charge_point(common_name, organization))[0] == 403


def test_expired_and_strangers_certificates_do_not_get_through_tls(guarded: CentralSystem, pki: Pki) -> None:
    """Whitepaper A00.FR.407: the connection ends, and the log says why."""
    now = time.time()
    server_only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    for context in (
        pki.charge_point("CP1", begins=now - 10 * DAY, ends=now - DAY),
        pki.charge_point("CP1", authority=Authority("Strangers", now)),
        pki.charge_point("CP1", extensions=[(server_only, False)]),
    ):
        # In TLS 1.3 the client hears of it with the first thing that it reads.
        with pytest.raises((ssl.SSLError, ConnectionError, ConnectionClosed, InvalidMessage, EOFError)):
            connect(guarded, headers=basic("CP1"), tls=context)
    until(lambda: len([each for each in guarded.lines("dropped") if each["why"] == "TLS failed"]) >= 3)
    assert {"certificate verify failed"} <= {each.get("reason") for each in guarded.lines("dropped")}


def test_plain_http_on_the_tls_port_and_silence_are_dropped(pki: Pki, tmp_path: Path) -> None:
    """They are counted; nothing is logged as an error."""
    options = [*pki.options, "--handshake-timeout", "0.5"]
    with CentralSystem(tmp_path / "log", *options) as server:
        address = ("127.0.0.1", server.tls_port)
        with socket.create_connection(address, timeout=TIMEOUT) as silent:
            began = time.monotonic()
            assert read_all(silent) == b""
            assert 0.3 < time.monotonic() - began < 20
        with socket.create_connection(address, timeout=TIMEOUT) as plain:
            plain.sendall(head("/CP1"))
            assert b"HTTP" not in read_all(plain)
        with secured(server, pki) as secure:  # TLS, and then nothing
            began = time.monotonic()
            assert read_all(secure) == b""
            assert 0.2 < time.monotonic() - began < 20
        with connect(server, "CP1", tls=pki.client()) as ws:
            assert works(ws)
        events = server.summary()["events"]
    assert events["handshakes dropped: no TLS handshake in time"] == 1
    assert events["handshakes dropped: TLS failed"] == 1
    assert events["handshakes dropped: no request in time"] == 1
    assert not server.lines("log")


def test_certificates_alone_close_the_plain_port(pki: Pki, tmp_path: Path) -> None:
    """Profile 3 and nothing else: no certificate, no connection, and no way around it."""
    options = [*pki.options, "--tls-client-ca", str(pki.ca), "--plain", "false"]
    with CentralSystem(tmp_path / "log", *options) as server:
        assert "port" not in server.lines("listening")[0]
        with connect(server, "CP1", tls=pki.charge_point("CP1")) as ws:
            assert works(ws)
        with pytest.raises((ssl.SSLError, ConnectionError, ConnectionClosed, InvalidMessage, EOFError)):
            connect(server, "CP1", tls=pki.client())


def test_certificates_are_read_again_on_sighup(tmp_path: Path) -> None:
    """A renewed one is shown to new connections; those that stand stay as they are; a broken file changes nothing."""
    first = Pki(tmp_path)
    with CentralSystem(tmp_path / "log", *first.options) as server, connect(server, tls=first.client()) as standing:
        second = Pki(tmp_path)  # the same files, by another CA
        server.signal(signal.SIGHUP)
        server.wait_for(lambda line: line["event"] == "reread")
        with connect(server, "CP2", tls=second.client()) as ws:
            assert works(ws)
        Path(second.ecdsa[1]).write_text("nonsense")
        server.signal(signal.SIGHUP)
        line = server.wait_for(lambda line: line["event"] == "reread" and "error" in line)
        assert f"{second.ecdsa[1]}: is no private key in PEM without a password" == line["error"]
        with connect(server, "CP3", tls=second.client()) as ws:
            assert works(ws)
        assert works(standing)


# -- limits ---------------------------------------------------------------------------------------


def test_one_connection_too_many_is_503_until_another_goes(tmp_path: Path) -> None:
    """With Retry-After, which charge points keep to; health checks get through."""
    with CentralSystem(tmp_path / "log", "--max-connections", "3") as server, ExitStack() as opened:
        standing = [opened.enter_context(connect(server, f"CP{number}")) for number in range(3)]
        status, headers = refused(server, "CP9")
        assert (status, headers["retry-after"]) == (503, "30")
        with dial(server) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_all(sock).startswith(b"HTTP/1.1 200")
        standing.pop().close()
        until(lambda: len(server.lines("disconnected")) == 1)
        with connect(server, "CP9") as ws:
            assert works(ws)
        assert all(works(ws) for ws in standing)
        assert server.summary()["events"]["upgrades refused with 503"] == 1


def test_an_address_has_only_so_many_connections_also_silent_ones(tmp_path: Path) -> None:
    """429, and behind a trusted proxy it is the client's address that counts, not the proxy's."""
    options = ("--max-connections-per-address", "2", "--trusted-proxies", "127.0.0.2/32")
    with CentralSystem(tmp_path / "log", *options) as server, ExitStack() as opened:
        opened.enter_context(dial(server))
        with connect(server, "CP1"):
            status, headers = refused(server, "CP2")
            assert (status, headers["retry-after"]) == (429, "30")
        proxied = [(f"CP{number}", f"192.0.2.{number // 2}") for number in range(4)]
        for identity, address in [*proxied, ("CP9", "192.0.2.0")]:
            sock = opened.enter_context(socket.create_connection(
                ("127.0.0.1", server.port), timeout=TIMEOUT, source_address=("127.0.0.2", 0)
            ))  # fmt: skip
            sock.sendall(head(f"/{identity}", f"X-Forwarded-For: 6.6.6.6, {address}"))
            expected = b"HTTP/1.1 429" if identity == "CP9" else b"HTTP/1.1 101"
            assert expected == sock.recv(12)
        # A stranger's word is not taken.
        with dial(server) as sock:
            sock.sendall(head("/CP5", "X-Forwarded-For: 203.0.113.1"))
            assert sock.recv(12) == b"HTTP/1.1 101"
            with dial(server) as another:
                another.sendall(head("/CP6", "X-Forwarded-For: 203.0.113.2"))
                assert another.recv(12) == b"HTTP/1.1 429"


def test_a_flood_of_handshakes_is_429_and_does_not_disturb_those_that_stand(tmp_path: Path) -> None:
    """Each is told to come back, later and later; healthy connections are answered at once all the while."""
    with (
        CentralSystem(tmp_path / "log", "--max-handshakes-per-second", "5") as server,
        connect(server, "healthy") as healthy,
    ):
        retries: list[int] = []
        slowest = 0.0
        accepted = 0
        for number in range(300):
            with dial(server) as sock:
                sock.sendall(head(f"/CP{number}"))
                answer = sock.recv(1000)
            if answer.startswith(b"HTTP/1.1 101"):
                accepted += 1
            else:
                assert answer.startswith(b"HTTP/1.1 429")
                lines = dict(line.split(": ") for line in answer.decode().split("\r\n\r\n")[0].split("\r\n")[1:])
                retries.append(int(lines["Retry-After"]))
            if number % 20 == 0:
                began = time.monotonic()
                assert works(healthy)
                slowest = max(slowest, time.monotonic() - began)
        assert accepted < 100
        assert min(retries) == 1
        assert 10 < max(retries) <= 60
        assert slowest < 2
        assert len(retries) == server.summary()["events"]["upgrades refused with 429"]


@pytest.mark.parametrize(
    "drip",
    [b"", b"GET /CP1 HTTP/1.1\r\nHost: x\r\n", b"GET /healthz HTTP/1.1\r\n"],
)
def test_slow_and_silent_handshakes_are_dropped(tmp_path: Path, drip: bytes) -> None:
    """One deadline for the whole request: a byte now and then does not put it off."""
    with CentralSystem(tmp_path / "log", "--handshake-timeout", "1") as server, dial(server) as sock:
        began = time.monotonic()
        sock.settimeout(0.1)
        for number in range(100):
            try:
                sock.sendall(drip[number : number + 1])
                if sock.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        assert 0.8 < time.monotonic() - began < 20
        assert server.summary()["events"]["handshakes dropped: no request in time"] == 1


def test_a_thousand_silent_connections_leave_room_for_a_charge_point(tmp_path: Path) -> None:
    """Before they time out, others connect; afterwards all are gone, and nothing is left of them."""
    with CentralSystem(tmp_path / "log", "--handshake-timeout", "2") as server, ExitStack() as opened:
        silent = [opened.enter_context(dial(server)) for _ in range(1000)]
        with connect(server) as ws:
            assert works(ws)
            assert all(read_all(each) == b"" for each in silent)
            assert works(ws)
        events = server.summary()["events"]
    assert events["handshakes dropped: no request in time"] == 1000
    assert len(server.lines("dropped")) < 200


def test_without_a_file_descriptor_left_it_waits_and_goes_on(tmp_path: Path) -> None:
    """A flood beyond the process's own limit: those that stand are served, the log stays short, and it recovers."""
    with CentralSystem(tmp_path / "log") as server, connect(server) as standing:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (48, 48))
        with ExitStack() as opened:
            for _ in range(100):
                opened.enter_context(dial(server))
            server.wait_for(lambda line: line["event"] == "dropped" and line["why"] == "cannot accept")
            assert all(works(standing) for _ in range(100))
        with connect(server, "CP2") as ws:
            assert works(ws)
        assert not server.lines("log")
        assert len(server.lines("dropped")) < 200


def test_more_tls_handshakes_than_are_worth_while_are_cut_off(tmp_path: Path, pki: Pki) -> None:
    """TLS is what costs: before it is done nobody can be told anything, so there is a limit to it, too."""
    with CentralSystem(tmp_path / "log", *pki.options, "--max-handshakes-per-second", "1") as server:
        outcomes: list[int] = []
        for number in range(12):
            try:
                with secured(server, pki) as sock:
                    sock.sendall(head(f"/CP{number}"))
                    outcomes.append(int(sock.recv(100).split()[1]))
            except (ssl.SSLError, ConnectionError):
                outcomes.append(0)
        assert outcomes[0] == 101
        assert 429 in outcomes
        assert 0 in outcomes
        assert outcomes.count(0) == server.summary()["events"]["handshakes dropped: too many TLS handshakes"]


def test_a_head_beyond_the_limit_is_431(tmp_path: Path) -> None:
    """It takes no more memory than that, with or without an end."""
    with CentralSystem(tmp_path / "log") as server, dial(server) as sock:
        sock.sendall(b"GET /CP1 HTTP/1.1\r\nX: " + b"x" * 16_500)
        assert sock.recv(12) == b"HTTP/1.1 431"


def test_messages_have_the_length_and_the_rate_that_are_allowed(tmp_path: Path) -> None:
    """1009 and 1008; PINGs and fragments count too, and a burst of ten seconds is allowed."""
    options = ("--max-message-bytes", "1024", "--max-messages-per-second", "2")
    with CentralSystem(tmp_path / "log", *options) as server:
        with connect(server) as ws:
            ws.send('[2,"1","Heartbeat",{' + " " * 1002 + "}]")
            assert json.loads(ws.recv(timeout=TIMEOUT))[0] == 3
            ws.send('[2,"1","Heartbeat",{' + " " * 1003 + "}]")
            assert closed(ws) == 1009
        with connect(server) as ws:
            assert ws.ping().wait(TIMEOUT)
            assert all(works(ws) for _ in range(15))
            with suppress(ConnectionClosed):
                for _ in range(20):
                    ws.ping()
            assert closed(ws) == 1008


def closed(ws: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            ws.recv(timeout=TIMEOUT)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code


# -- requests that are none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (head("/CP1\x0b"), 400),
        (head("/CP1", "Authorization: x\x00y"), 400),
        (head("/CP1", "X: a\rInjected: b"), 400),
        (head("/CP1", " folded"), 400),
        (head("/CP1", "Transfer-Encoding: chunked"), 400),
        (head("/%0d%0aSet-Cookie:%20x/"), 404),
        (head("/%FF"), 404),
        (head("/CP1", key="%0d%0aX: y"), 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"HEAD /readyz?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"OPTIONS /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ],
)
def test_nothing_from_the_wire_comes_back_or_reaches_the_log_unescaped(
    guarded: CentralSystem, request_head: bytes, status: int
) -> None:
    """Header injection, control characters, other protocols: an HTTP status, and one line of JSON."""
    with dial(guarded) as sock:
        sock.sendall(request_head)
        answer = read_all(sock)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close\r\n" in answer
    assert b"Set-Cookie" not in answer
    assert b"Injected" not in answer


def test_no_charge_point_writes_on_an_operator_s_terminal(tmp_path: Path) -> None:
    """Control characters of all kinds in an identity or a message: escaped, and still the same when read as JSON."""
    hostile = "\x7f\x9b31m\u2028\u202egpj.exe\u2066\ufeff\x85\x1b[2J"
    with CentralSystem(tmp_path / "log", "--log-payload") as server:
        with connect(server, quote(hostile, safe="")) as ws:
            ws.send(json.dumps([2, "1", "DataTransfer", {"vendorId": hostile}], ensure_ascii=False))
            assert json.loads(ws.recv(timeout=TIMEOUT))[0] == 3
        assert server.stop() == 0
        assert server.lines("connected")[0]["identity"] == hostile
        assert hostile[0] in server.lines("message")[0]["message"]
    log = (tmp_path / "log").read_text()
    assert all(char.isprintable() or char == "\n" for char in log)


def test_load_balancers_see_the_state_on_both_ports(guarded: CentralSystem, pki: Pki) -> None:
    """Without a password; and a charge point may be called healthz all the same."""
    for path, body in (("/healthz", {"status": "ok"}), ("/readyz", {"ready": True, "failing": {}})):
        with dial(guarded) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = read_all(sock)
        assert body == json.loads(answer.partition(b"\r\n\r\n")[2])
        with secured(guarded, pki) as secure:
            secure.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert read_all(secure).startswith(b"HTTP/1.1 200")
    with connect(guarded, "healthz", tls=pki.charge_point("healthz")) as ws:
        assert works(ws)


# -- mistakes -------------------------------------------------------------------------------------


def mistake(*args: str, **env: str) -> str:
    """Return the line with which it refuses to start."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "--port", "0", *args],
        cwd=ROOT, env=clean_environment(env), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stderr.strip()


@pytest.mark.parametrize(
    ("args", "env", "said"),
    [
        (["--tls-cert", "x.pem"], {}, "--tls-cert (TLS_CERT) and --tls-key (TLS_KEY) need each other"),
        (["--tls-cert", "a,b", "--tls-key", "c"], {}, "as many of one as of the other"),
        (["--plain", "false"], {}, "--plain false (PLAIN) leaves no port"),
        ([], {"PLAIN": "no"}, "--plain false (PLAIN) leaves no port"),
        (["--tls-client-ca", "ca.pem"], {}, "--tls-client-ca (TLS_CLIENT_CA) needs --tls-cert"),
        (["--tls-client-organization", "x"], {}, "needs --tls-client-ca"),
        (["--tls-cert", "a", "--tls-key", "b", "--tls-client-ca", "c"], {}, "would leave the port without TLS open"),
        (["--password-file", "no-such-file"], {}, "no-such-file: No such file or directory"),
        (["--tls-cert", "no-such.pem", "--tls-key", "no-such.key"], {}, "no-such.pem: no such file"),
        (["--max-connections", "-1"], {}, "--max-connections or MAX_CONNECTIONS: '-1' is not a limit"),
        (["--max-message-bytes", "10"], {}, "'10' is not a size in bytes (1024 to 67108864)"),
        (["--handshake-timeout", "0"], {}, "'0' is not a time in seconds"),
        ([], {"TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.1/8"}, "'10.0.0.1/8' is not a network such as 10.0.0.0/8"),
    ],
)
def test_options_that_do_not_go_together_are_one_line_and_status_2(
    args: list[str], env: dict[str, str], said: str
) -> None:
    """Before anything listens: a port that is open by mistake is worse than none."""
    assert said in mistake(*args, **env)


def test_files_that_cannot_be_used_are_one_line_and_status_2(pki: Pki, tmp_path: Path) -> None:
    """Expired, of no use together, weak, encrypted, no certificate at all: each is named."""
    key = new_key()
    now = time.time()
    expired, weak, nonsense, locked = (
        tmp_path / name for name in ("expired.pem", "weak.pem", "nonsense", "locked.key")
    )
    key_file = tmp_path / "key"
    key_file.write_text(key_pem(key))
    expired.write_text(pem(pki.authority.issue(key.public_key(), ends=now - DAY, begins=now - 2 * DAY)))
    weak_key = rsa.generate_private_key(65537, 1024)
    weak.write_text(pem(pki.authority.issue(weak_key.public_key())))
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    good, good_key = pki.ecdsa
    for certificate, private_key, said in (
        (expired, key_file, f"{expired}: has expired"),
        (weak, key_file, f"{weak}: its key has only 1024 bits"),
        (nonsense, key_file, f"{nonsense}: is no certificate in PEM"),
        (good, key_file, f"{key_file}: is not the key of {good}"),
        (good, nonsense, f"{nonsense}: is no private key in PEM without a password"),
        (good, locked, f"{locked}: is no private key in PEM without a password"),
        (good, tmp_path / "none", f"{tmp_path / 'none'}: no such file"),
        (f"{good},{good}", f"{good_key},{good_key}", "is a second certificate with an ECDSA key"),
    ):
        assert said in mistake("--tls-cert", str(certificate), "--tls-key", str(private_key))
    client_ca = ("--tls-cert", good, "--tls-key", good_key, "--plain", "false", "--tls-client-ca")
    assert f"{nonsense}: holds no certificate in PEM" in mistake(*client_ca, str(nonsense))
    assert f"{tmp_path / 'none'}: no such file" in mistake(*client_ca, str(tmp_path / "none"))
