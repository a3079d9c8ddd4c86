"""What a HAProxy that ends TLS takes, and the kernel under it: `python -m benchmarks.proxy`.

HAProxy stands between clients and one central system, as in a deployment; all on loopback. Sizes are differences
between few and many connections in the same processes, so that what is there anyway does not count; times are the CPU
of HAProxy's process, system calls included, so that it does not matter how slow the clients are.

| figure | how |
|---|---|
| idle connection | resident memory of HAProxy after all connected and were quiet, by the connections |
| the same, after messages | after each of them had three Heartbeats answered |
| connect | CPU from the TCP connection, TLS included, to the 101 of the upgrade; whole handshakes, none is resumed |
| message | CPU of a Heartbeat.req there and its Heartbeat.conf back, one by one from all connections in turn |
| the same, busy | the same, from 50 connections at the same time: events that come together are handled together |
| kernel, a socket | slab and TCP memory with all connections, by their sockets: two of HAProxy and one at each end |

Slab memory is that of the whole machine: on a busy one, take more connections, or the least of several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import trustme

from benchmarks.messages import HEARTBEAT, call
from benchmarks.servers import Running, Server, allow_open_files, central_system, running
from benchmarks.stations import Failure
from benchmarks.websocket_frames import TEXT, frames, masked

SMALL: Final = 100
"""Connections before anything is measured."""
_SOCKETS: Final = 4
"""Of each connection on this machine: the client's, two of HAProxy, the central system's."""
_TIMEOUT: Final = 20.0
_SETTLE: Final = 3.0
"""Seconds of quiet before memory is read."""
_TOGETHER: Final = 50
_BEAT: Final = masked(TEXT, call("b-1", "Heartbeat", HEARTBEAT))
_COLUMNS: Final = {
    "idle_kib": ("idle connection", "KiB", 1),
    "after_kib": ("after messages", "KiB", 1),
    "connect_ms": ("connect", "ms", 2),
    "message_ms": ("message", "ms", 3),
    "busy_ms": ("message, busy", "ms", 3),
    "kernel_kib": ("kernel, a socket", "KiB", 2),
}
"""Heading, unit and digits of each figure."""
_CONFIGURATION: Final = """
global
  maxconn {connections}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend charge-points
  bind 127.0.0.1:{port} {tls}
  default_backend central-systems
backend central-systems
  server central-system 127.0.0.1:{target}
"""


@dataclass(frozen=True)
class Figures:
    """One kind of proxy, for each connection or message."""

    label: str
    idle_kib: float
    after_kib: float
    connect_ms: float
    message_ms: float
    busy_ms: float
    kernel_kib: float


class _Clients:
    """Connections to the proxy, one by one, with TLS or without."""

    def __init__(self, port: int, *, tls: bool) -> None:
        self._port = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
        if self._context is not None:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._sockets: list[socket.socket] = []

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def grow(self, count: int) -> None:
        """Connect `count` more, each up to the 101."""
        for _ in range(count):
            opened = socket.create_connection(("127.0.0.1", self._port), timeout=_TIMEOUT)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                opened = self._context.wrap_socket(opened)
            self._sockets.append(opened)
            opened.sendall(
                f"GET /ocpp/CP{len(self._sockets):06d} HTTP/1.1\r\nHost: proxy\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += _received(opened)
            if not head.startswith(b"HTTP/1.1 101 "):
                raise Failure(f"no upgrade: {head.splitlines()[0].decode(errors='replace')}")

    def beat(self, times: int, together: int = 1) -> int:
        """Send so many Heartbeats from each, `together` at a time; return how many."""
        for first in range(0, times * len(self._sockets), together):
            some = [self._sockets[turn % len(self._sockets)] for turn in range(first, first + together)]
            for each in some:
                each.sendall(_BEAT)
            for each in some:
                data = _received(each)
                while not any(opcode == TEXT for opcode, _, _ in frames(data)):
                    data += _received(each)
        return times * len(self._sockets)


def _received(opened: socket.socket) -> bytes:
    data = opened.recv(16384)
    if not data:
        raise Failure("the proxy closed a connection")
    return data


def _kernel() -> int:
    """Return the bytes of slab memory and of TCP's buffers, of the whole machine."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    slab = sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("SReclaimable:", "SUnreclaim:")))
    tcp = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return slab + int(tcp.split()[-1]) * os.sysconf("SC_PAGE_SIZE")


