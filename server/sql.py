"""What SQLite and PostgreSQL say differently, and what neither can keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Integer, Table, Text, any_, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

_LARGEST: Final = 2**63 - 1


def storable(text: str) -> str:
    """Return a text as it is kept: PostgreSQL knows no NUL, and a charge point's identity may have one."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def storable_integer(number: int) -> int:
    """Return a number as it is kept: in 64 bits."""
    return max(-_LARGEST, min(_LARGEST, number))


def in_set(
    connection: Connection, column: ColumnElement[Any], values: Collection[int] | Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that `column` is one of `values`.

    The values are one parameter, so that the statement is the same for any number of them, and is prepared once.
    """
    kind = Integer if values and isinstance(next(iter(values)), int) else Text
    if connection.dialect.name == "postgresql":
        return column == any_(literal(list(values), postgresql.ARRAY(kind)))
    each = func.json_each(literal(orjson.dumps(list(values)).decode(), Text)).table_valued("value")
    return column.in_(select(each.c.value))


def upsert(
    connection: Connection,
    table: Table,
    keys: Sequence[str],
    changes: Mapping[str, Callable[[Any], ColumnElement[Any]]],
) -> Any:  # noqa: ANN401  the two dialects' inserts have no class in common that can do this
    """Return an INSERT that changes the row that is there already.

    Args:
        connection: whose dialect it is for.
        table: where.
        keys: the columns that make a row the same.
        changes: what columns of a row that is there become; each is given the row that was to be inserted.
            Empty leaves it as it is.
    """
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    if not changes:
        return statement.on_conflict_do_nothing(index_elements=list(keys))
    values = {name: change(statement.excluded) for name, change in changes.items()}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=values)
