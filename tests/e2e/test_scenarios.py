"""A user's own locustfile: tasks that wait while their charge point goes on living."""

from __future__ import annotations

import socket
from pathlib import Path

import trustme

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


OWN_HOOKS = '''
from locust import TaskSet, constant, task
from ampswarm.load import ChargePointUser

class Visit(TaskSet):
    wait_time = constant(1)

    @task
    def nothing(self):
        pass

class Nested(ChargePointUser):
    """Waits in a task set of its own, and has on_start and on_stop without calling ours."""
    tasks = [Visit]

    def on_start(self):
        print("my identity is", self.charge_point.identity)

    def on_stop(self):
        print("stopped online:", self.charge_point.is_online)
'''


def test_locust_s_idioms_work_for_charge_points(central_system: CentralSystem, tmp_path: Path) -> None:
    """on_start and on_stop belong to the scenario, and the waits of nested task sets keep the charge point alive."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(OWN_HOOKS)
    run = run_locust(tmp_path, "--headless", "-t", "7s", "-u", "2", "--host", central_system.url, locustfile=locustfile)
    assert run.status == 0, run.output
    assert "my identity is CP000001" in run.output
    assert run.output.count("stopped online: True") == 2
    assert run.rows["OCPP/Heartbeat"].requests >= 2 * 4
    ends = {line["why"] for line in central_system.lines("disconnected")}
    assert ends == {"closed by the charge point with 1000"}


OUTAGES = """
from locust import task
from ampswarm.load import ChargePointUser

class Unlucky(ChargePointUser):
    @task
    def day(self):
        self.sleep(2)
        self.lose_network(2)
        self.sleep(3)
        self.power_cycle(1)
        self.sleep(600)
"""


def test_a_scenario_cuts_the_network_and_the_power(central_system: CentralSystem, tmp_path: Path) -> None:
    """J 5.4: the one comes back without a BootNotification, the other with one."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(OUTAGES)
    run = run_locust(
        tmp_path, "--headless", "-t", "14s", "-u", "4", "--host", central_system.url, "--reconnect-max", "1.5",
        "--require-online", locustfile=locustfile,
    )  # fmt: skip
    assert "4 of 4 charge points were online when the test ended" in run.output
    rows = run.rows
    assert rows["OCPP/BootNotification"].requests == 2 * 4
    assert rows["WS/connect"].requests == 3 * 4
    assert rows["WS/connect"].failures == 0
    assert rows["FLOW/online"].requests == 3 * 4
    assert 2000 <= rows["FLOW/online"].maximum <= 6000
    reasons = [line["why"] for line in central_system.lines("disconnected")]
    assert reasons.count("connection lost") == 2 * 4


RESTLESS = """
import gevent
from locust import task
from ampswarm.load import ChargePointUser

class Hasty(ChargePointUser):
    fixed_count = 2

    @task
    def nothing(self):
        pass

class Raising(ChargePointUser):
    fixed_count = 1

    @task
    def fail(self):
        raise RuntimeError("at once")

class Impatient(ChargePointUser):
    fixed_count = 1

    @task
    def give_up(self):
        with gevent.Timeout(0.05, False):  # time enough for a handshake
            self.sleep(60)
"""


