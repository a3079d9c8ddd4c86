"""What a process with charge points sees of itself while a test runs."""

from __future__ import annotations

import gc
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import gevent

from ampswarm.load.host_resources import HostResources
from ampswarm.load.socket_census import CENSUS
from ampswarm.results.health import LAG_INTERVAL, Reading, count_lag
from ampswarm.results.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW: Final = 1.0
"""Seconds of a reading."""
_SHORTEST: Final = 0.2
"""Seconds of a last reading: of less, the share of a core says nothing."""
_MEMORY_EVERY: Final = 5
"""Readings: the kernel adds up over all processors for it."""
_MOST_READINGS: Final = 120
"""Kept while no master takes them."""
_STEADY: Final = 0.01
"""Seconds between two looks at the monotonic clock; the wall clock's look between them is as good."""


class Watch:
    """Watches this process while a test runs.

    Args:
        count: returns how many charge points there are.
        ask: asks the master for an answer, with a number; `None` where there is no master.
        tell: is told of each reading.
    """

    def __init__(
        self,
        count: Callable[[], int],
        ask: Callable[[int], None] | None = None,
        tell: Callable[[Reading], None] | None = None,
    ) -> None:
        self._count = count
        self._ask = ask
        self._tell = tell
        self._host = socket.gethostname()
        self._resources = HostResources()
        self._greenlet: gevent.Greenlet | None = None
        self._readings: list[Reading] = []
        self._is_over = False
        self._began = self._cut_at = self._due = 0.0
        self._cpu = 0.0
        self._offset: float | None = None
        self._lag, self._gc = Histogram(), Histogram()
        self._gc_since = 0.0
        self._jump = 0.0
        self._memory: float | None = None
        self._turn = 0
        self._charge_points = 0
        self._failures = 0, 0
        # What was asked last, when, how late the loop has been since then, and the answers' times.
        self._question = 0
        self._asked_at: float | None = None
        self._late_since = 0.0
        self._distance: float | None = None

    def begin(self) -> None:
        """A test begins."""
        self._leave()
        self._readings.clear()
        self._is_over = False
        self._began = self._cut_at = time.monotonic()
        self._due = self._began + LAG_INTERVAL
        self._cpu = time.process_time()
        self._offset = None
        self._lag, self._gc = Histogram(), Histogram()
        self._jump = 0.0
        self._turn = 0
        self._charge_points = self._count()
        self._failures = CENSUS.without_file, CENSUS.without_port
        self._asked_at = self._distance = None
        self._farthest(self._began)  # at once: the master learns that there is somebody to miss
        gc.callbacks.append(self._on_gc)
        self._greenlet = gevent.spawn(self._run)

    def end(self) -> None:
        """The test stops: what comes from here on is no part of it."""
        if self._greenlet is None:
            return
        self._leave()
        # It may stand still right now: nobody has looked since.
        now = time.monotonic()
        if now > self._due:
            self._see(now - self._due)
        self._cut(now)
        self._is_over = True

    def take(self) -> list[object]:
        """Return what is new: whether that is all, and the readings."""
        readings, self._readings = self._readings, []
        if not readings and not self._is_over:
            return []
        is_last, self._is_over = self._is_over, False
        return [is_last, [each.pack() for each in readings]]

    def hear(self, question: int) -> None:
        """The master has answered."""
        if question != self._question or self._asked_at is None:
            return
        self._distance = self._waited(time.monotonic())
        self._asked_at = None

    # -- inside -------------------------------------------------------------------------------

    def _leave(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None
            gc.callbacks.remove(self._on_gc)

    def _run(self) -> None:
        # The first look is due since the test began: Locust may have made users for a second until here.
        while True:
            now = time.monotonic()
            if now >= self._due:
                self._see(now - self._due)
                self._due = now + LAG_INTERVAL
                if now - self._cut_at >= _WINDOW:
                    self._cut(now)
            # What this look took itself is part of the next one's lag.
            gevent.sleep(max(0.0, self._due - time.monotonic()))

    def _see(self, lag: float) -> None:
        count_lag(self._lag, lag)
        self._late_since += max(0.0, lag)
        self._look_at_clock()

    def _look_at_clock(self) -> None:
        before = time.monotonic()
        wall = time.time()
        if time.monotonic() - before > _STEADY:
            return  # it was interrupted in between
        offset = wall - before
        if self._offset is not None:
            self._jump = max(self._jump, abs(offset - self._offset))
        self._offset = offset

    def _on_gc(self, phase: str, _: object) -> None:
        if phase == "start":
            self._gc_since = time.perf_counter()
        else:
            self._gc.add((time.perf_counter() - self._gc_since) * 1000)

    def _cut(self, now: float) -> None:
        """Make a reading of what was seen since the last one."""
        seconds = now - self._cut_at
        if seconds < _SHORTEST and self._readings and self._lag.highest < _SHORTEST * 1000:
            return
        cpu = time.process_time()
        if self._turn % _MEMORY_EVERY == 0:
            self._memory = self._resources.memory()
        self._turn += 1
        charge_points = self._count()
        files, ports = self._failures
        self._failures = CENSUS.without_file, CENSUS.without_port
        reading = Reading(
            at=now - self._began,
            seconds=seconds,
            lag=self._lag,
            gc=self._gc,
            cpu=100.0 * (cpu - self._cpu) / max(seconds, 0.001),
            files=100.0 if self._failures[0] > files else self._resources.open_files(),
            ports={_name(address): count for address, count in CENSUS.by_address.items()},
            # Each source address has all of them.
            port_range=self._resources.port_range * CENSUS.source_addresses,
            ports_exhausted=self._failures[1] > ports,
            memory=self._memory,
            resident=self._resources.resident(),
            clock_jump=self._jump,
            distance=self._farthest(now),
            charge_points=charge_points,
            is_spawning=charge_points > self._charge_points,
            host=self._host,
        )
        if self._tell is not None:
            self._tell(reading)
        self._readings.append(reading)
        del self._readings[:-_MOST_READINGS]
        self._cut_at, self._cpu, self._charge_points = now, cpu, charge_points
        self._lag, self._gc, self._jump = Histogram(), Histogram(), 0.0

    def _farthest(self, now: float) -> float | None:
        distance, self._distance = self._distance, None
        if self._ask is None:
            return None
        if self._asked_at is None:
            self._question += 1
            self._asked_at, self._late_since = now, 0.0
            self._ask(self._question)
            return distance
        return max(distance or 0.0, self._waited(now))

    def _waited(self, now: float) -> float:
        assert self._asked_at is not None
        # For as long as this process itself was late, the answer may have lain there.
        return max(0.0, now - self._asked_at - self._late_since)


def _name(address: Any) -> str:  # noqa: ANN401  an address of any family
    host, port, *_ = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
