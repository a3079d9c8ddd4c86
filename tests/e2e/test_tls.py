"""`wss://`: TLS in front of the central system, as in a deployment, and its certificate checked."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.fakes.tls_offloader import TlsOffloader
from tests.processes import CentralSystem, run_locust


@pytest.fixture
def authority() -> trustme.CA:
    """A CA made for this test."""
    return trustme.CA()


@pytest.fixture
def offloader(central_system: CentralSystem, authority: trustme.CA) -> Iterator[TlsOffloader]:
    """TLS in front of the central system, with a certificate for `localhost`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    running = TlsOffloader(context, central_system.port)
    yield running
    running.close()


def test_a_fleet_over_tls_with_the_central_system_s_own_ca(
    offloader: TlsOffloader, authority: trustme.CA, central_system: CentralSystem, tmp_path: Path
) -> None:
    """CS_PROTOCOL=wss and a CA file: every charge point connects, boots and beats."""
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    env = {"CS_PROTOCOL": "wss", "CS_PORT": str(offloader.port), "CONCURRENCY_LEVEL": "20"}
    run = run_locust(tmp_path, "--headless", "-t", "6s", "--tls-ca-file", str(ca_file), env=env)
    assert run.status == 0, run.output
    assert run.rows["FLOW/online"].requests == 20
    assert run.rows["OCPP/Heartbeat"].requests >= 40
    assert run.rows["/Aggregated"].failures == 0
    assert central_system.summary()["calls"]["BootNotification"] == 20


def test_an_unknown_ca_is_refused_by_default_and_taken_on_request(offloader: TlsOffloader, tmp_path: Path) -> None:
    """Verification is on unless it is switched off; the failure is one entry for the whole fleet."""
    host = ("--host", f"wss://localhost:{offloader.port}/ocpp")
    refused = run_locust(tmp_path, "--headless", "-t", "3s", "-u", "10", *host)
    assert refused.status == 1
    assert list(refused.failures) == [
        "WS/connect: ConnectFailed('TLS: certificate not accepted: unable to get local issuer certificate')"
    ]
    taken = run_locust(tmp_path, "--headless", "-t", "4s", "-u", "10", *host, "--tls-verify", "false")
    assert taken.status == 0, taken.output
    assert taken.rows["FLOW/online"].requests == 10
