"""What a charge point goes through from when a storm hits it until it is back, with nothing left to tell."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.events import Online

if TYPE_CHECKING:
    from collections.abc import Callable

    from ampswarm.charge_point.events import StationEvent
    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.dark_connection import AnyConnection
    from ampswarm.load.storm_spec import Storm
    from ampswarm.results.recovery import Recovery

_MILLISECONDS: Final = 1000.0


class Blow:
    """What hits a charge point; one object for all that a storm hits in one process.

    Args:
        storm: which.
        began: when the storm began, in seconds of the monotonic clock.
        counts: what is counted of it.
        leave_behind: takes connections that are given up in the dark.
    """

    __slots__ = ("began", "counts", "leave_behind", "storm")

    def __init__(
        self, storm: Storm, began: float, counts: Recovery, leave_behind: Callable[[AnyConnection], None]
    ) -> None:
        self.storm = storm
        self.began = began
        self.counts = counts
        self.leave_behind = leave_behind


class Plight:
    """One charge point that was hit, and is not back yet.

    Args:
        blow: what hit it.
        station: the charge point, just before.
        back_at: when network or power is back, in seconds of the monotonic clock.
        earlier: what it was still in when it was hit; that goes on, and comes to its end with this.
    """

    __slots__ = (
        "_attempts",
        "_blow",
        "_drains_since",
        "_earlier",
        "_is_back",
        "_station",
        "is_of_a_herd",
        "network_back_at",
    )

    def __init__(self, blow: Blow, station: ChargePoint, back_at: float, earlier: Plight | None) -> None:
        self._blow = blow
        self._station = station
        self._earlier = earlier
        self._attempts = 0
        self._is_back = False
        # When it was back with messages to send; `None` before that, without any, and when all were sent.
        self._drains_since: float | None = None
        self.network_back_at = back_at
        self.is_of_a_herd = blow.storm.kind == "herd"
        """Whether it tries to connect without back-off and without jitter until it is back."""
        blow.counts.hit += 1
        blow.counts.were_online += station.is_online

    def attempted(self, refused: str = "") -> None:
        """It tried to connect; `refused` says what was wrong, or is empty."""
        if self._earlier is not None:
            self._earlier.attempted(refused)
        if self._is_back:
            return
        self._attempts += 1
        if refused:
            reasons = self._blow.counts.refused
            reasons[refused] = reasons.get(refused, 0) + 1

    def observe(self, event: StationEvent) -> None:
        """Take note of what it observed."""
        if isinstance(event, Online):
            self.accepted(event.now)

    def heard(self) -> None:
        """A PONG came in: a connection that was dark carries again."""
        now = time.monotonic()
        if self._station.is_online and now >= self.network_back_at:
            self.accepted(now)

    def accepted(self, now: float) -> None:
        """It is at work again."""
        if self._earlier is not None:
            self._earlier.accepted(now)
        if self._is_back:
            return
        self._is_back = True
        self.is_of_a_herd = False
        counts = self._blow.counts
        counts.back.add((now - self._blow.began) * _MILLISECONDS)
        counts.attempts.add(self._attempts)
        backlog = self._station.unsent
        if backlog:
            self._drains_since = now
            counts.backlogs += 1
            counts.backlog_messages += backlog

    def is_over(self) -> bool:
        """Return whether it is back, and the central system has all its transaction messages."""
        if not self._is_back or self._station.unsent:
            return False
        if self._drains_since is not None:
            now = time.monotonic()
            self._blow.counts.drain.add((now - self._drains_since) * _MILLISECONDS)
            self._blow.counts.drained.add((now - self._blow.began) * _MILLISECONDS)
            self._drains_since = None
        return self._earlier is None or self._earlier.is_over()

    def gone(self) -> None:
        """Locust stops it: its attempts count, though it never came back."""
        if self._earlier is not None:
            self._earlier.gone()
        if not self._is_back:
            self._blow.counts.attempts.add(self._attempts)
