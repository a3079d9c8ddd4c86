"""The container image: it builds, and its roles run a test together. Needs a Docker Engine."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from tests.processes import ROOT


def docker(*args: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *args], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)


def engine_answers() -> bool:
    return shutil.which("docker") is not None and docker("info", timeout=20).returncode == 0


pytestmark = pytest.mark.skipif(not engine_answers(), reason="no Docker Engine answers here")


@pytest.fixture(scope="module")
def image() -> str:
    """The image, built from this tree."""
    # Building needs the package index, which the build's own network may not reach.
    built = docker("build", "--network", "host", "-t", "ampswarm:test", ".", timeout=900)
    assert built.returncode == 0, built.stderr[-3000:]
    return "ampswarm:test"


@pytest.fixture
def network() -> Iterator[str]:
    """A network of its own, and the end of every container in it."""
    name = f"ampswarm-{uuid.uuid4().hex[:8]}"
    assert docker("network", "create", name).returncode == 0
    yield name
    containers = docker("ps", "-aq", "--filter", f"network={name}").stdout.split()
    if containers:
        docker("rm", "-f", *containers)
    docker("network", "rm", name)


def start(image: str, network: str, name: str, *command: str) -> str:
    run = ["run", "-d", "--name", f"{network}-{name}", "--network", network, "--network-alias", name]
    started = docker(*run, image, *command)
    assert started.returncode == 0, started.stderr
    return started.stdout.strip()


def test_a_central_system_a_master_and_two_workers_run_a_test(image: str, network: str) -> None:
    """As on a swarm: the command chooses the role, and nobody is root."""
    central_system = start(image, network, "cs", "central-system", "--boot-interval", "2")
    for number in (1, 2):
        start(image, network, f"worker-{number}", "locust-worker", "--master-host", "master")
    master = start(
        image, network, "master", "locust-master", "--headless", "--expect-workers", "2", "-u", "50", "-t", "10s",
        "--host", "ws://cs:8080/ocpp", "--require-online",
    )  # fmt: skip
    assert docker("exec", central_system, "id", "-u").stdout.strip() != "0"
    waited = docker("wait", master)
    logs = docker("logs", master)
    assert waited.stdout.strip() == "0", logs.stderr[-3000:]
    assert "50 of 50 charge points were online when the test ended" in logs.stderr
    assert docker("stop", central_system).returncode == 0
    assert '"event":"stopped"' in docker("logs", central_system).stderr
    assert docker("inspect", "-f", "{{.State.ExitCode}}", central_system).stdout.strip() == "0"


def test_a_mistake_in_a_container_is_status_2(image: str) -> None:
    """The entry point hides neither the line nor the status."""
    done = docker("run", "--rm", "-e", "WEB_SRV_PORT=abc", image, "central-system")
    assert done.returncode == 2
    assert "WEB_SRV_PORT: 'abc' is not a port" in done.stderr


def test_a_central_system_needs_no_file_system_to_write_to(image: str) -> None:
    """A hardened container is read-only: with `--store memory` it runs as it is."""
    container = docker("run", "-d", "--read-only", image, "central-system", "--store", "memory").stdout.strip()
    try:
        docker("exec", container, "python", "-c", _WAIT_UNTIL_READY)
        assert docker("stop", container).returncode == 0
        logs = docker("logs", container).stderr
        assert '"event":"listening"' in logs
        assert docker("inspect", "-f", "{{.State.ExitCode}}", container).stdout.strip() == "0", logs
    finally:
        docker("rm", "-f", container)


_WAIT_UNTIL_READY = """
import time, urllib.request
for _ in range(100):
    try:
        urllib.request.urlopen("http://127.0.0.1:8081/readyz").read()
        break
    except OSError:
        time.sleep(0.1)
"""
