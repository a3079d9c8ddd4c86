"""Which arrivals a charge point takes on when its number is not in the plan, or somebody else has taken its place.

There are as many slots as charge points at the start of the test, and charge point n has slot n. Locust moves
charge points when workers come and go; those that come then have other numbers, and take the slots of those that went.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ampswarm.load.identities import as_ranges, from_ranges


class Slots:
    """The slots of one process.

    Args:
        size: how many there are in all processes.
    """

    def __init__(self, size: int = 0) -> None:
        self._size = size
        # Given up for good, told to the master; what it must be told yet; and what nobody here uses.
        self._lost: set[int] = set()
        self._taken: set[int] = set()
        self._gone: set[int] = set()
        self._granted: list[int] = []
        self._waiting = 0

    def take_own(self, number: int) -> int | None:
        """Return the slot of charge point `number`; `None` where it must wait for another one: see `take_any`."""
        if number > self._size or number in self._lost:
            self._waiting += 1
            return None
        if number in self._granted:
            self._granted.remove(number)
        self._gone.discard(number)
        self._taken.add(number)
        return number

    def take_any(self) -> int | None:
        """Return a slot for a charge point that waits, if there is one."""
        if not self._granted:
            return None
        self._waiting -= 1
        return self._granted.pop()

    def give_back(self, slot: int | None) -> None:
        """The charge point that had it ends; `None` for one that still waited."""
        if slot is None:
            self._waiting -= 1
            return
        self._taken.discard(slot)
        self._gone.add(slot)

    def grant(self, slots: Iterable[int]) -> None:
        """Take what the master gives."""
        for slot in slots:
            self._lost.discard(slot)
            self._granted.append(slot)

    def take(self) -> dict[str, Any]:
        """Return what the master has to know, for `SlotOffice.accept`; empty for nothing."""
        while len(self._granted) > self._waiting:
            self._gone.add(self._granted.pop())
        wanted = self._waiting - len(self._granted)
        if not (self._taken or self._gone or wanted):
            return {}
        said = {"taken": as_ranges(self._taken), "gone": as_ranges(self._gone), "wanted": wanted}
        self._lost |= self._gone
        self._taken.clear()
        self._gone.clear()
        return said


class SlotOffice:
    """Gives free slots to those who want some; on the master, or in a single process.

    Args:
        grant: sends slots to a process.
        is_there: says whether a process still is.
    """

    def __init__(self, grant: Callable[[str, list[int]], None], is_there: Callable[[str], bool]) -> None:
        self._grant = grant
        self._is_there = is_there
        self._held: dict[str, set[int]] = {}
        self._free: set[int] = set()

    def clear(self) -> None:
        """A test starts."""
        self._held.clear()
        self._free.clear()

    def accept(self, process: str, said: dict[str, Any]) -> None:
        """Take what a process said."""
        held = self._held.setdefault(process, set())
        taken, gone = from_ranges(said["taken"]), from_ranges(said["gone"])
        held.update(taken)
        self._free.difference_update(taken)
        held.difference_update(gone)
        self._free.update(gone)
        for other in [each for each in self._held if not self._is_there(each)]:
            self._free |= self._held.pop(other)
        granted = sorted(self._free)[: max(0, said["wanted"])]
        if granted:
            self._free.difference_update(granted)
            held.update(granted)
            self._grant(process, granted)
