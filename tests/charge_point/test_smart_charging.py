"""Charging profiles limit what the specification says they limit, when it says so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pytest

from ampswarm.charge_point.charging_profile import (
    Capabilities,
    ChargingProfile,
    InvalidProfile,
    Purpose,
    RateUnit,
)
from ampswarm.charge_point.smart_charging import Charging, ChargingProfiles, Limit, Supply
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.timestamps import parse_utc

FOREVER = float("inf")
CAPABILITIES = Capabilities(max_stack_level=9, max_periods=24, max_installed=10, units=frozenset(RateUnit))
THREE_PHASES = Supply(power=22080.0, voltage=230.0, phases=3)  # 32 A
ONE_PHASE = Supply(power=7360.0, voltage=230.0, phases=1)
DC = Supply(power=150_000.0, voltage=400.0, phases=1)

NOON = parse_utc("2026-01-05T12:00:00Z")  # a Monday
HOUR = 3600
DAY = 24 * HOUR
WEEK = 7 * DAY


def utc(text: str) -> float:
    return parse_utc(f"2026-01-{text}Z")


def profile(
    *periods: tuple[int, float] | tuple[int, float, int],
    kind: str = "Absolute",
    purpose: str = "TxDefaultProfile",
    unit: str = "W",
    number: int = 1,
    level: int = 0,
    duration: int | None = None,
    start: str | None = "2026-01-05T00:00:00Z",
    **fields: Any,
) -> Payload:
    schedule: Payload = {
        "chargingRateUnit": unit,
        "chargingSchedulePeriod": [
            dict(zip(("startPeriod", "limit", "numberPhases"), period, strict=False)) for period in periods
        ],
    }
    if duration is not None:
        schedule["duration"] = duration
    if start is not None:
        schedule["startSchedule"] = start
    return {
        "chargingProfileId": number,
        "stackLevel": level,
        "chargingProfilePurpose": purpose,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
    } | fields


def installed(*profiles: tuple[int, Payload], since: float = NOON) -> ChargingProfiles:
    """What a charge point has after these SetChargingProfile.req, in which every schema is met."""
    result = ChargingProfiles()
    for connector_id, payload in profiles:
        request = {"connectorId": connector_id, "csChargingProfiles": payload}
        validate("SetChargingProfile", Direction.REQ, request)
        result.install(connector_id, ChargingProfile.from_payload(payload, CAPABILITIES), CAPABILITIES, since)
    return result


def transaction(started: float = NOON, transaction_id: int | None = 7) -> Charging:
    return Charging(started, transaction_id)


def power(
    profiles: ChargingProfiles,
    moment: float,
    *,
    connector_id: int = 1,
    charging: Charging | None = None,
    supply: Supply = THREE_PHASES,
) -> float:
    return profiles.limit(connector_id, moment, charging, supply).power


def composite(
    profiles: ChargingProfiles,
    connector_id: int = 1,
    *,
    moment: float = NOON,
    duration: int = HOUR,
    unit: RateUnit = RateUnit.W,
    charging: Mapping[int, Charging] | None = None,
    supply: Supply = THREE_PHASES,
    connectors: int = 2,
) -> Payload:
    schedule = profiles.composite_schedule(
        connector_id, moment, duration, unit, charging=charging or {}, supply=supply, connectors=connectors
    )
    confirmation = {"status": "Accepted", "connectorId": connector_id, "chargingSchedule": schedule}
    validate("GetCompositeSchedule", Direction.CONF, confirmation)
    return schedule


def rates(schedule: Payload) -> list[tuple[int, float]]:
    return [(each["startPeriod"], each["limit"]) for each in schedule["chargingSchedulePeriod"]]


SPEC_DAILY = profile(
    (0, 11000, 3),
    (8 * HOUR, 6000, 3),
    (20 * HOUR, 11000, 3),
    number=100,
    kind="Recurring",
    recurrencyKind="Daily",
    duration=DAY,
    start="2013-01-01T00:00Z",
)


# What the specification shows.


@pytest.mark.parametrize(
    ("moment", "watts", "until"),
    [
        ("05T00:00:00", 11000.0, "05T08:00:00"),
        ("05T07:59:59.999", 11000.0, "05T08:00:00"),
        ("05T08:00:00", 6000.0, "05T20:00:00"),
        ("05T19:59:59", 6000.0, "05T20:00:00"),
        ("05T20:00:00", 11000.0, "06T00:00:00"),
        ("09T13:00:00", 6000.0, "09T20:00:00"),
    ],
)
def test_the_daily_default_profile_of_the_specification(moment: str, watts: float, until: str) -> None:
    """Core 3.13.7: 6 kW between 08:00h and 20:00h, every day."""
    limit = installed((0, SPEC_DAILY)).limit(1, utc(moment), transaction(), THREE_PHASES)
    assert (watts, 3, utc(until)) == (limit.power, limit.phases, limit.until)


def test_the_composite_schedule_of_the_daily_default_profile() -> None:
    """Core 5.7, errata 3.57: periods count from scheduleStart, and no startSchedule is given."""
    schedule = composite(installed((0, SPEC_DAILY)), moment=utc("05T07:00:00"), duration=DAY)
    assert schedule == {
        "duration": DAY,
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": 11000.0, "numberPhases": 3},
            {"startPeriod": HOUR, "limit": 6000.0, "numberPhases": 3},
            {"startPeriod": 13 * HOUR, "limit": 11000.0, "numberPhases": 3},
        ],
    }


def test_load_balancing_shares_the_grid_connection_among_those_that_charge() -> None:
    """Core 3.13.4: one connector may take it all, two have half of it each."""
    profiles = installed((0, profile((0, 32), purpose="ChargePointMaxProfile", unit="A")))
    alone = {1: transaction()}
    both = alone | {2: transaction()}
    assert rates(composite(profiles, 1, unit=RateUnit.A, charging=alone)) == [(0, 32.0)]
    assert rates(composite(profiles, 1, unit=RateUnit.A, charging=both)) == [(0, 16.0)]
    assert rates(composite(profiles, 0, unit=RateUnit.A, charging=both)) == [(0, 32.0)]


def test_the_composite_schedule_takes_the_minimum_of_each_interval() -> None:
    """Core 3.13.3: intervals of different lengths are merged, and the lower limit holds."""
    profiles = installed(
        (0, profile((0, 8000), (13 * HOUR, 12000), purpose="ChargePointMaxProfile", number=1)),
        (1, profile((0, 10000), (12 * HOUR + 1800, 5000), (14 * HOUR, 15000), number=2)),
    )
    expected = [(0, 8000.0), (1800, 5000.0), (2 * HOUR, 12000.0)]
    assert expected == rates(composite(profiles, duration=3 * HOUR, charging={1: transaction()}))


def test_an_exception_for_a_holiday_is_stacked_on_the_week() -> None:
    """Core 3.13.2: the highest stackLevel that is valid at the moment prevails, and only then."""
    weekly = profile((0, 4000), (5 * DAY, 11000), kind="Recurring", recurrencyKind="Weekly", duration=WEEK)
    holiday = profile(
        (0, 22000), number=2, level=3, validFrom="2026-01-06T00:00:00Z", validTo="2026-01-07T00:00:00Z", start=None
    )
    profiles = installed((0, weekly), (0, holiday))
    moments = ["05T23:59:59", "06T00:00:00", "06T23:59:59", "07T00:00:00", "10T00:00:00", "12T00:00:00"]
    expected = [4000.0, 22000.0, 22000.0, 4000.0, 11000.0, 4000.0]
    assert expected == [power(profiles, utc(moment), charging=transaction()) for moment in moments]
    assert utc("06T00:00:00") == profiles.limit(1, NOON, transaction(), THREE_PHASES).until


# When a schedule is executed.


def test_without_profiles_there_are_no_constraints() -> None:
    """Core 3.13.6: the supply is the limit, for ever."""
    profiles = ChargingProfiles()
    assert Limit(22080.0, 3, FOREVER, 32.0) == profiles.limit(1, NOON, transaction(), THREE_PHASES)
    assert Limit(44160.0, 3, FOREVER, 64.0) == profiles.station_limit(NOON, THREE_PHASES, 2)


def test_after_its_duration_a_schedule_gives_way_to_the_lower_stack_level() -> None:
    """Core errata 3.43: a lower stackLevel if there is one, and else no limit."""
    high = profile((0, 3000), level=2, number=2, duration=13 * HOUR)
    low = profile((0, 9000), level=1, number=1, duration=14 * HOUR)
    profiles = installed((1, low), (1, high))
    found = [profiles.limit(1, NOON + hours * HOUR, transaction(), THREE_PHASES) for hours in (0, 1, 2)]
    assert [each.power for each in found] == [3000.0, 9000.0, 22080.0]
    assert [each.until for each in found] == [NOON + HOUR, NOON + 2 * HOUR, FOREVER]


def test_without_a_duration_the_highest_stack_level_never_ends() -> None:
    """Core errata 3.7: the lower profile is never executed."""
    profiles = installed((1, profile((0, 9000))), (1, profile((0, 3000), level=1, number=2)))
    assert Limit(3000.0, 3, FOREVER, 32.0) == profiles.limit(1, NOON + 1000 * DAY, transaction(), THREE_PHASES)


def test_the_last_period_is_kept_until_the_duration_ends() -> None:
    """Core 5.16.4: what is longer than the duration is not executed, what is shorter is prolonged."""
    profiles = installed((1, profile((0, 5000), (60, 3000), (14 * HOUR, 1000), duration=13 * HOUR)))
    assert power(profiles, NOON + HOUR - 1) == 3000.0
    assert power(profiles, NOON + HOUR) == 22080.0
    assert power(profiles, NOON + 3 * HOUR) == 22080.0


def test_an_absolute_schedule_waits_for_its_start() -> None:
    """Core 7.13: before startSchedule the lower stack level is in force."""
    profiles = installed(
        (1, profile((0, 9000))), (1, profile((0, 3000), level=1, number=2, start="2026-01-05T13:00:00Z"))
    )
    assert Limit(9000.0, 3, NOON + HOUR, 32.0) == profiles.limit(1, NOON, transaction(), THREE_PHASES)
    assert power(profiles, NOON + HOUR) == 3000.0


@pytest.mark.parametrize(
    ("kind", "start"), [("Relative", None), ("Relative", "2026-01-01T00:00:00Z"), ("Absolute", None)]
)
def test_a_schedule_without_a_start_counts_from_the_start_of_charging(kind: str, start: str | None) -> None:
    """Core 7.9, 7.13; a Relative schedule has no fixed start, whatever is sent."""
    profiles = installed((0, profile((0, 9000), (600, 3000), kind=kind, start=start, duration=HOUR)))
    began = transaction(NOON - 300)
    assert _power_and_until(profiles.limit(1, NOON, began, THREE_PHASES)) == (9000.0, NOON + 300)
    assert _power_and_until(profiles.limit(1, NOON + 300, began, THREE_PHASES)) == (3000.0, NOON + 3300)
    assert _power_and_until(profiles.limit(1, NOON + 3300, began, THREE_PHASES)) == (22080.0, FOREVER)


def test_a_connector_without_a_transaction_is_asked_for_one_that_starts_now() -> None:
    """The first period of a Relative schedule awaits the next vehicle."""
    profiles = installed((0, profile((0, 9000), (600, 3000), kind="Relative", start=None)))
    assert power(profiles, NOON, charging=None) == 9000.0
    assert rates(composite(profiles)) == [(0, 9000.0), (600, 3000.0)]


def test_a_clock_that_was_set_back_lifts_no_limit() -> None:
    """Core 4.6: the clock follows the central system, also in the middle of a transaction."""
    profiles = installed((0, profile((0, 9000), (600, 3000), kind="Relative", start=None)))
    limit = profiles.limit(1, NOON, transaction(NOON + 50), THREE_PHASES)
    assert _power_and_until(limit) == (9000.0, NOON + 650)


def test_a_recurring_schedule_restarts_at_the_time_of_its_start() -> None:
    """Core errata 3.79: not at midnight, and not on Monday."""
    daily = installed(
        (0, profile((0, 9000), (HOUR, 3000), kind="Recurring", recurrencyKind="Daily", start="2026-01-01T15:00:00Z"))
    )
    assert [power(daily, utc(t)) for t in ("05T14:59:59", "05T15:00:00", "05T16:00:00")] == [3000.0, 9000.0, 3000.0]
    weekly = installed(
        (0, profile((0, 9000), (DAY, 3000), kind="Recurring", recurrencyKind="Weekly", start="2026-01-01T15:00:00Z"))
    )
    assert [power(weekly, utc(t)) for t in ("08T14:59:59", "08T15:00:00", "09T15:00:00")] == [3000.0, 9000.0, 3000.0]


def test_a_recurring_schedule_does_not_recur_before_its_start() -> None:
    """Core 7.13: startSchedule is the starting point."""
    profiles = installed(
        (0, profile((0, 9000), kind="Recurring", recurrencyKind="Daily", start="2026-01-06T00:00:00Z"))
    )
    assert (22080.0, utc("06T00:00:00")) == _power_and_until(profiles.limit(1, NOON, transaction(), THREE_PHASES))


def test_what_is_longer_than_the_recurrence_is_not_executed() -> None:
    """Core errata 3.44: neither the periods nor the duration reach into the next day."""
    profiles = installed(
        (0, profile((0, 9000), (DAY + HOUR, 1000), kind="Recurring", recurrencyKind="Daily", duration=2 * DAY))
    )
    for hours in range(50):
        assert power(profiles, NOON + hours * HOUR) == 9000.0


def test_between_two_rounds_of_a_recurring_schedule_the_default_is_in_force() -> None:
    """Core errata 3.43: the duration ends each round, the next one begins a day after the last."""
    profiles = installed((0, profile((0, 9000), kind="Recurring", recurrencyKind="Daily", duration=13 * HOUR)))
    assert _power_and_until(profiles.limit(1, NOON, transaction(), THREE_PHASES)) == (9000.0, NOON + HOUR)
    assert _power_and_until(profiles.limit(1, NOON + HOUR, transaction(), THREE_PHASES)) == (22080.0, NOON + DAY / 2)


def test_the_age_of_a_recurring_schedule_costs_nothing() -> None:
    """A daily profile from 1970 is as much work as one from yesterday."""
    work = []
    for start in ("2026-01-04T00:00:00Z", "1970-01-01T00:00:00Z"):
        profiles = installed(
            (0, SPEC_DAILY | {"chargingSchedule": SPEC_DAILY["chargingSchedule"] | {"startSchedule": start}})
        )
        work.append(_lines(lambda profiles=profiles: power(profiles, NOON + 3)))  # type: ignore[misc]
    assert work[0] == work[1]
    assert work[0] > 0


@pytest.mark.parametrize("year", [1970, 1995, 2026])
def test_rounding_never_stops_the_time(year: int) -> None:
    """Starts that no float hits exactly: every next change is later than the last, and changes something."""
    periods = [(number, 1000.0 * (1 + number % 2)) for number in range(24)]
    for milliseconds in range(0, 1000, 7):
        start = f"{year}-01-01T00:00:00.{milliseconds:03}Z"
        profiles = installed((0, profile(*periods, kind="Recurring", recurrencyKind="Daily", start=start)))
        moment = utc("06T00:00:00")
        for _ in range(26):
            limit = profiles.limit(1, moment, transaction(), THREE_PHASES)
            assert limit.until > moment
            assert limit.power != power(profiles, limit.until)
            moment = limit.until


# Units and phases.


@pytest.mark.parametrize(
    ("unit", "limit", "phases", "supply", "watts", "used"),
    [
        ("A", 16, 3, THREE_PHASES, 11040.0, 3),
        ("A", 16, None, THREE_PHASES, 11040.0, 3),  # 3 is assumed (core 7.14)
        ("A", 16, 1, THREE_PHASES, 3680.0, 1),
        ("A", 16, 2, THREE_PHASES, 7360.0, 2),
        ("A", 16, 3, ONE_PHASE, 3680.0, 1),  # the limit as given (core errata 3.34)
        ("A", 100, 3, DC, 40_000.0, 1),
        ("A", 63, 3, THREE_PHASES, 22080.0, 3),  # never above the supply
        ("A", 63, 1, THREE_PHASES, 7360.0, 1),
        ("W", 6000, 3, THREE_PHASES, 6000.0, 3),
        ("W", 6000, 3, ONE_PHASE, 6000.0, 1),  # not 2000 W
        ("W", 11000, 3, ONE_PHASE, 7360.0, 1),
        ("W", 11000, 1, THREE_PHASES, 7360.0, 1),
        ("W", 50_000, None, DC, 50_000.0, 1),
        ("W", 0, None, THREE_PHASES, 0.0, 3),
    ],
)
def test_amperes_are_those_of_a_phase_and_watts_those_of_all(
    *, unit: str, limit: float, phases: int | None, supply: Supply, watts: float, used: int
) -> None:
    """Core 7.12; more phases than there are change nothing about the limit."""
    period = (0, limit) if phases is None else (0, limit, phases)
    found = installed((1, profile(period, unit=unit))).limit(1, NOON, transaction(), supply)
    assert found.power == pytest.approx(watts)
    assert found.phases == used


def test_a_vehicle_on_one_phase_gets_all_watts_and_no_more_amperes() -> None:
    """Core errata 3.34: the limit is for the phases that are used, which a vehicle decides."""
    amperes = installed((1, profile((0, 16), unit="A"))).limit(1, NOON, transaction(), THREE_PHASES)
    watts = installed((1, profile((0, 6000)))).limit(1, NOON, transaction(), THREE_PHASES)
    assert amperes.current == 16.0
    assert watts.current == 32.0


@pytest.mark.parametrize(
    ("own", "station", "watts", "amperes"),
    [
        ((0, 16, 3), (0, 32, 1), 3680.0, 16.0),
        ((0, 16, 1), (0, 10, 3), 2300.0, 10.0),
        ((0, 16, 3), (0, 10, 3), 6900.0, 10.0),
    ],
)
def test_the_share_exceeds_neither_limit_though_their_phases_differ(
    own: tuple[int, float, int], station: tuple[int, float, int], watts: float, amperes: float
) -> None:
    """Core 3.13.3: neither the power nor the current of a phase is above either limit."""
    profiles = installed(
        (1, profile(own, unit="A", number=1, duration=14 * HOUR)),
        (0, profile(station, unit="A", number=2, duration=13 * HOUR, purpose="ChargePointMaxProfile")),
    )
    whole = profiles.station_limit(NOON, THREE_PHASES, 2)
    shared = profiles.limit(1, NOON, transaction(), THREE_PHASES).share(whole, 1, 230.0)
    assert shared == Limit(watts, min(own[2], station[2]), NOON + HOUR, amperes)


def test_the_minimum_charging_rate_informs_and_limits_nothing() -> None:
    """Core 3.13.4: it is for strategies of load balancing."""
    plain, informed = profile((0, 1000)), profile((0, 1000))
    informed["chargingSchedule"]["minChargingRate"] = 4000
    assert power(installed((1, plain)), NOON) == power(installed((1, informed)), NOON)


# Purposes and connectors.


def test_a_tx_profile_overrules_the_default_for_its_transaction_only() -> None:
    """Core 3.13.1: whatever the stack levels are, and gone with the transaction."""
    profiles = installed(
        (1, profile((0, 3000), level=9)),
        (1, profile((0, 15000), purpose="TxProfile", number=2, transactionId=7)),
    )
    assert power(profiles, NOON, charging=transaction()) == 15000.0
    assert power(profiles, NOON, charging=transaction(transaction_id=8)) == 3000.0
    assert power(profiles, NOON, charging=transaction(transaction_id=None)) == 3000.0
    assert power(profiles, NOON, charging=None) == 3000.0
    profiles.end_transaction(1)
    assert power(profiles, NOON, charging=transaction()) == 3000.0
    assert len(profiles) == 1


def test_a_tx_profile_without_a_transaction_id_is_for_the_transaction_there_is() -> None:
    """Core 5.16.2: so comes the profile of a RemoteStartTransaction, before there is an id."""
    remote = profile((0, 15000), purpose="TxProfile", kind="Relative", start=None)
    profiles = installed((1, remote))
    for charging in (None, transaction(transaction_id=None), transaction()):
        assert power(profiles, NOON, charging=charging) == 15000.0
    assert power(profiles, NOON, charging=transaction(), connector_id=2) == 22080.0


def test_the_profile_of_a_remote_start_is_replaced_by_that_of_the_transaction() -> None:
    """Core errata 3.42: with the same stackLevel; with another one they are stacked."""
    remote = profile((0, 15000), purpose="TxProfile", kind="Relative", start=None, number=1)
    same = profile((0, 5000), purpose="TxProfile", number=2, transactionId=7)
    other = same | {"stackLevel": 1}
    assert len(installed((1, remote), (1, same))) == 1
    stacked = installed((1, remote), (1, other))
    assert (len(stacked), power(stacked, NOON, charging=transaction())) == (2, 5000.0)


def test_a_tx_profile_that_is_over_leaves_the_default_in_force() -> None:
    """Core errata 3.43: other profiles are used as soon as its duration has ended."""
    profiles = installed(
        (0, profile((0, 3000))),
        (1, profile((0, 15000), purpose="TxProfile", number=2, kind="Relative", start=None, duration=600)),
    )
    assert _power_and_until(profiles.limit(1, NOON, transaction(), THREE_PHASES)) == (15000.0, NOON + 600)
    assert power(profiles, NOON + 600, charging=transaction()) == 3000.0


def test_the_end_of_a_transaction_concerns_no_other_connector() -> None:
    """Core 3.13.1: the neighbour goes on with its own TxProfile."""
    profiles = installed(
        (1, profile((0, 3000), purpose="TxProfile", number=1)), (2, profile((0, 4000), purpose="TxProfile", number=2))
    )
    profiles.end_transaction(1)
    assert power(profiles, NOON, connector_id=2, charging=transaction()) == 4000.0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_default_for_one_connector_replaces_that_for_all_there_only(order: tuple[int, int]) -> None:
    """Core 3.13.1: on the same stackLevel, in whichever order they came."""
    both = {0: profile((0, 3000), number=1), 1: profile((0, 5000), number=2)}
    profiles = installed(*((connector_id, both[connector_id]) for connector_id in order))
    assert [power(profiles, NOON, connector_id=each) for each in (1, 2)] == [5000.0, 3000.0]
    assert profiles.clear(connector_id=1) == 1
    assert power(profiles, NOON, connector_id=1) == 3000.0


def test_a_replaced_default_does_not_come_back_when_its_replacement_pauses() -> None:
    """Core 3.13.2: a replacement that is not valid yet reverts to default behaviour, here a lower level."""
    profiles = installed(
        (0, profile((0, 1000), number=1, level=1)),
        (0, profile((0, 2000), number=2, level=0)),
        (1, profile((0, 5000), number=3, level=1, validFrom="2026-01-05T13:00:00Z")),
    )
    limit = profiles.limit(1, NOON, transaction(), THREE_PHASES)
    assert _power_and_until(limit) == (2000.0, NOON + HOUR)
    assert power(profiles, NOON, connector_id=2) == 1000.0


def test_a_new_default_is_taken_up_in_the_middle_of_a_transaction_and_so_is_its_end() -> None:
    """Core errata 3.8: the transaction goes on, with the new one, and then without."""
    profiles = installed((0, profile((0, 3000))))
    began = transaction(NOON - HOUR)
    assert power(profiles, NOON, charging=began) == 3000.0
    profiles.install(0, ChargingProfile.from_payload(profile((0, 4000), number=5), CAPABILITIES), CAPABILITIES, NOON)
    assert power(profiles, NOON, charging=began) == 4000.0
    profiles.clear(purpose=Purpose.TX_DEFAULT)
    assert power(profiles, NOON, charging=began) == 22080.0


@pytest.mark.parametrize(
    ("connector_id", "purpose", "message"),
    [
        (1, "ChargePointMaxProfile", "a ChargePointMaxProfile is only for connector 0, not for 1"),
        (0, "TxProfile", "a TxProfile is not for connector 0"),
    ],
)
def test_purposes_belong_to_connectors(connector_id: int, purpose: str, message: str) -> None:
    """Core 3.13.1."""
    with pytest.raises(InvalidProfile) as raised:
        installed((connector_id, profile((0, 3000), purpose=purpose)))
    assert message == str(raised.value)


def test_a_station_limit_without_a_start_counts_from_its_installation() -> None:
    """Core 7.9: a start point that the charge point determines; no transaction is the one."""
    profiles = installed(
        (0, profile((0, 9000), (600, 5000), purpose="ChargePointMaxProfile", kind="Relative", start=None)),
        since=NOON - 60,
    )
    assert _power_and_until(profiles.station_limit(NOON, THREE_PHASES, 2)) == (9000.0, NOON + 540)
    assert _power_and_until(profiles.station_limit(NOON + 540, THREE_PHASES, 2)) == (5000.0, FOREVER)


def test_station_limits_are_stacked_too_and_never_above_the_supply() -> None:
    """Core 3.13.2."""
    profiles = installed(
        (0, profile((0, 40), unit="A", purpose="ChargePointMaxProfile", number=1)),
        (0, profile((0, 500_000), purpose="ChargePointMaxProfile", number=2, level=1, duration=13 * HOUR)),
    )
    assert _power_and_until(profiles.station_limit(NOON, THREE_PHASES, 2)) == (44160.0, NOON + HOUR)
    assert Limit(27600.0, 3, FOREVER, 40.0) == profiles.station_limit(NOON + HOUR, THREE_PHASES, 2)


# What is installed.


def test_the_same_id_is_replaced_wherever_it_was() -> None:
    """Core 5.16.3, 7.8: a chargingProfileId is unique in the charge point."""
    profiles = installed((1, profile((0, 3000), level=1)), (2, profile((0, 4000), level=5)))
    assert len(profiles) == 1
    assert [power(profiles, NOON, connector_id=each) for each in (1, 2)] == [22080.0, 4000.0]


def test_the_same_purpose_and_stack_level_are_replaced_on_the_same_connector_only() -> None:
    """Core 3.13.2; 3.13.1 lets every connector have a default of its own."""
    profiles = installed(
        (1, profile((0, 1000), number=1)),
        (2, profile((0, 2000), number=2)),
        (1, profile((0, 3000), number=3)),
        (0, profile((0, 4000), number=4, purpose="ChargePointMaxProfile")),
    )
    assert len(profiles) == 3
    assert [power(profiles, NOON, connector_id=each) for each in (1, 2)] == [3000.0, 2000.0]


def test_a_full_charge_point_refuses_a_new_profile_and_replaces_an_old_one() -> None:
    """Core 9.4.5; what was refused has changed nothing."""
    two = Capabilities(max_stack_level=9, max_periods=24, max_installed=2, units=frozenset(RateUnit))
    profiles = ChargingProfiles()
    for number in (0, 1):
        payload = profile((0, 1000 + number), level=number, number=number)
        profiles.install(1, ChargingProfile.from_payload(payload, two), two, NOON)
    with pytest.raises(InvalidProfile, match="2 charging profiles are installed, and no more fit"):
        profiles.install(1, ChargingProfile.from_payload(profile((0, 9), level=5, number=5), two), two, NOON)
    assert power(profiles, NOON) == 1001.0
    profiles.install(1, ChargingProfile.from_payload(profile((0, 2000), level=1, number=5), two), two, NOON)
    assert (len(profiles), power(profiles, NOON)) == (2, 2000.0)


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({}, set()),
        ({"profile_id": 3}, {1, 2, 4, 5}),
        ({"profile_id": 3, "connector_id": 9, "stack_level": 9, "purpose": Purpose.TX}, {1, 2, 4, 5}),
        ({"profile_id": 9}, {1, 2, 3, 4, 5}),
        ({"connector_id": 0}, {3, 4, 5}),
        ({"connector_id": 1}, {1, 2, 5}),
        ({"stack_level": 0}, {2, 4}),
        ({"purpose": Purpose.TX_DEFAULT}, {1, 5}),
        ({"purpose": Purpose.TX_DEFAULT, "stack_level": 0}, {1, 2, 4, 5}),
        ({"purpose": Purpose.TX, "connector_id": 1}, {1, 2, 3, 4, 5}),
    ],
)
def test_clearing_takes_what_matches_all_fields(fields: dict[str, Any], left: set[int]) -> None:
    """Core errata 3.25, 3.26: logical AND; all without fields; with an id nothing else counts."""
    profiles = installed(
        (0, profile((0, 1), number=1, purpose="ChargePointMaxProfile")),
        (0, profile((0, 2), number=2, level=1)),
        (1, profile((0, 3), number=3)),
        (1, profile((0, 4), number=4, level=1)),
        (2, profile((0, 5), number=5, purpose="TxProfile")),
    )
    assert 5 - len(left) == profiles.clear(**fields)
    assert left == {number for number in range(1, 6) if profiles.clear(profile_id=number)}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (profile((0, 1), level=10), "stackLevel 10 is not between 0 and 9"),
        (profile((0, 1), level=-1), "stackLevel -1 is not between 0 and 9"),
        (profile((0, 1), transactionId=1), "transactionId is only for a TxProfile, not for a TxDefaultProfile"),
        (profile((0, 1), unit="A"), "chargingRateUnit A is not supported"),
        (profile((0, 1), recurrencyKind="Daily"), "recurrencyKind is only for the kind Recurring, not for Absolute"),
        (profile((0, 1), kind="Recurring"), "a Recurring profile needs a recurrencyKind"),
        (
            profile((0, 1), kind="Recurring", recurrencyKind="Daily", start=None),
            "a Recurring profile needs a startSchedule",
        ),
        (profile((0, 1), start="tomorrow"), "startSchedule: not an ISO 8601 date and time: 'tomorrow'"),
        (profile((0, 1), validTo="never"), "validTo: not an ISO 8601 date and time: 'never'"),
        (
            profile((0, 1), validFrom="2026-01-05T12:00:00Z", validTo="2026-01-05T12:00:00Z"),
            "validTo is not later than validFrom",
        ),
        (profile((0, 1), duration=-1), "the schedule's duration is -1 s"),
        (profile((0, 1), duration=0), "the schedule's duration is 0 s"),
        (profile(), "0 periods in the schedule, not 1 to 3"),
        (profile((0, 1), (1, 1), (2, 1), (3, 1)), "4 periods in the schedule, not 1 to 3"),
        (profile((1, 1)), "the first startPeriod is 1, not 0"),
        (profile((0, 1), (60, 2), (60, 3)), "startPeriod 60 does not come after 60"),
        (profile((0, 1), (60, 2), (30, 3)), "startPeriod 30 does not come after 60"),
        (profile((0, -1)), "the limit -1 is no limit"),
        (profile((0, 1, 0)), "numberPhases 0 is not between 1 and 3"),
        (profile((0, 1, 4)), "numberPhases 4 is not between 1 and 3"),
    ],
)
def test_what_a_charge_point_cannot_take_is_told_in_one_line(payload: Payload, message: str) -> None:
    """Core 7.8, 7.13, 7.14, 9.4; all of these pass the schema."""
    validate("SetChargingProfile", Direction.REQ, {"connectorId": 1, "csChargingProfiles": payload})
    poor = Capabilities(max_stack_level=9, max_periods=3, max_installed=10, units=frozenset({RateUnit.W}))
    with pytest.raises(InvalidProfile) as raised:
        ChargingProfile.from_payload(payload, poor)
    assert message == str(raised.value)


# What is told about it.


def test_an_idle_charge_point_expects_to_take_nothing() -> None:
    """Core 5.7: connector 0 is what the grid will see."""
    assert rates(composite(installed((0, SPEC_DAILY)), 0, duration=DAY)) == [(0, 0.0)]


def test_the_grid_sees_the_sum_of_the_connectors() -> None:
    """Core 5.7: each within its own limit and its share of the station's."""
    profiles = installed(
        (0, profile((0, 20000), purpose="ChargePointMaxProfile", number=1)), (1, profile((0, 4000), number=2))
    )
    charging = {1: transaction(), 2: transaction()}
    assert rates(composite(profiles, 0, charging=charging)) == [(0, 14000.0)]
    assert rates(composite(profiles, 1, charging=charging)) == [(0, 4000.0)]
    assert rates(composite(profiles, 2, charging=charging)) == [(0, 10000.0)]


