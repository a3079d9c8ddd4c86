"""What charge points said of themselves: their boots, statuses and configuration, and when they were seen.

It is not waited for: changes are gathered for each charge point and written behind, in one go for many. Reading
writes first, so that whoever asks sees what was said before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson
from sqlalchemy import Connection, bindparam, case, func, select, update

from ampswarm.ocppj.frames import Payload
from server.selection import NOWHERE, Selection
from server.sql import in_set, storable, upsert
from server.store import Store, StoreFailed
from server.tables import CHARGE_POINTS, CONNECTORS

MAX_CONNECTORS: Final = 64
"""The highest number of a connector whose status is kept: they are numbered from 1 without gaps (core 3.8)."""
MAX_CONFIGURATION: Final = 500
"""Configuration keys that are kept, for each charge point."""
_PASSWORD: Final = "authorizationkey"  # noqa: S105  the name of a configuration key
_FLUSH_INTERVAL: Final = 1.0
_MAX_GROUP: Final = 1000


def is_password(key: str) -> bool:
    """Return whether a configuration key is the password: write only (whitepaper 7), and never kept with the others."""
    # With blanks around it, too: some charge points cut them off, and then it is the password that was set.
    return key.strip().casefold() == _PASSWORD


class Registered(Enum):
    """What the charge point's last BootNotification was answered, as far as it is known."""

    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


class _Link(Enum):
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


class _Change:
    """What is new of one charge point."""

    __slots__ = ("boot", "booted_at", "configuration", "connected_at", "last_seen", "link", "registration", "statuses")

    def __init__(self) -> None:
        self.link: _Link | None = None
        self.connected_at: float | None = None
        self.last_seen = 0.0
        self.registration: str | None = None
        self.boot: str | None = None
        self.booted_at: float | None = None
        self.statuses: dict[int, str] | None = None
        self.configuration: dict[str, Payload] | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a charge point."""

    identity: str
    registration: Registered
    boot: Payload | None
    """The payload of its last BootNotification."""
    booted_at: float | None
    """Seconds since 1970."""
    connectors: dict[str, Payload]
    """The payload of each connector's last StatusNotification, by connector number."""
    node: str | None
    """The process that it is, or was last, connected to; `None` when it has disconnected."""
    connected_at: float | None
    last_seen: float
    configuration: dict[str, Payload]
    """What was read of it so far: `value` and `readonly` by key. Never a password: it cannot be read (whitepaper 7)."""


