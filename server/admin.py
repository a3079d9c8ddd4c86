"""The operator's HTTP API as a whole, and its server. With `server.api`, the only module that knows FastAPI."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

import ampswarm
from ampswarm.lifecycle import LifecycleLog
from server.api.answers import OrjsonRoute, describe_requests, fault, http_error, invalid, store_failed
from server.api.chaos import ChaosRoutes
from server.api.charge_points import ChargePointRoutes
from server.api.page import PageRoutes
from server.api.passwords import PasswordRoutes
from server.api.process import ProcessRoutes
from server.api.settings import SettingRoutes
from server.api.transactions import TransactionRoutes
from server.chaos_control import ChaosControl
from server.connections import CentralSystem
from server.fleet import Fleet
from server.gate import HEALTH, OPENAPI, READY, Gate
from server.handlers import Handlers
from server.id_tags import IdTags
from server.metrics import State
from server.readiness import Readiness
from server.records import Records
from server.settings import Settings
from server.store import Store, StoreFailed
from server.stored_passwords import StoredPasswords

_STOP_TIMEOUT: Final = 1
"""Seconds for answers under way to be finished when the process ends."""
MAX_CONNECTIONS: Final = 1000
"""To the operator's port: what it takes up, charge points cannot have."""
_HEAD_TIMEOUT: Final = 10.0
"""Seconds for the head of a request to be whole, from when the connection is there or its first byte is."""
_READ_TIMEOUT: Final = 10.0
"""Seconds for a client to read the rest of its answer when its connection is to be closed."""
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_DESCRIPTION: Final = """What is connected, Calls to charge points, and what can be set at run time.

Identities and id tags in paths are percent-encoded. Every error is `{"error": {"code", "description", "details"}}`."""


class _Described(FastAPI):
    """Adds to the OpenAPI description what all routes share: the token, and what each request is looked at for."""

    def __init__(self, *, needs_token: bool, **more: Any) -> None:  # noqa: ANN401  as FastAPI has them
        self._needs_token = needs_token
        super().__init__(**more)

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        description = super().openapi()
        describe_requests(description)
        if self._needs_token:
            description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            description["security"] = [{"token": []}]
            for path in (HEALTH, READY):
                description["paths"][path]["get"]["security"] = []
        return description


def build_app(
    *,
    central: CentralSystem,
    fleet: Fleet,
    records: Records,
    store: Store,
    chaos: ChaosControl,
    settings: Settings,
    handlers: Handlers,
    id_tags: IdTags,
    passwords: StoredPasswords | None,
    lifecycle: LifecycleLog,
    readiness: Readiness,
    collect: Callable[[], Awaitable[list[State]]],
    token: str | None,
) -> ASGIApp:
    """Return the operator API as an ASGI application.

    Args:
        central: the connections of this process.
        fleet: the charge points of all processes.
        records: what charge points said of themselves.
        store: where the book of transactions is.
        chaos: carries out what goes wrong on purpose.
        settings: what can be set.
        handlers: where the boot policy is.
        id_tags: the id tags.
        passwords: those in the store; `None` where they are not.
        lifecycle: where Calls to many are logged when they end.
        readiness: whether new charge points should be sent here.
        collect: returns what each process has counted whose numbers are shown as one.
        token: the bearer token of requests; `None` asks for none.
    """
    router = APIRouter(route_class=OrjsonRoute)
    for routes in (
        ProcessRoutes(central, readiness, collect),
        ChargePointRoutes(fleet, records, lifecycle),
        TransactionRoutes(store),
        SettingRoutes(settings, handlers, id_tags),
        PageRoutes(),
        PasswordRoutes(passwords),
        ChaosRoutes(chaos),
    ):
        routes.add_to(router)
    app = _Described(
        needs_token=token is not None,
        title="Ampswarm central system",
        description=_DESCRIPTION,
        version=ampswarm.__version__,
        openapi_url=OPENAPI,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            RequestValidationError: invalid,
            HTTPException: http_error(router.routes),
            StoreFailed: store_failed,
            Exception: fault,
        },
    )
    app.include_router(router)
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
    # Handed down to each connection: else the body of an answer waits 40 ms for the client's
    # acknowledgement of its head (asyncio does this only for sockets that it has made itself).
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listening.settimeout(0)
    return listening


class _Uvicorn(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the process."""
        yield


class _Protocol(H11Protocol):
    """A connection that does not stay for ever without a request.

    uvicorn's own limits do not see one that says nothing, or half of a request's head.
    """

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.write(_FULL)
            self._leave()
        else:
            self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        """Take what was read; while a request is served, nobody is waited for."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_request()
        else:
            self._stop_waiting()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came after the last answer, which may not have been read yet."""
        if not self.transport.is_closing():
            super().timeout_keep_alive_handler()
            self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(_HEAD_TIMEOUT, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _leave(self) -> None:
        self.transport.close()
        self._stop_waiting()
        self._patience = self.loop.call_later(_READ_TIMEOUT, self.transport.abort)


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
        http=_Protocol,
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
