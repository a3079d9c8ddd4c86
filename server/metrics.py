"""What the central system counts."""

from __future__ import annotations

from collections import Counter


class Metrics:
    """Counters of one process, since its start."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Calls of charge points that were answered with a CallResult, by action."""
        self.errors: Counter[str] = Counter()
        """CallErrors sent, by code."""
        self.calls_sent: Counter[str] = Counter()
        """Calls sent to charge points, by action."""
        self.calls_answered: Counter[str] = Counter()
        """Calls to charge points that got a valid CallResult, by action."""
        self.calls_failed: Counter[str] = Counter()
        """Calls to charge points that got none, by outcome."""
        self.events: Counter[str] = Counter()
        """Everything else that is worth counting, by name."""
        self.connections = 0
        """Connections that stand now."""
        self.store_commits = self.store_batches = self.store_waits = _Nothing()
        self.store_failures = 0

    def snapshot(self) -> dict[str, object]:
        """Return all counters, for a log line or a report."""
        return {
            "connections": self.connections,
            "calls": dict(sorted(self.calls.items())),
            "errors": dict(sorted(self.errors.items())),
            "calls_sent": dict(sorted(self.calls_sent.items())),
            "calls_answered": dict(sorted(self.calls_answered.items())),
            "calls_failed": dict(sorted(self.calls_failed.items())),
            "events": dict(sorted(self.events.items())),
        }


class _Nothing:
    def observe(self, value: float) -> None:
        pass
