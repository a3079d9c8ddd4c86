"""Exact timers: each comes once, in order, not before its time, and not when it was cancelled."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from server.alarm import Alarm

DELAYS = st.lists(st.tuples(st.floats(0, 0.02), st.booleans()), max_size=30)


@settings(max_examples=30)
@given(DELAYS)
def test_what_is_due_comes_in_order_and_not_before_its_time(delays: list[tuple[float, bool]]) -> None:
    """Whatever else is waiting, and whatever was cancelled before."""

    async def run() -> list[tuple[float, float]]:
        loop = asyncio.get_running_loop()
        alarm = Alarm()
        came: list[tuple[float, float]] = []
        last = asyncio.Event()
        for delay, is_cancelled in delays:
            due = loop.time() + delay
            handle = alarm.call_later(delay, lambda due=due: came.append((due, loop.time())))
            if is_cancelled:
                handle.cancel()
        alarm.call_later(0.021, last.set)
        async with asyncio.timeout(10):
            await last.wait()
        return came

    came = asyncio.run(run())
    assert len(came) == sum(not is_cancelled for _, is_cancelled in delays)
    assert [due for due, _ in came] == sorted(due for due, _ in came)
    assert all(due <= at for due, at in came)


def test_a_callback_that_fails_ends_no_other() -> None:
    """The loop is told, as of any callback of its own."""

    async def run() -> tuple[list[str], list[str]]:
        loop = asyncio.get_running_loop()
        told: list[str] = []
        loop.set_exception_handler(lambda _loop, context: told.append(repr(context.get("exception"))))
        alarm = Alarm()
        came: list[str] = []
        last = asyncio.Event()

        def fail() -> None:
            raise RuntimeError("a fault")

        alarm.call_later(0.001, fail)
        alarm.call_later(0.001, came.append, "the next one")
        alarm.call_later(0.002, last.set)
        async with asyncio.timeout(10):
            await last.wait()
        return came, told

    came, told = asyncio.run(run())
    assert came == ["the next one"]
    assert told == ["RuntimeError('a fault')"]
