"""The central system over real sockets: upgrades, answers, limits, PINGs, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as ws_connect

from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, CHARGE_POINT_ACTIONS, Direction, validate
from tests.fakes.peer import read_request
from tests.processes import ROOT, CentralSystem, clean_environment, until

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
TIME = "2026-01-01T00:00:00Z"
HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "1"}
REQUESTS: dict[str, dict[str, Any]] = {
    "Authorize": {"idTag": "A"},
    "BootNotification": BOOT,
    "DataTransfer": {"vendorId": "v"},
    "DiagnosticsStatusNotification": {"status": "Idle"},
    "FirmwareStatusNotification": {"status": "Idle"},
    "Heartbeat": {},
    "LogStatusNotification": {"status": "Idle"},
    "MeterValues": {
        "connectorId": 1,
        "meterValue": [{"timestamp": TIME, "sampledValue": [{"value": "1"}]}],
    },
    "SecurityEventNotification": {"type": "FirmwareUpdated", "timestamp": TIME},
    "SignCertificate": {"csr": "x"},
    "SignedFirmwareStatusNotification": {"status": "Idle"},
    "StartTransaction": {"connectorId": 1, "idTag": "A", "meterStart": 0, "timestamp": TIME},
    "StatusNotification": {"connectorId": 0, "errorCode": "NoError", "status": "Available"},
    "StopTransaction": {"transactionId": 5, "meterStop": 1, "timestamp": TIME},
}


UPGRADE = (
    b"GET /raw HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)


def connect(central_system: CentralSystem, identity: str = "CP1", **more: Any) -> ClientConnection:
    more.setdefault("subprotocols", ["ocpp1.6"])
    ws: ClientConnection = ws_connect(f"{central_system.url}/{identity}", proxy=None, compression=None, **more)
    return ws


def call(ws: ClientConnection, action: str, payload: Any, unique_id: str = "1") -> list[Any]:
    """Send a Call; return the answer, whose id has been checked."""
    ws.send(json.dumps([2, unique_id, action, payload]))
    answer: list[Any] = json.loads(ws.recv(timeout=10))
    assert unique_id == answer[1]
    return answer


def closed(ws: ClientConnection) -> tuple[int, str]:
    """Return the code and reason with which the server closes."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            ws.recv(timeout=10)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all tests that leave it as it was."""
    log = tmp_path_factory.mktemp("server") / "cs.log"
    with CentralSystem(log, "--boot-interval", "123", "--ping-interval-ms", "0") as running:
        yield running


@pytest.mark.parametrize("action", sorted(CHARGE_POINT_ACTIONS))
def test_every_message_of_a_charge_point_gets_a_valid_answer(server: CentralSystem, action: str) -> None:
    """1.6 whole, the security extension included."""
    with connect(server) as ws:
        answer = call(ws, action, REQUESTS[action])
        assert answer[0] == 3
        validate(action, Direction.CONF, answer[2])


def test_boot_and_heartbeat_tell_the_interval_and_the_time(server: CentralSystem) -> None:
    """Core 4.2 and 4.6."""
    with connect(server) as ws:
        boot = call(ws, "BootNotification", BOOT)[2]
        assert (boot["status"], boot["interval"]) == ("Accepted", 123)
        heartbeat = call(ws, "Heartbeat", None)[2]
        assert heartbeat["currentTime"][:10] == time.strftime("%Y-%m-%d", time.gmtime())
        assert heartbeat["currentTime"].endswith("Z")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('[2,"1","Levitate",{}]', "NotImplemented"),
        ('[2,"1","BootNotification",{}]', "ProtocolError"),
        ('[2,"1","BootNotification",{"chargePointVendor":1,"chargePointModel":"M"}]', "TypeConstraintViolation"),
        ('[2,"1","Heartbeat",{"a":1}]', "FormationViolation"),
        (
            '[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Occupied"}]',
            "PropertyConstraintViolation",
        ),
        ('[2,"1","MeterValues",{"connectorId":1,"meterValue":[]}]', "OccurenceConstraintViolation"),
        (
            '[2,"1","StartTransaction",{"connectorId":0,"idTag":"A","meterStart":0,"timestamp":"2026-01-01T00:00:00Z"}]',
            "PropertyConstraintViolation",
        ),
        ('[2,"1","Heartbeat"]', "FormationViolation"),
        ('[2,"1","Heartbeat",[]]', "FormationViolation"),
        ('[2,"1234567890123456789012345678901234567","Heartbeat",{}]', "PropertyConstraintViolation"),
    ],
)  # fmt: skip
def test_invalid_calls_get_the_right_call_error(server: CentralSystem, message: str, code: str) -> None:
    """J 4.2.3; and the connection lives on."""
    with connect(server) as ws:
        ws.send(message)
        answer = json.loads(ws.recv(timeout=10))
        assert answer[1] == json.loads(message)[1]
        assert [4, code, {}] == [answer[0], answer[2], answer[4]]
        assert len(answer) == 5
        assert call(ws, "Heartbeat", {})[0] == 3


