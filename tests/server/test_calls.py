"""Calls of the central system: one outstanding for each charge point, and what becomes of each."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.ocppj.frames import CallError, CallResult, MalformedFrame, decode
from ampswarm.ocppj.session import UniqueIds
from server.calls import MAX_QUEUED, CallFailed, Calls, Outcome, call_each
from server.metrics import Metrics
from tests.processes import TIMEOUT, CentralSystem
from tests.server.station import Answer, Command, Refusal, Station

RESET = {"type": "Soft"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all tests that leave it as it was."""
    with CentralSystem(tmp_path_factory.mktemp("calls") / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that have to wait."""
    with ThreadPoolExecutor(200) as executor:
        yield executor


def post(server: CentralSystem, identity: str, action: str, payload: Any = None, timeout: float = 30) -> Any:
    path = f"/api/v1/charge-points/{identity}/calls/{action}?timeout={timeout}"
    return server.request("POST", path, payload)


class Stream:
    """The answer to a Call to many, read line by line."""

    def __init__(self, server: CentralSystem, action: str, body: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=TIMEOUT)
        self._connection.request(
            "POST", f"/api/v1/calls/{action}", json.dumps(body), {"Content-Type": "application/json"}
        )
        self.response = self._connection.getresponse()

    def line(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self.response.readline())
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def rest(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.response.read().splitlines()]

    def close(self) -> None:
        self.response.close()
        self._connection.close()


def call_many(server: CentralSystem, action: str, **body: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Return the lines by identity, and the summary."""
    with Stream(server, action, body) as stream:
        assert (stream.response.status, stream.response.getheader("content-type")) == (200, "application/x-ndjson")
        *lines, last = stream.rest()
    summary: dict[str, Any] = last["summary"]
    assert len(lines) == len({line["identity"] for line in lines})
    return {line.pop("identity"): line for line in lines}, summary


# -- one charge point ---------------------------------------------------------------------------


def test_a_call_reaches_the_charge_point_and_its_answer_the_operator(server: CentralSystem) -> None:
    """The payload goes out as it came in, and the other way round."""
    configuration = {"configurationKey": [{"key": "A", "readonly": False, "value": "ü"}], "unknownKey": ["B"]}
    with Station(server, "one", lambda command: configuration) as station:
        asked = {"key": ["A", "B"]}
        assert post(server, "one", "GetConfiguration", asked) == (200, {"result": configuration})
        assert [(command.action, command.payload) for command in station.commands] == [("GetConfiguration", asked)]


def test_a_body_may_be_left_out_where_the_payload_is_empty(server: CentralSystem) -> None:
    """J 4.2.1: no payload is the empty one."""
    with Station(server, "empty") as station:
        for body in (None, b"", b"null", b"{}"):
            assert post(server, "empty", "ClearCache", body) == (200, {"result": {"status": "Accepted"}})
        assert [command.payload for command in station.commands] == [{}] * 4


@pytest.mark.parametrize("identity", ["CP/1", "RDAM 123", "50%", "⚡", "a?b#c", "x/calls/Reset", "a//b/", "a\nb\n"])
def test_identities_are_percent_decoded(server: CentralSystem, identity: str) -> None:
    """J 3.1.1: whatever a connection URL can name, the operator can call."""
    with Station(server, identity):
        assert server.call(identity, "Reset", RESET) == {"status": "Accepted"}


def test_a_call_error_is_502_with_all_that_it_said(server: CentralSystem) -> None:
    """J 4.2.3: code, description and details; an answer of the charge point and not of this API."""
    refusal = Refusal("NotSupported", "no such thing", {"why": [1, 2]})
    with Station(server, "refuses", lambda command: refusal):
        assert post(server, "refuses", "Reset", RESET) == (
            502,
            {"error": {"code": "NotSupported", "description": "no such thing", "details": {"why": [1, 2]}}},
        )


def test_who_is_not_connected_is_404(server: CentralSystem) -> None:
    """Never seen, or gone."""
    with Station(server, "gone") as station:
        station.call("Heartbeat", {})
    said = {"never": "no such charge point has ever connected", "gone": "it is not connected"}
    for identity, description in said.items():
        status, answer = post(server, identity, "Reset", RESET)
        assert (status, answer["error"]["code"]) == (404, "NotConnected")
        assert description == answer["error"]["description"]
    lines, _ = call_many(server, "Reset", payload=RESET, identities=list(said))
    assert said == {identity: line["error"]["description"] for identity, line in lines.items()}


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Reset", {"type": "Medium"}, "PropertyConstraintViolation"),
        ("Reset", {}, "ProtocolError"),
        ("Reset", [], "InvalidRequest"),
        ("Reset", b"{", "InvalidRequest"),
        ("Reset", b'{"type": NaN}', "InvalidRequest"),
        ("Reset", b'{"type": "\\ud800"}', "InvalidRequest"),
        ("reset", RESET, "NotImplemented"),
        ("Levitate", {}, "NotImplemented"),
        ("Heartbeat", {}, "NotSupported"),
    ],
)
def test_a_call_that_breaks_the_rules_is_422_and_not_sent(
    server: CentralSystem, action: str, payload: Any, code: str
) -> None:
    """Whoever it is for; the charge point never sees it."""
    with Station(server, "spared") as station:
        for identity in ("spared", "never"):
            status, answer = post(server, identity, action, payload)
            assert (422, code) == (status, answer["error"]["code"])
        server.call("spared", "Reset", RESET)
        assert [command.action for command in station.commands] == ["Reset"]


