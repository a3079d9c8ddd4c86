"""How misdeeds end, and what they leave of a charge point's healthy traffic: one charge point, real sockets."""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ampswarm.charge_point.backoff import Backoff, Growth
from ampswarm.charge_point.ping_watch import PingWatchRule, WatchMode
from ampswarm.charge_point.template import Template
from ampswarm.load import acts
from ampswarm.load.fleet import Fleet
from ampswarm.load.identities import LocalPool
from ampswarm.load.misbehaviour import Misdeed
from ampswarm.load.options import OPTIONS
from ampswarm.load.population import FleetFile, Population
from ampswarm.load.user import ChargePointUser
from tests.fakes.peer import frame, read_frame
from tests.fakes.talking_peer import CLOSE, PING, PONG, TEXT, TalkingPeer, answer, talk

SOON = Backoff(Growth.EXPONENTIAL, 0.05, 0.2)


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers here close at once or not at all."""
    monkeypatch.setattr(acts, "_SETTLE", 0.2)


class Station(ChargePointUser):
    """A charge point in the hands of a test, with what it reported."""

    def __init__(self, port: int, **make: Any) -> None:
        self.reported: list[tuple[str, str]] = []
        request = SimpleNamespace(fire=self._take)
        options = argparse.Namespace(**{each.dest: each.default for each in OPTIONS})
        environment: Any = SimpleNamespace(events=SimpleNamespace(request=request), parsed_options=options)
        environment.runner = None
        environment.ampswarm = fleet = Fleet(environment, LocalPool())
        make = {"call_timeout": 1.0, "backoff": SOON, **make}
        fleet._populations = FleetFile((Population("all", 1.0, None, "CP{}", Template(**make)),))
        fleet._spread = 0.39  # starts at once
        super().__init__(environment)
        self.host = f"ws://127.0.0.1:{port}/ocpp"

    def _take(self, **request: Any) -> None:
        error = request["exception"]
        self.reported.append(
            (f"{request['request_type']}/{request['name']}", f"{error}" if error is not None else "fine")
        )

    def of(self, kind: str) -> list[tuple[str, str]]:
        """Return what was reported under one type, and with which result."""
        return [each for each in self.reported if each[0].startswith(f"{kind}/")]

    @property
    def failures(self) -> list[tuple[str, str]]:
        """What failed among the healthy rows."""
        return [each for each in self.reported if each[1] != "fine" and not each[0].startswith("MISBEHAVIOUR/")]

    def go_online(self) -> None:
        """Come online, and settle."""
        assert self.wait_until(lambda: self.charge_point.is_online, 10)
        self.sleep(0.2)

    def wait_for_verdict(self) -> list[tuple[str, str]]:
        """Return what is said of the misdeed."""
        self.wait_until(lambda: bool(self.of("MISBEHAVIOUR")), 10)
        return self.of("MISBEHAVIOUR")


@contextlib.contextmanager
def station(script: Callable[[socket.socket, int], None], **make: Any) -> Any:
    with TalkingPeer(script) as peer:
        user = Station(peer.port, **make)
        try:
            yield user
        finally:
            user._switch_off()


def pinging(sock: socket.socket, pongs: list[float]) -> None:
    """Answer what comes, and send a PING whenever it is quiet for a moment; never mind a missing PONG."""
    sock.settimeout(0.1)
    while True:
        try:
            opcode, payload = read_frame(sock)
        except TimeoutError:
            sock.sendall(frame(PING, b""))
            continue
        if opcode == CLOSE:
            return
        if opcode == PONG:
            pongs.append(time.monotonic())
        if opcode == PING:
            sock.sendall(frame(PONG, payload))
        if opcode == TEXT and (reply := answer(payload)) is not None:
            sock.sendall(reply)


def test_a_central_system_that_does_not_miss_a_pong_fails_and_gets_pongs_again() -> None:
    """RFC 6455, 5.5.3; afterwards the charge point is as healthy as before."""
    pongs: list[float] = []
    with station(lambda sock, _: pinging(sock, pongs)) as user:
        user.go_online()
        began = time.monotonic()
        assert user.misbehave(Misdeed.NO_PONG, 1)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/no_pong", "no PONG, and nobody minds")]
        over = time.monotonic()
        user.sleep(0.5)
    assert [each for each in pongs if each < began]
    assert [each for each in pongs if began + 0.05 < each < began + 1] == []
    assert [each for each in pongs if each > over]
    assert user.failures == []


def test_no_effect_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PING came, no Call came: a success would be a lie, and a failure too."""
    monkeypatch.setattr(acts, "_NO_EFFECT_AFTER", 0.3)
    with station(lambda sock, _: talk(sock)) as user:
        user.go_online()
        for misdeed in (Misdeed.NO_PONG, Misdeed.LATE_ANSWERS):
            assert user.misbehave(misdeed)
            user.sleep(0.6)
        assert user.misbehave(Misdeed.SCHEMA_BREAKING)
        user.sleep(0.2)
    assert user.of("MISBEHAVIOUR") == [("MISBEHAVIOUR/schema_breaking", "answered with a CallResult")]


