"""Charging profiles in force, seen on the wire: power, energy and statuses follow them (core 3.13, 5.5, 5.7, 5.16)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

WANTED = "Energy.Active.Import.Register,Power.Active.Import,Power.Offered,Current.Offered,Current.Import"
FULL = 11_000.0
"""W that the usual EV takes without any limit."""
WATTS_PER_AMPERE = 3 * 230.0


def booted(*, connectors: int = 1, **settings: str) -> Scene:
    chosen = {"MeterValueSampleInterval": "0", "MeterValuesSampledData": WANTED, **settings}
    scene = Scene(Template(connectors=connectors, settings=tuple(chosen.items())))
    scene.boot(interval=86_400)
    return scene


def schedule(*periods: tuple[int, float], unit: str = "A", phases: int | None = None, **more: Any) -> dict[str, Any]:
    """Return a ChargingSchedule: (start, limit) for each period."""
    extra = {} if phases is None else {"numberPhases": phases}
    told = [{"startPeriod": start, "limit": limit, **extra} for start, limit in periods]
    return {"chargingRateUnit": unit, "chargingSchedulePeriod": told, **more}


def profile(
    purpose: str, what: dict[str, Any], *, number: int = 1, level: int = 0, kind: str = "Relative", **more: Any
) -> dict[str, Any]:
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": what,
        **more,
    }


def install(scene: Scene, connector_id: int, what: dict[str, Any]) -> str | None:
    """Set a profile; return the status or the code of the CallError."""
    answer = scene.command("SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": what})
    return answer["status"] if isinstance(answer, dict) else answer


def measured(scene: Scene, connector_id: int = 1) -> dict[str, float]:
    """Ask for MeterValues; return them by measurand, those of a phase with its name."""
    request = {"requestedMessage": "MeterValues", "connectorId": connector_id}
    assert scene.command("TriggerMessage", request) == {"status": "Accepted"}
    (sent,) = [each for each in scene.serve() if each.action == "MeterValues"]
    (element,) = sent.payload["meterValue"]
    return {
        ".".join(filter(None, (each["measurand"], each.get("phase")))): float(each["value"])
        for each in element["sampledValue"]
    }


def power(scene: Scene, connector_id: int = 1) -> float:
    return measured(scene, connector_id)["Power.Active.Import"]


def statuses(sent: list[Sent]) -> list[tuple[int, str]]:
    """Return what was told of connectors, and in which second."""
    return [(round(each.now), each.payload["status"]) for each in sent if each.action == "StatusNotification"]


def at(seconds: float) -> str:
    return format_utc(UTC_AT_ZERO + seconds)


def test_power_follows_a_profile_at_once_and_comes_back_when_it_is_cleared() -> None:
    """Core 5.16.3 and 5.5: the charge point re-evaluates its profiles when one comes or goes."""
    scene = booted()
    scene.start()
    assert power(scene) == FULL
    assert install(scene, 1, profile("TxDefaultProfile", schedule((0, 10.0)))) == "Accepted"
    told = measured(scene)
    assert pytest.approx(10 * WATTS_PER_AMPERE) == told["Power.Active.Import"]
    assert pytest.approx(10 * WATTS_PER_AMPERE) == told["Power.Offered"]
    # The voltage sags a little under load.
    assert pytest.approx(10.0, rel=0.02) == told["Current.Offered"]
    assert scene.command("ClearChargingProfile", {"id": 1}) == {"status": "Accepted"}
    assert power(scene) == FULL
    assert scene.command("ClearChargingProfile", {"id": 1}) == {"status": "Unknown"}


def test_suspending_and_resuming_is_told_at_once() -> None:
    """Core 4.9, C5 and E3: the driver sees why nothing flows, and when it flows again."""
    scene = booted()
    scene.start()
    install(scene, 1, profile("TxDefaultProfile", schedule((0, 0.0))))
    assert [status for _, status in statuses(scene.serve())] == ["SuspendedEVSE"]
    scene.command("ClearChargingProfile", {"connectorId": 1})
    assert [status for _, status in statuses(scene.serve())] == ["Charging"]


def test_meter_values_and_energy_follow_the_periods_of_a_schedule() -> None:
    """Core 7.14: each period from its startPeriod; core 4.9: C5 and E3 when it suspends and resumes."""
    scene = booted(MeterValueSampleInterval="300", MeterValuesSampledData="Power.Active.Import")
    scene.start()
    what = schedule((0, 16.0), (600, 0.0), (1200, 10.0), (1800, 5.9), (2400, 6.0))
    assert install(scene, 1, profile("TxProfile", what)) == "Accepted"
    told = scene.serve(2999)
    assert statuses(told) == [
        (600, "SuspendedEVSE"),
        (1200, "Charging"),
        # Less than the 6 A of IEC 61851 is nothing at all.
        (1800, "SuspendedEVSE"),
        (2400, "Charging"),
    ]
    samples = [
        float(each.payload["meterValue"][0]["sampledValue"][0]["value"])
        for each in told
        if each.action == "MeterValues"
    ]
    # At 300, 600 and so on, where the time of a change is the reading before it.
    assert samples == [FULL, FULL, 0, 0, 6900, 6900, 0, 0, 4140]
    scene.wait(1)
    scene.present()
    (stop,) = [each.payload for each in scene.serve() if each.action == "StopTransaction"]
    assert pytest.approx((FULL * 600 + 6900 * 600 + 4140 * 600) / 3600, abs=1) == stop["meterStop"]


def test_a_profile_ends_with_valid_to() -> None:
    """Core 7.8: no longer valid then; the charge point falls back to the next one."""
    scene = booted()
    scene.start()
    lower = profile("TxDefaultProfile", schedule((0, 12.0)), number=1, level=0)
    higher = profile("TxDefaultProfile", schedule((0, 8.0)), number=2, level=1, validTo=at(500))
    assert [install(scene, 1, each) for each in (lower, higher)] == ["Accepted"] * 2
    assert pytest.approx(8 * WATTS_PER_AMPERE) == power(scene)
    scene.serve(499.9)
    assert pytest.approx(8 * WATTS_PER_AMPERE) == power(scene)
    scene.serve(0.2)
    assert pytest.approx(12 * WATTS_PER_AMPERE) == power(scene)


def test_a_duration_falls_back_to_the_lower_stack_level() -> None:
    """Core 5.16.4 and core errata 3.43: after the duration, the lower stackLevel, and without one no limit."""
    scene = booted()
    scene.start()
    first = profile("TxProfile", schedule((0, 7.0), duration=100), number=1, level=5)
    second = profile("TxProfile", schedule((0, 9.0), duration=200), number=2, level=2)
    assert [install(scene, 1, each) for each in (first, second)] == ["Accepted"] * 2
    powers = []
    for _ in range(3):
        powers.append(power(scene))
        scene.serve(100.5)
    assert [pytest.approx(each) for each in powers] == [7 * WATTS_PER_AMPERE, 9 * WATTS_PER_AMPERE, FULL]


def test_two_connectors_share_the_limit_of_the_charge_point() -> None:
    """Core 3.13.3: the combined energy flow SHALL NOT be greater than the ChargePointMaxProfile."""
    scene = booted(connectors=2)
    scene.start(1)
    what = profile("ChargePointMaxProfile", schedule((0, 10_000.0), (900, 0.0), (1200, 16_000.0), unit="W"))
    assert install(scene, 0, what) == "Accepted"
    assert power(scene, 1) == 10_000
    scene.start(2, "TWO")
    assert [power(scene, each) for each in (1, 2)] == [5000, 5000]
    scene.serve(600)
    scene.present(1)
    scene.serve()
    assert [power(scene, each) for each in (1, 2)] == [0, 10_000]
    told = statuses(scene.serve(700))
    assert told == [(900, "SuspendedEVSE"), (1200, "Charging")]
    assert power(scene, 2) == FULL
    registers = [measured(scene, each)["Energy.Active.Import.Register"] for each in (1, 2)]
    assert pytest.approx(5000 * 600 / 3600, abs=1) == registers[0]
    assert pytest.approx((5000 * 600 + 10_000 * 300 + FULL * 100) / 3600, abs=1) == registers[1]


def test_a_charge_point_limit_too_small_for_two_suspends_both() -> None:
    """Core 3.13.3 and IEC 61851: half of 8 A is not enough for either, and no more may flow."""
    scene = booted(connectors=2)
    scene.start(1)
    assert install(scene, 0, profile("ChargePointMaxProfile", schedule((0, 8.0)))) == "Accepted"
    assert pytest.approx(8 * WATTS_PER_AMPERE) == power(scene, 1)
    scene.start(2, "TWO")
    assert sum(power(scene, each) for each in (1, 2)) <= 8 * WATTS_PER_AMPERE
    assert [each.status for each in scene.charging if each.connector_id] == ["SuspendedEVSE"] * 2


def test_a_tx_profile_overrules_the_default_but_not_the_charge_point() -> None:
    """Core 3.13.1 and 3.13.3: TxProfile instead of TxDefaultProfile; ChargePointMaxProfile on top of either."""
    scene = booted()
    transaction_id = scene.start()
    install(scene, 0, profile("TxDefaultProfile", schedule((0, 8.0)), number=1))
    assert pytest.approx(8 * WATTS_PER_AMPERE) == power(scene)
    install(scene, 1, profile("TxProfile", schedule((0, 15.0)), number=2, transactionId=transaction_id))
    assert pytest.approx(15 * WATTS_PER_AMPERE) == power(scene)
    install(scene, 0, profile("ChargePointMaxProfile", schedule((0, 10.0)), number=3))
    assert pytest.approx(10 * WATTS_PER_AMPERE) == power(scene)


def test_a_tx_profile_goes_with_its_transaction() -> None:
    """Core 3.13.1: for the current transaction only; after it is stopped, the profile is deleted."""
    scene = booted()
    scene.start()
    assert install(scene, 1, profile("TxProfile", schedule((0, 7.0)))) == "Accepted"
    scene.present()
    scene.serve()
    assert scene.command("ClearChargingProfile", {}) == {"status": "Unknown"}
    assert scene.unplug()
    scene.start()
    assert power(scene) == FULL


@pytest.mark.parametrize("connector_id", [0, 1, 2])
def test_a_tx_profile_without_its_transaction_is_refused(connector_id: int) -> None:
    """Core 3.13.1: without a transaction, for another one, or at connector 0: an error status."""
    scene = booted(connectors=2)
    scene.start(2)
    more: dict[str, Any] = {} if connector_id != 2 else {"transactionId": 4711}
    assert install(scene, connector_id, profile("TxProfile", schedule((0, 7.0)), **more)) == "Rejected"
    assert power(scene, 2) == FULL


def test_a_charge_point_max_profile_is_only_for_connector_0() -> None:
    """Core 3.13.1."""
    scene = booted()
    assert install(scene, 1, profile("ChargePointMaxProfile", schedule((0, 7.0)))) == "Rejected"


def test_a_default_for_one_connector_replaces_that_for_all_there_only() -> None:
    """Core 3.13.1: replaced only for that specific connector."""
    scene = booted(connectors=2)
    install(scene, 0, profile("TxDefaultProfile", schedule((0, 8.0)), number=1))
    install(scene, 2, profile("TxDefaultProfile", schedule((0, 12.0)), number=2))
    scene.start(1)
    scene.start(2, "TWO")
    assert [pytest.approx(power(scene, each)) for each in (1, 2)] == [8 * WATTS_PER_AMPERE, 12 * WATTS_PER_AMPERE]


@pytest.mark.parametrize("way", ["Soft", "Hard", "power cut"])
def test_profiles_persist(way: str) -> None:
    """Core errata 3.37: SHALL be persistent across reboots and power cycles; a TxProfile had its transaction."""
    scene = booted()
    scene.start()
    install(scene, 0, profile("ChargePointMaxProfile", schedule((0, 12.0)), number=1))
    install(scene, 0, profile("TxDefaultProfile", schedule((0, 9.0)), number=2))
    install(scene, 1, profile("TxProfile", schedule((0, 7.0)), number=3))
    if way == "power cut":
        scene.charge_point.power_off(scene.now)
        scene.wait(60)
        scene.charge_point.power_on(scene.now)
    else:
        scene.command("Reset", {"type": way})
        scene.serve(60)
        scene.lose()
    scene.connect()
    scene.serve(5)
    assert scene.unplug()
    scene.start()
    assert pytest.approx(9 * WATTS_PER_AMPERE) == power(scene)
    assert scene.command("ClearChargingProfile", {"id": 3}) == {"status": "Unknown"}
    assert scene.command("ClearChargingProfile", {"id": 2}) == {"status": "Accepted"}
    assert power(scene) == min(FULL, 12 * WATTS_PER_AMPERE)
    assert scene.command("ClearChargingProfile", {"id": 1}) == {"status": "Accepted"}


@pytest.mark.parametrize("field", ["chargingRateUnit", "chargingProfilePurpose", "chargingProfileKind"])
def test_an_invalid_enumeration_is_a_call_error(field: str) -> None:
    """Core errata 3.38: PropertyConstraintViolation, and nothing changes."""
    scene = booted()
    scene.start()
    what = profile("TxDefaultProfile", schedule((0, 7.0)))
    (what["chargingSchedule"] if field in what["chargingSchedule"] else what)[field] = "kW"
    assert install(scene, 1, what) == "PropertyConstraintViolation"
    assert power(scene) == FULL


@pytest.mark.parametrize("connector_id", [-1, 3])
def test_a_connector_that_is_not_there_is_a_call_error(connector_id: int) -> None:
    """Core errata 3.39: PropertyConstraintViolation."""
    scene = booted(connectors=2)
    what = profile("TxDefaultProfile", schedule((0, 7.0)))
    assert install(scene, connector_id, what) == "PropertyConstraintViolation"


def test_without_smart_charging_nothing_of_it_is_supported() -> None:
    """Core errata 3.39: NotSupported; a remote start goes without the profile that it brings."""
    scene = booted(SupportedFeatureProfiles="Core,RemoteTrigger")
    what = profile("TxProfile", schedule((0, 7.0)))
    assert install(scene, 0, what) == "NotSupported"
    assert scene.command("ClearChargingProfile", {}) == "NotSupported"
    assert scene.command("GetCompositeSchedule", {"connectorId": 0, "duration": 60}) == "NotSupported"
    scene.plug_in()
    request = {"connectorId": 1, "idTag": "A", "chargingProfile": what}
    assert scene.command("RemoteStartTransaction", request) == {"status": "Accepted"}
    scene.serve()
    assert power(scene) == FULL


def test_a_profile_that_comes_with_a_remote_start_is_in_force_and_can_be_replaced() -> None:
    """Core 5.16.2 and core errata 3.42: applied to the transaction; replaced by one of the same stackLevel."""
    scene = booted()
    scene.plug_in()
    request = {"connectorId": 1, "idTag": "A", "chargingProfile": profile("TxProfile", schedule((0, 7.0)), level=3)}
    assert scene.command("RemoteStartTransaction", request) == {"status": "Accepted"}
    scene.serve()
    assert pytest.approx(7 * WATTS_PER_AMPERE) == power(scene)
    replacement = profile("TxProfile", schedule((0, 9.0)), number=2, level=3, transactionId=scene.transactions)
    assert install(scene, 1, replacement) == "Accepted"
    assert pytest.approx(9 * WATTS_PER_AMPERE) == power(scene)
    assert scene.command("ClearChargingProfile", {"id": 1}) == {"status": "Unknown"}


def test_offline_the_profiles_stay_in_force() -> None:
    """Core 3.13.6: it SHALL continue to use a TxProfile, and use what it has for a new transaction."""
    scene = booted(MeterValueSampleInterval="600", MeterValuesSampledData="Power.Active.Import")
    scene.start()
    install(scene, 1, profile("TxProfile", schedule((0, 8.0), (900, 6.5)), number=1))
    install(scene, 0, profile("TxDefaultProfile", schedule((0, 10.0)), number=2))
    scene.lose()
    scene.pass_offline(1500)
    scene.present()
    assert scene.unplug()
    scene.configure("AllowOfflineTxForUnknownId", "true")
    scene.plug_in()
    scene.present()
    scene.pass_offline(700)
    scene.connect()
    told = [each.payload["meterValue"][0] for each in scene.serve(5) if each.action == "MeterValues"]
    watts = [float(each["sampledValue"][0]["value"]) for each in told]
    assert [pytest.approx(each) for each in watts] == [
        8 * WATTS_PER_AMPERE,
        6.5 * WATTS_PER_AMPERE,
        10 * WATTS_PER_AMPERE,
    ]


def test_a_daily_profile_follows_the_clock_of_the_central_system() -> None:
    """Core 7.37 and 4.6: what recurs, recurs by the clock, also when that is set."""
    scene = booted()
    # Nothing between 06:00 and 22:00.
    what = schedule((0, 0.0), (57_600, 16.0), startSchedule=at(6 * 3600 - 86_400))
    install(scene, 0, profile("TxDefaultProfile", what, kind="Recurring", recurrencyKind="Daily"))
    scene.start(vehicle=Vehicle(battery=1_000_000.0))
    assert power(scene) == FULL
    assert statuses(scene.serve(86_400)) == [(6 * 3600, "SuspendedEVSE"), (22 * 3600, "Charging")]
    scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"})
    scene.sends()
    scene.answer({"currentTime": at(scene.now + 7 * 3600)})
    assert [status for _, status in statuses(scene.serve(1))] == ["SuspendedEVSE"]


def test_limits_are_used_as_given_for_the_phases_that_there_are() -> None:
    """Core errata 3.34: no new limit is calculated for an EV that uses fewer phases."""
    scene = booted()
    install(scene, 1, profile("TxDefaultProfile", schedule((0, 16.0), phases=3)))
    scene.start(vehicle=Vehicle(phases=1, max_ac_power=7400.0))
    told = measured(scene)
    assert pytest.approx(16 * 230) == told["Power.Active.Import"]
    assert told["Current.Import.L1"] > 15.9
    assert (told["Current.Import.L2"], told["Current.Import.L3"]) == (0.0, 0.0)


def test_one_phase_of_a_schedule_leaves_the_others_without_current() -> None:
    """Core 7.14, numberPhases; core 9.4.4, ConnectorSwitch3to1PhaseSupported."""
    scene = booted()
    scene.start()
    install(scene, 1, profile("TxProfile", schedule((0, 10.0), phases=1)))
    told = measured(scene)
    assert pytest.approx(10 * 230) == told["Power.Active.Import"]
    assert (told["Current.Import.L2"], told["Current.Import.L3"]) == (0.0, 0.0)


# -- GetCompositeSchedule -------------------------------------------------------------------------------


def composite(scene: Scene, connector_id: int, duration: int, **more: str) -> dict[str, Any]:
    request = {"connectorId": connector_id, "duration": duration, **more}
    answer = scene.command("GetCompositeSchedule", request)
    assert isinstance(answer, dict)
    return answer


def test_the_power_that_flows_is_the_composite_schedule_that_was_told() -> None:
    """Core 5.7 and core errata 3.28: from now on for the duration; what it tells is what then happens."""
    scene = booted(connectors=2)
    scene.start(1, vehicle=Vehicle(battery=500_000.0, max_ac_power=22_000.0))
    install(scene, 0, profile("ChargePointMaxProfile", schedule((0, 20_000.0), (700, 12_000.0), unit="W"), number=1))
    install(scene, 1, profile("TxProfile", schedule((0, 30.0), (500, 10.0), (1000, 25.0)), number=2))
    scene.serve(100)
    answer = composite(scene, 1, 1200, chargingRateUnit="W")
    assert (answer["status"], answer["connectorId"], answer["scheduleStart"]) == ("Accepted", 1, at(scene.now))
    told = answer["chargingSchedule"]
    assert (told["duration"], told["chargingRateUnit"]) == (1200, "W")
    periods = told["chargingSchedulePeriod"]
    assert [(each["startPeriod"], each["limit"]) for each in periods] == [(0, 20_000), (400, 6900), (900, 12_000)]
    began = scene.now
    for each in periods:
        scene.serve(began + each["startPeriod"] + 1 - scene.now)
        assert pytest.approx(each["limit"], rel=0.001) == power(scene, 1)


def test_connector_0_tells_what_the_charge_point_takes_from_the_grid() -> None:
    """Core 5.7 and core errata 3.30: total expected power or current; nothing without a transaction."""
    scene = booted(connectors=2)
    idle = composite(scene, 0, 600, chargingRateUnit="A")["chargingSchedule"]["chargingSchedulePeriod"]
    assert [each["limit"] for each in idle] == [0]
    scene.start(1)
    scene.start(2, "TWO")
    install(scene, 0, profile("TxDefaultProfile", schedule((0, 8.0)), number=1))
    both = composite(scene, 0, 600, chargingRateUnit="A")["chargingSchedule"]["chargingSchedulePeriod"]
    assert [each["limit"] for each in both] == [16]
    one = composite(scene, 2, 600, chargingRateUnit="W")["chargingSchedule"]["chargingSchedulePeriod"]
    assert [each["limit"] for each in one] == [8 * WATTS_PER_AMPERE]


@pytest.mark.parametrize(("connector_id", "duration"), [(2, 60), (-1, 60), (1, 0), (1, -5)])
def test_a_composite_schedule_that_cannot_be_is_rejected(connector_id: int, duration: int) -> None:
    """Core 5.7 and core errata 3.51: Rejected, without a schedule."""
    scene = booted()
    assert composite(scene, connector_id, duration) == {"status": "Rejected"}
