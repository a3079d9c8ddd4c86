"""Each misdeed while it lasts: what it does to the connection, and what the central system did about it.

Every act comes to one verdict, or to none where it had no effect. Most of them ask whether the
charge point is served afterwards: a PING that is answered on a connection that stands, or to be online
again on another one.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, Final

from ampswarm.load import bad_frames
from ampswarm.load.measurements import WrongReaction
from ampswarm.load.misbehaviour import Misdeed
from ampswarm.load.transport import ConnectFailed, ConnectionLost, Control
from ampswarm.ocppj.frames import Call, CallError, CallResult, MalformedFrame, decode, encode

if TYPE_CHECKING:
    from ampswarm.load.misconduct import Misconduct

TCP_GIVES_UP: Final = 924.0
"""Seconds for which a TCP end retransmits to a peer that does not answer, as Linux does it."""
FLOOD_SIZE: Final = 100
"""Calls of one flood."""
_NO_EFFECT_AFTER: Final = 600.0
"""Seconds to wait for a PING not to answer, or for a Call to answer badly; and for the want of PONGs to be noticed."""
_SLOW: Final = (120.0, 300.0)
_LATE: Final = (30.0, 90.0)
"""Seconds after which a central system has given up waiting for an answer."""
_DUPLICATE: Final = (5.0, 60.0)
_SETTLE: Final = 1.0
"""Seconds after a PONG for which the connection must stand: not every central system closes it at once."""
_ANSWERS: Final = (b"[3,", b"[4,")
"""How a CallResult and a CallError begin."""
_NEVER: Final = float("inf")


class _Stage(Enum):
    AT_IT = auto()
    PROVING = auto()
    """A PING is out."""
    SETTLING = auto()
    """It was answered."""
    RETURNING = auto()
    """The connection is gone; the next one must stand, and the charge point be accepted."""


class Act(ABC):
    """One misdeed of one charge point.

    Args:
        misconduct: whose.
        seconds: how long it lasts; `None` for as long as such a thing takes.
        now: the time, in seconds of the monotonic clock.
    """

    __slots__ = ("_misconduct", "_seconds", "_since", "_stage", "_took", "deadline")

    misdeed: ClassVar[Misdeed]
    distorts: ClassVar[bool] = False
    """Whether wire times that are measured meanwhile are of the charge point's own making."""
    outlives_connection: ClassVar[bool] = False
    """Whether losing the connection is part of it, and coming back what is looked at."""

    def __init__(self, misconduct: Misconduct, seconds: float | None, now: float) -> None:
        self._misconduct = misconduct
        self._seconds = seconds
        self._since = now
        self._took = 0.0
        self._stage = _Stage.AT_IT
        self.deadline = _NEVER
        """When `due` is to be called."""

    @property
    def has_effect(self) -> bool:
        """Whether the central system can have noticed by now."""
        return True

    @abstractmethod
    def begin(self, now: float) -> None:
        """Do it, or begin with it.

        Raises:
            ConnectionLost: the connection has ended.
        """

    def over(self, now: float) -> None:
        """Stop doing it, and see whether the charge point is served."""
        self._prove(now)

    def due(self, now: float) -> None:
        """Do what is due at `deadline`.

        Raises:
            ConnectionLost: the connection has ended.
        """
        match self._stage:
            case _Stage.AT_IT:
                self.over(now)
            case _Stage.PROVING:
                self._fail("no PONG in time", now)
            case _Stage.SETTLING:
                self._misconduct.verdict(self._took, None)
            case _Stage.RETURNING:
                self.deadline = _NEVER

    def heard(self, message: bytes | Control, now: float) -> None:
        """Something came in; the charge point takes it as well."""
        if self._stage is _Stage.PROVING and message is Control.PONG:
            self._took = now - self._since
            self._stage = _Stage.SETTLING
            self.deadline = now + _SETTLE

    def lost(self, why: str, now: float) -> None:
        """The connection has ended, `why` in words."""
        if not self.outlives_connection:
            self._fail(why, now)
            return
        if self._stage is _Stage.AT_IT:
            self._since = now
        self._stage = _Stage.RETURNING
        self.deadline = _NEVER

    def refused(self, error: Exception) -> None:
        """An attempt to connect again failed."""
        if self._stage is _Stage.RETURNING:
            self._misconduct.verdict(time.monotonic() - self._since, error)

    def online(self, now: float) -> None:
        """The charge point is at work again, on another connection."""
        if self._stage is _Stage.RETURNING:
            self._misconduct.verdict(now - self._since, None)

    def _prove(self, now: float) -> None:
        self._since = now
        self._stage = _Stage.PROVING
        self.deadline = now + self._misconduct.timeout
        self._misconduct.connection.ping_beside()

    def _fail(self, why: str, now: float) -> None:
        self._misconduct.verdict(now - self._since, WrongReaction(why))

    def _lasts(self, bounds: tuple[float, float]) -> float:
        return self._misconduct.random.uniform(*bounds) if self._seconds is None else self._seconds


