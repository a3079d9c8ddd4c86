"""What operators set at run time: id tags, and what BootNotification is answered. Kept in the store.

Answers to charge points come from memory; every process has all of it, and reads again what another has changed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import Connection, delete, func, select

from server.handlers import BootPolicy, Handlers
from server.id_tags import MAX_ID_TAGS, IdTagInfo, IdTags, TooManyIdTags
from server.sql import in_set, storable, upsert
from server.store import Store, StoreFailed, Work
from server.tables import ID_TAGS, SETTINGS

T = TypeVar("T")

_BOOT_POLICY: Final = "boot policy"
_UNKNOWN: Final = "unknown id tags"
_SYSTEM: Final = "system"
_LOAD_AGAIN: Final = 1.0
"""Seconds after which is read again what could not be read."""
_REVISION: Final = "revision"
"""Another value after each change."""
_FEW: Final = 1000
"""Id tags that are read one by one when they have changed; of more, all are read."""
_TAG_COLUMNS: Final = ("status", "expiry_date", "parent_id_tag", "one_at_a_time")


async def system_id(store: Store) -> str:
    """Return the id of the central system that a store belongs to: made at the first start, the same for all replicas.

    Raises:
        StoreFailed: there is no answer.
    """
    row = {"name": _SYSTEM, "value": orjson.dumps(secrets.token_hex(8)).decode()}

    def write(connection: Connection) -> str:
        # Of replicas that start together, one makes the row; the others wait for it here, and read it.
        connection.execute(upsert(connection, SETTINGS, ["name"], {}), [row])
        kept: str = connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == _SYSTEM)).scalar_one()
        return kept

    name: str = orjson.loads(await store.write(write))
    return name


class Settings:
    """The settings of all processes that share a store.

    Args:
        store: where they are kept.
        handlers: where the boot policy is.
        id_tags: the id tags.
        changed: tells the other processes what to read again: the argument of `load_again`.
    """

    def __init__(
        self, store: Store, handlers: Handlers, id_tags: IdTags, changed: Callable[[dict[str, Any]], None]
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._id_tags = id_tags
        self._changed = changed
        self._default_policy = handlers.boot_policy
        self._revision: str | None = None
        """Of the store when all was read last."""
        self._own_changes = 0
        # What has to be read again; `None` for nothing.
        self._to_load: dict[str, Any] | None = None
        self._must_load = asyncio.Event()

    async def load(self) -> None:
        """Read all of them.

        Raises:
            StoreFailed: there is no answer; they stay as they are.
        """

        def read(connection: Connection) -> tuple[dict[str, str], list[Any] | None]:
            values = _values(connection)
            # 100,000 id tags take a while, and who asks again mostly has missed nothing.
            is_known = values.get(_REVISION, "") == self._revision
            return values, None if is_known else list(connection.execute(select(ID_TAGS)))

        values, tags = await self._read(read)
        if tags is None:
            return
        self._revision = values.get(_REVISION, "")
        self._take(values)
        self._id_tags.clear()
        for row in tags:
            self._id_tags.put(row.id_tag, _info(row))

    def _take(self, values: dict[str, str]) -> None:
        policy = orjson.loads(values[_BOOT_POLICY]) if _BOOT_POLICY in values else None
        self._handlers.boot_policy = self._default_policy if policy is None else BootPolicy(**policy)
        self._id_tags.unknown = orjson.loads(values[_UNKNOWN]) if _UNKNOWN in values else "Accepted"

    async def load_again(self, changed: dict[str, Any]) -> None:
        """Read again what another process has changed.

        Raises:
            StoreFailed: there is no answer; all stays as it is.
        """
        keys: list[str] | None = changed.get("id_tags")
        if keys is None or len(keys) > _FEW:
            await self.load()
            return

        def read(connection: Connection) -> tuple[dict[str, str], list[Any]]:
            tags = select(ID_TAGS).where(in_set(connection, ID_TAGS.c.id_tag, keys))
            return _values(connection), list(connection.execute(tags)) if keys else []

        values, rows = await self._read(read)
        self._take(values)
        found = {row.id_tag: row for row in rows}
        for key in keys:
            row = found.get(key)
            if row is None:
                self._id_tags.delete(key)
            else:
                self._id_tags.put(key, _info(row))

    def have_changed(self, changed: dict[str, Any]) -> None:
        """Let `keep_up` read again what another process has changed; `{}` when that is not known."""
        waiting = self._to_load
        if waiting is None:
            self._to_load = changed
        elif "id_tags" in waiting and "id_tags" in changed:
            self._to_load = {"id_tags": [*waiting["id_tags"], *changed["id_tags"]]}
        else:
            self._to_load = {}
        self._must_load.set()

    async def keep_up(self, failed: Callable[[str], None]) -> None:
        """Read again for ever what others change: one after the other, so that the newest stays.

        Args:
            failed: called with one line when something could not be read; it is tried again.
        """
        while True:
            await self._must_load.wait()
            self._must_load.clear()
            changed, self._to_load = self._to_load, None
            if changed is None:
                continue
            try:
                await self.load_again(changed)
            except StoreFailed as failure:
                failed(failure.reason)
                self.have_changed(changed)
                await asyncio.sleep(_LOAD_AGAIN)

    async def id_tags(self, limit: int, after: str | None = None) -> list[tuple[str, IdTagInfo]]:
        """Return id tags that were set, case-folded, in their order: `limit` at most, those behind `after`.

        Raises:
            StoreFailed: there is no answer.
        """
        statement = select(ID_TAGS).order_by(ID_TAGS.c.id_tag).limit(limit)
        if after is not None:
            statement = statement.where(ID_TAGS.c.id_tag > storable(after.casefold()))
        rows = await self._store.read(lambda connection: connection.execute(statement).all())
        return [(row.id_tag, _info(row)) for row in rows]

    async def put_boot_policy(self, policy: BootPolicy) -> None:
        """Set what BootNotification.req is answered from now on.

        Raises:
            StoreFailed: it is not kept; nothing has changed.
        """
        await self._put(_BOOT_POLICY, {"status": policy.status, "interval": policy.interval})
        self._handlers.boot_policy = policy
        self._changed({"id_tags": []})

    async def put_unknown(self, status: str) -> None:
        """Set the AuthorizationStatus of id tags that are not set.

        Raises:
            StoreFailed: it is not kept; nothing has changed.
        """
        await self._put(_UNKNOWN, status)
        self._id_tags.unknown = status
        self._changed({"id_tags": []})

    async def put_id_tags(self, infos: Mapping[str, IdTagInfo]) -> None:
        """Set what is known of id tags.

        Raises:
            TooManyIdTags: there is no room for all of them; nothing has changed.
            StoreFailed: they are not kept; nothing has changed.
        """
        rows = [
            {"id_tag": storable(id_tag.casefold()), **{name: getattr(info, name) for name in _TAG_COLUMNS}}
            for id_tag, info in infos.items()
        ]

        def write(connection: Connection) -> None:
            changes = {name: lambda row, name=name: row[name] for name in _TAG_COLUMNS}
            connection.execute(upsert(connection, ID_TAGS, ["id_tag"], changes), rows)
            if connection.execute(select(func.count()).select_from(ID_TAGS)).scalar_one() > MAX_ID_TAGS:
                raise TooManyIdTags(f"there would be more than {MAX_ID_TAGS} id tags")

        if rows:
            await self._write(write)
            for id_tag, info in infos.items():
                self._id_tags.put(id_tag, info)
            self._changed({"id_tags": [row["id_tag"] for row in rows]})

    async def delete_id_tags(self, id_tags: Iterable[str]) -> int:
        """Forget id tags; return how many were set.

        Raises:
            StoreFailed: they are not forgotten.
        """
        keys = {id_tag.casefold() for id_tag in id_tags}
        known = [key for key in keys if self._id_tags.get(key) is not None]
        if not known:
            return 0

        def write(connection: Connection) -> None:
            connection.execute(delete(ID_TAGS).where(in_set(connection, ID_TAGS.c.id_tag, known)))

        await self._write(write)
        gone = sum(self._id_tags.delete(key) for key in known)
        self._changed({"id_tags": known})
        return gone

    async def _put(self, name: str, value: object) -> None:
        row = {"name": name, "value": orjson.dumps(value).decode()}

        def write(connection: Connection) -> None:
            _put(connection, row)

        await self._write(write)

    async def _read(self, read: Work[T]) -> T:
        while True:
            before = self._own_changes
            found = await self._store.read(read)
            # What was read before a change of this process, and comes after it, would undo it here.
            if self._own_changes == before:
                return found

    async def _write(self, write: Work[None]) -> None:
        row = {"name": _REVISION, "value": secrets.token_hex(8)}

        def write_both(connection: Connection) -> None:
            write(connection)
            _put(connection, row)

        await self._store.write(write_both)
        self._own_changes += 1


def _put(connection: Connection, row: dict[str, str]) -> None:
    connection.execute(upsert(connection, SETTINGS, ["name"], {"value": lambda new: new.value}), [row])


def _values(connection: Connection) -> dict[str, str]:
    return {row.name: row.value for row in connection.execute(select(SETTINGS))}


def _info(row: Any) -> IdTagInfo:  # noqa: ANN401  a row of SQLAlchemy's
    return IdTagInfo(row.status, row.expiry_date, row.parent_id_tag, row.one_at_a_time)
