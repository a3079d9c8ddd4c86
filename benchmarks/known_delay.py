"""What is reported of a central system that answers 50 ms late: `python -m benchmarks.known_delay`.

A delay that is known shows what the load generator adds by itself: each mean should be the delay, and what is above it
is the harness's own (with that of the central system, whose timers tick in milliseconds).

| column | what |
|---|---|
| wire | mean of the type OCPP, less the delay, in milliseconds |
| due | mean of the type DUE, less the delay: how late the charge points' own timers are comes on top |
| p99 | of the wire time, less the delay |
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.servers import ROOT, central_system, running

DELAY: Final = 0.05
"""Seconds."""
_FLEETS: Final = (10, 500, 2000)


def _measure(charge_points: int, seconds: int, interval: int, folder: Path) -> dict[str, dict[str, float]]:
    chaos = folder / "chaos.toml"
    chaos.write_text(f"[[delays]]\nseconds = {DELAY}\n")
    options = ["--store", "memory", "--boot-interval", f"{interval}", "--chaos", str(chaos)]
    with running(central_system("late", options)) as server:
        subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "steady_state.py"), "--headless"),
                *("--host", f"ws://127.0.0.1:{server.port}/ocpp", "-u", f"{charge_points}", "-t", f"{seconds}s"),
                *("-r", f"{max(10, charge_points // 10)}", "--csv", str(folder / "run"), "--only-summary"),
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=seconds + 120,
        )
    with (folder / "run_stats.csv").open() as file:
        return {
            f"{row['Type']}/{row['Name']}": {
                "count": float(row["Request Count"]),
                "mean": float(row["Average Response Time"]),
                "p99": float(row["99%"]),
            }
            for row in csv.DictReader(file)
        }


def main() -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.known_delay", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--charge-points", type=int, nargs="+", default=list(_FLEETS), metavar="N")
    parser.add_argument("--seconds", type=int, default=30, help="of each run; default: 30")
    parser.add_argument("--interval", type=int, default=5, help="seconds between Heartbeats; default: 5")
    options = parser.parse_args()
    print(f"milliseconds above a delay of {DELAY * 1000:g} ms")
    print(f"{'charge points':>13}  {'':<18} {'answers':>8} {'wire':>7} {'due':>7} {'p99':>7}")
    for charge_points in options.charge_points:
        with tempfile.TemporaryDirectory(prefix="bench-delay-") as folder:
            rows = _measure(charge_points, options.seconds, options.interval, Path(folder))
        for action in ("BootNotification", "Heartbeat"):
            wire, due = rows[f"OCPP/{action}"], rows[f"DUE/{action}"]
            above = [each - DELAY * 1000 for each in (wire["mean"], due["mean"], wire["p99"])]
            numbers = " ".join(f"{each:7.2f}" for each in above)
            print(f"{charge_points:>13}  {action:<18} {wire['count']:>8.0f} {numbers}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
