"""Chaos over real sockets: each kind of it, seen by a charge point, and switched at run time."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as ws_connect

from server.chaos import Dice
from server.chaos_hooks import LateAnswers
from server.connections import Connection
from tests.processes import ROOT, CentralSystem, clean_environment, until
from tests.server.station import Station
from tests.server.test_chaos_decisions import MISTAKES

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
TIME = "2026-01-01T00:00:00Z"
START = {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": TIME}
CHAOS = "/api/v1/chaos"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all tests, each of which sets what it needs."""
    with CentralSystem(tmp_path_factory.mktemp("chaos") / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


@pytest.fixture
def server(running: CentralSystem) -> Iterator[CentralSystem]:
    """That central system, back to normal afterwards."""
    yield running
    assert running.request("DELETE", CHAOS) == (204, None)


def put(server: CentralSystem, **config: Any) -> None:
    status, answer = server.request("PUT", CHAOS, config)
    assert status == 200, answer


def counts(server: CentralSystem) -> dict[str, int]:
    """Return what was done so far."""
    status, state = server.request("GET", CHAOS)
    assert status == 200
    found: dict[str, int] = state["counts"]
    return found


class Counted:
    """What was done since it was made."""

    def __init__(self, server: CentralSystem) -> None:
        self._server = server
        self._before = counts(server)

    def now(self) -> dict[str, int]:
        now = counts(self._server)
        return {name: more for name, times in now.items() if (more := times - self._before.get(name, 0))}


def connect(server: CentralSystem, identity: str) -> ClientConnection:
    return ws_connect(f"{server.url}/{identity}", subprotocols=["ocpp1.6"], proxy=None, compression=None)  # type: ignore[list-item]


def send(
    ws: ClientConnection, unique_id: str, action: str = "Heartbeat", payload: Mapping[str, Any] | None = None
) -> None:
    ws.send(json.dumps([2, unique_id, action, payload or {}]))


def receive(ws: ClientConnection) -> Any:
    return json.loads(ws.recv(timeout=10))


def identities(share: float, count: int, *, inside: bool, seed: int = 0) -> list[str]:
    """Return identities of charge points that are in a share of the fleet, or outside."""
    dice = Dice(seed)
    numbered = (f"CP{number}" for number in range(100_000))
    found = (identity for identity in numbered if (dice.place(identity) < share) is inside)
    return [next(found) for _ in range(count)]


# -- answers ------------------------------------------------------------------------------------


def test_an_answer_is_late_by_as_much_as_was_asked(server: CentralSystem) -> None:
    """Whoever measures response times must see the delay; other actions and charge points see none."""
    counted = Counted(server)
    put(server, delays=[{"seconds": 0.4, "actions": ["Heartbeat", "StartTransaction"], "share": 0.5}])
    (hit,) = identities(0.5, 1, inside=True)
    (spared,) = identities(0.5, 1, inside=False)
    with Station(server, hit) as late, Station(server, spared) as prompt:
        for action, payload in (("Heartbeat", {}), ("StartTransaction", START)):
            began = time.monotonic()
            late.call(action, payload)
            assert time.monotonic() - began >= 0.4
        began = time.monotonic()
        late.call("BootNotification", BOOT)
        prompt.call("Heartbeat", {})
        assert time.monotonic() - began < 0.4
    assert counted.now() == {"answers delayed": 2}


def test_answers_wait_for_their_own_time(server: CentralSystem) -> None:
    """To one that does not keep to one outstanding Call, the prompt answer comes before the late one."""
    put(server, delays=[{"seconds": 0.3, "actions": ["Heartbeat"]}])
    with connect(server, "A") as ws:
        send(ws, "late")
        send(ws, "prompt", "Authorize", {"idTag": "A"})
        assert [receive(ws)[1], receive(ws)[1]] == ["prompt", "late"]


def test_late_answers_go_with_their_connection(server: CentralSystem) -> None:
    """They are not sent on the next connection of the charge point, nor does one that is gone cost anything."""
    put(server, delays=[{"seconds": 0.5, "actions": ["Heartbeat"]}])
    with connect(server, "A") as ws:
        send(ws, "1")
        send(ws, "2", "Authorize", {"idTag": "A"})
        assert receive(ws)[1] == "2"
    with connect(server, "A") as ws:
        send(ws, "3")
        assert receive(ws)[1] == "3"
    assert not server.lines("fault")
    assert not server.lines("log")


class Sender:
    """A connection that notes what it sends."""

    def __init__(self, sent: list[bytes]) -> None:
        self.send = sent.append


def test_a_connection_that_is_gone_is_not_kept_by_its_late_answers() -> None:
    """Charge points that come and go while answers are ten minutes late must not fill the memory."""

    async def come_and_go() -> None:
        late = LateAnswers()
        sent: list[bytes] = []
        gone, stays = (cast("Connection", Sender(sent)) for _ in range(2))
        reference = weakref.ref(gone)
        for connection in (gone, gone, stays):
            late.send(connection, [b"late"], 600)
        late.send(stays, [b"1", b"2"], 0)
        late.forget(gone)
        del gone, connection
        assert reference() is None
        await asyncio.sleep(0.01)
        assert sent == [b"1", b"2"]
        assert len(late) == 1

    asyncio.run(come_and_go())


def test_a_call_error_is_sent_and_nothing_is_recorded(server: CentralSystem) -> None:
    """As the reference says: of what was answered with a CallError, the ledger knows nothing."""
    counted = Counted(server)
    put(server, call_errors=[{"code": "InternalError", "description": "full", "actions": ["StartTransaction"]}])
    ledger = server.request("GET", "/api/v1/ledger")
    with Station(server, "A") as station:
        # Not even validated.
        for payload in (START, {}):
            assert station.ask("StartTransaction", payload)[2:] == ["InternalError", "full", {}]
        assert station.ask("Heartbeat", {})[0] == 3
    assert ledger == server.request("GET", "/api/v1/ledger")
    assert counted.now() == {"CallErrors InternalError": 2}


@pytest.mark.parametrize(("handled", "more"), [(True, 1), (False, 0)])
def test_an_answer_is_withheld(server: CentralSystem, handled: bool, more: int) -> None:
    """The charge point waits in vain; whether the transaction was recorded is as was asked."""
    counted = Counted(server)
    put(server, withheld_answers=[{"actions": ["StartTransaction"], "handled": handled}])
    started = server.request("GET", "/api/v1/ledger")[1]["started"]
    with connect(server, f"A{handled}") as ws:
        send(ws, "withheld", "StartTransaction", START)
        until(lambda: bool(counted.now()))
        send(ws, "1")
        assert receive(ws)[1] == "1"
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.3)
    assert server.request("GET", "/api/v1/ledger")[1]["started"] == started + more
    assert counted.now() == {"answers withheld" if handled else "Calls ignored": 1}


