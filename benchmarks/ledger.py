"""What the operator API takes on a store with a million records: `python -m benchmarks.ledger`.

A store is filled with ended transactions, some that are open or superseded, anomalies, and charge points with their
connectors; one of them has a tenth of all transactions. Then a central system is started on it, and asked, one request
at a time. The same is measured on the empty store before. What charge points notice is measured beside it: one that
sends Heartbeats, and one that starts and stops transactions, without requests and while they run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Table, insert, select, text
from sqlalchemy.util import await_only

from benchmarks import messages
from benchmarks.stations import Failure
from benchmarks.websocket_frames import TEXT, frames, masked
from server.anomalies import Anomaly
from server.store import BadStore, Store, StoreFailed, open_store
from server.tables import (
    ANOMALIES,
    CHARGE_POINTS,
    CONNECTORS,
    OPEN,
    SEQUENCES,
    STOPPED,
    SUPERSEDED,
    TOTALS,
    TRANSACTIONS,
)

ROOT: Final = Path(__file__).parent.parent
OPEN_COUNT: Final = 5000
SUPERSEDED_COUNT: Final = 3000
ANOMALY_COUNT: Final = 100_000
REQUESTS: Final = 300
"""Of each kind."""
_CHUNK: Final = 20_000
_TIME: Final = 1_780_000_000.0
_BUSY: Final = 10
"""One of so many transactions is the busiest charge point's."""
_STALE: Final = 20
"""One of so many charge points was connected to a process that was killed."""
_START_TIMEOUT: Final = 120.0
_UPGRADE: Final = (
    "GET /ocpp/{identity} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n"
)

Rows = Iterable[dict[str, Any]]


# -- the store ------------------------------------------------------------------------------------


def _identity(number: int) -> str:
    return f"CP{number:07}"


def _transactions(count: int) -> Rows:
    for number in range(1, count + 1):
        # Where whoever looks for them among the latest finds them last.
        state = OPEN if number > count - OPEN_COUNT else SUPERSEDED if number <= SUPERSEDED_COUNT else STOPPED
        of = 0 if state != OPEN and number % _BUSY == 0 else number
        is_stopped = state == STOPPED
        yield {
            "id": number,
            "identity": _identity(of % count),
            "connector_id": 1,
            "id_tag": f"TAG{number % 10_000:05}",
            "meter_start": 0,
            "started_at": "2026-06-01T12:00:00Z",
            "state": state,
            "meter_stop": 10_000 if is_stopped else None,
            "stopped_at": "2026-06-01T13:00:00Z" if is_stopped else None,
            "reason": "EVDisconnected" if is_stopped else None,
            "meter_values": 4,
            "sampled_at": _TIME,
            "meter_last": 10_000,
            "received_at": _TIME + number,
            "ended_at": None if state == OPEN else _TIME + number + 3600,
        }


def _anomalies(count: int) -> Rows:
    kinds = [each.value for each in Anomaly]
    for number in range(ANOMALY_COUNT):
        yield {
            "at": _TIME + number,
            # Most are of one kind, and some of one that is rare.
            "kind": kinds[-1] if number % 10 else kinds[number // 10 % (len(kinds) - 1)],
            "identity": _identity(number * 7 % count),
            "transaction_id": number + 1,
            "detail": "from 1000 to 900 Wh",
        }


def _charge_points(count: int) -> Rows:
    boot = json.dumps(messages.BOOT)
    registrations = {7: "pending", 13: "rejected", 21: "unknown"}
    for number in range(count):
        yield {
            "identity": _identity(number),
            "registration": registrations.get(number % 1000, "accepted"),
            "boot": boot,
            "booted_at": _TIME,
            "node": "deadbeef" if number % _STALE == 0 else "",
            "connected_at": _TIME,
            "last_seen": _TIME + number,
            "configuration": None,
        }


def _connectors(count: int) -> Rows:
    statuses = [(number, json.dumps(messages.status(number))) for number in range(2)]
    for number in range(count):
        for connector_id, status in statuses:
            yield {"identity": _identity(number), "connector_id": connector_id, "status": status}


def _totals(count: int) -> Rows:
    stopped = count - OPEN_COUNT - SUPERSEDED_COUNT
    yield {
        "node": "benchmark",
        "started": count,
        "stopped": stopped,
        "superseded": SUPERSEDED_COUNT,
        "energy_wh": 10_000 * stopped,
        "meter_values": 4 * count,
        "anomalies": ANOMALY_COUNT,
    }


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table), rows)
        return
    # A tenth of the time of INSERTs.
    driver: Any = connection.connection.driver_connection
    names = list(rows[0])
    records = [tuple(row.values()) for row in rows]
    await_only(driver.copy_records_to_table(table.name, records=records, columns=names))


def _analyze(connection: Connection) -> None:
    # PostgreSQL does so by itself, a minute after so many changes.
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))


