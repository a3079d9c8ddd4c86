"""A process that watches itself: what it sees, whole and once."""

from __future__ import annotations

import gc
import time

import gevent
import pytest

from ampswarm.load.loop_care import LoopCare
from ampswarm.load.self_watch import Watch
from ampswarm.results.health import LAG_INTERVAL, Reading

STALL = 0.3


def taken(watch: Watch) -> list[Reading]:
    """Return what a watch has to say."""
    said = watch.take()
    if not said:
        return []
    _, readings = said
    assert isinstance(readings, list)
    return [Reading.unpack(each) for each in readings]


def stall() -> None:
    """Stop the loop: without Locust, this is the real `sleep`."""
    time.sleep(STALL)


def test_a_stall_is_seen_even_where_the_test_ends_in_it() -> None:
    """A process that was stopped hears of the end before it has looked at its clock."""
    watch = Watch(lambda: 3)
    watch.begin()
    gevent.sleep(0)
    stall()
    watch.end()
    (reading,) = taken(watch)
    assert reading.lag.highest >= 1000 * (STALL - 0.1)
    assert reading.charge_points == 3
    assert reading.seconds >= STALL


def test_nothing_is_watched_between_tests() -> None:
    """What Locust does then is nobody's load, and its own time."""
    watch = Watch(lambda: 0)
    watch.begin()
    watch.end()
    assert watch.take()[0] is True
    stall()
    assert watch.take() == []
    began = time.monotonic()
    watch.begin()
    gevent.sleep(0)
    watch.end()
    elapsed = time.monotonic() - began
    assert all(reading.lag.highest <= 1000 * elapsed for reading in taken(watch))


def test_collections_are_counted_while_a_test_runs() -> None:
    """And the callback goes with it."""
    before = list(gc.callbacks)
    watch = Watch(lambda: 0)
    watch.begin()
    gc.collect()
    stall()
    watch.end()
    (reading,) = taken(watch)
    assert reading.gc.count >= 1
    assert before == gc.callbacks


def test_a_master_s_answer_is_timed_and_its_silence_too() -> None:
    """A number goes there and comes back; until then, the wait is what is known."""
    asked: list[int] = []
    watch = Watch(lambda: 0, asked.append)
    watch.begin()
    assert asked == [1]  # at once
    watch.hear(7)  # an answer to another test's
    watch.hear(1)
    while len(asked) < 2:
        gevent.sleep(0.05)
    gevent.sleep(1.2)  # no answer
    watch.end()
    distances = [reading.distance for reading in taken(watch)]
    assert all(each is not None for each in distances)
    assert (distances[-1] or 0) >= 0.5


def test_a_clock_that_is_set_is_seen_however_soon_it_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timestamps in messages jump with it, and nothing else tells."""
    ahead = [0.0]
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + ahead[0])
    watch = Watch(lambda: 0)
    watch.begin()
    for ahead[0] in (0.0, 7.5, 0.0):
        gevent.sleep(2.5 * LAG_INTERVAL)
    watch.end()
    assert max(reading.clock_jump for reading in taken(watch)) == pytest.approx(7.5, abs=0.4)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_garbage_collection_is_as_before_after_a_test(is_wanted: bool) -> None:
    """A web UI's process lives on, and what a test leaves must go."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    care = LoopCare(lambda: 0)
    care.begin(is_wanted=is_wanted)
    assert (gc.get_freeze_count() > frozen) is is_wanted
    assert (gc.get_threshold() != thresholds) is is_wanted
    care.end()
    assert thresholds == gc.get_threshold()
    assert gc.get_freeze_count() <= frozen
