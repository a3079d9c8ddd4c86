"""From an id tag at a connector to what may be done with it (core 3.10, 4.1, 5.13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ampswarm.charge_point.id_tags import AuthorizationStatus, IdTagInfo, Verdict
from ampswarm.charge_point.site import Site

_ACCEPTED: Final = IdTagInfo(AuthorizationStatus.ACCEPTED.value)

Use = Callable[[IdTagInfo | None, float], None]
"""Takes what is known of an id tag, or `None` for one that is not valid, and the time."""


def check_id_tag(site: Site, id_tag: str, now: float, use: Use, *, is_parent_needed: bool) -> None:
    """Find out about an id tag and tell `use`, once: at once, or when Authorize.conf has come.

    Args:
        site: the charge point.
        id_tag: what was presented.
        now: the time.
        use: what to do then.
        is_parent_needed: whether its group decides: what it wants to stop or to unlock is somebody else's
            (core 3.10, errata 3.5), or a reservation is for a group (core 5.13).
    """
    verdict, info = site.decide(id_tag, now, is_online=site.is_online)
    lacks_parent = is_parent_needed and (info is None or info.parent is None)
    if verdict is Verdict.ACCEPTED and site.is_online and lacks_parent:
        verdict = Verdict.ASK
    if verdict is not Verdict.ASK:
        use(_known(verdict, info), now)
        return

    def answered(answer: IdTagInfo | None, when: float) -> None:
        if answer is None:
            # Nobody answers: as if offline.
            use(_known(*site.decide(id_tag, when, is_online=False)), when)
        else:
            use(answer if answer.status == AuthorizationStatus.ACCEPTED else None, when)

    site.authorize(id_tag, now, answered)


def _known(verdict: Verdict, info: IdTagInfo | None) -> IdTagInfo | None:
    # One that nobody knows may be accepted as well (AllowOfflineTxForUnknownId).
    return (info or _ACCEPTED) if verdict is Verdict.ACCEPTED else None
