"""One charge point in a storm, whatever it is doing at that moment: real sockets, and a peer that sees all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import orjson
import pytest

from ampswarm.charge_point.backoff import Backoff, Growth
from ampswarm.charge_point.link import Link
from ampswarm.charge_point.ping_watch import PingWatchRule, WatchMode
from ampswarm.load.dark_connection import AnyConnection
from ampswarm.load.plight import Blow
from ampswarm.load.storm_spec import parse_storm
from ampswarm.results.recovery import Recovery
from tests.fakes.peer import frame, read_frame
from tests.fakes.talking_peer import CLOSE, PING, PONG, TEXT, TalkingPeer
from tests.load.test_misconduct import Station, pinging

PATIENCE = 10.0
FOR_EVER = Backoff(Growth.FIXED, 1000.0, 1000.0)


class Quiet:
    """A central system that wants a Heartbeat an hour: whatever happens sooner, a storm has done."""

    def __init__(self) -> None:
        self.socks: dict[int, socket.socket] = {}
        self.heard: list[tuple[int, int, float]] = []
        self.ended = threading.Event()

    def __call__(self, sock: socket.socket, number: int) -> None:
        """Serve connection `number`, and note what comes: the connection, the opcode, and when."""
        self.socks[number] = sock
        sock.settimeout(60)
        try:
            while True:
                opcode, payload = read_frame(sock)
                self.heard.append((number, opcode, time.monotonic()))
                if opcode == CLOSE:
                    return
                if opcode == PING:
                    sock.sendall(frame(PONG, payload))
                if opcode == TEXT:
                    _, unique_id, action, _ = orjson.loads(payload)
                    now = {"currentTime": "2026-03-01T12:00:00Z"}
                    boot = {**now, "interval": 3600, "status": "Accepted"}
                    sock.sendall(
                        frame(TEXT, orjson.dumps([3, unique_id, boot if action == "BootNotification" else {}]))
                    )
        finally:
            self.ended.set()


class Struck:
    """A charge point that lives in a greenlet of its own, as in Locust, and what is counted of its storms."""

    def __init__(self, port: int, **make: Any) -> None:
        self.user = Station(port, **make)
        self.user._greenlet = gevent.spawn(self.user.sleep, float("inf"))
        self.left: list[AnyConnection] = []

    def strike(self, storm: str) -> Recovery:
        """Let a storm hit it; return what is counted."""
        counts = Recovery()
        self.user.strike(Blow(parse_storm(storm), time.monotonic(), counts, self.left.append))
        return counts

    def until(self, condition: Callable[[], object]) -> None:
        """Let it live until something is so."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "it never came true"
            gevent.sleep(0.01)

    def go_online(self) -> None:
        """Let it come online, and say all that it has to."""
        self.until(lambda: self.user.charge_point.is_online)
        gevent.sleep(0.2)

    def stop(self) -> None:
        """Stop it, as Locust does."""
        assert self.user._greenlet is not None
        self.user._greenlet.kill()
        self.user._switch_off()


@contextlib.contextmanager
def struck(
    script: Callable[[socket.socket, int], None], *, refuses: Callable[[int], bool] = lambda _: False, **make: Any
) -> Iterator[Struck]:
    """Give a charge point that is online with a peer."""
    with TalkingPeer(script, refuses=refuses) as peer:
        one = Struck(peer.port, **make)
        try:
            one.go_online()
            yield one
        finally:
            one.stop()
            for connection in one.left:
                connection.abort()


@pytest.mark.parametrize(("kind", "boots"), [("network", 1), ("herd", 1), ("power", 2)])
def test_it_is_hit_at_once_while_it_waits(kind: str, boots: int) -> None:
    """The next thing that it had to do was an hour away: the end of the connection ends the wait."""
    peer = Quiet()
    with struck(peer) as one:
        sent = len(peer.heard)
        counts = one.strike(f"kind={kind} for=200ms")
        one.until(lambda: counts.back.count)
        gevent.sleep(0.2)
    assert (counts.hit, counts.were_online, counts.attempts.counts) == (1, 1, {1: 1})
    assert counts.back.lowest >= 200
    # Connector 0 and 1 after a boot; nothing at all after a mere loss of the network (J 5.4).
    again = [opcode for number, opcode, _ in peer.heard[sent:] if number == 2 and opcode == TEXT]
    assert len(again) == (boots - 1) * 3
    assert peer.ended.is_set()