class Records:
    """The records of all charge points.

    Args:
        store: where they are kept.
        node: this process.
        failed: called when the store does not take them.
    """

    def __init__(self, store: Store, node: str, failed: Callable[[StoreFailed], None]) -> None:
        self._store = store
        self._node = node
        self._failed = failed
        self._changes: dict[str, _Change] = {}
        self._flushing = asyncio.Lock()
        self._has_failed = False

    # -- what charge points say ---------------------------------------------------------------

    def connected(self, identity: str, utc: float) -> None:
        """A charge point has connected to this process."""
        change = self._change(identity)
        change.link = _Link.CONNECTED
        change.connected_at = change.last_seen = utc

    def disconnected(self, identity: str, last_seen: float) -> None:
        """A charge point is connected to this process no more."""
        change = self._change(identity)
        change.link = _Link.DISCONNECTED
        change.last_seen = last_seen

    def booted(self, identity: str, registered: Registered, payload: Payload, utc: float) -> None:
        """A BootNotification.req was answered."""
        change = self._change(identity)
        change.registration = registered.value
        change.boot = storable(orjson.dumps(payload).decode())
        change.booted_at = change.last_seen = utc

    def reported(self, identity: str, payload: Payload, utc: float) -> None:
        """A StatusNotification.req came."""
        change = self._change(identity)
        change.last_seen = utc
        if change.statuses is None:
            change.statuses = {}
        if 0 <= payload["connectorId"] <= MAX_CONNECTORS:
            change.statuses[payload["connectorId"]] = orjson.dumps(payload).decode()

    def configured(self, identity: str, keys: Sequence[Payload]) -> None:
        """A charge point has told configuration keys (core 7.29), or has taken new values."""
        change = self._change(identity)
        if change.configuration is None:
            change.configuration = {}
        for each in keys:
            if is_password(each["key"]):
                continue
            told = {name: each[name] for name in ("value", "readonly") if name in each}
            change.configuration[each["key"]] = change.configuration.get(each["key"], {}) | told

    def _change(self, identity: str) -> _Change:
        change = self._changes.get(identity)
        if change is None:
            change = self._changes[identity] = _Change()
        return change

    # -- into the store -----------------------------------------------------------------------

    @property
    def unwritten(self) -> int:
        """Charge points that have changes which are not in the store yet."""
        return len(self._changes)

    async def run(self) -> None:
        """Write changes now and then, until cancelled."""
        while True:
            await asyncio.sleep(_FLUSH_INTERVAL)
            with contextlib.suppress(StoreFailed):
                await self.flush()

    async def flush(self) -> None:
        """Write all changes that there are now.

        Raises:
            StoreFailed: some are not written; they stay, and will be tried again.
        """
        async with self._flushing:
            for _ in range(1 + len(self._changes) // _MAX_GROUP):
                group = dict(islice(self._changes.items(), _MAX_GROUP))
                if not group:
                    return
                for identity in group:
                    del self._changes[identity]
                try:
                    await self._store.write(partial(_write, changes=group, node=self._node))
                except StoreFailed as failed:
                    self._put_back(group)
                    self._has_failed = True
                    self._failed(failed)
                    raise
                self._has_failed = False

    def _put_back(self, group: dict[str, _Change]) -> None:
        for identity, old in group.items():
            new = self._changes.get(identity)
            if new is None:
                self._changes[identity] = old
                continue
            for name in ("link", "connected_at", "registration", "boot", "booted_at"):
                if getattr(new, name) is None:
                    setattr(new, name, getattr(old, name))
            if old.statuses is not None:
                new.statuses = old.statuses | (new.statuses or {})
            if old.configuration is not None:
                new.configuration = old.configuration | (new.configuration or {})

    # -- out of it ----------------------------------------------------------------------------

    async def get(self, identity: str) -> Record | None:
        """Return what is known of a charge point; `None` when nothing is.

        Raises:
            StoreFailed: there is no answer.
        """
        await self._flush_for_reading()
        found = await self._store.read(partial(_read, identities=[storable(identity)]))
        return found[0] if found else None

    async def registration(self, identity: str) -> Registered:
        """Return what the last BootNotification of a charge point was answered.

        Raises:
            StoreFailed: there is no answer.
        """
        change = self._changes.get(identity)
        if change is not None and change.registration is not None:
            return Registered(change.registration)
        statement = select(CHARGE_POINTS.c.registration).where(CHARGE_POINTS.c.identity == storable(identity))
        found = await self._store.read(lambda connection: connection.execute(statement).scalar_one_or_none())
        return Registered.UNKNOWN if found is None else Registered(found)

    async def registrations(self, identities: Collection[str]) -> dict[str, Registered]:
        """Return what the last boots of charge points were answered, of those that have ever connected.

        Raises:
            StoreFailed: there is no answer.
        """
        await self._flush_for_reading()
        names = {storable(identity): identity for identity in identities}

        def read(connection: Connection) -> dict[str, Registered]:
            where = in_set(connection, CHARGE_POINTS.c.identity, names.keys())
            rows = connection.execute(select(CHARGE_POINTS.c.identity, CHARGE_POINTS.c.registration).where(where))
            return {names[row.identity]: Registered(row.registration) for row in rows}

        return await self._store.read(read)

    async def page(
        self,
        limit: int,
        *,
        after: str | None = None,
        prefix: str | None = None,
        registration: Registered | None = None,
        connected_to: Collection[str] | None = None,
        not_connected_to: Collection[str] | None = None,
    ) -> list[Record]:
        """Return charge points in the order of their identities.

        Args:
            limit: how many at most.
            after: only those behind this identity.
            prefix: only identities that begin with it.
            registration: only those with this one.
            connected_to: only those whose connection one of these processes has.
            not_connected_to: only those whose connection none of these has.

        Raises:
            StoreFailed: there is no answer.
        """
        await self._flush_for_reading()

        wanted = None if registration is None else registration.value
        selection = Selection(after, prefix, wanted, connected_to, not_connected_to)
        return await self._store.read(lambda connection: _read(connection, selection.identities(connection, limit)))

    async def find(
        self,
        *,
        connected_to: Collection[str],
        prefix: str | None = None,
        registration: Registered | None = None,
        boot: Mapping[str, str | None],
    ) -> list[str]:
        """Return the identities of all charge points that are connected to one of `connected_to`, and are as wanted.

        Args:
            connected_to: processes.
            prefix: what their identities begin with.
            registration: what their last boot was answered.
            boot: what its payload says under some names; `None` for anything.

        Raises:
            StoreFailed: there is no answer.
        """
        await self._flush_for_reading()
        wanted = {name: value for name, value in boot.items() if value is not None}
        selection = Selection(
            prefix=prefix,
            registration=None if registration is None else registration.value,
            connected_to=connected_to,
        )

        def read(connection: Connection) -> list[str]:
            found = selection.identities(connection)
            if not wanted:
                return found
            where = in_set(connection, CHARGE_POINTS.c.identity, found)
            rows = connection.execute(
                select(CHARGE_POINTS.c.identity, CHARGE_POINTS.c.boot).where(where).order_by(CHARGE_POINTS.c.identity)
            )
            return [row.identity for row in rows if _says(row.boot, wanted)]

        return await self._store.read(read)

    async def counts(self) -> dict[str, int]:
        """Return how many charge points are known, by registration.

        Raises:
            StoreFailed: there is no answer.
        """
        await self._flush_for_reading()
        statement = select(CHARGE_POINTS.c.registration, func.count()).group_by(CHARGE_POINTS.c.registration)
        rows = await self._store.read(lambda connection: connection.execute(statement).all())
        return dict(map(tuple, rows))

    async def _flush_for_reading(self) -> None:
        # What cannot be written now may still be read: old news are better than none. Nor is it tried again
        # for each reader: a database that hangs would let all of them wait.
        if self._has_failed:
            return
        with contextlib.suppress(StoreFailed):
            await self.flush()


def _says(boot: str | None, wanted: Mapping[str, str]) -> bool:
    if boot is None:
        return False
    payload: Payload = orjson.loads(boot)
    return all(payload.get(name) == value for name, value in wanted.items())


def _latest(row: Any) -> Any:  # noqa: ANN401  columns, which are the same for SQLAlchemy and not for mypy
    return case((row.last_seen > CHARGE_POINTS.c.last_seen, row.last_seen), else_=CHARGE_POINTS.c.last_seen)


def _kept(name: str) -> Callable[[Any], Any]:
    return lambda row: func.coalesce(row[name], CHARGE_POINTS.c[name])


_ALWAYS: Final = {
    "registration": lambda row: case(
        (row.registration != Registered.UNKNOWN.value, row.registration), else_=CHARGE_POINTS.c.registration
    ),
    "boot": _kept("boot"),
    "booted_at": _kept("booted_at"),
    "last_seen": _latest,
}


def _is_newer(row: Any) -> Any:  # noqa: ANN401
    return row.connected_at >= func.coalesce(CHARGE_POINTS.c.connected_at, 0)


_LINKS: Final[dict[_Link | None, dict[str, Callable[[Any], Any]]]] = {
    None: {},
    # Two processes may write in another order than that in which the charge point came to them.
    _Link.CONNECTED: {
        "node": lambda row: case((_is_newer(row), row.node), else_=CHARGE_POINTS.c.node),
        "connected_at": lambda row: case((_is_newer(row), row.connected_at), else_=CHARGE_POINTS.c.connected_at),
    },
    # It may have gone to another process meanwhile.
    _Link.DISCONNECTED: {
        "node": lambda _row: case((CHARGE_POINTS.c.node == bindparam("me"), NOWHERE), else_=CHARGE_POINTS.c.node)
    },
}


def _write(connection: Connection, changes: dict[str, _Change], node: str) -> None:
    # In the order of identities, so that two processes that write the same ones do not wait for each other.
    ordered = sorted(changes.items())
    for link, updates in _LINKS.items():
        rows = [_row(identity, change, node) for identity, change in ordered if change.link is link]
        if rows:
            connection.execute(upsert(connection, CHARGE_POINTS, ["identity"], _ALWAYS | updates), rows)
    statuses = [
        {"identity": storable(identity), "connector_id": connector_id, "status": status}
        for identity, change in ordered
        for connector_id, status in sorted((change.statuses or {}).items())
    ]
    if statuses:
        changed = {"status": lambda row: row.status}
        connection.execute(upsert(connection, CONNECTORS, ["identity", "connector_id"], changed), statuses)
    configured = {storable(identity): each.configuration for identity, each in ordered if each.configuration}
    if configured:
        _write_configurations(connection, configured)


def _row(identity: str, change: _Change, node: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "identity": storable(identity),
        "registration": change.registration or Registered.UNKNOWN.value,
        "node": NOWHERE,
        "boot": change.boot,
        "booted_at": change.booted_at,
        "last_seen": change.last_seen,
    }
    if change.link is _Link.CONNECTED:
        row |= {"node": node, "connected_at": change.connected_at}
    elif change.link is _Link.DISCONNECTED:
        row["me"] = node
    return row


def _write_configurations(connection: Connection, configured: dict[str, dict[str, Payload]]) -> None:
    where = in_set(connection, CHARGE_POINTS.c.identity, configured.keys())
    rows = connection.execute(select(CHARGE_POINTS.c.identity, CHARGE_POINTS.c.configuration).where(where)).all()
    merged = []
    for identity, text in rows:
        known: dict[str, Payload] = orjson.loads(text) if text else {}
        for key, told in configured[identity].items():
            if key in known or len(known) < MAX_CONFIGURATION:
                known[key] = known.get(key, {}) | told
        merged.append({"of": identity, "known": storable(orjson.dumps(known).decode())})
    if merged:
        statement = update(CHARGE_POINTS).where(CHARGE_POINTS.c.identity == bindparam("of"))
        connection.execute(statement.values(configuration=bindparam("known")), merged)


def _read(connection: Connection, identities: Sequence[str]) -> list[Record]:
    where = in_set(connection, CHARGE_POINTS.c.identity, identities)
    rows = connection.execute(select(CHARGE_POINTS).where(where).order_by(CHARGE_POINTS.c.identity)).all()
    connectors: dict[str, dict[str, Payload]] = {row.identity: {} for row in rows}
    if rows:
        statement = select(CONNECTORS).where(in_set(connection, CONNECTORS.c.identity, connectors.keys()))
        for row in connection.execute(statement.order_by(CONNECTORS.c.identity, CONNECTORS.c.connector_id)):
            connectors[row.identity][str(row.connector_id)] = orjson.loads(row.status)
    return [
        Record(
            row.identity,
            Registered(row.registration),
            None if row.boot is None else orjson.loads(row.boot),
            row.booted_at,
            connectors[row.identity],
            row.node or None,
            row.connected_at,
            row.last_seen,
            {} if row.configuration is None else orjson.loads(row.configuration),
        )
        for row in rows
    ]
