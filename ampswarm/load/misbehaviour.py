"""What charge points of a population do wrong, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import fsum
from random import Random
from typing import Final

_HOUR: Final = 3600.0


class Misdeed(StrEnum):
    """One thing that a charge point does wrong, spelled as in a fleet file."""

    HALF_OPEN = "half_open"
    """The connection is dead, and neither side is told."""
    NO_PONG = "no_pong"
    """PINGs are not answered any more."""
    SLOW_READER = "slow_reader"
    """What the central system sends is not read, and its buffers fill."""
    LATE_ANSWERS = "late_answers"
    """Calls of the central system are answered after it has given up."""
    DUPLICATE_IDENTITY = "duplicate_identity"
    """A second connection under the same identity."""
    MALFORMED = "malformed"
    """A frame that is no OCPP-J message."""
    SCHEMA_BREAKING = "schema_breaking"
    """A Call whose payload breaks the schema of its action."""
    WRONG_ID = "wrong_id"
    """A Call of the central system is answered under another message id, and so never."""
    STRAY_ANSWER = "stray_answer"
    """A CallResult out of the blue, for no Call came."""
    FLOOD = "flood"
    """A burst of Calls, none of which waits for the answer to the one before (against J 4.1.1)."""


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """What the charge points of a population do wrong; that a clock is wrong, their `Template` knows.

    Args:
        rates: how often each does what, per hour, all above 0; each misdeed once.
    """

    rates: tuple[tuple[Misdeed, float], ...] = ()

    def rate(self, misdeed: Misdeed) -> float:
        """Return how often per hour each charge point does it."""
        return dict(self.rates).get(misdeed, 0.0)

    def draw(self, random: Random) -> tuple[float, Misdeed] | None:
        """Return the seconds until the next misdeed of one charge point, and which it is; `None` for none ever."""
        if not self.rates:
            return None
        wait = random.expovariate(fsum(rate for _, rate in self.rates)) * _HOUR
        misdeed = random.choices([each for each, _ in self.rates], [rate for _, rate in self.rates])[0]
        return wait, misdeed
