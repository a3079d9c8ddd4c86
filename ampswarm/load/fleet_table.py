"""The tables of a fleet file: typed values, and one clear line with file and key for what cannot be one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from datetime import date, time
from math import isfinite
from string import Formatter
from typing import Final

from ampswarm.distribution import Distribution, Exponential, Fixed, LogNormal, Normal, Uniform

_LONGEST_SHOWN: Final = 40
"""Characters of a bad value that a message repeats."""
_MOST_SIGMA: Final = 10.0
"""Of a lognormal distribution: more would overflow, and means nothing."""

_LONGEST_FORMAT: Final = 4096

FORMAT_ERRORS: Final = (ValueError, IndexError, KeyError, AttributeError, TypeError, OverflowError)
"""What str.format() raises for a text that is no format, or not of what it is given."""

DISTRIBUTION_KEYS: Final = {
    "fixed": ("value",),
    "uniform": ("min", "max"),
    "normal": ("mean", "sigma", "min", "max"),
    "lognormal": ("median", "sigma", "min", "max"),
    "exponential": ("mean", "min", "max"),
}


class InvalidFleetFile(ValueError):  # noqa: N818  the sentence reads better
    """A fleet file that cannot be used; one clear line with the file and the key or line."""


class Table:
    """One table of a fleet file.

    Every method that takes a value raises `InvalidFleetFile` where it is missing and has no default, or
    is not what it must be.

    Args:
        values: what it holds.
        file: the name of the file, for messages.
        path: where in the file it is, as in `populations[2].charging`; empty for the whole.
        keys: all that may stand in it; `None` for any.

    Raises:
        InvalidFleetFile: it holds another key.
    """

    __slots__ = ("_file", "_path", "_values")

    def __init__(
        self, values: Mapping[str, object], file: str, path: str = "", *, keys: Collection[str] | None
    ) -> None:
        self._values = values
        self._file = file
        self._path = path
        for key in values:
            if keys is not None and key not in keys:
                raise self.unknown(key, keys, f"unknown key; known are {', '.join(keys)}")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    @property
    def keys(self) -> list[str]:
        """What is given, in the order of the file."""
        return list(self._values)

    def path(self, key: str = "") -> str:
        """Return where in the file `key` is; without one, where the table is."""
        return ".".join(part for part in (self._path, on_one_line(key)) if part)

    def mistake(self, key: str, what: str) -> InvalidFleetFile:
        """Return the error that says what is wrong with `key`; with an empty one, with the table itself."""
        return InvalidFleetFile(": ".join(part for part in (self._file, self.path(key), what) if part))

    def unknown(self, key: str, keys: Collection[str], otherwise: str) -> InvalidFleetFile:
        """Return the error for a key that is not among `keys`: with the one that may be meant, or `otherwise`."""
        close = difflib.get_close_matches(key, keys, n=1)
        return self.mistake(key, f"unknown key; did you mean {close[0]}?" if close else otherwise)

    def refuse_both(self, key: str, *others: str) -> None:
        """Raise where `key` and one of `others` are given."""
        for other in others:
            if key in self and other in self:
                raise self.mistake(key, f"cannot be given together with {other}")

    def text(self, key: str, *, longest: int, default: str | None = None) -> str:
        """Return a text of 1 to `longest` characters, all printable."""
        if default is not None and key not in self:
            return default
        value = self._value(key)
        if not isinstance(value, str):
            raise self.mistake(key, f"must be a text, not {shown(value)}")
        flaw = text_flaw(value, longest)
        if flaw:
            raise self.mistake(key, flaw)
        return value

    def format(self, key: str, *, longest: int, identities: Sequence[str]) -> str:
        """Return a Python format with `{identity}`, which makes at most `longest` characters of `identities`."""
        text = self.text(key, longest=_LONGEST_FORMAT)
        try:
            for _, name, _, _ in Formatter().parse(text):
                if name not in {None, "identity"}:
                    raise self.mistake(key, f"cannot fill in {{{name}}}, only {{identity}}")
            for identity in identities:
                made = text.format(identity=identity)
                flaw = text_flaw(made, longest)
                if flaw:
                    raise self.mistake(key, f"makes of {identity!r} a text that {flaw}")
        except FORMAT_ERRORS as error:
            if isinstance(error, InvalidFleetFile):
                raise
            raise self.mistake(key, f"is not a format: {error}") from None
        return text

    def choice(self, key: str, *choices: str) -> str:
        """Return one of the choices; the first where nothing is given."""
        if key not in self:
            return choices[0]
        value = self._values[key]
        if value not in choices:
            quoted = " or ".join(f'"{each}"' for each in choices)
            raise self.mistake(key, f"must be {quoted}, not {shown(value)}")
        assert isinstance(value, str)
        return value

    def number(
        self,
        key: str,
        *,
        least: float = 0.0,
        above: float | None = None,
        most: float,
        default: float | None = None,
    ) -> float:
        """Return a number from `least` to `most`, and above `above`."""
        if default is not None and key not in self:
            return default
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124  NaN
            raise self.mistake(key, f"must be a number, not {shown(value)}")
        self._check_range(key, value, least, above, most)
        return float(value)

    def integer(self, key: str, *, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number from `least` to `most`."""
        if default is not None and key not in self:
            return default
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.mistake(key, f"must be a whole number, not {shown(value)}")
        self._check_range(key, value, least, None, most)
        return value

    def numbers(self, key: str, count: int, *, most: float) -> tuple[float, ...]:
        """Return `count` numbers from 0 to `most`, not all 0."""
        value = self._value(key)
        if not isinstance(value, list) or len(value) != count:
            what = f"{len(value)}" if isinstance(value, list) else shown(value)
            raise self.mistake(key, f"must be a list of {count} numbers, not {what}")
        each = Table({f"{key}[{i}]": number for i, number in enumerate(value, 1)}, self._file, self._path, keys=None)
        numbers = tuple(each.number(name, least=0, most=most) for name in each.keys)
        if not any(numbers):
            raise self.mistake(key, "must not be 0 all the time")
        return numbers

    def texts(self, key: str, *, longest: int) -> tuple[str, ...]:
        """Return a list of texts of 1 to `longest` characters, all printable."""
        value = self._value(key)
        if not isinstance(value, list):
            raise self.mistake(key, f"must be a list of texts, not {shown(value)}")
        each = Table({f"{key}[{i}]": text for i, text in enumerate(value, 1)}, self._file, self._path, keys=None)
        return tuple(each.text(name, longest=longest) for name in each.keys)

    def is_table(self, key: str) -> bool:
        """Whether a table is given."""
        return isinstance(self._values.get(key), dict)

    def table(self, key: str, keys: Collection[str] | None) -> Table | None:
        """Return the table at `key`, `None` where nothing is given."""
        if key not in self:
            return None
        value = self._values[key]
        if not isinstance(value, dict):
            raise self.mistake(key, f"must be a table, not {shown(value)}")
        return Table(value, self._file, self.path(key), keys=keys)

    def tables(self, key: str, keys: Collection[str]) -> list[Table]:
        """Return the array of tables at `key`, empty where nothing is given; in messages they count from 1."""
        value = self._values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.mistake(key, f"must be an array of tables, [[{self.path(key)}]], not {shown(value)}")
        return [Table(each, self._file, f"{self.path(key)}[{i}]", keys=keys) for i, each in enumerate(value, 1)]

    def settings(self) -> dict[str, str]:
        """Return every value of the table as OCPP writes configuration values (core 7.29): as texts."""
        return {key: self._setting(key) for key in self._values}

    def distribution(self, key: str, *, least: float, most: float, scale: float = 1.0) -> Distribution:
        """Return a distribution that draws nothing outside `least` to `most`.

        Args:
            key: where a number stands, or a table with `distribution` and its parameters.
            least: the least that makes sense, in the unit of the file.
            most: the most.
            scale: what one unit of the file is in the unit of the result.
        """
        value = self._value(key)
        if not isinstance(value, dict):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise self.mistake(key, f"must be a number or a distribution, not {shown(value)}")
            return Fixed(self.number(key, least=least, most=most) * scale)
        kinds = tuple(DISTRIBUTION_KEYS)
        kind = value.get("distribution", kinds)
        known = DISTRIBUTION_KEYS.get(kind) if isinstance(kind, str) else None
        if known is None:
            what = "is missing" if kind is kinds else f"unknown distribution {shown(kind)}"
            raise Table(value, self._file, self.path(key), keys=None).mistake(
                "distribution", f"{what}; known are {', '.join(kinds)}"
            )
        return _distribution(
            Table(value, self._file, self.path(key), keys=("distribution", *known)), kind, least, most, scale
        )

    def _value(self, key: str) -> object:
        if key not in self._values:
            raise self.mistake(key, "is missing")
        return self._values[key]

    def _setting(self, key: str) -> str:
        value = self._values[key]
        match value:
            case bool():
                return "true" if value else "false"
            case str():
                return value
            case int() | float() if isfinite(value) and abs(value) < 1e15:
                return f"{value}"
            case list() if all(isinstance(each, str) for each in value):
                return ",".join(value)
        raise self.mistake(key, f"must be a text, a number, true, false or a list of texts, not {shown(value)}")

    def _check_range(self, key: str, value: float, least: float, above: float | None, most: float) -> None:
        if above is not None and not value > above:
            raise self.mistake(key, f"must be above {above:g}, not {shown(value)}")
        if not least <= value <= most:
            bounds = f"{least:.10g} to {most:.10g}" if above is None else f"at most {most:.10g}"
            raise self.mistake(key, f"must be {bounds}, not {shown(value)}")


