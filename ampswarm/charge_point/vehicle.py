"""How an EV charges: what it draws of the power that it is offered, until it has enough."""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf, log
from typing import Final

_MIN_CURRENT: Final = 6.0
"""A. The control pilot cannot state less (IEC 61851-1)."""
_MIN_DC_POWER: Final = 1_000.0
"""W. With less an EV does not even run its own electronics."""
_AC_KNEE: Final = 0.95
"""The share of the battery at which the EV begins to draw less, for an on-board charger."""
_AC_FLOOR: Final = 0.2
"""The share of the most power that is drawn at 100 %."""
_DC_KNEE: Final = 0.55
_DC_FLOOR: Final = 0.15
_SECONDS: Final = 3600.0
"""In an hour: energies are in Wh."""
_INSTANT: Final = 1e-6
"""Seconds. Clocks are no finer: what would be full within it is full, or a caller that waits until
then might ask again at the same time, for ever."""
_ROUNDING: Final = 1e-6
"""Relative. An offer that was computed as 6 A is 6 A."""


@dataclass(frozen=True, slots=True)
class Vehicle:
    """A model of EV and the state in which it arrives; one object may serve many charge points.

    Args:
        battery: usable Wh.
        soc: state of charge on arrival, in percent.
        target_soc: percent at which the EV stops charging.
        max_ac_power: W over all its phases.
        max_dc_power: W.
        phases: on which it charges with AC, 1 to 3.

    Raises:
        ValueError: a number is out of its range.
    """

    battery: float = 60_000.0
    soc: float = 20.0
    target_soc: float = 100.0
    max_ac_power: float = 11_000.0
    max_dc_power: float = 120_000.0
    phases: int = 3

    def __post_init__(self) -> None:
        for name, value, unit in (
            ("battery", self.battery, "Wh"),
            ("most AC power", self.max_ac_power, "W"),
            ("most DC power", self.max_dc_power, "W"),
        ):
            if not 0 < value < inf:
                raise ValueError(f"an EV's {name} must be above 0, not {value:g} {unit}")
        if not 0 <= self.soc <= 100:
            raise ValueError(f"an EV arrives with 0 to 100 percent in its battery, not {self.soc:g}")
        if not 0 < self.target_soc <= 100:
            raise ValueError(f"an EV charges to above 0 and at most 100 percent, not {self.target_soc:g}")
        if self.phases not in {1, 2, 3}:
            raise ValueError(f"an EV charges on 1, 2 or 3 phases, not {self.phases}")


