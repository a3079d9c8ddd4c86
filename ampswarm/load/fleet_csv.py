"""The CSV files that a fleet file names."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Final

from ampswarm.load.fleet_table import InvalidFleetFile, Table

Read = Callable[[str], str]
"""Gives the text of a CSV file, by its name as it stands in the fleet file; OSError where it cannot be
read, KeyError where it did not travel along, UnicodeDecodeError where it is no text."""

_LONGEST_PATH: Final = 4096


def rows(read: Read, table: Table, key: str, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each row of a CSV file, with the name of the file and the line where it begins; at least one.

    Args:
        read: gives its text.
        table: where it is named.
        key: the key that names it.
        columns: what the first row must say; every row has as many cells, none of them empty.

    Raises:
        InvalidFleetFile: with one line that names the key, or the CSV file and the line.
    """
    name = table.text(key, longest=_LONGEST_PATH)
    header = ",".join(columns)
    reader = csv.reader(StringIO(_text(read, table, key, name), newline=""), strict=True)
    line = 1
    is_first = True
    count = 0
    try:
        for row in reader:
            where, line = f"{name}: line {line}", reader.line_num + 1
            if not row:
                continue
            if is_first:
                if tuple(row) != columns:
                    raise InvalidFleetFile(f"{where}: must name the columns: {header}")
                is_first = False
                continue
            _check_row(where, row, columns)
            count += 1
            yield where, row
    except csv.Error as error:
        raise InvalidFleetFile(f"{name}: line {line}: {error}") from None
    if count == 0:
        raise InvalidFleetFile(f"{name}: has no rows after the one that names the columns: {header}")


def why(error: OSError) -> str:
    """Return why a file cannot be read."""
    return "no such file" if isinstance(error, FileNotFoundError) else f"{error.strerror}".lower()


def _text(read: Read, table: Table, key: str, name: str) -> str:
    try:
        return read(name).removeprefix("\ufeff")
    except OSError as error:
        raise table.mistake(key, f"{name}: {why(error)}") from None
    except UnicodeDecodeError:
        raise table.mistake(key, f"{name}: is not UTF-8") from None
    except KeyError:
        raise table.mistake(key, f"{name}: did not come with the fleet file") from None


def _check_row(where: str, row: list[str], columns: tuple[str, ...]) -> None:
    if len(row) != len(columns):
        has = "1 column" if len(row) == 1 else f"{len(row)} columns"
        raise InvalidFleetFile(f"{where}: has {has} instead of {len(columns)}")
    for column, cell in zip(columns, row, strict=True):
        if not cell:
            raise InvalidFleetFile(f"{where}: {column} is empty")
        if cell != cell.strip():
            raise InvalidFleetFile(f"{where}: {column} begins or ends with a space")
