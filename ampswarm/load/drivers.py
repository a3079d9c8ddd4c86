"""EV drivers who come to the connectors of one charge point, charge, and leave.

Sans-IO like the charge point itself: `act` does what is due, `deadline` says when to call it again.
"""

from __future__ import annotations

from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.transaction import Reason

if TYPE_CHECKING:
    from ampswarm.charge_point.charging import Charging
    from ampswarm.charge_point.connector import Connector
    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.charging_behaviour import ChargingBehaviour

_FOREVER: Final = float("inf")
_AT_THE_READER: Final = (2.0, 15.0)
"""Seconds from the cable to the id tag, and from the end of charging to taking the cable out."""
_PATIENCE: Final = (30.0, 120.0)
"""Seconds that a driver waits for an answer, or for a remote start, before leaving."""
_LOOKS_EVERY: Final = 60.0
"""Seconds between two looks at one's EV: the central system may have stopped it, or changed its power."""
_LEAVES_FULL_AFTER: Final = (60.0, 1800.0)
"""Seconds that an EV that is full stays, because its driver is elsewhere."""


_SOON: Final = 0.01
_ANSWER_EVERY: Final = 0.5
"""Seconds between two looks at whether the id tag was accepted."""
_REMOTE_EVERY: Final = 5.0
"""Seconds between two looks at whether somebody has started the session remotely."""


class Stage(Enum):
    """What a driver is about."""

    AWAY = auto()
    AT_THE_READER = auto()
    WAITING = auto()
    CHARGING = auto()
    FULL = auto()
    LEAVING = auto()


