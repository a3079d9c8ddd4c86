"""The charge points that are connected: one connection each, its messages, its PINGs.

Knows nothing of sockets: `listener` hands in what arrives and lends each connection a `Peer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import (
    Call,
    CallResult,
    Frame,
    Malformation,
    MalformedFrame,
    decode,
    encode,
    refusal,
)
from ampswarm.ocppj.schemas import Direction, validate
from server.handlers import Handlers, Registered
from server.metrics import Metrics

MAX_MESSAGE: Final = 256 * 1024
"""Bytes; the longest message that is taken (RFC 6455, 7.4.1: else 1009)."""

MAX_PING_SLOTS: Final = 256

PayloadLog = Callable[[str, str, bytes], None]
"""Takes a charge point's identity, `in` or `out`, and the message."""


class CloseCode:
    """The close codes of RFC 6455, 7.4.1, that are sent here."""

    NORMAL: Final = 1000
    GOING_AWAY: Final = 1001
    PROTOCOL_ERROR: Final = 1002
    UNSUPPORTED_DATA: Final = 1003
    INVALID_TEXT: Final = 1007
    POLICY_VIOLATION: Final = 1008
    MESSAGE_TOO_BIG: Final = 1009


class Peer(Protocol):
    """The other end of one WebSocket connection. No method raises when it is gone already."""

    def send_text(self, text: bytes) -> None:
        """Send one text message."""

    def ping(self) -> None:
        """Send a PING frame."""

    def close(self, code: int, reason: str) -> None:
        """Send a Close frame, ignore what still comes, and end the connection soon after."""

    def abort(self) -> None:
        """End the connection at once."""


class Connection:
    """One charge point's connection."""

    __slots__ = ("_central", "identity", "opened_at", "peer", "pong_missing", "registered", "slot")

    def __init__(self, central: CentralSystem, identity: str, peer: Peer, now: float) -> None:
        self._central = central
        self.identity = identity
        self.peer = peer
        self.opened_at = now
        """Seconds, monotonic."""
        self.registered = Registered.UNKNOWN
        """Whether it was accepted, on this connection or an earlier one."""
        self.pong_missing = False
        """Whether the last PING was not answered yet."""
        self.slot = 0
        """Its place in the rhythm of PINGs."""

    def receive(self, text: bytes | memoryview) -> None:
        """Take one text message, answer it, and close the connection if it is no text at all."""
        central = self._central
        log_payload = central.log_payload
        if log_payload is not None:
            log_payload(self.identity, "in", bytes(text))
        try:
            # orjson takes a memoryview, which spares a copy of each message.
            frame = decode(text)  # type: ignore[arg-type]
        except MalformedFrame as malformed:
            answer = central.malformed(self, malformed, text)
        else:
            answer = central.answer(self, frame)
        if answer is not None:
            self.peer.send_text(answer)
            if log_payload is not None:
                log_payload(self.identity, "out", answer)

    def pong(self) -> None:
        """Take a PONG."""
        self.pong_missing = False


