"""Which charge points are found: the same that a look at each of them would find, in a real SQLite."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import StaticPool, create_engine, insert

from server.selection import NOWHERE, Selection
from server.tables import CHARGE_POINTS, METADATA

_NAMES = st.text("aAb%é\U0001f50c", min_size=1, max_size=3)
_REGISTRATIONS = st.sampled_from(["unknown", "accepted", "pending", "rejected"])
_NODES = st.sampled_from([NOWHERE, "one", "other", "dead"])
_FLEETS = st.dictionaries(_NAMES, st.tuples(_REGISTRATIONS, _NODES), max_size=20)
_MAYBE_NODES = st.none() | st.frozensets(_NODES.filter(bool))
_SELECTIONS = st.builds(
    Selection,
    after=st.none() | _NAMES,
    prefix=st.none() | _NAMES,
    registration=st.none() | _REGISTRATIONS,
    connected_to=_MAYBE_NODES,
) | st.builds(Selection, registration=st.none() | _REGISTRATIONS, not_connected_to=_MAYBE_NODES)


@given(_FLEETS, _SELECTIONS, st.none() | st.integers(1, 4))
def test_it_finds_what_a_look_at_each_would_find(
    fleet: dict[str, tuple[str, str]], selection: Selection, limit: int | None
) -> None:
    """Whatever is asked for, and in the order by which pages follow each other."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with engine.connect() as connection:
        rows = [
            {"identity": identity, "registration": registration, "node": node, "last_seen": 0.0}
            for identity, (registration, node) in fleet.items()
        ]
        if rows:
            connection.execute(insert(CHARGE_POINTS), rows)
        found = selection.identities(connection, limit)
    engine.dispose()
    expected = sorted(
        identity for identity, (each, node) in fleet.items() if _is_wanted(selection, identity, each, node)
    )
    assert expected[:limit] == found


def _is_wanted(selection: Selection, identity: str, registration: str, node: str) -> bool:
    return (
        (selection.after is None or identity > selection.after)
        and identity.startswith(selection.prefix or "")
        and selection.registration in (None, registration)
        and (selection.connected_to is None or node in selection.connected_to)
        and (selection.not_connected_to is None or node not in selection.not_connected_to)
    )


def test_more_pairs_than_one_statement_takes() -> None:
    """After years of processes that were killed."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with engine.connect() as connection:
        rows = [
            {"identity": f"{number:04}", "registration": "accepted", "node": f"node {number}", "last_seen": 0.0}
            for number in range(700)
        ]
        connection.execute(insert(CHARGE_POINTS), rows)
        found = Selection(not_connected_to=["node 0"]).identities(connection, 3)
    engine.dispose()
    assert found == ["0001", "0002", "0003"]
