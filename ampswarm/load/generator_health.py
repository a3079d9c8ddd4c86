"""A generator that knows when it lies: each process with charge points watches itself, and the master judges.

What is watched, the limits and what they mean: docs/reference/generator-health.md.
"""

from __future__ import annotations

import gc
import logging
import socket
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import gevent
from locust.runners import STATE_RUNNING, STATE_SPAWNING, LocalRunner, MasterRunner, WorkerRunner

from ampswarm.load.host_resources import HostResources
from ampswarm.load.loop_care import LoopCare
from ampswarm.load.reports import LOCAL
from ampswarm.load.socket_census import CENSUS
from ampswarm.results.generators import Generators, Said
from ampswarm.results.health import LAG_INTERVAL, Limits, Reading, count_lag
from ampswarm.results.histogram import Histogram

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from locust.env import Environment

    from ampswarm.load.reports import Reports

logger: Final = logging.getLogger("ampswarm")

EXIT_INVALID: Final = 4
"""Locust's exit status when the numbers of a run cannot be trusted."""
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

_WINDOW: Final = 1.0
"""Seconds of a reading."""
_SHORTEST: Final = 0.2
"""Seconds of a last reading: of less, the share of a core says nothing."""
_MEMORY_EVERY: Final = 5
"""Readings: the kernel adds up over all processors for it."""
_MOST_READINGS: Final = 120
"""Kept while no master takes them."""
_STEADY: Final = 0.01
"""Seconds between two looks at the monotonic clock; the wall clock's look between them is as good."""


def limits_of(options: Namespace) -> Limits:
    """Return the limits that the options set."""
    return Limits(**{each.name: getattr(options, each.name) for each in fields(Limits)})