def test_the_sum_loses_no_digit_to_rounding() -> None:
    """Core 7.14: three times 8.1 A are 24.3 A, which floats make a little less."""
    charging = {connector_id: transaction() for connector_id in (1, 2, 3)}
    profiles = installed((0, profile((0, 8.1), unit="A")))
    schedule = composite(profiles, 0, unit=RateUnit.A, charging=charging, connectors=3)
    assert rates(schedule) == [(0, 24.3)]


def test_an_idle_connector_tells_its_share_beside_those_that_charge() -> None:
    """Core 5.7: what it would get if a vehicle came now."""
    profiles = installed((0, profile((0, 20000), purpose="ChargePointMaxProfile")))
    assert rates(composite(profiles, 2)) == [(0, 20000.0)]
    assert rates(composite(profiles, 2, charging={1: transaction()})) == [(0, 10000.0)]


@pytest.mark.parametrize(
    ("limit", "unit", "wanted", "told"),
    [
        (8.1, "A", RateUnit.A, 8.1),
        (8.1, "A", RateUnit.W, 5589.0),
        (10000, "W", RateUnit.A, 14.4),  # 14.49 A
        (6000.7, "W", RateUnit.W, 6000.7),
    ],
)
def test_limits_have_one_digit_and_are_never_rounded_up(limit: float, unit: str, wanted: RateUnit, told: float) -> None:
    """Core 7.14, 3.13.3: a limit that comes back in its own unit is the same."""
    schedule = composite(installed((1, profile((0, limit), unit=unit))), unit=wanted)
    assert [(0, told)] == rates(schedule)
    assert wanted.value == schedule["chargingRateUnit"]


