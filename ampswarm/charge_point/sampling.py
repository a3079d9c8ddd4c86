"""What a SampledValue looks like: which values are wanted, and how a meter's reading is written (core 7.43)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc


class Measurand(StrEnum):
    """What is measured (core 7.31), in the spelling of the wire."""

    ENERGY_ACTIVE_EXPORT_REGISTER = "Energy.Active.Export.Register"
    ENERGY_ACTIVE_IMPORT_REGISTER = "Energy.Active.Import.Register"
    ENERGY_REACTIVE_EXPORT_REGISTER = "Energy.Reactive.Export.Register"
    ENERGY_REACTIVE_IMPORT_REGISTER = "Energy.Reactive.Import.Register"
    ENERGY_ACTIVE_EXPORT_INTERVAL = "Energy.Active.Export.Interval"
    ENERGY_ACTIVE_IMPORT_INTERVAL = "Energy.Active.Import.Interval"
    ENERGY_REACTIVE_EXPORT_INTERVAL = "Energy.Reactive.Export.Interval"
    ENERGY_REACTIVE_IMPORT_INTERVAL = "Energy.Reactive.Import.Interval"
    POWER_ACTIVE_EXPORT = "Power.Active.Export"
    POWER_ACTIVE_IMPORT = "Power.Active.Import"
    POWER_OFFERED = "Power.Offered"
    POWER_REACTIVE_EXPORT = "Power.Reactive.Export"
    POWER_REACTIVE_IMPORT = "Power.Reactive.Import"
    POWER_FACTOR = "Power.Factor"
    CURRENT_IMPORT = "Current.Import"
    CURRENT_EXPORT = "Current.Export"
    CURRENT_OFFERED = "Current.Offered"
    VOLTAGE = "Voltage"
    FREQUENCY = "Frequency"
    TEMPERATURE = "Temperature"
    SOC = "SoC"
    RPM = "RPM"


class Context(StrEnum):
    """Why a value was taken: ReadingContext (core 7.35)."""

    INTERRUPTION_BEGIN = "Interruption.Begin"
    INTERRUPTION_END = "Interruption.End"
    OTHER = "Other"
    SAMPLE_CLOCK = "Sample.Clock"
    SAMPLE_PERIODIC = "Sample.Periodic"
    TRANSACTION_BEGIN = "Transaction.Begin"
    TRANSACTION_END = "Transaction.End"
    TRIGGER = "Trigger"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the meter of one connector shows at one instant."""

    register: float
    """Wh since the meter was built; only grows (core 7.31)."""
    interval: float
    """Wh since the previous reading of the same kind."""
    power: float
    """W drawn, over all phases."""
    offered: float
    """W offered, over the phases in use."""
    voltage: float
    """V from phase to neutral; at DC, at the connector."""
    phases: int
    """Phases that carry current, counted from L1; 1 at DC."""
    supply_phases: int
    """Phases that have voltage, counted from L1; 1 at DC."""
    is_dc: bool
    soc: float | None
    """Percent; `None` where it is not known: at AC, and without an EV."""
    temperature: float
    """Degrees Celsius, inside the charge point."""
    frequency: float
    """Hz, of the grid."""


def shown_register(register: float) -> int:
    """Return the whole Wh that an energy register shows, as in SampledValue, meterStart and meterStop.

    Cut off, never rounded, so that the register never shows energy that has not flowed, and the
    differences of what it shows add up.

    Args:
        register: Wh since the meter was built.
    """
    # A sum of many small parts may end a hair below the whole Wh that it stands for.
    return int(register + 1e-6)


def _register(reading: Reading, _: int) -> str:
    return f"{shown_register(reading.register)}"


def _interval(reading: Reading, _: int) -> str:
    return f"{reading.interval:z.1f}"


def _power(reading: Reading, _: int) -> str:
    return f"{reading.power:z.1f}"


def _power_offered(reading: Reading, _: int) -> str:
    return f"{reading.offered:z.1f}"


def _current(reading: Reading, phase: int) -> str | None:
    if phase > reading.supply_phases:
        return None
    return _amperes(reading.power if phase <= reading.phases else 0.0, reading)


