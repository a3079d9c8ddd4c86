"""How many sockets lead where, and whose fault it was that there was no other."""

from __future__ import annotations

import errno

import pytest

from ampswarm.load.socket_census import SocketCensus

ADDRESS = ("127.0.0.1", 80)


def test_what_was_closed_is_forgotten() -> None:
    """A fleet that connects to ever new addresses must not fill the memory."""
    census = SocketCensus()
    census.by_address[ADDRESS] += 2
    census.closed(ADDRESS)
    assert dict(census.by_address) == {ADDRESS: 1}
    census.closed(ADDRESS)
    assert dict(census.by_address) == {}


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (OSError(errno.EMFILE, "too many open files"), 1),
        (OSError(errno.ENFILE, "too many open files in system"), 1),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), 0),
        (ValueError("no address"), 0),
    ],
)
def test_no_file_left_is_the_generator_s_fault(error: Exception, count: int) -> None:
    """And a refused connection is the target's."""
    census = SocketCensus()
    census.note_failure(error)
    assert census.without_file == count


def test_no_port_left_is_told_from_no_ipv6() -> None:
    """Both are EADDRNOTAVAIL; a host without IPv6 has never had a connection there."""
    census = SocketCensus()
    census.note_no_port(errno.EADDRNOTAVAIL, ("::1", 80, 0, 0))
    assert census.without_port == 0
    census.by_address[ADDRESS] += 1
    census.note_no_port(errno.ECONNREFUSED, ADDRESS)
    assert census.without_port == 0
    census.note_no_port(errno.EADDRNOTAVAIL, ADDRESS)
    assert census.without_port == 1
