"""More connections than one pair of addresses has ports for."""

from __future__ import annotations

import argparse
import ipaddress
import socket
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.load.credentials import TlsContexts
from ampswarm.load.paths import MAX_PORTS, Paths, is_own, own_addresses, read_addresses, read_ports
from ampswarm.load.transport import ConnectFailed, Connector, Resolver
from ampswarm.ocppj.identity import Endpoint
from tests.fakes.peer import ScriptedPeer, read_request, upgraded
from tests.load.test_transport import client_context


def test_addresses_and_networks() -> None:
    """In the order in which they are written, each once."""
    assert read_addresses("") == ()
    assert read_addresses("127.0.1.8/30, 10.0.0.7,127.0.1.9,::1") == ("127.0.1.9", "127.0.1.10", "10.0.0.7", "::1")
    assert read_addresses("10.0.0.7/32") == ("10.0.0.7",)


def test_ports_and_ranges() -> None:
    """As a proxy listens on them."""
    assert read_ports("") == ()
    assert read_ports("443, 9001-9003,9002") == (443, 9001, 9002, 9003)


@pytest.mark.parametrize("text", ["x", "10.0.0.0/8", "1.2.3.4-9", "10.0.0.0/20,10.1.0.0/20"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """In a line that says so, and not when the first connection is made."""
    with pytest.raises(argparse.ArgumentTypeError):
        read_addresses(text)


@pytest.mark.parametrize("text", ["0", "65536", "9-8", "-5", "5-", "a", "1-2000", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    """As above."""
    with pytest.raises(argparse.ArgumentTypeError):
        read_ports(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is in a variable, it is a line of an error and no traceback."""
    for read in (read_addresses, read_ports):
        try:
            found = read(text)
        except argparse.ArgumentTypeError:
            continue
        assert len(found) <= 4 * MAX_PORTS


def test_the_addresses_of_this_host_are_those_that_others_reach() -> None:
    """`auto` takes neither the loopback's nor any that only a link knows."""
    for each in own_addresses():
        assert not ipaddress.ip_address(each).is_loopback
        assert is_own(each)
    assert is_own("127.0.0.9")
    assert not is_own("192.0.2.1")


def test_connections_take_turns_over_sources_and_ports() -> None:
    """All pairs are used alike; an address of another family is left out."""
    seen: Counter[tuple[str, int]] = Counter()

    def script(sock: socket.socket) -> None:
        seen[sock.getpeername()[0], sock.getsockname()[1]] += 1
        sock.sendall(upgraded(read_request(sock)))
        sock.recv(100)

    with ExitStack() as opened:
        peers = [opened.enter_context(ScriptedPeer(script)) for _ in range(2)]
        ports = tuple(peer.port for peer in peers)
        paths = Paths(("127.0.0.2", "127.0.0.3", "::1"), ports)
        connector = Connector(Resolver(), TlsContexts(lambda: client_context(None)), 5.0, paths)
        for _ in range(12):
            connector.connect(Endpoint("ws", "127.0.0.1", 9, "/ocpp"), "CP1").close(5.0)
    assert seen == {(address, port): 3 for address in ("127.0.0.2", "127.0.0.3") for port in ports}


def test_an_address_of_somebody_else_is_told() -> None:
    """A master's list may not fit a worker's host."""
    connector = Connector(Resolver(), TlsContexts(lambda: client_context(None)), 5.0, Paths(("192.0.2.1",)))
    with pytest.raises(ConnectFailed, match="(?i)cannot assign requested address"):
        connector.connect(Endpoint("ws", "127.0.0.1", 9, "/ocpp"), "CP1")
