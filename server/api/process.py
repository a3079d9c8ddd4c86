"""Whether the process lives, whether it is ready, and what it counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

import ampswarm
from server.api.answers import Responses, answers, as_json, failing
from server.api.models import Health, Ready
from server.connections import CentralSystem
from server.exposition import CONTENT_TYPES, expose
from server.gate import HEALTH, METRICS, READY
from server.metrics import State
from server.readiness import Readiness

_TAGS: Final[list[str | Enum]] = ["process"]
_METRICS: Final[Responses] = {
    HTTPStatus.OK: {
        "description": "The text format of Prometheus, or OpenMetrics for those whose Accept header names it.",
        "content": {content_type.split(";")[0]: {"schema": {"type": "string"}} for content_type in CONTENT_TYPES},
    }
}


class ProcessRoutes:
    """The routes that look after the process itself.

    Args:
        central: the charge points.
        readiness: whether new ones should be sent here.
        collect: returns what each process has counted whose numbers are shown here.
    """

    def __init__(
        self, central: CentralSystem, readiness: Readiness, collect: Callable[[], Awaitable[list[State]]]
    ) -> None:
        self._central = central
        self._readiness = readiness
        self._collect = collect

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            HEALTH,
            self.health,
            methods=["GET"],
            tags=_TAGS,
            summary="Whether the process lives",
            responses={
                **answers(Health, "It does.", is_open=True),
            },
        )
        router.add_api_route(
            READY,
            self.ready,
            methods=["GET"],
            tags=_TAGS,
            summary="Whether new charge points should be sent here",
            responses={
                **answers(Ready, "They should.", is_open=True),
                HTTPStatus.SERVICE_UNAVAILABLE: {"model": Ready, "description": "They should not."},
            },
        )
        # What load balancers check with, HAProxy by OPTIONS if it is told nothing else. The same answer, and no more to
        # describe.
        for path, answer in ((HEALTH, self.health), (READY, self.ready)):
            router.add_api_route(path, answer, methods=["HEAD", "OPTIONS"], include_in_schema=False)
        router.add_api_route(
            METRICS,
            self.metrics,
            methods=["GET"],
            tags=_TAGS,
            summary="What the process has counted",
            response_class=PlainTextResponse,
            responses={**_METRICS, **failing(is_json=False)},
        )

    async def health(self) -> Response:
        """Answer as long as the process lives, also while it drains; needs no token."""
        return as_json({"status": "ok", "version": ampswarm.__version__, "connections": len(self._central)})

    async def ready(self) -> Response:
        """Name each condition that does not hold; needs no token."""
        status = HTTPStatus.OK if self._readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return as_json(self._readiness.as_json(), status)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus; docs/reference/metrics.md describes them."""
        text, content_type = expose(await self._collect(), request.headers.get("accept", ""))
        return Response(text, headers={"Content-Type": content_type})
