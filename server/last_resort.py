"""The end of a process that was told to stop and does not: it says what it waits for, and ends all the same.

Whatever the process waits for at its end has a limit of its own. This is for what nobody has thought of, such as a
library that does not take no for an answer: whoever replaces the process must not wait for it for ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import traceback
from typing import Any, Final

from server.log import write_line

PATIENCE: Final = 40.0
"""Seconds: more than all limits of what is done at the end together."""
_MAX_TASKS: Final = 50
_MAX_FRAMES: Final = 6


def end_within(seconds: float) -> None:
    """End the process after some time with exit status 1, unless it has ended by then.

    Call it in the event loop. One line tells where each of its tasks and each thread is.
    """
    timer = threading.Timer(seconds, _end, (asyncio.get_running_loop(), seconds))
    timer.daemon = True
    timer.start()


def _end(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    try:
        tasks = [f"{_name(each)}: {_places(each.get_stack(limit=_MAX_FRAMES))}" for each in asyncio.all_tasks(loop)]
        ours = threading.get_ident()
        threads = [
            _places([frame for frame, _ in traceback.walk_stack(top)][:_MAX_FRAMES][::-1])
            for thread, top in sys._current_frames().items()  # noqa: SLF001  the only way to other threads' frames
            if thread != ours
        ]
        line: dict[str, object] = {"event": "ended the hard way", "after_s": seconds, "tasks": tasks[:_MAX_TASKS]}
        write_line({**line, "threads": threads[:_MAX_TASKS]})
    finally:
        os._exit(1)


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", task.get_name())


def _places(frames: list[Any]) -> str:
    return " > ".join(f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{frame.f_lineno}" for frame in frames)
