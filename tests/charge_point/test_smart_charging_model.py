"""Charging profiles against a model that reads the specification one instant at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.charging_profile import (
    Capabilities,
    ChargingProfile,
    InvalidProfile,
    Purpose,
    RateUnit,
)
from ampswarm.charge_point.smart_charging import Charging, ChargingProfiles, Supply
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.timestamps import format_utc, parse_utc

CAPABILITIES = Capabilities(max_stack_level=3, max_periods=6, max_installed=6, units=frozenset(RateUnit))
SUPPLIES = [Supply(22080.0, 230.0, 3), Supply(7360.0, 230.0, 1), Supply(150_000.0, 400.0, 1)]
CONNECTORS = 3
NOON = int(parse_utc("2026-01-05T12:00:00Z"))
RECURRENCES = {"Daily": 86_400, "Weekly": 604_800}
SPANS = [1, 2, 10, 60, 61, 3599, 3600, 40_000, 86_399, 86_400, 90_000, 604_800, 700_000]


@dataclass(frozen=True)
class Bound:
    """A period that is in force: what core 7.14 says of it, in the words of the payload."""

    limit: float
    unit: str
    phases: int

    def watts(self, supply: Supply, phases: int, sharing: int) -> float:
        """The most that one of `sharing` connectors may draw on so many phases (core 7.12, errata 3.34)."""
        return self.limit / sharing * (1 if self.unit == "W" else supply.voltage * phases)


@dataclass
class Model:
    """The profiles as they were sent, and the rules as they are written."""

    sent: list[tuple[int, Payload, float]] = field(default_factory=list)

    def install(self, connector_id: int, profile: Payload, moment: float) -> bool:
        purpose = profile["chargingProfilePurpose"]
        if (purpose == "ChargePointMaxProfile" and connector_id > 0) or (purpose == "TxProfile" and connector_id == 0):
            return False
        remaining = []
        for other_connector, other, when in self.sent:
            same_id = other["chargingProfileId"] == profile["chargingProfileId"]
            same_stack = other["stackLevel"] == profile["stackLevel"] and other["chargingProfilePurpose"] == purpose
            if not same_id and not (same_stack and other_connector == connector_id):
                remaining.append((other_connector, other, when))
        if len(remaining) == CAPABILITIES.max_installed:
            return False
        self.sent = [*remaining, (connector_id, profile, moment)]
        return True

    def clear(self, request: Payload) -> int:
        def matches(connector_id: int, profile: Payload) -> bool:
            if "id" in request:
                return bool(profile["chargingProfileId"] == request["id"])
            known = {"connectorId": connector_id} | profile
            return all(known[name] == value for name, value in request.items())

        before = len(self.sent)
        self.sent = [each for each in self.sent if not matches(each[0], each[1])]
        return before - len(self.sent)

    def connector(self, connector_id: int, moment: float, charging: Charging) -> Bound | None:
        """What bounds a connector: the highest TxProfile, or else the highest TxDefaultProfile."""
        candidates = []
        for where, profile, _ in self.sent:
            ours = profile.get("transactionId", charging.transaction_id) == charging.transaction_id
            if profile["chargingProfilePurpose"] == "TxProfile" and where == connector_id and ours:
                candidates.append((1, profile))
        defaults = {}
        for places in ({0}, {connector_id}):
            for where, profile, _ in self.sent:
                if profile["chargingProfilePurpose"] == "TxDefaultProfile" and where in places:
                    defaults[profile["stackLevel"]] = profile
        candidates += [(0, profile) for profile in defaults.values()]
        return highest([(rank, profile, charging.started) for rank, profile in candidates], moment)

    def station(self, moment: float) -> Bound | None:
        return highest(
            [
                (0, profile, when)
                for _, profile, when in self.sent
                if profile["chargingProfilePurpose"] == "ChargePointMaxProfile"
            ],
            moment,
        )


def highest(candidates: list[tuple[int, Payload, float]], moment: float) -> Bound | None:
    in_force = [
        (rank, profile["stackLevel"], bound)
        for rank, profile, since in candidates
        if (bound := period(profile, moment, since)) is not None
    ]
    return max(in_force, key=lambda each: each[:2])[2] if in_force else None


def period(profile: Payload, moment: float, since: float) -> Bound | None:
    """The period of a profile at a moment; all moments of these tests are quarters of a second."""
    schedule = profile["chargingSchedule"]
    if "validFrom" in profile and moment < parse_utc(profile["validFrom"]):
        return None
    if "validTo" in profile and moment >= parse_utc(profile["validTo"]):
        return None
    if profile["chargingProfileKind"] == "Relative" or "startSchedule" not in schedule:
        elapsed = max(moment - since, 0)
    else:
        elapsed = moment - parse_utc(schedule["startSchedule"])
    if elapsed < 0:
        return None
    if profile["chargingProfileKind"] == "Recurring":
        elapsed %= RECURRENCES[profile["recurrencyKind"]]
    if elapsed >= schedule.get("duration", float("inf")):
        return None
    reached = [each for each in schedule["chargingSchedulePeriod"] if each["startPeriod"] <= elapsed]
    last = reached[-1]
    return Bound(last["limit"], schedule["chargingRateUnit"], last.get("numberPhases", 3))


def expected(
    supply: Supply, own: Bound | None = None, station: Bound | None = None, sharing: int = 1
) -> tuple[float, int]:
    """The watts and the phases of one connector: every bound holds, and so does the supply's."""
    bounds = [(own, 1), (station, sharing)]
    phases = min([supply.phases] + [bound.phases for bound, _ in bounds if bound])
    watts = [supply.power * phases / supply.phases]
    watts += [bound.watts(supply, phases, number) for bound, number in bounds if bound]
    return min(watts), phases