RESERVATION = {"connectorId": 1, "idTag": "T", "reservationId": 1}
FIRMWARE = {"location": "https://example.com/x", "retrieveDate": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("UpdateFirmware", {**FIRMWARE, "retrieveDate": "tomorrow"}),
        ("UpdateFirmware", {**FIRMWARE, "retrieveDate": "2026-13-01T00:00:00Z"}),
        ("ReserveNow", {**RESERVATION, "expiryDate": ""}),
        ("GetDiagnostics", {"location": "https://example.com/x", "startTime": "2026-01-01"}),
    ],
)
def test_a_time_that_is_none_is_422_and_not_sent(server: CentralSystem, action: str, payload: dict[str, Any]) -> None:
    """The schema says so; the charge point's error would be looked for at the wrong end."""
    with Station(server, "timely", lambda command: {}) as station:
        status, answer = post(server, "timely", action, payload)
        assert (status, answer["error"]["code"]) == (422, "PropertyConstraintViolation")
        (wrong,) = [name for name, value in payload.items() if value != {**FIRMWARE, **RESERVATION}.get(name)]
        assert answer["error"]["description"].startswith(f"{wrong}: ")
        with Stream(server, action, {"payload": payload, "identities": ["timely"]}) as stream:
            assert stream.response.status == 422
        for good in (FIRMWARE, {**FIRMWARE, "retrieveDate": "2026-01-01T01:00:00.5+01:00", "location": "no URI"}):
            assert post(server, "timely", "UpdateFirmware", good) == (200, {"result": {}})
        assert [command.action for command in station.commands] == ["UpdateFirmware"] * 2


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "3601", "soon"])
def test_a_timeout_that_is_none_is_422(server: CentralSystem, timeout: str) -> None:
    """Nothing is sent that nobody would wait for."""
    with Station(server, "patient") as station:
        status, answer = server.request("POST", f"/api/v1/charge-points/patient/calls/ClearCache?timeout={timeout}")
        assert (status, answer["error"]["code"]) == (422, "InvalidRequest")
        server.call("patient", "Reset", RESET)
        assert len(station.commands) == 1