@pytest.mark.parametrize("action", sorted(CENTRAL_SYSTEM_ACTIONS - {"DataTransfer"}))
def test_what_only_a_central_system_sends_is_not_supported(server: CentralSystem, action: str) -> None:
    """J 4.2.3: recognised, but not supported by the receiver."""
    with connect(server) as ws:
        assert call(ws, action, {})[:3] == [4, "1", "NotSupported"]


@pytest.mark.parametrize(
    "message", ["", "hello", "{}", "[]", "[7]", '[3,"1",{}]', '[4,"1","InternalError","",{}]', "[" * 100_000]
)
def test_what_cannot_be_answered_is_passed_over(server: CentralSystem, message: str) -> None:
    """Nothing comes back for it, and the next Call is answered."""
    with connect(server) as ws:
        ws.send(message)
        assert call(ws, "Heartbeat", {}, "after")[0] == 3


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/CP1", "CP1"),
        ("/ocpp/a/b/RDAM%20123", "RDAM 123"),
        ("/ocpp/CP%2F1", "CP/1"),
        ("/ocpp/%E2%9A%A1", "⚡"),
        ("/ocpp/CP2?x=/y", "y"),
    ],
)
def test_the_identity_is_the_last_path_segment(tmp_path: Path, path: str, identity: str) -> None:
    """J 3.1.1: percent-decoded."""
    if "?" in path:
        identity = "CP2"
    with CentralSystem(tmp_path / "log") as server:
        url = f"ws://127.0.0.1:{server.port}{path}"
        with ws_connect(url, subprotocols=["ocpp1.6"], proxy=None) as ws:  # type: ignore[list-item]
            assert call(ws, "Heartbeat", {})[0] == 3
        assert identity == server.wait_for(lambda line: line["event"] == "connected")["identity"]


@pytest.mark.parametrize("path", ["/", "/ocpp/", "/ocpp/%ff", "/ocpp/" + "x" * 300])
def test_a_path_without_an_identity_is_404(server: CentralSystem, path: str) -> None:
    """J 3.2."""
    with pytest.raises(InvalidStatus) as caught:
        ws_connect(f"ws://127.0.0.1:{server.port}{path}", subprotocols=["ocpp1.6"], proxy=None)  # type: ignore[list-item]
    assert caught.value.response.status_code == 404


@pytest.mark.parametrize("subprotocols", [None, ["ocpp2.0.1"], ["ocpp1.5", "ocpp2.0.1"]])
def test_without_a_common_subprotocol_it_completes_the_handshake_and_closes(
    server: CentralSystem, subprotocols: list[str] | None
) -> None:
    """J 3.2: a response without the header, then immediately closed."""
    with connect(server, subprotocols=subprotocols) as ws:
        assert ws.subprotocol is None
        assert closed(ws)[0] == 1002
    # Whose charge point it is can be looked up.
    until(lambda: bool(server.lines("disagreed")))
    told = server.lines("disagreed")[-1]
    assert (told["identity"], told["address"]) == ("CP1", "127.0.0.1")


def test_of_several_subprotocols_16_is_agreed_on(server: CentralSystem) -> None:
    """J 3.1.3: a charge point may offer more than one."""
    with connect(server, subprotocols=["ocpp2.0.1", "ocpp1.6"]) as ws:
        assert ws.subprotocol == "ocpp1.6"
        assert call(ws, "Heartbeat", {})[0] == 3


def test_a_second_connection_replaces_the_first(tmp_path: Path) -> None:
    """The charge point is where it connected last; the ghost of its old connection is closed."""
    with CentralSystem(tmp_path / "log") as server:
        with connect(server) as first:
            assert call(first, "BootNotification", BOOT)[0] == 3
            with connect(server) as second:
                assert closed(first) == (1008, "replaced by a newer connection")
                assert call(second, "Heartbeat", {})[0] == 3
                with connect(server, "CP2"):
                    assert call(second, "Heartbeat", {})[0] == 3
        summary = server.summary()
    assert summary["events"]["connections replaced"] == 1
    assert summary["events"]["connections opened"] == 3
    assert summary["connections"] == 0


