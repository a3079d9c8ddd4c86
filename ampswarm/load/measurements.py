"""Everything that is reported to Locust's statistics.

| type | name | response time |
|---|---|---|
| WS | connect | name resolution, TCP, TLS and upgrade together |
| WS | tcp, tls, upgrade | each of them alone, where it succeeded |
| OCPP | the action | wire time: from sending the Call to its answer |
| DUE | the action | from when the Call was due to its answer: every queue on the way is in it |
| OUTBOX | the action | only failures: messages that a charge point gave up, and that are lost |
| FLOW | online | from power-on, or from the loss of the connection, to being at work again |
| MISBEHAVIOUR | the misdeed | docs/reference/misbehaviour.md: until the central system had dealt with it |
| MISBEHAVIOUR | clock_skew | wire time of each Call with a timestamp of a clock that is off |
| MISBEHAVIOUR | clock_skew_lost | only failures: such messages that the charge point gave up |

DUE and the parts of a connect are other views of what is counted already. They are in Locust's table, and not in its
Aggregated row.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.events import CommandReceived, Dropped, Online
from ampswarm.ocppj.session import Answered, Failed, Failure

if TYPE_CHECKING:
    from locust.event import EventHook

    from ampswarm.charge_point.events import StationEvent
    from ampswarm.load.recorder import Recorder

_CONTEXT: Final[dict[str, object]] = {}
_LONG: Final = 1.0
"""Seconds: a Call that had waited as long when the test ended has failed; a shorter one was only cut off."""


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
        recorder: where other views of a sample go.
    """

    def __init__(self, request: EventHook, recorder: Recorder) -> None:
        self._request = request
        self._view = recorder.view
        self.answered: Counter[str] = Counter()
        """Calls that got their CallResult, by action."""
        self.failed: Counter[str] = Counter()
        """Calls that got none, by action."""
        self.cut_off: Counter[str] = Counter()
        """Calls that were outstanding when the test ended, and had not waited long, by action."""
        self.commands: Counter[str] = Counter()
        """Calls of the central system, by action."""

    def connect_part(self, part: str, seconds: float) -> None:
        """A part of a connect succeeded: `tcp`, `tls` or `upgrade`."""
        self._view("WS", part, seconds * 1000)

    def connected(self, seconds: float) -> None:
        """A connection was opened, `seconds` after it was begun."""
        self._fire("WS", "connect", seconds, None)

    def not_connected(self, seconds: float | None, error: Exception) -> None:
        """An attempt to connect failed, after `seconds`; `None` for one that was not even made."""
        self._fire("WS", "connect", seconds, error)

    def observe(self, event: StationEvent) -> None:
        """Report what a charge point observed, if it is something that is measured."""
        match event:
            case Answered(action=action, due=due, sent=sent, ended=ended, size=size):
                self.answered[action] += 1
                self._fire("OCPP", action, ended - sent, None, size)
                self._view("DUE", action, (ended - due) * 1000)
            case Online(since=since, now=now):
                self._fire("FLOW", "online", now - since, None)
            case Dropped(action=action, why=why):
                self._fire("OUTBOX", action, None, MessageDropped(why))
            case Failed():
                self._failed(event, _words(event))
            case CommandReceived(action=action):
                self.commands[action] += 1

    def at_end(self, event: StationEvent) -> None:
        """Report what happened while the test ended: Locust's own stop is no failure of a Call that had just begun."""
        if not isinstance(event, Failed):
            self.observe(event)
        elif event.ended - event.sent < _LONG:
            self.cut_off[event.action] += 1
        else:
            # Left out, the worst times of a central system that hangs would be missing.
            self._failed(event, "no answer when the test ended")

    def _failed(self, event: Failed, words: str) -> None:
        self.failed[event.action] += 1
        error = CallFailed(words)
        self._fire("OCPP", event.action, event.ended - event.sent, error)
        self._view("DUE", event.action, (event.ended - event.due) * 1000, error)

    def missed_turn(self, action: str, seconds: float) -> None:
        """A message was not sent before its charge point ended, `seconds` after it was due."""
        self._view("DUE", action, seconds * 1000, MissedTurn("not sent before the test ended"))

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
                self._fire("MISBEHAVIOUR", "clock_skew_lost", None, MessageDropped(f"{action}: {why}"))

    def _fire(self, kind: str, name: str, seconds: float | None, exception: Exception | None, size: int = 0) -> None:
        self._request.fire(
            request_type=kind,
            name=name,
            response_time=None if seconds is None else seconds * 1000,
            response_length=size,
            exception=exception,
            context=_CONTEXT,
        )


def _words(failed: Failed) -> str:
    if failed.failure is Failure.CALL_ERROR:
        return f"CallError {failed.detail}"
    return f"{failed.failure}: {failed.detail}" if failed.detail else failed.failure.value
