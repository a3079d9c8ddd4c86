"""Charge points that misbehave: the other side sees what was meant, and healthy rows stay clean."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import pytest

from tests.fakes.peer import frame, read_frame, read_request, upgraded
from tests.processes import CentralSystem, Locust, Run, run_locust

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
HEALTHY = {
    "OCPP/BootNotification", "OCPP/StatusNotification", "OCPP/Heartbeat", "WS/connect", "FLOW/online",
}  # fmt: skip

EACH = """
import gc
import gevent
import psutil
from locust import events, task
from ampswarm.load import ChargePointUser
from ampswarm.load.misbehaviour import Misdeed

class Healthy(ChargePointUser):
    fixed_count = 3

class _Bad(ChargePointUser):
    abstract = True
    fixed_count = 1
    misdeeds = ()

    @task
    def misdeed(self):
        self.wait_until(lambda: self.charge_point.is_online, 10)
        self.sleep(1)
        for misdeed, seconds in self.misdeeds:
            if not self.misbehave(misdeed, seconds):
                print("could not", misdeed)
            if self.misbehave(Misdeed.FLOOD):
                print("two at once")
            self.sleep(2)
        self.sleep(600)

class HalfOpen(_Bad):
    misdeeds = ((Misdeed.HALF_OPEN, 3),)

class NoPong(_Bad):
    misdeeds = ((Misdeed.NO_PONG, None),)

class Slow(_Bad):
    misdeeds = ((Misdeed.SLOW_READER, 0.7),)

class Twin(_Bad):
    misdeeds = ((Misdeed.DUPLICATE_IDENTITY, 1),)

class Broken(_Bad):
    misdeeds = ((Misdeed.MALFORMED, None), (Misdeed.SCHEMA_BREAKING, None), (Misdeed.WRONG_ID, None))

class Flooding(_Bad):
    misdeeds = ((Misdeed.FLOOD, None),)

class _AtTheEnd(ChargePointUser):
    abstract = True
    fixed_count = 1

    @task
    def misdeed(self):
        self.sleep(7)
        self.misbehave(self.wrong)
        self.sleep(600)

class HalfOpenAtTheEnd(_AtTheEnd):
    wrong = Misdeed.HALF_OPEN

class TwinAtTheEnd(_AtTheEnd):
    wrong = Misdeed.DUPLICATE_IDENTITY

class SlowAtTheEnd(_AtTheEnd):
    wrong = Misdeed.SLOW_READER

@events.test_stop.add_listener
def count(**_):
    open_ones = [each for each in psutil.Process().net_connections() if each.status == "ESTABLISHED"]
    beside = [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet) and not each.dead]
    ours = [each for each in beside if "impersonate" in repr(each) or "reset" in repr(each)]
    print("left over:", len(open_ones), "sockets", len(ours), "greenlets")
"""


@pytest.fixture
def pinging(tmp_path: Path) -> Any:
    """A central system that pings every second."""
    with CentralSystem(
        tmp_path / "cs.log", "--boot-interval", "1", env={"HEARTBEAT_INT_MS": "1000"}
    ) as running:  # fmt: skip
        yield running


def misdeeds(run: Run) -> dict[str, tuple[int, int]]:
    """Return requests and failures of each misdeed."""
    return {
        name.removeprefix("MISBEHAVIOUR/"): (row.requests, row.failures)
        for name, row in run.rows.items()
        if name.startswith("MISBEHAVIOUR/")
    }


def test_each_misdeed_is_seen_for_what_it_is(pinging: CentralSystem, tmp_path: Path) -> None:
    """The central system counts each kind, every one has its row, and no healthy row has a failure.

    Nor does anything stay behind of those that Locust's stop meets in the middle of it.
    """
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(EACH)
    started = time.monotonic()
    run = run_locust(
        tmp_path, "--headless", "-t", "9s", "-u", "12", "--host", pinging.url, "--call-timeout", "2",
        "--reconnect-max", "1.2", locustfile=locustfile,
    )  # fmt: skip
    assert time.monotonic() - started < 15
    assert run.status == 0, run.output
    assert "could not" not in run.output
    assert "two at once" not in run.output
    assert "left over: 0 sockets 0 greenlets" in run.output
    expected = [
        "duplicate_identity", "flood", "half_open", "malformed", "no_pong", "schema_breaking", "slow_reader", "wrong_id"
    ]  # fmt: skip
    assert dict.fromkeys(expected, (1, 0)) == misdeeds(run)
    rows = run.rows
    assert {name for name in rows if not name.startswith(("MISBEHAVIOUR/", "/"))} == HEALTHY
    assert rows["/Aggregated"].failures == 0
    # One each at the start, and none for coming back after a misdeed.
    assert rows["WS/connect"].requests == rows["FLOW/online"].requests == 12
    assert rows["OCPP/BootNotification"].requests == 12
    summary = pinging.summary()
    seen = summary["events"]
    # Those without a PONG, half-open ones among them, were found by PINGs.
    assert seen["pings lost"] >= 2
    assert seen["connections replaced"] >= 1
    assert sum(count for name, count in seen.items() if name.startswith("malformed: ")) == 1
    assert seen["answers to no outstanding Call"] == 1
    assert 1 <= sum(summary["errors"].values()) <= 2
    # The flood is not among the Heartbeats that Locust counted.
    assert summary["calls"]["Heartbeat"] >= rows["OCPP/Heartbeat"].requests + 100
    assert summary["connections"] == 0


LATE = """
from locust import task
from ampswarm.load import ChargePointUser
from ampswarm.load.misbehaviour import Misdeed

