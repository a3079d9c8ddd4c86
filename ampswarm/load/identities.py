"""Which worker owns which identities, so that no two charge points of a run share one.

The master holds a `Ledger` of numbers and leases them out; a worker's `IdentityPool` asks for as
many as it has charge points waiting, and gives them back when the test is over. Numbers start at 1
and the lowest free ones go first, so that a fleet of a thousand is always the same thousand.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from gevent import spawn_later
from gevent.event import Event

if TYPE_CHECKING:
    from locust.runners import Runner

WANTED: Final = "ampswarm_identities_wanted"
LEASED: Final = "ampswarm_identities_leased"
RETURNED: Final = "ampswarm_identities_returned"

_ASK_AGAIN_AFTER: Final = 5.0
"""Seconds; a lease that did not come is asked for again."""


class Ledger:
    """Who holds which numbers. The lowest free number goes first."""

    def __init__(self) -> None:
        self._next = 1
        self._free: list[int] = []
        self._held: dict[str, set[int]] = {}

    def lease(self, owner: str, count: int) -> list[int]:
        """Return `count` numbers, at least 1 each, that nobody holds; `owner` holds them from now on."""
        numbers = []
        for _ in range(count):
            if self._free:
                numbers.append(heapq.heappop(self._free))
            else:
                numbers.append(self._next)
                self._next += 1
        self._held.setdefault(owner, set()).update(numbers)
        return numbers

    def give_back(self, owner: str, numbers: Iterable[int]) -> None:
        """Take back `numbers`; those that `owner` does not hold are passed over."""
        held = self._held.get(owner, set())
        for number in numbers:
            if number in held:
                held.discard(number)
                heapq.heappush(self._free, number)
        if not held:
            self._held.pop(owner, None)

    def owners(self) -> list[str]:
        """Return all that hold a number."""
        return list(self._held)

    def drop(self, owner: str) -> int:
        """Take back all that `owner` holds: it is gone. Return how many these were."""
        numbers = list(self._held.get(owner, ()))
        self.give_back(owner, numbers)
        return len(numbers)


def as_ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Return numbers as `[first, count]` pairs: a thousand in a row are one pair on the wire."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and sum(ranges[-1]) == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, 1])
    return ranges


def from_ranges(ranges: Iterable[Iterable[int]]) -> list[int]:
    """Return the numbers of `as_ranges`, in order."""
    return [number for first, count in ranges for number in range(first, first + count)]


class IdentityPool(Protocol):
    """Where the charge points of one process get their numbers."""

    def acquire(self) -> int:
        """Return a number that no other charge point of the run has; waits for the master if need be."""
        ...

    def release(self, number: int) -> None:
        """Give a number back when its charge point has disconnected."""
        ...

    def close(self) -> None:
        """The test is over: no charge point of this process runs any more."""
        ...


class LocalPool:
    """The numbers of a run in one process."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def acquire(self) -> int:
        """Return the lowest free number."""
        return self._ledger.lease("", 1)[0]

    def release(self, number: int) -> None:
        """Give a number back."""
        self._ledger.give_back("", [number])

    def close(self) -> None:
        """Do nothing: every charge point has given its number back."""


class LeasedPool:
    """The numbers of one worker, leased from the master."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._free: list[int] = []
        self._waiting = 0
        self._asked = 0
        self._request = 0
        self._changed = Event()
        runner.register_message(LEASED, self._on_leased)

    def acquire(self) -> int:
        """Return a number, after the master has leased some."""
        self._waiting += 1
        try:
            while not self._free:
                if self._asked == 0:
                    # Asked for once all that are spawned in this instant wait: one message for all.
                    self._asked = -1
                    spawn_later(0, self._ask)
                self._changed.clear()
                self._changed.wait()
            return heapq.heappop(self._free)
        finally:
            self._waiting -= 1

    def release(self, number: int) -> None:
        """Keep a number for this worker's next charge point."""
        heapq.heappush(self._free, number)
        self._changed.set()

    def close(self) -> None:
        """Return to the master what is free here."""
        if self._free:
            numbers, self._free = self._free, []
            self._runner.send_message(RETURNED, {"ranges": as_ranges(numbers)})

    def _ask(self) -> None:
        wanted = self._waiting - len(self._free)
        if wanted <= 0:
            self._asked = 0
            return
        self._request += 1
        self._asked = wanted
        self._send(self._request, wanted)

    def _send(self, request: int, wanted: int) -> None:
        if request != self._request or self._asked == 0:
            return  # answered meanwhile
        self._runner.send_message(WANTED, {"request": request, "count": wanted})
        spawn_later(_ASK_AGAIN_AFTER, self._send, request, wanted)

    def _on_leased(self, msg: Any, **_: object) -> None:  # noqa: ANN401  Locust's untyped message
        if msg.data["request"] != self._request or self._asked == 0:
            return  # the answer to a repeated question, which carried the same numbers
        self._asked = 0
        for number in from_ranges(msg.data["ranges"]):
            heapq.heappush(self._free, number)
        self._changed.set()
        if self._waiting > len(self._free):
            self._ask()


_LOOK_AROUND: Final = 1.5
"""Seconds in which whoever works for a master that was here before is heard of: they send a heartbeat each second."""


class Lessor:
    """The master's side: answers what the workers' pools ask."""

    def __init__(self, runner: Any) -> None:  # noqa: ANN401  MasterRunner, whose clients are untyped
        self._runner = runner
        self._ledger = Ledger()
        # The last lease of each worker: a question that is repeated gets the same answer.
        self._last: dict[str, tuple[int, list[list[int]]]] = {}
        # Until then nobody gets any: workers of a master that was here before may have some of the same.
        self._open_at = time.monotonic() + _LOOK_AROUND
        runner.register_message(WANTED, self._on_wanted)
        runner.register_message(RETURNED, self._on_returned)

    def owners(self) -> list[str]:
        """Return the workers that hold numbers."""
        return self._ledger.owners()

    def forget(self, owner: str) -> int:
        """Take back all numbers of a worker that is gone for good; return how many these were.

        Not while it may only be out of reach: it may come back with its charge points, and has
        their connections meanwhile. Others get fresh numbers then.
        """
        self._last.pop(owner, None)
        return self._ledger.drop(owner)

    def hold(self, seconds: float) -> None:
        """Lease no numbers for some time: somebody has numbers that are not known here."""
        self._open_at = max(self._open_at, time.monotonic() + seconds)

    def _on_wanted(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        wait = self._open_at - time.monotonic()
        if wait > 0:
            spawn_later(wait, self._on_wanted, msg)
            return
        worker: str = msg.node_id
        request = msg.data["request"]
        last_request, ranges = self._last.get(worker, (0, []))
        if request != last_request:
            ranges = as_ranges(self._ledger.lease(worker, msg.data["count"]))
            self._last[worker] = request, ranges
        self._runner.send_message(LEASED, {"request": request, "ranges": ranges}, client_id=worker)

    def _on_returned(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        self._ledger.give_back(msg.node_id, from_ranges(msg.data["ranges"]))
