"""The connection of a charge point that misbehaves: it can be dead, deaf, or slow to answer.

Stands in the place of a `Connection`, so that the pump, and with it every healthy charge point, knows
nothing of misdeeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gevent import sleep

from ampswarm.load.transport import Connection, ConnectionLost, Control

if TYPE_CHECKING:
    from ampswarm.load.misconduct import Misconduct


class CrookedConnection:
    """A connection whose two ends need not see the same.

    Args:
        inner: the connection itself.
        misconduct: what the charge point does wrong on it.
    """

    __slots__ = ("_inner", "_is_over", "_misconduct", "hold", "is_dark", "is_deaf")

    def __init__(self, inner: Connection, misconduct: Misconduct) -> None:
        self._inner = inner
        self._misconduct = misconduct
        self._is_over = False
        self.is_dark = False
        """Whether nothing gets through in either direction, without either end being told."""
        self.is_deaf = False
        """Whether nothing is read."""
        self.hold: Callable[[bytes], bool] | None = None
        """Takes each message that is to be sent, and returns whether it deals with it itself."""

    # -- what the pump calls: as for `Connection` ---------------------------------------------

    def send(self, text: bytes) -> None:
        """Send one text message, or do as if.

        Raises:
            ConnectionLost: it could not be sent.
        """
        if self.is_dark or (self.hold is not None and self.hold(text)):
            return
        self.send_beside(text)

    def ping(self) -> None:
        """Send a PING frame, or do as if.

        Raises:
            ConnectionLost: it could not be sent.
        """
        if not self.is_dark:
            self.ping_beside()

    def receive(self, deadline: float) -> bytes | Control | None:
        """Return the next text message, PING or PONG; `None` when `deadline` passes, or a misdeed was due.

        Args:
            deadline: seconds of the monotonic clock; infinity waits for ever.

        Raises:
            ConnectionLost: the connection has ended.
        """
        misconduct = self._misconduct
        now = time.monotonic()
        try:
            misconduct.act(now)
            until = min(deadline, misconduct.deadline)
            if self.is_dark or self.is_deaf:
                sleep(max(0.0, until - now))
                if self.is_deaf:
                    misconduct.reader_is_stuck(time.monotonic())
                return None
            message = self._inner.receive(until)
            if message is not None:
                misconduct.heard(message, time.monotonic())
        except ConnectionLost as lost:
            self._lost(lost)
            raise
        return message

    def close(self, timeout: float) -> None:
        """Close politely, if anything gets through."""
        self._end()
        if not self.is_dark:
            self._inner.close(timeout)

    def abort(self) -> None:
        """End the connection at once; a dead one stays in the dark, as the other end knows nothing."""
        self._end()
        if self.is_dark:
            self._misconduct.leave_behind(self._inner)
            self.is_dark = False
        else:
            self._inner.abort()

    # -- what misdeeds call -------------------------------------------------------------------

    def send_beside(self, text: bytes) -> None:
        """Send one text message whatever else is wrong.

        Raises:
            ConnectionLost: it could not be sent.
        """
        try:
            self._inner.send(text)
        except ConnectionLost as lost:
            self._lost(lost)
            raise

    def ping_beside(self) -> None:
        """Send a PING frame whatever else is wrong.

        Raises:
            ConnectionLost: it could not be sent.
        """
        try:
            self._inner.ping()
        except ConnectionLost as lost:
            self._lost(lost)
            raise

    def answer_pings(self, *, is_wanted: bool) -> None:
        """Answer PINGs from now on, or leave them unanswered."""
        self._inner.answer_pings(is_wanted=is_wanted)

    # -- inside -------------------------------------------------------------------------------

    def _lost(self, lost: ConnectionLost) -> None:
        if not self._is_over:
            self._is_over = True
            self._misconduct.lost(f"{lost}", time.monotonic())

    def _end(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._misconduct.ended(time.monotonic())
