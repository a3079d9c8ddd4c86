"""What arrives at one charge point in an open load: messages that are due, drivers who come.

Sans-IO like drivers: `act` does what is due, `deadline` says when to call it again. Arrival number k of a
run belongs to charge point k modulo the size of the fleet (`Slots`), so each charge point knows its own, and all of
them together are the planned process, on however many workers. Nobody hands out anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from ampswarm.load.drivers import Driver, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ampswarm.arrivals import Arrivals
    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.charging_behaviour import ChargingBehaviour
    from ampswarm.load.slots import Slots
    from ampswarm.ocppj.frames import Payload

_NEVER: Final = float("inf")
_OVERDUE: Final = 1.0
"""Seconds by which a message must be late at the end of a test to have missed its turn, and not just the end."""
LOOKS_EVERY: Final = 1.0
"""Seconds between two looks at arrivals whose rate may be changed."""

MESSAGES: Final = ("Heartbeat", "MeterValues", "DataTransfer")
"""What may arrive as a message."""
_PAYLOADS: Final[dict[str, Payload | None]] = {
    "Heartbeat": {},
    "MeterValues": None,  # read when it is due
    "DataTransfer": {"vendorId": "Ampswarm", "messageId": "OpenLoad"},
}


class Tally:
    """What became of a process's arrivals."""

    __slots__ = ("answered", "handed", "lost", "turned_away", "unsent")

    def __init__(self) -> None:
        self.handed = 0
        """That a charge point took on."""
        self.answered = 0
        self.lost = 0
        """Without a usable answer, for whatever reason but the end of the test."""
        self.unsent = 0
        """That still waited, or waited for their answer, when their charge point ended."""
        self.turned_away = 0
        """Drivers who found no free connector."""

    @property
    def waiting(self) -> int:
        """Messages that wait for their turn, or for their answer."""
        return self.handed - self.answered - self.lost - self.unsent - self.turned_away

    def take(self) -> list[int]:
        """Return all that was counted since the last time, for `add`."""
        taken = [self.handed, self.answered, self.lost, self.unsent, self.turned_away]
        self.clear()
        return taken if any(taken) else []

    def add(self, taken: Any) -> None:  # noqa: ANN401  whatever came in a message
        """Add what another process had taken.

        Raises:
            ValueError: it is something else.
        """
        handed, answered, lost, unsent, turned_away = taken
        self.handed += int(handed)
        self.answered += int(answered)
        self.lost += int(lost)
        self.unsent += int(unsent)
        self.turned_away += int(turned_away)

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]


class Errand(Protocol):
    """What the pump of a charge point sees to beside the charge point itself."""

    deadline: float
    """When `act` has something to do, in seconds of the monotonic clock."""

    def act(self, now: float) -> None:
        """Do what is due."""
        ...

    def end(self, now: float) -> list[tuple[str, float]]:
        """The charge point ends: return each message that missed its turn, and for how many seconds it waited."""
        ...


class Share:
    """The arrivals of one charge point: every so-many-th of the whole fleet's.

    Args:
        arrivals: the fleet's.
        origin: when they began, in seconds of the monotonic clock.
        number: the charge point's slot, from 1.
        of: how many charge points there are.
        now: the time; what arrived before is not for this one.
    """

    __slots__ = ("_arrivals", "_index", "_of", "_origin", "due")

    def __init__(self, arrivals: Arrivals, origin: float, number: int, of: int, now: float) -> None:
        self._arrivals = arrivals
        self._origin = origin
        self._of = of
        come = arrivals.count(now - origin)
        self._index = come + (number - 1 - come) % of
        self.due = 0.0
        """When the next one comes, in seconds of the monotonic clock; infinity for none."""
        self.look()

    def look(self) -> None:
        """Find out again when the next one comes."""
        self.due = self._origin + self._arrivals.at(self._index)

    def step(self) -> None:
        """The next one has come: go on to the one after it."""
        self._index += self._of
        self.look()


