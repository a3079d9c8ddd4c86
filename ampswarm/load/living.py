"""`Living`: a Locust user in which one charge point lives, whatever its scenario does.

Its pump does what is due, takes what comes, and connects again; storms reach it from outside. What a scenario can ask
for is its subclass's: `ampswarm.load.user`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

import gevent
from locust import User

from ampswarm.charge_point.events import (
    CommandReceived,
    Registered,
    StationEvent,
    TransactionEnded,
    TransactionStarted,
)
from ampswarm.charge_point.link import Link
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.transaction import Reason
from ampswarm.load.charging_behaviour import EVERYDAY
from ampswarm.load.credentials import Cause
from ampswarm.load.crooked_connection import CrookedConnection
from ampswarm.load.dark_connection import DarkConnection
from ampswarm.load.drivers import Drivers
from ampswarm.load.fleet import Fleet, fleet_of
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed
from ampswarm.load.misconduct import Misconduct
from ampswarm.load.plight import Blow, Plight
from ampswarm.load.storm_spec import StormKind
from ampswarm.load.transport import ConnectFailed, Connection, ConnectionLost, Control
from ampswarm.ocppj.frames import for_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.env import Environment

    from ampswarm.load.errands import Errand
    from ampswarm.load.measurements import Measurements
    from ampswarm.load.population import Population

logger: Final = logging.getLogger("ampswarm.message")

_FAULT: Final = "a fault of the load generator"
_FAULT_PAUSE: Final = 1.0
"""Seconds: one charge point that fails at once and again must not keep the others from living."""
_LAST_WORDS_TIMEOUT: Final = 5.0
"""Seconds for the last StopTransactions of a test."""
_CLOSE_TIMEOUT: Final = 1.0
"""Seconds to wait for the central system's Close frame when the charge point ends a connection."""


class _Woken(BaseException):
    """Ends a wait of the pump: something happened to the charge point from outside."""


