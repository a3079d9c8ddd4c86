"""A fleet's populations, and which of them each charge point belongs to."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from pathlib import Path

from ampswarm.charge_point.security import MAX_PROFILE
from ampswarm.charge_point.template import Template
from ampswarm.load.charging_behaviour import ChargingBehaviour
from ampswarm.load.misbehaviour import Misbehaviour


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the charge points of a population authenticate themselves, and whom they trust (whitepaper 2).

    Args:
        profile: security profile, 0 for none.
        password: with `{identity}` where the identity goes; empty where there is none, or they are listed.
        passwords: by identity, or empty.
        certificate: path of the PEM file with the certificate chain, with `{identity}`; empty like `password`.
        private_key: path of the PEM file with its private key, with `{identity}`.
        certificates: certificate and private key by identity, or empty.
        ca_file: PEM file of the CA behind the central system's certificate; `None` for that of the whole fleet.
        manufacturer_ca_file: PEM file of the CA that signs firmware signing certificates; `None` for none.
        lists: the names of the CSV files that `passwords` and `certificates` come from, by these keys.
    """

    profile: int
    password: str = field(default="", repr=False)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: str = ""
    private_key: str = ""
    certificates: Mapping[str, tuple[Path, Path]] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    manufacturer_ca_file: Path | None = None
    lists: Mapping[str, str] = field(default_factory=dict)

    def password_of(self, identity: str) -> str | None:
        """Return the password of a charge point; `None` where it has none."""
        if self.password:
            return self.password.format(identity=identity)
        return self.passwords.get(identity)

    def certificate_of(self, identity: str) -> tuple[Path, Path] | None:
        """Return the files of a charge point's certificate and private key; `None` where it has none."""
        if self.certificate:
            return Path(self.certificate.format(identity=identity)), Path(self.private_key.format(identity=identity))
        return self.certificates.get(identity)

    def missing(self, identity: str) -> str:
        """Return the key of the list in which a charge point must be, and is not; empty for none.

        Profiles 1 and 2 need a password, 3 needs a certificate: what is there for a higher profile, to which
        the central system may raise it, need not be there for all.
        """
        if self.profile in {1, 2} and self.password_of(identity) is None:
            return "passwords"
        if self.profile == MAX_PROFILE and self.certificate_of(identity) is None:
            return "certificates"
        return ""


@dataclass(frozen=True, slots=True)
class Population:
    """Charge points of one kind; one object for all of them.

    Args:
        name: unique in the fleet.
        weight: its share of the fleet, against the weights of the others; `None` where there are counts.
        count: how many there are; `None` where there are weights.
        identity_format: Python format that makes an identity of the charge point's number in the fleet.
        make: what they are and how they behave.
        credentials: `None` for no authentication.
        charging: `None` where no EV comes.
        misbehaviour: `None` for none.
    """

    name: str
    weight: float | None
    count: int | None
    identity_format: str
    make: Template
    credentials: Credentials | None = None
    charging: ChargingBehaviour | None = None
    misbehaviour: Misbehaviour | None = None

    def identity(self, number: int) -> str:
        """Return the identity of charge point `number` of the fleet, which belongs to this population."""
        return self.identity_format.format(number)

    @property
    def share(self) -> Fraction:
        """Its weight or count, exactly as it was written."""
        return Fraction(str(self.weight)) if self.count is None else Fraction(self.count)


@dataclass(frozen=True, slots=True)
class _Split:
    """Numbers 1, 2, 3 … dealt out to two sides, in the proportion of two weights."""

    left: _Split | int
    right: _Split | int
    left_weight: int
    weight: int
    """Of both sides together."""

    def on_the_left(self, number: int) -> int:
        """Return how many of the first `number` go to the left: its share, rounded."""
        return (2 * number * self.left_weight + self.weight) // (2 * self.weight)


@dataclass(frozen=True, slots=True)
class FleetFile:
    """The populations of a fleet.

    Raises:
        ValueError: there are none.
    """

    populations: tuple[Population, ...]
    _root: _Split | int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.populations:
            raise ValueError("a fleet needs at least one population")
        object.__setattr__(self, "_root", _splits([each.share for each in self.populations]))

    @property
    def size(self) -> int | None:
        """How many charge points the populations' counts come to; `None` where they have weights."""
        counts = [each.count for each in self.populations if each.count is not None]
        return sum(counts) if counts else None

    def population_of(self, number: int) -> Population:
        """Return the population that charge point `number` belongs to, counted from 1.

        It follows from the number and the weights alone. Of the first n charge points, whatever n is, each
        population has its share, rounded to a whole number, or one more or less (with six populations or
        more perhaps two); exactly its share where all shares are whole. Counts are weights: a fleet of
        `size` has exactly those, and a larger one goes on in the same proportions.

        Raises:
            ValueError: the number is below 1.
        """
        if number < 1:
            raise ValueError(f"charge points are counted from 1, not {number}")
        node = self._root
        while isinstance(node, _Split):
            left = node.on_the_left(number)
            if left > node.on_the_left(number - 1):
                node, number = node.left, left
            else:
                node, number = node.right, number - left
        return self.populations[node]


def _splits(shares: list[Fraction]) -> _Split | int:
    """Return the tree of splits whose leaves are the indices of `shares`.

    The lightest are put together first, as in a Huffman code, because a side inherits its part of the error
    of the split above: with b1, b2 … for the parts that a leaf and the splits above it have of the next, a
    count is off by at most (1 + b1 + b1 b2 + …) / 2. A split's sibling is no lighter than the heavier of its
    sides, so b2 is at most 1 / (1 + b1), and so on: below 1 for three leaves, 1.5 for five, 1.7 for any number.
    """
    scale = lcm(*(each.denominator for each in shares))
    queue: list[tuple[int, int, _Split | int]] = [(int(each * scale), i, i) for i, each in enumerate(shares)]
    heapq.heapify(queue)
    while len(queue) > 1:
        light, order, right = heapq.heappop(queue)
        heavy, heavy_order, left = heapq.heappop(queue)
        if light == heavy:
            # The first of equals in the file comes first in the fleet.
            left, right = right, left
        split = _Split(left, right, heavy, light + heavy)
        heapq.heappush(queue, (light + heavy, min(order, heavy_order), split))
    return queue[0][2]
