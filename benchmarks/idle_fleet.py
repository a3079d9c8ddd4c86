"""Memory and CPU per charge point and per connection: `python -m benchmarks.idle_fleet`.

One Locust process, one central system, real sockets on loopback. Sizes are differences between a
small and a large fleet in the same processes, so that interpreters and libraries do not count;
times are CPU times of each process, so that neither waits for the other.

| figure | how |
|---|---|
| memory | resident size with the large fleet idle, minus with the small one, by the charge points between |
| CPU per boot | CPU from the small to the large fleet (connect, boot, two StatusNotifications), by the same |
| CPU per heartbeat | CPU over some seconds of a Heartbeat per second from each, by the Heartbeats answered |
| CPU per PING | CPU over some seconds of a PING per second to each, less that of the small fleet, by the PINGs |
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
SMALL = 200
TIMEOUT = 300.0
SETTLE = 5.0
"""Seconds of quiet before a measurement, for buffers and statistics to come to rest."""


@dataclass(frozen=True)
class Sample:
    """What one process uses."""

    resident: int
    """Bytes."""
    cpu: float
    """Seconds, user and system."""

    @classmethod
    def of(cls, process: psutil.Process) -> Sample:
        """Look at a process now."""
        times = process.cpu_times()
        return cls(process.memory_info().rss, times.user + times.system)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Bench:
    """A central system and a Locust process under the control of its own web UI."""

    def __init__(self, opened: ExitStack, *, boot_interval: int, tls: bool, ping_interval_ms: int = 30_000) -> None:
        self._opened = opened
        port, self._web_port = free_port(), free_port()
        self._start("-m", "server", "--host", "127.0.0.1", "--port", str(port), "--admin-port", "0",
                    "--store", "memory", "--log-lifecycle", "false", "--boot-interval", str(boot_interval),
                    "--ping-interval-ms", str(ping_interval_ms))  # fmt: skip
        self.central_system = self._last
        host, more = f"ws://127.0.0.1:{port}/ocpp", []
        if tls:
            tls_port = free_port()
            self._start("-m", "benchmarks.tls_offloader", str(tls_port), str(port))
            _wait_for_port(tls_port)
            host, more = f"wss://127.0.0.1:{tls_port}/ocpp", ["--tls-verify", "false"]
        _wait_for_port(port)
        self._start("-m", "locust", "-f", str(ROOT / "locustfiles" / "steady_state.py"), "--host", host, *more,
                    "--web-host", "127.0.0.1", "--web-port", str(self._web_port), "--log-lifecycle", "false",
                    "--loglevel", "WARNING")  # fmt: skip
        self.locust = self._last
        _wait_for_port(self._web_port)

    def grow_to(self, charge_points: int, rate: int) -> None:
        """Bring the fleet to `charge_points` and wait until all of them have reported their status."""
        form = {"user_count": charge_points, "spawn_rate": rate}
        answer = self._ask("swarm", urllib.parse.urlencode(form).encode())
        if not answer["success"]:
            raise SystemExit(f"Locust refused: {answer}")
        deadline = time.monotonic() + TIMEOUT
        while self.count("StatusNotification") < 2 * charge_points:
            if time.monotonic() > deadline:
                raise SystemExit(f"the fleet did not come up: {self.count('StatusNotification')} statuses")
            time.sleep(0.5)
        time.sleep(SETTLE)

    def count(self, name: str) -> int:
        """Return how many requests of this name Locust has counted."""
        return sum(each["num_requests"] for each in self._ask("stats/requests")["stats"] if each["name"] == name)

    def failures(self) -> int:
        """Return how many requests failed."""
        return sum(
            each["num_failures"] for each in self._ask("stats/requests")["stats"] if each["name"] != "Aggregated"
        )

    def _ask(self, path: str, form: bytes | None = None) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._web_port}/{path}", form, timeout=60) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def _start(self, *args: str) -> None:
        errors = self._opened.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
        process = subprocess.Popen(
            [sys.executable, *args], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
        self._opened.callback(process.wait)
        self._opened.callback(process.kill)
        self._last = psutil.Process(process.pid)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"nothing listens on port {port}")


@dataclass(frozen=True)
class Cost:
    """What one charge point costs one side."""

    idle_kib: float
    boot_ms: float
    """CPU to connect, boot and report the status of two connectors."""


@dataclass(frozen=True)
class Figures:
    """One run, for each side: per charge point and per connection."""

    scheme: str
    charge_points: int
    generator: Cost
    central_system: Cost
    failures: int


def idle(charge_points: int, *, rate: int, tls: bool) -> Figures:
    """Measure memory and CPU per boot."""
    with ExitStack() as opened:
        bench = Bench(opened, boot_interval=3600, tls=tls)
        bench.grow_to(SMALL, rate)
        before = Sample.of(bench.locust), Sample.of(bench.central_system)
        bench.grow_to(SMALL + charge_points, rate)
        after = Sample.of(bench.locust), Sample.of(bench.central_system)
        generator, central_system = (_difference(a, b, charge_points) for a, b in zip(before, after, strict=True))
        return Figures("wss" if tls else "ws", charge_points, generator, central_system, bench.failures())


def _difference(before: Sample, after: Sample, charge_points: int) -> Cost:
    return Cost(
        (after.resident - before.resident) / charge_points / 1024, (after.cpu - before.cpu) / charge_points * 1000
    )


def heartbeats(charge_points: int, *, seconds: float) -> dict[str, float]:
    """Measure the CPU of a Heartbeat's round trip on each side, Locust's statistics included."""
    with ExitStack() as opened:
        bench = Bench(opened, boot_interval=1, tls=False)
        bench.grow_to(charge_points, 200)
        counted, before = bench.count("Heartbeat"), (Sample.of(bench.locust), Sample.of(bench.central_system))
        time.sleep(seconds)
        after, total = (Sample.of(bench.locust), Sample.of(bench.central_system)), bench.count("Heartbeat") - counted
        generator, central_system = [(b.cpu - a.cpu) / total * 1e6 for a, b in zip(before, after, strict=True)]
        return {"heartbeats": total, "generator_us": generator, "central_system_us": central_system}


def pings(charge_points: int, *, seconds: float, tls: bool) -> dict[str, float]:
    """Measure the CPU of a PING and its PONG on each side."""
    with ExitStack() as opened:
        bench = Bench(opened, boot_interval=3600, tls=tls, ping_interval_ms=1000)
        used: list[tuple[float, float]] = []
        for fleet in (SMALL, SMALL + charge_points):
            bench.grow_to(fleet, 100)
            before = Sample.of(bench.locust), Sample.of(bench.central_system)
            time.sleep(seconds)
            after = Sample.of(bench.locust), Sample.of(bench.central_system)
            used.append((after[0].cpu - before[0].cpu, after[1].cpu - before[1].cpu))
        total = charge_points * seconds
        generator, central_system = [(large - small) / total * 1e6 for small, large in zip(*used, strict=True)]
        return {"pings": total, "generator_us": generator, "central_system_us": central_system}


def main() -> None:
    """Measure and print a table; write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle_fleet", description=__doc__.splitlines()[0])
    parser.add_argument("--charge-points", type=int, default=5000, metavar="N", help="default: 5000")
    parser.add_argument("--rate", type=int, default=250, metavar="N", help="charge points started per second")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}")
    runs = []
    for tls in (False, True):
        print(f"{'wss' if tls else 'ws'}: {options.charge_points} charge points …", file=sys.stderr, flush=True)
        runs.append(idle(options.charge_points, rate=options.rate, tls=tls))
    print("heartbeats: 1000 charge points, one each second …", file=sys.stderr, flush=True)
    beats = heartbeats(1000, seconds=20)
    print("PINGs: 1000 charge points more, one each second …", file=sys.stderr, flush=True)
    pinged = pings(1000, seconds=20, tls=False)
    print(f"{'':8}{'generator':>24}{'central system':>28}")
    for run in runs:
        print(
            f"{run.scheme:8}{run.generator.idle_kib:11.1f} KiB{run.generator.boot_ms:7.2f} ms"
            f"{run.central_system.idle_kib:15.1f} KiB{run.central_system.boot_ms:7.2f} ms"
            f"   per idle charge point, per connect and boot; {run.failures} failures"
        )
    print(
        f"{'':8}{beats['generator_us']:15.1f} us{'':8}{beats['central_system_us']:15.1f} us"
        f"           per Heartbeat, of {beats['heartbeats']:.0f}"
    )
    print(
        f"{'':8}{pinged['generator_us']:15.1f} us{'':8}{pinged['central_system_us']:15.1f} us"
        f"           per PING and PONG, of {pinged['pings']:.0f}"
    )
    if options.json:
        figures = {"runs": [asdict(run) for run in runs], "heartbeat": beats, "ping": pinged}
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
