"""Everything that is reported to Locust's statistics.

| type | name | response time |
|---|---|---|
| WS | connect | TCP, TLS and upgrade together |
| OCPP | the action | wire time: from sending the Call to its answer |
| DUE | the action | from when the Call was due to its answer; failures also for what never went out |
| OUTBOX | the action | only failures: messages that a charge point gave up, and that are lost |
| FLOW | online | from power-on, or from the loss of the connection, to being at work again |
| MISBEHAVIOUR | the misdeed | docs/reference/misbehaviour.md: until the central system had dealt with it |
| MISBEHAVIOUR | clock_skew | wire time of each Call with a timestamp of a clock that is off |
| MISBEHAVIOUR | clock_skew_lost | only failures: such messages that the charge point gave up |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.events import Dropped, Online
from ampswarm.ocppj.session import Answered, Failed, Failure

if TYPE_CHECKING:
    from locust.event import EventHook

    from ampswarm.charge_point.events import StationEvent

_CONTEXT: Final[dict[str, object]] = {}


class CallFailed(Exception):  # noqa: N818  read in Locust's table: CallFailed('CallError InternalError')
    """A Call without a usable answer; the text is the same for every charge point."""


class MessageDropped(Exception):  # noqa: N818
    """A message that a charge point gave up, for good; the text is the same for every charge point."""


class MissedTurn(Exception):  # noqa: N818
    """A message that was due and never sent; the text is the same for every charge point."""


class WrongReaction(Exception):  # noqa: N818
    """What a central system should not have made of a misdeed; the text is the same for every charge point."""


class Measurements:
    """Turns what charge points observe into Locust's `request` events.

    Locust groups failures by their text, so none here holds an identity, a number or a time.

    Args:
        request: Locust's event.
    """

    def __init__(self, request: EventHook) -> None:
        self._request = request

    def connected(self, seconds: float) -> None:
        """A connection was opened, `seconds` after it was begun."""
        self._fire("WS", "connect", seconds, None)

    def not_connected(self, seconds: float, error: Exception) -> None:
        """An attempt to connect failed."""
        self._fire("WS", "connect", seconds, error)

    def observe(self, event: StationEvent) -> None:
        """Report what a charge point observed, if it is something that is measured."""
        match event:
            case Answered(action=action, due=due, sent=sent, ended=ended, size=size):
                self._fire("OCPP", action, ended - sent, None, size)
                self._fire("DUE", action, ended - due, None)
            case Online(since=since, now=now):
                self._fire("FLOW", "online", now - since, None)
            case Dropped(action=action, why=why):
                self._fire("OUTBOX", action, 0.0, MessageDropped(why))
            case Failed(action=action, due=due, sent=sent, ended=ended):
                self._fire("OCPP", action, ended - sent, CallFailed(_words(event)))
                self._fire("DUE", action, ended - due, CallFailed(_words(event)))

    def missed_turn(self, action: str, seconds: float) -> None:
        """A message was not sent before its charge point ended, `seconds` after it was due."""
        self._fire("DUE", action, seconds, MissedTurn("not sent before the test ended"))

    def misbehaved(self, misdeed: str, seconds: float, error: Exception | None) -> None:
        """A charge point did something wrong, and the central system, `error` or not, something about it."""
        self._fire("MISBEHAVIOUR", misdeed, seconds, error)

    def told_wrong_time(self, event: Answered | Failed | Dropped) -> None:
        """A charge point whose clock is off had a message with a timestamp, and this became of it."""
        match event:
            case Answered(sent=sent, ended=ended, size=size):
                self._fire("MISBEHAVIOUR", "clock_skew", ended - sent, None, size)
            case Failed(action=action, sent=sent, ended=ended):
                error = CallFailed(f"{action}: {_words(event)}")
                self._fire("MISBEHAVIOUR", "clock_skew", ended - sent, error)
            case Dropped(action=action, why=why):
                self._fire("MISBEHAVIOUR", "clock_skew_lost", 0.0, MessageDropped(f"{action}: {why}"))

    def _fire(self, kind: str, name: str, seconds: float, exception: Exception | None, size: int = 0) -> None:
        self._request.fire(
            request_type=kind,
            name=name,
            response_time=seconds * 1000,
            response_length=size,
            exception=exception,
            context=_CONTEXT,
        )


def _words(failed: Failed) -> str:
    if failed.failure is Failure.CALL_ERROR:
        return f"CallError {failed.detail}"
    return f"{failed.failure}: {failed.detail}" if failed.detail else failed.failure.value
