"""The central system's process: `python -m server`, or the console script `central-system`."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import re
import resource
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import orjson

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.frames import for_log
from ampswarm.ocppj.session import UniqueIds
from ampswarm.ocppj.timestamps import format_utc
from server.acceptor import Acceptor
from server.acceptor import bind as bind_all
from server.admin import AdminServer, admin_server, bind, build_app
from server.calls import Calls
from server.certificates import BadAuthority, CertificateAuthority, CertificateDesk
from server.config import Config, parse_args
from server.connections import CentralSystem, CloseCode
from server.handlers import Handlers
from server.handshake import Handshakes
from server.id_tags import IdTags
from server.listener import opener
from server.metrics import Metrics
from server.security import BadSecurity, Security
from server.transactions import Transactions

_FLUSH_INTERVAL: Final = 1.0
_SHUTDOWN_TIMEOUT: Final = 3.0
"""Seconds for charge points to answer the Close frame; the process is gone within 5."""
_ABORT_TIMEOUT: Final = 1.0
_MAX_LOGGED_MESSAGE: Final = 4096
_MAX_LOGGED_TRACEBACK: Final = 16384
_INVISIBLE: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf")
"""In UTF-8: what JSON leaves as it is, and a terminal may obey: DEL, C1 controls, line separators, directions."""


def write_line(fields: dict[str, object]) -> None:
    """Write one structured line to stderr: the time, then `fields`, as a JSON object."""
    line = orjson.dumps({"time": format_utc(time.time()), **fields})
    line = _INVISIBLE.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line) + b"\n"
    # A log that nobody reads any more must not end the service.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


class _JsonLines(logging.Handler):
    """Writes what libraries log as lines like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"event": "log", "logger": record.name, "level": record.levelname.lower()}
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001  a library's log line must not end the service
            text = repr(error)
        write_line({**fields, "message": text[:_MAX_LOGGED_TRACEBACK].encode("utf-8", "replace").decode()})


def _write_payload(identity: str, direction: str, message: bytes) -> None:
    text = for_log(message)[:_MAX_LOGGED_MESSAGE]
    write_line({"event": "message", "identity": identity, "direction": direction, "message": text})


def _raise_open_files_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _ping_for_ever(central: CentralSystem) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        # Behind by more than a turn, it goes on from now: no catching up in a burst.
        due = max(due + central.seconds_per_slot, loop.time())
        await asyncio.sleep(due - loop.time())
        central.ping_next()


async def _flush_for_ever(lifecycle: LifecycleLog) -> None:
    while True:
        await asyncio.sleep(_FLUSH_INTERVAL)
        lifecycle.flush(time.monotonic())