def written(moments: st.SearchStrategy[int]) -> st.SearchStrategy[str]:
    return moments.map(format_utc)


near = st.builds(
    lambda side, span, odd: NOON + side * span + odd,
    st.sampled_from([-1, 1]),
    st.sampled_from([0, *SPANS]),
    st.integers(0, 3),
)
long_ago = st.builds(lambda days, odd: NOON - days * 86_400 + odd, st.integers(0, 10_000), st.integers(-5, 5))
quarters = st.builds(lambda moment, quarter: moment + quarter / 4, near, st.integers(0, 3))


@st.composite
def profiles(draw: st.DrawFn) -> Payload:
    kind = draw(st.sampled_from(["Absolute", "Recurring", "Relative"]))
    starts = sorted({0} | draw(st.sets(st.sampled_from(SPANS), max_size=5)))
    unit = draw(st.sampled_from(["A", "W"]))
    most = 500 if unit == "A" else 250_000
    tenths = st.integers(0, most).map(lambda number: number / 10 if unit == "A" else float(number))
    periods = []
    for start in starts:
        each: Payload = {"startPeriod": start, "limit": draw(tenths)}
        if draw(st.booleans()):
            each["numberPhases"] = draw(st.integers(1, 3))
        periods.append(each)
    schedule: Payload = {"chargingRateUnit": unit, "chargingSchedulePeriod": periods}
    if kind == "Recurring" or draw(st.booleans()):
        schedule["startSchedule"] = draw(written(st.one_of(near, long_ago)))
    if draw(st.booleans()):
        schedule["duration"] = draw(st.sampled_from(SPANS))
    profile: Payload = {
        "chargingProfileId": draw(st.integers(1, 8)),
        "stackLevel": draw(st.integers(0, 3)),
        "chargingProfilePurpose": draw(st.sampled_from(list(Purpose))).value,
        "chargingProfileKind": kind,
        "chargingSchedule": schedule,
    }
    if kind == "Recurring":
        profile["recurrencyKind"] = draw(st.sampled_from(["Daily", "Weekly"]))
    if profile["chargingProfilePurpose"] == "TxProfile" and draw(st.booleans()):
        profile["transactionId"] = draw(st.integers(1, 2))
    bounds = sorted(draw(st.sets(near, min_size=2, max_size=2)))
    for name, bound in zip(("validFrom", "validTo"), bounds, strict=True):
        if draw(st.integers(0, 2)) == 0:
            profile[name] = format_utc(bound)
    return profile


