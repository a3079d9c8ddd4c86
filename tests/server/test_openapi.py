"""The operator API against its own description, by Schemathesis: whatever is sent, it answers as described."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, Direction, validate
from tests.ocppj.payloads import schema
from tests.processes import ROOT, TIMEOUT, CentralSystem, clean_environment
from tests.server import fuzzing
from tests.server.station import Answer, Command, Refusal, Station

TOKEN = "s3cret-token"
MORE = os.environ.get("API_FUZZ_EXAMPLES")
EXAMPLES = int(MORE or 30)
"""Requests for each operation, besides those that Schemathesis always makes; 100 take about 20 s."""
SEED = () if MORE else ("--seed", "1")
"""The same requests each time, unless more were asked for."""


def smallest(action: str) -> dict[str, Any]:
    """Return a CallResult's payload with no more in it than it must have."""
    root = schema(action, Direction.CONF)
    payload: dict[str, Any] = _smallest(root, root)
    validate(action, Direction.CONF, payload)
    return payload


def _smallest(node: dict[str, Any], root: dict[str, Any]) -> Any:
    if "$ref" in node:
        return _smallest(root["definitions"][node["$ref"].rsplit("/", 1)[-1]], root)
    if "enum" in node:
        return node["enum"][0]
    if node["type"] == "object":
        return {name: _smallest(node["properties"][name], root) for name in node.get("required", [])}
    return {"string": "", "integer": 0, "number": 0, "boolean": True, "array": []}[node["type"]]


def test_whatever_is_sent_is_answered_as_described(tmp_path: Path) -> None:
    """Else a generated client breaks; and no request may cost the process or a connection anything."""
    results = {action: smallest(action) for action in CENTRAL_SYSTEM_ACTIONS}
    answers: dict[str, Answer] = {
        fuzzing.REFUSING: Refusal("Gremlins", "no", {"a": [1]}),
        fuzzing.BREAKING: '[3,"{id}",{"status":"Perhaps"}]',
        fuzzing.MUTE: None,
    }

    def answering(identity: str) -> Callable[[Command], Answer]:
        return lambda command: answers[identity] if identity in answers else results[command.action]

    with (
        CentralSystem(tmp_path / "log", "--ping-interval-ms", "1000", env={"ADMIN_TOKEN": TOKEN}) as server,
        ExitStack() as opened,
    ):
        stations = [
            opened.enter_context(Station(server, identity, answering(identity)))
            for identity in (fuzzing.ANSWERING, *answers)
        ]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", "tests/server/schemathesis.toml", "run"),
                *(f"{server.admin}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"),
                *("--max-examples", str(EXAMPLES), "--no-color", "--generation-database", "none", *SEED),
            ],
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180 + EXAMPLES,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        for station in stations:
            station.call("Heartbeat", {})
        summary = server.summary()
    assert summary["events"]["connections opened"] == len(stations)
    assert summary["calls_answered"]
    assert {"CallError", "InvalidAnswer", "TimedOut"} <= set(summary["calls_failed"]), summary
    assert not server.lines("log")
    assert TOKEN not in (tmp_path / "log").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all tests that leave it as it was."""
    with CentralSystem(tmp_path_factory.mktemp("openapi") / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


def test_the_description_asks_for_the_token_only_where_there_is_one(server: CentralSystem, tmp_path: Path) -> None:
    """A generated client sends it then, and not to the checks that need none."""
    assert "security" not in server.request("GET", "/openapi.json")[1]
    with CentralSystem(tmp_path / "log", env={"ADMIN_TOKEN": TOKEN}) as guarded:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        description = guarded.request("GET", "/openapi.json", headers=headers)[1]
    (name,) = description["components"]["securitySchemes"]
    assert description["components"]["securitySchemes"][name] == {"type": "http", "scheme": "bearer"}
    assert description["security"] == [{name: []}]
    operations = [(path, each) for path, methods in description["paths"].items() for each in methods.values()]
    assert {path for path, each in operations if each.get("security") == []} == {"/healthz", "/readyz"}
    for _, operation in operations:
        assert operation["summary"]
        assert operation["tags"]


def test_another_method_is_405_and_says_which_there_are(server: CentralSystem) -> None:
    """RFC 9110, 10.2.1: all of them, although each is a route of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=TIMEOUT)
    for path, allowed in (
        ("/api/v1/id-tags/A", "DELETE, GET, PUT"),
        ("/metrics", "GET"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ):
        connection.request("PATCH", path)
        response = connection.getresponse()
        assert (response.status, response.headers["Allow"]) == (405, allowed)
        assert json.loads(response.read())["error"]["code"] == "MethodNotAllowed"
    connection.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("request_line", ["HEAD {} HTTP/1.1\r\nHost: localhost", "OPTIONS {} HTTP/1.0"])
def test_load_balancers_check_with_what_they_have(server: CentralSystem, path: str, request_line: str) -> None:
    """HAProxy's default check is an OPTIONS of HTTP/1.0, without a Host."""
    with socket.create_connection(("127.0.0.1", server.admin_port), timeout=TIMEOUT) as sock:
        sock.sendall(f"{request_line.format(path)}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n") is request_line.startswith("HEAD")


def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements(server: CentralSystem) -> None:
    """Nagle's algorithm and delayed acknowledgements together would make each take 40 ms."""
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=TIMEOUT)
    seconds = []
    for _ in range(60):
        began = time.monotonic()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        seconds.append(time.monotonic() - began)
    connection.close()
    # The first ones are acknowledged at once anyway.
    assert min(seconds[30:]) < 0.03
