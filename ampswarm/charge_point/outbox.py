"""Transaction messages in the order in which they happened: kept, retried, drained at a bounded pace (core 3.7).

Kept through a lost network and through lost power: the outbox is the charge point's non-volatile memory.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ampswarm.charge_point.transaction import Transaction, evenly

_FOREVER: Final = float("inf")
_WORTH_IT: Final = 2
"""MeterValues: of one alone, half is nothing."""


class Message:
    """One transaction message that waits, or is on its way."""

    __slots__ = ("action", "attempts", "created", "is_backlog", "not_before", "payload", "transaction")

    def __init__(
        self, action: str, transaction: Transaction, payload: bytes, created: float, *, is_backlog: bool
    ) -> None:
        self.action = action
        self.transaction = transaction
        self.payload = payload
        """Packed, and without the transaction's id, which may not be known yet."""
        self.created = created
        """When it happened, in seconds on the charge point's clock."""
        self.is_backlog = is_backlog
        """Whether it had to wait for the network, so that it counts for the pace."""
        self.attempts = 0
        """How often the central system failed to process it, the try under way included."""
        self.not_before = created


class Retry(NamedTuple):
    """The rule of core 3.7.1, as the configuration keys have it at the moment."""

    attempts: int
    """TransactionMessageAttempts; 0 is taken as 1."""
    interval: float
    """TransactionMessageRetryInterval, in seconds."""


class Outbox:
    """The transaction messages of one charge point.

    Args:
        capacity: messages that are kept. Beyond it, MeterValues are dropped, about every second one,
            and never what starts or stops a transaction (core errata 3.14).
    """

    __slots__ = ("_capacity", "_in_flight", "_messages", "_pace_until", "_values")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._messages: list[Message] = []
        self._in_flight = False
        self._pace_until = 0.0
        # MeterValues that were ever added since some were dropped: with none, there is nothing to drop.
        self._values = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> list[Message]:
        """Put a message behind all others; return those that had to go to make room."""
        self._messages.append(message)
        self._values += message.action == "MeterValues"
        if len(self._messages) <= self._capacity or self._values < _WORTH_IT:
            return []
        return self._thin_out()

    @property
    def ready_at(self) -> float:
        """When the first message may go out; infinity when there is none, or it is on its way."""
        if not self._messages or self._in_flight:
            return _FOREVER
        head = self._messages[0]
        return max(head.not_before, self._pace_until) if head.is_backlog else head.not_before

    @property
    def first(self) -> Message:
        """The oldest message."""
        return self._messages[0]

    def take(self) -> Message:
        """Return the first message, which goes out now: say next what became of it."""
        head = self._messages[0]
        head.attempts += 1
        self._in_flight = True
        return head

    def answered(self, now: float, drain_interval: float) -> Message:
        """The central system took the message that was on its way; return it."""
        self._in_flight = False
        message = self._messages.pop(0)
        self._pace_until = now + drain_interval
        return message

    def failed(self, now: float, retry: Retry) -> Message | None:
        """The central system failed to process it: try again later, or return it as given up.

        Core 3.7.1: before every retransmission, wait the interval times the number of
        preceding transmissions; after the last attempt, go on with the next message.
        """
        self._in_flight = False
        head = self._messages[0]
        if head.attempts < retry.attempts:
            head.not_before = now + retry.interval * head.attempts
            return None
        return self._messages.pop(0)

    def interrupted(self) -> None:
        """The connection went while one was on its way: that is no failure to process it."""
        if self._in_flight:
            self._in_flight = False
            self._messages[0].attempts -= 1
        for message in reversed(self._messages):
            if message.is_backlog:
                break
            message.is_backlog = True

    def _thin_out(self) -> list[Message]:
        """Drop every second MeterValues, so that what is left still covers the whole time evenly."""
        values = [each for each in self._messages[self._in_flight :] if each.action == "MeterValues"]
        stay = {id(values[index]) for index in evenly([each.created for each in values], (len(values) + 1) // 2)}
        dropped = [each for each in values if id(each) not in stay]
        gone = {id(each) for each in dropped}
        self._messages = [each for each in self._messages if id(each) not in gone]
        self._values = len(stay)
        return dropped
