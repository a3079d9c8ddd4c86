"""Whether a load was held, by what a timeline has of it."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from ampswarm.results.doubt import is_doubtful
from ampswarm.results.histogram import Histogram
from ampswarm.results.timeline import Timeline

MOST_FAILURES: Final = 0.01
"""The share of Calls that may fail, where no SLO says otherwise."""
_ENOUGH: Final = 0.95
"""The share of the planned messages that must have been answered."""


class LoadJudge(Protocol):
    """Says what was wrong in a part of a run."""

    def __call__(self, after: float, before: float) -> str:
        """Return why the SLOs were missed between two times of the timeline, in one line; empty when they were not."""
        ...

    def doubt(self, lag: Histogram) -> str:
        """Return why it may have been the generator, which was late by `lag`, that missed what was judged last."""
        ...

    def unjudged(self) -> list[str]:
        """Return the SLOs that nothing was ever there for."""
        ...


class Measured(NamedTuple):
    """What was measured while a load was held. Times in milliseconds."""

    calls: int
    p50: float
    p99: float
    fail_ratio: float


def measured(timeline: Timeline, after: float, before: float) -> Measured:
    """Return what all Calls came to, in the windows that lie wholly between two times."""
    calls = _sum(timeline, "OCPP", after, before)
    # Only what counts from the due time shows the queue in front of an outstanding Call.
    since_due = _sum(timeline, "DUE", after, before)
    p50, p99 = (since_due if since_due.timed else calls).percentiles([50, 99])
    return Measured(calls.count, p50, p99, calls.fail_ratio)


def answered(timeline: Timeline, action: str, after: float, before: float) -> tuple[int, float]:
    """Return how many Calls of an action were answered, and in how many seconds: those of whole windows."""
    begin, end = timeline.whole(after, before)
    calls = timeline.total(("OCPP", action), after=begin, before=end)
    return calls.count - calls.failures, float(max(end - begin, 0))


def is_enough(answers: int, planned: float) -> bool:
    """Whether so many answers are what was planned: but for what was under way at both ends."""
    return answers >= planned * _ENOUGH - 2


class DefaultJudge:
    """Few Calls fail, and few take long: what holds where nobody gave SLOs.

    Args:
        timeline: what was measured.
        limit: seconds that 99 of 100 Calls may take, from when they were due.
    """

    def __init__(self, timeline: Timeline, limit: float) -> None:
        self._timeline = timeline
        self._limit = limit * 1000
        self._slow = 0.0

    def __call__(self, after: float, before: float) -> str:
        """Return why a load was not held; empty when it was."""
        begin, end = self._timeline.whole(after, before)
        if begin >= end:
            # They have become wider in a long run. With nothing seen, anything would have held.
            width = self._timeline.width
            return f"the hold has no whole window of {width} s in it: --capacity-hold is too short for so long a run"
        found = measured(self._timeline, after, before)
        self._slow = 0.0
        if found.fail_ratio >= MOST_FAILURES:
            return f"{found.fail_ratio:.1%} of Calls failed"
        if found.p99 >= self._limit:
            self._slow = found.p99
            return f"p99 was {found.p99:.4g} ms"
        return ""

    def doubt(self, lag: Histogram) -> str:
        """Return why it may have been the generator and not the target that missed what was judged last."""
        late = lag.percentile(99)
        if not self._slow or not is_doubtful(self._slow, late, self._limit):
            return ""
        return f"p99 was {self._slow:.4g} ms, of which up to {late:.4g} ms may be the load generator's own loop lag"

    def unjudged(self) -> list[str]:
        """Return nothing: it has no SLOs."""
        return []


def _sum(timeline: Timeline, kind: str, after: float, before: float) -> Histogram:
    keys = [key for key in timeline.seen() if key[0] == kind]
    return Histogram.merged(timeline.total(key, after=after, before=before) for key in keys)
