"""Several processes on one host, which share its ports: one parent starts them, and others for those that die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import orjson

from server.config import Config
from server.hub import Hub
from server.log import PROCESS_VARIABLE, write_line

_HUB_VARIABLE: Final = "CENTRAL_SYSTEM_HUB"
_PORT_VARIABLE: Final = "CENTRAL_SYSTEM_PORT"
_TLS_PORT_VARIABLE: Final = "CENTRAL_SYSTEM_TLS_PORT"
_ADMIN_PORT_VARIABLE: Final = "CENTRAL_SYSTEM_ADMIN_PORT"
_RESTART_DELAY: Final = 1.0
_PATIENCE: Final = 10.0
"""Seconds without a sign of life after which a process hangs."""
_LOOK_INTERVAL: Final = 1.0
_CONFIGURATION: Final = 2
"""Exit status of a process that cannot use its configuration."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the parent tells one of the processes."""

    number: int
    hub: Path
    port: int
    """That the parent holds; all listen on it."""
    tls_port: int
    """The same for TLS, where there is a certificate."""
    admin_port: int
    """Of the operator API; 0 takes a free one, which the next process at this place then gets."""

    @classmethod
    def find(cls) -> Self | None:
        """Return the place of this process; `None` when it is the parent, or alone."""
        number = os.environ.get(PROCESS_VARIABLE)
        if number is None:
            return None
        ports = (int(os.environ[name]) for name in (_PORT_VARIABLE, _TLS_PORT_VARIABLE, _ADMIN_PORT_VARIABLE))
        return cls(int(number), Path(os.environ[_HUB_VARIABLE]), *ports)

    def environment(self) -> dict[str, str]:
        """Return the environment of the process at this place."""
        return {
            **os.environ,
            PROCESS_VARIABLE: str(self.number),
            _HUB_VARIABLE: str(self.hub),
            _PORT_VARIABLE: str(self.port),
            _TLS_PORT_VARIABLE: str(self.tls_port),
            _ADMIN_PORT_VARIABLE: str(self.admin_port),
        }

    def adapt(self, config: Config) -> Config:
        """Return the configuration of the process at this place."""
        security = replace(config.security, tls_port=self.tls_port)
        rate = max(1, config.drain_rate // config.processes)
        return replace(config, port=self.port, admin_port=self.admin_port, security=security, drain_rate=rate)


class Supervisor:
    """Starts processes and keeps them running.

    Args:
        config: how they run.
        args: their command line.
    """

    def __init__(self, config: Config, args: Sequence[str]) -> None:
        self._config = config
        self._args = args
        self._stopping = asyncio.Event()
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._status = 0
        self._admin_port = config.admin_port
        self._listening: dict[int, dict[str, object]] = {}
        self._stopped: list[dict[str, object]] = []
        # Until when each process may be silent, on the loop's clock: those that have said something.
        self._patient_until: dict[int, float] = {}

    async def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._signal, signal.SIGHUP)
        with contextlib.ExitStack() as opened:
            port, tls_port = self._config.port, self._config.security.tls_port
            try:
                if self._config.security.is_plain:
                    port = self._reserve(opened, port)
                if self._config.security.tls_certificates:
                    tls_port = self._reserve(opened, tls_port)
            except (OSError, UnicodeError) as error:
                sys.stderr.write(f"central-system: error: {_mistake(self._config.host, port, error)}\n")
                return _CONFIGURATION
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="central-system-"))
            hub = Hub(Path(folder) / "hub", self._heard)
            await hub.open()
            tasks = [
                asyncio.create_task(self._keep_running(number, Path(folder) / "hub", port, tls_port))
                for number in range(self._config.processes)
            ]
            looking = asyncio.create_task(self._look_for_ever())
            await asyncio.gather(*tasks)
            looking.cancel()
            await hub.close()
            if self._stopped:
                write_line({"event": "stopped", "processes": len(self._stopped), **self._together()})
        return self._status

    def _reserve(self, opened: contextlib.ExitStack, wanted: int) -> int:
        """Hold a port without listening on it, so that it stays the same for all, also when 0 takes a free one."""
        family, _, _, _, address = socket.getaddrinfo(
            self._config.host, wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        holding = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holding.bind(address)
        port: int = holding.getsockname()[1]
        return port

    async def _keep_running(self, number: int, hub: Path, port: int, tls_port: int) -> None:
        while not self._stopping.is_set():
            place = Place(number, hub, port, tls_port, self._admin_port)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "server", *self._args, env=place.environment(), start_new_session=True
            )
            self._running[number] = process
            if self._stopping.is_set():
                process.terminate()
            status = await process.wait()
            del self._running[number]
            self._patient_until.pop(number, None)
            if self._stopping.is_set():
                self._status = max(self._status, abs(status))
                return
            if status == _CONFIGURATION:
                self._status = status
                self._stop()
                return
            write_line({"event": "process ended", "number": number, "status": status})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RESTART_DELAY):
                    await self._stopping.wait()

    def _stop(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def _heard(self, message: bytes) -> None:
        """Take what a process says to the parent."""
        said = orjson.loads(message)
        if said["event"] == "alive":
            self._be_patient(said["number"], said["fields"]["silent_for"])
            return
        if said["event"] == "stopped":
            self._stopped.append(said["fields"])
            return
        is_complete = len(self._listening) == self._config.processes
        self._listening[said["number"]] = said["fields"]
        self._admin_port = said["fields"].get("admin_port", self._admin_port)
        if not is_complete and len(self._listening) == self._config.processes:
            # The first one has the operator API.
            write_line({"event": "listening", **self._listening[0], "processes": self._config.processes})

    def _be_patient(self, number: int, silent_for: float) -> None:
        now = asyncio.get_running_loop().time()
        until = self._patient_until.get(number, now)
        # A stall that was announced counts from the end of one that is announced already.
        stalled = max(now, until - _PATIENCE) + silent_for if silent_for else now
        self._patient_until[number] = max(until, stalled + _PATIENCE)

    async def _look_for_ever(self) -> None:
        """End processes that hang, so that others take their places."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            now = loop.time()
            if now - looked > 2 * _LOOK_INTERVAL:
                # It was this process that stood still, and perhaps all of the host: nobody is to blame.
                late = now - looked
                self._patient_until = {number: until + late for number, until in self._patient_until.items()}
            looked = now
            for number, until in list(self._patient_until.items()):
                process = self._running.get(number)
                if process is not None and now > until:
                    write_line(
                        {"event": "process hangs", "number": number, "silent_for": round(now - until + _PATIENCE)}
                    )
                    del self._patient_until[number]
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()

    def _together(self) -> dict[str, object]:
        """Return what all have counted; the ledger is everybody's already."""
        together: dict[str, object] = {}
        for fields in self._stopped:
            counts = {name: value for name, value in fields.items() if name != "transactions"}
            together = _add(together, counts)
        return {**together, "transactions": self._stopped[-1]["transactions"]}


def _mistake(host: str, port: int, error: Exception) -> str:
    why = getattr(error, "strerror", None) or "not a host name"
    return f"cannot listen on {host} port {port}: {why}"


def _add(one: dict[str, object], other: dict[str, object]) -> dict[str, object]:
    total = dict(one)
    for name, more in other.items():
        so_far = total.get(name)
        if isinstance(so_far, dict) and isinstance(more, dict):
            total[name] = _add(so_far, more)
        elif isinstance(so_far, int | float) and isinstance(more, int | float):
            total[name] = so_far + more
        else:
            total[name] = more
    return total
