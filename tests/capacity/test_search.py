"""The search finds the edge of any target, does not trust luck, and always ends."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.capacity.search import Bounds, Outcome, Purpose, Search, Trial

BOUNDS = st.builds(
    lambda first, more, step, precision: Bounds(first, first + more, step, precision),
    st.integers(1, 2000),
    st.integers(0, 5000),
    st.integers(50, 2000),
    st.sampled_from([0.01, 0.05, 0.2]),
)


def run(search: Search, holds: Callable[[Trial], bool]) -> list[tuple[Trial, bool]]:
    trials = []
    while search.trial is not None:
        trial, held = search.trial, holds(search.trial)
        trials.append((trial, held))
        search.judged(held=held)
    return trials


def test_a_search_as_a_table() -> None:
    """Steps up, halves, tries the edge again, confirms."""
    search = Search(Bounds(20, 200, 20, 0.05))
    trials = run(search, lambda trial: trial.load <= 47)
    assert [(trial.load, trial.purpose, held) for trial, held in trials] == [
        (20, Purpose.STEP, True),
        (40, Purpose.STEP, True),
        (60, Purpose.STEP, False),
        (50, Purpose.BISECT, False),
        (45, Purpose.BISECT, True),
        (47, Purpose.BISECT, True),
        (48, Purpose.BISECT, False),
        (48, Purpose.REPEAT, False),
        (47, Purpose.CONFIRM, True),
    ]
    assert (search.outcome, search.capacity) == (Outcome.FOUND, 47)


@pytest.mark.parametrize(
    ("verdicts", "loads", "outcome", "capacity"),
    [
        # A failure of bad luck below the edge is found out, and the search goes on above it.
        ([0, 1, 1, 1, 0, 0, 1], [10, 5, 7, 8, 9], None, 8),
        ([0, 1, 1, 1, 1, 1, 0, 0, 1], [10, 5, 7, 8, 9, 10, 20, 15, 12], None, 12),
        # What held by luck does not hold for long.
        ([1, 0, 0, 0, 0, 0, 0], [10, 20, 15, 12, 11, 11, 10], None, 0),
        # Nothing at all.
        ([0] * 6, [10, 5, 2, 1, 1], Outcome.NOTHING, 0),
        # Up to the end.
        ([1, 1, 1, 1], [10, 20, 25, 25], Outcome.AT_LEAST, 25),
    ],
)
def test_luck_is_no_verdict(verdicts: list[int], loads: list[int], outcome: Outcome | None, capacity: int) -> None:
    """A single bad moment of a target must not decide, neither for it nor against it."""
    search = Search(Bounds(10, 25, 10, 0.05))
    tried = []
    for verdict in verdicts:
        if search.trial is None:
            break
        tried.append(search.trial.load)
        search.judged(held=bool(verdict))
    assert loads == tried[: len(loads)]
    if outcome is not None:
        assert outcome is search.outcome
    assert capacity == search.capacity


@given(BOUNDS, st.integers(0, 8000))
def test_the_edge_of_a_steady_target_is_found(bounds: Bounds, edge: int) -> None:
    """Within the precision, below the edge, and confirmed."""
    search = Search(bounds)
    trials = run(search, lambda trial: trial.load <= edge)
    if edge >= bounds.last:
        assert (Outcome.AT_LEAST, bounds.last) == (search.outcome, search.capacity)
    elif edge == 0:
        assert (search.outcome, search.capacity) == (Outcome.NOTHING, 0)
    else:
        assert search.outcome is Outcome.FOUND
        assert edge - max(1, (edge + 1) * bounds.precision / (1 - bounds.precision)) <= search.capacity <= edge
    if search.capacity:
        assert (Trial(search.capacity, Purpose.CONFIRM), True) == trials[-1]
    assert len(trials) <= bounds.last / bounds.step + 20


@given(BOUNDS, st.integers(0, 8000), st.floats(0.0, 0.3), st.integers())
def test_a_noisy_target_is_never_tried_for_ever(bounds: Bounds, edge: int, noise: float, seed: int) -> None:
    """Whatever it says, it ends, and what is reported has held for long and nothing below it has failed for good."""
    random = Random(seed)
    search = Search(bounds)
    trials = run(search, lambda trial: (trial.load <= edge) is (random.random() >= noise))
    assert search.outcome is not None
    assert len(trials) <= 200
    assert all(1 <= trial.load <= bounds.last for trial, _ in trials)
    if search.outcome in (Outcome.FOUND, Outcome.AT_LEAST):
        assert (Trial(search.capacity, Purpose.CONFIRM), True) == trials[-1]


def test_noise_seldom_moves_the_edge() -> None:
    """One verdict of twenty is wrong: nine searches of ten still end within 10 % of the edge."""
    near = 0
    for seed in range(100):
        random = Random(seed)
        search = Search(Bounds(100, 3000, 100, 0.05))
        run(search, lambda trial, random=random: (trial.load <= 1000) is (random.random() >= 0.05))  # type: ignore[misc]
        near += 900 <= search.capacity <= 1100
    assert near >= 90


def test_it_can_be_stopped_once() -> None:
    """The generator gives up, or somebody does: what held so far is what is known."""
    search = Search(Bounds(10, 100, 10))
    search.judged(held=True)
    search.stop(Outcome.GENERATOR)
    search.stop(Outcome.INTERRUPTED)
    assert (search.outcome, search.capacity, search.trial) == (Outcome.GENERATOR, 10, None)


@pytest.mark.parametrize(
    ("first", "last", "step", "precision"), [(0, 1, 1, 0.1), (5, 4, 1, 0.1), (1, 2, 0, 0.1), (1, 2, 1, 1)]
)
def test_bounds_that_bound_nothing_are_refused(first: int, last: int, step: int, precision: float) -> None:
    """With words, before anything begins."""
    with pytest.raises(ValueError, match="not"):
        Bounds(first, last, step, precision)
