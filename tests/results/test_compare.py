"""`ampswarm compare` finds what got worse, and does not cry wolf."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.results.blocks import MAX_BLOCKS, blocks_of
from ampswarm.results.compare import Change, Comparison, compare
from ampswarm.results.compare_table import to_text
from ampswarm.results.histogram import Histogram
from ampswarm.results.report import Report, Verdict
from ampswarm.results.timeline import Timeline
from tests.processes import ROOT, clean_environment
from tests.results.runs import drifting_run, report_of

PAIRS = 8
OPPOSITE = {
    Change.WORSE: Change.BETTER,
    Change.BETTER: Change.WORSE,
    Change.SAME: Change.SAME,
    Change.UNCLEAR: Change.UNCLEAR,
}


@cache
def usual_run(seed: int) -> Report:
    return drifting_run(seed)


def changed(comparison: Comparison, *changes: Change) -> set[tuple[str, str]]:
    return {(each.row, each.metric) for each in comparison.differences if each.change in changes}


def test_runs_of_the_same_system_hardly_ever_differ() -> None:
    """A pipeline that cries wolf is switched off."""
    alarms = [
        found
        for first in range(PAIRS)
        for second in range(first)
        if (found := changed(compare(usual_run(first), usual_run(second)), Change.WORSE, Change.BETTER))
    ]
    assert len(alarms) <= 1, alarms


def test_a_slow_down_of_a_fifth_is_found() -> None:
    """In the p99 itself, which has the fewest samples, and in the median."""
    found = {"p99": 0, "p50": 0}
    for seed in range(PAIRS):
        comparison = compare(usual_run(seed), drifting_run(1000 + seed, slower=1.2))
        worse = changed(comparison, Change.WORSE)
        for metric in found:
            found[metric] += any(metric == each for _, each in worse)
        assert not changed(comparison, Change.BETTER)
        assert comparison.is_worse
    assert found["p99"] >= PAIRS - 2
    assert found["p50"] == PAIRS


def test_more_failures_are_found_and_so_are_fewer() -> None:
    """Half a percent of all Calls, and then two."""
    failing = drifting_run(2000, failing=0.02)
    rows = {(f"OCPP/{name}", "fail_ratio") for name in ("Authorize", "Heartbeat", "MeterValues")}
    assert rows == changed(compare(usual_run(0), failing), Change.WORSE)
    assert rows == changed(compare(failing, usual_run(0)), Change.BETTER)


def test_a_slow_beginning_of_both_runs_hides_nothing() -> None:
    """While a fleet comes, everything is slow, in every run: this is no noise."""
    first, second = drifting_run(1, warm_up=2.0), drifting_run(2, warm_up=2.0)
    assert not changed(compare(first, second), Change.WORSE, Change.BETTER)
    assert compare(first, drifting_run(3, warm_up=2.0, slower=1.25)).is_worse


def test_the_threshold_says_what_is_worth_a_word() -> None:
    """A fifth slower, and nobody minds below a half."""
    slower = drifting_run(1001, slower=1.2)
    assert compare(usual_run(0), slower, 0.05).is_worse
    assert not compare(usual_run(0), slower, 0.5).is_worse


def steady(rows: dict[str, tuple[int, float, int]], seconds: int = 60) -> Report:
    """Return a run with rows of so many samples a second, of one time, of which so many in the whole run failed."""
    timeline = Timeline()
    for name, (count, milliseconds, failures) in rows.items():
        left = failures
        for second in range(seconds):
            for number in range(count):
                timeline.add("OCPP", name, second + number / count, milliseconds, failed=left > 0)
                left -= 1
    return report_of(timeline)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # The same time always: any difference is real, if it is large enough to matter.
        ((10, 50.0, 0), (10, 50.0, 0), {}),
        ((10, 50.0, 0), (10, 60.0, 0), dict.fromkeys(("mean", "p50", "p95", "p99"), "worse")),
        ((10, 60.0, 0), (10, 50.0, 0), dict.fromkeys(("mean", "p50", "p95", "p99"), "better")),
        ((10, 50.0, 0), (10, 52.0, 0), {}),
        ((10, 0.50, 0), (10, 0.58, 0), {}),
        # A burst of failures, all of the first second, where there were none.
        ((100, 50.0, 0), (100, 50.0, 70), {"fail_ratio": "worse"}),
        ((100, 50.0, 0), (100, 50.0, 40), {}),
        ((100, 50.0, 0), (100, 50.0, 3), {}),
        ((100, 50.0, 70), (100, 50.0, 0), {"fail_ratio": "better"}),
        # Rows that only one of them has.
        ((1, 50.0, 0), None, {"count": "worse"}),
        ((1, 50.0, 60), None, {"count": "better"}),
        (None, (1, 50.0, 0), {"count": "unclear"}),
        (None, (1, 50.0, 30), {"count": "worse"}),
    ],
)  # fmt: skip
def test_what_counts_as_worse(
    before: tuple[int, float, int] | None, after: tuple[int, float, int] | None, expected: dict[str, str]
) -> None:
    """The rules of docs/decisions/0017-comparing.md, one by one."""
    first = steady({} if before is None else {"Heartbeat": before})
    second = steady({} if after is None else {"Heartbeat": after})
    found = {each.metric: each.change for each in compare(first, second).differences if each.change is not Change.SAME}
    assert expected == found


def test_what_has_nothing_in_common_any_more_is_told_apart_however_short_it_was() -> None:
    """Boots are over with the ramp: ten times slower than they were must not be unclear."""

    def ramp(milliseconds: float) -> Report:
        timeline = Timeline()
        for place in range(50):
            timeline.add("OCPP", "BootNotification", place / 10, milliseconds * (1 + place / 100))
        return report_of(timeline)

    slower = compare(ramp(2.0), ramp(20.0))
    assert changed(slower, Change.WORSE) >= {("OCPP/BootNotification", metric) for metric in ("mean", "p50", "p99")}
    faster = compare(ramp(20.0), ramp(2.0))
    assert changed(faster, Change.BETTER) >= {("OCPP/BootNotification", metric) for metric in ("mean", "p50", "p99")}
    # Twice as slow may be what else the machine had to do in these five seconds.
    assert not changed(compare(ramp(2.0), ramp(4.0)), Change.WORSE)


def test_what_is_three_times_as_slow_and_comes_and_goes_is_not_called_the_same() -> None:
    """A target that stalls now and then has blocks that differ so much that they prove nothing; its users wait."""

    def stalling(seconds_of_stall: int) -> Report:
        timeline = Timeline()
        for place in range(1200):
            stalls = place // 10 in range(50, 50 + seconds_of_stall)
            timeline.add("OCPP", "Heartbeat", place / 10, 4000.0 if stalls else 2.0 + place % 7)
        return report_of(timeline)

    comparison = compare(stalling(0), stalling(5))
    assert ("OCPP/Heartbeat", "p99") in changed(comparison, Change.UNCLEAR) | changed(comparison, Change.WORSE)
    assert ("OCPP/Heartbeat", "mean") in changed(comparison, Change.UNCLEAR) | changed(comparison, Change.WORSE)
    assert ("OCPP/Heartbeat", "p50") in changed(comparison, Change.SAME)


def test_what_is_too_short_to_tell_is_unclear() -> None:
    """Ten seconds say little of the next ten: shown, and no reason to fail."""
    comparison = compare(steady({"Boot": (50, 50.0, 0)}, 10), steady({"Boot": (50, 90.0, 0)}, 10))
    assert {("OCPP/Boot", metric) for metric in ("mean", "p50", "p95", "p99")} == changed(comparison, Change.UNCLEAR)
    assert not comparison.is_worse
    assert "unclear  OCPP/Boot  mean     50 ms  90 ms  +80.0 %" in to_text(comparison)


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from(["Heartbeat", "Boot|Notification", "Ünï\x1b[2J"]),
        st.floats(0, 100),
        st.none() | st.floats(0, 1e6),
        st.booleans(),
    ),
    max_size=120,
)


def timeline_of(samples: Sequence[tuple[str, float, float | None, bool]]) -> Timeline:
    timeline = Timeline()
    for name, at, milliseconds, failed in samples:
        timeline.add("OCPP", name, at, milliseconds, failed=failed)
    return timeline


RUNS = SAMPLES.map(timeline_of)


@given(RUNS, RUNS)
def test_any_two_runs_can_be_compared(first: Timeline, second: Timeline) -> None:
    """Empty, tiny, without times, with names that a terminal would obey: a table and JSON, and no traceback."""
    comparison = compare(report_of(first), report_of(second))
    orjson.dumps(comparison.as_dict())
    text = to_text(comparison, everything=True)
    assert all(line.isprintable() for line in text.split("\n"))
    back = compare(report_of(second), report_of(first))
    for there, here in zip(
        sorted(comparison.differences, key=lambda each: (each.row, each.metric)),
        sorted(back.differences, key=lambda each: (each.row, each.metric)),
        strict=True,
    ):
        assert (there.row, there.metric, there.before, there.after) == (here.row, here.metric, here.after, here.before)
        if there.metric != "count":
            assert OPPOSITE[there.change] == here.change


@given(RUNS)
def test_a_run_is_like_itself(run: Timeline) -> None:
    """Whatever it holds, and to the last number."""
    comparison = compare(report_of(run), report_of(run))
    assert {each.change for each in comparison.differences} <= {Change.SAME}
    assert list(comparison.other_conditions) == []


@given(RUNS)
def test_blocks_hold_every_sample(run: Timeline) -> None:
    """What a comparison stands on is all of the run."""
    for key in run.seen():
        blocks = blocks_of(run, key)
        assert len(blocks) <= MAX_BLOCKS
        assert run.total(key).counts == Histogram.merged(blocks).counts
        assert run.total(key).count == Histogram.merged(blocks).count


def ampswarm(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "ampswarm", *map(str, args)],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports and what is none, as files."""
    folder = tmp_path_factory.mktemp("reports")
    invalid = Verdict(invalid=["worker 1: loop lag of 900 ms"])
    reports = {
        "usual": usual_run(0),
        "again": usual_run(1),
        "slower": drifting_run(1001, slower=1.3),
        "invalid": report_of(timeline_of([("Heartbeat", 1.0, 5.0, False)]), invalid, charge_points=10),
    }
    paths = {name: folder / f"{name}.json" for name in (*reports, "foreign", "broken", "missing", "later")}
    for name, report in reports.items():
        report.save(paths[name])
    paths["foreign"].write_text('{"a": 1}')
    paths["broken"].write_bytes(paths["usual"].read_bytes()[:1000])
    paths["later"].write_text('{"format": 2}')
    return paths


