"""The book of transactions, and the ledger."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response

from server import ledger
from server.api.answers import answers, as_json, as_time, nothing
from server.api.models import (
    Anomalies,
    AnomalyKind,
    Before,
    Ledger,
    Limit,
    OfIdentity,
    Transaction,
    TransactionId,
    Transactions,
    TransactionState,
)
from server.gate import PREFIX
from server.store import Store

_TAGS: Final[list[str | Enum]] = ["transactions"]
_PAGED: Final = HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE


class TransactionRoutes:
    """The routes of transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            f"{PREFIX}/transactions",
            self.transactions,
            methods=["GET"],
            tags=_TAGS,
            summary="List transactions",
            responses=answers(Transactions, "A page of them.", *_PAGED),
        )
        router.add_api_route(
            f"{PREFIX}/transactions/{{transaction_id}}",
            self.transaction,
            methods=["GET"],
            tags=_TAGS,
            summary="What is known of a transaction",
            responses=answers(Transaction, "This.", HTTPStatus.NOT_FOUND, *_PAGED),
        )
        router.add_api_route(
            f"{PREFIX}/ledger",
            self.ledger,
            methods=["GET"],
            tags=_TAGS,
            summary="What was counted",
            responses=answers(Ledger, "Everything since the store was made.", HTTPStatus.SERVICE_UNAVAILABLE),
        )
        router.add_api_route(
            f"{PREFIX}/ledger/anomalies",
            self.anomalies,
            methods=["GET"],
            tags=_TAGS,
            summary="List what a ledger should not have",
            responses=answers(Anomalies, "A page of them.", *_PAGED),
        )

    async def transactions(
        self,
        state: TransactionState = None,
        identity: OfIdentity = None,
        before: Before = None,
        limit: Limit = 100,
    ) -> Response:
        """The latest first."""
        rows = await self._store.read(lambda db: ledger.page(db, limit + 1, before, state, identity))
        items = [_transaction(row) for row in rows[:limit]]
        return as_json({"transactions": items, "next": rows[limit - 1].id if len(rows) > limit else None})

    async def transaction(self, transaction_id: TransactionId) -> Response:
        """Also of one that has ended, until it is forgotten."""
        row = await self._store.read(lambda db: ledger.get(db, transaction_id))
        return nothing("no such transaction is remembered") if row is None else as_json(_transaction(row))

    async def ledger(self) -> Response:
        """In sum: what was started, stopped, repeated, unknown, out of order."""
        return as_json(await self._store.read(ledger.sums))

    async def anomalies(
        self,
        kind: AnomalyKind = None,
        identity: OfIdentity = None,
        before: Before = None,
        limit: Limit = 100,
    ) -> Response:
        """The latest first, with who and when."""
        wanted = None if kind is None else kind.value
        rows = await self._store.read(lambda db: ledger.anomalies(db, limit + 1, before, wanted, identity))
        items = [
            {
                "id": row.id,
                "at": as_time(row.at),
                "kind": row.kind,
                "identity": row.identity,
                "transaction_id": row.transaction_id,
                "detail": row.detail,
            }
            for row in rows[:limit]
        ]
        return as_json({"anomalies": items, "next": rows[limit - 1].id if len(rows) > limit else None})


def _transaction(row: Any) -> dict[str, object]:  # noqa: ANN401  a row of SQLAlchemy's
    return {
        "transaction_id": row.id,
        "identity": row.identity,
        "connector_id": row.connector_id,
        "id_tag": row.id_tag,
        "state": row.state,
        "started_at": row.started_at,
        "meter_start_wh": row.meter_start,
        "meter_values": row.meter_values,
        "meter_last_wh": row.meter_last,
        "stopped_at": row.stopped_at,
        "meter_stop_wh": row.meter_stop,
        "reason": row.reason,
        "received_at": as_time(row.received_at),
        "ended_at": as_time(row.ended_at),
    }
