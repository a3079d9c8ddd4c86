"""What the charge points of a run are at, process by process and over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ampswarm.results.generators import REPORT_INTERVAL

CONDITIONS: Final = ("offline", "connecting", "booting", "online", "charging", "faulted", "off")
"""What a charge point can be at (`ampswarm.charge_point.condition`), in the order of tables and charts."""

MAX_ROWS: Final = 1200
"""Of a history: beyond it, of each two neighbours the one with more charge points away stays, and so from then on."""

FORGOTTEN_AFTER: Final = 10.0
"""Seconds after which a process that says nothing has no charge points, as far as anybody knows."""

_GOOD_FOR: Final = 5
"""Seconds for which a count stands for what follows; large fleets are counted every three."""
_COMPLETE_AFTER: Final = 2 * REPORT_INTERVAL + 1.0
"""Seconds until every process has told what it counted in a second."""
_AWAY: Final = ("offline", "connecting", "booting", "off")


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
    reconnected: int = 0
    """Of those that were connected, how many had been connected before."""
    at: float = 0.0
    """When it was counted, in seconds since the test began."""

    def pack(self) -> list[object]:
        """Return what `unpack` takes."""
        return [
            self.seconds, list(self.conditions), self.outstanding, self.outbox, self.connected, self.refused,
            self.commands, self.reconnected, self.at,
        ]  # fmt: skip

    def after(self, other: Count) -> Count:
        """Return it as a count of what happened since the one before `other`."""
        return replace(
            self,
            seconds=self.seconds + other.seconds,
            connected=self.connected + other.connected,
            refused=self.refused + other.refused,
            reconnected=self.reconnected + other.reconnected,
        )

    @classmethod
    def unpack(cls, packed: object) -> Count:
        """Return what was packed.

        Raises:
            ValueError: it was something else.
        """
        if not isinstance(packed, list) or len(packed) != 9 or not isinstance(packed[1], list):
            raise ValueError("no count of charge points")
        seconds, conditions, outstanding, outbox, connected, refused, commands, reconnected, at = packed
        if len(conditions) != len(CONDITIONS):
            raise ValueError(f"no count of charge points: {len(conditions)} conditions")
        try:
            counts = tuple(int(each) for each in conditions)
            return cls(
                float(seconds), counts, int(outstanding), int(outbox), int(connected), int(refused), int(commands),
                int(reconnected), float(at),
            )  # fmt: skip
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
            "reconnected_per_second": round(self.reconnected / seconds, 1),
            "refused_per_second": round(self.refused / seconds, 1),
            "outstanding": self.outstanding,
            "outbox": self.outbox,
            "commands": self.commands,
        }


_RATES: Final = ("connected_per_second", "reconnected_per_second", "refused_per_second")
NOBODY: Final[dict[str, float]] = dict.fromkeys(Count(1.0, (0,) * len(CONDITIONS)).as_row(), 0)


class Census:
    """The last word of each process, their sum, and how that went on, second by second.

    Times are seconds since the test began.
    """

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, Count]] = {}
        # By second: what each process counted last in it.
        self._counted: dict[int, dict[str, Count]] = {}
        # The last count of each process before the second that is told next, and when.
        self._standing: dict[str, tuple[int, Count]] = {}
        self._lost: set[str] = set()
        self._next = 0
        self._more: list[tuple[float, Mapping[str, float]]] = []
        self._history: list[dict[str, float]] = []
        # Rows of which one will be told.
        self._group: list[dict[str, float]] = []
        self._every = 1

    def accept(self, process: str, counts: Sequence[Count], at: float) -> None:
        """Take what a process has counted since it said so last, in order."""
        self._lost.discard(process)
        for count in counts:
            second = max(int(count.at), self._next)  # later than that, it was told without it
            slot = self._counted.setdefault(second, {})
            slot[process] = count.after(slot[process]) if process in slot else count
        whole = counts[0]
        for count in counts[1:]:
            whole = count.after(whole)
        self._said[process] = at, whole

    def forget(self, process: str) -> None:
        """A process is lost: its charge points are others' now."""
        self._said.pop(process, None)
        self._lost.add(process)

    def rows(self, at: float) -> dict[str, Mapping[str, float]]:
        """Return a row for each process that is heard of, by its name."""
        return {process: count.as_row() for process, count in self._heard(at)}

    def total(self, at: float) -> dict[str, float]:
        """Return the sum of the rows."""
        return _sum(count for _, count in self._heard(at))

    def note(self, at: float, more: Mapping[str, float] | None = None) -> None:
        """Add the seconds of which all is known to the history; `more` is what else there is to be told of now."""
        self._more.append((at, more or {}))
        self._tell_until(int(at - _COMPLETE_AFTER))

    def history(self, after: float = float("-inf")) -> Sequence[Mapping[str, float]]:
        """Return the sums of the seconds that began `after` a time."""
        return [row for row in self._history if row["at"] > after]

    def settle(self) -> None:
        """Nothing more will come: add what is left."""
        self._tell_until(max(self._counted, default=-1) + 1)
        if self._group:
            self._history.append(_worst(self._group))
            self._group = []

    def _tell_until(self, end: int) -> None:
        for second in range(self._next, end):
            self._next = second + 1
            counted = self._counted.pop(second, {})
            self._standing |= {process: (second, count) for process, count in counted.items()}
            good = [
                count for process, (since, count) in self._standing.items()
                if second - since < (1 if process in self._lost else _GOOD_FOR)
            ]  # fmt: skip
            if good or self._history:
                while len(self._more) > 1 and self._more[1][0] < second + 1:
                    self._more.pop(0)
                more = self._more[0][1] if self._more else {}
                self._tell({"at": float(second), **_sum(good), **more})

    def _tell(self, row: dict[str, float]) -> None:
        self._group.append(row)
        if len(self._group) < self._every:
            return
        self._history.append(_worst(self._group))
        self._group = []
        if len(self._history) > MAX_ROWS:
            # The last one of an odd number is a pair of its own.
            self._history = [_worst(self._history[place : place + 2]) for place in range(0, len(self._history), 2)]
            self._every *= 2

    def _heard(self, at: float) -> Iterator[tuple[str, Count]]:
        return ((process, count) for process, (when, count) in self._said.items() if at - when < FORGOTTEN_AFTER)


def _sum(counts: Iterable[Count]) -> dict[str, float]:
    sums: dict[str, float] = dict(NOBODY)
    for count in counts:
        for name, value in count.as_row().items():
            sums[name] += value
    for name in _RATES:
        sums[name] = round(sums[name], 1)
    return sums


def _worst(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the row with the most charge points away, and the worst of what else is told: no peak is to be lost."""
    worst = max(rows, key=lambda row: sum(row[name] for name in _AWAY))
    more = {name for row in rows for name in row} - NOBODY.keys() - {"at"}
    return worst | {name: max(row[name] for row in rows if name in row) for name in more}


def table(rows: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a table with a column `generator`: each process, and their total where there are several."""
    lines = [{"generator": name, **row} for name, row in rows.items()]
    return lines if len(lines) == 1 else [*lines, {"generator": "all", **total}]