class _HalfOpen(Act):
    """The path is gone: what either end sends is lost, and no FIN or RST tells anybody.

    The charge point finds out by its own watch on PINGs or PONGs, or when TCP gives up. What it then
    does to its socket is lost as well: the central system has the old connection when the new one comes.
    """

    __slots__ = ()

    misdeed = Misdeed.HALF_OPEN
    outlives_connection = True

    def begin(self, now: float) -> None:
        self._misconduct.connection.is_dark = True
        self.deadline = now + (TCP_GIVES_UP if self._seconds is None else self._seconds)

    def over(self, now: float) -> None:  # noqa: ARG002  `lost` takes the time
        raise ConnectionLost("half open: TCP gave up")


class _NoPong(Act):
    """PINGs are not answered, and all else goes on; good is to end the connection."""

    __slots__ = ("_pinged_at",)

    misdeed = Misdeed.NO_PONG

    def begin(self, now: float) -> None:
        self._pinged_at: float | None = None
        self._misconduct.connection.answer_pings(is_wanted=False)
        self.deadline = now + (_NO_EFFECT_AFTER if self._seconds is None else self._seconds)

    @property
    def has_effect(self) -> bool:
        return self._pinged_at is not None

    def heard(self, message: bytes | Control, now: float) -> None:
        if message is Control.PING and self._pinged_at is None:
            self._pinged_at = now

    def over(self, now: float) -> None:
        self._misconduct.connection.answer_pings(is_wanted=True)
        if self._pinged_at is None:
            self._misconduct.forget()
        else:
            self._misconduct.verdict(now - self._pinged_at, WrongReaction("no PONG, and nobody minds"))

    def lost(self, why: str, now: float) -> None:  # noqa: ARG002
        assert self._pinged_at is not None
        self._misconduct.verdict(now - self._pinged_at, None)


class _SlowReader(Act):
    """Nothing is read while everything is sent; then what has piled up is read at once."""

    __slots__ = ()

    misdeed = Misdeed.SLOW_READER
    distorts = True
    outlives_connection = True

    def begin(self, now: float) -> None:
        self._misconduct.connection.is_deaf = True
        self.deadline = now + self._lasts(_SLOW)

    def over(self, now: float) -> None:
        self._misconduct.connection.is_deaf = False
        self._prove(now)


class _LateAnswers(Act):
    """The next answer to the central system is late, and so are those that come up meanwhile."""

    __slots__ = ("_held", "_was_late")

    misdeed = Misdeed.LATE_ANSWERS

    def begin(self, now: float) -> None:
        self._held: list[tuple[float, bytes]] = []
        self._was_late = False
        self._misconduct.connection.hold = self._hold
        self.deadline = now + _NO_EFFECT_AFTER

    @property
    def has_effect(self) -> bool:
        return self._was_late or bool(self._held)

    def over(self, now: float) -> None:
        connection = self._misconduct.connection
        while self._held and self._held[0][0] <= now:
            self._was_late = True
            connection.send_beside(self._held.pop(0)[1])
        if self._held:
            self.deadline = self._held[0][0]
            return
        connection.hold = None
        if self._was_late:
            self._prove(now)
        else:
            self._misconduct.forget()

    def _hold(self, text: bytes) -> bool:
        # A charge point that is about to reboot would take the answer with it.
        if not text.startswith(_ANSWERS) or self._misconduct.is_ending:
            return False
        self._held.append((time.monotonic() + self._lasts(_LATE), text))
        self._held.sort()
        self.deadline = self._held[0][0]
        return True


class _WrongId(Act):
    """The next answer to the central system has another message id; whoever waits for it waits in vain."""

    __slots__ = ("_was_wrong",)

    misdeed = Misdeed.WRONG_ID

    def begin(self, now: float) -> None:
        self._was_wrong = False
        self._misconduct.connection.hold = self._hold
        self.deadline = now + _NO_EFFECT_AFTER

    @property
    def has_effect(self) -> bool:
        return self._was_wrong

    def over(self, now: float) -> None:
        self._misconduct.connection.hold = None
        if self._was_wrong:
            self._prove(now)
        else:
            self._misconduct.forget()

    def _hold(self, text: bytes) -> bool:
        # A charge point that is about to reboot would not be there any more when the Call times out.
        if not text.startswith(_ANSWERS) or self._misconduct.is_ending:
            return False
        misconduct = self._misconduct
        misconduct.connection.hold = None
        self._was_wrong = True
        self._since = time.monotonic()
        self.deadline = self._since + self._lasts(_LATE)
        misconduct.send(bad_frames.wrong_id(text, misconduct.unique_ids.next()))
        return True


