"""Storms over the fleet: the master says when, every process hits its share and counts how it comes back.

A storm's time counts from the beginning of the test, as everything else in a report does. Each process hits those of
its own charge points whose place in the storm is below its share, so that it is the same ones on any number of workers.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import gevent
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from ampswarm.load.plight import Blow
from ampswarm.load.storm_spec import Storm, parse_storm
from ampswarm.results.generators import REPORT_INTERVAL
from ampswarm.results.recovery import Recovery, tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locust.env import Environment

    from ampswarm.load.bystanders import Bystanders
    from ampswarm.load.dark_connection import AnyConnection
    from ampswarm.load.reports import Reports
    from ampswarm.load.user import ChargePointUser

logger: Final = logging.getLogger("ampswarm")

STRIKE: Final = "ampswarm_storm"
"""The master's message: a storm begins."""
OVER: Final = "ampswarm_storm_over"
"""The master's message: what was to be seen of a storm was seen."""
WANTED: Final = "ampswarm_storm_wanted"
"""A worker's message: its scenario wants a storm."""

_AFTERMATH: Final = 60.0
"""Seconds for which the others are looked at when all that were hit are back."""
_BATCH: Final = 50
"""Charge points that are hit before the others get their turn."""
_BREATH: Final = 0.001
"""Seconds of that turn."""


class StormNotPossible(Exception):  # noqa: N818
    """Why there can be no storm now; one clear line."""


class _Seen:
    """A storm as a process with charge points sees it."""

    __slots__ = ("began", "counts", "left_behind")

    def __init__(self, began: float) -> None:
        self.began = began
        self.counts = Recovery()
        self.left_behind: list[AnyConnection] = []


class _Result:
    """A storm as it is reported."""

    __slots__ = ("began", "is_over", "over_at", "recovery", "storm")

    def __init__(self, storm: Storm, began: float) -> None:
        self.storm = storm
        self.began = began
        self.recovery = Recovery()
        self.over_at: float | None = None
        self.is_over = False