def _current_offered(reading: Reading, _: int) -> str:
    return _amperes(reading.offered, reading)


def _amperes(power: float, reading: Reading) -> str:
    volts = reading.voltage * reading.phases
    # Without voltage no current flows.
    return f"{power / volts:z.2f}" if volts else "0.00"


def _voltage(reading: Reading, phase: int) -> str | None:
    return f"{reading.voltage:z.1f}" if phase <= reading.supply_phases else None


def _soc(reading: Reading, _: int) -> str | None:
    # Cut off: an EV that still charges does not show 100.
    return None if reading.soc is None else f"{int(reading.soc + 1e-6)}"


def _temperature(reading: Reading, _: int) -> str:
    return f"{reading.temperature:z.1f}"


def _frequency(reading: Reading, _: int) -> str | None:
    return None if reading.is_dc else f"{reading.frequency:z.2f}"


_Show = Callable[[Reading, int], str | None]
"""Takes a reading and the number of a phase; gives `None` where the value is not there."""
_Fields = tuple[tuple[int, Payload], ...]
"""Per phase, its number and what a SampledValue says besides its value and context."""


@dataclass(frozen=True, slots=True)
class _Kind:
    show: _Show
    unit: str | None
    location: str | None = None
    """`None` for the default, Outlet: the meter of a connector (core 7.30)."""
    phase: str | None = None
    """How phases are named, with `{}` for the number; `None` where only an overall value is known."""


_KINDS: Final = {
    Measurand.ENERGY_ACTIVE_IMPORT_REGISTER: _Kind(_register, "Wh"),
    Measurand.ENERGY_ACTIVE_IMPORT_INTERVAL: _Kind(_interval, "Wh"),
    Measurand.POWER_ACTIVE_IMPORT: _Kind(_power, "W"),
    Measurand.POWER_OFFERED: _Kind(_power_offered, "W"),
    Measurand.CURRENT_IMPORT: _Kind(_current, "A", phase="L{}"),
    # One value: the control pilot states one limit, which holds for each phase (IEC 61851-1).
    Measurand.CURRENT_OFFERED: _Kind(_current_offered, "A"),
    Measurand.VOLTAGE: _Kind(_voltage, "V", phase="L{}-N"),
    Measurand.SOC: _Kind(_soc, "Percent", "EV"),
    # The unit in the spelling that every schema knows (J errata 2.1).
    Measurand.TEMPERATURE: _Kind(_temperature, "Celcius", "Body"),
    # Without a unit: 1.6 has none, it is Hertz (core errata 3.86). And of the outlet: the connector's
    # meter reads it; what the grid connection's meter reads belongs to connector 0 (core 3.16.3).
    Measurand.FREQUENCY: _Kind(_frequency, None),
}

SUPPORTED: Final = frozenset(_KINDS)
"""What a `Reading` can answer."""
SUPPORTED_AC: Final = SUPPORTED - {Measurand.SOC}
"""An EV does not tell an AC charge point its state of charge."""
SUPPORTED_DC: Final = SUPPORTED - {Measurand.FREQUENCY}

