"""What goes wrong on purpose."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.background import BackgroundTask

from server.api.answers import answers, as_json, failing
from server.api.models import Model
from server.chaos_control import ChaosControl
from server.chaos_schema import ChaosConfig, CloseCode, Share, StallSeconds
from server.gate import PREFIX

_PATH: Final = f"{PREFIX}/chaos"
_TAGS: Final[list[str | Enum]] = ["chaos"]


class ChaosState(Model):
    """What is done, and what was done."""

    configuration: ChaosConfig | None
    """`null` for nothing."""
    seconds: Annotated[float, Field(ge=0)] | None
    """For how many seconds it has been so; `null` where nothing was ever set or taken away."""
    counts: dict[str, Annotated[int, Field(ge=0)]]
    """How often, by what, since the start."""


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
    """How many connections were ended."""

    dropped: Annotated[int, Field(ge=0)]


class ChaosRoutes:
    """The routes that make chaos.

    Args:
        control: carries out what is asked.
    """

    def __init__(self, control: ChaosControl) -> None:
        self._control = control

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            _PATH,
            self.chaos,
            methods=["GET"],
            tags=_TAGS,
            summary="What goes wrong on purpose, and what was done so far",
            responses=answers(ChaosState, "This."),
        )
        router.add_api_route(
            _PATH,
            self.put_chaos,
            methods=["PUT"],
            tags=_TAGS,
            summary="Set what goes wrong on purpose; all that was set before is replaced",
            responses=answers(ChaosState, "It is set.", HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        router.add_api_route(
            _PATH,
            self.delete_chaos,
            methods=["DELETE"],
            tags=_TAGS,
            summary="Let everything be as ever",
            status_code=HTTPStatus.NO_CONTENT,
            responses={HTTPStatus.NO_CONTENT: {"description": "It is."}, **failing()},
        )
        router.add_api_route(
            f"{_PATH}/stalls",
            self.stall,
            methods=["POST"],
            tags=_TAGS,
            summary="Let everything stand still, this API as well, once it has answered",
            status_code=HTTPStatus.ACCEPTED,
            responses={
                HTTPStatus.ACCEPTED: {"model": Stall, "description": "It will, in a moment."},
                **failing(HTTPStatus.UNPROCESSABLE_ENTITY),
            },
        )
        router.add_api_route(
            f"{_PATH}/drops",
            self.drop,
            methods=["POST"],
            tags=_TAGS,
            summary="End the connections of a share of the fleet",
            responses=answers(Dropped, "They have ended.", HTTPStatus.UNPROCESSABLE_ENTITY),
        )

    async def chaos(self) -> Response:
        """Tell what goes wrong on purpose, and what was done so far."""
        config = self._control.config
        configuration = None if config is None else config.as_dict()
        seconds = self._control.seconds
        return as_json({"configuration": configuration, "seconds": seconds, "counts": await self._control.counts()})

    async def put_chaos(self, body: ChaosConfig) -> Response:
        """Do all this from now on, and nothing else."""
        self._control.put(body)
        return await self.chaos()

    async def delete_chaos(self) -> Response:
        """Do nothing out of the ordinary any more."""
        self._control.put(None)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def stall(self, body: Stall) -> Response:
        """Let everything stand still, once it has answered."""

        async def stand_still() -> None:
            self._control.stall(body.seconds)

        response = as_json({"seconds": body.seconds}, HTTPStatus.ACCEPTED)
        # Once all of the answer is out.
        response.background = BackgroundTask(stand_still)
        return response

    async def drop(self, body: Drop) -> Response:
        """End the connections of a share of the fleet."""
        return as_json({"dropped": await self._control.drop(body.share, body.code)})
