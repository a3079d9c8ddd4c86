"""What the charge points of this process are at, and, where all comes together, those of the run."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import gevent
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from ampswarm.charge_point.condition import condition_of
from ampswarm.results.census import CONDITIONS, Census, Count, table
from ampswarm.results.generators import REPORT_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from locust.env import Environment

    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.reports import Reports

PART: Final = "census"
"""Of a worker's report."""
_SLICE: Final = 50
"""Charge points that are looked at in one go: 0.1 ms, and some times as much where they are not in the caches."""
_FEW: Final = 2000
"""Charge points that are counted every second."""
_SHORT: Final = 1.0
_MOST_UNTOLD: Final = 60
"""Counts that wait for the next report."""


class ConnectCounts:
    """Attempts of this process's charge points to connect, since it began."""

    __slots__ = ("again", "opened", "refused")

    def __init__(self) -> None:
        self.opened = 0
        self.again = 0
        """Of those that were opened, how many by charge points that had been connected before."""
        self.refused = 0


class FleetCensus:
    """Counts the charge points of this process again and again; and brings all counts together on the master.

    Args:
        environment: Locust's, with its runner.
        reports: how a worker's counts come to the master.
        charge_points: those of this process.
        connects: their attempts to connect.
        commands: returns how many commands of the central system they have had.
        name: returns what a process is called in tables.
        elapsed: returns the seconds since the test began.
        more: returns what else the history is to tell of now.
    """

    def __init__(
        self,
        environment: Environment,
        reports: Reports,
        *,
        charge_points: Collection[ChargePoint],
        connects: ConnectCounts,
        commands: Callable[[], int],
        name: Callable[[str], str],
        elapsed: Callable[[], float],
        more: Callable[[], dict[str, float]],
    ) -> None:
        self._runner: Any = environment.runner
        self._charge_points = charge_points
        self._connects = connects
        self._commands = commands
        self._name = name
        self._elapsed = elapsed
        self._more = more
        self.census = Census()
        """Of the last test, or of the one that runs."""
        # Workers by what they are called.
        self._ids: dict[str, str] = {}
        self._counted: list[Count] = []
        self._counted_at = time.monotonic()
        self._before = 0, 0, 0
        self._commands_before = 0
        self._reports = reports
        reports.add(PART, self._take, self._accept)
        environment.events.test_start.add_listener(lambda **_: self._begin())
        if not isinstance(environment.runner, MasterRunner):
            gevent.spawn(self._count_for_ever)
        # Without a runner, one user is looked at in a debugger.
        if environment.runner is not None and not isinstance(environment.runner, WorkerRunner):
            gevent.spawn(self._note_for_ever)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each process, and one for all."""
        self._forget_lost()
        at = self._elapsed()
        return table(self.census.rows(at), self.census.total(at))

    def section(self) -> dict[str, Any]:
        """Return all of it, as JSON can hold it."""
        self._forget_lost()
        at = self._elapsed()
        return {
            "at": round(at, 1),
            "generators": self.census.rows(at),
            "total": self.census.total(at),
            "history": self.census.history(),
        }

    # -- inside -------------------------------------------------------------------------------

    def _begin(self) -> None:
        self.census = Census()
        self._commands_before = self._commands()

    def whole_history(self) -> list[Mapping[str, float]]:
        """Return the history of a test whose reports have all come."""
        self.census.settle()
        return list(self.census.history())

    def _take(self) -> list[object]:
        counted, self._counted = self._counted, []
        return [each.pack() for each in counted]

    def _accept(self, process: str, packed: Any) -> None:  # noqa: ANN401  whatever came in a message
        name = self._name(process)
        self._ids[name] = process
        later = self._reports.later(process)
        counts = [Count.unpack(each) for each in packed]
        self.census.accept(name, [replace(each, at=each.at + later) for each in counts], self._elapsed())

    def _forget_lost(self) -> None:
        """Forget workers that Locust misses: it has given their users to others already."""
        if isinstance(self._runner, MasterRunner):
            clients = self._runner.clients
            for name, worker in list(self._ids.items()):
                if worker not in clients or clients[worker].state == STATE_MISSING:
                    del self._ids[name]
                    self.census.forget(name)

    def _count_for_ever(self) -> None:
        while True:
            gevent.sleep(_SHORT if len(self._charge_points) <= _FEW else REPORT_INTERVAL)
            self._count()

    def _count(self) -> None:
        found: Counter[str] = Counter()
        outstanding = outbox = 0
        # A copy, for they come and go while others have their turn.
        all_of_them = iter(tuple(self._charge_points))
        while slice_ := tuple(islice(all_of_them, _SLICE)):
            for station in slice_:
                found[condition_of(station)] += 1
                outstanding += station.is_waiting
                outbox += station.unsent
            gevent.sleep(0)
        now = time.monotonic()
        opened, again, refused = self._connects.opened, self._connects.again, self._connects.refused
        count = Count(
            seconds=now - self._counted_at,
            conditions=tuple(found[each] for each in CONDITIONS),
            outstanding=outstanding,
            outbox=outbox,
            connected=opened - self._before[0],
            refused=refused - self._before[2],
            commands=self._commands() - self._commands_before,
            reconnected=again - self._before[1],
            at=self._elapsed(),
        )
        self._counted_at = now
        self._before = opened, again, refused
        if len(self._counted) < _MOST_UNTOLD:
            self._counted.append(count)
        else:  # no master has asked for long
            self._counted[-1] = count.after(self._counted[-1])

    def _note_for_ever(self) -> None:
        while True:
            gevent.sleep(REPORT_INTERVAL)
            if self._runner.state in (STATE_SPAWNING, STATE_RUNNING):
                self._forget_lost()
                self.census.note(self._elapsed(), self._more())
