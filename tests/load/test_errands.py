"""What arrives at charge points: every arrival once, at its own time, whatever stands in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.arrivals import Dial, Even, Replay, curve
from ampswarm.charge_point.template import Template
from ampswarm.distribution import Fixed
from ampswarm.load.charging_behaviour import EVERYDAY
from ampswarm.load.errands import LOOKS_EVERY, Messages, Share, Tally, Visits
from ampswarm.ocppj.frames import Call
from tests.fakes.scene import Scene


def shares(share: Share, until: float) -> list[float]:
    """Return when its arrivals come, up to a time."""
    times = []
    while share.due <= until:
        times.append(share.due)
        share.step()
    return times


@given(
    st.lists(st.integers(0, 400).map(lambda quarters: quarters / 4), min_size=1, max_size=60),
    st.integers(1, 12),
    st.lists(st.integers(-10, 200).map(lambda quarters: quarters / 4 + 0.125), min_size=12, max_size=12),
)
def test_charge_points_together_are_the_planned_arrivals(times: list[float], size: int, joined: list[float]) -> None:
    """Without anybody who hands them out: each once, but for those from before a charge point was there."""
    arrivals = Replay(times)
    expected = [at for index, at in enumerate(sorted(times)) if at > joined[index % size]]
    found = [
        at
        for number in range(1, size + 1)
        for at in shares(Share(arrivals, 1000.0, number, size, 1000.0 + joined[number - 1]), 2000.0)
    ]
    assert sorted(found) == pytest.approx([1000.0 + at for at in expected])


class Busy(Scene):
    """A charge point in service to which messages arrive, and a central system that answers when told to."""

    def __init__(self, *times: float, action: str = "Heartbeat") -> None:
        super().__init__()
        self.boot()
        self.tally = Tally()
        self.errand = Messages(self.charge_point, Share(Replay(times), self.now, 1, 1, self.now), action, self.tally)
        self.began = self.now

    def at(self, elapsed: float) -> list[str]:
        """Let it be so late; return what goes out."""
        self.now = self.began + elapsed
        if self.errand.deadline <= self.now:
            self.errand.act(self.now)
        return [sent.action for sent in self.sends() if isinstance(sent, Call)]


def test_a_message_behind_an_outstanding_call_keeps_its_due_time() -> None:
    """The queue that a slow target makes is in DUE, and moves no later arrival."""
    scene = Busy(1.0, 1.5, 2.0)
    assert scene.at(0.9) == []
    assert scene.at(1.0) == ["Heartbeat"]
    assert scene.at(1.6) == []
    assert scene.at(4.0) == []
    assert scene.tally.waiting == 3
    due = []
    for elapsed in (5.0, 5.1, 5.2):
        scene.now = scene.began + elapsed
        scene.serve()
        due += [event for event in scene.events if hasattr(event, "due")]
        scene.events.clear()
    assert [event.due - scene.began for event in due] == pytest.approx([1.0, 1.5, 2.0])
    assert scene.tally.take() == [3, 3, 0, 0, 0]


def test_what_arrives_offline_goes_out_later_with_its_due_time() -> None:
    """An absence of the network is no excuse: the arrival was planned, and waited."""
    scene = Busy(1.0, 2.0, action="MeterValues")
    scene.lose()
    assert scene.at(3.0) == []
    assert [each.due - scene.began for each in scene.charge_point.planned() if each.due is not None] == [1.0, 2.0]
    assert scene.tally.waiting == 2


def test_what_missed_its_turn_is_told_at_the_end() -> None:
    """A test that ends hides no message that was due for long; one that was just due is no failure."""
    scene = Busy(1.0, 2.0, 7.9, 100.0)
    scene.at(1.0)
    scene.at(8.0)
    ((action, seconds),) = scene.errand.end(scene.now)
    assert action == "Heartbeat"
    assert seconds == pytest.approx(6.0)
    assert scene.tally.take() == [3, 0, 0, 3, 0]
    # The answer comes after all.
    scene.serve()
    assert scene.tally.take() == []


def test_an_adjustable_rate_is_looked_at_all_the_time() -> None:
    """A charge point without any arrival must see that the rate was raised."""
    scene, dial, tally = Busy(1.0), Dial(), Tally()
    now = scene.now
    errand = Messages(scene.charge_point, Share(dial, now, 1, 1, now), "DataTransfer", tally, is_adjustable=True)
    assert errand.deadline <= now
    errand.act(now)
    assert errand.deadline == now + LOOKS_EVERY
    dial.set(2.0, 10.0)
    errand.act(now + 1.0)
    assert errand.deadline == pytest.approx(now + 2.0)
    dial.set(2.0, 2.0)
    errand.act(now + 2.0)
    assert errand.deadline == pytest.approx(now + 2.25)
    errand.act(now + 2.25)
    assert tally.handed == 1


def test_drivers_come_to_free_connectors_and_drive_on_from_busy_ones() -> None:
    """As planned, and not when their charge point's own drivers would have come."""
    scene = Scene(Template(connectors=2))
    scene.boot()
    behaviour = replace(EVERYDAY, duration=Fixed(3600.0), acceleration=1.0)
    tally, now = Tally(), scene.now
    visits = Visits(scene.charge_point, Share(Replay([1.0, 2.0, 3.0]), now, 1, 1, now), behaviour, tally, now)
    assert visits.deadline == now + 1.0
    visits.act(now + 1.0)
    assert scene.charge_point.charging(now).connector(1).is_plugged
    visits.act(now + 3.0)
    assert scene.charge_point.charging(now).connector(2).is_plugged
    assert tally.take() == [3, 2, 0, 0, 1]
    assert visits.end(now) == []
    assert now + 3.0 < visits.deadline < now + 20.0


def test_the_counts_of_workers_add_up() -> None:
    """What a worker took, and nothing twice."""
    mine, everybody = Tally(), Tally()
    mine.handed, mine.answered, mine.lost = 5, 2, 1
    everybody.add(mine.take())
    everybody.add([1, 0, 0, 1, 0])
    assert mine.take() == []
    assert (everybody.handed, everybody.waiting) == (6, 2)
    with pytest.raises(ValueError, match="unpack"):
        everybody.add([1])


def test_an_endless_plan_has_a_share_for_everybody() -> None:
    """One of a thousand at 10/s has an arrival every 100 s."""
    share = Share(Even(curve.constant(10.0)), 0.0, 7, 1000, 0.0)
    assert shares(share, 150.0) == pytest.approx([0.65, 100.65])
