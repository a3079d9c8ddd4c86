"""How the processes of one central system talk to each other.

A bus carries messages from one process to all, or to one, and knows which are there. What the messages say is
`cluster`'s business.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes; of one message between two processes."""

Receive = Callable[[bytes], None]


class BusFailed(Exception):  # noqa: N818  what happened, and mostly not a fault of the program
    """The bus cannot be reached."""


class BadBus(ValueError):  # noqa: N818  one line for whoever starts the process
    """A bus that cannot be used as it was named."""


class Bus(ABC):
    """The processes that belong together, and the way to them.

    All get what is published in the same order, whoever published it; and so does who published it.

    Args:
        node: this process.
    """

    def __init__(self, node: str) -> None:
        self.node = node
        self.system = ""
        """The central system that this process belongs to; to be set before `open`."""
        self.ahead = 0.0
        """Seconds by which the clock of the bus, one for all, is ahead of this host's."""
        self.receive: Receive = _nowhere
        """Called with each message for this process."""
        self.members_changed: Callable[[], None] = _nothing
        """Called when `members` has changed."""
        self.changed: Callable[[str | None], None] = _nothing_said
        """Called with the reason when the bus fails, and with `None` when it is well again."""

    @property
    @abstractmethod
    def members(self) -> frozenset[str]:
        """The processes that are there now, this one among them."""

    @abstractmethod
    async def open(self) -> None:
        """Connect to the others.

        Raises:
            BadBus: it cannot be used; nothing will change that but the operator.
            BusFailed: it cannot be reached now.
        """

    @abstractmethod
    def publish(self, message: bytes) -> None:
        """Send a message to all, this process included. It is lost when the bus is down."""

    @abstractmethod
    def send(self, node: str, message: bytes) -> None:
        """Send a message to one process. It is lost when that has gone, or the bus is down."""

    @abstractmethod
    async def close(self) -> None:
        """Leave."""


class LocalBus(Bus):
    """The bus of a process that is alone."""

    @property
    def members(self) -> frozenset[str]:
        """Return who is there now."""
        return frozenset({self.node})

    async def open(self) -> None:
        """Join."""

    def publish(self, message: bytes) -> None:
        """Send a message to all."""
        asyncio.get_running_loop().call_soon(self.receive, message)

    def send(self, node: str, message: bytes) -> None:
        """Send a message to one process."""
        if node == self.node:
            self.publish(message)

    async def close(self) -> None:
        """Leave."""


def _nowhere(_message: bytes) -> None:
    """Take a message for which nobody is there yet."""


def _nothing() -> None:
    """Do nothing."""


def _nothing_said(_trouble: str | None) -> None:
    """Tell nobody."""