def test_a_second_in_which_the_limit_changes_tells_the_lowest() -> None:
    """Core 3.13.3: periods have whole seconds, and the request comes between two of them."""
    profiles = installed((1, profile((0, 9000), (12 * HOUR + 10, 3000), (12 * HOUR + 20, 9000))))
    assert rates(composite(profiles, moment=NOON + 0.5)) == [(0, 9000.0), (9, 3000.0), (20, 9000.0)]


def test_a_schedule_of_no_duration_still_has_its_one_period() -> None:
    """Core 7.13: a ChargingSchedule has at least one."""
    schedule = composite(installed((1, profile((0, 9000)))), duration=0)
    assert (schedule["duration"], rates(schedule)) == (0, [(0, 9000.0)])
    with pytest.raises(ValueError, match="a schedule cannot last -1 s"):
        composite(ChargingProfiles(), duration=-1)


def test_a_schedule_of_ten_thousand_years_does_not_stop_the_fleet() -> None:
    """What changes too often is told as far as it goes, and the duration says how far."""
    schedule = composite(installed((0, SPEC_DAILY)), duration=10_000 * 365 * DAY, moment=utc("05T00:00:00"))
    periods = rates(schedule)
    assert 300 * DAY < schedule["duration"] < 1000 * DAY
    assert periods[-1][0] < schedule["duration"]
    assert periods[1] == (8 * HOUR, 6000.0)
    same = profile((0, 9000), (HOUR, 9000), kind="Recurring", recurrencyKind="Daily")
    assert rates(composite(installed((0, same)), duration=10_000 * 365 * DAY)) == [(0, 9000.0)]
    calm = composite(ChargingProfiles(), duration=2**62)
    assert (calm["duration"], rates(calm)) == (2**62, [(0, 22080.0)])


def _power_and_until(limit: Limit) -> tuple[float, float]:
    return limit.power, limit.until


def _lines(call: Callable[[], object]) -> int:
    """Return how many lines of Python a call executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
