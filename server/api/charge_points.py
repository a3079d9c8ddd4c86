"""What is known of charge points, and Calls to them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.errors import OcppError
from server.api.answers import Responses, answers, as_json, as_time, error_fields, failing, failure, nothing, refused
from server.api.models import (
    DEFAULT_TIMEOUT,
    Action,
    After,
    CallAnswer,
    CallMany,
    ChargePointDetails,
    ChargePoints,
    Connected,
    Filter,
    FleetGlance,
    Force,
    Identity,
    KeptMessages,
    Limit,
    MessageCursor,
    MessageLimit,
    Prefix,
    Registration,
    Timeout,
)
from server.calls import CallFailed, Outcome, Result, check
from server.cluster import Body as Live
from server.fleet import UNKNOWN, Fleet
from server.gate import PREFIX
from server.records import Record, Records, Registered

_HTTP_STATUS: Final = {
    Outcome.NOT_CONNECTED: HTTPStatus.NOT_FOUND,
    Outcome.NOT_ACCEPTED: HTTPStatus.CONFLICT,
    Outcome.TOO_MANY_CALLS: HTTPStatus.TOO_MANY_REQUESTS,
    Outcome.CALL_ERROR: HTTPStatus.BAD_GATEWAY,
    Outcome.TIMED_OUT: HTTPStatus.GATEWAY_TIMEOUT,
    Outcome.CONNECTION_LOST: HTTPStatus.BAD_GATEWAY,
    Outcome.INVALID_ANSWER: HTTPStatus.BAD_GATEWAY,
    Outcome.SHUTTING_DOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    Outcome.NOT_KEPT: HTTPStatus.SERVICE_UNAVAILABLE,
    Outcome.UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_MESSAGES: Final = "/messages"
_LINES: Final = "application/x-ndjson"
_STREAMED: Final[Responses] = {
    HTTPStatus.OK: {
        "description": "A line of JSON for each charge point as it answers: `identity` with `result` or `error`. "
        "The last line has a `summary`; without it, the stream broke off.",
        "content": {_LINES: {"schema": {"type": "string"}}},
    }
}


class _Streamed(StreamingResponse):
    """A stream whose source ends with it, and not when the garbage collector finds it."""

    media_type = _LINES

    def __init__(self, source: AsyncGenerator[bytes, None]) -> None:
        super().__init__(source)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._source):
            await super().__call__(scope, receive, send)


class ChargePointRoutes:
    """The routes of charge points.

    Args:
        fleet: those that are connected.
        records: what all have said of themselves.
        lifecycle: where Calls to many are logged when they end.
    """

    def __init__(self, fleet: Fleet, records: Records, lifecycle: LifecycleLog) -> None:
        self._fleet = fleet
        self._records = records
        self._lifecycle = lifecycle

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            f"{PREFIX}/charge-points",
            self.charge_points,
            methods=["GET"],
            tags=["charge points"],
            summary="List charge points",
            responses=answers(
                ChargePoints, "A page of them.", HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
            ),
        )
        router.add_api_route(
            f"{PREFIX}/fleet",
            self.fleet,
            methods=["GET"],
            tags=["charge points"],
            summary="All charge points at a glance",
            responses=answers(FleetGlance, "This.", HTTPStatus.SERVICE_UNAVAILABLE),
        )
        # Before the next one, whose path fits every identity.
        router.add_api_route(
            f"{PREFIX}/charge-points/{{identity:text}}{_MESSAGES}",
            self.messages,
            methods=["GET"],
            tags=["charge points"],
            summary="The last messages of a charge point",
            responses=answers(
                KeptMessages,
                "These.",
                *(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
            ),
        )
        router.add_api_route(
            f"{PREFIX}/charge-points/{{identity:text}}",
            self.charge_point,
            methods=["GET"],
            tags=["charge points"],
            summary="What is known of a charge point",
            responses=answers(
                ChargePointDetails,
                "This.",
                *(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
            ),
        )
        router.add_api_route(
            f"{PREFIX}/charge-points/{{identity:text}}/calls/{{action}}",
            self.call,
            methods=["POST"],
            tags=["Calls"],
            summary="Call a charge point",
            responses=answers(CallAnswer, "Its CallResult.", HTTPStatus.UNPROCESSABLE_ENTITY, *_HTTP_STATUS.values()),
        )
        router.add_api_route(
            f"{PREFIX}/calls/{{action}}",
            self.call_many,
            methods=["POST"],
            tags=["Calls"],
            summary="Call many charge points",
            response_class=_Streamed,
            status_code=HTTPStatus.OK,
            responses={
                **_STREAMED,
                **failing(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE, is_json=False),
            },
        )

    async def charge_points(
        self,
        *,
        connected: Connected = None,
        registration: Registration = None,
        prefix: Prefix = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Response:
        """In the order of their identities, also those that are not connected any more."""
        await self._fleet.settle()
        nodes = self._fleet.nodes
        found = await self._records.page(
            limit + 1,
            after=after,
            prefix=prefix,
            registration=None if registration is None else Registered(registration),
            connected_to=nodes if connected else None,
            not_connected_to=nodes if connected is False else None,
        )
        page = found[:limit]
        live = await self._fleet.describe([record.identity for record in page])
        items = [_charge_point(record, live.get(record.identity)) for record in page]
        return as_json({"charge_points": items, "next": page[-1].identity if len(found) > limit else None})

    async def charge_point(self, identity: Identity) -> Response:
        """Also of one that is not connected any more."""
        await self._fleet.settle()
        record = await self._records.get(identity)
        if record is None:
            return nothing(UNKNOWN)
        live = await self._fleet.describe([identity])
        fields = _charge_point(record, live.get(identity))
        return as_json({**fields, "configuration": record.configuration})

    async def messages(
        self, request: Request, identity: Identity, after: MessageCursor = "", limit: MessageLimit = 100
    ) -> Response:
        """Those of all charge points together are kept for a while; more of those that are asked for here."""
        if not request.scope["raw_path"].endswith(_MESSAGES.encode()):
            # With a percent-encoded slash: the end of an identity.
            return await self.charge_point(identity + _MESSAGES)
        if not self._fleet.is_here(identity):
            await self._fleet.settle()
            if await self._records.get(identity) is None:
                return nothing(UNKNOWN)
        seen = {node: int(number) for node, _, number in (each.partition("-") for each in after.split(".") if each)}
        found = await self._fleet.messages(identity, seen, limit)
        items = [
            {
                "at": as_time(each.at),
                "direction": "out" if each.is_out else "in",
                "text": each.text,
                "is_cut": each.is_cut,
                "size": each.size,
            }
            for each in found.messages
        ]
        cursor = ".".join(f"{node}-{number}" for node, number in found.seen.items())
        return as_json({"messages": items, "cursor": cursor, "are_kept": found.are_kept})

    async def fleet(self) -> Response:
        """How many there are, where, and how they stand."""
        nodes, glance = await self._fleet.connections(), await self._fleet.glance()
        return as_json(
            {
                "nodes": nodes,
                "connected": sum(nodes.values()),
                "known": sum(glance.registrations.values()),
                "registrations": glance.registrations,
                "transactions_open": glance.transactions_open,
                "counted_at": as_time(glance.counted_at),
            }
        )

    async def call(
        self,
        identity: Identity,
        action: Action,
        payload: Annotated[dict[str, Any] | None, Body(description="The request's payload; none is `{}`.")] = None,
        timeout: Timeout = DEFAULT_TIMEOUT,  # noqa: ASYNC109  of the charge point's answer
        *,
        force: Force = False,
    ) -> Response:
        """Send a Call when its turn has come, and answer with the charge point's answer."""
        try:
            # Before it is looked up, so that a wrong Call is told so whoever it is for.
            check(action, payload or {}, formats=True)
            result = await self._fleet.call(identity, action, payload or {}, timeout, force=force)
        except OcppError as error:
            return refused(error)
        except CallFailed as failed:
            return failure(_HTTP_STATUS[failed.outcome], failed.code, failed.description, failed.details)
        return as_json({"result": result})

    async def call_many(self, action: Action, body: CallMany, *, force: Force = False) -> Response:
        """Send the same Call to many; a line of JSON for each as it answers, then one that sums up."""
        payload = body.payload or {}
        try:
            check(action, payload, formats=True)
        except OcppError as error:
            return refused(error)
        if body.identities is not None and body.filter is not None:
            why = "either identities or a filter, and not both"
            return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", why)
        identities = None if body.identities is None else list(dict.fromkeys(body.identities))
        if body.filter is not None:
            identities = await self._find(body.filter)
        batches = self._fleet.call_many(identities, action, payload, body.timeout, body.concurrency, force=force)
        return _Streamed(self._lines(action, batches, identities))

    async def _find(self, wanted: Filter) -> list[str]:
        """Return the identities of connected charge points that a filter lets through."""
        await self._fleet.settle()
        return await self._records.find(
            connected_to=self._fleet.nodes,
            prefix=wanted.prefix,
            registration=None if wanted.registration is None else Registered(wanted.registration),
            boot={"chargePointVendor": wanted.vendor, "chargePointModel": wanted.model},
        )

    async def _lines(
        self, action: str, batches: AsyncGenerator[list[Result], None], identities: list[str] | None
    ) -> AsyncGenerator[bytes, None]:
        began = time.monotonic()
        results = 0
        errors: Counter[str] = Counter()
        is_complete = False
        summary: dict[str, object] = {}
        try:
            async with contextlib.aclosing(batches):
                async for batch in batches:
                    for _, result in batch:
                        if isinstance(result, CallFailed):
                            errors[result.outcome.value] += 1
                        else:
                            results += 1
                    yield b"".join(_line(result) for result in batch)
            is_complete = identities is None or results + errors.total() == len(identities)
        finally:
            ended = results + errors.total()
            charge_points = ended if identities is None else len(identities)
            summary |= {
                "charge_points": charge_points,
                "results": results,
                "errors": dict(sorted(errors.items())),
                "not_called": charge_points - ended,
                "seconds": round(time.monotonic() - began, 3),
            }
            self._lifecycle.write("campaign", time.monotonic(), action=action, is_complete=is_complete, **summary)
        yield orjson.dumps({"summary": summary}) + b"\n"


def _charge_point(record: Record, live: Live | None) -> dict[str, object]:
    return {
        "identity": record.identity,
        "connected": live is not None,
        "node": None if live is None else live["node"],
        "registration": record.registration.value,
        "boot": record.boot,
        "booted_at": as_time(record.booted_at),
        "connectors": record.connectors,
        "connected_at": as_time(record.connected_at if live is None else live["connected_at"]),
        "last_seen": as_time(record.last_seen if live is None else live["last_seen"]),
        "round_trip_seconds": None if live is None else live["round_trip"],
        "calls_waiting": 0 if live is None else live["calls_waiting"],
    }


def _line(result: Result) -> bytes:
    identity, came = result
    if isinstance(came, CallFailed):
        error = error_fields(came.code, came.description, came.details)
        return orjson.dumps({"identity": identity, "error": error}) + b"\n"
    return orjson.dumps({"identity": identity, "result": came}) + b"\n"
