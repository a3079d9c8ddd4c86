"""What the ChargingProfiles of one charge point allow together (core 3.13)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor
from typing import Final, NamedTuple

from ampswarm.charge_point.charging_profile import (
    Capabilities,
    ChargingProfile,
    InvalidProfile,
    Period,
    Purpose,
    RateUnit,
)
from ampswarm.ocppj.frames import Payload

_FOREVER: Final = float("inf")
_RANKS: Final = {Purpose.TX: 0, Purpose.TX_DEFAULT: 1, Purpose.CHARGE_POINT_MAX: 2}
_MAX_STEPS: Final = 1000
"""Evaluations for one composite schedule: enough for eleven months of the daily profile of core 3.13.7."""
_ROUNDING: Final = 1e-6
"""Of the last digit on the wire. Without it 8.1 A, made watts and amperes again, would be 8.0 A."""


@dataclass(frozen=True, slots=True)
class Supply:
    """What one connector can give without any ChargingProfile; one for a whole fleet.

    Args:
        power: W, on all phases together.
        voltage: V, from phase to neutral. DC: the output voltage.
        phases: 1 or 3. DC: 1.
    """

    power: float
    voltage: float
    phases: int

    @property
    def current(self) -> float:
        """A on each phase, at full power."""
        return self.power / (self.voltage * self.phases)


@dataclass(frozen=True, slots=True)
class Charging:
    """The transaction on a connector.

    Args:
        started: seconds since 1970, what a Relative schedule and one without startSchedule count from.
        transaction_id: `None` while the central system has not given one.
    """

    started: float
    transaction_id: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds from one moment on.

    Args:
        power: W on all phases together, never above the supply's.
        phases: how many may be used, never more than the supply's.
        until: seconds since 1970 at which it may change; infinity for never.
        current: A on each phase, never above the supply's. A vehicle that uses fewer phases draws no
            more than `power`, and no more than this on each: limits are used as they are given,
            those in W for the phases that are used (core errata 3.34).
    """

    power: float
    phases: int
    until: float
    current: float

    def share(self, station: Limit, charging: int, voltage: float) -> Limit:
        """Return this limit of a connector within its share of the whole charge point's limit.

        The connectors that charge have equal shares. Neither the power nor the current of a phase
        is above that of either limit (core 3.13.3).

        Args:
            station: the limit for all connectors together.
            charging: how many connectors share it, at least 1.
            voltage: V, from phase to neutral.
        """
        phases = min(self.phases, station.phases)
        current = min(self.current, station.current / charging)
        power = min(self.power, station.power / charging, current * voltage * phases)
        return Limit(power, phases, min(self.until, station.until), current)


@dataclass(frozen=True, slots=True)
class _Installed:
    connector_id: int
    profile: ChargingProfile
    since: float


