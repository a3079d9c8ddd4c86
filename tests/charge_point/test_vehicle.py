"""An EV's battery: what it draws, exactly, and when it has enough."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ampswarm.charge_point.vehicle import Battery, Vehicle

INSTANT = 1e-6
"""Seconds before the end that count as the end."""

VEHICLES = st.builds(
    Vehicle,
    battery=st.floats(1_000, 200_000),
    soc=st.floats(0, 100),
    target_soc=st.floats(1, 100),
    max_ac_power=st.floats(500, 43_000),
    max_dc_power=st.floats(1_000, 350_000),
    phases=st.integers(1, 3),
)
OFFERS = st.floats(0, 400_000) | st.sampled_from([0.0, 1_380.0, 4_140.0, 11_000.0])
DURATIONS = st.floats(0, 100_000)


def most(vehicle: Vehicle, *, is_dc: bool) -> float:
    return vehicle.max_dc_power if is_dc else vehicle.max_ac_power


def tolerance(vehicle: Vehicle, *, is_dc: bool) -> float:
    """Wh: what flows in the last instant, and rounding."""
    return 1.01 * most(vehicle, is_dc=is_dc) * INSTANT / 3600 + 1e-9 * vehicle.battery


# The curves as a data sheet would draw them: state of charge in percent, share of the most power.
CURVES = {False: [(0.0, 1.0), (95.0, 1.0), (100.0, 0.2)], True: [(0.0, 1.0), (55.0, 1.0), (100.0, 0.15)]}


def drawn(vehicle: Vehicle, *, is_dc: bool, soc: float, offered: float) -> float:
    """W that an EV draws at a state of charge, read from the drawing."""
    curve = CURVES[is_dc]
    right = min(bisect_right([point for point, _ in curve], soc), len(curve) - 1)
    (x0, y0), (x1, y1) = curve[right - 1], curve[right]
    share = y0 + (y1 - y0) * (soc - x0) / (x1 - x0)
    if offered < (1_000 if is_dc else 6 * 230 * vehicle.phases) or soc >= vehicle.target_soc:
        return 0.0
    return min(offered, share * most(vehicle, is_dc=is_dc))


@given(VEHICLES, st.booleans(), OFFERS, st.floats(0.01, 1))
def test_charging_is_what_a_fine_integration_of_the_curve_gives(
    vehicle: Vehicle, is_dc: bool, offered: float, share: float
) -> None:
    """A wrong curve would bill a back end's users for energy that no EV takes."""
    battery = Battery(vehicle, is_dc=is_dc)
    # Long enough to see the taper: up to the time that a full charge takes.
    until_full = battery.seconds_until_full(offered)
    seconds = share * (until_full if 0 < until_full < inf else 3600.0)
    steps = 3000
    soc = vehicle.soc
    percent_per_watt = seconds / steps / 3600 / vehicle.battery * 100
    for _ in range(steps):
        halfway = soc + drawn(vehicle, is_dc=is_dc, soc=soc, offered=offered) * percent_per_watt / 2
        soc += drawn(vehicle, is_dc=is_dc, soc=halfway, offered=offered) * percent_per_watt
    expected = min(soc, max(vehicle.target_soc, vehicle.soc))
    battery.charge(offered, seconds)
    # In percent: the integration finds a bend and the end to a part of a step only.
    assert battery.soc == pytest.approx(expected, abs=0.005)


@given(VEHICLES, st.booleans(), OFFERS, DURATIONS, st.lists(st.floats(0, 1), max_size=20))
def test_energy_is_the_same_however_the_time_is_split(
    vehicle: Vehicle, is_dc: bool, offered: float, seconds: float, cuts: list[float]
) -> None:
    """Otherwise the sample interval that a central system sets would change what is charged."""
    whole = Battery(vehicle, is_dc=is_dc)
    expected = whole.charge(offered, seconds)
    split = Battery(vehicle, is_dc=is_dc)
    actual = sum(split.charge(offered, (end - start) * seconds) for start, end in pairwise(sorted([0.0, *cuts, 1.0])))
    assert actual == pytest.approx(expected, rel=1e-6, abs=tolerance(vehicle, is_dc=is_dc))
    assert split.energy == pytest.approx(whole.energy, rel=1e-6, abs=tolerance(vehicle, is_dc=is_dc))


