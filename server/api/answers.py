"""What all routes share: how they read and write JSON, and how they say what went wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.timestamps import format_utc
from server.api.models import Failure, Model
from server.gate import PREFIX
from server.store import StoreFailed

Responses = dict[int | str, dict[str, Any]]
"""The answers of a route, by status, as FastAPI describes them."""

_BEARER: Final = {"WWW-Authenticate": {"description": "How to log in.", "schema": {"type": "string"}}}
_FAILURE: Final = f"#/components/schemas/{Failure.__name__}"
_MEANINGS: Final = {
    HTTPStatus.UNAUTHORIZED: "The bearer token is missing or wrong.",
    HTTPStatus.FORBIDDEN: "The request comes from another site's page, or without a token under a foreign host name.",
    HTTPStatus.NOT_FOUND: "There is no such thing.",
    HTTPStatus.CONFLICT: "The rules are against it as things stand, there is no room for another one, or the central "
    "system runs without such things.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not come in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too long.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not said to be JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request breaks the rules; nothing was done.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many Calls wait for this charge point already.",
    HTTPStatus.BAD_GATEWAY: "The charge point answered with a CallError or with something invalid, or was lost.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The process is going away, or what it needs (the store, the bus) is not there.",
    HTTPStatus.GATEWAY_TIMEOUT: "The charge point did not answer in time.",
}


class _Text(Convertor[str]):
    """Any text in a path, which `{name:path}` is but for line breaks."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("text", _Text())


class OrjsonRoute(APIRoute):
    """A route that reads JSON as charge points' messages are read: no NaN, no lone surrogates.

    It also takes a body for nothing but JSON, and a parameter that it does not know for a mistake, where the framework
    would ignore it: who misspells a filter is not to be shown everything.
    """

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return what answers a request."""
        handle = super().get_route_handler()
        # What tools ask for at the root may have any, for the proxies in between.
        takes_others = not self.path.startswith(PREFIX)
        known = [parameter.alias for parameter in self.dependant.query_params]
        has_body = self.body_field is not None

        async def with_orjson(request: Request) -> Response:
            if not takes_others:
                for name in request.query_params:
                    if name not in known:
                        return _unknown_parameter(name, known)
            request = _OrjsonRequest(request.scope, request.receive)
            if has_body and not _is_json(request) and await request.body():
                return _not_json(request)
            return await handle(request)

        return with_orjson


def _unknown_parameter(name: str, known: Sequence[str]) -> Response:
    there_are = f"there are {', '.join(known)}" if known else "there are none"
    what = f"it is not known here; {there_are}"
    where = f"query/{name[:60]}"
    details = {"errors": [{"where": where, "what": what}]}
    return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", f"{where}: {what}", details)


def _is_json(request: Request) -> bool:
    kind, _, subtype = request.headers.get("content-type", "").partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _not_json(request: Request) -> Response:
    said = request.headers.get("content-type")
    what = "nothing" if said is None else repr(said[:60])
    why = f"the body has to be JSON, with Content-Type: application/json; it says {what}"
    return failure(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", why)


def describe_requests(description: dict[str, Any]) -> None:
    """Add to an OpenAPI description what every `OrjsonRoute` answers."""
    for path, operations in description["paths"].items():
        for operation in operations.values():
            statuses = [HTTPStatus.UNPROCESSABLE_ENTITY] if path.startswith(PREFIX) else []
            if "requestBody" in operation:
                statuses.append(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            for status in statuses:
                content = {"application/json": {"schema": {"$ref": _FAILURE}}}
                operation["responses"].setdefault(
                    str(status.value), {"description": _MEANINGS[status], "content": content}
                )


class _OrjsonRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401  it is whatever was sent
        return orjson.loads(await self.body())


def as_json(content: object, status: int = HTTPStatus.OK) -> Response:
    """Return an answer."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def as_time(seconds: float | None) -> str | None:
    """Return seconds since 1970 as they are in an answer."""
    return None if seconds is None else format_utc(seconds)


def failure(
    status: int, code: str, description: str, details: object = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer that says what went wrong."""
    content = {"error": error_fields(code, description, details)}
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def error_fields(code: str, description: str, details: object = None) -> dict[str, object]:
    """Return what is said of an error, in one shape everywhere."""
    return {"code": code, "description": description, "details": {} if details is None else details}


def refused(error: OcppError) -> Response:
    """Return the answer to a Call that is not sent."""
    return failure(HTTPStatus.UNPROCESSABLE_ENTITY, error.code.value, error.description, error.details)


def nothing(description: str) -> Response:
    """Return the answer where there is nothing under a name."""
    return failure(HTTPStatus.NOT_FOUND, "NotFound", description)


def answers(model: type[Model], description: str, *failures: HTTPStatus, is_open: bool = False) -> Responses:
    """Describe the answers of a route, for OpenAPI.

    Args:
        model: what 200 says.
        description: of 200.
        failures: the statuses that this route may answer with, besides those that every route may.
        is_open: whether it needs no token.
    """
    return {HTTPStatus.OK: {"model": model, "description": description}, **failing(*failures, is_open=is_open)}


def failing(*failures: HTTPStatus, is_open: bool = False, is_json: bool = True) -> Responses:
    """Describe the answers of a route that say what went wrong; see `answers`.

    Args:
        failures: the statuses that this route may answer with, besides those that every route may.
        is_open: whether it needs no token.
        is_json: whether its 200 is JSON.
    """
    # Else FastAPI takes for granted that a failure has the media type of a success.
    said = {"model": Failure} if is_json else {"content": {"application/json": {"schema": {"$ref": _FAILURE}}}}
    # These come from the gate, whichever route it is.
    always = [HTTPStatus.FORBIDDEN, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    if not is_open:
        always.append(HTTPStatus.UNAUTHORIZED)
    described: Responses = {
        status.value: {**said, "description": _MEANINGS[status]} for status in sorted({*always, *failures})
    }
    if not is_open:
        described[HTTPStatus.UNAUTHORIZED.value]["headers"] = _BEARER
    return described


async def invalid(_request: Request, error: Exception) -> Response:
    """Answer a request that its route does not take."""
    assert isinstance(error, RequestValidationError)
    said = [{"where": "/".join(map(str, each["loc"])), "what": each["msg"]} for each in error.errors()[:10]]
    description = f"{said[0]['where']}: {said[0]['what']}" if said else ""
    return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", description, {"errors": said})


def http_error(routes: Sequence[BaseRoute]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Return what answers a request that none of `routes` takes."""

    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        headers = dict(error.headers or {})
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            # The framework names only the methods of the first route with this path (RFC 9110, 10.2.1).
            headers["Allow"] = ", ".join(sorted(_methods(routes, request)))
        return failure(status, status.phrase.replace(" ", ""), error.detail, headers=headers)

    return answer


def _methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    fitting = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in fitting if isinstance(route, APIRoute) for method in route.methods or ()}


async def store_failed(_request: Request, error: Exception) -> Response:
    """Answer a request that the store has no answer to."""
    assert isinstance(error, StoreFailed)
    return failure(HTTPStatus.SERVICE_UNAVAILABLE, "StoreFailed", error.reason)


async def fault(_request: Request, _error: Exception) -> Response:
    """Answer a request on which a route failed."""
    return failure(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", "a fault of the central system; see its log")
