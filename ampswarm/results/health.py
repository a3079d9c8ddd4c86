"""Whether a load generator's numbers can be trusted: what a process says of itself, and what is made of it.

Times are seconds, and those of a reading count from the beginning of the test.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ampswarm.results.histogram import Histogram

LAG_INTERVAL: Final = 0.05
"""Between two looks at the loop's lag."""
LATE_SPAN: Final = 10.0
"""What lag and garbage collection are judged over."""
LATE_SECONDS: Final = 1.0
"""Of `LATE_SPAN`, for which a loop may be later than its limit; of a whole test, too."""
LATE_SHARE: Final = 0.01
"""Of a whole test, for which a loop may be later than its limit: more, and its p99 is the generator's own."""
LEVEL_SPAN: Final = 5.0
"""Over which CPU and memory have to be above their limits all in all."""

_LONGEST_CORRECTED: Final = 600.0
"""Of a stall, in seconds, that is spread over the moments in it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Past which a run is invalid; 0 switches one off. Each is an option of the same name."""

    max_loop_lag: float = 0.5
    """Seconds."""
    max_generator_cpu: float = 95.0
    """Percent of one core."""
    max_gc_pause: float = 0.5
    """Seconds."""
    max_open_files: float = 95.0
    """Percent of what the process may open."""
    max_ports: float = 95.0
    """Percent of the ephemeral ports, to one destination."""
    max_generator_memory: float = 95.0
    """Percent of what the host, or the container, has."""
    max_clock_jump: float = 1.0
    """Seconds."""
    max_master_distance: float = 5.0
    """Seconds to the master and back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a process saw of itself in about a second. `None` is for what it cannot know, or has not got."""

    at: float
    """Where it ends."""
    seconds: float
    """How long it is: more than one where the process stood still."""
    lag: Histogram = field(default_factory=Histogram)
    """How late the loop was, in milliseconds, every `LAG_INTERVAL`."""
    gc: Histogram = field(default_factory=Histogram)
    """Pauses for garbage collection, in milliseconds."""
    cpu: float = 0.0
    """Percent of one core."""
    files: float | None = None
    """Open files: percent of the limit; 100 also where one could not be opened."""
    ports: dict[str, int] = field(default_factory=dict)
    """Connections by destination."""
    port_range: int = 0
    """How many ephemeral ports there are; 0 for unknown."""
    ports_exhausted: bool = False
    """Whether a connection found no port."""
    memory: float | None = None
    """Percent in use of what the host or the container has."""
    resident: int = 0
    """Bytes of this process."""
    clock_jump: float = 0.0
    """The largest step of the wall clock against the monotonic one, forward or back."""
    distance: float | None = None
    """To the master and back, without the lag of this process; as long as it has been waited for."""
    charge_points: int = 0
    is_spawning: bool = False
    """Whether charge points were added."""
    host: str = ""

    @property
    def busiest_ports(self) -> float | None:
        """Percent of the ephemeral ports that connections to one destination use."""
        if self.ports_exhausted:
            return 100.0
        if not self.port_range:
            return None
        return 100.0 * max(self.ports.values(), default=0) / self.port_range

    def pack(self) -> list[object]:
        """Return what `unpack` takes: lists, texts and numbers, for a message."""
        return [
            self.at, self.seconds, self.lag.pack(), self.gc.pack(), self.cpu, self.files, dict(self.ports),
            self.port_range, self.ports_exhausted, self.memory, self.resident, self.clock_jump, self.distance,
            self.charge_points, self.is_spawning, self.host,
        ]  # fmt: skip

    @classmethod
    def unpack(cls, packed: object) -> Reading:
        """Return what was packed.

        Raises:
            ValueError: it was something else.
        """
        if not isinstance(packed, list) or len(packed) != 16:
            raise ValueError("no reading of a generator")
        (at, seconds, lag, gc, cpu, files, ports, port_range, exhausted, memory, resident, jump, distance,
         charge_points, spawning, host) = packed  # fmt: skip
        try:
            return cls(
                float(at), float(seconds), Histogram.unpack(lag), Histogram.unpack(gc), float(cpu), _maybe(files),
                {str(where): int(count) for where, count in ports.items()}, int(port_range), bool(exhausted),
                _maybe(memory), int(resident), float(jump), _maybe(distance), int(charge_points), bool(spawning),
                str(host),
            )  # fmt: skip
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no reading of a generator: {error}") from None


