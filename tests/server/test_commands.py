"""Each action of the central system, security extension included: from the operator API over a real socket and back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, Direction, validate
from tests.fakes.message_noise import valid
from tests.processes import CentralSystem
from tests.server.station import Answer, Command, Station

ACTIONS = sorted(CENTRAL_SYSTEM_ACTIONS)
VARIANTS = 5
"""Payloads of each action: optional members come and go, and each value of an enumeration has its turn sometimes."""


class Telling:
    """A charge point that answers what it is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: Answer = None

    def tell(self, answer: Answer) -> None:
        with self._lock:
            self._next = answer

    def __call__(self, command: Command) -> Answer:
        with self._lock:
            return self._next


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all."""
    with CentralSystem(tmp_path_factory.mktemp("commands") / "log", "--ping-interval-ms", "0") as running:
        yield running


def post(server: CentralSystem, identity: str, action: str, payload: Any) -> tuple[int, Any]:
    return server.request("POST", f"/api/v1/charge-points/{identity}/calls/{action}?timeout=10", payload)


def breaks(action: str, direction: Direction, payload: dict[str, Any]) -> bool:
    try:
        validate(action, direction, payload)
    except OcppError:
        return True
    return False


@pytest.mark.parametrize("action", ACTIONS)
def test_every_command_goes_out_as_it_came_in_and_so_does_its_answer(server: CentralSystem, action: str) -> None:
    """Whatever 1.6 allows in either of them."""
    random, telling = Random(action), Telling()
    with Station(server, action, telling) as station:
        for _ in range(VARIANTS):
            payload, answer = valid(action, Direction.REQ, random), valid(action, Direction.CONF, random)
            telling.tell(answer)
            assert post(server, action, action, payload) == (200, {"result": answer})
            command = station.commands.pop()
            assert (action, payload) == (command.action, command.payload)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_payload_that_breaks_the_schema_is_422_and_not_sent(server: CentralSystem, action: str) -> None:
    """Of every action."""
    with Station(server, action) as station:
        payload = {**valid(action, Direction.REQ, Random(action)), "unknown": 1}
        assert breaks(action, Direction.REQ, payload)
        status, answer = post(server, action, action, payload)
        assert (status, answer["error"]["code"]) == (422, "FormationViolation")
        assert station.commands == []


@pytest.mark.parametrize("action", ACTIONS)
def test_an_answer_that_breaks_the_schema_is_502(server: CentralSystem, action: str) -> None:
    """Of every action; what it was is told."""
    telling = Telling()
    wrong = {**valid(action, Direction.CONF, Random(action)), "status": 7, "unknown": 1}
    assert breaks(action, Direction.CONF, wrong)
    telling.tell(wrong)
    with Station(server, action, telling):
        status, answer = post(server, action, action, valid(action, Direction.REQ, Random(action)))
    assert (status, answer["error"]["code"]) == (502, "InvalidAnswer")
    assert answer["error"]["details"] == {"payload": wrong}