def _proxy(folder: Path, key: str | None, target: int, connections: int) -> Server:
    tls = ""
    if key is not None:
        issued = trustme.CA().issue_cert("127.0.0.1", key_type=trustme.KeyType[key])
        issued.private_key_and_cert_chain_pem.write_to_path(folder / f"{key}.pem")
        tls = f"ssl crt {folder / f'{key}.pem'}"

    def command(port: int) -> list[str]:
        file = folder / f"{port}.cfg"
        file.write_text(_CONFIGURATION.format(port=port, tls=tls, target=target, connections=connections))
        return ["haproxy", "-db", "-f", str(file)]

    return Server(key or "plain", command, {})


def _measure(proxy: Running, clients: _Clients, label: str, connections: int) -> Figures:
    clients.grow(SMALL)
    clients.beat(2)
    time.sleep(_SETTLE)
    small, kernel = proxy.usage(), _kernel()
    clients.grow(connections)
    grown = proxy.usage()
    time.sleep(_SETTLE)
    large, kernel = proxy.usage(), _kernel() - kernel
    count = clients.beat(3)
    after = proxy.usage()
    clients.beat(3, _TOGETHER)
    busy = proxy.usage().cpu - after.cpu
    return Figures(
        label,
        (large.resident - small.resident) / connections / 1024,
        (after.resident - small.resident) / connections / 1024,
        (grown.cpu - small.cpu) / connections * 1e3,
        (after.cpu - large.cpu) / count * 1e3,
        busy / count * 1e3,
        kernel / connections / _SOCKETS / 1024,
    )


def measure(key: str | None, connections: int) -> Figures:
    """Measure one proxy.

    Args:
        key: `RSA` (2048 bits) or `ECDSA` (P-256), of the certificate; `None` for a proxy without TLS.
        connections: how many.

    Raises:
        Failure: something in between refused.
    """
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench-proxy-")))
        target = opened.enter_context(running(central_system("central system", ["--store", "memory"])))
        server = _proxy(folder, key, target.port, connections + SMALL + 50)
        proxy = opened.enter_context(running(server))
        clients = _Clients(proxy.port, tls=key is not None)
        opened.callback(clients.close)
        return _measure(proxy, clients, server.label, connections)


def main() -> int:
    """Measure and print a table; write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--connections", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="medians of so many; default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there too")
    options = parser.parse_args()
    if shutil.which("haproxy") is None:
        print("haproxy not found on the PATH", file=sys.stderr)
        return 2
    version = subprocess.run(["haproxy", "-v"], check=True, capture_output=True, text=True).stdout.splitlines()[0]
    print(f"{version.split(' - ')[0]}; Python {platform.python_version()}, {os.cpu_count()} cores")
    rounds: list[list[Figures]] = []
    try:
        allow_open_files(options.connections + SMALL + 200)
        for turn in range(options.rounds):
            print(f"round {turn + 1} of {options.rounds} …", file=sys.stderr, flush=True)
            rounds.append([measure(key, options.connections) for key in (None, "ECDSA", "RSA")])
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"{'':8}" + "".join(f"{heading:>20}" for heading, _, _ in _COLUMNS.values()))
    for row in zip(*rounds, strict=True):
        cells = (
            f"{statistics.median(getattr(each, name) for each in row):.{digits}f} {unit}"
            for name, (_, unit, digits) in _COLUMNS.items()
        )
        print(f"{row[0].label:8}" + "".join(f"{cell:>20}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps([[asdict(each) for each in row] for row in rounds], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
