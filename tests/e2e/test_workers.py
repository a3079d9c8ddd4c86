"""What becomes of a run when its workers die, hang and come back, or when its master goes away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import CentralSystem, Locust, free_port, until, until_it_stays

FLEET = 20
MANY = int(os.environ.get("WORKERS_FLEET") or 40)
"""Charge points of the run to which everything happens; WORKERS_FLEET=4000 takes 4 GB, and some minutes."""
IMPATIENT = """
import locust.runners
from ampswarm.load import ChargePointUser

# Seconds: a test need not wait as long as people would.
locust.runners.HEARTBEAT_LIVENESS = 1
locust.runners.MASTER_HEARTBEAT_TIMEOUT = {master_timeout}


class ChargePoint(ChargePointUser):
    pass
"""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system that logs every message, and so knows every identity."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "2", "--log-payload", "true") as running:
        yield running


class Swarm:
    """Starts a master and its workers."""

    def __init__(self, tmp_path: Path, url: str, master_timeout: int = 60, fleet: int = FLEET) -> None:
        self._fleet = fleet
        self._tmp_path = tmp_path
        self._url = url
        self._port = str(free_port())
        self._locustfile = tmp_path / "impatient.py"
        self._locustfile.write_text(IMPATIENT.format(master_timeout=master_timeout))

    def worker(self, number: int) -> Locust:
        args = ("--worker", "--master-host", "127.0.0.1", "--master-port", self._port)
        return Locust(self._tmp_path, *args, locustfile=self._locustfile, name=f"worker-{number}")

    def master(self, *options: str, workers: int = 2, name: str = "master") -> Locust:
        args = (
            "--master", "--headless", "--expect-workers", f"{workers}", "--master-bind-port", self._port,
            "-u", f"{self._fleet}", "--host", self._url, "--require-online", *options,
        )  # fmt: skip
        return Locust(self._tmp_path, *args, locustfile=self._locustfile, name=name)


def booted(witness: CentralSystem) -> list[str]:
    """Return the identities that booted, in order, as often as they did."""
    return [
        line["identity"]
        for line in witness.lines("message")
        if line["direction"] == "in" and "BootNotification" in line["message"]
    ]


def test_the_charge_points_of_a_worker_that_dies_come_back_elsewhere(witness: CentralSystem, tmp_path: Path) -> None:
    """The fleet's size comes back, no identity is there twice, and the run says what happened."""
    swarm = Swarm(tmp_path, witness.url, master_timeout=3)
    with swarm.master() as master, swarm.worker(1), swarm.worker(2) as victim:
        until(lambda: witness.connections == FLEET)
        os.killpg(victim.process.pid, signal.SIGKILL)
        until(lambda: witness.connections == FLEET // 2)
        until(lambda: witness.connections == FLEET)
        until(lambda: len(set(booted(witness))) == FLEET + FLEET // 2)
        until(lambda: "is gone: its" in (tmp_path / "master.log").read_text())
        master.process.terminate()
        run = master.wait()
    # Its last seconds are missing, and the fleet was smaller for a while: no numbers to judge a target by.
    assert run.status == 4, run.output
    assert f"{FLEET} of {FLEET} charge points were online when the test ended" in run.output
    assert f"is gone: its {FLEET // 2} identities are free again" in run.output
    assert witness.summary()["events"].get("connections replaced") is None


def test_a_worker_that_hangs_keeps_its_identities(witness: CentralSystem, tmp_path: Path) -> None:
    """Its connections stand: who takes its place has other identities, and goes when it comes back."""
    swarm = Swarm(tmp_path, witness.url)
    with swarm.master() as master, swarm.worker(1), swarm.worker(2) as victim:
        until(lambda: witness.connections == FLEET)
        os.killpg(victim.process.pid, signal.SIGSTOP)
        try:
            until(lambda: witness.connections == FLEET + FLEET // 2)
        finally:
            os.killpg(victim.process.pid, signal.SIGCONT)
        until(lambda: witness.connections == FLEET)
        master.process.terminate()
        run = master.wait()
    assert run.status == 4, run.output
    assert f"{FLEET} of {FLEET} charge points were online when the test ended" in run.output
    boots = booted(witness)
    assert len(set(boots)) == len(boots) == FLEET + FLEET // 2
    assert witness.summary()["events"].get("connections replaced") is None


def test_no_identity_is_there_twice_whatever_becomes_of_the_workers(tmp_path: Path) -> None:
    """One dies, another takes its place, and a third hangs and comes back: all in one run, with the whole fleet."""
    with CentralSystem(tmp_path / "cs.log", "--boot-interval", "10") as witness:
        swarm = Swarm(tmp_path, witness.url, master_timeout=3, fleet=MANY)
        with (
            swarm.master("--spawn-rate", f"{MANY / 4}") as master,
            swarm.worker(1) as dying,
            swarm.worker(2) as hanging,
        ):
            until(lambda: witness.connections == MANY)
            os.killpg(dying.process.pid, signal.SIGKILL)
            with swarm.worker(3):
                until(lambda: "is gone: its" in (tmp_path / "master.log").read_text())
                until_it_stays(lambda: witness.connections == MANY)
                os.killpg(hanging.process.pid, signal.SIGSTOP)
                try:
                    until(lambda: witness.connections == MANY + MANY // 2)
                finally:
                    os.killpg(hanging.process.pid, signal.SIGCONT)
                until_it_stays(lambda: witness.connections == MANY)
                master.process.terminate()
                run = master.wait()
        assert run.status == 4, run.output
        assert f"{MANY} of {MANY} charge points were online when the test ended" in run.output
        # The central system knows who connects a second time while the first connection stands.
        assert witness.summary()["events"].get("connections replaced") is None


def test_a_run_that_lost_all_its_workers_fails(witness: CentralSystem, tmp_path: Path) -> None:
    """The master must neither hang nor pass on the word of workers that are gone."""
    swarm = Swarm(tmp_path, witness.url)
    # Without this limit: else it is invalid, which goes before that.
    with (
        swarm.master("--max-master-distance", "0") as master,
        swarm.worker(1) as first,
        swarm.worker(2) as second,
    ):
        until(lambda: witness.connections == FLEET)
        for victim in (first, second):
            os.killpg(victim.process.pid, signal.SIGKILL)
        until(lambda: "The last worker went missing" in (tmp_path / "master.log").read_text())
        master.process.terminate()
        run = master.wait()
    assert run.status == 1, run.output
    assert f"0 of {FLEET} charge points were online when the test ended" in run.output


def test_a_worker_whose_master_is_gone_ends(witness: CentralSystem, tmp_path: Path) -> None:
    """Nobody has to look for charge points that nobody stops."""
    swarm = Swarm(tmp_path, witness.url, master_timeout=3)
    with swarm.master(workers=1) as master, swarm.worker(1) as worker:
        until(lambda: witness.connections == FLEET)
        os.killpg(master.process.pid, signal.SIGKILL)
        run = worker.wait()
    # What it measured last has reached nobody.
    assert run.status == 4, run.output
    assert "Traceback" not in run.output
    ends = {line["why"] for line in witness.lines("disconnected") if "why" in line}
    assert ends == {"closed by the charge point with 1000"}
    assert witness.connections == 0


def test_a_worker_that_runs_for_a_master_before_is_sent_away(witness: CentralSystem, tmp_path: Path) -> None:
    """A new master leases from 1 again: the old worker's charge points must not meet those of a new one."""
    swarm = Swarm(tmp_path, witness.url)
    with swarm.master(workers=1) as master, swarm.worker(1) as left_over:
        until(lambda: witness.connections == FLEET)
        os.killpg(master.process.pid, signal.SIGKILL)
        with swarm.master(workers=1, name="next") as after, swarm.worker(2):
            left_over.wait()
            until_it_stays(lambda: witness.connections == FLEET)
            assert "it is told to quit" in (tmp_path / "next.log").read_text()
            after.process.terminate()
            assert f"{FLEET} of {FLEET} charge points were online" in after.wait().output
    boots = booted(witness)
    assert (len(boots), len(set(boots))) == (2 * FLEET, FLEET)
    assert witness.summary()["events"].get("connections replaced") is None
