"""Messages of a charge point that concern no transaction, and wait for their turn (core 3.7, 4.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.connector import Connector

MAX_NOTICES: Final = 100
"""That wait at one charge point. A central system that answers none of them must not fill its memory."""

Done = Callable[[Payload | None, float], None]
"""Takes the payload of the CallResult, or `None` when there was none, and the time."""


class Notice:
    """One such message."""

    __slots__ = ("action", "created", "done", "due", "is_kept", "payload", "subject")

    def __init__(
        self,
        action: str,
        payload: Payload,
        created: float,
        *,
        is_kept: bool = False,
        subject: Connector | None = None,
        done: Done | None = None,
        due: float | None = None,
    ) -> None:
        self.action = action
        self.payload = payload
        self.created = created
        """When it happened, in seconds on the charge point's clock."""
        self.is_kept = is_kept
        """Whether it outlives a lost network and lost power."""
        self.subject = subject
        """The connector whose status a StatusNotification tells."""
        self.done = done
        self.due = due
        """When it should go out, for one that was planned, whatever stands in the way; `None` for any other."""