clearings = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(1, 8),
        "connectorId": st.integers(0, CONNECTORS),
        "chargingProfilePurpose": st.sampled_from(list(Purpose)).map(lambda purpose: purpose.value),
        "stackLevel": st.integers(0, 3),
    },
)
requests: st.SearchStrategy[tuple[str, int, Any]] = st.one_of(
    st.tuples(st.just("set"), st.integers(0, CONNECTORS), profiles()),
    st.tuples(st.just("set"), st.just(0), profiles()),
    st.tuples(st.just("set"), st.just(1), profiles()),
    st.tuples(st.just("clear"), st.just(0), clearings),
    st.tuples(st.just("stop"), st.integers(1, CONNECTORS), st.just({})),
)
transactions = st.builds(Charging, quarters, st.sampled_from([None, 1, 2]))


def carry_out(steps: list[tuple[str, int, Any]]) -> tuple[ChargingProfiles, Model]:
    """A charge point and the model after the same commands, whose answers are compared."""
    subject, model = ChargingProfiles(), Model()
    for step, connector_id, payload in steps:
        if step == "set":
            request = {"connectorId": connector_id, "csChargingProfiles": payload}
            validate("SetChargingProfile", Direction.REQ, request)
            try:
                subject.install(connector_id, ChargingProfile.from_payload(payload, CAPABILITIES), CAPABILITIES, NOON)
                accepted = True
            except InvalidProfile:
                accepted = False
            assert model.install(connector_id, payload, NOON) == accepted
        elif step == "clear":
            purpose = payload.get("chargingProfilePurpose")
            cleared = subject.clear(
                profile_id=payload.get("id"),
                connector_id=payload.get("connectorId"),
                purpose=None if purpose is None else Purpose(purpose),
                stack_level=payload.get("stackLevel"),
            )
            assert model.clear(payload) == cleared
        else:
            subject.end_transaction(connector_id)
            model.clear({"connectorId": connector_id, "chargingProfilePurpose": "TxProfile"})
        assert len(subject) == len(model.sent)
    return subject, model


def about(left: float, right: float) -> bool:
    return abs(left - right) <= 1e-9 * max(abs(left), abs(right), 1.0)


@given(
    steps=st.lists(requests, max_size=12),
    supply=st.sampled_from(SUPPLIES),
    charging=st.one_of(st.none(), transactions),
    moment=quarters,
    parts=st.lists(st.floats(0, 1), max_size=8),
)
def test_a_limit_is_what_the_specification_says_until_it_says_that_it_may_change(
    steps: list[tuple[str, int, Any]], supply: Supply, charging: Charging | None, moment: float, parts: list[float]
) -> None:
    """Core 3.13: at random instants, for connectors and the charge point, and at instants before `until`."""
    subject, model = carry_out(steps)
    for connector_id in range(1, CONNECTORS + 1):
        limit = subject.limit(connector_id, moment, charging, supply)
        same = charging or Charging(moment, None)
        assert limit.until > moment
        horizon = min(limit.until, moment + 2_000_000.0)
        for each in [moment, *(moment + int((horizon - moment) * 4 * part) / 4 for part in parts), horizon - 0.25]:
            if moment <= each < limit.until:
                bound = model.connector(connector_id, each, same)
                watts, phases = expected(supply, bound)
                assert about(watts, limit.power)
                assert phases == limit.phases
                bound_amperes = [bound.limit] if bound and bound.unit == "A" else []
                assert about(min([supply.power / supply.voltage / supply.phases, *bound_amperes]), limit.current)
    station = subject.station_limit(moment, supply, CONNECTORS)
    assert station.until > moment
    horizon = min(station.until, moment + 2_000_000.0)
    for each in [moment, *(moment + int((horizon - moment) * 4 * part) / 4 for part in parts), horizon - 0.25]:
        if moment <= each < station.until:
            all_together = Supply(supply.power * CONNECTORS, supply.voltage, supply.phases)
            watts, phases = expected(all_together, model.station(each))
            assert about(watts, station.power)
            assert phases == station.phases


