"""The charge points of all processes, for whoever asks one of them: live facts, and Calls to wherever they are."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ampswarm.ocppj.frames import Payload
from server import ledger
from server.calls import CallFailed, Outcome, Result, call_each
from server.cluster import Body, Cluster
from server.connections import CentralSystem, Connection
from server.messages import Message
from server.records import Records
from server.store import Store, StoreFailed

_MAX_BATCH: Final = 500
"""Results in one message between two processes."""
_GLANCE: Final = 2.0
"""Seconds for which the fleet at a glance is not counted anew."""
_OLD_GLANCE: Final = 60.0
"""Seconds after which an old count is no answer any more: who asks waits for a new one."""
_COUNTING: Final = 0.01
"""Seconds that who asks waits for a new count; then the old one has to do."""

UNKNOWN: Final = "no such charge point has ever connected"
NOT_CONNECTED: Final = "it is not connected"
_SILENT: Final = "a process does not answer, and it may be connected there"


@dataclass(frozen=True, slots=True)
class Glance:
    """The fleet, as the store has it."""

    registrations: dict[str, int]
    """Charge points that were ever connected, by what their last boot was answered."""
    transactions_open: int
    counted_at: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class LastMessages:
    """The last messages of a charge point, of all processes."""

    messages: list[Message]
    """In the order of time."""
    seen: dict[str, int]
    """The number of the last one of each process, to ask for newer ones."""
    are_kept: bool
    """Whether any process keeps messages."""


class Fleet:
    """All charge points that are connected, to whichever process.

    Args:
        central: the connections of this process.
        cluster: the way to the others.
        records: what charge points said of themselves.
        store: where the book of transactions is.
    """

    def __init__(self, central: CentralSystem, cluster: Cluster, records: Records, store: Store) -> None:
        self._central = central
        self._cluster = cluster
        self._records = records
        self._store = store
        self._glance: Glance | None = None
        self._counting: asyncio.Task[Glance] | None = None
        cluster.answer("describe", self._answer_describe)
        cluster.answer("messages", self._answer_messages)
        cluster.answer("count", self._answer_count)
        cluster.answer("settle", self._answer_settle)
        cluster.answer("call", self._answer_call)
        cluster.answer("call many", self._answer_call_many)

    @property
    def nodes(self) -> frozenset[str]:
        """The processes that are there now."""
        return self._cluster.members

    async def settle(self) -> None:
        """Let all processes write what charge points have told them, so that the records of all can be read."""
        if not self._cluster.is_alone:
            await self._cluster.ask_briefly("settle", {})

    async def describe(self, identities: Sequence[str]) -> dict[str, Body]:
        """Return what only its process knows of each charge point that is connected, by identity."""
        found = self._described(identities)
        if not self._cluster.is_alone and len(found) < len(identities):
            missing = [identity for identity in identities if identity not in found]
            for answer in (await self._cluster.ask_briefly("describe", {"identities": missing})).values():
                found |= answer
        return found

    def is_here(self, identity: str) -> bool:
        """Return whether a charge point is connected to this very process."""
        return self._central.get(identity) is not None

    async def messages(self, identity: str, seen: Mapping[str, int], limit: int) -> LastMessages:
        """Return the last messages of a charge point, wherever it was or is connected.

        Args:
            identity: the charge point.
            seen: of processes that were asked before, the number of the last message seen.
            limit: how many at most.
        """
        body = {"identity": identity, "seen": seen, "limit": limit}
        answers = await self._cluster.ask_briefly("messages", body)
        last = {node: number for node, number in seen.items() if node in self._cluster.members}
        found: list[Message] = []
        for node, answer in answers.items():
            told = [Message(*each) for each in answer["messages"]]
            if told:
                last[node] = told[-1].number
            found += told
        found.sort(key=lambda message: message.at)
        return LastMessages(found[-limit:], last, any(answer["are_kept"] for answer in answers.values()))

    async def connections(self) -> dict[str, int]:
        """Return how many charge points are connected, by process."""
        if self._cluster.is_alone:
            return {self._cluster.node: len(self._central)}
        answers = await self._cluster.ask_briefly("count", {})
        return {node: answer["connections"] for node, answer in answers.items()}

    async def glance(self) -> Glance:
        """Return what is counted in the store.

        It is not counted for each request, and who asks does not wait for a million rows when there is a count that
        is not too old.

        Raises:
            StoreFailed: there is no answer.
        """
        last = self._glance
        age = math.inf if last is None else time.time() - last.counted_at
        if last is not None and 0 <= age < _GLANCE:
            return last
        counting = self._counting
        if counting is None or counting.done():
            counting = self._counting = asyncio.create_task(self._count())
            # Whoever asks for it hears why it failed; there may be nobody.
            counting.add_done_callback(lambda done: done.cancelled() or done.exception())
        if last is None or not 0 <= age < _OLD_GLANCE:
            return await asyncio.shield(counting)
        await asyncio.wait([counting], timeout=_COUNTING)
        return counting.result() if counting.done() else last

    async def prime(self) -> None:
        """Count for the first who asks."""
        with contextlib.suppress(StoreFailed):
            await self.glance()

    async def _count(self) -> Glance:
        registrations = await self._records.counts()
        counted = await self._store.read(ledger.sums)
        self._glance = Glance(registrations, counted["open"], time.time())
        return self._glance

    async def call(
        self,
        identity: str,
        action: str,
        payload: Payload,
        timeout: float,  # noqa: ASYNC109
        *,
        force: bool = False,
    ) -> Payload:
        """Call a charge point, wherever it is connected; return the payload of its CallResult.

        Args:
            identity: whom.
            action: what is asked.
            payload: the request's payload.
            timeout: seconds for the answer, from when the Call is sent.
            force: whether it is sent although the charge point's boot was not accepted.

        Raises:
            OcppError: the Call breaks the rules; nothing was sent.
            CallFailed: there is no result.
        """
        try:
            return await self._call(identity, action, payload, timeout, force=force)
        except CallFailed as failed:
            if failed.outcome is not Outcome.NOT_CONNECTED:
                raise
        await self.settle()
        (why,) = await self._why_not_connected([identity])
        raise CallFailed(Outcome.NOT_CONNECTED, why)

    async def _call(
        self,
        identity: str,
        action: str,
        payload: Payload,
        timeout: float,  # noqa: ASYNC109
        *,
        force: bool,
    ) -> Payload:
        if self._central.get(identity) is not None or self._cluster.is_alone:
            return await self._central.call(identity, action, payload, timeout, force=force)
        if self._cluster.trouble is not None:
            raise CallFailed(Outcome.UNREACHABLE, "it is not connected to this process, and the bus is down")
        body = {"identity": identity, "action": action, "payload": payload, "timeout": timeout, "force": force}
        is_there = False
        async with contextlib.aclosing(self._cluster.ask("call", body)) as parts:
            async for _, part in parts:
                if "result" in part or "failed" in part:
                    return _unpack(part)
                is_there = True
        if self._cluster.silent and not is_there:
            raise CallFailed(Outcome.UNREACHABLE, _SILENT)
        is_known = self._cluster.trouble is None and not is_there
        raise CallFailed(Outcome.NOT_CONNECTED if is_known else Outcome.UNREACHABLE)

    async def call_many(
        self,
        identities: Sequence[str] | None,
        action: str,
        payload: Payload,
        timeout: float,  # noqa: ASYNC109
        concurrency: int,
        *,
        force: bool = False,
    ) -> AsyncGenerator[list[Result], None]:
        """Call many charge points, wherever they are; yield results as they come.

        Args:
            identities: whom; `None` for all that are connected.
            action: what is asked.
            payload: the request's payload.
            timeout: seconds for each answer, from when its Call is sent.
            concurrency: how many at a time, over all processes.
            force: whether it is sent also to those whose boot was not accepted.
        """
        body = {
            "identities": None if identities is None else list(identities),
            "action": action,
            "payload": payload,
            "timeout": timeout,
            "concurrency": max(1, concurrency // len(self._cluster.members)),
            "force": force,
        }
        missing = dict.fromkeys(identities or ())
        async with contextlib.aclosing(self._cluster.ask("call many", body)) as parts:
            async for _, part in parts:
                results = [(each["identity"], _unpacked(each)) for each in part["results"]]
                for identity, _ in results:
                    missing.pop(identity, None)
                yield results
        if missing and not self._central.is_closing:
            await self.settle()
            # Of who is silent, nobody knows whom it has.
            is_silent = bool(self._cluster.silent)
            names = iter(missing)
            while batch := list(islice(names, _MAX_BATCH)):
                if is_silent:
                    yield [(identity, CallFailed(Outcome.UNREACHABLE, _SILENT)) for identity in batch]
                    continue
                reasons = zip(batch, await self._why_not_connected(batch), strict=True)
                yield [(identity, CallFailed(Outcome.NOT_CONNECTED, why)) for identity, why in reasons]

    async def _why_not_connected(self, identities: Sequence[str]) -> list[str]:
        """Return for each whether it has gone, or was never here."""
        try:
            known = await self._records.registrations(identities)
        except StoreFailed:
            return [NOT_CONNECTED] * len(identities)
        return [NOT_CONNECTED if identity in known else UNKNOWN for identity in identities]

    # -- this process's part of the answers ---------------------------------------------------

    def _described(self, identities: Iterable[str]) -> dict[str, Body]:
        connections = ((identity, self._central.get(identity)) for identity in identities)
        return {identity: self._live(each) for identity, each in connections if each is not None}

    def _live(self, connection: Connection) -> Body:
        return {
            "node": self._cluster.node,
            "connected_at": self._central.connected_since(connection.identity),
            "last_seen": connection.last_seen,
            "round_trip": connection.round_trip,
            "calls_waiting": self._central.calls_waiting(connection.identity),
        }

    async def _answer_describe(self, body: Body) -> AsyncIterator[Body]:
        yield self._described(body["identities"])

    async def _answer_messages(self, body: Body) -> AsyncIterator[Body]:
        kept = self._central.messages
        found = (
            () if kept is None else kept.of(body["identity"], body["seen"].get(self._cluster.node, 0), body["limit"])
        )
        yield {"messages": [[*each] for each in found], "are_kept": kept is not None}

    async def _answer_count(self, _body: Body) -> AsyncIterator[Body]:
        yield {"connections": len(self._central)}

    async def _answer_settle(self, _body: Body) -> AsyncIterator[Body]:
        with contextlib.suppress(StoreFailed):
            await self._records.flush()
        yield {}

    async def _answer_call(self, body: Body) -> AsyncIterator[Body]:
        identity: str = body["identity"]
        if self._central.get(identity) is None:
            return
        yield {"here": True}
        yield await _outcome(self._call_here(identity, body))

    async def _call_here(self, identity: str, body: Body) -> Payload:
        action, payload, timeout = body["action"], body["payload"], body["timeout"]
        # A process of an older release does not say.
        return await self._central.call(identity, action, payload, timeout, force=body.get("force", False))

    async def _answer_call_many(self, body: Body) -> AsyncIterator[Body]:
        wanted: list[str] | None = body["identities"]
        here = self._central.connected if wanted is None else [each for each in wanted if self._central.get(each)]

        async def call(identity: str) -> Payload:
            return await self._call_here(identity, body)

        def while_open() -> Iterator[str]:
            for identity in here:
                if self._central.is_closing:
                    return
                yield identity

        if not here:
            return
        async with contextlib.aclosing(call_each(call, while_open(), min(body["concurrency"], len(here)))) as batches:
            async for batch in batches:
                for start in range(0, len(batch), _MAX_BATCH):
                    yield {"results": [_packed(*each) for each in batch[start : start + _MAX_BATCH]]}


async def _outcome(call: Awaitable[Payload]) -> Body:
    try:
        return {"result": await call}
    except CallFailed as failed:
        return {"failed": _failed(failed)}


def _failed(failed: CallFailed) -> Body:
    return {
        "outcome": failed.outcome.value,
        "description": failed.description,
        "code": failed.code,
        "details": failed.details,
    }


def _packed(identity: str, came: Payload | CallFailed) -> Body:
    if isinstance(came, CallFailed):
        return {"identity": identity, "failed": _failed(came)}
    return {"identity": identity, "result": came}


def _unpacked(part: Body) -> Payload | CallFailed:
    if "result" in part:
        result: Payload = part["result"]
        return result
    failed = part["failed"]
    return CallFailed(Outcome(failed["outcome"]), failed["description"], code=failed["code"], details=failed["details"])


def _unpack(part: Body) -> Payload:
    came = _unpacked(part)
    if isinstance(came, CallFailed):
        raise came
    return came
