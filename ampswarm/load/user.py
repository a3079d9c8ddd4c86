"""`ChargePointUser`: a Locust user that is a charge point."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import gevent
from locust import User
from locust.user.task import TaskSet

from ampswarm.charge_point.station import (
    ChargePoint,
    CommandReceived,
    Link,
    Registered,
    StationEvent,
)
from ampswarm.load.fleet import Fleet, fleet_of
from ampswarm.load.transport import ConnectFailed, Connection, ConnectionLost, Ping

if TYPE_CHECKING:
    from locust.env import Environment

logger: Final = logging.getLogger("ampswarm.message")

_FAULT: Final = "a fault of the load generator"
_FAULT_PAUSE: Final = 1.0
"""Seconds: one charge point that fails at once and again must not keep the others from living."""
_CLOSE_TIMEOUT: Final = 1.0
"""Seconds to wait for the central system's Close frame when the charge point ends a connection."""


def _sleep_alive(task_set: TaskSet, seconds: float) -> None:
    """Wait between two tasks; a charge point goes on living meanwhile."""
    user = task_set.user
    if isinstance(user, ChargePointUser):
        user.sleep(seconds)
    else:
        gevent.sleep(seconds)


# Where Locust waits between the tasks of a user, and of the task sets in it, however deep.
TaskSet._sleep = _sleep_alive  # type: ignore[method-assign]  # noqa: SLF001


