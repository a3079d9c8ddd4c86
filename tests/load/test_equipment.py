"""Passwords and certificates of a fleet, looked at before the first connection: one line for the first that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from ampswarm.load.equipment import check_lists, check_paths
from ampswarm.load.fleet_file import FleetSource, InvalidFleetFile, load_fleet_file
from ampswarm.load.population import FleetFile
from tests.fakes import pki

NOW = time.time()
TEMPLATED = """
[[populations]]
name = "a"
{more}
[populations.security]
profile = 3
certificate = "{{identity}}.pem"
private_key = "{{identity}}.key"
"""
CSV_HEAD = "identity,certificate,private_key\n"


@pytest.fixture(scope="module")
def ca() -> pki.Authority:
    """The operator's CA."""
    return pki.Authority("Test CA", NOW)


def equip(
    ca: pki.Authority, folder: Path, *numbers: int, begins: float | None = None, ends: float | None = None
) -> None:
    """Give charge points certificates of their own."""
    for number in numbers:
        key = pki.new_key()
        certificate = ca.issue(key.public_key(), f"CP{number:06d}", begins=begins, ends=ends)
        (folder / f"CP{number:06d}.pem").write_text(pki.pem(certificate))
        (folder / f"CP{number:06d}.key").write_text(pki.key_pem(key))


def fleet(text: str, folder: Path, files: dict[str, str] | None = None) -> FleetFile:
    return FleetSource(text, "fleet.toml", str(folder), files or {}).parse()


def complaint(made: FleetFile, users: int | None = None) -> str:
    with pytest.raises(InvalidFleetFile) as caught:
        check_paths(made, "fleet.toml", users)
    return str(caught.value)


def test_every_certificate_of_a_fleet_of_known_size_is_read(ca: pki.Authority, tmp_path: Path) -> None:
    """The last of the counts, or of --users, is as important as the first; those beyond --users are not asked for."""
    equip(ca, tmp_path, 1, 2, 3)
    (tmp_path / "CP000003.pem").write_text("no PEM")
    broken = (
        "fleet.toml: populations[1].security.certificate: "
        f"{tmp_path}/CP000003.pem and {tmp_path}/CP000003.key: no certificate in PEM"
    )
    counted = fleet(TEMPLATED.format(more="count = 3"), tmp_path)
    assert broken == complaint(counted)
    assert check_paths(counted, "fleet.toml", 2) is None
    weighted = fleet(TEMPLATED.format(more=""), tmp_path)
    assert check_paths(weighted, "fleet.toml") is None
    assert broken == complaint(weighted, 3)
    missing = f"fleet.toml: populations[1].security.certificate: {tmp_path}/CP000004.pem: no such file"
    equip(ca, tmp_path, 3)
    assert missing == complaint(counted, 4)


def test_a_missing_key_is_named_as_such(ca: pki.Authority, tmp_path: Path) -> None:
    """Not as the certificate, which is there."""
    equip(ca, tmp_path, 1)
    (tmp_path / "CP000001.key").unlink()
    made = fleet(TEMPLATED.format(more=""), tmp_path)
    assert complaint(made) == f"fleet.toml: populations[1].security.private_key: {tmp_path}/CP000001.key: no such file"


@pytest.mark.parametrize(
    ("begins", "ends", "said"),
    [(NOW - 9, NOW - 5, "has expired"), (NOW + 3600, NOW + 7200, "is not valid yet")],
    ids=["expired", "not valid yet"],
)
def test_a_certificate_must_be_valid_now(
    ca: pki.Authority, tmp_path: Path, begins: float, ends: float, said: str
) -> None:
    """A charge point does not show one that is not (whitepaper A02.FR.08), and would be refused without."""
    equip(ca, tmp_path, 1, begins=begins, ends=ends)
    made = fleet(TEMPLATED.format(more=""), tmp_path)
    assert complaint(made) == f"fleet.toml: populations[1].security.certificate: {tmp_path}/CP000001.pem: {said}"


def test_every_row_of_a_csv_file_is_read(ca: pki.Authority, tmp_path: Path) -> None:
    """Also of charge points that the run does not reach: the file is what the user means to use."""
    equip(ca, tmp_path, 1, 2)
    text = '[[populations]]\nname = "a"\n[populations.security]\nprofile = 3\ncertificates = "c.csv"\n'
    rows = {"c.csv": CSV_HEAD + "CP000001,CP000001.pem,CP000001.key\nCP000002,CP000002.pem,CP000001.key\n"}
    assert complaint(fleet(text, tmp_path, rows), 1) == (
        f"fleet.toml: populations[1].security.certificates: {tmp_path}/CP000002.pem and {tmp_path}/CP000001.key: "
        "the certificate and the private key do not belong together"
    )
    rows["c.csv"] = rows["c.csv"].replace("CP000002.pem,CP000001", "CP000002.pem,CP000002")
    assert check_paths(fleet(text, tmp_path, rows), "fleet.toml", 1) is None


