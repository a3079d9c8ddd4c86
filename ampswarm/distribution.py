"""Distributions that a quantity is drawn from, each within bounds. The same on both sides of the wire."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, log1p
from random import Random
from statistics import NormalDist

_LEAST_MASS = 1e-3
"""A truncated distribution keeps at least so much of the whole one: with less, bounds and centre contradict
each other, and the bounds alone would decide what is drawn."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same."""

    value: float

    def at(self, share: float) -> float:  # noqa: ARG002  as all distributions
        """Return the value."""
        return self.value

    def draw(self, random: Random) -> float:  # noqa: ARG002  as all distributions
        """Return the value."""
        return self.value


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything between two bounds."""

    minimum: float
    maximum: float

    def __post_init__(self) -> None:
        _check_bounds(self.minimum, self.maximum)

    def at(self, share: float) -> float:
        """Return the value that a share of all, from 0 up to 1, is below."""
        return _within(_between(self.minimum, self.maximum, share), self.minimum, self.maximum)

    def draw(self, random: Random) -> float:
        """Return a value."""
        return self.at(random.random())


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal distribution, truncated.

    Args:
        mean: of the whole distribution.
        sigma: its standard deviation, above 0.
        minimum: nothing below it is drawn.
        maximum: nothing above it is drawn.
    """

    mean: float
    sigma: float
    minimum: float = -inf
    maximum: float = inf

    def __post_init__(self) -> None:
        _check_above_0("sigma", self.sigma)
        _check_bounds(self.minimum, self.maximum)
        _check_mass(*_normal_mass(self.mean, self.sigma, self.minimum, self.maximum))

    def at(self, share: float) -> float:
        """Return the value that a share of all, from 0 up to 1, is below."""
        low, high = _normal_mass(self.mean, self.sigma, self.minimum, self.maximum)
        value = NormalDist(self.mean, self.sigma).inv_cdf(_inside(low, high, share))
        return _within(value, self.minimum, self.maximum)

    def draw(self, random: Random) -> float:
        """Return a value."""
        return self.at(random.random())


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A lognormal distribution, truncated.

    Args:
        median: of the whole distribution, above 0.
        sigma: the standard deviation of the natural logarithm, above 0.
        minimum: nothing below it is drawn.
        maximum: nothing above it is drawn.
    """

    median: float
    sigma: float
    minimum: float = 0.0
    maximum: float = inf

    def __post_init__(self) -> None:
        _check_above_0("median", self.median)
        _check_above_0("sigma", self.sigma)
        _check_bounds(self.minimum, self.maximum)
        _check_mass(*self._mass())

    def at(self, share: float) -> float:
        """Return the value that a share of all, from 0 up to 1, is below."""
        normal = NormalDist(log(self.median), self.sigma).inv_cdf(_inside(*self._mass(), share))
        return _within(exp(normal), self.minimum, self.maximum)

    def draw(self, random: Random) -> float:
        """Return a value."""
        return self.at(random.random())

    def _mass(self) -> tuple[float, float]:
        low = log(self.minimum) if self.minimum > 0 else -inf
        high = log(self.maximum) if self.maximum > 0 else -inf
        return _normal_mass(log(self.median), self.sigma, low, high)


@dataclass(frozen=True, slots=True)
class Exponential:
    """An exponential distribution, truncated.

    Args:
        mean: of the whole distribution, above 0.
        minimum: nothing below it is drawn.
        maximum: nothing above it is drawn.
    """

    mean: float
    minimum: float = 0.0
    maximum: float = inf

    def __post_init__(self) -> None:
        _check_above_0("mean", self.mean)
        _check_bounds(self.minimum, self.maximum)
        _check_mass(*self._mass())

    def at(self, share: float) -> float:
        """Return the value that a share of all, from 0 up to 1, is below."""
        value = -self.mean * log1p(-_inside(*self._mass(), share))
        return _within(value, self.minimum, self.maximum)

    def draw(self, random: Random) -> float:
        """Return a value."""
        return self.at(random.random())

    def _mass(self) -> tuple[float, float]:
        return tuple(1 - exp(-max(0.0, bound) / self.mean) for bound in (self.minimum, self.maximum))  # type: ignore[return-value]


Distribution = Fixed | Uniform | Normal | LogNormal | Exponential


def _normal_mass(mean: float, sigma: float, minimum: float, maximum: float) -> tuple[float, float]:
    normal = NormalDist(mean, sigma)
    # cdf() makes no sense of infinities.
    low = 0.0 if minimum == -inf else normal.cdf(minimum)
    high = 1.0 if maximum == inf else normal.cdf(maximum)
    return low, high


def _between(low: float, high: float, share: float) -> float:
    # As Random.uniform() does it.
    return low + (high - low) * share


def _inside(low: float, high: float, share: float) -> float:
    """Return a number above 0 and below 1, within the bounds: the inverses know neither 0 nor 1."""
    return min(max(_between(low, high, share), 1e-300), 1 - 1e-16)


def _within(value: float, minimum: float, maximum: float) -> float:
    return min(max(value, minimum), maximum)


def _check_above_0(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise ValueError(f"{name} must be above 0, not {value:g}")


def _check_bounds(minimum: float, maximum: float) -> None:
    if not minimum <= maximum:
        raise ValueError(f"min must not be above max, not {minimum:g} and {maximum:g}")


def _check_mass(low: float, high: float) -> None:
    if high - low < _LEAST_MASS:
        raise ValueError("hardly anything of it lies between min and max")