def test_an_answer_has_a_wrong_id(server: CentralSystem) -> None:
    """J 4.2.2: a load generator must not take it for the answer that it waits for."""
    put(server, wrong_ids=[{}])
    with connect(server, "A") as ws:
        for action, payload in (("Heartbeat", {}), ("StartTransaction", START)):
            send(ws, "1", action, payload)
            kind, unique_id, result = receive(ws)
            assert (kind, unique_id[:6]) == (3, "chaos-")
            assert len(unique_id) <= 36
            assert result


def test_an_answer_comes_twice(server: CentralSystem) -> None:
    """The second one is to no outstanding Call."""
    put(server, duplicates=[{}])
    with connect(server, "A") as ws:
        send(ws, "1", "Authorize", {"idTag": "A"})
        assert receive(ws) == receive(ws) == [3, "1", {"idTagInfo": {"status": "Accepted"}}]


def test_an_answer_is_no_json(server: CentralSystem) -> None:
    """But a text message all the same: the connection stands."""
    put(server, malformed=[{"actions": ["Authorize"]}])
    with connect(server, "A") as ws:
        send(ws, "1", "Authorize", {"idTag": "A"})
        text = ws.recv(timeout=10)
        assert isinstance(text, str)
        assert '[3,"1",{"idTagInfo":{"status":"Accepted"}}]'.startswith(text)
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
        send(ws, "2")
        assert receive(ws)[1] == "2"


def test_a_second_call_with_the_same_id_leaves_the_first_its_fate(server: CentralSystem) -> None:
    """J 4.2.3: it is refused while the first waits for the store; each answer has its own delay."""
    counted = Counted(server)
    put(server, delays=[{"seconds": 0.1}])
    with connect(server, "A") as ws:
        for _ in range(2):
            send(ws, "1", "StartTransaction", START)
        assert sorted([receive(ws)[0], receive(ws)[0]]) == [3, 4]
    assert counted.now() == {"answers delayed": 2}


