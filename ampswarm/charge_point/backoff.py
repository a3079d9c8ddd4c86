"""How long a charge point waits before it tries to connect again (J errata 3.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

_MAX_DOUBLINGS: Final = 63


class Growth(StrEnum):
    """How the delay develops from one failed attempt to the next."""

    EXPONENTIAL = "exponential"
    """Full jitter: anything between the minimum and a bound that doubles up to the maximum."""
    FIXED = "fixed"
    """Always the maximum, for every charge point: a fleet comes back in the rhythm it left in."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delays between attempts to connect, in seconds.

    Args:
        growth: exponential with full jitter, or fixed.
        minimum: no delay is shorter. Above 0.
        maximum: no delay is longer, but for a Retry-After that asks for more.
    """

    growth: Growth = Growth.EXPONENTIAL
    minimum: float = 1.0
    maximum: float = 90.0

    def __post_init__(self) -> None:
        if not 0 < self.minimum <= self.maximum:
            raise ValueError(
                f"the shortest reconnect delay ({self.minimum:g} s) must be above 0 "
                f"and not longer than the longest ({self.maximum:g} s)"
            )

    def delay(self, attempt: int, random: Random) -> float:
        """Return the seconds to wait after failure number `attempt` in a row, counted from 0."""
        if self.growth is Growth.FIXED:
            return self.maximum
        # Two minima as the first bound: with one, the whole fleet would wait exactly the minimum.
        bound = min(self.maximum, self.minimum * 2.0 ** (min(attempt, _MAX_DOUBLINGS) + 1))
        return random.uniform(self.minimum, bound)
