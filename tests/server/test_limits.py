"""Limits, against a clock that the tests turn."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.limits import MAX_REFUSED, MAX_RETRY_AFTER, Admission, Overload, Place, TokenBucket, TrustedProxies

ADDRESSES = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"])


@given(
    rate=st.floats(0.1, 1000),
    burst=st.floats(1, 1000),
    pauses=st.lists(st.floats(-1, 5), max_size=200),
)
def test_no_more_than_the_rate_and_one_burst_get_through(rate: float, burst: float, pauses: list[float]) -> None:
    """Whatever the rhythm, and however the clock steps: a client cannot get more than it is given."""
    bucket = TokenBucket(rate, burst, 0.0)
    now, forward, taken = 0.0, 0.0, 0
    for pause in pauses:
        now += pause
        forward += max(0.0, pause)
        taken += bucket.take(now)
    assert taken <= burst + rate * forward + 1e-6


@given(rate=st.integers(1, 100))
def test_who_keeps_to_the_rate_always_gets_through(rate: int) -> None:
    """A limit must not hurt those who stay within it."""
    bucket = TokenBucket(rate, 1, 0.0)
    assert all(bucket.take(number * 1.001 / rate) for number in range(100))


@given(rate=st.floats(0.1, 1000), pauses=st.lists(st.floats(0, 5), min_size=1, max_size=300))
def test_nobody_is_sent_away_for_longer_than_a_minute(rate: float, pauses: list[float]) -> None:
    """However many were refused before, and never for no time at all."""
    bucket = TokenBucket(rate, 1, 0.0)
    now = 0.0
    for pause in pauses:
        now += pause
        assert 1 <= bucket.retry_after(now) <= MAX_RETRY_AFTER


def test_those_that_are_refused_together_are_told_to_come_back_one_after_the_other() -> None:
    """Or a fleet of thousands would be refused again, all in the same second."""
    bucket = TokenBucket(10, 1, 0.0)
    waits = [bucket.retry_after(0.0) for _ in range(100)]
    assert sorted(waits) == waits
    assert [waits[0], waits[-1]] == [1, 10]


@given(st.lists(st.tuples(st.integers(0, 3), ADDRESSES), max_size=200), st.integers(0, 5), st.integers(0, 3))
def test_limits_hold_and_nothing_is_left_behind(
    steps: list[tuple[int, str]], connections: int, per_address: int
) -> None:
    """Connections come, say whose they are, and go, in any order: the counts are right, and in the end empty."""
    admission = Admission(connections, per_address)
    places: list[Place] = []
    for step, address in steps:
        if step == 0 and places:
            places.pop().leave()
        elif step == 1 and places:
            places[0].belongs_to(address)
        else:
            place = admission.enter(None if step == 2 else address)
            assert place is not None
            places.append(place)
        admitted = [each for each in places if each.overload is None]
        assert admission.total == len(admitted)
        assert admission.addresses <= len(admitted)
        if connections:
            assert admission.total <= connections
    for place in places:
        place.leave()
        place.leave()
    assert (admission.total, admission.addresses) == (0, 0)
    assert (first := admission.enter("192.0.2.1")) is not None
    assert first.overload is None


def test_an_ipv6_client_is_its_whole_network() -> None:
    """It has 2**64 addresses to come from; and an IPv4 address is the same one when IPv6 carries it."""
    admission = Admission(0, 1)
    addresses = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.1"]
    places = [admission.enter(address) for address in addresses]
    overloads = [place.overload for place in places if place is not None]
    assert overloads == [None, Overload.ADDRESS, None, None, Overload.ADDRESS]


def test_only_so_many_wait_to_be_refused() -> None:
    """A flood beyond all limits is cut off: even saying no takes memory."""
    admission = Admission(1, 0)
    assert admission.enter("192.0.2.1") is not None
    refused = [admission.enter("192.0.2.1") for _ in range(MAX_REFUSED + 5)]
    assert refused.count(None) == 5
    for place in refused:
        if place is not None:
            place.leave()
    assert admission.enter("192.0.2.1") is not None


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "192.0.2.1", "203.0.113.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.2.3.4", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1:5555", "192.0.2.1"),
        ("10.0.0.1", "[2001:db8::1]:5555, fd00::2", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1, <script>", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_forwarded_address_is_believed_of_trusted_proxies_only(peer: str, forwarded: str, client: str) -> None:
    """Anybody can write X-Forwarded-For; what counts is what the nearest trusted proxy saw."""
    proxies = TrustedProxies([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")])
    assert client == proxies.client(peer, forwarded)


@given(st.text(max_size=200), st.ip_addresses())
def test_no_header_gets_through_a_proxy_s_word(forwarded: str, peer: ipaddress.IPv4Address) -> None:
    """Whatever stands in it: an address comes out, and for strangers their own."""
    proxies = TrustedProxies([ipaddress.ip_network("10.0.0.0/8")])
    client = proxies.client(str(peer), forwarded)
    if not proxies.trusts(str(peer)):
        assert str(peer) == client
    ipaddress.ip_address(client)
