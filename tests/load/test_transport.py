"""Connections as they go well and as they go wrong, against a peer that follows a script."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from email.utils import formatdate

import gevent
import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from ampswarm.load.credentials import TlsContexts
from ampswarm.load.transport import ConnectFailed, Connection, ConnectionLost, Connector, Control, Resolver
from ampswarm.ocppj.identity import Endpoint
from tests.fakes.peer import ScriptedPeer, frame, read_frame, read_request, upgraded

TEXT, PING, PONG, CLOSE, CONTINUATION, BINARY = 0x1, 0x9, 0xA, 0x8, 0x0, 0x2
SOON = 5.0


def connector(timeout: float = SOON, tls: ssl.SSLContext | None = None) -> Connector:
    return connector_over(Resolver(), timeout, tls)


def connector_over(resolver: Resolver, timeout: float = SOON, tls: ssl.SSLContext | None = None) -> Connector:
    return Connector(resolver, TlsContexts(lambda: tls or client_context(None)), timeout)


def endpoint(port: int, scheme: str = "ws", host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(scheme, host, port, "/ocpp")


def connect(peer: ScriptedPeer, timeout: float = SOON) -> Connection:
    return connector(timeout).connect(endpoint(peer.port), "CP 1")


def failure(peer: ScriptedPeer, timeout: float = SOON) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        connect(peer, timeout)
    return caught.value


def deadline(seconds: float = SOON) -> float:
    return time.monotonic() + seconds


def wait_for(event: threading.Event) -> None:
    event.wait(10)


def answering(*frames: bytes, then: Callable[[socket.socket], None] | None = None) -> ScriptedPeer:
    """A peer that upgrades, sends frames, and goes on as `then` says."""

    def script(sock: socket.socket) -> None:
        sock.sendall(upgraded(read_request(sock)))
        for each in frames:
            sock.sendall(each)
        if then is not None:
            then(sock)

    return ScriptedPeer(script)


def test_the_opening_handshake_is_the_specification_s() -> None:
    """J 3.1.3: the identity in the path, percent-encoded, and ocpp1.6 offered."""
    requests: list[bytes] = []

    def script(sock: socket.socket) -> None:
        requests.append(read_request(sock))
        sock.sendall(upgraded(requests[0]))
        read_frame(sock)

    with ScriptedPeer(script) as peer:
        connect(peer).close(SOON)
        lines = requests[0].decode().split("\r\n")
        assert lines[0] == "GET /ocpp/CP%201 HTTP/1.1"
        assert "Sec-WebSocket-Protocol: ocpp1.6" in lines
        assert f"Host: 127.0.0.1:{peer.port}" in lines
        assert not [line for line in lines if line.lower().startswith("origin")]


@given(cuts=st.lists(st.integers(1, 40), max_size=20), text=st.text(max_size=200))
@settings(max_examples=30, deadline=None)
def test_a_handshake_in_pieces_and_a_message_right_behind_it(cuts: list[int], text: str) -> None:
    """TCP cuts where it likes; nothing is lost between the response and the first frame."""

    def script(sock: socket.socket) -> None:
        data = upgraded(read_request(sock)) + frame(TEXT, text.encode())
        for cut in cuts:
            sock.sendall(data[:cut])
            data = data[cut:]
        sock.sendall(data)
        read_frame(sock)

    with ScriptedPeer(script) as peer:
        connection = connect(peer)
        assert text.encode() == connection.receive(deadline())
        connection.close(SOON)


@pytest.mark.parametrize(
    ("status", "headers", "reason", "retry_after"),
    [
        ("401 Unauthorized", "", "HTTP 401 Unauthorized", 0),
        ("403 Forbidden", "", "HTTP 403 Forbidden", 0),
        ("404 Not Found", "Content-Length: 4\r\n", "HTTP 404 Not Found", 0),
        ("429 Slow Down", "Retry-After: 7\r\n", "HTTP 429 Too Many Requests", 7),
        ("503 Service Unavailable", "Retry-After: 120\r\n", "HTTP 503 Service Unavailable", 120),
        ("503 x", "Retry-After: 99999999999\r\n", "HTTP 503 Service Unavailable", 86400),
        ("503 x", "Retry-After: never\r\n", "HTTP 503 Service Unavailable", 0),
        ("503 x", "Retry-After: -5\r\n", "HTTP 503 Service Unavailable", 0),
        ("599 Odd", "", "HTTP 599", 0),
        ("200 OK", "", "HTTP 200 OK", 0),
        ("301 Moved", "Location: ws://elsewhere/\r\n", "HTTP 301 Moved Permanently", 0),
        ("503 Überlastet", "Retry-After: 9\r\n", "HTTP 503 Service Unavailable", 9),
        ("503 x", "Content-Length: 100000\r\nRetry-After: 9\r\n", "HTTP 503 Service Unavailable", 9),
        (
            "503 x",
            "Retry-After: Mon, 01 Jan 2020 99999999999999999999:00:00 GMT\r\n",
            "HTTP 503 Service Unavailable",
            0,
        ),
    ],
)
def test_a_refused_upgrade_is_counted_by_its_status(status: str, headers: str, reason: str, retry_after: float) -> None:
    """J errata 3.4; Retry-After is honoured. The text is the same whatever the server's own words are."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(f"HTTP/1.1 {status}\r\n{headers}\r\nnope".encode("latin-1"))

    with ScriptedPeer(script) as peer:
        error = failure(peer)
    assert reason == error.reason
    assert retry_after == error.retry_after


