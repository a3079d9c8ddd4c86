"""Transactions, in memory: ids that are unique, what repeats, what matches nothing, and the sums.

What is bounded: open transactions (`MAX_OPEN`; the oldest goes first), ended ones (`keep_ended`),
and with them how well a repeated StopTransaction is known: see `Transactions.stop`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Final, Literal

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc

_LARGEST_ID: Final = 2**31 - 1
MAX_OPEN: Final = 2_000_000
"""Transactions that may run at a time."""
KEEP_ENDED: Final = 10_000
"""Ended transactions that are remembered."""
NO_ID: Final = -1
"""The transactionId of a transaction whose StartTransaction.conf never came (core errata 3.18)."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction, as it was started."""

    transaction_id: int
    identity: str
    connector_id: int
    id_tag: str
    meter_start: int
    """Wh."""
    timestamp: str
    """As StartTransaction.req had it."""


class End(StrEnum):
    """How a transaction came to an end in this book."""

    STOPPED = "stopped"
    """By StopTransaction.req."""
    SUPERSEDED = "superseded"
    """Another one started on its connector: its StopTransaction.req is still missing."""
    FORGOTTEN = "forgotten"
    """`MAX_OPEN` others were started after it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A transaction that runs no more."""

    transaction: Transaction
    end: End
    meter_stop: int | None = None
    """Wh; `None` unless it was stopped."""
    timestamp: str | None = None
    """As StopTransaction.req had it; `None` unless it was stopped."""
    reason: str | None = None
    """As StopTransaction.req had it; `None` also where it had none, which means Local (core 6.49)."""


