"""Passwords of charge points, where they are in the store. They can be set, and never read."""

from __future__ import annotations

import binascii
from enum import Enum
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response

from server.api.answers import answers, as_json, failing, failure, nothing
from server.api.models import Identity, PasswordBody, PasswordHashes, PasswordsSet
from server.gate import PREFIX
from server.passwords import BadHash, cost_of
from server.stored_passwords import StoredPasswords

_ALL: Final = f"{PREFIX}/passwords"
_ONE: Final = f"{PREFIX}/passwords/{{identity:text}}"
_TAGS: Final[list[str | Enum]] = ["passwords"]
_SETTING: Final = HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE


class PasswordRoutes:
    """The routes of passwords.

    Args:
        passwords: where they are; `None` where they are not in the store.
    """

    def __init__(self, passwords: StoredPasswords | None) -> None:
        self._passwords = passwords

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            _ALL,
            self.put_hashes,
            methods=["PUT"],
            tags=_TAGS,
            summary="Set the hashes of many passwords",
            responses=answers(PasswordsSet, "All are set.", *_SETTING),
        )
        router.add_api_route(
            _ONE,
            self.put,
            methods=["PUT"],
            tags=_TAGS,
            summary="Set a charge point's password",
            status_code=HTTPStatus.NO_CONTENT,
            responses={HTTPStatus.NO_CONTENT: {"description": "It is set."}, **failing(*_SETTING)},
        )
        router.add_api_route(
            _ONE,
            self.delete,
            methods=["DELETE"],
            tags=_TAGS,
            summary="Forget a charge point's password",
            status_code=HTTPStatus.NO_CONTENT,
            responses={
                HTTPStatus.NO_CONTENT: {"description": "It is forgotten: the charge point is not let in any more."},
                **failing(HTTPStatus.NOT_FOUND, *_SETTING),
            },
        )

    async def put_hashes(self, body: PasswordHashes) -> Response:
        """By identity, as in a password file: all of them or none; the others stay as they are."""
        if self._passwords is None:
            return _elsewhere()
        for identity, phc in body.items():
            try:
                cost_of(phc)
            except BadHash as bad:
                return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", f"{identity}: {bad}")
        await self._passwords.put_hashes(body)
        return as_json({"passwords": len(body)})

    async def put(self, identity: Identity, body: PasswordBody) -> Response:
        """It counts from the next connection on."""
        if self._passwords is None:
            return _elsewhere()
        if (body.password is None) == (body.hexadecimal is None):
            why = "either password or hexadecimal is needed, and not both"
            return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", why)
        if body.password is not None:
            password = body.password.encode()
        else:
            assert body.hexadecimal is not None
            try:
                password = binascii.unhexlify(body.hexadecimal)
            except (ValueError, binascii.Error):
                why = "hexadecimal: it is not made of pairs of hexadecimal digits"
                return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", why)
        await self._passwords.put(identity, password)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def delete(self, identity: Identity) -> Response:
        """A connection that stands is not closed by it."""
        if self._passwords is None:
            return _elsewhere()
        if not await self._passwords.delete(identity):
            return nothing("it has no password")
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _elsewhere() -> Response:
    why = "passwords are not in the store: --stored-passwords is off"
    return failure(HTTPStatus.CONFLICT, "NotStored", why)
