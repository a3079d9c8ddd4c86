"""What repeats and what is odd, over real sockets and in both stores; and stores of an older version."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, select, text

from server.store import open_store
from server.tables import TRANSACTIONS
from tests.processes import ROOT, CentralSystem
from tests.server.station import Station
from tests.services import Postgres

TIME, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
START = {"connectorId": 1, "idTag": "ONLY", "meterStart": 1000, "timestamp": TIME}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/records.db"
    url: str = request.getfixturevalue("postgres").new_database()
    return url


def get(server: CentralSystem, path: str) -> Any:
    status, answer = server.request("GET", path)
    assert status == 200, answer
    return answer


def ledger(server: CentralSystem) -> dict[str, int]:
    """Return what the ledger counted, without what it did not."""
    return {name: count for name, count in get(server, "/api/v1/ledger").items() if count}


def kinds(server: CentralSystem) -> list[str]:
    return [each["kind"] for each in reversed(get(server, "/api/v1/ledger/anomalies")["anomalies"])]


def meter(transaction_id: int, **more: Any) -> dict[str, Any]:
    values = [{"timestamp": LATER, "sampledValue": [{"value": "1500"}]}]
    return {"connectorId": 1, "transactionId": transaction_id, "meterValue": values, **more}


def test_what_repeats_is_known_again_after_a_restart(tmp_path: Path, store: str) -> None:
    """Core 3.7.1: a charge point sends again what it had no answer to; it gets the same, and it is there once."""
    with CentralSystem(tmp_path / "log", "--store", store) as server:
        tag = {"status": "Accepted", "oneAtATime": True}
        assert server.request("PUT", "/api/v1/id-tags/only", tag)[0] == 200
        with Station(server, "A") as a, Station(server, "B") as b:
            first, second = a.call("StartTransaction", START), b.call("StartTransaction", START)
            values = meter(first["transactionId"])
            a.call("MeterValues", values)
        assert server.stop() == 0
        server.start()
        with Station(server, "A") as a, Station(server, "B") as b:
            assert b.call("StartTransaction", START) == second
            assert a.call("StartTransaction", START) == first
            a.call("MeterValues", values)
            stop = {"transactionId": first["transactionId"], "meterStop": 1600, "timestamp": LATER}
            a.call("StopTransaction", stop)
            assert a.call("StartTransaction", START) == first
            # One of them alone now, and told what it was told.
            assert b.call("StartTransaction", START) == second
        assert ledger(server) == {
            "started": 2,
            "open": 1,
            "concurrent_starts": 1,
            "repeated_starts": 4,
            "meter_values": 1,
            "repeated_meter_values": 1,
            "stopped": 1,
            "energy_wh": 600,
            "anomalies": 6,
        }
    assert (first["idTagInfo"]["status"], second["idTagInfo"]["status"]) == ("Accepted", "ConcurrentTx")


def test_what_is_odd_is_confirmed_and_noted(tmp_path: Path, store: str) -> None:
    """Core 4.7, 4.8, 4.10: nobody can prevent it; whoever looks at the ledger finds it, with its charge point."""
    with CentralSystem(tmp_path / "log", "--store", store) as server:
        with Station(server, "A") as station:
            odd = station.call("StartTransaction", {**START, "timestamp": "noon"})["transactionId"]
            station.call("StopTransaction", {"transactionId": odd, "meterStop": 2**40, "timestamp": TIME})
            even = station.call("StartTransaction", {**START, "timestamp": LATER, "connectorId": 2})["transactionId"]
            early = {"timestamp": TIME, "sampledValue": [{"value": "1000"}]}
            station.call("MeterValues", meter(even, meterValue=[early]))
            data = [{"timestamp": LATER, "sampledValue": [{"value": "3000"}]}, early]
            stop = {"transactionId": even, "meterStop": 2000, "timestamp": TIME, "transactionData": data}
            station.call("StopTransaction", stop)
        assert sorted(kinds(server)) == [
            "implausible energy",
            "meter runs backwards",
            "meter values before the start",
            "meter values before the start",
            "meter values of another connector",
            "stop before the start",
            "transaction data out of order",
            "unreadable timestamp",
        ]
        page = get(server, "/api/v1/ledger/anomalies?kind=implausible%20energy")["anomalies"]
        assert [(each["identity"], each["transaction_id"]) for each in page] == [("A", odd)]
        assert {
            "early_meter_values": 2,
            "meter_values_of_another_connector": 1,
            "transaction_data_out_of_order": 1,
            "early_stops": 1,
            "unreadable_timestamps": 1,
            "implausible_energy": 1,
            "backward_meters": 1,
        }.items() <= ledger(server).items()
        counted = server.summary()["transactions"]
    assert counted["implausible_energy"] == 1


# -- stores of an older version -----------------------------------------------------------------


OLD_ROWS = """
INSERT INTO sequences VALUES ('transaction', 100, 103);
INSERT INTO totals (node, started, stopped, energy_wh, repeated_starts) VALUES ('old', 3, 1, 500, 7);
INSERT INTO transactions VALUES (100, 'A', 1, 'ONLY', 1000, '2026-01-01T00:00:00Z', 'stopped',
    1500, '2026-01-01T00:01:00Z', 'Local', 2, 1.0, 1400, 1.0, 2.0);