# -- connections --------------------------------------------------------------------------------


def closed(ws: ClientConnection) -> int | None:
    """Return the code with which the central system closes; `None` where there is no Close frame."""
    with pytest.raises(ConnectionClosed) as caught:
        ws.recv(timeout=10)
    return None if caught.value.rcvd is None else caught.value.rcvd.code


@pytest.mark.parametrize("code", [None, 1011, 4000])
def test_a_message_ends_the_connection(server: CentralSystem, code: int | None) -> None:
    """Without a word or with a Close frame; and what comes right after it is not handled either."""
    counted = Counted(server)
    put(server, drops=[{"actions": ["Authorize"], "code": code}])
    with connect(server, f"D{code}") as ws:
        send(ws, "1")
        receive(ws)
        with ws.protocol_mutex:
            for unique_id in "2345":
                ws.protocol.send_text(json.dumps([2, unique_id, "Authorize", {"idTag": "A"}]).encode())
            # All of them in one segment: after the first, the other end may be gone.
            ws.socket.sendall(b"".join(ws.protocol.data_to_send()))
        assert closed(ws) == code
    line = server.wait_for(lambda line: (line["event"], line.get("identity")) == ("disconnected", f"D{code}"))
    assert line["why"] == "dropped by chaos"
    assert counted.now() == {"connections dropped": 1}


def test_an_answer_of_the_charge_point_may_end_the_connection(server: CentralSystem) -> None:
    """A rule without actions is for all messages: whoever sent the Call is told that the connection was lost."""
    put(server, drops=[{}])
    with Station(server, "A"):
        status, answer = server.request("POST", "/api/v1/charge-points/A/calls/ClearCache", {})
    assert (status, answer["error"]["code"]) == (502, "ConnectionLost")


@pytest.mark.parametrize("code", [None, 1012])
def test_a_share_of_the_fleet_is_dropped_at_once(server: CentralSystem, code: int | None) -> None:
    """The others notice nothing, and it is the same ones the next time."""
    hit, spared = identities(0.4, 3, inside=True), identities(0.4, 3, inside=False)
    for _ in range(2):
        with ExitStack() as opened:
            lost, kept = ([opened.enter_context(connect(server, each)) for each in some] for some in (hit, spared))
            assert server.request("POST", f"{CHAOS}/drops", {"share": 0.4, "code": code}) == (200, {"dropped": 3})
            assert [closed(ws) for ws in lost] == 3 * [code]
            for ws in kept:
                send(ws, "1")
                assert receive(ws)[1] == "1"


@pytest.mark.parametrize(("status", "retry_after"), [(401, None), (403, None), (404, None), (429, 30), (503, None)])
def test_an_upgrade_is_refused(server: CentralSystem, status: int, retry_after: int | None) -> None:
    """With the status that was asked, and Retry-After; charge points outside the share come in."""
    counted = Counted(server)
    put(server, refusals=[{"status": status, "retry_after": retry_after, "share": 0.5}])
    (hit,), (spared,) = identities(0.5, 1, inside=True), identities(0.5, 1, inside=False)
    with pytest.raises(InvalidStatus) as caught:
        connect(server, hit)
    response = caught.value.response
    assert response.status_code == status
    assert response.headers.get("Retry-After") == (None if retry_after is None else str(retry_after))
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    with connect(server, spared):
        pass
    assert counted.now() == {f"upgrades refused with {status}": 1}


def test_the_dice_of_a_drop_go_on_over_reconnects(server: CentralSystem) -> None:
    """Else a charge point that is dropped at its first message would be dropped at its first message for ever."""
    put(server, seed=1, drops=[{"rate": 0.5}])

    def outcomes() -> Iterator[bool]:
        for _ in range(12):
            with connect(server, "A") as ws:
                send(ws, "1")
                try:
                    receive(ws)
                except ConnectionClosed:
                    yield False
                else:
                    yield True

    first = list(outcomes())
    assert {True, False} == set(first)
    # And the same configuration, set again, does the same.
    put(server, seed=1, drops=[{"rate": 0.5}])
    assert first == list(outcomes())


# -- boots and PINGs ----------------------------------------------------------------------------