@given(steps=st.lists(requests, max_size=12), moment=quarters, charging=transactions, supply=st.sampled_from(SUPPLIES))
def test_following_the_changes_misses_none(
    steps: list[tuple[str, int, Any]], moment: float, charging: Charging, supply: Supply
) -> None:
    """A session that asks again only at `until` sees every change of the next days, in few steps."""
    subject, model = carry_out(steps)
    end = moment + 3 * 86_400
    asked = 0
    while moment < end:
        limit = subject.limit(1, moment, charging, supply)
        asked += 1
        assert about(expected(supply, model.connector(1, moment, charging))[0], limit.power)
        last = min(limit.until, end) - 0.25
        assert about(expected(supply, model.connector(1, last, charging))[0], limit.power)
        moment = limit.until
    # A profile changes at most at each period, at its start and end and at those of its validity.
    assert asked <= 1 + CAPABILITIES.max_installed * 4 * (CAPABILITIES.max_periods + 5)


@given(
    steps=st.lists(requests, max_size=12),
    supply=st.sampled_from(SUPPLIES),
    connector_id=st.integers(0, CONNECTORS),
    charging=st.dictionaries(st.integers(1, CONNECTORS), transactions),
    moment=quarters,
    duration=st.sampled_from([0, 1, 5, 60, 3700, 90_000, 300_000]),
    unit=st.sampled_from(RateUnit),
    seconds=st.lists(st.integers(0, 299_999), max_size=15),
)
def test_the_composite_schedule_tells_each_second_what_will_hold_in_it(  # noqa: PLR0917  Hypothesis passes names
    steps: list[tuple[str, int, Any]],
    supply: Supply,
    connector_id: int,
    charging: dict[int, Charging],
    moment: float,
    duration: int,
    unit: RateUnit,
    seconds: list[int],
) -> None:
    """Core 3.13.3, 5.7: the minimum of all that applies, to the digit below, and never more."""
    subject, model = carry_out(steps)
    schedule = subject.composite_schedule(
        connector_id, moment, duration, unit, charging=charging, supply=supply, connectors=CONNECTORS
    )
    confirmation = {"status": "Accepted", "connectorId": connector_id, "chargingSchedule": schedule}
    validate("GetCompositeSchedule", Direction.CONF, confirmation)
    assert "startSchedule" not in schedule
    assert schedule["duration"] == duration
    assert schedule["chargingRateUnit"] == unit.value
    periods: list[Payload] = schedule["chargingSchedulePeriod"]
    starts = [each["startPeriod"] for each in periods]
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert all(start < max(duration, 1) for start in starts)
    changes = [second for start in starts for second in (start - 1, start, start + 1)]
    for second in {0, duration - 1, *changes[:60], *seconds}:
        if not 0 <= second < max(duration, 1):
            continue
        told = [each for each in periods if each["startPeriod"] <= second][-1]
        # The profiles of these tests change at whole seconds: within one of the schedule's, at a quarter.
        quarters_of_it = [moment + second + quarter / 4 for quarter in range(4)]
        found = [whole(model, supply, connector_id, charging, moment, each, unit) for each in quarters_of_it]
        least = min(rate for rate, _ in found)
        assert told["limit"] <= least + 1e-6
        assert told["limit"] > least - 0.1 - 1e-6
        assert told["numberPhases"] == min(phases for _, phases in found)


def whole(  # noqa: PLR0917  the columns of a table
    model: Model,
    supply: Supply,
    connector_id: int,
    charging: dict[int, Charging],
    asked: float,
    moment: float,
    unit: RateUnit,
) -> tuple[float, int]:
    """What a connector, or all that charge, may draw at a moment, in the unit, and on how many phases."""
    sharing = len(charging.keys() | ({connector_id} - {0}))
    rates, most = [], []
    for each in [connector_id] if connector_id else charging:
        own = model.connector(each, moment, charging.get(each, Charging(asked, None)))
        watts, phases = expected(supply, own, model.station(moment), sharing)
        rates.append(watts if unit is RateUnit.W else watts / supply.voltage / phases)
        most.append(phases)
    return sum(rates), max(most, default=supply.phases)
