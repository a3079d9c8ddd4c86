"""What the charge points of one process share."""

from __future__ import annotations

import argparse
import socket
import time
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from locust.env import Environment

from ampswarm.charge_point.security import CertificateUse, Security
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.load import ChargePointUser
from ampswarm.load.fleet import Fleet
from ampswarm.load.identities import LocalPool
from ampswarm.load.options import OPTIONS, InvalidOption
from ampswarm.load.population import Credentials, FleetFile, Population
from tests.fakes import pki
from tests.fakes.peer import ScriptedPeer, read_frame, read_request, upgraded


def new_fleet(security_profile: int = 0) -> Fleet:
    options = argparse.Namespace(**{each.dest: each.default for each in OPTIONS})
    fleet = Fleet(Environment(parsed_options=options), LocalPool())
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


class Town(ChargePointUser):
    """Has a storm that its kinds inherit."""

    abstract = True
    storms: ClassVar[tuple[str, ...]] = ("at=60s kind=network",)


class Kerb(Town):
    """Inherits it."""


class Depot(Town):
    """Inherits it too."""


class Harbour(Town):
    """Has others."""

    storms: ClassVar[tuple[str, ...]] = ("at=90s kind=power", "at=95s kind=herd")


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, [60.0, 90.0, 95.0]),
        (["none"], []),
        (["at=1s kind=herd"], [1.0]),
        (["at=1s kind=herd;at=2s kind=herd"], [1.0, 2.0]),
    ],
)
def test_storms_are_those_of_the_options_or_else_of_the_scenario(
    option: list[str] | None, expected: list[float]
) -> None:
    """Two classes that inherit a storm have one; an option takes its place, and may leave it out."""
    options = argparse.Namespace(**{**{each.dest: each.default for each in OPTIONS}, "storm": option})
    environment = Environment(parsed_options=options, user_classes=[Kerb, Depot, Harbour])
    fleet = Fleet(environment, LocalPool())
    assert [storm.at for storm in fleet.planned_storms()] == expected


def test_a_fault_of_a_scenario_is_told_once_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Ten thousand charge points make it ten thousand times; a run that ends with status 1 says why."""
    fleet = new_fleet()
    for number in range(3):
        fleet.tell_fault("observed", KeyError(number))
    fleet.tell_fault("observed", ValueError("another"))
    assert [record.message.split(";")[0] for record in caplog.records] == ["observed of the scenario raised"] * 2
    assert "KeyError: 0" in caplog.text


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


def fleet_with(credentials: Credentials) -> Fleet:
    fleet = new_fleet()
    fleet._populations = FleetFile((Population("all", 1.0, None, "CP{}", Template(), credentials),))
    return fleet


@pytest.mark.parametrize(
    ("credentials", "flaw"),
    [
        (Credentials(1, passwords={"CP1": "p" * 16}), "fleet file: passwords has no row for the charge point"),
        (Credentials(3, certificates={}), "fleet file: certificates has no row for the charge point"),
        (
            Credentials(3, certificate="/none/{identity}.pem", private_key="/none/x"),
            "fleet file: a certificate, key or CA file cannot be used",
        ),
        (Credentials(0, ca_file=Path("/none/ca.pem")), "fleet file: a certificate, key or CA file cannot be used"),
        (
            Credentials(0, manufacturer_ca_file=Path("/none/ca.pem")),
            "fleet file: a certificate, key or CA file cannot be used",
        ),
    ],
)
def test_who_lacks_its_credentials_has_a_flaw_and_the_log_says_so_once(
    credentials: Credentials, flaw: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On a worker whose disk lacks the files, a thousand charge points must neither fill its log nor connect."""
    fleet = fleet_with(credentials)
    equipped = [fleet.equip(number) for number in range(2, 1002)]
    assert {(security, said) for _, security, said in equipped} == {(None, flaw)}
    assert len(caplog.messages) == 1
    assert flaw in caplog.messages[0]
    fleet.configure()
    fleet._populations = FleetFile((Population("all", 1.0, None, "CP{}", Template(), credentials),))
    fleet.equip(2)
    # The next test says it anew.
    assert len(caplog.messages) == 2


def test_who_is_in_the_list_has_no_flaw() -> None:
    """The others of its population connect as they should."""
    fleet = fleet_with(Credentials(1, passwords={"CP1": "p" * 16}))
    _, security, flaw = fleet.equip(1)
    assert flaw == ""
    assert security is not None
    assert security.authorization("CP1") == "Basic Q1AxOnBwcHBwcHBwcHBwcHBwcHA="


def test_a_certificate_that_has_expired_meanwhile_is_a_flaw(tmp_path: Path) -> None:
    """A charge point shows none that is not valid (A02.FR.08): it would try to sign in without."""
    now = time.time()
    authority = pki.Authority("Test CA", now)
    key = pki.new_key()
    (tmp_path / "key.pem").write_text(pki.key_pem(key))
    credentials = Credentials(3, certificate=f"{tmp_path}/own.pem", private_key=f"{tmp_path}/key.pem")
    flaws = []
    for ends in (now - 1, now + 60):
        (tmp_path / "own.pem").write_text(pki.pem(authority.issue(key.public_key(), begins=now - 9, ends=ends)))
        flaws.append(fleet_with(credentials).equip(1)[2])
    assert flaws == ["fleet file: a certificate, key or CA file cannot be used", ""]


def test_the_roots_of_a_charge_point_come_from_its_population_s_files(tmp_path: Path) -> None:
    """Whitepaper 6.3: the operator's root and the manufacturer's are two; one tuple of each for the whole fleet."""
    now = time.time()
    operator, maker = pki.Authority("Operator", now), pki.Authority("Maker", now)
    (tmp_path / "ca.pem").write_text(operator.pem)
    (tmp_path / "maker.pem").write_text(maker.pem)
    fleet = fleet_with(Credentials(0, ca_file=tmp_path / "ca.pem", manufacturer_ca_file=tmp_path / "maker.pem"))
    first, second = (fleet.equip(number)[1] for number in (1, 2))
    assert first is not None
    assert second is not None
    assert [root.der for root in first.central_system_roots] == [pki.der(operator.certificate)]
    assert [len(first.installed(use)) for use in CertificateUse] == [1, 1]
    signer = pki.pem(maker.issue(pki.new_key().public_key()))
    assert first.verify_firmware_certificate(signer, now).value == "Accepted"
    assert first._roots[1] is second._roots[1]
