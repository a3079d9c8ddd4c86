"""Transactions, in memory: ids that are unique, starts that are repeated, stops that match nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Final

from ampswarm.ocppj.frames import Payload

_LARGEST_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Transaction:
    """One running transaction."""

    transaction_id: int
    identity: str
    connector_id: int
    id_tag: str
    meter_start: int
    """Wh."""
    timestamp: str
    """As StartTransaction.req had it."""


class Transactions:
    """The running transactions of all charge points.

    Args:
        first_id: the first transaction id; a number that another process does not start from.
    """

    def __init__(self, first_id: int) -> None:
        if not 0 < first_id <= _LARGEST_ID:
            raise ValueError(f"a transaction id is between 1 and {_LARGEST_ID}, not {first_id}")
        self._ids = count(first_id)
        self._running: dict[int, Transaction] = {}
        self._by_connector: dict[tuple[str, int], Transaction] = {}
        self.started = 0
        self.repeated_starts = 0
        self.stopped = 0
        self.unknown_stops = 0

    @property
    def running(self) -> int:
        """Transactions that were started and not stopped."""
        return len(self._running)

    def start(self, identity: str, request: Payload) -> Transaction:
        """Return the transaction that StartTransaction.req starts.

        A charge point that got no answer sends the same again (core 3.7.1); it gets the same id.
        """
        transaction = Transaction(
            next(self._ids),
            identity,
            request["connectorId"],
            request["idTag"],
            request["meterStart"],
            request["timestamp"],
        )
        connector = (identity, transaction.connector_id)
        before = self._by_connector.get(connector)
        if before is not None and _is_repetition(before, transaction):
            self.repeated_starts += 1
            return before
        self.started += 1
        self._running[transaction.transaction_id] = transaction
        self._by_connector[connector] = transaction
        return transaction

    def stop(self, identity: str, request: Payload) -> Transaction | None:
        """End the transaction that StopTransaction.req names; `None` when this charge point has none such.

        An unknown one is to be answered all the same: the central system cannot prevent a
        transaction from stopping (core 4.10).
        """
        transaction = self._running.get(request["transactionId"])
        if transaction is None or transaction.identity != identity:
            self.unknown_stops += 1
            return None
        del self._running[transaction.transaction_id]
        if self._by_connector.get((identity, transaction.connector_id)) is transaction:
            del self._by_connector[identity, transaction.connector_id]
        self.stopped += 1
        return transaction


def _is_repetition(before: Transaction, now: Transaction) -> bool:
    return (before.timestamp, before.id_tag, before.meter_start) == (
        now.timestamp,
        now.id_tag,
        now.meter_start,
    )