async def _until_nobody_is_connected(metrics: Metrics, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while metrics.connections and loop.time() < deadline:  # noqa: ASYNC110  no event tells the last
        await asyncio.sleep(0.02)


class _MistakeError(Exception):
    """Something that the operator has to set right; one line."""


def _why(error: Exception) -> str:
    # UnicodeError: what cannot be a name at all, such as one with a part of 70 characters.
    return getattr(error, "strerror", None) or "not a host name"


class _Process:
    """All parts of the central system, put together.

    Raises:
        BadAuthority: the CA for charge points' certificates cannot be used.
        BadSecurity: files about who may connect cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._metrics = metrics = Metrics()
        # Another process before or after this one starts elsewhere, so that ids do not meet.
        self._transactions = Transactions(first_id=secrets.randbelow(2**30) + 1)
        self._id_tags = IdTags()
        self._lifecycle = LifecycleLog(write_line if config.log_lifecycle else None)
        self._handlers = Handlers(
            self._transactions,
            self._id_tags,
            metrics,
            boot_interval=config.boot_interval,
            require_boot=config.require_boot,
        )
        self._central = CentralSystem(
            self._handlers,
            Calls(UniqueIds(secrets.token_hex(8)), metrics),
            metrics,
            self._lifecycle,
            log_payload=_write_payload if config.log_payload else None,
            ping_interval=config.ping_interval,
        )
        self._security = Security(config.security, self._lifecycle)
        self._desk: CertificateDesk | None = None
        if config.csr_ca_cert is not None and config.csr_ca_key is not None:
            authority = CertificateAuthority(config.csr_ca_cert, config.csr_ca_key)
            self._desk = CertificateDesk(authority, self._central.call, metrics, self._lifecycle)
            self._handlers.request_certificate = self._desk.accept

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            _MistakeError: a port cannot be listened on.
        """
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._security.reread)
        admin, ports = await self._listen()
        admin_address = {"admin_host": self._config.admin_host, "admin_port": admin.port}
        # First of all lines, whatever is logged by those that connect.
        write_line(
            {
                "event": "listening",
                "host": self._config.host,
                **{name: each.port for name, each in ports.items()},
                **admin_address,
            }
        )
        serving = asyncio.create_task(admin.serve())
        tasks = [asyncio.create_task(_flush_for_ever(self._lifecycle))]
        if self._central.seconds_per_slot:
            tasks.append(asyncio.create_task(_ping_for_ever(self._central)))
        await stopping.wait()
        for task in tasks:
            task.cancel()
        for each in ports.values():
            each.close()
        await self._close(admin, serving)
        self._lifecycle.flush(time.monotonic(), final=True)
        write_line({"event": "stopped", **self._metrics.snapshot(), "transactions": self._transactions.ledger()})

    async def _listen(self) -> tuple[AdminServer, dict[str, Acceptor]]:
        config = self._config
        app = build_app(
            central=self._central,
            handlers=self._handlers,
            transactions=self._transactions,
            id_tags=self._id_tags,
            lifecycle=self._lifecycle,
            token=config.admin_token,
        )
        try:
            listening = await bind(config.admin_host, config.admin_port)
        except (OSError, UnicodeError) as error:
            where = f"{config.admin_host} port {config.admin_port} (--admin-host, --admin-port)"
            raise _MistakeError(f"cannot listen on {where}: {_why(error)}") from None
        handshakes = self._handshakes()
        ports: dict[str, Acceptor] = {}
        port = config.port
        try:
            if config.security.is_plain:
                ports["port"] = Acceptor(handshakes, await bind_all(config.host, port), None)
            port = config.security.tls_port
            with_tls = await self._security.listen_tls(handshakes, config.host)
        except (OSError, UnicodeError) as error:
            listening.close()
            raise _MistakeError(f"cannot listen on {config.host} port {port}: {_why(error)}") from None
        if with_tls is not None:
            ports["tls_port"] = with_tls
        return admin_server(app, listening), ports

    def _handshakes(self) -> Handshakes:
        limits = self._config.security
        central = self._central
        open_websocket = opener(
            central, max_message=limits.max_message_bytes, messages_per_second=limits.max_messages_per_second
        )
        return self._security.handshakes(central, open_websocket, lambda: central.is_closing, self._status)

    def _status(self, path: str) -> tuple[int, bytes]:
        """Answer /healthz and /readyz on the charge points' ports, for load balancers."""
        is_ready = path == "/healthz" or not self._central.is_closing
        return (200, b'{"status":"ok"}') if is_ready else (503, b'{"status":"closing"}')

    async def _close(self, admin: AdminServer, serving: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SHUTDOWN_TIMEOUT + _ABORT_TIMEOUT
        admin.stop()
        if self._desk is not None:
            self._desk.close()
        self._security.close()
        self._central.close_all(CloseCode.GOING_AWAY, "the central system is going away")
        await _until_nobody_is_connected(self._metrics, _SHUTDOWN_TIMEOUT)
        self._central.abort_all()
        await _until_nobody_is_connected(self._metrics, _ABORT_TIMEOUT)
        done, _ = await asyncio.wait([serving], timeout=max(0.0, deadline - loop.time()))
        if not done:
            serving.cancel()


def main(args: Sequence[str] | None = None) -> int:
    """Run the central system until SIGTERM or SIGINT; return the exit status."""
    config = parse_args(args)
    # picows reports each broken frame of a peer at level ERROR; here that is a peer's doing and is
    # counted. Handlers' own faults are logged where they happen.
    logging.getLogger("picows").setLevel(logging.CRITICAL)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_JsonLines()], force=True)
    _raise_open_files_limit()
    try:
        process = _Process(config)
        # What was imported stays: no collection need walk through it while charge points wait.
        gc.collect()
        gc.freeze()
        asyncio.run(process.run())
    except (BadAuthority, BadSecurity, _MistakeError) as mistake:
        sys.stderr.write(f"central-system: error: {mistake}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