def test_no_answer_in_time_is_504_and_a_late_one_answers_nothing(tmp_path: Path) -> None:
    """J 4.1.1: the next Call goes out then; the late answer is not taken for its own."""
    late: list[str] = []

    def answer(command: Command) -> Answer:
        if command.action == "Reset":
            late.append(command.unique_id)
            return None
        return '[3,"' + late[0] + '",{"status":"Rejected"}]'

    with CentralSystem(tmp_path / "log") as server, Station(server, "slow", answer) as station:
        status, said = post(server, "slow", "Reset", RESET, 0.2)
        assert (status, said["error"]["code"]) == (504, "TimedOut")
        # The answer to the Reset comes now; the one to ClearCache never does.
        assert post(server, "slow", "ClearCache", {}, 0.2)[0] == 504
        assert [command.action for command in station.commands] == ["Reset", "ClearCache"]
        summary = server.summary()
    assert summary["events"]["answers to no outstanding Call"] == 1
    assert summary["calls_sent"] == {"ClearCache": 1, "Reset": 1}
    assert summary["calls_failed"] == {"TimedOut": 2}
    assert summary["calls_answered"] == {}


@pytest.mark.parametrize(
    "text",
    ['[3,"{id}",{"status":"Perhaps"}]', '[3,"{id}",{}]', '[3,"{id}",[]]', '[3,"{id}"]', '[4,"{id}","InternalError"]'],
)
def test_an_answer_that_breaks_the_rules_is_502_at_once(server: CentralSystem, text: str) -> None:
    """It is not waited for as if nothing had come, and the next Call can go out."""
    with Station(server, "wrong", lambda command: text) as station:
        for _ in range(2):
            status, answer = post(server, "wrong", "Reset", RESET)
            assert (status, answer["error"]["code"]) == (502, "InvalidAnswer")
        assert len(station.commands) == 2


def test_one_call_is_outstanding_and_the_others_wait(server: CentralSystem, threads: ThreadPoolExecutor) -> None:
    """J 4.1.1: SHOULD NOT send another before the answer; the charge point's own Calls go on meanwhile."""
    free = threading.Event()

    def answer(command: Command) -> Answer:
        # This thread reads nothing more until then: what was sent too early would be in the socket.
        assert free.wait(TIMEOUT)
        return {"status": "Accepted"}

    with Station(server, "serial", answer) as station:
        asked = [threads.submit(post, server, "serial", "Reset", RESET) for _ in range(5)]
        station.wait_for(1)
        _until_waiting(server, "serial", 5)
        assert [future.done() for future in asked] == [False] * 5
        free.set()
        assert [future.result(TIMEOUT) for future in asked] == [(200, {"result": {"status": "Accepted"}})] * 5
        assert len({command.unique_id for command in station.commands}) == 5


def test_calls_cross_each_other(server: CentralSystem, threads: ThreadPoolExecutor) -> None:
    """J 4.1.1, note: the charge point may call while it is called."""
    with Station(server, "crossing", lambda command: None) as station:
        asked = threads.submit(post, server, "crossing", "Reset", RESET)
        (command,) = station.wait_for(1)
        assert "currentTime" in station.call("Heartbeat", {})
        station.send(json.dumps([3, command.unique_id, {"status": "Accepted"}]))
        assert asked.result(TIMEOUT)[0] == 200


def test_a_lost_connection_fails_what_was_outstanding_and_what_waited(
    server: CentralSystem, threads: ThreadPoolExecutor
) -> None:
    """At once, not after the timeout; and nothing of it is sent when the charge point comes back."""
    with Station(server, "lost", lambda command: None) as station:
        asked = [threads.submit(post, server, "lost", "Reset", RESET) for _ in range(3)]
        station.wait_for(1)
        _until_waiting(server, "lost", 3)
    assert {(502, "ConnectionLost")} == {_code(future) for future in asked}
    with Station(server, "lost") as again:
        assert server.call("lost", "ClearCache") == {"status": "Accepted"}
        assert [command.action for command in again.commands] == ["ClearCache"]