@pytest.mark.parametrize("key", ["ca_file", "manufacturer_ca_file"])
def test_every_ca_file_is_read(ca: pki.Authority, tmp_path: Path, key: str) -> None:
    """Without its CA, a charge point would refuse every central system, or every firmware."""
    file = tmp_path / "ca.pem"
    made = fleet(f'[[populations]]\nname = "a"\nsecurity = {{{key} = "ca.pem"}}\n', tmp_path)
    where = f"fleet.toml: populations[1].security.{key}: {file}: "
    assert where + "no such file" == complaint(made)
    file.write_text("no PEM")
    assert where + "no certificate in PEM" == complaint(made)
    file.write_text(pki.pem(ca.issue(pki.new_key().public_key())))
    assert where + "what signs certificates must be a CA's" == complaint(made)
    file.write_text(pki.Authority("Old", NOW - 10 * pki.DAY, days=9).pem)
    assert where + "no certificate in it is valid now" == complaint(made)
    file.write_text(ca.pem)
    assert check_paths(made, "fleet.toml") is None


@pytest.mark.parametrize(("passes", "read"), [(0.0, None), (6.0, 1), (30.0, 0)])
def test_a_fleet_of_any_size_starts_in_bounded_time(
    ca: pki.Authority, tmp_path: Path, passes: float, read: int | None
) -> None:
    """The user is told how many certificates were read; after that, files must only be there, as far as time goes."""
    equip(ca, tmp_path, 1, 2)
    made = fleet(TEMPLATED.format(more="count = 2"), tmp_path)
    assert read == check_paths(made, "fleet.toml", clock=count(0.0, passes).__next__)
    (tmp_path / "CP000002.pem").write_text("no PEM")
    is_found = check_with(made, count(0.0, passes).__next__).endswith("no certificate in PEM")
    (tmp_path / "CP000002.pem").unlink()
    is_missed = check_with(made, count(0.0, passes).__next__).endswith("CP000002.pem: no such file")
    assert (is_found, is_missed) == (passes < 5, passes < 10)


def check_with(made: FleetFile, clock: Callable[[], float]) -> str:
    """Return what is wrong; empty for nothing."""
    try:
        check_paths(made, "fleet.toml", clock=clock)
    except InvalidFleetFile as error:
        return str(error)
    return ""


def test_one_certificate_for_all_is_read_once(ca: pki.Authority, tmp_path: Path) -> None:
    """A million charge points may share one: that takes no longer than for ten."""
    equip(ca, tmp_path, 1)
    text = TEMPLATED.format(more="count = 100000").replace("{identity}", "CP000001")
    # A second for each that is read: ten would be the most.
    assert check_paths(fleet(text, tmp_path), "fleet.toml", clock=count(0.0, 1.0).__next__) is None


def test_rsa_keys_are_read_as_fast_as_others(tmp_path: Path) -> None:
    """OpenSSL's check of an RSA key takes 40 ms: a fleet of 10,000 would need minutes to start."""
    key = rsa.generate_private_key(65537, 2048)
    certificate = pki.Authority("RSA", NOW).issue(key.public_key())
    rows = [CSV_HEAD]
    for number in range(200):
        (tmp_path / f"{number}.pem").write_text(pki.pem(certificate))
        (tmp_path / f"{number}.key").write_text(pki.key_pem(key))
        rows.append(f"CP{number:06d},{number}.pem,{number}.key\n")
    text = '[[populations]]\nname = "a"\n[populations.security]\nprofile = 3\ncertificates = "c.csv"\n'
    # 0.1 s without the check, and 16 s with it, for which there is no time.
    assert check_paths(fleet(text, tmp_path, {"c.csv": "".join(rows)}), "fleet.toml", 1) is None


LISTED = """
[[populations]]
name = "open"
weight = 2
[[populations]]
name = "closed"
weight = 1
[populations.security]
profile = {profile}
passwords = "p.csv"
certificate = "x{{identity}}"
private_key = "y"
"""


def test_whoever_needs_a_password_is_in_the_list(tmp_path: Path) -> None:
    """Otherwise it would connect without one, and the run would measure refusals."""
    made = fleet(LISTED.format(profile=1), tmp_path, {"p.csv": "identity,password\nCP000002,0123456789abcdef\n"})
    check_lists(made, "fleet.toml")
    check_lists(made, "fleet.toml", 4)
    with pytest.raises(InvalidFleetFile) as caught:
        check_lists(made, "fleet.toml", 5)
    assert str(caught.value) == "fleet.toml: populations[2].security.passwords: p.csv: has no row for 'CP000005'"


def test_a_list_for_a_higher_profile_need_not_name_all(tmp_path: Path) -> None:
    """In profiles 0 and 3 nobody is asked for a password: it is there for those that shall be able to use it."""
    for profile in (0, 3):
        rows = {"p.csv": "identity,password\nCP000002,0123456789abcdef\n"}
        check_lists(fleet(LISTED.format(profile=profile), tmp_path, rows), "fleet.toml", 50)


def test_whoever_needs_a_certificate_is_in_the_list(ca: pki.Authority, tmp_path: Path) -> None:
    """Where counts say how many there are, before anything else is said."""
    equip(ca, tmp_path, 1)
    text = '[[populations]]\nname = "a"\ncount = 2\n[populations.security]\nprofile = 3\ncertificates = "c.csv"\n'
    (tmp_path / "c.csv").write_text(CSV_HEAD + "CP000001,CP000001.pem,CP000001.key\n")
    (tmp_path / "fleet.toml").write_text(text)
    with pytest.raises(InvalidFleetFile) as caught:
        load_fleet_file(tmp_path / "fleet.toml")
    assert str(caught.value) == "fleet.toml: populations[1].security.certificates: c.csv: has no row for 'CP000002'"
