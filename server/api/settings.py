"""What can be set at run time: id tags, and what boots are answered."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Response

from ampswarm.ocppj.timestamps import parse_utc
from server.api.answers import answers, as_json, failing, failure, nothing
from server.api.models import (
    MAX_ID_TAG,
    After,
    BootPolicyBody,
    IdTag,
    IdTagBodies,
    IdTagBody,
    IdTagName,
    IdTagsSet,
    Limit,
    UnknownIdTags,
)
from server.gate import PREFIX
from server.handlers import BootPolicy, Handlers
from server.id_tags import IdTagInfo, IdTags, TooManyIdTags
from server.settings import Settings

_ID_TAGS: Final = f"{PREFIX}/id-tags"
_UNKNOWN: Final = f"{PREFIX}/unknown-id-tags"
_ID_TAG: Final = f"{PREFIX}/id-tags/{{id_tag:text}}"
_BOOT_POLICY: Final = f"{PREFIX}/boot-policy"
_SETTING: Final = HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE


class SettingRoutes:
    """The routes of what can be set.

    Args:
        settings: sets them.
        handlers: where the boot policy is.
        id_tags: the id tags.
    """

    def __init__(self, settings: Settings, handlers: Handlers, id_tags: IdTags) -> None:
        self._settings = settings
        self._handlers = handlers
        self._id_tags = id_tags

    def add_to(self, router: APIRouter) -> None:
        """Add them."""
        router.add_api_route(
            _ID_TAGS,
            self.id_tags,
            methods=["GET"],
            tags=["id tags"],
            summary="List the id tags that were set",
            responses=answers(IdTagBodies, "A page of them.", *_SETTING),
        )
        router.add_api_route(
            _ID_TAGS,
            self.put_id_tags,
            methods=["PUT"],
            tags=["id tags"],
            summary="Set what many id tags are answered",
            responses=answers(IdTagsSet, "All are set.", *_SETTING, HTTPStatus.CONFLICT),
        )
        router.add_api_route(
            _UNKNOWN,
            self.unknown,
            methods=["GET"],
            tags=["id tags"],
            summary="What id tags are answered that were not set",
            responses=answers(UnknownIdTags, "This."),
        )
        router.add_api_route(
            _UNKNOWN,
            self.put_unknown,
            methods=["PUT"],
            tags=["id tags"],
            summary="Set what id tags are answered that were not set",
            responses=answers(UnknownIdTags, "It is set.", *_SETTING),
        )
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
            responses=answers(IdTagBody, "It is set.", *_SETTING, HTTPStatus.CONFLICT),
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
                **failing(HTTPStatus.NOT_FOUND, *_SETTING),
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
            responses=answers(BootPolicyBody, "It is set.", *_SETTING),
        )

    async def id_tags(self, after: After = None, limit: Limit = 100) -> Response:
        """In lower case, and in this order."""
        found = await self._settings.id_tags(limit + 1, after)
        items = {id_tag: _id_tag(info) for id_tag, info in found[:limit]}
        return as_json({"id_tags": items, "next": found[limit - 1][0] if len(found) > limit else None})

    async def put_id_tags(self, body: dict[IdTagName, IdTagBody]) -> Response:
        """Those that are named, and all of them or none; the others stay as they are."""
        infos = {}
        for id_tag, each in body.items():
            mistake = _mistake(id_tag, each)
            if mistake is not None:
                return _invalid(f"{id_tag[:40]}: {mistake}")
            infos[id_tag] = _info(each)
        return await self._put(infos) or as_json({"id_tags": len(infos)})

    async def unknown(self) -> Response:
        """Accepted, unless something else was set."""
        return as_json({"status": self._id_tags.unknown})

    async def put_unknown(self, body: UnknownIdTags) -> Response:
        """They are answered so from now on."""
        await self._settings.put_unknown(body.status)
        return await self.unknown()

    async def id_tag(self, id_tag: IdTag) -> Response:
        """Those that were not set are 404 here."""
        info = self._id_tags.get(id_tag)
        return nothing("nothing was set for it") if info is None else as_json(_id_tag(info))

    async def put_id_tag(self, id_tag: IdTag, body: Annotated[IdTagBody, Body()]) -> Response:
        """It is answered so from now on, wherever it is presented."""
        mistake = _mistake(id_tag, body)
        if mistake is not None:
            return _invalid(mistake)
        info = _info(body)
        return await self._put({id_tag: info}) or as_json(_id_tag(info))

    async def delete_id_tag(self, id_tag: IdTag) -> Response:
        """It is answered what unknown ones are."""
        if not await self._settings.delete_id_tags([id_tag]):
            return nothing("nothing was set for it")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _put(self, infos: dict[str, IdTagInfo]) -> Response | None:
        try:
            await self._settings.put_id_tags(infos)
        except TooManyIdTags as full:
            return failure(HTTPStatus.CONFLICT, "TooManyIdTags", str(full))
        return None

    async def boot_policy(self) -> Response:
        """The status, and the interval in seconds."""
        policy = self._handlers.boot_policy
        return as_json({"status": policy.status, "interval": policy.interval})

    async def put_boot_policy(self, body: BootPolicyBody) -> Response:
        """Charge points that have booted already hear of it with their next boot."""
        await self._settings.put_boot_policy(BootPolicy(body.status, body.interval))
        return await self.boot_policy()


def _mistake(id_tag: str, body: IdTagBody) -> str | None:
    if not 0 < len(id_tag) <= MAX_ID_TAG:
        return f"an id tag has 1 to {MAX_ID_TAG} characters"
    if body.expiry_date is not None:
        try:
            parse_utc(body.expiry_date)
        except ValueError as error:
            return f"expiryDate: {error}"
    return None


def _invalid(description: str) -> Response:
    return failure(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", description)


def _info(body: IdTagBody) -> IdTagInfo:
    return IdTagInfo(body.status, body.expiry_date, body.parent_id_tag, body.one_at_a_time)


def _id_tag(info: IdTagInfo) -> dict[str, object]:
    return {**info.as_payload(), **({"oneAtATime": True} if info.one_at_a_time else {})}
