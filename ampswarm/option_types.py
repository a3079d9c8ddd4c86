"""What options and environment variables may say: parsers with one clear line for what they may not.

Both commands use them: the central system's, and Locust's with Ampswarm's options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import isfinite
from typing import Final

from ampswarm.ocppj.identity import encode_identity

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_SAMPLE_NUMBERS: Final = sorted(
    {digit * 10**power + more for power in range(9) for digit in (1, 2, 9) for more in (0, 1, 10)}
)
"""Numbers that differ in each of their digits: what makes two of them alike is no format for a fleet."""


def boolean(text: str) -> bool:
    """Return what `text` says: true, yes, on, 1 or false, no, off, 0, in any case."""
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return value


def integer(least: int, most: int, what: str) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`; `what` names one, with its unit."""

    def parse(text: str) -> int:
        # int() alone would take " 80", "8_0" and the digits of other scripts.
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < 16 and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} ({least} to {most})")

    return parse


def seconds(least: float, most: float) -> Callable[[str], float]:
    """Return a parser of times in seconds from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if isfinite(value) and least <= value <= most:
            return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds ({least:g} to {most:g})")

    return parse


def percent(text: str) -> float:
    """Return a share from 0 to 100."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if isfinite(value) and 0 <= value <= 100:
        return value
    raise argparse.ArgumentTypeError(f"{text!r} is not a share in percent (0 to 100)")


def share(most: float) -> Callable[[str], float]:
    """Return a parser of shares such as 5% or 0.05, from 0 to `most`."""

    def parse(text: str) -> float:
        number = text.strip().removesuffix("%")
        try:
            value = float(number) / (100 if number != text.strip() else 1)
        except ValueError:
            value = float("nan")
        if isfinite(value) and 0 <= value <= most:
            return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 5% or 0.05 (0 to {most * 100:g}%)")

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a parser that takes one of `choices`."""

    def parse(text: str) -> str:
        if text in choices:
            return text
        raise argparse.ArgumentTypeError(f"{text!r} is none of: {', '.join(choices)}")

    return parse


def identity_format(text: str) -> str:
    """Return a format that gives every number an identity of its own.

    Raises:
        argparse.ArgumentTypeError: it does not.
    """
    try:
        identities = [text.format(number) for number in _SAMPLE_NUMBERS]
        for identity in identities:
            encode_identity(identity)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a format of identities: {error}") from None
    if len(set(identities)) < len(identities):
        raise argparse.ArgumentTypeError(
            f"{text!r} gives several charge points the same identity: it needs a place for the whole "
            "number, as in CP{:06d}"
        )
    return text


port: Final = integer(0, 65535, "a port")


def name_variable(parser: argparse.ArgumentParser, message: str) -> str:
    """Return argparse's error message with the environment variable that sets the same option.

    The bad value may well have come from there, and argparse names only the flag.
    """
    for action in parser._actions:  # noqa: SLF001  argparse has no public list of its options
        variable = getattr(action, "env_var", None)
        prefix = f"argument {'/'.join(action.option_strings)}: "
        if variable and message.startswith(prefix):
            return f"{action.option_strings[-1]} or {variable}: {message.removeprefix(prefix)}"
    return message
