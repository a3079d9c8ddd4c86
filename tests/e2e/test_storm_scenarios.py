"""The scenarios that come with Ampswarm, run small: storms, aligned clocks, operators, a firmware roll-out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, CentralSystem, Run, run_locust

SCENARIOS = ROOT / "locustfiles"
USERS = 12

SLOW_API = """
import sys
sys.path.insert(0, {folder!r})
from ampswarm.load.operator_api import CentralSystemApi, CommandFailed, OperatorApi
from remote_control import *

class Elsewhere(OperatorApi):
    def __init__(self, url):
        self.inner = CentralSystemApi(url)

    def call(self, identity, action, payload, timeout):
        if action == "TriggerMessage":
            raise CommandFailed("not here")
        return self.inner.call(identity, action, payload, timeout)

class Operator(Operator):
    def open_api(self):
        return Elsewhere(self.environment.parsed_options.operator_api)
"""


def run(tmp_path: Path, server: CentralSystem, scenario: str | Path, *args: str, seconds: int, **env: str) -> Run:
    """Run a scenario with a dozen charge points."""
    return run_locust(
        tmp_path, "--headless", "-t", f"{seconds}s", "-u", str(USERS), "--host", server.url,
        "--operator-api", server.admin, "--reconnect-max", "2", *args, locustfile=SCENARIOS / scenario, env=env,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scenario", "said", "boots"),
    [
        ("reconnect_storm.py", "storm 1 (at=60s share=50% kind=network for=5s name=uplink)", 1),
        ("boot_storm.py", "storm 1 (at=60s share=100% kind=power for=10s name=blackout)", 2),
    ],
)
def test_a_storm_of_a_scenario_comes_unless_the_options_have_another(
    tmp_path: Path, scenario: str, said: str, boots: int
) -> None:
    """A user who copies the page gets what it says; here, a minute is not waited for."""
    storm = said.removeprefix("storm 1 (").removesuffix(")").replace("at=60s", "at=4s")
    storm = storm.replace("for=10s", "for=1s").replace("for=5s", "for=1s")
    copy = tmp_path / scenario
    text = (SCENARIOS / scenario).read_text()
    planned = said.removeprefix("storm 1 (").removesuffix(")")
    assert planned in text
    copy.write_text(text.replace(planned, storm))
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server:
        ran = run(tmp_path, server, copy, "--require-online", seconds=10)
        summary = server.summary()
    assert ran.status == 0, ran.output
    assert f"storm 1 ({storm}): " in ran.output
    hit = USERS if boots > 1 else USERS // 2
    assert f"{hit} hit, {hit} of them online; {hit} back" in ran.output
    assert summary["calls"]["BootNotification"] == USERS * boots


def test_aligned_clocks_sample_in_the_same_second(tmp_path: Path) -> None:
    """Every charge point's MeterValues carry the same full second, as core 9.1.6 has it."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1", "--log-payload", "true") as server:
        ran = run(tmp_path, server, "clock_aligned.py", seconds=12, ALIGNED_SECONDS="3")
        frames = [json.loads(line["message"]) for line in server.lines("message") if line["direction"] == "in"]
    assert ran.status == 0, ran.output
    times = Counter(
        value["timestamp"]
        for frame in frames
        if frame[0] == 2 and frame[2] == "MeterValues"
        for value in frame[3]["meterValue"]
        if any(sample.get("context") == "Sample.Clock" for sample in value["sampledValue"])
    )
    full = [time for time, count in times.items() if count == USERS]
    assert len(full) >= 2, times
    assert all(int(time[17:19]) % 3 == 0 for time in full)


def test_operators_see_arrival_answer_and_effect(tmp_path: Path) -> None:
    """Each row is later than the one before, and there is one of each kind for every command that was Accepted."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "5") as server:
        ran = run(tmp_path, server, "remote_control.py", seconds=15)
        summary = server.summary()
    assert ran.status == 0, ran.output
    rows = ran.rows
    for action in ("RemoteStartTransaction", "RemoteStopTransaction"):
        arrival, answer, effect = (rows[f"REMOTE/{action} {what}"] for what in ("arrival", "answer", "effect"))
        assert arrival.requests == answer.requests
        # Locust's stop may come between a command and its answer.
        assert 0 <= summary["calls_answered"][action] - answer.requests <= 1
        assert 0 <= arrival.requests - effect.requests <= 1
        assert arrival.average <= answer.average
        assert arrival.average <= effect.average
    assert rows["OCPP/StartTransaction"].requests >= rows["REMOTE/RemoteStartTransaction effect"].requests > 0
    assert rows["/Aggregated"].failures == 0


def test_another_back_end_plugs_in_with_one_class(tmp_path: Path) -> None:
    """Its failures are those of the command, in its own words."""
    scenario = tmp_path / "elsewhere.py"
    scenario.write_text(SLOW_API.format(folder=str(SCENARIOS)))
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "5") as server:
        ran = run(tmp_path, server, scenario, seconds=15)
    rows = ran.rows
    assert rows["REMOTE/RemoteStartTransaction effect"].requests > 0
    assert rows["REMOTE/TriggerMessage answer"].failures == rows["REMOTE/TriggerMessage answer"].requests > 0
    assert {what for what in ran.failures if "TriggerMessage answer" in what} == {
        "REMOTE/TriggerMessage answer: CommandFailed('not here')"
    }


def test_an_operator_api_that_is_not_there_is_a_failure_of_each_command(tmp_path: Path) -> None:
    """Nobody mistakes it for a slow charge point."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "5") as server:
        ran = run(tmp_path, server, "remote_control.py", "--operator-api", "http://127.0.0.1:1", seconds=6)
    failures = {what.partition(": ")[2] for what in ran.failures}
    assert failures == {"CommandFailed('operator API: connection refused')", "CommandFailed('did not arrive')"}
    assert "Traceback" not in ran.output


def test_a_roll_out_is_followed_until_all_are_back(tmp_path: Path) -> None:
    """Each status of each charge point is told once, and each reboots with the new version."""
    scenario = tmp_path / "fleet.toml"
    scenario.write_text(
        '[[populations]]\nname = "posts"\ncount = 12\ndownload_seconds = 1\ninstall_seconds = 1\nreboot_seconds = 1\n'
    )
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "5", "--log-payload", "true") as server:
        ran = run(
            tmp_path, server, "firmware_rollout.py", "--fleet", str(scenario), "-u", str(USERS + 1), seconds=18,
            ROLLOUT_AFTER="3",
        )  # fmt: skip
        frames: list[Any] = [
            json.loads(line["message"]) for line in server.lines("message") if line["direction"] == "in"
        ]
    assert ran.status == 0, ran.output
    rows = ran.rows
    steps = ("Downloading", "Downloaded", "Installing", "back online", "Installed")
    assert [rows[f"FIRMWARE/{step}"].requests for step in steps] == [USERS] * len(steps), ran.output
    assert rows["REMOTE/UpdateFirmware answer"].requests == USERS
    versions = Counter(
        frame[3]["firmwareVersion"] for frame in frames if frame[0] == 2 and frame[2] == "BootNotification"
    )
    assert versions == {"1.0.0": USERS, "2.0.0": USERS}