def test_a_power_cut_ends_a_misdeed_and_what_follows_is_healthy() -> None:
    """J 5.4: a scenario that cuts the power measures the boot after it, misdeed or not."""
    with station(lambda sock, _: talk(sock)) as user:
        user.go_online()
        assert user.misbehave(Misdeed.SLOW_READER, 5)
        user.sleep(0.2)
        user.power_cycle(0.1)
        user.go_online()
        assert user.misbehave(Misdeed.SCHEMA_BREAKING)
        user.sleep(0.2)
    assert [name for name, _ in user.of("MISBEHAVIOUR")] == ["MISBEHAVIOUR/schema_breaking"]
    assert user.of("FLOW") == [("FLOW/online", "fine")] * 2
    assert user.of("WS") == [("WS/connect", "fine")] * 2


def test_a_central_system_that_does_not_take_it_back_fails_the_misdeed() -> None:
    """Some refuse an identity while they believe in its old connection: that is to be seen, and seen once."""
    refusing = True

    with TalkingPeer(lambda sock, _: talk(sock), refuses=lambda number: number > 1 and refusing) as peer:
        user = Station(peer.port)
        try:
            user.go_online()
            assert user.misbehave(Misdeed.HALF_OPEN, 0.3)
            assert user.wait_for_verdict() == [("MISBEHAVIOUR/half_open", "HTTP 409 Conflict")]
            user.sleep(0.5)
            refusing = False
            user.go_online()
            assert user.wait_for_verdict() == [("MISBEHAVIOUR/half_open", "HTTP 409 Conflict")]
        finally:
            user._switch_off()
    assert user.failures == []
    assert user.of("FLOW") == [("FLOW/online", "fine")]
    assert user.of("WS") == [("WS/connect", "fine")]


def test_the_charge_point_s_own_watch_ends_a_half_open_connection() -> None:
    """It misses the PINGs as a real one would, long before TCP gives up."""
    pongs: list[float] = []
    rule = PingWatchRule(WatchMode.FIXED, 0.5)
    with station(lambda sock, _: pinging(sock, pongs), ping_watch=rule) as user:
        user.go_online()
        began = time.monotonic()
        assert user.misbehave(Misdeed.HALF_OPEN)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/half_open", "fine")]
        assert 0.3 < time.monotonic() - began < 3
    assert user.failures == []
    assert user.of("FLOW") == [("FLOW/online", "fine")]


def test_missing_pongs_do_not_tell_on_a_slow_reader() -> None:
    """The reader is stuck, and the watch sits behind it: it must not end what is to last some minutes."""
    numbers: list[int] = []

    def script(sock: socket.socket, number: int) -> None:
        numbers.append(number)
        talk(sock)

    with station(script, settings=(("WebSocketPingInterval", "1"),)) as user:
        user.go_online()
        assert user.misbehave(Misdeed.SLOW_READER, 2.5)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/slow_reader", "fine")]
    assert numbers == [1]
    assert user.failures == []


