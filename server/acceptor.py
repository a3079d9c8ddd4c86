"""Listening sockets: accepts TCP connections, and takes them through TLS, into a handshake each."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import aiofastnet

from server.handshake import Handshake, Handshakes

_BACKLOG: Final = 16384
"""Connections that the kernel may hold until they are accepted: a whole fleet may come at once."""
_AT_ONCE: Final = 64
"""Connections that are accepted before those that stand have their turn again."""
_RECEIVE_BUFFER: Final = 32 * 1024
"""Bytes that the kernel holds for a connection, more or less. Left to itself it takes many MiB from one that floods:
all are then read in one go, while everybody else waits, into a buffer that grows with it and stays."""
_SHUTDOWN_TIMEOUT: Final = 5.0
"""Seconds for the other side of TLS to say that it is through, too."""
_PAUSE: Final = 0.5
"""Seconds without accepting, when the process has no file descriptor left."""
_OUT_OF_RESOURCES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# Both warn of what is written to a connection that has just gone; whoever writes cannot know yet.
logging.getLogger("aiofastnet").setLevel(logging.ERROR)
logging.getLogger("asyncio").addFilter(lambda record: record.msg != "socket.send() raised exception.")

TlsContext = Callable[[], ssl.SSLContext]
"""Gives the context of new connections, which may be another one than before."""


class Acceptor:
    """The sockets of one port.

    Args:
        handshakes: makes the handshake of each connection.
        sockets: bound, not yet listening.
        tls: for connections that begin with TLS; `None` for plain ones.
    """

    def __init__(self, handshakes: Handshakes, sockets: list[socket.socket], tls: TlsContext | None) -> None:
        self._handshakes = handshakes
        self._sockets = sockets
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        for each in sockets:
            each.settimeout(0)
            each.listen(_BACKLOG)
            self._loop.add_reader(each.fileno(), self._accept, each)

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Accept no more. Handshakes that have begun go on."""
        if self._is_closed:
            return
        self._is_closed = True
        for each in self._sockets:
            self._loop.remove_reader(each.fileno())
            each.close()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause(listening, error)
                    return
                continue  # this one is gone already
            handshake = self._handshakes.new(address[0], is_secure=self._tls is not None)
            if handshake is None:
                accepted.close()
                continue
            task = self._loop.create_task(self._begin(accepted, handshake))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, accepted: socket.socket, handshake: Handshake) -> None:
        def protocol() -> Handshake:
            return handshake

        try:
            if self._tls is None:
                # asyncio's own: aiofastnet's has room for 256 buffers in each connection, 5 KiB that are never used.
                await self._loop.connect_accepted_socket(protocol, accepted)
            else:
                timeout = self._handshakes.timeout
                await aiofastnet.connect_accepted_socket(
                    self._loop,
                    protocol,
                    accepted,
                    ssl=self._tls(),
                    ssl_handshake_timeout=timeout,
                    ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT,
                )
        except ssl.SSLError as error:
            handshake.failed("TLS failed", reason=(error.reason or "unknown").replace("_", " ").lower())
        except ConnectionAbortedError:
            handshake.failed("no TLS handshake in time")
        except OSError:
            accepted.close()
            handshake.failed("the client left")

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        self._handshakes.report.dropped("cannot accept", reason=error.strerror)
        self._loop.remove_reader(listening.fileno())
        self._loop.call_later(_PAUSE, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listening.fileno(), self._accept, listening)


def handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody has caught, as asyncio does; but not that a client left during its TLS handshake.

    aiofastnet says so there, and names the class instead of the exception, which asyncio cannot log.
    """
    if context.get("exception") is not ConnectionResetError:
        loop.default_exception_handler(context)


async def bind(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Return sockets bound to all addresses of `host`; port 0 takes a free one.

    Raises:
        OSError: an address cannot be listened on.
        UnicodeError: `host` cannot be a name at all.
    """
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    failure: OSError | None = None
    for family, kind, number, _, address in dict.fromkeys(infos):
        try:
            sockets.append(_bound(family, kind, number, address, reuse_port=reuse_port))
        except OSError as error:
            failure = error
            # A name often stands for an IPv6 address that this host does not have.
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                break
    else:
        if sockets:
            return sockets
    for each in sockets:
        each.close()
    raise failure or OSError(errno.EADDRNOTAVAIL, "no address")


def _bound(family: int, kind: int, number: int, address: tuple[Any, ...], *, reuse_port: bool) -> socket.socket:
    bound = socket.socket(family, kind, number)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Handed down to each connection.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        if reuse_port:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
