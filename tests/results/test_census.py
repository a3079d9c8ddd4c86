"""What the charge points of a run are at: each process, all of them, and how it went on."""

from __future__ import annotations

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
    reconnected=NUMBERS,
    at=st.floats(0, 10**6),
)


def count(at: float = 0.0, **conditions: int) -> Count:
    return Count(1.0, tuple(conditions.get(each, 0) for each in CONDITIONS), at=at)


def test_there_is_a_column_for_each_condition_and_no_other() -> None:
    """A condition without one would be missing in the sum."""
    assert sorted(CONDITIONS) == sorted(Condition)


@given(COUNTS)
def test_what_is_sent_is_what_arrives(said: Count) -> None:
    """A worker's count on its way to the master."""
    assert Count.unpack(said.pack()) == said


@pytest.mark.parametrize("packed", [None, [], [1.0, 7], [1.0, [1] * 6, *[0] * 7], [1.0, [None] * 7, *[0] * 7]])
def test_what_is_no_count_is_said_to_be_none(packed: object) -> None:
    """A worker of another version must not end the master."""
    with pytest.raises(ValueError, match="no count of charge points"):
        Count.unpack(packed)


@given(st.lists(COUNTS, min_size=1, max_size=5))
def test_the_total_is_the_sum_of_its_rows(said: list[Count]) -> None:
    """Whatever each process says."""
    census = Census()
    for number, each in enumerate(said):
        census.accept(f"worker {number}", [each], 1.0)
    rows, total = census.rows(2.0), census.total(2.0)
    for name in (*CONDITIONS, "charge_points", "outbox", "outstanding", "commands"):
        assert total[name] == sum(row[name] for row in rows.values())
    lines = table(rows, total)
    assert [each["generator"] for each in lines] == [*rows, *(["all"] if len(said) > 1 else [])]


def test_rates_are_per_second_however_long_nobody_asked() -> None:
    """A worker that was late with its report has not had a storm."""
    census = Census()
    counts = [Count(2.0, (0,) * len(CONDITIONS), connected=each, refused=1, reconnected=2) for each in (3, 7)]
    census.accept("this process", counts, 4.0)
    row = census.rows(4.0)["this process"]
    names = ("connected_per_second", "refused_per_second", "reconnected_per_second")
    assert [row[name] for name in names] == [2.5, 0.5, 1.0]


def test_a_process_that_says_nothing_has_no_charge_points() -> None:
    """A worker that was killed: its charge points are gone, and the table must not show them for ever."""
    census = Census()
    census.accept("worker a", [count(online=10)], 5.0)
    census.accept("worker b", [count(online=10)], 14.0)
    assert census.total(14.9)["charge_points"] == 20
    assert census.total(5.0 + FORGOTTEN_AFTER)["charge_points"] == 10
    assert list(census.rows(16.0)) == ["worker b"]
    census.forget("worker b")
    assert census.total(16.0)["charge_points"] == 0


def reported(census: Census, process: str, counts: list[Count], *, every: int = 3) -> None:
    """Let a process report what it counted, some counts at a time, as the master goes on noting."""
    for first in range(0, len(counts), every):
        part = counts[first : first + every]
        census.accept(process, part, part[-1].at + 0.5)


def test_an_outage_of_a_second_is_where_it_was_whoever_reports_when() -> None:
    """Two workers lose the network in the same second, and tell of it seconds later."""
    census = Census()
    for worker, offset in (("worker a", 0.2), ("worker b", 0.7)):
        counts = [
            count(second + offset, offline=30) if second == 17 else count(second + offset, online=30)
            for second in range(40)
        ]
        reported(census, worker, counts)
    for at in range(0, 45, 3):
        census.note(float(at), {"cpu_percent": float(at)})
    census.settle()
    history = census.history()
    assert [row["at"] for row in history] == [float(second) for second in range(40)]
    assert [row["at"] for row in history if row["offline"]] == [17.0]
    assert history[17]["offline"] == 60
    assert all(row["charge_points"] == 60 for row in history)
    # What else was noted last until then.
    assert history[17]["cpu_percent"] == 15.0


def test_a_worker_that_is_lost_takes_its_charge_points_along_and_nobody_is_there_twice() -> None:
    """Locust gives its users to another one, which counts them from then on."""
    census = Census()
    reported(census, "worker a", [count(float(second), online=10) for second in range(10)])
    reported(census, "worker b", [count(float(second), online=10 if second < 13 else 20) for second in range(30)])
    for at in range(13):
        census.note(float(at))
    census.forget("worker a")
    for at in range(13, 40):
        census.note(float(at))
    assert max(row["charge_points"] for row in census.history()) == 20
    assert census.history()[-1]["charge_points"] == 20


def test_a_large_fleet_is_counted_every_three_seconds_and_shown_in_each() -> None:
    """A second without a count is no second without charge points."""
    census = Census()
    reported(census, "this process", [count(float(second), online=5) for second in range(0, 30, 3)], every=1)
    census.note(100.0)
    assert {row["online"] for row in census.history() if row["at"] < 30} == {5}


def test_a_history_stays_small_and_keeps_every_outage() -> None:
    """An hour, a day: the page shows all of it, and the master holds what it can."""
    census = Census()
    for second in range(20_000):
        away = second % 5000 == 4321 or second == MAX_ROWS  # the row with which it becomes too long
        census.accept("this process", [count(float(second), **{"offline" if away else "online": 7})], float(second))
        census.note(float(second))
    history = census.history()
    assert MAX_ROWS / 2 <= len(history) <= MAX_ROWS
    assert history[0]["at"] <= 60
    assert history[-1]["at"] >= 19_900
    assert [row["at"] for row in history if row["offline"]] == [1200.0, 4321.0, 9321.0, 14321.0, 19321.0]
    assert [row["at"] for row in census.history(history[-3]["at"])] == [row["at"] for row in history[-2:]]
