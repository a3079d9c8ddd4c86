"""When EVs come, in what state, and how long they stay; what is drawn, and how misdeeds are spread."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from math import inf
from statistics import fmean, median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.distribution import Distribution, Exponential, Fixed, LogNormal, Normal, Uniform
from ampswarm.load.charging_behaviour import ChargingBehaviour, IdTags, VehicleModel
from ampswarm.load.misbehaviour import Misbehaviour, Misdeed

DAY = 86_400.0
EVENING = (0.0,) * 18 + (2.0, 4.0, 2.0, 0.0, 0.0, 0.0)
MODELS = (
    VehicleModel(3, Vehicle(battery=60_000), Uniform(10, 20)),
    VehicleModel(1, Vehicle(battery=90_000), Fixed(50)),
)


def behaviour(
    *,
    arrivals: float = 4.0,
    energy: Distribution | None = None,
    duration: Distribution | None = None,
    remote_starts: float = 0.0,
    day_profile: tuple[float, ...] = (1.0,) * 24,
    acceleration: float = 1.0,
) -> ChargingBehaviour:
    return ChargingBehaviour(
        arrivals, IdTags("T{:03d}", 50), MODELS, energy, duration, remote_starts, day_profile, acceleration
    )


def test_the_day_has_its_arrivals_at_its_hours() -> None:
    """4 EVs a day that come from 18:00 to 21:00 UTC are one at 18:00, two at 19:00, one at 20:00."""
    evening = behaviour(day_profile=EVENING)
    per_hour = [evening.arrival_rate(DAY * 20_000 + hour * 3600 + 1) * 3600 for hour in range(24)]
    assert per_hour == pytest.approx([0] * 18 + [1, 2, 1, 0, 0, 0])


def test_an_accelerated_day_passes_faster_with_the_same_arrivals() -> None:
    """60 times as fast, the evening is 3 minutes long and comes every 24 minutes, with its 4 EVs."""
    fast = behaviour(day_profile=EVENING, acceleration=60)
    begin = DAY * 20_000
    rates = [fast.arrival_rate(begin + second) for second in range(2 * 1440)]
    assert sum(rates[:1440]) == pytest.approx(4)
    assert sum(rates[1440:]) == pytest.approx(4)
    assert [second for second in range(1440) if rates[second] > 0] == list(range(18 * 60, 21 * 60))


@given(
    st.floats(0, 2e9),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 7.0]), min_size=24, max_size=24).filter(any),
    st.sampled_from([0.1, 1.0, 24.0, 500.0]),
    st.sampled_from([1.0, 10.0]),
    st.integers(),
)
def test_the_next_arrival_follows_the_rate(
    utc: float, profile: list[float], arrivals: float, acceleration: float, seed: int
) -> None:
    """A Poisson process: the rate, integrated until the arrival, is exponential (here: the very number drawn)."""
    each = behaviour(arrivals=arrivals, day_profile=tuple(profile), acceleration=acceleration)
    wait = each.next_arrival(utc, random.Random(seed))
    wanted = random.Random(seed).expovariate(1.0)
    # Day by day, and then hour by hour of the simulated day, over the rate as it is told.
    day = DAY / acceleration
    whole_days = int(wait // day)
    passed = whole_days * arrivals
    hour = 3600 / acceleration
    time, end = utc + whole_days * day, utc + wait
    while time < end:
        following = min(end, (time // hour + 1) * hour)
        if following <= time:
            break
        passed += each.arrival_rate((time + following) / 2) * (following - time)
        time = following
    assert passed == pytest.approx(wanted, rel=1e-3, abs=1e-3)


def test_arrivals_come_as_often_as_they_should() -> None:
    """Over a thousand days, from one arrival to the next."""
    evening = behaviour(day_profile=EVENING)
    numbers = random.Random(7)
    time, count = 0.0, 0
    hours: Counter[int] = Counter()
    while time < 1000 * DAY:
        time += evening.next_arrival(time, numbers)
        count += 1
        hours[int(time % DAY // 3600)] += 1
    assert count == pytest.approx(4000, rel=0.05)
    assert set(hours) == {18, 19, 20}
    assert hours[19] == pytest.approx(2000, rel=0.1)


def test_vehicles_come_in_their_mix() -> None:
    """Three to one, each in the state that its model arrives in."""
    numbers = random.Random(3)
    each = behaviour()
    drawn = [each.draw_vehicle(numbers) for _ in range(4000)]
    batteries = Counter(vehicle.battery for vehicle in drawn)
    assert batteries[60_000] == pytest.approx(3000, rel=0.1)
    assert batteries[60_000] + batteries[90_000] == 4000
    assert {vehicle.soc for vehicle in drawn if vehicle.battery == 90_000} == {50.0}
    assert all(10 <= vehicle.soc <= 20 for vehicle in drawn if vehicle.battery == 60_000)


def test_an_accelerated_session_needs_less_of_everything_but_power() -> None:
    """Connectors stay as busy as they are: ten times the EVs, for a tenth of the time."""
    numbers = random.Random(1)
    fast = behaviour(energy=Fixed(20_000), duration=Fixed(3600), acceleration=10)
    assert fast.draw_energy(numbers) == 2000
    assert fast.draw_duration(numbers) == 360
    vehicle = fast.draw_vehicle(numbers)
    assert vehicle.battery in {6000, 9000}
    assert vehicle.max_ac_power == MODELS[0].vehicle.max_ac_power


def test_a_session_without_an_end_lasts_until_the_ev_is_full() -> None:
    """Neither energy nor time ends it."""
    numbers = random.Random(1)
    assert behaviour().draw_energy(numbers) == inf
    assert behaviour().draw_duration(numbers) == inf


def test_remote_starts_have_their_share() -> None:
    """0 is none and 1 is all."""
    numbers = random.Random(1)
    for share in (0.0, 0.3, 1.0):
        each = behaviour(remote_starts=share)
        assert fmean(each.draw_remote_start(numbers) for _ in range(5000)) == pytest.approx(share, abs=0.03)


def test_id_tags_are_those_of_the_format() -> None:
    """Numbers 1 to the count: the central system may know no others."""
    numbers = random.Random(1)
    drawn = {behaviour().id_tags.draw(numbers) for _ in range(5000)}
    assert {f"T{number:03d}" for number in range(1, 51)} == drawn


DISTRIBUTIONS: list[tuple[Distribution, float, float]] = [
    (Fixed(5), 5, 5),
    (Uniform(2, 4), 2, 4),
    (Normal(10, 5, 0, 12), 0, 12),
    (Normal(10, 1, 11, 12), 11, 12),
    (LogNormal(18, 0.6, 0, 80), 0, 80),
    (LogNormal(18, 2, 50, 60), 50, 60),
    (Exponential(10, 1, 60), 1, 60),
]


@pytest.mark.parametrize(("distribution", "least", "most"), DISTRIBUTIONS, ids=str)
def test_nothing_is_drawn_outside_the_bounds(distribution: Distribution, least: float, most: float) -> None:
    """A session of minus 3 kWh would never end."""
    numbers = random.Random(1)
    assert all(least <= distribution.draw(numbers) <= most for _ in range(3000))


@given(st.integers(), st.sampled_from(DISTRIBUTIONS))
def test_the_same_seed_draws_the_same(seed: int, case: tuple[Distribution, float, float]) -> None:
    """A run can be repeated."""
    assert case[0].draw(random.Random(seed)) == case[0].draw(random.Random(seed))


def test_distributions_have_the_centre_that_they_say() -> None:
    """Against the textbook: mean of a normal and an exponential one, median of a lognormal one."""
    numbers = random.Random(5)

    def drawn(distribution: Distribution) -> list[float]:
        return [distribution.draw(numbers) for _ in range(20_000)]

    assert fmean(drawn(Uniform(2, 4))) == pytest.approx(3, rel=0.02)
    assert fmean(drawn(Normal(50, 5))) == pytest.approx(50, rel=0.02)
    assert fmean(drawn(Exponential(10))) == pytest.approx(10, rel=0.05)
    lognormal = drawn(LogNormal(18, 0.6))
    assert median(lognormal) == pytest.approx(18, rel=0.05)
    assert fmean(lognormal) == pytest.approx(18 * 2.718281828 ** (0.6**2 / 2), rel=0.05)
    # Truncated, it is the same curve, cut off: half of a normal one has its mean at sigma * sqrt(2 / pi).
    assert fmean(drawn(Normal(0, 1, 0, 100))) == pytest.approx(0.79788, rel=0.03)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Uniform(3, 2), "min must not be above max, not 3 and 2"),
        (lambda: Normal(0, 0), "sigma must be above 0, not 0"),
        (lambda: LogNormal(0, 1), "median must be above 0, not 0"),
        (lambda: LogNormal(1, 1, 0, 0), "hardly anything of it lies between min and max"),
        (lambda: Exponential(0), "mean must be above 0, not 0"),
        (lambda: Exponential(1, 20, 30), "hardly anything of it lies between min and max"),
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused(make: Callable[[], Distribution], said: str) -> None:
    """One clear line, for those who make one in their own scenario."""
    with pytest.raises(ValueError) as caught:
        make()
    assert said == str(caught.value)


def test_misdeeds_happen_at_their_rates() -> None:
    """Once an hour and three times an hour are a misdeed every quarter of an hour, one of four of the first kind."""
    numbers = random.Random(2)
    bad = Misbehaviour(((Misdeed.HALF_OPEN, 1.0), (Misdeed.FLOOD, 3.0)))
    drawn = [bad.draw(numbers) for _ in range(8000)]
    assert fmean(each[0] for each in drawn if each) == pytest.approx(900, rel=0.05)
    assert fmean(each[1] is Misdeed.HALF_OPEN for each in drawn if each) == pytest.approx(0.25, abs=0.03)
    assert (bad.rate(Misdeed.FLOOD), bad.rate(Misdeed.NO_PONG)) == (3.0, 0.0)
    assert Misbehaviour().draw(numbers) is None