@given(VEHICLES, st.booleans(), st.lists(st.tuples(OFFERS, DURATIONS), max_size=10))
def test_energy_only_grows_and_never_by_more_than_was_offered(
    vehicle: Vehicle, is_dc: bool, session: list[tuple[float, float]]
) -> None:
    """A register that falls, or a limit of a charging profile that is overrun, fails a back end's checks."""
    battery = Battery(vehicle, is_dc=is_dc)
    arrived = battery.energy
    target = max(arrived, vehicle.battery * vehicle.target_soc / 100)
    total = 0.0
    for offered, seconds in session:
        before = battery.energy
        first = battery.power(offered)
        gained = battery.charge(offered, seconds)
        last = battery.power(offered)
        total += gained
        assert gained >= 0
        assert battery.energy == before + gained or gained == pytest.approx(battery.energy - before)
        assert gained <= min(offered, most(vehicle, is_dc=is_dc), first) * seconds / 3600 + tolerance(
            vehicle, is_dc=is_dc
        )
        # The power falls with time, so the last bounds the energy from below.
        assert gained >= last * seconds / 3600 - tolerance(vehicle, is_dc=is_dc)
        assert battery.energy <= target
        assert 0 <= battery.soc <= 100 * (1 + 1e-12)
    assert battery.energy - arrived == pytest.approx(total, abs=1e-6)


@given(VEHICLES, st.booleans(), OFFERS)
def test_charging_until_full_fills_and_a_little_less_does_not(vehicle: Vehicle, is_dc: bool, offered: float) -> None:
    """The charge point turns to SuspendedEV at that time: too early, and it would do so again and again."""
    battery = Battery(vehicle, is_dc=is_dc)
    seconds = battery.seconds_until_full(offered)
    assume(0.01 < seconds < inf)
    almost = Battery(vehicle, is_dc=is_dc)
    almost.charge(offered, seconds - 0.005)
    assert not almost.is_full
    assert almost.power(offered) > 0
    assert almost.seconds_until_full(offered) == pytest.approx(0.005, abs=1e-4)

    battery.charge(offered, seconds)
    assert battery.is_full
    assert battery.energy == vehicle.battery * vehicle.target_soc / 100
    assert battery.power(offered) == 0
    assert battery.seconds_until_full(offered) == 0
    assert battery.charge(offered, 3600) == 0


@given(VEHICLES, st.booleans(), OFFERS, st.floats(0, 2**31), st.lists(st.floats(0, 1), max_size=5))
def test_a_caller_that_waits_until_full_gets_there(
    vehicle: Vehicle, is_dc: bool, offered: float, now: float, cuts: list[float]
) -> None:
    """A clock rounds: an end that is always one rounding away would keep a processor busy for ever."""
    battery = Battery(vehicle, is_dc=is_dc)
    assume(battery.seconds_until_full(offered) < 1e7)
    for cut in cuts:
        later = now + cut * battery.seconds_until_full(offered)
        battery.charge(offered, later - now)
        now = later
    for _ in range(2):
        later = now + battery.seconds_until_full(offered)
        battery.charge(offered, later - now)
        now = later
    assert battery.is_full


@given(VEHICLES, st.booleans(), OFFERS)
def test_what_draws_nothing_is_never_full(vehicle: Vehicle, is_dc: bool, offered: float) -> None:
    """A pause by a charging profile must not end a session."""
    battery = Battery(vehicle, is_dc=is_dc)
    assume(not battery.is_full)
    assert (battery.power(offered) == 0) == (battery.seconds_until_full(offered) == inf)
    if battery.power(offered) == 0:
        assert battery.charge(offered, 1e9) == 0
        assert not battery.is_full


@pytest.mark.parametrize(
    ("offered", "phases", "expected"),
    [
        (4_140.0, 3, 4_140.0),  # 6 A
        (4_139.0, 3, 0.0),
        (11_000.0, 3, 11_000.0),
        (22_000.0, 3, 11_000.0),
        (1_380.0, 1, 1_380.0),
        (1_379.0, 1, 0.0),
        (7_360.0, 1, 11_000 / 3),  # 32 A on one phase: the on-board charger has three of 16 A
        (0.0, 3, 0.0),
        (-1.0, 3, 0.0),
        (0.0, 0, 0.0),
        (-1.0, 0, 0.0),
    ],
)
def test_an_ac_offer_counts_from_six_amperes_on_each_phase(offered: float, phases: int, expected: float) -> None:
    """IEC 61851-1: the control pilot cannot state less, so a lower limit of a charging profile pauses."""
    assert expected == Battery(Vehicle(), is_dc=False).power(offered, phases)


