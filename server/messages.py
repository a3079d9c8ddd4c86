"""The last messages of charge points, in memory, for whoever looks at one of them.

Of the whole process, the last ones are kept whoever they are of. In a large fleet those of one charge point are soon
pushed out by the others', so a charge point that somebody asks for is watched from then on: its own last ones are
kept besides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final, NamedTuple

from ampswarm.ocppj.frames import for_log

MAX_TEXT: Final = 4096
"""Bytes that are kept of one message."""
MAX_OF_ONE: Final = 200
"""Messages of a charge point that are kept while it is watched, and told at most."""
MAX_WATCHED: Final = 100
"""Charge points that are watched; who was not asked for the longest time is watched no more."""


class Cut(NamedTuple):
    """What is kept of a message that is longer than `MAX_TEXT`."""

    beginning: str
    """Without a password that was in it."""
    size: int
    """Bytes of all of it."""


Entry = tuple[float, str, bool, bytes | Cut]
"""Seconds since 1970, the identity, whether it was sent and not received, and the message."""


def cut(text: bytes) -> Cut:
    """Return what is kept of a message that is too long."""
    # Masked first: half a password would not be found any more.
    masked = for_log(text).encode()
    return Cut(masked[:MAX_TEXT].decode("utf-8", "ignore"), len(text))


class Message(NamedTuple):
    """One message, as it is shown."""

    number: int
    """Later ones of this charge point and this process have higher numbers."""
    at: float
    """Seconds since 1970."""
    is_out: bool
    """Whether it was sent to the charge point, and not received from it."""
    text: str
    """What it says, but for a password in it."""
    size: int
    """Its length in bytes."""
    is_cut: bool
    """Whether there is more than `text`."""


class _Watch:
    """The last messages of one charge point, numbered."""

    __slots__ = ("_last", "_own")

    def __init__(self) -> None:
        self._last = 0
        self._own: deque[tuple[int, Entry]] = deque(maxlen=MAX_OF_ONE)

    def add(self, entry: Entry) -> None:
        # Of the time, so that a new watch gives messages the numbers that an earlier one gave them; but the clock may
        # be put back.
        self._last = max(self._last + 1, int(entry[0] * 1e6))
        self._own.append((self._last, entry))

    def newer(self, than: int, limit: int) -> list[Message]:
        found: deque[tuple[int, Entry]] = deque(maxlen=limit)
        found.extend((number, entry) for number, entry in self._own if number > than)
        return [_shown(number, entry) for number, entry in found]


class Messages:
    """The last messages of this process.

    Args:
        keep: how many of all charge points together.
    """

    __slots__ = ("_recent", "_watched", "add")

    def __init__(self, keep: int) -> None:
        self._recent: deque[Entry] = deque(maxlen=keep)
        # In the order in which they were asked for.
        self._watched: dict[str, _Watch] = {}
        self.add: Callable[[Entry], None] = self._recent.append
        """Keeps a message. While nobody is watched, no more than this happens to it."""

    def of(self, identity: str, after: int = 0, limit: int = MAX_OF_ONE) -> list[Message]:
        """Return the last messages of a charge point in the order in which they came, and watch it from now on.

        Args:
            identity: the charge point.
            after: only those with higher numbers.
            limit: how many at most.
        """
        watch = self._watched.pop(identity, None)
        if watch is None:
            watch = self._watch(identity)
        self._watched[identity] = watch
        return watch.newer(after, limit)

    def _watch(self, identity: str) -> _Watch:
        latest = list(islice((entry for entry in reversed(self._recent) if entry[1] == identity), MAX_OF_ONE))
        watch = _Watch()
        for entry in reversed(latest):
            watch.add(entry)
        if len(self._watched) >= MAX_WATCHED:
            del self._watched[next(iter(self._watched))]
        self.add = self._add_watched
        return watch

    def _add_watched(self, entry: Entry) -> None:
        self._recent.append(entry)
        watch = self._watched.get(entry[1])
        if watch is not None:
            watch.add(entry)


def _shown(number: int, entry: Entry) -> Message:
    at, _, is_out, text = entry
    if isinstance(text, Cut):
        return Message(number, at, is_out, text.beginning, text.size, is_cut=True)
    return Message(number, at, is_out, for_log(text), len(text), is_cut=False)