def test_healthy_failures_are_reported_before_a_misdeed_and_after_its_aftermath(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hiding too much would make a fleet with misdeeds look better than it is served."""
    monkeypatch.setattr("ampswarm.load.misconduct._AFTERMATH", 0.3)

    def script(sock: socket.socket, _: int) -> None:
        talk(sock, lambda _, payload: b"Heartbeat" in payload)

    with station(script) as user:
        user.go_online()
        assert user.misbehave(Misdeed.SCHEMA_BREAKING) is True
        user.wait_for_verdict()
        user.sleep(0.5)
        before = len(user.of("FLOW"))
        # The peer hangs up on the first Heartbeat, a second after the boot.
        user.wait_until(lambda: len(user.of("FLOW")) > before, 5)
    assert user.of("FLOW")[before:] == [("FLOW/online", "fine")]
    assert ("OCPP/Heartbeat", "connection lost before the answer") in user.failures


def test_a_dead_connection_ends_with_a_reset() -> None:
    """A central system whose data reach nobody gets RST, and never a FIN that says all is well."""
    ends: list[str] = []

    def script(sock: socket.socket, _: int) -> None:
        try:
            ends.append("FIN" if not sock.recv(1) else "data")
        except ConnectionResetError:
            ends.append("RST")

    with TalkingPeer(script) as peer:
        user = Station(peer.port)
        connection = user._fleet.connect(user.host, user.charge_point, time.monotonic())
        connection.reset()
        connection.reset()
    assert ends == ["RST"]


def test_a_half_open_connection_is_silent_and_outlives_the_next_one() -> None:
    """No frame, no PONG and no FIN comes; the charge point is back on another connection before this one ends."""
    dark, back = threading.Event(), threading.Event()
    heard: list[bytes] = []

    def script(sock: socket.socket, number: int) -> None:
        if number > 1:
            back.set()
            talk(sock)
            return
        sock.settimeout(0.3)
        while not dark.is_set():
            with contextlib.suppress(TimeoutError):
                talk(sock)
        sock.sendall(frame(PING, b"?"))
        was_back = False
        while not was_back:
            was_back = back.is_set()
            try:
                heard.append(sock.recv(100))
            except TimeoutError:
                continue
            except ConnectionError:
                heard.append(b"reset")
                return

    with station(script, call_timeout=0.5) as user:
        user.go_online()
        assert user.misbehave(Misdeed.HALF_OPEN, 1.8)
        dark.set()
        # A Heartbeat was due meanwhile, and has timed out: nobody's failure.
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/half_open", "fine")]
        user.sleep(0.7)
        assert back.is_set()
        assert heard == []
    assert user.failures == []
    assert user.of("WS") == [("WS/connect", "fine")]
    assert user.of("FLOW") == [("FLOW/online", "fine")]
    assert user.of("OCPP").count(("OCPP/BootNotification", "fine")) == 1


def test_a_slow_reader_fills_the_buffers_and_goes_on_sending() -> None:
    """What the central system sends piles up there until the charge point reads again, and Calls still come."""
    piece = frame(TEXT, b'[3,"nobody asked",{"x":"' + b"x" * 50_000 + b'"}]')
    stuck_for: list[float] = []
    meanwhile: list[bytes] = []

    def script(sock: socket.socket, _: int) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        outbox: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()

        def write() -> None:
            with contextlib.suppress(OSError):
                while frames := outbox.get():
                    began = time.monotonic()
                    for each in frames:
                        sock.sendall(each)
                    if len(frames) > 1:
                        stuck_for.append(time.monotonic() - began)

        writer = threading.Thread(target=write)
        writer.start()
        beats = 0
        try:
            while True:
                opcode, payload = read_frame(sock)
                if beats and not stuck_for:
                    meanwhile.append(payload)
                if opcode == CLOSE:
                    break
                if opcode == PING:
                    outbox.put([frame(PONG, payload)])
                elif opcode == TEXT and (reply := answer(payload)) is not None:
                    beats += b"Heartbeat" in payload
                    # The first Heartbeat comes a second after the boot, when nothing is read any more.
                    outbox.put([piece] * 60 if beats == 1 and b"Heartbeat" in payload else [reply])
        finally:
            outbox.put([])
            writer.join(5)

    with station(script) as user:
        user.go_online()
        assert user.misbehave(Misdeed.SLOW_READER, 2.3)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/slow_reader", "fine")]
    (stuck,) = stuck_for
    assert stuck > 1
    assert sum(b"Heartbeat" in each for each in meanwhile) >= 1
    assert user.failures == []
    # Their wire times would have been those of the charge point itself.
    assert ("OCPP/Heartbeat", "fine") not in user.reported


def test_a_connection_that_a_misdeed_cost_is_a_failure_of_the_misdeed_alone() -> None:
    """Closed for a stray CallResult: neither the Call in flight nor the way back is in the healthy rows."""

    def script(sock: socket.socket, number: int) -> None:
        talk(sock, lambda _, payload: b"Heartbeat" in payload and number == 1)  # never answered
        talk(sock, lambda _, payload: payload.startswith(b"[3,") and number == 1)
        sock.sendall(frame(CLOSE, (1008).to_bytes(2)))
        while read_frame(sock)[0] != CLOSE:
            pass  # a socket that is closed over unread data resets the connection

    with station(script, call_timeout=5.0) as user:
        user.go_online()
        user.sleep(1)
        assert user.misbehave(Misdeed.WRONG_ID)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/wrong_id", "closed by the central system with 1008")]
        user.go_online()
    assert user.failures == []
    assert user.of("WS") == [("WS/connect", "fine")]
    assert user.of("FLOW") == [("FLOW/online", "fine")]
