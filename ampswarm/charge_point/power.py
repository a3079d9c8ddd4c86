"""What each connector gives, what its EV draws, and the energy that makes (core 3.13.3, 4.10)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ampswarm.charge_point.configuration import Key
from ampswarm.charge_point.connector import NEVER, Connector
from ampswarm.charge_point.site import Site
from ampswarm.charge_point.smart_charging import Charging, Limit

INSTANT: Final = 0.001
"""Seconds: no change of power comes sooner after the one before, whatever rounding says."""


def settle(connectors: Iterable[Connector], now: float) -> None:
    """Bring the registers forward to `now`: since they were looked at last, nothing has changed."""
    for connector in connectors:
        if connector.power > 0 and connector.battery is not None:
            elapsed = now - connector.settled_at
            connector.register += connector.battery.charge(connector.offered, elapsed, connector.phases)
        connector.settled_at = now


def offer(site: Site, connectors: Iterable[Connector], now: float, *, is_faulted: bool) -> None:
    """Say what each connector gives from now on, and until when that holds (`change_at`).

    Those that charge have equal shares of what the whole charge point may give.

    Args:
        site: the charge point.
        connectors: settled up to now.
        now: the time.
        is_faulted: whether a fault of the whole charge point keeps all of them from giving anything.
    """
    energized = []
    for connector in connectors:
        connector.offered = connector.power = 0.0
        connector.change_at = NEVER
        if not is_faulted and _is_energized(site, connector):
            energized.append(connector)
    if not energized:
        return
    supply, profiles = site.template.supply, site.profiles
    if profiles is None:
        for connector in energized:
            _offer_to(site, connector, Limit(supply.power, supply.phases, NEVER, supply.current), now)
        return
    utc = site.utc(now)
    whole = profiles.station_limit(utc, supply, site.template.connectors)
    for connector in energized:
        transaction = connector.transaction
        assert transaction is not None
        since = Charging(transaction.started, transaction.transaction_id)
        limit = profiles.limit(connector.connector_id, utc, since, supply)
        _offer_to(site, connector, limit.share(whole, len(energized), supply.voltage), now)


def _offer_to(site: Site, connector: Connector, limit: Limit, now: float) -> None:
    battery, transaction = connector.battery, connector.transaction
    assert battery is not None
    assert transaction is not None
    phases = battery.phases_used(limit.phases)
    power = min(limit.power, limit.current * site.template.supply.voltage * phases)
    connector.phases = phases
    if limit.until < NEVER:
        connector.change_at = max(now + limit.until - site.utc(now), now + INSTANT)
    if not battery.can_use(power, phases):
        # Less than an EV can use (IEC 61851: 6 A) is offered as nothing at all, also to one that wants nothing.
        return
    takes_none = connector.is_ev_paused or not connector.is_ev_connected or battery.is_full
    drawn = 0.0 if takes_none else battery.power(power, phases)
    connector.offered, connector.power = power, drawn
    if drawn > 0:
        changes = now + battery.seconds_until_full(power, phases)
        if transaction.is_invalid:
            changes = min(changes, now + _energy_left(site, connector) / drawn * 3600.0)
        connector.change_at = min(connector.change_at, max(changes, now + INSTANT))


def _is_energized(site: Site, connector: Connector) -> bool:
    transaction = connector.transaction
    if transaction is None or connector.battery is None or connector.is_faulted:
        return False
    return not transaction.is_invalid or _energy_left(site, connector) > INSTANT


def _energy_left(site: Site, connector: Connector) -> float:
    """Return the Wh that an EV with an invalid id tag still gets (MaxEnergyOnInvalidId, core 3.5.4)."""
    most = site.configuration.integer(Key.MAX_ENERGY_ON_INVALID_ID)
    return most - (connector.register - connector.invalid_register)