def test_tasks_that_never_sleep_and_tasks_that_give_up_keep_their_charge_points_alive(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """Locust's default wait_time is 0: the run must end in time, and the fleet must have lived meanwhile."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(RESTLESS)
    run = run_locust(
        tmp_path, "--headless", "-t", "8s", "-u", "4", "--host", central_system.url, "--loglevel", "CRITICAL",
        "--reconnect-max", "1.5", locustfile=locustfile,
    )  # fmt: skip
    rows = run.rows
    assert rows["OCPP/BootNotification"].requests == 4
    assert rows["OCPP/Heartbeat"].requests >= 4 * 3
    assert rows["OCPP/Heartbeat"].failures == 0


CUT_SHORT = """
import gevent
from locust import task
from ampswarm.load import ChargePointUser

class Impatient(ChargePointUser):
    @task
    def day(self):
        self.wait_until(lambda: self.charge_point.is_online, 10)
        self.sleep(1.5)  # between two Heartbeats
        with gevent.Timeout(1, False):
            self.power_cycle(600)
        self.sleep(600)
"""


def test_power_comes_back_when_a_scenario_gives_up_waiting_for_it(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """A time-out around `power_cycle` must not leave a charge point without power for the rest of the run."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(CUT_SHORT)
    run = run_locust(
        tmp_path, "--headless", "-t", "7s", "-u", "2", "--host", central_system.url, "--require-online",
        locustfile=locustfile,
    )  # fmt: skip
    assert run.status == 0, run.output
    assert run.rows["OCPP/BootNotification"].requests == 2 * 2


STUCK = """
import gevent
from locust import task
from ampswarm.load import ChargePointUser

class Impatient(ChargePointUser):
    @task
    def give_up(self):
        with gevent.Timeout(1.2, False):
            self.sleep(60)
"""


def test_an_attempt_that_a_scenario_interrupts_is_followed_by_another(tmp_path: Path) -> None:
    """A time-out in the middle of a handshake must not leave the charge point connecting for ever."""
    attempts: list[bytes] = []

    def silent(sock: socket.socket) -> None:
        attempts.append(read_request(sock))
        sock.recv(1)  # until the other end gives up

    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(STUCK)
    with ScriptedPeer(silent) as peer:
        run_locust(
            tmp_path, "--headless", "-t", "8s", "-u", "1", "--host", f"ws://127.0.0.1:{peer.port}",
            "--reconnect-max", "1", locustfile=locustfile,
        )  # fmt: skip
    assert len(attempts) >= 2


MIXED = """
from locust import HttpUser, task
from ampswarm.load import ChargePointUser

class Operator(HttpUser):
    host = "http://127.0.0.1:1"
    fixed_count = 1

    @task
    def wait_for_ever(self):
        import gevent
        gevent.sleep(600)

class ChargePoint(ChargePointUser):
    pass
"""


def test_charge_points_and_other_users_run_side_by_side(central_system: CentralSystem, tmp_path: Path) -> None:
    """The host of another user class is none of ours, and CS_PORT still holds for the charge points."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(MIXED)
    env = {"CS_PORT": str(central_system.port), "CS_HOST": "127.0.0.1"}
    run = run_locust(tmp_path, "--headless", "-t", "4s", "-u", "3", env=env, locustfile=locustfile)
    assert run.status == 0, run.output
    assert run.rows["FLOW/online"].requests == 2


FAULTY = """
from ampswarm.charge_point.station import ChargePoint as Station
from ampswarm.load import ChargePointUser
from ampswarm.load.transport import Connector

receive, connect, tripped = Station.receive, Connector.connect, set()

def faulty_receive(self, text, now):
    if self.identity not in tripped:
        tripped.add(self.identity)
        raise ZeroDivisionError("a fault in receive")
    receive(self, text, now)

def faulty_connect(self, endpoint, identity, *more):
    if (identity, "connect") not in tripped:
        tripped.add((identity, "connect"))
        raise KeyError("a fault in connect")
    return connect(self, endpoint, identity, *more)

Station.receive, Connector.connect = faulty_receive, faulty_connect

class ChargePoint(ChargePointUser):
    pass
"""


def test_a_fault_of_ours_costs_a_connection_and_not_a_charge_point(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """It is counted where Locust counts exceptions, the run fails by it, and every greenlet lives on."""
    locustfile = tmp_path / "scenario.py"
    locustfile.write_text(FAULTY)
    run = run_locust(
        tmp_path, "--headless", "-t", "12s", "-u", "10", "--host", central_system.url, "--reconnect-max", "1.5",
        locustfile=locustfile,
    )  # fmt: skip
    assert run.status == 1
    assert "10 of 10 charge points were online when the test ended" in run.output
    assert run.failures["WS/connect: ConnectFailed('a fault of the load generator: KeyError')"] == 10
    assert "a fault in receive" in Path(f"{run.csv_prefix}_exceptions.csv").read_text()
    assert central_system.summary()["calls"]["BootNotification"] == 2 * 10


def test_a_ca_file_that_is_gone_is_a_failure_with_a_name(central_system: CentralSystem, tmp_path: Path) -> None:
    """A master's options may not hold on a worker's host: every charge point says why, and goes on trying."""
    locustfile = tmp_path / "scenario.py"
    ca_file = tmp_path / "ca.pem"
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    locustfile.write_text(
        f"import os\nfrom locust import events\nfrom ampswarm.load import ChargePointUser\n"
        f"events.test_start.add_listener(lambda **_: os.remove({str(ca_file)!r}))\n"
        "class ChargePoint(ChargePointUser):\n    pass\n"
    )
    run = run_locust(
        tmp_path, "--headless", "-t", "5s", "-u", "3", "--tls-ca-file", str(ca_file), "--reconnect-max", "1",
        "--host", f"wss://127.0.0.1:{central_system.port}", locustfile=locustfile,
    )  # fmt: skip
    assert run.status == 1
    assert "Traceback" not in run.output
    ((failure, count),) = run.failures.items()
    assert "ca.pem: No such file or directory" in failure
    assert count > 3


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
