"""Which load to try next: steps up, halves the way to the edge, tries the edge again, confirms it.

A state machine without a clock: ask for `trial`, run it, tell `judged`, until there is no trial any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_MOST_TRIALS: Final = 200
"""A target whose verdicts are dice must not be tried for ever."""


class Purpose(StrEnum):
    """Why a load is tried."""

    STEP = "step up"
    BISECT = "find the edge"
    REPEAT = "try the edge again"
    CONFIRM = "confirm"


class Outcome(StrEnum):
    """How a search ended."""

    FOUND = "found"
    AT_LEAST = "at least"
    """It held the highest load that was to be tried."""
    NOTHING = "nothing"
    """It did not hold the lowest load that there is."""
    GENERATOR = "generator"
    """The generator gave up before the target did."""
    UNSTEADY = "unsteady"
    """The same load held and failed, again and again."""
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Trial:
    """A load to try."""

    load: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a search may try.

    Args:
        first: the load to begin with.
        last: the highest.
        step: how much higher each next load is, until one fails.
        precision: how near to the edge to come, as a share of it.

    Raises:
        ValueError: that is no search.
    """

    first: int
    last: int
    step: int
    precision: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.first <= self.last:
            raise ValueError(f"must begin at 1 or more and end above that, not go from {self.first} to {self.last}")
        if self.step < 1:
            raise ValueError(f"must go up by 1 or more, not by {self.step}")
        if not 0 < self.precision < 1:
            raise ValueError(f"a precision is a share between 0 and 1, not {self.precision:g}")


class Search:
    """The highest load that holds.

    Args:
        bounds: what may be tried.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._held: set[int] = set()
        self._failures: dict[int, int] = {}
        # Loads that did not hold for long: what fails once more there is no bad luck.
        self._disproved: set[int] = set()
        self._trials = 0
        self.outcome: Outcome | None = None
        """How it ended; `None` while it goes on."""
        self.trial: Trial | None = Trial(bounds.first, Purpose.STEP)
        """What to try now; `None` when it is over."""

    @property
    def capacity(self) -> int:
        """The highest load that held, below every one that did not; 0 for none."""
        bad = self._bad
        return max((load for load in self._held if bad is None or load < bad), default=0)

    @property
    def _bad(self) -> int | None:
        """The lowest load that did not hold."""
        return min(self._failures, default=None)

    def judged(self, *, held: bool) -> None:
        """Take what came of the trial."""
        trial = self.trial
        assert trial is not None
        self._trials += 1
        load = trial.load
        if held:
            self._held.add(load)
            if load not in self._disproved:
                # A second chance that was taken; and what holds more holds less.
                self._failures = {each: count for each, count in self._failures.items() if each > load}
            if trial.purpose is Purpose.CONFIRM:
                self._end(Outcome.AT_LEAST if load == self._bounds.last else Outcome.FOUND)
                return
        else:
            self._held = {each for each in self._held if each < load}
            self._failures[load] = self._failures.get(load, 0) + 1
            if trial.purpose is Purpose.CONFIRM:
                self._disproved.add(load)
        if self._trials >= _MOST_TRIALS:
            self._end(Outcome.UNSTEADY)
            return
        self._next()

    def stop(self, outcome: Outcome) -> None:
        """End it for another reason; does nothing when it is over."""
        if self.outcome is None:
            self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.trial = None

    def _next(self) -> None:
        bounds, good, bad = self._bounds, self.capacity, self._bad
        if bad is None:
            if good == bounds.last:
                self.trial = Trial(good, Purpose.CONFIRM)
            else:
                self.trial = Trial(min(good + bounds.step, bounds.last), Purpose.STEP)
            return
        if bad - good > max(1, int(bad * bounds.precision)):
            self.trial = Trial((good + bad) // 2, Purpose.BISECT)
        elif self._failures[bad] == 1 and bad not in self._disproved:
            # One failure may have been bad luck.
            self.trial = Trial(bad, Purpose.REPEAT)
        elif good == 0:
            self._end(Outcome.NOTHING)
        else:
            self.trial = Trial(good, Purpose.CONFIRM)
