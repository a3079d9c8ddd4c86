"""Which id tags are accepted, and what the others are answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc

MAX_ID_TAGS: Final = 100_000
"""Id tags that can be set. Each process has all of them in memory, and takes them over at once when many have changed,
while charge points wait: 50 MB and 0.4 s. A million would be 470 MB and 5 s."""


class TooManyIdTags(Exception):  # noqa: N818  it reads better
    """`MAX_ID_TAGS` are set already."""


@dataclass(frozen=True, slots=True)
class IdTagInfo:
    """What is known of an id tag (core 7.27)."""

    status: str
    """An AuthorizationStatus (core 7.2)."""
    expiry_date: str | None = None
    """ISO 8601; from then on an Accepted one is Expired."""
    parent_id_tag: str | None = None
    one_at_a_time: bool = False
    """Whether it may start but one transaction at a time: another one is answered ConcurrentTx (core 7.2)."""

    def as_payload(self) -> Payload:
        """Return it as it is on the wire."""
        payload: Payload = {"status": self.status}
        if self.expiry_date is not None:
            payload["expiryDate"] = self.expiry_date
        if self.parent_id_tag is not None:
            payload["parentIdTag"] = self.parent_id_tag
        return payload


class IdTags:
    """The id tags that were set. IdTokens are case-insensitive (core 7.28)."""

    __slots__ = ("_infos", "unknown")

    def __init__(self) -> None:
        self._infos: dict[str, IdTagInfo] = {}
        self.unknown = "Accepted"
        """The AuthorizationStatus of any other id tag."""

    def is_one_at_a_time(self, id_tag: str) -> bool:
        """Return whether an id tag may start but one transaction at a time."""
        info = self._infos.get(id_tag.casefold()) if self._infos else None
        return info is not None and info.one_at_a_time

    def get(self, id_tag: str) -> IdTagInfo | None:
        """Return what was set for an id tag; `None` when nothing was."""
        return self._infos.get(id_tag.casefold())

    def put(self, id_tag: str, info: IdTagInfo) -> None:
        """Set what is known of an id tag.

        Raises:
            TooManyIdTags: there is no room for another one.
        """
        key = id_tag.casefold()
        if key not in self._infos and len(self._infos) >= MAX_ID_TAGS:
            raise TooManyIdTags(f"{MAX_ID_TAGS} id tags are set already")
        self._infos[key] = info

    def delete(self, id_tag: str) -> bool:
        """Forget an id tag, which makes it one of the others; return whether it was set."""
        return self._infos.pop(id_tag.casefold(), None) is not None

    def clear(self) -> None:
        """Forget all of them."""
        self._infos.clear()

    def answer(self, id_tag: str, utc: float, *, starts: bool = False, is_concurrent: bool = False) -> Payload:
        """Return the IdTagInfo for an answer.

        Args:
            id_tag: whose.
            utc: seconds since 1970.
            starts: whether a StartTransaction.req is answered: ConcurrentTx means nothing elsewhere
                (core 7.2).
            is_concurrent: whether another transaction runs with it, and it is for one at a time.
        """
        info = self._infos.get(id_tag.casefold()) if self._infos else None
        if info is None:
            return {"status": self.unknown}
        payload = info.as_payload()
        if info.status == "ConcurrentTx" and not starts:
            payload["status"] = "Accepted"
        if payload["status"] == "Accepted" and info.expiry_date is not None and parse_utc(info.expiry_date) <= utc:
            payload["status"] = "Expired"
        if is_concurrent and payload["status"] == "Accepted":
            payload["status"] = "ConcurrentTx"
        return payload
