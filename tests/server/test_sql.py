"""Many rows at once, as SQLite and PostgreSQL take them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Connection, Engine, Float, MetaData, Table, Text, create_engine, select

from server.sql import as_pairs, as_set, in_named_set, in_set, insert_rows, named_pairs, update_rows

TABLE = Table(
    "things",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text),
    Column("weight", Float),
)
INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
"""What `storable` makes of any."""
ROWS = st.dictionaries(
    INTEGERS,
    st.tuples(st.none() | TEXTS, st.none() | st.floats(allow_nan=False)),
    max_size=200,
)


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    TABLE.metadata.create_all(engine)
    yield engine
    engine.dispose()


def kept(connection: Connection) -> dict[int, tuple[str | None, float | None]]:
    return {row.id: (row.name, row.weight) for row in connection.execute(select(TABLE))}


@given(rows=ROWS, others=ROWS)
def test_as_many_rows_as_there_are_are_inserted_and_changed(
    sqlite: Engine, rows: dict[int, tuple[str | None, float | None]], others: dict[int, tuple[str | None, float | None]]
) -> None:
    """Each row lands once and whole, however they fall into statements; what is not there is not made."""
    with sqlite.connect() as connection:
        insert_rows(connection, TABLE, ("id", "name", "weight"), [(key, *rest) for key, rest in rows.items()])
        assert rows == kept(connection)
        update_rows(connection, TABLE, ("name", "weight"), [(*rest, key) for key, rest in others.items()])
        assert {key: others.get(key, rest) for key, rest in rows.items()} == kept(connection)
        connection.rollback()


@given(rows=ROWS, wanted=st.sets(INTEGERS))
def test_a_set_is_one_parameter(
    sqlite: Engine, rows: dict[int, tuple[str | None, float | None]], wanted: set[int]
) -> None:
    """Rows are found by a set of keys or names of any size, made into the statement or given with it."""
    with sqlite.connect() as connection:
        insert_rows(connection, TABLE, ("id", "name", "weight"), [(key, *rest) for key, rest in rows.items()])
        wanted |= set(list(rows)[::2])
        ids = select(TABLE.c.id)
        found = connection.execute(ids.where(in_set(connection, TABLE.c.id, wanted))).scalars()
        assert wanted & rows.keys() == set(found)
        named = ids.where(in_named_set("sqlite", TABLE.c.id, "wanted", int))
        assert wanted & rows.keys() == set(connection.execute(named, {"wanted": as_set(connection, wanted)}).scalars())
        names = {name for name, _ in list(rows.values())[::2] if name is not None}
        found = connection.execute(ids.where(in_set(connection, TABLE.c.name, names))).scalars()
        assert {key for key, (name, _) in rows.items() if name in names} == set(found)
        connection.rollback()


@given(st.lists(st.tuples(TEXTS, TEXTS)) | st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("AB"))))
def test_pairs_are_one_parameter(sqlite: Engine, pairs: list[tuple[str, str]]) -> None:
    """As they are, whatever is in them, and also where many have the same beginning."""
    with sqlite.connect() as connection:
        columns = named_pairs("sqlite", "given")
        found = connection.execute(select(*columns), as_pairs(connection, "given", set(pairs))).all()
        assert sorted(set(pairs)) == sorted(map(tuple, found))