class Late(ChargePointUser):
    @task
    def late(self):
        self.wait_until(lambda: self.charge_point.is_online, 10)
        self.misbehave(Misdeed.LATE_ANSWERS, 2.5)
        self.sleep(600)
"""


def test_a_late_answer_comes_when_nobody_waits_for_it_any_more(pinging: CentralSystem, tmp_path: Path) -> None:
    """J 4.1.1: the Call has timed out, its answer comes later, and Heartbeats go on meanwhile."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(LATE)
    with Locust(
        tmp_path, "--headless", "-t", "6s", "-u", "1", "--host", pinging.url, locustfile=locustfile
    ) as locust:  # fmt: skip
        pinging.wait_for(lambda line: line["event"] == "booted")
        status, answer = pinging.request("POST", "/api/v1/charge-points/CP000001/calls/ClearCache?timeout=1", {})
        assert status != 200, answer
        run = locust.wait()
    assert run.status == 0, run.output
    assert misdeeds(run) == {"late_answers": (1, 0)}
    assert run.rows["OCPP/Heartbeat"].requests >= 4
    assert run.rows["/Aggregated"].failures == 0
    summary = pinging.summary()
    assert summary["calls_failed"] == {"TimedOut": 1}
    assert summary["events"]["answers to no outstanding Call"] == 1


FLEET = """
[[populations]]
name = "healthy"
count = 10
identity_format = "GOOD-{}"

[[populations]]
name = "clone"
count = 20
identity_format = "CLONE-{}"
misbehaviour = {schema_breaking = 1800}
"""


def test_a_population_misbehaves_as_often_as_its_file_says(pinging: CentralSystem, tmp_path: Path) -> None:
    """1800 an hour are one in two seconds from each; the others of the fleet are spared."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET)
    run = run_locust(
        tmp_path, "--headless", "-t", "6s", "--host", pinging.url, "--fleet", str(fleet), "--seed", "7",
        "--require-online",
    )  # fmt: skip
    assert run.status == 0, run.output
    ((name, (count, failures)),) = misdeeds(run).items()
    assert (name, failures) == ("schema_breaking", 0)
    # Half a misdeed a second from each of 20, for some 5 s: 50, and four standard deviations to each side.
    assert 21 <= count <= 79
    assert run.rows["/Aggregated"].failures == 0
    guilty = {
        line.split("identity='")[1].split("'")[0] for line in run.output.splitlines() if "misbehaves identity" in line
    }
    assert guilty
    assert all(each.startswith("CLONE-") for each in guilty)


class TalkingPeer:
    """A central system on raw sockets, a thread for each connection; accepts boots and answers Heartbeats.

    Args:
        script: takes the socket and the connection's number, from 1, after the upgrade.
    """

    def __init__(self, script: Callable[[socket.socket, int], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._acceptor, *self._threads):
            thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(sock, len(self._threads) + 1)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(10)
            sock.sendall(upgraded(read_request(sock)))
            self._script(sock, number)


def answer(text: bytes) -> bytes | None:
    """Return the frame that answers a Call; `None` for what is none."""
    try:
        message = orjson.loads(text)
        kind, unique_id, action, _ = message
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return None
    if kind != 2:
        return None
    now = {"currentTime": "2026-03-01T12:00:00Z"}
    payload = {"BootNotification": {**now, "interval": 1, "status": "Accepted"}, "Heartbeat": now}.get(action, {})
    return frame(TEXT, orjson.dumps([3, unique_id, payload]))


def talk(sock: socket.socket, heard: Callable[[int, bytes], bool] | None = None) -> None:
    """Answer whatever comes, until the connection ends or `heard` says so."""
    while True:
        opcode, payload = read_frame(sock)
        if opcode == CLOSE:
            return
        if opcode == PING:
            sock.sendall(frame(PONG, payload))
        reply = answer(payload) if opcode == TEXT else None
        if heard is not None and heard(opcode, payload):
            return
        if reply is not None:
            sock.sendall(reply)


ONE = """
from locust import task
from ampswarm.load import ChargePointUser
from ampswarm.load.misbehaviour import Misdeed

