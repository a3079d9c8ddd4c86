"""What attackers once got: each of these was found by `test_wire_fuzz`, or while it was written."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from random import Random

import pytest

from server.acceptor import bind
from tests.fakes import wire_noise
from tests.fakes.certificate import Certificate
from tests.fakes.message_noise import TIME
from tests.fakes.wire_watch import Incoming
from tests.processes import TIMEOUT, CentralSystem
from tests.server.station import Refusal, Station

DEEP = "[" * 500 + "]" * 500
START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": TIME}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[4,"{id}","InternalError","oh",{"deep":' + DEEP + "}]", "InternalError"),
        ('[3,"{id}",{"deep":' + DEEP + "}]", "InvalidAnswer"),
    ],
)
def test_an_answer_nested_too_deep_to_be_told_is_502_and_ends_no_campaign(tmp_path: Path, text: str, code: str) -> None:
    """JSON may be read deeper than it can be written: one charge point must not cost all others their line."""
    with CentralSystem(tmp_path / "log") as server, Station(server, "good"), Station(server, "bad", lambda _: text):
        status, answer = server.request("POST", "/api/v1/charge-points/bad/calls/ClearCache")
        assert (502, code, {}) == (status, answer["error"]["code"], answer["error"]["details"])
        lines = {line["identity"]: line for line in server.call_all("ClearCache", {})}
        assert lines["good"]["result"] == {"status": "Accepted"}
        assert lines["bad"]["error"]["code"] == code
    assert server.lines("log") == []


def test_details_that_can_be_told_are_told(tmp_path: Path) -> None:
    """Up to the depth that can be written."""
    details = {"a": [[[{"b": [1, None]}]]]}
    refusal = Refusal("InternalError", "oh", details)
    with CentralSystem(tmp_path / "log") as server, Station(server, "A", lambda _: refusal):
        status, answer = server.request("POST", "/api/v1/charge-points/A/calls/ClearCache")
    assert (502, details) == (status, answer["error"]["details"])


def test_who_does_not_wait_for_answers_has_100_calls_under_way_and_no_more(tmp_path: Path) -> None:
    """J 4.1.1 allows one. The others are told to come again, and nobody else waits for all of them to be kept."""
    count = 5000
    calls = [[2, f"{number}", "StartTransaction", {**START, "meterStart": number}] for number in range(count)]
    burst = b"".join(wire_noise.text(json.dumps(call).encode()) for call in calls)
    with (
        CentralSystem(tmp_path / "log") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as sock,
    ):
        sock.sendall(wire_noise.upgrade("flood", Random(0)) + burst)
        incoming = Incoming()
        while len(incoming.messages) < count:
            data = sock.recv(1 << 16)
            assert data
            incoming.feed(data)
        refused = [said for said in incoming.messages if said[0] == 4]
        assert {said[2] for said in refused} == {"InternalError"}
        started = server.request("GET", "/api/v1/ledger")[1]["started"]
        assert count == len(refused) + started
        assert 100 <= started < count
        with Station(server, "flood") as station:
            assert station.ask("StartTransaction", {**START, "meterStart": -1})[0] == 3


def test_the_kernel_holds_but_little_of_what_was_not_read_yet() -> None:
    """All of it would be read in one go while others wait, into a buffer of that size: by default up to many MiB."""
    (listening,) = asyncio.run(bind("127.0.0.1", 0))
    with listening:
        # Linux says twice of what it was told.
        assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * 32 * 1024


def test_no_charge_point_can_make_the_sum_of_energy_overflow(tmp_path: Path) -> None:
    """Its own nonsense is kept, but all others' transactions must go on to be counted."""
    with CentralSystem(tmp_path / "log") as server, Station(server, "A") as station:
        for meter in (-(2**63), 2**62, -(2**62)):
            number = station.call("StartTransaction", {**START, "meterStart": meter})["transactionId"]
            stop = {"transactionId": number, "meterStop": 2**63 - 1, "timestamp": TIME}
            assert station.call("StopTransaction", stop) == {}
        status, ledger = server.request("GET", "/api/v1/ledger")
    assert (status, ledger["stopped"], ledger["energy_wh"]) == (200, 3, 3 * (2**31 - 1))


def test_one_message_is_one_anomaly_of_each_kind(tmp_path: Path) -> None:
    """However many thousand samples it has: else a charge point writes a hundred times what it sends."""
    with CentralSystem(tmp_path / "log") as server, Station(server, "A") as station:
        number = station.call("StartTransaction", {**START, "meterStart": 1000})["transactionId"]
        values = [{"timestamp": "soon", "sampledValue": [{"value": "1"}]}] * 100
        values += [{"timestamp": TIME, "sampledValue": [{"value": "1"}] * 1000}]
        station.call("MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": values})
        page = server.request("GET", "/api/v1/ledger/anomalies")[1]["anomalies"]
    assert sorted(each["kind"] for each in page) == ["meter runs backwards", "meter values out of order"]


def test_connectors_that_1_6_does_not_allow_are_not_kept(tmp_path: Path) -> None:
    """Core 3.8: they are numbered from 1 without gaps. Else one charge point could fill the store."""
    status = {"errorCode": "NoError", "status": "Available"}
    with CentralSystem(tmp_path / "log") as server, Station(server, "A") as station:
        for number in (-1, 0, 1, 64, 65, 10**6, 2**63):
            assert station.call("StatusNotification", {"connectorId": number, **status}) == {}
        # As often as it likes.
        for _ in range(100):
            station.call("StatusNotification", {"connectorId": 64, **status, "status": "Faulted"})
        connectors = server.request("GET", "/api/v1/charge-points/A")[1]["connectors"]
    assert list(connectors) == ["0", "1", "64"]
    assert connectors["64"]["status"] == "Faulted"


def test_clients_that_leave_during_tls_are_no_fault(tmp_path: Path) -> None:
    """They are counted, and are no lines of a library's in the log."""
    certificate = Certificate(tmp_path)
    with CentralSystem(tmp_path / "log", *certificate.options) as server:
        for beginning in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", server.tls_port), timeout=TIMEOUT) as sock:
                    sock.sendall(beginning)
        with socket.create_connection(("127.0.0.1", server.tls_port), timeout=TIMEOUT) as sock:
            secure = certificate.client.wrap_socket(sock, server_hostname="localhost")
            # Answers to all of these find the connection closed.
            secure.sendall(wire_noise.upgrade("A", Random(0)) + wire_noise.text(b'[2,"1","Heartbeat",{}]') * 500)
            secure.close()
        summary = server.summary()
    dropped = {name: count for name, count in summary["events"].items() if name.startswith("handshakes dropped")}
    assert sum(dropped.values()) == 15, summary["events"]
    assert server.lines("log") == []
