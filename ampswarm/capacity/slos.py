"""SLOs as the judge of a load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ampswarm.results.slo import Outcome, Slo, judge
from ampswarm.results.timeline import Timeline


class SloJudge:
    """All SLOs have to be met in each hold; their own `after` and `before` are not looked at.

    One of something that does not happen in a hold, such as a boot, is no reason against a load; that nothing at
    all was there to be judged is one.

    Args:
        slos: at least one.
        timeline: what was measured.
    """

    def __init__(self, slos: Sequence[Slo], timeline: Timeline) -> None:
        self._slos = slos
        self._timeline = timeline

    def __call__(self, after: float, before: float) -> str:
        """Return which SLOs were missed, in one line; empty for none."""
        found = [judge(replace(each, after=after, before=before), self._timeline, before) for each in self._slos]
        if all(each.outcome is Outcome.NO_SAMPLE for each in found):
            return "; ".join(f"{each}" for each in found)
        return "; ".join(f"{each}" for each in found if each.outcome is Outcome.MISSED)
