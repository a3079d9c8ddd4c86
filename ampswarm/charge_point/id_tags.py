"""Who may charge: the local authorization list, the authorization cache, and what follows from them (core 3.5)."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from functools import lru_cache
from math import inf

from ampswarm.charge_point.configuration import Configuration
from ampswarm.charge_point.configuration_keys import Key
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc


class AuthorizationStatus(StrEnum):
    """What the central system says of an identifier (core 7.2)."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT_TX = "ConcurrentTx"


class UpdateStatus(StrEnum):
    """What became of a SendLocalList (core 7.47)."""

    ACCEPTED = "Accepted"
    FAILED = "Failed"
    NOT_SUPPORTED = "NotSupported"
    VERSION_MISMATCH = "VersionMismatch"


@dataclass(frozen=True, slots=True)
class IdTagInfo:
    """What is known of an identifier (core 7.27); equal ones are shared."""

    status: str
    """An `AuthorizationStatus`."""
    expires: float | None = None
    """Seconds since 1970; `None` for no end."""
    parent: str | None = None
    """The identifier of its group."""

    @classmethod
    def from_payload(cls, payload: Payload) -> IdTagInfo:
        """Return what an idTagInfo says; it has passed its schema.

        Raises:
            ValueError: its expiryDate is no date and time that there can be.
        """
        expires = payload.get("expiryDate")
        return _shared(payload["status"], None if expires is None else parse_utc(expires), payload.get("parentIdTag"))

    def at(self, utc: float) -> IdTagInfo:
        """Return what is so at a time: Expired from `expires` on (core 3.5.1)."""
        if self.expires is None or utc < self.expires or self.status == AuthorizationStatus.EXPIRED:
            return self
        return replace(self, status=AuthorizationStatus.EXPIRED.value)

    def is_valid(self, utc: float) -> bool:
        """Tell whether the identifier may charge at a time, in seconds since 1970.

        ConcurrentTx is not valid: core 3.5.2 lists it with the valid ones, but core 3.5.4 demands that
        all but Accepted are rejected.
        """
        return self.at(utc).status == AuthorizationStatus.ACCEPTED


@lru_cache(maxsize=1024)
def _shared(status: str, expires: float | None, parent: str | None) -> IdTagInfo:
    # A fleet hears the same of most identifiers.
    return IdTagInfo(status, expires, parent)


def same_id_tag(one: str, other: str) -> bool:
    """Tell whether two identifiers are one: their case does not count (core 7.28)."""
    return one.casefold() == other.casefold()


def _key(id_tag: str) -> str:
    # Interned, as all charge points of a fleet are sent the same list.
    return sys.intern(id_tag.casefold())


class LocalList:
    """The local authorization list of one charge point (core 3.5.2). It outlasts reboots."""

    __slots__ = ("_entries", "version")

    version: int
    """Of GetLocalListVersion.conf: 0 for an empty list (core 5.10)."""
    _entries: dict[str, IdTagInfo]

    def __init__(self) -> None:
        self.version = 0
        self._entries = {}

    def __len__(self) -> int:
        return len(self._entries)

    def update(self, payload: Payload, *, max_length: int, max_update: int) -> UpdateStatus:
        """Carry out a SendLocalList (core 5.15, 6.41): all of it, or, with any status but Accepted, nothing.

        Args:
            payload: the SendLocalList.req; it has passed its schema.
            max_length: identifiers that the list can hold (core 9.2.2).
            max_update: identifiers that one request can bring (core 9.2.3).
        """
        version = int(payload["listVersion"])
        changes: list[Payload] = payload.get("localAuthorizationList") or []
        is_full = payload["updateType"] == "Full"
        # 0 and -1 mean other things in GetLocalListVersion.conf (core errata 3.52), and less means nothing.
        if version < 1 or len(changes) > max_update:
            return UpdateStatus.FAILED
        # By an empty list, whatever it was called once, the central system is told that it has version 0.
        if not is_full and version <= self.version:
            return UpdateStatus.VERSION_MISMATCH
        try:
            read = {_key(change["idTag"]): _info(change) for change in changes}
        except ValueError:
            return UpdateStatus.FAILED
        # No identifier twice (core 6.41), and none without its status in a full list (core 7.1).
        if len(read) != len(changes) or (is_full and None in read.values()):
            return UpdateStatus.FAILED
        entries = {} if is_full else dict(self._entries)
        for id_tag, info in read.items():
            if info is None:
                entries.pop(id_tag, None)
            else:
                entries[id_tag] = info
        if len(entries) > max_length:
            return UpdateStatus.FAILED
        self._entries = entries
        self.version = version if entries else 0
        return UpdateStatus.ACCEPTED

    def get(self, id_tag: str) -> IdTagInfo | None:
        """Return the entry of an identifier as the central system sent it, or `None`."""
        return self._entries.get(id_tag.casefold())

    def conflicts(self, id_tag: str, info: IdTagInfo, utc: float) -> bool:
        """Tell whether the central system says otherwise than the list: a LocalListConflict (core 3.5.2).

        Args:
            id_tag: the identifier.
            info: what an answer said of it, for instance StartTransaction.conf.
            utc: the time, in seconds since 1970.
        """
        entry = self.get(id_tag)
        # ConcurrentTx is about a second transaction, not about the identifier (core 7.2).
        if entry is None or info.status == AuthorizationStatus.CONCURRENT_TX:
            return False
        return entry.is_valid(utc) != info.is_valid(utc)


