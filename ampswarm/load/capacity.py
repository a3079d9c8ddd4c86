"""Search for the capacity of a target: options, and the load shape that carries it out on the master.

A locustfile that imports it has its options: `locustfiles/capacity.py` (docs/reference/capacity.md).
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locust import LoadTestShape, events
from locust.runners import LocalRunner, WorkerRunner

from ampswarm.arrivals import Dial
from ampswarm.capacity.evidence import UNITS, Evidence, Report
from ampswarm.capacity.judge import DefaultJudge, answered, is_enough, measured
from ampswarm.capacity.plot import svg
from ampswarm.capacity.search import Bounds, Outcome, Purpose, Search, Trial
from ampswarm.capacity.steadiness import Hold, Phase, Times
from ampswarm.load.attendance import Attendance
from ampswarm.load.errands import MESSAGES
from ampswarm.load.fleet import fleet_of
from ampswarm.load.options import Option, declare
from ampswarm.load.plugin import exit_for
from ampswarm.option_types import integer, one_of, seconds
from ampswarm.results.report import Finding, Status

if TYPE_CHECKING:
    from locust.env import Environment

    from ampswarm.capacity.judge import LoadJudge
    from ampswarm.load.fleet import Fleet
    from ampswarm.load.shapes import Tick

logger: Final = logging.getLogger("ampswarm")

_MOST: Final = 100_000_000
_CONFIRMS_FOR: Final = 2
"""Times as long as any other load is the edge held."""
_LAG_LOCAL: Final = 1.5
_LAG_DISTRIBUTED: Final = 5.0
"""Seconds until what was measured has come together: workers report every 3 s."""
_STATUSES: Final = {
    Outcome.FOUND: Status.PASSED,
    Outcome.AT_LEAST: Status.PASSED,
    Outcome.NOTHING: Status.MISSED,
    Outcome.GENERATOR: Status.INVALID,
    Outcome.UNSTEADY: Status.INVALID,
    Outcome.INTERRUPTED: Status.NONE,
}
"""What the run comes to."""

CAPACITY_OPTIONS: Final = (
    Option("--capacity-of", "AMPSWARM_CAPACITY_OF", "charge-points", one_of(*UNITS),
           "What to have more and more of: charge-points, or messages in a second (--arrivals-of says which)",
           in_web_ui=False),
    Option("--capacity-from", "AMPSWARM_CAPACITY_FROM", 100, integer(1, _MOST, "a load"),
           "Load to begin with", in_web_ui=False),
    Option("--capacity-to", "AMPSWARM_CAPACITY_TO", 100_000, integer(1, _MOST, "a load"),
           "Highest load to try", in_web_ui=False),
    Option("--capacity-step", "AMPSWARM_CAPACITY_STEP", 0, integer(0, _MOST, "a load"),
           "How much higher each next load is, until one is too much; 0 takes the load to begin with",
           in_web_ui=False),
    Option("--capacity-precision", "AMPSWARM_CAPACITY_PRECISION", 5, integer(1, 50, "a percentage"),
           "How near to the edge to come, in percent of it", in_web_ui=False),
    Option("--capacity-settle", "AMPSWARM_CAPACITY_SETTLE", 5.0, seconds(0.0, 3600.0),
           "Seconds from when a load is there to when it is judged", in_web_ui=False),
    Option("--capacity-hold", "AMPSWARM_CAPACITY_HOLD", 30.0, seconds(1.0, 86_400.0),
           "Seconds for which a load is judged; twice as many at the end", in_web_ui=False),
    Option("--capacity-patience", "AMPSWARM_CAPACITY_PATIENCE", 60.0, seconds(1.0, 86_400.0),
           "Seconds to wait for charge points to be online once all are started, or for what waits after too high a "
           "load", in_web_ui=False),
    Option("--capacity-p99", "AMPSWARM_CAPACITY_P99", 1.0, seconds(0.001, 3600.0),
           "Seconds that 99 of 100 Calls may take, where there are no SLOs", in_web_ui=False),
    Option("--capacity-out", "AMPSWARM_CAPACITY_OUT", "", str,
           "Directory for capacity.json and capacity.svg", in_web_ui=False),
)  # fmt: skip
"""Each with its environment variable and default."""


class CapacitySearch(LoadTestShape):
    """Has more and more charge points, or messages, until the target does not hold them any more."""

    use_common_options: ClassVar[bool] = True
    judges_each_load: ClassVar[bool] = True
    """Whether SLOs are for each load, and not for the whole run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._began = 0.0
        self._is_running = False
        self._search: Search | None = None
        self._hold: Hold | None = None
        self._trials: list[Evidence] = []
        self._reason = ""
        self._fewest = 0
        self._rests_from = 0.0
        self._rests_until: float | None = None
        self._report: Report | None = None
        self._load_judge: LoadJudge
        self._attendance: Attendance | None = None

    # -- what Locust and its events call ------------------------------------------------------

    def prepare(self, environment: Environment, attendance: Attendance) -> None:
        """Check the options, before anything begins.

        Raises:
            ValueError: there can be no such search; one line.
        """
        self._attendance = attendance
        options = environment.parsed_options
        assert options is not None
        _bounds(options)
        if options.arrivals:
            raise ValueError("--arrivals: a search for capacity has arrivals of its own")
        if options.capacity_of == "messages":
            if options.arrivals_of not in MESSAGES:
                raise ValueError(f"--arrivals-of: messages are {', '.join(MESSAGES)}, not {options.arrivals_of}")
            open_load = fleet_of(environment).open_load
            open_load.dial, open_load.dial_kind = Dial(), options.arrivals_of
        if options.capacity_out:
            try:
                Path(options.capacity_out).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(f"--capacity-out {options.capacity_out}: {error.strerror}") from None
        environment.events.test_start.add_listener(lambda **_: self._begin())
        environment.events.test_stopping.add_listener(lambda **_: self._stop())
        judge = fleet_of(environment).judge
        assert judge is not None
        judge.find = self._found
        judge.sections["capacity"] = lambda: None if self._report is None else self._report.as_json()

    def tick(self) -> Tick:
        """Return how many charge points there must be now; `None` when the search is over."""
        options = self._options
        rate = options.spawn_rate
        if not self._is_running:
            # Before the test starts.
            return (options.num_users if self._is_of_messages else options.capacity_from), rate
        search = self._search
        assert search is not None
        trouble = self._fleet.generator_trouble()
        if trouble is not None:
            self._reason = trouble
            search.stop(Outcome.GENERATOR)
        elif options.run_time and self._elapsed >= options.run_time:
            # Locust leaves its own limit to the shape.
            search.stop(Outcome.INTERRUPTED)
        else:
            self._look(search, self._elapsed)
        if search.trial is None:
            self._finish()
            return None
        if self._is_of_messages:
            return options.num_users, rate
        # After too many, all go, and come anew: those that were refused would wait as long as they were told to.
        return (search.trial.load if self._rests_until is None else 0), rate

    # -- the search in time -------------------------------------------------------------------

    def _begin(self) -> None:
        self._began = time.monotonic()
        fleet = self._fleet
        self._load_judge = fleet.load_judge or DefaultJudge(fleet.recorder.timeline, self._options.capacity_p99)
        self._search = Search(_bounds(self._options))
        self._hold = None
        self._trials = []
        self._reason = ""
        self._report = None
        # Messages need a fleet first.
        self._rests_from = 0.0
        fleet_is_there = self._ramp(self._options.num_users) + self._options.capacity_patience
        self._rests_until = fleet_is_there if self._is_of_messages else None
        self._is_running = True

    def _stop(self) -> None:
        if self._is_running and self._search is not None:
            self._search.stop(Outcome.INTERRUPTED)
            self._finish()

    def _look(self, search: Search, now: float) -> None:
        online = self._online()
        if self._rests_until is not None:
            if not self._has_rested(search, now, online):
                return
            self._rests_until = None
        trial = search.trial
        if trial is None:
            return
        if self._hold is None:
            # When charge points have been asked for, which Locust is about to do.
            self._hold = Hold(self._times(trial), self._dial_to(trial.load, now))
            self._fewest = trial.load
            logger.info("capacity: trying %d %s (%s)", trial.load, UNITS[self._options.capacity_of], trial.purpose)
        wanted = self._options.num_users if self._is_of_messages else trial.load
        phase = self._hold.look(now, is_there=online >= wanted and now >= self._hold.began)
        if phase is Phase.HOLDING:
            self._fewest = min(self._fewest, online)
        if phase not in (Phase.OVER, Phase.LATE):
            return
        hold, self._hold = self._hold, None
        evidence = self._judge(hold, trial.load, trial.purpose, online if phase is Phase.LATE else None)
        self._trials.append(evidence)
        logger.info("capacity: %d: %s", trial.load, "held" if evidence.held else evidence.reason)
        if not evidence.held and phase is Phase.OVER:
            doubt = self._load_judge.doubt(self._fleet.health.lag(hold.after, hold.before))
            if doubt:
                self._reason = doubt
                search.stop(Outcome.GENERATOR)
                return
        search.judged(held=evidence.held)
        if not evidence.held and search.trial is not None:
            silent_at = self._dial_to(0, now)
            self._rests_from = silent_at + self._lag
            self._rests_until = self._rests_from + self._options.capacity_patience

    def _has_rested(self, search: Search, now: float, online: int) -> bool:
        """Whether nothing is left of the load before, and where messages are sent, the fleet is there for more."""
        assert self._rests_until is not None
        if not self._is_of_messages:
            return now >= self._rests_from and (not online or now >= self._rests_until)
        missing = self._options.num_users - online
        if missing <= 0 and now >= self._rests_from and not self._fleet.open_load.all.waiting:
            return True
        if now < self._rests_until:
            return False
        if missing > 0 and not self._trials:
            self._reason = f"{missing} of {self._options.num_users} charge points did not come online"
            search.stop(Outcome.NOTHING)
        return True

    def _judge(self, hold: Hold, load: int, purpose: Purpose, late_with: int | None) -> Evidence:
        timeline, after, before = self._fleet.recorder.timeline, hold.after, hold.before
        found = measured(timeline, after, before)
        judge = self._load_judge
        if late_with is not None:
            reason = f"{late_with} charge points were online {self._options.capacity_patience:g} s after the last began"
            achieved = float(late_with)
        elif self._is_of_messages:
            answers, lasted = answered(timeline, self._options.arrivals_of, after, before)
            achieved = answers / lasted if lasted else 0.0
            reason = judge(after, before)
            if not reason and not is_enough(answers, load * lasted):
                reason = f"{achieved:.4g} in a second were answered"
        else:
            achieved = float(self._fewest)
            reason = judge(after, before)
        return Evidence(load, purpose, after, before, achieved, *found, held=not reason, reason=reason)

    def _dial_to(self, rate: int, now: float) -> float:
        """Return when the load begins."""
        return self._fleet.open_load.turn(rate) if self._is_of_messages else now

    def _times(self, trial: Trial) -> Times:
        options = self._options
        hold = options.capacity_hold * (_CONFIRMS_FOR if trial.purpose is Purpose.CONFIRM else 1)
        # Until the last is started, nobody waits for the target.
        ramp = 0.0 if self._is_of_messages else self._ramp(trial.load)
        return Times(options.capacity_settle, hold, options.capacity_patience + ramp, self._lag)

    def _ramp(self, users: int) -> float:
        """Return the seconds in which Locust starts those that are missing, and Ampswarm spreads the last of them."""
        runner: Any = self.runner
        missing: int = max(0, users - runner.user_count)
        rate: float = self._options.spawn_rate
        return missing / rate + 1.0

    @property
    def _lag(self) -> float:
        return _LAG_LOCAL if isinstance(self.runner, LocalRunner) else _LAG_DISTRIBUTED

    # -- the end ------------------------------------------------------------------------------

    def _finish(self) -> None:
        search = self._search
        if not self._is_running or search is None or search.outcome is None:
            return
        self._is_running = False
        options = self._options
        action = options.arrivals_of if self._is_of_messages else ""
        self._report = report = Report(
            options.capacity_of, action, search.outcome, search.capacity, self._reason, tuple(self._trials)
        )
        for line in ("capacity:", *report.table()):
            logger.info("%s", line)
        logger.log(logging.INFO if report.is_reliable else logging.WARNING, "capacity: %s", report.sentence())
        if options.capacity_out:
            try:
                folder = Path(options.capacity_out)
                (folder / "capacity.json").write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
                (folder / "capacity.svg").write_text(svg(report), encoding="utf-8")
            except OSError as error:
                logger.error("--capacity-out %s: %s", options.capacity_out, error.strerror)

    def _found(self) -> Finding | None:
        report = self._report
        if report is None:
            return None
        status, words = _STATUSES[report.outcome], report.sentence()
        unjudged = self._load_judge.unjudged()
        if status is Status.PASSED and unjudged:
            # Misspelt, perhaps: a number that it had no part in is no number within it.
            return Finding(Status.MISSED, f"{words}; but nothing was there to judge: {'; '.join(unjudged)}")
        return Finding(status, words)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    # -- what it looks at ---------------------------------------------------------------------

    @property
    def _fleet(self) -> Fleet:
        assert self.runner is not None
        return fleet_of(self.runner.environment)

    @property
    def _options(self) -> argparse.Namespace:
        assert self.runner is not None
        options: argparse.Namespace | None = self.runner.environment.parsed_options
        assert options is not None
        return options

    @property
    def _is_of_messages(self) -> bool:
        return bool(self._options.capacity_of == "messages")

    def _online(self) -> int:
        assert self._attendance is not None
        return self._attendance.online


def _bounds(options: argparse.Namespace) -> Bounds:
    try:
        return Bounds(
            options.capacity_from,
            options.capacity_to,
            options.capacity_step or options.capacity_from,
            options.capacity_precision / 100,
        )
    except ValueError as error:
        raise ValueError(f"--capacity-from, --capacity-to: {error}") from None


def _on_init(environment: Environment, runner: Any, **_: object) -> None:  # noqa: ANN401
    fleet = fleet_of(environment)
    attendance = Attendance(fleet.online, runner)
    fleet.reports.add("online", attendance.take, attendance.accept)
    shape = environment.shape_class
    if isinstance(shape, CapacitySearch) and not isinstance(runner, WorkerRunner):
        try:
            shape.prepare(environment, attendance)
        except ValueError as error:
            exit_for(f"{error}")


declare(CAPACITY_OPTIONS)
events.init.add_listener(_on_init)