@pytest.mark.parametrize("size", [256 * 1024 + 1, 900_000, 3_000_000])
def test_a_message_over_256_kib_is_closed_with_1009(server: CentralSystem, size: int) -> None:
    """And the charge point gets to see the code: the connection is not reset under it."""
    with connect(server) as ws:
        ws.send("x" * size)
        assert closed(ws)[0] == 1009


def test_fragments_add_up_to_the_limit(server: CentralSystem) -> None:
    """Small fragments are no way around it."""
    with connect(server) as ws:
        # The answer may come before the last fragment is out.
        with suppress(ConnectionClosed):
            ws.send("x" * 60_000 for _ in range(6))
        assert closed(ws)[0] == 1009


def test_a_message_of_256_kib_is_taken_whole_and_in_fragments(server: CentralSystem) -> None:
    """The limit itself is allowed."""
    padding = " " * (256 * 1024 - len('[2,"1","Heartbeat",{}]'))
    message = f'[2,"1","Heartbeat",{padding}{{}}]'
    with connect(server) as ws:
        ws.send(message)
        assert json.loads(ws.recv(timeout=10))[0] == 3
        ws.send(message[start : start + 10_000] for start in range(0, len(message), 10_000))
        assert json.loads(ws.recv(timeout=10))[0] == 3


def test_binary_messages_are_closed_with_1003(server: CentralSystem) -> None:
    """J 4.1.2: messages are text."""
    with connect(server) as ws:
        ws.send(b'[2,"1","Heartbeat",{}]')
        assert closed(ws)[0] == 1003


def test_text_that_is_no_utf8_is_closed_with_1007(server: CentralSystem) -> None:
    """RFC 6455, 8.1."""
    with connect(server) as ws:
        ws.send(b'[2,"\xff","Heartbeat",{}]', text=True)
        assert closed(ws)[0] == 1007


