"""Passwords in the store: set by the operator, and changed over OCPP, for all processes."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from server.passwords import Cost, make_hash
from tests.processes import CentralSystem
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


def test_a_password_that_was_changed_over_ocpp_holds_from_then_on(tmp_path: Path) -> None:
    """Whitepaper A01: the charge point comes back with it at once; where it refuses it, the old one still holds."""
    new = bytes(range(16))
    change = {"key": "authorizationKey", "value": new.hex()}
    with CentralSystem(tmp_path / "log", "--stored-passwords", "true", "--log-payload", "true") as server:
        put(server, "/CP1", {"hexadecimal": PASSWORD.hex()})
        for status, before, after in (("Rejected", PASSWORD, PASSWORD), ("Accepted", PASSWORD, new)):
            with connect(server, "CP1", basic("CP1", before)) as ws:
                assert _command(server, ws, change, status)[2] == "ChangeConfiguration"
            with connect(server, "CP1", basic("CP1", after)) as ws:
                assert works(ws)
        assert refused(server, "CP1", basic("CP1", PASSWORD))[0] == 401
    assert new.hex() not in (tmp_path / "log").read_text()


def _command(server: CentralSystem, ws: Any, change: dict[str, str], status: str) -> list[Any]:
    """Let the operator change a key, who waits for the answer; answer as the charge point; return the Call."""
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(server.call, "CP1", "ChangeConfiguration", change)
        command: list[Any] = json.loads(ws.recv(timeout=10))
        ws.send(json.dumps([3, command[1], {"status": status}]))
        assert asked.result() == {"status": status}
    return command


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
