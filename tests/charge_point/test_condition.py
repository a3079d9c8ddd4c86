"""What a charge point is at, in one word."""

from __future__ import annotations

from ampswarm.charge_point.condition import Condition, condition_of
from ampswarm.charge_point.vehicle import Vehicle
from tests.fakes.scene import Scene


def test_a_day_of_a_charge_point() -> None:
    """From without power to charging and back, through a fault and a lost network."""
    scene = Scene()
    station = scene.charge_point
    assert condition_of(station) is Condition.OFF
    station.power_on(scene.now, after=5.0)
    assert condition_of(station) is Condition.OFF
    scene.wait_until_due()
    assert station.attempt(scene.now)
    assert condition_of(station) is Condition.CONNECTING
    station.opened(scene.now)
    assert condition_of(station) is Condition.BOOTING
    scene.serve()
    assert condition_of(station) is Condition.ONLINE
    charging = station.charging(scene.now)
    charging.fault(1, "GroundFailure", scene.now)
    assert condition_of(station) is Condition.FAULTED
    charging.repair(1, scene.now)
    assert condition_of(station) is Condition.ONLINE
    charging.plug_in(1, Vehicle(), scene.now)
    charging.present(1, "TAG", scene.now)
    scene.serve(1)
    assert condition_of(station) is Condition.CHARGING
    scene.lose()
    assert condition_of(station) is Condition.OFFLINE
    station.power_off(scene.now)
    assert condition_of(station) is Condition.OFF