def _maybe(number: object) -> float | None:
    return None if number is None else float(number)  # type: ignore[arg-type]


def count_lag(histogram: Histogram, lag: float) -> None:
    """Count how late the loop was, and what would have been seen while nobody could look.

    A loop that stands still for 2 s is seen once; a message that came then waited for anything from 2 s to
    nothing. Each `LAG_INTERVAL` of the wait counts as a look of its own.
    """
    left = min(max(lag, 0.0), _LONGEST_CORRECTED)
    histogram.add(max(lag, 0.0) * 1000)
    while left > LAG_INTERVAL:
        left -= LAG_INTERVAL
        histogram.add(left * 1000)


def late_seconds(lag: Histogram, limit: float) -> float:
    """Return for how long a loop was later than `limit`."""
    return sum(count for milliseconds, count in lag.counts.items() if milliseconds > limit * 1000) * LAG_INTERVAL


@dataclass(slots=True)
class Finding:
    """One thing that is wrong with a process, however often it is."""

    kind: str
    """The limit's name without `max_`, or `lost`."""
    is_invalid: bool
    """Whether the run is; else it is a blip, and a warning."""
    at: float
    """When it was first found."""
    until: float
    value: float
    """The worst."""
    limit: float
    words: str
    """What was first found."""
    is_spawning: bool = False
    times: int = 1

    @property
    def text(self) -> str:
        """What, when, value and limit; without whose."""
        when = f"{self.at:.0f} s into the test"
        if self.is_spawning:
            when += ", while charge points were added"
        again = f"; {self.times} times until {self.until:.0f} s, worst {self.value:.3g}" if self.times > 1 else ""
        return f"{when}: {self.words}{again} ({flag(self.kind)} {self.limit:g})"

    def as_json(self) -> dict[str, object]:
        """Return it for a report."""
        return {
            "kind": self.kind, "invalid": self.is_invalid, "at": round(self.at, 1), "until": round(self.until, 1),
            "value": round(self.value, 3), "limit": self.limit, "times": self.times, "text": self.text,
        }  # fmt: skip


