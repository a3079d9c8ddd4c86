"""Real processes for tests: the central system, and Locust. They end with the test, however it ends."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
STEADY_STATE = ROOT / "locustfiles" / "steady_state.py"
TIMEOUT = 60.0
"""Seconds after which a test gives up waiting for a process."""


def free_port() -> int:
    """Return a port that nobody listens on, for programs that cannot take one by themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait until it is so, where nothing tells the change."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def until_it_stays(condition: Callable[[], bool], seconds: float = 3.0) -> None:
    """Wait until it is so, and has been for some time: where it may come and go before it stays."""
    end = time.monotonic() + TIMEOUT
    since = time.monotonic()
    while time.monotonic() - since < seconds:
        assert time.monotonic() < end, "it never stayed"
        if not condition():
            since = time.monotonic()
        time.sleep(0.05)


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what would configure the programs under test."""
    ours = (
        *("LOCUST_", "AMPSWARM_", "CS_", "WEB_SRV_", "LOG_", "HEARTBEAT_INT_MS", "CONCURRENCY_LEVEL"),
        *("ADMIN_", "CSR_CA_", "BOOT_INTERVAL", "REQUIRE_BOOT", "STORE", "KEEP_", "BUS", "PROCESSES"),
        *("DRAIN_", "CENTRAL_SYSTEM_", "CHAOS_"),
        *("PLAIN", "TLS_", "PASSWORD_FILE", "STORED_PASSWORDS", "HANDSHAKE_TIMEOUT", "MAX_", "TRUSTED_PROXIES"),
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    # Tests run beside each other and beside a demo: none may ask for the port that all would ask for.
    return {**kept, "PYTHONUNBUFFERED": "1", "ADMIN_PORT": "0", "TLS_PORT": "0", **(more or {})}


class CentralSystem:
    """`python -m server` in a process of its own.

    Args:
        log: the file for its log lines.
        args: its options; without `--port` or `--admin-port`, it takes a free one and keeps it over
            restarts.
        env: more environment variables.
        module: what is run; another one than `server` has to run that.
    """

    def __init__(self, log: Path, *args: str, env: Mapping[str, str] | None = None, module: str = "server") -> None:
        self._module = module
        self._log = log
        self._args = args
        # A file of its own, which restarts find again.
        self._env = {"STORE": f"sqlite:///{log}.db", **clean_environment(env)}
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._changed = threading.Condition()
        self._lines: list[dict[str, Any]] = []
        self._ended = True
        self.port = 0
        self.tls_port = 0
        self.admin_port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._join()
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @property
    def url(self) -> str:
        """Its OCPP-J endpoint."""
        return f"ws://127.0.0.1:{self.port}/ocpp"

    @property
    def admin(self) -> str:
        """The base URL of its operator API."""
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._changed:
            self._ended = False
            already = len(self._lines)
        ports = {"--port": self.port, "--admin-port": self.admin_port, "--tls-port": self.tls_port}
        given = [each for flag, port in ports.items() if flag not in self._args for each in (flag, str(port))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, "--host", "127.0.0.1", *given, *self._args],
            cwd=ROOT,
            env=self._env,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        line = self.wait_for(lambda line: line["event"] == "listening", after=already)
        self.port = line.get("port", 0)
        self.tls_port = line.get("tls_port", 0)
        self.admin_port = line["admin_port"]

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request to its operator API; return the status and what the body says as JSON.

        Args:
            method: of HTTP.
            path: from the root, percent-encoded.
            body: sent as JSON; bytes as they are; `None` sends none.
            headers: more of them.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        more = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.admin + path, data, {**more, **(headers or {})}, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, text = error.code, error.read()
        return status, json.loads(text) if text else None

    def text(self, path: str) -> str:
        """Return what its operator API answers, as text; fail unless that is 200."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.admin + path, timeout=TIMEOUT) as response:
            body: bytes = response.read()
        return body.decode()

    @property
    def connections(self) -> int:
        """How many charge points are connected, as its operator API says."""
        status, health = self.request("GET", "/healthz")
        assert status == 200
        count: int = health["connections"]
        return count

    def call(
        self, identity: str, action: str, payload: Mapping[str, Any] | None = None, *, timeout: float = 30
    ) -> dict[str, Any]:
        """Let it call a charge point; return the payload of the CallResult, and fail without one."""
        path = f"/api/v1/charge-points/{quote(identity, safe='')}/calls/{action}?timeout={timeout}"
        status, answer = self.request("POST", path, dict(payload or {}))
        assert status == 200, f"{action} to {identity}: {status} {answer}"
        result: dict[str, Any] = answer["result"]
        return result

    def stop(self) -> int:
        """Send it SIGTERM; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._join()

    def kill(self) -> None:
        """Send it SIGKILL, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._join()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], *, after: int = 0) -> dict[str, Any]:
        """Return the first log line that is `wanted`; wait for it if need be."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found.extend(line for line in self._lines[after:] if wanted(line))
            return bool(found) or self._ended

        with self._changed:
            self._changed.wait_for(look, TIMEOUT)
        assert found, f"no such line in the central system's log: {self._lines[-5:]}"
        return found[0]

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of one event."""
        with self._changed:
            return [line for line in self._lines if line["event"] == event]

    def summary(self) -> dict[str, Any]:
        """Stop it; return what it counted."""
        assert self.stop() == 0
        return self.lines("stopped")[-1]

    def call_all(self, action: str, payload: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Let it call every charge point that is connected; return the answers, a dictionary for each."""
        body = json.dumps({"payload": payload}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.admin}/api/v1/calls/{action}", body, headers, method="POST")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT) as response:
            lines: list[dict[str, Any]] = [json.loads(line) for line in response.read().splitlines()]
        *answers, last = lines
        assert len(answers) == last["summary"]["charge_points"], last
        return answers

    def _join(self) -> int:
        assert self._process is not None
        assert self._reader is not None
        status = self._process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return status

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as stderr, self._log.open("ab") as log:
            for line in stderr:
                log.write(line)
                log.flush()
                with contextlib.suppress(ValueError), self._changed:
                    self._lines.append(json.loads(line))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@dataclass(frozen=True)
class Row:
    """One line of Locust's statistics."""

    requests: int
    failures: int
    average: float
    """Milliseconds."""
    maximum: float
    """Milliseconds."""


@dataclass(frozen=True)
class Run:
    """How a run of Locust ended."""

    status: int
    output: str
    csv_prefix: Path

    @property
    def rows(self) -> dict[str, Row]:
        """Locust's statistics from its CSV file, by `type/name`."""
        with Path(f"{self.csv_prefix}_stats.csv").open() as file:
            return {
                f"{row['Type']}/{row['Name']}": Row(
                    int(row["Request Count"]),
                    int(row["Failure Count"]),
                    float(row["Average Response Time"]),
                    float(row["Max Response Time"]),
                )
                for row in csv.DictReader(file)
            }

    @property
    def failures(self) -> dict[str, int]:
        """Locust's failures from its CSV file: how often, by `type/name: error`."""
        with Path(f"{self.csv_prefix}_failures.csv").open() as file:
            return {
                f"{row['Method']}/{row['Name']}: {row['Error']}": int(row["Occurrences"])
                for row in csv.DictReader(file)
            }


class Locust:
    """A Locust process, in a session of its own, so that all that it forks ends with it."""

    def __init__(
        self,
        tmp_path: Path,
        *args: str,
        locustfile: Path = STEADY_STATE,
        env: Mapping[str, str] | None = None,
        name: str = "locust",
    ) -> None:
        self._csv_prefix = tmp_path / f"{name}-csv"
        self._output = tmp_path / f"{name}.log"
        reports = () if "--worker" in args else ("--csv", str(self._csv_prefix))
        ports: tuple[str, ...] = ()
        if "--processes" in args and "--master-bind-port" not in args:
            # Its own: the usual one is that of whatever test runs at the same time.
            port = str(free_port())
            ports = ("--master-bind-port", port, "--master-port", port)
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "locust", "-f", str(locustfile), *reports, *ports, *args],
                cwd=ROOT,
                env=clean_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT)

    def wait(self, timeout: float = TIMEOUT) -> Run:
        """Wait for its end."""
        status = self.process.wait(timeout)
        return Run(status, self._output.read_text(errors="replace"), self._csv_prefix)


def run_locust(tmp_path: Path, *args: str, **more: Any) -> Run:
    """Run Locust to its end."""
    with Locust(tmp_path, *args, **more) as locust:
        return locust.wait()
