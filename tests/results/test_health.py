"""Whether a generator's numbers can be trusted: past which limit, for how long, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.load.options import OPTIONS
from ampswarm.option_types import percent
from ampswarm.results.generators import row_of
from ampswarm.results.health import LAG_INTERVAL, LATE_SECONDS, Judge, Limits, Reading, count_lag, late_seconds
from ampswarm.results.histogram import Histogram

Change = Mapping[str, object]
CALM = Histogram.of({1.0: 20})


def lagging(*stalls: float) -> Histogram:
    """Return the lag of a second in which the loop stood still."""
    histogram = Histogram()
    for stall in stalls:
        count_lag(histogram, stall)
    return histogram


def readings(*changes: Change, seconds: float = 1.0) -> list[Reading]:
    """Return a reading for each second; in each, what is not calm."""
    return [
        Reading(at=(number + 1) * seconds, seconds=seconds, **{"lag": CALM, "cpu": 20.0, "port_range": 1000, **change})  # type: ignore[arg-type]
        for number, change in enumerate(changes)
    ]


def judged(given_: list[Reading], limits: Limits | None = None) -> Judge:
    judge = Judge(limits or Limits())
    for reading in given_:
        judge.take(reading)
    return judge


def kinds(judge: Judge) -> dict[str, str]:
    """Return what was found, and the worse of what it means."""
    found: dict[str, str] = {}
    for (kind, is_invalid), _ in sorted(judge.findings.items()):
        found[kind] = "invalid" if is_invalid else "blip"
    return found


LATE: Change = {"lag": lagging(0.8)}
STOPPED: Change = {"lag": lagging(2.0)}
SLOW: Change = {"gc": Histogram.of({1: 50, 600: 1})}
BUSY: Change = {"cpu": 99.0}
FULL: Change = {"memory": 97.0}

CASES: dict[str, tuple[list[Change], dict[str, str]]] = {
    "calm": ([{}] * 30, {}),
    "a little late, always": ([{"lag": lagging(0.4)}] * 60, {}),
    "one stall of 0.8 s": ([{}, LATE, {}], {"loop_lag": "blip"}),
    "four of them within 10 s": ([LATE, {}, LATE, {}, LATE, LATE], {"loop_lag": "invalid"}),
    "four of them, each 11 s after the other": (([LATE] + [{}] * 10) * 4, {"loop_lag": "invalid"}),
    "four of them, each 60 s after the other": (([LATE] + [{}] * 59) * 4, {"loop_lag": "blip"}),
    "stopped for 2 s": ([{}, STOPPED, {}], {"loop_lag": "invalid"}),
    "the very first second": ([STOPPED], {"loop_lag": "invalid"}),
    "a core for 2 s": ([BUSY] * 2 + [{}] * 5, {"generator_cpu": "blip"}),
    "a core for 5 s": ([{}] + [BUSY] * 5, {"generator_cpu": "invalid"}),
    "a core for the first 3 s": ([BUSY] * 3, {"generator_cpu": "blip"}),
    "a core, with a pause": ([BUSY, BUSY, {"cpu": 70.0}, BUSY, BUSY, BUSY, {}], {"generator_cpu": "blip"}),
    "one long pause for garbage": ([SLOW, {}], {"gc_pause": "blip"}),
    "two of them": ([SLOW, {}, SLOW], {"gc_pause": "invalid"}),
    "two of them, far from each other": ([SLOW] + [{}] * 12 + [SLOW], {"gc_pause": "blip"}),
    "many short ones": ([{"gc": Histogram.of({40: 20})}] * 10, {}),
    "files": ([{"files": 94.9}, {"files": 95.0}], {"open_files": "invalid"}),
    "files, almost": ([{"files": 94.9}], {}),
    "ports": ([{"ports": {"a:1": 10, "b:1": 950}}], {"ports": "invalid"}),
    "ports, in all but to no one destination": ([{"ports": {"a:1": 600, "b:1": 600}}], {}),
    "ports of an unknown range": ([{"ports": {"a:1": 60_000}, "port_range": 0}], {}),
    "no port": ([{"ports_exhausted": True, "port_range": 0}], {"ports": "invalid"}),
    "memory for a moment": ([FULL, {"memory": 50.0}], {"generator_memory": "blip"}),
    "memory for good": ([FULL] * 6, {"generator_memory": "invalid"}),
    "a clock that is corrected": ([{"clock_jump": 0.9}] * 5, {}),
    "a clock that is set": ([{"clock_jump": 1.0}], {"clock_jump": "invalid"}),
    "a master that is slow": ([{"distance": 3.0}], {"master_distance": "blip"}),
    "a master that is away": ([{"distance": 3.0}, {"distance": 5.5}], {"master_distance": "invalid"}),
    "no master": ([{"distance": None}], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_sustained_is_invalid_and_a_blip_is_not(case: str) -> None:
    """Otherwise good runs on a busy machine are thrown away, or bad ones are believed."""
    changes, expected = CASES[case]
    assert expected == kinds(judged(readings(*changes)))


@pytest.mark.parametrize(
    ("limit", "change"),
    [
        ("max_loop_lag", STOPPED),
        ("max_generator_cpu", BUSY),
        ("max_gc_pause", SLOW),
        ("max_open_files", {"files": 100.0}),
        ("max_ports", {"ports_exhausted": True}),
        ("max_generator_memory", FULL),
        ("max_clock_jump", {"clock_jump": 3600.0}),
        ("max_master_distance", {"distance": 100.0}),
    ],
)
def test_a_limit_of_0_is_none(limit: str, change: Change) -> None:
    """Who knows better switches one off, and only that one."""
    given_ = readings(*[change] * 10)
    assert not judged(given_).is_valid
    assert judged(given_, Limits(**{limit: 0.0})).findings == {}


def test_a_reason_says_what_when_value_limit_and_option() -> None:
    """Whoever reads it must know what to look at, and what to turn."""
    given_ = readings({}, {"lag": lagging(2.0), "is_spawning": True})
    first, *_ = Judge(Limits(max_loop_lag=0.25)).take(given_[1])
    assert first.text == (
        "2 s into the test, while charge points were added: its loop was 2 s late, and for 1.75 of 10 s "
        "by more than 0.25 s (--max-loop-lag 0.25)"
    )


def test_the_same_again_is_counted_and_not_said_again() -> None:
    """A generator that is late for an hour is one line, and not 3,600."""
    judge = Judge(Limits())
    said = [found for reading in readings(*[STOPPED] * 100) for found in judge.take(reading)]
    assert [found.kind for found in said] == ["loop_lag"]
    assert (said[0].times, said[0].at, said[0].until) == (100, 1.0, 100.0)


def test_a_blip_that_becomes_more_is_said_twice() -> None:
    """First the warning, then the reason."""
    judge = Judge(Limits())
    said = [found.is_invalid for reading in readings(*[LATE] * 8) for found in judge.take(reading)]
    assert said == [False, True]


@given(st.floats(0.0, 30.0), st.floats(0.01, 5.0))
def test_a_stall_counts_for_as_long_as_somebody_would_have_waited_too_long(stall: float, limit: float) -> None:
    """Whoever came in the first `stall - limit` seconds of it; seen once, and counted as often as it matters."""
    late = late_seconds(lagging(stall), limit)
    # Times in a histogram have three digits, and there is a look every 50 ms.
    assert late == pytest.approx(max(0.0, stall - limit), abs=LAG_INTERVAL + 0.01 * stall)


@given(st.lists(st.floats(0.0, 0.49), max_size=60))
def test_a_loop_within_its_limit_is_never_found_late(lags: list[float]) -> None:
    """However often it comes close to it."""
    assert judged(readings(*[{"lag": lagging(lag)} for lag in lags])).findings == {}


@given(st.lists(st.floats(0.0, 4.0), min_size=1, max_size=60))
def test_who_was_late_for_a_second_of_ten_is_invalid_and_stays_it(stalls: list[float]) -> None:
    """Against a plain sum over the last ten seconds."""
    judge = Judge(Limits(max_loop_lag=0.5))
    late = [late_seconds(lagging(stall), 0.5) for stall in stalls]
    is_invalid = False
    for number, reading in enumerate(readings(*[{"lag": lagging(stall)} for stall in stalls]), 1):
        judge.take(reading)
        is_invalid |= sum(late[max(0, number - 10) : number]) > LATE_SECONDS + 1e-9
        is_invalid |= sum(late[:number]) > max(LATE_SECONDS, 0.01 * number) + 1e-9
        if is_invalid:
            assert not judge.is_valid
    assert judge.is_valid or is_invalid or sum(late) == pytest.approx(LATE_SECONDS)


NUMBERS = st.floats(0.0, 1e6)
HISTOGRAMS = st.dictionaries(st.floats(0.001, 1e5), st.integers(1, 50), max_size=5).map(Histogram.of)
READINGS = st.builds(
    Reading, at=NUMBERS, seconds=NUMBERS, lag=HISTOGRAMS, gc=HISTOGRAMS, cpu=NUMBERS, files=st.none() | NUMBERS,
    ports=st.dictionaries(st.text(max_size=9), st.integers(0, 99_999), max_size=3), port_range=st.integers(0, 65_535),
    ports_exhausted=st.booleans(), memory=st.none() | NUMBERS, resident=st.integers(0, 1 << 40), clock_jump=NUMBERS,
    distance=st.none() | NUMBERS, charge_points=st.integers(0, 99_999), is_spawning=st.booleans(),
    host=st.text(max_size=9),
)  # fmt: skip


@given(READINGS)
def test_a_reading_arrives_as_it_was_sent(reading: Reading) -> None:
    """In a message from a worker, nothing may be lost or swapped."""
    arrived = Reading.unpack(orjson.loads(orjson.dumps(reading.pack())))
    assert reading.pack() == arrived.pack()


@pytest.mark.parametrize("packed", [None, [], 7, "reading", [0] * 15, [0] * 16, [None] * 16])
def test_what_is_no_reading_is_refused(packed: object) -> None:
    """A worker of another version is an error in the log, and not the end of the master."""
    with pytest.raises(ValueError, match="no reading|no histogram"):
        Reading.unpack(packed)


def test_the_page_names_every_limit_with_its_variable_and_default() -> None:
    """Who reads that a run is invalid looks there."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "generator-health.md").read_text()
    options = {each.dest: each for each in OPTIONS}
    for limit in fields(Limits):
        option = options[limit.name]
        unit = "%" if option.parse is percent else "s"
        assert f"| `{option.flag}` | `{option.variable}` | {option.default:g} {unit} |" in page
        assert limit.default == option.default
    for column in row_of(Reading(1.0, 1.0)):
        assert f"`{column}`" in page