class Storms:
    """The storms of a test.

    Args:
        environment: Locust's.
        runner: Locust's, of any kind.
        reports: what carries the counts of workers to the master.
        bystanders: the Calls of this process.
        planned: returns the storms of this test, those of the options or of the scenario.
    """

    def __init__(
        self,
        environment: Environment,
        runner: Any,  # noqa: ANN401
        reports: Reports,
        bystanders: Bystanders,
        planned: Callable[[], Iterable[Storm]],
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._reports = reports
        self._bystanders = bystanders
        self._planned = planned
        self._is_worker = isinstance(runner, WorkerRunner)
        self._timers: list[gevent.Greenlet] = []
        self._began = 0.0
        self._number = 0
        # By number: what a process with charge points sees, and what it comes to where all is put together.
        self._seen: dict[int, _Seen] = {}
        self._results: dict[int, _Result] = {}
        self._is_told = True
        self._to_come: list[Storm] = []
        self._plan: list[Storm] = []
        reports.add("storms", self._take, self._accept)
        events = environment.events
        events.test_start.add_listener(lambda **_: self._begin())
        events.test_stop.add_listener(lambda **_: self._end())
        events.quitting.add_listener(lambda **_: self._tell())
        if isinstance(runner, MasterRunner):
            runner.register_message(WANTED, lambda msg, **_: self.strike(parse_storm(msg.data["storm"])))
        elif runner is not None:
            runner.register_message(STRIKE, lambda msg, **_: self._on_strike(msg.data))
            runner.register_message(OVER, lambda msg, **_: self._on_over(msg.data))

    def strike(self, storm: Storm) -> None:
        """Let a storm begin now, whatever its own time says; from any process, without waiting.

        Raises:
            StormNotPossible: no test runs.
        """
        if self._runner is None or self._runner.state not in (STATE_RUNNING, STATE_SPAWNING):
            raise StormNotPossible("no test is running: there is nobody whom a storm could hit")
        if self._is_worker:
            self._runner.send_message(WANTED, {"storm": f"{storm}"})
            return
        self._number += 1
        began = time.monotonic() - self._began
        self._results[self._number] = _Result(storm, began)
        logger.info("storm %d begins, %.1f s into the test: %s", self._number, began, storm)
        self._runner.send_message(STRIKE, {"number": self._number, "storm": f"{storm}"})

    def section(self) -> list[dict[str, Any]]:
        """Return all storms of the test for a report, in the order in which they began: what JSON can hold."""
        return [
            {
                "title": f"storm {number} ({result.storm})",
                "name": result.storm.name,
                "kind": result.storm.kind.value,
                "share": result.storm.share,
                "began": round(result.began, 3),
                "for": result.storm.away,
                "over": result.storm.over,
                "seed": result.storm.seed,
                **result.recovery.section(),
            }
            for number, result in self._results.items()
        ]

    def by_hand(self) -> list[Storm]:
        """Return all storms of the test, those that were planned first, if there was one that nobody had planned."""
        planned = {id(each) for each in self._plan}
        others = [
            replace(result.storm, at=round(result.began, 1))
            for result in self._results.values()
            if id(result.storm) not in planned
        ]
        return [*self._plan, *others] if others else []

    def reasons(self) -> list[str]:
        """Return why the test was not the one that was planned: storms that had not begun when it ended."""
        return [f"the test ended before a storm began ({storm})" for storm in self._to_come]

    # -- the process that says when -----------------------------------------------------------

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._seen.clear()
        self._bystanders.clear()
        if self._is_worker:
            return
        self._results.clear()
        self._number = 0
        self._is_told = False
        self._plan = list(self._planned())
        self._to_come = list(self._plan)
        self._timers = [gevent.spawn_later(storm.at or 0.0, self._strike_planned, storm) for storm in self._to_come]

    def _strike_planned(self, storm: Storm) -> None:
        try:
            self.strike(storm)
        except StormNotPossible as error:
            logger.error("no storm (%s): %s", storm, error)
        else:
            self._to_come = [each for each in self._to_come if each is not storm]

    def _accept(self, _worker: str, taken: Any) -> None:  # noqa: ANN401
        for number, counts in taken:
            result = self._results.get(number)
            if result is not None:
                result.recovery.accept(counts)
        now = time.monotonic()
        for number, result in self._results.items():
            # One that comes over some time is not over before that, and the last reports of whom it has hit have come.
            may_be_over = now - self._began >= result.began + result.storm.over + REPORT_INTERVAL
            if result.over_at is None and may_be_over and result.recovery.is_over:
                result.over_at = now
            if result.over_at is not None and not result.is_over and now - result.over_at >= _AFTERMATH:
                result.is_over = True
                self._runner.send_message(OVER, {"number": number})

    def _tell(self) -> None:
        """Log what became of the storms, once for a test, when all reports have come."""
        if self._is_worker:
            return
        self._reports.finish()
        was_told, self._is_told = self._is_told, True
        if not was_told and self._results:
            logger.info("storms of this test:\n%s", tables(self.section()))

    # -- a process with charge points ---------------------------------------------------------

    def _on_strike(self, message: dict[str, Any]) -> None:
        storm = parse_storm(message["storm"])
        number: int = message["number"]
        seen = self._seen[number] = _Seen(time.monotonic())
        self._bystanders.watch(storm, seen.began, seen.counts)
        self._timers = [each for each in self._timers if not each.dead]
        self._timers.append(gevent.spawn(self._hit, storm, seen))

    def _hit(self, storm: Storm, seen: _Seen) -> None:
        blow = Blow(storm, seen.began, seen.counts, seen.left_behind.append)
        is_hit = storm.hits()
        targets = [user for user in self._users() if user.number and is_hit(user.number)]
        targets.sort(key=lambda user: storm.place(user.number))
        for turn, user in enumerate(targets, 1):
            wait = seen.began + storm.moment(user.number) - time.monotonic()
            if wait > _BREATH:
                gevent.sleep(wait)
            elif turn % _BATCH == 0:
                gevent.sleep(_BREATH)
            user.strike(blow)
        if storm.away:
            gevent.sleep(max(0.0, seen.began + storm.over + storm.away - time.monotonic()))
        self._close(seen)

    def _users(self) -> Iterable[ChargePointUser]:
        # As Locust itself finds them; a list of our own would cost every charge point its entry.
        users = (each.args[0] for each in list(self._runner.user_greenlets) if each.args)
        return (cast("ChargePointUser", user) for user in users if hasattr(user, "strike"))

    def _close(self, seen: _Seen) -> None:
        """End what was left behind in the dark: now the central system can hear of it."""
        left, seen.left_behind[:] = list(seen.left_behind), []
        for turn, connection in enumerate(left, 1):
            connection.abort()
            if turn % _BATCH == 0:
                gevent.sleep(_BREATH)

    def _on_over(self, message: dict[str, Any]) -> None:
        seen = self._seen.get(message["number"])
        if seen is not None:
            self._bystanders.look_away(seen.counts)

    def _end(self) -> None:
        """The test has stopped: no charge point of this process lives."""
        gevent.killall(self._timers, block=False)
        self._timers.clear()
        for seen in self._seen.values():
            self._close(seen)
        if not self._is_worker:
            gevent.spawn(self._tell)

    def _take(self) -> list[object]:
        taken = ((number, seen.counts.take()) for number, seen in self._seen.items())
        return [[number, counts] for number, counts in taken if counts]
