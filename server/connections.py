"""The charge points that are connected: one connection each, its messages, its PINGs.

Knows nothing of sockets: `listener` hands in what arrives and lends each connection a `Peer`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
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
    encode_result,
    refusal,
)
from ampswarm.ocppj.schemas import Direction, validate
from server.calls import CallFailed, Calls, Outcome, check
from server.handlers import Handlers, Later
from server.journal import Journal
from server.messages import MAX_TEXT, Messages, cut
from server.metrics import OTHER, RESULT, UNANSWERED, Closed, Metrics, Received, RefusalReason
from server.records import Records, Registered, is_password
from server.registrations import Recall, objection
from server.store import StoreFailed
from server.transactions import Kept

MAX_MESSAGE: Final = 256 * 1024
"""Bytes; the longest message that is taken (RFC 6455, 7.4.1: else 1009)."""

MAX_ANSWERING: Final = 100
"""Calls of one charge point whose answers may wait for the store. One is all that J 4.1.1 allows; those of who
floods must not be in everybody's way."""
MAX_PING_SLOTS: Final = 256
_MAX_SECRETS: Final = 1000

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
    SERVICE_RESTART: Final = 1012


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


class PasswordChanges(Protocol):
    """Where charge points' passwords are, while they change over OCPP; see `server.stored_passwords`."""

    async def propose(self, identity: str, authorization_key: str) -> None:
        """Let a charge point in with a new password too, from before it gets to know it.

        Raises:
            StoreFailed: that is not kept.
        """

    def decided(self, identity: str, authorization_key: str, *, is_taken: bool) -> None:
        """A charge point has taken its new password, or has not: the other one is forgotten."""


class Interference(Protocol):
    """What chaos does to messages and PINGs; see `server.chaos_hooks`."""

    def receive(self, connection: Connection, frame: Frame) -> None:
        """Take a message instead of `CentralSystem.answer`, and answer it, or not."""

    def reply(self, connection: Connection, unique_id: str, answer: bytes) -> None:
        """Send an answer that had to wait for the store, or not."""

    def pinged(self, turn: tuple[Connection, ...]) -> tuple[Connection, ...]:
        """Return those of a turn of PINGs that get one, or that owe a PONG."""


class Connection:
    """One charge point's connection."""

    __slots__ = (
        "_central",
        "answering",
        "identity",
        "last_seen",
        "opened_at",
        "peer",
        "pinged_at",
        "registered",
        "round_trip",
        "slot",
    )

    def __init__(self, central: CentralSystem, identity: str, peer: Peer, now: float) -> None:
        self._central = central
        self.identity = identity
        self.peer = peer
        self.opened_at = now
        """Seconds, monotonic."""
        self.registered = Registered.UNKNOWN
        """What its BootNotification was answered, on this connection or an earlier one."""
        self.answering: tuple[str, ...] = ()
        """Ids of its Calls whose answers wait for the store. A tuple, because it is mostly the shared empty one."""
        self.last_seen = time.time()
        """Seconds since 1970: when its last message or PONG came."""
        self.pinged_at: float | None = None
        """Seconds, monotonic: when the PING went out that was not answered yet; `None` when there is none."""
        self.round_trip: float | None = None
        """Seconds from the last PING that was answered to its PONG; `None` before there was one."""
        self.slot = 0
        """Its place in the rhythm of PINGs."""

    def receive(self, text: bytes) -> None:
        """Take one text message, answer it, and close the connection if it is no text at all."""
        central = self._central
        self.last_seen = time.time()
        log_payload = central.log_payload
        messages = central.messages
        shown = text if not central.secrets else central.without_secret(self.identity, text)
        if log_payload is not None:
            log_payload(self.identity, "in", shown)
        if messages is not None:
            messages.add((self.last_seen, self.identity, False, shown if len(shown) <= MAX_TEXT else cut(shown)))
        try:
            frame = decode(text)
        except MalformedFrame as malformed:
            answer = central.malformed(self, malformed, text)
        else:
            if central.chaos is not None:
                central.chaos.receive(self, frame)
                return
            answer = central.answer(self, frame)
        if answer is not None:
            self.send(answer)

    def send(self, text: bytes) -> None:
        """Send one text message."""
        self.peer.send_text(text)
        central = self._central
        log_payload = central.log_payload
        if log_payload is not None:
            log_payload(self.identity, "out", text)
        messages = central.messages
        if messages is not None:
            # A copy: orjson's own bytes keep the whole buffer that they were written in, 4 KiB. None is faster.
            messages.add((time.time(), self.identity, True, b"%b" % text if len(text) <= MAX_TEXT else cut(text)))

    def pong(self) -> None:
        """Take a PONG."""
        self.last_seen = time.time()
        # One that nobody asked for (RFC 6455, 5.5.3) measures nothing.
        if self.pinged_at is not None:
            self.round_trip = time.monotonic() - self.pinged_at
            self.pinged_at = None
            self._central.ponged(self.round_trip)