def test_a_share_of_the_fleet_is_pending(server: CentralSystem) -> None:
    """Core 4.2: they boot again after the interval; the boot policy holds for the others."""
    put(server, boots=[{"status": "Pending", "interval": 7, "share": 0.5}, {"status": "Accepted", "interval": 9}])
    (hit,), (spared,) = identities(0.5, 1, inside=True), identities(0.5, 1, inside=False)
    for identity, expected in ((hit, ("Pending", 7)), (spared, ("Accepted", 9))):
        with Station(server, identity) as station:
            conf = station.call("BootNotification", BOOT)
            assert (conf["status"], conf["interval"]) == expected
        known = server.request("GET", f"/api/v1/charge-points/{identity}")[1]
        assert known["registration"] == expected[0].lower()


def test_chaos_wins_over_the_boot_policy(server: CentralSystem) -> None:
    """Without an interval of its own, that of the boot policy stays."""
    policy = server.request("GET", "/api/v1/boot-policy")[1]
    put(server, boots=[{"status": "Rejected"}])
    with Station(server, "A") as station:
        conf = station.call("BootNotification", BOOT)
        assert (conf["status"], conf["interval"]) == ("Rejected", policy["interval"])
        assert server.request("DELETE", CHAOS)[0] == 204
        assert station.call("BootNotification", BOOT)["status"] == "Accepted"


