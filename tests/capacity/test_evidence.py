"""The number comes with its evidence: a table, JSON and a picture that every browser shows."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.capacity.evidence import Evidence, Report
from ampswarm.capacity.plot import svg
from ampswarm.capacity.search import Outcome, Purpose

HELD = Evidence(100, Purpose.STEP, 5.0, 35.0, 99.8, 2990, 20.5, 41.0, 0.0, held=True, reason="")
FAILED = Evidence(200, Purpose.STEP, 45.0, 75.0, 151.0, 4500, 900.0, 1800.0, 0.02, held=False, reason="2.0% <failed>")
LATE = Evidence(300, Purpose.BISECT, 0.0, 0.0, 12.0, 0, 0.0, 0.0, 0.0, held=False, reason="12 & no more")


def report(outcome: Outcome, capacity: int = 100, reason: str = "") -> Report:
    return Report("messages", "MeterValues", outcome, capacity, reason, (HELD, FAILED, LATE))


@pytest.mark.parametrize(
    ("given_report", "sentence"),
    [
        (report(Outcome.FOUND), "the target holds 100 messages per second"),
        (report(Outcome.AT_LEAST), "the target holds at least 100 messages per second: more was not to be tried"),
        (report(Outcome.NOTHING, 0), "the target does not hold anything: not even the lowest load"),
        (report(Outcome.NOTHING, 0, "3 are missing"), "the target does not hold anything: 3 are missing"),
        (
            report(Outcome.GENERATOR, 100, "lag"),
            "the load generator gave up, not the target, which held 100 messages per second: lag",
        ),
        (report(Outcome.INTERRUPTED), "interrupted; 100 messages per second held until then"),
        (
            report(Outcome.UNSTEADY),
            "no edge: the same loads held and failed, again and again; 100 messages per second held last",
        ),
    ],
)
def test_one_sentence_says_it(given_report: Report, sentence: str) -> None:
    """Whose number it is, too: a generator that gave up says nothing of the target's edge."""
    assert sentence == given_report.sentence()
    assert given_report.is_reliable is (given_report.outcome in ("found", "at least", "nothing"))


def test_the_table_and_the_json_have_every_trial() -> None:
    """Each with its load, what came of it, and the verdict in words."""
    assert report(Outcome.FOUND).table() == [
        "    load  achieved   p50 ms   p99 ms  failed  verdict",
        "     100      99.8     20.5       41   0.00%  held (step up)",
        "     200       151      900     1800   2.00%  2.0% <failed> (step up)",
        "     300        12        0        0   0.00%  12 & no more (find the edge)",
    ]
    read = json.loads(json.dumps(report(Outcome.FOUND).as_json()))
    assert (read["capacity"], read["unit"], read["outcome"]) == (100, "messages per second", "found")
    assert read["trials"][1] == {
        "load": 200, "purpose": "step up", "after": 45.0, "before": 75.0, "achieved": 151.0, "calls": 4500,
        "p50": 900.0, "p99": 1800.0, "fail_ratio": 0.02, "held": False, "reason": "2.0% <failed>",
    }  # fmt: skip


TRIALS = st.builds(
    Evidence,
    st.integers(1, 10**8),
    st.sampled_from(Purpose),
    st.just(0.0),
    st.sampled_from([0.0, 1.0]),
    st.floats(0.0, 2e8),
    st.integers(0, 10**9),
    st.floats(0.0, 1e6),
    st.floats(0.0, 1e6),
    st.floats(0.0, 1.0),
    held=st.booleans(),
    reason=st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=30),
)


@given(st.lists(TRIALS, max_size=5), st.integers(0, 10**8), st.sampled_from(Outcome))
def test_every_search_has_a_picture(trials: list[Evidence], capacity: int, outcome: Outcome) -> None:
    """Well-formed, whatever was measured, with each dot inside and the verdict in its tooltip."""
    report = Report("charge-points", "", outcome, capacity, "<&>", tuple(trials))
    root = ET.fromstring(svg(report))
    space = "{http://www.w3.org/2000/svg}"
    dots = root.findall(f"{space}circle")
    measured = sum(each.before > each.after for each in trials)
    assert len(dots) == len(trials) + 2 * measured
    for dot in dots:
        assert 0 <= float(dot.attrib["cx"]) <= 760
        assert 0 <= float(dot.attrib["cy"]) <= 560
    assert root.findtext(f"{space}title") == report.sentence()