def test_retry_after_may_be_a_date() -> None:
    """RFC 9110, 10.2.3."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        date = formatdate(time.time() + 60, usegmt=True)
        sock.sendall(f"HTTP/1.1 503 Busy\r\nRetry-After: {date}\r\n\r\n".encode())

    with ScriptedPeer(script) as peer:
        assert 55 < failure(peer).retry_after <= 60


def test_a_charge_point_does_not_carry_another_one_s_cookie() -> None:
    """A load balancer's cookie for one connection must not send the whole fleet to one replica."""
    requests: list[bytes] = []

    def script(sock: socket.socket) -> None:
        requests.append(read_request(sock))
        cookie = b"\r\nSet-Cookie: server=a; Domain=localhost\r\n\r\n"
        sock.sendall(upgraded(requests[-1]).removesuffix(b"\r\n\r\n") + cookie)
        read_frame(sock)

    with ScriptedPeer(script) as peer:
        for identity in ("CP1", "CP2"):
            connector().connect(endpoint(peer.port, host="localhost"), identity).close(SOON)
    assert len(requests) == 2
    assert b"cookie" not in requests[1].lower()


@pytest.mark.parametrize("subprotocol", [None, b"ocpp2.0.1"])
def test_no_agreement_on_the_subprotocol_is_not_connected(subprotocol: bytes | None) -> None:
    """J 3.2: the upgrade is completed without the header, and that is a failure."""

    def script(sock: socket.socket) -> None:
        sock.sendall(upgraded(read_request(sock), subprotocol))
        sock.recv(100)

    with ScriptedPeer(script) as peer:
        assert failure(peer).reason == "no agreement on the subprotocol ocpp1.6"


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "closed during the opening handshake"),
        (b"\r\n\r\n", "closed during the opening handshake"),
        (b"HTTP/1.1 101 Switching", "closed during the opening handshake"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no WebSocket handshake: it does not speak HTTP"),
        (b"HTTP/1.1 101 Go\r\n\r\n", "no WebSocket handshake: Invalid WebSocket Header"),
        (
            b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
            "no WebSocket handshake: Invalid WebSocket Header",
        ),
        (b"x" * 2_000_000, "endless response to the opening handshake"),
    ],
)
def test_what_is_no_websocket_server_is_a_failure_with_a_name(response: bytes, reason: str) -> None:
    """A wrong port must not look like a slow central system."""

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(response)

    with ScriptedPeer(script) as peer:
        assert reason == failure(peer).reason


def test_the_handshake_timeout_covers_a_server_that_drips() -> None:
    """120 s are for the whole handshake, not for each byte of it."""
    ended = threading.Event()

    def script(sock: socket.socket) -> None:
        for byte in upgraded(read_request(sock)):
            sock.sendall(bytes([byte]))
            if ended.wait(0.05):
                return

    with ScriptedPeer(script) as peer:
        began = time.monotonic()
        assert failure(peer, timeout=0.4).reason == "no opening handshake within 0.4 s"
        assert time.monotonic() - began < 3
        ended.set()


def test_a_silent_server_is_given_up() -> None:
    """It accepts, and that is all it does."""
    ended = threading.Event()
    with ScriptedPeer(lambda sock: wait_for(ended)) as peer:
        assert failure(peer, timeout=0.2).reason == "no opening handshake within 0.2 s"
        ended.set()


def test_a_refusal_does_not_wait_for_its_body() -> None:
    """A balancer that says 503 and then stalls has said 503."""
    ended = threading.Event()

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\nRetry-After: 3\r\n\r\nwait")
        ended.wait(10)

    with ScriptedPeer(script) as peer:
        error = failure(peer, timeout=SOON)
        ended.set()
    assert (error.reason, error.retry_after) == ("HTTP 503 Service Unavailable", 3)


