"""Processes that are one central system: replicas behind HAProxy with Redis and PostgreSQL, and `--processes`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis as RedisClient

from server.redis_bus import RedisBus
from server.settings import system_id
from server.store import open_store
from tests.fakes.durable_fleet import ChargePoint
from tests.processes import TIMEOUT, CentralSystem, until
from tests.server.station import Station
from tests.services import HaProxy, Postgres, Redis

TIME = "2026-01-01T00:00:00Z"
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": TIME}
PASSWORD = "bus-password"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with Postgres() as running:
        yield running


@pytest.fixture
def redis() -> Iterator[Redis]:
    """A Redis server of a test's own."""
    with Redis(PASSWORD) as running:
        yield running


@contextmanager
def start_replicas(
    folder: Path, postgres: Postgres, redis: Redis, count: int, *args: str
) -> Iterator[list[CentralSystem]]:
    """Start central systems that share a store and a bus, and wait until they know each other."""
    env = {"STORE": postgres.new_database(), "BUS": redis.url}
    with ExitStack() as opened:
        replicas = [
            opened.enter_context(CentralSystem(folder / f"cs{number}.log", *args, env=env)) for number in range(count)
        ]
        until(lambda: all(len(nodes(each)) == count for each in replicas))
        yield replicas


def get(server: CentralSystem, path: str) -> Any:
    status, answer = server.request("GET", path)
    assert status == 200, answer
    return answer


def nodes(server: CentralSystem) -> dict[str, int]:
    """Return how many charge points are connected to each process, as one of them says."""
    counted: dict[str, int] = get(server, "/api/v1/fleet")["nodes"]
    return counted


def ledger(server: CentralSystem) -> dict[str, int]:
    return {name: count for name, count in get(server, "/api/v1/ledger").items() if count}


def stop(transaction_id: int) -> dict[str, Any]:
    return {"transactionId": transaction_id, "meterStop": 100, "timestamp": TIME}


