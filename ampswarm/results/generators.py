"""All load generators of a run: how they were, and why the run is invalid, if it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Final

from ampswarm.results.health import Finding, Judge, Limits, Reading
from ampswarm.results.histogram import Histogram
from ampswarm.results.timeline import Timeline

MAX_ROWS: Final = 240
"""Of a generator's history: 4 minutes of seconds, 8 minutes of two seconds, and so on."""

REPORT_INTERVAL: Final = 3.0
"""Seconds between two reports of a worker."""

_LAG: Final = ("LAG", "")

Row = dict[str, float | None]


@dataclass(slots=True)
class Said:
    """Something to be logged."""

    generator: str
    finding: Finding

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.generator}, {self.finding.text}"


class _History:
    """Rows of the worst values, which stand for more time as there are more of them."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._each = 1
        # What will be the next one.
        self._pending: list[Row] = []

    @property
    def rows(self) -> list[Row]:
        """All of them."""
        return [*self._rows, worst_of(self._pending)] if self._pending else self._rows

    def add(self, row: Row) -> None:
        """Add what was seen in another second."""
        self._pending.append(row)
        if len(self._pending) < self._each:
            return
        self._rows.append(worst_of(self._pending))
        self._pending = []
        if len(self._rows) >= MAX_ROWS:
            self._each *= 2
            self._rows = [worst_of(self._rows[index : index + 2]) for index in range(0, len(self._rows), 2)]


@dataclass(slots=True)
class Generator:
    """A process with charge points, as the others see it.

    Args:
        name: what it is called in a report.
        judge: of its readings.
    """

    name: str
    judge: Judge
    current: Row = field(default_factory=dict)
    worst: Row = field(default_factory=dict)
    history: _History = field(default_factory=_History)
    last: Reading | None = None
    is_done: bool = False
    """Whether it has stopped, and said so."""
    unheard: float = 0.0
    """Seconds for which it has said nothing."""

    def as_json(self) -> dict[str, object]:
        """Return it for a report."""
        return {
            "valid": self.judge.is_valid,
            "host": self.last.host if self.last else "",
            "current": self.current,
            "worst": self.worst,
            "history": self.history.rows,
        }


def row_of(reading: Reading) -> Row:
    """Return what is kept of a reading: times in milliseconds, shares in percent."""
    return {
        "at": round(reading.at, 1),
        "loop_lag_p99_ms": round(reading.lag.percentile(99), 1),
        "loop_lag_max_ms": round(reading.lag.highest, 1),
        "cpu_percent": round(reading.cpu, 1),
        "gc_max_ms": round(reading.gc.highest, 1),
        "gc_total_ms": round(reading.gc.total, 1),
        "open_files_percent": _rounded(reading.files),
        "ports_percent": _rounded(reading.busiest_ports),
        "memory_percent": _rounded(reading.memory),
        "resident_bytes": reading.resident,
        "clock_jump_ms": round(reading.clock_jump * 1000, 1),
        "master_distance_ms": _rounded(None if reading.distance is None else reading.distance * 1000),
        "charge_points": reading.charge_points,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def worst_of(rows: Iterable[Row]) -> Row:
    """Return the highest of each column."""
    worst: Row = {}
    for row in rows:
        for column, value in row.items():
            known = worst.get(column)
            worst[column] = value if known is None else known if value is None else max(known, value)
    return worst


class Generators:
    """What the generators of a test said, and what it comes to.

    Args:
        limits: which hold.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._known: dict[str, Generator] = {}
        self._hosts: dict[str, Judge] = {}
        self._said: list[Said] = []
        self._lags = Timeline()

    def __len__(self) -> int:
        return len(self._known)

    def expect(self, name: str) -> Generator:
        """Take note of a generator that has begun; return what is known of it."""
        generator = self._known.get(name)
        if generator is None:
            generator = self._known[name] = Generator(name, Judge(self._limits))
        return generator

    def accept(
        self, name: str, packed: object, elapsed: float, *, later: float = 0.0, is_last: bool = False
    ) -> list[Said]:
        """Take readings; return what is to be logged.

        Args:
            name: whose.
            packed: `Reading.pack` of each.
            elapsed: seconds into the test.
            later: seconds into the test at which it began, where that was later than the others.
            is_last: whether nothing will follow.

        Raises:
            ValueError: they are no readings.
        """
        if not isinstance(packed, list):
            raise ValueError("no readings of a generator")  # noqa: TRY004  as for whatever else is none
        readings = [Reading.unpack(each) for each in packed]
        generator = self.expect(name)
        generator.unheard = 0.0
        generator.is_done = is_last
        said = []
        for reading in readings:
            # From here on in the test's time, and not in that of one that came later.
            reading = replace(reading, at=reading.at + later)  # noqa: PLW2901
            generator.last = reading
            self._lags.add_all(*_LAG, reading.at, reading.lag)
            said += [Said(name, finding) for finding in generator.judge.take(reading)]
            generator.current = row = row_of(reading)
            generator.worst = worst_of((generator.worst, row))
            generator.history.add(row)
            said += self._look_at_host(reading, elapsed)
        return self._keep(said)

    def _look_at_host(self, reading: Reading, elapsed: float) -> list[Said]:
        """Generators of one host share its ports: none of them sees when there are too many of them."""
        limit = self._limits.max_ports
        mates = [
            each.last for each in self._known.values()
            if each.last is not None and each.last.host == reading.host and not each.is_done
        ]  # fmt: skip
        if not limit or not reading.port_range or len(mates) < 2:
            return []
        for destination in reading.ports:
            used = sum(mate.ports.get(destination, 0) for mate in mates)
            percent = 100.0 * used / reading.port_range
            if percent < limit:
                continue
            judge = self._hosts.setdefault(reading.host, Judge(self._limits))
            words = f"{percent:.0f} % of its ports were in use for {destination}, by {len(mates)} generators"
            finding = judge.note("ports", percent, words, elapsed)
            if finding is not None:
                return [Said(f"host {reading.host}", finding)]
        return []

    def wait(self, seconds: float, elapsed: float) -> list[Said]:
        """Some time has passed; return what is to be logged: generators that say nothing any more."""
        limit = self._limits.max_master_distance
        said = []
        for generator in self._known.values():
            if generator.is_done:
                continue
            generator.unheard += seconds
            if limit and generator.unheard > limit + REPORT_INTERVAL:
                said += self._lose(generator, elapsed)
        return self._keep(said)

    def close(self, elapsed: float) -> list[Said]:
        """The test is over, and whatever comes has come; return what is to be logged."""
        said = []
        if self._limits.max_master_distance:
            for generator in self._known.values():
                if not generator.is_done:
                    said += self._lose(generator, elapsed)
        return self._keep(said)

    def _lose(self, generator: Generator, elapsed: float) -> list[Said]:
        heard = generator.current.get("at") or 0.0
        words = f"it was lost: nothing was heard of it after {heard:.0f} s"
        finding = generator.judge.note("lost", elapsed - heard, words, elapsed)
        return [Said(generator.name, finding)] if finding is not None else []

    def _keep(self, said: list[Said]) -> list[Said]:
        self._said += said
        return said

    def reasons(self) -> list[str]:
        """Return why the run is invalid: a line for each; none if it is valid."""
        return [each.text for each in self._said if each.finding.is_invalid]

    def warnings(self) -> list[str]:
        """Return what was past a limit, and not for long enough to matter."""
        return [each.text for each in self._said if not each.finding.is_invalid]

    def lag(self, after: float, before: float) -> Histogram:
        """Return how late the loops of all generators were between two times of the test, in milliseconds."""
        return self._lags.total(_LAG, after=after, before=before)

    def table(self) -> list[dict[str, object]]:
        """Return a row for each generator, for a page."""
        return [
            {
                "generator": each.name,
                "state": "; ".join(found.text for found in each.judge.findings.values() if found.is_invalid) or "valid",
                **{f"worst_{column}": value for column, value in each.worst.items()},
                **each.current,
            }
            for each in self._known.values()
        ]

    def section(self) -> dict[str, object]:
        """Return all of it for a report, as JSON can hold it."""
        return {
            "valid": not self.reasons(),
            "reasons": self.reasons(),
            "warnings": self.warnings(),
            "limits": asdict(self._limits),
            "findings": [{"generator": each.generator, **each.finding.as_json()} for each in self._said],
            "generators": {name: each.as_json() for name, each in self._known.items()},
        }
