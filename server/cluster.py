"""The processes of one central system, as one: who has which charge point, and questions to all of them.

A charge point is connected to one process at a time: where it has connected last. Whoever gets its connection tells
the others, with when that was, and who has an older one closes it. News are gathered for a moment, and a busy process
hears of them late, so the order in which they come says nothing; the times do. They are those of the bus's clock, which
all know to within some milliseconds, however the clocks of their hosts differ.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Protocol

import orjson

from server.bus import Bus

Body = dict[str, Any]
Answerer = Callable[[Body], AsyncIterator[Body]]
"""Answers a question, in as many parts as it likes."""

_ANNOUNCE_INTERVAL: Final = 0.02
"""Seconds: a storm is a few messages."""
_MAX_ANNOUNCED: Final = 2000
_NOTHING: Final = "nothing"
_WINDOW: Final = 16
"""Parts of an answer that may be under way: who does not take them slows down who answers."""
PATIENCE: Final = 5.0
"""Seconds without a word after which a process is no longer waited for."""
_MAX_SHOWN: Final = 200
_SIGN_OF_LIFE: Final = 1.5
"""Seconds after which who is still at an answer says so."""


class Fleet(Protocol):
    """The connections of this process."""

    def moved(self, identity: str) -> None:
        """A charge point has connected to another process: close what it had here."""

    def standing(self) -> list[tuple[str, float]]:
        """Return who is connected here, and since when (seconds since 1970)."""

    def connected_since(self, identity: str) -> float | None:
        """Return since when a charge point is connected here, in seconds since 1970; `None` when it is not."""


class NoFleet:
    """No connections: for processes that have other things to ask each other."""

    def moved(self, identity: str) -> None:
        """Never called: nobody connects."""

    def standing(self) -> list[tuple[str, float]]:
        """Return nobody."""
        return []

    def connected_since(self, identity: str) -> float | None:  # noqa: ARG002  as a Fleet has it
        """Return nothing."""
        return None


@dataclass(slots=True)
class _Question:
    """A question of this process that is not answered in full yet."""

    waiting_for: set[str]
    parts: asyncio.Queue[tuple[str, Body] | None] = field(default_factory=asyncio.Queue)


@dataclass(slots=True)
class _Answering:
    """A question of some process that is being answered here."""

    task: asyncio.Task[None] | None = None
    window: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_WINDOW))


class Cluster:
    """This process among the others.

    Args:
        bus: the way to them.
        fleet: the connections of this process.
        report: called with the name of a question and a fault that its answer ended with.
        interval: seconds for which new connections are gathered before the others are told.
    """

    def __init__(
        self,
        bus: Bus,
        fleet: Fleet,
        report: Callable[[str, Exception], None],
        *,
        interval: float = _ANNOUNCE_INTERVAL,
    ) -> None:
        self._interval = interval
        self._bus = bus
        self._fleet = fleet
        self._report = report
        self._answerers: dict[str, Answerer] = {}
        self._listeners: dict[str, Callable[[Body], None]] = {}
        self._numbers = count(1)
        self._questions: dict[str, _Question] = {}
        self._answering: dict[tuple[str, str], _Answering] = {}
        self._new: dict[str, None] = {}
        self._announcing: asyncio.TimerHandle | None = None
        self.not_understood: Callable[[str], None] = _nobody_cares
        """Called for each message that is ignored, with one line that says why."""
        self.missed: Callable[[], None] = _nothing_missed
        """Called when news of others may not have come here: the bus is well again, or somebody has come."""
        self._known = bus.members
        self._silent: set[str] = set()
        self.trouble: str | None = None
        """Why the others cannot be reached; `None` when they can."""
        self._hear: Final[dict[str, Callable[[str, Body], None]]] = {
            "connected": self._heard_connected,
            "newer": self._heard_newer,
            "news": self._heard_news,
            "ask": self._begin_answer,
            "part": self._take_part,
            "end": self._take_part,
            "alive": self._take_part,
            "taken": self._heard_taken,
            "enough": self._heard_enough,
        }
        self.answer(_NOTHING, _answer_nothing)
        bus.receive = self._receive
        bus.members_changed = self._members_changed

    @property
    def node(self) -> str:
        """This process."""
        return self._bus.node

    @property
    def members(self) -> frozenset[str]:
        """All processes that are there now."""
        return self._bus.members

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return len(self._bus.members) == 1

    # -- who has whom -------------------------------------------------------------------------

    def connected(self, identity: str) -> None:
        """Tell the others that a charge point has connected here."""
        if self.is_alone:
            return
        self._new[identity] = None
        if len(self._new) >= _MAX_ANNOUNCED:
            self._announce()
        elif self._announcing is None:
            self._announcing = asyncio.get_running_loop().call_later(self._interval, self._announce)

    def announce_all(self) -> None:
        """Tell the others of all that are connected here: after the bus was down, or somebody has come."""
        ahead = self._bus.ahead
        standing = [(identity, since + ahead) for identity, since in self._fleet.standing()]
        for start in range(0, len(standing), _MAX_ANNOUNCED):
            self._publish({"kind": "connected", "connections": standing[start : start + _MAX_ANNOUNCED]})

    def bus_changed(self, trouble: str | None) -> None:
        """The bus has failed, or (`None`) is well again."""
        self.trouble = trouble
        if trouble is None:
            self.announce_all()
            self.missed()
        else:
            for asked in self._questions.values():
                asked.waiting_for.clear()
                asked.parts.put_nowait(None)

    def _announce(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()
            self._announcing = None
        new, self._new = self._new, {}
        # One that has gone again is no news: it may be elsewhere by now.
        connections = [(identity, since) for identity in new if (since := self._since(identity)) is not None]
        if connections:
            self._publish({"kind": "connected", "connections": connections})

    def _since(self, identity: str) -> float | None:
        """Return since when a charge point is connected here, on the clock of the bus."""
        since = self._fleet.connected_since(identity)
        return None if since is None else since + self._bus.ahead

    def _heard_connected(self, sender: str, message: Body) -> None:
        newer = self._compare(sender, message["connections"])
        if newer:
            # It may not have heard of ours: it was not there yet when we said so.
            self._send(sender, {"kind": "newer", "connections": newer})

    def _heard_newer(self, sender: str, message: Body) -> None:
        # Not answered: two that find each other older, by an error of their clocks, would go on for ever.
        self._compare(sender, message["connections"])

    def _compare(self, sender: str, connections: list[tuple[str, float]]) -> list[tuple[str, float]]:
        """Close what is older here than at another process; return what is newer here."""
        if sender == self.node:
            return []
        newer: list[tuple[str, float]] = []
        for identity, since in connections:
            ours = self._since(identity)
            if ours is None:
                continue
            if (ours, self.node) < (since, sender):
                self._fleet.moved(identity)
            else:
                newer.append((identity, ours))
        return newer

    # -- questions and news -------------------------------------------------------------------

    def answer(self, question: str, answerer: Answerer) -> None:
        """Answer a question, of other processes and of this one, from now on."""
        self._answerers[question] = answerer

    def listen(self, news: str, listener: Callable[[Body], None]) -> None:
        """Call `listener` with each piece of news of other processes."""
        self._listeners[news] = listener

    def tell(self, news: str, body: Body) -> None:
        """Tell the others something; also when there seem to be none, for one may have come this very moment."""
        self._publish({"kind": "news", "news": news, "body": body})

    @property
    def silent(self) -> frozenset[str]:
        """Processes that are there, did not answer the last question to them, and have not said a word since.

        They are not waited for. Whether one has what a question was about, nobody knows.
        """
        return frozenset(self._silent & self._bus.members)

    async def look(self) -> frozenset[str]:
        """Ask all whether they can answer; return who is silent."""
        async with contextlib.aclosing(self.ask(_NOTHING, {})) as parts:
            async for _ in parts:
                pass
        return self.silent

    async def ask(self, question: str, body: Body) -> AsyncGenerator[tuple[str, Body], None]:
        """Ask all processes, this one too; yield the parts of their answers, with the name of who answers.

        Ends when all have said all, or have gone, or not said a word for `PATIENCE` seconds: those are `silent` then.
        """
        if self.trouble is not None:
            async for own in self._answerers[question](body):
                yield self.node, own
            return
        number = str(next(self._numbers))
        asked = self._questions[number] = _Question(set(self._bus.members - self._silent))
        self._publish({"kind": "ask", "id": number, "question": question, "body": body})
        try:
            while asked.waiting_for or not asked.parts.empty():
                try:
                    async with asyncio.timeout(PATIENCE):
                        part = await asked.parts.get()
                except TimeoutError:
                    self._silent |= asked.waiting_for & self._bus.members
                    return
                if part is None:
                    continue
                sender, answer = part
                self._send(sender, {"kind": "taken", "id": number})
                yield sender, answer
        finally:
            del self._questions[number]
            for member in asked.waiting_for | self._silent:
                self._send(member, {"kind": "enough", "id": number})

    async def ask_briefly(self, question: str, body: Body) -> dict[str, Body]:
        """Ask all processes for an answer of one part; return the answers, by who gave them."""
        async with contextlib.aclosing(self.ask(question, body)) as parts:
            return {node: answer async for node, answer in parts}

    async def close(self) -> None:
        """Answer nothing any more."""
        if self._announcing is not None:
            self._announcing.cancel()
        tasks = [each.task for each in self._answering.values() if each.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _members_changed(self) -> None:
        members = self._bus.members
        for asked in self._questions.values():
            if asked.waiting_for - members:
                asked.waiting_for &= members
                asked.parts.put_nowait(None)
        for (sender, _), answering in list(self._answering.items()):
            if sender not in members and answering.task is not None:
                answering.task.cancel()
        self._silent &= members
        has_come = bool(members - self._known)
        self._known = members
        if has_come:
            self.announce_all()
            self.missed()

    def _receive(self, text: bytes) -> None:
        try:
            message: Body = orjson.loads(text)
            hear = self._hear.get(message["kind"])
            if hear is None:
                # Such as from a newer release, which runs beside this one during an update.
                self.not_understood("an unknown kind")
            else:
                sender: str = message["from"]
                self._silent.discard(sender)
                hear(sender, message)
        except Exception as fault:  # noqa: BLE001  anybody who reaches the bus can write to it, and the next message is good
            self.not_understood(repr(fault)[:_MAX_SHOWN])

    def _heard_news(self, sender: str, message: Body) -> None:
        listener = self._listeners.get(message["news"])
        if listener is not None and sender != self.node:
            listener(message["body"])

    def _heard_taken(self, sender: str, message: Body) -> None:
        answering = self._answering.get((sender, message["id"]))
        if answering is not None:
            answering.window.release()

    def _heard_enough(self, sender: str, message: Body) -> None:
        answering = self._answering.get((sender, message["id"]))
        if answering is not None and answering.task is not None:
            answering.task.cancel()

    def _take_part(self, sender: str, message: Body) -> None:
        asked = self._questions.get(message["id"])
        if asked is None:
            return
        if message["kind"] == "end":
            asked.waiting_for.discard(sender)
        if message["kind"] != "part":
            asked.parts.put_nowait(None)
        else:
            asked.parts.put_nowait((sender, message["body"]))

    def _begin_answer(self, sender: str, message: Body) -> None:
        number: str = message["id"]
        question: str = message["question"]
        body: Body = message["body"]
        answering = self._answering[sender, number] = _Answering()
        answer = self._answer(answering, sender, number, question, body)
        answering.task = asyncio.get_running_loop().create_task(answer)

    async def _answer(self, answering: _Answering, sender: str, number: str, question: str, body: Body) -> None:
        alive = asyncio.create_task(self._say_alive(sender, number))
        try:
            answerer = self._answerers.get(question)
            if answerer is not None:
                async for part in answerer(body):
                    await answering.window.acquire()
                    self._send(sender, {"kind": "part", "id": number, "body": part})
        except Exception as fault:  # noqa: BLE001  who asked must not wait for an answer that will not come
            self._report(question, fault)
        finally:
            alive.cancel()
            del self._answering[sender, number]
            self._send(sender, {"kind": "end", "id": number})

    async def _say_alive(self, sender: str, number: str) -> None:
        while True:
            await asyncio.sleep(_SIGN_OF_LIFE)
            self._send(sender, {"kind": "alive", "id": number})

    def _publish(self, message: Body) -> None:
        self._bus.publish(orjson.dumps({**message, "from": self.node}))

    def _send(self, node: str, message: Body) -> None:
        self._bus.send(node, orjson.dumps({**message, "from": self.node}))


async def _answer_nothing(_body: Body) -> AsyncIterator[Body]:
    """Answer, which is all that was asked for."""
    yield {}


def _nothing_missed() -> None:
    """Do nothing."""


def _nobody_cares(_why: str) -> None:
    """Tell nobody."""
