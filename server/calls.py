"""Calls to charge points: one outstanding for each, the others in order behind it (J 4.1.1)."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Call, CallError, CallResult, MalformedFrame, MessageType, Payload, encode
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS, Direction, validate
from ampswarm.ocppj.session import UniqueIds
from server.metrics import RESULT, Metrics

MAX_QUEUED: Final = 100
"""Calls that may wait behind the outstanding one of a charge point."""


class Outcome(StrEnum):
    """Why a Call has no result."""

    NOT_CONNECTED = "NotConnected"
    TOO_MANY_CALLS = "TooManyCalls"
    """`MAX_QUEUED` Calls wait for this charge point already."""
    CALL_ERROR = "CallError"
    TIMED_OUT = "TimedOut"
    CONNECTION_LOST = "ConnectionLost"
    INVALID_ANSWER = "InvalidAnswer"
    """The answer is no CallResult or CallError, or breaks the schema of the action."""
    SHUTTING_DOWN = "ShuttingDown"
    NOT_ACCEPTED = "NotAccepted"
    """Its boot was not accepted, and the rules advise against this Call, or forbid it."""
    NOT_KEPT = "NotKept"
    """What has to be known before the Call is sent cannot be kept."""
    UNREACHABLE = "Unreachable"
    """The process that the charge point is connected to has gone, or does not answer."""


class CallFailed(Exception):  # noqa: N818  what happened to a Call, and mostly not a fault of the program
    """A Call that has no result.

    Args:
        outcome: why.
        description: one line for a person; that of the CallError.
        code: the code of the CallError, as it was on the wire; `None` takes the outcome's name.
        details: those of the CallError.
    """

    def __init__(
        self, outcome: Outcome, description: str = "", *, code: str | None = None, details: Payload | None = None
    ) -> None:
        super().__init__(f"{code or outcome.value}: {description}")
        self.outcome = outcome
        self.code = outcome.value if code is None else code
        self.description = description
        self.details = details or {}


@dataclass(frozen=True, slots=True)
class _Pending:
    """A Call that is not answered yet."""

    unique_id: str
    action: str
    text: bytes
    timeout: float
    payload: Payload
    future: asyncio.Future[Payload]
    asked_at: float
    """Seconds, monotonic."""


class _Line:
    """What waits for one charge point. Exists only while something does."""

    __slots__ = ("outstanding", "queue", "send", "sent_at", "timer")

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self.send = send
        self.outstanding: _Pending | None = None
        self.sent_at = 0.0
        """Seconds, monotonic: when the outstanding Call was sent."""
        self.timer: asyncio.TimerHandle | None = None
        self.queue: deque[_Pending] = deque()


def check(action: str, payload: Payload, *, formats: bool = False) -> None:
    """Refuse what must not be sent to a charge point.

    Args:
        action: what is to be asked.
        payload: the request's payload.
        formats: whether times in it have to be such: for what people write.

    Raises:
        OcppError: NotImplemented for an action that 1.6 does not know, NotSupported for one that only
            charge points send; else the code that says how the payload breaks the schema.
    """
    validate(action, Direction.REQ, payload, formats=formats)
    if action not in CENTRAL_SYSTEM_ACTIONS:
        raise OcppError(ErrorCode.NOT_SUPPORTED, f"{action} is for central systems")


class Calls:
    """The Calls that charge points were sent, or will be when it is their turn.

    A charge point without Calls has nothing here, and its own Calls never come by.

    Args:
        unique_ids: where message ids come from: unique over connections (J errata 3.7).
        metrics: where Calls are counted.
    """

    def __init__(self, unique_ids: UniqueIds, metrics: Metrics) -> None:
        self._unique_ids = unique_ids
        self._metrics = metrics
        self._lines: dict[str, _Line] = {}
        self.answered_with: Callable[[str, str, Payload, Payload], None] | None = None
        """Called with the identity, the action, the request's payload and that of each valid CallResult."""
        self._is_closed = False

    def start(
        self, identity: str, send: Callable[[bytes], None], action: str, payload: Payload, timeout: float
    ) -> asyncio.Future[Payload]:
        """Send a Call as soon as its turn has come; return the future of its result.

        Cancelling the future takes the Call out of the queue. One that was sent stays outstanding all
        the same, because the charge point may still be at it.

        Args:
            identity: the charge point.
            send: sends it a text.
            action: what is asked.
            payload: the request's payload.
            timeout: seconds for the answer, from the moment of sending (J 4.1.1).

        Raises:
            OcppError: as `check` does; nothing was sent.
            CallFailed: too many wait already, or `close` was called.
        """
        check(action, payload)
        if self._is_closed:
            raise CallFailed(Outcome.SHUTTING_DOWN)
        line = self._lines.get(identity)
        if line is not None and len(line.queue) >= MAX_QUEUED:
            self._metrics.call_failed(action, Outcome.TOO_MANY_CALLS.value)
            raise CallFailed(Outcome.TOO_MANY_CALLS, f"{MAX_QUEUED} Calls wait for it already")
        unique_id = self._unique_ids.next()
        try:
            text = encode(Call(unique_id, action, payload))
        except ValueError as error:
            raise OcppError(ErrorCode.FORMATION_VIOLATION, str(error)) from None
        future: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        pending = _Pending(unique_id, action, text, timeout, payload, future, time.monotonic())
        if line is None:
            line = self._lines[identity] = _Line(send)
        line.queue.append(pending)
        if line.outstanding is None:
            self._send_next(identity, line)
        return pending.future

    def waiting(self, identity: str) -> int:
        """Return how many Calls a charge point has not answered yet; those in the queue count."""
        line = self._lines.get(identity)
        return 0 if line is None else (line.outstanding is not None) + len(line.queue)

    def answered(self, identity: str, frame: CallResult | CallError) -> bool:
        """Take an answer of a charge point; return whether it answers the outstanding Call."""
        line = self._lines.get(identity)
        if line is None or line.outstanding is None or line.outstanding.unique_id != frame.unique_id:
            return False
        pending = line.outstanding
        self._metrics.sent[pending.action].answering.observe(time.monotonic() - line.sent_at)
        if type(frame) is CallError:
            code, details = frame.code or "GenericError", _told(frame.details)
            failed = CallFailed(Outcome.CALL_ERROR, frame.description, code=code, details=details)
            self._fail(pending, failed)
        else:
            assert type(frame) is CallResult
            self._take_result(identity, pending, frame.payload)
        self._go_on(identity, line)
        return True

    def malformed(self, identity: str, malformed: MalformedFrame) -> bool:
        """Take a malformed message; return whether it was meant as the answer to the outstanding Call.

        Waiting for a better one would only hide the fault.
        """
        line = self._lines.get(identity)
        if (
            line is None
            or line.outstanding is None
            or malformed.message_type not in (MessageType.CALL_RESULT, MessageType.CALL_ERROR)
            or malformed.unique_id != line.outstanding.unique_id
        ):
            return False
        self._fail(line.outstanding, CallFailed(Outcome.INVALID_ANSWER, malformed.reason.value))
        self._go_on(identity, line)
        return True

    def lost(self, identity: str) -> None:
        """The connection is gone: what was outstanding and queued fails."""
        line = self._lines.pop(identity, None)
        if line is not None:
            self._fail_all(line, Outcome.CONNECTION_LOST)

    def close(self) -> None:
        """Fail whatever waits, and take no more Calls."""
        self._is_closed = True
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            self._fail_all(line, Outcome.SHUTTING_DOWN)

    def _send_next(self, identity: str, line: _Line) -> None:
        while line.queue:
            pending = line.queue.popleft()
            if pending.future.done():
                continue  # whoever asked has gone
            line.outstanding = pending
            line.sent_at = time.monotonic()
            loop = asyncio.get_running_loop()
            line.timer = loop.call_later(pending.timeout, self._time_out, identity, line)
            self._metrics.queueing.observe(line.sent_at - pending.asked_at)
            self._metrics.sent[pending.action].count += 1
            line.send(pending.text)
            return
        del self._lines[identity]

    def _go_on(self, identity: str, line: _Line) -> None:
        if line.timer is not None:
            line.timer.cancel()
        line.outstanding = line.timer = None
        self._send_next(identity, line)

    def _time_out(self, identity: str, line: _Line) -> None:
        pending = line.outstanding
        assert pending is not None
        self._fail(pending, CallFailed(Outcome.TIMED_OUT, f"no answer in {pending.timeout:g} s"))
        self._go_on(identity, line)

    def _take_result(self, identity: str, pending: _Pending, payload: Payload) -> None:
        try:
            validate(pending.action, Direction.CONF, payload)
        except OcppError as error:
            self._fail(pending, CallFailed(Outcome.INVALID_ANSWER, str(error), details=_told({"payload": payload})))
            return
        self._metrics.sent[pending.action].outcomes[RESULT] += 1
        if self.answered_with is not None:
            # Whether anybody still waits for it or not: the charge point has done what it says.
            self.answered_with(identity, pending.action, pending.payload, payload)
        if not pending.future.done():
            pending.future.set_result(payload)

    def _fail(self, pending: _Pending, failed: CallFailed) -> None:
        code = failed.code if failed.outcome is Outcome.CALL_ERROR else None
        self._metrics.call_failed(pending.action, failed.outcome.value, code)
        if not pending.future.done():
            pending.future.set_exception(failed)

    def _fail_all(self, line: _Line, outcome: Outcome) -> None:
        if line.timer is not None:
            line.timer.cancel()
        if line.outstanding is not None:
            self._fail(line.outstanding, CallFailed(outcome))
        for pending in line.queue:
            if not pending.future.done():
                self._fail(pending, CallFailed(outcome, "the Call was not sent yet"))


