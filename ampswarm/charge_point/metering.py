"""When the meters are read and where the readings go (core 3.16, 4.7)."""

from __future__ import annotations

from math import sin, tau
from typing import TYPE_CHECKING, Final, Protocol

from ampswarm.charge_point.configuration import Configuration, Key
from ampswarm.charge_point.sampling import Context, Reading, Wanted, is_per_period, meter_value
from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.connector import Connector
    from ampswarm.charge_point.template import Template
    from ampswarm.charge_point.transaction import Transaction

_DAY: Final = 24 * 60 * 60.0
_AMBIENT: Final = 18.0
"""Degrees Celsius in the housing of a charge point that does nothing."""
_HEATING: Final = 22.0
"""Degrees more at full power."""
_SAG: Final = 0.015
"""Part of the voltage that is lost at full power."""


class Metered(Protocol):
    """What the meters need of their charge point."""

    @property
    def template(self) -> Template:
        """Its make."""

    @property
    def configuration(self) -> Configuration:
        """What is to be read, and how often."""


def next_slot(utc: float, interval: int) -> float:
    """Return when the next clock-aligned interval ends, in seconds since 1970.

    The intervals are counted from midnight (core 3.16.2); the last one of a day may be shorter.
    """
    midnight = utc // _DAY * _DAY
    return min(midnight + ((utc - midnight) // interval + 1) * interval, midnight + _DAY)


def slot_began(utc: float, interval: int) -> float:
    """Return when the clock-aligned interval began that `utc` lies in."""
    midnight = utc // _DAY * _DAY
    return midnight + (utc - midnight) // interval * interval


def reading(station: Metered, connector: Connector, utc: float, since: float) -> Reading:
    """Return what the meter of a connector shows.

    Args:
        station: the charge point.
        connector: its energy is settled up to now.
        utc: now, in seconds since 1970.
        since: the register at the previous reading of the same kind, in Wh.
    """
    template = station.template
    supply = template.supply
    load = connector.power / supply.power
    battery = connector.battery
    return Reading(
        register=connector.register,
        interval=connector.register - since,
        power=connector.power,
        offered=connector.offered,
        voltage=supply.voltage * (1.0 - _SAG * load),
        phases=connector.phases or supply.phases,
        supply_phases=supply.phases,
        is_dc=template.is_dc,
        soc=battery.soc if battery is not None and connector.is_ev_connected and template.is_dc else None,
        temperature=_AMBIENT + 4.0 * sin(utc / _DAY * tau) + _HEATING * load,
        # The grid is one, and so is its frequency: the same for all at the same time.
        frequency=50.0 + 0.02 * sin(utc / 97.0) + 0.01 * sin(utc / 13.0),
    )


def periodic_sample(station: Metered, connector: Connector, utc: float) -> list[Payload]:
    """Read the meter of a running transaction; return what MeterValues.req is to tell (core 3.16.1)."""
    transaction = connector.transaction
    assert transaction is not None
    configuration = station.configuration
    shown = reading(station, connector, utc, connector.sampled_register)
    connector.sampled_register = connector.register
    for_stop = configuration.measurands(Key.STOP_TXN_SAMPLED_DATA)
    if for_stop:
        transaction.remember(_elements(utc, for_stop, shown, Context.SAMPLE_PERIODIC), _most(configuration))
    return _elements(utc, configuration.measurands(Key.METER_VALUES_SAMPLED_DATA), shown, Context.SAMPLE_PERIODIC)


def aligned_sample(station: Metered, connector: Connector, utc: float, began: float) -> list[Payload]:
    """Read a meter at the end of a clock-aligned interval; return what MeterValues.req is to tell (core 3.16.2).

    Args:
        station: the charge point.
        connector: with or without a transaction.
        utc: the end of the interval, in seconds since 1970.
        began: its beginning, which per-period data bear as their time (core 9.1.5).
    """
    configuration = station.configuration
    shown = reading(station, connector, utc, connector.aligned_register)
    connector.aligned_register = connector.register
    transaction = connector.transaction
    if transaction is not None:
        # A partial interval at the beginning of a transaction (core 9.1.5).
        began = max(began, transaction.started)
        for_stop = configuration.measurands(Key.STOP_TXN_ALIGNED_DATA)
        if for_stop:
            transaction.remember(_aligned(utc, began, for_stop, shown), _most(configuration))
    return _aligned(utc, began, configuration.measurands(Key.METER_VALUES_ALIGNED_DATA), shown)


def triggered_sample(station: Metered, connector: Connector, utc: float) -> list[Payload]:
    """Read a meter because TriggerMessage asked for it: what MeterValuesSampledData names (core errata 3.46)."""
    shown = reading(station, connector, utc, connector.sampled_register)
    return _elements(utc, station.configuration.measurands(Key.METER_VALUES_SAMPLED_DATA), shown, Context.TRIGGER)


def boundary_sample(
    station: Metered, connector: Connector, transaction: Transaction, utc: float, *, ends: bool
) -> None:
    """Keep the reading at the start or the end of a transaction for StopTransaction.req (core errata 3.14)."""
    configuration = station.configuration
    sampled = configuration.measurands(Key.STOP_TXN_SAMPLED_DATA)
    aligned = configuration.measurands(Key.STOP_TXN_ALIGNED_DATA)
    wanted = (*sampled, *(each for each in aligned if each not in sampled))
    if wanted:
        context = Context.TRANSACTION_END if ends else Context.TRANSACTION_BEGIN
        # What is left of a period counts from the last reading that was kept of it.
        since = connector.sampled_register if any(map(is_per_period, sampled)) else connector.aligned_register
        shown = reading(station, connector, utc, since)
        transaction.remember(_elements(utc, wanted, shown, context), _most(configuration))


def _most(configuration: Configuration) -> int:
    return configuration.integer(Key.STOP_TRANSACTION_MAX_METER_VALUES)


def _elements(utc: float, wanted: tuple[Wanted, ...], shown: Reading, context: Context) -> list[Payload]:
    element = meter_value(utc, wanted, shown, context)
    return [] if element is None else [element]


def _aligned(utc: float, began: float, wanted: tuple[Wanted, ...], shown: Reading) -> list[Payload]:
    periods = tuple(each for each in wanted if is_per_period(each))
    elements = _elements(began, periods, shown, Context.SAMPLE_CLOCK) if periods else []
    return elements + _elements(utc, tuple(each for each in wanted if each not in periods), shown, Context.SAMPLE_CLOCK)
