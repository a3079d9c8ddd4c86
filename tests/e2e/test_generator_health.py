"""A load generator that knows when it lies: starved, stopped, killed or out of files, the run says so."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.processes import CentralSystem, Locust, Run, free_port, until

FLEET = 20
INVALID = 4
STOPPED = 2.5
"""Seconds for which a process is stopped."""

WATCHED = """
import json, os, resource, time
from locust import events, task
from ampswarm.load import ChargePointUser
from ampswarm.load.fleet import fleet_of

if os.environ.get("FILES"):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(os.environ["FILES"]),) * 2)


class ChargePoint(ChargePointUser):
    @task
    def live(self):
        self.sleep(2)
        if os.environ.get("STARVED") and self.charge_point.identity.endswith(os.environ["STARVED"]):
            end = time.monotonic() + 2.5
            while time.monotonic() < end:
                pass
        while os.environ.get("SLUGGISH") and self.charge_point.identity.endswith(os.environ["SLUGGISH"]):
            end = time.monotonic() + 0.1
            while time.monotonic() < end:
                pass
            self.sleep(self.fleet.random.uniform(0.03, 0.12))  # else it falls into step with the Heartbeats
        self.sleep(1000)


@events.quitting.add_listener
def report(environment, **_):
    if os.environ.get("SECTION"):
        fleet = fleet_of(environment)
        fleet.reports.finish()
        with open(os.environ["SECTION"], "w") as file:
            json.dump(fleet.health.section(), file)
"""


class Scene:
    """A run whose generators' health is reported to a file."""

    def __init__(self, tmp_path: Path, central_system: CentralSystem) -> None:
        self.locustfile = tmp_path / "watched.py"
        self.locustfile.write_text(WATCHED)
        self._file = tmp_path / "section.json"
        self._tmp_path = tmp_path
        self._central_system = central_system

    def locust(self, *args: str, seconds: int = 8, users: int = FLEET, **env: str) -> Locust:
        """Return Locust as it runs a fleet, headless: alone, or as the master."""
        return Locust(
            self._tmp_path, "--headless", "-t", f"{seconds}s", "-u", str(users), "--host", self._central_system.url,
            *args, locustfile=self.locustfile, env={"SECTION": str(self._file), **env},
        )  # fmt: skip

    def worker(self, name: str, port: str, **env: str) -> Locust:
        """Return a worker."""
        return Locust(
            self._tmp_path, "--worker", "--master-host", "127.0.0.1", "--master-port", port,
            locustfile=self.locustfile, env=env, name=name,
        )  # fmt: skip

    @property
    def section(self) -> dict[str, Any]:
        """What the report says of the generators."""
        section: dict[str, Any] = json.loads(self._file.read_text())
        return section

    def until_all_are_there(self, users: int = FLEET) -> None:
        """Wait until the whole fleet is connected."""
        until(lambda: self._central_system.connections == users)


@pytest.fixture
def scene(tmp_path: Path, central_system: CentralSystem) -> Scene:
    return Scene(tmp_path, central_system)


def reasons_in_log(run: Run) -> list[str]:
    return [line for line in run.output.splitlines() if "the run is invalid: " in line]


def test_a_calm_run_is_valid(scene: Scene) -> None:
    """50 charge points: exit 0, not a word in the log, and figures in the report."""
    run = scene.locust(users=50).wait()
    assert run.status == 0, run.output
    assert reasons_in_log(run) == []
    assert (scene.section["valid"], scene.section["reasons"]) == (True, [])
    (generator,) = scene.section["generators"].values()
    assert generator["worst"]["charge_points"] == 50
    assert generator["worst"]["cpu_percent"] > 0
    assert generator["worst"]["open_files_percent"] > 0
    assert generator["worst"]["ports_percent"] > 0
    assert len(generator["history"]) >= 5


def test_a_process_that_was_stopped_has_lied(scene: Scene) -> None:
    """SIGSTOP and SIGCONT: whatever came meanwhile was read too late."""
    with scene.locust() as locust:
        scene.until_all_are_there()
        locust.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        locust.process.send_signal(signal.SIGCONT)
        run = locust.wait()
    assert run.status == INVALID, run.output
    (reason,) = reasons_in_log(run)
    assert "this process" in reason
    assert "its loop was " in reason
    assert "(--max-loop-lag 0.5)" in reason
    assert [found["kind"] for found in scene.section["findings"] if found["invalid"]] == ["loop_lag"]


def test_a_scenario_that_burns_cpu_makes_its_run_invalid(scene: Scene) -> None:
    """One charge point's task computes for 2.5 s, and all others wait."""
    run = scene.locust(STARVED="01").wait()
    assert run.status == INVALID, run.output
    assert "(--max-loop-lag 0.5)" in reasons_in_log(run)[0]


