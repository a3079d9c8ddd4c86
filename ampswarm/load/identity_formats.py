"""Whether two formats of identities can ever make the same identity."""

from __future__ import annotations

import re
from collections.abc import Iterator
from string import Formatter
from typing import Final

_TRIED: Final = sorted({*range(1, 130), *(digit * 10**power + more for power in range(2, 9)
                                         for digit in (1, 2, 9) for more in (0, 1, 10))})  # fmt: skip
"""Numbers of charge points whose identities are looked for among those of another format."""
_BASES: Final = (10, 16, 8, 2)
_DIGITS: Final = re.compile(r"[0-9A-Fa-f][0-9A-Fa-f,_]*")


def collision(one: str, other: str) -> tuple[int, int] | None:
    """Return numbers of two charge points to which these formats give the same identity; `None` if none were found.

    The same number is no collision: a charge point belongs to one population. Where a format holds its
    number once, as decimal, hexadecimal, octal or binary digits, any collision of the numbers that are
    tried is found, however far off the other number is.

    Args:
        one: a format that gives each number an identity of its own.
        other: another one.
    """
    if one == other:
        return None
    for first, second, is_swapped in ((one, other, False), (other, one, True)):
        beginning, end = _ends(first)
        for number in _TRIED:
            identity = second.format(number)
            if not (identity.startswith(beginning) and identity.endswith(end)):
                continue
            for candidate in _numbers_in(identity[len(beginning) : len(identity) - len(end)]):
                if candidate not in {0, number} and first.format(candidate) == identity:
                    return (number, candidate) if is_swapped else (candidate, number)
    return None


def _ends(identity_format: str) -> tuple[str, str]:
    """Return the texts before the first and after the last number of a format."""
    parts = list(Formatter().parse(identity_format))
    beginning = parts[0][0]
    end = parts[-1][0] if parts[-1][1] is None else ""
    return beginning, end


def _numbers_in(text: str) -> Iterator[int]:
    """Return every number that a format may have written as a part of `text`."""
    for digits in _DIGITS.findall(text):
        plain = digits.replace(",", "").replace("_", "")
        for base in _BASES:
            try:
                yield int(plain, base)
            except ValueError:
                continue
