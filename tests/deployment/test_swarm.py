"""The stack of the deployment template on a real swarm: deployed, hurt, judged, and removed.

Needs a Docker Engine that can be a swarm of one node, with the base images of Dockerfile and stack at hand:

    pytest tests/deployment/test_swarm.py -s
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, free_port

FLEET = int(os.environ.get("SWARM_FLEET", "2000"))
TEMPLATE = ROOT / "deployment_template"
PATIENCE = 300.0
ONLINE = re.compile(rf"{FLEET} of {FLEET} charge points: (?:.*?)(\d+) online")


def docker(*args: str, timeout: float = 120) -> str:
    done = subprocess.run(["docker", *args], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"docker {' '.join(args)}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def why_not() -> str:
    """Return why there can be no swarm here; empty if there can."""
    if shutil.which("docker") is None:
        return "there is no Docker here"
    found = subprocess.run(
        ["docker", "info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    if found.returncode != 0:
        return "no Docker Engine answers here"
    state = found.stdout.split()
    return "" if state in (["inactive", "false"], ["active", "true"]) else "this is no manager of its swarm"


WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def images(name: str) -> list[str]:
    return docker("images", "--quiet", name).split()


class Run:
    """`./stack run`, and what it says."""

    def __init__(self, stack: Stack, **values: str) -> None:
        self._process = subprocess.Popen(
            [stack.folder / "stack", "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**stack.environment, **values}, start_new_session=True,
        )  # fmt: skip
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.text = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Wait for a line."""
        end = time.monotonic() + PATIENCE
        while (line := self._lines.get(timeout=max(0.1, end - time.monotonic()))) is not None:
            self.text += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it ended without {pattern}:\n{self.text[-3000:]}")

    def wait_for_all_online(self) -> None:
        while int(self.wait_for(ONLINE)[1]) != FLEET:
            pass

    def end(self) -> int:
        """Wait for its end; return its exit status."""
        while (line := self._lines.get(timeout=PATIENCE)) is not None:
            self.text += line
        return self._process.wait(60)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


class Stack:
    """A copy of the template with secrets and certificates of its own, and the image of this tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"ampswarm-test-{uuid.uuid4().hex[:6]}"
        image = f"{self.name}:latest"
        shutil.copytree(
            TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("secrets", "certificates", "stack.env")
        )
        # What is set here is not what is tested.
        files = (folder / "docker-compose.yml", folder / "docker-compose.store.yml")
        variables = {each for file in files for each in re.findall(r"\$\{([A-Z_]+)", file.read_text())} | {"STORE"}
        shutil.copy(ROOT / "locustfiles/charging.py", folder)
        shutil.copy(ROOT / "locustfiles/fleets/city.toml", folder)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in variables},
            "STACK": self.name, "IMAGE": image, "PROMETHEUS_IMAGE": "prom/prometheus", "GRAFANA": "0",
            "PROMETHEUS": "1" if images("prom/prometheus") else "0",
            "CHARGE_POINTS": f"{FLEET}", "SPAWN_RATE": "100", "HEARTBEAT": "20", "CENTRAL_SYSTEMS_PER_NODE": "2",
            **{name: f"{free_port()}" for name in (
                "TLS_PORT", "PLAIN_PORT", "STATISTICS_PORT", "UI_PORT", "OPERATOR_PORT", "GRAFANA_PORT",
            )},
        }  # fmt: skip
        docker("build", "--network", "host", "--tag", image, f"{ROOT}", timeout=900)
        self.image = image
        self.check_call("make-secrets")
        make = [sys.executable, f"{folder / 'make-certificates'}", "--name", "proxy", "--name", "localhost"]
        subprocess.run(make, cwd=folder, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": f"{ROOT}"})

    def check_call(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [self.folder / program, *args], capture_output=True, text=True, timeout=600, check=False,
            env=self.environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def containers(self, service: str) -> list[str]:
        return docker("ps", "--quiet", "--no-trunc", "--filter", f"name={self.name}_{service}").split()

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "reports" / "report.json").read_text())
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack; afterwards nothing of it is left, and a swarm that was made for it is none any more."""
    is_mine = docker("info", "--format", "{{.Swarm.LocalNodeState}}") == "inactive"
    if is_mine:
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    found = Stack(tmp_path_factory.mktemp("stack"))
    try:
        yield found
        found.check_call("stack", "down", "--volumes")
        kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"), ("config", "ls"), ("secret", "ls"))
        for kind in kinds:
            assert docker(*kind, "--quiet", "--filter", f"label=com.docker.stack.namespace={found.name}") == "", kind
    finally:
        subprocess.run(["docker", "stack", "rm", found.name], capture_output=True, check=False)
        if is_mine:
            docker("swarm", "leave", "--force")
        docker("rmi", "--force", found.image)


