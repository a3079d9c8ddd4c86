"""Arrivals as text: `ramp 0/s to 200/s over 5min, poisson 200/s for 10min`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final

from ampswarm.arrivals import curve
from ampswarm.arrivals.curve import HOURS, Curve
from ampswarm.arrivals.files import day_hours, recorded_times
from ampswarm.arrivals.flaw import InvalidArrivals
from ampswarm.arrivals.pace import Arrivals, Even, Poisson, Replay, Sequence

Read = Callable[[str], str]
"""Gives the text of a file, by its name as it was written; OSError or UnicodeDecodeError where it cannot."""

_SHAPES: Final = ("constant", "ramp", "steps", "spike", "day", "replay")
_TOKEN: Final = re.compile(r'\s*(?:"([^"]*)"|(,)|([^\s,"]+))')
_RATE: Final = re.compile(r"\+?(-?[0-9.eE]+)/(s|min|h)")
_TIME: Final = re.compile(r"([0-9.eE]+)(ms|s|min|h)")
_FACTOR: Final = re.compile(r"x([0-9.eE]+)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_MOST: Final = 1e6
"""Arrivals per second, and times as fast: more is a slip of the pen."""
_LONGEST: Final = 366 * 24 * 3600.0
"""Seconds."""


def parse(text: str, read: Read, seed: str) -> Arrivals:
    """Return the arrivals that a text describes.

    Args:
        text: pieces, separated by commas or `then`.
        read: gives the text of the files that it names.
        seed: of what is left to chance.

    Raises:
        InvalidArrivals: it does not; one line, with the piece where there are several.
    """
    pieces = list(_pieces(text))
    found: list[Arrivals] = []
    for number, words in enumerate(pieces, 1):
        where = f"piece {number}: " if len(pieces) > 1 else ""
        try:
            found.append(_Piece(words, read, f"{seed}/{number}").parse())
        except InvalidArrivals as error:
            raise InvalidArrivals(f"{where}{error}") from None
        if number < len(pieces) and found[-1].duration == inf:
            raise InvalidArrivals(f"{where}it has no end, and something comes after it: it needs a `for`")
    return found[0] if len(found) == 1 else Sequence(found)


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    is_quoted: bool = False


def _pieces(text: str) -> Iterator[list[_Word]]:
    words: list[_Word] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidArrivals("a quotation mark has no other one")
        position = match.end()
        quoted, comma, word = match.groups()
        if comma or word == "then":
            yield words
            words = []
        else:
            words.append(_Word(quoted, is_quoted=True) if quoted is not None else _Word(word))
    yield words


class _Piece:
    """The words of one piece, read from left to right."""

    def __init__(self, words: list[_Word], read: Read, seed: str) -> None:
        self._words = words
        self._at = 0
        self._read = read
        self._seed = seed

    def parse(self) -> Arrivals:
        if not self._words:
            raise InvalidArrivals("there is no arrival in it")
        is_poisson = self._take("poisson")
        try:
            if not is_poisson and self._take("replay"):
                arrivals: Arrivals = self._replay()
            else:
                shape = self._curve(is_poisson=is_poisson)
                arrivals = Poisson(shape, self._seed) if is_poisson else Even(shape)
        except InvalidArrivals:
            raise
        except ValueError as error:
            raise InvalidArrivals(f"{error}") from None
        if self._at < len(self._words):
            raise InvalidArrivals(f"{self._words[self._at].text!r} is not understood here")
        return arrivals

    def _curve(self, *, is_poisson: bool) -> Curve:
        if self._take("constant"):
            found = curve.constant(self._rate())
        elif self._take("ramp"):
            begin = self._rate()
            end = self._rate("to")
            found = curve.ramp(begin, end, self._time("over"))
        elif self._take("steps"):
            begin = self._rate()
            step = self._rate()
            every = self._time("every")
            self._expect("up" if step >= 0 else "down")
            found = curve.steps(begin, step, every, self._rate("to"))
        elif self._take("spike"):
            found = self._spike()
        elif self._take("day"):
            return self._day()
        elif is_poisson and self._at < len(self._words) and _RATE.fullmatch(self._words[self._at].text):
            found = curve.constant(self._rate())
        else:
            raise InvalidArrivals(f"{self._shown()} is none of: {', '.join(('poisson', *_SHAPES))}")
        return found.for_seconds(self._time()) if self._take("for") else found

    def _spike(self) -> Curve:
        rate = self._rate()
        peak = self._rate("peak")
        at = self._time("at", least=0.0)
        seconds = self._time("for")
        return curve.spike(rate, peak, at, seconds, self._time() if self._take("over") else inf)

    def _day(self) -> Curve:
        hours = day_hours(*self._file())
        acceleration = self._factor()
        begin = self._number_of_hours() if self._take("from") else 0.0
        return curve.day(hours, acceleration, begin, self._time() if self._take("for") else None)

    def _replay(self) -> Replay:
        times = recorded_times(*self._file())
        return Replay(times, self._factor())

    # -- words --------------------------------------------------------------------------------

    def _take(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at] == _Word(word):
            self._at += 1
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise InvalidArrivals(f"{self._shown()} where {word!r} should be")

    def _shown(self) -> str:
        return repr(self._words[self._at].text) if self._at < len(self._words) else "nothing"

    def _measure(self, pattern: re.Pattern[str], what: str) -> tuple[float, str]:
        match = pattern.fullmatch(self._words[self._at].text) if self._at < len(self._words) else None
        try:
            value = float(match[1]) if match else inf
        except ValueError:
            value = inf
        if match is None or not isfinite(value):
            raise InvalidArrivals(f"{self._shown()} where {what} should be")
        self._at += 1
        return value, match[match.lastindex or 1]

    def _rate(self, word: str = "") -> float:
        if word:
            self._expect(word)
        shown = self._shown()
        value, unit = self._measure(_RATE, "a rate as in 50/s, 10/min or 4/h")
        if abs(value) / _SECONDS[unit] > _MOST:
            raise InvalidArrivals(f"{shown} is more than {_MOST:g}/s")
        return value / _SECONDS[unit]

    def _time(self, word: str = "", least: float = 0.001) -> float:
        if word:
            self._expect(word)
        shown = self._shown()
        value, unit = self._measure(_TIME, "a time as in 90s, 10min or 2h")
        if not least <= value * _SECONDS[unit] <= _LONGEST:
            raise InvalidArrivals(f"{shown} is not a time from {least:g} s to {_LONGEST:g} s")
        return value * _SECONDS[unit]

    def _factor(self) -> float:
        if self._at == len(self._words) or not self._words[self._at].text.startswith("x"):
            return 1.0
        shown = self._shown()
        value, _ = self._measure(_FACTOR, "an acceleration as in x60")
        if not 1 / _MOST <= value <= _MOST:
            raise InvalidArrivals(f"{shown} is not an acceleration as in x60")
        return value

    def _number_of_hours(self) -> float:
        shown = self._shown()
        match = re.fullmatch(r"(\d{1,2}):(\d\d)", self._words[self._at].text) if self._at < len(self._words) else None
        if match is None or int(match[1]) >= HOURS or int(match[2]) >= 60:
            raise InvalidArrivals(f"{shown} where a time of day as in 06:30 should be")
        self._at += 1
        return int(match[1]) + int(match[2]) / 60

    def _file(self) -> tuple[str, str]:
        if self._at == len(self._words):
            raise InvalidArrivals("nothing where the name of a CSV file should be")
        name = self._words[self._at].text
        self._at += 1
        try:
            return name, self._read(name).removeprefix("\ufeff")
        except FileNotFoundError:
            raise InvalidArrivals(f"{name}: no such file") from None
        except OSError as error:
            raise InvalidArrivals(f"{name}: {f'{error.strerror}'.lower()}") from None
        except ValueError:  # UnicodeDecodeError, and a NUL in the name
            raise InvalidArrivals(f"{name}: is not UTF-8") from None
