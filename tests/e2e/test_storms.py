"""Storms over a real fleet, with the central system as the witness of what was done to it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser
from tests.fakes.locust_page import LocustPage
from tests.processes import CentralSystem, Locust, free_port, run_locust, until

MANY = int(os.environ.get("STORM_FLEET") or 200)
"""Charge points of the run whose table of recovery is compared; STORM_FLEET=2000 takes a minute more."""
CHAOS = {
    "seed": 3,
    "refusals": [{"status": 503, "retry_after": 1, "rate": 0.3}, {"status": 429, "rate": 0.1}],
    "boots": [{"status": "Pending", "interval": 1, "rate": 0.3}],
    "delays": [{"actions": ["BootNotification"], "seconds": 0.3}],
}

METERING = """
from locust import task
from ampswarm.load import ChargePointUser, Vehicle

class Station(ChargePointUser):
    storms = ("at=4s kind=network for=3s name=evening",)

    @task
    def charge(self):
        self.plug_in(Vehicle(soc=20))
        assert self.start_charging("TAG1")
        self.sleep(1000)
"""

ASKING = """
from locust import task
from ampswarm.load import ChargePointUser

class Station(ChargePointUser):
    @task
    def ask(self):
        self.wait_until(lambda: self.charge_point.is_online, 30)
        self.sleep(3)
        if self.number == 1:
            self.fleet.storm("share=100% kind=network name=asked")
        self.sleep(1000)
"""

FLEET = """
[[populations]]
name = "posts"
count = 5
[populations.configuration]
MeterValueSampleInterval = 1
"""


def headless(tmp_path: Path, server: CentralSystem, *args: str, users: int = 20, seconds: int = 10) -> str:
    """Run a steady fleet in one process; return what it logged."""
    run = run_locust(
        tmp_path, "--headless", "-t", f"{seconds}s", "-u", str(users), "--host", server.url,
        "--reconnect-max", "2", "--exit-code-on-error", "0", *args,
    )  # fmt: skip
    assert run.status == 0, run.output
    assert "Traceback" not in run.output
    return run.output


def opened(server: CentralSystem) -> list[str]:
    """Return who connected, in the order of time."""
    return [line["identity"] for line in server.lines("connected")]


def test_the_table_of_recovery_on_two_workers_agrees_with_the_chaos(tmp_path: Path) -> None:
    """Refusals with Retry-After, slow and pending boots: what the table says of them is what the central system did."""
    port, page_port = str(free_port()), free_port()
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    master = (
        "--master", "--expect-workers", "2", "--master-bind-port", port, "--web-host", "127.0.0.1",
        "--web-port", str(page_port), "--autostart", "-u", f"{MANY}", "-r", "200", "--reconnect-max", "2",
        "--log-lifecycle", "false",
    )  # fmt: skip
    with (
        CentralSystem(tmp_path / "cs.log", "--boot-interval", "1", "--log-lifecycle", "false") as server,
        Locust(tmp_path, *worker, name="worker-1") as first,
        Locust(tmp_path, *worker, name="worker-2") as second,
        Locust(tmp_path, *master, "--host", server.url, name="master") as locust,
    ):
        page = LocustPage(page_port)
        until(page.is_there)
        until(lambda: page.requests("FLOW", "online") == MANY)
        assert server.request("PUT", "/api/v1/chaos", CHAOS)[0] == 200
        assert page.storm("share=50% kind=power for=1s name=dark")[0] == 200
        until(lambda: [each["back"] == each["hit"] > 0 for each in page.storms()] == [True])
        until(lambda: page.storms()[0]["others"]["DUE"]["after"]["count"] > 0)
        (storm,) = page.storms()
        locust.process.send_signal(signal.SIGTERM)
        output = locust.wait().output
        assert [first.wait().status, second.wait().status] == [0, 0]
        done = server.summary()["events"]
    refused = {"HTTP 503 Service Unavailable": done["chaos: upgrades refused with 503"]}
    refused["HTTP 429 Too Many Requests"] = done["chaos: upgrades refused with 429"]
    assert refused == storm["refused"]
    hit = storm["hit"]
    assert storm["were_online"] == hit
    assert abs(hit - MANY // 2) <= 1
    # Each was refused so often before it got through; nobody lost a connection that stood.
    assert storm["attempts"]["mean"] == pytest.approx((hit + sum(refused.values())) / hit, abs=0.006)
    times = [storm["seconds_until"][percent] for percent in ("50", "90", "99", "100")]
    assert times == sorted(times)
    # A second without power, and 0.3 s for the answer to the boot.
    assert times[0] >= 1.3
    # Heartbeats of the other half, a second apart, which chaos leaves alone.
    assert all(storm["others"][view][phase]["count"] for view in ("OCPP", "DUE") for phase in ("before", "during"))
    assert f"storm 1 (share=50% kind=power for=1s name=dark): {hit} hit, {hit} of them online; {hit} back" in output
    assert f"{refused['HTTP 503 Service Unavailable']}  HTTP 503 Service Unavailable" in output


@pytest.mark.parametrize(("kind", "boots"), [("network", 20), ("herd", 20), ("power", 30)])
def test_whom_a_storm_hits_comes_back_and_boots_only_without_power(tmp_path: Path, kind: str, boots: int) -> None:
    """J 5.4: a lost network is no reason to boot; half of the fleet connects again, the same half for a seed."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server:
        output = headless(tmp_path, server, "--storm", f"at=3s share=50% kind={kind} for=1s seed=1", "--require-online")
        again = opened(server)[20:]
        summary = server.summary()
    assert len(again) == len(set(again)) == 10
    assert summary["calls"]["BootNotification"] == boots
    assert summary["connections_closed"]["lost"] == 10
    assert "10 hit, 10 of them online; 10 back" in output


