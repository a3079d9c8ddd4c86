"""Numbers of a plan, each with the arithmetic behind it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Final

from ampswarm.plan.constants import MIB, Constant

STEP: Final = 64 * MIB
"""Bytes by which memory limits of containers differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """One number that is printed."""

    key: str
    """Its name for machines."""
    label: str
    value: float
    unit: str
    how: str
    """The arithmetic: inputs, constants, result."""
    constants: tuple[Constant, ...] = ()
    note: str = ""
    """What decided it, in a few words."""

    @property
    def text(self) -> str:
        """The value as it is read, with its unit."""
        return f"{number(self.value)} {self.unit}".rstrip()


def number(value: float) -> str:
    """Return it with thousands apart, whole or in three digits."""
    if value == round(value):
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:,.1f}"
    return f"{value:.3g}"


def up(value: float, step: int) -> int:
    """Return the next multiple of `step` that is not less."""
    return ceil(value / step) * step


def down(value: float, step: int) -> int:
    """Return the last multiple of `step` that is not more."""
    return floor(value / step) * step


def down_to_two_digits(value: float) -> int:
    """Return a rate that is not more, with two digits that say something; 1 at least."""
    whole = max(1, floor(value))
    step: int = 10 ** max(0, len(str(whole)) - 2)
    return down(whole, step)


def percent(constant: Constant) -> float:
    """Return a margin as a part of 1."""
    return constant.value / 100
