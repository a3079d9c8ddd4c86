"""Who a charge point is: HTTP Basic passwords and client certificates (whitepaper A00, profiles 1 to 3)."""

from __future__ import annotations

import asyncio
import binascii
import hmac
import os
import secrets
from base64 import b64decode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from http import HTTPStatus
from typing import Any, Final, Protocol

from server.metrics import RefusalReason
from server.passwords import BadHash, Cost, cost_of, nobodys_hash, verify
from server.upgrade import Refusal

MAX_VERIFIED: Final = 1_000_000
"""Charge points whose password need not be hashed again; about 150 bytes each, the oldest is forgotten first."""
MAX_WAITING: Final = 200
"""Passwords that wait for their hash at one time; others are sent away for a while."""
_BUSY_RETRY_AFTER: Final = 10
_SOURCE_TIMEOUT: Final = 10.0

Certificate = Mapping[str, Any]
"""A client's certificate, verified, in the form of ssl.SSLSocket.getpeercert()."""

CHALLENGE: Final = (("WWW-Authenticate", 'Basic realm="OCPP-J", charset="UTF-8"'),)


class PasswordSource(Protocol):
    """Where the hashes of charge points' passwords are."""

    async def find(self, identity: str) -> str | None:
        """Return the hash of a charge point's password (Argon2id, PHC format); `None` if it has none.

        Asked at every connection: a change counts from the next one on. Whatever it raises is taken for an
        outage of the source: the charge point is told to come back.
        """


class VerifiedPasswords:
    """Which password was right for which hash: neither can be read from it, and the key dies with the process.

    Args:
        most: charge points that are remembered.
    """

    def __init__(self, most: int = MAX_VERIFIED) -> None:
        self._key = secrets.token_bytes(32)
        self._most = most
        self._digests: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._digests)

    def knows(self, identity: str, password: bytes, phc: str) -> bool:
        """Return whether the password was found right for this very hash."""
        known = self._digests.get(identity)
        return known is not None and hmac.compare_digest(known, self._digest(identity, password, phc))

    def remember(self, identity: str, password: bytes, phc: str) -> None:
        """Take note that the password is right."""
        self._digests.pop(identity, None)
        self._digests[identity] = self._digest(identity, password, phc)
        if len(self._digests) > self._most:
            del self._digests[next(iter(self._digests))]

    def forget(self, identity: str) -> None:
        """Verify the password of `identity` anew."""
        self._digests.pop(identity, None)

    def _digest(self, identity: str, password: bytes, phc: str) -> bytes:
        keyed = blake2b(key=self._key, digest_size=16)
        for part in (identity.encode(), phc.encode(), password):
            keyed.update(len(part).to_bytes(4, "big") + part)
        return keyed.digest()


class PasswordCheck:
    """Verifies passwords, in threads of its own.

    Args:
        source: where the hashes are.
        sample: a hash as they are; tells what it has to cost to find out nothing about an unknown charge point.
    """

    def __init__(self, source: PasswordSource, sample: str | None = None) -> None:
        self._source = source
        self._verified = VerifiedPasswords()
        self._nobodys = ""
        self.cost_like(sample)
        self._threads = ThreadPoolExecutor(max(1, min(4, (os.cpu_count() or 1) // 2)), "passwords")
        self.waiting = 0
        """Passwords that wait for their hash now."""

    def cost_like(self, sample: str | None) -> None:
        """Spend on unknown charge points what verifying `sample` costs; for `None` what a new hash costs."""
        self._nobodys = nobodys_hash(Cost() if sample is None else cost_of(sample))

    def forget(self, identity: str) -> None:
        """Take no earlier verification for good; not needed where the source gives another hash."""
        self._verified.forget(identity)

    def close(self) -> None:
        """Verify nothing any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def check(self, identity: str, authorization: str) -> Refusal | None:
        """Return why a charge point is not let in; `None` if its password is right.

        A wrong password and an unknown charge point take the same time and get the same answer.

        Args:
            identity: as in the connection URL.
            authorization: the value of the Authorization header; empty for none.
        """
        password = _claimed(identity, authorization)
        if isinstance(password, Refusal):
            return password
        try:
            async with asyncio.timeout(_SOURCE_TIMEOUT):
                phc = await self._source.find(identity)
        except Exception as error:  # noqa: BLE001  whatever it is: nobody can be let in unseen
            return _busy(f"passwords cannot be looked up: {type(error).__name__}")
        if phc is not None and self._verified.knows(identity, password, phc):
            return None
        if self.waiting >= MAX_WAITING:
            return _busy("too many passwords wait for their hash")
        self.waiting += 1
        try:
            refusal = await self._verify(password, phc)
        finally:
            self.waiting -= 1
        if refusal is None and phc is not None:
            self._verified.remember(identity, password, phc)
        return refusal

    async def _verify(self, password: bytes, phc: str | None) -> Refusal | None:
        loop = asyncio.get_running_loop()
        try:
            is_right = await loop.run_in_executor(self._threads, verify, password, phc or self._nobodys)
        except BadHash:
            return _unauthorized("the hash on record cannot be used")
        except RuntimeError:  # the threads were shut down
            return _busy("the central system is going away")
        if phc is None:
            return _unauthorized("unknown charge point")
        return None if is_right else _unauthorized("wrong password")


def _claimed(identity: str, authorization: str) -> bytes | Refusal:
    """Return the password that comes with a request in the name of `identity`, or why there is none."""
    if not authorization:
        return _unauthorized("no password")
    credentials = basic_credentials(authorization)
    if credentials is None:
        return _unauthorized("malformed Authorization header")
    user, password = credentials
    if user != identity.encode():
        return _unauthorized("the user name is not the identity")  # A00.FR.204, A00.FR.303
    return password


def basic_credentials(authorization: str) -> tuple[bytes, bytes] | None:
    """Return the user name and the password of an Authorization header (RFC 7617); `None` if it is malformed.

    Both are bytes: an AuthorizationKey is binary (whitepaper A00.FR.205).
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = b64decode(encoded.strip(" "), validate=True)
    except (ValueError, binascii.Error):
        return None
    user, colon, password = decoded.partition(b":")
    return (user, password) if colon else None


def check_certificate(identity: str, certificate: Certificate, organization: str | None) -> Refusal | None:
    """Return why a charge point with a certificate is not let in; `None` if it is its own.

    Args:
        identity: as in the connection URL; the certificate's CN must be the same (A00.FR.405).
        certificate: verified already.
        organization: what its O must be (A00.FR.404); `None` for anything.
    """
    names = [(name, value) for rdn in certificate.get("subject", ()) for name, value in rdn]
    if [value for name, value in names if name == "commonName"] != [identity]:
        return _forbidden("the certificate is another charge point's")
    if organization is not None and ("organizationName", organization) not in names:
        return _forbidden("the certificate is another organization's")
    return None


def _unauthorized(inside: str) -> Refusal:
    return Refusal(
        HTTPStatus.UNAUTHORIZED, "a user name and password are needed", CHALLENGE, inside, RefusalReason.UNAUTHORIZED
    )


def _forbidden(why: str) -> Refusal:
    return Refusal(HTTPStatus.FORBIDDEN, why, reason=RefusalReason.FORBIDDEN)


def _busy(inside: str) -> Refusal:
    retry = (("Retry-After", f"{_BUSY_RETRY_AFTER}"),)
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "try again later", retry, inside, RefusalReason.BUSY)
