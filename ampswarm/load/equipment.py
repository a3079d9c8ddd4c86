"""Whether the charge points of a fleet have the passwords and certificates that they need, before they connect."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ampswarm.load.credentials import read_credential, read_roots
from ampswarm.load.fleet_table import InvalidFleetFile
from ampswarm.load.options import InvalidOption

if TYPE_CHECKING:
    from ampswarm.load.population import Credentials, FleetFile, Population

READS_FOR: Final = 10.0
"""Seconds that reading certificates may take: enough for some 40,000 with EC keys."""

_MOST_LOOKED_AT: Final = 1_000_000
"""Charge points of a fleet that are looked at: some seconds' work."""
_LOOKED_AT: Final = range(1, 100_000)
"""Charge points among which the first of a population is looked for."""

_Files = tuple[int, tuple[str, str], tuple[Path, Path]]
"""The place of a population, the keys that name certificate and private key, and their files."""


def check_lists(fleet: FleetFile, name: str, users: int | None = None) -> None:
    """Find out whether the CSV files of passwords and certificates name every charge point that needs it.

    Args:
        fleet: the fleet.
        name: of the fleet file, for messages.
        users: how many charge points there will be; `None` for as many as the counts come to. Where there
            are no counts either, nobody is looked for.

    Raises:
        InvalidFleetFile: with one line that names the file and the first that is missing.
    """
    places = {id(each): place for place, each in enumerate(fleet.populations, 1)}
    if not any(each.credentials and each.credentials.lists for each in fleet.populations):
        return
    for number in range(1, _known(fleet, users) + 1):
        population = fleet.population_of(number)
        credentials = population.credentials
        if credentials is None:
            continue
        identity = population.identity(number)
        key = credentials.missing(identity)
        if key:
            what = f"{credentials.lists.get(key, key)}: has no row for {identity!r}"
            raise _mistake(name, places[id(population)], key, what)


def check_paths(
    fleet: FleetFile,
    name: str,
    users: int | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> int | None:
    """Read the certificates, keys and CA files of a fleet, on the host that will use them.

    All CA files; the certificates and keys of every row of a CSV file; and where paths are made of identities,
    those of every charge point that will be there, or at least of each population's first one. When `READS_FOR`
    is over, for as long again only whether the files are there.

    Args:
        fleet: the fleet.
        name: of the fleet file, for messages.
        users: as for `check_lists`.
        clock: seconds.

    Returns:
        How many certificates were read where the time did not suffice for all of them; or `None`.

    Raises:
        InvalidFleetFile: with one line that names the file: it is not there, or has nothing in it that can be
            used, key and certificate do not belong together, or the certificate is not valid now.
    """
    utc = time.time()
    for place, population in enumerate(fleet.populations, 1):
        if population.credentials is not None:
            _check_roots(population.credentials, name, place, utc)
    began = clock()
    read = 0
    is_all = True
    for place, keys, files in _files(fleet, _known(fleet, users)):
        passed = clock() - began
        if passed > 2 * READS_FOR:
            return read
        for key, path in zip(keys, files, strict=True):
            _check_there(path, name, place, key)
        if passed > READS_FOR:
            is_all = False
            continue
        _check_credential(files, name, place, keys[0], utc)
        read += 1
    return None if is_all else read


def _known(fleet: FleetFile, users: int | None) -> int:
    return min((fleet.size or 0) if users is None else users, _MOST_LOOKED_AT)


def _files(fleet: FleetFile, known: int) -> Iterator[_Files]:
    """Yield what is in lists, then what belongs to each population's first, and then to all others that are known."""
    # Populations whose paths are made of identities: the place and the first charge point of each.
    made: dict[int, tuple[int, int]] = {}
    for place, population in enumerate(fleet.populations, 1):
        credentials = population.credentials
        if credentials is None:
            continue
        for files in credentials.certificates.values():
            yield place, ("certificates", "certificates"), files
        first = next((each for each in _LOOKED_AT if fleet.population_of(each) is population), 0)
        if credentials.certificate and first:
            yield place, *_made_for(population, first)
            if "{identity" in credentials.certificate + credentials.private_key:
                made[id(population)] = place, first
    for number in range(1, known + 1) if made else ():
        population = fleet.population_of(number)
        place, first = made.get(id(population), (0, 0))
        if place and number != first:
            yield place, *_made_for(population, number)


def _made_for(population: Population, number: int) -> tuple[tuple[str, str], tuple[Path, Path]]:
    assert population.credentials is not None
    files = population.credentials.certificate_of(population.identity(number))
    assert files is not None
    return ("certificate", "private_key"), files


def _check_roots(credentials: Credentials, name: str, place: int, utc: float) -> None:
    files = [("ca_file", credentials.ca_file), ("manufacturer_ca_file", credentials.manufacturer_ca_file)]
    for key, path in files:
        if path is not None:
            _check_there(path, name, place, key)
            try:
                roots = read_roots(str(path))
            except InvalidOption as error:
                raise _mistake(name, place, key, f"{error}") from None
            if not any(root.is_valid(utc) for root in roots):
                raise _mistake(name, place, key, f"{path}: no certificate in it is valid now")


def _check_there(path: Path, name: str, place: int, key: str) -> None:
    if not path.exists():
        raise _mistake(name, place, key, f"{path}: no such file")


def _check_credential(files: tuple[Path, Path], name: str, place: int, key: str, utc: float) -> None:
    try:
        credential = read_credential(str(files[0]), str(files[1]))
    except InvalidOption as error:
        raise _mistake(name, place, key, f"{error}") from None
    if not credential.is_valid(utc):
        what = "has expired" if credential.not_after < utc else "is not valid yet"
        raise _mistake(name, place, key, f"{files[0]}: {what}")


def _mistake(name: str, place: int, key: str, what: str) -> InvalidFleetFile:
    return InvalidFleetFile(f"{name}: populations[{place}].security.{key}: {what}")
