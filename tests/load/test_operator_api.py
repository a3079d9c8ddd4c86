"""The operator API of the bundled central system, as operators use it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ampswarm.charge_point.events import CommandReceived
from ampswarm.load.operator_api import CentralSystemApi, CommandFailed, OperatorApi
from ampswarm.load.operators import Command
from ampswarm.ocppj.session import Answered
from tests.processes import CentralSystem


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system that asks operators for a token."""
    with CentralSystem(tmp_path / "cs.log", env={"ADMIN_TOKEN": "t0ken"}) as running:
        yield running


def failure(api: OperatorApi, identity: str = "NOBODY") -> str:
    """Return what becomes of a command that cannot succeed."""
    with pytest.raises(CommandFailed) as error:
        api.call(identity, "ClearCache", {}, 5)
    return f"{error.value}"


def test_a_command_that_fails_says_why_in_words_without_an_identity(server: CentralSystem) -> None:
    """Locust keeps an entry for each text: those of a whole fleet are one."""
    api = CentralSystemApi(server.admin, "t0ken")
    assert failure(api) == failure(api, "NOBODY/ELSE é") == "HTTP 404 NotConnected"
    assert failure(CentralSystemApi(server.admin, "wrong")).startswith("HTTP 401 ")
    api.close()


def test_a_connection_that_was_idle_for_too_long_costs_no_command(server: CentralSystem) -> None:
    """The central system may close it at any time between two commands, or be started anew."""
    api = CentralSystemApi(server.admin + "/", "t0ken")
    failure(api)
    assert server.stop() == 0
    assert failure(api) == "operator API: connection refused"
    server.start()
    assert failure(api) == "HTTP 404 NotConnected"
    assert server.stop() == 0
    server.start()
    # The kept connection is dead, which is found out only now.
    assert failure(api) == "HTTP 404 NotConnected"
    api.close()


def test_a_command_to_many_tells_of_each(server: CentralSystem) -> None:
    """One that is not there does not hide what became of the others."""
    api = CentralSystemApi(server.admin, "t0ken")
    answers = dict(api.call_all(["A", "B"], "ClearCache", {}, 5))
    assert {identity: f"{answer}" for identity, answer in answers.items()} == {"A": "NotConnected", "B": "NotConnected"}
    with pytest.raises(CommandFailed, match="HTTP 422 "):
        list(api.call_all(["A"], "Reset", {"type": "Lukewarm"}, 5))
    api.close()


def test_what_is_no_operator_api_is_said_so() -> None:
    """A wrong port is found with the first command."""

    def answer() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        said = failure(CentralSystemApi(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert said == "operator API: its answer is no JSON object"


def test_an_adapter_needs_one_method() -> None:
    """Commands to many go one by one where a back end knows nothing better."""

    class Mine(OperatorApi):
        def call(self, identity: str, action: str, payload: Mapping[str, Any], timeout: float) -> dict[str, Any]:
            if identity == "B":
                raise CommandFailed("busy")
            return {"status": "Accepted", "to": identity, "action": action, **payload, "within": timeout}

    answers = [
        (identity, f"{answer}") for identity, answer in Mine().call_all(["A", "B"], "Reset", {"type": "Soft"}, 3)
    ]
    accepted = {"status": "Accepted", "to": "A", "action": "Reset", "type": "Soft", "within": 3}
    assert answers == [("A", f"{accepted}"), ("B", "busy")]
    Mine().close()


def test_only_what_was_sent_after_the_command_is_its_effect() -> None:
    """A Heartbeat that was on its way already is no effect of TriggerMessage."""
    command = Command("TriggerMessage", "Heartbeat")
    before = Answered("Heartbeat", {}, 0.0, 0.0, 0.1, 10)
    command.observe(before)
    command.observe(CommandReceived("Reset", "Accepted"))
    assert command.arrived is None
    command.observe(CommandReceived("TriggerMessage", "Accepted"))
    arrived = command.arrived
    assert arrived is not None
    command.observe(before)
    assert command.effect_sent is None
    command.observe(Answered("Heartbeat", {}, 0.0, arrived + 1, arrived + 2, 10))
    command.observe(Answered("Heartbeat", {}, 0.0, arrived + 5, arrived + 6, 10))
    command.wait(0)
    assert command.effect_sent == arrived + 1
