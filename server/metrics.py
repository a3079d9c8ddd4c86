"""What the central system counts."""

from __future__ import annotations

from collections import Counter


class Metrics:
    """Counters of one process, since its start."""

    __slots__ = ("calls", "connections", "errors", "events")

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Calls answered with a CallResult, by action."""
        self.errors: Counter[str] = Counter()
        """CallErrors sent, by code."""
        self.events: Counter[str] = Counter()
        """Everything else that is worth counting, by name."""
        self.connections = 0
        """Connections that stand now."""

    def snapshot(self) -> dict[str, object]:
        """Return all counters, for a log line or a report."""
        return {
            "connections": self.connections,
            "calls": dict(sorted(self.calls.items())),
            "errors": dict(sorted(self.errors.items())),
            "events": dict(sorted(self.events.items())),
        }