class Driver:
    """Whoever is at one connector, or comes next."""

    __slots__ = (
        "_energy",
        "_enough_at",
        "_has_presented",
        "_id_tag",
        "_stage",
        "_until",
        "behaviour",
        "connector_id",
        "day_offset",
        "due",
    )

    def __init__(self, connector_id: int, behaviour: ChargingBehaviour, day_offset: float) -> None:
        self.connector_id = connector_id
        self.behaviour = behaviour
        self.day_offset = day_offset
        """What to add to the clock for the time that the behaviour's day is made of."""
        self.due = _FOREVER
        """When there is something to do, in seconds of the monotonic clock."""
        self._stage = Stage.AWAY
        self._id_tag = ""
        self._energy = _FOREVER
        self._enough_at = _FOREVER
        self._until = _FOREVER
        self._has_presented = False

    def expect(self, station: ChargePoint, now: float) -> None:
        """Let the next driver come when it is time."""
        self._stage = Stage.AWAY
        self.due = now + self.behaviour.next_arrival(now + self.day_offset, station.random)

    def act(self, station: ChargePoint, now: float) -> None:
        """Do what is due at `now`."""
        charging = station.charging(now)
        charging.advance(now)
        connector = charging.connector(self.connector_id)
        match self._stage:
            case Stage.AWAY:
                self._arrive(station, charging, now)
            case Stage.AT_THE_READER:
                self._present(station, charging, connector, now)
            case Stage.WAITING:
                self._wait(station, connector, now)
            case Stage.CHARGING | Stage.FULL:
                self._charge(station, charging, connector, now)
            case Stage.LEAVING:
                self._leave(station, charging, now)

    def _arrive(self, station: ChargePoint, charging: Charging, now: float) -> None:
        random = station.random
        if not charging.plug_in(self.connector_id, self.behaviour.draw_vehicle(random), now):
            self.expect(station, now)
            return
        self._id_tag = self.behaviour.id_tags.draw(random)
        self._energy = self.behaviour.draw_energy(random)
        self._stage = Stage.AT_THE_READER
        self.due = now + self._pause(random, _AT_THE_READER)

    def _present(self, station: ChargePoint, charging: Charging, connector: Connector, now: float) -> None:
        random = station.random
        self._stage = Stage.WAITING
        self._until = now + self._pause(random, _PATIENCE)
        self._has_presented = connector.transaction is None and not self.behaviour.draw_remote_start(random)
        if self._has_presented:
            charging.present(self.connector_id, self._id_tag, now)
        self._wait(station, connector, now)

    def _wait(self, station: ChargePoint, connector: Connector, now: float) -> None:
        if connector.transaction is not None:
            self._stage = Stage.CHARGING
            self._until = now + self.behaviour.draw_duration(station.random)
            self._look_later(connector, now)
        elif now >= self._until or (self._has_presented and not connector.is_checking):
            # Refused, or nobody started it: drives on.
            self._stage = Stage.LEAVING
            self.due = now
        else:
            self.due = min(self._until, now + (_ANSWER_EVERY if self._has_presented else _REMOTE_EVERY))

    def _charge(self, station: ChargePoint, charging: Charging, connector: Connector, now: float) -> None:
        transaction = connector.transaction
        if transaction is None:
            # Stopped by somebody else: the central system, a reset, a power cut.
            self._finish(station, now)
            return
        if now >= self._enough_at:
            charging.update(now)
        has_enough = connector.register - transaction.meter_start >= self._energy
        if has_enough or now >= self._until:
            if transaction.id_tag == self._id_tag:
                charging.present(self.connector_id, self._id_tag, now)
            else:
                # Started remotely: the driver stops at the charge point's button.
                charging.stop(connector, Reason.LOCAL, now)
            self._finish(station, now)
            return
        battery = connector.battery
        if self._stage is Stage.CHARGING and battery is not None and battery.is_full:
            self._stage = Stage.FULL
            self._until = min(self._until, now + self._pause(station.random, _LEAVES_FULL_AFTER))
        self._look_later(connector, now)

    def _finish(self, station: ChargePoint, now: float) -> None:
        self._stage = Stage.LEAVING
        self.due = now + self._pause(station.random, _AT_THE_READER)

    def _leave(self, station: ChargePoint, charging: Charging, now: float) -> None:
        connector = charging.connector(self.connector_id)
        if connector.locked_for is not None:
            charging.present(self.connector_id, connector.locked_for, now)
        charging.unplug(self.connector_id, now)
        if connector.is_plugged:
            # StopTransactionOnEVSideDisconnect is false: gone with the EV, the cable stays. Ends it for the next one.
            if connector.transaction is not None:
                charging.stop(connector, Reason.OTHER, now)
            charging.unplug(self.connector_id, now)
        self.expect(station, now)

    def _look_later(self, connector: Connector, now: float) -> None:
        transaction, battery = connector.transaction, connector.battery
        self._enough_at = _FOREVER
        if transaction is not None and battery is not None and connector.power > 0:
            # The power can only fall with the state of charge: never too late, and another look if too early.
            missing = self._energy - (connector.register - transaction.meter_start)
            full = battery.seconds_until_full(connector.offered, connector.phases)
            self._enough_at = connector.settled_at + min(missing / connector.power * 3600.0, full) + _SOON
        self.due = min(self._until, max(self._enough_at, now + _SOON), now + _LOOKS_EVERY)

    def _pause(self, random: Random, bounds: tuple[float, float]) -> float:
        return random.uniform(*bounds) / self.behaviour.acceleration


def day_offset(began: float, utc: float, start_hour: float, acceleration: float) -> float:
    """Return what to add to the monotonic clock so that the drivers' day begins at an hour when the test does.

    Args:
        began: when the test began, on the monotonic clock.
        utc: what time that was, in seconds since 1970.
        start_hour: at which hour the day begins; negative for the hour that it was.
        acceleration: how many times as fast the day passes.
    """
    begins = utc % 86_400 if start_hour < 0 else start_hour * 3600.0
    return begins / acceleration - began


class Drivers:
    """The drivers at all connectors of a charge point.

    Args:
        station: the charge point.
        behaviour: how they come, and what they want.
        now: the time.
        day_offset: see `day_offset`.
    """

    __slots__ = ("_drivers", "_station")

    def __init__(self, station: ChargePoint, behaviour: ChargingBehaviour, now: float, day_offset: float) -> None:
        self._station = station
        self._drivers = [Driver(each, behaviour, day_offset) for each in range(1, station.template.connectors + 1)]
        for driver in self._drivers:
            driver.expect(station, now)

    @property
    def deadline(self) -> float:
        """When `act` has something to do."""
        return min(driver.due for driver in self._drivers)

    def act(self, now: float) -> None:
        """Let every driver do what is due."""
        for driver in self._drivers:
            if driver.due <= now:
                driver.act(self._station, now)
