"""What the charge points of one process share."""

from __future__ import annotations

import argparse
import socket
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from ampswarm.charge_point.security import Security
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.load.fleet import Fleet
from ampswarm.load.identities import LocalPool
from ampswarm.load.options import OPTIONS, InvalidOption
from ampswarm.load.population import Credentials, FleetFile, Population
from tests.fakes.peer import ScriptedPeer, read_frame, read_request, upgraded


def new_fleet(security_profile: int = 0) -> Fleet:
    options = argparse.Namespace(**{each.dest: each.default for each in OPTIONS})
    environment: Any = SimpleNamespace(events=SimpleNamespace(request=None), parsed_options=options)
    fleet = Fleet(environment, LocalPool())
    credentials = Credentials(security_profile) if security_profile else None
    fleet._populations = FleetFile((Population("all", 1.0, None, "CP{}", Template(), credentials),))
    return fleet


def test_the_charge_points_of_one_burst_start_evenly_over_the_second() -> None:
    """Locust spawns a second's users in one instant; a connect time measured then would be our own queue."""
    fleet = new_fleet()
    for burst in (10, 100, 1000):
        starts = sorted(fleet.start_delay() for _ in range(burst))
        gaps = [later - earlier for earlier, later in pairwise([0.0, *starts, 1.0])]
        assert starts[0] >= 0
        assert starts[-1] < 1
        assert max(gaps) < 3 / burst


def test_the_workers_of_a_run_do_not_start_in_step() -> None:
    """Twenty workers must not connect twenty charge points in each of the same instants."""
    assert len({new_fleet().start_delay() for _ in range(20)}) == 20


@pytest.mark.parametrize("profile", [2, 3])
def test_a_fleet_of_a_profile_with_tls_is_refused_at_an_endpoint_without(profile: int) -> None:
    """Whitepaper 2.1, table 2: found at the start, not in 10,000 failed connections."""
    fleet = new_fleet(profile)
    with pytest.raises(InvalidOption, match=f"^security profile {profile} needs TLS: "):
        fleet.check("ws://cs.example.com/ocpp")
    fleet.check("wss://cs.example.com/ocpp")
    new_fleet(1).check("wss://cs.example.com/ocpp")
    new_fleet(1).check("ws://cs.example.com/ocpp")


def test_a_charge_point_connects_with_the_password_that_it_has_now() -> None:
    """A01: the second connection of the same charge point has the new one."""
    headers: list[bytes] = []

    def script(sock: socket.socket) -> None:
        request = read_request(sock)
        headers.extend(line for line in request.split(b"\r\n") if line.startswith(b"Authorization: "))
        sock.sendall(upgraded(request))
        read_frame(sock)

    fleet = new_fleet(1)
    security = Security(1, password=b"first")

    def charge_point(identity: str, security: Security | None) -> ChargePoint:
        return ChargePoint(identity, Template(), unique_ids=fleet.unique_ids, random=fleet.random, security=security)

    first = charge_point("CP1", security)
    with ScriptedPeer(script) as peer:
        url = f"ws://127.0.0.1:{peer.port}/ocpp"
        fleet.connect(url, first, 0.0).close(5)
        security.change_password(b"second")
        fleet.connect(url, first, 0.0).close(5)
    assert headers == [b"Authorization: Basic Q1AxOmZpcnN0", b"Authorization: Basic Q1AxOnNlY29uZA=="]