class Messages:
    """Messages of one kind, sent when they are due, or as soon as the charge point can.

    Args:
        station: the charge point.
        share: its arrivals.
        action: what is sent.
        tally: where they are counted.
        is_adjustable: whether the rate may be changed while they come.
    """

    __slots__ = ("_action", "_is_adjustable", "_payload", "_share", "_station", "_tally", "_waiting", "deadline")

    def __init__(
        self, station: ChargePoint, share: Share, action: str, tally: Tally, *, is_adjustable: bool = False
    ) -> None:
        self._station = station
        self._share = share
        self._action = action
        self._payload = _PAYLOADS[action]
        self._tally = tally
        self._is_adjustable = is_adjustable
        self._waiting = 0
        # Looked at once before the first: a rate may be set at any time.
        self.deadline = 0.0 if is_adjustable else share.due

    def act(self, now: float) -> None:
        """Hand over what is due, with the time at which it was."""
        share = self._share
        if self._is_adjustable:
            share.look()
        while share.due <= now:
            self._waiting += 1
            self._tally.handed += 1
            self._station.send(self._action, self._payload, now, due=share.due, done=self._done)
            share.step()
        self.deadline = min(share.due, now + LOOKS_EVERY) if self._is_adjustable else share.due

    def end(self, now: float) -> list[tuple[str, float]]:
        """Give up what was not sent."""
        self._tally.unsent += self._waiting
        self._waiting = 0
        waits = [(each.action, now - each.due) for each in self._station.planned() if each.due is not None]
        return [(action, seconds) for action, seconds in waits if seconds > _OVERDUE]

    def _done(self, payload: Payload | None, now: float) -> None:  # noqa: ARG002  as a notice calls it
        if not self._waiting:
            return  # ended before
        self._waiting -= 1
        if payload is None:
            self._tally.lost += 1
        else:
            self._tally.answered += 1


class Place:
    """An errand in a slot, or the wait for a slot.

    Args:
        slots: of this process.
        number: the charge point's, from 1.
        begin: makes the errand of a slot.
        now: the time.
    """

    __slots__ = ("_begin", "_errand", "_slot", "_slots", "deadline")

    def __init__(self, slots: Slots, number: int, begin: Callable[[int, float], Errand], now: float) -> None:
        self._slots = slots
        self._begin = begin
        self._slot = slots.take_own(number)
        self._errand = None if self._slot is None else begin(self._slot, now)
        self.deadline = now + LOOKS_EVERY if self._errand is None else self._errand.deadline

    def act(self, now: float) -> None:
        """Do what is due, or look for a slot."""
        if self._errand is None:
            self._slot = self._slots.take_any()
            if self._slot is None:
                self.deadline = now + LOOKS_EVERY
                return
            self._errand = self._begin(self._slot, now)
        else:
            self._errand.act(now)
        self.deadline = self._errand.deadline

    def end(self, now: float) -> list[tuple[str, float]]:
        """Leave the slot to somebody else."""
        self._slots.give_back(self._slot)
        return [] if self._errand is None else self._errand.end(now)


class _CalledDriver(Driver):
    """A driver who comes when somebody says so."""

    __slots__ = ()

    def expect(self, station: ChargePoint, now: float) -> None:  # noqa: ARG002  as a driver's
        """Stay away."""
        self._stage = Stage.AWAY
        self.due = _NEVER

    @property
    def is_away(self) -> bool:
        """Whether the connector waits for the next one."""
        return self._stage is Stage.AWAY


class Visits:
    """Drivers who come when they are due, to the first free connector, or drive on where there is none.

    Args:
        station: the charge point.
        share: its arrivals.
        behaviour: what they want; when they come is not looked at.
        tally: where they are counted.
        now: the time.
    """

    __slots__ = ("_drivers", "_share", "_station", "_tally", "deadline")

    def __init__(
        self, station: ChargePoint, share: Share, behaviour: ChargingBehaviour, tally: Tally, now: float
    ) -> None:
        self._station = station
        self._share = share
        self._tally = tally
        self._drivers = [_CalledDriver(each, behaviour, 0.0) for each in range(1, station.template.connectors + 1)]
        for driver in self._drivers:
            driver.expect(station, now)
        self.deadline = share.due

    def act(self, now: float) -> None:
        """Let every driver do what is due, and those come whose time it is."""
        for driver in self._drivers:
            if driver.due <= now:
                driver.act(self._station, now)
        while self._share.due <= now:
            self._share.step()
            self._tally.handed += 1
            if self._comes(now):
                self._tally.answered += 1
            else:
                self._tally.turned_away += 1
        self.deadline = min(self._share.due, *(driver.due for driver in self._drivers))

    def end(self, now: float) -> list[tuple[str, float]]:  # noqa: ARG002  as of any errand
        """Leave: drivers wait for nothing that could be late."""
        return []

    def _comes(self, now: float) -> bool:
        for driver in self._drivers:
            if driver.is_away:
                driver.act(self._station, now)
                if not driver.is_away:
                    return True
        return False