def test_a_replaced_connection_fails_its_calls_and_the_new_one_has_its_own(
    server: CentralSystem, threads: ThreadPoolExecutor
) -> None:
    """J errata 3.7: message ids are unique over connections, so an old answer cannot be taken for a new one."""
    with Station(server, "twice", lambda command: None) as first:
        asked = threads.submit(post, server, "twice", "Reset", RESET)
        (old,) = first.wait_for(1)
        with Station(server, "twice") as second:
            assert _code(asked) == (502, "ConnectionLost")
            server.call("twice", "Reset", RESET)
            (new,) = second.commands
            assert old.unique_id != new.unique_id
            assert len(new.unique_id) <= 36


def test_too_many_that_wait_are_429(server: CentralSystem, threads: ThreadPoolExecutor) -> None:
    """A charge point that does not answer must not fill the memory."""
    with Station(server, "crowded", lambda command: None) as station:
        asked = [threads.submit(post, server, "crowded", "Reset", RESET) for _ in range(MAX_QUEUED + 3)]
        station.wait_for(1)
        refused = [each for each in asked if each in _done(asked, 2)]
        assert {(429, "TooManyCalls")} == {_code(future) for future in refused}
    assert {(429, "TooManyCalls"), (502, "ConnectionLost")} == {_code(future) for future in asked}


def _done(futures: list[Future[Any]], count: int) -> list[Future[Any]]:
    deadline = time.monotonic() + TIMEOUT
    while sum(future.done() for future in futures) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    done = [future for future in futures if future.done()]
    assert len(done) == count
    return done


def _until_waiting(server: CentralSystem, identity: str, count: int) -> None:
    """Wait until so many Calls are under way or wait."""
    deadline = time.monotonic() + TIMEOUT
    while server.request("GET", f"/api/v1/charge-points/{identity}")[1]["calls_waiting"] != count:
        assert time.monotonic() < deadline


def _code(future: Future[Any]) -> tuple[int, str]:
    status, answer = future.result(TIMEOUT)
    return status, answer["error"]["code"]


# -- many ---------------------------------------------------------------------------------------


def test_many_are_called_each_gets_a_line_and_the_last_line_sums_up(tmp_path: Path) -> None:
    """Results, CallErrors, silence and absence side by side; one that is named twice is called once."""
    with CentralSystem(tmp_path / "log") as server, ExitStack() as opened:
        for number in range(5):
            opened.enter_context(Station(server, f"good {number}"))
        opened.enter_context(Station(server, "bad", lambda command: Refusal("InternalError", "oh", {"a": 1})))
        opened.enter_context(Station(server, "mute", lambda command: None))
        names = [*(f"good {number}" for number in range(5)), "bad", "mute", "absent", "absent"]
        lines, summary = call_many(server, "Reset", payload=RESET, identities=names, timeout=0.5)
        good = {f"good {number}": {"result": {"status": "Accepted"}} for number in range(5)}
        assert {**good, "bad": {"error": {"code": "InternalError", "description": "oh", "details": {"a": 1}}}} == {
            name: line for name, line in lines.items() if name not in {"mute", "absent"}
        }
        assert {name: lines[name]["error"]["code"] for name in ("mute", "absent")} == {
            "mute": "TimedOut",
            "absent": "NotConnected",
        }
        assert 0.5 <= summary.pop("seconds") < 10
        assert summary == {
            "charge_points": 8,
            "results": 5,
            "errors": {"CallError": 1, "NotConnected": 1, "TimedOut": 1},
            "not_called": 0,
        }


