"""Losing the network, losing power, and coming back (J 5.4, core 4.9)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.backoff import Backoff, Growth
from ampswarm.charge_point.events import Online
from ampswarm.charge_point.link import LINK_TRANSITIONS, Link, Trigger
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.session import Failed, Failure
from tests.fakes.scene import Scene


def test_a_lost_network_reconnects_without_a_boot() -> None:
    """J 5.4: a BootNotification only if its content changed. Core 4.9: no status that did not change."""
    scene = Scene()
    scene.boot()
    scene.wait(50)
    scene.lose()
    lost_at = scene.now
    scene.connect()
    assert [Online(since=lost_at, now=scene.now)] == scene.events
    assert scene.charge_point.is_online
    scene.expect_silence()


def test_a_power_cycle_boots_again() -> None:
    """J 5.4, core 4.2: after lost power, boot."""
    scene = Scene()
    scene.boot()
    scene.charge_point.power_off(scene.now)
    assert scene.charge_point.next_deadline() == float("inf")
    assert not scene.charge_point.attempt(scene.now)
    scene.wait(500)
    scene.charge_point.power_on(scene.now)
    switched_on = scene.now
    scene.connect()
    scene.expect("BootNotification")
    scene.wait(1)
    scene.answer(scene.registration("Accepted"))
    assert Online(since=switched_on, now=switched_on + 1) in scene.events
    scene.expect("StatusNotification")


def test_every_retry_is_part_of_the_time_to_be_online() -> None:
    """FLOW / online is what the driver of a car feels: from the loss to the work."""
    scene = Scene()
    scene.boot()
    scene.wait(5)
    lost_at = scene.now
    scene.lose()
    for _ in range(4):
        scene.refuse()
    scene.connect()
    scene.lose()  # it was online at once, so this is a loss of its own
    second_loss = scene.now
    scene.refuse()
    scene.connect()
    online = [event for event in scene.events if isinstance(event, Online)]
    assert [lost_at, second_loss] == [event.since for event in online]


def test_a_status_that_may_not_have_arrived_is_sent_again_after_the_reconnect() -> None:
    """Core 4.9: the central system knows the present status of every connector."""
    scene = Scene(Template(connectors=2))
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    scene.expect("StatusNotification")
    scene.answer({})
    scene.expect("StatusNotification")
    scene.lose()
    scene.connect()
    for connector_id in (1, 2):
        assert connector_id == scene.expect("StatusNotification")["connectorId"]
        scene.answer({})
    scene.expect_silence()


def test_a_heartbeat_that_was_due_while_offline_is_sent_on_return() -> None:
    """Core 4.6: the central system hears of the charge point within the interval where it can."""
    scene = Scene(Template(backoff=Backoff(Growth.FIXED, 1, 90)))
    scene.boot(interval=60)
    scene.lose()
    scene.connect()
    scene.expect("Heartbeat")


def test_any_message_stands_in_for_a_heartbeat_but_one_a_day() -> None:
    """Core 4.6 and 9.1.10: the interval counts inactivity; at least one Heartbeat in 24 h."""
    scene = Scene()
    scene.boot(interval=300)
    heartbeats = []
    while scene.now < 2.5 * 86400:
        deadline = scene.charge_point.next_deadline()
        if deadline > scene.now + 200:
            scene.wait(200)
            scene.command("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 1})
            scene.expect("StatusNotification")
            scene.answer({})
        else:
            scene.wait_until_due()
            scene.expect("Heartbeat")
            heartbeats.append(scene.now)
            scene.answer({"currentTime": scene.time()})
    assert [pytest.approx(each, abs=1) for each in heartbeats] == [86400, 172800]


def test_a_call_without_an_answer_does_not_end_the_connection() -> None:
    """1.6 has no such rule: the Call has failed, and the next one goes out in its time."""
    scene = Scene()
    scene.boot(interval=60)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    assert scene.wait_until_due() == 30
    scene.outstanding = None
    scene.expect_silence()
    assert [event.failure for event in scene.events if isinstance(event, Failed)] == [Failure.TIMED_OUT]
    assert scene.is_open()
    assert not scene.charge_point.is_heard
    assert scene.wait_until_due() == 30
    scene.expect("Heartbeat")
    scene.answer({"currentTime": scene.time()})
    assert scene.charge_point.is_heard


def test_a_central_system_that_refuses_every_call_does_not_serve() -> None:
    """Connected and once accepted is not enough to count as online when the test ends."""
    scene = Scene()
    scene.boot(interval=60)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.answer_error("SecurityError")
    assert scene.charge_point.is_online
    assert not scene.charge_point.is_heard


def test_delays_grow_while_attempts_fail_and_start_again_after_an_answer() -> None:
    """A central system that closes every connection at once must not be asked every second."""
    scene = Scene()
    scene.charge_point.power_on(0.0)
    delays = []
    for _ in range(40):
        scene.connect()
        scene.lose()
        delays.append(scene.charge_point.next_deadline() - scene.now)
    assert max(delays[:3]) <= 8
    assert max(delays) > 45
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    scene.lose()
    assert scene.charge_point.next_deadline() - scene.now <= 2


def test_delays_start_again_after_a_connection_that_lasted() -> None:
    """An hour of quiet connection is as good as an answer."""
    scene = Scene()
    scene.boot(interval=86400)
    for _ in range(20):
        scene.refuse() if scene.charge_point.link is Link.WAITING else scene.lose()
    scene.connect()
    scene.wait(91)
    scene.lose()
    assert scene.charge_point.next_deadline() - scene.now <= 2


def test_retry_after_comes_on_top_of_the_delay() -> None:
    """Retry-After: 500 is honoured, and does not bring a whole fleet back in one instant."""
    scene = Scene()
    scene.charge_point.power_on(0.0)
    scene.refuse(retry_after=500)
    assert 501 <= scene.wait_until_due() <= 502
    scene.refuse(retry_after=0.001)
    assert scene.wait_until_due() >= 1


@given(
    attempt=st.integers(0, 10_000),
    seed=st.integers(),
    minimum=st.floats(0.001, 1000),
    more=st.floats(0, 10_000),
)
def test_delays_keep_within_their_bounds(attempt: int, seed: int, minimum: float, more: float) -> None:
    """The back-off's bounds are what an operator plans with."""
    from random import Random  # noqa: PLC0415

    backoff = Backoff(minimum=minimum, maximum=minimum + more)
    assert minimum <= backoff.delay(attempt, Random(seed)) <= minimum + more
    fixed = Backoff(Growth.FIXED, minimum, minimum + more)
    assert minimum + more == fixed.delay(attempt, Random(seed))


