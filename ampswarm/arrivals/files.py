"""CSV files of arrivals: the hours of a day, and recorded times."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from io import StringIO
from math import isfinite
from typing import Final

from ampswarm.arrivals.curve import HOURS
from ampswarm.arrivals.flaw import InvalidArrivals

_SHOWN: Final = 40
"""Characters of a bad value that a message repeats."""


def day_hours(name: str, text: str) -> list[float]:
    """Return the arrivals of each hour of a day, from midnight on.

    Args:
        name: the file's, for messages.
        text: columns `hour` (0 to 23, each once) and `arrivals`, named in the first row; others are passed over.

    Raises:
        InvalidArrivals: with the name of the file, and the line.
    """
    hours: dict[int, float] = {}
    for where, (hour, arrivals) in _rows(name, text, ("hour", "arrivals")):
        if not (hour.isascii() and hour.isdigit() and len(hour) <= 2 and int(hour) < HOURS):
            raise InvalidArrivals(f"{where}: hour: {_shown(hour)} is not an hour from 0 to {HOURS - 1}")
        if int(hour) in hours:
            raise InvalidArrivals(f"{where}: hour: {int(hour)} comes a second time")
        hours[int(hour)] = _number(where, "arrivals", arrivals)
    missing = [f"{hour}" for hour in range(HOURS) if hour not in hours]
    if missing:
        raise InvalidArrivals(f"{name}: has no row for hour {', '.join(missing)}")
    if not any(hours.values()):
        raise InvalidArrivals(f"{name}: nothing ever arrives")
    return [hours[hour] for hour in range(HOURS)]


def recorded_times(name: str, text: str) -> list[float]:
    """Return recorded times of arrivals, in seconds.

    Args:
        name: the file's, for messages.
        text: with a column `seconds`, or a column `timestamp` in RFC 3339 that counts from the earliest one;
            named in the first row; others are passed over. In any order.

    Raises:
        InvalidArrivals: with the name of the file, and the line.
    """
    header = next(csv.reader(StringIO(text, newline="")), [])
    if "timestamp" in header and "seconds" not in header:
        moments = [_moment(where, cell) for where, (cell,) in _rows(name, text, ("timestamp",))]
        first = min(moments)
        return [each - first for each in moments]
    return [_number(where, "seconds", cell) for where, (cell,) in _rows(name, text, ("seconds",))]


def _rows(name: str, text: str, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each row's cells of `columns`, and where it is; at least one."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    line = 1
    places: list[int] | None = None
    count = 0
    try:
        for row in reader:
            where, line = f"{name}: line {line}", reader.line_num + 1
            if not row:
                continue
            if places is None:
                header = [cell.strip() for cell in row]
                missing = [column for column in columns if column not in header]
                if missing:
                    raise InvalidArrivals(f"{where}: must name the column {missing[0]}")
                places = [header.index(column) for column in columns]
                continue
            if len(row) <= max(places):
                raise InvalidArrivals(f"{where}: has too few columns")
            count += 1
            yield where, [row[place].strip() for place in places]
    except csv.Error as error:
        raise InvalidArrivals(f"{name}: line {line}: {error}") from None
    if not count:
        raise InvalidArrivals(f"{name}: has no rows after the one that names the columns")


def _number(where: str, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0:
        raise InvalidArrivals(f"{where}: {column}: {_shown(cell)} is not a number of 0 or more")
    return value


def _moment(where: str, cell: str) -> float:
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidArrivals(f"{where}: timestamp: {_shown(cell)} is not a time as in 2026-05-01T06:30:00.5Z")
    return moment.timestamp()


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= _SHOWN else cell[:_SHOWN] + "…")
