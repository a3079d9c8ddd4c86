"""What a charge point tells of its smart charging, and keeps to (core 3.13.5, 9.4; core errata 3.24, 3.65, 3.88)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene

WATTS_PER_AMPERE = 3 * 230.0


def booted(**settings: str) -> Scene:
    scene = Scene(Template(settings=(("MeterValueSampleInterval", "0"), *settings.items())))
    scene.boot(86_400)
    return scene


def profile(
    *periods: tuple[int, float],
    number: int = 1,
    level: int = 0,
    purpose: str = "TxDefaultProfile",
    unit: str = "A",
    **more: Any,
) -> dict[str, Any]:
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": "Relative",
        "chargingSchedule": {
            "chargingRateUnit": unit,
            "chargingSchedulePeriod": [{"startPeriod": start, "limit": limit} for start, limit in periods],
        },
        **more,
    }


def install(scene: Scene, what: dict[str, Any], connector_id: int = 1) -> str | None:
    answer = scene.command("SetChargingProfile", {"connectorId": connector_id, "csChargingProfiles": what})
    return answer["status"] if isinstance(answer, dict) else answer


def test_the_keys_of_smart_charging_can_be_read() -> None:
    """Core 3.13.5: SHALL implement, and support reporting of; all of them read-only (9.4)."""
    names = [
        "ChargeProfileMaxStackLevel",
        "ChargingScheduleAllowedChargingRateUnit",
        "ChargingScheduleMaxPeriods",
        "MaxChargingProfilesInstalled",
    ]
    got = booted().command("GetConfiguration", {"key": names})
    assert isinstance(got, dict)
    assert names == [each["key"] for each in got["configurationKey"]]
    assert all(each["readonly"] and each["value"] for each in got["configurationKey"])


def test_the_highest_stack_level_is_the_one_that_is_told() -> None:
    """Core 9.4.1: ChargeProfileMaxStackLevel."""
    scene = booted(ChargeProfileMaxStackLevel="3")
    assert install(scene, profile((0, 8.0), level=4)) == "Rejected"
    assert install(scene, profile((0, 8.0), level=3)) == "Accepted"


def test_there_are_as_many_periods_as_is_told() -> None:
    """Core 9.4.3: ChargingScheduleMaxPeriods."""
    scene = booted(ChargingScheduleMaxPeriods="2")
    assert install(scene, profile((0, 8.0), (60, 9.0), (120, 10.0))) == "Rejected"
    assert install(scene, profile((0, 8.0), (60, 9.0))) == "Accepted"


def test_there_are_as_many_profiles_as_is_told() -> None:
    """Core 9.4.5: MaxChargingProfilesInstalled; one that replaces another needs no room."""
    scene = booted(MaxChargingProfilesInstalled="2")
    assert install(scene, profile((0, 8.0), number=1, level=1)) == "Accepted"
    assert install(scene, profile((0, 9.0), number=2, level=2)) == "Accepted"
    assert install(scene, profile((0, 10.0), number=3, level=3)) == "Rejected"
    assert install(scene, profile((0, 10.0), number=3, level=2)) == "Accepted"


@pytest.mark.parametrize(
    ("allowed", "unit", "status"),
    [
        ("Current", "A", "Accepted"),
        ("Current", "W", "Rejected"),
        ("Power", "A", "Rejected"),
        ("Power", "W", "Accepted"),
        ("Current,Power", "A", "Accepted"),
        ("Current,Power", "W", "Accepted"),
    ],
)
def test_current_means_amperes_and_power_watts(allowed: str, unit: str, status: str) -> None:
    """Core errata 3.88: ChargingScheduleAllowedChargingRateUnit has other words than ChargingRateUnitType."""
    scene = booted(ChargingScheduleAllowedChargingRateUnit=allowed)
    assert status == install(scene, profile((0, 6000.0 if unit == "W" else 8.0), unit=unit))


@pytest.mark.parametrize("first", [1, 60])
def test_the_first_period_begins_at_0(first: int) -> None:
    """Core errata 3.45, 3.70: startPeriod of the first ChargingSchedulePeriod SHALL always be 0."""
    scene = booted()
    assert install(scene, profile((first, 8.0))) == "Rejected"
    scene.start()
    assert scene.connector().power == 11_000


def test_a_unit_that_is_none_is_a_call_error() -> None:
    """Core errata 3.24: PropertyConstraintViolation for a chargingRateUnit that is neither A nor W."""
    request = {"connectorId": 1, "duration": 60, "chargingRateUnit": "kW"}
    assert booted().command("GetCompositeSchedule", request) == "PropertyConstraintViolation"


@pytest.mark.parametrize("unit", ["A", "W"])
def test_a_composite_schedule_comes_in_the_unit_that_was_asked_for(unit: str) -> None:
    """Core 6.21: chargingRateUnit can be used to force a power or current profile; errata 3.57: no startSchedule."""
    scene = booted()
    scene.start()
    install(scene, profile((0, 8.0)))
    answer = scene.command("GetCompositeSchedule", {"connectorId": 1, "duration": 60, "chargingRateUnit": unit})
    assert isinstance(answer, dict)
    schedule = answer["chargingSchedule"]
    assert (unit, "startSchedule" in schedule) == (schedule["chargingRateUnit"], False)
    (period,) = schedule["chargingSchedulePeriod"]
    assert (8.0 if unit == "A" else 8 * WATTS_PER_AMPERE) == period["limit"]


def test_a_tx_profile_may_be_valid_for_a_part_of_its_transaction() -> None:
    """Core errata 3.65, 3.66: validFrom and validTo are allowed for TxProfiles, or the highest would never end."""
    scene = booted()
    scene.start()
    validity = {"validFrom": format_utc(UTC_AT_ZERO + 100), "validTo": format_utc(UTC_AT_ZERO + 200)}
    assert install(scene, profile((0, 8.0), purpose="TxProfile", number=1)) == "Accepted"
    assert install(scene, profile((0, 6.0), purpose="TxProfile", number=2, level=1, **validity)) == "Accepted"
    powers = []
    for seconds in (50, 100, 100):
        scene.serve(seconds)
        powers.append(scene.connector().power)
    assert [pytest.approx(each * WATTS_PER_AMPERE) for each in (8, 6, 8)] == powers


def test_an_updated_profile_that_is_not_valid_yet_replaces_the_installed_one_at_once() -> None:
    """Core 3.13.2: SHALL replace the installed profile, and revert to default behaviour until validFrom."""
    scene = booted()
    scene.start()
    assert install(scene, profile((0, 8.0), number=1)) == "Accepted"
    assert scene.connector().power == pytest.approx(8 * WATTS_PER_AMPERE)
    assert install(scene, profile((0, 9.0), number=2, validFrom=format_utc(UTC_AT_ZERO + 100))) == "Accepted"
    assert scene.connector().power == 11_000
    scene.serve(101)
    assert scene.connector().power == pytest.approx(9 * WATTS_PER_AMPERE)


def test_a_default_of_connector_0_is_for_every_transaction_and_no_limit_of_the_whole() -> None:
    """Core errata 3.53: a TxDefaultProfile of connector 0 is for each one, a ChargePointMaxProfile for all together."""
    scene = Scene(Template(connectors=2, settings=(("MeterValueSampleInterval", "0"),)))
    scene.boot(86_400)
    assert install(scene, profile((0, 10.0)), 0) == "Accepted"
    scene.start(1, "TAG1")
    scene.start(2, "TAG2")
    powers = [scene.connector(each).power for each in (1, 2)]
    assert [pytest.approx(10 * WATTS_PER_AMPERE)] * 2 == powers
    assert install(scene, profile((0, 10.0), number=2, purpose="ChargePointMaxProfile"), 0) == "Accepted"
    # Half of it is less than the 6 A of IEC 61851.
    assert [scene.connector(each).power for each in (1, 2)] == [0, 0]


def test_the_default_is_used_unless_a_remote_start_brings_a_profile() -> None:
    """Core errata 3.67: TxDefaultProfile SHALL be used for a new transaction, but not with a profile of its own."""
    scene = booted()
    install(scene, profile((0, 8.0)))
    scene.plug_in()
    scene.command("RemoteStartTransaction", {"idTag": "APP"})
    scene.serve()
    assert scene.connector().power == pytest.approx(8 * WATTS_PER_AMPERE)
    scene.command("RemoteStopTransaction", {"transactionId": 1})
    scene.serve()
    assert scene.unplug()
    scene.plug_in()
    own = profile((0, 12.0), number=9, purpose="TxProfile")
    scene.command("RemoteStartTransaction", {"idTag": "APP", "chargingProfile": own})
    scene.serve()
    assert scene.connector().power == pytest.approx(12 * WATTS_PER_AMPERE)
