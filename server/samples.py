"""What meter values say of themselves: their order, their times, and the energy register in them. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol

import orjson

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc
from server.sql import storable_integer

METER_TOLERANCE: Final = 10
"""Wh by which a register may seem to run backwards: it is reported in Wh and in kWh, and rounded in between."""
_REGISTER: Final = "Energy.Active.Import.Register"
_FACTORS: Final = {"Wh": 1, "kWh": 1000}
TIME_TOLERANCE: Final = 1.0
"""Seconds by which something may seem to be before the start: some round times to seconds, and some cut them."""


class Series(Protocol):
    """A transaction, as far as samples are concerned."""

    @property
    def started_at(self) -> str:
        """When it has started, as the charge point wrote it."""

    @property
    def meter_start(self) -> int:
        """Its register then, in Wh."""

    sampled_at: float | None
    """Seconds since 1970: of the last sample that stands in the order; `None` before the first."""
    meter_last: int | None
    """The last reading of the register, in Wh; `None` before the first."""


@dataclass(slots=True)
class Data:
    """The samples of a StopTransaction.req, which are in order among themselves."""

    started_at: str
    meter_start: int
    sampled_at: float | None = None
    meter_last: int | None = None


Faults = tuple[str, str, str]
"""How a sample is older than one before, or that its time cannot be read; which one is older than the start; how the
register runs backwards. Each is one line, or empty when all is well."""


def walk(series: Series, values: Sequence[Payload], *, reads_register: bool = True) -> Faults:
    """Take samples in the order in which they came. What stands in no order is not read.

    Args:
        series: whose they are; what they say is the last that is known of it then.
        values: MeterValues (core 7.33).
        reads_register: whether the register in them is the transaction's.
    """
    disorder = early = backwards = ""
    sampled_at = series.sampled_at
    for value in values:
        text: str = value["timestamp"]
        try:
            at = parse_utc(text)
        except ValueError as error:
            disorder = str(error)  # a time that cannot be read stands in no order
            continue
        # None that stands in the order is older than the start: one that is not older than it is not, either.
        if sampled_at is None or at < sampled_at:
            is_early = is_before(at, series.started_at)
            if is_early:
                early = early or f"{text[:40]} is older than the start, {series.started_at[:40]}"
            if sampled_at is not None:
                disorder = disorder or f"{text[:40]} is older than a sample before"
            if is_early or sampled_at is not None:
                continue
        sampled_at = at
        if reads_register:
            backwards = _read(series, value["sampledValue"]) or backwards
    series.sampled_at = sampled_at
    return disorder, early, backwards


def _read(series: Series, values: Sequence[Payload]) -> str:
    """Take the readings of the register; return how it ran backwards, if it did."""
    backwards = ""
    for value in values:
        reading = energy_register(value)
        if reading is None:
            continue
        highest = max(series.meter_start, series.meter_last or 0)
        if reading + METER_TOLERANCE < highest:
            backwards = fall(highest, reading)
        series.meter_last = reading
    return backwards


def is_before(at: float, started_at: str) -> bool:
    """Return whether a time is before the start; one that cannot be read has nothing before it."""
    try:
        return at < parse_utc(started_at) - TIME_TOLERANCE
    except ValueError:
        return False


def fall(highest: int, reading: int) -> str:
    """Return how a register has run backwards."""
    return f"from {highest} to {reading} Wh"


def digest(request: Payload) -> int:
    """Return 64 bits of a request, by which it is known again."""
    return int.from_bytes(blake2b(orjson.dumps(request), digest_size=8).digest(), "big", signed=True)


def energy_register(value: Payload) -> int | None:
    """Return the reading of the main energy register in a SampledValue, in Wh; `None` when it is none (core 7.43)."""
    if value.get("measurand", _REGISTER) != _REGISTER:
        return None
    if "phase" in value or value.get("location", "Outlet") != "Outlet" or value.get("format", "Raw") != "Raw":
        return None
    factor = _FACTORS.get(value.get("unit", "Wh"))
    if factor is None:
        return None
    try:
        return storable_integer(round(float(value["value"]) * factor))
    except (ValueError, OverflowError):
        return None
