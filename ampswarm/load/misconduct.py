"""What one charge point does wrong, one misdeed at a time, and what of its traffic is not healthy by that."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gevent import Greenlet, spawn, spawn_later

from ampswarm.charge_point.events import Dropped, Online
from ampswarm.charge_point.link import CloseReason
from ampswarm.load.acts import ACTS, TCP_GIVES_UP, Act
from ampswarm.load.crooked_connection import CrookedConnection
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed
from ampswarm.ocppj.session import Answered, Failed, Failure, Ignored, Refused

if TYPE_CHECKING:
    from random import Random

    from ampswarm.charge_point.events import StationEvent
    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.measurements import Measurements
    from ampswarm.load.transport import Connection, Control
    from ampswarm.ocppj.session import UniqueIds

_NEVER: Final = float("inf")
_AFTERMATH: Final = 30.0
"""Seconds after a misdeed for which a lost connection counts as its consequence."""
_TELL_THE_TIME: Final = frozenset(
    ("StatusNotification", "StartTransaction", "StopTransaction", "MeterValues", "SecurityEventNotification")
)
"""The Calls that carry a timestamp."""
_OWN_WATCH: Final = (CloseReason.PING_MISSING, CloseReason.PONG_MISSING)


class Misconduct:
    """The misdeeds of one charge point. Stands between it and the fleet's `Measurements`.

    Args:
        station: the charge point.
        behaviour: which misdeeds, how often; none where a scenario decides.
        measurements: those of the fleet.
        unique_ids: where the message ids of messages beside its own come from.
        open_another: opens a connection of the same charge point.
        log: takes messages that go out beside its own.
        note: takes a misdeed as it begins.
    """

    __slots__ = (
        "_act",
        "_behaviour",
        "_calm_at",
        "_connection",
        "_distorted_until",
        "_ended_at",
        "_ended_by_clock",
        "_is_away",
        "_is_cut_off",
        "_is_skewed",
        "_log",
        "_measurements",
        "_next",
        "_next_at",
        "_note",
        "_others",
        "open_another",
        "random",
        "station",
        "unique_ids",
    )

    def __init__(
        self,
        station: ChargePoint,
        behaviour: Misbehaviour,
        measurements: Measurements,
        *,
        unique_ids: UniqueIds,
        open_another: Callable[[], Connection],
        log: Callable[[bytes], None],
        note: Callable[[Misdeed], None],
    ) -> None:
        self.station = station
        self.random: Random = station.random
        self.unique_ids = unique_ids
        self.open_another = open_another
        self._behaviour = behaviour
        self._measurements = measurements
        self._log = log
        self._note = note
        self._act: Act | None = None
        self._connection: CrookedConnection | None = None
        # Everything that lives beside the pump, with the connection that it looks after.
        self._others: list[tuple[Greenlet, Connection | None]] = []
        self._is_skewed = bool(station.template.clock_error)
        self._is_away = False
        self._is_cut_off = False
        self._ended_by_clock = False
        self._ended_at = 0.0
        self._calm_at = 0.0
        self._distorted_until = 0.0
        self._next: Misdeed | None = None
        self._next_at = _NEVER
        self._plan(time.monotonic())

    # -- what the user calls ------------------------------------------------------------------

    def lead(self, connection: Connection) -> CrookedConnection:
        """Return what takes the place of a connection of the charge point."""
        self._is_cut_off = False
        self._connection = CrookedConnection(connection, self)
        return self._connection

    def begin(self, misdeed: Misdeed, now: float, seconds: float | None = None) -> bool:
        """Begin with a misdeed; False when another one is not over, or the charge point is not online.

        Args:
            misdeed: which.
            now: the time.
            seconds: how long it lasts; `None` for as long as such a thing takes.
        """
        if self._act is not None or self._connection is None or not self.station.is_online:
            return False
        self._note(misdeed)
        self._act = act = ACTS[misdeed](self, seconds, now)
        if act.distorts:
            self._distorted_until = _NEVER
        act.begin(now)
        return True

    def stop(self) -> None:
        """End whatever lives beside the charge point, at once."""
        self._act = None
        self.stop_others()

    # -- what the user reports: as to `Measurements` ------------------------------------------

    def connected(self, seconds: float) -> None:
        """A connection was opened."""
        if not self._is_away:
            self._measurements.connected(seconds)

    def connect_part(self, part: str, seconds: float) -> None:
        """A part of a connect succeeded."""
        if not self._is_away:
            self._measurements.connect_part(part, seconds)

    def not_connected(self, seconds: float | None, error: Exception) -> None:
        """An attempt to connect failed."""
        if not self._is_away:
            self._measurements.not_connected(seconds, error)
        elif self._act is not None:
            self._act.refused(error)

    def observe(self, event: StationEvent) -> None:
        """Report what the charge point observed, unless its own misdeed is the reason."""
        if self._is_of_own_making(event):
            if isinstance(event, Online):
                self._returned(event.now)
        elif self._is_skewed and isinstance(event, Answered | Failed | Dropped) and event.action in _TELL_THE_TIME:
            self._measurements.told_wrong_time(event)
            if isinstance(event, Failed) and event.failure is Failure.CONNECTION_LOST and self._is_cut_off:
                self._is_away = self._ended_by_clock = True
        else:
            self._measurements.observe(event)

    def at_end(self, event: StationEvent) -> None:
        """Report what happened while the test ended, in the middle of a misdeed perhaps."""
        is_delayed = isinstance(event, Failed) and event.sent < self._distorted_until
        if not is_delayed and not self._is_of_own_making(event):
            self._measurements.at_end(event)

    def _returned(self, now: float) -> None:
        self._is_away = False
        if self._ended_by_clock:
            # It is as wrong as before: what its next timestamp costs is to be counted as well.
            self._ended_by_clock = False
        else:
            self._calm_at = now + _AFTERMATH
        if self._act is not None:
            self._act.online(now)

    def _is_of_own_making(self, event: StationEvent) -> bool:
        match event:
            case Online():
                return self._is_away
            case Answered(sent=sent):
                return sent < self._distorted_until
            case Failed(sent=sent):
                return sent < self._ended_at or self._is_troubled
            case Dropped() | Ignored() | Refused():
                return self._is_troubled
        return False

    # -- what the connection reports ----------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When `act` has something to do, in seconds of the monotonic clock."""
        return self._next_at if self._act is None else self._act.deadline

    def act(self, now: float) -> None:
        """Do what is due.

        Raises:
            ConnectionLost: the connection has ended.
        """
        if self._act is not None:
            if now >= self._act.deadline:
                self._act.due(now)
        elif now >= self._next_at:
            misdeed = self._next
            assert misdeed is not None
            if self.station.is_online:
                self._plan(now)
                self.begin(misdeed, now)
            else:
                # Boots, or is to close: it waits for the next message.
                self._next_at = now + 1.0

    def heard(self, message: bytes | Control, now: float) -> None:
        """Something came in."""
        if self._act is not None:
            self._act.heard(message, now)

    def reader_is_stuck(self, now: float) -> None:
        """Nothing is read: the watch sits behind the reader, and must not tell."""
        self.station.pong_received(now)

    def lost(self, why: str, now: float) -> None:
        """The connection has ended, not by the charge point's will."""
        self._connection = None
        self._is_cut_off = True
        if self._act is not None and not self._act.has_effect:
            self.forget()
        elif self._is_troubled:
            self._is_away = True
            if self._act is not None:
                self._act.lost(why, now)

    def ended(self, now: float) -> None:
        """The charge point ends the connection itself."""
        reason = self.station.close_reason
        dark = self._act is not None and self._act.misdeed is Misdeed.HALF_OPEN
        if dark or (reason in _OWN_WATCH and self._is_troubled):
            self.lost(reason.value if reason is not None else "", now)
            return
        # For a reason of its own, such as a Reset: the misdeed is cut short, and what follows is healthy.
        self._connection = None
        self.forget()

    # -- what acts call -----------------------------------------------------------------------

    @property
    def connection(self) -> CrookedConnection:
        """The connection that stands."""
        assert self._connection is not None
        return self._connection

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""
        return self.station.template.call_timeout

    @property
    def is_ending(self) -> bool:
        """Whether the charge point is about to end the connection."""
        return self.station.close_reason is not None

    def send(self, text: bytes) -> None:
        """Send a message beside those of the charge point.

        Raises:
            ConnectionLost: it could not be sent.
        """
        self._log(text)
        self.connection.send_beside(text)

    def spawn(self, run: Callable[[], None]) -> Greenlet:
        """Let something live beside the charge point."""
        greenlet = spawn(run)
        self._add(greenlet, None)
        return greenlet

    def leave_behind(self, connection: Connection) -> None:
        """Keep a dead connection as it is, until the central system's TCP would have given up as well."""
        self._add(spawn_later(TCP_GIVES_UP, connection.reset), connection)

    def stop_others(self) -> None:
        """End everything that lives beside the charge point."""
        others, self._others = self._others, []
        for greenlet, connection in others:
            greenlet.kill(block=True)
            if connection is not None:
                connection.abort()

    def verdict(self, seconds: float, error: Exception | None) -> None:
        """The misdeed is done, and this is what the central system did about it."""
        act = self._act
        assert act is not None
        self.forget()
        self._ended_at = time.monotonic()
        self._calm_at = self._ended_at + _AFTERMATH
        self._measurements.misbehaved(act.misdeed.value, seconds, error)

    def forget(self) -> None:
        """The misdeed is over, without a word about it."""
        act, self._act = self._act, None
        if act is not None and act.distorts:
            self._distorted_until = time.monotonic()

    # -- inside -------------------------------------------------------------------------------

    @property
    def _is_troubled(self) -> bool:
        """Whether what goes wrong now is of its own making."""
        if self._act is not None and self._act.has_effect:
            return True
        return self._is_away or time.monotonic() < self._calm_at

    def _add(self, greenlet: Greenlet, connection: Connection | None) -> None:
        self._others = [each for each in self._others if not each[0].dead]
        self._others.append((greenlet, connection))

    def _plan(self, now: float) -> None:
        drawn = self._behaviour.draw(self.random)
        if drawn is not None:
            self._next_at, self._next = now + drawn[0], drawn[1]
