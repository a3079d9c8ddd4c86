"""How sure a number of a run is, told by how much it differs between parts of that run.

Samples of a load test are no independent draws: a pause or a queue meets many in a row. What can be taken as
independent is one stretch of time and the next, if they are long enough. So a run is cut into blocks, and the spread of
the blocks says how far its numbers would be off in another run (docs/decisions/0017-comparing.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import copysign, hypot, log, log1p, sqrt
from typing import Final

from ampswarm.results.histogram import Histogram
from ampswarm.results.timeline import Key, Timeline

MAX_BLOCKS: Final = 20
"""More would be too short: the end of one would know what the next one is like."""
_LEAST_WINDOWS: Final = 3
"""Of a block: in fewer, the same queue is met twice."""
LEAST_BLOCKS: Final = 6
"""With fewer, nothing can be said."""
_MOST_LIKE: Final = 0.85
_DIGITS: Final = 0.005
"""What three significant digits may be off by, as a part of the whole."""


def blocks_of(timeline: Timeline, key: Key) -> list[Histogram]:
    """Return a row's windows in up to `MAX_BLOCKS` blocks of as many windows each, or one more; three at least.

    Windows without a sample are in none of them: a row that has samples at the beginning only has its blocks there.
    """
    windows = [histogram for _, histogram in timeline.windows(key)]
    count = min(MAX_BLOCKS, max(1, len(windows) // _LEAST_WINDOWS)) if windows else 0
    return [
        Histogram.merged(windows[number * len(windows) // count : (number + 1) * len(windows) // count])
        for number in range(count)
    ]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, and what is known of how far it may be off."""

    value: float
    effects: Sequence[float]
    """By how much each block made it larger or smaller than it would be; their sum is 0, but for rounding."""
    alone: float | None
    """The standard error if samples were independent draws; `None` where too few are there to say anything.

    This, and the effects, are of the logarithm of a time, and of a ratio itself.
    """


def fail_ratio(blocks: Sequence[Histogram], whole: Histogram) -> Estimate:
    """Return the ratio of failures, 0 to 1."""
    count, ratio = whole.count, whole.fail_ratio
    effects = [(each.failures - ratio * each.count) / count for each in blocks]
    return Estimate(ratio, effects, sqrt(whole.failures) / count)


def mean(blocks: Sequence[Histogram], whole: Histogram) -> Estimate:
    """Return the mean in milliseconds."""
    value = whole.mean
    if value <= 0:
        return Estimate(value, (), None)
    scale = whole.timed * value
    effects = [(each.total - value * each.timed) / scale for each in blocks]
    alone = sqrt(sum(count * (time - value) ** 2 for time, count in whole.counts.items())) / scale
    return Estimate(value, effects, max(alone, _DIGITS))


def percentile(blocks: Sequence[Histogram], whole: Histogram, percent: float) -> Estimate:
    """Return a percentile in milliseconds.

    After Woodruff (1952): how many samples lie below a percentile is a ratio, whose error is known. The percentiles at
    this ratio, more and less one error, say what it means in time.
    """
    timed, ratio = whole.timed, percent / 100
    value = whole.percentile(percent)
    inside = [sum(count for time, count in each.counts.items() if time <= value) for each in blocks]
    # Not the percentile's own ratio: many samples may have the very same time.
    share = sum(inside) / timed
    above = [(share * each.timed - count) / timed for each, count in zip(blocks, inside, strict=True)]
    alone = sqrt(ratio * (1 - ratio) / timed)
    error = max(alone, _spread(above)[0])
    if ratio + error >= 1 or ratio - error <= 0:
        return Estimate(value, (), None)
    low, high = whole.percentiles([100 * (ratio - error), 100 * (ratio + error)])
    if low <= 0:
        return Estimate(value, (), None)
    slope = (log(high) - log(low)) / (2 * error)
    return Estimate(value, [each * slope for each in above], max(alone * slope, _DIGITS))


def sigmas(difference: float, before: Estimate, after: Estimate) -> float | None:
    """Return how many standard errors of a normal distribution a difference is; `None` where that cannot be told.

    The blocks of two runs are taken in pairs where there are as many: what both do at the same time, such as to be slow
    while their fleets come, is not noise.

    Args:
        difference: from before to after, of what the effects are of.
        before: the one run's.
        after: the other's.
    """
    if before.alone is None or after.alone is None or min(len(before.effects), len(after.effects)) < LEAST_BLOCKS:
        return None
    if len(before.effects) == len(after.effects):
        spread, degrees = _spread([new - old for old, new in zip(before.effects, after.effects, strict=True)])
    else:
        (old, old_degrees), (new, new_degrees) = _spread(before.effects), _spread(after.effects)
        spread, degrees = hypot(old, new), min(old_degrees, new_degrees)
    error = max(spread, hypot(before.alone, after.alone))
    if not error:
        return 0.0 if not difference else copysign(float("inf"), difference)
    student = difference / error
    # Wallace (1959): the normal deviate that is as rare as this one of Student's distribution.
    normal = (8 * degrees + 1) / (8 * degrees + 3) * sqrt(degrees * log1p(student**2 / degrees))
    return copysign(normal, student)


def _spread(effects: Sequence[float]) -> tuple[float, float]:
    """Return the standard error of a sum over blocks, and its degrees of freedom.

    When one block is like the one before, there is less to learn from them: the variance of a first-order
    autoregression, with Kendall's correction for the bias of so few.
    """
    count = len(effects)
    squares = sum(each * each for each in effects)
    if count < LEAST_BLOCKS or not squares:
        return 0.0, max(1.0, count - 1)
    found = sum(one * next_one for one, next_one in pairwise(effects)) / squares
    likeness = min(max((found + 1 / count) / (1 - 3 / count), 0.0), _MOST_LIKE)
    inflation = (1 + likeness) / (1 - likeness)
    return sqrt(inflation * count / (count - 1) * squares), (count - 1) / inflation
