"""The watch on the central system's PINGs, which finds connections that died without closing.

Armed by the first PING of a connection, never before: a central system that sends none keeps all
its charge points. J 5.3 leaves the PINGs, and their rhythm, to the central system.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_TOLERANCE: Final = 1.5
_MARGIN: Final = 5.0
_PROVISIONAL: Final = 3600.0
"""Seconds, while only one PING has come. Central systems ping every few seconds or minutes, for the
sake of routers that forget a quiet connection within the hour."""


class WatchMode(StrEnum):
    """What decides how long a charge point waits for the next PING."""

    LEARN = "learn"
    """The rhythm that the central system itself has shown."""
    FIXED = "fixed"
    """A fixed number of seconds, whatever the central system's rhythm is."""
    OFF = "off"
    """Nothing: the connection is never dropped for want of PINGs."""


@dataclass(frozen=True, slots=True)
class PingWatchRule:
    """How a missing PING is recognised; one for a whole fleet.

    Args:
        mode: learn the rhythm, keep to a fixed time, or do not watch.
        timeout: seconds. In fixed mode, the time after which the next PING is missing. In learning
            mode, the shortest such time: what was learned only makes it longer.
    """

    mode: WatchMode = WatchMode.LEARN
    timeout: float = 31.0

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ValueError(f"the ping watch's timeout must be above 0 s, not {self.timeout:g}")


class PingWatch:
    """What one charge point knows of its central system's PINGs.

    In learning mode the limit is one and a half times the usual gap between two PINGs and 5 s
    more, counted from whatever was heard last: a central system that pings only idle connections
    is silent for longer when there is traffic. Before two PINGs have shown a rhythm the limit is
    an hour. The rhythm is kept across connections, and forgotten when a connection was dropped for
    it: it may be the central system that has changed.
    """

    __slots__ = ("_gap", "_heard", "_last_ping", "_rule")

    def __init__(self, rule: PingWatchRule) -> None:
        self._rule = rule
        self._gap = 0.0
        self._heard = 0.0
        self._last_ping: float | None = None

    def opened(self) -> None:
        """A new connection: not armed before its first PING."""
        self._last_ping = None

    def ping(self, now: float) -> None:
        """A PING came in at `now`, in seconds."""
        if self._last_ping is not None:
            gap = now - self._last_ping
            # At once up, by halves down: one late PING is forgotten, a slower rhythm is not fought.
            self._gap = max(gap, (self._gap + gap) / 2)
        self._last_ping = self._heard = now

    def missed(self) -> None:
        """The connection is dropped: learn the rhythm anew on the next one."""
        self._gap = 0.0

    def heard(self, now: float) -> None:
        """Something other than a PING came in at `now`, in seconds."""
        self._heard = now

    @property
    def deadline(self) -> float | None:
        """When the connection counts as dead; `None` while it cannot."""
        rule = self._rule
        if rule.mode is WatchMode.OFF or self._last_ping is None:
            return None
        if rule.mode is WatchMode.FIXED:
            return self._last_ping + rule.timeout
        limit = _TOLERANCE * self._gap + _MARGIN if self._gap else _PROVISIONAL
        return self._heard + max(rule.timeout, limit)


class Pinger:
    """The charge point's own PINGs on one connection (WebSocketPingInterval, core 9.1.34, J errata 3.11).

    Args:
        interval: seconds, above 0. A PONG that is not there when the next PING is due is missing.
        now: when the connection was opened.
    """

    __slots__ = ("_interval", "_is_waiting", "deadline")

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._is_waiting = False
        self.deadline = now + interval
        """When to look again: `is_due` or `is_missing` may be true then."""

    def is_missing(self, now: float) -> bool:
        """Whether the last PING was never answered: the connection is dead."""
        return self._is_waiting and now >= self.deadline

    def take(self, now: float) -> bool:
        """Return whether to send a PING now."""
        if self._is_waiting or now < self.deadline:
            return False
        self._is_waiting = True
        self.deadline = now + self._interval
        return True

    def pong(self) -> None:
        """A PONG came in."""
        self._is_waiting = False
