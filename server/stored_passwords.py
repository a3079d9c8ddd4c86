"""Hashes of charge points' passwords in the store, which all processes share and operators change at run time."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from sqlalchemy import Connection, delete, select, update

from server.passwords import Cost, make_hash, verify
from server.sql import storable, upsert
from server.store import Store, StoreFailed
from server.tables import PASSWORDS

_RETRY_INTERVAL: Final = 1.0


class StoredPasswords:
    """A source of passwords for `authentication`.

    While a charge point is being sent a new password, both are good: whether it has taken it may never be known here.

    Args:
        store: where the hashes are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cost: Final = Cost()
        self._thread = ThreadPoolExecutor(1, "hashes")
        self._deciding: set[asyncio.Task[None]] = set()

    async def find(self, identity: str) -> Sequence[str]:
        """Return the hashes of a charge point's password; empty if it has none. The second one was proposed to it.

        Raises:
            StoreFailed: there is no answer.
        """
        statement = select(PASSWORDS.c.phc, PASSWORDS.c.proposed).where(PASSWORDS.c.identity == storable(identity))
        row = await self._store.read(lambda connection: connection.execute(statement).one_or_none())
        return () if row is None else [phc for phc in row if phc is not None]

    async def used(self, identity: str, phc: str) -> None:
        """A charge point has come with the password that was proposed to it: it is the only one from now on.

        Raises:
            StoreFailed: both stay.
        """
        await self._settle(identity, phc, is_taken=True)

    async def put(self, identity: str, password: bytes) -> None:
        """Set a charge point's password.

        Raises:
            StoreFailed: it is not kept; the one before still holds.
        """
        loop = asyncio.get_running_loop()
        phc = await loop.run_in_executor(self._thread, make_hash, password, self._cost)
        await self.put_hashes({identity: phc})

    async def put_hashes(self, hashes: Mapping[str, str]) -> None:
        """Set the hashes of charge points' passwords, by identity.

        Raises:
            StoreFailed: they are not kept; those before still hold.
        """
        rows = [
            {"identity": storable(identity), "phc": phc, "proposed": None} for identity, phc in sorted(hashes.items())
        ]
        changes = {"phc": lambda row: row.phc, "proposed": lambda row: row.proposed}

        def write(connection: Connection) -> None:
            connection.execute(upsert(connection, PASSWORDS, ["identity"], changes), rows)

        if rows:
            await self._store.write(write)

    async def delete(self, identity: str) -> bool:
        """Forget a charge point's password; return whether it had one.

        Raises:
            StoreFailed: it is not forgotten.
        """

        def write(connection: Connection) -> int:
            return connection.execute(delete(PASSWORDS).where(PASSWORDS.c.identity == storable(identity))).rowcount

        return bool(await self._store.write(write))

    async def propose(self, identity: str, authorization_key: str) -> None:
        """Let a charge point in with a new password too, from before it gets to know it (whitepaper A01).

        Args:
            identity: whose.
            authorization_key: hexadecimal (A00.FR.205); what is not is taken as text.

        Raises:
            StoreFailed: that is not kept.
        """
        loop = asyncio.get_running_loop()
        phc = await loop.run_in_executor(self._thread, make_hash, _bytes(authorization_key), self._cost)
        row = {"identity": storable(identity), "phc": None, "proposed": phc}

        def write(connection: Connection) -> None:
            changes = {"proposed": lambda new: new.proposed}
            connection.execute(upsert(connection, PASSWORDS, ["identity"], changes), [row])

        await self._store.write(write)

    def decided(self, identity: str, authorization_key: str, *, is_taken: bool) -> None:
        """A charge point has taken its new password (A01.FR.03), or has not (A01.FR.04): forget the other one."""
        task = asyncio.get_running_loop().create_task(self._decide(identity, authorization_key, is_taken=is_taken))
        self._deciding.add(task)
        task.add_done_callback(self._deciding.discard)

    async def close(self) -> None:
        """Finish what was decided; hash nothing any more."""
        if self._deciding:
            _, late = await asyncio.wait(self._deciding, timeout=_RETRY_INTERVAL)
            for task in late:
                task.cancel()
        self._thread.shutdown(wait=False)

    async def _decide(self, identity: str, authorization_key: str, *, is_taken: bool) -> None:
        password = _bytes(authorization_key)
        loop = asyncio.get_running_loop()
        while True:
            try:
                for phc in await self.find(identity):
                    # It may be one that was proposed after this one.
                    if await loop.run_in_executor(self._thread, verify, password, phc):
                        await self._settle(identity, phc, is_taken=is_taken)
            except StoreFailed:
                # Until then, both are good.
                await asyncio.sleep(_RETRY_INTERVAL)
            else:
                return

    async def _settle(self, identity: str, phc: str, *, is_taken: bool) -> None:
        mine = PASSWORDS.c.identity == storable(identity), PASSWORDS.c.proposed == phc
        values: dict[str, Any] = {"proposed": None} if not is_taken else {"phc": phc, "proposed": None}
        await self._store.write(lambda connection: connection.execute(update(PASSWORDS).where(*mine).values(values)))


def _bytes(authorization_key: str) -> bytes:
    try:
        return binascii.unhexlify(authorization_key)
    except (ValueError, binascii.Error):
        return authorization_key.encode()
