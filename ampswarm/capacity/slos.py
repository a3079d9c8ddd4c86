"""SLOs as the judge of a load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ampswarm.results.doubt import doubt
from ampswarm.results.histogram import Histogram
from ampswarm.results.slo import Judgement, Outcome, Slo, judge
from ampswarm.results.timeline import Timeline


class SloJudge:
    """All SLOs have to be met in each hold; their own `after` and `before` are not looked at.

    One of something that does not happen in a hold, such as a boot, is no reason against a load; that nothing at
    all was there to be judged is one, and so is, in the end, one that nothing was ever there for.

    Args:
        slos: at least one.
        timeline: what was measured.
    """

    def __init__(self, slos: Sequence[Slo], timeline: Timeline) -> None:
        self._slos = slos
        self._timeline = timeline
        self._unseen = {each.text for each in slos}
        self._missed: list[Judgement] = []

    def __call__(self, after: float, before: float) -> str:
        """Return which SLOs were missed, in one line; empty for none."""
        found = [judge(replace(each, after=after, before=before), self._timeline, before) for each in self._slos]
        self._missed = [each for each in found if each.outcome is Outcome.MISSED]
        self._unseen -= {each.slo.text for each in found if each.outcome is not Outcome.NO_SAMPLE}
        if all(each.outcome is Outcome.NO_SAMPLE for each in found):
            return "; ".join(f"{each}" for each in found)
        return "; ".join(f"{each}" for each in self._missed)

    def doubt(self, lag: Histogram) -> str:
        """Return why it may have been the generator and not the target that missed what was judged last."""
        doubts = [doubt(each, lag) for each in self._missed]
        return "; ".join(filter(None, doubts)) if all(doubts) else ""

    def unjudged(self) -> list[str]:
        """Return the SLOs that nothing was ever there for."""
        return [each.text for each in self._slos if each.text in self._unseen]