class CentralSystem:
    """All connections of this process and what happens on them.

    Args:
        handlers: the answers.
        calls: the Calls to charge points.
        journal: what must be kept before it is answered.
        records: what charge points say of themselves.
        metrics: the counters.
        lifecycle: where connections and boots are logged.
        log_payload: called for each message; `None` logs none.
        ping_interval: seconds between two PINGs to a connection; 0 sends none.
    """

    def __init__(
        self,
        handlers: Handlers,
        calls: Calls,
        journal: Journal,
        records: Records,
        metrics: Metrics,
        lifecycle: LifecycleLog,
        *,
        log_payload: PayloadLog | None = None,
        ping_interval: float = 30.0,
    ) -> None:
        self._handlers = handlers
        self._calls = calls
        calls.answered_with = self._answered_with
        self._journal = journal
        self._records = records
        self._recall = Recall(records.registrations)
        self._metrics = metrics
        self._lifecycle = lifecycle
        self.log_payload = log_payload
        self.messages: Messages | None = None
        """Where the last messages are kept; `None` keeps none."""
        self.passwords: PasswordChanges | None = None
        """Where passwords are that change over OCPP; `None` where they do not."""
        self.secrets: dict[str, bytes] = {}
        """The last password that each of some charge points was sent: a CallError may repeat it (A01.FR.09)."""
        self.opened: Callable[[str], None] | None = None
        """Called with the identity of each charge point that connects."""
        self.closed: Callable[[Connection], None] | None = None
        """Called with each connection that is gone."""
        self.chaos: Interference | None = None
        """What goes wrong on purpose; `None` for nothing."""
        self.is_closing = False
        """Whether no new connections are taken any more."""
        self._connections: dict[str, Connection] = {}
        self._writing: set[asyncio.Task[None]] = set()
        # Connections that are to be closed once their last answers are out.
        self._leaving: dict[Connection, tuple[int, str]] = {}
        # Connections are pinged in turns, spread over the interval: a wheel of slots instead of
        # a timer for each, and no burst of a million frames at once.
        slots = max(1, min(MAX_PING_SLOTS, round(ping_interval * 10)))
        self._slots: list[set[Connection]] = [set() for _ in range(slots)]
        self._slot = 0
        self.seconds_per_slot = ping_interval / slots
        """How often `ping_next` has to be called; 0 for never."""

    def connect(self, identity: str, peer: Peer, registered: Registered = Registered.UNKNOWN) -> Connection:
        """Take a new connection; one that this identity had before is closed.

        Args:
            identity: who it is.
            peer: the other end.
            registered: what its last boot was answered, if that matters.
        """
        now = time.monotonic()
        connection = Connection(self, identity, peer, now)
        before = self._connections.get(identity)
        if before is not None:
            self._replace(before)
        connection.registered = registered
        self._connections[identity] = connection
        self._records.connected(identity, connection.last_seen)
        connection.slot = self._slot
        self._slots[connection.slot].add(connection)
        self._metrics.connections += 1
        self._metrics.connections_opened += 1
        self._lifecycle.write("connected", now, identity=identity)
        if self.opened is not None:
            self.opened(identity)
        return connection

    def moved(self, identity: str) -> None:
        """A charge point has connected to another process: close what it had here."""
        connection = self._connections.get(identity)
        if connection is not None:
            self._replace(connection)

    def standing(self) -> list[tuple[str, float]]:
        """Return who is connected, and since when, in seconds since 1970."""
        offset = time.time() - time.monotonic()
        return [(each.identity, each.opened_at + offset) for each in self._connections.values()]

    def connected_since(self, identity: str) -> float | None:
        """Return since when a charge point is connected, in seconds since 1970; `None` when it is not."""
        connection = self._connections.get(identity)
        return None if connection is None else connection.opened_at + time.time() - time.monotonic()

    def disconnected(self, connection: Connection, why: str, cause: Closed = Closed.LOST) -> None:
        """A connection is gone.

        Args:
            connection: which one.
            why: one line for the log.
            cause: what it is counted under.
        """
        if self._connections.get(connection.identity) is not connection:
            return  # replaced or terminated: told already
        self._forget(connection, cause)
        now = time.monotonic()
        self._lifecycle.write(
            "disconnected",
            now,
            identity=connection.identity,
            why=why,
            seconds=round(now - connection.opened_at, 3),
        )

    def disagreed(self, **fields: object) -> None:
        """A handshake was completed without a common subprotocol, to be closed at once (J 3.2)."""
        self._metrics.events["handshakes without a common subprotocol"] += 1
        self._lifecycle.write("disagreed", time.monotonic(), why="no common subprotocol", **fields)

    def ponged(self, seconds: float) -> None:
        """A PING was answered after some time."""
        self._metrics.round_trips.observe(seconds)

    def refused(self, status: int, why: str, reason: RefusalReason = RefusalReason.OTHER, **fields: object) -> None:
        """An upgrade was refused with an HTTP status.

        Args:
            status: of HTTP.
            why: one line for the log.
            reason: what it is counted under.
            fields: more for the log.
        """
        # Of an HTTPStatus, the number.
        self._metrics.refusals[int(status), reason] += 1
        self._lifecycle.write("refused", time.monotonic(), status=status, why=why, **fields)

    def dropped(self, why: str, **fields: object) -> None:
        """A connection ended before there was a request to answer."""
        self._metrics.events[f"handshakes dropped: {why}"] += 1
        self._lifecycle.write("dropped", time.monotonic(), why=why, **fields)

    def ping_next(self) -> None:
        """Ping the slot whose turn it is; end those of it that did not answer the previous PING."""
        self._slot = (self._slot + 1) % len(self._slots)
        turn = tuple(self._slots[self._slot])
        for connection in turn if self.chaos is None else self.chaos.pinged(turn):
            if connection.pinged_at is not None:
                self._metrics.pings_lost += 1
                self.disconnected(connection, "no PONG", Closed.NO_PONG)
                connection.peer.abort()
            else:
                # The time of each: sending to all the others of its turn takes a while.
                connection.pinged_at = time.monotonic()
                connection.peer.ping()
                self._metrics.pings_sent += 1

    async def call(
        self,
        identity: str,
        action: str,
        payload: Payload,
        timeout: float,  # noqa: ASYNC109
        *,
        force: bool = False,
    ) -> Payload:
        """Call a charge point; return the payload of its CallResult.

        Args:
            identity: the charge point.
            action: what is asked.
            payload: the request's payload.
            timeout: seconds for the answer, from when the Call is sent: it may have to wait for others.
            force: whether it is sent although the charge point's boot was not accepted.

        Raises:
            OcppError: the Call breaks the rules; nothing was sent.
            CallFailed: there is no result.
        """
        if not force:
            await self._check_registered(identity, action)
        connection = self._connections.get(identity)
        if connection is None:
            raise CallFailed(Outcome.NOT_CONNECTED)
        if action == "ChangeConfiguration" and is_password(str(payload.get("key", ""))):
            check(action, payload)
            await self._propose(identity, payload["value"])
        return await self._calls.start(identity, connection.send, action, payload, timeout)

    async def _check_registered(self, identity: str, action: str) -> None:
        connection = self._connections.get(identity)
        if connection is not None and connection.registered is Registered.UNKNOWN:
            # It has not booted on this connection, and need not have (J 5.4).
            registered = await self._recall.of(identity)
            if connection.registered is Registered.UNKNOWN:
                connection.registered = registered
        why = None if connection is None else objection(connection.registered, action)
        if why is not None:
            raise CallFailed(Outcome.NOT_ACCEPTED, why)

    async def _propose(self, identity: str, authorization_key: str) -> None:
        """Prepare for a new password, before it is sent."""
        self.secrets.pop(identity, None)
        self.secrets[identity] = authorization_key.encode()
        if len(self.secrets) > _MAX_SECRETS:
            del self.secrets[next(iter(self.secrets))]
        if self.passwords is None:
            return
        try:
            await self.passwords.propose(identity, authorization_key)
        except StoreFailed as failed:
            raise CallFailed(Outcome.NOT_KEPT, f"the new password is not sent: {failed.reason}") from None

    def without_secret(self, identity: str, text: bytes) -> bytes:
        """Return a message as it may be shown: without the password that its charge point was sent."""
        secret = self.secrets.get(identity)
        return text.replace(secret, b"***") if secret else text

    def get(self, identity: str) -> Connection | None:
        """Return the connection of a charge point; `None` when this process has none."""
        return self._connections.get(identity)

    def calls_waiting(self, identity: str) -> int:
        """Return how many Calls a charge point has not answered yet, or was not even sent."""
        return self._calls.waiting(identity)

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def connected(self) -> list[str]:
        """The identities of all charge points that are connected to this process."""
        return list(self._connections)

    def connections(self) -> Iterator[Connection]:
        """Yield the connections that stand now."""
        return iter(tuple(self._connections.values()))

    def close_calls(self) -> None:
        """Fail the Calls that wait, and take no new ones."""
        self._calls.close()

    def leave(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection, after the answers that still wait for the store."""
        if connection.answering:
            self._leaving[connection] = code, reason
        else:
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
        received = metrics.received[action]
        began = time.monotonic()
        try:
            if connection.answering:
                _check_unique(connection, frame.unique_id)
            handlers.check(connection, action)
            validate(action, Direction.REQ, frame.payload)
            result = handlers.handle(connection, action, frame.payload, connection.last_seen)
            if type(result) is Later:
                _check_room(connection)
                connection.answering = (*connection.answering, frame.unique_id)
                self._journal.add(result.entry, partial(self._kept, connection, frame.unique_id, action, result))
                received.handling.observe(time.monotonic() - began)
                return None
            assert type(result) is dict
            validate(action, Direction.CONF, result)
        except OcppError as error:
            received.handling.observe(time.monotonic() - began)
            return self._refuse(frame.unique_id, error, received)
        except Exception as fault:  # noqa: BLE001  a fault here must not cost a charge point its connection
            received.handling.observe(time.monotonic() - began)
            return self._fault(connection, frame.unique_id, action, fault)
        received.handling.observe(time.monotonic() - began)
        received.outcomes[RESULT] += 1
        if action == "BootNotification":
            self._booted(connection)
            if handlers.requires_boot:
                self._answer_once_written(connection, frame.unique_id, result)
                return None
        return encode_result(frame.unique_id, result)

    def malformed(self, connection: Connection, malformed: MalformedFrame, text: bytes) -> bytes | None:
        """Return the answer that a malformed message is owed, or `None`."""
        self._metrics.malformed[malformed.reason] += 1
        self._lifecycle.write("malformed", time.monotonic(), identity=connection.identity, why=malformed.reason.value)
        if malformed.reason is Malformation.NOT_JSON and not _is_utf8(text):
            connection.peer.close(CloseCode.INVALID_TEXT, "a text message must be UTF-8")
            return None
        if self._calls.malformed(connection.identity, malformed):
            return None
        answer = malformed.answer()
        if answer is None:
            return None
        self._metrics.received[OTHER].ended(answer.code)
        return encode(answer)

    def fail(self, call: Call, error: OcppError) -> bytes:
        """Return the answer to a Call that is not handled at all."""
        return self._refuse(call.unique_id, error, self._metrics.received[call.action])

    def ignore(self, call: Call) -> None:
        """Count a Call that is not handled, and gets no answer."""
        self._metrics.received[call.action].ended(UNANSWERED)

    def _answered_with(self, identity: str, action: str, request: Payload, result: Payload) -> None:
        """Take note of what a charge point says of its configuration."""
        if action == "GetConfiguration":
            self._records.configured(identity, result.get("configurationKey", []))
        elif action == "ChangeConfiguration":
            # RebootRequired: it has taken the value, and uses it from then on (core 7.22).
            is_taken = result["status"] in {"Accepted", "RebootRequired"}
            if not is_password(request["key"]):
                if is_taken:
                    self._records.configured(identity, [{"key": request["key"], "value": request["value"]}])
            elif self.passwords is not None:
                self.passwords.decided(identity, request["value"], is_taken=is_taken)

    def _kept(self, connection: Connection, unique_id: str, action: str, later: Later, kept: Kept | None) -> None:
        """Answer a Call whose entry was kept, or could not be."""
        try:
            result = later.answer(_sure(kept))
            validate(action, Direction.CONF, result)
        except OcppError as error:
            answer = self._refuse(unique_id, error, self._metrics.received[action])
        except Exception as fault:  # noqa: BLE001  as in `answer`
            answer = self._fault(connection, unique_id, action, fault)
        else:
            self._metrics.received[action].outcomes[RESULT] += 1
            answer = encode_result(unique_id, result)
        self._send_late(connection, unique_id, answer)

    def _answer_once_written(self, connection: Connection, unique_id: str, result: Payload) -> None:
        """Answer a boot that has to be remembered: who reconnects, elsewhere or after a SIGKILL, boots no more."""
        connection.answering = (*connection.answering, unique_id)
        task = asyncio.get_running_loop().create_task(self._write_boot(connection, unique_id, result))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_boot(self, connection: Connection, unique_id: str, result: Payload) -> None:
        try:
            await self._records.flush()
        except StoreFailed:
            received = self._metrics.received["BootNotification"]
            error = OcppError(ErrorCode.INTERNAL_ERROR, "it could not be kept: send it again later")
            answer = self._refuse(unique_id, error, received)
        else:
            answer = encode_result(unique_id, result)
        self._send_late(connection, unique_id, answer)

    def _send_late(self, connection: Connection, unique_id: str, answer: bytes) -> None:
        """Send an answer that had to wait."""
        connection.answering = tuple(each for each in connection.answering if each != unique_id)
        if self.chaos is None:
            connection.send(answer)
        else:
            self.chaos.reply(connection, unique_id, answer)
        if connection in self._leaving and not connection.answering:
            connection.peer.close(*self._leaving.pop(connection))

    def _fault(self, connection: Connection, unique_id: str, action: str, fault: Exception) -> bytes:
        self._lifecycle.write("fault", time.monotonic(), identity=connection.identity, action=action, error=repr(fault))
        return self._refuse(unique_id, OcppError(ErrorCode.INTERNAL_ERROR), self._metrics.received[action])

    def _booted(self, connection: Connection) -> None:
        if connection.registered is Registered.ACCEPTED:
            self._lifecycle.write("booted", time.monotonic(), identity=connection.identity)
        else:
            status = connection.registered.value
            self._lifecycle.write("booted", time.monotonic(), identity=connection.identity, status=status)

    def _refuse(self, unique_id: str, error: OcppError, received: Received) -> bytes:
        received.ended(error.code.value)
        return encode(refusal(unique_id, error))

    def _replace(self, connection: Connection) -> None:
        self._lifecycle.write("replaced", time.monotonic(), identity=connection.identity)
        self._forget(connection, Closed.REPLACED)
        connection.peer.close(CloseCode.POLICY_VIOLATION, "replaced by a newer connection")

    def _forget(self, connection: Connection, cause: Closed) -> None:
        identity = connection.identity
        del self._connections[identity]
        self._calls.lost(identity)
        self._leaving.pop(connection, None)
        if self.closed is not None:
            self.closed(connection)
        self._records.disconnected(identity, connection.last_seen)
        self._slots[connection.slot].discard(connection)
        self._metrics.connections -= 1
        self._metrics.connections_closed[cause] += 1


def _check_unique(connection: Connection, unique_id: str) -> None:
    if unique_id in connection.answering:
        # J 4.2.3: "an existing call with the same unique identifier is being handled already".
        raise OcppError(ErrorCode.GENERIC_ERROR, "a Call with this message id is being handled")


def _check_room(connection: Connection) -> None:
    if len(connection.answering) >= MAX_ANSWERING:
        raise OcppError(ErrorCode.INTERNAL_ERROR, f"{MAX_ANSWERING} Calls wait to be kept already: send it again later")


def _sure(kept: Kept | None) -> Kept:
    if kept is None:
        raise OcppError(ErrorCode.INTERNAL_ERROR, "it could not be kept: send it again later")
    return kept


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
