"""The operator API against its own description, by Schemathesis: whatever is sent, it answers as described."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, Direction, validate
from tests.ocppj.payloads import schema
from tests.processes import ROOT, CentralSystem, clean_environment
from tests.server import fuzzing
from tests.server.station import Answer, Command, Refusal, Station

TOKEN = "s3cret-token"
MORE = os.environ.get("API_FUZZ_EXAMPLES")
EXAMPLES = int(MORE or 100)
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
            timeout=120 + EXAMPLES,
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
