"""The book of transactions: ids that are unique, what repeats, what matches nothing, and the sums.

Each function works on a connection that `server.store` lends, within its transaction. Entries of many charge
points are made together: what they concern is read at once, they are looked at in their order, and what they
changed is written at once.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, update

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc
from server.sql import in_set, storable, storable_integer, upsert
from server.tables import ANOMALIES, OPEN, SEQUENCES, SETTINGS, STOPPED, SUPERSEDED, TOTALS, TRANSACTIONS

LARGEST_ID: Final = 2**31 - 1
NO_ID: Final = -1
"""The transactionId of a transaction whose StartTransaction.conf never came (core errata 3.18)."""
KEEP_ANOMALIES: Final = 100_000
"""Anomalies that are remembered one by one; all are counted."""
_METER_TOLERANCE: Final = 10
"""Wh by which a register may seem to run backwards: it is reported in Wh and in kWh, and rounded in between."""
_MOST_ENERGY: Final = 2**31 - 1
"""Wh that are counted of one transaction. None has as many; but a charge point may say anything, and the sum of all
has to stay within 64 bits."""
_SEQUENCE: Final = "transaction"
_FORGOTTEN: Final = "forgotten transaction"
"""The ids of transactions that `forget` has removed, from the first on."""
_FORGOTTEN_COUNT: Final = "count of forgotten transactions"
"""Its `next_value` is how many these were."""
_FORGET_AT_ONCE: Final = 1000
_PROBE: Final = {"name": "probe", "value": "0"}


class Anomaly(StrEnum):
    """What a ledger should not have."""

    REPEATED_START = "repeated start"
    """The same StartTransaction.req again (core 3.7.1: its answer got lost)."""
    REPEATED_STOP = "repeated stop"
    UNKNOWN_STOP = "stop without a start"
    """StopTransaction.req for a transaction that this charge point never started."""
    SUPERSEDED = "start without a stop"
    """The charge point moved on: it started another transaction on the same connector."""
    LATE_STOP = "late stop"
    """The StopTransaction.req of a transaction that was a start without a stop until now."""
    WITHOUT_ID = "without transaction id"
    """transactionId -1 (core errata 3.18)."""
    CONCURRENT = "concurrent start"
    """An id tag for one transaction at a time was presented during another one."""
    METER_BACKWARDS = "meter runs backwards"
    VALUES_OUT_OF_ORDER = "meter values out of order"
    """A sample older than one before, one without a readable time, or one after the end (core 3.7.1)."""
    VALUES_UNKNOWN = "meter values without a start"


class Start(NamedTuple):
    """A StartTransaction.req."""

    identity: str
    request: Payload
    utc: float
    """Seconds since 1970: when it came."""


class Stop(NamedTuple):
    """A StopTransaction.req."""

    identity: str
    request: Payload
    utc: float


class Sample(NamedTuple):
    """A MeterValues.req with a transactionId."""

    identity: str
    request: Payload
    utc: float


Entry = Start | Stop | Sample


class Kept(NamedTuple):
    """What an entry came to."""

    transaction_id: int = 0
    """The id that a Start was given; 0 for other entries."""
    is_concurrent: bool = False
    """Whether the id tag of a Start is for one transaction at a time and another one runs."""


_NOTHING: Final = Kept()


@dataclass(slots=True)
class _Transaction:
    """A row, while a batch works on it."""

    id: int
    identity: str
    connector_id: int
    id_tag: str
    meter_start: int
    started_at: str
    state: str
    meter_values: int
    sampled_at: float | None
    meter_last: int | None
    received_at: float
    meter_stop: int | None = None
    stopped_at: str | None = None
    reason: str | None = None
    ended_at: float | None = None
    is_new: bool = False
    is_changed: bool = False

    def values(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in (
                "state",
                "meter_values",
                "sampled_at",
                "meter_last",
                "meter_stop",
                "stopped_at",
                "reason",
                "ended_at",
            )
        }


@dataclass(slots=True)
class _Batch:
    """The rows that the entries of a batch concern, and what is to be written."""

    node: str
    by_id: dict[int, _Transaction] = field(default_factory=dict)
    by_connector: dict[tuple[str, int], _Transaction] = field(default_factory=dict)
    open_tags: Counter[str] = field(default_factory=Counter)
    forgotten: range = range(0)
    totals: Counter[str] = field(default_factory=Counter)
    anomalies: list[dict[str, Any]] = field(default_factory=list)

    def found(self, row: _Transaction) -> None:
        self.by_id[row.id] = row
        if row.state == OPEN:
            self.by_connector[row.identity, row.connector_id] = row

    def note(self, kind: Anomaly, entry: Entry, detail: str, transaction_id: int | None = None) -> None:
        self.totals["anomalies"] += 1
        self.anomalies.append(
            {
                "at": entry.utc,
                "kind": kind.value,
                "identity": storable(entry.identity),
                "transaction_id": transaction_id,
                "detail": storable(detail),
            }
        )

    # -- the rules ----------------------------------------------------------------------------

    def start(self, entry: Start, next_id: Callable[[], int], is_one_at_a_time: Callable[[str], bool]) -> Kept:
        """Core 4.8: an id tag that is not accepted gets a transaction id all the same."""
        request = entry.request
        identity, connector_id = storable(entry.identity), storable_integer(request["connectorId"])
        before = self.by_connector.get((identity, connector_id))
        if before is not None and _is_repetition(before, request):
            # A charge point that got no answer sends the same again (core 3.7.1); it gets the same id.
            self.totals["repeated_starts"] += 1
            self.note(Anomaly.REPEATED_START, entry, f"on connector {connector_id}", before.id)
            return Kept(before.id, self._is_concurrent(before, is_one_at_a_time))
        if before is not None:
            self._supersede(before, entry)
        transaction = _Transaction(
            id=next_id(),
            identity=identity,
            connector_id=connector_id,
            id_tag=storable(request["idTag"]),
            meter_start=storable_integer(request["meterStart"]),
            started_at=storable(request["timestamp"]),
            state=OPEN,
            meter_values=0,
            sampled_at=None,
            meter_last=None,
            received_at=entry.utc,
            is_new=True,
        )
        self.totals["started"] += 1
        self.open_tags[transaction.id_tag.casefold()] += 1
        self.found(transaction)
        is_concurrent = self._is_concurrent(transaction, is_one_at_a_time)
        if is_concurrent:
            self.totals["concurrent_starts"] += 1
            self.note(Anomaly.CONCURRENT, entry, f"id tag {transaction.id_tag[:20]}", transaction.id)
        return Kept(transaction.id, is_concurrent)

    def stop(self, entry: Stop) -> None:
        """It is answered whatever it says: nobody can prevent a transaction from stopping (core 4.10)."""
        request = entry.request
        transaction_id: int = request["transactionId"]
        if transaction_id == NO_ID:
            self._without_id(entry)
            return
        transaction = self.by_id.get(transaction_id)
        is_ours = transaction is not None and transaction.identity == storable(entry.identity)
        if (transaction is None and transaction_id in self.forgotten) or (
            is_ours and transaction is not None and transaction.state == STOPPED
        ):
            # Core 3.7.1. Of one that is remembered no more only the id says so: whose it was is not known.
            self.totals["repeated_stops"] += 1
            self.note(Anomaly.REPEATED_STOP, entry, "", transaction_id)
            return
        if transaction is None or not is_ours:
            self.totals["unknown_stops"] += 1
            detail = "" if transaction is None else "it is another charge point's transaction"
            self.note(Anomaly.UNKNOWN_STOP, entry, detail, storable_integer(transaction_id))
            return
        if transaction.state == SUPERSEDED:
            self.totals["superseded"] -= 1
            self.totals["late_stops"] += 1
            self.note(Anomaly.LATE_STOP, entry, "", transaction_id)
        meter_stop = storable_integer(request["meterStop"])
        self.totals["stopped"] += 1
        energy = meter_stop - transaction.meter_start
        if energy < 0 or (transaction.meter_last or 0) > meter_stop + _METER_TOLERANCE:
            self._backwards(entry, transaction, _fall(transaction, meter_stop))
        self.totals["energy_wh"] += min(max(energy, 0), _MOST_ENERGY)
        self._end(transaction, STOPPED, entry.utc)
        transaction.meter_stop = meter_stop
        transaction.stopped_at = storable(request["timestamp"])
        transaction.reason = request.get("reason")

    def sample(self, entry: Sample) -> None:
        """Enter a MeterValues.req of a transaction."""
        request = entry.request
        transaction_id: int = request["transactionId"]
        if transaction_id == NO_ID:
            self._without_id(entry)
            return
        transaction = self.by_id.get(transaction_id)
        if transaction is None and transaction_id in self.forgotten:
            self.totals["meter_values"] += 1
            self._out_of_order(entry, transaction_id, "its transaction ended long ago")
            return
        if transaction is None or transaction.identity != storable(entry.identity):
            self.totals["meter_values_unknown_transaction"] += 1
            detail = "" if transaction is None else "it is another charge point's transaction"
            self.note(Anomaly.VALUES_UNKNOWN, entry, detail, storable_integer(transaction_id))
            return
        self.totals["meter_values"] += 1
        transaction.meter_values += 1
        transaction.is_changed = True
        trouble = "" if transaction.state == OPEN else "its transaction has ended"
        backwards = ""
        for meter_value in request["meterValue"]:
            try:
                at = parse_utc(meter_value["timestamp"])
            except ValueError as error:
                trouble = str(error)  # a time that cannot be read stands in no order
                continue
            if transaction.sampled_at is not None and at < transaction.sampled_at:
                trouble = trouble or f"{meter_value['timestamp'][:40]} is older than a sample before"
                continue
            transaction.sampled_at = at
            backwards = _read_meter(transaction, meter_value["sampledValue"]) or backwards
        # Once for a message, however many thousand samples it has.
        if backwards:
            self._backwards(entry, transaction, backwards)
        if trouble:
            self._out_of_order(entry, transaction_id, trouble)

    def _supersede(self, before: _Transaction, entry: Start) -> None:
        self.totals["superseded"] += 1
        self._end(before, SUPERSEDED, entry.utc)
        detail = f"another one started on connector {before.connector_id}"
        self.note(Anomaly.SUPERSEDED, entry, detail, before.id)

    def _is_concurrent(self, transaction: _Transaction, is_one_at_a_time: Callable[[str], bool]) -> bool:
        key = transaction.id_tag.casefold()
        return self.open_tags[key] > 1 and is_one_at_a_time(key)

    def _end(self, transaction: _Transaction, state: str, utc: float) -> None:
        connector = (transaction.identity, transaction.connector_id)
        if self.by_connector.get(connector) is transaction:
            del self.by_connector[connector]
        if transaction.state == OPEN:
            self.open_tags[transaction.id_tag.casefold()] -= 1
        transaction.state = state
        transaction.ended_at = utc
        transaction.is_changed = True

    def _backwards(self, entry: Entry, transaction: _Transaction, detail: str) -> None:
        self.totals["backward_meters"] += 1
        self.note(Anomaly.METER_BACKWARDS, entry, detail, transaction.id)

    def _out_of_order(self, entry: Sample, transaction_id: int, why: str) -> None:
        self.totals["meter_values_out_of_order"] += 1
        self.note(Anomaly.VALUES_OUT_OF_ORDER, entry, why, transaction_id)

    def _without_id(self, entry: Entry) -> None:
        self.totals["without_transaction_id"] += 1
        self.note(Anomaly.WITHOUT_ID, entry, type(entry).__name__.lower())


def _read_meter(transaction: _Transaction, values: Sequence[Payload]) -> str:
    """Take the readings of the register; return how it ran backwards, if it did."""
    backwards = ""
    for value in values:
        reading = energy_register(value)
        if reading is None:
            continue
        if reading + _METER_TOLERANCE < _highest(transaction):
            backwards = _fall(transaction, reading)
        transaction.meter_last = reading
    return backwards


def _highest(transaction: _Transaction) -> int:
    return max(transaction.meter_start, transaction.meter_last or 0)


def _fall(transaction: _Transaction, reading: int) -> str:
    return f"from {_highest(transaction)} to {reading} Wh"


def energy_register(value: Payload) -> int | None:
    """Return the reading of the main energy register in a SampledValue, in Wh; `None` when it is none (core 7.43)."""
    if value.get("measurand", "Energy.Active.Import.Register") != "Energy.Active.Import.Register":
        return None
    if "phase" in value or value.get("location", "Outlet") != "Outlet" or value.get("format", "Raw") != "Raw":
        return None
    factor = {"Wh": 1, "kWh": 1000}.get(value.get("unit", "Wh"))
    if factor is None:
        return None
    try:
        return storable_integer(round(float(value["value"]) * factor))
    except (ValueError, OverflowError):
        return None


def _is_repetition(before: _Transaction, request: Payload) -> bool:
    return (before.started_at, before.id_tag, before.meter_start) == (
        storable(request["timestamp"]),
        storable(request["idTag"]),
        storable_integer(request["meterStart"]),
    )


# -- writing ----------------------------------------------------------------------------------------

_ROW: Final = select(TRANSACTIONS)
_UPDATE: Final = update(TRANSACTIONS).where(TRANSACTIONS.c.id == bindparam("of"))
_SUMS: Final = tuple(column for column in TOTALS.columns if column.name != "node")
# Of all, whatever was counted: each set of names would be a statement of its own, to be made and kept.
_ADD: Final = (
    update(TOTALS)
    .where(TOTALS.c.node == bindparam("of"))
    .values({column.name: column + bindparam(f"more_{column.name}") for column in _SUMS})
)


def lease_ids(connection: Connection, count: int) -> range:
    """Return `count` transaction ids that nobody else has or will get."""
    leased = (
        update(SEQUENCES)
        .where(SEQUENCES.c.name == _SEQUENCE)
        .values(next_value=SEQUENCES.c.next_value + count)
        .returning(SEQUENCES.c.next_value)
    )
    after = connection.execute(leased).scalar_one_or_none()
    if after is None:
        # Another store before or after this one starts elsewhere: a charge point that comes with an old
        # transaction must not meet a new one under its id.
        first = secrets.randbelow(2**30) + 1
        row = {"name": _SEQUENCE, "first_value": first, "next_value": first}
        connection.execute(upsert(connection, SEQUENCES, ["name"], {}), [row])
        after = connection.execute(leased).scalar_one()
    if after > LARGEST_ID:
        raise OverflowError("there are no transaction ids left")
    return range(after - count, after)


def probe(connection: Connection) -> None:
    """Write something that changes nothing: find out whether the store keeps what it is given."""
    connection.execute(upsert(connection, SETTINGS, ["name"], {"value": lambda row: row.value}), [_PROBE])


def record(
    connection: Connection,
    node: str,
    entries: Sequence[Entry],
    ids: Iterable[int],
    is_one_at_a_time: Callable[[str], bool],
) -> list[Kept]:
    """Enter `entries` into the book, in their order; return what each of them came to.

    Args:
        connection: in a transaction.
        node: the process that enters them; its row of the totals is its own.
        entries: what came from charge points.
        ids: ids from `lease_ids`, one for each Start at least.
        is_one_at_a_time: whether an id tag, case-folded, is for one transaction at a time.
    """
    batch = _Batch(node)
    _read(connection, batch, entries, is_one_at_a_time)
    turns = iter(ids)
    kept: list[Kept] = []
    for entry in entries:
        if isinstance(entry, Start):
            kept.append(batch.start(entry, turns.__next__, is_one_at_a_time))
        else:
            if isinstance(entry, Stop):
                batch.stop(entry)
            else:
                batch.sample(entry)
            kept.append(_NOTHING)
    _write(connection, batch)
    return kept


def _read(
    connection: Connection, batch: _Batch, entries: Sequence[Entry], is_one_at_a_time: Callable[[str], bool]
) -> None:
    starters = {storable(entry.identity) for entry in entries if isinstance(entry, Start)}
    ids = {
        transaction_id
        for entry in entries
        if not isinstance(entry, Start) and 0 <= (transaction_id := entry.request["transactionId"]) <= LARGEST_ID
    }
    if starters:
        where = in_set(connection, TRANSACTIONS.c.identity, starters)
        _load(connection, batch, _ROW.where(TRANSACTIONS.c.state == OPEN, where))
        tags = {
            key
            for entry in entries
            if isinstance(entry, Start) and is_one_at_a_time(key := entry.request["idTag"].casefold())
        }
        if tags:
            _count_open(connection, batch, tags)
    missing = ids - batch.by_id.keys()
    if missing:
        _load(connection, batch, _ROW.where(in_set(connection, TRANSACTIONS.c.id, missing)))
        if missing - batch.by_id.keys():
            forgotten = connection.execute(
                select(SEQUENCES.c.first_value, SEQUENCES.c.next_value).where(SEQUENCES.c.name == _FORGOTTEN)
            ).one_or_none()
            if forgotten is not None:
                batch.forgotten = range(*forgotten)


def _load(connection: Connection, batch: _Batch, statement: Select[Any]) -> None:
    # In the order of ids, so that two processes that lock the same rows do not wait for each other.
    for row in connection.execute(statement.order_by(TRANSACTIONS.c.id).with_for_update()):
        batch.found(_Transaction(**row._mapping))  # noqa: SLF001  SQLAlchemy's public name for it


def _count_open(connection: Connection, batch: _Batch, tags: Collection[str]) -> None:
    """Count what runs with these id tags. Only whole tags: how each was spelled is compared here."""
    spelled = func.lower(TRANSACTIONS.c.id_tag)
    statement = (
        select(TRANSACTIONS.c.id_tag, func.count())
        .where(TRANSACTIONS.c.state == OPEN, in_set(connection, spelled, {tag.lower() for tag in tags}))
        .group_by(TRANSACTIONS.c.id_tag)
    )
    for id_tag, count in connection.execute(statement):
        batch.open_tags[id_tag.casefold()] += count


def _write(connection: Connection, batch: _Batch) -> None:
    changed = [each for each in batch.by_id.values() if each.is_changed and not each.is_new]
    if changed:
        connection.execute(_UPDATE, [{"of": each.id, **each.values()} for each in changed])
    new = [each for each in batch.by_id.values() if each.is_new]
    if new:
        # After the updates: they have made room on the connectors.
        connection.execute(insert(TRANSACTIONS), [_as_row(each) for each in new])
    if batch.anomalies:
        connection.execute(insert(ANOMALIES), batch.anomalies)
    if batch.totals:
        values = {f"more_{column.name}": batch.totals[column.name] for column in _SUMS}
        if connection.execute(_ADD, {"of": batch.node, **values}).rowcount == 0:
            connection.execute(insert(TOTALS), {"node": batch.node, **batch.totals})


def _as_row(transaction: _Transaction) -> dict[str, Any]:
    return {
        "id": transaction.id,
        "identity": transaction.identity,
        "connector_id": transaction.connector_id,
        "id_tag": transaction.id_tag,
        "meter_start": transaction.meter_start,
        "started_at": transaction.started_at,
        "received_at": transaction.received_at,
        **transaction.values(),
    }


def forget(connection: Connection, keep_ended: int) -> int:
    """Forget the oldest ended transactions and anomalies; return how many went.

    A little at a time: `record` of other charge points waits meanwhile.
    """
    gone = 0
    # Not counted one by one: that would take a while for millions, each time.
    excess = _ended(connection) - keep_ended
    if excess > 0:
        old = (
            select(TRANSACTIONS.c.id)
            .where(TRANSACTIONS.c.state != OPEN)
            .order_by(TRANSACTIONS.c.id)
            .limit(min(excess, _FORGET_AT_ONCE))
        )
        ids = connection.execute(old).scalars().all()
        if ids:
            # Another process may have been at the same ones.
            gone = connection.execute(delete(TRANSACTIONS).where(in_set(connection, TRANSACTIONS.c.id, ids))).rowcount
            _remember_forgotten(connection, gone, max(ids) + 1)
    latest = connection.execute(select(func.max(ANOMALIES.c.id))).scalar_one()
    if latest is not None:
        oldest = select(ANOMALIES.c.id).where(ANOMALIES.c.id <= latest - KEEP_ANOMALIES).limit(_FORGET_AT_ONCE)
        gone += connection.execute(delete(ANOMALIES).where(ANOMALIES.c.id.in_(oldest))).rowcount
    return gone


def _ended(connection: Connection) -> int:
    """Return how many ended transactions are remembered."""
    counted = connection.execute(
        select(func.coalesce(func.sum(TOTALS.c.stopped + TOTALS.c.superseded), 0))
    ).scalar_one()
    forgotten = connection.execute(select(SEQUENCES.c.next_value).where(SEQUENCES.c.name == _FORGOTTEN_COUNT))
    return int(counted) - (forgotten.scalar_one_or_none() or 0)


def _remember_forgotten(connection: Connection, count: int, end: int) -> None:
    first = connection.execute(select(SEQUENCES.c.first_value).where(SEQUENCES.c.name == _SEQUENCE)).scalar_one()
    changes = {"next_value": lambda row: row.next_value}
    row = {"name": _FORGOTTEN, "first_value": first, "next_value": end}
    connection.execute(upsert(connection, SEQUENCES, ["name"], changes), [row])
    changes = {"next_value": lambda row: SEQUENCES.c.next_value + row.next_value}
    row = {"name": _FORGOTTEN_COUNT, "first_value": 0, "next_value": count}
    connection.execute(upsert(connection, SEQUENCES, ["name"], changes), [row])


# -- reading ----------------------------------------------------------------------------------------


def ledger(connection: Connection) -> dict[str, int]:
    """Return what was counted since the store was made: `started` = `open` + `stopped` + `superseded`."""
    row = connection.execute(select(*(func.coalesce(func.sum(column), 0).label(column.name) for column in _SUMS))).one()
    # Plain ones: SQLAlchemy's names are no str for a JSON encoder, PostgreSQL's sums are decimals.
    sums = {str(name): int(value) for name, value in row._mapping.items()}  # noqa: SLF001
    return {"open": sums["started"] - sums["stopped"] - sums["superseded"], **sums}


def page(
    connection: Connection, limit: int, before: int | None = None, state: str | None = None, identity: str | None = None
) -> Sequence[Row[Any]]:
    """Return transactions, the latest first.

    Args:
        connection: to read with.
        limit: how many at most.
        before: only those with a smaller id.
        state: only those in it.
        identity: only those of this charge point.
    """
    # No more of one charge point are open than it has connectors: not in the order of an index, so that the one that
    # has only these is taken, and not the one that has all that it ever had in order.
    is_few = identity is not None and state == OPEN
    statement = _ROW.order_by((TRANSACTIONS.c.id + 0 if is_few else TRANSACTIONS.c.id).desc()).limit(limit)
    if before is not None:
        statement = statement.where(TRANSACTIONS.c.id < before)
    if state is not None:
        statement = statement.where(TRANSACTIONS.c.state == state)
    if identity is not None:
        statement = statement.where(TRANSACTIONS.c.identity == storable(identity))
    return connection.execute(statement).all()


def get(connection: Connection, transaction_id: int) -> Row[Any] | None:
    """Return one transaction, or `None` when it is not known (any more)."""
    return connection.execute(_ROW.where(TRANSACTIONS.c.id == transaction_id)).one_or_none()


def anomalies(
    connection: Connection, limit: int, before: int | None = None, kind: str | None = None, identity: str | None = None
) -> Sequence[Row[Any]]:
    """Return anomalies, the latest first; arguments as those of `page`."""
    statement = select(ANOMALIES).order_by(ANOMALIES.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(ANOMALIES.c.id < before)
    if kind is not None:
        statement = statement.where(ANOMALIES.c.kind == kind)
    if identity is not None:
        statement = statement.where(ANOMALIES.c.identity == storable(identity))
    return connection.execute(statement).all()
