"""The security tables of a fleet file: how charge points authenticate themselves (whitepaper 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ampswarm.load.fleet_csv import Read, rows
from ampswarm.load.fleet_table import InvalidFleetFile, Table
from ampswarm.load.population import Credentials
from ampswarm.ocppj.identity import InvalidIdentity, encode_identity

SECURITY_KEYS: Final = (
    "profile", "password", "passwords", "certificate", "private_key", "certificates", "ca_file", "manufacturer_ca_file",
)  # fmt: skip
_LISTS: Final = ("passwords", "certificates")
_PASSWORD_BYTES: Final = range(16, 41)
"""What a password may have: at least 16 (whitepaper A00.FR.205), and at most what an AuthorizationKey
has digits, since there are central systems that take these for the password."""
_LONGEST_PATH: Final = 4096


def credentials_of(population: Table, folder: Path, read: Read, identities: Sequence[str]) -> Credentials | None:
    """Return the credentials of a population; `None` where it has no security table.

    Args:
        population: its table.
        folder: where relative paths begin.
        read: gives the texts of CSV files.
        identities: some of the population, to try formats with.

    Raises:
        InvalidFleetFile: with one line that says where the mistake is.
    """
    security = population.table("security", SECURITY_KEYS)
    if security is None:
        return None
    profile = security.integer("profile", least=0, most=3, default=0)
    security.refuse_both("passwords", "password")
    security.refuse_both("certificates", "certificate", "private_key")
    has_paths = "certificate" in security or "private_key" in security
    credentials = Credentials(
        profile,
        password=_password(security, identities) if "password" in security else "",
        passwords=_passwords(security, read) if "passwords" in security else {},
        certificate=_path_format(security, "certificate", folder, identities) if has_paths else "",
        private_key=_path_format(security, "private_key", folder, identities) if has_paths else "",
        certificates=_certificates(security, folder, read) if "certificates" in security else {},
        ca_file=_path(security, "ca_file", folder),
        manufacturer_ca_file=_path(security, "manufacturer_ca_file", folder),
        lists={key: security.text(key, longest=_LONGEST_PATH) for key in _LISTS if key in security},
    )
    _check_profile(security, credentials, identities)
    return credentials


def _check_profile(security: Table, credentials: Credentials, identities: Sequence[str]) -> None:
    profile = credentials.profile
    if profile in {1, 2}:
        if not (credentials.password or credentials.passwords):
            raise security.mistake("profile", f"{profile} needs password or passwords")
        if any(":" in identity for identity in identities):
            raise security.mistake(
                "profile", f"{profile} sends the identity as a user name, which cannot hold a colon (RFC 7617)"
            )
    if profile == 3 and not (credentials.certificate or credentials.certificates):
        raise security.mistake("profile", "3 needs certificate and private_key, or certificates")


def _password(security: Table, identities: Sequence[str]) -> str:
    text = security.format("password", longest=255, identities=identities)
    for identity in identities:
        flaw = _flaw(text.format(identity=identity))
        if flaw:
            raise security.mistake("password", f"of {identity!r} {flaw}")
    return text


def _passwords(security: Table, read: Read) -> dict[str, str]:
    passwords: dict[str, str] = {}
    for where, (identity, password) in rows(read, security, "passwords", ("identity", "password")):
        _check_identity(where, identity, passwords)
        flaw = _flaw(password)
        if flaw:
            raise InvalidFleetFile(f"{where}: password {flaw}")
        passwords[identity] = password
    return passwords


def _certificates(security: Table, folder: Path, read: Read) -> dict[str, tuple[Path, Path]]:
    certificates: dict[str, tuple[Path, Path]] = {}
    columns = ("identity", "certificate", "private_key")
    for where, (identity, certificate, private_key) in rows(read, security, "certificates", columns):
        _check_identity(where, identity, certificates)
        certificates[identity] = folder / certificate, folder / private_key
    return certificates


def _path(security: Table, key: str, folder: Path) -> Path | None:
    return folder / security.text(key, longest=_LONGEST_PATH) if key in security else None


def _path_format(security: Table, key: str, folder: Path, identities: Sequence[str]) -> str:
    text = security.format(key, longest=_LONGEST_PATH, identities=identities)
    return str(Path(f"{folder}".replace("{", "{{").replace("}", "}}")) / text)


def _flaw(password: str) -> str:
    """Return what is wrong with a password, without repeating it (whitepaper A01.FR.12)."""
    length = len(password.encode())
    if length not in _PASSWORD_BYTES:
        return f"has {length} bytes, not 16 to 40 (whitepaper A00.FR.205)"
    return "" if password.isprintable() else "must not hold control characters"


def _check_identity(where: str, identity: str, seen: Mapping[str, object]) -> None:
    try:
        encode_identity(identity)
    except InvalidIdentity as error:
        raise InvalidFleetFile(f"{where}: identity cannot be used: {error}") from None
    if identity in seen:
        raise InvalidFleetFile(f"{where}: identity {identity!r} is there twice")
