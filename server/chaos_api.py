"""The routes of the operator API that make chaos."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from fastapi import APIRouter, Response
from fastapi.routing import APIRoute
from starlette.background import BackgroundTask

from server.chaos_control import ChaosControl
from server.chaos_schema import ChaosConfig, CloseCode, Model, Share, StallSeconds
from server.gate import PREFIX

_PATH = f"{PREFIX}/chaos"


class Stall(Model):
    """Everything stands still."""

    seconds: StallSeconds
    """How long."""


class Drop(Model):
    """Connections end."""

    share: Share
    """Of the fleet; always the same charge points for the same seed."""
    code: CloseCode | None = None
    """Close code; `null` cuts them off without a Close frame."""


class Dropped(Model):
    """How many connections ended."""

    dropped: int


class ChaosState(Model):
    """What is done, and what was done since the start."""

    configuration: ChaosConfig | None
    """`null` for nothing."""
    counts: dict[str, int]
    """How often, by what."""


def chaos_router(control: ChaosControl, route_class: type[APIRoute]) -> APIRouter:
    """Return the routes.

    Args:
        control: carries out what is asked.
        route_class: how requests are read.
    """
    router = APIRouter(route_class=route_class, tags=["chaos"])

    async def state() -> Response:
        """Tell what is done, and what was done since the start."""
        config = control.config
        return _json({"configuration": None if config is None else config.as_dict(), "counts": await control.counts()})

    async def put(body: ChaosConfig) -> Response:
        """Do all this from now on, and nothing else."""
        control.put(body)
        return await state()

    async def delete() -> Response:
        """Do nothing out of the ordinary any more."""
        control.put(None)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def stall(body: Stall) -> Response:
        """Let everything stand still, this API included, once it has answered."""

        async def stand_still() -> None:
            control.stall(body.seconds)

        response = _json({"seconds": body.seconds}, HTTPStatus.ACCEPTED)
        # Once all of the answer is out.
        response.background = BackgroundTask(stand_still)
        return response

    async def drop(body: Drop) -> Response:
        """End the connections of a share of the fleet."""
        return _json({"dropped": await control.drop(body.share, body.code)})

    add = router.add_api_route
    add(_PATH, state, methods=["GET"], response_model=ChaosState)
    add(_PATH, put, methods=["PUT"], response_model=ChaosState)
    add(_PATH, delete, methods=["DELETE"], status_code=HTTPStatus.NO_CONTENT)
    add(f"{_PATH}/stalls", stall, methods=["POST"], status_code=HTTPStatus.ACCEPTED, response_model=Stall)
    add(f"{_PATH}/drops", drop, methods=["POST"], response_model=Dropped)
    return router


def _json(content: object, status: int = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
