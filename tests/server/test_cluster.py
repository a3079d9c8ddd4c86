"""Several processes over a bus whose order and delays the test has in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cluster import Cluster
from server.handlers import Handlers
from server.hub import Hub, HubBus
from server.id_tags import IdTagInfo, IdTags
from server.metrics import Metrics
from server.records import Records
from server.redis_bus import Difference
from server.settings import Settings
from server.store import MEMORY, Store, Work, open_store
from tests.fakes.slow_bus import Connections, Exchange, SlowBus

T = TypeVar("T")


class Node:
    """A process: its connections, its bus and what it says and hears by it."""

    def __init__(self, exchange: Exchange, name: str, skew: float = 0.0) -> None:
        self.bus: SlowBus = exchange.connect_bus(name)
        self.bus.ahead = -skew
        self.fleet = Connections(exchange, skew)
        self.faults: list[tuple[str, Exception]] = []
        self.cluster = Cluster(self.bus, self.fleet, lambda *fault: self.faults.append(fault), interval=0)

    async def connect(self, identity: str) -> None:
        """Take a connection, and say so; nobody has heard it yet."""
        self.fleet.connect(identity)
        self.cluster.connected(identity)
        await asyncio.sleep(0.001)


# -- who has whom ---------------------------------------------------------------------------------


def test_news_of_an_older_connection_do_not_close_a_newer_one() -> None:
    """A charge point that boots, closes and comes back at once elsewhere would lose its only connection."""

    async def scene() -> None:
        exchange = Exchange()
        old, new = Node(exchange, "b"), Node(exchange, "a")
        await old.connect("CP1")
        del old.fleet.since["CP1"]
        await new.connect("CP1")
        new.bus.let_out()
        new.bus.let_in()
        exchange.settle()
        assert list(new.fleet.since) == ["CP1"]
        assert new.fleet.closed == []

    asyncio.run(scene())


def test_a_connection_that_has_gone_again_is_no_news() -> None:
    """Others would close what the charge point has by then."""

    async def scene() -> None:
        exchange = Exchange()
        one, _ = Node(exchange, "a"), Node(exchange, "b")
        exchange.settle()
        one.fleet.connect("CP1")
        one.cluster.connected("CP1")
        del one.fleet.since["CP1"]
        await asyncio.sleep(0.001)
        assert list(one.bus.outbox) == []

    asyncio.run(scene())


@pytest.mark.parametrize("skew", [-3600.0, 0.01, 3600.0])
def test_clocks_of_hosts_that_differ_do_not_matter(skew: float) -> None:
    """A charge point would never get away from a host whose clock is ahead."""

    async def scene() -> None:
        exchange = Exchange()
        nodes = [Node(exchange, "a", skew), Node(exchange, "b")]
        for node, other in (nodes, nodes[::-1]):
            await node.connect("CP1")
            await other.connect("CP1")
            exchange.settle()
            assert list(other.fleet.since) == ["CP1"]
            assert list(node.fleet.since) == []
            other.fleet.since.clear()

    asyncio.run(scene())


_STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["connect", "gone", "out", "in"])), max_size=25)


@given(steps=_STEPS)
def test_the_last_connection_survives_and_no_other(steps: Sequence[tuple[str, str]]) -> None:
    """In whatever order connections come and go, and their news are told and heard."""

    async def scene() -> None:
        exchange = Exchange()
        nodes = {name: Node(exchange, name) for name in "abc"}
        last = None
        for name, step in steps:
            node = nodes[name]
            match step:
                case "connect":
                    node.fleet.connect("CP1")
                    node.cluster.connected("CP1")
                    last = name
                    await asyncio.sleep(0)
                case "gone" if name != last:
                    node.fleet.since.pop("CP1", None)
                case "out":
                    node.bus.let_out()
                case "in":
                    node.bus.let_in()
        await asyncio.sleep(0.001)
        exchange.settle()
        assert [name for name, node in nodes.items() if node.fleet.since] == ([] if last is None else [last])

    asyncio.run(scene())


def test_the_quickest_answer_tells_most_of_a_clock() -> None:
    """One that took long may be wrong by half of that, and times of connections with it."""
    difference = Difference()
    assert difference.ahead == 0
    difference.add(100.0, 107.9, 101.0)
    difference.add(200.0, 207.001, 200.002)
    difference.add(300.0, 309.0, 303.0)
    assert difference.ahead == pytest.approx(7.0)


# -- what nobody understands ----------------------------------------------------------------------

GARBAGE = [
    b'{"kind":"newer still","from":"z"}',
    b"",
    b"garbage",
    b"[]",
    b'{"from":"z"}',
    b'{"kind":"connected","from":"z"}',
    b'{"kind":"connected","from":"z","connections":[1]}',
    b'{"kind":"connected","from":7,"connections":[["CP1","yesterday"]]}',
    b'{"kind":["connected"],"from":"z"}',
    b'{"kind":"ask","from":"z","id":"1"}',
    b'{"kind":"part","from":"z","id":{}}',
    b'{"kind":"news","from":"z"}',
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_message_that_nobody_understands_is_one_message(garbage: bytes) -> None:
    """All replicas would be deaf for ever after it, and none would say so."""

    async def scene() -> None:
        exchange = Exchange()
        one, other = Node(exchange, "a"), Node(exchange, "b")
        exchange.settle()
        why: list[str] = []
        other.cluster.not_understood = why.append
        await other.connect("CP1")
        exchange.settle()
        other.bus.receive(garbage)
        assert len(why) == 1
        assert list(other.fleet.since) == ["CP1"]
        await one.connect("CP1")
        exchange.settle()
        assert other.fleet.closed == ["CP1"]

    asyncio.run(scene())


def test_who_cannot_hear_its_neighbours_any_more_ends(tmp_path: Path) -> None:
    """Its parent then starts another one; it would go on deaf, and nobody would notice."""

    async def scene() -> None:
        hub = Hub(tmp_path / "hub", lambda message: None)
        await hub.open()
        ended = asyncio.Event()
        why: list[str | None] = []
        bus = HubBus("a", tmp_path / "hub", ended.set)
        bus.receive = _fail
        bus.changed = why.append
        await bus.open()
        bus.publish(b"anything")
        async with asyncio.timeout(5):
            await ended.wait()
        assert why == ["RuntimeError('a fault')"]
        await bus.close()
        await hub.close()

    asyncio.run(scene())


def _fail(_message: bytes) -> None:
    raise RuntimeError("a fault")


# -- what one process has to tell another ---------------------------------------------------------


def test_news_are_told_also_when_nobody_else_seems_to_be_there() -> None:
    """A setting that changes while another process joins would never get there."""

    async def scene() -> None:
        exchange = Exchange()
        one = Node(exchange, "a")
        # Somebody who can hear already, of whom nobody has heard yet.
        exchange.buses["b"] = SlowBus("b", exchange)
        one.cluster.tell("settings", {})
        exchange.buses["a"].let_out()
        assert len(exchange.buses["b"].inbox) == 1

    asyncio.run(scene())


def test_news_may_have_been_missed_when_somebody_comes_and_when_the_bus_is_back() -> None:
    """Who does not read settings again then goes on with old ones; when somebody goes, there is nothing to read."""

    async def scene() -> None:
        exchange = Exchange()
        one = Node(exchange, "a")
        missed: list[str] = []
        one.cluster.missed = lambda: missed.append("")
        Node(exchange, "b")
        assert len(missed) == 1
        exchange.leave("b")
        assert len(missed) == 1
        one.cluster.bus_changed("it fails")
        assert len(missed) == 1
        one.cluster.bus_changed(None)
        assert len(missed) == 2

    asyncio.run(scene())


def test_settings_that_are_read_do_not_undo_what_is_set_meanwhile() -> None:
    """A tag that is blocked while settings are read again would be good again, here alone."""

    async def scene() -> None:
        store = _SlowStore()
        await store.open()
        id_tags = IdTags()
        records = Records(store, "a", lambda failed: None)
        handlers = Handlers(records, id_tags, Metrics(), boot_interval=300, require_boot=False)
        settings = Settings(store, handlers, id_tags, lambda changed: None)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(settings.load())
            await store.has_read.wait()
            await settings.put_id_tags({"T": IdTagInfo("Blocked")})
            store.may_tell.set()
        assert id_tags.get("T") == IdTagInfo("Blocked")
        await store.close()

    asyncio.run(scene())


class _SlowStore(Store):
    """A store that is slow to tell what it has read."""

    def __init__(self) -> None:
        self._store = open_store(MEMORY)
        self.name = MEMORY
        self.has_read = asyncio.Event()
        self.may_tell = asyncio.Event()

    async def open(self) -> None:
        await self._store.open()

    async def write(self, work: Work[T]) -> T:
        return await self._store.write(work)

    async def read(self, work: Work[T]) -> T:
        found = await self._store.read(work)
        self.has_read.set()
        await self.may_tell.wait()
        return found

    async def close(self) -> None:
        await self._store.close()


# -- who stays silent -----------------------------------------------------------------------------


def test_who_stays_silent_is_known_and_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Call to a charge point of a process that hangs would be answered "not connected", and each page take 5 s."""
    monkeypatch.setattr("server.cluster.PATIENCE", 0.2)

    async def scene() -> None:
        exchange = Exchange()
        one, other = Node(exchange, "a"), Node(exchange, "b")

        async def carry(*nodes: Node) -> None:
            while True:
                for node in nodes:
                    node.bus.let_out()
                    node.bus.let_in()
                await asyncio.sleep(0.001)

        without_other = asyncio.create_task(carry(one))
        assert await one.cluster.look() == {"b"}
        began = asyncio.get_running_loop().time()
        assert await one.cluster.look() == {"b"}
        assert asyncio.get_running_loop().time() - began < 0.1
        with_other = asyncio.create_task(carry(other))
        async with asyncio.timeout(5):
            while one.cluster.silent:  # noqa: ASYNC110  the fakes have no event for it
                await asyncio.sleep(0.001)
        assert await one.cluster.look() == frozenset()
        for task in (without_other, with_other):
            task.cancel()
        for node in (one, other):
            await node.cluster.close()

    asyncio.run(scene())
