"""Passwords of charge points from a file: `identity:hash` lines, read whole, and again when told to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ampswarm.ocppj.identity import InvalidIdentity, identity_from_path
from server.passwords import BadHash, cost_of


class BadPasswordFile(ValueError):  # noqa: N818  one line for whoever starts the process
    """A password file that cannot be used; the message repeats no hash."""


class PasswordFile:
    """The hashes of a password file; a PasswordSource.

    Args:
        path: the file. Each line is an identity as in the connection URL (percent-encoded, where it is not plain),
            a colon, and a hash of Argon2id in PHC format; empty lines and those that begin with # are passed over.

    Raises:
        BadPasswordFile: with one line that names the file, and the line in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hashes = read_password_file(path)

    def __len__(self) -> int:
        return len(self._hashes)

    async def find(self, identity: str) -> Sequence[str]:
        """Return a charge point's hash; empty if it has none."""
        phc = self._hashes.get(identity)
        return () if phc is None else (phc,)

    async def used(self, identity: str, phc: str) -> None:
        """Never called: there is but one hash for each."""

    def sample(self) -> str | None:
        """Return any hash of the file: what verifying one of it costs."""
        return next(iter(self._hashes.values()), None)

    def read(self) -> dict[str, str]:
        """Return what the file holds now, for `replace`. Takes seconds for a million; call it in a thread.

        Raises:
            BadPasswordFile: it cannot be used.
        """
        return read_password_file(self._path)

    def replace(self, hashes: dict[str, str]) -> None:
        """Use what `read` returned, from the next look-up on."""
        self._hashes = hashes


def read_password_file(path: Path) -> dict[str, str]:
    """Return the hashes in a password file, by identity.

    Raises:
        BadPasswordFile: with one line that says what is wrong, and where.
    """
    hashes: dict[str, str] = {}
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                number += 1
                text = line.rstrip("\r\n")
                if not text.strip() or text.startswith("#"):
                    continue
                _take(text, hashes)
    except OSError as error:
        raise BadPasswordFile(f"{path}: {error.strerror or 'cannot be read'}") from None
    except UnicodeDecodeError:
        raise BadPasswordFile(f"{path}: is not UTF-8") from None
    except (_FlawError, BadHash) as flaw:
        raise BadPasswordFile(f"{path}: line {number}: {flaw}") from None
    return hashes


class _FlawError(Exception):
    """What is wrong with a line."""


def _take(text: str, hashes: dict[str, str]) -> None:
    encoded, colon, phc = text.partition(":")
    if not colon:
        raise _FlawError("is not identity:hash")
    if "/" in encoded or "?" in encoded:
        raise _FlawError("the identity must be percent-encoded, as in the connection URL")
    try:
        identity = identity_from_path(encoded)
    except InvalidIdentity as error:
        raise _FlawError(f"the identity: {error}") from None
    cost_of(phc)
    if identity in hashes:
        raise _FlawError(f"{identity!r} is there twice")
    hashes[identity] = phc
