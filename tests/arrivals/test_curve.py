"""Rates over time: what comes by when, and when so much has come."""

from __future__ import annotations

from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.arrivals import curve
from ampswarm.arrivals.curve import Curve, Segment

RATES = st.floats(0.0, 5000.0).map(lambda rate: 0.0 if rate < 0.001 else rate)
SEGMENTS = st.builds(Segment, st.floats(0.01, 5000.0), RATES, RATES)
CURVES = st.lists(SEGMENTS, min_size=1, max_size=6).map(Curve)


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (curve.constant(10.0), {0: (0, 10), 1: (10, 10), 90: (900, 10)}),
        (curve.constant(10.0, 60.0), {59: (590, 10), 60: (600, 0), 1000: (600, 0)}),
        (curve.ramp(0.0, 200.0, 300.0), {0: (0, 0), 150: (7500, 100), 299.7: (29940.03, 199.8), 300: (30000, 0)}),
        (curve.ramp(200.0, 0.0, 300.0), {0: (0, 200), 150: (22500, 100), 300: (30000, 0)}),
        (curve.steps(100.0, 50.0, 60.0, 200.0), {30: (3000, 100), 60: (6000, 150), 179: (26800, 200), 180: (27000, 0)}),
        (curve.steps(100.0, 70.0, 60.0, 200.0), {61: (6170, 170), 121: (16400, 200)}),
        (curve.steps(10.0, -5.0, 1.0, 0.0), {0.5: (5, 10), 1.5: (12.5, 5), 3: (15, 0)}),
        (curve.spike(50.0, 500.0, 120.0, 10.0), {120: (6000, 500), 130: (11000, 50), 131: (11050, 50)}),
        (curve.spike(50.0, 500.0, 0.0, 10.0, 20.0), {0: (0, 500), 10: (5000, 50), 20: (5500, 0)}),
        (curve.day([3600.0] * 12 + [0.0] * 12, 60.0), {60: (3600, 60), 720: (43200, 0), 1440: (43200, 0)}),
        (curve.day([0.0] * 23 + [3600.0], 60.0, 23.5), {0: (0, 60), 30: (1800, 0), 1440: (3600, 0)}),
        (curve.day([0.0] * 23 + [3600.0], 60.0, 22.5, 2880.0), {2880: (7200, 0)}),
        (curve.constant(10.0).for_seconds(3.0), {3: (30, 0)}),
        (curve.ramp(0.0, 10.0, 10.0).for_seconds(5.0), {2: (2, 2), 5: (12.5, 0)}),
        (curve.ramp(0.0, 10.0, 10.0).for_seconds(20.0), {10: (50, 10), 20: (150, 0)}),
    ],
)
def test_what_is_planned_comes(planned: Curve, expected: dict[float, tuple[float, float]]) -> None:
    """At each time: how much has come, and the rate."""
    found = {at: (planned.integral(at), planned.rate(at)) for at in expected}
    assert {at: pytest.approx(values) for at, values in expected.items()} == found


@given(CURVES, st.floats(0.0, 1.0))
def test_the_way_back_leads_to_the_same_amount(planned: Curve, share: float) -> None:
    """Where nothing comes for a while, to its beginning: an arrival must not be late by a whole pause."""
    amount = planned.total * share
    at = planned.inverse(amount)
    assert 0 <= at <= planned.duration
    assert isclose(amount, planned.integral(at), rel_tol=1e-9, abs_tol=1e-6)
    assert planned.inverse(planned.total * 1.01 + 1) == inf


@given(CURVES, st.floats(0.001, 30_000.0))
def test_a_shorter_one_is_the_beginning_of_the_longer(planned: Curve, seconds: float) -> None:
    """`for 5min` cuts, and changes nothing before."""
    cut = planned.for_seconds(seconds)
    assert cut.duration == pytest.approx(seconds)
    both = min(seconds, planned.duration)
    assert cut.integral(both) == pytest.approx(planned.integral(both), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Segment(0.0, 1.0, 1.0),
        lambda: Segment(1.0, -1.0, 1.0),
        lambda: Segment(1.0, 1.0, inf),
        lambda: Segment(inf, 1.0, 2.0),
        lambda: Curve([]),
        lambda: Curve([Segment(inf, 1.0, 1.0), Segment(1.0, 1.0, 1.0)]),
        lambda: curve.steps(100.0, 0.0, 1.0, 200.0),
        lambda: curve.steps(100.0, -10.0, 1.0, 200.0),
        lambda: curve.steps(0.0, 0.001, 1.0, 1e6),
        lambda: curve.spike(1.0, 2.0, 10.0, 10.0, 15.0),
        lambda: curve.day([1.0] * 23, 1.0),
        lambda: curve.constant(1.0).for_seconds(0.0),
    ],
)
def test_what_cannot_be_is_refused(make: object) -> None:
    """Before anything begins, and not as a division by zero."""
    assert callable(make)
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        make()
