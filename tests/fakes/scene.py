"""A charge point on a manual clock, and a central system played by hand.

Tests read as transcripts: `scene.expect("BootNotification")`, `scene.accept()`, `scene.wait(300)`.
Every message that the charge point sends is checked against its schema on the way.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from ampswarm.charge_point.backoff import Backoff
from ampswarm.charge_point.station import ChargePoint, Link, StationEvent
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.frames import Call, CallError, CallResult, decode
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.session import UniqueIds
from ampswarm.ocppj.timestamps import format_utc

UTC_AT_ZERO = 1_767_225_600.0
"""2026-01-01T00:00:00Z: what the central system's clock shows when the scene's shows 0."""


class Scene:
    """One charge point and its central system."""

    def __init__(self, template: Template | None = None, *, seed: int = 1) -> None:
        self.now = 0.0
        self.template = template or Template(backoff=Backoff(minimum=1.0, maximum=90.0))
        self.charge_point = ChargePoint(
            "CP1", self.template, unique_ids=UniqueIds("t-"), random=Random(seed), utc_offset=1e9
        )
        self.events: list[StationEvent] = []
        self.outstanding: Call | None = None
        self._commands = 0

    # -- time and network ---------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass, without asking the charge point for anything."""
        self.now += seconds

    def wait_until_due(self) -> float:
        """Let time pass until the charge point's next deadline; return how long that was."""
        waited = max(0.0, self.charge_point.next_deadline() - self.now)
        self.now += waited
        return waited

    def connect(self) -> None:
        """Wait until it wants to connect, and let it."""
        self.wait_until_due()
        assert self.charge_point.attempt(self.now)
        self.charge_point.opened(self.now)
        self._collect()

    def refuse(self, retry_after: float = 0.0) -> None:
        """Wait until it wants to connect, and refuse."""
        self.wait_until_due()
        assert self.charge_point.attempt(self.now)
        self.charge_point.refused(self.now, retry_after=retry_after)
        self._collect()

    def lose(self) -> None:
        """Cut the connection."""
        self.outstanding = None
        self.charge_point.lost(self.now)
        self._collect()

    @property
    def outstanding_action(self) -> str | None:
        """The action of its Call that waits for an answer."""
        return None if self.outstanding is None else self.outstanding.action

    # -- messages -----------------------------------------------------------------------------

    def sends(self) -> list[Call | CallResult | CallError]:
        """Return what it sends now."""
        frames = []
        for text in self.charge_point.poll(self.now):
            frame = decode(text)
            if isinstance(frame, Call):
                validate(frame.action, Direction.REQ, frame.payload)
                assert self.outstanding is None, "a second Call before the first was answered"
                self.outstanding = frame
            frames.append(frame)
        self._collect()
        return frames

    def expect(self, action: str) -> dict[str, Any]:
        """Check that it sends this Call now and nothing else; return the payload."""
        frames = self.sends()
        assert [action] == [frame.action if isinstance(frame, Call) else type(frame) for frame in frames]
        assert self.outstanding is not None
        return self.outstanding.payload

    def expect_silence(self) -> None:
        """Check that it sends nothing now."""
        assert self.sends() == []

    def answer(self, payload: dict[str, Any]) -> None:
        """Answer its outstanding Call with a CallResult."""
        assert self.outstanding is not None
        unique_id, self.outstanding = self.outstanding.unique_id, None
        self.receive([3, unique_id, payload])

    def answer_error(self, code: str = "InternalError") -> None:
        """Answer its outstanding Call with a CallError."""
        assert self.outstanding is not None
        unique_id, self.outstanding = self.outstanding.unique_id, None
        self.receive([4, unique_id, code, "", {}])

    def receive(self, message: list[Any]) -> None:
        """Send it a message."""
        self.charge_point.receive(json.dumps(message), self.now)
        self._collect()

    def command(self, action: str, payload: dict[str, Any]) -> dict[str, Any] | str | None:
        """Call it; return the payload of its CallResult, the code of its CallError, or `None` for silence.

        What it sends besides stays to be expected.
        """
        self._commands += 1
        unique_id = f"cs-{self._commands}"
        self.receive([2, unique_id, action, payload])
        replies = self.charge_point._replies or []
        for text in replies:
            frame = decode(text)
            assert frame.unique_id == unique_id
            self.charge_point._replies = None
            if isinstance(frame, CallResult):
                validate(action, Direction.CONF, frame.payload)
                return frame.payload
            assert isinstance(frame, CallError)
            return frame.code
        return None

    # -- shorthands ---------------------------------------------------------------------------

    def time(self) -> str:
        """Return the central system's time, as it is on the wire."""
        return format_utc(UTC_AT_ZERO + self.now)

    def registration(self, status: str, interval: int = 300) -> dict[str, Any]:
        """Return a BootNotification.conf."""
        return {"status": status, "currentTime": self.time(), "interval": interval}

    def boot(self, interval: int = 300) -> None:
        """Switch it on, connect it, accept it, and take its first StatusNotifications."""
        self.charge_point.power_on(self.now)
        self.connect()
        self.expect("BootNotification")
        self.answer(self.registration("Accepted", interval))
        for _ in range(self.template.connectors + 1):
            self.expect("StatusNotification")
            self.answer({})
        self.events.clear()

    def is_open(self) -> bool:
        """Return whether its connection stands."""
        return self.charge_point.link is Link.OPEN

    def _collect(self) -> None:
        self.events += self.charge_point.take_events()
