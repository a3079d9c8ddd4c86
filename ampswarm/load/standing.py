"""How the SLOs of a test stand while it runs: what they would come to, were it to end now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import gevent

from ampswarm.results.running import RunningTotals
from ampswarm.results.slo import Judgement, Slo, judge, judge_totals, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ampswarm.load.recorder import Recorder

_GOOD_FOR: Final = 1.0
"""Seconds for which it is told without a new look, to however many ask."""


class Standing:
    """Judges SLOs again and again, without counting anew what is counted.

    Args:
        recorder: has the samples of the run.
        slos: which.
    """

    def __init__(self, recorder: Recorder, slos: Sequence[Slo]) -> None:
        self._recorder = recorder
        self._slos = slos
        self._totals: dict[tuple[float, float], RunningTotals] = {
            (each.after, each.before): RunningTotals(recorder.timeline, each.after, each.before)
            for each in slos
            if each.metric != "rate"
        }
        self._last: list[Judgement] = []
        self._at = float("-inf")

    def now(self) -> list[Judgement]:
        """Return what each comes to now."""
        now = time.monotonic()
        if now - self._at >= _GOOD_FOR:
            self._at = now
            seconds, timeline = self._recorder.elapsed, self._recorder.timeline
            for running in self._totals.values():
                while not running.catch_up():
                    gevent.sleep(0)
            totals = {span: running.totals() for span, running in self._totals.items()}
            self._last = [
                # A rate ends with the last whole second: another sum each time.
                judge(each, timeline, seconds)
                if each.metric == "rate"
                else judge_totals(each, totals[each.after, each.before], span_of(each, timeline, seconds))
                for each in self._slos
            ]
        return self._last
