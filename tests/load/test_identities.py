"""No two charge points of a run share an identity, whatever becomes of their workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from ampswarm.load.identities import LEASED, LeasedPool, Ledger, Lessor, LocalPool, as_ranges, from_ranges


def test_numbers_start_at_1_and_the_lowest_free_goes_first() -> None:
    """A fleet of a thousand is always the same thousand."""
    pool = LocalPool()
    assert [pool.acquire() for _ in range(3)] == [1, 2, 3]
    pool.release(2)
    pool.release(1)
    assert [pool.acquire() for _ in range(3)] == [1, 2, 4]
    pool.close()


@given(st.sets(st.integers(1, 10_000)))
def test_ranges_carry_the_same_numbers(numbers: set[int]) -> None:
    """What the master leases is what the worker has."""
    assert sorted(numbers) == from_ranges(as_ranges(numbers))


def test_a_thousand_in_a_row_are_one_pair() -> None:
    """The message to a worker does not grow with its fleet."""
    assert as_ranges(range(1, 1001)) == [[1, 1000]]


class LedgerMachine(RuleBasedStateMachine):
    """Workers come, lease, give back and go; nobody ever holds what another one holds."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.held: dict[str, set[int]] = {}

    workers = st.sampled_from(["a", "b", "c"])

    @rule(worker=workers, count=st.integers(1, 20))
    def lease(self, worker: str, count: int) -> None:
        numbers = self.ledger.lease(worker, count)
        taken = set().union(*self.held.values()) if self.held else set()
        assert len(set(numbers)) == count
        assert not taken & set(numbers)
        free = set(range(1, max([*taken, *numbers]) + 1)) - taken - set(numbers)
        assert not free or max(numbers) < min(free)
        self.held.setdefault(worker, set()).update(numbers)

    @rule(worker=workers, data=st.data())
    def give_back(self, worker: str, data: st.DataObject) -> None:
        mine = self.held.get(worker, set())
        numbers = data.draw(st.lists(st.integers(1, 60), max_size=10))
        self.ledger.give_back(worker, numbers)
        mine -= set(numbers)

    @rule(worker=workers)
    def goes(self, worker: str) -> None:
        self.ledger.drop(worker)
        self.held.pop(worker, None)
        assert worker not in self.ledger.owners()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


class Wire:
    """Locust's custom messages between one master and its workers, delivered when told to."""

    def __init__(self) -> None:
        self.master = SimpleNamespace(
            clients={}, register_message=self._master_registers, send_message=self._master_sends
        )
        self._master_listeners: dict[str, Any] = {}
        self._worker_listeners: dict[tuple[str, str], Any] = {}
        self.lessor = Lessor(self.master)
        self.lose_next_answer = False

    def worker(self, name: str) -> LeasedPool:
        """Return the pool of a new worker."""
        self.master.clients[name] = object()
        runner: Any = SimpleNamespace(
            register_message=lambda kind, listener: self._worker_listeners.update({(name, kind): listener}),
            send_message=lambda kind, data: self._master_listeners[kind](msg=SimpleNamespace(node_id=name, data=data)),
        )
        return LeasedPool(runner)

    def _master_registers(self, kind: str, listener: Any) -> None:
        self._master_listeners[kind] = listener

    def _master_sends(self, kind: str, data: Any, client_id: str) -> None:
        if self.lose_next_answer:
            self.lose_next_answer = False
            return
        self._worker_listeners[client_id, kind](msg=SimpleNamespace(data=data))


def acquired(pool: LeasedPool, count: int) -> list[int]:
    waiting = [gevent.spawn(pool.acquire) for _ in range(count)]
    gevent.joinall(waiting, timeout=20, raise_error=True)
    return [each.value for each in waiting]


def test_two_workers_lease_what_they_need_and_no_more() -> None:
    """50 charge points on two workers are numbers 1 to 50."""
    wire = Wire()
    first, second = wire.worker("a"), wire.worker("b")
    numbers = acquired(first, 25) + acquired(second, 25)
    assert sorted(numbers) == list(range(1, 51))


def test_a_worker_uses_its_own_numbers_again_and_returns_them_in_the_end() -> None:
    """A fleet that shrinks and grows keeps its identities; the next test starts from 1."""
    wire = Wire()
    first, second = wire.worker("a"), wire.worker("b")
    numbers = acquired(first, 3)
    first.release(numbers[1])
    assert acquired(first, 1) == [numbers[1]]
    for number in numbers:
        first.release(number)
    first.close()
    assert acquired(second, 4) == [1, 2, 3, 4]


def test_a_lost_answer_is_asked_for_again_and_leases_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The master may restart its socket; the numbers of the lost answer are not lost."""
    monkeypatch.setattr("ampswarm.load.identities._ASK_AGAIN_AFTER", 0.05)
    wire = Wire()
    pool = wire.worker("a")
    wire.lose_next_answer = True
    assert acquired(pool, 2) == [1, 2]
    assert acquired(wire.worker("b"), 1) == [3]


def test_the_numbers_of_a_worker_are_leased_again_once_it_is_gone_for_good() -> None:
    """Not earlier: a worker that Locust misses may only hang, and its charge points are still connected."""
    wire = Wire()
    assert acquired(wire.worker("a"), 3) == [1, 2, 3]
    del wire.master.clients["a"]
    second = wire.worker("b")
    assert acquired(second, 4) == [4, 5, 6, 7]
    assert wire.lessor.owners() == ["a", "b"]
    assert wire.lessor.forget("a") == 3
    assert wire.lessor.forget("a") == 0
    assert acquired(second, 3) == [1, 2, 3]


def test_an_answer_to_nothing_is_passed_over() -> None:
    """A late answer must not hand out numbers that a later one hands out again."""
    wire = Wire()
    pool = wire.worker("a")
    assert acquired(pool, 1) == [1]
    wire._worker_listeners["a", LEASED](msg=SimpleNamespace(data={"request": 1, "ranges": [[1, 1]]}))
    assert acquired(pool, 1) == [2]


def test_a_charge_point_that_is_stopped_while_it_waits_leaves_its_place() -> None:
    """Locust may stop a user before the master has answered."""
    wire = Wire()
    pool = wire.worker("a")
    wire.lose_next_answer = True
    waiting = gevent.spawn(pool.acquire)
    gevent.sleep(0.01)
    waiting.kill()
    assert pool._waiting == 0
