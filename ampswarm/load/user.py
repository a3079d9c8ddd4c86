"""`ChargePointUser`: a Locust user that is a charge point, and all that a scenario can let happen to it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import gevent
from locust.user.task import TaskSet

from ampswarm.charge_point.configuration import ConfigurationStatus
from ampswarm.charge_point.connector import Connector
from ampswarm.charge_point.transaction import Transaction
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.load.charging_behaviour import EVERYDAY
from ampswarm.load.dark_connection import DarkConnection
from ampswarm.load.drivers import Drivers
from ampswarm.load.living import Living
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed
from ampswarm.load.transport import Connection, ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import ClassVar

    from ampswarm.charge_point.charging import Charging
    from ampswarm.load.charging_behaviour import ChargingBehaviour
    from ampswarm.load.dark_connection import AnyConnection

_ID_TAG_LENGTH: Final = 20
_VEHICLE: Final = Vehicle()


def _sleep_alive(task_set: TaskSet, seconds: float) -> None:
    """Wait between two tasks; a charge point goes on living meanwhile."""
    user = task_set.user
    if isinstance(user, ChargePointUser):
        user.sleep(seconds)
    else:
        gevent.sleep(seconds)


# Where Locust waits between the tasks of a user, and of the task sets in it, however deep.
TaskSet._sleep = _sleep_alive  # type: ignore[method-assign]  # noqa: SLF001


class ChargePointUser(Living):
    """A charge point: connects, boots, beats, answers and reconnects by itself.

    A subclass without tasks of its own does just that until Locust stops it. A task uses `sleep`
    instead of `time.sleep`: while it waits, the charge point goes on living. `on_start` and `on_stop`
    are the subclass's own, as for any Locust user.
    """

    abstract = True

    storms: ClassVar[Sequence[str]] = ()
    """Storms of the scenario, each as `--storm` takes it; that option takes their place."""

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init_subclass__(**kwargs)
        # Locust adds the tasks of base classes: the default one goes as soon as there is another.
        own = [each for each in cls.tasks if each is not _stay_connected]
        cls.tasks = own or [_stay_connected]

    # -- for scenarios ------------------------------------------------------------------------

    def configure(self, key: str, value: str) -> None:
        """Set a configuration key, as ChangeConfiguration would (core 5.3).

        Raises:
            ValueError: there is no such key, or it cannot have that value.
        """
        station = self.charge_point
        status = station.configuration.change(key, value)
        if status not in (ConfigurationStatus.ACCEPTED, ConfigurationStatus.REBOOT_REQUIRED):
            raise ValueError(f"{key} = {value!r}: {status}")
        if status is ConfigurationStatus.ACCEPTED and station.is_running:
            station.configuration_changed(key, time.monotonic())

    def sleep(self, seconds: float) -> None:
        """Let the charge point live for `seconds`; the scenario goes on after that."""
        until = time.monotonic() + seconds
        drivers = self._drivers
        while drivers is not None and drivers.deadline < until:
            self._pump(drivers.deadline)
            drivers.act(time.monotonic())
        self._pump(until)

    def wait_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Let the charge point live until `condition` is true; return whether it is.

        Args:
            condition: looked at after everything that happens.
            timeout: seconds after which to go on in any case.
        """
        self._pump(time.monotonic() + timeout, condition)
        return condition()

    def plug_in(self, vehicle: Vehicle = _VEHICLE, connector: int = 1) -> bool:
        """Plug in an EV; False when there is one already."""
        return self._charging().plug_in(connector, vehicle, time.monotonic())

    def unplug(self, connector: int = 1) -> bool:
        """Take the EV away; a transaction that still runs stops with EVDisconnected (core 4.10).

        Returns False when there is none, or when its cable is locked.
        """
        return self._charging().unplug(connector, time.monotonic())

    def present(self, id_tag: str, connector: int = 1) -> None:
        """Hold an id tag before the reader, and do not wait for what comes of it (core 4.1).

        Raises:
            ValueError: it is no id tag (core 7.28), or there is no such connector.
        """
        if not 0 < len(id_tag) <= _ID_TAG_LENGTH:
            raise ValueError(f"{id_tag!r} is no id tag: 1 to {_ID_TAG_LENGTH} characters (core 7.28)")
        self._charging().present(connector, id_tag, time.monotonic())

    def start_charging(self, id_tag: str, connector: int = 1, timeout: float = 120.0) -> bool:
        """Present an id tag and wait until the transaction runs; False when it is refused.

        Plug in first, or within ConnectionTimeOut by another greenlet.

        Args:
            id_tag: whose.
            connector: where.
            timeout: seconds to wait at the most.
        """
        used = self.connector(connector)
        if used.transaction is not None:
            return False
        end = time.monotonic() + timeout
        # Nobody charges at one that was never accepted (core 4.2.1), or is still booting.
        self.wait_until(lambda: self.charge_point.may_charge, timeout)
        self.present(id_tag, connector)
        self._pump(end, lambda: used.transaction is not None or not (used.is_checking or used.authorized))
        return used.transaction is not None

    def stop_charging(self, connector: int = 1) -> bool:
        """Present the id tag that started the transaction; False when there is none any more."""
        transaction = self.transaction(connector)
        if transaction is None:
            return False
        self.present(transaction.id_tag, connector)
        return True

    def connector(self, connector: int = 1) -> Connector:
        """Return what is true of a connector: its status, cable, transaction and meter."""
        return self._charging().connector(connector)

    def transaction(self, connector: int = 1) -> Transaction | None:
        """Return the transaction that runs at a connector."""
        return self.connector(connector).transaction

    def _charging(self) -> Charging:
        return self.charge_point.charging(time.monotonic())

    def serve_drivers(self, behaviour: ChargingBehaviour | None = None, seconds: float = float("inf")) -> None:
        """Let EV drivers come to every connector, charge and leave, for `seconds`, or until Locust says stop.

        Once they come, they go on coming in whatever the scenario does next: `sleep`, `lose_network`.

        Args:
            behaviour: how they come and what they want; `None` takes what the fleet file says of the charge
                point's population. Where it says nothing, nobody comes; without a fleet file, drivers
                come as they do to a public charge point.
            seconds: after which the scenario goes on.
        """
        station, fleet = self.charge_point, self._fleet
        assert self.population is not None
        wanted = behaviour or self.population.charging or (None if fleet.settings.fleet else EVERYDAY)
        if wanted is not None and self._drivers is None:
            wanted = fleet.behaviour_of(wanted)
            self._drivers = Drivers(station, wanted, time.monotonic(), fleet.day_offset(wanted))
        self.sleep(seconds)

    # -- what else may happen to it ------------------------------------------------------------

    def pause_charging(self, connector: int = 1) -> None:
        """Let the EV stop taking energy (SuspendedEV) until `resume_charging`."""
        self._charging().pause_ev(connector, time.monotonic(), is_paused=True)

    def resume_charging(self, connector: int = 1) -> None:
        """Let the EV take energy again."""
        self._charging().pause_ev(connector, time.monotonic(), is_paused=False)

    def disconnect_ev(self, connector: int = 1) -> None:
        """Pull the cable out of the EV, and leave it in the charge point (core 4.10)."""
        self._charging().disconnect_ev(connector, time.monotonic())

    def reconnect_ev(self, connector: int = 1) -> None:
        """Put the cable back into the EV."""
        self._charging().reconnect_ev(connector, time.monotonic())

    def fault(self, error_code: str, connector: int = 1, info: str = "") -> None:
        """Let it break: Faulted, with a ChargePointErrorCode (core 7.6), until `repair`; 0 is the charge point."""
        self._charging().fault(connector, error_code, time.monotonic(), info=info)

    def repair(self, connector: int = 1) -> None:
        """Mend it: the connector is again what it was."""
        self._charging().repair(connector, time.monotonic())

    def emergency_stop(self) -> None:
        """Press the red button: every transaction stops with EmergencyStop, all is Faulted until `repair`."""
        self._charging().emergency_stop(time.monotonic())

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

    def misbehave(self, misdeed: Misdeed, seconds: float | None = None) -> bool:
        """Begin with a misdeed, which goes on while the charge point lives (docs/reference/misbehaviour.md).

        Returns False when another one is not over, or the charge point is not online.

        Args:
            misdeed: which.
            seconds: how long it lasts; `None` for as long as such a thing takes.
        """
        station = self.charge_point
        misconduct = self._misconduct or self._go_wrong(station, Misbehaviour())
        connection: AnyConnection | None = self._connection
        if isinstance(connection, DarkConnection) and not connection.is_dark:
            connection = connection.inner
        if isinstance(connection, Connection):
            self._connection = misconduct.lead(connection)
        try:
            return misconduct.begin(misdeed, time.monotonic(), seconds)
        except ConnectionLost as lost:
            self._lost(str(lost))
            return True


def _stay_connected(user: ChargePointUser) -> None:
    """Be a charge point until Locust says stop."""
    user.sleep(float("inf"))


ChargePointUser.tasks = [_stay_connected]
