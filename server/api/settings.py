"""What can be set at run time: id tags, and what boots are answered."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Response

from ampswarm.ocppj.timestamps import parse_utc
from server.api.answers import answers, as_json, failing, failure, nothing
from server.api.models import BootPolicyBody, IdTag, IdTagBody
from server.gate import PREFIX
from server.handlers import BootPolicy, Handlers
from server.id_tags import IdTagInfo, IdTags, TooManyIdTags

_ID_TAG: Final = f"{PREFIX}/id-tags/{{id_tag:text}}"
_BOOT_POLICY: Final = f"{PREFIX}/boot-policy"


class SettingRoutes:
    """The routes of what can be set.

    Args:
        handlers: where the boot policy is.
        id_tags: the id tags.
    """

    def __init__(self, handlers: Handlers, id_tags: IdTags) -> None:
        self._handlers = handlers
        self._id_tags = id_tags

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            _ID_TAG,
            self.id_tag,
            methods=["GET"],
            tags=["id tags"],
            summary="What was set for an id tag",
            responses=answers(IdTagBody, "This.", HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        router.add_api_route(
            _ID_TAG,
            self.put_id_tag,
            methods=["PUT"],
            tags=["id tags"],
            summary="Set what an id tag is answered",
            responses=answers(IdTagBody, "It is set.", HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
        )
        router.add_api_route(
            _ID_TAG,
            self.delete_id_tag,
            methods=["DELETE"],
            tags=["id tags"],
            summary="Forget an id tag",
            status_code=HTTPStatus.NO_CONTENT,
            responses={
                HTTPStatus.NO_CONTENT: {"description": "It is forgotten."},
                **failing(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
            },
        )
        router.add_api_route(
            _BOOT_POLICY,
            self.boot_policy,
            methods=["GET"],
            tags=["boot policy"],
            summary="What the next BootNotification.req is answered",
            responses=answers(BootPolicyBody, "This."),
        )
        router.add_api_route(
            _BOOT_POLICY,
            self.put_boot_policy,
            methods=["PUT"],
            tags=["boot policy"],
            summary="Set what BootNotification.req is answered",
            responses=answers(BootPolicyBody, "It is set.", HTTPStatus.UNPROCESSABLE_ENTITY),
        )

    async def id_tag(self, id_tag: IdTag) -> Response:
        """Those that were not set are Accepted, and 404 here."""
        info = self._id_tags.get(id_tag)
        if info is None:
            return nothing("nothing was set for it: it is Accepted")
        return as_json(info.as_payload())

    async def put_id_tag(self, id_tag: IdTag, body: Annotated[IdTagBody, Body()]) -> Response:
        """It is answered so from now on, wherever it is presented."""
        if body.expiry_date is not None:
            try:
                parse_utc(body.expiry_date)
            except ValueError as error:
                return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", f"expiryDate: {error}")
        info = IdTagInfo(body.status, body.expiry_date, body.parent_id_tag)
        try:
            self._id_tags.put(id_tag, info)
        except TooManyIdTags as full:
            return failure(HTTPStatus.CONFLICT, "TooManyIdTags", str(full))
        return as_json(info.as_payload())

    async def delete_id_tag(self, id_tag: IdTag) -> Response:
        """It is Accepted again."""
        if not self._id_tags.delete(id_tag):
            return nothing("nothing was set for it: it is Accepted")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def boot_policy(self) -> Response:
        """The status, and the interval in seconds."""
        policy = self._handlers.boot_policy
        return as_json({"status": policy.status, "interval": policy.interval})

    async def put_boot_policy(self, body: BootPolicyBody) -> Response:
        """Charge points that have booted already hear of it with their next boot."""
        self._handlers.boot_policy = BootPolicy(body.status, body.interval)
        return await self.boot_policy()
