"""What a storm is: who is hit, by what, when, for how long. Pure values: `--storm "at=60s share=50% kind=network"`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import isfinite
from random import Random
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "": 1.0}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)(ms|s|min|h|)", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
_MAX_SECONDS: Final = 30 * 24 * 3600.0
_MAX_SEED: Final = 2**31 - 1
_GOLDEN_RATIO: Final = 0.6180339887498949


class StormKind(StrEnum):
    """What happens to a charge point that is hit."""

    NETWORK = "network"
    """Its connection is cut, its state kept: it comes back without a boot (J 5.4)."""
    POWER = "power"
    """It loses its power, and boots when that is back."""
    BLACKHOLE = "blackhole"
    """Nothing gets through in either direction, and neither end is told."""
    HERD = "herd"
    """As network, and all come back in one instant: no back-off, no jitter."""


class InvalidStorm(ArgumentTypeError):  # noqa: N818
    """What was written is no storm; one clear line."""


@dataclass(frozen=True, slots=True)
class Storm:
    """A storm over a part of the fleet. Times in seconds.

    Args:
        kind: what it does.
        share: the part of the fleet that it hits, above 0 and at most 1.
        at: since the test began; `None` for at once.
        away: how long network or power is gone, or nothing gets through.
        over: from the first charge point that is hit to the last.
        seed: draws another part of the fleet.
        name: what it is called in reports; empty for none.
    """

    kind: StormKind
    share: float = 1.0
    at: float | None = None
    away: float = 0.0
    over: float = 0.0
    seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        # Written so that nan fails, too.
        if not 0 < self.share <= 1:
            raise InvalidStorm("share: must be above 0 and at most 100%")
        if self.kind is StormKind.BLACKHOLE and not self.away:
            raise InvalidStorm("for: missing: a blackhole needs the seconds for which nothing gets through")

    def place(self, number: int) -> float:
        """Return the place of charge point `number` in the storm, from 0 up to 1; below `share`, it is hit.

        It follows from the seed and the number alone, so the same charge points are hit wherever they live. The
        multiples of the golden ratio spread evenly: of any hundred in a row, a share of a half is about fifty.
        """
        return (number * _GOLDEN_RATIO + _shift(self.seed)) % 1.0

    def hits(self) -> Callable[[int], bool]:
        """Return what tells, for the number of a charge point, whether the storm hits it."""
        share, shift = self.share, _shift(self.seed)
        return lambda number: (number * _GOLDEN_RATIO + shift) % 1.0 < share

    def moment(self, number: int) -> float:
        """Return when charge point `number` is hit, in seconds since the storm began."""
        return self.over * self.place(number) / self.share

    def __str__(self) -> str:
        """Return what `parse_storm` takes."""
        words = [] if self.at is None else [f"at={_time(self.at)}"]
        words += [f"share={_share(self.share)}", f"kind={self.kind}"]
        words += [f"{key}={_time(value)}" for key, value in (("for", self.away), ("over", self.over)) if value]
        words += [f"{key}={value}" for key, value in (("seed", self.seed), ("name", self.name)) if value]
        return " ".join(words)


@cache
def _shift(seed: int) -> float:
    return Random(seed).random() if seed else 0.0  # noqa: S311  no secret


def parse_storm(text: str) -> Storm:
    """Return the storm that `text` describes, as in `at=60s share=50% kind=network for=30s over=5s seed=7 name=dawn`.

    Raises:
        InvalidStorm: it describes none; one line with the key that is wrong.
    """
    try:
        return Storm(**_read(text))  # type: ignore[arg-type]
    except InvalidStorm as error:
        raise InvalidStorm(f"{text!r}: {error}") from None


NO_STORM: Final = "none"
"""In place of all storms: those of the scenario do not come."""


def parse_storms(text: str) -> tuple[Storm, ...]:
    """Return storms that are planned, with `;` between them; `NO_STORM` alone is no storm.

    Raises:
        InvalidStorm: one of them is none, or does not say when it comes.
    """
    if text.strip() == NO_STORM:
        return ()
    storms = tuple(parse_storm(each.strip()) for each in text.split(";") if each.strip())
    for each in storms:
        if each.at is None:
            raise InvalidStorm(f"'{each}': at: missing: the seconds since the test began, as in at=60s")
    return storms


def storms_text(text: str) -> str:
    """Return `text` if `parse_storms` takes it; for an option, whose value travels to the workers as it was written."""
    parse_storms(text)
    return text


def _read(text: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for word in text.split():
        key, sign, value = word.partition("=")
        if not sign:
            raise InvalidStorm(f"{word!r} is not KEY=VALUE")
        if key not in _KEYS:
            raise InvalidStorm(f"{key!r} is none of: {', '.join(_KEYS)}")
        field, parse = _KEYS[key]
        if field in found:
            raise InvalidStorm(f"{key}: is there twice")
        try:
            found[field] = parse(value)
        except ValueError as error:
            raise InvalidStorm(f"{key}: {error}") from None
    if "kind" not in found:
        raise InvalidStorm(f"kind: missing: one of {', '.join(StormKind)}")
    return found


def _parse_time(text: str) -> float:
    match = _TIME.fullmatch(text)
    seconds = float(match[1]) * _UNITS[match[2]] if match else float("nan")
    if not (isfinite(seconds) and seconds <= _MAX_SECONDS):
        raise ValueError(f"{text!r} is not a time, as in 30s, 500ms, 2min or 1h")
    return seconds


def _parse_share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = float("nan")
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not a share, as in 50% or 0.5: above 0 and at most 100%")
    return share


def _parse_kind(text: str) -> StormKind:
    if text not in set(StormKind):
        raise ValueError(f"{text!r} is none of: {', '.join(StormKind)}")
    return StormKind(text)


def _parse_seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16 and int(text) <= _MAX_SEED):
        raise ValueError(f"{text!r} is not a seed (0 to {_MAX_SEED})")
    return int(text)


def _parse_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name: letters, digits, '.', '_' and '-', 40 at most")
    return text


_KEYS: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "at": ("at", _parse_time),
    "share": ("share", _parse_share),
    "kind": ("kind", _parse_kind),
    "for": ("away", _parse_time),
    "over": ("over", _parse_time),
    "seed": ("seed", _parse_seed),
    "name": ("name", _parse_name),
}


def _time(seconds: float) -> str:
    return f"{int(seconds) if seconds == int(seconds) else repr(seconds)}s"


def _share(share: float) -> str:
    percent = f"{share * 100:g}%"
    return percent if _parse_share(percent) == share else repr(share)