class ChargePointUser(User):
    """A charge point: connects, boots, beats, answers and reconnects by itself.

    A subclass without tasks of its own does just that until Locust stops it. A task uses `sleep`
    instead of `time.sleep`: while it waits, the charge point goes on living. `on_start` and `on_stop`
    are the subclass's own, as for any Locust user.
    """

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._fleet: Fleet = fleet_of(environment)
        self._charge_point: ChargePoint | None = None
        self._connection: Connection | None = None
        self._number = 0
        self._network_back_at = 0.0

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        # Locust adds the tasks of base classes: the default one goes as soon as there is another.
        own = [each for each in cls.tasks if each is not _stay_connected]
        cls.tasks = own or [_stay_connected]

    # -- for scenarios ------------------------------------------------------------------------

    @property
    def charge_point(self) -> ChargePoint:
        """The charge point itself: its identity, and whether it is online."""
        return self._charge_point or self._switch_on()

    def sleep(self, seconds: float) -> None:
        """Let the charge point live for `seconds`; the scenario goes on after that."""
        self._pump(time.monotonic() + seconds)

    def power_cycle(self, seconds: float) -> None:
        """Cut its power for `seconds`: the connection breaks without a word, and a boot follows (J 5.4)."""
        now = time.monotonic()
        station = self.charge_point
        self._cut("power cut")
        station.power_off(now)
        self._report()
        try:
            gevent.sleep(seconds)
        finally:
            # Also when a time-out of the scenario ends the wait: nobody else would switch it on.
            station.power_on(time.monotonic())

    def lose_network(self, seconds: float) -> None:
        """Cut its network for `seconds`: the connection breaks without a word, and it comes back by itself.

        The attempts that it makes meanwhile reach nobody and are not counted as failures; the time
        is part of FLOW / online.
        """
        station = self.charge_point
        now = time.monotonic()
        self._network_back_at = now + seconds
        if self._cut("network lost"):
            station.lost(now)
            self._report()
        self.sleep(seconds)

    # -- what Locust calls --------------------------------------------------------------------

    def run(self) -> None:  # type: ignore[misc]
        """Run until stopped, and then close politely, within a bounded time.

        Locust marks `run` as final, to have `on_start` and `on_stop` used instead. Those belong to
        the scenario, which must not have to remember to call ours.
        """
        try:
            super().run()  # type: ignore[no-untyped-call]
        finally:
            self._switch_off()

    def stop(self, force: bool = False) -> bool:  # noqa: FBT001, FBT002, ARG002  Locust's signature
        """Stop at once: a charge point is in the middle of its task for as long as it lives."""
        stopped: bool = super().stop(force=True)
        return stopped

    def _switch_on(self) -> ChargePoint:
        fleet = self._fleet
        self._number = fleet.pool.acquire()
        settings = fleet.settings
        now = time.monotonic()
        station = ChargePoint(
            settings.identity_format.format(self._number),
            settings.template,
            unique_ids=fleet.unique_ids,
            random=fleet.random,
            utc_offset=time.time() - now,
        )
        self._charge_point = station
        fleet.charge_points.add(station)
        station.power_on(now, after=fleet.start_delay())
        return station

    def _switch_off(self) -> None:
        if not self._number:
            return
        try:
            self._disconnect()
        finally:
            self._fleet.charge_points.discard(self.charge_point)
            self._fleet.pool.release(self._number)
            self._number = 0

    # -- the pump -----------------------------------------------------------------------------

    def _pump(self, until: float) -> None:
        """Do what is due and take what comes, until `until` in seconds of the monotonic clock."""
        while True:
            # At least one step, and with it a chance for the others, also for a task that never sleeps.
            try:
                self._step(until)
            except ConnectionLost as lost:
                self._lost(str(lost))
            except Exception as fault:  # noqa: BLE001  it must not leave a dead charge point behind
                self._lost(_FAULT)
                # To Locust's table of exceptions, which counts them, and never as a flood of lines.
                self.environment.events.user_error.fire(user_instance=self, exception=fault, tb=fault.__traceback__)
                self._fleet.lifecycle.write("fault", time.monotonic(), error=repr(fault))
                gevent.sleep(_FAULT_PAUSE)
            if time.monotonic() >= until:
                return

    def _step(self, until: float) -> None:
        station = self.charge_point
        now = time.monotonic()
        if station.attempt(now):
            self._connect()
            return
        connection = self._connection
        if connection is None:
            gevent.sleep(min(station.next_deadline(), until) - now)
            return
        for text in station.poll(now):
            self._log_message("out", text)
            connection.send(text)
        self._report()
        if station.link is Link.CLOSING:
            self._disconnect()
            return
        message = connection.receive(min(station.next_deadline(), until))
        if message is None:
            return
        now = time.monotonic()
        if message is Ping.PING:
            station.ping_received(now)
        else:
            self._log_message("in", message)
            station.receive(message, now)
            self._report()

    def _connect(self) -> None:
        station = self.charge_point
        fleet = self._fleet
        began = time.monotonic()
        if began < self._network_back_at:
            station.refused(began)
            return
        try:
            self._connection = fleet.connect(self.host, station.identity)
        except ConnectFailed as error:
            now = time.monotonic()
            fleet.measurements.not_connected(now - began, error)
            station.refused(now, retry_after=error.retry_after)
            fleet.lifecycle.write("refused", now, identity=station.identity, why=error.reason)
            return
        except BaseException as fault:
            # Whatever ended it, a fault of ours or a time-out of the scenario: the next attempt will come.
            now = time.monotonic()
            if isinstance(fault, Exception):
                fleet.measurements.not_connected(now - began, ConnectFailed(f"{_FAULT}: {type(fault).__name__}"))
            station.refused(now)
            raise
        now = time.monotonic()
        fleet.measurements.connected(now - began)
        station.opened(now)
        fleet.lifecycle.write("connected", now, identity=station.identity)
        self._report()

    def _disconnect(self) -> None:
        """End the connection because the charge point, or Locust, wants it."""
        connection = self._connection
        if connection is None:
            return
        self._connection = None
        station = self.charge_point
        why = station.close_reason
        try:
            connection.close(_CLOSE_TIMEOUT)
        finally:
            connection.abort()
            now = time.monotonic()
            station.lost(now)
            self._fleet.lifecycle.write("closed", now, identity=station.identity, why=why.value if why else "stopped")
            # Locust's own stop is no failure of the Call that was outstanding.
            events = station.take_events()
            if why is not None:
                self._observe(events)

    def _lost(self, why: str) -> None:
        if self._cut(why):
            self.charge_point.lost(time.monotonic())
            self._report()

    def _cut(self, why: str) -> bool:
        """Drop the connection without a word; return whether there was one."""
        connection = self._connection
        if connection is None:
            return False
        self._connection = None
        connection.abort()
        self._fleet.lifecycle.write("lost", time.monotonic(), identity=self.charge_point.identity, why=why)
        return True

    def _report(self) -> None:
        self._observe(self.charge_point.take_events())

    def _observe(self, events: list[StationEvent]) -> None:
        fleet = self._fleet
        for event in events:
            fleet.measurements.observe(event)
            if fleet.lifecycle.is_on:
                self._log_event(event)

    def _log_event(self, event: StationEvent) -> None:
        write = self._fleet.lifecycle.write
        identity = self.charge_point.identity
        match event:
            case Registered(registration, interval):
                write(registration.lower(), time.monotonic(), identity=identity, interval=interval)
            case CommandReceived(action, outcome):
                write("command", time.monotonic(), identity=identity, action=action, outcome=outcome)

    def _log_message(self, direction: str, text: bytes) -> None:
        if self._fleet.settings.log_payload:
            logger.info("%s %s %s", self.charge_point.identity, direction, text.decode("utf-8", "replace"))


def _stay_connected(user: ChargePointUser) -> None:
    """Be a charge point until Locust says stop."""
    user.sleep(float("inf"))


ChargePointUser.tasks = [_stay_connected]
