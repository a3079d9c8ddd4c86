"""One side of an OCPP-J conversation: one outstanding Call, correlation, queue, deadlines (J 4.1.1).

A `Session` outlives connections: message ids stay unique across reconnects (J errata 3.7), and
what was outstanding when the connection went fails with `Failure.CONNECTION_LOST`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import NamedTuple

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import (
    Call,
    CallError,
    CallResult,
    MalformedFrame,
    MessageType,
    Payload,
    decode,
    encode,
    encode_call,
    refusal,
)
from ampswarm.ocppj.schemas import Direction, validate


class UniqueIds:
    """Message ids that never repeat in this process, nor in another one with another prefix.

    One object serves a whole fleet, so that a charge point needs no counter of its own.

    Args:
        prefix: at most 20 characters, different for each process (a random number in hexadecimal).
    """

    __slots__ = ("_numbers", "_prefix", "given")

    def __init__(self, prefix: str) -> None:
        if len(prefix) > 20:
            raise ValueError(f"a prefix of message ids has at most 20 characters, not {len(prefix)}")
        self._prefix = prefix
        self._numbers: Iterator[int] = count(1)
        self.given: dict[str, int] = {}
        """How many ids were given to Calls, by action: how many Calls there were."""

    def next(self, action: str = "") -> str:
        """Return an id that was never returned before, of at most 36 characters (J 4.1.4).

        Args:
            action: of the Call that it is for; none is counted without.
        """
        if action:
            self.given[action] = self.given.get(action, 0) + 1
        return f"{self._prefix}{next(self._numbers):x}"


class Failure(StrEnum):
    """Why a Call got no usable answer."""

    CALL_ERROR = "CallError"
    TIMED_OUT = "no answer in time"
    CONNECTION_LOST = "connection lost before the answer"
    INVALID_ANSWER = "answer breaks the schema"
    MALFORMED_ANSWER = "answer is not a CallResult or CallError"


@dataclass(frozen=True, slots=True)
class Answered:
    """A Call of ours got its CallResult. Times in seconds, on the caller's clock."""

    action: str
    payload: Payload
    due: float
    """When the Call should have gone out."""
    sent: float
    ended: float
    size: int
    """Length of the answer's text, in bytes."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A Call of ours got no usable answer. Times in seconds, on the caller's clock."""

    action: str
    failure: Failure
    detail: str
    """The code of the CallError, or in which way the answer was wrong; else empty. Never an id."""
    due: float
    sent: float
    ended: float


@dataclass(frozen=True, slots=True)
class Received:
    """A valid Call of the peer, which must be answered: `Session.respond` or `Session.refuse`."""

    call: Call


@dataclass(frozen=True, slots=True)
class Refused:
    """A Call of the peer that broke the rules; `reply` tells it so, where it can be told."""

    error: OcppError
    reply: bytes