def test_a_storm_hits_the_same_charge_points_on_any_number_of_workers(tmp_path: Path) -> None:
    """Numbers decide, not where a charge point lives: a run on three processes can be compared with one on one."""
    struck: list[list[str]] = []
    for workers in ((), ("--processes", "2")):
        with CentralSystem(tmp_path / f"cs{len(struck)}.log", "--boot-interval", "1") as server:
            headless(tmp_path, server, "--storm", "at=5s share=30% kind=network over=500ms", *workers)
            struck.append(sorted(opened(server)[20:]))
    assert struck[0] == struck[1]
    assert len(struck[0]) in {5, 6, 7}


def test_a_herd_comes_back_in_one_instant_and_insists(tmp_path: Path) -> None:
    """No back-off: whatever Retry-After asks for, it is there again after the shortest delay."""
    refusals = {"seed": 2, "refusals": [{"status": 503, "retry_after": 60, "rate": 0.5}]}
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server:  # noqa: SIM117  for the options' sake
        with Locust(
            tmp_path, "--headless", "-t", "12s", "-u", "20", "--host", server.url, "--require-online",
            "--storm", "at=5s kind=herd for=1s", "--reconnect-min", "0.5", "--exit-code-on-error", "0",
        ) as locust:  # fmt: skip
            until(lambda: server.request("GET", "/api/v1/fleet")[1]["registrations"].get("accepted") == 20)
            assert server.request("PUT", "/api/v1/chaos", refusals)[0] == 200
            run = locust.wait()
    assert run.status == 0, run.output
    assert "20 hit, 20 of them online; 20 back" in run.output


