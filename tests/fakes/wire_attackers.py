"""Those who send `wire_noise` to a central system over real sockets, many at a time."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

from tests.fakes import message_noise
from tests.fakes import wire_noise as noise
from tests.fakes.wire_watch import Incoming, Violation

PATIENCE: Final = 20.0
"""Seconds for an answer that must come."""
_GLANCE: Final = 0.02
"""Seconds for one that may come."""
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Target:
    """A central system."""

    port: int
    tls_port: int
    tls: ssl.SSLContext
    """Of a client that trusts it."""


@dataclass
class Report:
    """What attackers did, and what should not have happened."""

    done: Counter[str] = field(default_factory=Counter)
    statuses: Counter[bytes | None] = field(default_factory=Counter)
    """HTTP answers."""
    answers: int = 0
    violations: list[str] = field(default_factory=list)


class _Line:
    """One connection."""

    def __init__(self, target: Target, random: Random) -> None:
        self.random = random
        self.incoming = Incoming()
        self.is_over = False
        """Whether the central system has ended it."""
        is_secure = random.random() < 0.3
        plain = socket.create_connection(("127.0.0.1", target.tls_port if is_secure else target.port), timeout=PATIENCE)
        try:
            self._sock = target.tls.wrap_socket(plain, server_hostname="localhost") if is_secure else plain
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def send(self, *data: bytes, pause: float = 0.0) -> None:
        """Send what it takes; it may have ended by now."""
        try:
            for each in data:
                if pause:
                    time.sleep(pause)
                self._sock.sendall(each)
        except OSError:
            self.is_over = True

    def read(self, timeout: float = _GLANCE) -> bool:
        """Read what comes within a time; return whether anything did."""
        self._sock.settimeout(timeout)
        try:
            data = self._sock.recv(1 << 18)
        except TimeoutError:
            return False
        except OSError:
            self.is_over = True
            return False
        finally:
            self._sock.settimeout(PATIENCE)
        self.is_over = self.is_over or not data
        self.incoming.feed(data)
        while self.incoming.pings:
            self.send(noise.frame(noise.PONG, self.incoming.pings.pop()))
        return bool(data)

    def read_until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Read until it is so; return whether it is."""
        end = time.monotonic() + seconds
        while not condition() and not self.is_over and time.monotonic() < end:
            self.read(0.2)
        return condition()

    def open(self, identity: str) -> bool:
        """Become a WebSocket connection."""
        self.send(noise.upgrade(identity, self.random))
        return self.read_until(lambda: self.incoming.status == b"101")

    def end(self) -> None:
        """Leave, in one way or another."""
        match self.random.randrange(5):
            case 0:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            case 1:
                # A half-close, after which the central system has to end it.
                with suppress(OSError):
                    # Not SSLSocket's own, after which it would hand out what is still encrypted.
                    socket.socket.shutdown(self._sock, socket.SHUT_WR)
                if not self.read_until(lambda: self.is_over):
                    raise Violation("a connection outlived its half-close")
            case 2:
                while self.read():
                    pass
            case 3:
                self.send(noise.close(1000))
                self.read_until(lambda: self.is_over)


