"""What is asked of a store at one time, what it is told by its URL, and what many processes do with one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import Connection, text

from server import book, handshake, ledger
from server.bus import BadBus
from server.handshake import Entry, Handshakes
from server.metrics import RefusalReason
from server.records import Registered
from server.redis_bus import check_url as check_bus
from server.store import MAX_WAITING, BadStore, StoreFailed, open_store
from server.store import check_url as check_store
from server.transactions import Start
from tests.processes import ROOT, clean_environment
from tests.services import Postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with Postgres() as running:
        yield running


def sleep(connection: Connection) -> None:
    """Look something up that takes a while."""
    connection.execute(text("SELECT pg_sleep(0.2)"))


def test_many_look_ups_do_not_keep_writers_waiting(postgres: Postgres) -> None:
    """Else a thousand charge points that reconnect cost another one its StartTransaction."""

    async def main() -> float:
        opened = open_store(postgres.new_database())
        await opened.open()
        looking = [asyncio.create_task(opened.read(sleep)) for _ in range(60)]
        await asyncio.sleep(0)
        began = time.monotonic()
        await opened.write(book.probe)
        took = time.monotonic() - began
        assert not any(task.done() and task.exception() for task in looking)
        assert not looking[-1].done()
        await asyncio.gather(*looking)
        await opened.close()
        return took

    # Sixty of them take 4 s with three connections.
    assert asyncio.run(main()) < 1


def test_too_many_look_ups_are_refused_and_the_store_is_well(postgres: Postgres) -> None:
    """A healthy database must not seem to be down, and a client is to hear at once that it has to come back."""

    async def main() -> list[StoreFailed]:
        opened = open_store(postgres.new_database())
        await opened.open()
        looking = [asyncio.create_task(opened.read(sleep)) for _ in range(MAX_WAITING + 5)]
        done, waiting = await asyncio.wait(looking, return_when=asyncio.FIRST_COMPLETED)
        refused = [error for task in done if isinstance(error := task.exception(), StoreFailed)]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        # And who has left makes room.
        await opened.read(ledger.sums)
        await opened.close()
        return refused

    assert [each.is_down for each in asyncio.run(main())] == [False] * 5


class Heard:
    """What was refused."""

    def __init__(self) -> None:
        self.reasons: list[RefusalReason] = []

    def refused(self, status: int, why: str, reason: RefusalReason, **fields: object) -> None:
        del status, why, fields
        self.reasons.append(reason)

    def dropped(self, why: str, **fields: object) -> None:
        """Not looked at."""

    def disagreed(self, **fields: object) -> None:
        """Not looked at."""


def test_a_storm_of_handshakes_is_looked_up_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each that comes waits for all before it, and none is in within its own patience."""
    monkeypatch.setattr(handshake, "MAX_CHECKED", 2)
    heard = Heard()
    request = (
        b"GET /ocpp/A HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
    )

    async def main() -> bytes:
        answer = asyncio.Event()
        asked = asyncio.Semaphore(0)

        async def recall(_identity: str) -> Registered:
            asked.release()
            await answer.wait()
            return Registered.UNKNOWN

        def let_in(transport: asyncio.Transport, entry: Entry, *_: object) -> None:
            del entry
            transport.close()

        shared = Handshakes(report=heard, open_websocket=let_in, recall=recall)

        def new() -> asyncio.BaseProtocol:
            made = shared.new("127.0.0.1", is_secure=False)
            assert made is not None
            return made

        server = await asyncio.get_running_loop().create_server(new, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        streams = []
        for _ in range(2):
            streams.append(await asyncio.open_connection("127.0.0.1", port))
            streams[-1][1].write(request)
            await asked.acquire()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        said = await asyncio.wait_for(reader.read(), 10)
        answer.set()
        for each, each_writer in streams:
            assert await asyncio.wait_for(each.read(), 10) == b""
            each_writer.close()
        writer.close()
        server.close()
        return said

    said = asyncio.run(main())
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 5\r\n" in said
    assert heard.reasons == [RefusalReason.BUSY]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:hush@h/db?foo=hush",
        "postgresql+asyncpg://u:hush@h/db?plugin=hush",
        "postgresql+asyncpg://u:hush@h/db?password=hush",
        "postgresql+asyncpg://u:hush@h:70000/db",
    ],
)
def test_a_store_with_an_option_that_is_none_is_refused_in_one_line(url: str) -> None:
    """Else the process ends with a traceback, which a person has to read and which may show a password."""
    with pytest.raises(BadStore) as bad:
        check_store(url)
    assert "hush" not in str(bad.value)
    assert "\n" not in str(bad.value)


