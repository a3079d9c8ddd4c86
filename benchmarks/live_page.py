"""What the live page costs the master and the browser: `python -m benchmarks.live_page`.

A master with an hour of history, workers with a fleet, a central system, and Chromium with the page open; real
sockets on loopback. The hour is made when the test begins, and kept by the same code as one that was lived through.

| figure | |
|---|---|
| master, closed and open | CPU of the master in percent of a core, nobody looking and one page open, in turns |
| update | CPU of the page's main thread for each update: the answer read, the charts drawn |
| frame, longest frame | ms computed in a frame of an update: the median and the most. At 60 a second, one has 16.7 |
| first | the same for the first look, at which all of the hour is drawn |
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from benchmarks.idle_fleet import ROOT, _wait_for_port, free_port
from tests.browser import Browser

EVERY = 2.0
"""Seconds between two updates of the page."""
# Times of what is computed in each frame, and how often the page has asked.
WATCH = """
window.benchFrames = []; window.benchAsked = 0;
const frame = window.requestAnimationFrame.bind(window);
window.requestAnimationFrame = todo => frame(at => {
  const began = performance.now();
  todo(at);
  window.benchFrames.push(performance.now() - began);
});
const ask = window.fetch.bind(window);
window.fetch = (...what) => { window.benchAsked++; return ask(...what); };
"""


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, in seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share(process: int, seconds: float) -> float:
    """Return how much of a core a process takes, in percent."""
    before, began = cpu_seconds(process), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(process) - before) / (time.monotonic() - began)


def task_seconds(browser: Browser) -> float:
    """Return the CPU time of the page's main thread, in seconds."""
    metrics = browser.tell("Performance.getMetrics")["metrics"]
    return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")


def frames(browser: Browser) -> list[float]:
    """Return the milliseconds of the frames since it was asked last."""
    found: list[float] = browser.run("return window.benchFrames.splice(0)")
    return found


def look(browser: Browser, page: str, master: int, seconds: float) -> dict[str, float]:
    """Open the page, and return what it costs."""
    browser.tell("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
    browser.tell("Performance.enable")
    browser.open(page)
    time.sleep(2 * EVERY)
    first = frames(browser)
    before, asked = task_seconds(browser), browser.run("return window.benchAsked")
    opened = share(master, seconds)
    updates = browser.run("return window.benchAsked") - asked
    spent = task_seconds(browser) - before
    later = frames(browser)
    browser.open("about:blank")
    return {
        "master open": opened,
        "update": 1000 * spent / updates,
        "frame": statistics.median(later),
        "longest frame": max(later),
        "first": max(first),
    }


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--charge-points", type=int, default=1000)
    parser.add_argument("--past", type=int, default=3600, help="seconds of history")
    parser.add_argument("--seconds", type=float, default=20, help="of each look")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with ExitStack() as opened, tempfile.TemporaryDirectory() as folder:
        log = opened.enter_context((Path(folder) / "log").open("w+b"))

        def start(*what: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", *what],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "BENCH_PAST": str(options.past)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            opened.callback(process.wait)
            opened.callback(process.kill)
            return process

        port, master_port, page_port = free_port(), str(free_port()), free_port()
        start("server", "--host", "127.0.0.1", "--port", str(port), "--admin-port", "0", "--store", "memory",
              "--log-lifecycle", "false", "--boot-interval", "10")  # fmt: skip
        _wait_for_port(port)
        scene = ("locust", "-f", str(ROOT / "benchmarks" / "live_page_fleet.py"), "--log-lifecycle", "false")
        slos = ("--slo", "OCPP/* p99 < 1s", "--slo", "DUE/* p99 < 1s after 60s")
        master = start(
            *scene, "--master", "--autostart", "--expect-workers", str(options.workers),
            "--master-bind-port", master_port, "--web-host", "127.0.0.1", "--web-port", str(page_port), "--host", f"ws://127.0.0.1:{port}",
            "-u", str(options.charge_points), "-r", "200", *slos,
        )  # fmt: skip
        for _ in range(options.workers):
            start(*scene, "--worker", "--master-host", "127.0.0.1", "--master-port", master_port)
        url = f"http://127.0.0.1:{page_port}/ampswarm"
        wait_for_fleet(f"{url}/fleet.json", options.charge_points)
        browser = opened.enter_context(Browser(1400, 1000))
        rounds = []
        for number in range(options.rounds):
            closed = share(master.pid, options.seconds)
            rounds.append({"master closed": closed, **look(browser, f"{url}/live", master.pid, options.seconds)})
            print(
                f"round {number + 1}: {json.dumps({name: round(value, 2) for name, value in rounds[-1].items()})}",
                flush=True,
            )
    print(f"\n{options.workers} workers, {options.charge_points} charge points, {options.past} s of history;"
          f" medians of {options.rounds} rounds of {options.seconds:g} s\n")  # fmt: skip
    print("| " + " | ".join(rounds[0]) + " |\n" + "|---" * len(rounds[0]) + "|")
    print("| " + " | ".join(f"{statistics.median(each[name] for each in rounds):.2f}" for name in rounds[0]) + " |")


def wait_for_fleet(url: str, charge_points: int) -> None:
    """Wait until all charge points are at work."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        try:
            with opener.open(url, timeout=10) as response:
                total = json.load(response)["total"]
        except OSError:
            total = {"online": 0, "charging": 0}
        if total["online"] + total["charging"] >= charge_points:
            return
        time.sleep(0.5)
    raise SystemExit("the fleet never came")


if __name__ == "__main__":
    main()
