"""How a fleet came back from a storm: what workers counted comes together, and the table says so."""

from __future__ import annotations

import json
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results.histogram import bucket
from ampswarm.results.recovery import PERCENTS, Recovery, table

TIMES = st.lists(st.floats(0, 100_000), max_size=50)


def recovery(hit: int, *back: float) -> Recovery:
    """Return one with so many hit, and these times in milliseconds after which they were back."""
    made = Recovery()
    made.hit = made.were_online = hit
    for each in back:
        made.back.add(each)
        made.attempts.add(1)
    return made


@given(TIMES, st.integers(0, 20))
def test_it_is_those_hit_that_the_per_cents_are_of(back: list[float], never: int) -> None:
    """One in a hundred that never came back is seen: 100 % is then never, and not the last that came."""
    hit = len(back) + never
    found = recovery(hit, *back)
    for percent in PERCENTS:
        rank = ceil(percent * hit / 100)
        expected = None if not 0 < rank <= len(back) else sorted(back)[rank - 1]
        seconds = found.seconds_until(percent)
        if expected is None:
            assert seconds is None
        else:
            assert seconds is not None
            assert abs(seconds * 1000 - expected) <= abs(bucket(expected) - expected) + 0.001


@given(st.lists(TIMES, min_size=1, max_size=4))
def test_workers_come_to_the_same_as_one_process(workers: list[list[float]]) -> None:
    """What is told in any pieces, by any number of workers, is the same as if one process had seen it all."""
    alone, together = Recovery(), Recovery()
    for times in workers:
        worker = Recovery()
        for number, each in enumerate(times):
            for counts in (worker, alone):
                counts.hit += 1
                counts.back.add(each)
                counts.attempts.add(number % 5 + 1)
                counts.refused["HTTP 503"] = counts.refused.get("HTTP 503", 0) + 1
                counts.note_other(each / 1000 - 3, (each, each + 1), failed=number % 2 == 0)
            if number % 7 == 0:
                together.accept(json.loads(json.dumps(worker.take())))
        together.accept(worker.take())
        assert worker.take() == {}
    assert alone.section() == together.section()


def test_during_ends_when_99_per_cent_are_back() -> None:
    """The others' latency is told apart: before the storm, until 99 % are back, and after that."""
    found = recovery(2, 500.0, 2500.0)
    for at, milliseconds in ((-1.0, 10.0), (0.5, 100.0), (2.9, 200.0), (3.0, 20.0), (9.0, 30.0)):
        found.note_other(at, (milliseconds, milliseconds * 2), failed=milliseconds == 200.0)
    others = found.section()["others"]
    assert others["OCPP"] == {
        "before": {"count": 1, "failures": 0, "p50_ms": 10.0, "p99_ms": 10.0},
        "during": {"count": 2, "failures": 1, "p50_ms": 100.0, "p99_ms": 200.0},
        "after": {"count": 2, "failures": 0, "p50_ms": 20.0, "p99_ms": 30.0},
    }
    assert others["DUE"]["during"]["p99_ms"] == 400.0


def test_while_they_are_not_back_it_is_still_during() -> None:
    """A storm that the fleet did not come back from has no after."""
    found = recovery(2, 500.0)
    found.note_other(50.0, (1.0, 1.0), failed=False)
    phases = found.section()["others"]["OCPP"]
    assert (phases["during"]["count"], phases["after"]["count"]) == (1, 0)
    assert not found.is_over


def test_the_table_says_it_in_words() -> None:
    """What a user reads at the end of a run."""
    found = recovery(200, *(1000.0 + 10 * each for each in range(200)))
    found.refused = {"HTTP 503 Service Unavailable": 40, "connection refused": 2}
    found.backlogs, found.backlog_messages = 2, 5
    found.drain.add(300)
    found.drained.add(2300)
    found.note_other(-1, (1.5, 2.5), failed=False)
    found.note_other(1, (15.0, 250.0), failed=False)
    assert table({"title": "storm 1 (at=5s share=50% kind=network)", **found.section()}) == [
        "storm 1 (at=5s share=50% kind=network): 200 hit, 200 of them online; 200 back",
        "                                        50 %          90 %          99 %         100 %",
        "  accepted again after                1.99 s        2.79 s        2.97 s        2.99 s",
        "                                        mean           p99           max",
        "  attempts per charge point             1.00             1             1",
        "  attempts that failed                    42",
        "                                          40  HTTP 503 Service Unavailable",
        "                                           2  connection refused",
        "                                         p50           p99           max     all since",
        "  outboxes drained within             0.30 s        0.30 s        0.30 s         never   1 of 2, 5 messages",
        "  those not hit, p50 / p99 ms         before        during         after",
        "    OCPP                           1.5 / 1.5       15 / 15             -",
        "    DUE                            2.5 / 2.5     250 / 250             -",
    ]