class _DuplicateIdentity(Act):
    """Another connection under the same identity, for a while; which of the two stays is not the question."""

    __slots__ = ("_other",)

    misdeed = Misdeed.DUPLICATE_IDENTITY
    outlives_connection = True

    def begin(self, now: float) -> None:
        self._since = self.deadline = now + self._lasts(_DUPLICATE)
        self._other = self._misconduct.spawn(self._impersonate)

    def over(self, now: float) -> None:
        gone_at = self._since
        self._other.kill()
        self._prove(now)
        self._since = gone_at

    def lost(self, why: str, now: float) -> None:
        gone_at = self._since
        if self._stage is _Stage.AT_IT and now < gone_at:
            return  # the charge point comes back as usual, and at the end it must be served
        super().lost(why, now)
        self._since = gone_at

    def refused(self, error: Exception) -> None:
        # Before the other one is gone, it may well be refused.
        if time.monotonic() >= self._since:
            self._misconduct.verdict(time.monotonic() - self._since, error)

    def _impersonate(self) -> None:
        misconduct = self._misconduct
        until = self._since
        boots = misconduct.random.random() < 0.5
        try:
            connection = misconduct.open_another()
        except ConnectFailed:
            return  # the one that is there stays: a way to deal with it
        try:
            if boots:
                station = misconduct.station
                payload = station.template.boot_notification(station.identity, station.firmware_version)
                connection.send(encode(Call(misconduct.unique_ids.next(), "BootNotification", payload)))
            while time.monotonic() < until:
                connection.receive(until)
        except ConnectionLost:
            pass  # the newer one goes: another way
        finally:
            connection.abort()


class _Frames(Act):
    """Messages beside the charge point's own, and their answers."""

    __slots__ = ("_awaited",)

    def begin(self, now: float) -> None:
        self._awaited: set[str] = set()
        self._send(now)

    @abstractmethod
    def _send(self, now: float) -> None: ...

    def _await(self, now: float) -> None:
        self.deadline = now + self._misconduct.timeout

    def over(self, now: float) -> None:
        self._fail("no answer in time", now)

    def heard(self, message: bytes | Control, now: float) -> None:
        super().heard(message, now)
        if not self._awaited or isinstance(message, Control):
            return
        try:
            frame = decode(message)
        except MalformedFrame:
            return
        if frame.unique_id in self._awaited and not isinstance(frame, Call):
            self._awaited.discard(frame.unique_id)
            self._answered(frame, now)

    def _answered(self, frame: CallResult | CallError, now: float) -> None:
        if isinstance(frame, CallError):
            self._misconduct.verdict(now - self._since, None)
        else:
            self._fail("answered with a CallResult", now)


class _OneFrame(_Frames):
    """One bad message: to be answered with a CallError if it can be, or else ignored."""

    __slots__ = ()

    @abstractmethod
    def _make(self, unique_id: str) -> bad_frames.BadFrame: ...

    def _send(self, now: float) -> None:
        unique_id = self._misconduct.unique_ids.next()
        frame = self._make(unique_id)
        if frame.is_answerable:
            self._awaited.add(unique_id)
            self._await(now)
            self._misconduct.send(frame.text)
        else:
            self._misconduct.send(frame.text)
            self._prove(now)


class _Malformed(_OneFrame):
    """A frame that is no OCPP-J message."""

    __slots__ = ()

    misdeed = Misdeed.MALFORMED

    def _make(self, unique_id: str) -> bad_frames.BadFrame:
        return bad_frames.malformed(unique_id, self._misconduct.random)


class _SchemaBreaking(_OneFrame):
    """A Call whose payload breaks the schema of its action."""

    __slots__ = ()

    misdeed = Misdeed.SCHEMA_BREAKING

    def _make(self, unique_id: str) -> bad_frames.BadFrame:
        return bad_frames.schema_breaking(unique_id, self._misconduct.random)


class _StrayAnswer(_OneFrame):
    """A CallResult to a Call that was never made."""

    __slots__ = ()

    misdeed = Misdeed.STRAY_ANSWER

    def _make(self, unique_id: str) -> bad_frames.BadFrame:
        return bad_frames.stray_answer(unique_id)


class _Flood(_Frames):
    """A burst of Calls: each to be answered, with whatever answer."""

    __slots__ = ()

    misdeed = Misdeed.FLOOD
    distorts = True

    def _send(self, now: float) -> None:
        calls = bad_frames.flood(self._misconduct.unique_ids, FLOOD_SIZE)
        self._awaited.update(calls)
        self._await(now)
        for text in calls.values():
            self._misconduct.send(text)

    def _answered(self, frame: CallResult | CallError, now: float) -> None:  # noqa: ARG002  any will do
        if not self._awaited:
            self._misconduct.verdict(now - self._since, None)


ACTS: Final[dict[Misdeed, type[Act]]] = {
    act.misdeed: act
    for act in (
        *(_HalfOpen, _NoPong, _SlowReader, _LateAnswers, _WrongId, _DuplicateIdentity),
        *(_Malformed, _SchemaBreaking, _StrayAnswer, _Flood),
    )
}
"""What does each misdeed."""
