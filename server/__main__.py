"""The central system's process: `python -m server`, or the console script `central-system`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from typing import Final

import orjson

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.timestamps import format_utc
from server.config import Config, parse_args
from server.connections import CentralSystem, CloseCode
from server.handlers import Handlers
from server.listener import listen
from server.metrics import Metrics
from server.transactions import Transactions

_FLUSH_INTERVAL: Final = 1.0
_SHUTDOWN_TIMEOUT: Final = 3.0
"""Seconds for charge points to answer the Close frame; the process is gone within 5."""
_ABORT_TIMEOUT: Final = 1.0
_MAX_LOGGED_MESSAGE: Final = 4096


def write_line(fields: dict[str, object]) -> None:
    """Write one structured line to stderr: the time, then `fields`, as a JSON object."""
    line = orjson.dumps({"time": format_utc(time.time()), **fields}) + b"\n"
    # A log that nobody reads any more must not end the service.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def _write_payload(identity: str, direction: str, message: bytes) -> None:
    text = message[:_MAX_LOGGED_MESSAGE].decode("utf-8", "replace")
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


async def _run(config: Config) -> int:
    metrics = Metrics()
    # Another process before or after this one starts elsewhere, so that ids do not meet.
    transactions = Transactions(first_id=secrets.randbelow(2**30) + 1)
    lifecycle = LifecycleLog(write_line if config.log_lifecycle else None)
    central = CentralSystem(
        Handlers(
            transactions,
            metrics,
            boot_interval=config.boot_interval,
            require_boot=config.require_boot,
        ),
        metrics,
        lifecycle,
        log_payload=_write_payload if config.log_payload else None,
        ping_interval=config.ping_interval,
    )
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)
    try:
        server = await listen(central, config.host, config.port)
    except (OSError, UnicodeError) as error:
        # UnicodeError: what cannot be a name at all, such as one with a part of 70 characters.
        why = getattr(error, "strerror", None) or "not a host name"
        sys.stderr.write(f"central-system: error: cannot listen on {config.host} port {config.port}: {why}\n")
        return 2
    port = server.sockets[0].getsockname()[1]
    write_line({"event": "listening", "host": config.host, "port": port})
    tasks = [asyncio.create_task(_flush_for_ever(lifecycle))]
    if central.seconds_per_slot:
        tasks.append(asyncio.create_task(_ping_for_ever(central)))
    await stopping.wait()
    for task in tasks:
        task.cancel()
    server.close()
    central.close_all(CloseCode.GOING_AWAY, "the central system is going away")
    await _until_nobody_is_connected(metrics, _SHUTDOWN_TIMEOUT)
    central.abort_all()
    await _until_nobody_is_connected(metrics, _ABORT_TIMEOUT)
    lifecycle.flush(time.monotonic(), final=True)
    write_line(
        {
            "event": "stopped",
            **metrics.snapshot(),
            "transactions": {
                "started": transactions.started,
                "repeated_starts": transactions.repeated_starts,
                "stopped": transactions.stopped,
                "unknown_stops": transactions.unknown_stops,
                "running": transactions.running,
            },
        }
    )
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the central system until SIGTERM or SIGINT; return the exit status."""
    config = parse_args(args)
    # picows reports each broken frame of a peer at level ERROR; here that is a peer's doing and is
    # counted. Handlers' own faults are logged where they happen.
    logging.getLogger("picows").setLevel(logging.CRITICAL)
    _raise_open_files_limit()
    return asyncio.run(_run(config))


if __name__ == "__main__":
    sys.exit(main())
