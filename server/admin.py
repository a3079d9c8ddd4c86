"""The operator's HTTP API: what is connected, Calls to charge points, id tags. The only module that knows FastAPI."""

from __future__ import annotations

import contextlib
import socket
import time
from asyncio import get_running_loop
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import orjson
import uvicorn
from fastapi import APIRouter, Body, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

import ampswarm
from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc, parse_utc
from server.calls import CallFailed, Outcome, Result, call_each, check
from server.connections import CentralSystem, Connection
from server.gate import PREFIX, Gate
from server.handlers import BootPolicy, Handlers
from server.id_tags import IdTagInfo, IdTags, TooManyIdTags
from server.records import Record, connectors
from server.transactions import Ended, Transaction, Transactions

MAX_PAGE: Final = 1000
MAX_CONCURRENCY: Final = 10_000
MAX_TIMEOUT: Final = 3600.0
_DEFAULT_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 1
"""Seconds for answers under way to be finished when the process ends."""
_HTTP_STATUS: Final = {
    Outcome.NOT_CONNECTED: HTTPStatus.NOT_FOUND,
    Outcome.TOO_MANY_CALLS: HTTPStatus.TOO_MANY_REQUESTS,
    Outcome.CALL_ERROR: HTTPStatus.BAD_GATEWAY,
    Outcome.TIMED_OUT: HTTPStatus.GATEWAY_TIMEOUT,
    Outcome.CONNECTION_LOST: HTTPStatus.BAD_GATEWAY,
    Outcome.INVALID_ANSWER: HTTPStatus.BAD_GATEWAY,
    Outcome.SHUTTING_DOWN: HTTPStatus.SERVICE_UNAVAILABLE,
}

Timeout = Annotated[float, Query(gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)]
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class CallMany(_Model):
    """One Call to many charge points."""

    payload: dict[str, Any] | None = None
    """The request's payload; `null` is `{}`."""
    identities: list[str] | None = None
    """Whom; `null` for all that are connected."""
    concurrency: int = Field(100, ge=1, le=MAX_CONCURRENCY)
    timeout: float = Field(_DEFAULT_TIMEOUT, gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)
    """Seconds for each answer, from when its Call is sent."""


class IdTagBody(_Model):
    """An IdTagInfo (core 7.27), spelled as on the wire."""

    status: Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
    expiry_date: str | None = Field(None, alias="expiryDate")
    parent_id_tag: str | None = Field(None, alias="parentIdTag", max_length=20)


class BootPolicyBody(_Model):
    """What the next BootNotification.req is answered (core 4.2)."""

    status: Literal["Accepted", "Pending", "Rejected"]
    interval: int = Field(ge=0, le=2**31 - 1)
    """Seconds. 0 leaves it to the charge point."""


class _OrjsonRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401  it is whatever was sent
        # The parser of the other side of this process: no NaN, no lone surrogates.
        return orjson.loads(await self.body())


class _OrjsonRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def with_orjson(request: Request) -> Response:
            return await handle(_OrjsonRequest(request.scope, request.receive))

        return with_orjson


class _Streamed(StreamingResponse):
    """A stream whose source ends with it, and not when the garbage collector finds it."""

    def __init__(self, source: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(source, media_type=media_type)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._source):
            await super().__call__(scope, receive, send)


