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
from ampswarm.ocppj.timestamps import format_utc, parse_utc
from server import transactions
from server.calls import CallFailed, Outcome, Result, check
from server.chaos_api import chaos_router
from server.chaos_control import ChaosControl
from server.cluster import Body as Live
from server.connections import CentralSystem
from server.fleet import Fleet
from server.gate import PREFIX, Gate
from server.handlers import BootPolicy, Handlers
from server.id_tags import IdTagInfo, IdTags, TooManyIdTags
from server.readiness import Readiness
from server.records import Record, Records, Registered
from server.settings import Settings
from server.store import Store, StoreFailed

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
    Outcome.UNREACHABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}

Timeout = Annotated[float, Query(gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)]
Before = Annotated[int | None, Query(ge=0, le=2**62)]
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
    one_at_a_time: bool = Field(default=False, alias="oneAtATime")
    """Whether another transaction with it is answered ConcurrentTx while one runs."""


class UnknownBody(_Model):
    """What id tags are answered that were not set."""

    status: Literal["Accepted", "Blocked", "Expired", "Invalid"]


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

    Arguments as those of `build_app`.
    """

    def __init__(
        self,
        *,
        central: CentralSystem,
        fleet: Fleet,
        handlers: Handlers,
        settings: Settings,
        id_tags: IdTags,
        records: Records,
        store: Store,
        readiness: Readiness,
        lifecycle: LifecycleLog,
    ) -> None:
        self._central = central
        self._fleet = fleet
        self._handlers = handlers
        self._settings = settings
        self._id_tags = id_tags
        self._records = records
        self._store = store
        self._readiness = readiness
        self._lifecycle = lifecycle

    def router(self) -> APIRouter:
        router = APIRouter(route_class=_OrjsonRoute)
        for method, path, endpoint in (
            ("GET", "/healthz", self.health),
            ("GET", "/readyz", self.ready),
            ("GET", f"{PREFIX}/charge-points", self.charge_points),
            ("GET", f"{PREFIX}/charge-points/{{identity:path}}", self.charge_point),
            ("POST", f"{PREFIX}/charge-points/{{identity:path}}/calls/{{action}}", self.call),
            ("POST", f"{PREFIX}/calls/{{action}}", self.call_many),
            ("GET", f"{PREFIX}/transactions", self.transactions),
            ("GET", f"{PREFIX}/transactions/{{transaction_id}}", self.transaction),
            ("GET", f"{PREFIX}/ledger", self.ledger),
            ("GET", f"{PREFIX}/ledger/anomalies", self.anomalies),
            ("GET", f"{PREFIX}/id-tags", self.id_tags),
            ("PUT", f"{PREFIX}/id-tags", self.put_id_tags),
            ("GET", f"{PREFIX}/unknown-id-tags", self.unknown_id_tags),
            ("PUT", f"{PREFIX}/unknown-id-tags", self.put_unknown_id_tags),
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
        return _json({"status": "ok", "version": ampswarm.__version__, "connections": len(self._central)})

    async def ready(self) -> Response:
        """Answer whether charge points should be sent here."""
        readiness = self._readiness
        return _json(readiness.as_json(), HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE)

    async def charge_points(
        self,
        *,
        connected: bool | None = None,
        registration: Literal["unknown", "accepted", "pending", "rejected"] | None = None,
        prefix: str | None = None,
        after: str | None = None,
        limit: Limit = 100,
    ) -> Response:
        """List charge points in the order of their identities; `next` is the `after` of the next page."""
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
        return _json({"charge_points": items, "next": page[-1].identity if len(found) > limit else None})

    async def charge_point(self, identity: str) -> Response:
        """Tell what is known of a charge point."""
        record = await self._records.get(identity)
        if record is None:
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "no such charge point has ever connected")
        live = await self._fleet.describe([identity])
        fields = _charge_point(record, live.get(identity))
        return _json({**fields, "configuration": record.configuration})

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
            result = await self._fleet.call(identity, action, payload or {}, timeout)
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
        identities = None if body.identities is None else list(dict.fromkeys(body.identities))
        batches = self._fleet.call_many(identities, action, payload, body.timeout, body.concurrency)
        return _Streamed(self._lines(action, batches, identities), "application/x-ndjson")

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

    async def transactions(
        self,
        state: Literal["open", "stopped", "superseded"] | None = None,
        identity: str | None = None,
        before: Before = None,
        limit: Limit = 100,
    ) -> Response:
        """List transactions, the latest first; `next` is the `before` of the next page."""
        rows = await self._store.read(lambda db: transactions.page(db, limit + 1, before, state, identity))
        items = [_transaction(row) for row in rows[:limit]]
        return _json({"transactions": items, "next": rows[limit - 1].id if len(rows) > limit else None})

    async def transaction(self, transaction_id: int) -> Response:
        """Tell what is known of one transaction."""
        row = await self._store.read(lambda db: transactions.get(db, transaction_id))
        if row is None:
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "no such transaction is remembered")
        return _json(_transaction(row))

    async def ledger(self) -> Response:
        """Tell what was counted since the store was made: started = open + stopped + superseded."""
        return _json(await self._store.read(transactions.ledger))

    async def anomalies(
        self,
        kind: str | None = None,
        identity: str | None = None,
        before: Before = None,
        limit: Limit = 100,
    ) -> Response:
        """List what a ledger should not have, the latest first; `next` is the `before` of the next page."""
        rows = await self._store.read(lambda db: transactions.anomalies(db, limit + 1, before, kind, identity))
        items = [
            {
                "id": row.id,
                "at": format_utc(row.at),
                "kind": row.kind,
                "identity": row.identity,
                "transaction_id": row.transaction_id,
                "detail": row.detail,
            }
            for row in rows[:limit]
        ]
        return _json({"anomalies": items, "next": rows[limit - 1].id if len(rows) > limit else None})

    async def id_tags(self, after: str | None = None, limit: Limit = 100) -> Response:
        """List the id tags that were set, in lower case."""
        found = self._id_tags.page(limit + 1, after)
        items = {id_tag: _id_tag(info) for id_tag, info in found[:limit]}
        return _json({"id_tags": items, "next": found[limit - 1][0] if len(found) > limit else None})

    async def put_id_tags(self, body: dict[str, IdTagBody]) -> Response:
        """Set what many id tags are answered."""
        infos = {}
        for id_tag, each in body.items():
            mistake = _mistake(id_tag, each)
            if mistake is not None:
                return _failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", f"{id_tag[:40]}: {mistake}")
            infos[id_tag] = _info(each)
        await self._settings.put_id_tags(infos)
        return _json({"id_tags": len(infos)})

    async def unknown_id_tags(self) -> Response:
        """Tell what id tags are answered that were not set."""
        return _json({"status": self._id_tags.unknown})

    async def put_unknown_id_tags(self, body: UnknownBody) -> Response:
        """Set what id tags are answered that were not set."""
        await self._settings.put_unknown(body.status)
        return await self.unknown_id_tags()

    async def id_tag(self, id_tag: str) -> Response:
        """Tell what was set for an id tag."""
        info = self._id_tags.get(id_tag)
        if info is None:
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "nothing was set for it")
        return _json(_id_tag(info))

    async def put_id_tag(self, id_tag: str, body: IdTagBody) -> Response:
        """Set what an id tag is answered."""
        mistake = _mistake(id_tag, body)
        if mistake is not None:
            return _failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", mistake)
        info = _info(body)
        await self._settings.put_id_tags({id_tag: info})
        return _json(_id_tag(info))

    async def delete_id_tag(self, id_tag: str) -> Response:
        """Forget an id tag: it is one of the unknown ones again."""
        if not await self._settings.delete_id_tags([id_tag]):
            return _failure(HTTPStatus.NOT_FOUND, "NotFound", "nothing was set for it")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def boot_policy(self) -> Response:
        """Tell what the next BootNotification.req is answered."""
        policy = self._handlers.boot_policy
        return _json({"status": policy.status, "interval": policy.interval})

    async def put_boot_policy(self, body: BootPolicyBody) -> Response:
        """Set what BootNotification.req is answered from now on."""
        await self._settings.put_boot_policy(BootPolicy(body.status, body.interval))
        return await self.boot_policy()


def _charge_point(record: Record, live: Live | None) -> dict[str, object]:
    connected_at = record.connected_at if live is None else live["connected_at"]
    return {
        "identity": record.identity,
        "connected": live is not None,
        "node": None if live is None else live["node"],
        "registration": record.registration.value,
        "boot": record.boot,
        "booted_at": _time(record.booted_at),
        "connectors": record.connectors,
        "connected_at": _time(connected_at),
        "last_seen": _time(record.last_seen if live is None else live["last_seen"]),
        "round_trip_seconds": None if live is None else live["round_trip"],
        "calls_waiting": 0 if live is None else live["calls_waiting"],
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else format_utc(seconds)


def _mistake(id_tag: str, body: IdTagBody) -> str | None:
    if not 0 < len(id_tag) <= 20:
        return "an id tag has 1 to 20 characters"
    if body.expiry_date is not None:
        try:
            parse_utc(body.expiry_date)
        except ValueError as error:
            return f"expiryDate: {error}"
    return None


def _info(body: IdTagBody) -> IdTagInfo:
    return IdTagInfo(body.status, body.expiry_date, body.parent_id_tag, body.one_at_a_time)


def _id_tag(info: IdTagInfo) -> dict[str, object]:
    return {**info.as_payload(), **({"oneAtATime": True} if info.one_at_a_time else {})}


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
        "received_at": _time(row.received_at),
        "ended_at": _time(row.ended_at),
    }


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


async def _store_failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreFailed)
    return _failure(HTTPStatus.SERVICE_UNAVAILABLE, "StoreFailed", error.reason)


async def _too_many(_request: Request, error: Exception) -> Response:
    return _failure(HTTPStatus.CONFLICT, "TooManyIdTags", str(error))


def build_app(
    *,
    central: CentralSystem,
    fleet: Fleet,
    handlers: Handlers,
    settings: Settings,
    id_tags: IdTags,
    records: Records,
    store: Store,
    readiness: Readiness,
    chaos: ChaosControl,
    lifecycle: LifecycleLog,
    token: str | None,
) -> ASGIApp:
    """Return the operator API as an ASGI application.

    Args:
        central: the connections of this process.
        fleet: the charge points of all processes.
        handlers: where the boot policy is.
        settings: sets id tags and the boot policy.
        id_tags: the id tags.
        records: what charge points said of themselves.
        store: where the book of transactions is.
        readiness: what `/readyz` says.
        chaos: carries out what goes wrong on purpose.
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
            StoreFailed: _store_failed,
            TooManyIdTags: _too_many,
            Exception: _fault,
        },
    )
    app.include_router(
        _Api(
            central=central,
            fleet=fleet,
            handlers=handlers,
            settings=settings,
            id_tags=id_tags,
            records=records,
            store=store,
            readiness=readiness,
            lifecycle=lifecycle,
        ).router()
    )
    app.include_router(chaos_router(chaos, _OrjsonRoute))
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
