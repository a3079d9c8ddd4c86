"""The fleet at a glance: who asks has an answer at once, however long it takes to count."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from server import fleet
from server.fleet import Fleet, Glance
from server.store import StoreFailed
from tests.processes import TIMEOUT, CentralSystem, until
from tests.server.station import Station


class _Counter:
    """A store with so many charge points that counting them takes as long as it is told."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.count = 0
        self.fails = False

    async def counts(self) -> dict[str, int]:
        await self.may_go_on.wait()
        if self.fails:
            raise StoreFailed("it is gone", is_down=True)
        self.count += 1
        return {"accepted": self.count}

    async def read(self, work: object) -> dict[str, int]:
        return {"open": 0}

    def answer(self, question: str, how: object) -> None:
        """Nobody asks."""


async def _glance(watched: Fleet) -> Glance:
    async with asyncio.timeout(TIMEOUT):
        return await watched.glance()


@pytest.fixture
def _stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A count is out of date at once."""
    monkeypatch.setattr(fleet, "_GLANCE", 0.0)


def _fleet(counter: _Counter) -> Fleet:
    nobody = cast("Any", counter)
    return Fleet(nobody, nobody, nobody, nobody)


@pytest.mark.usefixtures("_stale")
def test_while_it_is_counted_the_last_count_is_the_answer() -> None:
    """And the new one when it is there; never two counts at a time."""

    async def play() -> None:
        counter = _Counter()
        watched = _fleet(counter)
        assert (await _glance(watched)).registrations == {"accepted": 1}
        counter.may_go_on.clear()
        assert [(await _glance(watched)).registrations for _ in range(3)] == [{"accepted": 1}] * 3
        counter.may_go_on.set()
        assert (await _glance(watched)).registrations == {"accepted": 2}

    asyncio.run(play())


@pytest.mark.usefixtures("_stale")
def test_a_count_that_is_too_old_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks once an hour wants to see now."""
    monkeypatch.setattr(fleet, "_OLD_GLANCE", 0.0)

    async def play() -> None:
        counter = _Counter()
        watched = _fleet(counter)
        await _glance(watched)
        counter.may_go_on.clear()
        asked = asyncio.create_task(_glance(watched))
        assert not (await asyncio.wait([asked], timeout=0.1))[0]
        counter.may_go_on.set()
        assert (await asked).registrations == {"accepted": 2}

    asyncio.run(play())


@pytest.mark.usefixtures("_stale")
def test_a_store_that_fails_is_told_and_counted_again() -> None:
    """Once it is well."""

    async def play() -> None:
        counter = _Counter()
        watched = _fleet(counter)
        counter.fails = True
        with pytest.raises(StoreFailed):
            await _glance(watched)
        counter.fails = False
        assert (await _glance(watched)).registrations == {"accepted": 1}

    asyncio.run(play())


def test_registrations_are_counted(tmp_path: Path) -> None:
    """Of all that ever connected."""
    with CentralSystem(tmp_path / "log") as server, Station(server, "A") as station, Station(server, "B"):
        station.call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})

        def counted() -> bool:
            status, answer = server.request("GET", "/api/v1/fleet")
            assert status == 200
            registrations: dict[str, int] = answer["registrations"]
            return registrations == {"accepted": 1, "unknown": 1}

        until(counted)