def _json(content: object, status: int = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


def _failure(status: int, code: str, description: str, details: object = None) -> Response:
    return _json({"error": _error_fields(code, description, details)}, status)


def _error_fields(code: str, description: str, details: object = None) -> dict[str, object]:
    return {"code": code, "description": description, "details": {} if details is None else details}


def _refused(error: OcppError) -> Response:
    return _failure(HTTPStatus.UNPROCESSABLE_ENTITY, error.code.value, error.description, error.details)


class _Api:
    """The routes.

    Args:
        central: the charge points.
        handlers: where the boot policy is.
        transactions: the book of transactions.
        id_tags: the id tags.
        lifecycle: where Calls to many are logged when they end.
    """

    def __init__(
        self,
        *,
        central: CentralSystem,
        handlers: Handlers,
        transactions: Transactions,
        id_tags: IdTags,
        lifecycle: LifecycleLog,
    ) -> None:
        self._central = central
        self._handlers = handlers
        self._transactions = transactions
        self._id_tags = id_tags
        self._lifecycle = lifecycle

    def router(self) -> APIRouter:
        router = APIRouter(route_class=_OrjsonRoute)
        for method, path, endpoint in (
            ("GET", "/healthz", self.health),
            ("GET", f"{PREFIX}/charge-points", self.charge_points),
            ("GET", f"{PREFIX}/charge-points/{{identity:path}}", self.charge_point),
            ("POST", f"{PREFIX}/charge-points/{{identity:path}}/calls/{{action}}", self.call),
            ("POST", f"{PREFIX}/calls/{{action}}", self.call_many),
            ("GET", f"{PREFIX}/transactions", self.transactions),
            ("GET", f"{PREFIX}/ledger", self.ledger),
            ("GET", f"{PREFIX}/id-tags/{{id_tag:path}}", self.id_tag),
            ("PUT", f"{PREFIX}/id-tags/{{id_tag:path}}", self.put_id_tag),
            ("DELETE", f"{PREFIX}/id-tags/{{id_tag:path}}", self.delete_id_tag),
            ("GET", f"{PREFIX}/boot-policy", self.boot_policy),
            ("PUT", f"{PREFIX}/boot-policy", self.put_boot_policy),
        ):
            router.add_api_route(path, endpoint, methods=[method])
        return router

    async def health(self) -> Response:
        """Answer whether the process serves charge points."""
        if self._central.is_closing:
            return _json({"status": "stopping"}, HTTPStatus.SERVICE_UNAVAILABLE)
        return _json(
            {"status": "ok", "version": ampswarm.__version__, "connections": self._central.count(connected=True)}
        )

    async def charge_points(self, *, connected: bool | None = None, offset: Offset = 0, limit: Limit = 100) -> Response:
        """List charge points in the order in which they came, connected ones first.

        Pages shift while charge points come and go.
        """
        total = self._central.count(connected=connected)
        page = self._central.page(offset, limit, connected=connected)
        items = [self._charge_point(identity, known) for identity, known in page]
        return _json({**_paging(total, offset, len(items)), "charge_points": items})

    async def charge_point(self, identity: str) -> Response:
        """Tell what is known of a charge point."""
        known = self._central.get(identity)
        if known is None:
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "no such charge point since the start")
        return _json(self._charge_point(identity, known))

    async def call(
        self,
        identity: str,
        action: str,
        payload: Annotated[dict[str, Any] | None, Body()] = None,
        timeout: Timeout = _DEFAULT_TIMEOUT,  # noqa: ASYNC109  of the charge point's answer
    ) -> Response:
        """Call a charge point and answer with its answer; the body is the OCPP payload."""
        try:
            # Before it is looked up, so that a wrong Call is told so whoever it is for.
            check(action, payload or {})
            result = await self._central.call(identity, action, payload or {}, timeout)
        except OcppError as error:
            return _refused(error)
        except CallFailed as failed:
            return _failure(_HTTP_STATUS[failed.outcome], failed.code, failed.description, failed.details)
        return _json({"result": result})

    async def call_many(self, action: str, body: CallMany) -> Response:
        """Call many charge points; a line of JSON for each as it answers, then one that sums up."""
        payload = body.payload or {}
        try:
            check(action, payload)
        except OcppError as error:
            return _refused(error)
        identities = self._central.connected if body.identities is None else list(dict.fromkeys(body.identities))

        async def call(identity: str) -> Payload:
            return await self._central.call(identity, action, payload, body.timeout)

        lines = self._lines(action, call, identities, min(body.concurrency, len(identities)))
        return _Streamed(lines, "application/x-ndjson")

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
        }

    def _while_open(self, identities: list[str]) -> Iterator[str]:
        for identity in identities:
            if self._central.is_closing:
                return
            yield identity

    async def transactions(
        self, state: Literal["open", "ended"] | None = None, offset: Offset = 0, limit: Limit = 100
    ) -> Response:
        """List the open transactions, oldest first, and the last ended ones, latest first."""
        book = self._transactions
        opened = 0 if state == "ended" else book.running
        total = opened + (0 if state == "open" else book.remembered)
        items = [_transaction(each) for each in book.page(offset, limit, state)]
        return _json({**_paging(total, offset, len(items)), "transactions": items})

    async def ledger(self) -> Response:
        """Tell what was counted since the start."""
        return _json(self._transactions.ledger())

    async def id_tag(self, id_tag: str) -> Response:
        """Tell what was set for an id tag."""
        info = self._id_tags.get(id_tag)
        if info is None:
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "nothing was set for it: it is Accepted")
        return _json(info.as_payload())

    async def put_id_tag(self, id_tag: str, body: IdTagBody) -> Response:
        """Set what an id tag is answered."""
        if not 0 < len(id_tag) <= 20:
            return _failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", "an id tag has 1 to 20 characters")
        if body.expiry_date is not None:
            try:
                parse_utc(body.expiry_date)
            except ValueError as error:
                return _failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", f"expiryDate: {error}")
        info = IdTagInfo(body.status, body.expiry_date, body.parent_id_tag)
        try:
            self._id_tags.put(id_tag, info)
        except TooManyIdTags as full:
            return _failure(HTTPStatus.CONFLICT, "TooManyIdTags", str(full))
        return _json(info.as_payload())

    async def delete_id_tag(self, id_tag: str) -> Response:
        """Forget an id tag: it is Accepted again."""
        if not self._id_tags.delete(id_tag):
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "nothing was set for it: it is Accepted")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def boot_policy(self) -> Response:
        """Tell what the next BootNotification.req is answered."""
        policy = self._handlers.boot_policy
        return _json({"status": policy.status, "interval": policy.interval})

    async def put_boot_policy(self, body: BootPolicyBody) -> Response:
        """Set what BootNotification.req is answered from now on."""
        self._handlers.boot_policy = BootPolicy(body.status, body.interval)
        return await self.boot_policy()