class ChargingProfiles:
    """The ChargingProfiles that one charge point was given.

    They outlive a reboot (core errata 3.37): keep the object.
    """

    __slots__ = ("_installed",)

    def __init__(self) -> None:
        # In the order of precedence. TxProfiles before TxDefaultProfiles, so that one walk ends at
        # the first that is in force; a connector's own before those for all connectors.
        self._installed: tuple[_Installed, ...] = ()

    def __len__(self) -> int:
        return len(self._installed)

    def install(self, connector_id: int, profile: ChargingProfile, capabilities: Capabilities, utc: float) -> None:
        """Install a profile, or replace the one with the same id, or the same purpose and stackLevel (core 5.16.3).

        A TxDefaultProfile for one connector replaces that for all connectors on the same
        stackLevel for this connector only (core 3.13.1), whichever came first.

        Args:
            connector_id: 0 for all connectors; the caller knows which exist.
            profile: what to install. For a TxProfile the caller knows that a transaction is active
                (core 3.13.1), or is about to be by RemoteStartTransaction (core 5.16.2).
            capabilities: how many profiles there may be.
            utc: seconds since 1970. A ChargePointMaxProfile without startSchedule counts from here:
                there is no one start of charging for all connectors.

        Raises:
            InvalidProfile: the purpose is not for this connector, or there is no room. Nothing has changed.
        """
        if profile.purpose is Purpose.CHARGE_POINT_MAX and connector_id != 0:
            raise InvalidProfile(f"a ChargePointMaxProfile is only for connector 0, not for {connector_id}")
        if profile.purpose is Purpose.TX and connector_id == 0:
            raise InvalidProfile("a TxProfile is not for connector 0")
        slot = (connector_id, profile.purpose, profile.stack_level)
        kept = [
            each
            for each in self._installed
            if each.profile.profile_id != profile.profile_id
            and (each.connector_id, each.profile.purpose, each.profile.stack_level) != slot
        ]
        if len(kept) >= capabilities.max_installed:
            raise InvalidProfile(f"{len(kept)} charging profiles are installed, and no more fit")
        kept.append(_Installed(connector_id, profile, utc))
        kept.sort(key=_precedence)
        self._installed = tuple(kept)

    def clear(
        self,
        *,
        profile_id: int | None = None,
        connector_id: int | None = None,
        purpose: Purpose | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Remove the profiles that match all that is given, all if nothing is; return how many these were.

        With an id, nothing else counts (core errata 3.25, 3.26).
        """
        if profile_id is not None:
            kept = tuple(each for each in self._installed if each.profile.profile_id != profile_id)
        else:
            kept = tuple(
                each
                for each in self._installed
                if connector_id not in (None, each.connector_id)
                or purpose not in (None, each.profile.purpose)
                or stack_level not in (None, each.profile.stack_level)
            )
        cleared = len(self._installed) - len(kept)
        self._installed = kept
        return cleared

    def end_transaction(self, connector_id: int) -> None:
        """Remove the TxProfiles of a connector: they end with its transaction (core 3.13.1)."""
        self.clear(connector_id=connector_id, purpose=Purpose.TX)

    def limit(self, connector_id: int, utc: float, charging: Charging | None, supply: Supply) -> Limit:
        """Return what a connector may give by its TxProfiles or else its TxDefaultProfiles.

        The ChargePointMaxProfile is not in it: see `Limit.share`.

        Args:
            connector_id: from 1.
            utc: seconds since 1970.
            charging: its transaction; `None` stands for one that would start at `utc`, to which a
                TxProfile without a transactionId applies (core 5.16.2).
            supply: what the connector can give.
        """
        since, transaction_id = (utc, None) if charging is None else (charging.started, charging.transaction_id)
        until = _FOREVER
        replaced = -1
        for each in self._installed:
            profile = each.profile
            if profile.purpose is Purpose.CHARGE_POINT_MAX:
                break
            if each.connector_id not in (0, connector_id):
                continue
            if profile.purpose is Purpose.TX:
                if profile.transaction_id not in (None, transaction_id):
                    continue
            elif each.connector_id:
                replaced = profile.stack_level
            elif profile.stack_level == replaced:
                continue
            period, change = profile.at(utc, since)
            until = min(until, change)
            if period is not None:
                return _limit(period, profile.unit, until, supply, 1)
        return Limit(supply.power, supply.phases, until, supply.current)

    def station_limit(self, utc: float, supply: Supply, connectors: int) -> Limit:
        """Return what all connectors together may give by the ChargePointMaxProfiles (core 3.13.3).

        Args:
            utc: seconds since 1970.
            supply: what one connector can give.
            connectors: how many connectors there are.
        """
        until = _FOREVER
        for each in self._installed:
            if each.profile.purpose is Purpose.CHARGE_POINT_MAX:
                period, change = each.profile.at(utc, each.since)
                until = min(until, change)
                if period is not None:
                    return _limit(period, each.profile.unit, until, supply, connectors)
        return Limit(supply.power * connectors, supply.phases, until, supply.current * connectors)

    def composite_schedule(
        self,
        connector_id: int,
        utc: float,
        duration: int,
        unit: RateUnit,
        *,
        charging: Mapping[int, Charging],
        supply: Supply,
        connectors: int,
    ) -> Payload:
        """Return the ChargingSchedule of GetCompositeSchedule.conf (core 5.7, 7.13).

        Connector 0 tells what the charge point expects to take from the grid: nothing for
        connectors without a transaction. Any other connector tells its share beside those that
        charge, as if it charged too. Amperes are those of one phase; for connector 0, of the
        phase that all connectors use.

        Limits are rounded down to the one digit of core 7.14, and a second in which the limit
        changes tells the lowest: the schedule is never above what it is made of.

        The work is bounded: if too much changes within `duration`, the schedule's own duration is
        as far as it came.

        Args:
            connector_id: 0 for the whole charge point.
            utc: seconds since 1970, scheduleStart. No startSchedule repeats it (core errata 3.57).
            duration: seconds, not negative.
            unit: the unit of the limits.
            charging: the transactions, by connector.
            supply: what one connector can give.
            connectors: how many connectors there are.

        Raises:
            ValueError: `duration` is negative.
        """
        if duration < 0:
            raise ValueError(f"a schedule cannot last {duration} s")
        if connector_id and connector_id not in charging:
            charging = {**charging, connector_id: Charging(utc, None)}
        wanted = tuple(charging) if connector_id == 0 else (connector_id,)

        def expect(at: float) -> _Expected:
            station = self.station_limit(at, supply, connectors)
            rate, phases, until = 0.0, 0, station.until
            for each in wanted:
                limit = self.limit(each, at, charging[each], supply).share(station, len(charging), supply.voltage)
                rate += limit.power if unit is RateUnit.W else limit.power / (supply.voltage * limit.phases)
                phases = max(phases, limit.phases)
                until = min(until, limit.until)
            return _Expected(floor(rate * 10 + _ROUNDING) / 10, phases or supply.phases, until)

        periods, told = _tell(expect, utc, duration)
        return {"duration": told, "chargingRateUnit": unit.value, "chargingSchedulePeriod": periods}


class _Expected(NamedTuple):
    rate: float
    phases: int
    until: float


def _tell(expect: Callable[[float], _Expected], utc: float, duration: int) -> tuple[list[Payload], int]:
    """Return the ChargingSchedulePeriods from `utc` on, and the seconds that they tell of."""
    periods: list[Payload] = []

    def tell(second: int, rate: float, phases: int) -> None:
        if not periods or (periods[-1]["limit"], periods[-1]["numberPhases"]) != (rate, phases):
            periods.append({"startPeriod": second, "limit": rate, "numberPhases": phases})

    second = steps = 0
    while not periods or (second < duration and steps < _MAX_STEPS):
        steps += 1
        rate, phases, until = expect(utc + second)
        lowest, fewest = rate, phases
        while until < utc + second + 1:
            steps += 1
            rate, phases, until = expect(until)
            lowest, fewest = min(lowest, rate), min(fewest, phases)
        tell(second, lowest, fewest)
        second += 1
        # The rest, up to the last whole second before the next change, is all alike.
        alike = duration if until >= utc + duration else floor(until - utc)
        if alike > second:
            tell(second, rate, phases)
            second = alike
    return periods, min(second, duration)


def _precedence(installed: _Installed) -> tuple[int, int, int]:
    return _RANKS[installed.profile.purpose], -installed.profile.stack_level, -installed.connector_id


def _limit(period: Period, unit: RateUnit, until: float, supply: Supply, connectors: int) -> Limit:
    """Return a period's limit for `connectors` connectors together."""
    phases = min(period.phases, supply.phases)
    most = supply.power * connectors * phases / supply.phases
    current = supply.current * connectors
    if unit is RateUnit.W:
        return Limit(min(period.limit, most), phases, until, current)
    return Limit(min(period.limit * supply.voltage * phases, most), phases, until, min(period.limit, current))
