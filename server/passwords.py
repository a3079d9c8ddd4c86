"""Slow hashes of charge points' passwords, and the command that makes a password file of them.

A hash is Argon2id (RFC 9106) in PHC format, such as `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import secrets
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NoReturn, TextIO

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from ampswarm.ocppj.identity import InvalidIdentity, encode_identity
from ampswarm.option_types import integer

MAX_MEMORY_KIB: Final = 1024 * 1024
MAX_ITERATIONS: Final = 100
MAX_LANES: Final = 16
_PASSWORD_BYTES: Final = range(16, 41)
"""Whitepaper A00.FR.205 has at least 16; 40 is what fleet files allow."""
_PHC: Final = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,9}),p=(\d{1,9})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)
_BATCH: Final = 1000
_PROGRESS_INTERVAL: Final = 2.0


class BadHash(ValueError):  # noqa: N818  the sentence reads better
    """A text that is no hash which can be verified here; the message does not repeat it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash costs whoever makes or verifies it (RFC 9106, 3.1)."""

    memory_kib: int = 19456
    iterations: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        """Keep to what a process can bear that verifies for a fleet.

        Raises:
            BadHash: it is too much, or less than Argon2 allows.
        """
        if not (1 <= self.lanes <= MAX_LANES and 1 <= self.iterations <= MAX_ITERATIONS):
            raise BadHash(f"Argon2id has 1 to {MAX_ITERATIONS} iterations (t), and 1 to {MAX_LANES} lanes (p) here")
        if not 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB:
            raise BadHash(f"Argon2id has 8 KiB a lane to {MAX_MEMORY_KIB} KiB of memory (m) here")


def cost_of(phc: str) -> Cost:
    """Return what it costs to verify a hash.

    Raises:
        BadHash: it is not Argon2id in PHC format, or costs too much.
    """
    matched = _PHC.fullmatch(phc)
    if matched is None:
        raise BadHash("the hash is not Argon2id in PHC format ($argon2id$v=19$m=…,t=…,p=…$salt$hash)")
    memory_kib, iterations, lanes = (int(text) for text in matched.groups()[:3])
    return Cost(memory_kib, iterations, lanes)


def make_hash(password: bytes, cost: Cost) -> str:
    """Return the hash of a password, in PHC format, with a salt of its own."""
    return Argon2id(
        salt=secrets.token_bytes(16),
        length=32,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive_phc_encoded(password)


def nobodys_hash(cost: Cost) -> str:
    """Return a hash that costs as much as others, and is no password's."""
    salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={cost.memory_kib},t={cost.iterations},p={cost.lanes}${salt}${digest}"


def verify(password: bytes, phc: str) -> bool:
    """Return whether a hash is that of `password`. Takes as long as it costs, without the interpreter's lock.

    Raises:
        BadHash: it cannot be verified.
    """
    cost_of(phc)
    try:
        Argon2id.verify_phc_encoded(password, phc)
    except InvalidKey:
        return False
    except ValueError:
        raise BadHash("the hash cannot be verified") from None
    return True


# -- the command ----------------------------------------------------------------------------------


class _MistakeError(Exception):
    """One line for whoever called the command."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, and exit with status 2."""
        sys.stderr.write(f"{self.prog}: error: {message}\n")
        sys.exit(2)


def _rows(text: Iterable[str], name: str) -> Iterator[tuple[str, bytes]]:
    """Yield identities and passwords of a CSV file; mistakes name its line, and repeat no password."""
    reader = csv.reader(text, strict=True)
    seen: set[str] = set()
    columns: list[str] | None = None
    line = 1
    try:
        for row in reader:
            where, line = f"{name}: line {line}", reader.line_num + 1
            if not row:
                continue
            if columns is None:
                columns = [cell.removeprefix("\ufeff") for cell in row]
                if columns not in (["identity", "password"], ["identity", "authorization_key"]):
                    raise _MistakeError(
                        f"{where}: must name the columns: identity,password or identity,authorization_key"
                    )
                continue
            if len(row) != 2:
                raise _MistakeError(f"{where}: has {len(row)} columns instead of 2")
            identity, secret = row
            _check_identity(where, identity, seen)
            yield identity, _password(where, secret, is_hexadecimal=columns[1] == "authorization_key")
    except csv.Error as error:
        raise _MistakeError(f"{name}: line {line}: {error}") from None
    except UnicodeDecodeError:
        raise _MistakeError(f"{name}: is not UTF-8") from None
    if not seen:
        raise _MistakeError(f"{name}: has no rows after the one that names the columns")


