"""How a headless run goes on, on the terminal: one line that stays, or plain lines where there is no terminal.

1:05 running, 300 of 300 charge points: 241 online, 59 charging; 78 samples/s, 0 failed; SLOs: 2 held; lag 2 ms
"""

from __future__ import annotations

import logging
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

import gevent
from locust.runners import STATE_RUNNING, STATE_SPAWNING, STATE_STOPPING

from ampswarm.load.online_verdict import expected
from ampswarm.results.census import CONDITIONS
from ampswarm.results.slo import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ampswarm.load.fleet import Fleet
    from ampswarm.load.standing import Standing
    from ampswarm.results.slo import Judgement

logger: Final = logging.getLogger("ampswarm")

_LINE_INTERVAL: Final = 1.0
_PLAIN_INTERVAL: Final = 10.0
"""Seconds between two lines in a log."""
_STATES: Final = (STATE_SPAWNING, STATE_RUNNING, STATE_STOPPING)
_RATE_OVER: Final = 10.0
"""Seconds that the rate is taken over; workers report every 3 s."""


class Progress:
    """Tells how a run goes on.

    Args:
        fleet: that of a master, or of a single process.
        standing: of the SLOs.
        terminal: where it is shown; a line that stays where that is a terminal, else lines of the log.
    """

    def __init__(self, fleet: Fleet, standing: Standing, terminal: TextIO = sys.stderr) -> None:
        self._fleet = fleet
        self._standing = standing
        self._terminal = terminal
        self._is_live = terminal.isatty()
        self._shown = ""
        self._rates: list[tuple[float, int]] = []
        self._greenlet = gevent.spawn(self._run)
        fleet.environment.events.quitting.add_listener(lambda **_: self.end())
        if self._is_live:
            self._make_way_for_log()

    def end(self) -> None:
        """Show nothing any more."""
        self._greenlet.kill(block=False)
        self._hide()

    def line(self) -> str:
        """Return the line as it would be now."""
        fleet = self._fleet
        environment = fleet.environment
        runner: Any = environment.runner
        at = fleet.recorder.elapsed
        total = fleet.census.census.total(at)
        conditions = ", ".join(f"{total[each]:.0f} {each}" for each in CONDITIONS if total[each])
        there = f"{total['charge_points']:.0f} of {expected(environment)} charge points"
        stats = environment.stats.total
        # What matters most comes first: a narrow terminal cuts the rest off.
        trouble = " INVALID" if fleet.generator_trouble() else ""
        slos = words_of(self._standing.now())
        parts = [
            f"{_clock(at)} {self._phase(str(runner.state))}{trouble}",
            *([slos] if slos else []),
            f"{there}{': ' if conditions else ''}{conditions}",
            f"{self._rate(at, stats.num_requests):.3g} samples/s, {stats.num_failures} failed",
            f"lag {fleet.health.highest()['loop_lag_p99_ms']:.0f} ms",
        ]
        return "; ".join(parts)

    # -- inside -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            gevent.sleep(_LINE_INTERVAL if self._is_live else _PLAIN_INTERVAL)
            runner: Any = self._fleet.environment.runner
            if runner.state not in _STATES:
                self._hide()
            elif self._is_live:
                self._show(self.line())
            else:
                logger.info("progress: %s", self.line())

    def _phase(self, state: str) -> str:
        for storm in reversed(self._fleet.storms.section()):
            if storm["hit"] and storm["back"] < storm["hit"]:
                return f"{state}, storm: {100 * storm['back'] / storm['hit']:.0f} % back"
        return state

    def _rate(self, at: float, count: int) -> float:
        if self._rates and (count < self._rates[-1][1] or at < self._rates[-1][0]):
            self._rates.clear()  # another test, or the statistics were reset
        if not self._rates:
            self._rates.append((0.0, 0))
        self._rates.append((at, count))
        while len(self._rates) > 2 and self._rates[1][0] < at - _RATE_OVER:
            self._rates.pop(0)
        (begin, before), (end, now) = self._rates[0], self._rates[-1]
        return (now - before) / (end - begin) if end > begin else 0.0

    def _show(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns
        line = line if len(line) < columns else f"{line[: columns - 2]}…"
        self._terminal.write(f"\r{line}\x1b[K")
        self._terminal.flush()
        self._shown = line

    def _hide(self) -> None:
        if self._shown:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()
            self._shown = ""

    def _make_way_for_log(self) -> None:
        """Let lines of the log come where the line is, and the line again below them."""
        for handler in (*logging.getLogger().handlers, *logging.getLogger("ampswarm").handlers):
            if not isinstance(handler, logging.StreamHandler) or not getattr(handler.stream, "isatty", bool)():
                continue
            emit = handler.emit

            def emit_above(record: logging.LogRecord, emit: Any = emit) -> None:  # noqa: ANN401
                shown = self._shown
                self._hide()
                emit(record)
                if shown:
                    self._show(shown)

            handler.emit = emit_above  # type: ignore[method-assign]


def words_of(judgements: Sequence[Judgement]) -> str:
    """Return how the SLOs stand in a few words; empty without any."""
    if not judgements:
        return ""
    counts = {outcome: sum(each.outcome is outcome for each in judgements) for outcome in Outcome}
    words = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    return f"SLOs: {words}"


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
