"""Fleets without the credentials that they need: refused before the start, or counted, without a flood of lines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fakes import pki
from tests.processes import ROOT, CentralSystem, Locust, Run, free_port, run_locust

CHARGING = ROOT / "locustfiles" / "charging.py"
FLEET = """
[[populations]]
name = "own"
{security}
[populations.charging]
arrivals_per_day = 1000
"""
CERTIFICATES = '[populations.security]\ncertificate = "{identity}.pem"\nprivate_key = "{identity}.key"\n'
PASSWORDS = '[populations.security]\nprofile = 1\npasswords = "passwords.csv"\n'


def equip(tmp_path: Path, security: str, count: int, *, broken: int) -> Path:
    """Write a fleet of `count`, the credentials of number `broken` not usable; return its file."""
    ca = pki.Authority("Test CA", time.time())
    rows = ["identity,password"]
    for number in range(1, count + 1):
        identity = f"CP{number:06d}"
        key = pki.new_key()
        certificate = pki.pem(ca.issue(key.public_key(), identity))
        (tmp_path / f"{identity}.pem").write_text("no PEM" if number == broken else certificate)
        (tmp_path / f"{identity}.key").write_text(pki.key_pem(key))
        if number != broken:
            rows.append(f"{identity},password-of-{identity}")
    (tmp_path / "passwords.csv").write_text("\n".join(rows) + "\n")
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET.format(security=security))
    return fleet


def complaint(run: Run) -> str:
    assert run.status == 2, run.output
    assert "Traceback" not in run.output
    (line,) = [line for line in run.output.splitlines() if "error" in line]
    return line


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_a_certificate_without_pem_is_refused_before_the_start(tmp_path: Path, processes: tuple[str, ...]) -> None:
    """One line for the third of three, also where worker processes will connect: they are on the same host."""
    fleet = equip(tmp_path, CERTIFICATES, 3, broken=3)
    run = run_locust(
        tmp_path, "--headless", "-t", "5s", "-u", "3", "--host", "ws://127.0.0.1:9", "--fleet", str(fleet),
        *processes,
    )  # fmt: skip
    assert complaint(run) == (
        "locust: error: fleet.toml: populations[1].security.certificate: "
        f"{tmp_path}/CP000003.pem and {tmp_path}/CP000003.key: no certificate in PEM"
    )


@pytest.mark.parametrize("role", [(), ("--master",)])
def test_an_identity_without_a_password_is_refused_before_the_start(tmp_path: Path, role: tuple[str, ...]) -> None:
    """A master sees that, too: the list is on its own disk."""
    fleet = equip(tmp_path, PASSWORDS, 3, broken=2)
    ports = ("--master-bind-port", str(free_port())) if role else ()
    run = run_locust(
        tmp_path, "--headless", "-t", "5s", "-u", "3", "--host", "ws://127.0.0.1:9", "--fleet", str(fleet),
        *role, *ports,
    )  # fmt: skip
    assert complaint(run) == (
        "locust: error: fleet.toml: populations[1].security.passwords: passwords.csv: has no row for 'CP000002'"
    )


def test_a_worker_whose_disk_lacks_files_counts_its_failures(central_system: CentralSystem, tmp_path: Path) -> None:
    """Its master cannot know: each attempt is a failed WS/connect, with pauses, and the log says it once."""
    fleet = equip(tmp_path, CERTIFICATES, 10, broken=4)
    for number in range(5, 11):
        (tmp_path / f"CP{number:06d}.pem").unlink()
    port = str(free_port())
    with (
        Locust(
            tmp_path, "--worker", "--master-host", "127.0.0.1", "--master-port", port, name="worker",
            locustfile=CHARGING,
        ) as worker,
        Locust(
            tmp_path, "--master", "--headless", "--expect-workers", "1", "--master-bind-port", port, "-t", "9s",
            "-u", "10", "--host", central_system.url, "--fleet", str(fleet), name="master", locustfile=CHARGING,
        ) as master,
    ):  # fmt: skip
        run = master.wait()
        output = worker.wait().output
    flaw = "fleet file: a certificate, key or CA file cannot be used"
    assert list(run.failures) == [f"WS/connect: ConnectFailed('{flaw}')"]
    # 7 charge points that try at 0, then after 1 to 2 s, 1 to 4 s, 1 to 8 s: not once a second.
    assert 7 <= run.rows["WS/connect"].failures <= 7 * 6
    assert run.rows["WS/connect"].requests - run.rows["WS/connect"].failures == 3
    assert run.rows["FLOW/online"].requests == 3
    assert "Traceback" not in output + run.output
    assert [flaw in line for line in output.splitlines() if "do not connect" in line] == [True]
    assert "3 of 10 charge points were online" in run.output


def test_charge_points_beyond_the_list_never_connect_without_a_password(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """A scenario with other users beside says not how many charge points there will be: at run time, then."""
    fleet = equip(tmp_path, PASSWORDS, 2, broken=0)
    locustfile = tmp_path / "mixed.py"
    locustfile.write_text(
        "from locust import User, task\n"
        "from ampswarm.load import ChargePointUser\n"
        "class ChargePoint(ChargePointUser):\n"
        "    @task\n"
        "    def serve(self):\n"
        "        assert self.charge_point.identity.startswith('CP')\n"
        "        self.serve_drivers()\n"
        "class Other(User):\n"
        "    fixed_count = 1\n"
        "    @task\n"
        "    def idle(self):\n"
        "        __import__('time').sleep(1)\n"
    )
    run = run_locust(
        tmp_path, "--headless", "-t", "6s", "-u", "5", "--host", central_system.url, "--fleet", str(fleet),
        locustfile=locustfile,
    )  # fmt: skip
    flaw = "fleet file: passwords has no row for the charge point"
    assert list(run.failures) == [f"WS/connect: ConnectFailed('{flaw}')"]
    assert run.rows["FLOW/online"].requests == 2
    assert "Traceback" not in run.output
    (line,) = [line for line in run.output.splitlines() if "do not connect" in line]
    assert line.endswith(f"{flaw}; first: passwords.csv: has no row for 'CP000003'")
    assert central_system.summary()["calls"]["BootNotification"] == 2