class Living(User):
    """A charge point that lives: it connects, boots, beats, answers and reconnects by itself."""

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._fleet: Fleet = fleet_of(environment)
        self._charge_point: ChargePoint | None = None
        self._connection: Connection | CrookedConnection | DarkConnection | None = None
        self._measurements: Measurements | Misconduct = self._fleet.measurements
        self._misconduct: Misconduct | None = None
        self._number = 0
        self._drivers: Drivers | None = None
        self._errand: Errand | None = None
        self.population: Population | None = None
        """What it has in common with others; `None` before it was switched on."""
        self._network_back_at = 0.0
        self._flaw = ""
        # What has hit it and is still to be felt, and what it is in since then.
        self._blows: tuple[Blow, ...] = ()
        self._plight: Plight | None = None
        self._may_be_woken = False

    @property
    def fleet(self) -> Fleet:
        """The charge points of this process."""
        return self._fleet

    @property
    def number(self) -> int:
        """Its number in the fleet, from 1; 0 while it was not switched on."""
        return self._number

    @property
    def charge_point(self) -> ChargePoint:
        """The charge point itself, with its identity and whether it is online."""
        return self._charge_point or self._switch_on()

    def observed(self, event: StationEvent) -> None:
        """Take note of what the charge point observed (`ampswarm.charge_point.events`); does nothing by itself.

        For a scenario's own measurements. It must not wait.
        """

    # -- storms, from outside its greenlet -----------------------------------------------------

    def strike(self, blow: Blow) -> None:
        """Let a storm hit it: at once where its pump waits, or else as soon as it goes on."""
        self._blows = (*self._blows, blow)
        gevent.get_hub().loop.run_callback(self._wake)

    def _wake(self) -> None:
        # In the hub: whether it waits is certain here, and what it waits for ends by itself.
        if self._blows and self._may_be_woken:
            self._may_be_woken = False
            assert self._greenlet is not None
            self._greenlet.throw(_Woken)

    def _feel(self) -> None:
        """Let what has hit it have its effect."""
        self._report()
        blows, self._blows = self._blows, ()
        station = self.charge_point
        for blow in blows:
            now = time.monotonic()
            storm = blow.storm
            # A herd comes back in one instant, whenever each of it was hit.
            back_at = (blow.began + storm.over if storm.kind is StormKind.HERD else now) + storm.away
            self._plight = Plight(blow, station, back_at, self._plight)
            if storm.kind is StormKind.POWER:
                self._cut("power cut")
                station.power_off(now)
                station.power_on(now, after=storm.away)
                continue
            self._network_back_at = max(self._network_back_at, back_at)
            connection = self._connection
            if storm.kind is StormKind.BLACKHOLE:
                if isinstance(connection, DarkConnection) and connection.is_dark:
                    connection.until = max(connection.until, back_at)
                elif connection is not None:
                    self._connection = DarkConnection(connection, back_at, blow.leave_behind)
                continue
            if self._cut("network lost"):
                station.lost(now)
            if self._plight.is_of_a_herd:
                station.retry_at(back_at)
        self._report()

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
        number = fleet.pool.acquire()
        try:
            population, security, self._flaw = fleet.equip(number)
        except BaseException:
            # Locust stops it while the master is asked for the fleet.
            fleet.pool.release(number)
            raise
        self._number = number
        now = time.monotonic()
        station = ChargePoint(
            population.identity(number),
            population.make,
            unique_ids=fleet.unique_ids,
            random=fleet.random,
            utc_offset=time.time() - now,
            security=security,
        )
        self.population = population
        self._charge_point = station
        fleet.charge_points.add(station)
        if population.misbehaviour is not None:
            self._go_wrong(station, population.misbehaviour)
        after = fleet.open_load.start_delay(number, now)
        station.power_on(now, after=fleet.start_delay() if after is None else after)
        behaviour = fleet.behaviour_of(population.charging or EVERYDAY)
        self._errand = fleet.open_load.errand(station, number, behaviour, now)
        return station

    def _go_wrong(self, station: ChargePoint, behaviour: Misbehaviour) -> Misconduct:
        fleet = self._fleet

        def note(misdeed: Misdeed) -> None:
            fleet.lifecycle.write("misbehaves", time.monotonic(), identity=station.identity, how=misdeed.value)

        self._measurements = self._misconduct = misconduct = Misconduct(
            station,
            behaviour,
            fleet.measurements,
            unique_ids=fleet.unique_ids,
            open_another=lambda: fleet.connect(self.host, station, time.monotonic()),
            log=lambda text: self._log_message("out", text),
            note=note,
        )
        return misconduct

    def _switch_off(self) -> None:
        if not self._number:
            return
        try:
            if self._errand is not None:
                for action, seconds in self._errand.end(time.monotonic()):
                    self._fleet.measurements.missed_turn(action, seconds)
                self._errand = None
            if self._fleet.settings.end_sessions:
                self._end_sessions()
            self._disconnect()
        finally:
            if self._misconduct is not None:
                self._misconduct.stop()
            if self._plight is not None:
                self._plight.gone()
                self._plight = None
            self._fleet.charge_points.discard(self.charge_point)
            self._fleet.pool.release(self._number)
            self._number = 0

    def _end_sessions(self) -> None:
        """Stop what runs and tell the central system, as far as it answers in time."""
        station = self.charge_point
        now = time.monotonic()
        if not station.has_transactions():
            return
        station.charging(now).stop_all(Reason.OTHER, now)
        self._pump(now + _LAST_WORDS_TIMEOUT, lambda: not station.unsent or not station.is_online)

    # -- the pump -----------------------------------------------------------------------------

    def _pump(self, until: float, condition: Callable[[], bool] | None = None) -> None:
        """Do what is due and take what comes, until `until` in seconds of the monotonic clock, or a condition."""
        while True:
            # At least one step, and with it a chance for the others, also for a task that never sleeps.
            errand = self._errand
            try:
                if self._blows:
                    self._feel()
                if errand is None:
                    self._step(until)
                else:
                    now = time.monotonic()
                    if errand.deadline <= now:
                        errand.act(now)
                    self._step(min(until, errand.deadline))
            except _Woken:
                continue
            except ConnectionLost as lost:
                self._lost(str(lost))
            except Exception as fault:  # noqa: BLE001  it must not leave a dead charge point behind
                self._may_be_woken = False
                self._lost(_FAULT)
                # To Locust's table of exceptions, which counts them, and never as a flood of lines.
                self.environment.events.user_error.fire(user_instance=self, exception=fault, tb=fault.__traceback__)
                self._fleet.lifecycle.write("fault", time.monotonic(), error=repr(fault))
                gevent.sleep(_FAULT_PAUSE)
            if time.monotonic() >= until or (condition is not None and condition()):
                return

    def _step(self, until: float) -> None:
        station = self.charge_point
        now = time.monotonic()
        if station.attempt(now):
            self._connect()
            return
        connection = self._connection
        if connection is None:
            # Its meters run and its transactions go on without a network.
            station.advance(now)
            self._report()
            self._may_be_woken = True
            try:
                gevent.sleep(min(station.next_deadline(), until) - now)
            finally:
                self._may_be_woken = False
            return
        for text in station.poll(now):
            self._log_message("out", text)
            connection.send(text)
        if station.take_ping(now):
            connection.ping()
        self._report()
        if station.link is Link.CLOSING:
            self._disconnect()
            return
        self._may_be_woken = True
        try:
            message = connection.receive(min(station.next_deadline(), until))
        finally:
            self._may_be_woken = False
        if message is not None:
            self._hear(message)

    def _hear(self, message: bytes | Control) -> None:
        station = self.charge_point
        now = time.monotonic()
        if message is Control.PING:
            station.ping_received(now)
        elif message is Control.PONG:
            station.pong_received(now)
            if self._plight is not None:
                self._plight.heard()
                self._look_around()
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
            self._keep_to_the_herd(self._network_back_at)
            return
        if self._flaw:
            # Without a line for each: the log has said it once for all of them.
            self._measurements.not_connected(None, ConnectFailed(self._flaw))
            station.refused(began)
            return
        self._may_be_woken = True
        try:
            self._connection = connection = fleet.connect(self.host, station, began, self._measurements.connect_part)
        except ConnectFailed as error:
            self._may_be_woken = False
            now = time.monotonic()
            if self._plight is not None:
                self._plight.attempted(error.reason)
            self._measurements.not_connected(now - began, error)
            fleet.connects.refused += 1
            station.refused(
                now,
                retry_after=error.retry_after,
                event=error.cause.security_event,
                why=error.reason,
                was_own_certificate=error.cause is Cause.CLIENT_CERTIFICATE,
            )
            self._keep_to_the_herd(now + station.template.backoff.minimum)
            fleet.lifecycle.write("refused", now, identity=station.identity, why=error.reason)
            return
        except BaseException as fault:
            # Whatever ended it, a fault of ours, a storm, or a time-out of the scenario: the next attempt will come.
            self._may_be_woken = False
            now = time.monotonic()
            if isinstance(fault, Exception):
                self._measurements.not_connected(now - began, ConnectFailed(f"{_FAULT}: {type(fault).__name__}"))
            station.refused(now)
            raise
        self._may_be_woken = False
        now = time.monotonic()
        if self._plight is not None:
            self._plight.attempted()
        self._measurements.connected(now - began)
        fleet.connects.opened += 1
        fleet.connects.again += station.opened_at > 0.0
        if self._misconduct is not None:
            self._connection = self._misconduct.lead(connection)
        station.opened(now)
        fleet.lifecycle.write("connected", now, identity=station.identity)
        self._report()

    def _keep_to_the_herd(self, at: float) -> None:
        """Make the next attempt `at`, whatever the back-off says, if it came in a herd and is not back."""
        if self._plight is not None and self._plight.is_of_a_herd:
            self.charge_point.retry_at(at)

    def _look_around(self) -> None:
        if self._plight is not None and self._plight.is_over():
            self._plight = None

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
            events = station.take_events()
            if why is not None:
                self._observe(events)
            else:
                for event in events:
                    self._measurements.at_end(event)

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
            self._measurements.observe(event)
            if self._misconduct is None:
                fleet.bystanders.note(self._number, event)
            if self._plight is not None:
                self._plight.observe(event)
            if fleet.commands and (command := fleet.commands.get(self.charge_point.identity)) is not None:
                command.observe(event)
            try:
                self.observed(event)
            except Exception as fault:  # noqa: BLE001  the scenario's, and no reason to lose a connection
                fleet.tell_fault("observed", fault)
                self.environment.events.user_error.fire(user_instance=self, exception=fault, tb=fault.__traceback__)
            if fleet.lifecycle.is_on:
                self._log_event(event)
        self._look_around()

    def _log_event(self, event: StationEvent) -> None:
        write = self._fleet.lifecycle.write
        identity = self.charge_point.identity
        match event:
            case Registered(registration, interval):
                write(registration.lower(), time.monotonic(), identity=identity, interval=interval)
            case TransactionStarted(connector_id, id_tag):
                write("charging", time.monotonic(), identity=identity, connector=connector_id, id_tag=id_tag)
            case TransactionEnded(connector_id, _, reason, energy):
                write("charged", time.monotonic(), identity=identity, connector=connector_id, reason=reason, wh=energy)
            case CommandReceived(action, outcome):
                write("command", time.monotonic(), identity=identity, action=action, outcome=outcome)

    def _log_message(self, direction: str, text: bytes) -> None:
        if self._fleet.settings.log_payload:
            logger.info("%s %s %s", self.charge_point.identity, direction, for_log(text))
