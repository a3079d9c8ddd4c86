"""A fleet in one process, in several, and on several workers: boots, beats, and its identities."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.processes import CentralSystem, Locust, free_port, run_locust, until

FLEET = 50


def test_the_original_s_environment_runs_a_fleet_headless(central_system: CentralSystem, tmp_path: Path) -> None:
    """CONCURRENCY_LEVEL and CS_PORT are all that the original needed; 50 boots, no failure, exit 0."""
    env = {"CONCURRENCY_LEVEL": str(FLEET), "CS_PORT": str(central_system.port), "CS_HOST": "127.0.0.1"}
    run = run_locust(tmp_path, "--headless", "-t", "8s", env=env)
    assert run.status == 0, run.output
    rows = run.rows
    assert rows["OCPP/BootNotification"].requests == FLEET
    assert rows["OCPP/StatusNotification"].requests == 2 * FLEET
    assert rows["OCPP/Heartbeat"].requests >= 3 * FLEET
    assert rows["WS/connect"].requests == FLEET
    assert rows["FLOW/online"].requests == FLEET
    assert rows["/Aggregated"].failures == 0
    assert f"{FLEET} of {FLEET} charge points were online when the test ended" in run.output
    summary = central_system.summary()
    assert summary["calls"]["BootNotification"] == FLEET
    assert summary["errors"] == {}
    # Closed politely: each connection ended with a Close frame of the charge point.
    ends = {line["why"] for line in central_system.lines("disconnected") if "why" in line}
    assert ends == {"closed by the charge point with 1000"}


def wait_for_output(file: Path, text: str) -> None:
    """Wait until a process has written a text to its output."""
    until(lambda: text in file.read_text())


def booted_identities(central_system: CentralSystem) -> set[str]:
    """Return the identities that booted, from the payload log."""
    boots = [
        line["identity"]
        for line in central_system.lines("message")
        if line["direction"] == "in" and "BootNotification" in line["message"]
    ]
    assert len(boots) == len(set(boots)), "one identity booted twice"
    return set(boots)


@pytest.fixture
def witness(tmp_path: Path) -> object:
    """A central system that logs every message, and so knows every identity."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "2", "--log-payload", "true") as running:
        yield running


def expected_identities(count: int) -> set[str]:
    return {f"CP{number:06d}" for number in range(1, count + 1)}


def test_processes_share_no_identity(witness: CentralSystem, tmp_path: Path) -> None:
    """`--processes 2`: 50 charge points, 50 identities, and they are the first 50."""
    run = run_locust(
        tmp_path, "--headless", "-t", "8s", "-u", str(FLEET), "--processes", "2", "--host", witness.url,
    )  # fmt: skip
    assert run.status == 0, run.output
    assert run.rows["OCPP/BootNotification"].requests == FLEET
    assert run.rows["/Aggregated"].failures == 0
    assert expected_identities(FLEET) == booted_identities(witness)
    assert witness.summary()["events"].get("connections replaced") is None


def test_a_master_and_two_workers_share_no_identity(witness: CentralSystem, tmp_path: Path) -> None:
    """The workers need no option: the master's hold for the whole run, the identity format too."""
    port = str(free_port())
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    master = (
        "--master", "--headless", "--expect-workers", "2", "--master-bind-port", port, "-t", "8s",
        "-u", str(FLEET), "--host", witness.url, "--identity-format", "RDAM {:03d}", "--require-online",
    )  # fmt: skip
    with (
        Locust(tmp_path, *worker, name="worker-1") as first,
        Locust(tmp_path, *worker, name="worker-2") as second,
        Locust(tmp_path, *master, name="master") as locust,
    ):
        run = locust.wait()
        assert [first.wait().status, second.wait().status] == [0, 0]
    assert run.status == 0, run.output
    assert run.rows["OCPP/BootNotification"].requests == FLEET
    assert {f"RDAM {number:03d}" for number in range(1, FLEET + 1)} == booted_identities(witness)
    assert f"{FLEET} of {FLEET} charge points were online when the test ended" in run.output


POPULATIONS = """
[[populations]]
name = "posts"
count = 30
identity_format = "POST{:04d}"
vendor = "Kerb & Co"
connectors = 2

[[populations]]
name = "hubs"
count = 10
identity_format = "HUB{:04d}"
current = "DC"

[populations.security]
profile = 1
passwords = "passwords.csv"
"""