def _told(details: Payload) -> Payload:
    """Return what a charge point has said, if it can be told again: JSON may be nested deeper than can be written."""
    try:
        orjson.dumps(details)
    except orjson.JSONEncodeError:
        return {}
    return details


Result = tuple[str, Payload | CallFailed]
"""A charge point's identity, and what came of its Call."""


async def call_each(
    call: Callable[[str], Awaitable[Payload]], identities: Iterable[str], concurrency: int
) -> AsyncGenerator[list[Result], None]:
    """Call many charge points; yield results as they come, all that are there at a time.

    Who does not take the results slows the Calls down: no more than `concurrency` results wait.

    Args:
        call: calls one; raises CallFailed.
        identities: whom.
        concurrency: how many at a time.
    """
    turns = iter(identities)
    results: asyncio.Queue[Result | _WorkerEnded] = asyncio.Queue(concurrency)
    workers = [asyncio.create_task(_call_in_turn(call, turns, results)) for _ in range(concurrency)]
    working = concurrency
    try:
        while working:
            waiting = [await results.get()]
            while not results.empty():
                waiting.append(results.get_nowait())
            batch: list[Result] = []
            for item in waiting:
                if isinstance(item, _WorkerEnded):
                    working -= 1
                    if item.fault is not None:
                        raise item.fault
                else:
                    batch.append(item)
            if batch:
                yield batch
    finally:
        for worker in workers:
            worker.cancel()


@dataclass(frozen=True, slots=True)
class _WorkerEnded:
    fault: Exception | None


async def _call_in_turn(
    call: Callable[[str], Awaitable[Payload]], turns: Iterator[str], results: asyncio.Queue[Result | _WorkerEnded]
) -> None:
    fault: Exception | None = None
    try:
        for identity in turns:
            try:
                result: Result = identity, await call(identity)
            except CallFailed as failed:
                result = identity, failed
            await results.put(result)
    except Exception as error:  # noqa: BLE001  raised again where the results are taken
        fault = error
    await results.put(_WorkerEnded(fault))
