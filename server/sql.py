"""What SQLite and PostgreSQL say differently, and what neither can keep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Connection, Integer, Table, Text, any_, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

_LARGEST: Final = 2**63 - 1
_MOST_ROWS: Final = 64
"""Rows in one statement of SQLite. A power of two."""
_KEY: Final = "key of the row"


def storable(text: str) -> str:
    """Return a text as it is kept: PostgreSQL knows no NUL, and a charge point's identity may have one."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def storable_integer(number: int) -> int:
    """Return a number as it is kept: in 64 bits."""
    # Not by min and max: nearly all are within, and this runs for each number of each message.
    if -_LARGEST <= number <= _LARGEST:
        return number
    return _LARGEST if number > 0 else -_LARGEST


def in_set(
    connection: Connection, column: ColumnElement[Any], values: Collection[int] | Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that `column` is one of `values`.

    The values are one parameter, so that the statement is the same for any number of them, and is prepared once.
    """
    kind = int if values and isinstance(next(iter(values)), int) else str
    dialect = connection.dialect.name
    return _in(dialect, column, bindparam(None, as_set(connection, values), type_=_set_type(dialect, kind)))


def in_named_set(dialect: str, column: ColumnElement[Any], name: str, kind: type[int | str]) -> ColumnElement[bool]:
    """Return the same condition, for a statement that is made once; `name` is the parameter, an `as_set`.

    Args:
        dialect: the name of the database's dialect.
        column: of which the values are.
        name: the parameter's.
        kind: of the values.
    """
    return _in(dialect, column, bindparam(name, type_=_set_type(dialect, kind)))


def named_pairs(dialect: str, name: str) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """Return the two columns of a table of pairs of texts, for a statement that is made once.

    Args:
        dialect: the name of the database's dialect.
        name: of the parameters, which are an `as_pairs`.
    """
    if dialect == "postgresql":
        texts = [bindparam(f"{name}_{each}", type_=postgresql.ARRAY(Text)) for each in ("first", "second")]
        unnested = func.unnest(*texts).table_valued("first", "second").render_derived()
        return unnested.c.first, unnested.c.second
    members = func.json_each(bindparam(name, type_=Text)).table_valued("key", "value")
    return members.c.key, members.c.value


def as_pairs(connection: Connection, name: str, pairs: Collection[tuple[str, str]]) -> dict[str, Any]:
    """Return the parameters of `named_pairs`."""
    if connection.dialect.name == "postgresql":
        return {f"{name}_first": [each[0] for each in pairs], f"{name}_second": [each[1] for each in pairs]}
    # The members of an object: read four times as fast as arrays in an array. A name may be there more than once.
    together = dict(pairs)
    if len(together) == len(pairs):
        return {name: orjson.dumps(together).decode()}
    members = (orjson.dumps({first: second})[1:-1].decode() for first, second in pairs)
    return {name: f"{{{','.join(members)}}}"}


def _set_type(dialect: str, kind: type[int | str]) -> Any:  # noqa: ANN401  types of the two dialects
    return postgresql.ARRAY(Integer if kind is int else Text) if dialect == "postgresql" else Text


def _in(dialect: str, column: ColumnElement[Any], values: ColumnElement[Any]) -> ColumnElement[bool]:
    if dialect == "postgresql":
        return column == any_(values)
    return column.in_(select(func.json_each(values).table_valued("value").c.value))


def as_set(connection: Connection, values: Collection[int] | Collection[str]) -> Any:  # noqa: ANN401  as drivers have it
    """Return the value of the parameter of `in_named_set`."""
    return list(values) if connection.dialect.name == "postgresql" else orjson.dumps(list(values)).decode()


def insert_rows(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Insert `rows`, which have a value for each column of `names`."""
    if connection.dialect.name == "postgresql":
        connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
        return
    _in_few_statements(connection, _insertion, table, names, rows)


def update_rows(connection: Connection, table: Table, names: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
    """Give the columns of `names` other values in rows that are there.

    Args:
        connection: in a transaction.
        table: it has a primary key of one column.
        names: the columns to change.
        rows: a value for each of `names`, and then that of the primary key.
    """
    if connection.dialect.name == "postgresql":
        places = (*names, _KEY)
        connection.execute(_update_of_one(table, names), [dict(zip(places, row, strict=True)) for row in rows])
        return
    _in_few_statements(connection, _update, table, names, rows)


def _in_few_statements(
    connection: Connection,
    statement: Callable[[Table, tuple[str, ...], int], str],
    table: Table,
    names: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
) -> None:
    """Many rows in a statement. A statement a row costs as much again, and worse, would let go of the interpreter
    after each row, and wait for it, while the event loop is busy.
    """
    done = 0
    while left := len(rows) - done:
        # Powers of two, so that there are few statements to be prepared and kept.
        count = min(_MOST_ROWS, 1 << (left.bit_length() - 1))
        values = tuple(chain.from_iterable(rows[done : done + count]))
        connection.exec_driver_sql(statement(table, names, count), values)
        done += count


@cache
def _insertion(table: Table, names: tuple[str, ...], count: int) -> str:
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES {_places(len(names), count)}"  # noqa: S608  our own


@cache
def _update(table: Table, names: tuple[str, ...], count: int) -> str:
    (key,) = table.primary_key.columns
    changes = ", ".join(f"{name} = column{place}" for place, name in enumerate(names, 1))
    given = f"WITH given AS (VALUES {_places(len(names) + 1, count)}) "
    return f"{given}UPDATE {table.name} SET {changes} FROM given WHERE {key.name} = column{len(names) + 1}"  # noqa: S608


@cache
def _update_of_one(table: Table, names: tuple[str, ...]) -> Any:  # noqa: ANN401  an Update, of no row's type
    (key,) = table.primary_key.columns
    return update(table).where(key == bindparam(_KEY)).values({name: bindparam(name) for name in names})


def _places(columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


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