def test_it_is_hit_in_the_middle_of_an_opening_handshake() -> None:
    """The attempt ends, which no failure of the central system is, and the next one comes."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        one = Struck(mute.getsockname()[1])
        try:
            one.until(lambda: one.user.charge_point.link is Link.CONNECTING)
            gevent.sleep(0.1)
            counts = one.strike("kind=network for=1h")
            one.until(lambda: one.user.charge_point.link is Link.WAITING)
        finally:
            one.stop()
    assert (counts.hit, counts.were_online) == (1, 0)
    assert one.user.of("WS") == []


def test_lost_power_ends_the_wait_for_the_next_attempt() -> None:
    """A reboot knows nothing of a back-off of a quarter of an hour."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    one = Struck(port, backoff=FOR_EVER)
    try:
        one.until(lambda: len(one.user.of("WS")) == 1)
        counts = one.strike("kind=power for=100ms")
        one.until(lambda: len(one.user.of("WS")) == 2)
    finally:
        one.stop()
    # It never came back: its attempt counts all the same.
    assert (counts.back.count, counts.attempts.counts) == (0, {1: 1})
    assert counts.refused == {"connection refused": 1}


def test_a_herd_insists_without_back_off() -> None:
    """Refused, it is there again after the shortest delay, however long the others would wait."""
    peer = Quiet()
    refuses = {2, 3, 4}.__contains__
    with struck(peer, refuses=refuses, backoff=Backoff(Growth.FIXED, 0.05, 1000.0)) as one:
        counts = one.strike("kind=herd")
        one.until(lambda: counts.back.count)
    assert counts.attempts.counts == {4: 1}
    assert counts.refused == {"HTTP 409 Conflict": 3}


def test_nothing_gets_through_a_blackhole_and_it_survives_a_short_one() -> None:
    """Neither end is told; afterwards a PING on the same connection is the proof that it lives."""
    peer = Quiet()
    with struck(peer) as one:
        counts = one.strike("kind=blackhole for=500ms")
        gevent.sleep(0.1)
        began = time.monotonic()
        one.user.fault("OtherError")  # to be told at once, if anything got through
        one.user.strike(Blow(parse_storm("kind=blackhole for=500ms"), began, Recovery(), one.left.append))
        one.until(lambda: counts.back.count)
        one.until(lambda: [each for each in peer.heard if each[1] == TEXT and each[2] > began])
    assert counts.attempts.counts == {0: 1}
    assert {number for number, *_ in peer.heard} == {1}
    dark = [each for each in peer.heard if began < each[2] < began + 0.5]
    assert dark == []
    assert PING in [opcode for _, opcode, _ in peer.heard]
    assert one.left == []


def test_a_connection_that_the_central_system_ended_in_the_dark_is_not_back() -> None:
    """It sees the end when the light comes back, and connects again."""
    peer = Quiet()
    with struck(peer) as one:
        counts = one.strike("kind=blackhole for=1s")
        one.until(lambda: counts.hit)
        peer.socks[1].shutdown(socket.SHUT_RDWR)
        one.until(lambda: counts.back.count)
    assert counts.attempts.counts == {1: 1}
    assert counts.back.lowest >= 1000


def test_what_it_gives_up_in_the_dark_stays_open_at_the_other_end() -> None:
    """Its own watch ends the connection; the central system hears of it when something gets through again."""
    ended = threading.Event()

    def ping(sock: socket.socket, number: int) -> None:
        try:
            pinging(sock, [])
        finally:
            if number == 1:
                ended.set()

    watch = PingWatchRule(WatchMode.FIXED, 0.5)
    with struck(ping, ping_watch=watch) as one:
        counts = one.strike("kind=blackhole for=2s")
        one.until(lambda: one.left)
        assert not ended.is_set()
        assert one.user.charge_point.link is Link.WAITING
        one.until(lambda: counts.back.count)
        assert not ended.is_set()
        one.left.pop().abort()
        one.until(ended.is_set)
    assert counts.attempts.counts == {1: 1}


def test_a_second_storm_in_the_first_ends_both() -> None:
    """Hit again before it is back: each has its own time, and none is forgotten."""
    peer = Quiet()
    with struck(peer) as one:
        first = one.strike("kind=network for=10s")
        one.until(lambda: first.hit)
        second = one.strike("kind=power for=100ms")
        one.until(lambda: second.hit)
        # The network is still away, power or not.
        assert (first.back.count, second.back.count) == (0, 0)
        one.user._network_back_at = 0.0
        one.until(lambda: second.back.count)
    assert (first.back.count, second.were_online) == (1, 0)
    assert first.back.lowest >= second.back.lowest
