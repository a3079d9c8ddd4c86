"""A bus in one event loop whose messages wait until the test lets them go, and the connections of its processes."""

from __future__ import annotations

from collections import deque

from server.bus import Bus


class Exchange:
    """What the processes share: the clock of all, and where what is published gets its order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.buses: dict[str, SlowBus] = {}

    def connect_bus(self, node: str) -> SlowBus:
        """Return the bus of a process that has come."""
        bus = self.buses[node] = SlowBus(node, self)
        self.tell_members()
        return bus

    def leave(self, node: str) -> None:
        """Let a process be gone."""
        del self.buses[node]
        self.tell_members()

    def tell_members(self) -> None:
        """Say that somebody has come or gone."""
        for bus in list(self.buses.values()):
            bus.members_changed()

    def settle(self) -> None:
        """Let go of all that waits, and of what that gives rise to."""
        while any(bus.outbox or bus.inbox for bus in self.buses.values()):
            for bus in list(self.buses.values()):
                bus.let_out()
                bus.let_in()


class SlowBus(Bus):
    """The bus of one process."""

    def __init__(self, node: str, exchange: Exchange) -> None:
        super().__init__(node)
        self._exchange = exchange
        self.outbox: deque[tuple[str | None, bytes]] = deque()
        """What this process has said, and who for; nobody has it yet."""
        self.inbox: deque[bytes] = deque()
        """What this process has not heard yet."""

    @property
    def members(self) -> frozenset[str]:
        """Return who is there now."""
        return frozenset(self._exchange.buses) | {self.node}

    async def open(self) -> None:
        """Join."""

    async def close(self) -> None:
        """Leave."""

    def publish(self, message: bytes) -> None:
        """Send a message to all."""
        self.outbox.append((None, message))

    def send(self, node: str, message: bytes) -> None:
        """Send a message to one process."""
        self.outbox.append((node, message))

    def let_out(self) -> None:
        """Hand on all that this process has said."""
        while self.outbox:
            to, message = self.outbox.popleft()
            for bus in self._exchange.buses.values():
                if to is None or to == bus.node:
                    bus.inbox.append(message)

    def let_in(self) -> None:
        """Let this process hear all that is there for it."""
        while self.inbox:
            self.receive(self.inbox.popleft())


class Connections:
    """The connections of one process, whose host's clock may be wrong.

    Args:
        exchange: whose clock is right.
        skew: seconds by which the host's clock is ahead of it.
    """

    def __init__(self, exchange: Exchange, skew: float = 0.0) -> None:
        self._exchange = exchange
        self._skew = skew
        self.since: dict[str, float] = {}
        self.closed: list[str] = []

    def connect(self, identity: str) -> None:
        """Take a connection, a millisecond later than what was before."""
        self._exchange.now += 0.001
        self.since[identity] = self._exchange.now + self._skew

    def moved(self, identity: str) -> None:
        """Close a connection."""
        if self.since.pop(identity, None) is not None:
            self.closed.append(identity)

    def standing(self) -> list[tuple[str, float]]:
        """Return who is connected here, and since when."""
        return list(self.since.items())

    def connected_since(self, identity: str) -> float | None:
        """Return since when a charge point is connected here."""
        return self.since.get(identity)