def test_the_delays_of_a_fleet_are_spread_over_the_whole_range() -> None:
    """Full jitter: a fleet that was lost at once does not come back at once."""
    from random import Random  # noqa: PLC0415

    random = Random(5)
    first = [Backoff().delay(0, random) for _ in range(1000)]
    late = [Backoff().delay(9, random) for _ in range(1000)]
    assert max(first) <= 2
    assert sum(1.0 <= delay < 1.1 for delay in first) < 200
    assert sum(delay < 20 for delay in late) > 100
    assert sum(delay > 70 for delay in late) > 100


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 90), (-1, 90), (91, 90)])
def test_impossible_bounds_are_refused(minimum: float, maximum: float) -> None:
    """A delay of 0 would be a denial of service by our own fleet."""
    with pytest.raises(ValueError, match="must be above 0"):
        Backoff(minimum=minimum, maximum=maximum)


def _in_state(link: Link) -> ChargePoint:
    charge_point = Scene().charge_point
    if link is not Link.OFF:
        charge_point.power_on(0.0)
    if link in (Link.CONNECTING, Link.OPEN, Link.CLOSING):
        charge_point.attempt(0.0)
    if link in (Link.OPEN, Link.CLOSING):
        charge_point.opened(0.0)
    if link is Link.CLOSING:
        charge_point.reconnect(1.0)
        charge_point.poll(0.0)
    assert link is charge_point.link
    return charge_point


@pytest.mark.parametrize("link", Link)
@pytest.mark.parametrize("trigger", Trigger)
def test_links_move_as_the_table_says_and_in_no_other_way(link: Link, trigger: Trigger) -> None:
    """An adapter that mixes up its calls is told so, before it reports nonsense."""
    charge_point = _in_state(link)
    if trigger is Trigger.ATTEMPT:
        assert charge_point.attempt(1.0) == (link is Link.WAITING)
        return
    if trigger is Trigger.CLOSE:
        charge_point.reconnect(1.0)
        charge_point.poll(1.0)
        assert charge_point.link is LINK_TRANSITIONS.get((link, trigger), link)
        return
    move = {
        Trigger.POWER_ON: charge_point.power_on,
        Trigger.OPENED: charge_point.opened,
        Trigger.REFUSED: charge_point.refused,
        Trigger.LOST: charge_point.lost,
        Trigger.POWER_OFF: charge_point.power_off,
    }[trigger]
    if (link, trigger) in LINK_TRANSITIONS:
        move(1.0)
        assert LINK_TRANSITIONS[link, trigger] is charge_point.link
    else:
        with pytest.raises(ValueError, match=f"{trigger} while {link}"):
            move(1.0)
