"""How operators send commands to charge points: through the central system, by its own API.

A back end of another make plugs in with a class of its own:

    class MyApi(OperatorApi):
        def call(self, identity, action, payload, timeout):
            answer = self._post(f"/stations/{identity}/commands", {"command": action, ...}, timeout)
            return answer["response"]

    class Operator(OperatorUser):
        def open_api(self):
            return MyApi(...)
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

_MARGIN: Final = 10.0
"""Seconds that an answer of the API may take beyond the charge point's."""


class CommandFailed(Exception):  # noqa: N818  read in Locust's table
    """A command without an answer of the charge point; the text is the same for every charge point."""


class OperatorApi(ABC):
    """What operators use. One object for each of them: it need not be safe for two at a time."""

    @abstractmethod
    def call(self, identity: str, action: str, payload: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send a command to one charge point, and return the payload of its answer.

        Args:
            identity: whom.
            action: what, in OCPP's words.
            payload: with which request.
            timeout: seconds for the answer.

        Raises:
            CommandFailed: there is none.
        """

    def call_all(
        self, identities: Iterable[str], action: str, payload: Mapping[str, Any], timeout: float
    ) -> Iterator[tuple[str, dict[str, Any] | CommandFailed]]:
        """Send a command to many charge points; yield each identity, and what came of it.

        One after the other, where an API knows nothing better.

        Args:
            identities: whom.
            action: what, in OCPP's words.
            payload: with which request.
            timeout: seconds for each answer.

        Raises:
            CommandFailed: it failed as a whole.
        """
        for identity in identities:
            try:
                yield identity, self.call(identity, action, payload, timeout)
            except CommandFailed as failed:
                yield identity, failed

    def close(self) -> None:  # noqa: B027  nothing to do is fine
        """Let go of what it holds; it may be used again."""


class CentralSystemApi(OperatorApi):
    """The API of the central system that comes with Ampswarm (docs/reference/central-system.md).

    Args:
        url: where it is, without `/api/v1`.
        token: what it asks for; empty for nothing.
    """

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        self._is_secure = parts.scheme == "https"
        self._address = parts.hostname or "", parts.port
        self._path = parts.path.rstrip("/") + "/api/v1"
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: http.client.HTTPConnection | None = None

    def call(self, identity: str, action: str, payload: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send a command to one charge point, and return the payload of its answer."""
        path = f"/charge-points/{quote(identity, safe='')}/calls/{action}?timeout={timeout:g}"
        with self._sent(path, payload, timeout) as response:
            body = _parse(response.read())
            if response.status != http.HTTPStatus.OK:
                raise _failure(body, response.status)
            result: dict[str, Any] = body["result"]
            return result

    def call_all(
        self, identities: Iterable[str], action: str, payload: Mapping[str, Any], timeout: float
    ) -> Iterator[tuple[str, dict[str, Any] | CommandFailed]]:
        """Send a command to many charge points, a hundred at a time; yield each identity, and what came of it."""
        body = {"payload": dict(payload), "timeout": timeout, "identities": list(identities)}
        with self._sent(f"/calls/{action}", body, timeout) as response:
            if response.status != http.HTTPStatus.OK:
                raise _failure(_parse(response.read()), response.status)
            for line in response:
                answer = _parse(line)
                if "identity" in answer:
                    yield answer["identity"], answer["result"] if "result" in answer else _failure(answer, 0)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _sent(self, path: str, body: Mapping[str, Any], timeout: float) -> Iterator[http.client.HTTPResponse]:
        """Send a request, and give its answer to be read to its end.

        Raises:
            CommandFailed: the API is not there, or it hung up.
        """
        is_kept = False
        try:
            response = self._post(path, json.dumps(body).encode(), timeout + _MARGIN)
            yield response
            is_kept = response.isclosed() and not response.will_close
        except TimeoutError:
            raise CommandFailed("operator API: no answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise CommandFailed(f"operator API: {words.lower()}") from None
        finally:
            if not is_kept:
                self.close()

    def _post(self, path: str, body: bytes, timeout: float) -> http.client.HTTPResponse:
        kept, self._connection = self._connection, None
        if kept is not None:
            try:
                return self._exchange(kept, path, body, timeout)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # Closed while it was idle, as far as anybody can tell.
                kept.close()
        host, port = self._address
        kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
        return self._exchange(kind(host, port, timeout=timeout), path, body, timeout)

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, body: bytes, timeout: float
    ) -> http.client.HTTPResponse:
        self._connection = connection
        if connection.sock is None:
            connection.connect()
            assert connection.sock is not None
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.settimeout(timeout)
        connection.request("POST", self._path + path, body, self._headers)
        return connection.getresponse()


def _parse(text: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise CommandFailed("operator API: its answer is no JSON object")
    return parsed


def _failure(body: Mapping[str, Any], status: int) -> CommandFailed:
    code = body.get("error", {}).get("code", "no error code")
    return CommandFailed(f"HTTP {status} {code}" if status else f"{code}")
