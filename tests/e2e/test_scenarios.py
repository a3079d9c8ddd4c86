"""A user's own locustfile: tasks that wait while their charge point goes on living."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.fakes.peer import ScriptedPeer, read_request
from tests.processes import CentralSystem, run_locust

SCENARIO = '''
from locust import between, task
from ampswarm.load import ChargePointUser

class Watcher(ChargePointUser):
    wait_time = between(0.5, 0.6)
    done = 0

    @task
    def look(self):
        self.sleep(1.5)
        Watcher.done += 1
        if Watcher.done == 3:
            print("looked three times, online:", self.charge_point.is_online)

    @task(0)
    def never(self):
        raise AssertionError

class Broken(ChargePointUser):
    fixed_count = 1

    @task
    def fail(self):
        self.sleep(1)
        raise RuntimeError("a scenario's own fault")

class Plain(Watcher):
    """Inherits its tasks."""
'''


def test_heartbeats_go_on_while_a_scenario_sleeps_and_waits(central_system: CentralSystem, tmp_path: Path) -> None:
    """`sleep` and Locust's own `wait_time` both serve the charge point; a faulty task does not end it."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(SCENARIO)
    run = run_locust(
        tmp_path, "--headless", "-t", "9s", "-u", "3", "--host", central_system.url, locustfile=locustfile
    )  # fmt: skip
    assert "looked three times, online: True" in run.output
    assert "a scenario's own fault" in run.output
    assert "AssertionError" not in run.output
    # One a second from each, whatever the scenario does.
    assert run.rows["OCPP/Heartbeat"].requests >= 3 * 6
    assert run.rows["OCPP/BootNotification"].requests == 3
    assert run.rows["/Aggregated"].failures == 0
    # The exception of the scenario is Locust's to report, and it fails the run as it always does.
    assert run.status == 1


def test_refused_upgrades_are_one_failure_for_each_status(tmp_path: Path) -> None:
    """A whole fleet that is refused is one line in Locust's table; Retry-After spares the server."""
    statuses = iter(["404 Not Found", "503 Busy"] * 100)

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(f"HTTP/1.1 {next(statuses)}\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n".encode())

    with ScriptedPeer(script) as peer:
        run = run_locust(
            tmp_path, "--headless", "-t", "5s", "-u", "10", "--host", f"ws://127.0.0.1:{peer.port}",
            "--reconnect-max", "1",
        )  # fmt: skip
    assert run.status == 1
    assert run.failures == {
        "WS/connect: ConnectFailed('HTTP 404 Not Found')": 5,
        "WS/connect: ConnectFailed('HTTP 503 Service Unavailable')": 5,
    }


def test_payloads_are_logged_on_request(central_system: CentralSystem, tmp_path: Path) -> None:
    """LOG_PAYLOAD=true shows each message with its charge point and direction; lifecycle off is silent."""
    env = {"LOG_PAYLOAD": "true", "LOG_LIFECYCLE": "false", "CONCURRENCY_LEVEL": "1"}
    run = run_locust(tmp_path, "--headless", "-t", "3s", "--host", central_system.url, env=env)
    assert 'CP000001 out [2,"' in run.output
    assert 'CP000001 in [3,"' in run.output
    assert "connected identity=" not in run.output
