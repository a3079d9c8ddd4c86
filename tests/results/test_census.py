"""What the charge points of a run are at: each process, all of them, and how it went on."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.condition import Condition
from ampswarm.results.census import CONDITIONS, FORGOTTEN_AFTER, MAX_ROWS, Census, Count, table

NUMBERS = st.integers(0, 10**9)
COUNTS = st.builds(
    Count,
    seconds=st.floats(0.01, 100),
    conditions=st.tuples(*[NUMBERS] * len(CONDITIONS)),
    outstanding=NUMBERS,
    outbox=NUMBERS,
    connected=NUMBERS,
    refused=NUMBERS,
    commands=NUMBERS,
)


def count(**conditions: int) -> Count:
    return Count(2.0, tuple(conditions.get(each, 0) for each in CONDITIONS))


def test_there_is_a_column_for_each_condition_and_no_other() -> None:
    """A condition without one would be missing in the sum."""
    assert sorted(CONDITIONS) == sorted(Condition)


@given(COUNTS)
def test_what_is_sent_is_what_arrives(said: Count) -> None:
    """A worker's count on its way to the master."""
    assert Count.unpack(said.pack()) == said


@pytest.mark.parametrize(
    "packed", [None, [], [1.0, 7], [1.0, [1] * 6, 0, 0, 0, 0, 0], [1.0, [None] * 7, 0, 0, 0, 0, 0]]
)
def test_what_is_no_count_is_said_to_be_none(packed: object) -> None:
    """A worker of another version must not end the master."""
    with pytest.raises(ValueError, match="no count of charge points"):
        Count.unpack(packed)


@given(st.lists(COUNTS, min_size=1, max_size=5))
def test_the_total_is_the_sum_of_its_rows(said: list[Count]) -> None:
    """Whatever each process says."""
    census = Census()
    for number, each in enumerate(said):
        census.accept(f"worker {number}", each, 1.0)
    rows, total = census.rows(2.0), census.total(2.0)
    for name in (*CONDITIONS, "charge_points", "outbox", "outstanding", "commands"):
        assert total[name] == sum(row[name] for row in rows.values())
    lines = table(rows, total)
    assert [each["generator"] for each in lines] == [*rows, *(["all"] if len(said) > 1 else [])]


def test_rates_are_per_second_however_long_nobody_asked() -> None:
    """A worker that was late with its report has not had a storm."""
    census = Census()
    census.accept("this process", Count(4.0, (0,) * len(CONDITIONS), connected=10, refused=2), 4.0)
    row = census.rows(4.0)["this process"]
    assert (row["connected_per_second"], row["refused_per_second"]) == (2.5, 0.5)


def test_a_process_that_says_nothing_has_no_charge_points() -> None:
    """A worker that was killed: its charge points are gone, and the table must not show them for ever."""
    census = Census()
    census.accept("worker a", count(online=10), 5.0)
    census.accept("worker b", count(online=10), 14.0)
    assert census.total(14.9)["charge_points"] == 20
    assert census.total(5.0 + FORGOTTEN_AFTER)["charge_points"] == 10
    assert list(census.rows(16.0)) == ["worker b"]


def test_a_history_stays_small_and_reaches_from_the_beginning_to_now() -> None:
    """An hour, a day: the page shows all of it, and the master holds what it can."""
    census = Census()
    for second in range(0, 30_000, 3):
        census.accept("this process", count(online=second), second)
        census.note(second, {"cpu_percent": 1.0})
    history = census.history()
    assert MAX_ROWS / 2 <= len(history) <= MAX_ROWS
    assert history[0]["at"] <= 60
    assert history[-1]["at"] >= 29_900
    assert all(row["online"] == row["at"] for row in history)
    gaps = {round(after["at"] - before["at"]) for before, after in pairwise(history)}
    assert len(gaps) <= 2
    assert [row["at"] for row in census.history(history[-3]["at"])] == [row["at"] for row in history[-2:]]