def test_an_slo_that_only_the_generators_own_lag_misses_is_nobodys_miss(scene: Scene) -> None:
    """The loop is late by 0.1 s at most, far below its limit, and far above what is asked of the target."""
    run = scene.locust("--slo", "DUE/Heartbeat p99 < 50ms after 3s", SLUGGISH="01").wait()
    assert run.status == INVALID, run.output
    (reason,) = reasons_in_log(run)
    assert "SLO DUE/Heartbeat p99 < 50ms after 3s: " in reason
    assert "may be the load generator's own loop lag" in reason
    assert scene.section["valid"] is True


def test_a_limit_of_0_lets_it_pass(scene: Scene) -> None:
    """Whoever only wants to see whether it runs at all."""
    run = scene.locust("--max-loop-lag", "0", "--max-generator-cpu", "0", STARVED="01").wait()
    assert run.status == 0, run.output
    assert scene.section["valid"] is True


def test_of_two_workers_the_starved_one_is_named(scene: Scene) -> None:
    """On the master, in the log and in the report; the other one is fine."""
    port = str(free_port())
    with (
        scene.worker("worker-1", port, STARVED="1") as first,
        scene.worker("worker-2", port) as second,
        scene.locust("--master", "--expect-workers", "2", "--master-bind-port", port, seconds=10) as locust,
    ):
        run = locust.wait()
        assert [first.wait().status, second.wait().status] == [0, 0]
    assert run.status == INVALID, run.output
    generators = scene.section["generators"]
    assert sorted(each["valid"] for each in generators.values()) == [False, True]
    (starved,) = (name for name, each in generators.items() if not each["valid"])
    reasons = scene.section["reasons"]
    assert reasons
    assert all(reason.startswith(f"{starved}, ") for reason in reasons)
    assert all(f"the run is invalid: {starved}, " in line for line in reasons_in_log(run))
    for each in generators.values():
        assert each["worst"]["master_distance_ms"] is not None


def test_a_worker_that_was_killed_is_named(scene: Scene) -> None:
    """Its last samples are missing, and for a while its charge points too."""
    port = str(free_port())
    with (
        scene.worker("worker-1", port) as first,
        scene.worker("worker-2", port),
        scene.locust("--master", "--expect-workers", "2", "--master-bind-port", port, seconds=14) as locust,
    ):
        scene.until_all_are_there()
        first.process.kill()
        run = locust.wait()
    assert run.status == INVALID, run.output
    assert [found["kind"] for found in scene.section["findings"] if found["invalid"]] == ["lost"]
    assert "it was lost: nothing was heard of it after " in reasons_in_log(run)[0]


def test_a_master_that_was_away_is_far(scene: Scene) -> None:
    """Storms, steps and the end of a test reach the workers too late; the worker's own log says so, too."""
    port = str(free_port())
    with (
        scene.worker("worker-1", port) as worker,
        scene.locust(
            "--master", "--expect-workers", "1", "--master-bind-port", port, "--max-master-distance", "1",
        ) as locust,
    ):  # fmt: skip
        scene.until_all_are_there()
        locust.process.send_signal(signal.SIGSTOP)
        time.sleep(STOPPED)
        locust.process.send_signal(signal.SIGCONT)
        run = locust.wait()
        assert "the master did not answer within " in worker.wait().output
    assert run.status == INVALID, run.output
    assert [found["kind"] for found in scene.section["findings"] if found["invalid"]] == ["master_distance"]


def test_without_a_file_for_another_connection_it_is_the_generator_that_failed(scene: Scene) -> None:
    """And not the target, whatever the failures in the table say."""
    run = scene.locust(users=60, FILES="50").wait()
    assert run.status == INVALID, run.output
    assert "(--max-open-files 95)" in "\n".join(reasons_in_log(run))
    assert scene.section["generators"]["this process"]["worst"]["open_files_percent"] == 100


def test_the_web_ui_shows_the_generators(scene: Scene, central_system: CentralSystem, tmp_path: Path) -> None:
    """A tab of its own on the main page, with a row for each, while the test runs."""
    port = str(free_port())
    with Locust(
        tmp_path, "-u", "5", "--autostart", "--host", central_system.url, "--web-host", "127.0.0.1",
        "--web-port", port, locustfile=scene.locustfile,
    ):  # fmt: skip
        scene.until_all_are_there(5)

        def rows() -> list[dict[str, Any]]:
            stats = json.loads(ask(f"http://127.0.0.1:{port}/stats/requests"))
            (table,) = (each for each in stats["extended_stats"] if each["key"] == "generators")
            found: list[dict[str, Any]] = table["data"]
            return found

        until(lambda: len(rows()) == 1)
        (row,) = rows()
        assert (row["generator"], row["state"]) == ("this process", "valid")
        page = ask(f"http://127.0.0.1:{port}/")
        assert '"extended_tabs"' in page
        assert '"Generators"' in page


def ask(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        body: bytes = response.read()
    return body.decode()
