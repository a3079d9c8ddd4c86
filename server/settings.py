"""What operators set at run time: id tags, and what BootNotification is answered. Kept in the store.

Answers to charge points come from memory; every process has all of it, and reads again what another has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson
from sqlalchemy import Connection, delete, func, select

from server.handlers import BootPolicy, Handlers
from server.id_tags import MAX_ID_TAGS, IdTagInfo, IdTags, TooManyIdTags
from server.sql import upsert
from server.store import Store
from server.tables import ID_TAGS, SETTINGS

_BOOT_POLICY: Final = "boot policy"
_UNKNOWN: Final = "unknown id tags"
_TAG_COLUMNS: Final = ("status", "expiry_date", "parent_id_tag", "one_at_a_time")


class Settings:
    """The settings of all processes that share a store.

    Args:
        store: where they are kept.
        handlers: where the boot policy is.
        id_tags: the id tags.
        changed: tells the other processes to read them again.
    """

    def __init__(self, store: Store, handlers: Handlers, id_tags: IdTags, changed: Callable[[], None]) -> None:
        self._store = store
        self._handlers = handlers
        self._id_tags = id_tags
        self._changed = changed
        self._default_policy = handlers.boot_policy

    async def load(self) -> None:
        """Read all of them.

        Raises:
            StoreFailed: there is no answer; they stay as they are.
        """

        def read(connection: Connection) -> tuple[dict[str, str], list[Any]]:
            names = dict(connection.execute(select(SETTINGS.c.name, SETTINGS.c.value)).tuples().all())
            return names, list(connection.execute(select(ID_TAGS)))

        values, tags = await self._store.read(read)
        policy = orjson.loads(values[_BOOT_POLICY]) if _BOOT_POLICY in values else None
        self._handlers.boot_policy = self._default_policy if policy is None else BootPolicy(**policy)
        self._id_tags.unknown = orjson.loads(values[_UNKNOWN]) if _UNKNOWN in values else "Accepted"
        self._id_tags.clear()
        for row in tags:
            self._id_tags.put(row.id_tag, IdTagInfo(row.status, row.expiry_date, row.parent_id_tag, row.one_at_a_time))

    async def put_boot_policy(self, policy: BootPolicy) -> None:
        """Set what BootNotification.req is answered from now on.

        Raises:
            StoreFailed: it is not kept; nothing has changed.
        """
        await self._put(_BOOT_POLICY, {"status": policy.status, "interval": policy.interval})
        self._handlers.boot_policy = policy
        self._changed()

    async def put_unknown(self, status: str) -> None:
        """Set the AuthorizationStatus of id tags that are not set.

        Raises:
            StoreFailed: it is not kept; nothing has changed.
        """
        await self._put(_UNKNOWN, status)
        self._id_tags.unknown = status
        self._changed()

    async def put_id_tags(self, infos: Mapping[str, IdTagInfo]) -> None:
        """Set what is known of id tags.

        Raises:
            TooManyIdTags: there is no room for all of them; nothing has changed.
            StoreFailed: they are not kept; nothing has changed.
        """
        rows = [
            {"id_tag": id_tag.casefold(), **{name: getattr(info, name) for name in _TAG_COLUMNS}}
            for id_tag, info in infos.items()
        ]

        def write(connection: Connection) -> None:
            changes = {name: lambda row, name=name: row[name] for name in _TAG_COLUMNS}
            connection.execute(upsert(connection, ID_TAGS, ["id_tag"], changes), rows)
            if connection.execute(select(func.count()).select_from(ID_TAGS)).scalar_one() > MAX_ID_TAGS:
                raise TooManyIdTags(f"there would be more than {MAX_ID_TAGS} id tags")

        if rows:
            await self._store.write(write)
            for id_tag, info in infos.items():
                self._id_tags.put(id_tag, info)
            self._changed()

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
            connection.execute(delete(ID_TAGS).where(ID_TAGS.c.id_tag.in_(known)))

        await self._store.write(write)
        gone = sum(self._id_tags.delete(key) for key in known)
        self._changed()
        return gone

    async def _put(self, name: str, value: object) -> None:
        row = {"name": name, "value": orjson.dumps(value).decode()}

        def write(connection: Connection) -> None:
            connection.execute(upsert(connection, SETTINGS, ["name"], {"value": lambda new: new.value}), [row])

        await self._store.write(write)
