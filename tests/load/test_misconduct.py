"""How misdeeds end, and what they leave of a charge point's healthy traffic: one charge point, real sockets."""

from __future__ import annotations

import argparse
import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson
import pytest
from locust.env import Environment

from ampswarm.charge_point.backoff import Backoff, Growth
from ampswarm.charge_point.ping_watch import PingWatchRule, WatchMode
from ampswarm.charge_point.template import Template
from ampswarm.load import acts, misconduct
from ampswarm.load.fleet import Fleet
from ampswarm.load.identities import LocalPool
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed
from ampswarm.load.options import OPTIONS
from ampswarm.load.population import FleetFile, Population
from ampswarm.load.user import ChargePointUser
from ampswarm.ocppj.schemas import CHARGE_POINT_ACTIONS
from ampswarm.ocppj.timestamps import parse_utc
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
        options = argparse.Namespace(**{each.dest: each.default for each in OPTIONS})
        environment: Any = Environment(parsed_options=options)
        environment.events.request.add_listener(self._take)
        environment.ampswarm = fleet = Fleet(environment, LocalPool())
        make = {"call_timeout": 1.0, "backoff": SOON, **make}
        # As a fleet file has it: a clock that is off comes with a table of misbehaviour.
        behaviour = Misbehaviour() if "clock_error" in make else None
        kind = Population("all", 1.0, None, "CP{}", Template(**make), misbehaviour=behaviour)
        fleet._populations = FleetFile((kind,))
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
def station(
    script: Callable[[socket.socket, int], None], *, refuses: Callable[[int], bool] = lambda _: False, **make: Any
) -> Any:
    with TalkingPeer(script, refuses=refuses) as peer:
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
        for misdeed in (Misdeed.NO_PONG, Misdeed.LATE_ANSWERS, Misdeed.WRONG_ID):
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
        assert user.misbehave(Misdeed.STRAY_ANSWER)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/stray_answer", "closed by the central system with 1008")]
        user.go_online()
    assert user.failures == []
    assert user.of("WS") == [("WS/connect", "fine")]
    assert user.of("FLOW") == [("FLOW/online", "fine")]


def commanding(sock: socket.socket, ids: list[str], heard: list[list[Any]], closes: Callable[[], bool]) -> None:
    """Call ClearCache under each id in turn, 0.4 s apart, once the charge point beats; take down the answers."""
    beats = False
    next_at = 0.0
    left = list(ids)
    sock.settimeout(0.1)
    while not closes():
        if beats and left and time.monotonic() >= next_at:
            sock.sendall(frame(TEXT, orjson.dumps([2, left.pop(0), "ClearCache", {}])))
            next_at = time.monotonic() + 0.4
        try:
            opcode, payload = read_frame(sock)
        except TimeoutError:
            continue
        if opcode == CLOSE:
            return
        if opcode == PING:
            sock.sendall(frame(PONG, payload))
        if opcode == TEXT and (reply := answer(payload)) is not None:
            beats = beats or b"Heartbeat" in payload
            sock.sendall(reply)
        elif opcode == TEXT:
            heard.append(orjson.loads(payload))
    sock.sendall(frame(CLOSE, (1002).to_bytes(2)))
    while read_frame(sock)[0] != CLOSE:
        pass


def test_one_call_is_answered_under_a_wrong_id_and_the_next_one_under_its_own() -> None:
    """J 4.2.2: the answer of the first Call never comes, and nothing else is wrong."""
    ids, heard = ["one", "two", "three"], list[list[Any]]()
    with station(lambda sock, _: commanding(sock, ids, heard, lambda: False)) as user:
        user.go_online()
        assert user.misbehave(Misdeed.WRONG_ID, 1.0)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/wrong_id", "fine")]
        user.wait_until(lambda: len(heard) >= 3, 5)
        user.sleep(0.5)
    assert [[kind, payload] for kind, _, payload in heard] == [[3, {"status": "Accepted"}]] * 3
    first, *others = [unique_id for _, unique_id, _ in heard]
    assert first not in ids
    assert others == ["two", "three"]
    assert user.failures == []


def test_a_connection_that_is_ended_for_a_wrong_id_fails_the_misdeed_alone() -> None:
    """The central system may end it at once, or when its Call has timed out: the way back is no healthy row's."""
    heard: list[list[Any]] = []

    def script(sock: socket.socket, number: int) -> None:
        commanding(sock, ["one"] if number == 1 else [], heard, lambda: number == 1 and bool(heard))

    with station(script) as user:
        user.go_online()
        assert user.misbehave(Misdeed.WRONG_ID)
        assert user.wait_for_verdict() == [("MISBEHAVIOUR/wrong_id", "closed by the central system with 1002")]
        user.go_online()
    assert [kind for kind, *_ in heard] == [3]
    assert user.failures == []
    assert user.of("WS") == [("WS/connect", "fine")]
    assert user.of("FLOW") == [("FLOW/online", "fine")]


HOUR = 3600.0
START_LOST = "StartTransaction: given up after TransactionMessageAttempts"


def test_each_call_that_tells_a_wrong_time_is_apart_from_healthy_traffic() -> None:
    """Whoever reads OCPP / StatusNotification reads of clocks that are right."""
    told: list[float] = []

    def hear(_: int, payload: bytes) -> bool:
        if b'"timestamp"' in payload:
            told.append(parse_utc(orjson.loads(payload)[3]["timestamp"]))
        return False

    with station(lambda sock, _: talk(sock, hear), clock_error=-2 * HOUR) as user:
        user.go_online()
        user.wait_until(lambda: ("OCPP/Heartbeat", "fine") in user.reported, 5)
    # One for the charge point itself, one for its connector; the peer lives at noon.
    assert user.of("MISBEHAVIOUR") == [("MISBEHAVIOUR/clock_skew", "fine")] * 2
    noon = parse_utc("2026-03-01T12:00:00Z")
    assert [round((each - noon) / HOUR, 2) for each in told] == [-2, -2]
    assert {name for name, _ in user.of("OCPP")} == {"OCPP/BootNotification", "OCPP/Heartbeat"}
    assert user.failures == []


