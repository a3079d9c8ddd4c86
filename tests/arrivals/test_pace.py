"""Arrivals: as many as planned, when planned, and the same ones for everybody who asks."""

from __future__ import annotations

from math import inf, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.arrivals import Arrivals, Curve, Dial, Even, Poisson, Replay, Sequence, curve
from tests.arrivals.test_curve import RATES

SMALL = st.lists(
    st.builds(curve.Segment, st.floats(0.01, 20.0), st.floats(0.0, 100.0), st.floats(0.0, 100.0)),
    min_size=1,
    max_size=4,
).map(Curve)
SIMPLE: st.SearchStrategy[Arrivals] = st.one_of(
    SMALL.map(Even),
    st.builds(Poisson, SMALL, st.text(max_size=3)),
    st.builds(Replay, st.lists(st.floats(0.0, 50.0), min_size=1, max_size=50), st.sampled_from([0.5, 1.0, 60.0])),
)
ARRIVALS: st.SearchStrategy[Arrivals] = st.one_of(SIMPLE, st.lists(SIMPLE, min_size=1, max_size=4).map(Sequence))


def times(arrivals: Arrivals) -> list[float]:
    found: list[float] = []
    while (at := arrivals.at(len(found))) < inf:
        found.append(at)
    return found


@given(ARRIVALS, st.lists(st.floats(-1.0, 250.0), max_size=20))
def test_count_next_and_at_agree(arrivals: Arrivals, moments: list[float]) -> None:
    """Whoever asks in whichever way gets the same arrivals, and none twice."""
    all_of_them = times(arrivals)
    assert sorted(all_of_them) == all_of_them
    assert all(0 <= at <= arrivals.duration * (1 + 1e-9) for at in all_of_them)
    assert len(all_of_them) == arrivals.total
    for moment in moments:
        assert sum(at <= moment for at in all_of_them) == arrivals.count(moment)
        assert min((at for at in all_of_them if at > moment), default=None) == arrivals.next(moment)
        assert arrivals.rate(moment) >= 0
    counts = [arrivals.count(moment) for moment in sorted(moments)]
    assert sorted(counts) == counts


@given(SMALL)
def test_even_arrivals_are_the_plan_rounded(planned: Curve) -> None:
    """Never off by more than a half: 10/s for 1 s are 10."""
    even = Even(planned)
    for share in (0.1, 0.5, 0.9, 1.0):
        at = planned.duration * share
        assert abs(even.count(at) - planned.integral(at)) <= 0.5 + 1e-6
    assert Even(curve.constant(10.0, 1.0)).total == 10
    assert pytest.approx(times(Even(curve.constant(10.0, 1.0)))[:2]) == [0.05, 0.15]


@pytest.mark.parametrize("planned", [curve.constant(50.0), curve.ramp(0.0, 100.0, 400.0), curve.spike(5, 500, 100, 30)])
@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_a_poisson_process_has_the_mean_and_the_variance_of_one(planned: Curve, seed: str) -> None:
    """Within 4.5 standard deviations, with fixed seeds; gaps that are exponential, not even."""
    process = Poisson(planned, seed)
    count, expected = process.count(400.0), planned.integral(400.0)
    assert abs(count - expected) < 4.5 * sqrt(expected)
    # At the rate 1, gaps have the mean 1 and the variance 1.
    at = [planned.integral(process.at(index)) for index in range(count)]
    gaps = [later - earlier for earlier, later in zip([0.0, *at], at, strict=False)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(1.0, abs=4.5 / sqrt(count))
    assert variance == pytest.approx(1.0, abs=4.5 * sqrt(8 / count))


def test_a_poisson_process_is_the_same_for_whoever_asks_in_whatever_order() -> None:
    """Each worker asks for other arrivals of it, and one comes late; another seed is another process."""
    planned = curve.constant(100.0, 60.0)
    one, other = Poisson(planned, "7"), Poisson(planned, "7")
    indices = [5000, 3, 4999, 0, 257, 256, 255]
    assert [one.at(index) for index in sorted(indices)] == sorted(other.at(index) for index in indices)
    assert times(one) != times(Poisson(planned, "8"))


@given(st.lists(SIMPLE, min_size=1, max_size=4))
def test_a_sequence_is_the_sum_of_its_pieces(pieces: list[Arrivals]) -> None:
    """Each at its own time after the one before, none lost between them."""
    expected, begin = [], 0.0
    for each in pieces:
        expected += [begin + at for at in times(each)]
        begin += each.duration
    sequence = Sequence(pieces)
    assert expected == times(sequence)
    assert sum(each.total for each in pieces) == sequence.total
    assert begin == pytest.approx(sequence.duration)


@given(st.lists(st.tuples(st.floats(0.1, 20.0), RATES.map(lambda rate: rate / 50)), min_size=1, max_size=8))
def test_a_dial_never_moves_what_has_come(turns: list[tuple[float, float]]) -> None:
    """A search sets the rate while charge points look at it: the past stays, and each rate brings its number."""
    dial, at = Dial(), 0.0
    past: list[float] = []
    for seconds, rate in turns:
        dial.set(at, rate)
        assert past == [dial.at(index) for index in range(len(past))]
        before, at = dial.count(at), at + seconds
        assert abs(dial.count(at) - before - rate * seconds) <= 1
        assert dial.rate(at - seconds / 2) == rate
        past = [dial.at(index) for index in range(dial.count(at))]
        assert sorted(past) == past
    dial.set(at, 0.0)
    assert dial.next(at) is None
    assert past == times(dial)


def test_a_dial_goes_only_forward() -> None:
    """What was planned for the past cannot be sent any more."""
    dial = Dial()
    dial.set(10.0, 1.0)
    dial.set(10.0, 2.0)
    assert dial.next(10.0) == 10.25
    for at, rate in ((9.0, 1.0), (11.0, -1.0)):
        with pytest.raises(ValueError, match="cannot set"):
            dial.set(at, rate)


def test_what_has_no_end_comes_last() -> None:
    """Whatever came after it would never come."""
    with pytest.raises(ValueError, match="does not end"):
        Sequence([Even(curve.constant(1.0)), Even(curve.constant(1.0))])
    with pytest.raises(ValueError, match="no arrivals"):
        Sequence([])
    with pytest.raises(ValueError, match="no times"):
        Replay([])
    assert Sequence([Even(curve.constant(1.0, 5.0)), Even(curve.constant(2.0))]).total == inf
