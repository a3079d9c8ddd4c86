"""Which charge points are asked for, in the order of their identities, however many there are.

A few of a million must be found without a look at all the others: those that are pending, those that are connected
when most are not, or the other way round. The index `charge_points_found` has, for each registration and each node,
the identities in order. So each pair of these is asked for its first ones, and the first of them all are the page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select, true, union_all

from server.sql import storable
from server.tables import CHARGE_POINTS

NOWHERE: Final = ""
"""The `node` of charge points that are not connected."""
_LAST: Final = "\U0010ffff"
_AT_ONCE: Final = 100
"""Pairs in one statement; SQLite takes 500."""
_COLUMNS: Final = CHARGE_POINTS.c


@dataclass(frozen=True, slots=True)
class Selection:
    """What charge points have to be; all of it."""

    after: str | None = None
    """Behind this identity."""
    prefix: str | None = None
    """What the identity begins with."""
    registration: str | None = None
    """What the last boot was answered."""
    connected_to: Collection[str] | None = None
    """One of these nodes has the connection."""
    not_connected_to: Collection[str] | None = None
    """None of these nodes has it."""

    def identities(self, connection: Connection, limit: int | None = None) -> list[str]:
        """Return the identities of those that are, in order.

        Args:
            connection: to read with.
            limit: how many at most; `None` for all.
        """
        where = self._range()
        if self.registration is None and self.connected_to is None and self.not_connected_to is None:
            return [*connection.execute(_ordered(where, limit)).scalars()]
        parts = (select(_ordered(and_(pair, where), limit).subquery().c.identity) for pair in self._pairs(connection))
        found: list[str] = []
        while batch := list(islice(parts, _AT_ONCE)):
            found += connection.execute(union_all(*batch)).scalars()
        # By code points, as the column is compared.
        return sorted(found)[:limit]

    def _range(self) -> ColumnElement[bool]:
        where: list[ColumnElement[bool]] = [true()]
        if self.after is not None:
            where.append(_COLUMNS.identity > storable(self.after))
        if self.prefix:
            first = storable(self.prefix)
            where += [_COLUMNS.identity >= first, _COLUMNS.identity < first + _LAST]
        return and_(*where)

    def _pairs(self, connection: Connection) -> Iterator[ColumnElement[bool]]:
        """Yield the condition of each pair of a registration and a node that is wanted."""
        if self.registration is None:
            registrations = _distinct(connection, _COLUMNS.registration, true())
        else:
            registrations = [self.registration]
        for registration in registrations:
            is_registered = _COLUMNS.registration == registration
            nodes = self.connected_to
            if nodes is None:
                unwanted = self.not_connected_to or ()
                nodes = [node for node in _distinct(connection, _COLUMNS.node, is_registered) if node not in unwanted]
            for node in nodes:
                yield and_(is_registered, _COLUMNS.node == node)


def _ordered(where: ColumnElement[bool], limit: int | None) -> Select[Any]:
    return select(_COLUMNS.identity).where(where).order_by(_COLUMNS.identity).limit(limit)


def _distinct(connection: Connection, column: ColumnElement[Any], where: ColumnElement[bool]) -> list[str]:
    """Return the different values of a column: from one to the next in the index, not past all that are the same."""
    values = select(func.min(column).label("value")).where(where).cte("different", recursive=True)
    following = select(func.min(column)).where(where, column > values.c.value).scalar_subquery()
    values = values.union_all(select(following).where(values.c.value.is_not(None)))
    return [*connection.execute(select(values.c.value).where(values.c.value.is_not(None))).scalars()]