class Transactions:
    """The transactions of all charge points, and the ledger of what was reported about them.

    Args:
        first_id: the first transaction id; a number that another process does not start from.
        max_open: transactions that may run at a time.
        keep_ended: ended transactions that are remembered.
    """

    def __init__(self, first_id: int, *, max_open: int = MAX_OPEN, keep_ended: int = KEEP_ENDED) -> None:
        if not 0 < first_id <= _LARGEST_ID:
            raise ValueError(f"a transaction id is between 1 and {_LARGEST_ID}, not {first_id}")
        self._first_id = first_id
        self._next_id = first_id
        self._max_open = max_open
        self._keep_ended = keep_ended
        # Both in the order of insertion, so that the oldest is the first.
        self._running: dict[int, Transaction] = {}
        self._ended: dict[int, Ended] = {}
        self._by_connector: dict[tuple[str, int], Transaction] = {}
        # When each running transaction was sampled last, in seconds since 1970.
        self._sampled: dict[int, float] = {}
        self.started = 0
        self.repeated_starts = 0
        self.stopped = 0
        self.repeated_stops = 0
        self.unknown_stops = 0
        self.without_id = 0
        """Messages with transactionId -1 (core errata 3.18)."""
        self.superseded = 0
        self.forgotten = 0
        self.energy_wh = 0
        """Wh; of stopped transactions whose meter did not run backwards."""
        self.backward_meters = 0
        """Stopped transactions whose meterStop was below meterStart."""
        self.meter_values = 0
        """MeterValues.req of transactions that were started here."""
        self.meter_values_out_of_order = 0
        """Those with a sample older than one before, or that came after their transaction's end."""
        self.meter_values_unknown = 0
        """MeterValues.req with a transactionId that was never given out, or to another charge point."""

    @property
    def running(self) -> int:
        """Transactions that were started and not stopped."""
        return len(self._running)

    def page(
        self, offset: int, limit: int, state: Literal["open", "ended"] | None = None
    ) -> Iterator[Transaction | Ended]:
        """Yield the running transactions, oldest first, then the ended ones, latest first."""
        running = () if state == "ended" else self._running.values()
        ended = () if state == "open" else reversed(self._ended.values())
        return islice(chain[Transaction | Ended](running, ended), offset, offset + limit)

    @property
    def remembered(self) -> int:
        """How many ended transactions are remembered."""
        return len(self._ended)

    def ledger(self) -> dict[str, int]:
        """Return what was counted since the start of the process."""
        return {
            "started": self.started,
            "repeated_starts": self.repeated_starts,
            "stopped": self.stopped,
            "repeated_stops": self.repeated_stops,
            "unknown_stops": self.unknown_stops,
            "without_transaction_id": self.without_id,
            "superseded": self.superseded,
            "forgotten": self.forgotten,
            "running": self.running,
            "energy_wh": self.energy_wh,
            "backward_meters": self.backward_meters,
            "meter_values": self.meter_values,
            "meter_values_out_of_order": self.meter_values_out_of_order,
            "meter_values_unknown_transaction": self.meter_values_unknown,
        }

    def start(self, identity: str, request: Payload) -> Transaction:
        """Return the transaction that StartTransaction.req starts.

        A charge point that got no answer sends the same again (core 3.7.1); it gets the same id.
        """
        connector = (identity, request["connectorId"])
        before = self._by_connector.get(connector)
        if before is not None and _is_repetition(before, request):
            self.repeated_starts += 1
            return before
        transaction = Transaction(
            self._next_id,
            identity,
            request["connectorId"],
            request["idTag"],
            request["meterStart"],
            request["timestamp"],
        )
        self._next_id += 1
        self.started += 1
        if before is not None:
            self.superseded += 1
            self._end(Ended(before, End.SUPERSEDED))
        elif len(self._running) >= self._max_open:
            self.forgotten += 1
            self._end(Ended(next(iter(self._running.values())), End.FORGOTTEN))
        self._running[transaction.transaction_id] = transaction
        self._by_connector[connector] = transaction
        return transaction

    def stop(self, identity: str, request: Payload) -> None:
        """Enter a StopTransaction.req into the book.

        It is to be answered whatever it says: the central system cannot prevent a transaction from
        stopping (core 4.10). One that comes again because its answer was lost (core 3.7.1) is a
        repetition. Of a transaction that is remembered no more, only the id says so: it was given out
        here, and does not run. Whose it was is not checked then.
        """
        transaction_id: int = request["transactionId"]
        if transaction_id == NO_ID:
            self.without_id += 1
            return
        transaction = self._running.get(transaction_id)
        if transaction is None:
            ended = self._ended.get(transaction_id)
            if ended is None:
                if self._first_id <= transaction_id < self._next_id:
                    self.repeated_stops += 1
                else:
                    self.unknown_stops += 1
                return
            if ended.transaction.identity == identity and ended.end is End.STOPPED:
                self.repeated_stops += 1
                return
            transaction = ended.transaction
        if transaction.identity != identity:
            self.unknown_stops += 1
            return
        meter_stop: int = request["meterStop"]
        self.stopped += 1
        if meter_stop < transaction.meter_start:
            self.backward_meters += 1
        else:
            self.energy_wh += meter_stop - transaction.meter_start
        self._end(Ended(transaction, End.STOPPED, meter_stop, request["timestamp"], request.get("reason")))

    def sample(self, identity: str, request: Payload) -> None:
        """Enter a MeterValues.req of a transaction into the book."""
        transaction_id: int = request["transactionId"]
        if transaction_id == NO_ID:
            self.without_id += 1
            return
        transaction = self._running.get(transaction_id)
        if transaction is None:
            ended = self._ended.get(transaction_id)
            is_ours = (
                self._first_id <= transaction_id < self._next_id
                if ended is None
                else ended.transaction.identity == identity
            )
            if is_ours:
                # Core 3.7: transaction-related messages come in chronological order.
                self.meter_values += 1
                self.meter_values_out_of_order += 1
            else:
                self.meter_values_unknown += 1
            return
        if transaction.identity != identity:
            self.meter_values_unknown += 1
            return
        self.meter_values += 1
        last = self._sampled.get(transaction_id)
        is_in_order = True
        try:
            for meter_value in request["meterValue"]:
                at = parse_utc(meter_value["timestamp"])
                if last is not None and at < last:
                    is_in_order = False
                else:
                    last = at
        except ValueError:
            is_in_order = False  # a time that cannot be read stands in no order
        if last is not None:
            self._sampled[transaction_id] = last
        if not is_in_order:
            self.meter_values_out_of_order += 1

    def _end(self, ended: Ended) -> None:
        transaction = ended.transaction
        transaction_id = transaction.transaction_id
        self._running.pop(transaction_id, None)
        self._sampled.pop(transaction_id, None)
        connector = (transaction.identity, transaction.connector_id)
        if self._by_connector.get(connector) is transaction:
            del self._by_connector[connector]
        self._ended.pop(transaction_id, None)
        self._ended[transaction_id] = ended
        if len(self._ended) > self._keep_ended:
            del self._ended[next(iter(self._ended))]


def _is_repetition(before: Transaction, request: Payload) -> bool:
    return (before.timestamp, before.id_tag, before.meter_start) == (
        request["timestamp"],
        request["idTag"],
        request["meterStart"],
    )