INSERT INTO transactions VALUES (101, 'A', 2, 'ONLY', 1000, '2026-01-01T00:00:00Z', 'open',
    NULL, NULL, NULL, 0, NULL, NULL, 3.0, NULL);
INSERT INTO transactions VALUES (102, 'B', 1, 'ONLY', 1000, '2026-01-01T00:00:00Z', 'open',
    NULL, NULL, NULL, 1, 1.0, 1100, 3.0, NULL);
INSERT INTO anomalies (at, kind, identity, transaction_id, detail) VALUES (1.0, 'repeated stop', 'A', 100, '');
INSERT INTO settings VALUES ('unknown id tags', '"Invalid"')
"""


def make_first_tables(connection: Connection) -> None:
    """Make the tables as version 0001 had them, with some rows."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "server" / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    for statement in OLD_ROWS.split(";"):
        connection.execute(text(statement))


def read_first(connection: Connection) -> list[tuple[Any, ...]]:
    """Return what both versions have."""
    names = ("id", "identity", "connector_id", "id_tag", "state", "started_at", "meter_values", "meter_last")
    rows = connection.execute(select(*(TRANSACTIONS.c[name] for name in names)).order_by(TRANSACTIONS.c.id))
    return [tuple(row) for row in rows]


def test_a_store_of_the_first_version_comes_up_and_keeps_its_rows(tmp_path: Path, store: str) -> None:
    """An update must not cost anybody a ledger; and what was open goes on."""

    async def make() -> list[tuple[Any, ...]]:
        opened = open_store(store)
        await opened.write(make_first_tables)
        rows = await opened.read(read_first)
        await opened.close()
        return rows

    async def read() -> list[tuple[Any, ...]]:
        opened = open_store(store)
        await opened.open()
        rows = await opened.read(read_first)
        await opened.close()
        return rows

    before = asyncio.run(make())
    assert len(before) == 3
    # Replicas that start together: one of them does it, and the others wait.
    args = ("--store", store, "--processes", "2")
    with CentralSystem(tmp_path / "log", *args) as server:
        assert ledger(server) == {
            "started": 3,
            "stopped": 1,
            "open": 2,
            "energy_wh": 500,
            "repeated_starts": 7,
        }
        assert kinds(server) == ["repeated stop"]
        assert before == asyncio.run(read())
        with Station(server, "A") as a, Station(server, "B") as b:
            assert a.call("Authorize", {"idTag": "X"})["idTagInfo"]["status"] == "Invalid"
            # Also what was over before is known again.
            assert a.call("StartTransaction", START)["transactionId"] == 100
            b.call("MeterValues", meter(102))
            b.call("MeterValues", meter(102))
            assert b.call("StopTransaction", {"transactionId": 102, "meterStop": 1700, "timestamp": LATER}) == {}
            new = a.call("StartTransaction", {**START, "connectorId": 2, "timestamp": LATER})["transactionId"]
            assert new > 102
        assert ledger(server) == {
            "started": 4,
            "stopped": 2,
            "superseded": 1,
            "open": 1,
            "energy_wh": 1200,
            "repeated_starts": 8,
            "meter_values": 1,
            "repeated_meter_values": 1,
            "anomalies": 3,
        }


def test_processes_that_start_together_wait_for_the_one_that_updates(tmp_path: Path) -> None:
    """A large ledger takes longer than a writer usually waits for another one."""
    file = tmp_path / "x.db"

    async def make() -> None:
        opened = open_store(f"sqlite:///{file}")
        await opened.write(make_first_tables)
        await opened.close()

    async def open_while_locked() -> list[bool]:
        others = [open_store(f"sqlite:///{file}") for _ in range(2)]
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            opening = [asyncio.create_task(each.open()) for each in others]
            # Longer than the 4 s that others wait for a writer.
            done, _ = await asyncio.wait(opening, timeout=4.5)
            database.execute("ROLLBACK")
        await asyncio.gather(*opening)
        for each in others:
            await each.close()
        return [task in done for task in opening]

    asyncio.run(make())
    assert asyncio.run(open_while_locked()) == [False, False]