@pytest.mark.parametrize(("seconds", "connections"), [("1s", 20), ("4s", 30)])
def test_in_a_blackhole_the_watchdogs_decide(tmp_path: Path, seconds: str, connections: int) -> None:
    """A short one is survived on the same connection; in a long one PINGs are missed, and it connects again."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1", env={"HEARTBEAT_INT_MS": "500"}) as server:
        # Its own PINGs come unanswered every half second, too: the central system closes as well.
        output = headless(
            tmp_path, server, "--storm", f"at=3s share=50% kind=blackhole for={seconds}", "--require-online",
            "--ping-watch", "fixed", "--ping-watch-timeout", "3", seconds=13,
        )  # fmt: skip
        summary = server.summary()
    assert summary["events"]["connections opened"] >= connections
    assert "10 hit, 10 of them online; 10 back" in output


def test_what_was_measured_in_the_dark_is_told_in_the_light(tmp_path: Path) -> None:
    """Transaction messages of a lost network are kept, told afterwards, and the time that takes is in the table."""
    (tmp_path / "scenario.py").write_text(METERING)
    (tmp_path / "fleet.toml").write_text(FLEET)
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server:
        output = headless(
            tmp_path, server, "--fleet", str(tmp_path / "fleet.toml"), "-f", str(tmp_path / "scenario.py"),
            users=5, seconds=13,
        )  # fmt: skip
    assert "storm 1 (at=4s share=100% kind=network for=3s name=evening): 5 hit, 5 of them online; 5 back" in output
    (drained,) = [line for line in output.splitlines() if "outboxes drained within" in line]
    assert "5 of 5, " in drained
    assert "never" not in drained


@pytest.mark.parametrize("workers", [0, 2])
def test_a_scenario_asks_for_a_storm(tmp_path: Path, workers: int) -> None:
    """One charge point asks, on whatever worker it lives, and the whole fleet is hit, once."""
    (tmp_path / "scenario.py").write_text(ASKING)
    more = ("--processes", f"{workers}") if workers else ()
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server:
        output = headless(tmp_path, server, "-f", str(tmp_path / "scenario.py"), *more, users=6, seconds=11)
    assert "storm 1 (share=100% kind=network name=asked): 6 hit, 6 of them online; 6 back" in output
    assert "storm 2" not in output


def test_the_button_of_the_web_ui(tmp_path: Path) -> None:
    """Below any base path; not for other sites, and with a word where it cannot be."""
    port = free_port()
    with (
        CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server,
        Locust(
            tmp_path, "--web-host", "127.0.0.1", "--web-port", str(port), "--web-base-path", "/swarm", "-u", "4",
            "--host", server.url, "--reconnect-max", "1.5",
        ) as locust,
    ):  # fmt: skip
        page = LocustPage(port, "/swarm")
        until(page.is_there)
        assert 'href="/swarm/ampswarm/live#storm"' in page.get("/")
        assert page.storm("kind=network") == (409, "no test is running: there is nobody whom a storm could hit")
        assert page.form("/swarm", user_count=4, spawn_rate=4, host=server.url)["success"]
        until(lambda: page.requests("FLOW", "online") == 4)
        refusals: list[tuple[Any, dict[str, str], int]] = [
            ("kind=rain", {}, 400),
            (7, {}, 415),
            ("kind=network", {"Content-Type": "text/plain"}, 415),
            ("kind=network", {"Origin": "http://evil.example"}, 403),
        ]
        assert [status for storm, headers, status in refusals] == [
            page.storm(storm, headers)[0] for storm, headers, _ in refusals
        ]
        assert page.storms() == []
        assert page.storm("kind=network", {"Origin": f"http://127.0.0.1:{port}"})[0] == 200
        until(lambda: [each["back"] for each in page.storms()] == [4])
        # Another size of the fleet is a change that charts and reports mark.
        assert page.form("/swarm", user_count=5, spawn_rate=5, host=server.url)["success"]
        until(lambda: page.events() != [])
        assert [each["what"] for each in page.events()] == ["another fleet size"]
        assert page.form("/stop")["success"]
        locust.process.send_signal(signal.SIGTERM)
        output = locust.wait().output
    assert output.count("storms of this test:") == 1


def test_a_click_lets_a_storm_come(tmp_path: Path) -> None:
    """From Locust's own page to the table: what a person does with a mouse."""
    port = free_port()
    with (
        CentralSystem(tmp_path / "cs.log", "--boot-interval", "1") as server,
        Locust(
            tmp_path, "--web-host", "127.0.0.1", "--web-port", str(port), "--autostart", "-u", "3",
            "--host", server.url, "--reconnect-max", "1.5",
        ),
        Browser() as browser,
    ):  # fmt: skip
        page = LocustPage(port)
        until(page.is_there)
        until(lambda: page.requests("FLOW", "online") == 3)
        browser.open(f"http://127.0.0.1:{port}/")
        link = browser.find("a[href='/ampswarm/live#storm']")
        assert link.text == "Storm"
        browser.open(f"http://127.0.0.1:{port}/ampswarm/live#storm")
        share = browser.find("#storm input[name=share]")
        share.clear()
        share.type("100")
        browser.find("#storm button").click()
        browser.wait_for_text("#storm-said", "it comes: share=100% kind=network")
        browser.wait_for_text("#recovery", "3 hit, 3 of them online; 3 back")
        assert browser.console() == []


@pytest.mark.parametrize(
    ("args", "env", "said"),
    [
        (("--storm", "at=1s kind=rain"), {}, "--storm or AMPSWARM_STORM: 'at=1s kind=rain': kind: 'rain' is none of: "),
        ((), {"AMPSWARM_STORM": "at=1s kind=herd;kind=herd"}, "AMPSWARM_STORM: 'share=100% kind=herd': at: missing"),
    ],
)
def test_a_storm_that_is_none_is_one_line_and_status_2(
    tmp_path: Path, args: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    """Found before the first connection."""
    run = run_locust(tmp_path, "--headless", "-t", "1s", *args, env=env)
    assert run.status == 2, run.output
    assert said in run.output
    assert "Traceback" not in run.output


def test_a_scenario_s_mistake_is_one_line_as_well(tmp_path: Path) -> None:
    """`storms` of a user class is read before the first connection."""
    (tmp_path / "scenario.py").write_text(METERING.replace("at=4s", "at=soon"))
    run = run_locust(tmp_path, "--headless", "-t", "1s", locustfile=tmp_path / "scenario.py")
    assert run.status == 2, run.output
    assert "at: 'soon' is not a time" in run.output
    assert "Traceback" not in run.output
