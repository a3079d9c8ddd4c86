"""Reports: what is written can be read, by machines, pipelines and people; what is none is refused in one line."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema_rs
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampswarm.results.compare import compare
from ampswarm.results.compare_table import to_text
from ampswarm.results.histogram import Histogram
from ampswarm.results.junit import to_junit
from ampswarm.results.markdown import to_markdown
from ampswarm.results.report import BadReport, Report, Status, Verdict, build, load, schema, write_whole
from ampswarm.results.slo import judge, parse_slo
from ampswarm.results.timeline import Timeline
from tests.processes import ROOT
from tests.results.runs import RUN, report_of

VALIDITY = "the generator's numbers can be trusted"


def a_timeline() -> Timeline:
    """A minute of Heartbeats, one in ten failed, a boot, and a lost message without a time."""
    timeline = Timeline()
    for second in range(60):
        for number in range(10):
            timeline.add("OCPP", "Heartbeat", second + number / 10, 10.0 + second + number, failed=number == 9)
            timeline.add("DUE", "Heartbeat", second + number / 10, 20.0 + second + number, failed=number == 9)
    timeline.add("OCPP", "BootNotification", 0.5, 1234.5678)
    timeline.add("OUTBOX", "StopTransaction", 30.0, None, failed=True)
    return timeline


def a_report(*slos: str, invalid: tuple[str, ...] = (), **more: Any) -> Report:
    timeline = a_timeline()
    verdict = Verdict([judge(parse_slo(each), timeline, 60.0) for each in slos], invalid)
    return build(
        run=RUN,
        verdict=verdict,
        exit_status=3,
        timeline=timeline,
        errors=[("OCPP", "Heartbeat", "CallFailed('timeout')", 40), ("OCPP", "Heartbeat", "CallFailed('lost')", 20)],
        **more,
    )


SECTIONS = {
    "calls": {"Heartbeat": {"sent": 600, "answered": 540, "failed": 60}},
    "fleet": {"charge_points": 300, "online": 299},
    "generators": {"worker-1": {"lag_ms": 3.5}},
    "storms": [{"at": 20.0, "kind": "network", "hit": 150, "recovered_seconds": {"50": 1.5, "100": 9.25}}],
    "events": [{"at": 1.5, "what": "worker missing", "worker": "a|b"}],
}
HELD, MISSED, NO_SAMPLE = "OCPP/Heartbeat max < 1s", "OCPP/* p50 < 100ms", "OCPP/Authorize p99 < 1s"


def test_a_report_keeps_to_its_schema_and_comes_back_whole(tmp_path: Path) -> None:
    """Whoever reads it relies on the schema in the documentation; a file is what was written."""
    report = a_report(HELD, MISSED, NO_SAMPLE, invalid=("worker 1: lag",), sections=SECTIONS)
    report.save(tmp_path / "report.json")
    again = load(tmp_path / "report.json")
    assert report == again
    assert report.data == again.data
    jsonschema_rs.validator_for(schema()).validate(orjson.loads((tmp_path / "report.json").read_bytes()))


def test_the_statistics_of_a_report_are_those_of_the_samples() -> None:
    """Sums, times and percentiles of each row, its failures by text, and all of the histogram."""
    rows = {f"{each['type']}/{each['name']}": each for each in a_report().data["statistics"]}
    assert list(rows) == ["DUE/Heartbeat", "OCPP/BootNotification", "OCPP/Heartbeat", "OUTBOX/StopTransaction"]
    beats, whole = rows["OCPP/Heartbeat"], a_timeline().total(("OCPP", "Heartbeat"))
    assert (beats["count"], beats["failures"], beats["min_ms"], beats["max_ms"]) == (600, 60, 10.0, 78.0)
    assert beats["mean_ms"] == pytest.approx(whole.mean, abs=1e-4)
    assert list(beats["percentiles_ms"]) == ["50", "75", "90", "95", "99", "99.9", "99.99"]
    assert whole.percentile(99.9) == beats["percentiles_ms"]["99.9"]
    assert beats["errors"] == {"CallFailed('timeout')": 40, "CallFailed('lost')": 20}
    assert whole.counts == Histogram.unpack(beats["histogram"]).counts
    lost = rows["OUTBOX/StopTransaction"]
    assert (lost["count"], lost["failures"], lost["mean_ms"], lost["min_ms"], lost["max_ms"]) == (1, 1, 0, 0, 0)


def test_the_timeline_of_a_report_says_what_was_when() -> None:
    """For each row and window: how many, how many failed, and how long they took."""
    timeline = a_report().data["timeline"]
    assert timeline["window_seconds"] == 1
    windows = next(
        each["windows"] for each in timeline["rows"] if (each["type"], each["name"]) == ("OCPP", "Heartbeat")
    )
    assert [each["begin"] for each in windows] == list(range(60))
    assert windows[7] == {
        "begin": 7, "count": 10, "failures": 1, "mean_ms": 21.5, "p50_ms": 21.0, "p95_ms": 26.0,
        "p99_ms": 26.0, "max_ms": 26.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("slos", "invalid", "status"),
    [
        ((), (), Status.NONE),
        ((HELD,), (), Status.PASSED),
        ((HELD, MISSED), (), Status.MISSED),
        ((HELD, NO_SAMPLE), (), Status.MISSED),
        ((HELD,), ("lag",), Status.INVALID),
        ((MISSED,), ("lag",), Status.INVALID),
        ((), ("lag",), Status.INVALID),
    ],
)
def test_a_verdict_is_the_worst_of_what_it_is_made_of(
    slos: tuple[str, ...], invalid: tuple[str, ...], status: Status
) -> None:
    """Invalid goes before missed; what met no sample is no pass."""
    assert status is a_report(*slos, invalid=invalid).status


def test_the_schema_in_the_documentation_is_the_one_that_is_used() -> None:
    """A page that says something else is worse than none."""
    page = (ROOT / "docs" / "reference" / "report.md").read_text()
    for name in [*schema()["properties"], *schema()["properties"]["run"]["properties"]]:
        assert f"`{name}`" in page, name
    jsonschema_rs.meta.validate(schema())


# -- what is no report -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe", "is no JSON"),
        (b"[1, 2]", "is no report of a run: the file: "),
        (b"{}", "is no report of a run: the file: "),
        (b'{"format": 7}', "its format is 7, of a later Ampswarm; this one knows 1"),
        (b'{"format": 1, "run": 5, "verdict": {}, "statistics": [], "timeline": {}}', "is no report of a run: "),
    ],
)
def test_a_foreign_file_is_refused_in_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    """With its name and the place."""
    path = tmp_path / "foreign.json"
    path.write_bytes(content)
    with pytest.raises(BadReport) as raised:
        load(path)
    assert f"{raised.value}".startswith(f"{path}: {complaint}")
    assert "\n" not in f"{raised.value}"


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """A wrong path is the commonest mistake."""
    with pytest.raises(BadReport, match="No such file or directory|Is a directory"):
        load(tmp_path / name)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of all that a JSON value holds."""
    yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))
    elif isinstance(value, list):
        # Lists are long and of one kind.
        for index, part in enumerate(value[:3]):
            yield from places(part, (*path, index))