_PER_PERIOD: Final = frozenset(measurand for measurand in Measurand if measurand.endswith(".Interval"))
_MEASURANDS: Final = {measurand.lower(): measurand for measurand in Measurand}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One item of a list of measurands (core 9.1.17).

    Args:
        measurand: one of `SUPPORTED`.
        phase: as in "Voltage.L1", "Voltage.L1-N" or "Current.Import.L1"; it is reported as it was
            asked for. `None` for all phases that there are, or the overall value.

    Raises:
        ValueError: the measurand is not supported, or not on that phase.
    """

    measurand: Measurand
    phase: str | None = None
    show: _Show = field(init=False, repr=False, compare=False)
    """Writes one value."""
    ac: _Fields = field(init=False, repr=False, compare=False)
    """What is reported of an AC reading."""
    dc: _Fields = field(init=False, repr=False, compare=False)
    """What is reported of a DC reading."""

    def __post_init__(self) -> None:
        kind = _KINDS.get(self.measurand)
        if kind is None:
            raise ValueError(f"{self.measurand} is not supported")
        fields: Payload = {"measurand": self.measurand.value}
        if kind.location is not None:
            fields["location"] = kind.location
        if kind.unit is not None:
            fields["unit"] = kind.unit
        overall: _Fields = ((1, fields),)
        each = overall
        if self.phase is not None:
            number = phase_number(self.phase)
            if kind.phase is None or self.phase not in {f"L{number}", kind.phase.format(number)}:
                raise ValueError(f"{self.measurand} is not measured on phase {self.phase}")
            each = ((number, {"phase": self.phase, **fields}),)
        elif kind.phase is not None:
            each = tuple((number, {"phase": kind.phase.format(number), **fields}) for number in (1, 2, 3))
        object.__setattr__(self, "show", kind.show)
        object.__setattr__(self, "ac", each)
        object.__setattr__(self, "dc", () if self.phase else overall)


def phase_number(phase: str) -> int:
    """Return the number of the phase that "L1" or "L1-N" names, from 1 to 3; 0 for any other text."""
    return {"L1": 1, "L2": 2, "L3": 3}.get(phase.removesuffix("-N"), 0)


def parse_measurands(text: str, *, supported: frozenset[Measurand], phases: int, max_length: int) -> tuple[Wanted, ...]:
    """Return the items of a comma separated list of measurands (core 9.1.15 to 9.1.28).

    Upper and lower case are the same: the value of ChangeConfiguration.req is a CiString500Type
    (core 6.9). Spaces around commas do not matter, and an item counts once.

    Args:
        text: "" wants nothing, which is the empty tuple.
        supported: what the charge point measures; one other item spoils the list (core 3.16.4).
        phases: phases of the charge point that can be asked for; 0 at DC.
        max_length: the most items that the list may have (core 9.1.18).

    Raises:
        ValueError: the list cannot be satisfied, in one line.
    """
    return _parse(text, supported, phases, max_length)


# A fleet has few lists: charge points with the same one share it.
@lru_cache(maxsize=256)
def _parse(text: str, supported: frozenset[Measurand], phases: int, max_length: int) -> tuple[Wanted, ...]:
    items = [item.strip() for item in text.split(",")] if text.strip() else []
    if len(items) > max_length:
        raise ValueError(f"{len(items)} measurands are more than {max_length}")
    return tuple(dict.fromkeys(_item(item, supported, phases) for item in items))


def _item(item: str, supported: frozenset[Measurand], phases: int) -> Wanted:
    name, phase = item, None
    if item.lower() not in _MEASURANDS:
        name, _, suffix = item.rpartition(".")
        phase = suffix.upper()
        if name.lower() not in _MEASURANDS or not phase_number(phase):
            raise ValueError(f"not a measurand: {item[:60]!r}")
    measurand = _MEASURANDS[name.lower()]
    if measurand not in supported:
        raise ValueError(f"{measurand} is not supported")
    if phase is not None and phase_number(phase) > phases:
        raise ValueError(f"{measurand}: there is no phase {phase}")
    return Wanted(measurand, phase)


def is_per_period(wanted: Wanted) -> bool:
    """Tell whether a value is of a period rather than of an instant.

    Clock-aligned, it belongs under the time at which its period began (core 9.1.5).
    """
    return wanted.measurand in _PER_PERIOD


def sampled_values(wanted: tuple[Wanted, ...], reading: Reading, context: Context) -> list[Payload]:
    """Return the SampledValue elements of one reading (core 7.43), none for what does not apply to it.

    All phases are reported where there are several (core 3.16.3), one without current as 0 A.
    """
    values: list[Payload] = []
    name = context.value
    for item in wanted:
        for phase, fields in item.dc if reading.is_dc else item.ac:
            value = item.show(reading, phase)
            if value is not None:
                values.append({"value": value, "context": name, **fields})
    return values


def meter_value(timestamp: float, wanted: tuple[Wanted, ...], reading: Reading, context: Context) -> Payload | None:
    """Return one MeterValue (core 7.33), or `None` where it would be empty, which it must not be.

    Args:
        timestamp: seconds since 1970.
        wanted: what to report.
        reading: what the meter shows.
        context: why it was read.
    """
    values = sampled_values(wanted, reading, context)
    return {"timestamp": format_utc(timestamp), "sampledValue": values} if values else None
