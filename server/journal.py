"""What must be kept before it is answered: entries of many charge points, committed in groups."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from server import book
from server.metrics import Metrics
from server.store import Store, StoreFailed
from server.transactions import Entry, Kept, Start

MAX_WAITING: Final = 50_000
"""Entries that may wait for the store; more are refused at once."""
_GATHER: Final = 0.004
"""Seconds for which the first entry of a group waits for others: a commit costs the same for one and for many."""
_MAX_GROUP: Final = 500
_IDS_AHEAD: Final = 1000
"""Transaction ids that are leased at a time."""
_TRIES: Final = 4
"""How often a group is tried that another process got in the way of."""
_PROBE_INTERVAL: Final = 5.0
"""Seconds after which a store that nobody has written to is asked whether it still can be."""
_RETRY_INTERVAL: Final = 1.0
"""The same, for one that has failed."""

Done = Callable[[Kept | None], None]
"""Takes what an entry came to; `None` when it could not be kept."""


class _Waiting(NamedTuple):
    entry: Entry
    done: Done
    since: float
    """Seconds, monotonic."""


class Journal:
    """Entries on their way into the store.

    Args:
        store: where they are kept.
        node: this process, whose row of the totals it is.
        is_one_at_a_time: whether an id tag, case-folded, is for one transaction at a time.
        metrics: where groups and waits are counted.
        changed: called with the reason when the store fails, and with `None` when it is well again.
        report: called with the reason when a single entry cannot be kept.
    """

    def __init__(
        self,
        store: Store,
        node: str,
        is_one_at_a_time: Callable[[str], bool],
        metrics: Metrics,
        changed: Callable[[str | None], None],
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._node = node
        self._is_one_at_a_time = is_one_at_a_time
        self._metrics = metrics
        self._changed = changed
        self._report = report
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ids = range(0)
        self._writing_since: float | None = None
        self.trouble: str | None = None
        """Why the store does not keep anything at present; `None` when it does."""

    def add(self, entry: Entry, done: Done) -> None:
        """Keep an entry; call `done` when that is sure, or sure not to be."""
        if len(self._waiting) >= MAX_WAITING:
            self._metrics.events["entries refused: too many wait for the store"] += 1
            done(None)
            return
        self._waiting.append(_Waiting(entry, done, time.monotonic()))
        self._idle.clear()
        self._arrived.set()

    @property
    def lag(self) -> float:
        """Seconds for which the oldest entry that is not kept yet has waited; 0 when none waits."""
        since = self._writing_since
        if since is None:
            if not self._waiting:
                return 0.0
            since = self._waiting[0].since
        return max(0.0, time.monotonic() - since)

    def suspect(self, reason: str) -> None:
        """Something else could not be written: do as if an entry could not."""
        self._say(reason)
        self._arrived.set()

    async def settle(self) -> None:
        """Wait until nothing waits any more."""
        await self._idle.wait()

    async def run(self) -> None:
        """Keep what comes, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_PROBE_INTERVAL if self.trouble is None else _RETRY_INTERVAL):
                    await self._arrived.wait()
            except TimeoutError:
                await self._probe()
                continue
            if not self._waiting:
                self._arrived.clear()
                continue
            if len(self._waiting) < _MAX_GROUP:
                await asyncio.sleep(_GATHER)
            group = [self._waiting.popleft() for _ in range(min(_MAX_GROUP, len(self._waiting)))]
            if not self._waiting:
                self._arrived.clear()
            self._writing_since = group[0].since
            try:
                await self._keep(group)
            finally:
                self._writing_since = None
            # It holds connections, which may have gone, and this may be the last group for long.
            del group
            if not self._waiting:
                self._idle.set()

    async def _keep(self, group: Sequence[_Waiting]) -> None:
        began = time.monotonic()
        try:
            kept: Sequence[Kept | None] = await self._commit([each.entry for each in group])
        except Exception as error:  # noqa: BLE001  a fault here must not cost all others their answers
            failed = error if isinstance(error, StoreFailed) else StoreFailed(repr(error), is_down=False)
            if not failed.is_down and len(group) > 1:
                # One of them cannot be kept, and must not take the others with it.
                middle = len(group) // 2
                await self._keep(group[:middle])
                await self._keep(group[middle:])
                return
            self._metrics.store_failures += 1
            self._metrics.events["entries not kept"] += len(group)
            if failed.is_down:
                self._say(failed.reason)
            else:
                self._report(failed.reason)
            kept = [None] * len(group)
        else:
            self._say(None)
            self._metrics.store_commits.observe(time.monotonic() - began)
            self._metrics.store_batches.observe(len(group))
        now = time.monotonic()
        for each, came in zip(group, kept, strict=True):
            self._metrics.store_waits.observe(now - each.since)
            try:
                each.done(came)
            except Exception as fault:  # noqa: BLE001  nor must a fault in one answer
                self._report(repr(fault))

    async def _commit(self, entries: Sequence[Entry]) -> list[Kept]:
        starts = sum(type(entry) is Start for entry in entries)
        if starts > len(self._ids):
            self._ids = await self._store.write(partial(book.lease_ids, count=max(starts, _IDS_AHEAD)))
        work = partial(
            book.record,
            node=self._node,
            entries=entries,
            ids=self._ids,
            is_one_at_a_time=self._is_one_at_a_time,
        )
        for tries_left in reversed(range(_TRIES)):
            try:
                kept = await self._store.write(work)
            except StoreFailed as failed:
                if not failed.conflict or not tries_left:
                    # Whether it was committed is not sure: these ids may be in use.
                    self._ids = self._ids[starts:]
                    raise
            else:
                break
        self._ids = self._ids[starts:]
        return kept

    async def _probe(self) -> None:
        try:
            # A write: a full disk can be read.
            await self._store.write(book.probe)
        except StoreFailed as failed:
            self._say(failed.reason)
        else:
            self._say(None)

    def _say(self, trouble: str | None) -> None:
        if (trouble is None) != (self.trouble is None):
            self._changed(trouble)
        self.trouble = trouble
