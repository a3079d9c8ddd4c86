"""Whether an SLO was missed by the target, or by the load generator's own lag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ampswarm.results.health import LAG_INTERVAL
from ampswarm.results.slo import Judgement, Outcome, metric_of, shown

if TYPE_CHECKING:
    from ampswarm.results.histogram import Histogram

TOLERATED: Final = 0.1
"""Of an SLO's limit, which the loop's lag may be without being a reason for doubt."""


def is_doubtful(value: float, late: float, limit: float) -> bool:
    """Whether a time that is above its limit may only be so because of the lag in it. All in milliseconds."""
    return late > TOLERATED * limit and value - late <= limit


def doubt(judgement: Judgement, lag: Histogram) -> str | None:
    """Return why nobody can tell whether the target missed an SLO; `None` where it can be told.

    A time contains what the generator's loop was late by, and more of it than of the target's where the limit is
    small. So a time that is above its limit, and would not be without the lag, says nothing of the target. One that
    held, held in spite of the lag.

    A percentile of few samples is one of them, which may be the one that came at the worst moment.

    Args:
        judgement: what the SLO came to.
        lag: how late the generators' loops were in the SLO's time, in milliseconds.
    """
    slo = judgement.slo
    if judgement.outcome is not Outcome.MISSED or judgement.value is None or not slo.operator.startswith("<"):
        return None
    if slo.unit != "ms" or not lag.timed:
        return None
    late = _longest(lag) if judgement.is_few else metric_of(slo.metric, lag)
    if not is_doubtful(judgement.value, late, slo.limit):
        return None
    return (
        f"SLO {slo.text}: {shown(judgement.value, slo)}, of which up to {shown(late, slo)} may be the load"
        " generator's own loop lag: fewer charge points for each worker would tell"
    )


def _longest(lag: Histogram) -> float:
    """Return for how long the loop may have stood still at the worst moment: the first look came some time into it."""
    return lag.highest + min(lag.highest, LAG_INTERVAL * 1000)