@pytest.fixture
def started(stack: Stack) -> Iterator[list[Run]]:
    """Runs, which end with the test."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        run.kill()


def test_the_configurations_are_valid_by_their_own_tools(stack: Stack) -> None:
    """What HAProxy, Docker and Prometheus say of them."""
    bundle, users = stack.folder / "certificates/proxy-bundle.pem", stack.folder / "secrets/stats-users"
    docker(
        "run", "--rm", "--user", "0", "-v", f"{stack.folder}/haproxy/haproxy.cfg:/h.cfg:ro",
        "-v", f"{bundle}:/run/secrets/proxy-bundle.pem:ro", "-v", f"{users}:/users:ro", "-e", "MAX_CONNECTIONS=8000",
        "-e", "MAX_CONNECTS_PER_SECOND=100", "-e", "PROXY_THREADS=2", "haproxy:3.0",
        "haproxy", "-c", "-f", "/h.cfg", "-f", "/users",
    )  # fmt: skip
    if stack.environment["PROMETHEUS"] == "1":
        docker(
            "run", "--rm", "-v", f"{stack.folder}/prometheus/prometheus.yml:/p.yml:ro", "--entrypoint", "promtool",
            "prom/prometheus", "check", "config", "--syntax-only", "/p.yml",
        )  # fmt: skip
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", stack.image)
    environment = docker("inspect", "--format", "{{json .Config.Env}}", stack.image)
    for word in ("password", "secret", "token", "BEGIN"):
        assert word not in (history + environment).lower()


def test_a_fleet_outlives_a_killed_central_system_and_a_rolling_update(stack: Stack, started: list[Run]) -> None:
    """All charge points are back after each, through the proxy's TLS; the verdict is the exit status."""
    (stack.folder / "slos.txt").write_text("OCPP/* p99 < 2s after 10s\nFLOW/online max < 60s\nfail_ratio < 2%\n")
    run = Run(stack, RUN_TIME="170s")
    started.append(run)
    run.wait_for_all_online()
    killed = stack.containers("central-system")[0]
    docker("kill", killed)
    run.wait_for(r"\d+ failed")
    run.wait_for_all_online()
    replaced = stack.containers("central-system")
    assert len(replaced) == 2
    assert killed not in replaced
    docker("service", "update", "--env-add", "ROLLED=1", "--detach", f"{stack.name}_central-system")
    while set(stack.containers("central-system")) & set(replaced):
        run.wait_for(ONLINE)
    run.wait_for_all_online()
    assert run.end() == 0, run.text[-3000:]
    report = stack.report()
    assert report["verdict"]["status"] == "passed"
    assert report["run"]["host"] == "wss://proxy/ocpp"
    rows = {(row["type"], row["name"]): row for row in report["statistics"]}
    assert rows["WS", "tls"]["count"] >= 2 * FLEET  # all at first, half of them after the kill, all in the update
    (stack.folder / "slos.txt").write_text((TEMPLATE / "slos.txt").read_text())


def test_a_worker_that_is_killed_makes_the_run_invalid(stack: Stack, started: list[Run]) -> None:
    """Others take its charge points, and the exit status says that the numbers cannot be trusted."""
    run = Run(stack, RUN_TIME="100s")
    started.append(run)
    run.wait_for_all_online()
    docker("kill", stack.containers("locust-worker")[0])
    assert run.end() == 4, run.text[-3000:]
    report = stack.report()
    assert any("lost" in each for each in report["verdict"]["invalid"])
    assert {each["what"] for each in report["events"]} >= {"worker missing"}


def test_an_slo_that_is_missed_is_status_3(stack: Stack, started: list[Run]) -> None:
    """A pipeline needs nothing else."""
    (stack.folder / "slos.txt").write_text("OCPP/Heartbeat count > 1000000\n")
    run = Run(stack, RUN_TIME="20s", CHARGE_POINTS="50")
    started.append(run)
    assert run.end() == 3, run.text[-3000:]
    assert "an SLO was missed" in run.text


def test_people_come_in_by_tls_and_password(stack: Stack) -> None:
    """Locust's web UI, the operator API and the proxy's statistics; nothing is open without a password."""
    stack.check_call("stack", "up")
    folder = stack.folder

    def status(port: str, *more: str, path: str = "/") -> str:
        curl = ["curl", "--silent", "--cacert", f"{folder}/certificates/ca.pem", "--output", "/dev/null"]
        url = f"https://localhost:{stack.environment[port]}{path}"
        return subprocess.run(
            [*curl, "--write-out", "%{http_code}", *more, url], capture_output=True, text=True, timeout=30, check=False
        ).stdout

    def secret(name: str) -> str:
        return (folder / "secrets" / name).read_text().strip()

    expected = {
        "statistics": ("STATISTICS_PORT", "401", ("--user", f"admin:{secret('statistics-password')}")),
        "operator": ("OPERATOR_PORT", "401", ("--header", f"Authorization: Bearer {secret('admin-token')}")),
    }
    end = time.monotonic() + PATIENCE
    while status("UI_PORT") != "302" or status("TLS_PORT", path="/healthz") != "200":
        assert time.monotonic() < end
        time.sleep(0.5)
    for name, (port, refused, credentials) in expected.items():
        path = "/api/v1/fleet" if name == "operator" else "/"
        assert (status(port, path=path), status(port, *credentials, path=path)) == (refused, "200"), name
    assert status("TLS_PORT", path="/ocpp/CP1") == "426"
    if stack.environment["PROMETHEUS"] == "1":
        # Each part answers Prometheus where it is asked.
        expected_jobs = {"central-system": 2, "locust": 1, "proxy": 1, "prometheus": 1}
        query = [
            "exec",
            stack.containers("prometheus")[0],
            "promtool",
            "query",
            "instant",
            "http://localhost:9090",
            "up",
        ]
        while Counter(re.findall(r'job="([a-z-]+)"\} => 1 ', docker(*query))) != expected_jobs:
            assert time.monotonic() < end
            time.sleep(1)


@pytest.mark.skipif(
    not WHY_NOT and not (images("postgres:17") and images("redis:8")), reason="postgres:17 and redis:8 are not at hand"
)
def test_records_are_those_of_all_central_systems(stack: Stack, started: list[Run]) -> None:
    """In PostgreSQL, with Redis between them; the report has the ledger of the run."""
    run = Run(
        stack, STORE="postgresql", RUN_TIME="40s", CHARGE_POINTS="100", LOCUSTFILE="charging.py", FLEET="city.toml"
    )
    started.append(run)
    assert run.end() == 0, run.text[-3000:]
    assert stack.report()["ledger"]["sums"]["anomalies"] == 0
