"""A test that ends in a verdict: exit status, JSON, JUnit and Markdown, in one process and with workers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ampswarm.results.report import load
from tests.processes import STEADY_STATE, CentralSystem, Locust, Run, free_port, run_locust

PASSING = ("OCPP/BootNotification p99 < 60s", "FLOW/online max < 60s", "fail_ratio < 0.1%", "DUE/* p99.9 < 60s")
SLOW = {"delays": [{"actions": ["BootNotification", "Heartbeat"], "seconds": 0.3}]}
"""Chaos of the central system: far above what is asked for, and above what the generator itself may be late by."""
MISSED = (
    "OCPP/BootNotification p99 < 100ms", "FLOW/online max < 100ms", "DUE/* p99.9 < 100ms after 1s",
    "OCPP/* count > 1000000", "fail_ratio > 50%",
)  # fmt: skip
NO_SAMPLE = ("OCPP/Authorize p99 < 1s", "DUE/* p99.9 < 1s after 10min")
MALFORMED = (
    ("OCPP/BootNotification p99 < 250", "at the end: a time without its unit"),
    ("FLOW/online max 60s", "at '60s': no comparison"),
    ("fail_ratio < 0.1ms", "at 'ms': 'ms' is no unit of a ratio"),
    ("DUE/* p999 < 1s", "a metric behind"),
    ("OCPP/* count > many", "at 'many': no number"),
    ("DUE/* p99.9 < 1s after lunch", "at 'lunch': no number"),
)


def files(tmp_path: Path) -> tuple[str, ...]:
    return (
        *("--report-json", str(tmp_path / "report.json")),
        *("--junit-xml", str(tmp_path / "junit.xml")),
        *("--summary-md", str(tmp_path / "summary.md")),
    )


def slos(*texts: str) -> tuple[str, ...]:
    return tuple(part for text in texts for part in ("--slo", text))


def outcomes(tmp_path: Path) -> dict[str, str]:
    """Return what each SLO came to, from the JSON report, which keeps to its schema."""
    report = load(tmp_path / "report.json")
    return {each["slo"]: each["outcome"] for each in report.data["verdict"]["slos"]}


def junit(tmp_path: Path) -> dict[str, str]:
    """Return what each test case came to."""
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    results = {}
    for case in suite.findall("testcase"):
        kinds = [each.tag for each in case if each.tag != "system-out"]
        results[case.get("name", "")] = kinds[0] if kinds else "passed"
    return results


def test_a_run_whose_slos_hold_passes(central_system: CentralSystem, tmp_path: Path) -> None:
    """Status 0, and each file says so."""
    run = run_locust(
        tmp_path, "--headless", "-u", "10", "-t", "4s", "--host", central_system.url, *slos(*PASSING), *files(tmp_path)
    )
    assert run.status == 0, run.output
    assert dict.fromkeys(PASSING, "held") == outcomes(tmp_path)
    assert {**dict.fromkeys(PASSING, "passed"), "the generator's numbers can be trusted": "passed"} == junit(tmp_path)
    assert (tmp_path / "summary.md").read_text().startswith("# Passed: every SLO held\n")
    assert "verdict: passed" in run.output


def test_a_run_that_misses_an_slo_fails_with_status_3(central_system: CentralSystem, tmp_path: Path) -> None:
    """One of them suffices; one without a sample is no pass either."""
    assert central_system.request("PUT", "/api/v1/chaos", SLOW)[0] == 200
    slo_file = tmp_path / "slos.txt"
    slo_file.write_text("# from a file\n" + "\n".join((*MISSED, *NO_SAMPLE)) + "\n")
    run = run_locust(
        tmp_path, "--headless", "-u", "10", "-t", "4s", "--host", central_system.url,
        *files(tmp_path), "--slo-file", str(slo_file), env={"AMPSWARM_SLO": ";".join(PASSING[:2])},
    )  # fmt: skip
    assert run.status == 3, run.output
    expected = {
        **dict.fromkeys(PASSING[:2], "held"), **dict.fromkeys(MISSED, "missed"), **dict.fromkeys(NO_SAMPLE, "no sample")
    }  # fmt: skip
    assert expected == outcomes(tmp_path)
    words = {"held": "passed", "missed": "failure", "no sample": "error"}
    cases = {slo: words[outcome] for slo, outcome in expected.items()}
    assert {**cases, "the generator's numbers can be trusted": "passed"} == junit(tmp_path)
    assert (tmp_path / "summary.md").read_text().startswith("# Missed\n")
    assert load(tmp_path / "report.json").data["verdict"]["exit_status"] == 3


def test_failed_requests_are_what_the_slos_make_of_them(tmp_path: Path) -> None:
    """Locust's own status for any failure is 1; with SLOs, they alone decide."""
    host = f"ws://127.0.0.1:{free_port()}"
    common = ("--headless", "-u", "2", "-t", "2s", "--host", host, "--reconnect-max", "1")
    allowed = run_locust(tmp_path, *common, *slos("fail_ratio <= 100%"))
    assert allowed.status == 0, allowed.output
    refused = run_locust(tmp_path, *common, *slos("fail_ratio < 1%"))
    assert refused.status == 3, refused.output
    without = run_locust(tmp_path, *common)
    assert without.status == 1, without.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            ("--slo", "OCPP/Heartbeat p99 < 250"),
            "--slo or AMPSWARM_SLO: 'OCPP/Heartbeat p99 < 250', at the end: a time without",
        ),
        (("--slo-file", "{tmp}/none.txt"), "--slo-file {tmp}/none.txt: No such file or directory"),
        (("--slo-file", "{tmp}/bad.txt"), "--slo-file {tmp}/bad.txt:2: 'p99 is < 1s', at 'is < 1s': no comparison"),
        (("--slo-file", "{tmp}/empty.txt"), "--slo-file {tmp}/empty.txt: there is no SLO in it"),
        (("--slo", ""), "--slo or AMPSWARM_SLO: there is no SLO in it"),
        (("--report-json", "{tmp}"), "--report-json {tmp}: is a folder"),
        (
            ("--report-json", "{tmp}/x", "--junit-xml", "{tmp}/none/../x"),
            "--report-json and --junit-xml: both are {tmp}/x",
        ),
        (("--junit-xml", "{tmp}/none/junit.xml"), "--junit-xml {tmp}/none/junit.xml: No such file or directory"),
    ],
)
def test_what_cannot_be_judged_or_written_is_refused_before_the_test(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    """One line, status 2; not after an hour of load."""
    (tmp_path / "bad.txt").write_text("p50 < 1s\np99 is < 1s\n")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    run = run_locust(
        tmp_path, "--headless", "-u", "1", "-t", "5s", "--host", "ws://127.0.0.1:9",
        *(each.format(tmp=tmp_path) for each in options),
    )  # fmt: skip
    assert run.status == 2, run.output
    errors = [line for line in run.output.splitlines() if "error: " in line]
    assert len(errors) == 1
    assert complaint.format(tmp=tmp_path) in errors[0]
    assert "Traceback" not in run.output


@pytest.mark.parametrize(("slo", "complaint"), MALFORMED)
def test_each_form_of_an_slo_is_refused_where_it_is_wrong_by_a_master_too(
    tmp_path: Path, slo: str, complaint: str
) -> None:
    """Before it waits for a worker: which would not end either, if it had come."""
    options = (*slos(slo), *files(tmp_path))
    for processes in (("--master", "--expect-workers", "2", "--master-bind-port", str(free_port())), ()):
        run = run_locust(tmp_path, "--headless", "-u", "1", "-t", "5s", *processes, *options)
        assert run.status == 2, run.output
        (error,) = [line for line in run.output.splitlines() if "error: " in line]
        assert f"--slo or AMPSWARM_SLO: {slo!r}" in error
        assert complaint in error
        assert not (tmp_path / "report.json").exists()


def test_the_environment_is_named_where_it_is_wrong(tmp_path: Path) -> None:
    """A pipeline's variables are where its mistakes are."""
    run = run_locust(tmp_path, "--headless", "-t", "5s", env={"AMPSWARM_SLO": "p99 < 1s; p50"})
    assert run.status == 2, run.output
    assert "--slo or AMPSWARM_SLO: 'p50', at the end" in run.output


BROKEN = """
from locust import events, task
from ampswarm.load import ChargePointUser

@events.init_command_line_parser.add_listener
def add(parser):
    parser.add_argument("--operator", default="nobody", is_secret=True, include_in_web_ui=False)
    parser.add_argument("--portal", default="")

class Broken(ChargePointUser):
    @task
    def fail(self):
        self.sleep(1)
        raise RuntimeError("a fault of the scenario")
"""


def test_a_scenario_that_raises_does_not_pass(central_system: CentralSystem, tmp_path: Path) -> None:
    """Whatever was measured, it was not what it was for: Locust's own status says so. And its secrets stay its own."""
    locustfile = tmp_path / "broken.py"
    locustfile.write_text(BROKEN)
    run = run_locust(
        tmp_path, "--headless", "-u", "2", "-t", "3s", "--host", central_system.url, *slos("fail_ratio < 1%"),
        *files(tmp_path), "--operator", "s3cret", "--portal", "https://me:s3cret@portal.example/x",
        locustfile=locustfile,
    )  # fmt: skip
    assert run.status == 1, run.output
    report = load(tmp_path / "report.json")
    assert (report.data["verdict"]["status"], report.data["verdict"]["exit_status"]) == ("passed", None)
    assert report.data["run"]["options"]["portal"] == "https://portal.example/x"
    assert "s3cret" not in "".join(path.read_text() for path in map(Path, files(tmp_path)[1::2]))


def test_the_files_may_be_a_pipe_or_a_link(central_system: CentralSystem, tmp_path: Path) -> None:
    """`/dev/stdout` stays what it is, and a link stays one."""
    real = tmp_path / "elsewhere" / "real.json"
    real.parent.mkdir()
    (tmp_path / "link.json").symlink_to(real)
    run = run_locust(
        tmp_path, "--headless", "-u", "1", "-t", "2s", "--host", central_system.url,
        "--report-json", str(tmp_path / "link.json"), "--summary-md", "/dev/stdout",
    )  # fmt: skip
    assert run.status == 0, run.output
    assert "# Not judged: there was no SLO" in run.output
    assert (tmp_path / "link.json").is_symlink()
    assert load(real).status == "none"


def distributed(
    tmp_path: Path, url: str, *options: str, seconds: int = 8, users: int = 30, locustfile: Path = STEADY_STATE
) -> Run:
    port = str(free_port())
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    master = (
        "--master", "--headless", "--expect-workers", "2", "--master-bind-port", port, "-t", f"{seconds}s",
        "-u", f"{users}", "--host", url, *options,
    )  # fmt: skip
    with (
        Locust(tmp_path, *worker, locustfile=locustfile, name="worker-1") as first,
        Locust(tmp_path, *worker, locustfile=locustfile, name="worker-2") as second,
        Locust(tmp_path, *master, locustfile=locustfile, name="master") as locust,
    ):
        run = locust.wait()
        assert [first.wait().status, second.wait().status] == [0, 0]
    return run


def calls_by_metrics(central_system: CentralSystem) -> dict[str, int]:
    """Return how many Calls of each action Prometheus would see, whatever came of them."""
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(central_system.text("/metrics")):
        for sample in family.samples:
            if sample.name == "ocpp_calls_received_total":
                counted[sample.labels["action"]] += int(sample.value)
    return {action: count for action, count in counted.items() if count}


def calls_received(central_system: CentralSystem) -> dict[str, int]:
    received: dict[str, int] = central_system.summary()["calls"]
    return received


def test_with_workers_every_call_is_accounted_for(central_system: CentralSystem, tmp_path: Path) -> None:
    """What charge points count by message id, what is measured, what Locust's table shows and what the central
    system has received are the same, to the message.
    """
    verdicts = {
        **dict.fromkeys(PASSING, "held"), **dict.fromkeys(MISSED, "missed"), **dict.fromkeys(NO_SAMPLE, "no sample")
    }  # fmt: skip
    assert central_system.request("PUT", "/api/v1/chaos", SLOW)[0] == 200
    run = distributed(tmp_path, central_system.url, *slos(*verdicts), *files(tmp_path))
    assert run.status == 3, run.output
    assert verdicts == outcomes(tmp_path)
    words = {"held": "passed", "missed": "failure", "no sample": "error"}
    cases = {slo: words[outcome] for slo, outcome in verdicts.items()}
    assert {**cases, "the generator's numbers can be trusted": "passed"} == junit(tmp_path)
    data: dict[str, Any] = json.loads((tmp_path / "report.json").read_text())
    assert data["run"]["workers"] == 2
    assert data["fleet"] == {"charge_points": 30, "online": 30}
    calls = {action: {"failed": 0, "cut_off": 0, **counts} for action, counts in data["calls"].items()}
    for action, counts in calls.items():
        assert counts["sent"] == counts["answered"] + counts["failed"] + counts["cut_off"], action
        ended = counts["answered"] + counts["failed"]
        rows = {
            (row["type"], row["name"]): row["count"] for row in data["statistics"] if row["type"] in {"OCPP", "DUE"}
        }
        assert rows["OCPP", action] == rows["DUE", action] == ended
        assert run.rows[f"OCPP/{action}"].requests == run.rows[f"DUE/{action}"].requests == ended
    sent = {action: counts["sent"] for action, counts in calls.items()}
    assert sent == calls_by_metrics(central_system)
    assert sent == calls_received(central_system)
    for row in data["timeline"]["rows"]:
        total = sum(window["count"] for window in row["windows"])
        assert total == next(
            each["count"] for each in data["statistics"] if (each["type"], each["name"]) == (row["type"], row["name"])
        )


METERING = """
[[populations]]
name = "posts"
count = 30
[populations.configuration]
MeterValueSampleInterval = 1
"""
CHARGING = """
from locust import task
from ampswarm.load import ChargePointUser, Vehicle

class Station(ChargePointUser):
    @task
    def charge(self):
        self.plug_in(Vehicle(soc=20))
        assert self.start_charging("TAG1")
        self.sleep(3)
        self.stop_charging()
        self.unplug()
        self.sleep(1000)
"""


def test_with_workers_the_ledger_has_each_transaction_that_was_measured(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """Transactions, their samples and their energy: no message of them is in one book and not in the other."""
    (tmp_path / "charging.py").write_text(CHARGING)
    (tmp_path / "fleet.toml").write_text(METERING)
    run = distributed(
        tmp_path, central_system.url, "--report-json", str(tmp_path / "report.json"),
        "--fleet", str(tmp_path / "fleet.toml"), seconds=10, locustfile=tmp_path / "charging.py",
    )  # fmt: skip
    assert run.status == 0, run.output
    calls = json.loads((tmp_path / "report.json").read_text())["calls"]
    status, ledger = central_system.request("GET", "/api/v1/ledger")
    assert status == 200
    started, stopped = calls["StartTransaction"], calls["StopTransaction"]
    assert started["answered"] == started["sent"] == ledger["started"] > 0
    assert stopped["answered"] == stopped["sent"] == ledger["stopped"] > 0
    assert ledger["open"] == 0
    assert calls["MeterValues"]["answered"] == ledger["meter_values"] > 0
    assert ledger["anomalies"] == 0
    assert ledger["energy_wh"] > 0
    assert {action: counts["sent"] for action, counts in calls.items()} == calls_by_metrics(central_system)


def test_the_aggregated_row_counts_each_sample_once(central_system: CentralSystem, tmp_path: Path) -> None:
    """DUE and the parts of a connect are other views of what is in it already."""
    run = run_locust(tmp_path, "--headless", "-u", "5", "-t", "3s", "--host", central_system.url)
    rows = run.rows
    counted = [
        row.requests for name, row in rows.items()
        if not name.startswith(("DUE/", "/")) and name not in {"WS/tcp", "WS/tls", "WS/upgrade"}
    ]  # fmt: skip
    assert sum(counted) == rows["/Aggregated"].requests
    assert rows["WS/tcp"].requests == rows["WS/upgrade"].requests == rows["WS/connect"].requests == 5
    # Below a millisecond, and with more than one digit.
    assert 0 < rows["WS/tcp"].average < rows["WS/connect"].average


def test_locusts_files_say_what_the_report_says_to_the_last_sample(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """Counts and percentiles of each row: a pipeline that reads the CSV comes to the same verdict."""
    run = run_locust(tmp_path, "--headless", "-u", "20", "-t", "4s", "--host", central_system.url, *files(tmp_path)[:2])
    rows = load(tmp_path / "report.json").data["statistics"]
    with Path(f"{run.csv_prefix}_stats.csv").open() as file:
        lines = {(line["Type"], line["Name"]): line for line in csv.DictReader(file)}
    assert len(rows) == len(lines) - 1  # without Aggregated
    for row in rows:
        line = lines[row["type"], row["name"]]
        assert int(line["Request Count"]) == row["count"]
        for column, percent in (("50%", "50"), ("95%", "95"), ("99%", "99"), ("99.9%", "99.9")):
            assert float(line[column]) == pytest.approx(row["percentiles_ms"][percent], rel=0.006), (
                row["name"],
                column,
            )


def test_a_storm_that_never_came_is_no_pass(central_system: CentralSystem, tmp_path: Path) -> None:
    """A run that is too short for its storm says nothing about it."""
    run = run_locust(
        tmp_path, "--headless", "-u", "2", "-t", "2s", "--host", central_system.url, *slos("fail_ratio < 1%"),
        "--storm", "at=60s share=50% kind=network",
    )  # fmt: skip
    assert run.status == 4, run.output
    assert "the test ended before a storm began (at=60s" in run.output
