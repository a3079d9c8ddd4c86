"""The first thing to run: a fleet in Locust's web UI, and a central system that restarts under it.

`make demo` runs it for 45 s, `make ui` until Ctrl-C. Everything is a process of its own, as it is in
earnest: the central system, and Locust with `locustfiles/steady_state.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import FrameType
from typing import IO, Final, NoReturn

_BOOT_INTERVAL: Final = 10
"""Seconds between Heartbeats: short, so that there is something to see."""
_OUTAGE: Final = 2.0
"""Seconds for which the central system stays away."""
_PROGRESS_INTERVAL: Final = 5.0
_START_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 15.0


class DemoError(Exception):
    """The demo cannot go on; one line that says why."""


class CentralSystem:
    """The central system as a process, on a port that stays the same when it is restarted.

    Args:
        log: the file that its log lines go to.
    """

    def __init__(self, log: IO[bytes]) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._copier: threading.Thread | None = None
        self._listening = threading.Event()
        self.port = 0

    def start(self) -> None:
        """Start it and wait until it listens.

        Raises:
            DemoError: it did not come up.
        """
        self._listening.clear()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", str(self.port), "--admin-port", "0"),
                *("--store", "memory"),
                *("--boot-interval", str(_BOOT_INTERVAL), "--ping-interval-ms", "10000"),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._copier = threading.Thread(target=self._copy, args=(self._process,), daemon=True)
        self._copier.start()
        if not self._listening.wait(_START_TIMEOUT) or not self.port:
            raise DemoError(f"the central system did not start; see {self._log.name}")

    def stop(self) -> None:
        """Stop it and wait until it is gone."""
        if self._process is not None:
            _stop(self._process)
        if self._copier is not None:
            self._copier.join()

    def _copy(self, process: subprocess.Popen[bytes]) -> None:
        """Copy its log to the file; the first line tells the port."""
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._log.write(line)
                self._log.flush()
                if not self._listening.is_set():
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        self.port = json.loads(line)["port"]
                        self._listening.set()
        self._listening.set()  # whoever waits for a process that has ended waits no longer


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_web_port(preferred: int) -> int:
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise DemoError("no free port for the web UI")


class Demo:
    """One run.

    Args:
        options: the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._out: Path = options.out
        self._web_port = 0
        self._locust: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run it; return the exit status."""
        locustfile = Path("locustfiles", "steady_state.py")
        if not locustfile.exists():
            raise DemoError(f"{locustfile} is not here: run it in Ampswarm's folder")
        shutil.rmtree(self._out, ignore_errors=True)
        self._out.mkdir(parents=True)
        self._web_port = _free_web_port(8089)
        with (self._out / "central-system.log").open("wb") as log:
            central_system = CentralSystem(log)
            try:
                central_system.start()
                print(f"central system   ws://127.0.0.1:{central_system.port}/ocpp  (log: {log.name})")
                self._locust = self._start_locust(locustfile, central_system.port)
                print(f"Locust's web UI  http://127.0.0.1:{self._web_port}", flush=True)
                if self._options.open_ended:
                    self._play(central_system)
                else:
                    self._watch(central_system)
                return self._finish()
            finally:
                if self._locust is not None:
                    _stop(self._locust)
                central_system.stop()

    def _start_locust(self, locustfile: Path, port: int) -> subprocess.Popen[bytes]:
        options = self._options
        timing = [] if options.open_ended else ["--run-time", f"{options.seconds}s", "--autoquit", "3"]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "locust", "--locustfile", str(locustfile)),
                *("--host", f"ws://127.0.0.1:{port}/ocpp", "--web-host", "127.0.0.1"),
                *("--web-port", str(self._web_port), "--autostart", *timing),
                *("--users", str(options.charge_points), "--spawn-rate", "100"),
                *("--html", str(self._out / "report.html"), "--csv", str(self._out / "steady_state")),
                # The restart leaves failures in the statistics; what counts is who is online at the end.
                *("--exit-code-on-error", "0", "--require-online", "true"),
                # So that nobody still waits for a next attempt when the demo ends.
                *("--reconnect-max", "8"),
                *("--log-lifecycle", "false"),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _watch(self, central_system: CentralSystem) -> None:
        """Wait for the end, and restart the central system on the way."""
        assert self._locust is not None
        began = time.monotonic()
        restart_at = began + self._options.seconds * 0.4
        while self._locust.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._locust.wait(min(_PROGRESS_INTERVAL, max(restart_at - time.monotonic(), 0.01)))
            if time.monotonic() >= restart_at:
                restart_at = float("inf")
                self._restart(central_system)
            self._progress(time.monotonic() - began)

    def _play(self, central_system: CentralSystem) -> None:
        """Restart the central system whenever Enter is pressed, until Ctrl-C."""
        assert self._locust is not None
        print("Enter restarts the central system, Ctrl-C ends everything", flush=True)
        inputs = [sys.stdin] if sys.stdin.isatty() else []
        while self._locust.poll() is None:
            ready, _, _ = select.select(inputs, [], [], 0.5)
            if ready and not sys.stdin.readline():
                inputs = []
            elif ready:
                self._restart(central_system)

    def _restart(self, central_system: CentralSystem) -> None:
        print("restarting the central system", flush=True)
        central_system.stop()
        time.sleep(_OUTAGE)
        central_system.start()

    def _progress(self, seconds: float) -> None:
        """Print what Locust's web UI shows; nothing while it does not answer."""
        url = f"http://127.0.0.1:{self._web_port}/stats/requests"
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                stats = json.load(response)
        except (OSError, ValueError):
            return
        print(
            f"{seconds:4.0f} s  {stats['state']:9}  {stats['user_count']} charge points  "
            f"{stats['total_rps']:.0f} requests/s  {stats['fail_ratio']:.1%} failed",
            flush=True,
        )

    def _finish(self) -> int:
        assert self._locust is not None
        status = self._locust.wait()
        print(f"report           {self._out / 'report.html'}")
        print(f"CSV files        {self._out / 'steady_state'}_*.csv")
        if status == 0:
            print("every charge point ended the run online")
        else:
            print(f"the run failed: Locust ended with status {status}", file=sys.stderr)
        return 0 if status == 0 else 1


def _interrupted(_signal: int, _frame: FrameType | None) -> NoReturn:
    # Once is enough: what follows must be able to clean up in peace.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m ampswarm.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--charge-points", type=int, default=500, metavar="N", help="default: 500")
    parser.add_argument("--seconds", type=int, default=45, metavar="N", help="length of the run; default: 45")
    parser.add_argument("--open-ended", action="store_true", help="run until Ctrl-C")
    parser.add_argument("--out", type=Path, default=Path("out", "demo"), metavar="FOLDER", help="for results")
    return parser


def main() -> int:
    """Run the demo; return the exit status."""
    options = build_parser().parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        return Demo(options).run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