def _check_identity(where: str, identity: str, seen: set[str]) -> None:
    try:
        encode_identity(identity)
    except InvalidIdentity as error:
        raise _MistakeError(f"{where}: identity: {error}") from None
    if ":" in identity:
        raise _MistakeError(f"{where}: {identity!r} has a colon, which no user name can have (RFC 7617)")
    if identity in seen:
        raise _MistakeError(f"{where}: {identity!r} is there twice")
    seen.add(identity)


def _password(where: str, text: str, *, is_hexadecimal: bool) -> bytes:
    password = text.encode()
    if is_hexadecimal:
        if re.fullmatch("(?:[0-9a-fA-F]{2})*", text) is None:
            raise _MistakeError(f"{where}: authorization_key is not hexadecimal")
        password = bytes.fromhex(text)
    if len(password) not in _PASSWORD_BYTES:
        raise _MistakeError(f"{where}: password has {len(password)} bytes, not 16 to 40 (whitepaper A00.FR.205)")
    return password


def _lines(rows: Iterator[tuple[str, bytes]], cost: Cost) -> Iterator[str]:
    """Yield the lines of a password file, made on all cores, in order."""

    def line(row: tuple[str, bytes]) -> str:
        identity, password = row
        return f"{encode_identity(identity)}:{make_hash(password, cost)}\n"

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while batch := list(islice(rows, _BATCH)):
            yield from threads.map(line, batch)


def _write(lines: Iterator[str], output: TextIO) -> int:
    began = told = time.monotonic()
    count = 0
    for count, line in enumerate(lines, 1):
        output.write(line)
        now = time.monotonic()
        if now - told >= _PROGRESS_INTERVAL:
            told = now
            sys.stderr.write(f"{count} passwords, {count / (now - began):.0f} each second\n")
    return count


def _run(source: str, target: Path | None, cost: Cost) -> None:
    with ExitStack() as opened:
        if source == "-":
            # A descriptor of our own: the text stream would take the locale's encoding, and change line breaks.
            text, name = opened.enter_context(open(os.dup(0), encoding="utf-8", newline="")), "stdin"  # noqa: PTH123
        else:
            text, name = opened.enter_context(Path(source).open(encoding="utf-8", newline="")), source
        if target is None:
            count = _write(_lines(_rows(text, name), cost), sys.stdout)
            sys.stdout.flush()
        else:
            # Whoever reads the file meanwhile has the old one whole, and nobody else has it at all.
            descriptor, unfinished = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            opened.callback(Path(unfinished).unlink, missing_ok=True)
            with os.fdopen(descriptor, "w", encoding="ascii") as output:
                count = _write(_lines(_rows(text, name), cost), output)
            Path(unfinished).replace(target)
    sys.stderr.write(f"{count} passwords\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    default = Cost()
    parser = _Parser(
        prog="central-system-passwords",
        description="Makes the central system's password file from a CSV file with the columns identity,password, "
        "as fleet files have, or identity,authorization_key in hexadecimal.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("csv", metavar="CSV", nargs="?", default="-", help="the CSV file; - for stdin")
    add("--output", metavar="FILE", type=Path, help="the password file, for this user's eyes only; without it, stdout")
    add("--memory-kib", metavar="N", type=integer(8, MAX_MEMORY_KIB, "a size in KiB"), default=default.memory_kib,
        help="memory that each hash takes")  # fmt: skip
    add("--iterations", metavar="N", type=integer(1, MAX_ITERATIONS, "a number"), default=default.iterations,
        help="passes over it")  # fmt: skip
    add("--lanes", metavar="N", type=integer(1, MAX_LANES, "a number"), default=default.lanes,
        help="parts that could be computed at the same time")  # fmt: skip
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Make a password file; return the exit status."""
    parser = build_parser()
    options = parser.parse_args(args)
    try:
        _run(options.csv, options.output, Cost(options.memory_kib, options.iterations, options.lanes))
    except BrokenPipeError:
        return 1
    except OSError as error:
        parser.error(f"{error.filename or 'output'}: {error.strerror}")
    except (_MistakeError, BadHash) as mistake:
        parser.error(str(mistake))
    return 0


if __name__ == "__main__":
    sys.exit(main())
