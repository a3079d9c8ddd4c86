"""How much clients may ask for: connections, handshakes and messages. No socket, no clock: time is an argument."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Sequence
from enum import Enum
from typing import Final

MAX_RETRY_AFTER: Final = 60
"""Seconds; nobody is sent away for longer, however many were refused before."""
MAX_REFUSED: Final = 1000
"""Connections that may wait at one time for being told that they are one too many; others are cut off."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class TokenBucket:
    """Lets `rate` events a second through, and after a rest as many as `burst` at once.

    Args:
        rate: events per second, above 0.
        burst: at least 1.
        now: seconds, on the clock of `take`.
    """

    __slots__ = ("_burst", "_next_return", "_rate", "_seen", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._seen = now
        self._next_return = now

    def take(self, now: float) -> bool:
        """Take one token; return whether there was one."""
        # A clock that steps back gives nothing, and takes nothing.
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._seen) * self._rate)
        self._seen = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def retry_after(self, now: float) -> int:
        """Return the whole seconds after which one that got no token had best come back.

        Each time later than the last, at the bucket's rate: a fleet that is refused together does not come
        back together. At most MAX_RETRY_AFTER.
        """
        self._next_return = min(max(self._next_return, now) + 1 / self._rate, now + MAX_RETRY_AFTER)
        return max(1, min(MAX_RETRY_AFTER, math.ceil(self._next_return - now)))


class Overload(Enum):
    """Why a connection is one too many."""

    CONNECTIONS = "too many connections"
    ADDRESS = "too many connections from this address"


class Place:
    """What one connection takes up, from when it is accepted until it is gone."""

    __slots__ = ("_admission", "_key", "overload")

    def __init__(self, admission: Admission, key: str | None, overload: Overload | None) -> None:
        self._admission: Admission | None = admission
        self._key = key
        self.overload = overload
        """Why it is to be refused; it takes nothing from the others then."""

    def belongs_to(self, address: str) -> None:
        """Count it for `address` from now on: a proxy said whose it is."""
        admission = self._admission
        if admission is not None and self.overload is None:
            admission.leave(self._key, None)
            self._key, self.overload = admission.admit(address)

    def leave(self) -> None:
        """Give it back; a second time does nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.leave(self._key, self.overload)


class Admission:
    """Counts connections, and says who is one too many.

    Its tables are no larger than the number of connections that stand.

    Args:
        connections: most of them at one time; 0 for any number.
        per_address: most of them from one address, or one /64 network of IPv6; 0 for any number.
    """

    __slots__ = ("_addresses", "_connections", "_per_address", "_refused", "_total")

    def __init__(self, connections: int, per_address: int) -> None:
        self._connections = connections
        self._per_address = per_address
        self._total = 0
        self._refused = 0
        self._addresses: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many connections are there, without the refused ones."""
        return self._total

    @property
    def addresses(self) -> int:
        """How many addresses have a connection; 0 where they are not counted."""
        return len(self._addresses)

    def enter(self, address: str | None) -> Place | None:
        """Return the place of a new connection; `None` if it cannot even be told that there is none.

        Args:
            address: where it comes from; `None` if a proxy has yet to say.
        """
        key, overload = self.admit(address)
        if overload is not None and self._refused > MAX_REFUSED:
            self.leave(key, overload)
            return None
        return Place(self, key, overload)

    def admit(self, address: str | None) -> tuple[str | None, Overload | None]:
        """Count a connection; return what it is counted under, and why it is one too many. `leave` undoes it."""
        if self._connections and self._total >= self._connections:
            self._refused += 1
            return None, Overload.CONNECTIONS
        key = None
        if self._per_address and address is not None:
            key = counted_as(address)
            count = self._addresses.get(key, 0)
            if count >= self._per_address:
                self._refused += 1
                return None, Overload.ADDRESS
            self._addresses[key] = count + 1
        self._total += 1
        return key, None

    def leave(self, key: str | None, overload: Overload | None) -> None:
        """Undo what `admit` counted."""
        if overload is not None:
            self._refused -= 1
            return
        self._total -= 1
        if key is not None:
            count = self._addresses[key] - 1
            if count:
                self._addresses[key] = count
            else:
                del self._addresses[key]


class TrustedProxies:
    """Whose word is taken for where a connection comes from.

    Args:
        networks: of the proxies that are believed.
    """

    __slots__ = ("_networks",)

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, address: str) -> bool:
        """Return whether `address` is a trusted proxy's."""
        parsed = _parse(address)
        return parsed is not None and self._is_one(parsed)

    def client(self, address: str, forwarded: str) -> str:
        """Return the address of the client behind `address`.

        X-Forwarded-For is read from its end, where each proxy adds whom it saw: the first that is no trusted
        proxy is the client, and what stands before it may be the client's invention.

        Args:
            address: the other end of the connection.
            forwarded: the values of all X-Forwarded-For headers, joined by commas; maybe none.
        """
        believed = address
        for entry in reversed(forwarded.split(",")):
            if not self.trusts(believed):
                break
            parsed = _parse(_without_port(entry.strip()))
            if parsed is None:
                break
            believed = str(parsed)
        return believed

    def _is_one(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)


def counted_as(address: str) -> str:
    """Return what connections from `address` are counted under: of IPv6, a client has a whole /64 network."""
    parsed = _parse(address)
    if parsed is None:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
