"""A TCP server that follows a script: the other end of one connection, byte for byte."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

Script = Callable[[socket.socket], None]


class ScriptedPeer:
    """Listens on a free port and plays `script` once for each connection, in a thread.

    Args:
        script: what to do with a connection; it is closed afterwards.
        tls: a server-side context, to speak TLS.
    """

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self._thread = threading.Thread(target=self._serve)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(15)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), sock:
                sock.settimeout(10)
                if self._tls is None:
                    self._script(sock)
                else:
                    with self._tls.wrap_socket(sock, server_side=True) as secure:
                        self._script(secure)


def read_request(sock: socket.socket) -> bytes:
    """Read an HTTP request up to its empty line."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        piece = sock.recv(4096)
        if not piece:
            raise OSError("closed")
        request += piece
    return request


def accept_key(request: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that belongs to a request (RFC 6455, 4.2.2)."""
    for line in request.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            digest = hashlib.sha1(value.strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
            return base64.b64encode(digest)
    raise AssertionError(f"no key in {request!r}")


def upgraded(request: bytes, subprotocol: bytes | None = b"ocpp1.6") -> bytes:
    """Return the response that completes the handshake."""
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_key(request),
    ]
    if subprotocol is not None:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol)
    return b"\r\n".join([*lines, b"", b""])


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Return a server's frame: unmasked (RFC 6455, 5.2)."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 65536:
        return head + b"\x7e" + len(payload).to_bytes(2) + payload
    return head + b"\x7f" + len(payload).to_bytes(8) + payload


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """Read a client's frame; return its opcode and unmasked payload."""
    first, second = _read(sock, 2)
    length = second & 0x7F
    if length == 126:
        length = int.from_bytes(_read(sock, 2))
    elif length == 127:
        length = int.from_bytes(_read(sock, 8))
    mask = _read(sock, 4)
    payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(_read(sock, length)))
    return first & 0x0F, payload


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise OSError("closed")
        data += piece
    return data
