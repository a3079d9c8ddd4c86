"""Hashes of charge points' passwords in the store, which all processes share and operators change at run time."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sqlalchemy import Connection, delete, select

from server.passwords import Cost, make_hash
from server.sql import storable, upsert
from server.store import Store, StoreFailed
from server.tables import PASSWORDS


class StoredPasswords:
    """A source of passwords for `authentication`.

    Args:
        store: where the hashes are.
        report: called with an identity and one line when a new password could not be kept.
    """

    def __init__(self, store: Store, report: Callable[[str, str], None]) -> None:
        self._store = store
        self._report = report
        self._cost: Final = Cost()
        self._thread = ThreadPoolExecutor(1, "hashes")
        self._putting: dict[str, asyncio.Task[None]] = {}

    async def find(self, identity: str) -> str | None:
        """Return the hash of a charge point's password; `None` if it has none.

        Raises:
            StoreFailed: there is no answer.
        """
        putting = self._putting.get(identity)
        if putting is not None:
            # It comes back with its new password, sooner than that is kept.
            await asyncio.wait([putting])
        statement = select(PASSWORDS.c.phc).where(PASSWORDS.c.identity == storable(identity))
        return await self._store.read(lambda connection: connection.execute(statement).scalar_one_or_none())

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
        rows = [{"identity": storable(identity), "phc": phc} for identity, phc in sorted(hashes.items())]

        def write(connection: Connection) -> None:
            connection.execute(upsert(connection, PASSWORDS, ["identity"], {"phc": lambda row: row.phc}), rows)

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

    def changed(self, identity: str, authorization_key: str) -> None:
        """A charge point has accepted a new AuthorizationKey: it is its password from now on (whitepaper A01).

        Args:
            identity: whose.
            authorization_key: hexadecimal (A00.FR.205); what is not is taken as text.
        """
        try:
            password = binascii.unhexlify(authorization_key)
        except (ValueError, binascii.Error):
            password = authorization_key.encode()
        task = asyncio.get_running_loop().create_task(self._keep(identity, password))
        self._putting[identity] = task

    def close(self) -> None:
        """Hash nothing any more."""
        self._thread.shutdown(wait=False)

    async def _keep(self, identity: str, password: bytes) -> None:
        try:
            await self.put(identity, password)
        except (StoreFailed, RuntimeError) as error:
            # RuntimeError: the thread was shut down.
            self._report(identity, f"its new password is not kept: {error}")
        finally:
            if self._putting.get(identity) is asyncio.current_task():
                del self._putting[identity]
