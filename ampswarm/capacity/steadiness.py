"""When a load has settled, and from when to when it is judged. Without a clock: times are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from math import ceil


@dataclass(frozen=True, slots=True)
class Times:
    """How long the parts of a trial take, in seconds.

    Args:
        settle: from when the load is there to when it is judged.
        hold: for how long it is judged.
        patience: for how long to wait for the load to be there, and for what is left of the one before to go.
        lag: after which what was measured has come together.
    """

    settle: float
    hold: float
    patience: float
    lag: float


class Phase(Enum):
    """Where a trial is."""

    RISING = auto()
    """The load is not there yet."""
    SETTLING = auto()
    HOLDING = auto()
    COLLECTING = auto()
    """All is over, and what was measured is on its way."""
    OVER = auto()
    LATE = auto()
    """The load did not come, or did not stay: it is over."""


class Hold:
    """One trial in time.

    Args:
        times: how long its parts take.
        now: when it begins.
    """

    def __init__(self, times: Times, now: float) -> None:
        self._times = times
        self.began = now
        """When it begins; it may be a little later than it is made."""
        self._reached: float | None = None
        self.phase = Phase.RISING
        self.after = self.before = 0.0
        """What to judge: whole seconds from `after` to `before`."""

    def look(self, now: float, *, is_there: bool) -> Phase:
        """Return where it is.

        Args:
            now: the time.
            is_there: whether the load is there, as far as is known.
        """
        times = self._times
        if self.phase in (Phase.OVER, Phase.LATE):
            return self.phase
        if is_there and self._reached is None:
            self._reached = now
            self.after = float(ceil(now + times.settle))
            self.before = self.after + ceil(times.hold)
        elif not is_there and self._reached is not None and now < self.before:
            # It came and went: not steady before it stays.
            self._reached = None
            self.after = self.before = 0.0
        self.phase = self._phase(now)
        return self.phase

    def _phase(self, now: float) -> Phase:
        if self._reached is None:
            return Phase.LATE if now - self.began >= self._times.patience else Phase.RISING
        if now < self.after:
            return Phase.SETTLING
        if now < self.before:
            return Phase.HOLDING
        return Phase.OVER if now >= self.before + self._times.lag else Phase.COLLECTING