def test_an_address_that_swallows_everything_leaves_time_for_the_next() -> None:
    """Two addresses, the first of which never answers: the second gets its share of the time."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, answering(then=read_frame_once) as peer:
        # Nobody accepts: the queue of connections fills up, and what comes after it is dropped.
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        resolver = Resolver()
        resolver._turn = 1
        resolver._known["two", 1] = (
            float("inf"),
            [(socket.AF_INET, address), (socket.AF_INET, ("127.0.0.1", peer.port))],
        )
        connector_over(resolver, 2.0).connect(endpoint(1, host="two"), "CP1").close(SOON)
        for filler in fillers:
            filler.close()


def test_a_name_is_looked_up_once_for_all_and_not_beyond_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow name server delays a fleet once, and its answer is everybody's, a failure too."""
    asked: list[object] = []

    def slow(*args: object, **_: object) -> object:
        asked.append(args)
        gevent.sleep(0.3)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolver = Resolver()
    impatient = gevent.spawn(resolver.addresses, "cs", 80, deadline(0.1))
    patient = [gevent.spawn(resolver.addresses, "cs", 80, deadline(5)) for _ in range(50)]
    gevent.joinall([impatient, *patient], timeout=10)
    assert isinstance(impatient.exception, TimeoutError)
    assert all(isinstance(each.exception, socket.gaierror) for each in patient)
    with pytest.raises(ConnectFailed, match="^name not resolved: Temporary failure"):
        connector_over(resolver).connect(endpoint(80, host="cs"), "CP1")
    assert len(asked) == 1


def test_nobody_listening_and_nobody_there() -> None:
    """Refused, and a name that does not exist."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed, match="^connection refused$"):
        connector().connect(endpoint(port), "CP1")
    with pytest.raises(ConnectFailed, match="^name not resolved"):
        connector().connect(endpoint(80, host="no-such-host.invalid"), "CP1")


def test_the_second_address_is_tried_when_the_first_refuses() -> None:
    """`localhost` is ::1 and 127.0.0.1, and many servers listen on one of them."""
    with answering(then=read_frame_once) as peer:
        resolver = Resolver()
        resolver._known["both", peer.port] = (
            float("inf"),
            [(socket.AF_INET, ("127.0.0.2", 1)), (socket.AF_INET, ("127.0.0.1", peer.port))],
        )
        connector_over(resolver).connect(endpoint(peer.port, host="both"), "CP1").close(SOON)


def read_frame_once(sock: socket.socket) -> None:
    read_frame(sock)


def test_charge_points_spread_over_all_addresses_of_a_name() -> None:
    """A central system with several addresses gets its fleet on all of them, one question for all."""
    resolver = Resolver()
    four = [(socket.AF_INET, (f"127.0.0.{number}", 80)) for number in (1, 2, 3)]
    six = [(socket.AF_INET6, ("::1", 80, 0, 0))]
    resolver._known["cs", 80] = (float("inf"), four + six)
    firsts = [resolver.addresses("cs", 80, deadline())[0][1][0] for _ in range(6)]
    assert sorted(firsts) == ["127.0.0.1"] * 2 + ["127.0.0.2"] * 2 + ["127.0.0.3"] * 2
    assert all(resolver.addresses("cs", 80, deadline())[3] == six[0] for _ in range(3))


def test_messages_pings_and_fragments() -> None:
    """A PING is answered and told; a fragmented message arrives whole; time-outs return nothing."""
    answers: list[tuple[int, bytes]] = []

    def then(sock: socket.socket) -> None:
        answers.append(read_frame(sock))
        answers.append(read_frame(sock))
        sock.sendall(frame(TEXT, b"[3,", fin=False) + frame(PING, b"") + frame(CONTINUATION, b'"1",{}]'))
        answers.append(read_frame(sock))
        answers.append(read_frame(sock))

    with answering(frame(PING, b"are you there"), then=then) as peer:
        connection = connect(peer)
        assert connection.receive(deadline()) is Control.PING
        assert connection.receive(deadline(0.05)) is None
        connection.send(b'[2,"1","Heartbeat",{}]')
        assert connection.receive(deadline()) is Control.PING
        assert connection.receive(deadline()) == b'[3,"1",{}]'
        connection.close(SOON)
    assert answers == [
        (PONG, b"are you there"),
        (TEXT, b'[2,"1","Heartbeat",{}]'),
        (PONG, b""),
        (CLOSE, b"\x03\xe8"),
    ]


def test_large_messages_pass_in_both_directions() -> None:
    """Longer than any buffer on the way."""
    text = b"[" + b" " * 300_000 + b"]"
    received: list[bytes] = []

    def then(sock: socket.socket) -> None:
        received.append(read_frame(sock)[1])
        sock.sendall(frame(TEXT, text))
        read_frame(sock)

    with answering(then=then) as peer:
        connection = connect(peer)
        connection.send(text)
        assert text == connection.receive(deadline())
        connection.close(SOON)
    assert received == [text]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "connection lost"),
        (frame(CLOSE, (1001).to_bytes(2) + b"restart of CP 4711"), "closed by the central system with 1001"),
        (frame(CLOSE, b""), "closed by the central system without a code"),
        (frame(BINARY, b"\x00"), "binary message"),
        (b"\x81\x05ab", "connection lost"),
        (b"\xf1\x00", "WebSocketProtocolException: rsv is not implemented, yet"),
    ],
)
def test_the_end_of_a_connection_has_a_name(data: bytes, why: str) -> None:
    """The reason is for the log, the same for every charge point: no text of the peer in it."""
    with answering(data) as peer:
        connection = connect(peer)
        with pytest.raises(ConnectionLost) as caught:
            connection.receive(deadline())
        connection.abort()
    assert why == str(caught.value)


def test_closing_does_not_wait_for_a_peer_that_does_not_answer() -> None:
    """Locust's stop is bounded: a charge point waits for the Close frame no longer than it says."""
    ended = threading.Event()
    with answering(then=lambda sock: wait_for(ended)) as peer:
        connection = connect(peer)
        began = time.monotonic()
        connection.close(0.2)
        assert time.monotonic() - began < 2
        ended.set()


