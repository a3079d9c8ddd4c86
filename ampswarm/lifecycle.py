"""Structured lifecycle lines that do not become a storm of their own.

Both sides of the wire log what happens to connections. When a whole fleet loses its connections,
each kind of event is let through a few times a second and the rest is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

Sink = Callable[[dict[str, object]], None]
"""Takes one line, as its fields in order; the first is always `event`."""

MOST_LINES: Final = 20
"""Of a kind of event, in a second."""


class _Window:
    __slots__ = ("began", "passed", "suppressed")

    def __init__(self, began: float) -> None:
        self.began = began
        self.passed = 0
        self.suppressed = 0


class LifecycleLog:
    """Lets so many lines of each kind of event through in so many seconds, and counts the others.

    Args:
        sink: where lines go. `None` logs nothing at all.
        most_lines: how many lines of one event pass.
        seconds: in how many seconds.
    """

    def __init__(self, sink: Sink | None, most_lines: int = MOST_LINES, seconds: float = 1.0) -> None:
        self._sink = sink
        self._limit = most_lines
        self._seconds = seconds
        self._windows: dict[str, _Window] = {}

    @property
    def is_on(self) -> bool:
        """Whether anything is logged: lets a caller spare the making of fields."""
        return self._sink is not None

    def write(self, event: str, now: float, **fields: object) -> None:
        """Log `event` with `fields`, unless too many of its kind were logged in these seconds."""
        if self._sink is None:
            return
        window = self._windows.get(event)
        if window is None or now - window.began >= self._seconds:
            if window is not None:
                self._summarise(event, window, now)
            window = self._windows[event] = _Window(now)
        if window.passed < self._limit:
            window.passed += 1
            self._sink({"event": event, **fields})
        else:
            window.suppressed += 1

    def flush(self, now: float, *, final: bool = False) -> None:
        """Log how many lines were left out in the time that is over.

        Args:
            now: the time, in seconds, on the clock of `write`.
            final: also in the time that is still running; at the end of the process.
        """
        for event, window in list(self._windows.items()):
            if final or now - window.began >= self._seconds:
                self._summarise(event, window, now)
                del self._windows[event]

    def _summarise(self, event: str, window: _Window, now: float) -> None:
        if window.suppressed and self._sink is not None:
            seconds = round(max(now - window.began, 0.0), 1)
            self._sink({"event": event, "suppressed": window.suppressed, "seconds": seconds})
