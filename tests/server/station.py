"""A scripted charge point on a real WebSocket, with the `websockets` library: it answers as it is told."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.processes import TIMEOUT


class Endpoint(Protocol):
    """Where charge points connect."""

    @property
    def url(self) -> str:
        """An OCPP-J endpoint."""


@dataclass(frozen=True)
class Command:
    """A Call of the central system."""

    unique_id: str
    action: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """A CallError to answer with."""

    code: str
    description: str = ""
    details: Any = None


Answer = dict[str, Any] | Refusal | str | None
"""A CallResult's payload; a CallError; a text as it is (`{id}` is the message id); or no answer."""


class Station:
    """One charge point.

    Args:
        central_system: where it connects.
        identity: who it is.
        answer: what a Call is answered; called in the reading thread, so it may block.
    """

    def __init__(
        self, central_system: Endpoint, identity: str, answer: Callable[[Command], Answer] | None = None
    ) -> None:
        url = f"{central_system.url}/{quote(identity, safe='')}"
        self._opened = ExitStack()
        self._ws = self._opened.enter_context(
            connect(url, subprotocols=["ocpp1.6"], proxy=None, compression=None)  # type: ignore[list-item]
        )
        self._answer = answer or (lambda command: {"status": "Accepted"})
        self._ids = (f"own-{number}" for number in itertools.count())
        self._answers: queue.Queue[list[Any]] = queue.Queue()
        self.commands: list[Command] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait_until_closed(self) -> tuple[int, str]:
        """Wait until the central system closes the connection; return its code and reason."""
        self._reader.join(TIMEOUT)
        received = self._ws.protocol.close_rcvd
        return (1006, "") if received is None else (received.code, received.reason)

    def close(self) -> None:
        """Close the connection in good order."""
        self._opened.close()
        self._reader.join(TIMEOUT)

    def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call the central system; return the payload of the CallResult."""
        answer = self.ask(action, payload)
        assert answer[0] == 3, answer
        result: dict[str, Any] = answer[2]
        return result

    def ask(self, action: str, payload: dict[str, Any]) -> list[Any]:
        """Call the central system; return the whole answer."""
        unique_id = next(self._ids)
        self.send(json.dumps([2, unique_id, action, payload]))
        answer = self._answers.get(timeout=TIMEOUT)
        assert unique_id == answer[1]
        return answer

    def exchange(self, text: str) -> list[Any]:
        """Send a text as it is; return the answer that comes next."""
        self.send(text)
        answer: list[Any] = self._answers.get(timeout=TIMEOUT)
        return answer

    def send(self, text: str) -> None:
        """Send a text as it is."""
        self._ws.send(text)

    def wait_for(self, count: int) -> list[Command]:
        """Wait until `count` Calls have come; return all that came."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.commands) >= count, TIMEOUT), self.commands
            return list(self.commands)

    def _read(self) -> None:
        with suppress(ConnectionClosed):
            for text in self._ws:
                message = json.loads(text)
                if message[0] != 2:
                    self._answers.put(message)
                    continue
                command = Command(*message[1:])
                with self._changed:
                    self.commands.append(command)
                    self._changed.notify_all()
                answer = self._answer(command)
                if isinstance(answer, Refusal):
                    self.send(json.dumps([4, command.unique_id, answer.code, answer.description, answer.details or {}]))
                elif isinstance(answer, str):
                    self.send(answer.replace("{id}", command.unique_id))
                elif answer is not None:
                    self.send(json.dumps([3, command.unique_id, answer]))