async def _fill(store: Store, count: int) -> None:
    await store.open()
    try:
        if await store.read(lambda connection: connection.execute(select(TRANSACTIONS.c.id).limit(1)).first()):
            raise Failure("the store has transactions already: an empty one is wanted")
        sources: list[tuple[Table, Rows]] = [
            (TRANSACTIONS, _transactions(count)),
            (ANOMALIES, _anomalies(count)),
            (CHARGE_POINTS, _charge_points(count)),
            (CONNECTORS, _connectors(count)),
            (TOTALS, _totals(count)),
            (SEQUENCES, [{"name": "transaction", "first_value": 1, "next_value": count + 1}]),
        ]
        for table, rows in sources:
            turns, done = iter(rows), 0
            while chunk := list(islice(turns, _CHUNK)):
                await store.write(lambda connection, table=table, chunk=chunk: _insert(connection, table, chunk))  # type: ignore[misc]
                done += len(chunk)
                if sys.stderr.isatty():
                    print(f"\r{table.name}: {done:,}", end="", file=sys.stderr, flush=True)
            print(f"\r{table.name}: {done:,}", file=sys.stderr, flush=True)
        await store.write(_analyze)
    finally:
        await store.close()


# -- the central system ---------------------------------------------------------------------------


class _Running:
    """`python -m server` on the store."""

    def __init__(self, url: str) -> None:
        quiet = ["--host", "127.0.0.1", "--port", "0", "--admin-port", "0", "--log-lifecycle", "false"]
        quiet += ["--ping-interval-ms", "0"]
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server", *quiet],
            cwd=ROOT,
            env={**os.environ, "STORE": url},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        self.start_up = time.monotonic() - began
        """Seconds until it listened."""
        try:
            listening = json.loads(line)
            self.port: int = listening["port"]
            self.admin_port: int = listening["admin_port"]
        except (ValueError, KeyError):
            self.close()
            raise Failure(f"the central system does not listen: {line.decode(errors='replace').strip()}") from None
        # What else it says is not wanted, but must not fill the pipe.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Station:
    """One charge point, which waits for each answer."""

    def __init__(self, port: int, identity: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._rest = b""
        self._socket.sendall(_UPGRADE.format(identity=identity).encode())
        while b"\r\n\r\n" not in self._rest:
            self._rest += self._receive()
        self._rest = self._rest.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        """Go."""
        self._socket.close()

    def call(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call the central system; return the payload of the CallResult."""
        self._socket.sendall(masked(TEXT, messages.call("1", action, payload)))
        while True:
            for opcode, begin, end in frames(self._rest):
                payload_of_it, self._rest = self._rest[begin:end], self._rest[end:]
                if opcode == TEXT:
                    said = json.loads(payload_of_it)
                    if said[0] != 3:
                        raise Failure(f"{action} was answered {said}")
                    result: dict[str, Any] = said[2]
                    return result
                break
            else:
                self._rest += self._receive()

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise Failure("a connection was closed")
        return data


class _Load(threading.Thread):
    """Does something again and again, and remembers how long each time took."""

    def __init__(self, work: Callable[[], object], pause: float) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._pause = pause
        self._is_over = threading.Event()
        self._failure: Exception | None = None
        self.latencies: list[float] = []

    def run(self) -> None:
        """Do it until it is stopped."""
        try:
            while not self._is_over.wait(self._pause):
                began = time.perf_counter()
                self._work()
                self.latencies.append(time.perf_counter() - began)
        except Exception as failure:  # noqa: BLE001  raised where it is stopped
            self._failure = failure

    def stop(self) -> list[float]:
        """Stop it; return how long each time took, in seconds."""
        self._is_over.set()
        self.join()
        if self._failure is not None:
            raise self._failure
        return self.latencies


# -- what is measured -----------------------------------------------------------------------------


def _requests(count: int) -> dict[str, list[str]]:
    """Return the paths of each kind of request, which take turns."""
    numbers = [1 + 7919 * turn % max(1, count) for turn in range(REQUESTS)]
    api = "/api/v1"
    middle = _identity(count // 2)
    return {
        "ledger": [f"{api}/ledger"],
        "transactions": [f"{api}/transactions"],
        "transactions, a page in the middle": [f"{api}/transactions?before={number + 1}" for number in numbers],
        "transactions, open": [f"{api}/transactions?state=open"],
        "transactions, stopped": [f"{api}/transactions?state=stopped"],
        "transactions, superseded": [f"{api}/transactions?state=superseded"],
        "transactions of one": [f"{api}/transactions?identity={_identity(number)}" for number in numbers],
        "transactions of the busiest": [f"{api}/transactions?identity={_identity(0)}"],
        "transactions of the busiest, open": [f"{api}/transactions?identity={_identity(0)}&state=open"],
        "a transaction": [f"{api}/transactions/{number}" for number in numbers],
        "anomalies": [f"{api}/ledger/anomalies"],
        "anomalies of a kind": [f"{api}/ledger/anomalies?kind=late%20stop"],
        "anomalies of one": [f"{api}/ledger/anomalies?identity={_identity(number)}" for number in numbers],
        "anomalies of a kind, of one": [f"{api}/ledger/anomalies?kind=late%20stop&identity={middle}"],
        "charge points": [f"{api}/charge-points"],
        "charge points, a page in the middle": [f"{api}/charge-points?after={_identity(number)}" for number in numbers],
        "charge points, by prefix": [f"{api}/charge-points?prefix={middle[:7]}"],
        "charge points, connected": [f"{api}/charge-points?connected=true"],
        "charge points, not connected": [f"{api}/charge-points?connected=false"],
        "charge points, pending": [f"{api}/charge-points?registration=pending"],
        "charge points, never booted": [f"{api}/charge-points?registration=unknown"],
        "charge points, pending and connected": [f"{api}/charge-points?registration=pending&connected=true"],
        "charge points, accepted and connected": [f"{api}/charge-points?registration=accepted&connected=true"],
        "a charge point": [f"{api}/charge-points/{_identity(number)}" for number in numbers],
        "fleet": [f"{api}/fleet"],
    }


@dataclass(frozen=True)
class Figure:
    """Milliseconds."""

    median: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Figure:
        """Return the figure of some durations in seconds."""
        ordered = sorted(1000 * each for each in seconds)
        return cls(statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], ordered[-1])


Figures = dict[str, Figure]


def _measure(url: str, count: int) -> Figures:
    figures: Figures = {}
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(contextlib.closing(_Running(url)))
        figures["start until it listens"] = Figure.of([server.start_up])
        beats, charges = (
            opened.enter_context(contextlib.closing(_Station(server.port, name))) for name in ("beats", "charges")
        )
        for station in (beats, charges):
            station.call("BootNotification", messages.BOOT)
        connection = opened.enter_context(
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=60))
        )
        figures["fleet, for the first time"] = Figure.of([_ask(connection, "/api/v1/fleet")])
        # The server would end a connection that is idle for so long.
        connection.close()
        with _stations(figures, "without requests", beats, charges):
            time.sleep(6.0)
        with _stations(figures, "with requests", beats, charges):
            for name, paths in _requests(count).items():
                print(f"{name} …", file=sys.stderr, flush=True)
                durations = [_ask(connection, paths[turn % len(paths)]) for turn in range(REQUESTS)]
                figures[name] = Figure.of(durations)
    return figures


@contextlib.contextmanager
def _stations(figures: Figures, when: str, beats: _Station, charges: _Station) -> Iterator[None]:
    numbers = iter(range(1, sys.maxsize))

    def charge() -> None:
        number = next(numbers)
        started = charges.call("StartTransaction", messages.start("TAG", number))
        charges.call("StopTransaction", messages.stop(started["transactionId"], "TAG", number))

    loads = {
        f"Heartbeat, {when}": _Load(lambda: beats.call("Heartbeat", {}), 0.005),
        f"Start- and StopTransaction, {when}": _Load(charge, 0.005),
    }
    for load in loads.values():
        load.start()
    try:
        yield
    finally:
        for name, load in loads.items():
            figures[name] = Figure.of(load.stop())


def _ask(connection: http.client.HTTPConnection, path: str) -> float:
    began = time.perf_counter()
    connection.request("GET", path)
    with connection.getresponse() as response:
        body = response.read()
        seconds = time.perf_counter() - began
        if response.status not in {200, 404}:
            raise Failure(f"{path} was answered {response.status}: {body[:200].decode(errors='replace')}")
    return seconds


def _print(figures: dict[str, Figures]) -> None:
    width = max(len(name) for each in figures.values() for name in each)
    print(f"{'milliseconds':{width}}" + "".join(f"{label:>33}" for label in figures))
    print(" " * width + f"{'median':>13}{'p99':>10}{'most':>10}" * len(figures))
    for name in next(iter(figures.values())):
        cells = "".join(
            f"{each[name].median:13.2f}{each[name].p99:10.2f}{each[name].most:10.2f}" for each in figures.values()
        )
        print(f"{name:{width}}{cells}")


def _positive(text: str) -> int:
    number = int(text)
    if number < OPEN_COUNT + SUPERSEDED_COUNT:
        raise argparse.ArgumentTypeError(f"at least {OPEN_COUNT + SUPERSEDED_COUNT} are needed, not {number}")
    return number


def main() -> None:
    """Fill, measure and print a table; write JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", metavar="URL", help="an empty store; default: a SQLite file in a temporary folder")
    parser.add_argument("--records", type=_positive, default=1_000_000, metavar="N",
                        help="transactions, and charge points; default: 1000000")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ledger-") as folder:
        url = options.store or f"sqlite:///{folder}/ledger.db"
        try:
            store = open_store(url)
            figures = {"empty": _measure(url, 0)} if options.store is None else {}
            if options.store is None:
                Path(folder, "ledger.db").unlink()
            asyncio.run(_fill(store, options.records))
            figures[f"{options.records:,}"] = _measure(url, options.records)
        except (BadStore, Failure, StoreFailed) as failure:
            print(f"{parser.prog}: error: {failure}", file=sys.stderr)
            sys.exit(2)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {store.name.partition(':')[0]}")
    _print(figures)
    if options.json:
        fields = {label: {name: vars(each) for name, each in of.items()} for label, of in figures.items()}
        options.json.write_text(json.dumps(fields, indent=2))


if __name__ == "__main__":
    main()
