"""EV drivers at the connectors of one charge point, on a manual clock."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ampswarm.charge_point.events import TransactionEnded
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.distribution import Fixed
from ampswarm.load.charging_behaviour import EVERYDAY, ChargingBehaviour, IdTags, VehicleModel
from ampswarm.load.drivers import Drivers, day_offset
from tests.fakes.scene import UTC_AT_ZERO, Scene

DAY = 86_400.0
BUSY = ChargingBehaviour(
    arrivals=24.0,
    id_tags=IdTags("TAG{:04d}", 50),
    vehicles=(VehicleModel(1.0, Vehicle(battery=60_000, max_ac_power=22_000), Fixed(20.0)),),
    energy=Fixed(5000.0),
)


class Street(Scene):
    """A charge point in service, its drivers, and a central system that answers everything at once."""

    def __init__(
        self, behaviour: ChargingBehaviour, template: Template | None = None, status: str = "Accepted"
    ) -> None:
        super().__init__(template or Template(settings=(("ConnectionTimeOut", "600"),)), seed=7)
        self.status = status
        self.requests: list[tuple[float, str, dict[str, Any]]] = []
        self.boot()
        offset = day_offset(self.now, UTC_AT_ZERO, 0.0, behaviour.acceleration)
        self.drivers = Drivers(self.charge_point, behaviour, self.now, offset)

    def live(self, seconds: float) -> None:
        """Let the time pass, and do what is due in it."""
        end = self.now + seconds
        while True:
            due = min(self.charge_point.next_deadline(), self.drivers.deadline)
            if due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self.drivers.act(self.now)
            while self.sends():
                self._answer()

    def of(self, action: str) -> list[dict[str, Any]]:
        """Return the payloads that were sent."""
        return [payload for _, sent, payload in self.requests if sent == action]

    def _answer(self) -> None:
        call = self.outstanding
        if call is None:
            return
        self.requests.append((self.now, call.action, call.payload))
        info = {"idTagInfo": {"status": self.status}}
        answers: dict[str, dict[str, Any]] = {
            "Heartbeat": {"currentTime": self.time()},
            "Authorize": info,
            "StartTransaction": {"transactionId": len(self.requests), **info},
            "StopTransaction": {},
        }
        self.answer(answers.get(call.action, {}))

    @property
    def ended(self) -> list[TransactionEnded]:
        """The sessions that are over."""
        return [event for event in self.events if isinstance(event, TransactionEnded)]


def test_drivers_come_charge_what_they_want_and_leave() -> None:
    """A day with 24 arrivals at each connector: each takes its 5 kWh, with its own id tag, and goes."""
    street = Street(BUSY, Template(connectors=2, settings=(("ConnectionTimeOut", "600"),)))
    street.live(4 * DAY)
    # 22 kW give 5 kWh in a quarter of an hour, in which the connector is taken: some come in vain.
    assert 4 * 2 * 24 * 0.55 < len(street.ended) < 4 * 2 * 24
    assert {"Local"} == {each.reason for each in street.ended}
    assert all(5000 <= each.energy < 5030 for each in street.ended)
    assert {1, 2} == {each.connector_id for each in street.ended}
    assert len({each.id_tag for each in street.ended}) > 30
    starts, stops = street.of("StartTransaction"), street.of("StopTransaction")
    assert 0 <= len(starts) - len(stops) <= 2
    assert street.charge_point.unsent == 0


def test_a_driver_who_is_refused_leaves_at_once() -> None:
    """The connector must be free for the next one: it would stay blocked else."""
    street = Street(BUSY, status="Blocked")
    street.live(DAY)
    assert street.ended == []
    asked = [at for at, action, _ in street.requests if action == "Authorize"]
    assert len(asked) > 10
    free_again = [at for at, action, payload in street.requests if payload.get("status") == "Available"]
    for at in asked:
        assert any(0 <= later - at < 5 for later in free_again)


def test_a_session_ends_when_its_time_is_over() -> None:
    """Minutes instead of energy."""
    street = Street(replace(BUSY, energy=None, duration=Fixed(1200.0)))
    street.live(DAY)
    assert len(street.ended) > 5
    assert all(1190 < each.seconds < 1210 for each in street.ended)


def test_an_ev_that_is_full_leaves_after_a_while() -> None:
    """SuspendedEV, and then Finishing and Available."""
    street = Street(replace(BUSY, energy=None, vehicles=(VehicleModel(1.0, Vehicle(battery=10_000), Fixed(80.0)),)))
    street.live(DAY)
    assert len(street.ended) > 5
    assert all(1999 <= each.energy <= 2001 for each in street.ended)
    statuses = [payload["status"] for payload in street.of("StatusNotification") if payload["connectorId"] == 1]
    assert "SuspendedEV" in statuses


def test_remote_starts_wait_for_the_central_system() -> None:
    """A driver with an app presents nothing; without a RemoteStartTransaction, it gives up and leaves."""
    street = Street(replace(BUSY, remote_starts=1.0))
    street.live(DAY)
    assert street.of("StartTransaction") == []
    assert street.of("Authorize") == []
    street.events.clear()
    statuses = [payload["status"] for payload in street.of("StatusNotification") if payload["connectorId"] == 1]
    assert {"Preparing", "Available"} <= set(statuses)


def test_a_remote_start_is_taken_by_the_driver_who_waits_for_it() -> None:
    """Core 5.11: the session then runs as any other, and is stopped at the charge point."""
    street = Street(replace(BUSY, remote_starts=1.0))
    while street.charge_point.charging(street.now).connector(1).battery is None:
        street.live(60.0)
    assert street.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "APP"}) == {"status": "Accepted"}
    street.live(7200.0)
    assert [(each.id_tag, each.reason) for each in street.ended] == [("APP", "Local")]
    assert street.ended[0].energy >= 5000


def test_a_session_that_the_central_system_stops_ends_the_visit() -> None:
    """RemoteStopTransaction: the driver takes the cable out soon after."""
    street = Street(replace(BUSY, energy=None))
    connector = street.charge_point.charging(street.now).connector(1)
    while connector.transaction is None:
        street.live(10.0)
    answer = street.command("RemoteStopTransaction", {"transactionId": connector.transaction.transaction_id})
    assert answer == {"status": "Accepted"}
    street.live(120.0)
    assert [each.reason for each in street.ended] == ["Remote"]
    assert connector.battery is None


@pytest.mark.parametrize("acceleration", [1.0, 60.0])
def test_accelerated_days_have_the_same_sessions_with_less_in_each(acceleration: float) -> None:
    """As many sessions in a day of 24 minutes as in one of 24 hours; energy and time shrink with it."""
    street = Street(replace(EVERYDAY, arrivals=12.0, acceleration=acceleration))
    street.live(10 * DAY / acceleration)
    assert 60 < len(street.ended) < 125
    average = sum(each.seconds for each in street.ended) / len(street.ended)
    assert 3000 < average * acceleration < 12_000
    # What the connector gave in all these days, made up for the acceleration.
    energy = sum(each.energy for each in street.ended) * acceleration
    assert 60 * 3000 < energy < 125 * 40_000


def test_drivers_who_cannot_unplug_do_not_block_the_connector_for_ever() -> None:
    """StopTransactionOnEVSideDisconnect false keeps a transaction when the EV leaves (core 4.10)."""
    settings = (("StopTransactionOnEVSideDisconnect", "false"), ("ConnectionTimeOut", "600"))
    street = Street(BUSY, Template(settings=settings))
    street.live(2 * DAY)
    assert len(street.ended) > 20


@pytest.mark.parametrize(("acceleration", "start_hour", "hour"), [(1.0, -1.0, 8), (60.0, -1.0, 8), (60.0, 17.5, 17)])
def test_the_day_begins_at_an_hour_that_can_be_chosen(acceleration: float, start_hour: float, hour: int) -> None:
    """A pipeline's ten minutes must not be night in one run and the rush hour in the next."""
    began, utc = 1234.5, UTC_AT_ZERO + 8 * 3600 + 600
    offset = day_offset(began, utc, start_hour, acceleration)
    behaviour = replace(
        BUSY, acceleration=acceleration, day_profile=tuple(1.0 if each == hour else 0.0 for each in range(24))
    )
    assert behaviour.arrival_rate(began + offset) > 0
    later = began + 3600 / acceleration
    assert behaviour.arrival_rate(later + offset) == 0
