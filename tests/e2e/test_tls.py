"""`wss://`: TLS in front of the central system, as in a deployment, and its certificate checked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.processes import CentralSystem, run_locust


class TlsOffloader:
    """Takes TLS on a free port and passes the bytes on to a plain one, both ways."""

    def __init__(self, context: ssl.SSLContext, target_port: int) -> None:
        self._context = context
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in [self._listener, *self._sockets]:
            sock.close()

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._start(self._offload, sock)

    def _offload(self, sock: socket.socket) -> None:
        try:
            secure = self._context.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        plain = socket.create_connection(("127.0.0.1", self._target_port))
        self._sockets += [secure, plain]
        self._start(self._copy, secure, plain)
        self._copy(plain, secure)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


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
