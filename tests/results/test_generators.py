"""The generators of a run together: who is to blame, who is gone, and what a report says."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results.generators import MAX_ROWS, Generators, worst_of
from ampswarm.results.health import Limits, Reading, count_lag
from ampswarm.results.histogram import Histogram


def reading(at: float, **more: object) -> list[object]:
    """Return a calm second, but for `more`, as it is sent."""
    given_ = {"lag": Histogram.of({1.0: 20}), "cpu": 10.0, "port_range": 1000, "host": "here", **more}
    return Reading(at=at, seconds=1.0, **given_).pack()  # type: ignore[arg-type]


def stopped() -> Histogram:
    histogram = Histogram()
    count_lag(histogram, 2.0)
    return histogram


def test_the_one_that_was_late_is_named_and_the_other_is_not() -> None:
    """Without the name, all machines have to be looked at."""
    generators = Generators(Limits())
    assert generators.accept("worker a", [reading(1), reading(2)], 3.0) == []
    said = generators.accept("worker b", [reading(1), reading(2, lag=stopped())], 3.0)
    assert [each.text for each in said] == generators.reasons()
    (reason,) = generators.reasons()
    assert reason == (
        "worker b, 2 s into the test: its loop was 2 s late, and for 1.5 of 10 s by more than 0.5 s "
        "(--max-loop-lag 0.5)"
    )
    section = generators.section()
    assert section["valid"] is False
    valid = {name: each["valid"] for name, each in orjson.loads(orjson.dumps(section))["generators"].items()}
    assert valid == {"worker a": True, "worker b": False}


def test_a_calm_run_is_valid_and_has_its_figures() -> None:
    """The report shows how far from its limits a generator was."""
    generators = Generators(Limits())
    generators.accept("worker a", [reading(1, cpu=50.0, files=12.0), reading(2, cpu=30.0, ports={"b:1": 250})], 3.0)
    generators.accept("worker a", [], 4.0, is_last=True)
    assert generators.close(5.0) == []
    section = orjson.loads(orjson.dumps(generators.section()))
    assert (section["valid"], section["reasons"], section["warnings"], section["findings"]) == (True, [], [], [])
    worker = section["generators"]["worker a"]
    assert worker["current"]["cpu_percent"] == 30.0
    assert worker["worst"]["cpu_percent"] == 50.0
    assert worker["worst"]["open_files_percent"] == 12.0
    assert worker["worst"]["ports_percent"] == 25.0
    assert [row["at"] for row in worker["history"]] == [1.0, 2.0]
    assert section["limits"]["max_loop_lag"] == 0.5
    assert generators.table()[0]["state"] == "valid"


def test_how_late_all_loops_were_is_known_for_any_time_of_the_test() -> None:
    """An SLO that begins after the ramp is not doubted for what the ramp did."""
    generators = Generators(Limits())
    generators.accept("worker a", [reading(1, lag=Histogram.of({400.0: 1})), reading(5.5), reading(6.5)], 7.0)
    generators.accept("worker b", [reading(1), reading(5.5, lag=Histogram.of({30.0: 2}))], 7.0)
    assert generators.lag(0, float("inf")).highest == 400.0
    later = generators.lag(3, 7)
    assert (later.highest, later.timed) == (30.0, 42)


def test_a_worker_that_says_nothing_any_more_is_lost() -> None:
    """Killed, or cut off: its samples are missing, and its charge points are gone."""
    generators = Generators(Limits(max_master_distance=5.0))
    generators.accept("worker a", [reading(3)], 3.0)
    said = [each.text for second in range(4, 20) for each in generators.wait(1.0, second)]
    assert said == [
        "worker a, 12 s into the test: it was lost: nothing was heard of it after 3 s (--max-master-distance 5)"
    ]


def test_a_worker_that_was_killed_in_the_last_seconds_is_lost_too() -> None:
    """There is no time left in which it could be silent."""
    generators = Generators(Limits())
    generators.accept("worker a", [reading(3)], 3.0)
    generators.accept("worker b", [reading(3)], 3.0, is_last=True)
    assert [each.generator for each in generators.close(5.0)] == ["worker a"]


def test_a_worker_that_was_killed_before_its_first_report_is_lost() -> None:
    """It had charge points, and nobody would have known."""
    generators = Generators(Limits())
    generators.expect("worker a")
    assert [each.generator for each in generators.close(5.0)] == ["worker a"]


def test_a_worker_that_leaves_in_good_order_is_not_lost() -> None:
    """It has stopped its charge points and sent all that it had."""
    generators = Generators(Limits())
    generators.accept("worker a", [reading(3)], 3.0, is_last=True)
    assert [each for second in range(4, 60) for each in generators.wait(1.0, second)] == []
    assert generators.close(60.0) == []


def test_without_a_limit_nobody_is_lost() -> None:
    """`--max-master-distance 0`, for a test that kills workers on purpose."""
    generators = Generators(Limits(max_master_distance=0.0))
    generators.accept("worker a", [reading(3)], 3.0)
    assert [each for second in range(4, 60) for each in generators.wait(1.0, second)] == []
    assert generators.close(60.0) == []


def test_workers_of_one_host_share_its_ports() -> None:
    """Each has a third of them, and the fourth would find none."""
    generators = Generators(Limits())
    for worker in ("a", "b", "c"):
        said = generators.accept(f"worker {worker}", [reading(1, ports={"cs:80": 330})], 2.0)
    assert [each.text for each in said] == [
        "host here, 2 s into the test: 99 % of its ports were in use for cs:80, by 3 generators (--max-ports 95)"
    ]
    assert generators.accept("worker a", [reading(2, ports={"cs:80": 330})], 3.0) == []


def test_workers_of_two_hosts_do_not_share_their_ports() -> None:
    """And neither do two destinations."""
    generators = Generators(Limits())
    generators.accept("worker a", [reading(1, ports={"cs:80": 700}, host="a")], 2.0)
    generators.accept("worker b", [reading(1, ports={"cs:80": 700}, host="b")], 2.0)
    generators.accept("worker c", [reading(1, ports={"cs:81": 700}, host="a")], 2.0)
    assert generators.reasons() == []


def test_a_worker_that_came_later_speaks_of_the_test_s_time() -> None:
    """It counts from the moment at which it was told to begin."""
    generators = Generators(Limits())
    generators.accept("worker a", [reading(1), reading(2, lag=stopped())], 64.1, later=62.0)
    assert generators.reasons()[0].startswith("worker a, 64 s into the test: ")


def test_what_is_no_report_is_refused() -> None:
    """A worker of another version is an error in the log, and not the end of the master."""
    with pytest.raises(ValueError, match="no readings"):
        Generators(Limits()).accept("worker a", {"a": 1}, 1.0)


@given(st.integers(0, 3 * MAX_ROWS), st.data())
def test_a_history_is_bounded_and_keeps_the_worst(seconds: int, data: st.DataObject) -> None:
    """A soak of a week must not fill the master, nor lose the one bad second."""
    generators = Generators(Limits(max_generator_cpu=0.0))
    bad = data.draw(st.integers(0, max(0, seconds - 1)))
    for second in range(seconds):
        generators.accept("a", [reading(second + 1, cpu=99.0 if second == bad else 1.0)], second + 1)
    if seconds:
        worker = orjson.loads(orjson.dumps(generators.section()))["generators"]["a"]
        assert len(worker["history"]) <= MAX_ROWS
        assert worst_of(worker["history"])["cpu_percent"] == 99.0
        assert worker["worst"]["cpu_percent"] == 99.0
