"""Where chaos meets charge points: what becomes of their messages, PINGs and upgrades while it is on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from itertools import count
from typing import Final

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Call, Frame
from server.alarm import Alarm
from server.authentication import CHALLENGE
from server.chaos import Chaos, Fate
from server.connections import CentralSystem, Connection
from server.handlers import BootPolicy
from server.metrics import Closed, Metrics, RefusalReason
from server.upgrade import Refusal

COUNTED: Final = "chaos: "
"""What the names of all that it counts begin with."""


class LateAnswers:
    """Answers that wait for their time. Those of a connection that is gone are forgotten with it."""

    def __init__(self) -> None:
        self._timers: dict[Connection, dict[int, asyncio.Handle]] = {}
        self._numbers = count()
        self._alarm = Alarm()

    def send(self, connection: Connection, texts: Sequence[bytes], delay: float) -> None:
        """Send texts after `delay` seconds."""
        number = next(self._numbers)
        timer = self._alarm.call_later(delay, self._due, connection, number, texts)
        self._timers.setdefault(connection, {})[number] = timer

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        for timer in self._timers.pop(connection, {}).values():
            timer.cancel()

    def __len__(self) -> int:
        return sum(map(len, self._timers.values()))

    def _due(self, connection: Connection, number: int, texts: Sequence[bytes]) -> None:
        timers = self._timers[connection]
        del timers[number]
        if not timers:
            del self._timers[connection]
        for text in texts:
            connection.send(text)


def end(connection: Connection, code: int | None, central: CentralSystem, metrics: Metrics) -> None:
    """End a connection, with a Close frame if there is a code for it."""
    metrics.events[f"{COUNTED}connections dropped"] += 1
    central.disconnected(connection, "dropped by chaos", Closed.CHAOS)
    if code is None:
        connection.peer.abort()
    else:
        connection.peer.close(code, "chaos")


class ChaosHooks:
    """What the central system asks while one configuration is in force (an `Interference`).

    Args:
        chaos: decides.
        central: handles what is handled.
        late: holds what waits; it outlives this configuration.
        metrics: where all is counted that is done.
    """

    def __init__(self, chaos: Chaos, central: CentralSystem, late: LateAnswers, metrics: Metrics) -> None:
        self._chaos = chaos
        self._central = central
        self._late = late
        self._metrics = metrics
        # Of Calls whose answers wait for the store.
        self._fates: dict[tuple[Connection, str], Fate] = {}

    def receive(self, connection: Connection, frame: Frame) -> None:
        """Take a message, and answer it, or not."""
        central = self._central
        identity = connection.identity
        if central.get(identity) is not connection:
            return  # dropped, and more had come with the message for which it was
        if type(frame) is not Call:
            drop = self._chaos.drop(identity)
            if drop is not None:
                end(connection, drop.code, central, self._metrics)
            else:
                central.answer(connection, frame)
            return
        fate = self._chaos.fate(identity, frame.action)
        if fate is None:
            answer = central.answer(connection, frame)
            if answer is not None:
                connection.send(answer)
        elif fate.drop is not None:
            end(connection, fate.drop.code, central, self._metrics)
        elif fate.withheld is not None and not fate.withheld.handled:
            self._count("Calls ignored")
            central.ignore(frame)
        elif fate.error is not None:
            self._count(f"CallErrors {fate.error.code}")
            error = OcppError(ErrorCode(fate.error.code), fate.error.description)
            self._deliver(connection, central.fail(frame, error), fate)
        else:
            self._handle(connection, frame, fate)

    def reply(self, connection: Connection, unique_id: str, answer: bytes) -> None:
        """Send an answer that had to wait for the store, or not."""
        fate = self._fates.pop((connection, unique_id), None)
        if fate is None:
            connection.send(answer)
        else:
            self._deliver(connection, answer, fate)

    def pinged(self, turn: tuple[Connection, ...]) -> tuple[Connection, ...]:
        """Return those of a turn of PINGs that get one, or that owe a PONG."""
        spared = {
            connection
            for connection in turn
            if connection.pinged_at is None and self._chaos.withholds_ping(connection.identity)
        }
        self._count("PINGs withheld", len(spared))
        return tuple(connection for connection in turn if connection not in spared)

    def intercept(self, identity: str) -> Refusal | None:
        """Return what refuses an upgrade; `None` lets it be."""
        found = self._chaos.refusal(identity)
        if found is None:
            return None
        status, retry_after = found
        self._count(f"upgrades refused with {status}")
        # RFC 9110, 11.6.1: a 401 names a scheme.
        headers = CHALLENGE if status == HTTPStatus.UNAUTHORIZED else ()
        if retry_after is not None:
            headers = (("Retry-After", f"{retry_after}"),)
        return Refusal(HTTPStatus(status), "chaos", headers, reason=RefusalReason.CHAOS)

    def boot_policy(self, identity: str, policy: BootPolicy) -> BootPolicy:
        """Return what a BootNotification is answered, where `policy` is what it would be."""
        rule = self._chaos.boot(identity)
        if rule is None:
            return policy
        self._count(f"boots answered {rule.status}")
        return BootPolicy(rule.status, policy.interval if rule.interval is None else rule.interval)

    def _handle(self, connection: Connection, call: Call, fate: Fate) -> None:
        key = connection, call.unique_id
        # A second Call with the id of one that waits for the store is refused at once: the first keeps its fate.
        is_first = key not in self._fates
        if is_first:
            # Before it is handled: a full store refuses it at once, by `reply`.
            self._fates[key] = fate
        answer = self._central.answer(connection, call)
        if answer is not None:
            if is_first:
                self._fates.pop(key, None)
            self._deliver(connection, answer, fate)

    def _deliver(self, connection: Connection, answer: bytes, fate: Fate) -> None:
        if fate.withheld is not None:
            self._count("answers withheld")
            return
        for is_so, what in (
            (fate.wrong_id is not None, "wrong ids"),
            (fate.cut is not None, "answers malformed"),
            (fate.is_doubled, "answers doubled"),
            (fate.delay > 0, "answers delayed"),
        ):
            self._count(what, is_so)
        texts = fate.spoil(answer)
        if fate.delay > 0:
            # It may have gone while the store was asked: then nobody would forget the timer.
            if self._central.get(connection.identity) is connection:
                self._late.send(connection, texts, fate.delay)
            return
        for text in texts:
            connection.send(text)

    def _count(self, what: str, times: int = 1) -> None:
        if times:
            self._metrics.events[COUNTED + what] += times