class Bad(ChargePointUser):
    @task
    def misdeed(self):
        self.wait_until(lambda: self.charge_point.is_online, 10)
        self.sleep(0.5)
        self.misbehave(Misdeed.{name}, {seconds})
        self.sleep(600)
"""


def run_one(tmp_path: Path, peer: TalkingPeer, name: str, seconds: float | None, run_time: str) -> Run:
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(ONE.format(name=name, seconds=seconds))
    return run_locust(
        tmp_path, "--headless", "-t", run_time, "-u", "1", "--host", f"ws://127.0.0.1:{peer.port}/ocpp",
        "--call-timeout", "1", "--reconnect-max", "1", locustfile=locustfile,
    )  # fmt: skip


def test_a_half_open_connection_is_silent_and_outlives_the_next_one(tmp_path: Path) -> None:
    """No frame, no PONG and no FIN comes; the charge point is back on another connection before this one ends."""
    back, silent, heard_after = threading.Event(), threading.Event(), []

    def script(sock: socket.socket, number: int) -> None:
        if number > 1:
            back.set()
            talk(sock)
            return
        sock.settimeout(1.5)  # Heartbeats come every second
        with contextlib.suppress(TimeoutError):
            talk(sock)
        silent.set()
        sock.sendall(frame(PING, b"?"))
        sock.settimeout(0.5)
        while not back.is_set():
            with contextlib.suppress(TimeoutError):
                heard_after.append(sock.recv(100))
        with contextlib.suppress(TimeoutError):
            heard_after.append(sock.recv(100))

    with TalkingPeer(script) as peer:
        run = run_one(tmp_path, peer, "HALF_OPEN", 2.5, "6s")
        assert silent.is_set()
        assert back.is_set()
    assert heard_after == []
    assert run.status == 0, run.output
    assert misdeeds(run) == {"half_open": (1, 0)}
    # The Call that timed out meanwhile is nobody's failure.
    assert run.rows["/Aggregated"].failures == 0
    assert run.rows["WS/connect"].requests == run.rows["FLOW/online"].requests == 1
    assert run.rows["OCPP/BootNotification"].requests == 1


def test_a_slow_reader_fills_the_buffers_and_goes_on_sending(tmp_path: Path) -> None:
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

    with TalkingPeer(script) as peer:
        run = run_one(tmp_path, peer, "SLOW_READER", 3, "6s")
    (stuck,) = stuck_for
    assert stuck > 2
    assert sum(b"Heartbeat" in each for each in meanwhile) >= 1
    assert run.status == 0, run.output
    assert misdeeds(run) == {"slow_reader": (1, 0)}
    assert run.rows["/Aggregated"].failures == 0


def test_a_connection_that_a_misdeed_cost_is_a_failure_of_the_misdeed_alone(tmp_path: Path) -> None:
    """Closed for a stray CallResult: neither the Call in flight nor the way back is in the healthy rows."""

    def script(sock: socket.socket, number: int) -> None:
        def heard(opcode: int, payload: bytes) -> bool:
            # The Heartbeat that is out gets no answer any more.
            return number == 1 and payload.startswith(b"[3,")

        talk(sock, heard)
        sock.sendall(frame(CLOSE, (1008).to_bytes(2)))
        while read_frame(sock)[0] != CLOSE:
            pass  # a socket that is closed over unread data resets the connection

    with TalkingPeer(script) as peer:
        run = run_one(tmp_path, peer, "WRONG_ID", None, "5s")
    assert run.failures == {"MISBEHAVIOUR/wrong_id: WrongReaction('closed by the central system with 1008')": 1}
    rows = run.rows
    assert misdeeds(run) == {"wrong_id": (1, 1)}
    assert rows["WS/connect"].requests == rows["FLOW/online"].requests == 1
    assert rows["OCPP/Heartbeat"].failures == 0