def test_null_calls_all_that_are_connected(tmp_path: Path) -> None:
    """And nobody at all is fine, too."""
    with CentralSystem(tmp_path / "log") as server:
        assert call_many(server, "ClearCache")[0] == {}
        with Station(server, "A"), Station(server, "B") as gone:
            gone.close()
            server.wait_for(lambda line: line["event"] == "disconnected")
            with Station(server, "C"):
                lines, summary = call_many(server, "ClearCache", identities=None)
        assert lines == {name: {"result": {"status": "Accepted"}} for name in ("A", "C")}
        assert summary["results"] == 2
        assert call_many(server, "ClearCache", identities=[])[1]["charge_points"] == 0


def test_no_more_are_called_at_a_time_than_was_said(server: CentralSystem) -> None:
    """`concurrency` is what keeps an operator's command from becoming a storm of its own."""
    lock = threading.Lock()
    at_once, most = 0, 0
    together = threading.Barrier(2)

    def answer(command: Command) -> Answer:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        together.wait(TIMEOUT)  # ends only with two at a time
        with lock:
            at_once -= 1
        return {"status": "Accepted"}

    with ExitStack() as opened:
        names = [f"wave {number}" for number in range(6)]
        for name in names:
            opened.enter_context(Station(server, name, answer))
        _, summary = call_many(server, "Reset", payload=RESET, identities=names, concurrency=2)
    assert (summary["results"], most) == (6, 2)


@pytest.mark.parametrize(
    ("action", "body", "code"),
    [
        ("Reset", {}, "ProtocolError"),
        ("Levitate", {}, "NotImplemented"),
        ("Heartbeat", {}, "NotSupported"),
        ("ClearCache", {"concurrency": 0}, "InvalidRequest"),
        ("ClearCache", {"concurrency": 10_001}, "InvalidRequest"),
        ("ClearCache", {"timeout": 0}, "InvalidRequest"),
        ("ClearCache", {"identities": "all"}, "InvalidRequest"),
        ("ClearCache", {"identity": ["A"]}, "InvalidRequest"),
        ("ClearCache", None, "InvalidRequest"),
    ],
)
def test_a_call_to_many_that_breaks_the_rules_is_422_and_nobody_is_called(
    server: CentralSystem, action: str, body: Any, code: str
) -> None:
    """Before the first line: a status that a script sees. A misspelled field is not taken for "all"."""
    with Station(server, "untouched") as station:
        status, answer = server.request("POST", f"/api/v1/calls/{action}", body)
        assert (422, code) == (status, answer["error"]["code"])
        server.call("untouched", "Reset", RESET)
        assert len(station.commands) == 1


def test_lines_come_as_charge_points_answer(server: CentralSystem) -> None:
    """Who watches a long campaign sees it go on; the slow do not hold up the quick."""
    with (
        Station(server, "quick") as quick,
        Station(server, "late", lambda command: None) as late,
        ExitStack() as opened,
    ):
        stream = opened.enter_context(Stream(server, "Reset", {"payload": RESET, "identities": ["late", "quick"]}))
        assert stream.line()["identity"] == "quick"
        assert len(quick.commands) == 1
        (command,) = late.wait_for(1)
        late.send(json.dumps([3, command.unique_id, {"status": "Rejected"}]))
        assert stream.line() == {"identity": "late", "result": {"status": "Rejected"}}
        assert stream.line()["summary"]["results"] == 2
        assert stream.rest() == []


