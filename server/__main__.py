"""The central system's command: `python -m server`, or the console script `central-system`."""

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


async def _run(config: Config, place: Place | None) -> None:
    if place is not None:
        await Process(place.adapt(config), place.number, place.hub).run()
    else:
        process = Process(config)
        # What was imported stays: no collection need walk through it while charge points wait.
        gc.collect()
        gc.freeze()
        await process.run()


def main(args: Sequence[str] | None = None) -> int:
    """Run the central system until SIGTERM or SIGINT; return the exit status."""
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


if __name__ == "__main__":
    sys.exit(main())