def test_a_command_to_any_replica_reaches_the_charge_point_wherever_it_is(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    """Whoever operates the fleet need not know who is connected where; neither for one nor for all."""
    with (
        start_replicas(tmp_path, postgres, redis, 2) as replicas,
        HaProxy([(each.port, each.admin_port) for each in replicas]) as proxy,
        ExitStack() as opened,
    ):
        stations = {f"CP{number}": opened.enter_context(Station(proxy, f"CP{number}")) for number in range(10)}
        for station in stations.values():
            station.call("BootNotification", BOOT)
        assert sorted(nodes(replicas[0]).values()) == [5, 5]
        for replica in replicas:
            for identity in stations:
                assert replica.call(identity, "ClearCache") == {"status": "Accepted"}
            answers = replica.call_all("TriggerMessage", {"requestedMessage": "Heartbeat"})
            assert sorted(each["identity"] for each in answers) == sorted(stations)
            path = "/api/v1/charge-points/nobody/calls/ClearCache"
            assert replica.request("POST", path)[0] == 404
            # A CallError, and a payload that breaks the schema, are the same from afar.
            assert replica.request("POST", "/api/v1/charge-points/CP0/calls/Reset", {"type": "Odd"})[0] == 422
        assert {len(station.commands) for station in stations.values()} == {4}
        # A Heartbeat is nothing for the store: both still say the same of everybody.
        for station in stations.values():
            station.call("Heartbeat", {})
        first, second = (get(each, "/api/v1/charge-points?connected=true")["charge_points"] for each in replicas)
        assert first == second
        assert sorted(stations) == [each["identity"] for each in first]
        assert PASSWORD not in "".join(path.read_text() for path in tmp_path.glob("*.log"))


def test_a_charge_point_that_reconnects_elsewhere_is_one(tmp_path: Path, postgres: Postgres, redis: Redis) -> None:
    """Its old connection is closed where it was, and Calls go to the new one; its transaction goes on."""
    with start_replicas(tmp_path, postgres, redis, 2) as (one, other):
        first = Station(one, "CP1")
        transaction_id = first.call("StartTransaction", START)["transactionId"]
        with Station(other, "CP1") as second:
            assert first.wait_until_closed() == (1008, "replaced by a newer connection")
            until(lambda: sorted(nodes(one).values()) == [0, 1])
            for replica in (one, other):
                assert replica.call("CP1", "ClearCache") == {"status": "Accepted"}
                (known,) = get(replica, "/api/v1/charge-points")["charge_points"]
                assert known["connected"]
            assert len(second.commands) == 2
            assert first.commands == []
            assert second.call("StartTransaction", START)["transactionId"] == transaction_id
            second.call("StopTransaction", stop(transaction_id))
            # And back, faster than anything is written behind.
            with Station(one, "CP1") as third:
                assert second.wait_until_closed()[0] == 1008
                other.call("CP1", "ClearCache")
                assert len(third.commands) == 1
        expected = {"started": 1, "repeated_starts": 1, "stopped": 1, "energy_wh": 100, "anomalies": 1}
        assert expected == ledger(one) == ledger(other)
        until(lambda: not get(one, "/api/v1/charge-points?connected=true")["charge_points"])


def test_transaction_ids_never_clash(tmp_path: Path, postgres: Postgres, redis: Redis) -> None:
    """Whichever replica gives them out."""
    with start_replicas(tmp_path, postgres, redis, 3) as replicas, ExitStack() as opened:
        ids = []
        for number, replica in enumerate(replicas * 3):
            station = opened.enter_context(Station(replica, f"CP{number}"))
            ids += [
                station.call("StartTransaction", {**START, "connectorId": each})["transactionId"] for each in (1, 2)
            ]
        assert len(set(ids)) == len(ids) == 18
        assert ledger(replicas[0]) == {"started": 18, "open": 18}


def test_what_is_set_at_one_replica_holds_at_all(tmp_path: Path, postgres: Postgres, redis: Redis) -> None:
    """Id tags and the boot policy; also for a replica that comes later."""
    with start_replicas(tmp_path, postgres, redis, 2) as (one, other), Station(other, "A") as station:
        assert one.request("PUT", "/api/v1/id-tags/card", {"status": "Blocked"})[0] == 200
        assert one.request("PUT", "/api/v1/boot-policy", {"status": "Pending", "interval": 9})[0] == 200
        until(lambda: station.call("BootNotification", BOOT)["status"] == "Pending")
        until(lambda: station.call("Authorize", {"idTag": "card"})["idTagInfo"]["status"] == "Blocked")
        one.stop()
        one.start()
        with Station(one, "B") as late:
            assert late.call("Authorize", {"idTag": "card"})["idTagInfo"]["status"] == "Blocked"


def test_chaos_holds_for_all_replicas_also_for_those_that_come_later(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    """A storm would look different depending on where a charge point comes back to."""
    with start_replicas(tmp_path, postgres, redis, 2) as (one, other), Station(other, "A") as station:
        refusing = {"call_errors": [{"code": "GenericError", "actions": ["Heartbeat"]}]}
        assert one.request("PUT", "/api/v1/chaos", refusing)[0] == 200
        until(lambda: station.ask("Heartbeat", {})[2] == "GenericError")
        one.stop()
        one.start()
        with Station(one, "B") as late:
            assert late.ask("Heartbeat", {})[2] == "GenericError"
        assert one.request("DELETE", "/api/v1/chaos")[0] == 204
        until(lambda: station.ask("Heartbeat", {})[0] == 3)


def test_when_a_replica_is_killed_the_other_carries_on(tmp_path: Path, postgres: Postgres, redis: Redis) -> None:
    """Its charge points come to the other, with their transactions; nothing that it confirmed is lost."""
    with (
        start_replicas(tmp_path, postgres, redis, 2) as (one, other),
        HaProxy([(each.port, each.admin_port) for each in (one, other)]) as proxy,
    ):
        fleet = [ChargePoint(f"CP{number:03}") for number in range(100)]
        asyncio.run(_kill_in_the_middle(one, proxy, fleet))
        sessions = sum(len(each.sessions) for each in fleet)
        assert {"started": sessions, "stopped": sessions, "energy_wh": 500 * sessions}.items() <= ledger(other).items()
        assert "open" not in ledger(other)
        assert len(nodes(other)) == 1
        assert {each.refused for each in fleet} == {0}


async def _kill_in_the_middle(one: CentralSystem, proxy: HaProxy, fleet: Sequence[ChargePoint]) -> None:
    changed = asyncio.Condition()
    lives = [asyncio.create_task(each.live(proxy.url, changed)) for each in fleet]

    async def until_sessions(count: int) -> None:
        async with asyncio.timeout(TIMEOUT), changed:
            await changed.wait_for(lambda: all(len(each.sessions) >= count for each in fleet))

    try:
        await until_sessions(3)
        one.kill()
        await until_sessions(max(len(each.sessions) for each in fleet) + 2)
        for each in fleet:
            each.is_finishing = True
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*lives)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


def test_without_the_bus_each_replica_serves_its_own_and_says_so(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    """And when it is back, a charge point that moved meanwhile is one again."""
    with start_replicas(tmp_path, postgres, redis, 2) as (one, other):
        first = Station(one, "CP1")
        redis.kill()
        until(lambda: {each.request("GET", "/readyz")[0] for each in (one, other)} == {503})
        assert one.request("GET", "/readyz")[1]["failing"].keys() == {"bus"}
        assert one.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert [each["identity"] for each in one.call_all("ClearCache", {})] == ["CP1"]
        assert other.request("POST", "/api/v1/charge-points/CP1/calls/ClearCache")[0] == 503
        with Station(other, "CP1"):
            redis.start()
            assert first.wait_until_closed()[0] == 1008
            until(lambda: {each.request("GET", "/readyz")[0] for each in (one, other)} == {200})
            until(lambda: len(nodes(one)) == 2)
            assert one.call("CP1", "ClearCache") == {"status": "Accepted"}


def test_settings_that_changed_without_the_bus_reach_all_when_it_is_back(
    tmp_path: Path, postgres: Postgres, redis: Redis
) -> None:
    """A tag that was blocked would go on charging at the other replica, until that is restarted."""
    with start_replicas(tmp_path, postgres, redis, 2) as (one, other), Station(other, "CP1") as station:
        redis.kill()
        until(lambda: {each.request("GET", "/readyz")[0] for each in (one, other)} == {503})
        assert one.request("PUT", "/api/v1/id-tags/T", {"status": "Blocked"})[0] == 200
        policy = {"status": "Pending", "interval": 77}
        assert one.request("PUT", "/api/v1/boot-policy", policy)[0] == 200
        assert station.call("Authorize", {"idTag": "T"}) == {"idTagInfo": {"status": "Accepted"}}
        redis.start()
        until(lambda: station.call("Authorize", {"idTag": "T"}) == {"idTagInfo": {"status": "Blocked"}})
        assert get(other, "/api/v1/boot-policy") == policy


def test_nonsense_on_the_bus_makes_nobody_deaf(tmp_path: Path, postgres: Postgres, redis: Redis) -> None:
    """All would be ready, and charge points connected twice, and Calls to them lost."""
    with start_replicas(tmp_path, postgres, redis, 2) as (one, other), RedisClient.from_url(redis.url) as client:
        for channel in client.pubsub_channels("ampswarm:*"):
            for nonsense in ("garbage", "[]", '{"kind":"odd","from":"z"}', '{"kind":"connected","from":"z"}'):
                client.publish(channel, nonsense)
        with Station(one, "CP1"):
            assert other.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert {each.request("GET", "/readyz")[0] for each in (one, other)} == {200}
        assert 'central_system_events_total{event="messages of the bus not understood"} 8.0' in one.text("/metrics")


def test_a_fault_in_hearing_the_bus_is_trouble_and_ends(redis: Redis) -> None:
    """The process would be deaf from then on, and ready."""

    async def scene() -> None:
        bus = RedisBus("a", redis.url)
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        troubles: list[str | None] = []
        well = asyncio.Event()

        def receive(message: bytes) -> None:
            if message == b"bad":
                raise RuntimeError("a fault")
            heard.put_nowait(message)

        def changed(trouble: str | None) -> None:
            troubles.append(trouble)
            if trouble is None:
                well.set()

        bus.receive, bus.changed = receive, changed
        await bus.open()
        try:
            async with asyncio.timeout(TIMEOUT):
                bus.publish(b"bad")
                await well.wait()
                bus.publish(b"good")
                assert await heard.get() == b"good"
        finally:
            await bus.close()
        assert troubles == ["a fault", None]

    asyncio.run(scene())


@pytest.mark.parametrize("is_one_store", [True, False])
def test_systems_with_one_redis_do_not_meet(
    tmp_path: Path, postgres: Postgres, redis: Redis, *, is_one_store: bool
) -> None:
    """They would disconnect each other's charge points, also where each has a database of its own."""
    env = {"STORE": postgres.new_database()}
    more = env if is_one_store else {"STORE": postgres.new_database()}
    database = "/1" if is_one_store else ""
    with (
        CentralSystem(tmp_path / "one.log", env={**env, "BUS": redis.url}) as one,
        CentralSystem(tmp_path / "other.log", env={**more, "BUS": redis.url + database}) as other,
        Station(one, "CP1") as first,
        Station(other, "CP1") as second,
    ):
        time.sleep(1.5)  # longer than a process takes to see another one: that nothing happens is not told
        assert [len(nodes(each)) for each in (one, other)] == [1, 1]
        for station in (first, second):
            station.call("Heartbeat", {})


def test_replicas_that_start_together_are_one_system(postgres: Postgres) -> None:
    """Two that made an id each would never meet."""

    async def scene() -> None:
        url = postgres.new_database()
        stores = [open_store(url) for _ in range(5)]
        try:
            await asyncio.gather(*(store.open() for store in stores))
            names = await asyncio.gather(*(system_id(store) for store in stores))
            assert len(set(names)) == 1
            assert len(names[0]) == 16
        finally:
            for store in stores:
                await store.close()

    asyncio.run(scene())


def test_a_rolling_restart_drains_at_a_bounded_rate(tmp_path: Path, postgres: Postgres, redis: Redis) -> None:
    """/readyz first, then 1012 a few at a time; what waits for the store is answered before."""
    with start_replicas(tmp_path, postgres, redis, 1, "--drain-rate", "20", "--drain-delay", "1") as (one,):
        with ExitStack() as opened:
            stations = [opened.enter_context(Station(one, f"CP{number}")) for number in range(20)]
            began = time.monotonic()
            one.signal(signal.SIGTERM)
            until(lambda: one.request("GET", "/readyz")[0] == 503)
            assert one.request("GET", "/healthz")[0] == 200
            # Still served, while the load balancer takes notice.
            ids = [station.call("StartTransaction", START)["transactionId"] for station in stations]
            assert len(set(ids)) == 20
            codes = {station.wait_until_closed() for station in stations}
            assert codes == {(1012, "the central system restarts")}
            assert 1.8 < time.monotonic() - began < TIMEOUT
            assert one.stop() == 0
        assert one.lines("stopped")[-1]["transactions"]["open"] == 20


def test_a_second_signal_makes_it_hurry(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C twice does not want to wait for a load balancer."""
    with CentralSystem(tmp_path / "log", "--drain-delay", "300") as server, Station(server, "A") as station:
        server.signal(signal.SIGTERM)
        until(lambda: server.request("GET", "/readyz")[0] == 503)
        server.signal(signal.SIGTERM)
        assert station.wait_until_closed()[0] == 1012
        assert server.stop() == 0


# -- several processes on one host ----------------------------------------------------------------


def children(server: CentralSystem) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(server.pid).children()
    return found


def test_processes_share_the_port_and_are_one_central_system(tmp_path: Path) -> None:
    """Commands reach everybody by the one operator API; transactions are one book; the end counts all."""
    with CentralSystem(tmp_path / "log", "--processes", "3") as server:
        assert len(children(server)) == 3
        with ExitStack() as opened:
            stations = [opened.enter_context(Station(server, f"CP{number}")) for number in range(30)]
            ids = [station.call("StartTransaction", START)["transactionId"] for station in stations]
            assert len(set(ids)) == 30
            answers = server.call_all("ClearCache", {})
            assert sorted(each["identity"] for each in answers) == sorted(f"CP{number}" for number in range(30))
            counted = nodes(server)
            assert (len(counted), sum(counted.values())) == (3, 30)
            assert min(counted.values()) > 0, "the kernel spreads connections over all that listen"
            # And what they count is shown as if they were one, whoever answers.
            assert "ocpp_connections 30.0" in server.text("/metrics")
            # On whichever process it comes back, it is the same one.
            with Station(server, "CP0") as again:
                assert stations[0].wait_until_closed()[0] == 1008
                assert again.call("StartTransaction", START)["transactionId"] == ids[0]
                again.call("StopTransaction", stop(ids[0]))
        processes = children(server)
        summary = server.summary()
    assert summary["events"]["connections opened"] == 31
    assert summary["calls"]["StartTransaction"] == 31
    assert (summary["transactions"]["started"], summary["transactions"]["open"]) == (30, 29)
    assert not [each for each in processes if each.is_running()]


def test_a_charge_point_that_comes_back_at_once_keeps_its_connection(tmp_path: Path) -> None:
    """It boots, closes and connects again, as many do; news of its first connection come when the second is there."""
    with CentralSystem(tmp_path / "log", "--processes", "2") as server, ExitStack() as opened:
        stations = []
        for number in range(60):
            with Station(server, f"CP{number}") as first:
                first.call("BootNotification", BOOT)
            stations.append(opened.enter_context(Station(server, f"CP{number}")))
        time.sleep(0.1)  # longer than news are gathered: that nothing happens is not told
        for station in stations:
            station.call("Heartbeat", {})
        assert sum(nodes(server).values()) == 60
        answers = server.call_all("ClearCache", {})
        assert len(answers) == 60


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    """Also the one with the operator API; its charge points come back to whoever is there."""
    with CentralSystem(tmp_path / "log", "--processes", "2") as server:
        before = {each.pid for each in children(server)}
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len({each.pid for each in children(server)} - before) == 2)
        until(lambda: _is_ready(server))
        with Station(server, "CP1") as station:
            station.call("StartTransaction", START)
            assert server.call("CP1", "ClearCache") == {"status": "Accepted"}
        assert len(server.lines("process ended")) == 2
        assert server.stop() == 0


def _is_ready(server: CentralSystem) -> bool:
    try:
        return server.request("GET", "/readyz")[0] == 200 and len(nodes(server)) == 2
    except OSError:
        return False


def test_a_process_that_hangs_is_noticed_and_replaced(tmp_path: Path) -> None:
    """Whoever the kernel sends to it would never be answered, and its charge points be unknown."""
    with CentralSystem(tmp_path / "log", "--processes", "2") as server, ExitStack() as opened:
        stations = [opened.enter_context(Station(server, f"CP{number}")) for number in range(10)]
        until(lambda: len(nodes(server)) == 2)
        # The one with the operator API started first, and its place is number 0.
        (hanging,) = [each for each in children(server) if each.environ()["CENTRAL_SYSTEM_PROCESS"] != "0"]
        before = set(nodes(server))
        hanging.suspend()
        path = "/api/v1/charge-points/{}/calls/ClearCache"
        statuses = [server.request("POST", path.format(f"CP{number}"))[0] for number in (*range(10), "nobody")]
        assert set(statuses[:-1]) <= {200, 503}
        assert statuses[-1] == 503
        until(lambda: server.request("GET", "/readyz")[0] == 503)
        (silent,) = before - set(nodes(server))
        assert server.request("GET", "/readyz")[1]["failing"] == {"processes": f"no answer of {silent}"}
        until(lambda: bool(server.lines("process hangs")))
        until(lambda: _is_ready(server))
        assert server.request("POST", path.format("nobody"))[0] == 404
        assert server.lines("process hangs")[0]["number"] == 1
        assert server.lines("process ended")[0]["status"] == -signal.SIGKILL
        assert len(stations) == 10


def test_a_process_that_was_made_to_stall_is_not_replaced(tmp_path: Path) -> None:
    """Chaos would end in a restart, which is not what was asked for."""
    with CentralSystem(tmp_path / "log", "--processes", "2") as server:
        until(lambda: _is_ready(server))
        before = {each.pid for each in children(server)}
        assert server.request("POST", "/api/v1/chaos/stalls", {"seconds": 13})[0] < 300
        time.sleep(13)  # as long as they hang
        until(lambda: _is_ready(server))
        assert {each.pid for each in children(server)} == before
        assert server.lines("process hangs") == []


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    """Nobody is left who holds the port when the parent is killed."""
    with CentralSystem(tmp_path / "log", "--processes", "2") as server:
        processes = children(server)
        os.kill(server.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(processes, TIMEOUT)
        assert not alive
