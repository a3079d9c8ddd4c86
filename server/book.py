"""The book of transactions, in the store: ids that are unique, and entries that are made together.

Each function works on a connection that `server.store` lends, within its transaction. What a batch of entries concerns
is read at once, the rules of `transactions` are applied, and what they changed is written at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY

from server.sql import (
    as_pairs,
    as_set,
    in_named_set,
    in_set,
    insert_rows,
    named_pairs,
    storable,
    update_rows,
    upsert,
)
from server.tables import ANOMALIES, OPEN, SEQUENCES, SETTINGS, SUMS, TOTALS, TRANSACTIONS
from server.transactions import LARGEST_ID, NO_ID, NOTHING, Batch, Entry, Kept, Start, Stop, Transaction

KEEP_ANOMALIES: Final = 100_000
"""Anomalies that are remembered one by one; all are counted."""
_SEQUENCE: Final = "transaction"
_FORGOTTEN: Final = "forgotten transaction"
"""The ids of transactions that `forget` has removed, from the first on."""
_FORGOTTEN_COUNT: Final = "count of forgotten transactions"
"""Its `next_value` is how many these were."""
_FORGET_AT_ONCE: Final = 1000
_PROBE: Final = {"name": "probe", "value": "0"}
_COLUMNS: Final = tuple(each.name for each in fields(Transaction) if each.name in TRANSACTIONS.columns)
"""What is kept of a transaction."""
_LOADED: Final = tuple(name for name in _COLUMNS if name != "is_concurrent")
"""What the rules want to know of it again."""
_CHANGING: Final = (
    "state",
    "meter_values",
    "sampled_at",
    "meter_last",
    "meter_stop",
    "stopped_at",
    "reason",
    "ended_at",
    "values_digest",
)
_row: Final = attrgetter(*_COLUMNS)
_changes: Final = attrgetter(*_CHANGING, "id")
# Of all, whatever was counted: each set of names would be a statement of its own, to be made and kept.
_ADD: Final = (
    update(TOTALS)
    .where(TOTALS.c.node == bindparam("of"))
    .values({column.name: column + bindparam(f"more_{column.name}") for column in SUMS})
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
    batch = Batch(node)
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
            kept.append(NOTHING)
    _write(connection, batch)
    return kept


def _read(
    connection: Connection, batch: Batch, entries: Sequence[Entry], is_one_at_a_time: Callable[[str], bool]
) -> None:
    tags = {
        key
        for entry in entries
        if isinstance(entry, Start) and is_one_at_a_time(key := entry.request["idTag"].casefold())
    }
    # Before any row is locked: two processes that lock tags and rows in the same order wait for no ring.
    _lock_tags(connection, tags)
    # Of these, all that runs is needed.
    starters = {
        storable(entry.identity)
        for entry in entries
        if isinstance(entry, Start) or (isinstance(entry, Stop) and entry.request["transactionId"] == NO_ID)
    }
    ids = {
        transaction_id
        for entry in entries
        if not isinstance(entry, Start) and 0 <= (transaction_id := entry.request["transactionId"]) <= LARGEST_ID
    }
    if starters:
        _load(connection, batch, _open_of(connection.dialect.name), starters)
        if tags:
            _count_open(connection, batch, tags)
        # After what runs: what another process starts in between is in both, or here alone.
        _load_first_starts(connection, batch, entries)
    missing = ids - batch.by_id.keys()
    if missing:
        _load(connection, batch, _with_ids(connection.dialect.name), missing)
        if missing - batch.by_id.keys():
            forgotten = connection.execute(
                select(SEQUENCES.c.first_value, SEQUENCES.c.next_value).where(SEQUENCES.c.name == _FORGOTTEN)
            ).one_or_none()
            if forgotten is not None:
                batch.forgotten = range(*forgotten)


def _lock_tags(connection: Connection, tags: Collection[str]) -> None:
    """Let no other process start something with one of these id tags until this transaction has ended.

    Else two that start at the same time would each count without the other. SQLite has but one that writes.
    """
    if not tags or connection.dialect.name != "postgresql":
        return
    # As `_count_open` finds them: each spelling of a tag is the same lock.
    keys = sorted(int.from_bytes(blake2b(tag.encode(), digest_size=8).digest(), signed=True) for tag in tags)
    # Taken in this order, so that two processes do not wait for each other.
    each = func.unnest(literal(keys, ARRAY(BigInteger)))
    connection.execute(select(func.pg_advisory_xact_lock(each))).all()


def _load(connection: Connection, batch: Batch, rows: Select[Any], wanted: Collection[int] | Collection[str]) -> None:
    # All at once: fetched one by one, rows cost half as much again.
    for row in connection.execute(rows, {"wanted": as_set(connection, wanted)}).all():
        batch.found(Transaction(*row))


def _load_first_starts(connection: Connection, batch: Batch, entries: Sequence[Entry]) -> None:
    """Find what came of starts that these may repeat, also of those that are over."""
    said = {
        (storable(entry.identity), storable(entry.request["timestamp"])) for entry in entries if type(entry) is Start
    }
    if said:
        rows = connection.execute(_started_as(connection.dialect.name), as_pairs(connection, "said", said)).all()
        for *key, transaction_id, is_concurrent in rows:
            batch.first_starts[tuple(key)] = Kept(transaction_id, is_concurrent)


# Made once: to make one takes longer than to execute it.
@cache
def _open_of(dialect: str) -> Select[Any]:
    # The state is no parameter, so that the index of what is open can be taken; and it is taken, not that of all that a
    # charge point ever had, because the connector is named too. That is above 0 always.
    is_open = TRANSACTIONS.c.state == literal_column(f"'{OPEN}'")
    is_wanted = in_named_set(dialect, TRANSACTIONS.c.identity, "wanted", str)
    return _rows().where(is_open, TRANSACTIONS.c.connector_id > 0, is_wanted)


@cache
def _with_ids(dialect: str) -> Select[Any]:
    return _rows().where(in_named_set(dialect, TRANSACTIONS.c.id, "wanted", int))


@cache
def _started_as(dialect: str) -> Select[Any]:
    columns = TRANSACTIONS.c
    key = columns.identity, columns.connector_id, columns.started_at, columns.id_tag, columns.meter_start
    identity, timestamp = named_pairs(dialect, "said")
    said = select(*key, columns.id, columns.is_concurrent).where(
        columns.identity == identity, columns.started_at == timestamp
    )
    # The latest one last: it is the one that is repeated.
    return said.order_by(columns.id)


def _rows() -> Select[Any]:
    # In the order of ids, so that two processes that lock the same rows do not wait for each other.
    return select(*(TRANSACTIONS.c[name] for name in _LOADED)).order_by(TRANSACTIONS.c.id).with_for_update()


def _count_open(connection: Connection, batch: Batch, tags: Collection[str]) -> None:
    """Count what runs with these id tags. Only whole tags: how each was spelled is compared here."""
    spelled = func.lower(TRANSACTIONS.c.id_tag)
    statement = (
        select(TRANSACTIONS.c.id_tag, func.count())
        .where(TRANSACTIONS.c.state == OPEN, in_set(connection, spelled, {tag.lower() for tag in tags}))
        .group_by(TRANSACTIONS.c.id_tag)
    )
    for id_tag, count in connection.execute(statement):
        batch.open_tags[id_tag.casefold()] += count


def _write(connection: Connection, batch: Batch) -> None:
    changed = [_changes(each) for each in batch.by_id.values() if each.is_changed and not each.is_new]
    if changed:
        update_rows(connection, TRANSACTIONS, _CHANGING, changed)
    new = [_row(each) for each in batch.by_id.values() if each.is_new]
    if new:
        # After the updates: they have made room on the connectors.
        insert_rows(connection, TRANSACTIONS, _COLUMNS, new)
    if batch.anomalies:
        connection.execute(insert(ANOMALIES), batch.anomalies)
    if batch.totals:
        values = {f"more_{column.name}": batch.totals[column.name] for column in SUMS}
        if connection.execute(_ADD, {"of": batch.node, **values}).rowcount == 0:
            connection.execute(insert(TOTALS), {"node": batch.node, **batch.totals})


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
