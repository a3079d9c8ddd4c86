"""Charge points as fast as Python has them: plain sockets, one epoll, frames made beforehand.

They measure a server, not themselves: what they send is right, and of the answers they read no more than it
takes to know that each Call got its CallResult.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from benchmarks.websocket_frames import CLOSE, PING, PONG, TEXT, frames, masked

TIMEOUT: Final = 60.0
"""Seconds after which a server that answers nothing is given up."""
PER_ADDRESS: Final = 25_000
"""Connections from one address: the kernel has 28,232 ports for each by default."""
_IN_FLIGHT: Final = 128
"""Handshakes at a time: less than any server's backlog."""
_READ: Final = 16_384
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_RESULT: Final = b"[3,"

NextFrame = Callable[["Station"], bytes]
"""Makes the next frame that a charge point sends."""


class Failure(Exception):  # noqa: N818  what a server did
    """A server did what cannot be measured; one line."""


@dataclass(slots=True)
class Station:
    """One charge point's connection."""

    number: int
    socket: socket.socket
    rest: bytes = b""
    """The beginning of a frame."""
    answer: bytes = b""
    """The last CallResult, where somebody wants to read it."""
    script: deque[bytes] = field(default_factory=deque)
    """What is sent at first, one after the other's answer."""


@dataclass(frozen=True, slots=True)
class Work:
    """What was done in a phase."""

    messages: int
    seconds: float


class Stations:
    """All charge points that are connected to one server.

    Args:
        port: of the server, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._by_fd: dict[int, Station] = {}
        self.all: list[Station] = []

    def close(self) -> None:
        """End all connections at once, without ports left waiting."""
        for station in self.all:
            with contextlib.suppress(OSError):
                station.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            station.socket.close()
        self._epoll.close()

    def grow(self, count: int, script: Callable[[int], Iterable[bytes]]) -> Work:
        """Connect `count` more, and let each send its script, a frame after the answer to the one before.

        Raises:
            Failure: an upgrade was refused, or a Call was.
        """
        began = time.monotonic()
        first = len(self.all)
        opening = finished = messages = 0
        while finished < count:
            while opening < count and opening - finished < _IN_FLIGHT:
                self._open(first + opening, script(first + opening))
                opening += 1
            for fd, _ in self._poll(TIMEOUT):
                station = self._by_fd[fd]
                answers = self._read(station)
                messages += answers
                if answers:
                    station.script.popleft()
                    if station.script:
                        self._send(station, station.script[0])
                    else:
                        finished += 1
        return Work(messages, time.monotonic() - began)

    def saturate(self, stations: list[Station], next_frame: NextFrame, seconds: float, outstanding: int = 1) -> Work:
        """Keep `outstanding` Calls of each on their way, all the time; return when all are answered.

        Raises:
            Failure: a Call was refused, or not answered at all.
        """
        began = time.monotonic()
        end = began + seconds
        waiting = sent = 0
        for station in stations:
            for _ in range(outstanding):
                self._send(station, next_frame(station))
                waiting += 1
        sent = waiting
        by_fd, read, send = self._by_fd, self._read, self._send
        while waiting:
            is_over = time.monotonic() >= end
            for fd, _ in self._poll(TIMEOUT):
                station = by_fd[fd]
                answers = read(station)
                if is_over:
                    waiting -= answers
                    continue
                for _ in range(answers):
                    send(station, next_frame(station))
                sent += answers
        return Work(sent, time.monotonic() - began)

    def pace(self, next_frame: NextFrame, rate: float, seconds: float) -> Work:
        """Send `rate` Calls a second, evenly, each by the next charge point; return when all are answered.

        Raises:
            Failure: a Call was refused, or not answered at all.
        """
        total = round(rate * seconds)
        sent = answered = 0
        began = time.monotonic()
        while answered < total:
            elapsed = time.monotonic() - began
            if elapsed > seconds + TIMEOUT:
                raise Failure(f"{total - answered} of {total} messages were not answered")
            while sent < total and sent / rate <= elapsed:
                station = self.all[sent % len(self.all)]
                self._send(station, next_frame(station))
                sent += 1
            until_next = sent / rate - elapsed if sent < total else 1.0
            for fd, _ in self._epoll.poll(max(0.0, until_next)):
                answered += self._read(self._by_fd[fd])
        return Work(total, time.monotonic() - began)

    def rest(self, seconds: float) -> Work:
        """Send nothing but PONGs for a while."""
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            for fd, _ in self._epoll.poll(left):
                self._read(self._by_fd[fd])
        return Work(0, time.monotonic() - began)

    def _open(self, number: int, script: Iterable[bytes]) -> None:
        opened = socket.socket()
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if number >= PER_ADDRESS:
            opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            opened.bind((f"127.0.0.{1 + number // PER_ADDRESS}", 0))
        station = Station(number, opened)
        self.all.append(station)
        opened.settimeout(TIMEOUT)
        try:
            opened.connect(("127.0.0.1", self._port))
        except OSError as error:
            raise Failure(f"connection {number}: {error}") from None
        opened.settimeout(0.0)
        self._by_fd[opened.fileno()] = station
        self._epoll.register(opened.fileno(), select.EPOLLIN)
        # The upgrade counts as the first thing that is answered.
        upgrade = (
            f"GET /ocpp/CP{number:06d} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
        ).encode()
        station.script = deque((upgrade, *script))
        self._send(station, upgrade)

    def _poll(self, timeout: float) -> list[tuple[int, int]]:
        ready = self._epoll.poll(timeout)
        if not ready:
            raise Failure(f"no answer within {timeout:.0f} s")
        return ready

    def _send(self, station: Station, data: bytes) -> None:
        try:
            written = station.socket.send(data)
        except OSError as error:
            raise Failure(f"connection {station.number}: {error}") from None
        if written != len(data):
            raise Failure(f"connection {station.number}: the server does not read")

    def _read(self, station: Station) -> int:
        """Return how many CallResults (or upgrades) came."""
        try:
            data = station.socket.recv(_READ)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Failure(f"connection {station.number}: {error}") from None
        if not data:
            raise Failure(f"connection {station.number}: the server closed it")
        # A single short answer, which nearly all are, needs no loop.
        if len(data) > 4 and data[1] == len(data) - 2 and data[0] == 0x81 and not station.rest:
            if data[2:5] == _RESULT:
                station.answer = data
                return 1
            raise Failure(f"connection {station.number} was answered {data[2:].decode(errors='replace')}")
        return self._read_all(station, station.rest + data)

    def _read_all(self, station: Station, data: bytes) -> int:
        count = end = 0
        if data.startswith(b"HTTP/"):
            head, separator, data = data.partition(b"\r\n\r\n")
            if not separator:
                station.rest = head
                return 0
            if not head.startswith(b"HTTP/1.1 101 "):
                status = head.split(b"\r\n", 1)[0].decode(errors="replace")
                raise Failure(f"connection {station.number} was refused: {status}")
            count = 1
        for opcode, begin, end in frames(data):
            if opcode == TEXT and data.startswith(_RESULT, begin):
                station.answer = data[begin:end]
                count += 1
            elif opcode == PING:
                self._send(station, masked(PONG, data[begin:end]))
            elif opcode != PONG:
                what = "closed" if opcode == CLOSE else "answered"
                raise Failure(f"connection {station.number} was {what}: {data[begin:end].decode(errors='replace')}")
        station.rest = data[end:]
        return count
