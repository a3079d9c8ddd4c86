"""The book of transactions, and the ledger."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response

from server.api.answers import answers, as_json
from server.api.models import Ledger, Limit, Offset, Paging, TransactionPage, TransactionState
from server.gate import PREFIX
from server.transactions import Ended, Transaction, Transactions

_TAGS: Final[list[str | Enum]] = ["transactions"]


class TransactionRoutes:
    """The routes of transactions."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            f"{PREFIX}/transactions",
            self.transactions,
            methods=["GET"],
            tags=_TAGS,
            summary="List transactions",
            responses=answers(TransactionPage, "A page of them.", HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        router.add_api_route(
            f"{PREFIX}/ledger",
            self.ledger,
            methods=["GET"],
            tags=_TAGS,
            summary="What was counted",
            responses=answers(Ledger, "Everything since the start."),
        )

    async def transactions(self, state: TransactionState = None, offset: Offset = 0, limit: Limit = 100) -> Response:
        """The open ones, oldest first, and the last ended ones, latest first."""
        book = self._transactions
        opened = 0 if state == "ended" else book.running
        total = opened + (0 if state == "open" else book.remembered)
        items = [_transaction(each) for each in book.page(offset, limit, state)]
        return as_json({**Paging.fields(total, offset, len(items)), "transactions": items})

    async def ledger(self) -> Response:
        """In sum: what was started, stopped, repeated, unknown, out of order."""
        return as_json(self._transactions.ledger())


def _transaction(each: Transaction | Ended) -> dict[str, object]:
    transaction = each.transaction if isinstance(each, Ended) else each
    fields: dict[str, object] = {
        "transaction_id": transaction.transaction_id,
        "identity": transaction.identity,
        "connector_id": transaction.connector_id,
        "id_tag": transaction.id_tag,
        "meter_start_wh": transaction.meter_start,
        "started_at": transaction.timestamp,
        "state": "open",
    }
    if isinstance(each, Ended):
        fields["state"] = each.end.value
        fields |= {"meter_stop_wh": each.meter_stop, "stopped_at": each.timestamp, "reason": each.reason}
    return fields
