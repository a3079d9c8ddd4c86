"""What the charge points of a run are at, process by process and over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CONDITIONS: Final = ("offline", "connecting", "booting", "online", "charging", "faulted", "off")
"""What a charge point can be at (`ampswarm.charge_point.condition`), in the order of tables and charts."""

MAX_ROWS: Final = 1200
"""Of a history: beyond it, of each two neighbours the first goes, and from then on every second row is left out."""

FORGOTTEN_AFTER: Final = 10.0
"""Seconds after which a process that says nothing has no charge points, as far as anybody knows."""


@dataclass(frozen=True, slots=True)
class Count:
    """What one process said of its charge points."""

    seconds: float
    """Since it said so last."""
    conditions: tuple[int, ...]
    """How many are at what, in the order of `CONDITIONS`."""
    outstanding: int = 0
    """Calls without an answer so far."""
    outbox: int = 0
    """Transaction messages that the central system has not taken yet."""
    connected: int = 0
    """Connections that were opened since it said so last."""
    refused: int = 0
    """Attempts to connect that failed since it said so last."""
    commands: int = 0
    """Of the central system, since the test began."""

    def pack(self) -> list[object]:
        """Return what `unpack` takes."""
        return [
            self.seconds, list(self.conditions), self.outstanding, self.outbox, self.connected, self.refused,
            self.commands,
        ]  # fmt: skip

    @classmethod
    def unpack(cls, packed: object) -> Count:
        """Return what was packed.

        Raises:
            ValueError: it was something else.
        """
        if not isinstance(packed, list) or len(packed) != 7 or not isinstance(packed[1], list):
            raise ValueError("no count of charge points")
        seconds, conditions, outstanding, outbox, connected, refused, commands = packed
        if len(conditions) != len(CONDITIONS):
            raise ValueError(f"no count of charge points: {len(conditions)} conditions")
        try:
            counts = tuple(int(each) for each in conditions)
            return cls(
                float(seconds), counts, int(outstanding), int(outbox), int(connected), int(refused), int(commands)
            )
        except TypeError as error:
            raise ValueError(f"no count of charge points: {error}") from None

    @property
    def charge_points(self) -> int:
        """How many there are."""
        return sum(self.conditions)

    def as_row(self) -> dict[str, float]:
        """Return it as a row of a table."""
        seconds = self.seconds or 1.0
        return {
            "charge_points": self.charge_points,
            **dict(zip(CONDITIONS, self.conditions, strict=True)),
            "connected_per_second": round(self.connected / seconds, 1),
            "refused_per_second": round(self.refused / seconds, 1),
            "outstanding": self.outstanding,
            "outbox": self.outbox,
            "commands": self.commands,
        }


NOBODY: Final[dict[str, float]] = dict.fromkeys(Count(1.0, (0,) * len(CONDITIONS)).as_row(), 0)


class Census:
    """The last word of each process, their sum, and how that went on.

    Times are seconds since the test began.
    """

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, Count]] = {}
        self._history: list[dict[str, float]] = []
        self._every = 1
        self._turn = 0

    def accept(self, process: str, count: Count, at: float) -> None:
        """Take what a process said."""
        self._said[process] = at, count

    def forget(self, process: str) -> None:
        """A process is lost: its charge points are others' now."""
        self._said.pop(process, None)

    def rows(self, at: float) -> dict[str, Mapping[str, float]]:
        """Return a row for each process that is heard of, by its name."""
        return {process: count.as_row() for process, count in self._heard(at)}

    def total(self, at: float) -> dict[str, float]:
        """Return the sum of the rows."""
        sums: dict[str, float] = dict(NOBODY)
        for _, count in self._heard(at):
            for name, value in count.as_row().items():
                sums[name] += value
        for name in ("connected_per_second", "refused_per_second"):
            sums[name] = round(sums[name], 1)
        return sums

    def note(self, at: float, more: Mapping[str, float] | None = None) -> None:
        """Add the sum as it is now to the history, and what else is to be told of now."""
        self._turn += 1
        if self._turn % self._every:
            return
        self._history.append({"at": round(at, 1), **self.total(at), **(more or {})})
        if len(self._history) > MAX_ROWS:
            del self._history[1::2]
            self._every *= 2
            self._turn = 0

    def history(self, after: float = float("-inf")) -> Sequence[Mapping[str, float]]:
        """Return the sums that were noted `after` a time."""
        return [row for row in self._history if row["at"] > after]

    def _heard(self, at: float) -> Iterator[tuple[str, Count]]:
        return ((process, count) for process, (when, count) in self._said.items() if at - when < FORGOTTEN_AFTER)


def table(rows: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a table with a column `generator`: each process, and their total where there are several."""
    lines = [{"generator": name, **row} for name, row in rows.items()]
    return lines if len(lines) == 1 else [*lines, {"generator": "all", **total}]
