"""One ChargingProfile: how it is read (core 7.8) and which of its periods is in force at a moment (core 5.16.4)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import isfinite
from typing import Final

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc

_FOREVER: Final = float("inf")
_DAY: Final = 24 * 60 * 60.0
_RECURRENCES: Final = {"Daily": _DAY, "Weekly": 7 * _DAY}
_DEFAULT_PHASES: Final = 3
"""What is assumed without numberPhases (core 7.14)."""


class RateUnit(StrEnum):
    """The unit of a schedule's limits (core 7.12)."""

    A = "A"
    """Amperes on each phase, not their sum."""
    W = "W"
    """Watts on all phases together."""


class Purpose(StrEnum):
    """What a ChargingProfile is for (core 7.10)."""

    CHARGE_POINT_MAX = "ChargePointMaxProfile"
    TX_DEFAULT = "TxDefaultProfile"
    TX = "TxProfile"


class InvalidProfile(ValueError):  # noqa: N818  it is the name of what came, not of a fault
    """A ChargingProfile that a charge point cannot take; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a charge point can do with ChargingProfiles (core 3.13.5, 9.4); one for a whole fleet.

    Args:
        max_stack_level: ChargeProfileMaxStackLevel.
        max_periods: ChargingScheduleMaxPeriods, the most periods of one schedule.
        max_installed: MaxChargingProfilesInstalled.
        units: ChargingScheduleAllowedChargingRateUnit; its `Current` is A, its `Power` is W (core errata 3.88).
    """

    max_stack_level: int
    max_periods: int
    max_installed: int
    units: frozenset[RateUnit]


@dataclass(frozen=True, slots=True)
class Period:
    """A ChargingSchedulePeriod (core 7.14).

    Args:
        start: seconds from the start of the schedule.
        limit: in the schedule's unit.
        phases: how many may be used, 1 to 3.
    """

    start: int
    limit: float
    phases: int


# minChargingRate is not kept: it informs a strategy of load balancing (core 3.13.4), and the one
# here, equal shares, has no use for it.
@dataclass(frozen=True, slots=True)
class ChargingProfile:
    """A ChargingProfile with its ChargingSchedule (core 7.8, 7.13).

    Args:
        profile_id: chargingProfileId.
        stack_level: the higher prevails.
        purpose: what it is for.
        transaction_id: of a TxProfile, the transaction to which alone it applies; `None` for any.
        valid_from: seconds since 1970; 0 without validFrom.
        valid_to: seconds since 1970, no longer valid then; infinity without validTo.
        start: startSchedule, in seconds since 1970; `None` for a schedule that counts from the
            start of charging.
        recurrence: seconds after which the schedule restarts; 0 if it does not.
        duration: seconds from a start of the schedule to its end; infinity without a duration.
        unit: the unit of the limits.
        periods: at least one, the first from 0, in ascending order.
    """

    profile_id: int
    stack_level: int
    purpose: Purpose
    transaction_id: int | None
    valid_from: float
    valid_to: float
    start: float | None
    recurrence: float
    duration: float
    unit: RateUnit
    periods: tuple[Period, ...]

    @classmethod
    def from_payload(cls, payload: Payload, capabilities: Capabilities) -> ChargingProfile:
        """Read a `csChargingProfiles` or `chargingProfile` that has passed its action's schema.

        A Relative schedule's startSchedule is ignored: its start is for the charge point to
        determine (core 7.9).

        Raises:
            InvalidProfile: it asks for what the specification or this charge point does not allow.
        """
        level: int = payload["stackLevel"]
        if not 0 <= level <= capabilities.max_stack_level:
            raise InvalidProfile(f"stackLevel {level} is not between 0 and {capabilities.max_stack_level}")
        purpose = Purpose(payload["chargingProfilePurpose"])
        transaction_id: int | None = payload.get("transactionId")
        if transaction_id is not None and purpose is not Purpose.TX:
            raise InvalidProfile(f"transactionId is only for a TxProfile, not for a {purpose}")
        schedule: Payload = payload["chargingSchedule"]
        unit = RateUnit(schedule["chargingRateUnit"])
        if unit not in capabilities.units:
            raise InvalidProfile(f"chargingRateUnit {unit} is not supported")
        start, recurrence = _parse_start(payload, schedule)
        valid_from = _parse_moment(payload, "validFrom")
        valid_to = _parse_moment(payload, "validTo")
        if valid_to is not None and valid_to <= (valid_from or 0.0):
            raise InvalidProfile("validTo is not later than validFrom")
        return cls(
            payload["chargingProfileId"],
            level,
            purpose,
            transaction_id,
            0.0 if valid_from is None else valid_from,
            _FOREVER if valid_to is None else valid_to,
            start,
            recurrence,
            _parse_duration(schedule),
            unit,
            _parse_periods(schedule["chargingSchedulePeriod"], capabilities.max_periods),
        )

    def at(self, utc: float, since: float) -> tuple[Period | None, float]:
        """Return the period in force at `utc`, if any, and when that may change.

        Args:
            utc: seconds since 1970.
            since: seconds since 1970, what a schedule without a start of its own counts from. It
                counts as just begun if `since` is still to come: a clock that was set back lifts
                no limit.

        Returns:
            The period, or `None` while the profile is not valid or its schedule does not cover
            `utc`; and seconds since 1970, always later than `utc`.
        """
        # Every moment is compared in the very form in which it is returned as the next change, so
        # that rounding can never make a change that does not come.
        if utc < self.valid_from:
            return None, self.valid_from
        if utc >= self.valid_to:
            return None, _FOREVER
        until = self.valid_to
        begins = since if self.start is None else self.start
        if self.start is not None and utc < begins:
            return None, min(until, begins)
        if self.recurrence:
            # The next round ends this one, whatever is left of its periods and duration (core errata 3.44).
            begins, restarts = self._round_at(utc, begins)
            until = min(until, restarts)
        ends = begins + self.duration
        if utc >= ends:
            return None, until
        index = max(bisect_right(self.periods, utc, key=lambda period: begins + period.start), 1)
        if index < len(self.periods):
            ends = min(ends, begins + self.periods[index].start)
        return self.periods[index - 1], min(until, ends)

    def _round_at(self, utc: float, start: float) -> tuple[float, float]:
        """Return when the round of the recurrence that `utc` is in began, and when the next one does."""
        number = (utc - start) // self.recurrence
        # The division may err by one where the sums below, which count, are rounded.
        if utc < start + number * self.recurrence:
            number -= 1
        elif utc >= start + (number + 1) * self.recurrence:
            number += 1
        return start + number * self.recurrence, start + (number + 1) * self.recurrence


