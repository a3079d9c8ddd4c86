"""A generator that knows when it lies: each process with charge points watches itself, and the master judges.

What is watched, the limits and what they mean: docs/reference/generator-health.md.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import gevent
from locust.exception import RPCError
from locust.runners import STATE_RUNNING, STATE_SPAWNING, LocalRunner, MasterRunner, WorkerRunner

from ampswarm.load.loop_care import LoopCare
from ampswarm.load.reports import name_of
from ampswarm.load.self_watch import Watch
from ampswarm.results.generators import Generators, Said
from ampswarm.results.health import Judge, Limits, Reading

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from locust.env import Environment

    from ampswarm.load.reports import Reports
    from ampswarm.results.histogram import Histogram

logger: Final = logging.getLogger("ampswarm")

PART: Final = "health"
"""Of a worker's report."""
ASK: Final = "ampswarm_how_far"
ANSWER: Final = "ampswarm_this_far"

COLUMNS: Final = {
    "generator": "Generator",
    "state": "State",
    "charge_points": "Charge points",
    "loop_lag_p99_ms": "Loop lag p99 (ms)",
    "worst_loop_lag_max_ms": "Worst lag (ms)",
    "cpu_percent": "CPU (% of a core)",
    "worst_gc_max_ms": "Longest GC pause (ms)",
    "open_files_percent": "Open files (%)",
    "ports_percent": "Ports (%)",
    "memory_percent": "Memory (%)",
    "master_distance_ms": "To the master and back (ms)",
}
"""Of the table in Locust's web UI."""


def limits_of(options: Namespace) -> Limits:
    """Return the limits that the options set."""
    return Limits(**{each.name: getattr(options, each.name) for each in fields(Limits)})


class GeneratorHealth:
    """The watch of this process, the judge of all, and what ties them to Locust.

    Args:
        environment: Locust's.
        runner: Locust's, of any kind.
        reports: what a worker's readings travel on.
        count: returns how many charge points of this process there are.
    """

    def __init__(self, environment: Environment, runner: Any, reports: Reports, count: Callable[[], int]) -> None:  # noqa: ANN401
        self._environment = environment
        self._runner = runner
        self._reports = reports
        self._began = 0.0
        self._is_judged = True
        self.generators = Generators(Limits())
        """Of the last test, or of the one that runs."""
        self._watch: Watch | None = None
        # A worker's of itself, for its own log: the master may be away.
        self._own = Judge(Limits())
        listen = environment.events
        # Before the reports' own listeners: what is found at the end of a test is part of the last one.
        match runner:
            case MasterRunner():
                runner.register_message(ASK, self._on_question)
                listen.test_start.add_listener(lambda **_: self._begin())
                runner.greenlet.spawn(self._look_for_silent)
            case WorkerRunner():
                self._watch = Watch(count, self._question, self._look_at_myself)
                listen.test_start.add_listener(lambda **_: self._begin())
                runner.register_message(ANSWER, self._on_answer)
            case LocalRunner():
                self._watch = Watch(count)
                listen.test_start.add_listener(lambda **_: self._begin())
        if self._watch is not None:
            watch = self._watch
            care = LoopCare(count)
            listen.test_start.add_listener(lambda **_: care.begin(is_wanted=environment.parsed_options.gc_freeze))  # type: ignore[union-attr]
            listen.test_start.add_listener(lambda **_: watch.begin())
            listen.test_stopping.add_listener(lambda **_: watch.end())
            listen.test_stop.add_listener(lambda **_: care.end())
        reports.add(PART, self._take, self._accept)

    def reasons(self) -> list[str]:
        """Return why the last test is invalid: a line for each; none if it is valid.

        On the master and in a single process; call `Reports.finish` before it.
        """
        self._close()
        return self.generators.reasons()

    def lag(self, after: float, before: float) -> Histogram:
        """Return how late the loops of all generators were between two times of the last test, in milliseconds."""
        self._close()
        return self.generators.lag(after, before)

    def section(self) -> dict[str, object]:
        """Return how the generators were, for a report, as JSON can hold it."""
        self._close()
        return self.generators.section()

    def highest(self) -> dict[str, float]:
        """Return the highest loop lag (milliseconds, p99) and CPU (percent of a core) of any generator now."""
        rows = self.generators.table()
        columns = ("loop_lag_p99_ms", "cpu_percent")
        return {name: max((float(row.get(name) or 0.0) for row in rows), default=0.0) for name in columns}  # type: ignore[arg-type]

    def table(self) -> list[dict[str, object]]:
        """Return a row for each generator, for the web UI."""
        return self.generators.table()

    # -- inside -------------------------------------------------------------------------------

    def _begin(self) -> None:
        options = self._environment.parsed_options
        assert options is not None
        self.generators = Generators(limits_of(options))
        self._own = Judge(limits_of(options))
        self._began = time.monotonic()
        self._is_judged = False

    def _close(self) -> None:
        """What has not come once a test is over will not come any more."""
        if self._is_judged or self._runner.state in (STATE_SPAWNING, STATE_RUNNING):
            return
        if isinstance(self._runner, MasterRunner) and not self._reports.is_complete:
            return
        self._is_judged = True
        self._log(self.generators.close(self._elapsed))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _take(self) -> list[object]:
        return [] if self._watch is None else self._watch.take()

    def _accept(self, worker: str, packed: Any) -> None:  # noqa: ANN401
        is_last, readings = packed
        name, later = name_of(worker, self._runner), self._reports.later(worker)
        self._log(self.generators.accept(name, readings, self._elapsed, later=later, is_last=bool(is_last)))

    def _log(self, said: list[Said]) -> None:
        for each in said:
            if each.finding.is_invalid:
                logger.error("the run is invalid: %s", each.text)
            else:
                logger.warning("the load generator was at a limit, and the run is still valid: %s", each.text)

    def _look_at_myself(self, reading: Reading) -> None:
        for finding in self._own.take(reading):
            logger.warning("this worker was past a limit: %s", finding.text)

    def _question(self, number: int) -> None:
        # Not answered, and so noticed, where it cannot even be asked.
        with contextlib.suppress(RPCError):
            self._runner.send_message(ASK, {"number": number})

    def _look_for_silent(self) -> None:
        before = time.monotonic()
        while True:
            gevent.sleep(1.0)
            now = time.monotonic()
            # Where the master itself stood still, the reports have come meanwhile, and are read next.
            passed, before = min(now - before, 1.5), now
            if self._runner.state in (STATE_SPAWNING, STATE_RUNNING):
                self._log(self.generators.wait(passed, self._elapsed))

    def _on_question(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        if msg.node_id not in self._runner.clients:
            return  # it runs for a master that was here before
        self._runner.send_message(ANSWER, msg.data, client_id=msg.node_id)
        if self._runner.state in (STATE_SPAWNING, STATE_RUNNING):
            self.generators.expect(name_of(msg.node_id, self._runner))

    def _on_answer(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        if self._watch is not None:
            self._watch.hear(msg.data["number"])