def test_a_clock_that_is_right_is_healthy_whatever_else_its_charge_point_does() -> None:
    """Misdeeds alone move nothing to clock_skew."""
    with station(lambda sock, _: talk(sock), clock_error=0.0) as user:
        user.go_online()
    assert user.of("MISBEHAVIOUR") == []
    assert user.of("OCPP").count(("OCPP/StatusNotification", "fine")) == 2


def test_what_is_refused_for_its_time_fails_the_clock_and_names_the_action() -> None:
    """A CallError to a timestamp is what its reader looks for, and no failure of the healthy traffic."""

    def script(sock: socket.socket, _: int) -> None:
        while True:
            opcode, payload = read_frame(sock)
            if opcode == CLOSE:
                return
            if opcode != TEXT:
                continue
            unique_id = orjson.loads(payload)[1]
            if b'"timestamp"' in payload:
                error = [4, unique_id, "PropertyConstraintViolation", "", {}]
                sock.sendall(frame(TEXT, orjson.dumps(error)))
            elif b'"Authorize"' in payload:
                sock.sendall(frame(TEXT, orjson.dumps([3, unique_id, {"idTagInfo": {"status": "Accepted"}}])))
            elif (reply := answer(payload)) is not None:
                sock.sendall(reply)

    once = (("TransactionMessageAttempts", "1"),)
    with station(script, clock_error=HOUR, settings=once) as user:
        user.go_online()
        assert user.plug_in()
        assert user.start_charging("TAG")
        user.wait_until(lambda: ("MISBEHAVIOUR/clock_skew_lost", START_LOST) in user.reported, 5)
    refused = user.of("MISBEHAVIOUR")
    assert ("MISBEHAVIOUR/clock_skew", "StatusNotification: CallError PropertyConstraintViolation") in refused
    assert ("MISBEHAVIOUR/clock_skew", "StartTransaction: CallError PropertyConstraintViolation") in refused
    assert ("MISBEHAVIOUR/clock_skew_lost", START_LOST) in refused
    assert user.failures == []
    assert ("OCPP/Authorize", "fine") in user.reported


def test_a_connection_that_a_wrong_time_cost_is_a_failure_of_the_clock_alone_each_time() -> None:
    """The way back is not measured, and the next timestamp that costs a connection is."""
    statuses = 0

    def script(sock: socket.socket, _: int) -> None:
        def hear(_: int, payload: bytes) -> bool:
            nonlocal statuses
            statuses += b"StatusNotification" in payload
            return b"StatusNotification" in payload and statuses <= 3

        talk(sock, hear)

    with station(script, refuses=lambda number: number == 2, clock_error=HOUR) as user:
        user.wait_until(lambda: ("MISBEHAVIOUR/clock_skew", "fine") in user.reported, 10)
        user.lose_network(0.1)
        user.go_online()
    lost = ("MISBEHAVIOUR/clock_skew", "StatusNotification: connection lost before the answer")
    assert user.of("MISBEHAVIOUR").count(lost) == 3
    assert user.failures == []
    # At the start, and after the network was lost, which is no matter of clocks.
    assert user.of("WS") == [("WS/connect", "fine")] * 2
    assert user.of("FLOW") == [("FLOW/online", "fine")] * 2


def test_a_power_cut_under_a_wrong_clock_is_measured_like_any_other() -> None:
    """J 5.4: nobody ended this connection for its time, though a timestamp was on its way, but the one before it."""

    def script(sock: socket.socket, number: int) -> None:
        talk(sock, unanswered(sock) if number > 1 else lambda _, payload: b"StatusNotification" in payload)

    lost = ("MISBEHAVIOUR/clock_skew", "StatusNotification: connection lost before the answer")
    with station(script, clock_error=HOUR, call_timeout=5.0) as user:
        user.wait_until(lambda: lost in user.reported, 5)
        user.go_online()
        user.power_cycle(0.1)
        user.go_online()
    assert user.of("MISBEHAVIOUR") == [lost] * 2
    assert user.of("FLOW") == [("FLOW/online", "fine")] * 2
    assert user.of("WS") == [("WS/connect", "fine")] * 2


def unanswered(sock: socket.socket) -> Callable[[int, bytes], bool]:
    """Return what makes `talk` read on in silence from the first StatusNotification."""

    def hear(_: int, payload: bytes) -> bool:
        while b"StatusNotification" in payload:
            if read_frame(sock)[0] == CLOSE:
                return True
        return False

    return hear


def test_the_calls_with_a_timestamp_are_those_of_the_schemas() -> None:
    """Core 6, whitepaper 5: an action that were forgotten would leave wrong times in a healthy row."""
    with_time = {action for action in CHARGE_POINT_ACTIONS if _has_timestamp(_schema(action))}
    assert with_time == misconduct._TELL_THE_TIME


def _has_timestamp(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "timestamp" in schema.get("properties", {}) or any(_has_timestamp(each) for each in schema.values())
    return isinstance(schema, list) and any(_has_timestamp(each) for each in schema)


def _schema(action: str) -> Any:
    spec = find_spec("ocpp")
    assert spec is not None
    assert spec.origin is not None
    return orjson.loads((Path(spec.origin).parent / "v16" / "schemas" / f"{action}.json").read_bytes())