def test_who_stops_reading_stops_the_campaign(tmp_path: Path) -> None:
    """An operator's Ctrl-C: no more Calls go out than were out."""
    silent = [threading.Event() for _ in range(3)]
    with CentralSystem(tmp_path / "log") as server, ExitStack() as opened:
        stations = [
            opened.enter_context(Station(server, f"S{number}", lambda command: None)) for number, _ in enumerate(silent)
        ]
        names = [f"S{number}" for number in range(3)]
        stream = Stream(server, "Reset", {"payload": RESET, "identities": names, "concurrency": 1, "timeout": 3600})
        stations[0].wait_for(1)
        stream.close()
        assert server.wait_for(lambda line: line["event"] == "campaign")["is_complete"] is False
        # The first one's answer would set the next Call free, if anybody were still there.
        (command,) = stations[0].commands
        stations[0].send(json.dumps([3, command.unique_id, {"status": "Accepted"}]))
        for station in stations:
            station.call("Heartbeat", {})
        assert [len(station.commands) for station in stations] == [1, 0, 0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_process_ends_a_stream_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Each charge point that was called gets its line, the rest are summed up; gone within 5 s, with status 0."""
    with CentralSystem(tmp_path / "log") as server, ExitStack() as opened:
        for name in ("A", "B", "C"):
            station = opened.enter_context(Station(server, name, lambda command: None))
        body = {"payload": RESET, "identities": ["C", "A", "B"], "concurrency": 1}
        stream = opened.enter_context(Stream(server, "Reset", body))
        station.wait_for(1)
        began = time.monotonic()
        server.signal(number)
        line, last = stream.rest()
        assert (line["identity"], line["error"]["code"]) == ("C", "ShuttingDown")
        assert (
            last["summary"]["results"],
            last["summary"]["errors"],
            last["summary"]["not_called"],
        ) == (0, {"ShuttingDown": 1}, 2)
        assert server.stop() == 0
        assert time.monotonic() - began < 5
    assert all(json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines())


def test_a_client_that_does_not_read_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Its stream is cut off: within 5 s all the same, and the log stays JSON."""
    names = [f"{number:06d}" + "x" * 200 for number in range(20_000)]
    body = {"payload": RESET, "identities": names}
    with CentralSystem(tmp_path / "log") as server, Stream(server, "Reset", body) as stream:
        stream.line()
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5
    assert all(json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines())


# -- the queue, against a model -----------------------------------------------------------------


class _Fleet:
    """Charge points that write down what they are sent."""

    def __init__(self) -> None:
        self.calls = Calls(UniqueIds("x"), Metrics())
        self.sent: dict[str, list[tuple[str, str]]] = defaultdict(list)

    def start(self, identity: str, marker: str) -> asyncio.Future[Any]:
        def send(text: bytes) -> None:
            _, unique_id, _, payload = json.loads(text)
            self.sent[identity].append((unique_id, payload["data"]))

        return self.calls.start(identity, send, "DataTransfer", {"vendorId": "v", "data": marker}, 3600)


_ACTIONS = st.tuples(
    st.sampled_from(["start", "answer", "error", "malformed", "stray", "lose", "cancel first", "cancel last"]),
    st.sampled_from("AB"),
)


@given(st.lists(_ACTIONS, max_size=40))
def test_calls_go_out_in_order_one_at_a_time_whatever_happens(steps: list[tuple[str, str]]) -> None:
    """J 4.1.1, against a plain list of what each charge point has to be sent and to answer."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, str]]) -> None:
    fleet = _Fleet()
    # The model: what waits for each, outstanding one first; and what was sent in all.
    waiting: dict[str, list[tuple[str, asyncio.Future[Any]]]] = {"A": [], "B": []}
    expected: dict[str, list[str]] = {"A": [], "B": []}
    outcomes: list[tuple[asyncio.Future[Any], object]] = []

    def next_goes_out(identity: str) -> None:
        waiting[identity] = [each for each in waiting[identity] if not each[1].cancelled()]
        if waiting[identity]:
            expected[identity].append(waiting[identity][0][0])

    for number, (step, identity) in enumerate(steps):
        line = waiting[identity]
        sent = fleet.sent[identity]
        if step == "start":
            future = fleet.start(identity, str(number))
            line.append((str(number), future))
            if len(line) == 1:
                expected[identity].append(str(number))
        elif step == "stray":
            assert not fleet.calls.answered(identity, CallResult("never sent", {}))
        elif step == "lose":
            fleet.calls.lost(identity)
            outcomes += [(future, Outcome.CONNECTION_LOST) for _, future in line if not future.cancelled()]
            waiting[identity] = []
        elif step.startswith("cancel") and line:
            line[0 if step == "cancel first" else -1][1].cancel()
        elif line and step in {"answer", "error", "malformed"}:
            _, future = line.pop(0)
            outcome = _answer(fleet.calls, identity, step, sent[-1][0])
            if not future.cancelled():
                outcomes.append((future, outcome))
            next_goes_out(identity)
        assert expected == {each: [marker for _, marker in fleet.sent[each]] for each in "AB"}
    fleet.calls.close()
    for line in waiting.values():
        outcomes += [(future, Outcome.SHUTTING_DOWN) for _, future in line if not future.cancelled()]
    for future, expected_outcome in outcomes:
        failure = future.exception()
        assert expected_outcome == (failure.outcome if isinstance(failure, CallFailed) else future.result())


def _answer(calls: Calls, identity: str, how: str, unique_id: str) -> object:
    if how == "answer":
        assert calls.answered(identity, CallResult(unique_id, {"status": "Accepted"}))
        return {"status": "Accepted"}
    if how == "error":
        assert calls.answered(identity, CallError(unique_id, "GenericError", "", {}))
        return Outcome.CALL_ERROR
    with pytest.raises(MalformedFrame) as malformed:
        decode(f'[3,"{unique_id}"]')
    assert calls.malformed(identity, malformed.value)
    return Outcome.INVALID_ANSWER


def test_a_charge_point_without_calls_costs_nothing() -> None:
    """What was kept for it goes when its last Call ends, however that ends."""

    async def play() -> None:
        fleet = _Fleet()
        answered, lost = fleet.start("A", "1"), fleet.start("B", "2")
        fleet.calls.answered("A", CallResult(fleet.sent["A"][0][0], {"status": "Accepted"}))
        fleet.calls.lost("B")
        assert fleet.calls._lines == {}
        assert await answered == {"status": "Accepted"}
        with pytest.raises(CallFailed):
            await lost

    asyncio.run(play())


def test_many_are_found_by_a_filter(tmp_path: Path) -> None:
    """All of one make, or those that wait for their boot to be accepted; nobody has to list them."""
    with CentralSystem(tmp_path / "log") as server, ExitStack() as opened:
        for identity, vendor in (("N1", "Volt"), ("N2", "Volt"), ("S1", "Volt"), ("N3", "Ampere"), ("N4", "")):
            station = opened.enter_context(Station(server, identity))
            if vendor:
                station.call("BootNotification", {"chargePointVendor": vendor, "chargePointModel": "M"})
        for wanted, expected in (
            ({"prefix": "N"}, ["N1", "N2", "N3", "N4"]),
            ({"vendor": "Volt"}, ["N1", "N2", "S1"]),
            ({"vendor": "Volt", "model": "M", "prefix": "N"}, ["N1", "N2"]),
            ({"registration": "unknown"}, ["N4"]),
            ({"registration": "accepted", "vendor": "Ampere"}, ["N3"]),
            ({"model": "other"}, []),
            ({}, ["N1", "N2", "N3", "N4", "S1"]),
        ):
            lines, summary = call_many(server, "ClearCache", filter=wanted)
            assert (expected, len(expected)) == (sorted(lines), summary["results"]), wanted
        both = {"filter": {"prefix": "N"}, "identities": ["S1"]}
        assert server.request("POST", "/api/v1/calls/ClearCache", both)[0] == 422


def test_a_fault_in_one_call_ends_the_campaign_instead_of_hanging_it() -> None:
    """The stream breaks off with an error in the log."""

    async def play() -> None:
        async def call(identity: str) -> dict[str, Any]:
            raise ZeroDivisionError(identity)

        with pytest.raises(ZeroDivisionError):
            async for _ in call_each(call, ["A", "B"], 2):
                pass

    asyncio.run(asyncio.wait_for(play(), TIMEOUT))
