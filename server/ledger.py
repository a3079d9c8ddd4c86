"""What the book of transactions says: the ledger, transactions and anomalies, page by page. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from server.sql import storable
from server.tables import ANOMALIES, OPEN, SUMS, TRANSACTIONS

_ROW: Final = select(TRANSACTIONS)


def sums(connection: Connection) -> dict[str, int]:
    """Return what was counted since the store was made: `started` = `open` + `stopped` + `superseded`."""
    row = connection.execute(select(*(func.coalesce(func.sum(column), 0).label(column.name) for column in SUMS))).one()
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