def _distribution(table: Table, kind: str, least: float, most: float, scale: float) -> Distribution:
    minimum = maximum = 0.0
    if kind != "fixed":
        is_bounded = kind == "uniform"
        minimum = table.number("min", least=least, most=most, default=None if is_bounded else least)
        maximum = table.number("max", least=least, most=most, default=None if is_bounded else most)
        if minimum > maximum:
            raise table.mistake("min", f"must not be above max, {maximum:g}, but is {minimum:g}")
    low, high = minimum * scale, maximum * scale
    try:
        match kind:
            case "fixed":
                return Fixed(table.number("value", least=least, most=most) * scale)
            case "uniform":
                return Uniform(low, high)
            case "normal":
                mean, sigma = table.number("mean", least=-1e9, most=1e9), table.number("sigma", above=0, most=1e9)
                return Normal(mean * scale, sigma * scale, low, high)
            case "lognormal":
                median = table.number("median", above=0, most=1e9)
                return LogNormal(median * scale, table.number("sigma", above=0, most=_MOST_SIGMA), low, high)
            case _:
                return Exponential(table.number("mean", above=0, most=1e9) * scale, low, high)
    except InvalidFleetFile:
        raise
    except ValueError as error:
        raise table.mistake("", f"{error}") from None


def text_flaw(text: str, longest: int) -> str:
    """Return what keeps `text` from being 1 to `longest` printable characters; empty for nothing."""
    if not text:
        return "must not be empty"
    if len(text) > longest:
        return f"has {len(text)} characters, of which {longest} are allowed"
    if not text.isprintable():
        return "must not hold control characters"
    return ""


def shown(value: object) -> str:
    """Return a bad value as a message repeats it: short, and on one line."""
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 1] + "…")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value}" if isinstance(value, float) or abs(value) < 10**15 else "a number of more than 15 digits"
    if isinstance(value, date | time):
        return "a date or time"
    return "a list" if isinstance(value, list) else "a table"


def on_one_line(text: str) -> str:
    """Return a text that may hold anything, as a part of a message: TOML's quoted keys may hold line breaks."""
    return text if text.isprintable() else repr(text)
