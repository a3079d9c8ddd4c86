"""Who may use the operator API, and how much they may send. Plain ASGI, in front of all routes."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

import orjson

from server.connections import MAX_MESSAGE

PREFIX: Final = "/api/v1"
"""Under which the paths of the operator API are, but for those that tools expect at the root."""
HEALTH: Final = "/healthz"
READY: Final = "/readyz"
METRICS: Final = "/metrics"
OPENAPI: Final = "/openapi.json"
PAGE: Final = (
    "/",
    *(f"/{name}.js" for name in ("page", "api", "calls", "dom", "fleet", "station")),
    "/page.css",
    "/page.svg",
)
"""The page for people, which asks for the token itself: there is nothing in it that is not in the repository."""
_OPEN: Final = frozenset({HEALTH, READY, *PAGE})
"""What needs no token: a load balancer has none, and a browser has none yet."""
MAX_BULK_BODY: Final = 8 * 1024 * 1024
"""Bytes; of a request that may name half a million charge points. Others have at most MAX_MESSAGE."""
_BODY_TIMEOUT: Final = 60.0
"""Seconds for a body to come."""
_MAX_DISCARDED: Final = 4
"""A body up to so many times the limit is read to its end before it is refused: who is cut off while it
sends does not see why."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class _Refusal(Exception):  # noqa: N818  what happens to a request
    """A request that does not get through.

    Args:
        status: of HTTP.
        code: one word for a program.
        description: one line for a person.
        headers: more headers of the answer.
    """

    def __init__(self, status: HTTPStatus, code: str, description: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(description)
        self.status = status
        self.body = orjson.dumps({"error": {"code": code, "description": description, "details": {}}})
        self.headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self.body)).encode()),
            *headers,
        ]


class Gate:
    """Lets requests through that bear the token, come from no other site, and have a body of fair size.

    Args:
        app: what is behind.
        token: the bearer token; `None` asks for none, but then only for this host's own names: a
            page that somebody's browser shows must not command charge points by DNS rebinding.
    """

    def __init__(self, app: App, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        headers = dict(scope["headers"])
        try:
            self._check(path, headers)
            most = MAX_BULK_BODY if path.startswith(f"{PREFIX}/calls/") else MAX_MESSAGE
            try:
                async with asyncio.timeout(_BODY_TIMEOUT):
                    body = await _read(receive, headers, most)
            except TimeoutError:
                why = f"a body has to be whole within {_BODY_TIMEOUT:.0f} seconds"
                refusal = _Refusal(HTTPStatus.REQUEST_TIMEOUT, "TooSlow", why, (b"connection", b"close"))
                raise refusal from None
        except _Refusal as refusal:
            await send({"type": "http.response.start", "status": refusal.status, "headers": refusal.headers})
            await send({"type": "http.response.body", "body": refusal.body})
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, receive_again, send)

    def _check(self, path: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").split("://", 1)[-1] != host:
            raise _Refusal(HTTPStatus.FORBIDDEN, "Forbidden", "requests of other sites' pages are not taken")
        if self._token is None:
            # A browser names a host always; a load balancer that checks by HTTP/1.0 names none.
            is_check = path in {HEALTH, READY} and b"host" not in headers
            if not is_check and not _is_local_name(host):
                why = "without a token, the Host header must be a loopback address"
                raise _Refusal(HTTPStatus.FORBIDDEN, "Forbidden", why)
        elif path not in _OPEN:
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not secrets.compare_digest(token.strip(), self._token):
                why = "the bearer token is missing or wrong"
                challenge = (b"www-authenticate", b"Bearer")
                raise _Refusal(HTTPStatus.UNAUTHORIZED, "Unauthorized", why, challenge)


async def _read(receive: Receive, headers: dict[bytes, bytes], most: int) -> bytes:
    """Return the body.

    Raises:
        _Refusal: it has more than `most` bytes.
    """
    too_big = _Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "TooBig", f"a body has at most {most} bytes", (b"connection", b"close")
    )
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length) > _MAX_DISCARDED * most:
        raise too_big
    body = bytearray()
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break  # the client has gone, which whoever answers will see
        size += len(message.get("body", b""))
        if size <= most:
            body += message.get("body", b"")
        elif size > _MAX_DISCARDED * most:
            raise too_big
        more = message.get("more_body", False)
    if size > most:
        raise too_big
    return bytes(body)


def _is_local_name(host: str) -> bool:
    name = re.sub(r":\d*$", "", host).strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
