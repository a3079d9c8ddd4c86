"""A connection through which nothing gets for a while, without either end being told.

Stands in the place of a `Connection` from the moment at which a storm hits it. What is sent in the dark goes out
afterwards, as TCP would send it again; what the central system sent meanwhile is read then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from gevent import sleep

from ampswarm.load.transport import Control


class AnyConnection(Protocol):
    """What the pump of a charge point needs of a connection."""

    def send(self, text: bytes) -> None:
        """Send one text message."""

    def ping(self) -> None:
        """Send a PING frame."""

    def receive(self, deadline: float) -> bytes | Control | None:
        """Return the next message, PING or PONG; `None` when `deadline` passes."""

    def close(self, timeout: float) -> None:
        """Close politely."""

    def abort(self) -> None:
        """End the connection at once."""


class DarkConnection:
    """A connection that is dark for a while.

    Args:
        inner: the connection itself.
        until: when it is no longer dark, in seconds of the monotonic clock.
        leave_behind: takes a connection that the charge point gave up in the dark: the central system knows
            nothing of that yet.
    """

    __slots__ = ("_held", "_is_over", "_leave_behind", "inner", "until")

    def __init__(self, inner: AnyConnection, until: float, leave_behind: Callable[[AnyConnection], None]) -> None:
        self.inner = inner
        """The connection itself."""
        self._leave_behind = leave_behind
        # What was sent in the dark, `None` for a PING; and no list once it is over.
        self._held: list[bytes | None] | None = []
        self._is_over = False
        self.until = until

    @property
    def is_dark(self) -> bool:
        """Whether nothing gets through now."""
        return self._held is not None and time.monotonic() < self.until

    def send(self, text: bytes) -> None:
        """Send one text message, or keep it for later.

        Raises:
            ConnectionLost: it could not be sent.
        """
        if self._must_wait(text):
            return
        self.inner.send(text)

    def ping(self) -> None:
        """Send a PING frame, or keep it for later.

        Raises:
            ConnectionLost: it could not be sent.
        """
        if self._must_wait(None):
            return
        self.inner.ping()

    def receive(self, deadline: float) -> bytes | Control | None:
        """Return the next text message, PING or PONG; `None` when `deadline` passes, or it was dark until now.

        Args:
            deadline: seconds of the monotonic clock; infinity waits for ever.

        Raises:
            ConnectionLost: the connection has ended.
        """
        if self.is_dark:
            sleep(max(0.0, min(deadline, self.until) - time.monotonic()))
            return None
        self._make_up()
        return self.inner.receive(deadline)

    def close(self, timeout: float) -> None:
        """Close politely, if anything gets through."""
        if not self.is_dark:
            self.inner.close(timeout)

    def abort(self) -> None:
        """End the connection at once; in the dark, only the charge point knows."""
        if not self.is_dark:
            self.inner.abort()
        elif not self._is_over:
            self._leave_behind(self.inner)
        self._is_over = True

    def _must_wait(self, text: bytes | None) -> bool:
        """Keep what is sent in the dark; return whether it is."""
        if self.is_dark:
            assert self._held is not None
            self._held.append(text)
            return True
        self._make_up()
        return False

    def _make_up(self) -> None:
        """Send what was kept, once it is no longer dark."""
        if self._held is None:
            return
        held, self._held = self._held, None
        for text in held:
            if text is None:
                self.inner.ping()
            else:
                self.inner.send(text)
        # Its PONG is the proof that the two ends know of each other again.
        self.inner.ping()