def _paging(total: int, offset: int, count: int) -> dict[str, object]:
    after = offset + count
    return {"total": total, "offset": offset, "next_offset": after if count and after < total else None}


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


def _line(result: Result) -> bytes:
    identity, came = result
    if isinstance(came, CallFailed):
        return (
            orjson.dumps({"identity": identity, "error": _error_fields(came.code, came.description, came.details)})
            + b"\n"
        )
    return orjson.dumps({"identity": identity, "result": came}) + b"\n"


async def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    said = [{"where": "/".join(map(str, each["loc"])), "what": each["msg"]} for each in error.errors()[:10]]
    description = f"{said[0]['where']}: {said[0]['what']}" if said else ""
    return _failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", description, {"errors": said})


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return _failure(status, status.phrase.replace(" ", ""), error.detail)


async def _fault(_request: Request, _error: Exception) -> Response:
    return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "a fault of the central system; see its log")


def build_app(
    *,
    central: CentralSystem,
    handlers: Handlers,
    transactions: Transactions,
    id_tags: IdTags,
    lifecycle: LifecycleLog,
    token: str | None,
) -> ASGIApp:
    """Return the operator API as an ASGI application.

    Args:
        central: the charge points.
        handlers: where the boot policy is.
        transactions: the book of transactions.
        id_tags: the id tags.
        lifecycle: where Calls to many are logged when they end.
        token: the bearer token of requests; `None` asks for none.
    """
    app = FastAPI(
        title="Ampswarm central system",
        version=ampswarm.__version__,
        openapi_url=f"{PREFIX}/openapi.json",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            RequestValidationError: _invalid,
            HTTPException: _http_error,
            Exception: _fault,
        },
    )
    app.include_router(
        _Api(
            central=central, handlers=handlers, transactions=transactions, id_tags=id_tags, lifecycle=lifecycle
        ).router()
    )
    return Gate(app, token)


# -- the server -----------------------------------------------------------------------------------


async def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the first address of `host`; port 0 takes a free one.

    Raises:
        OSError: the address cannot be listened on.
        UnicodeError: `host` cannot be a name at all.
    """
    infos = await get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = infos[0]
    listening = socket.create_server(address[:2], family=family)
    listening.settimeout(0)
    return listening


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield


@dataclass(frozen=True, slots=True)
class AdminServer:
    """The operator API's server, which runs in the loop of the central system."""

    _uvicorn: _Uvicorn
    _listening: socket.socket

    @property
    def port(self) -> int:
        """The TCP port that it listens on."""
        port: int = self._listening.getsockname()[1]
        return port

    async def serve(self) -> None:
        """Serve until `stop`, and a little longer: what is under way has a second to end."""
        await self._uvicorn.serve([self._listening])

    def stop(self) -> None:
        """Take no more requests, and end soon."""
        self._uvicorn.should_exit = True


def admin_server(app: ASGIApp, listening: socket.socket) -> AdminServer:
    """Return the server of `app` on a socket that listens already."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_TIMEOUT,
    )
    return AdminServer(_Uvicorn(config), listening)