class Battery:
    """The battery of an EV during one charging session.

    It draws what it is offered, within what the EV and the phases can take. Above a state of charge
    that differs between AC and DC the most that it takes falls linearly with the energy in it.

    Args:
        vehicle: the EV.
        is_dc: whether it charges with DC.
        voltage: V from phase to neutral, with AC: sets the least that can be offered.
    """

    __slots__ = ("energy", "is_dc", "vehicle", "voltage")

    def __init__(self, vehicle: Vehicle, *, is_dc: bool, voltage: float = 230.0) -> None:
        self.vehicle = vehicle
        self.is_dc = is_dc
        self.voltage = voltage
        self.energy = vehicle.battery * vehicle.soc / 100
        """Wh in it now."""

    @property
    def soc(self) -> float:
        """State of charge, in percent."""
        return 100 * self.energy / self.vehicle.battery

    @property
    def is_full(self) -> bool:
        """Whether the EV has what it came for."""
        return self.energy >= self._target

    def phases_used(self, offered_phases: int) -> int:
        """Return on how many of the phases that it is offered the EV charges; 1 with DC."""
        return 1 if self.is_dc else min(offered_phases, self.vehicle.phases)

    def power(self, offered: float, phases: int | None = None) -> float:
        """Return the W that the EV draws now.

        Args:
            offered: W, over the phases in use.
            phases: phases in use, as of `phases_used`; `None` for all that the EV has.
        """
        if self.is_full:
            return 0.0
        most, knee, slope = self._curve()
        return min(self._cap(offered, phases), most - slope * max(0.0, self.energy - knee))

    def can_use(self, offered: float, phases: int | None = None) -> bool:
        """Return whether an EV of this kind can draw anything of what it is offered, whatever its state of charge.

        Args:
            offered: W, over the phases in use.
            phases: phases in use, as of `phases_used`; `None` for all that the EV has.
        """
        return self._cap(offered, phases) > 0

    def charge(self, offered: float, seconds: float, phases: int | None = None) -> float:
        """Charge for a while on the same offer and return the Wh that it took.

        Exact: in how many parts a time is charged makes no difference.

        Args:
            offered: W, over the phases in use.
            seconds: how long, from 0.
            phases: phases in use, as of `phases_used`; `None` for all that the EV has.

        Raises:
            ValueError: `seconds` is below 0.
        """
        if seconds < 0:
            raise ValueError(f"a battery cannot be charged for {seconds:g} s")
        before = self.energy
        cap = self._cap(offered, phases)
        flat, taper = self._hours_until_full(cap)
        hours = seconds / _SECONDS
        if flat + taper == inf:
            return 0.0
        if hours >= flat + taper - _INSTANT / _SECONDS:
            self.energy = max(before, self._target)
        elif hours <= flat:
            self.energy = min(before + cap * hours, self._target)
        else:
            most, knee, slope = self._curve()
            start = before + cap * flat
            # The power falls in proportion to itself: dP/dt = -slope * P.
            power = most - slope * (start - knee)
            self.energy = min(start - power / slope * expm1(-slope * (hours - flat)), self._target)
        return self.energy - before

    def seconds_until_full(self, offered: float, phases: int | None = None) -> float:
        """Return how long the EV will charge on this offer: 0 when it is full, infinity if it draws nothing.

        Args:
            offered: W, over the phases in use.
            phases: phases in use, as of `phases_used`; `None` for all that the EV has.
        """
        return sum(self._hours_until_full(self._cap(offered, phases))) * _SECONDS

    @property
    def _target(self) -> float:
        return self.vehicle.battery * self.vehicle.target_soc / 100

    def _curve(self) -> tuple[float, float, float]:
        """Return the most power (W), up to which energy (Wh), and how much less per Wh above it (1/h)."""
        # Computed, not stored: there is a battery per charge point.
        vehicle = self.vehicle
        if self.is_dc:
            most, knee, floor = vehicle.max_dc_power, _DC_KNEE, _DC_FLOOR
        else:
            most, knee, floor = vehicle.max_ac_power, _AC_KNEE, _AC_FLOOR
        return most, knee * vehicle.battery, most * (1 - floor) / (vehicle.battery * (1 - knee))

    def _cap(self, offered: float, phases: int | None) -> float:
        """Return the W that the offer and the phases in use allow, whatever the state of charge."""
        vehicle = self.vehicle
        if self.is_dc:
            least, most = _MIN_DC_POWER, vehicle.max_dc_power
        else:
            used = vehicle.phases if phases is None else self.phases_used(phases)
            least, most = _MIN_CURRENT * self.voltage * used, vehicle.max_ac_power * used / vehicle.phases
        return min(offered, most) if offered >= least * (1 - _ROUNDING) else 0.0

    def _hours_until_full(self, cap: float) -> tuple[float, float]:
        """Return how long the battery draws `cap`, and how long its curve, until it is full."""
        target = self._target
        if self.energy >= target:
            return 0.0, 0.0
        if cap <= 0:
            return inf, 0.0
        most, knee, slope = self._curve()
        # From here on the battery takes less than the cap.
        bend = min(target, max(self.energy, knee + (most - cap) / slope))
        power = most - slope * max(0.0, bend - knee)
        return (bend - self.energy) / cap, log(power / (power - slope * (target - bend))) / slope