def _parse_start(profile: Payload, schedule: Payload) -> tuple[float | None, float]:
    """Return what a schedule counts from, `None` for the start of charging, and its recurrence in seconds."""
    kind: str = profile["chargingProfileKind"]
    recurrency: str | None = profile.get("recurrencyKind")
    if kind != "Recurring":
        if recurrency is not None:
            # core errata 3.56
            raise InvalidProfile(f"recurrencyKind is only for the kind Recurring, not for {kind}")
        return (None if kind == "Relative" else _parse_moment(schedule, "startSchedule")), 0.0
    if recurrency is None:
        raise InvalidProfile("a Recurring profile needs a recurrencyKind")
    start = _parse_moment(schedule, "startSchedule")
    if start is None:
        # Daily and Weekly are said by nothing but the time of startSchedule (core 7.37).
        raise InvalidProfile("a Recurring profile needs a startSchedule")
    return start, _RECURRENCES[recurrency]


def _parse_moment(payload: Payload, name: str) -> float | None:
    text: str | None = payload.get(name)
    if text is None:
        return None
    try:
        return parse_utc(text)
    except ValueError as error:
        raise InvalidProfile(f"{name}: {error}") from None


def _parse_duration(schedule: Payload) -> float:
    duration: int | None = schedule.get("duration")
    if duration is None:
        return _FOREVER
    if duration <= 0:
        raise InvalidProfile(f"the schedule's duration is {duration} s")
    return float(duration)


def _parse_periods(payloads: list[Payload], max_periods: int) -> tuple[Period, ...]:
    if not 1 <= len(payloads) <= max_periods:
        raise InvalidProfile(f"{len(payloads)} periods in the schedule, not 1 to {max_periods}")
    periods = tuple(
        Period(int(each["startPeriod"]), float(each["limit"]), int(each.get("numberPhases", _DEFAULT_PHASES)))
        for each in payloads
    )
    if periods[0].start != 0:
        # core errata 3.45
        raise InvalidProfile(f"the first startPeriod is {periods[0].start}, not 0")
    for before, period in pairwise(periods):
        if period.start <= before.start:
            raise InvalidProfile(f"startPeriod {period.start} does not come after {before.start}")
    for period in periods:
        if not (period.limit >= 0 and isfinite(period.limit)):
            raise InvalidProfile(f"the limit {period.limit:g} is no limit")
        if not 1 <= period.phases <= _DEFAULT_PHASES:
            raise InvalidProfile(f"numberPhases {period.phases} is not between 1 and {_DEFAULT_PHASES}")
    return periods
