"""The operator's port, and clients that say nothing, little, or are too many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server import admin, gate
from server.admin import admin_server, bind
from server.gate import App, Gate, Receive, Scope, Send

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hello(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer after the body, and a little later than anybody is waited for."""
    await receive()
    await asyncio.sleep(0.6)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@contextlib.asynccontextmanager
async def serving(app: App) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    """A server, and how to connect to it."""
    listening = await bind("127.0.0.1", 0)
    server = admin_server(app, listening)
    task = asyncio.create_task(server.serve())
    writers: list[asyncio.StreamWriter] = []

    async def dial() -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        return reader, writer

    try:
        yield dial
    finally:
        for writer in writers:
            writer.close()
        server.stop()
        await task


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Wait for the end of a connection; return what came before."""
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 5)
    return b""


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "_HEAD_TIMEOUT", 0.3)
    monkeypatch.setattr(gate, "_BODY_TIMEOUT", 0.3)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_who_sends_no_request_does_not_stay(sent: bytes) -> None:
    """Each takes a descriptor, which charge points need."""

    async def main() -> bytes:
        async with serving(hello) as dial:
            reader, writer = await dial()
            writer.write(sent)
            return await ended(reader)

    assert asyncio.run(main()) == b""


def test_half_of_a_second_request_does_not_stay_either() -> None:
    """Its first one was answered; that buys no more than the first moments."""

    async def main() -> bytes:
        async with serving(hello) as dial:
            reader, writer = await dial()
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            said = await asyncio.wait_for(reader.readuntil(b"hello"), 5)
            writer.write(b"GET / HTTP/1.1\r\nHo")
            assert await ended(reader) == b""
            return said

    # Though it took longer than a request's head may take.
    assert asyncio.run(main()).startswith(b"HTTP/1.1 200 ")


def test_half_of_a_body_is_answered_408() -> None:
    """The head is whole, and then nothing comes for ever."""

    async def main() -> bytes:
        async with serving(Gate(hello, None)) as dial:
            reader, writer = await dial()
            writer.write(b"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
            return await ended(reader)

    said = asyncio.run(main())
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b'"TooSlow"' in said


def test_one_connection_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And who goes makes room."""
    monkeypatch.setattr(admin, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(admin, "_HEAD_TIMEOUT", 60.0)
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    async def main() -> list[bytes]:
        async with serving(hello) as dial:
            (first, goes), (second, stays) = await dial(), await dial()
            refused = await ended((await dial())[0])
            goes.write(request)
            served = await ended(first)
            again, writer = await dial()
            writer.write(request)
            stays.write(request)
            return [refused, served, await ended(again), await ended(second)]

    assert [said[9:12] for said in asyncio.run(main())] == [b"503", b"200", b"200", b"200"]
