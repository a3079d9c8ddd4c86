"""What is known of charge points, and Calls to them."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Body, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc
from server.api.answers import Responses, answers, as_json, error_fields, failing, failure, nothing, refused
from server.api.models import (
    DEFAULT_TIMEOUT,
    Action,
    CallAnswer,
    CallMany,
    ChargePoint,
    ChargePoints,
    Connected,
    Identity,
    Limit,
    Offset,
    Paging,
    Timeout,
)
from server.calls import CallFailed, Outcome, Result, call_each, check
from server.connections import CentralSystem, Connection
from server.gate import PREFIX
from server.records import Record, connectors

_HTTP_STATUS: Final = {
    Outcome.NOT_CONNECTED: HTTPStatus.NOT_FOUND,
    Outcome.TOO_MANY_CALLS: HTTPStatus.TOO_MANY_REQUESTS,
    Outcome.CALL_ERROR: HTTPStatus.BAD_GATEWAY,
    Outcome.TIMED_OUT: HTTPStatus.GATEWAY_TIMEOUT,
    Outcome.CONNECTION_LOST: HTTPStatus.BAD_GATEWAY,
    Outcome.INVALID_ANSWER: HTTPStatus.BAD_GATEWAY,
    Outcome.SHUTTING_DOWN: HTTPStatus.SERVICE_UNAVAILABLE,
}
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
        central: the charge points.
        lifecycle: where Calls to many are logged when they end.
    """

    def __init__(self, central: CentralSystem, lifecycle: LifecycleLog) -> None:
        self._central = central
        self._lifecycle = lifecycle

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            f"{PREFIX}/charge-points",
            self.charge_points,
            methods=["GET"],
            tags=["charge points"],
            summary="List charge points",
            responses=answers(ChargePoints, "A page of them.", HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        router.add_api_route(
            f"{PREFIX}/charge-points/{{identity:text}}",
            self.charge_point,
            methods=["GET"],
            tags=["charge points"],
            summary="What is known of a charge point",
            responses=answers(ChargePoint, "This.", HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
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
            responses={**_STREAMED, **failing(HTTPStatus.UNPROCESSABLE_ENTITY, is_json=False)},
        )

    async def charge_points(self, *, connected: Connected = None, offset: Offset = 0, limit: Limit = 100) -> Response:
        """In the order in which they came, connected ones first. Pages shift while charge points come and go."""
        total = self._central.count(connected=connected)
        page = self._central.page(offset, limit, connected=connected)
        items = [self._charge_point(identity, known) for identity, known in page]
        return as_json({**Paging.fields(total, offset, len(items)), "charge_points": items})

    async def charge_point(self, identity: Identity) -> Response:
        """Also of one that is not connected any more, for some time."""
        known = self._central.get(identity)
        if known is None:
            return nothing("no such charge point since the start")
        return as_json(self._charge_point(identity, known))

    async def call(
        self,
        identity: Identity,
        action: Action,
        payload: Annotated[dict[str, Any] | None, Body(description="The request's payload; none is `{}`.")] = None,
        timeout: Timeout = DEFAULT_TIMEOUT,  # noqa: ASYNC109  of the charge point's answer
    ) -> Response:
        """Send a Call when its turn has come, and answer with the charge point's answer."""
        try:
            # Before it is looked up, so that a wrong Call is told so whoever it is for.
            check(action, payload or {})
            result = await self._central.call(identity, action, payload or {}, timeout)
        except OcppError as error:
            return refused(error)
        except CallFailed as failed:
            return failure(_HTTP_STATUS[failed.outcome], failed.code, failed.description, failed.details)
        return as_json({"result": result})

    async def call_many(self, action: Action, body: CallMany) -> Response:
        """Send the same Call to many; a line of JSON for each as it answers, then one that sums up."""
        payload = body.payload or {}
        try:
            check(action, payload)
        except OcppError as error:
            return refused(error)
        identities = self._central.connected if body.identities is None else list(dict.fromkeys(body.identities))

        async def call(identity: str) -> Payload:
            return await self._central.call(identity, action, payload, body.timeout)

        return _Streamed(self._lines(action, call, identities, min(body.concurrency, len(identities))))

    async def _lines(
        self, action: str, call: Callable[[str], Awaitable[Payload]], identities: list[str], concurrency: int
    ) -> AsyncGenerator[bytes, None]:
        began = time.monotonic()
        results = 0
        errors: Counter[str] = Counter()
        is_complete = False
        try:
            async with contextlib.aclosing(call_each(call, self._while_open(identities), concurrency)) as batches:
                async for batch in batches:
                    for _, result in batch:
                        if isinstance(result, CallFailed):
                            errors[result.outcome.value] += 1
                        else:
                            results += 1
                    yield b"".join(_line(result) for result in batch)
            is_complete = results + errors.total() == len(identities)
        finally:
            summary = {
                "charge_points": len(identities),
                "results": results,
                "errors": dict(sorted(errors.items())),
                "not_called": len(identities) - results - errors.total(),
                "seconds": round(time.monotonic() - began, 3),
            }
            self._lifecycle.write("campaign", time.monotonic(), action=action, is_complete=is_complete, **summary)
        yield orjson.dumps({"summary": summary}) + b"\n"

    def _charge_point(self, identity: str, known: Connection | Record) -> dict[str, object]:
        return {
            "identity": identity,
            "connected": isinstance(known, Connection),
            "registration": known.registered.value,
            "boot": None if known.boot is None else orjson.loads(known.boot),
            "connectors": connectors(known.statuses),
            "calls_waiting": self._central.calls_waiting(identity),
            "last_seen": format_utc(known.last_seen),
            "round_trip_seconds": known.round_trip if isinstance(known, Connection) else None,
        }

    def _while_open(self, identities: list[str]) -> Iterator[str]:
        for identity in identities:
            if self._central.is_closing:
                return
            yield identity


def _line(result: Result) -> bytes:
    identity, came = result
    if isinstance(came, CallFailed):
        error = error_fields(came.code, came.description, came.details)
        return orjson.dumps({"identity": identity, "error": error}) + b"\n"
    return orjson.dumps({"identity": identity, "result": came}) + b"\n"
