"""What is asked of a plan, and the messages in a second that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from ampswarm.plan import constants as c

DAY: Final = 86_400


class Store(StrEnum):
    """Where the central system keeps its records (`--store`)."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    NONE = "none"
    """Nowhere: what concerns a transaction costs as any other Call."""


@dataclass(frozen=True)
class Question:
    """The fleet, what it does, and the hosts to be had."""

    charge_points: int
    tls: bool = True
    """Whether charge points come with TLS, which the proxy ends."""
    heartbeat: int = 300
    """Seconds between Heartbeats of a charge point."""
    meter_values: int = 60
    """Seconds between MeterValues of one that charges."""
    charging: float = 0.0
    """Share of the fleet that charges, 0 to 1."""
    transactions_per_day: float = 0.0
    """Of each charge point."""
    ping_interval: int = 0
    """WebSocketPingInterval: seconds between a charge point's PINGs; 0 for none."""
    central_system_ping_interval: int = 30
    """Seconds between the central system's PINGs to each connection; 0 for none."""
    store: Store = Store.MEMORY
    storm: float = 0.0
    """Share of the fleet that comes back at once, 0 to 1."""
    spawn_rate: int | None = None
    """Charge points that start in a second; `None` for what is carried."""
    worker_capacity: int | None = None
    """Charge points of a worker; `None` for what fits."""
    open_files: int | None = None
    """Files that a container may open; `None` for as many as are needed."""
    ports: int = int(c.PORTS.value)
    """Of a source address, to one destination."""
    source_addresses: int = 1
    """Of each worker."""
    proxy_addresses: int = 1
    """Source addresses of the proxy to each central system."""
    cores_per_host: int = 2
    memory_per_host: int = 4
    """GB."""
    manager_cores: int = 8
    manager_memory: int = 64
    """GB."""

    @cached_property
    def traffic(self) -> Traffic:
        """What the whole fleet says in steady state."""
        fleet = self.charge_points
        intervals = [each for each in (self.ping_interval, self.central_system_ping_interval) if each]
        return Traffic(
            heartbeats=fleet / self.heartbeat,
            meter_values=fleet * self.charging / self.meter_values,
            transactions=fleet * self.transactions_per_day / DAY,
            pings=sum(fleet / each for each in intervals),
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """Messages in a second: each a Call with its answer, or a PING with its PONG."""

    heartbeats: float
    meter_values: float
    transactions: float
    """That begin and end; each has several Calls."""
    pings: float

    @property
    def calls(self) -> float:
        """All Calls in a second."""
        return self.heartbeats + self.meter_values + self.transactions * c.CALLS_OF_TRANSACTION.value

    @property
    def durable(self) -> float:
        """Calls in a second that are answered only when they are kept."""
        return self.meter_values + 2 * self.transactions

    @property
    def generator_cores(self) -> float:
        """Cores of all generators together."""
        other = self.calls - self.meter_values
        return (other * c.CALL.value + self.meter_values * c.METER_VALUES.value + self.pings * c.PING.value) / 1000

    @property
    def proxy_cores(self) -> float:
        """Cores of the proxy."""
        return (self.calls + self.pings) * c.PASSED.value / 1000
