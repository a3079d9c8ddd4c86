"""Whoever comes in the place of a charge point that went takes on its arrivals, and nobody else does."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ampswarm.load.slots import SlotOffice, Slots

SIZE = 6
WORKERS = ("a", "b", "c")


class Workers(RuleBasedStateMachine):
    """Charge points come and go on three workers that report when they like, and die."""

    def __init__(self) -> None:
        super().__init__()
        self.office = SlotOffice(self.grant, lambda process: process in self.slots)
        self.slots = {worker: Slots(SIZE) for worker in WORKERS}
        # Of each charge point: its worker and its slot.
        self.living: dict[int, tuple[str, int | None]] = {}
        self.mail: list[tuple[str, list[int]]] = []
        self.next = 1
        self.kept: dict[str, list[int]] = {worker: [] for worker in WORKERS}

    def grant(self, process: str, slots: list[int]) -> None:
        self.mail.append((process, slots))

    def spawn(self, worker: str, number: int) -> None:
        self.living[number] = worker, self.slots[worker].take_own(number)

    @rule(worker=st.sampled_from(WORKERS))
    def comes(self, worker: str) -> None:
        """With the worker's lowest free number, or a new one."""
        if worker in self.slots and len(self.living) < SIZE:
            kept = self.kept[worker]
            if kept:
                self.spawn(worker, kept.pop(0))
            else:
                self.spawn(worker, self.next)
                self.next += 1

    @rule(data=st.data())
    def goes(self, data: st.DataObject) -> None:
        """The worker keeps its number."""
        if self.living:
            number = data.draw(st.sampled_from(sorted(self.living)))
            worker, slot = self.living.pop(number)
            self.slots[worker].give_back(slot)
            self.kept[worker] = sorted([*self.kept[worker], number])

    @rule(worker=st.sampled_from(WORKERS))
    def reports(self, worker: str) -> None:
        """And gets its mail at some time."""
        if worker in self.slots and (said := self.slots[worker].take()):
            self.office.accept(worker, said)

    @rule()
    def mail_comes(self) -> None:
        """To whoever still is there."""
        for worker, granted in self.mail:
            if worker in self.slots:
                self.slots[worker].grant(granted)
        self.mail.clear()

    @rule()
    def look(self) -> None:
        """Those who wait look for a slot."""
        for number, (worker, slot) in self.living.items():
            if slot is None:
                self.living[number] = worker, self.slots[worker].take_any()

    @rule()
    def a_worker_dies(self) -> None:
        """With all that is on it; what it never told the master is lost with it."""
        if len(self.slots) > 1:
            dead = min(self.slots)
            self.reports(dead)
            del self.slots[dead]
            self.living = {number: place for number, place in self.living.items() if place[0] != dead}

    @invariant()
    def nobody_shares_a_slot(self) -> None:
        """No arrival comes twice."""
        slots = [slot for _, slot in self.living.values() if slot is not None]
        assert len(slots) == len(set(slots))
        assert all(1 <= slot <= SIZE for slot in slots)

    def teardown(self) -> None:
        """After a while, everybody has one who can."""
        for _ in range(4):
            for worker in list(self.slots):
                self.reports(worker)
            self.mail_comes()
            self.look()
        self.nobody_shares_a_slot()
        assert all(slot is not None for _, slot in self.living.values())


TestWorkers = Workers.TestCase


def test_a_number_whose_slot_comes_back_does_not_take_it_twice() -> None:
    """Charge point 3 went, its slot was lost, and is granted just when charge point 3 comes again."""
    slots = Slots(SIZE)
    slots.give_back(slots.take_own(3))
    slots.take()
    assert slots.take_own(7) is None
    slots.grant([3])
    assert slots.take_own(3) == 3
    assert slots.take_any() is None
