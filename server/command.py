"""What the central system's command does: its configuration, and the process, or several."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import sys
from collections.abc import Sequence

from server.config import Config, parse_args
from server.log import JsonLines
from server.process import Mistake, Process
from server.supervisor import Place, Supervisor


def _raise_open_files_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _collect_seldom() -> None:
    """Let no collection of garbage walk through what stays, while charge points wait.

    Almost nothing here is in cycles: of a connection that closed only asyncio's own transport is.
    """
    gc.collect()
    gc.freeze()
    # Hundreds of messages wait together for the store: with the usual 700 their objects are walked through meanwhile.
    gc.set_threshold(20_000, 5, 5)


async def _run(config: Config, place: Place | None) -> None:
    process = Process(config) if place is None else Process(place.adapt(config), place.number, place.hub)
    _collect_seldom()
    await process.run()


def run(args: Sequence[str] | None = None) -> int:
    """Run the central system until SIGTERM or SIGINT; return the exit status.

    Args:
        args: the command line; `None` takes the process's own.
    """
    config = parse_args(args)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[JsonLines()], force=True)
    _raise_open_files_limit()
    place = Place.find()
    try:
        if place is None and config.processes > 1:
            return asyncio.run(Supervisor(config, list(sys.argv[1:] if args is None else args)).run())
        asyncio.run(_run(config, place))
    except Mistake as mistake:
        sys.stderr.write(f"central-system: error: {mistake}\n")
        return 2
    return 0