def flag(kind: str) -> str:
    """Return the option that sets the limit of a kind of finding."""
    return "--max-" + ("master-distance" if kind == "lost" else kind.replace("_", "-"))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a reading comes to, in one respect."""

    kind: str
    is_invalid: bool
    value: float
    words: str


class Judge:
    """What becomes of one process's readings.

    Args:
        limits: which hold.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._late = _Span(LATE_SPAN)
        self._paused = _Span(LATE_SPAN)
        self._cpu = _Span(LEVEL_SPAN)
        self._memory = _Span(LEVEL_SPAN)
        self._late_ever = 0.0
        self.findings: dict[tuple[str, bool], Finding] = {}
        """By kind, and whether it makes the run invalid."""

    @property
    def is_valid(self) -> bool:
        """Whether the process's numbers can be trusted."""
        return not any(each.is_invalid for each in self.findings.values())

    def take(self, reading: Reading) -> list[Finding]:
        """Judge a reading; return what was not found before."""
        new = []
        for verdict in self._verdicts(reading):
            finding = self.note(verdict.kind, verdict.value, verdict.words, reading.at,
                                is_invalid=verdict.is_invalid, is_spawning=reading.is_spawning)  # fmt: skip
            if finding is not None:
                new.append(finding)
        return new

    def note(
        self, kind: str, value: float, words: str, at: float, *, is_invalid: bool = True, is_spawning: bool = False
    ) -> Finding | None:
        """Take note of something; return it if it is the first of its kind."""
        known = self.findings.get((kind, is_invalid))
        if known is not None:
            known.until = at
            known.times += 1
            known.value = max(known.value, value)
            return None
        limit = self._limits.max_master_distance if kind == "lost" else getattr(self._limits, f"max_{kind}")
        finding = Finding(kind, is_invalid, at, at, value, limit, words, is_spawning)
        self.findings[kind, is_invalid] = finding
        return finding

    def _verdicts(self, reading: Reading) -> Iterator[_Verdict]:
        for look in (self._loop, self._collection, self._levels, self._moments):
            yield from look(reading)

    def _loop(self, reading: Reading) -> Iterator[_Verdict]:
        limit = self._limits.max_loop_lag
        if not limit:
            return
        late = late_seconds(reading.lag, limit)
        self._late_ever += late
        within = self._late.add(reading, late)
        worst = reading.lag.highest / 1000
        if not late:
            return
        of_all = self._late_ever > max(LATE_SECONDS, LATE_SHARE * reading.at)
        words = f"its loop was {worst:.3g} s late"
        if within > LATE_SECONDS:
            words += f", and for {within:.3g} of {LATE_SPAN:g} s by more than {limit:g} s"
        elif of_all:
            words += f", and for {self._late_ever:.3g} of {reading.at:.0f} s by more than {limit:g} s"
        yield _Verdict("loop_lag", within > LATE_SECONDS or of_all, worst, words)

    def _collection(self, reading: Reading) -> Iterator[_Verdict]:
        limit = self._limits.max_gc_pause
        if not limit:
            return
        pauses = {each: count for each, count in reading.gc.counts.items() if each > limit * 1000}
        within = self._paused.add(reading, sum(each * count for each, count in pauses.items()) / 1000)
        if not pauses:
            return
        worst = reading.gc.highest / 1000
        words = f"garbage collection took {worst:.3g} s"
        if within > LATE_SECONDS:
            words += f", and in pauses longer than {limit:g} s {within:.3g} of {LATE_SPAN:g} s"
        yield _Verdict("gc_pause", within > LATE_SECONDS, worst, words)

    def _levels(self, reading: Reading) -> Iterator[_Verdict]:
        """What may be high for a moment, and not for long."""
        whats: tuple[tuple[str, float | None, _Span, Callable[[float], str]], ...] = (
            ("generator_cpu", reading.cpu, self._cpu, lambda value: f"it used {value:.0f} % of a core"),
            ("generator_memory", reading.memory, self._memory, lambda value: f"{value:.0f} % of memory was in use"),
        )
        for kind, value, span, words in whats:
            limit: float = getattr(self._limits, f"max_{kind}")
            if not limit or value is None:
                continue
            mean = span.add(reading, value * reading.seconds) / span.seconds
            # As long as that, and not just the first moments of a test.
            is_long = span.is_full and mean >= limit
            if is_long:
                yield _Verdict(kind, is_invalid=True, value=mean, words=f"{words(mean)}, over {span.seconds:.0f} s")
            elif value >= limit:
                yield _Verdict(kind, is_invalid=False, value=value, words=words(value))

    def _moments(self, reading: Reading) -> Iterator[_Verdict]:
        """What is wrong as soon as it happens."""
        limits = self._limits
        files, ports = reading.files, reading.busiest_ports
        if limits.max_open_files and files is not None and files >= limits.max_open_files:
            words = f"{files:.0f} % of the files that it may open were open"
            yield _Verdict("open_files", is_invalid=True, value=files, words=words)
        if limits.max_ports and ports is not None and ports >= limits.max_ports:
            words = f"{ports:.0f} % of its ports were in use"
            if reading.ports_exhausted:
                words = "a connection found no free port"
            yield _Verdict("ports", is_invalid=True, value=ports, words=words)
        if limits.max_clock_jump and reading.clock_jump >= limits.max_clock_jump:
            words = f"its clock jumped by {reading.clock_jump:.3g} s"
            yield _Verdict("clock_jump", is_invalid=True, value=reading.clock_jump, words=words)
        distance, limit = reading.distance, limits.max_master_distance
        if limit and distance is not None and distance > limit / 2:
            words = f"the master did not answer within {distance:.3g} s"
            yield _Verdict("master_distance", distance > limit, distance, words)


class _Span:
    """Sums over the last seconds."""

    def __init__(self, length: float) -> None:
        self._length = length
        self._parts: deque[tuple[float, float]] = deque()
        self.seconds = 0.0
        """How long the readings in it are together."""
        self._sum = 0.0

    @property
    def is_full(self) -> bool:
        return self.seconds >= self._length

    def add(self, reading: Reading, amount: float) -> float:
        """Return the sum, with this one: of as few of the last readings as are as long as the span."""
        self._parts.append((reading.seconds, amount))
        self.seconds += reading.seconds
        self._sum += amount
        while self.seconds - self._parts[0][0] >= self._length:
            seconds, gone = self._parts.popleft()
            self.seconds -= seconds
            self._sum -= gone
        return self._sum
