"""Passwords in the store: set by the operator, and changed over OCPP, for all processes."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from server.passwords import Cost, make_hash
from tests.processes import CentralSystem, until
from tests.server.test_security import PASSWORD, basic, connect, refused, works

CHEAP = Cost(memory_kib=8, iterations=1)


def put(server: CentralSystem, path: str, body: Any) -> int:
    return server.request("PUT", f"/api/v1/passwords{path}", body)[0]


def test_passwords_are_set_changed_and_forgotten_at_run_time(tmp_path: Path) -> None:
    """Whitepaper A00, profile 1: no file to edit; each counts from the next connection on, over restarts."""
    with CentralSystem(tmp_path / "log", "--stored-passwords", "true") as server:
        assert refused(server, "CP1", basic("CP1"))[0] == 401
        assert put(server, "/CP1", {"hexadecimal": PASSWORD.hex()}) == 204
        with connect(server, "CP1", basic("CP1")) as ws:
            assert works(ws)
        assert put(server, "/CP1", {"password": "another secret"}) == 204
        assert refused(server, "CP1", basic("CP1"))[0] == 401
        hashes = {f"CP{number}": make_hash(b"cheap", CHEAP) for number in (2, 3)}
        assert put(server, "", hashes) == 200
        server.stop()
        server.start()
        for identity, password in (("CP1", b"another secret"), ("CP2", b"cheap"), ("CP3", b"cheap")):
            with connect(server, identity, basic(identity, password)) as ws:
                assert works(ws)
        assert server.request("DELETE", "/api/v1/passwords/CP2")[0] == 204
        assert server.request("DELETE", "/api/v1/passwords/CP2")[0] == 404
        assert refused(server, "CP2", basic("CP2", b"cheap"))[0] == 401
    log = (tmp_path / "log").read_text()
    assert "another secret" not in log
    assert "$argon2id" not in log


NEW = bytes(range(16))
CHANGE = {"key": "authorizationKey", "value": NEW.hex()}


def lets_in(server: CentralSystem, password: bytes) -> bool:
    try:
        with connect(server, "CP1", basic("CP1", password)) as ws:
            return works(ws)
    except InvalidStatus as refused:
        assert refused.response.status_code == 401
        return False


@pytest.mark.parametrize(
    ("status", "goes_over"),
    [("Accepted", True), ("RebootRequired", True), ("Rejected", False), ("NotSupported", False)],
)
def test_a_password_that_was_changed_over_ocpp_holds_from_then_on(tmp_path: Path, status: str, goes_over: bool) -> None:
    """Whitepaper A01.FR.03, A01.FR.04: the new one if the charge point took it, else the old one, and not both."""
    with CentralSystem(tmp_path / "log", "--stored-passwords", "true", "--log-payload", "true") as server:
        put(server, "/CP1", {"hexadecimal": PASSWORD.hex()})
        with connect(server, "CP1", basic("CP1", PASSWORD)) as ws, ThreadPoolExecutor(1) as thread:
            asked = thread.submit(server.call, "CP1", "ChangeConfiguration", CHANGE)
            answer(ws, status)
            assert asked.result() == {"status": status}
            # Whoever looks at what it says of it must not be able to log in.
            ws.send(json.dumps([4, "1", "GenericError", f"what is {NEW.hex()}?", {}]))
            assert works(ws)
        assert NEW.hex() not in server.text("/api/v1/charge-points/CP1/messages")
        good, bad = (NEW, PASSWORD) if goes_over else (PASSWORD, NEW)
        assert lets_in(server, good)
        until(lambda: not lets_in(server, bad))
        assert lets_in(server, good)
    assert NEW.hex() not in (tmp_path / "log").read_text()


def answer(ws: Any, status: str) -> None:
    """Answer ChangeConfiguration.req as the charge point."""
    command: list[Any] = json.loads(ws.recv(timeout=10))
    assert command[2] == "ChangeConfiguration"
    ws.send(json.dumps([3, command[1], {"status": status}]))


def test_until_it_is_known_whether_a_charge_point_has_a_new_password_both_are_good(tmp_path: Path) -> None:
    """An answer that got lost locks nobody out; who comes with the new one has it, and the old one is over."""
    with CentralSystem(tmp_path / "log", "--stored-passwords", "true") as server:
        put(server, "/CP1", {"hexadecimal": PASSWORD.hex()})
        with connect(server, "CP1", basic("CP1", PASSWORD)):
            path = "/api/v1/charge-points/CP1/calls/ChangeConfiguration?timeout=0.5"
            assert server.request("POST", path, CHANGE)[0] == 504
        server.kill()
        server.start()
        assert lets_in(server, PASSWORD)
        assert lets_in(server, NEW)
        assert not lets_in(server, PASSWORD)
        assert lets_in(server, NEW)


def test_an_answer_counts_whether_the_operator_waits_for_it_or_not(tmp_path: Path) -> None:
    """Whoever asked may have gone; the charge point has its new password all the same."""
    with CentralSystem(tmp_path / "log", "--stored-passwords", "true") as server:
        put(server, "/CP1", {"hexadecimal": PASSWORD.hex()})
        with connect(server, "CP1", basic("CP1", PASSWORD)) as ws:
            operator = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=10)
            body = json.dumps({"payload": CHANGE})
            operator.request("POST", "/api/v1/calls/ChangeConfiguration", body, {"Content-Type": "application/json"})
            command = json.loads(ws.recv(timeout=10))
            operator.close()
            ws.send(json.dumps([3, command[1], {"status": "Accepted"}]))
            assert works(ws)
        until(lambda: not lets_in(server, PASSWORD))
        assert lets_in(server, NEW)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/CP1", {}),
        ("/CP1", {"password": "a", "hexadecimal": "00"}),
        ("/CP1", {"hexadecimal": "0"}),
        ("/CP1", {"hexadecimal": "xy"}),
        ("/CP1", {"password": ""}),
        ("/CP1", {"password": "x" * 65}),
        ("", {"CP1": "plain text"}),
        ("", {"": "x"}),
    ],
)
def test_what_is_no_password_cannot_be_set(stored: CentralSystem, path: str, body: Any) -> None:
    """Else a charge point is locked out, and the operator does not know why."""
    assert put(stored, path, body) == 422


def test_without_stored_passwords_the_api_says_so(tmp_path: Path) -> None:
    """And does not take something that has no effect."""
    with CentralSystem(tmp_path / "log") as server:
        status, answer = server.request("PUT", "/api/v1/passwords/CP1", {"password": "x"})
        assert (status, answer["error"]["code"]) == (409, "NotStored")
        assert put(server, "", {}) == server.request("DELETE", "/api/v1/passwords/CP1")[0] == 409


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A central system with passwords in its store, for tests that leave it as it was."""
    with CentralSystem(tmp_path_factory.mktemp("stored") / "log", "--stored-passwords", "true") as running:
        yield running
