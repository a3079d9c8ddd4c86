"""What was confirmed is kept, whatever happens to the process, the disk or the database."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fakes.durable_fleet import ChargePoint, Session
from tests.processes import TIMEOUT, CentralSystem, until
from tests.server.station import Station
from tests.services import Postgres

FLEET = 1000
KILLS = int(os.environ.get("DURABILITY_KILLS") or 4)
START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests that do not stop it."""
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def central_system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system on each of the stores that outlive it."""
    if request.param == "sqlite":
        store = f"sqlite:///{tmp_path}/records.db"
    else:
        store = request.getfixturevalue("postgres").new_database()
    with CentralSystem(tmp_path / "log", "--store", store, "--log-lifecycle", "false") as running:
        yield running


def ledger(server: CentralSystem) -> dict[str, int]:
    status, answer = server.request("GET", "/api/v1/ledger")
    assert status == 200, answer
    counted: dict[str, int] = answer
    return counted


def transactions(server: CentralSystem) -> dict[int, dict[str, Any]]:
    """Return all transactions, by id."""
    found: dict[int, dict[str, Any]] = {}
    before = ""
    while True:
        status, page = server.request("GET", f"/api/v1/transactions?limit=1000{before}")
        assert status == 200, page
        found |= {each["transaction_id"]: each for each in page["transactions"]}
        if page["next"] is None:
            return found
        before = f"&before={page['next']}"


Confirmed = list[tuple[str, Session, Session]]
"""For each transaction whose id is known: whose it is, what of it was confirmed at some moment, and the session."""


def confirmed_so_far(fleet: list[ChargePoint]) -> Confirmed:
    return [
        (each.identity, replace(session), session)
        for each in fleet
        for session in each.sessions
        if session.transaction_id is not None
    ]


def check(confirmed: Confirmed, kept: dict[int, dict[str, Any]]) -> None:
    """Hold a book to everything that was confirmed before it was read."""
    assert len({then.transaction_id for _, then, _ in confirmed}) == len(confirmed), "an id was given twice"
    for identity, then, now in confirmed:
        assert then.transaction_id is not None
        row = kept[then.transaction_id]
        assert (identity, then.meter_start) == (row["identity"], row["meter_start_wh"])
        assert then.confirmed_values <= row["meter_values"] <= now.sent_values
        if then.is_stop_confirmed:
            assert (row["state"], row["meter_stop_wh"]) == ("stopped", then.meter_stop)
        elif now.meter_stop is None:
            assert row["state"] == "open"


async def kill_again_and_again(server: CentralSystem, fleet: list[ChargePoint]) -> None:
    changed = asyncio.Condition()
    lives = [asyncio.create_task(each.live(server.url, changed)) for each in fleet]

    def confirmed() -> int:
        return sum(
            session.confirmed_values + (session.transaction_id is not None) + session.is_stop_confirmed
            for each in fleet
            for session in each.sessions
        )

    try:
        for number in range(KILLS):
            # Everybody is charging, and a different number of messages is under way each time.
            goal = confirmed() + FLEET + 97 * number
            async with asyncio.timeout(TIMEOUT), changed:
                await changed.wait_for(lambda goal=goal: confirmed() >= goal)  # type: ignore[misc]
            server.kill()
            so_far = confirmed_so_far(fleet)
            await asyncio.to_thread(server.start)
            check(so_far, await asyncio.to_thread(transactions, server))
        for each in fleet:
            each.is_finishing = True
        async with asyncio.timeout(TIMEOUT):
            await asyncio.gather(*lives)
    finally:
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)


def test_nothing_that_was_confirmed_is_lost_by_sigkill(central_system: CentralSystem) -> None:
    """Again and again in the middle of 1,000 running transactions; and what was sent again is there once."""
    fleet = [ChargePoint(f"CP{number:04}") for number in range(FLEET)]
    asyncio.run(kill_again_and_again(central_system, fleet))
    kept = transactions(central_system)
    check(confirmed_so_far(fleet), kept)
    sessions = sum(len(each.sessions) for each in fleet)
    counted = ledger(central_system)
    assert len(kept) == sessions
    assert {"started": sessions, "stopped": sessions, "open": 0, "superseded": 0, "unknown_stops": 0}.items() <= (
        counted.items()
    )
    assert counted["energy_wh"] == 500 * sessions
    assert sum(each.connections for each in fleet) >= FLEET * KILLS // 2


def ready(server: CentralSystem) -> int:
    return server.request("GET", "/readyz")[0]


def test_a_disk_that_is_full_refuses_and_recovers_by_itself(tmp_path: Path) -> None:
    """Core 3.7.1: InternalError is sent again by a charge point; Heartbeats go on; nothing of it needs a restart."""
    with CentralSystem(tmp_path / "log", "--store", f"sqlite:///{tmp_path}/records.db") as server:
        process = psutil.Process(server.pid)
        with Station(server, "A") as a, Station(server, "B") as b:
            first = a.call("StartTransaction", START)["transactionId"]
            size = max(each.stat().st_size for each in tmp_path.glob("records.db*"))
            # As a disk that has no room left: no file may grow beyond what the write-ahead log has now.
            process.rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            refused = b.ask("StartTransaction", START)
            while refused[0] == 3:
                refused = b.ask("StartTransaction", {**START, "meterStart": refused[2]["transactionId"]})
            assert refused[2:4] == ["InternalError", "it could not be kept: send it again later"]
            assert a.ask("Heartbeat", {})[0] == 3
            until(lambda: ready(server) == 503)
            assert server.request("GET", "/readyz")[1]["failing"].keys() == {"store"}
            process.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            # Nobody sends anything that has to be kept: it looks by itself.
            until(lambda: ready(server) == 200)
            a.call("StopTransaction", {"transactionId": first, "meterStop": 1, "timestamp": START["timestamp"]})
            b.call("StartTransaction", START)
        counted = ledger(server)
    assert (counted["stopped"], counted["open"]) == (1, 1)
    statuses = [line["status"] for line in server.lines("store")]
    assert statuses == ["fails", "well again"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_database_that_goes_away_refuses_and_recovers_by_itself(tmp_path: Path, how: signal.Signals) -> None:
    """Also one that only stops to answer: nobody waits for ever."""
    with (
        Postgres() as postgres,
        CentralSystem(tmp_path / "log", "--store", postgres.new_database()) as server,
        Station(server, "A") as station,
    ):
        first = station.call("StartTransaction", START)["transactionId"]
        if how is signal.SIGKILL:
            postgres.kill()
        else:
            postgres.stop_all()
        stop = {"transactionId": first, "meterStop": 1, "timestamp": START["timestamp"]}
        assert station.ask("StopTransaction", stop)[2] == "InternalError"
        assert station.ask("Heartbeat", {})[0] == 3
        assert ready(server) == 503
        if how is signal.SIGKILL:
            postgres.start()
        else:
            postgres.continue_all()
        until(lambda: ready(server) == 200)
        assert station.call("StopTransaction", stop) == {}
        counted = ledger(server)
        assert (counted["started"], counted["stopped"], counted["open"]) == (1, 1, 0)


def test_a_database_that_goes_away_is_noticed_without_any_traffic(tmp_path: Path) -> None:
    """A load balancer sends charge points elsewhere before the first of them is refused."""
    with Postgres() as postgres, CentralSystem(tmp_path / "log", "--store", postgres.new_database()) as server:
        assert ready(server) == 200
        postgres.kill()
        until(lambda: ready(server) == 503)
        # What is asked meanwhile is answered, and says why.
        status, answer = server.request("GET", "/api/v1/ledger")
        assert (status, answer["error"]["code"]) == (503, "StoreFailed")
        postgres.start()
        until(lambda: ready(server) == 200)