@pytest.mark.parametrize(
    "request_line",
    [b"GET /CP1 HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /CP1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"],
)
def test_plain_http_is_refused(server: CentralSystem, request_line: bytes) -> None:
    """A browser, or a wrong health check, gets an HTTP error and no stall."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(request_line)
        assert sock.recv(100).startswith((b"HTTP/1.1 400", b"HTTP/1.1 101"))


def test_transactions_have_ids_and_repeated_and_unknown_ones_are_counted(tmp_path: Path) -> None:
    """Core 4.8, 4.10, 3.7.1: unique ids; what comes again is no second one; any stop is answered."""
    start = REQUESTS["StartTransaction"]
    with CentralSystem(tmp_path / "log") as server:
        with connect(server, "A") as a, connect(server, "B") as b:
            first = call(a, "StartTransaction", start)[2]["transactionId"]
            again = call(a, "StartTransaction", start)[2]["transactionId"]
            other = call(b, "StartTransaction", start)[2]["transactionId"]
            later = {**start, "timestamp": "2026-01-01T01:00:00Z"}
            second = call(a, "StartTransaction", later)[2]["transactionId"]
            assert first == again
            assert len({first, other, second}) == 3
            assert min(first, other, second) > 0
            for transaction_id in (other, first, first, -1):
                stop = {"transactionId": transaction_id, "meterStop": 5, "timestamp": TIME, "idTag": "A"}
                assert call(a, "StopTransaction", stop)[2] == {"idTagInfo": {"status": "Accepted"}}
        counted = server.summary()["transactions"]
    assert {name: count for name, count in counted.items() if count} == {
        "started": 3,
        "repeated_starts": 1,
        "late_stops": 1,
        "stopped": 2,
        "repeated_stops": 1,
        "unknown_stops": 1,
        "without_transaction_id": 1,
        # The last one, which has begun at one o'clock.
        "early_stops": 1,
        "open": 1,
        "energy_wh": 10,
        "anomalies": 7,
    }


def test_require_boot_answers_security_error_before_the_boot(tmp_path: Path) -> None:
    """J errata 3.10; a reconnect needs no second boot."""
    with CentralSystem(tmp_path / "log", "--require-boot") as server:
        with connect(server) as ws:
            assert call(ws, "Heartbeat", {})[:3] == [4, "1", "SecurityError"]
            assert call(ws, "BootNotification", BOOT)[0] == 3
            assert call(ws, "Heartbeat", {})[0] == 3
        with connect(server) as ws:
            assert call(ws, "Heartbeat", {})[0] == 3
        # Nor does a restart of the central system, however it ended: a boot is answered once it is kept.
        with connect(server, "late") as late:
            assert call(late, "BootNotification", BOOT)[0] == 3
        server.kill()
        server.start()
        with connect(server, "late") as late:
            assert call(late, "Heartbeat", {})[0] == 3
        with connect(server) as ws, connect(server, "stranger") as stranger:
            assert call(ws, "Heartbeat", {})[0] == 3
            assert call(stranger, "Heartbeat", {})[2] == "SecurityError"


def test_a_second_call_with_the_id_of_one_that_is_being_handled_is_refused(tmp_path: Path) -> None:
    """J 4.2.3, GenericError; both are answered, and the first starts one transaction."""
    start = json.dumps([2, "same", "StartTransaction", REQUESTS["StartTransaction"]])
    with CentralSystem(tmp_path / "log") as server, connect(server) as ws:
        ws.send(start)
        ws.send('[2,"same","Heartbeat",{}]')
        answers = [json.loads(ws.recv(timeout=10)) for _ in range(2)]
        assert [answer[:3] for answer in answers if answer[0] == 4] == [[4, "same", "GenericError"]]
        assert [answer[2]["transactionId"] > 0 for answer in answers if answer[0] == 3] == [True]
        assert call(ws, "Heartbeat", {}, "same")[0] == 3


def test_heartbeats_do_not_wait_for_the_store(tmp_path: Path) -> None:
    """They overtake a transaction message that does, on the same connection."""
    with CentralSystem(tmp_path / "log") as server, connect(server) as ws:
        ws.send(json.dumps([2, "slow", "StartTransaction", REQUESTS["StartTransaction"]]))
        ws.send('[2,"quick","Heartbeat",{}]')
        assert [json.loads(ws.recv(timeout=10))[1] for _ in range(2)] == ["quick", "slow"]


def test_pings_come_each_interval_and_a_missing_pong_ends_the_connection(tmp_path: Path) -> None:
    """The original's rule: who did not answer the previous PING is terminated at the next."""
    with CentralSystem(tmp_path / "log", "--ping-interval-ms", "300") as server:
        with (
            connect(server, "lively") as lively,
            socket.create_connection(("127.0.0.1", server.port)) as dead,
        ):
            dead.settimeout(10)
            dead.sendall(UPGRADE)
            read_request(dead)  # the response, up to its empty line
            began = time.monotonic()
            received = b""
            while True:
                try:
                    piece = dead.recv(100)
                except ConnectionResetError:
                    break
                if not piece:
                    break
                received += piece
            assert received == b"\x89\x00"  # one PING, and then the end
            assert 0.25 < time.monotonic() - began < 5
            assert call(lively, "Heartbeat", {})[0] == 3
        assert (
            server.wait_for(lambda line: line.get("identity") == "raw" and line["event"] == "disconnected")["why"]
            == "no PONG"
        )
        assert server.summary()["events"]["pings lost"] == 1


def test_sigterm_closes_every_connection_with_1012_and_exits_0(tmp_path: Path) -> None:
    """Within 5 s, also when some charge points do not answer the Close frame."""
    with CentralSystem(tmp_path / "log") as server, ExitStack() as opened:
        connections = [opened.enter_context(connect(server, f"CP{number}")) for number in range(20)]
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(UPGRADE)
            read_request(deaf)
            began = time.monotonic()
            server.signal(signal.SIGTERM)
            assert {closed(ws)[0] for ws in connections} == {1012}
            assert server.stop() == 0
            assert time.monotonic() - began < 5
        summary = server.lines("stopped")[-1]
        assert summary["events"]["connections opened"] == 21


def test_an_upgrade_that_comes_while_it_stops_is_refused(tmp_path: Path) -> None:
    """A storm of reconnects does not end with the signal: nobody is let in who is cut off right after."""
    with CentralSystem(tmp_path / "log") as server, connect(server, "standing") as standing:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as late, ExitStack() as deaf:
            # One that does not answer the Close frame keeps the central system waiting.
            silent = deaf.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            silent.sendall(UPGRADE)
            read_request(silent)
            server.signal(signal.SIGTERM)
            assert closed(standing)[0] == 1012
            late.sendall(UPGRADE)
            assert late.recv(200).startswith(b"HTTP/1.1 503")
        assert server.stop() == 0
        stopped = server.lines("stopped")
        assert stopped[-1]["connections"] == 0
        assert stopped[-1]["events"]["upgrades refused with 503"] == 1


