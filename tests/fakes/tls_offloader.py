"""TLS on a free port in front of a plain one, as a load balancer does it; client certificates bound to identities."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_ANSWER_TO_STRANGERS = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Visitor:
    """Who connected: the identity in the URL, and the certificate that came with it."""

    identity: str
    common_name: str | None
    organization: str | None
    serial_number: str | None
    authorization: str | None


class TlsOffloader:
    """Takes TLS on a free port and passes the bytes on to a plain one, both ways.

    Args:
        context: with CERT_REQUIRED, whoever's certificate is not for the identity in the URL gets 403.
        target_port: where the plain bytes go.
    """

    def __init__(self, context: ssl.SSLContext, target_port: int) -> None:
        self._context = context
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.visitors: list[Visitor] = []
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
            head = self._read_head(secure)
        except OSError:
            sock.close()
            return
        visitor = _visitor(secure, head)
        self.visitors.append(visitor)
        self._sockets.append(secure)
        if self._context.verify_mode is ssl.CERT_REQUIRED and visitor.common_name != visitor.identity:
            with contextlib.suppress(OSError):
                secure.sendall(_ANSWER_TO_STRANGERS)
                secure.shutdown(socket.SHUT_RDWR)
            return
        plain = socket.create_connection(("127.0.0.1", self._target_port))
        self._sockets.append(plain)
        plain.sendall(head)
        self._start(self._copy, secure, plain)
        self._copy(plain, secure)

    def _read_head(self, secure: ssl.SSLSocket) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            data = secure.recv(16384)
            if not data:
                raise ConnectionResetError
            head += data
        return head

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _visitor(secure: ssl.SSLSocket, head: bytes) -> Visitor:
    lines = head.decode("latin-1").split("\r\n")
    path = lines[0].split(" ")[1]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    certificate: Any = secure.getpeercert() or {}
    subject = {name: value for part in certificate.get("subject", ()) for name, value in part}
    serial = certificate.get("serialNumber")
    return Visitor(
        unquote(path.rsplit("/", 1)[-1]),
        subject.get("commonName"),
        subject.get("organizationName"),
        None if serial is None else str(serial),
        headers.get("authorization"),
    )
