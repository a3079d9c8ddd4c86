"""`python -m tests.fakes.observed_server`: the central system as ever, which tells on SIGUSR1 what it holds.

What it tells is a line of its log: the tasks, timers and objects that are alive, and its resident memory.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import os
import signal
import sys
from collections import Counter
from enum import Enum
from pathlib import Path
from types import FrameType

from server.__main__ import main
from server.log import write_line

_numbers = itertools.count(1)
_OURS = ("aiofastnet.", "picows.", "server.calls.", "server.connections.", "server.handshake.", "server.journal.",
         "server.listener.", "server.transactions.")  # fmt: skip
"""Where that stands of which each connection or message has its own."""


def _tell(_number: int, _frame: FrameType | None) -> None:
    loop = asyncio.get_running_loop()
    gc.collect()
    # What was freed goes back to the system, so that resident memory is what is held.
    ctypes.CDLL(None).malloc_trim(0)
    timers = sum(not each.cancelled() for each in loop._scheduled)  # type: ignore[attr-defined]
    # Numbers that are no member of an enumeration become some, and stay; there are only so many.
    objects = (each for each in gc.get_objects() if not isinstance(each, Enum))
    names = (f"{type(each).__module__}.{type(each).__qualname__}" for each in objects)
    held = Counter(name for name in names if name.startswith(_OURS))
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    write_line(
        {
            "event": "observed",
            "number": next(_numbers),
            "tasks": len(asyncio.all_tasks()),
            "timers": timers,
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "resident": pages * os.sysconf("SC_PAGE_SIZE"),
            "held": dict(sorted(held.items())),
        }
    )


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    sys.exit(main())
