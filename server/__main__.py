"""The central system's command: `python -m server`, or the console script `central-system`."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> int:
    """Run the central system until SIGTERM or SIGINT; return the exit status."""
    # Nothing that is imported becomes garbage: to look for some takes a fifth of the time of a start.
    gc.disable()
    from server.command import run  # noqa: PLC0415  after that

    gc.enable()
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
