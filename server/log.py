"""What the process writes to stderr: a JSON object a line, whoever has something to say."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
from typing import Final

import orjson

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.frames import for_log
from ampswarm.ocppj.timestamps import format_utc

PROCESS_VARIABLE: Final = "CENTRAL_SYSTEM_PROCESS"
"""Where one of several processes finds its number; set by the first of them, not by people."""
_MAX_LOGGED_MESSAGE: Final = 4096
_INVISIBLE: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf")
"""In UTF-8: what JSON leaves as it is, and a terminal may obey: DEL, C1 controls, line separators, directions."""
_MAX_LOGGED_TRACEBACK: Final = 16384
_PROCESS: Final[dict[str, object]] = (
    {"process": int(os.environ[PROCESS_VARIABLE])} if os.environ.get(PROCESS_VARIABLE, "").isdigit() else {}
)


def write_line(fields: dict[str, object]) -> None:
    """Write one structured line to stderr: the time, then `fields`, as a JSON object."""
    line = orjson.dumps({"time": format_utc(time.time()), **fields, **_PROCESS})
    line = _INVISIBLE.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), line) + b"\n"
    # A log that nobody reads any more must not end the service.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()


def write_payload(identity: str, direction: str, message: bytes) -> None:
    """Log one message, but for a password in it."""
    text = for_log(message)[:_MAX_LOGGED_MESSAGE]
    write_line({"event": "message", "identity": identity, "direction": direction, "message": text})


class JsonLines(logging.Handler):
    """Writes what libraries log as lines like all others, and no more of them in a second."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = LifecycleLog(write_line)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            text = self.format(record)
        except Exception as error:  # noqa: BLE001  a library's log line must not end the service
            text = repr(error)
        message = text[:_MAX_LOGGED_TRACEBACK].encode("utf-8", "replace").decode()
        level = record.levelname.lower()
        self._lines.write("log", time.monotonic(), logger=record.name, level=level, message=message)
