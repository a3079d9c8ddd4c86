"""How EVs come to the charge points of a population: when, which, with what id tag, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import fsum, inf
from random import Random
from typing import Final

from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.distribution import Distribution, LogNormal, Normal

HOURS: Final = 24
_HOUR: Final = 3600.0
_DAY: Final = HOURS * _HOUR


@dataclass(frozen=True, slots=True)
class IdTags:
    """The id tags of a population's drivers (core 7.28).

    Args:
        format: Python format that makes an id tag of a number from 1 to `count`; empty where they are listed.
        count: how many there are.
        listed: all of them, or nothing where the format makes them.
    """

    format: str
    count: int
    listed: tuple[str, ...] = field(default=(), repr=False)

    def draw(self, random: Random) -> str:
        """Return the id tag of some driver."""
        if self.listed:
            return random.choice(self.listed)
        return self.format.format(random.randint(1, self.count))


@dataclass(frozen=True, slots=True)
class VehicleModel:
    """One model of EV in a mix.

    Args:
        weight: its share, against the weights of the others.
        vehicle: what it is.
        soc: the state of charge in which it arrives, in percent.
    """

    weight: float
    vehicle: Vehicle
    soc: Distribution


@dataclass(frozen=True, slots=True)
class ChargingBehaviour:
    """The charging sessions of a population.

    Accelerated, a day of arrivals passes in 24 h divided by the acceleration, and a session needs so many
    times less energy and time. Power stays what it is, so connectors are as busy as without.

    Args:
        arrivals: EVs that come to each connector per day.
        id_tags: of their drivers.
        vehicles: the mix of EVs; at least one.
        energy: Wh after which the driver ends the session; `None`: not for the energy.
        duration: seconds after which the driver ends the session; `None`: not for the time.
        remote_starts: the share of sessions that wait for a RemoteStartTransaction, 0 to 1.
        day_profile: how busy each hour of the day is, from midnight UTC, relative to the others.
        acceleration: how many times as fast as in life; above 0.
    """

    arrivals: float
    id_tags: IdTags
    vehicles: tuple[VehicleModel, ...]
    energy: Distribution | None = None
    duration: Distribution | None = None
    remote_starts: float = 0.0
    day_profile: tuple[float, ...] = (1.0,) * HOURS
    acceleration: float = 1.0
    _cumulated: tuple[float, ...] = field(init=False, repr=False, compare=False)
    """The vehicles' weights, each with all before it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_cumulated", tuple(accumulate(each.weight for each in self.vehicles)))

    def arrival_rate(self, utc: float) -> float:
        """Return how many EVs come to each connector per second.

        Args:
            utc: seconds since 1970.
        """
        hour = int(utc * self.acceleration % _DAY // _HOUR)
        return self._rate(min(hour, HOURS - 1)) * self.acceleration

    def next_arrival(self, utc: float, random: Random) -> float:
        """Return the seconds until the next EV comes to one connector: a Poisson process whose rate follows the day.

        Args:
            utc: now, in seconds since 1970.
            random: where the randomness comes from.
        """
        wanted = random.expovariate(1.0)
        # Whole days bring the same number each: without a loop, for an EV a year too.
        days, wanted = divmod(wanted, self.arrivals)
        begin = utc * self.acceleration % _DAY
        time = begin
        # The hour that it is comes twice: its end now, its beginning tomorrow.
        for step in range(HOURS + 1):
            hour = (int(begin // _HOUR) + step) % HOURS
            left = _HOUR - time % _HOUR
            rate = self._rate(hour)
            if wanted < left * rate:
                time += wanted / rate
                break
            wanted -= left * rate
            time = (time // _HOUR + 1) * _HOUR
        return (days * _DAY + time - begin) / self.acceleration

    def draw_vehicle(self, random: Random) -> Vehicle:
        """Return an EV as it arrives."""
        model = random.choices(self.vehicles, cum_weights=self._cumulated)[0]
        return replace(model.vehicle, battery=model.vehicle.battery / self.acceleration, soc=model.soc.draw(random))

    def draw_energy(self, random: Random) -> float:
        """Return the Wh after which a session ends; infinity where the energy does not end it."""
        return inf if self.energy is None else self.energy.draw(random) / self.acceleration

    def draw_duration(self, random: Random) -> float:
        """Return the seconds after which a session ends; infinity where the time does not end it."""
        return inf if self.duration is None else self.duration.draw(random) / self.acceleration

    def draw_remote_start(self, random: Random) -> bool:
        """Return whether a session waits for a RemoteStartTransaction (core 5.11)."""
        return random.random() < self.remote_starts

    def _rate(self, hour: int) -> float:
        """Arrivals per second of the day that is simulated."""
        return self.arrivals / _HOUR * self.day_profile[hour] / fsum(self.day_profile)


EVERYDAY: Final = ChargingBehaviour(
    arrivals=4.0,
    id_tags=IdTags("TAG{:08d}", 10_000),
    vehicles=(
        VehicleModel(3.0, Vehicle(battery=58_000.0, target_soc=80.0), Normal(45.0, 18.0, 5.0, 75.0)),
        VehicleModel(1.0, Vehicle(battery=77_000.0, max_dc_power=170_000.0), Normal(40.0, 18.0, 5.0, 90.0)),
    ),
    duration=LogNormal(5400.0, 0.7, 300.0, 43_200.0),
    # From midnight UTC: most come in the morning and after work.
    day_profile=(1, 1, 1, 1, 1, 2, 4, 7, 8, 6, 5, 5, 6, 6, 5, 5, 7, 10, 11, 9, 6, 4, 3, 2),
)
"""Drivers as they come to a public AC charge point, where a fleet file says nothing else."""