def _info(change: Payload) -> IdTagInfo | None:
    info = change.get("idTagInfo")
    return None if info is None else IdTagInfo.from_payload(info)


class AuthorizationCache:
    """What the central system said of identifiers before (core 3.5.1). It outlasts reboots and resets.

    Args:
        capacity: identifiers that it can hold.
    """

    __slots__ = ("_capacity", "_entries", "_invalid_from")

    # The one that was heard of longest ago comes first.
    _entries: dict[str, IdTagInfo]

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries = {}
        # Nobody in the cache is invalid before this: a full one of thousands is not searched each time.
        self._invalid_from = inf

    def __len__(self) -> int:
        return len(self._entries)

    def learn(self, id_tag: str, info: IdTagInfo, utc: float) -> None:
        """Keep what an answer said of an identifier.

        When the cache is full, all that are not valid go, and then, if need be, the oldest (core 3.5.1).
        """
        if self._capacity < 1:
            return
        key = _key(id_tag)
        self._entries.pop(key, None)
        if len(self._entries) >= self._capacity and utc >= self._invalid_from:
            self._entries = {known: entry for known, entry in self._entries.items() if entry.is_valid(utc)}
            self._invalid_from = min((_ends(entry) for entry in self._entries.values()), default=inf)
        if len(self._entries) >= self._capacity:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = info
        self._invalid_from = min(self._invalid_from, _ends(info))

    def get(self, id_tag: str, utc: float) -> IdTagInfo | None:
        """Return what is known of an identifier, or `None`; one whose time is over is changed to Expired."""
        key = id_tag.casefold()
        info = self._entries.get(key)
        if info is None:
            return None
        now = info.at(utc)
        if now is not info:
            self._entries[key] = now
        return now

    def clear(self) -> None:
        """Forget everything (core 5.4)."""
        self._entries = {}


def _ends(info: IdTagInfo) -> float:
    """Return from when on an entry is not valid, in seconds since 1970."""
    if info.status != AuthorizationStatus.ACCEPTED:
        return -inf
    return inf if info.expires is None else info.expires


class Verdict(Enum):
    """What to do with an identifier that was presented."""

    ACCEPTED = auto()
    REFUSED = auto()
    ASK = auto()
    """Send Authorize.req; what it answers decides."""


def decide(
    id_tag: str,
    utc: float,
    *,
    is_online: bool,
    configuration: Configuration,
    local_list: LocalList | None,
    cache: AuthorizationCache | None,
) -> tuple[Verdict, IdTagInfo | None]:
    """Decide whether an identifier may charge, as far as that can be known here (core 3.5, 4.1).

    Online, only LocalPreAuthorize saves the question, and only for an identifier that is known to be
    valid. Offline, one that is known not to be valid is refused in any case (core 3.5.4); a valid one
    is accepted with LocalAuthorizeOffline; anyone else, and that is a valid one too if it may not be
    looked up, is one that cannot be authorized explicitly, and AllowOfflineTxForUnknownId decides.

    Args:
        id_tag: the identifier.
        utc: the time, in seconds since 1970.
        is_online: whether the central system can be asked.
        configuration: of the charge point.
        local_list: goes before the cache (core 3.5.3); `None` if there is none.
        cache: `None` if there is none.

    Returns:
        The verdict, and what is known of the identifier here, in a list or cache that is enabled.
    """
    info = None
    if local_list is not None and configuration.boolean(Key.LOCAL_AUTH_LIST_ENABLED):
        info = local_list.get(id_tag)
    if info is not None:
        info = info.at(utc)
    elif cache is not None and configuration.boolean(Key.AUTHORIZATION_CACHE_ENABLED):
        info = cache.get(id_tag, utc)
    is_valid = info is not None and info.is_valid(utc)
    if is_online:
        is_sure = is_valid and configuration.boolean(Key.LOCAL_PRE_AUTHORIZE)
        return (Verdict.ACCEPTED if is_sure else Verdict.ASK), info
    if info is not None and not is_valid:
        return Verdict.REFUSED, info
    if is_valid and configuration.boolean(Key.LOCAL_AUTHORIZE_OFFLINE):
        return Verdict.ACCEPTED, info
    is_allowed = configuration.boolean(Key.ALLOW_OFFLINE_TX_FOR_UNKNOWN_ID)
    return (Verdict.ACCEPTED if is_allowed else Verdict.REFUSED), info


def remember(
    id_tag: str,
    info: IdTagInfo,
    utc: float,
    *,
    configuration: Configuration,
    local_list: LocalList | None,
    cache: AuthorizationCache | None,
) -> None:
    """Put what Authorize.conf, StartTransaction.conf or StopTransaction.conf said into the cache (core 3.5.1).

    Not while AuthorizationCacheEnabled is false, and no identifier of the local list (core 3.5.3).
    """
    if cache is None or not configuration.boolean(Key.AUTHORIZATION_CACHE_ENABLED):
        return
    if local_list is None or local_list.get(id_tag) is None:
        cache.learn(id_tag, info, utc)
