"""How late a generator's loop is, with its care of it and without: `python -m benchmarks.loop_lag`.

A master, one worker, a central system, real sockets on loopback. The arms take turns in one run: compare them
with each other, and not with another day's.

| arm | |
|---|---|
| as it is | what Ampswarm does by default |
| no gc care | `--gc-freeze false`: garbage collection as Python has it |
| no cache | each spawn message makes Locust's parser anew for each option |
| neither | both |

Lag is that of the worker, in milliseconds: what a message may have waited for before anybody looked. *Up* is the
ramp; *steady* is after it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.idle_fleet import ROOT, _wait_for_port, free_port

ARMS = {
    "as it is": ([], {}),
    "no gc care": (["--gc-freeze", "false"], {}),
    "no cache": ([], {"BENCH_NO_CACHE": "1"}),
    "neither": (["--gc-freeze", "false"], {"BENCH_NO_CACHE": "1"}),
}
COLUMNS = ("up p99", "up max", "steady p99", "steady max", "gc max", "gc total", "cpu")


@dataclass(frozen=True)
class Settings:
    """What each arm does."""

    charge_points: int
    rate: int
    seconds: int
    heartbeat: int


def run(settings: Settings, args: list[str], env: dict[str, str]) -> dict[str, float]:
    """Run one arm; return its figures."""
    with ExitStack() as opened, tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "result.json"
        log = opened.enter_context((Path(directory) / "log").open("w+b"))

        def start(*what: str, **more: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", *what],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **env, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            opened.callback(process.wait)
            opened.callback(process.kill)
            return process

        port, master_port = free_port(), str(free_port())
        start("server", "--host", "127.0.0.1", "--port", str(port), "--admin-port", "0", "--store", "memory",
              "--log-lifecycle", "false", "--boot-interval", str(settings.heartbeat))  # fmt: skip
        _wait_for_port(port)
        scene = ("locust", "-f", str(ROOT / "benchmarks" / "loop_lag_fleet.py"), "--log-lifecycle", "false")
        start(*scene, "--worker", "--master-host", "127.0.0.1", "--master-port", master_port)
        ramp = settings.charge_points / settings.rate
        master = start(
            *scene, "--master", "--headless", "--expect-workers", "1", "--master-bind-port", master_port,
            "--host", f"ws://127.0.0.1:{port}/ocpp", "-u", str(settings.charge_points), "-r", str(settings.rate),
            "-t", f"{int(ramp) + settings.seconds}s", "--only-summary", *args, BENCH_RESULT=str(result),
        )  # fmt: skip
        master.wait(ramp + settings.seconds + 120)
        if not result.exists():
            log.seek(0)
            raise SystemExit(log.read().decode(errors="replace"))
        return figures(json.loads(result.read_text()), ramp)


def figures(section: dict[str, Any], ramp: float) -> dict[str, float]:
    """Return what is compared, of the worker's history."""
    (worker,) = section["generators"].values()
    rows = worker["history"]
    up = [row for row in rows if row["at"] <= ramp + 2]
    # Without the last one: Locust looks up who stopped it, in source files, 50 ms.
    steady = [row for row in rows[:-1] if row["at"] > ramp + 3]
    return {
        "up p99": statistics.median(row["loop_lag_p99_ms"] for row in up),
        "up max": max(row["loop_lag_max_ms"] for row in up),
        "steady p99": statistics.median(row["loop_lag_p99_ms"] for row in steady),
        "steady max": max(row["loop_lag_max_ms"] for row in steady),
        "gc max": max(row["gc_max_ms"] for row in rows),
        "gc total": sum(row["gc_total_ms"] for row in rows),
        "cpu": statistics.mean(row["cpu_percent"] for row in steady),
    }


def main() -> None:
    """Run all arms in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--charge-points", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=500, help="charge points per second")
    parser.add_argument("--seconds", type=int, default=20, help="after the ramp")
    parser.add_argument("--heartbeat", type=int, default=10, help="seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    options = parser.parse_args()
    settings = Settings(options.charge_points, options.rate, options.seconds, options.heartbeat)
    found: dict[str, list[dict[str, float]]] = {arm: [] for arm in options.arms}
    for number in range(options.rounds):
        for arm in options.arms:
            found[arm].append(run(settings, *ARMS[arm]))
            print(f"round {number + 1}, {arm}: {found[arm][-1]}", flush=True)
    print(f"\n{settings}; medians of {options.rounds} rounds, milliseconds; cpu in percent of a core\n")
    print("| arm | " + " | ".join(COLUMNS) + " |\n|---" * 1 + "|---" * len(COLUMNS) + "|")
    for arm, rounds in found.items():
        medians = (f"{statistics.median(each[column] for each in rounds):.1f}" for column in COLUMNS)
        print(f"| {arm} | " + " | ".join(medians) + " |")


if __name__ == "__main__":
    main()
