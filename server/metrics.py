"""What the central system counts: one process's numbers, and those of several as one.

Whatever becomes a label comes from here or from 1.6, never from the wire: a charge point cannot make
the counters grow. `server.exposition` gives them their names for Prometheus.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, TypedDict

from ampswarm.ocppj.errors import ErrorCode
from ampswarm.ocppj.frames import Malformation
from ampswarm.ocppj.schemas import ACTIONS
from server.histogram import ANSWER_BOUNDS, HANDLER_BOUNDS, SIZE_BOUNDS, Histogram

RESULT: Final = "result"
"""The outcome of a Call that got a CallResult."""
UNANSWERED: Final = "unanswered"
"""The outcome of a charge point's Call that got no answer at all."""
OTHER: Final = "other"
"""What every action that 1.6 does not know, and every error code, is counted under."""

Tree = int | float | list[int] | Mapping[str, "Tree"]
"""Numbers by name, at any depth. A list holds the counts of a histogram's buckets."""


class State(TypedDict):
    """What one process has counted, or several together, as JSON has it."""

    adds: dict[str, Tree]
    """What is added up over processes."""
    greatest: dict[str, float]
    """What counts for all only where it is greatest."""


class RefusalReason(StrEnum):
    """Why an upgrade was refused."""

    BAD_PATH = "bad_path"
    """The path names no charge point (J 3.2)."""
    BAD_REQUEST = "bad_request"
    """It is no upgrade to a WebSocket."""
    BUSY = "busy"
    """The process has too much to do already."""
    CHAOS = "chaos"
    """An operator wants it so."""
    FORBIDDEN = "forbidden"
    """The charge point is who it says, and may not come in."""
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    """The request did not come in time."""
    OTHER = "other"
    STOPPING = "stopping"
    """The process is going away."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_FROM_ADDRESS = "too_many_from_address"
    TOO_MANY_HANDSHAKES = "too_many_handshakes"
    UNAUTHORIZED = "unauthorized"
    """The credentials are missing or wrong."""


class Closed(StrEnum):
    """Why a connection is no more."""

    CHAOS = "chaos"
    """An operator wants it so."""
    CHARGE_POINT = "charge_point"
    """The charge point closed it in good order."""
    DRAINED = "drained"
    """To come back to another process (1012)."""
    LOST = "lost"
    """TCP ended without a Close frame."""
    NO_PONG = "no_pong"
    """The last PING was not answered."""
    OTHER = "other"
    POLICY = "policy"
    """The charge point broke a limit (1008)."""
    PROTOCOL_ERROR = "protocol_error"
    """The charge point broke RFC 6455 (1002, 1003, 1007)."""
    REPLACED = "replaced"
    """The charge point connected again."""
    STOPPED = "stopped"
    """The process goes away (1001)."""
    TOO_BIG = "too_big"
    """A message was too long (1009)."""

    @classmethod
    def by_code(cls, code: int) -> Closed:
        """Return why this side sends a Close frame with `code` (RFC 6455, 7.4.1)."""
        return _CLOSED.get(code, cls.OTHER)


_CLOSED: Final = {
    1001: Closed.STOPPED,
    1002: Closed.PROTOCOL_ERROR,
    1003: Closed.PROTOCOL_ERROR,
    1007: Closed.PROTOCOL_ERROR,
    1008: Closed.POLICY,
    1009: Closed.TOO_BIG,
    1012: Closed.DRAINED,
}


class Received:
    """Calls of charge points with one action."""

    __slots__ = ("handling", "outcomes")

    def __init__(self) -> None:
        self.outcomes = {RESULT: 0}
        """How many were answered how: `RESULT`, the code of a CallError, or `UNANSWERED`."""
        self.handling = Histogram(HANDLER_BOUNDS)
        """Seconds of this process for each, without what it waited for."""

    def ended(self, outcome: str) -> None:
        """Count how one ended.

        Args:
            outcome: `RESULT`, `UNANSWERED`, or one of the codes of `ErrorCode`; never a text of a peer.
        """
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Sent:
    """Calls to charge points with one action."""

    __slots__ = ("answering", "count", "outcomes")

    def __init__(self) -> None:
        self.count = 0
        """Those that were sent."""
        self.outcomes: Counter[str] = Counter()
        """How they ended, those that waited in vain to be sent as well: `RESULT`, or a `calls.Outcome`."""
        self.answering = Histogram(ANSWER_BOUNDS)
        """Seconds from sending each that was answered to its answer."""


class _ByAction(dict[str, Received]):
    """Makes a place for an action of 1.6 when it comes first; all others share one."""

    def __missing__(self, action: str) -> Received:
        known = action if action in ACTIONS else OTHER
        received = self.get(known)
        if received is None:
            received = self[known] = Received()
        return received


class Metrics:
    """The counters of one process, since its start."""

    def __init__(self) -> None:
        self._started = time.time()
        self.received = _ByAction()
        """Calls of charge points, by action. Look up any text: one that is no action leaves nothing behind."""
        self.sent: defaultdict[str, Sent] = defaultdict(Sent)
        """Calls to charge points, by action."""
        self.call_errors: Counter[str] = Counter()
        """CallErrors of charge points, by the code of 1.6, or `OTHER`."""
        self.queueing = Histogram()
        """Seconds that each Call to a charge point waited before it was sent."""
        self.malformed: Counter[Malformation] = Counter()
        """Texts that are no message."""
        self.connections = 0
        """Connections that stand now."""
        self.connections_opened = 0
        self.connections_closed: Counter[Closed] = Counter()
        self.refusals: Counter[tuple[int, RefusalReason]] = Counter()
        """Upgrades that were refused, by HTTP status and reason."""
        self.pings_sent = 0
        self.pings_lost = 0
        """Connections that were ended for a PING without an answer."""
        self.round_trips = Histogram()
        """Seconds from each PING to its PONG."""
        self.store_waits = Histogram()
        """Seconds that each answer waited until what it says was kept."""
        self.store_commits = Histogram()
        """Seconds of each commit."""
        self.store_batches = Histogram(SIZE_BOUNDS)
        """How many changes each commit kept."""
        self.store_failures = 0
        """Commits that failed."""
        self.store_lag: Callable[[], float] = lambda: 0.0
        """Returns the seconds that the oldest change that is not kept yet has waited; 0 when there is none."""
        self.events: Counter[str] = Counter()
        """Everything else that is worth counting, by a name that stands in the code."""

    def call_failed(self, action: str, outcome: str, code: str | None = None) -> None:
        """A Call to a charge point has no result.

        Args:
            action: what was asked; one that central systems send.
            outcome: of `calls.Outcome`.
            code: of the CallError, as it was on the wire.
        """
        self.sent[action].outcomes[outcome] += 1
        if code is not None:
            known = ErrorCode.parse(code)
            self.call_errors[OTHER if known is None else known.value] += 1

    def committed(self, seconds: float, changes: int) -> None:
        """A commit to the store has kept some changes."""
        self.store_commits.observe(seconds)
        self.store_batches.observe(changes)

    def waited(self, seconds: float) -> None:
        """An answer has waited until what it says was kept."""
        self.store_waits.observe(seconds)

    def snapshot(self) -> dict[str, object]:
        """Return the counters without the histograms, for a log line."""
        errors: Counter[str] = Counter()
        for received in self.received.values():
            errors.update({code: count for code, count in received.outcomes.items() if code not in _NO_ERRORS})
        failed: Counter[str] = Counter()
        for sent in self.sent.values():
            failed.update({outcome: count for outcome, count in sent.outcomes.items() if outcome != RESULT})
        answered = {action: sent.outcomes[RESULT] for action, sent in self.sent.items()}
        refusals: Counter[str] = Counter()
        for (_, reason), count in self.refusals.items():
            refusals[reason.value] += count
        return {
            "connections": self.connections,
            "calls": _counted({action: received.outcomes[RESULT] for action, received in self.received.items()}),
            "errors": _counted(errors),
            "calls_sent": _counted({action: sent.count for action, sent in self.sent.items()}),
            "calls_answered": _counted(answered),
            "calls_failed": _counted(failed),
            "connections_closed": _counted({cause.value: count for cause, count in self.connections_closed.items()}),
            "refusals": _counted(refusals),
            "pings_sent": self.pings_sent,
            "events": _counted(self.events + self._named()),
        }

    def _named(self) -> Counter[str]:
        """What has counters of its own, under its names in the log."""
        named = Counter(
            {
                "connections opened": self.connections_opened,
                "connections closed": self.connections_closed.total(),
                "connections replaced": self.connections_closed[Closed.REPLACED],
                "pings lost": self.pings_lost,
                "commits failed": self.store_failures,
                **{f"malformed: {reason.value}": count for reason, count in self.malformed.items()},
            }
        )
        for (status, _), count in self.refusals.items():
            named[f"upgrades refused with {status}"] += count
        return named

    def state(self) -> State:
        """Return everything, for `merge` and `exposition`. Nothing in it changes any more."""
        refused: dict[str, dict[str, int]] = {}
        for (status, reason), count in self.refusals.items():
            refused.setdefault(reason.value, {})[str(status)] = count
        return {
            "adds": {
                "processes": 1,
                "connections": self.connections,
                "connections_opened": self.connections_opened,
                "connections_closed": {cause.value: count for cause, count in self.connections_closed.items()},
                "upgrades_refused": refused,
                "calls_received": {action: dict(each.outcomes) for action, each in self.received.items()},
                "handling": {action: each.handling.state() for action, each in self.received.items()},
                "malformed": {reason.name.lower(): count for reason, count in self.malformed.items()},
                "calls_sent": {action: each.count for action, each in self.sent.items()},
                "calls_ended": {action: dict(each.outcomes) for action, each in self.sent.items()},
                "answering": {action: each.answering.state() for action, each in self.sent.items()},
                "queueing": self.queueing.state(),
                "call_errors": dict(self.call_errors),
                "pings_sent": self.pings_sent,
                "pings_lost": self.pings_lost,
                "round_trips": self.round_trips.state(),
                "store_waits": self.store_waits.state(),
                "store_commits": self.store_commits.state(),
                "store_batches": self.store_batches.state(),
                "store_failures": self.store_failures,
                "events": dict(self.events),
                **_process(),
            },
            "greatest": {"started": self._started, "store_lag": self.store_lag()},
        }


_NO_ERRORS: Final = {RESULT, UNANSWERED}


def merge(states: Iterable[State]) -> State:
    """Return the state that one process would have that had done everything that several did.

    Raises:
        ValueError: histograms of the same name have other buckets: they come from different versions.
        TypeError: so do the states, in which a name stands for something else.
    """
    merged: State = {"adds": {}, "greatest": {}}
    for state in states:
        merged["adds"] = _add(merged["adds"], state["adds"])
        for name, value in state["greatest"].items():
            merged["greatest"][name] = max(value, merged["greatest"].get(name, value))
    return merged


def _add(one: Mapping[str, Tree], other: Mapping[str, Tree]) -> dict[str, Tree]:
    total = dict(one)
    for name, more in other.items():
        if name not in total:
            total[name] = more
            continue
        so_far = total[name]
        if isinstance(so_far, Mapping) and isinstance(more, Mapping):
            total[name] = _add(so_far, more)
        elif isinstance(so_far, list) and isinstance(more, list):
            total[name] = [left + right for left, right in zip(so_far, more, strict=True)]
        elif isinstance(so_far, int | float) and isinstance(more, int | float):
            total[name] = so_far + more
        else:
            raise TypeError(f"{name} is not of the same kind in both states")
    return total


def _counted(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in sorted(counts.items()) if count}


def _process() -> dict[str, Tree]:
    """What the operating system says of this process."""
    fields: dict[str, Tree] = {"cpu_seconds": time.process_time()}
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    fields["resident_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    # Since Linux 6.2 the size of this folder is the number of files. A list of a million of them
    # would stop everything for half a second.
    if files := Path("/proc/self/fd").stat().st_size:
        fields["open_files"] = files
    return fields
