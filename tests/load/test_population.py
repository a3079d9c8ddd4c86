"""Which population a charge point belongs to: the same everywhere, and in proportion at every size."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.template import Template
from ampswarm.load.population import FleetFile, Population

MAKE = Template()


def fleet(*shares: float, counted: bool = False) -> FleetFile:
    return FleetFile(
        tuple(
            Population(
                name=f"{place}",
                weight=None if counted else share,
                count=int(share) if counted else None,
                identity_format="CP{}",
                make=MAKE,
            )
            for place, share in enumerate(shares)
        )
    )


def dealt(populations: FleetFile, first: int, last: int) -> list[int]:
    found = Counter(populations.population_of(number).name for number in range(first, last + 1))
    return [found[each.name] for each in populations.populations]


def test_a_hundred_of_70_20_10_are_70_20_10() -> None:
    """The number that a user chooses in a mix is the number that comes, in round fleets of any size."""
    city = fleet(70, 20, 10)
    assert dealt(city, 1, 10) == [7, 2, 1]
    assert dealt(city, 1, 100) == [70, 20, 10]
    assert dealt(city, 99_999_901, 100_000_000) == [70, 20, 10]


def test_weights_are_read_as_they_are_written() -> None:
    """0.1 is a tenth, and not the binary number beside it: a fleet of ten has one of it."""
    assert dealt(fleet(0.1, 0.2, 0.7), 1, 10) == [1, 2, 7]
    assert dealt(fleet(1e-7, 1e-7), 1, 2) == [1, 1]
    assert fleet(0.1).populations[0].share == Fraction(1, 10)


def test_counts_are_met_exactly() -> None:
    """240 bays, 12 pantographs and 8 wall boxes are what there is, and what a size without one comes to."""
    depot = fleet(240, 12, 8, counted=True)
    assert depot.size == 260
    assert dealt(depot, 1, 260) == [240, 12, 8]
    assert fleet(1, 2).size is None


def test_the_order_is_that_of_the_file_among_equals() -> None:
    """One charge point of a fleet without weights is of the first population."""
    assert fleet(1, 1, 1).population_of(1).name == "0"
    assert fleet(3).population_of(5).name == "0"


@given(
    st.lists(st.integers(1, 1000) | st.sampled_from([1, 10, 100, 1000, 10_000]), min_size=1, max_size=8),
    st.integers(1, 3000),
)
def test_every_first_n_are_in_proportion(weights: list[int], n: int) -> None:
    """A ramp-up, and a run with fewer charge points than planned, test the same mix."""
    counts = dealt(fleet(*weights), 1, n)
    assert sum(counts) == n
    for count, weight in zip(counts, weights, strict=True):
        share = Fraction(weight * n, sum(weights))
        assert abs(count - share) < (1 if len(weights) <= 3 else Fraction(17, 10))
        if len(weights) <= 5:
            assert abs(count - round(share)) <= 1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 10**6))
def test_every_period_is_exact_and_like_the_first(weights: list[int], times: int) -> None:
    """As many charge points as the weights add up to have each weight exactly, wherever they begin."""
    populations = fleet(*weights)
    period = sum(weights)
    assert weights == dealt(populations, times * period + 1, (times + 1) * period)
    for number in range(1, period + 1):
        assert populations.population_of(number) is populations.population_of(times * period + number)


def test_charge_points_are_counted_from_1() -> None:
    """Number 0 is what a user has that holds no number."""
    with pytest.raises(ValueError, match="counted from 1, not 0"):
        fleet(1).population_of(0)


def test_a_fleet_has_a_population() -> None:
    """Nobody could say what a charge point is."""
    with pytest.raises(ValueError, match="at least one population"):
        FleetFile(())