class Pinged(ClientConnection):
    """Notes the PINGs that come."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.pinged = threading.Event()

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pinged.set()
        super().process_event(event)


def test_pings_are_withheld_from_a_share_of_the_fleet(tmp_path: Path) -> None:
    """A charge point with a watch on PINGs must find its connection dead; here nobody ends it."""
    (hit,), (spared,) = identities(0.5, 1, inside=True), identities(0.5, 1, inside=False)
    with CentralSystem(tmp_path / "log", "--ping-interval-ms", "200") as server, ExitStack() as opened:
        put(server, withheld_pings=[{"share": 0.5}])
        silent, prompt = (
            opened.enter_context(
                ws_connect(f"{server.url}/{each}", subprotocols=["ocpp1.6"], proxy=None, create_connection=Pinged)  # type: ignore[list-item]
            )
            for each in (hit, spared)
        )
        assert isinstance(silent, Pinged)
        assert isinstance(prompt, Pinged)
        assert prompt.pinged.wait(10)
        until(lambda: counts(server).get("PINGs withheld", 0) >= 3)
        assert not silent.pinged.is_set()
        send(silent, "1")
        assert receive(silent)[1] == "1"
        assert server.request("DELETE", CHAOS)[0] == 204
        assert silent.pinged.wait(10)


# -- stalls -------------------------------------------------------------------------------------


def test_everything_stands_still_after_the_api_has_answered(server: CentralSystem) -> None:
    """No answer, no upgrade and no health check for a second; afterwards all that had come is dealt with."""
    with Station(server, "A") as station:
        began = time.monotonic()
        assert server.request("POST", f"{CHAOS}/stalls", {"seconds": 1}) == (202, {"seconds": 1})
        assert time.monotonic() - began < 0.9
        server.wait_for(lambda line: (line["event"], line.get("seconds")) == ("stall", 1))
        # It is in the log a moment before it begins.
        time.sleep(0.1)
        # The kernel takes it in; nobody answers.
        station.call("Heartbeat", {})
        assert time.monotonic() - began >= 1
        with connect(server, "B"):
            pass


def test_stalls_of_a_file_come_again(tmp_path: Path) -> None:
    """`at` counts from the start, `every` from one to the next; SIGTERM finds the process in its senses."""
    file = tmp_path / "chaos.toml"
    file.write_text("[[stalls]]\nat = 0.2\nseconds = 0.1\nevery = 0.3\n")
    with CentralSystem(tmp_path / "log", "--chaos", str(file)) as server:
        until(lambda: len(server.lines("stall")) >= 3)
        assert server.request("DELETE", CHAOS)[0] == 204
        stalled = len(server.lines("stall"))
        with Station(server, "A") as station:
            station.call("Heartbeat", {})
        assert server.summary()["events"]["chaos: stalls"] == stalled


def test_sigterm_ends_a_stall(tmp_path: Path) -> None:
    """A process that an orchestrator stops is gone in time, and says goodbye; no other stall begins."""
    with CentralSystem(tmp_path / "log") as server:
        put(server, stalls=[{"at": 0.2, "seconds": 100}, {"at": 0.2, "seconds": 100}])
        until(lambda: len(server.lines("stall")) == 2)
        # They are in the log a moment before they begin.
        time.sleep(0.3)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 30
        assert server.lines("stopped")[-1]["events"]["chaos: stalls"] == 2


# -- configuration ------------------------------------------------------------------------------


def test_the_api_says_what_is_set(server: CentralSystem) -> None:
    """What comes out goes in again; PUT replaces all, DELETE takes all away, twice as well."""
    put(server, seed=3, delays=[{"seconds": 0.1}])
    configuration = server.request("GET", CHAOS)[1]["configuration"]
    assert (configuration["seed"], configuration["delays"][0]["seconds"]) == (3, 0.1)
    put(server, **configuration)
    assert configuration == server.request("GET", CHAOS)[1]["configuration"]
    put(server, duplicates=[{}])
    configuration = server.request("GET", CHAOS)[1]["configuration"]
    assert (configuration["seed"], configuration["delays"]) == (0, [])
    for _ in range(2):
        assert server.request("DELETE", CHAOS) == (204, None)
    assert server.request("GET", CHAOS)[1]["configuration"] is None


@pytest.mark.parametrize(("values", "said"), MISTAKES, ids=[said.split(":")[0] for _, said in MISTAKES])
def test_a_mistake_is_refused_in_the_words_of_the_file(server: CentralSystem, values: Any, said: str) -> None:
    """422 with the place; what was set before stays."""
    put(server, seed=5)
    status, answer = server.request("PUT", CHAOS, values)
    assert (status, answer["error"]["code"]) == (422, "InvalidRequest")
    _, what = said.split(": ", 1)
    assert any(what in each["what"] for each in answer["error"]["details"]["errors"])
    assert answer["error"]["description"].startswith("body/")
    assert server.request("GET", CHAOS)[1]["configuration"]["seed"] == 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("stalls", {"seconds": 301}),
        ("stalls", {"seconds": 0}),
        ("stalls", {}),
        ("drops", {"share": 1.1}),
        ("drops", {"share": 1, "code": 1006}),
        ("drops", {"code": 1000}),
    ],
)
def test_what_cannot_be_done_is_refused(server: CentralSystem, path: str, body: Any) -> None:
    """Nobody stops a central system for an hour by a slip of the finger."""
    counted = Counted(server)
    assert server.request("POST", f"{CHAOS}/{path}", body)[0] == 422
    assert counted.now() == {}


def test_a_mistake_in_the_file_is_one_line_and_status_2(tmp_path: Path) -> None:
    """With the option, the variable, the file and the key."""
    file = tmp_path / "chaos.toml"
    file.write_text("[[delays]]\nseconds = 1\nrate = 2\n")
    for args, env in ((["--chaos", str(file)], None), ([], {"CHAOS_FILE": str(file)})):
        done = subprocess.run(
            [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", "0", *args],
            cwd=ROOT,
            env=clean_environment(env),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        expected = f"--chaos or CHAOS_FILE: {file}: delays[1].rate: Input should be less than or equal to 1"
        assert line.endswith(expected)


def test_a_file_is_in_force_from_the_first_upgrade_on(tmp_path: Path) -> None:
    """And each of several processes does what the operator API of the first is told."""
    file = tmp_path / "chaos.toml"
    file.write_text("[[refusals]]\nstatus = 403\n")
    with CentralSystem(tmp_path / "log", "--processes", "2", env={"CHAOS_FILE": str(file)}) as server:
        for number in range(10):
            with pytest.raises(InvalidStatus):
                connect(server, f"A{number}")
        assert counts(server) == {"upgrades refused with 403": 10}
        put(server, boots=[{"status": "Pending", "interval": 5}])
        until(lambda: all_come_in(server))
        assert server.request("POST", f"{CHAOS}/drops", {"share": 1})[0] == 200
        for number in range(10):
            with Station(server, f"A{number}") as station:
                assert station.call("BootNotification", BOOT)["status"] == "Pending"
        assert counts(server)["boots answered Pending"] == 10


def all_come_in(server: CentralSystem) -> bool:
    """Return whether neither process refuses upgrades: ten are not all taken by one of them."""
    try:
        with ExitStack() as opened:
            for number in range(10):
                opened.enter_context(connect(server, f"A{number}"))
    except InvalidStatus:
        return False
    return True