class CentralSystem:
    """All connections of this process and what happens on them.

    Args:
        handlers: the answers.
        metrics: the counters.
        lifecycle: where connections and boots are logged.
        log_payload: called for each message; `None` logs none.
        ping_interval: seconds between two PINGs to a connection; 0 sends none.
    """

    def __init__(
        self,
        handlers: Handlers,
        metrics: Metrics,
        lifecycle: LifecycleLog,
        *,
        log_payload: PayloadLog | None = None,
        ping_interval: float = 30.0,
    ) -> None:
        self._handlers = handlers
        self._metrics = metrics
        self._lifecycle = lifecycle
        self.log_payload = log_payload
        self.is_closing = False
        """Whether no new connections are taken any more."""
        self._connections: dict[str, Connection] = {}
        # Identities that were accepted since this process started.
        self._accepted: set[str] = set()
        # Connections are pinged in turns, spread over the interval: a wheel of slots instead of
        # a timer for each, and no burst of a million frames at once.
        slots = max(1, min(MAX_PING_SLOTS, round(ping_interval * 10)))
        self._slots: list[set[Connection]] = [set() for _ in range(slots)]
        self._slot = 0
        self.seconds_per_slot = ping_interval / slots
        """How often `ping_next` has to be called; 0 for never."""

    def connect(self, identity: str, peer: Peer) -> Connection:
        """Take a new connection; one that this identity had before is closed."""
        now = time.monotonic()
        connection = Connection(self, identity, peer, now)
        before = self._connections.get(identity)
        if before is not None:
            self._metrics.events["connections replaced"] += 1
            self._lifecycle.write("replaced", now, identity=identity)
            self._forget(before)
            before.peer.close(CloseCode.POLICY_VIOLATION, "replaced by a newer connection")
        if identity in self._accepted:
            connection.registered = Registered.ACCEPTED
        self._connections[identity] = connection
        connection.slot = self._slot
        self._slots[connection.slot].add(connection)
        self._metrics.connections += 1
        self._metrics.events["connections opened"] += 1
        self._lifecycle.write("connected", now, identity=identity)
        return connection

    def disconnected(self, connection: Connection, why: str) -> None:
        """A connection is gone.

        Args:
            connection: which one.
            why: one line for the log.
        """
        if self._connections.get(connection.identity) is not connection:
            return  # replaced or terminated: told already
        self._forget(connection)
        now = time.monotonic()
        self._lifecycle.write(
            "disconnected",
            now,
            identity=connection.identity,
            why=why,
            seconds=round(now - connection.opened_at, 3),
        )

    def disagreed(self) -> None:
        """A handshake was completed without a common subprotocol, to be closed at once (J 3.2)."""
        self._metrics.events["handshakes without a common subprotocol"] += 1
        self._lifecycle.write("disagreed", time.monotonic(), why="no common subprotocol")

    def refused(self, status: int, why: str) -> None:
        """An upgrade was refused with an HTTP status."""
        self._metrics.events[f"upgrades refused with {status}"] += 1
        self._lifecycle.write("refused", time.monotonic(), status=status, why=why)

    def ping_next(self) -> None:
        """Ping the slot whose turn it is; end those of it that did not answer the previous PING."""
        self._slot = (self._slot + 1) % len(self._slots)
        for connection in tuple(self._slots[self._slot]):
            if connection.pong_missing:
                self._metrics.events["pings lost"] += 1
                self.disconnected(connection, "no PONG")
                connection.peer.abort()
            else:
                connection.pong_missing = True
                connection.peer.ping()

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection, and take no new ones."""
        self.is_closing = True
        for connection in tuple(self._connections.values()):
            connection.peer.close(code, reason)

    def abort_all(self) -> None:
        """End every connection that is still there."""
        for connection in tuple(self._connections.values()):
            connection.peer.abort()

    def answer(self, connection: Connection, frame: Frame) -> bytes | None:
        """Return the answer to a message, or `None` for one that needs none."""
        metrics = self._metrics
        if type(frame) is not Call:
            # No Call was sent, so it answers none.
            metrics.events["answers to no outstanding Call"] += 1
            return None
        action = frame.action
        handlers = self._handlers
        try:
            handlers.check(connection, action)
            validate(action, Direction.REQ, frame.payload)
            result = handlers.handle(connection, action, frame.payload, time.time())
            validate(action, Direction.CONF, result)
        except OcppError as error:
            return self._refuse(frame.unique_id, error)
        except Exception as fault:  # noqa: BLE001  a fault here must not cost a charge point its connection
            self._lifecycle.write(
                "fault", time.monotonic(), identity=connection.identity, action=action, error=repr(fault)
            )
            return self._refuse(frame.unique_id, OcppError(ErrorCode.INTERNAL_ERROR))
        metrics.calls[action] += 1
        if action == "BootNotification":
            self._accepted.add(connection.identity)
            self._lifecycle.write("booted", time.monotonic(), identity=connection.identity)
        return encode(CallResult(frame.unique_id, result))

    def malformed(self, connection: Connection, malformed: MalformedFrame, text: bytes | memoryview) -> bytes | None:
        """Return the answer that a malformed message is owed, or `None`."""
        self._metrics.events[f"malformed: {malformed.reason.value}"] += 1
        self._lifecycle.write("malformed", time.monotonic(), identity=connection.identity, why=malformed.reason.value)
        if malformed.reason is Malformation.NOT_JSON and not _is_utf8(text):
            connection.peer.close(CloseCode.INVALID_TEXT, "a text message must be UTF-8")
            return None
        answer = malformed.answer()
        if answer is None:
            return None
        self._metrics.errors[answer.code] += 1
        return encode(answer)

    def _refuse(self, unique_id: str, error: OcppError) -> bytes:
        self._metrics.errors[error.code.value] += 1
        return encode(refusal(unique_id, error))

    def _forget(self, connection: Connection) -> None:
        del self._connections[connection.identity]
        self._slots[connection.slot].discard(connection)
        self._metrics.connections -= 1
        self._metrics.events["connections closed"] += 1


def _is_utf8(text: bytes | memoryview) -> bool:
    try:
        bytes(text).decode()
    except UnicodeDecodeError:
        return False
    return True
