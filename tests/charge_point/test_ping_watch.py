"""The watch on PINGs: finds dead connections, and keeps every living one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.backoff import Backoff
from ampswarm.charge_point.link import CloseReason, Link
from ampswarm.charge_point.ping_watch import PingWatch, PingWatchRule, WatchMode
from ampswarm.charge_point.template import Template
from tests.fakes.scene import Scene


def watch(mode: WatchMode = WatchMode.LEARN, timeout: float = 31.0) -> PingWatch:
    return PingWatch(PingWatchRule(mode, timeout))


@given(
    rhythm=st.floats(0.5, 2900),
    jitter=st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=30),
    chatter=st.booleans(),
)
def test_a_central_system_that_keeps_its_rhythm_loses_no_charge_point(
    rhythm: float, jitter: list[float], chatter: bool
) -> None:
    """Every second or every three quarters of an hour, early or late by a fifth, with traffic or without."""
    pings = watch()
    now = 100.0
    pings.ping(now)
    for early_or_late in jitter:
        if chatter:
            pings.heard(now + rhythm / 2)
        now += rhythm * (1 + early_or_late)
        assert pings.deadline is None or now < pings.deadline
        pings.ping(now)


def test_pings_that_stop_are_noticed_by_the_rhythm_they_had() -> None:
    """One and a half gaps and 5 s after the last sign of life."""
    pings = watch()
    for now in (0.0, 240.0, 480.0):
        pings.ping(now)
    assert pings.deadline == 480 + 1.5 * 240 + 5
    pings.heard(500.0)
    assert pings.deadline == 500 + 1.5 * 240 + 5


def test_the_limit_is_never_shorter_than_the_option() -> None:
    """A burst of PINGs must not make the watch nervous."""
    pings = watch(timeout=31)
    for now in (0.0, 0.1, 0.2):
        pings.ping(now)
    assert pings.deadline == 0.2 + 31


def test_no_ping_no_watch() -> None:
    """Central systems that never ping keep their charge points."""
    pings = watch()
    pings.heard(50.0)
    assert pings.deadline is None


def test_the_first_ping_arms_the_watch_with_a_generous_limit() -> None:
    """There is no rhythm yet, and an hour is longer than any central system's."""
    pings = watch()
    pings.ping(60.0)
    assert pings.deadline == 60 + 3600
    pings.heard(2000.0)
    assert pings.deadline == 2000 + 3600


def test_a_rhythm_that_became_slower_costs_one_connection_and_no_more() -> None:
    """A new release pings every 300 s instead of every 30 s: the watch drops once, and learns."""
    pings = watch()
    now = dropped = 0.0
    for rhythm in (30, 30, 30, 300, 300, 300, 300):
        pings.ping(now)
        now += rhythm
        if pings.deadline is not None and now >= pings.deadline:
            dropped += 1
            pings.missed()
            pings.opened()
    assert dropped == 1
    assert pings.deadline is not None


def test_the_rhythm_is_kept_over_a_reconnect_and_armed_by_the_first_ping() -> None:
    """The second connection is watched from its first PING on, not before."""
    pings = watch()
    pings.ping(0.0)
    pings.ping(60.0)
    pings.opened()
    pings.heard(1000.0)
    assert pings.deadline is None
    pings.ping(1001.0)
    assert pings.deadline == 1001 + 1.5 * 60 + 5


def test_a_central_system_that_pings_idle_connections_may_be_silent_when_there_is_traffic() -> None:
    """picows, among others, pings only after some idle time; an answer is a sign of life too."""
    pings = watch()
    for now in (0.0, 20.0, 40.0):
        pings.ping(now)
    for _ in range(100):  # traffic every 15 s, so no PING at all
        now += 15
        assert pings.deadline is not None
        assert now < pings.deadline
        pings.heard(now)


def test_an_uneven_rhythm_is_a_rhythm() -> None:
    """40 s, 100 s, 40 s, 100 s: the short gap does not make the watch forget the long one."""
    pings = watch()
    now = 0.0
    for gap in (100, 40) * 10:
        pings.ping(now)
        now += gap
        assert pings.deadline is None or now < pings.deadline


def test_one_late_ping_is_forgotten() -> None:
    """A central system that once stalled for 10 minutes must not make the watch blind for the rest of the day."""
    pings = watch()
    now = 0.0
    for gap in (60, 60, 600, *[60] * 8):
        pings.ping(now)
        now += gap
    pings.ping(now)
    assert pings.deadline is not None
    assert pings.deadline - now < 1.5 * 64 + 5


def test_fixed_is_the_original_s_rule() -> None:
    """Once a PING has come, the connection goes when none follows within 31 s, whatever else comes."""
    pings = watch(WatchMode.FIXED)
    assert pings.deadline is None
    pings.ping(10.0)
    pings.heard(30.0)
    assert pings.deadline == 41
    pings.ping(40.0)
    assert pings.deadline == 71


def test_off_is_off() -> None:
    """An option for central systems whose PINGs mean nothing."""
    pings = watch(WatchMode.OFF)
    pings.ping(1.0)
    pings.ping(2.0)
    assert pings.deadline is None


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_timeout_that_would_drop_everything_is_refused(timeout: float) -> None:
    """A mistake in the options is found before the first connection."""
    with pytest.raises(ValueError, match="above 0"):
        PingWatchRule(WatchMode.FIXED, timeout)


def test_a_charge_point_drops_a_dead_connection_and_reconnects() -> None:
    """The whole way: PINGs, silence, close, back-off, and online again without a boot."""
    scene = Scene(Template(ping_watch=PingWatchRule(WatchMode.FIXED, 31.0), backoff=Backoff()))
    scene.boot()
    scene.wait(5)
    scene.charge_point.ping_received(scene.now)
    assert pytest.approx(scene.wait_until_due()) == 31
    scene.expect_silence()
    assert scene.charge_point.link is Link.CLOSING
    assert scene.charge_point.close_reason is CloseReason.PING_MISSING
    scene.lose()
    scene.connect()
    assert scene.charge_point.is_online
    scene.expect_silence()


def test_a_charge_point_without_a_watch_stays() -> None:
    """Mode off: PINGs are answered and forgotten."""
    scene = Scene(Template(ping_watch=PingWatchRule(WatchMode.OFF)))
    scene.boot()
    scene.charge_point.ping_received(scene.now)
    assert scene.wait_until_due() > 200
    scene.expect("Heartbeat")
