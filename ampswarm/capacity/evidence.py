"""What a search found, with what it was found by: for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from ampswarm.capacity.search import Outcome, Purpose

UNITS: Final = {"charge-points": "charge points", "messages": "messages per second"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One trial.

    Args:
        load: what was tried.
        purpose: why.
        after: begin of what was judged, in seconds since the start of the test; 0 where it never got so far.
        before: its end.
        achieved: the load that was there: the fewest charge points online, or the answers in a second.
        calls: how many were measured.
        p50: milliseconds, from when the Call was due.
        p99: milliseconds, from when the Call was due.
        fail_ratio: the share of Calls that failed, 0 to 1.
        held: the verdict.
        reason: why not; empty when it held.
    """

    load: int
    purpose: Purpose
    after: float
    before: float
    achieved: float
    calls: int
    p50: float
    p99: float
    fail_ratio: float
    held: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a search came to.

    Args:
        of: `charge-points` or `messages`.
        action: the messages that were sent; empty for charge points.
        outcome: how it ended.
        capacity: the highest load that held; 0 for none.
        reason: what ended it, where that was not the target; else empty.
        trials: the evidence, in order.
    """

    of: str
    action: str
    outcome: Outcome
    capacity: int
    reason: str
    trials: Sequence[Evidence]

    @property
    def is_reliable(self) -> bool:
        """Whether the number says something about the target."""
        return self.outcome in (Outcome.FOUND, Outcome.AT_LEAST, Outcome.NOTHING)

    def sentence(self) -> str:
        """Return the result in one sentence."""
        amount = f"{self.capacity} {UNITS[self.of]}"
        match self.outcome:
            case Outcome.FOUND:
                return f"the target holds {amount}"
            case Outcome.AT_LEAST:
                return f"the target holds at least {amount}: more was not to be tried"
            case Outcome.NOTHING:
                return f"the target does not hold anything: {self.reason or 'not even the lowest load'}"
            case Outcome.GENERATOR:
                return f"the load generator gave up, not the target, which held {amount}: {self.reason}"
            case Outcome.UNSTEADY:
                return f"no edge: the same loads held and failed, again and again; {amount} held last"
            case _:
                return f"interrupted; {amount} held until then"

    def table(self) -> list[str]:
        """Return the evidence as lines of text."""
        lines = ["    load  achieved   p50 ms   p99 ms  failed  verdict"]
        for each in self.trials:
            verdict = "held" if each.held else each.reason
            lines.append(
                f"{each.load:8d} {each.achieved:9.4g} {each.p50:8.4g} {each.p99:8.4g} {each.fail_ratio:7.2%}  "
                f"{verdict} ({each.purpose})"
            )
        return lines

    def as_json(self) -> dict[str, object]:
        """Return what `--capacity-out` writes: docs/reference/capacity.md."""
        return {
            "of": self.of,
            "unit": UNITS[self.of],
            "action": self.action,
            "outcome": self.outcome.value,
            "capacity": self.capacity,
            "reason": self.reason,
            "trials": [_as_json(each) for each in self.trials],
        }


def _as_json(trial: Evidence) -> dict[str, object]:
    return {key: value.value if isinstance(value, Purpose) else value for key, value in asdict(trial).items()}


def judged(trials: Iterable[Evidence]) -> list[Evidence]:
    """Return the trials in which something was measured."""
    return [each for each in trials if each.before > each.after]
