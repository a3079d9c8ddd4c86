"""A bus for the processes of one host, over a Unix socket that their parent listens on.

A frame is the length of what follows in four bytes, the receiver's name in a line (empty: all), and the message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from server.bus import MAX_MESSAGE, Bus, BusFailed, Receive

_HEADER: Final = 4
_MEMBERS: Final = b"members "
_MAX_UNREAD: Final = 256 * 1024 * 1024
"""Bytes that may wait for one process; who does not read for so long is cut off."""


def _frame(to: str, message: bytes) -> bytes:
    body = to.encode() + b"\n" + message
    return len(body).to_bytes(_HEADER) + body


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            length = int.from_bytes(await reader.readexactly(_HEADER))
            if length > MAX_MESSAGE:
                return
            to, _, message = (await reader.readexactly(length)).partition(b"\n")
            yield to.decode(), message


class Hub:
    """The parent's side: hands each message on, and tells all who is there.

    Args:
        path: of the Unix socket.
        receive: called with each message to the hub itself, whose name is `hub`.
    """

    NAME: Final = "hub"

    def __init__(self, path: Path, receive: Receive) -> None:
        self._path = path
        self._receive = receive
        self._members: dict[str, asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Cut all connections."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._members.values()):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        node = ""
        try:
            async for to, message in _frames(reader):
                if not node:
                    node = to
                    self._members[node] = writer
                    self._tell()
                elif not to:
                    for member in list(self._members.values()):
                        self._write(member, message)
                elif to == self.NAME:
                    self._receive(message)
                elif to in self._members:
                    self._write(self._members[to], message)
        finally:
            if self._members.get(node) is writer:
                del self._members[node]
                self._tell()
            writer.close()

    def _tell(self) -> None:
        message = _MEMBERS + " ".join(sorted(self._members)).encode()
        for member in list(self._members.values()):
            self._write(member, message, to=self.NAME)

    def _write(self, writer: asyncio.StreamWriter, message: bytes, to: str = "") -> None:
        if writer.transport.get_write_buffer_size() > _MAX_UNREAD:
            writer.transport.abort()
        elif not writer.is_closing():
            writer.write(_frame(to, message))


class HubBus(Bus):
    """A process's side.

    Args:
        node: this process.
        path: of the Unix socket.
        orphaned: called when the parent has gone.
    """

    def __init__(self, node: str, path: Path, orphaned: Callable[[], None]) -> None:
        super().__init__(node)
        self._path = path
        self._orphaned = orphaned
        self._members = frozenset({node})
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    @property
    def members(self) -> frozenset[str]:
        """Return who is there now."""
        return self._members

    async def open(self) -> None:
        """Join."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(self._path)
        except OSError as error:
            raise BusFailed(error.strerror or "no answer") from None
        self._writer.write(_frame(self.node, b""))
        joined = asyncio.Event()
        self._reading = asyncio.create_task(self._read(reader, joined))
        await joined.wait()

    def publish(self, message: bytes) -> None:
        """Send a message to all."""
        self._write("", message)

    def send(self, node: str, message: bytes) -> None:
        """Send a message to one process."""
        self._write(node, message)

    async def close(self) -> None:
        """Leave."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            with contextlib.suppress(ConnectionError):
                await self._writer.drain()
            self._writer.close()

    def _write(self, to: str, message: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(_frame(to, message))

    async def _read(self, reader: asyncio.StreamReader, joined: asyncio.Event) -> None:
        try:
            async for sender, message in _frames(reader):
                if sender == Hub.NAME:
                    self._members = frozenset(message.removeprefix(_MEMBERS).decode().split())
                    joined.set()
                    self.members_changed()
                else:
                    self.receive(message)
        except Exception as fault:
            # Deaf, it is no use to the others: it ends as without a parent, which starts another one.
            self.changed(repr(fault))
            raise
        finally:
            joined.set()
            self._orphaned()