class Oddity(StrEnum):
    """What arrived and has no consequence but to be counted."""

    LATE_ANSWER = "answer to no outstanding Call"
    MALFORMED = "malformed message"


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that arrived and cannot be answered."""

    oddity: Oddity
    detail: str


Event = Answered | Failed | Received | Refused | Ignored


class _Outstanding(NamedTuple):
    unique_id: str
    action: str
    due: float
    sent: float


class _Queued(NamedTuple):
    action: str
    payload: Payload | bytes
    due: float


class Session:
    """The Calls that one side sends and receives, on one connection after the other.

    Args:
        unique_ids: where message ids come from.
        timeout: seconds after which a Call without an answer has timed out (J 4.1.1 leaves it to
            the implementation).
    """

    __slots__ = ("_answering", "_outstanding", "_queue", "_unique_ids", "timeout")

    def __init__(self, unique_ids: UniqueIds, timeout: float) -> None:
        self._unique_ids = unique_ids
        self.timeout = timeout
        """Seconds; may be changed, and counts for the outstanding Call as well."""
        self._outstanding: _Outstanding | None = None
        self._queue: deque[_Queued] | None = None
        # Ids of the peer's Calls that wait for our answer. A tuple, because it is nearly always
        # empty, and the empty tuple is shared by all sessions.
        self._answering: tuple[str, ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether a Call may go out now: none is outstanding and none is queued."""
        return self._outstanding is None and not self._queue

    @property
    def deadline(self) -> float | None:
        """When the outstanding Call times out; `None` without one."""
        return None if self._outstanding is None else self._outstanding.sent + self.timeout

    def call(self, action: str, payload: Payload | bytes, now: float, *, due: float | None = None) -> bytes | None:
        """Return the text to send now, or `None` when the Call has to wait for the one before it.

        A queued Call comes out of `poll` when its turn has come.

        Args:
            action: what is asked of the peer.
            payload: the request's payload; packed or not; it is sent as it is, without validation.
            now: the time.
            due: when it should have been sent; `None` means now.
        """
        due = now if due is None else due
        if self.is_idle:
            return self._send(action, payload, due, now)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(_Queued(action, payload, due))
        return None

    def poll(self, now: float) -> bytes | None:
        """Return the next queued Call's text if it may go out now; else `None`."""
        if self._outstanding is not None or not self._queue:
            return None
        queued = self._queue.popleft()
        return self._send(queued.action, queued.payload, queued.due, now)

    def expire(self, now: float) -> Failed | None:
        """Give up the outstanding Call if its time is over. A later answer is `LATE_ANSWER`."""
        outstanding = self._outstanding
        if outstanding is None or now < outstanding.sent + self.timeout:
            return None
        return self._fail(Failure.TIMED_OUT, "", now)

    def lost(self, now: float) -> list[Failed]:
        """The connection is gone: fail what was outstanding and queued, forget the peer's Calls."""
        self._answering = ()
        failed = [
            Failed(queued.action, Failure.CONNECTION_LOST, "", queued.due, now, now) for queued in self._queue or ()
        ]
        if self._outstanding is not None:
            failed.insert(0, self._fail(Failure.CONNECTION_LOST, "", now))
        self._queue = None
        return failed

    def receive(self, text: str | bytes, now: float) -> Event:
        """Return what one message of the peer means. Never raises."""
        try:
            frame = decode(text)
        except MalformedFrame as malformed:
            return self._malformed(malformed, now)
        if type(frame) is Call:
            return self._received(frame)
        outstanding = self._outstanding
        if outstanding is None or frame.unique_id != outstanding.unique_id:
            return Ignored(Oddity.LATE_ANSWER, type(frame).__name__)
        if type(frame) is CallError:
            code = ErrorCode.parse(frame.code)
            return self._fail(Failure.CALL_ERROR, code.value if code else "unknown code", now)
        assert type(frame) is CallResult
        try:
            validate(outstanding.action, Direction.CONF, frame.payload)
        except OcppError as error:
            return self._fail(Failure.INVALID_ANSWER, error.code.value, now)
        self._outstanding = None
        return Answered(outstanding.action, frame.payload, outstanding.due, outstanding.sent, now, len(text))

    def respond(self, unique_id: str, payload: Payload) -> bytes:
        """Return the CallResult to the peer's Call `unique_id`."""
        self._answered(unique_id)
        return encode(CallResult(unique_id, payload))

    def refuse(self, unique_id: str, error: OcppError) -> bytes:
        """Return the CallError to the peer's Call `unique_id`."""
        self._answered(unique_id)
        return encode(refusal(unique_id, error))

    def leave_unanswered(self, unique_id: str) -> None:
        """Never answer the peer's Call `unique_id`: a Rejected charge point must not (core 4.2)."""
        self._answered(unique_id)

    def _send(self, action: str, payload: Payload | bytes, due: float, now: float) -> bytes:
        unique_id = self._unique_ids.next(action)
        if isinstance(payload, bytes):
            text = encode_call(unique_id, action, payload)
        else:
            text = encode(Call(unique_id, action, payload))
        self._outstanding = _Outstanding(unique_id, action, due, now)
        return text

    def _fail(self, failure: Failure, detail: str, now: float) -> Failed:
        outstanding = self._outstanding
        assert outstanding is not None
        self._outstanding = None
        return Failed(outstanding.action, failure, detail, outstanding.due, outstanding.sent, now)

    def _answered(self, unique_id: str) -> None:
        self._answering = tuple(each for each in self._answering if each != unique_id)

    def _received(self, call: Call) -> Event:
        if call.unique_id in self._answering:
            # J 4.2.3: "an existing call with the same unique identifier is being handled already".
            error = OcppError(ErrorCode.GENERIC_ERROR, "a Call with this message id is being handled")
        else:
            try:
                validate(call.action, Direction.REQ, call.payload)
            except OcppError as violation:
                error = violation
            else:
                self._answering = (*self._answering, call.unique_id)
                return Received(call)
        reply = encode(refusal(call.unique_id, error))
        return Refused(error, reply)

    def _malformed(self, malformed: MalformedFrame, now: float) -> Event:
        answer = malformed.answer()
        if answer is not None:
            error = OcppError(ErrorCode(answer.code), answer.description)
            return Refused(error, encode(answer))
        outstanding = self._outstanding
        if (
            outstanding is not None
            and malformed.message_type in (MessageType.CALL_RESULT, MessageType.CALL_ERROR)
            and malformed.unique_id == outstanding.unique_id
        ):
            # It was meant as the answer: waiting for a better one would only hide the fault.
            return self._fail(Failure.MALFORMED_ANSWER, malformed.reason.value, now)
        return Ignored(Oddity.MALFORMED, malformed.reason.value)
