"""A central system on raw sockets: many connections at once, and every byte in a test's hands."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import orjson

from tests.fakes.peer import frame, read_frame, read_request, upgraded

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA


class TalkingPeer:
    """Listens on a free port, completes each handshake, and plays `script`, in a thread for each connection.

    Args:
        script: takes the socket and the connection's number, from 1, after the upgrade.
        refuses: takes the number of a connection, and returns whether to refuse its upgrade with 409.
    """

    def __init__(
        self, script: Callable[[socket.socket, int], None], *, refuses: Callable[[int], bool] = lambda _: False
    ) -> None:
        self._script = script
        self._refuses = refuses
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._acceptor, *self._threads):
            thread.join(20)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(sock, len(self._threads) + 1)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(10)
            request = read_request(sock)
            if self._refuses(number):
                sock.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
                return
            sock.sendall(upgraded(request))
            self._script(sock, number)


def answer(text: bytes) -> bytes | None:
    """Return the frame that answers a Call; `None` for what is none."""
    try:
        message = orjson.loads(text)
        kind, unique_id, action, _ = message
    except (orjson.JSONDecodeError, ValueError, TypeError):
        return None
    if kind != 2:
        return None
    now = {"currentTime": "2026-03-01T12:00:00Z"}
    payload = {"BootNotification": {**now, "interval": 1, "status": "Accepted"}, "Heartbeat": now}.get(action, {})
    return frame(TEXT, orjson.dumps([3, unique_id, payload]))


def talk(sock: socket.socket, heard: Callable[[int, bytes], bool] | None = None) -> None:
    """Answer whatever comes, until the connection ends or `heard` says so."""
    while True:
        opcode, payload = read_frame(sock)
        if opcode == CLOSE:
            return
        if opcode == PING:
            sock.sendall(frame(PONG, payload))
        reply = answer(payload) if opcode == TEXT else None
        if heard is not None and heard(opcode, payload):
            return
        if reply is not None:
            sock.sendall(reply)