def test_an_option_of_the_store_with_a_wrong_value_is_refused(postgres: Postgres) -> None:
    """The driver looks at these only when it is made or connects; that is no reason for a traceback."""

    async def main() -> None:
        await open_store(f"{postgres.new_database()}?prepared_statement_cache_size=many").open()

    with pytest.raises(BadStore):
        asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hush@h:1?foo=hush",
        "redis://:hush@h:1?socket_timeout=hush",
        "redis://:hush@h:1?ssl_cert_reqs=none",
        "rediss://:hush@h:1?ssl_cert_reqs=hush",
        "redis://:hush@h:1/hush",
        "redis://:hush@h:70000",
    ],
)
def test_a_bus_with_an_option_that_is_none_is_refused_in_one_line(url: str) -> None:
    """Else the process ends with a traceback, which a person has to read and which may show a password."""
    with pytest.raises(BadBus) as bad:
        check_bus(url)
    assert "hush" not in str(bad.value)
    assert "\n" not in str(bad.value)


@pytest.mark.parametrize("url", ["redis://h", "redis://u:p@h:1/3", "rediss://h?ssl_cert_reqs=none", "redis://h/?db=2"])
def test_a_good_bus_is_taken(url: str) -> None:
    """What redis knows behind the ? is taken."""
    check_bus(url)


@pytest.mark.parametrize("args", [("--bus", "redis://h:1?foo=1"), ("--store", "postgresql+asyncpg://h/db?foo=1")])
def test_a_misused_url_ends_the_process_with_status_2(args: tuple[str, str]) -> None:
    """Scripts tell by the status that it is no use to start it again."""
    ended = subprocess.run(
        [sys.executable, "-m", "server", *args],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert args[0] in ended.stderr.splitlines()[-1]


# -- the book of transactions, shared -------------------------------------------------------------

TIME = "2026-01-01T00:00:00Z"


def test_an_id_tag_for_one_at_a_time_starts_once_over_replicas(postgres: Postgres) -> None:
    """Else a card that was copied charges two cars, as long as they start at the same time."""

    async def main() -> list[int]:
        url = postgres.new_database()
        one, other = open_store(url), open_store(url)
        await one.open()
        await other.open()
        ids = await one.write(lambda connection: book.lease_ids(connection, 40))
        concurrent = []
        for number in range(20):
            id_tag = f"tag {number}"

            def record(connection: Connection, identity: str, number: int = number, id_tag: str = id_tag) -> bool:
                request = {"connectorId": 1, "idTag": id_tag, "meterStart": number, "timestamp": TIME}
                entry = Start(identity, request, 1.0)
                turn = 2 * number + (identity == "B")
                kept = book.record(connection, identity, [entry], ids[turn : turn + 1], lambda _: True)
                # Both are in the middle of it.
                connection.execute(text("SELECT pg_sleep(0.02)"))
                return kept[0].is_concurrent

            both = (one.write(partial(record, identity="A")), other.write(partial(record, identity="B")))
            concurrent.append(sum(await asyncio.gather(*both)))
        await one.close()
        await other.close()
        return concurrent

    assert asyncio.run(main()) == [1] * 20


def test_what_is_locked_for_id_tags_is_free_of_rings(postgres: Postgres) -> None:
    """Two replicas that get the same id tags in another order must not wait for each other."""

    async def main() -> None:
        url = postgres.new_database()
        stores = [open_store(url) for _ in range(2)]
        for each in stores:
            await each.open()
        ids = await stores[0].write(lambda connection: book.lease_ids(connection, 1000))
        tags = [f"tag {number}" for number in range(10)]

        def record(connection: Connection, identity: str, tags: list[str], ids: range) -> None:
            entries = [
                Start(identity, {"connectorId": number, "idTag": tag, "meterStart": 0, "timestamp": TIME}, 1.0)
                for number, tag in enumerate(tags)
            ]
            book.record(connection, identity, entries, ids, lambda _: True)

        for turn in range(20):
            left = partial(record, identity=f"A{turn}", tags=tags, ids=ids[turn * 20 : turn * 20 + 10])
            right = partial(record, identity=f"B{turn}", tags=tags[::-1], ids=ids[turn * 20 + 10 : turn * 20 + 20])
            await asyncio.gather(stores[0].write(left), stores[1].write(right))
        for each in stores:
            await each.close()

    asyncio.run(main())