class Watch:
    """Watches this process while a test runs.

    Args:
        count: returns how many charge points there are.
        ask: asks the master for an answer, with a number; `None` where there is no master.
    """

    def __init__(self, count: Callable[[], int], ask: Callable[[int], None] | None = None) -> None:
        self._count = count
        self._ask = ask
        self._host = socket.gethostname()
        self._resources = HostResources()
        self._greenlet: gevent.Greenlet | None = None
        self._readings: list[Reading] = []
        self._is_over = False
        self._began = self._cut_at = self._due = 0.0
        self._cpu = 0.0
        self._offset: float | None = None
        self._lag, self._gc = Histogram(), Histogram()
        self._gc_since = 0.0
        self._jump = 0.0
        self._memory: float | None = None
        self._turn = 0
        self._charge_points = 0
        self._failures = 0, 0
        # What was asked last, when, how late the loop has been since then, and the answers' times.
        self._question = 0
        self._asked_at: float | None = None
        self._late_since = 0.0
        self._distance: float | None = None

    def begin(self) -> None:
        """A test begins."""
        self._leave()
        self._readings.clear()
        self._is_over = False
        self._began = self._cut_at = time.monotonic()
        self._due = self._began + LAG_INTERVAL
        self._cpu = time.process_time()
        self._offset = None
        self._lag, self._gc = Histogram(), Histogram()
        self._jump = 0.0
        self._turn = 0
        self._charge_points = self._count()
        self._failures = CENSUS.without_file, CENSUS.without_port
        self._asked_at = self._distance = None
        self._farthest(self._began)  # at once: the master learns that there is somebody to miss
        gc.callbacks.append(self._on_gc)
        self._greenlet = gevent.spawn(self._run)

    def end(self) -> None:
        """The test stops: what comes from here on is no part of it."""
        if self._greenlet is None:
            return
        self._leave()
        # It may stand still right now: nobody has looked since.
        now = time.monotonic()
        if now > self._due:
            self._see(now - self._due)
        self._cut(now)
        self._is_over = True

    def take(self) -> list[object]:
        """Return what is new: whether that is all, and the readings."""
        readings, self._readings = self._readings, []
        if not readings and not self._is_over:
            return []
        is_last, self._is_over = self._is_over, False
        return [is_last, [each.pack() for each in readings]]

    def hear(self, question: int) -> None:
        """The master has answered."""
        if question != self._question or self._asked_at is None:
            return
        self._distance = self._waited(time.monotonic())
        self._asked_at = None

    # -- inside -------------------------------------------------------------------------------

    def _leave(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None
            gc.callbacks.remove(self._on_gc)

    def _run(self) -> None:
        while True:
            self._due = time.monotonic() + LAG_INTERVAL
            gevent.sleep(LAG_INTERVAL)
            now = time.monotonic()
            self._see(now - self._due)
            if now - self._cut_at >= _WINDOW:
                self._cut(now)

    def _see(self, lag: float) -> None:
        count_lag(self._lag, lag)
        self._late_since += max(0.0, lag)
        self._look_at_clock()

    def _look_at_clock(self) -> None:
        before = time.monotonic()
        wall = time.time()
        if time.monotonic() - before > _STEADY:
            return  # it was interrupted in between
        offset = wall - before
        if self._offset is not None:
            self._jump = max(self._jump, abs(offset - self._offset))
        self._offset = offset

    def _on_gc(self, phase: str, _: object) -> None:
        if phase == "start":
            self._gc_since = time.perf_counter()
        else:
            self._gc.add((time.perf_counter() - self._gc_since) * 1000)

    def _cut(self, now: float) -> None:
        """Make a reading of what was seen since the last one."""
        seconds = now - self._cut_at
        if seconds < _SHORTEST and self._readings and self._lag.highest < _SHORTEST * 1000:
            return
        cpu = time.process_time()
        if self._turn % _MEMORY_EVERY == 0:
            self._memory = self._resources.memory()
        self._turn += 1
        charge_points = self._count()
        files, ports = self._failures
        self._failures = CENSUS.without_file, CENSUS.without_port
        reading = Reading(
            at=now - self._began,
            seconds=seconds,
            lag=self._lag,
            gc=self._gc,
            cpu=100.0 * (cpu - self._cpu) / max(seconds, 0.001),
            files=100.0 if self._failures[0] > files else self._resources.open_files(),
            ports={_name(address): count for address, count in CENSUS.by_address.items()},
            port_range=self._resources.port_range,
            ports_exhausted=self._failures[1] > ports,
            memory=self._memory,
            resident=self._resources.resident(),
            clock_jump=self._jump,
            distance=self._farthest(now),
            charge_points=charge_points,
            is_spawning=charge_points > self._charge_points,
            host=self._host,
        )
        self._readings.append(reading)
        del self._readings[:-_MOST_READINGS]
        self._cut_at, self._cpu, self._charge_points = now, cpu, charge_points
        self._lag, self._gc, self._jump = Histogram(), Histogram(), 0.0

    def _farthest(self, now: float) -> float | None:
        distance, self._distance = self._distance, None
        if self._ask is None:
            return None
        if self._asked_at is None:
            self._question += 1
            self._asked_at, self._late_since = now, 0.0
            self._ask(self._question)
            return distance
        return max(distance or 0.0, self._waited(now))

    def _waited(self, now: float) -> float:
        assert self._asked_at is not None
        # For as long as this process itself was late, the answer may have lain there.
        return max(0.0, now - self._asked_at - self._late_since)


def _name(address: Any) -> str:  # noqa: ANN401  an address of any family
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
        listen = environment.events
        # Before the reports' own listeners: what is found at the end of a test is part of the last one.
        match runner:
            case MasterRunner():
                runner.register_message(ASK, self._on_question)
                listen.test_start.add_listener(lambda **_: self._begin())
                runner.greenlet.spawn(self._look_for_silent)
            case WorkerRunner():
                self._watch = Watch(count, lambda number: runner.send_message(ASK, {"number": number}))
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
        listen.quitting.add_listener(lambda **_: self._decide())

    def reasons(self) -> list[str]:
        """Return why the last test is invalid: a line for each; none if it is valid.

        On the master and in a single process; call `Reports.finish` before it.
        """
        self._close()
        return self.generators.reasons()

    def section(self) -> dict[str, object]:
        """Return how the generators were, for a report, as JSON can hold it."""
        self._close()
        return self.generators.section()

    def table(self) -> list[dict[str, object]]:
        """Return a row for each generator, for the web UI."""
        return self.generators.table()

    # -- inside -------------------------------------------------------------------------------

    def _begin(self) -> None:
        options = self._environment.parsed_options
        assert options is not None
        self.generators = Generators(limits_of(options))
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
        self._log(self.generators.accept(self._name(worker), readings, self._elapsed, is_last=bool(is_last)))

    def _name(self, worker: str) -> str:
        if worker == LOCAL:
            return "this process"
        return f"worker {worker} (index {self._runner.get_worker_index(worker)})"

    def _log(self, said: list[Said]) -> None:
        for each in said:
            if each.finding.is_invalid:
                logger.error("the run is invalid: %s", each.text)
            else:
                logger.warning("the load generator was at a limit, and the run is still valid: %s", each.text)

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
        self._runner.send_message(ANSWER, msg.data, client_id=msg.node_id)
        if self._runner.state in (STATE_SPAWNING, STATE_RUNNING):
            self.generators.expect(self._name(msg.node_id))

    def _on_answer(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        if self._watch is not None:
            self._watch.hear(msg.data["number"])

    def _decide(self) -> None:
        """Locust quits: a run that cannot be trusted has a status of its own."""
        if isinstance(self._runner, WorkerRunner):
            return
        self._reports.finish()
        reasons = self.reasons()
        if reasons:
            logger.error("the run is invalid, for %d reasons; first: %s", len(reasons), reasons[0])
            self._environment.process_exit_code = EXIT_INVALID