@pytest.mark.parametrize(
    ("first", "second", "status", "said"),
    [
        ("usual", "again", 0, "Nothing got worse: 15 same, of 15 numbers."),
        ("usual", "slower", 3, "worse  OCPP/MeterValues"),
        ("slower", "usual", 0, "better  OCPP/MeterValues"),
        ("usual", "invalid", 4, "charge points: 300 and 10"),
        ("invalid", "usual", 4, "OCPP/Heartbeat"),
    ],
)
def test_the_exit_status_says_what_a_pipeline_wants_to_know(
    files: dict[str, Path], first: str, second: str, status: int, said: str
) -> None:
    """0 nothing got worse, 3 something did, 4 one of them is no measure."""
    run = ampswarm("compare", files[first], files[second])
    assert status == run.returncode, run.stderr
    assert said in run.stdout
    if status == 4:
        assert run.stderr.endswith("invalid.json is of an invalid run: worker 1: loop lag of 900 ms\n")
    else:
        assert run.stderr == ""


def test_everything_comes_as_json_too(files: dict[str, Path]) -> None:
    """For a machine: each number of both runs, what became of it, and how sure that is."""
    run = ampswarm("compare", files["usual"], files["slower"], "--json", "--threshold", "10%")
    found = orjson.loads(run.stdout)
    assert run.returncode == 3
    assert (found["worse"], found["threshold"], found["other_conditions"]) == (True, 0.1, [])
    assert len(found["differences"]) == 15
    assert {"row", "metric", "before", "after", "change", "sigmas", "relative"} == set(found["differences"][0])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("compare", "usual", "missing"), "missing.json: No such file or directory"),
        (("compare", "broken", "usual"), "broken.json: is no JSON"),
        (("compare", "usual", "foreign"), "foreign.json: is no report of a run"),
        (("compare", "later", "usual"), "later.json: its format is 2, of a later Ampswarm; this one knows 1"),
        (("compare", "usual", "again", "--threshold", "fast"), "argument --threshold: 'fast' is not a share such as"),
        (("compare", "usual", "again", "--threshold=-5%"), "'-5%' is not a share such as 5% or 0.05"),
        (("compare", "usual"), "the following arguments are required: B.json"),
        ((), "the following arguments are required: COMMAND"),
        (("compar",), "invalid choice: 'compar'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(files: dict[str, Path], args: tuple[str, ...], said: str) -> None:
    """Named with its file or option, without a traceback."""
    run = ampswarm(*(files.get(each, each) for each in args))
    assert (run.returncode, run.stdout) == (2, "")
    errors = [line for line in run.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1, run.stderr
    assert said in errors[0]
    assert "Traceback" not in run.stderr