def test_sending_on_a_dead_connection_is_a_loss() -> None:
    """The charge point reconnects, and its greenlet lives."""
    with answering() as peer:
        connection = connect(peer)
        with pytest.raises(ConnectionLost):
            for _ in range(1000):
                connection.send(b"x" * 10_000)
        connection.abort()
        connection.close(0.1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A CA made for this run."""
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def client_context(authority: trustme.CA | None, *, verify: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority is not None:
        authority.configure_trust(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def echo(sock: socket.socket) -> None:
    sock.sendall(upgraded(read_request(sock)))
    for _ in range(3):
        opcode, payload = read_frame(sock)
        sock.sendall(frame(opcode, payload))


def test_tls_messages_arrive_whole(authority: trustme.CA) -> None:
    """Several TLS records for one message, and what is decrypted already is not waited for."""
    with ScriptedPeer(echo, server_context(authority, "127.0.0.1")) as peer:
        connection = connector(tls=client_context(authority)).connect(endpoint(peer.port, "wss"), "CP1")
        for text in (b"[1]", b"[" + b" " * 100_000 + b"]"):
            connection.send(text)
            assert text == connection.receive(deadline())
        connection.close(SOON)


def test_tls_what_is_decrypted_already_is_not_waited_for(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two messages in one TLS record: the socket has nothing more to say when the first was read."""
    monkeypatch.setattr("ampswarm.load.transport._READ_SIZE", 100)
    first, second = b"1" * 98, b"2" * 98  # each frame is exactly one read

    def script(sock: socket.socket) -> None:
        sock.sendall(upgraded(read_request(sock)))
        read_frame(sock)
        sock.sendall(frame(TEXT, first) + frame(TEXT, second))
        read_frame(sock)

    with ScriptedPeer(script, server_context(authority, "127.0.0.1")) as peer:
        connection = connector(tls=client_context(authority)).connect(endpoint(peer.port, "wss"), "CP1")
        connection.send(b"[]")
        assert first == connection.receive(deadline())
        assert second == connection.receive(deadline(0.5))
        connection.close(SOON)


@pytest.mark.parametrize(
    ("trusted", "name", "verify", "reason"),
    [
        (False, "127.0.0.1", True, "TLS: certificate not accepted: unable to get local issuer certificate"),
        (True, "other.example.com", True, "TLS: certificate not accepted: IP address mismatch"),
        (False, "other.example.com", False, None),
    ],
)
def test_tls_is_verified_unless_switched_off(
    authority: trustme.CA, trusted: bool, name: str, verify: bool, reason: str | None
) -> None:
    """A wrong certificate is found by default, and named."""
    client = client_context(authority if trusted else None, verify=verify)
    with ScriptedPeer(echo, server_context(authority, name)) as peer:
        target = endpoint(peer.port, "wss")
        if reason is None:
            connector(tls=client).connect(target, "CP1").close(SOON)
        else:
            with pytest.raises(ConnectFailed) as caught:
                connector(tls=client).connect(target, "CP1")
            assert caught.value.reason.startswith(reason)


def test_tls_to_a_server_that_speaks_none() -> None:
    """Wss to a plain port is a failure with a name, not a stall."""

    def script(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with ScriptedPeer(script) as peer, pytest.raises(ConnectFailed, match="^TLS: "):
        connector(tls=client_context(None)).connect(endpoint(peer.port, "wss"), "CP1")