@pytest.mark.parametrize("voltage", [120.0, 127.3, 220.0, 229.7, 240.0])
def test_six_amperes_are_enough_at_every_voltage(voltage: float) -> None:
    """A grid of another voltage, and the rounding of amperes to watts, must not stop EVs from charging."""
    battery = Battery(Vehicle(), is_dc=False, voltage=voltage)
    offered = voltage * 3 * 6.0 * (1 - 1e-12)
    assert offered == battery.power(offered)
    assert battery.power(voltage * 3 * 5.9) == 0


@pytest.mark.parametrize(
    ("phases", "is_dc", "offered", "expected"),
    [(3, False, 3, 3), (3, False, 1, 1), (1, False, 3, 1), (2, False, 3, 2), (1, False, 1, 1), (3, True, 1, 1)],
)
def test_an_ev_charges_on_the_phases_that_it_and_the_charge_point_have(
    phases: int, is_dc: bool, offered: int, expected: int
) -> None:
    """A one-phase EV at a three-phase charge point draws current on L1 alone."""
    assert expected == Battery(Vehicle(phases=phases), is_dc=is_dc).phases_used(offered)


def test_a_dc_offer_below_a_kilowatt_is_none() -> None:
    """The EV's own electronics take that much."""
    battery = Battery(Vehicle(), is_dc=True)
    assert battery.power(999.0) == 0
    assert battery.power(1000.0) == 1000


@pytest.mark.parametrize(
    ("is_dc", "soc", "expected"),
    [
        (True, 0, 120_000),
        (True, 40, 120_000),
        (True, 55, 120_000),
        (True, 77.5, 120_000 * 0.575),
        (True, 99.999999, 18_000),
        (False, 40, 11_000),
        (False, 95, 11_000),
        (False, 97.5, 6_600),
        (False, 99.999999, 2_200),
    ],
)
def test_power_falls_towards_the_end(is_dc: bool, soc: float, expected: float) -> None:
    """A flat curve would make charging at 80 percent look as fast as at 20, which no dashboard would believe."""
    battery = Battery(Vehicle(soc=soc), is_dc=is_dc)
    assert battery.power(500_000.0) == pytest.approx(expected, rel=1e-6)


def test_a_vehicle_arrives_with_its_state_of_charge_and_stops_at_its_target() -> None:
    """From 20 to 80 percent of 60 kWh at 11 kW: 36 kWh in 3 h 16 min 21.8 s."""
    battery = Battery(Vehicle(target_soc=80), is_dc=False)
    assert battery.energy == 12_000
    assert battery.soc == 20
    assert battery.seconds_until_full(22_000.0) == pytest.approx(36 / 11 * 3600)
    assert battery.charge(22_000.0, 3600) == pytest.approx(11_000)
    assert battery.charge(22_000.0, 36_000) == pytest.approx(25_000)
    assert battery.soc == 80


def test_a_vehicle_above_its_target_takes_nothing() -> None:
    """It arrived full: no energy is taken out of it."""
    battery = Battery(Vehicle(soc=90, target_soc=80), is_dc=False)
    assert battery.is_full
    assert battery.power(11_000.0) == 0
    assert battery.seconds_until_full(11_000.0) == 0
    assert battery.charge(11_000.0, 60.0) == 0
    assert battery.soc == 90


def test_time_does_not_run_backwards() -> None:
    """A caller that mixes its clocks learns of it instead of discharging a battery."""
    with pytest.raises(ValueError, match=r"^a battery cannot be charged for -1 s$"):
        Battery(Vehicle(), is_dc=False).charge(11_000.0, -1.0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("battery", 0, "an EV's battery must be above 0, not 0 Wh"),
        ("battery", nan, "an EV's battery must be above 0, not nan Wh"),
        ("max_ac_power", -1, "an EV's most AC power must be above 0, not -1 W"),
        ("max_dc_power", inf, "an EV's most DC power must be above 0, not inf W"),
        ("soc", 100.5, "an EV arrives with 0 to 100 percent in its battery, not 100.5"),
        ("soc", nan, "an EV arrives with 0 to 100 percent in its battery, not nan"),
        ("target_soc", 0, "an EV charges to above 0 and at most 100 percent, not 0"),
        ("target_soc", 101, "an EV charges to above 0 and at most 100 percent, not 101"),
        ("phases", 4, "an EV charges on 1, 2 or 3 phases, not 4"),
    ],
)
def test_an_impossible_vehicle_is_refused_in_one_line(field: str, value: float, message: str) -> None:
    """Whoever writes a locustfile reads what is wrong, before a fleet has started."""
    values: dict[str, float] = {field: value}
    with pytest.raises(ValueError) as raised:
        Vehicle(**values)  # type: ignore[arg-type]
    assert message == str(raised.value)