class Attacker(threading.Thread):
    """Makes one connection after the other until it is told to stop.

    Args:
        target: whom it attacks.
        number: which attacker it is.
        seed: of everything that it draws.
        seconds: how long it goes on.
        report: where it tells what it did.
    """

    def __init__(self, target: Target, number: int, seed: str, seconds: float, report: Report) -> None:
        super().__init__(name=f"attacker {number}", daemon=True)
        self._target = target
        self._number = number
        self._random = Random(f"{seed}/{number}")
        self._seconds = seconds
        self._report = report
        self._sentinels = 0

    @property
    def identity(self) -> str:
        """Under which it is mostly connected, and can be called."""
        return identity(self._number)

    def run(self) -> None:
        """Attack."""
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            attack = self._random.choice(_ATTACKS)
            name = attack.__name__.strip("_")
            try:
                attack(self)
            except OSError:
                self._report.done[f"{name}, cut off"] += 1
            except Exception as error:  # noqa: BLE001  the test's main thread raises it
                self._report.violations.append(f"{name}: {error!r}")
            else:
                self._report.done[name] += 1

    def _line(self) -> _Line:
        return _Line(self._target, self._random)

    def _told(self, line: _Line) -> None:
        self._report.statuses[line.incoming.status] += 1
        self._report.answers += len(line.incoming.messages)

    # -- attacks ------------------------------------------------------------------------------

    def _bytes(self) -> None:
        with self._line() as line:
            line.send(*noise.pieces(noise.noise(self._random), self._random))
            line.read()
            line.end()
            self._told(line)

    def _tls_bytes(self) -> None:
        """Bytes where a TLS handshake should be."""
        with socket.create_connection(("127.0.0.1", self._target.tls_port), timeout=PATIENCE) as sock:
            sock.sendall(noise.noise(self._random))
            sock.settimeout(_GLANCE)
            with suppress(TimeoutError):
                sock.recv(1000)

    def _request(self) -> None:
        with self._line() as line:
            request = noise.mutated_upgrade(self.identity, self._random)
            line.send(*noise.pieces(request, self._random))
            line.read()
            line.read()
            line.end()
            self._told(line)

    def _drip(self) -> None:
        """A request that never ends; it must be cut off in time."""
        with self._line() as line:
            began = time.monotonic()
            for byte in noise.upgrade(self.identity, self._random)[:-1]:
                line.send(bytes((byte,)), pause=0.01)
                if line.is_over:
                    break
            line.read_until(lambda: line.is_over)
            if not line.is_over:
                raise Violation(f"a request may take {time.monotonic() - began:.1f} s")

    def _frames(self) -> None:
        with self._line() as line:
            if self._random.random() < 0.3:
                # In one go with the request.
                rest = b"".join(noise.broken_frames(self._random))
                line.send(noise.upgrade(self.identity, self._random) + rest)
            elif line.open(self.identity):
                for each in noise.broken_frames(self._random):
                    line.send(*noise.pieces(each, self._random))
                    line.read()
            line.read()
            line.end()
            self._told(line)

    def _messages(self) -> None:
        """Messages cost nobody a connection, however broken: the next Heartbeat has its answer."""
        with self._line() as line:
            if not line.open(self.identity):
                raise Violation(f"it was not let in: {line.incoming.status!r}")
            known = 1
            for _ in range(self._random.randrange(1, 40)):
                called = [each for each in line.incoming.messages if each[0] == 2]
                outstanding = called[-1][1] if called else None
                if self._random.random() < 0.2:
                    sent = message_noise.call(self._random, known)
                else:
                    sent = message_noise.message(self._random, outstanding)
                line.send(noise.text(sent.encode()))
                if self._random.random() < 0.3:
                    line.read()
                    known = next(
                        (each[2]["transactionId"] for each in line.incoming.messages if _is_start(each)), known
                    )
            self._check_alive(line)
            line.end()
            self._told(line)

    def _check_alive(self, line: _Line) -> None:
        self._sentinels += 1
        wanted = f"sentinel-{self._sentinels}"
        line.send(noise.text(json.dumps([2, wanted, "Heartbeat", {}]).encode()))
        if not line.read_until(lambda: any(each[0] != 2 and each[1] == wanted for each in line.incoming.messages)):
            raise Violation(f"no answer after messages; closed with {line.incoming.closed}, over: {line.is_over}")

    def _answers(self) -> None:
        """Wrong answers to Calls, which somebody sends to this identity all the time."""
        with self._line() as line:
            if not line.open(self.identity):
                return
            line.read_until(lambda: any(each[0] == 2 for each in line.incoming.messages), 0.5)
            for each in [each for each in line.incoming.messages if each[0] == 2]:
                for _ in range(self._random.randrange(1, 3)):
                    line.send(noise.text(message_noise.answer(each[2], each[1], self._random).encode()))
            self._check_alive(line)
            line.end()
            self._told(line)

    def _flood(self) -> None:
        """Calls and PINGs by the thousand, none of whose answers is read."""
        beat = noise.text(b'[2,"flood","Heartbeat",{}]')
        burst = self._random.choice((beat, noise.frame(noise.PING, b"x" * 125))) * 1000
        with self._line() as line:
            if not line.open(self.identity):
                return
            line._sock.settimeout(0.5)
            line.send(*[burst] * self._random.randrange(1, 20))
            line.end()

    def _transactions(self) -> None:
        """Transactions that are started and not waited for."""
        with self._line() as line:
            if not line.open(self.identity):
                return
            count = self._random.choice((3, 30, 300, 3000))
            for number in range(count):
                start = {"connectorId": number % 3, "idTag": "T", "meterStart": number, "timestamp": message_noise.TIME}
                unique_id = self._random.choice(("same", f"t{number}"))
                line.send(noise.text(json.dumps([2, unique_id, "StartTransaction", start]).encode()))
            if self._random.random() < 0.5:
                line.send(*noise.broken_frames(self._random))
            line.end()
            self._told(line)

    def _bulk(self) -> None:
        """Messages as long as may be, each of whose thousand parts is wrong."""
        with self._line() as line:
            if not line.open(self.identity):
                return
            start = {"connectorId": 1, "idTag": "T", "meterStart": 2**31 - 1, "timestamp": message_noise.TIME}
            line.send(noise.text(json.dumps([2, "start", "StartTransaction", start]).encode()))
            line.read_until(lambda: any(_is_start(each) for each in line.incoming.messages))
            known = next((each[2]["transactionId"] for each in line.incoming.messages if _is_start(each)), 0)
            for _ in range(self._random.choice((1, 10))):
                line.send(noise.text(message_noise.bulk(self._random, known).encode()))
            if self._random.random() < 0.5:
                self._check_alive(line)
            line.end()
            self._told(line)

    def _twins(self) -> None:
        """Many connections under one identity, as fast as they come."""
        lines: list[_Line] = []
        try:
            for _ in range(self._random.randrange(2, 12)):
                line = self._line()
                lines.append(line)
                line.send(noise.upgrade("twin", self._random))
                if self._random.random() < 0.5:
                    line.read()
                    line.send(noise.text(message_noise.call(self._random).encode()))
            for line in lines:
                line.end()
                self._told(line)
        finally:
            for line in lines:
                line.__exit__(None, None, None)

    def _strangers(self) -> None:
        """Identities that come once, also in ways that end at once."""
        with self._line() as line:
            name = "".join(self._random.choices("ab⚡ \0\n\u202e/'\"<", k=self._random.randrange(1, 6)))
            request = noise.upgrade(f"stranger {name}", self._random)
            if self._random.random() < 0.5:
                request = request.replace(b"ocpp1.6", b"ocpp2.0.1")
            line.send(request)
            line.read()
            line.end()
            self._told(line)


def identity(number: int) -> str:
    """Return the identity of an attacker."""
    return f"mallory {number}"


def _is_start(said: list[object]) -> bool:
    return said[0] == 3 and isinstance(said[2], dict) and "transactionId" in said[2]


_ATTACKS: Final[tuple[Callable[[Attacker], None], ...]] = (
    Attacker._bytes,
    Attacker._tls_bytes,
    Attacker._request,
    Attacker._request,
    Attacker._drip,
    Attacker._frames,
    Attacker._frames,
    Attacker._frames,
    Attacker._messages,
    Attacker._messages,
    Attacker._messages,
    Attacker._answers,
    Attacker._flood,
    Attacker._transactions,
    Attacker._bulk,
    Attacker._twins,
    Attacker._strangers,
)
