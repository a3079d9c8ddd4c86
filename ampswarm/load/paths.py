"""More connections than one pair of addresses has ports for: several source addresses here, several ports there.

A TCP connection is told from another by its two addresses and ports. From one address of a generator to one port of a
target there are as many as there are ephemeral ports, 28,232 by default; each further source address, or port of the
target, allows as many again.
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ampswarm.ocppj.identity import Endpoint

MAX_ADDRESSES: Final = 4096
"""That a generator may connect from."""
MAX_PORTS: Final = 1024
"""That a target may have."""
AUTO: Final = "auto"
_NO_PORT_YET: Final = 24
"""IP_BIND_ADDRESS_NO_PORT: the port is chosen when it is known where the connection leads to. Without it, all
connections of an address share its ports, wherever they lead."""


def source_addresses(text: str) -> str:
    """Return a list of addresses, networks, or `auto`, that can be read.

    Raises:
        argparse.ArgumentTypeError: it cannot.
    """
    if text not in ("", AUTO):
        read_addresses(text)
    return text


def read_addresses(text: str) -> tuple[str, ...]:
    """Return the addresses of a list: `10.0.0.5,10.0.0.6`, or `10.0.0.16/28` for all hosts of a network.

    Raises:
        argparse.ArgumentTypeError: one is none, or there are too many.
    """
    if text == AUTO:
        return own_addresses()
    found: list[str] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        try:
            network = ipaddress.ip_network(part, strict=False)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{part!r} is neither an address nor a network, as in 10.0.0.16/28"
            ) from None
        if network.num_addresses > MAX_ADDRESSES:
            raise argparse.ArgumentTypeError(f"{part!r} has more than {MAX_ADDRESSES} addresses")
        found += map(str, network.hosts() if "/" in part else [ipaddress.ip_address(part)])
    if len(found) > MAX_ADDRESSES:
        raise argparse.ArgumentTypeError(f"more than {MAX_ADDRESSES} addresses")
    return tuple(dict.fromkeys(found))


def own_addresses() -> tuple[str, ...]:
    """Return the addresses of this host, but for those of its loopback and of its links alone."""
    found = (
        each.address
        for addresses in psutil.net_if_addrs().values()
        for each in addresses
        if each.family in (socket.AF_INET, socket.AF_INET6) and "%" not in each.address
    )
    return tuple(each for each in found if not (ip := ipaddress.ip_address(each)).is_loopback and not ip.is_link_local)


def is_own(address: str) -> bool:
    """Whether it is an address of this host, from which a connection can go out."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True


def target_ports(text: str) -> str:
    """Return a list of ports that can be read.

    Raises:
        argparse.ArgumentTypeError: it cannot.
    """
    read_ports(text)
    return text


def read_ports(text: str) -> tuple[int, ...]:
    """Return the ports of a list: `443,8443`, or `9001-9008`.

    Raises:
        argparse.ArgumentTypeError: one is none, or there are too many.
    """
    found: list[int] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        first, dash, last = part.partition("-")
        bounds = [first, last if dash else first]
        if not all(each.isascii() and each.isdigit() and len(each) < 6 and 0 < int(each) < 65536 for each in bounds):
            raise argparse.ArgumentTypeError(f"{part!r} is neither a port (1 to 65535) nor a range, as in 9001-9008")
        ports = range(int(bounds[0]), int(bounds[1]) + 1)
        if not ports:
            raise argparse.ArgumentTypeError(f"{part!r}: its first port is above its last")
        found += ports[: MAX_PORTS + 1]
    if len(found) > MAX_PORTS:
        raise argparse.ArgumentTypeError(f"more than {MAX_PORTS} ports")
    return tuple(dict.fromkeys(found))


@dataclass(slots=True)
class Paths:
    """Which of them a connection takes: the next one, each time, so that all are used alike.

    Args:
        sources: addresses of this host to connect from; none leaves it to the kernel.
        ports: of the target; none takes that of the endpoint.
    """

    sources: Sequence[str] = ()
    ports: Sequence[int] = ()
    _turns: Counter[object] = field(default_factory=Counter)

    def over(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint at the port to connect to."""
        if not self.ports:
            return endpoint
        self._turns["port"] += 1
        return replace(endpoint, port=self.ports[self._turns["port"] % len(self.ports)])

    def bind(self, sock: socket.socket) -> None:
        """Let a socket connect from the next address of its family; one whose family there is none of is left alone.

        Raises:
            OSError: the address is not one of this host.
        """
        family = sock.family
        fitting = [each for each in self.sources if (":" in each) == (family == socket.AF_INET6)]
        if not fitting:
            return
        # With ports that take turns as well, all pairs come: the address moves on once all ports have had theirs.
        self._turns[family] += 1
        turn = self._turns[family] // max(1, len(self.ports))
        sock.setsockopt(socket.IPPROTO_IP, _NO_PORT_YET, 1)
        sock.bind((fitting[turn % len(fitting)], 0))