SOUND: dict[str, Any] = orjson.loads(
    orjson.dumps(a_report(HELD, MISSED, NO_SAMPLE, invalid=("lag",), sections=SECTIONS).data)
)
PLACES = [each for each in places(SOUND) if each]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.sampled_from(PLACES), st.just(...) | JSON)
def test_a_damaged_report_is_refused_or_read(tmp_path: Path, place: tuple[Any, ...], instead: Any) -> None:
    """Anything in the place of anything, or nothing: one clear line, or a table; never a traceback."""
    data = copy.deepcopy(SOUND)
    holder = data
    for step in place[:-1]:
        holder = holder[step]
    if instead is ...:
        del holder[place[-1]]
    else:
        holder[place[-1]] = instead
    path = tmp_path / "damaged.json"
    path.write_bytes(orjson.dumps(data))
    try:
        report = load(path)
    except BadReport as error:
        assert "\n" not in f"{error}"
        return
    to_text(compare(report, Report(SOUND)), everything=True)
    orjson.dumps(compare(Report(SOUND), report).as_dict())
    ET.fromstring(to_junit(report))
    to_markdown(report)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """Whoever reads meanwhile gets the old one, and nothing is left lying about."""
    path = tmp_path / "report.json"
    write_whole(path, b"old")
    with path.open("rb") as old:
        write_whole(path, b"new")
        assert old.read() == b"old"
    assert path.read_bytes() == b"new"
    with pytest.raises(OSError):
        write_whole(tmp_path / "missing" / "report.json", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """As root, `/dev/null` would become a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, b"report")
    assert os.read(reader, 100) == b"report"
    os.close(reader)
    assert pipe.is_fifo()


# -- JUnit ----------------------------------------------------------------------------------------


def test_junit_has_a_case_for_each_slo_and_one_for_validity() -> None:
    """Failures are the target's, errors are what could not be judged."""
    suite = ET.fromstring(to_junit(a_report(HELD, MISSED, NO_SAMPLE, invalid=("lag of w1", "clock"))))[0]
    found = {case.get("name"): [each.tag for each in case] for case in suite.findall("testcase")}
    assert found == {VALIDITY: ["error"], HELD: ["system-out"], MISSED: ["failure"], NO_SAMPLE: ["error"]}
    assert [suite.get(each) for each in ("tests", "failures", "errors")] == ["4", "1", "2"]
    assert (suite.get("name"), suite.get("timestamp")) == ("ampswarm steady_state.py", "2026-01-02T03:04:05")
    assert next(each.text for each in suite.iter("error")) == "lag of w1\nclock"


@given(st.text(min_size=1), st.text())
def test_any_text_is_safe_in_junit(reason: str, scenario: str) -> None:
    """A control character in a worker's name must not cost a pipeline its results."""
    report = report_of(a_timeline(), Verdict([], [reason]), scenario=scenario)
    case = ET.fromstring(to_junit(report))[0][0]
    assert case.get("name") == VALIDITY
    assert case[0].tag == "error"


# -- Markdown -------------------------------------------------------------------------------------


def test_markdown_begins_with_the_verdict() -> None:
    """It is all that many will read."""
    page = to_markdown(a_report(HELD, MISSED, NO_SAMPLE, sections=SECTIONS))
    assert page.startswith("# Missed\n")
    assert "| `OCPP/* p50 < 100ms` | missed | 1235 ms | OCPP/BootNotification | 1 (few) |" in page
    assert "| `OCPP/Authorize p99 < 1s` | no sample |  |  | 0 |" in page
    assert "| OCPP | Heartbeat | 600 | 60 |" in page
    assert "| OCPP | Heartbeat | CallFailed('timeout') | 40 |" in page
    assert "## Storms" in page
    assert "| 1.5 | worker missing | a\\|b |" in page
    assert to_markdown(a_report(HELD, invalid=("lag of w1",))).startswith("# Invalid: the numbers cannot be trusted\n")
    assert "- lag of w1\n" in to_markdown(a_report(invalid=("lag of w1",)))
    assert to_markdown(a_report()).startswith("# Not judged: there was no SLO\n")


TEXT = st.text(st.sampled_from("`|\\<>[]\n\r\t*_# aé\u202e\x1b") | st.characters(codec="utf-8"), max_size=12)


@given(TEXT, TEXT, TEXT)
def test_any_text_stays_in_its_cell(name: str, error: str, event: str) -> None:
    """A row's name, a failure's text, an event: none makes columns, lines or HTML."""
    timeline = Timeline()
    timeline.add("OCPP", name, 1.0, 5.0, failed=True)
    report = build(
        run=RUN,
        verdict=Verdict(),
        exit_status=None,
        timeline=timeline,
        errors=[("OCPP", name, error, 1)],
        sections={"events": [{"at": 1.0, "what": event}]},
    )
    columns = 0
    for line in to_markdown(report).split("\n"):
        assert len(line.splitlines()) <= 1
        cells = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))
        if not line.startswith("|"):
            columns = 0
            continue
        assert cells == columns or not columns, line
        columns = cells
        assert "<" not in line