def test_workers_get_the_fleet_file_from_the_master(witness: CentralSystem, tmp_path: Path) -> None:
    """They run on other hosts, which have neither the file nor its lists; its counts say how many there are."""
    port = str(free_port())
    folder = tmp_path / "on-the-master"
    folder.mkdir()
    fleet, passwords = folder / "fleet.toml", folder / "passwords.csv"
    fleet.write_text(POPULATIONS)
    lines = [f"HUB{number:04d},a-secret-of-{number:04d}" for number in range(1, 41)]
    passwords.write_text("\n".join(["identity,password", *lines]) + "\n")
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    master = (
        "--master", "--headless", "--expect-workers", "2", "--master-bind-port", port, "-t", "8s",
        "--fleet", str(fleet), "--host", witness.url, "--require-online",
    )  # fmt: skip
    with Locust(tmp_path, *master, name="master") as locust:
        wait_for_output(tmp_path / "master.log", "Waiting for workers to be ready")
        # The master has read them; nobody else can.
        fleet.unlink()
        passwords.unlink()
        with Locust(tmp_path, *worker, name="worker-1") as first, Locust(tmp_path, *worker, name="worker-2") as second:
            run = locust.wait()
            assert [first.wait().status, second.wait().status] == [0, 0]
    assert run.status == 0, run.output
    identities = booted_identities(witness)
    assert [sum(each.startswith(kind) for each in identities) for kind in ("POST", "HUB")] == [30, 10]
    boots = [line for line in witness.lines("message") if "BootNotification" in line["message"]]
    assert {"Kerb & Co", "Ampswarm"} == {json.loads(each["message"])[3]["chargePointVendor"] for each in boots}
    assert "a-secret-of" not in run.output


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[populations]\n", "fleet.toml: "),
        ('[[populations]]\nname = "a"\npower_kw = -3\n', "fleet.toml: populations[1].power_kw: must be "),
        ('[[populations]]\nname = "a"\nconectors = 2\n', "fleet.toml: populations[1].conectors: "),
        (
            '[[populations]]\nname = "a"\n[populations.security]\nprofile = 2\npassword = "0123456789abcdef"\n',
            "security profile 2 needs TLS",
        ),
    ],
)
def test_a_fleet_file_with_a_mistake_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    """Before the first connection, with the place of the mistake and exit status 2."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(text)
    run = run_locust(
        tmp_path, "--headless", "-t", "5s", "-u", "1", "--host", "ws://127.0.0.1:9/ocpp", "--fleet", str(fleet)
    )
    assert run.status == 2
    lines = [line for line in run.output.splitlines() if "error" in line]
    assert [f"locust: error: {complaint}"] == [line[: len(complaint) + 15] for line in lines]
    assert "Traceback" not in run.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_an_interrupted_run_is_judged_by_what_was_online(
    witness: CentralSystem, tmp_path: Path, number: signal.Signals, processes: tuple[str, ...]
) -> None:
    """Ctrl-C on a healthy fleet is no failure of the fleet."""
    with Locust(
        tmp_path, "--headless", "-u", "10", "--host", witness.url, "--require-online", *processes,
    ) as locust:  # fmt: skip
        for name in sorted(expected_identities(10)):
            witness.wait_for(
                lambda line, name=name: line.get("identity") == name and "Heartbeat" in line.get("message", "")  # type: ignore[misc]
            )
        os.kill(locust.process.pid, number)
        run = locust.wait(30)
    assert run.status == 0, run.output
    assert run.output.count("10 of 10 charge points were online when the test ended") == 1


def test_a_mistake_is_one_line_with_processes_too(tmp_path: Path) -> None:
    """The workers of `--processes` do not repeat what the master has said."""
    run = run_locust(
        tmp_path, "--headless", "--processes", "2", "--reconnect-min", "100",
    )  # fmt: skip
    assert run.status == 2
    assert run.output.count("error: ") == 1


def test_sigint_ends_a_run_quickly_and_politely(central_system: CentralSystem, tmp_path: Path) -> None:
    """Ctrl-C: every charge point closes its connection, and nothing is left behind."""
    with Locust(tmp_path, "--headless", "-u", "100", "--host", central_system.url) as locust:
        central_system.wait_for(lambda line: line["event"] == "booted")
        os.killpg(locust.process.pid, signal.SIGINT)
        run = locust.wait(20)
    assert run.status == 0, run.output
    assert "Traceback" not in run.output
    assert not [each for each in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(each.info["cmdline"])]
    assert central_system.summary()["connections"] == 0


def test_require_online_fails_a_run_whose_fleet_is_not(tmp_path: Path) -> None:
    """A pipeline must not pass with a fleet that never came up."""
    run = run_locust(
        tmp_path, "--headless", "-t", "3s", "-u", "5", "--host", f"ws://127.0.0.1:{free_port()}",
        "--require-online", "--exit-code-on-error", "0",
    )  # fmt: skip
    assert run.status == 1
    assert "0 of 5 charge points were online when the test ended" in run.output
    assert list(run.failures) == ["WS/connect: ConnectFailed('connection refused')"]


def test_a_killed_central_system_gets_its_whole_fleet_back(tmp_path: Path) -> None:
    """SIGKILL under 500 charge points, and a new start: all come back, without a boot, and the numbers tell."""
    fleet = 500
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "2") as central_system:
        with Locust(
            tmp_path, "--headless", "-t", "25s", "-u", str(fleet), "-r", "250", "--host", central_system.url,
            "--reconnect-max", "4", "--require-online", "--exit-code-on-error", "0",
        ) as locust:  # fmt: skip
            started = time.monotonic()
            central_system.wait_for(lambda line: line["event"] == "booted")
            time.sleep(6)  # the fleet works for a while: there is no event to wait for
            gone = time.monotonic()
            central_system.kill()
            time.sleep(2)  # an outage takes its time
            central_system.start()
            outage = 1000 * (time.monotonic() - gone)
            run = locust.wait()
            assert time.monotonic() - started < 45
        summary = central_system.summary()
    assert run.status == 0, run.output
    assert f"{fleet} of {fleet} charge points were online when the test ended" in run.output
    rows = run.rows
    # Once from power-on, and once more from the loss: J 5.4, without a second boot.
    assert rows["OCPP/BootNotification"].requests == fleet
    assert rows["FLOW/online"].requests == 2 * fleet
    # Nobody is back before the outage is over, and everybody within the back-off's bounds after it.
    assert 2000 <= rows["FLOW/online"].maximum <= outage + 2 * 4000
    connects = rows["WS/connect"]
    assert connects.requests - connects.failures == 2 * fleet
    assert run.failures["WS/connect: ConnectFailed('connection refused')"] == connects.failures
    assert "BootNotification" not in summary["calls"]
    assert summary["calls"]["Heartbeat"] > fleet
    assert "Traceback" not in run.output