def test_a_storm_of_connections_is_not_a_storm_of_log_lines(tmp_path: Path) -> None:
    """Thinned out by kind and second, and what was left out is counted."""
    with CentralSystem(tmp_path / "log") as server:
        with ExitStack() as opened:
            for number in range(200):
                opened.enter_context(connect(server, f"CP{number}"))
        summary = server.summary()
        lines = server.lines("connected")
        assert summary["events"]["connections opened"] == 200
        named = sum("identity" in line for line in lines)
        suppressed = sum(line.get("suppressed", 0) for line in lines)
        assert named < 200
        assert named + suppressed == 200


def test_log_lifecycle_off_and_log_payload_on(tmp_path: Path) -> None:
    """The two switches of the original; a line break in a message stays inside its line."""
    with CentralSystem(
        tmp_path / "log", env={"LOG_LIFECYCLE": "false", "LOG_PAYLOAD": "true", "HEARTBEAT_INT_MS": "5000"}
    ) as server:
        with connect(server, "CP%0A1") as ws:
            call(ws, "DataTransfer", {"vendorId": "v\n\x1b[31m"})
        server.stop()
        assert not server.lines("connected")
        messages = server.lines("message")
    assert [each["direction"] for each in messages] == ["in", "out"]
    assert {each["identity"] for each in messages} == {"CP\n1"}
    assert json.loads(messages[0]["message"])[3] == {"vendorId": "v\n\x1b[31m"}
    raw = (tmp_path / "log").read_bytes()
    assert b"\x1b" not in raw
    assert all(json.loads(line) for line in raw.splitlines())


@pytest.mark.parametrize(
    ("args", "env", "said"),
    [
        ([], {"WEB_SRV_PORT": "abc"}, "--port or WEB_SRV_PORT: 'abc' is not a port (0 to 65535)"),
        ([], {"HEARTBEAT_INT_MS": "-1"}, "--ping-interval-ms or HEARTBEAT_INT_MS: '-1' is not a time"),
        ([], {"LOG_LIFECYCLE": "perhaps"}, "--log-lifecycle or LOG_LIFECYCLE: 'perhaps' is neither"),
        (["--boot-interval", "0"], {}, "--boot-interval or BOOT_INTERVAL: '0' is not a time in seconds"),
        (["--port", "8_0"], {}, "'8_0' is not a port"),
        (["--host", "no-such-host.invalid"], {}, "cannot listen on no-such-host.invalid"),
        (["--host", "x" * 70], {}, "not a host name"),
        (["--colour"], {}, "unrecognized arguments: --colour"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(args: list[str], env: dict[str, str], said: str) -> None:
    """No usage, no traceback: what is wrong, and where."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "--store", "memory", *args],
        cwd=ROOT,
        env=clean_environment(env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_flag_wins_over_its_variable(tmp_path: Path) -> None:
    """As the README says."""
    server = CentralSystem(tmp_path / "log", "--boot-interval", "7", env={"BOOT_INTERVAL": "9"})
    with server, connect(server) as ws:
        assert call(ws, "BootNotification", BOOT)[2]["interval"] == 7


def test_a_port_in_use_is_one_line_and_status_2(server: CentralSystem) -> None:
    """The most common mistake of all."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", str(server.port), "--store", "memory"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {server.port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_does_not_read_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Its answers pile up to a limit, then nothing more is read from it; others are served."""
    message = json.dumps([2, "x" * 36, "Heartbeat", {}]).encode()
    masked = b"\x81" + bytes([0x80 | len(message)]) + b"\0\0\0\0" + message
    with (
        CentralSystem(tmp_path / "log") as server,
        socket.create_connection(("127.0.0.1", server.port)) as deaf,
    ):
        deaf.sendall(UPGRADE)
        read_request(deaf)
        deaf.settimeout(2)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200_000_000:
                sent += deaf.send(masked * 1000)
        with connect(server) as ws:
            assert call(ws, "Heartbeat", {})[0] == 3
        assert resident_bytes(server.pid) < 200_000_000


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
