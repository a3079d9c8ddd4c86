"""The deployment template without an engine: what its files say of each other, and the proxy as it answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ampswarm.load.exposition import FAMILIES as LOAD_FAMILIES
from ampswarm.plan.plan import plan
from ampswarm.plan.question import Question
from server.exposition import FAMILIES
from tests.processes import ROOT, TIMEOUT, free_port, until
from tests.services import find

TEMPLATE = ROOT / "deployment_template"
STACKS = ("docker-compose.yml", "docker-compose.store.yml", "docker-compose.laptop.yml")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)")


def text_of(name: str) -> str:
    return (TEMPLATE / name).read_text()


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text_of(name))
    return found


@pytest.mark.parametrize("name", STACKS)
def test_every_variable_is_in_the_readme(name: str) -> None:
    """Whoever deploys it finds out what can be set; revisions are made by the program."""
    readme = text_of("README.md")
    variables = {each for each in VARIABLE.findall(text_of(name)) if not each.startswith("REVISION_")}
    assert {each for each in variables if f"`{each}`" not in readme} == set()


def test_a_plan_sets_variables_that_the_stack_has() -> None:
    """A value that nothing reads is a machine that was ordered for nothing."""
    known = set(VARIABLE.findall(text_of("docker-compose.yml")))
    assert set(plan(Question(1_000_000)).variables) - known == set()


@pytest.mark.parametrize("name", STACKS)
def test_every_file_is_there_or_made_by_a_program(name: str) -> None:
    """A config whose file is missing is found when it is deployed, on a host far away."""
    made = ["proxy-bundle.pem", "ca.pem", *text_of("make-secrets").split()]
    found = document(name)
    for each in (*found.get("configs", {}).values(), *found.get("secrets", {}).values()):
        file = re.sub(r"\$\{[A-Z_]+:-([^}]+)\}", r"\1", each["file"])
        assert (TEMPLATE / file).exists() or Path(file).name in made, file


def test_the_program_knows_every_config_and_secret() -> None:
    """What it does not look at would stay as it was, whatever its file says."""
    listed = set(re.findall(r"^([a-z-]+) (?:\S+)$", text_of("stack"), re.MULTILINE))
    for name in STACKS[:2]:
        found = document(name)
        for each in (*found["secrets"].values(), *found.get("configs", {}).values()):
            revision = re.search(r"-([a-z-]+)-\$\{REVISION_([A-Z_]+):-1\}", each["name"])
            assert revision is not None, each["name"]
            assert revision[1].replace("-", "_").upper() == revision[2]
            assert revision[1] in listed


def test_every_service_is_small_and_may_do_nothing_more_than_it_must() -> None:
    """Read-only, without capabilities, with a limit of memory: a host has others on it."""
    for name, service in document("docker-compose.yml")["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "memory" in service["deploy"]["resources"]["limits"], name
        assert service["deploy"]["endpoint_mode"] == "dnsrr", name
    published = {
        name: [each["target"] for each in service.get("ports", ())]
        for name, service in document("docker-compose.yml")["services"].items()
    }
    # Nobody but the proxy, which asks for passwords over TLS.
    assert [name for name, ports in published.items() if ports] == ["proxy"]
    assert 8405 not in published["proxy"]


# -- Grafana ------------------------------------------------------------------------------------


def metrics_of(expression: str) -> set[str]:
    """Return the names of metrics in a query: what is neither a function, nor a label, nor a number."""
    bare = re.sub(r'"[^"]*"|\b(?:by|without)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]', " ", expression)
    return {name for name in re.findall(r"\b[a-z_][a-z0-9_]*\b(?!\s*\()", bare) if "_" in name}


def series_of_ours() -> set[str]:
    names = {each.exposed_name for each in (*FAMILIES, *LOAD_FAMILIES)}
    return names | {f"{each}_{part}" for each in names for part in ("bucket", "sum", "count")}


def expressions() -> list[str]:
    panels = json.loads(text_of("grafana/dashboards/ampswarm.json"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_every_panel_is_over_metrics_that_there_are(proxy: Proxy) -> None:
    """A panel that stays empty is taken for a system that does nothing."""
    answer = urllib.request.urlopen(f"http://127.0.0.1:{proxy.ports[8405]}/metrics", timeout=TIMEOUT).read().decode()
    of_proxy = {line.split()[2] for line in answer.splitlines() if line.startswith("# TYPE")}
    known = series_of_ours() | of_proxy
    used = [metrics_of(each) for each in expressions()]
    assert len(used) > 30
    assert all(used)
    assert set().union(*used) - known == set()


def test_prometheus_asks_each_part_where_it_answers() -> None:
    """Ports and names as the stack has them."""
    jobs = {each["job_name"]: each for each in document("prometheus/prometheus.yml")["scrape_configs"]}
    services = document("docker-compose.yml")["services"]
    for job in ("central-system", "locust", "proxy"):
        (discovery,) = jobs[job]["dns_sd_configs"]
        assert set(discovery["names"]) <= set(services)
    assert jobs["locust"]["dns_sd_configs"][0]["port"] == int(
        services["locust-master"]["environment"]["AMPSWARM_METRICS_PORT"]
    )
    assert "bind :8405" in text_of("haproxy/haproxy.cfg")
    assert jobs["proxy"]["dns_sd_configs"][0]["port"] == 8405


# -- the proxy ----------------------------------------------------------------------------------


class Proxy:
    """HAProxy with the template's configuration, on free ports, and no central system."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        config = text_of("haproxy/haproxy.cfg").replace("/run/secrets/", f"{folder}/certificates/")
        self.ports = {port: free_port() for port in (80, 443, 8089, 3000, 8081, 8404, 8405)}
        for port, free in self.ports.items():
            config = re.sub(rf"bind :{port}\b", f"bind 127.0.0.1:{free}", config)
        # No resolver of Docker's is here: names lead nowhere, as before the first task runs.
        config = config.replace("127.0.0.11:53", f"127.0.0.1:{free_port()}")
        (folder / "haproxy.cfg").write_text(config)
        (folder / "users").write_text("userlist stats\n    user admin insecure-password s3cret\n")
        values = {"MAX_CONNECTIONS": "100", "PROXY_THREADS": "1", "MAX_CONNECTS_PER_SECOND": "0", **environment}
        self.process = subprocess.Popen(
            [find("haproxy", ("/usr/sbin",)), "-db", "-f", folder / "haproxy.cfg", "-f", folder / "users"],
            env={**os.environ, **values}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, port: int, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Return the status, the body and the headers of an answer to a GET over TLS."""
        context = ssl.create_default_context(cafile=f"{self.folder}/certificates/ca.pem")
        request = urllib.request.Request(f"https://127.0.0.1:{self.ports[port]}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as answer:
                return (
                    answer.status,
                    answer.read().decode(),
                    {name.lower(): value for name, value in answer.headers.items()},
                )
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), {name.lower(): value for name, value in error.headers.items()}

    def is_there(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.ports[443]), TIMEOUT).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proxy")
    make = [sys.executable, f"{TEMPLATE / 'make-certificates'}", "--name", "127.0.0.1", "--client-certificates", "2"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def proxy(certificates: Path) -> Iterator[Proxy]:
    running = Proxy(certificates)
    try:
        until(running.is_there)
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def test_refusals_say_what_to_do(proxy: Proxy) -> None:
    """Charge points wait as long as they are told; whoever is none learns what this is."""
    assert proxy.ask(443, "/healthz")[:2] == (200, "ok")
    assert proxy.ask(443, "/readyz")[0] == 503
    assert proxy.ask(443, "/ocpp/CP1")[0] == 426
    status, words, headers = proxy.ask(443, "/ocpp/CP1", **UPGRADE)
    assert (status, words, headers["retry-after"]) == (503, "no central system is ready", "5")


def test_nobody_sees_the_statistics_without_a_password(proxy: Proxy) -> None:
    """They name every server, and are open to the world."""
    assert proxy.ask(8404, "/")[0] == 401
    assert proxy.ask(8404, "/", Authorization="Basic YWRtaW46czNjcmV0")[0] == 200


def test_a_certificate_is_for_its_own_charge_point(certificates: Path) -> None:
    """Profile 3 ends at the proxy: whoever has one charge point's certificate must not be another one."""
    running = Proxy(certificates, CLIENT_CA=f"{certificates}/certificates/ca.pem")
    try:
        until(running.is_there)

        def status(identity: str, certificate: str | None) -> str:
            context = ssl.create_default_context(cafile=f"{certificates}/certificates/ca.pem")
            if certificate is not None:
                of_client = f"{certificates}/certificates/clients/{certificate}"
                context.load_cert_chain(f"{of_client}.pem", f"{of_client}.key")
            headers = {**UPGRADE, "Host": "127.0.0.1", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
            lines = [f"GET /ocpp/{identity} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
            try:
                with (
                    socket.create_connection(("127.0.0.1", running.ports[443]), TIMEOUT) as sock,
                    context.wrap_socket(sock, server_hostname="127.0.0.1") as secure,
                ):
                    secure.sendall("\r\n".join([*lines, "", ""]).encode())
                    return secure.recv(1024).decode().split(" ")[1]
            except OSError:  # the handshake was refused
                return "000"

        # 503: let through, to where there is no central system.
        assert status("CP000001", "CP000001") == "503"
        assert status("CP000002", "CP000001") == "403"
        assert status("CP000001", None) == "000"
    finally:
        running.process.kill()
        running.process.communicate()


def test_the_program_says_what_is_missing(tmp_path: Path) -> None:
    """Before anything is deployed, in one line, with status 2."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\n[ "$1" = info ] && echo true\n')
    docker.chmod(0o755)
    folder = tmp_path / "template"
    ignored = shutil.ignore_patterns("secrets", "certificates", "stack.env", "reports")
    shutil.copytree(TEMPLATE, folder, ignore=ignored)
    environment = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}

    def said(*args: str, **more: str) -> tuple[int, str]:
        done = subprocess.run(
            [folder / "stack", *args], capture_output=True, text=True, timeout=30, check=False,
            env={**environment, **more},
        )  # fmt: skip
        return done.returncode, done.stderr.strip()

    assert said("up") == (
        2,
        "stack: certificates/ca.pem is not there: ../.venv/bin/python make-certificates --name proxy --name THIS.HOST",
    )
    (folder / "certificates").mkdir()
    for name in ("ca.pem", "proxy-bundle.pem"):
        (folder / "certificates" / name).write_text("x")
    assert said("up") == (2, "stack: secrets/stats-users is not there: ./make-secrets")
    assert said("up", STORE="mysql") == (2, "stack: STORE: 'mysql' is neither memory nor postgresql")
    (folder / "stack.env").write_text("# a plan\nWORKERS=2\nno value\n")
    assert said("up") == (2, "stack: stack.env: 'no value' is no NAME=value")
    assert said()[0] == said("sideways")[0] == 2


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    """A second run keeps what is there; what depends on what was made anew is made anew."""
    shutil.copy(TEMPLATE / "make-secrets", tmp_path)

    def made() -> dict[str, str]:
        subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
        return {each.name: each.read_text() for each in (tmp_path / "secrets").iterdir()}

    first = made()
    assert {oct(each.stat().st_mode & 0o777) for each in (tmp_path / "secrets").iterdir()} == {"0o600"}
    assert first["redis-password"] in first["bus-url"]
    assert len({first[name] for name in first if name.endswith(("-password", "-token"))}) == 6
    assert made() == first
    (tmp_path / "secrets" / "redis-password").unlink()
    second = made()
    assert {name for name in second if second[name] != first[name]} == {"redis-password", "bus-url", "redis.conf"}
