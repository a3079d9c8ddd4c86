"""The store as it is named, opened and shared; and that its tables are what the migrations make."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from server.store import open_store
from server.tables import METADATA
from tests.processes import ROOT, TIMEOUT, CentralSystem, clean_environment, until
from tests.server.station import Station
from tests.services import Postgres

SECRET = "s3cr3t"
START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests."""
    with Postgres() as running:
        yield running


def refuses_to_start(store: str) -> str:
    """Return the line with which it refuses."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", "0"],
        cwd=ROOT,
        env=clean_environment({"STORE": store}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    return line


# -- tables ---------------------------------------------------------------------------------------


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    found: list[Any] = compare_metadata(context, METADATA)
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_migrations_make_the_tables_that_the_program_works_with(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Else a store in a file would lack what one in memory has: a column, or the index that makes it fast."""
    url = f"sqlite:///{tmp_path}/x.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").new_database()

    async def compare() -> list[Any]:
        store = open_store(url)
        await store.open()
        try:
            return await store.read(_differences)
        finally:
            await store.close()

    assert asyncio.run(compare()) == []


# -- what is named wrongly ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("nothing", "it is none of: memory, sqlite:///FILE or postgresql+asyncpg://"),
        ("Memory", "it is none of: memory, "),
        ("sqlite://", "it names no file"),
        ("sqlite:///", "it names no file"),
        ("sqlite:///:memory:", "a SQLite store is sqlite:///FILE, and no more"),
        ("sqlite:///file:x?mode=ro", "a SQLite store is sqlite:///FILE, and no more"),
        (f"sqlite://u:{SECRET}@host/x.db", "a SQLite store is sqlite:///FILE, and no more"),
        ("sqlite:///x.db?mode=ro", "a SQLite store is sqlite:///FILE, and no more"),
        (f"mysql://u:{SECRET}@host/db", "'mysql' is none of: memory, "),
        (f"postgresql://u:{SECRET}@host/db", "'postgresql' is none of: memory, "),
        (f"postgresql+psycopg://u:{SECRET}@host/db", "'postgresql+psycopg' is none of: memory, "),
        (f"postgresql+asyncpg://u:{SECRET}@host", "it names no database"),
        (f"postgresql+asyncpg://u:{SECRET}@host:port/db", "it is none of: memory, "),
        ("sqlite:////no/such/folder/x.db", "/no/such/folder is not a folder"),
        ("sqlite:////sys/x.db", "sqlite:////sys/x.db: unable to open database file"),
        ("sqlite:////tmp", "sqlite:////tmp: unable to open database file"),
    ],
)
def test_a_store_that_is_none_is_one_line_and_status_2(store: str, said: str) -> None:
    """It says where it was named and what is wrong, and shows no password."""
    line = refuses_to_start(store)
    assert "--store or STORE: " in line
    assert said in line
    assert SECRET not in line


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    """It may be somebody's."""
    file = tmp_path / "notes.txt"
    file.write_text("something else, and long enough to be looked at by a database\n" * 100)
    before = file.read_bytes()
    assert f"sqlite:///{file}: file is not a database" in refuses_to_start(f"sqlite:///{file}")
    assert before == file.read_bytes()


def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """It may have what this version would break."""
    file = tmp_path / "x.db"
    with CentralSystem(tmp_path / "log", "--store", f"sqlite:///{file}") as server:
        assert server.stop() == 0
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    line = refuses_to_start(f"sqlite:///{file}")
    assert "its tables are not of a version that is known here" in line
    assert "9999" in line


def test_a_database_that_may_only_be_read_is_refused(tmp_path: Path) -> None:
    """Nothing could be kept."""
    file = tmp_path / "x.db"
    with CentralSystem(tmp_path / "log", "--store", f"sqlite:///{file}") as server:
        assert server.stop() == 0
    with closing(sqlite3.connect(file)) as database, database:
        # What SQLite itself takes for a file that may only be read, whoever asks: a format that it cannot write.
        database.execute("PRAGMA journal_mode=DELETE")
    content = bytearray(file.read_bytes())
    content[18] = 9
    file.write_bytes(content)
    assert f"sqlite:///{file}: attempt to write a readonly database" in refuses_to_start(f"sqlite:///{file}")


# -- PostgreSQL -----------------------------------------------------------------------------------


def test_a_wrong_password_is_one_line_without_it(postgres: Postgres) -> None:
    """And is not tried for long: waiting does not make it right."""
    postgres.add_user("guarded", "right")
    url = f"postgresql+asyncpg://guarded:{SECRET}@127.0.0.1:{postgres.port}/postgres"
    line = refuses_to_start(url)
    assert 'password authentication failed for user "guarded"' in line
    assert SECRET not in line


def test_an_unknown_database_is_one_line(postgres: Postgres) -> None:
    """With its name."""
    line = refuses_to_start(f"postgresql+asyncpg://ampswarm@127.0.0.1:{postgres.port}/nowhere")
    assert 'database "nowhere" does not exist' in line


def test_a_postgresql_that_starts_later_is_waited_for(tmp_path: Path) -> None:
    """Both may be started by the same hand; and it says what it waits for."""
    with ExitStack() as opened:
        postgres = Postgres()
        opened.callback(postgres.close)
        url = f"postgresql+asyncpg://ampswarm:{SECRET}@127.0.0.1:{postgres.port}/postgres"
        server = CentralSystem(tmp_path / "log", "--store", url)
        with ThreadPoolExecutor(1) as thread:
            starting = thread.submit(opened.enter_context, server)
            until(lambda: bool(server.lines("waiting")))
            postgres.start()
            starting.result()
        with Station(server, "A") as station:
            assert station.call("StartTransaction", START)["transactionId"] > 0
        assert len(server.lines("waiting")) == 1
        assert server.summary()["transactions"]["started"] == 1
    assert SECRET not in (tmp_path / "log").read_text()


# -- several processes ----------------------------------------------------------------------------


def test_processes_share_a_file(tmp_path: Path) -> None:
    """Each writes in its turn, and what all have written is one ledger."""
    file = tmp_path / "x.db"
    with CentralSystem(tmp_path / "log", "--processes", "2", "--store", f"sqlite:///{file}") as server:

        def charge(number: int) -> None:
            with Station(server, f"CP{number}") as station:
                for turn in range(10):
                    started = station.call("StartTransaction", {**START, "meterStart": 100 * turn})
                    stop = {"transactionId": started["transactionId"], "meterStop": 100 * turn + 7}
                    assert station.call("StopTransaction", {**stop, "timestamp": START["timestamp"]}) == {}

        with ThreadPoolExecutor(20) as threads:
            list(threads.map(charge, range(40)))
        status, ledger = server.request("GET", "/api/v1/ledger")
        assert status == 200
    assert {name: count for name, count in ledger.items() if count} == {
        "started": 400,
        "stopped": 400,
        "energy_wh": 2800,
    }
    with closing(sqlite3.connect(file)) as database:
        totals = database.execute("SELECT started FROM totals").fetchall()
    # The kernel spreads connections: both have had some.
    assert (len(totals), sum(count for (count,) in totals)) == (2, 400)
