"""The charge points that are connected: one connection each, its messages, its PINGs.

Knows nothing of sockets: `listener` hands in what arrives and lends each connection a `Peer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final, Protocol

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import (
    Call,
    CallError,
    CallResult,
    Frame,
    Malformation,
    MalformedFrame,
    Payload,
    decode,
    encode,
    refusal,
)
from ampswarm.ocppj.schemas import Direction, validate
from server.calls import CallFailed, Calls, Outcome
from server.handlers import Handlers
from server.metrics import Metrics
from server.records import Record, Registered, Statuses

MAX_MESSAGE: Final = 256 * 1024
"""Bytes; the longest message that is taken (RFC 6455, 7.4.1: else 1009)."""

MAX_PING_SLOTS: Final = 256

MAX_REMEMBERED: Final = 100_000
"""Charge points that are remembered after their connection went; the oldest is forgotten first."""

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

    __slots__ = (
        "_central",
        "boot",
        "identity",
        "last_seen",
        "opened_at",
        "peer",
        "pong_missing",
        "registered",
        "slot",
        "statuses",
    )

    def __init__(self, central: CentralSystem, identity: str, peer: Peer, now: float) -> None:
        self._central = central
        self.identity = identity
        self.peer = peer
        self.opened_at = now
        """Seconds, monotonic."""
        self.registered = Registered.UNKNOWN
        """What its BootNotification was answered, on this connection or an earlier one."""
        self.boot: str | None = None
        """The payload of its last BootNotification, as JSON."""
        self.statuses: Statuses = ()
        self.last_seen = time.time()
        """Seconds since 1970: when its last message or PONG came."""
        self.pong_missing = False
        """Whether the last PING was not answered yet."""
        self.slot = 0
        """Its place in the rhythm of PINGs."""

    def receive(self, text: bytes | memoryview) -> None:
        """Take one text message, answer it, and close the connection if it is no text at all."""
        central = self._central
        self.last_seen = time.time()
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
            self.send(answer)

    def send(self, text: bytes) -> None:
        """Send one text message."""
        self.peer.send_text(text)
        log_payload = self._central.log_payload
        if log_payload is not None:
            log_payload(self.identity, "out", text)

    def pong(self) -> None:
        """Take a PONG."""
        self.pong_missing = False
        self.last_seen = time.time()


class CentralSystem:
    """All connections of this process and what happens on them.

    Args:
        handlers: the answers.
        calls: the Calls to charge points.
        metrics: the counters.
        lifecycle: where connections and boots are logged.
        log_payload: called for each message; `None` logs none.
        ping_interval: seconds between two PINGs to a connection; 0 sends none.
    """

    def __init__(
        self,
        handlers: Handlers,
        calls: Calls,
        metrics: Metrics,
        lifecycle: LifecycleLog,
        *,
        log_payload: PayloadLog | None = None,
        ping_interval: float = 30.0,
    ) -> None:
        self._handlers = handlers
        self._calls = calls
        self._metrics = metrics
        self._lifecycle = lifecycle
        self.log_payload = log_payload
        self.is_closing = False
        """Whether no new connections are taken any more."""
        self._connections: dict[str, Connection] = {}
        self._remembered: dict[str, Record] = {}
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
        record = self._remembered.pop(identity, None)
        if record is not None:
            connection.registered = record.registered
            connection.boot = record.boot
            connection.statuses = record.statuses
        elif identity in self._accepted:
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

    def refused(self, status: int, why: str, **fields: object) -> None:
        """An upgrade was refused with an HTTP status."""
        self._metrics.events[f"upgrades refused with {status}"] += 1
        self._lifecycle.write("refused", time.monotonic(), status=status, why=why, **fields)

    def dropped(self, why: str, **fields: object) -> None:
        """A connection ended before there was a request to answer."""
        self._metrics.events[f"handshakes dropped: {why}"] += 1
        self._lifecycle.write("dropped", time.monotonic(), why=why, **fields)

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

    async def call(self, identity: str, action: str, payload: Payload, timeout: float) -> Payload:  # noqa: ASYNC109
        """Call a charge point; return the payload of its CallResult.

        Args:
            identity: the charge point.
            action: what is asked.
            payload: the request's payload.
            timeout: seconds for the answer, from when the Call is sent: it may have to wait for others.

        Raises:
            OcppError: the Call breaks the rules; nothing was sent.
            CallFailed: there is no result.
        """
        connection = self._connections.get(identity)
        if connection is None:
            raise CallFailed(Outcome.NOT_CONNECTED)
        return await self._calls.start(identity, connection.send, action, payload, timeout)

    def get(self, identity: str) -> Connection | Record | None:
        """Return what is known of a charge point; `None` when nothing is."""
        return self._connections.get(identity) or self._remembered.get(identity)

    def calls_waiting(self, identity: str) -> int:
        """Return how many Calls a charge point has not answered yet, or was not even sent."""
        return self._calls.waiting(identity)

    @property
    def connected(self) -> list[str]:
        """The identities of all charge points that are connected now."""
        return list(self._connections)

    def count(self, *, connected: bool | None = None) -> int:
        """Return how many charge points are known: connected ones, others, or (`None`) both."""
        here = 0 if connected is False else len(self._connections)
        return here + (0 if connected is True else len(self._remembered))

    def page(
        self, offset: int, limit: int, *, connected: bool | None = None
    ) -> Iterator[tuple[str, Connection | Record]]:
        """Yield known charge points in the order in which they came, connected ones first."""
        here = () if connected is False else self._connections.items()
        gone = () if connected is True else self._remembered.items()
        return islice(chain[tuple[str, Connection | Record]](here, gone), offset, offset + limit)

    def close_all(self, code: int, reason: str) -> None:
        """Close every connection, take no new ones, and fail the Calls that wait."""
        self.is_closing = True
        self._calls.close()
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
            assert isinstance(frame, CallResult | CallError)
            if not self._calls.answered(connection.identity, frame):
                metrics.events["answers to no outstanding Call"] += 1
            return None
        action = frame.action
        handlers = self._handlers
        try:
            handlers.check(connection, action)
            validate(action, Direction.REQ, frame.payload)
            result = handlers.handle(connection, action, frame.payload, connection.last_seen)
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
            self._booted(connection)
        return encode(CallResult(frame.unique_id, result))

    def malformed(self, connection: Connection, malformed: MalformedFrame, text: bytes | memoryview) -> bytes | None:
        """Return the answer that a malformed message is owed, or `None`."""
        self._metrics.events[f"malformed: {malformed.reason.value}"] += 1
        self._lifecycle.write("malformed", time.monotonic(), identity=connection.identity, why=malformed.reason.value)
        if malformed.reason is Malformation.NOT_JSON and not _is_utf8(text):
            connection.peer.close(CloseCode.INVALID_TEXT, "a text message must be UTF-8")
            return None
        if self._calls.malformed(connection.identity, malformed):
            return None
        answer = malformed.answer()
        if answer is None:
            return None
        self._metrics.errors[answer.code] += 1
        return encode(answer)

    def _booted(self, connection: Connection) -> None:
        if connection.registered is Registered.ACCEPTED:
            self._accepted.add(connection.identity)
            self._lifecycle.write("booted", time.monotonic(), identity=connection.identity)
        else:
            self._accepted.discard(connection.identity)
            status = connection.registered.value
            self._lifecycle.write("booted", time.monotonic(), identity=connection.identity, status=status)

    def _refuse(self, unique_id: str, error: OcppError) -> bytes:
        self._metrics.errors[error.code.value] += 1
        return encode(refusal(unique_id, error))

    def _forget(self, connection: Connection) -> None:
        identity = connection.identity
        del self._connections[identity]
        self._calls.lost(identity)
        self._remembered[identity] = Record(
            connection.registered, connection.boot, connection.statuses, connection.last_seen
        )
        if len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._slots[connection.slot].discard(connection)
        self._metrics.connections -= 1
        self._metrics.events["connections closed"] += 1


def _is_utf8(text: bytes | memoryview) -> bool:
    try:
        bytes(text).decode()
    except UnicodeDecodeError:
        return False
    return True
