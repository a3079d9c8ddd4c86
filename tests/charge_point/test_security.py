"""The security whitepaper on the charge point's side: passwords, profiles, certificates, events."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64decode
from itertools import combinations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ampswarm.charge_point.certificates import Credential, read_credential, read_root
from ampswarm.charge_point.configuration import ConfigurationStatus
from ampswarm.charge_point.security import (
    PROFILE_ATTEMPTS,
    CertificateUse,
    DeleteStatus,
    FirmwareCertificateStatus,
    InstallStatus,
    Security,
    SecurityEvent,
    SignedStatus,
    parse_authorization_key,
    security_event_notification,
)
from ampswarm.charge_point.security_commands import (
    certificate_signed,
    change_security_setting,
    connection_refused,
    delete_certificate,
    get_installed_certificate_ids,
    install_certificate,
    is_security_key,
    sign_certificate,
)
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate
from tests.fakes import pki
from tests.fakes.secured_station import SecuredStation

UTC = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""
CPO = "Volt & Co"
KEY = "000102030405060708090A0B0C0D0E0F10111213"
CENTRAL, MAKER = CertificateUse.CENTRAL_SYSTEM_ROOT, CertificateUse.MANUFACTURER_ROOT
NEEDS = ("password", "root", "certificate")
RECONFIGURED = SecurityEvent.RECONFIGURATION_OF_SECURITY_PARAMETERS
INVALID = SecurityEvent.INVALID_CHARGE_POINT_CERTIFICATE


@pytest.fixture(scope="module")
def cpo() -> pki.Authority:
    """The root of the charge point operator's hierarchy."""
    return pki.Authority("CPO root", UTC)


def credential(authority: pki.Authority, begins: float = UTC - pki.DAY, days: float = 365) -> Credential:
    key = pki.new_key()
    certificate = authority.issue(key.public_key(), begins=begins, ends=begins + days * pki.DAY)
    return read_credential(pki.pem(certificate), pki.key_pem(key))


def secured(*roots: pki.Authority, profile: int = 0, own: Credential | None = None) -> Security:
    return Security(profile, credential=own, central_system_roots=tuple(read_root(each.pem) for each in roots))


def install(security: Security, pem: str, use: CertificateUse = CENTRAL, **options: bool) -> InstallStatus:
    return security.install(use, pem, UTC, max_length=4, replaces=options.get("replaces", False))


# -- what a fleet without security pays -----------------------------------------------------------


def test_a_fleet_without_certificates_does_not_load_cryptography() -> None:
    """It takes some 10 MiB of every worker, for nothing."""
    program = (
        "import sys; import ampswarm.charge_point.security_commands; "
        "from ampswarm.charge_point.security import Security; "
        "s = Security(1, password=b'x' * 16); s.authorization('CP1'); s.check_profile(2, 0.0); s.opened(); "
        "s.refused(); s.credential(0.0); s.renewal_due; print('cryptography' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout == "False\n"


# -- passwords ------------------------------------------------------------------------------------


def test_the_password_goes_out_as_bytes() -> None:
    """J 6.2.2's own example: identity AL1000 and the key 0001020304050607FFFFFF…."""
    password = parse_authorization_key("0001020304050607FFFFFFCCCCCCCCCCCC".ljust(40, "0"))
    header = Security(1, password=password).authorization("AL1000")
    assert header is not None
    assert header.startswith("Basic QUwxMDAwOgABAgMEBQYH////")
    assert bytes.fromhex("0001020304050607FFFFFFCCCCCCCCCCCC000000") == b64decode(header[6:]).partition(b":")[2]


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ("00" * 15, False),
        ("00" * 16, True),
        ("aB" * 20, True),
        ("00" * 21, False),
        ("0" * 33, False),
        ("0" * 38 + "0x", False),
        ("0" * 38 + "  ", False),
        ("٠" * 32, False),
        ("a password of 20 chr", False),
        ("", False),
    ],
)
def test_an_authorization_key_is_16_to_20_bytes_in_hexadecimal(value: str, is_good: bool) -> None:
    """A00.FR.205, whitepaper 7.2."""
    assert is_good == (parse_authorization_key(value) is not None)
    station = SecuredStation(UTC)
    expected = ConfigurationStatus.ACCEPTED if is_good else ConfigurationStatus.REJECTED
    assert expected == change_security_setting(station, "AuthorizationKey", value, 0.0)


@pytest.mark.parametrize(("profile", "has_header"), [(0, False), (1, True), (2, True), (3, False)])
def test_only_profiles_with_basic_authentication_send_the_password(profile: int, has_header: bool) -> None:
    """Whitepaper 2.1, table 2: a password must not go out where none is asked for."""
    assert has_header == (Security(profile, password=b"p" * 16).authorization("CP1") is not None)
    assert Security(profile).authorization("CP1") is None


def test_a_new_password_is_used_from_the_next_connection_on() -> None:
    """A01: Accepted, disconnected, connected with the new one; the log tells the key's name, never its value."""
    station = SecuredStation(UTC, {"SecurityProfile": "1", "AuthorizationKey": "ff" * 20})
    before = station.security.authorization("CP1")
    assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "authorizationKEY", KEY, 0.0)
    after = station.security.authorization("CP1")
    assert before is not None
    assert after is not None
    assert b64decode(after[6:]) == b"CP1:" + bytes.fromhex(KEY)
    assert b64decode(before[6:]) == b"CP1:" + b"\xff" * 20
    assert station.reconnects == 1
    assert station.events == [(RECONFIGURED, "AuthorizationKey")]
    assert all(KEY.lower() not in text.lower() for text in (repr(station.security), str(station.configuration.get())))


def test_a_password_that_is_not_in_use_cuts_no_connection() -> None:
    """A01 is about a profile with Basic authentication; before, the password is only prepared (A05)."""
    for profile in ("0", "3"):
        station = SecuredStation(UTC, {"SecurityProfile": profile})
        assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "AuthorizationKey", KEY, 0.0)
        assert station.reconnects == 0


def test_a_rejected_password_changes_nothing() -> None:
    """A01, failure postcondition: the old credentials stay in use."""
    station = SecuredStation(UTC, {"SecurityProfile": "1", "AuthorizationKey": KEY})
    before = station.security.authorization("CP1")
    assert ConfigurationStatus.REJECTED is change_security_setting(station, "AuthorizationKey", "short", 0.0)
    assert before == station.security.authorization("CP1")
    assert (station.reconnects, station.events) == (0, [])


def test_the_security_keys_are_known_in_any_case() -> None:
    """A key is a CiString50Type (core 6.9)."""
    assert all(is_security_key(name) for name in ("AuthorizationKey", "CPONAME", "securityprofile"))
    assert not is_security_key("HeartbeatInterval")


def test_the_cpo_name_is_changed_as_any_key() -> None:
    """Whitepaper 7.5; a name that no certificate can hold is Rejected."""
    station = SecuredStation(UTC)
    assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "CpoName", CPO, 0.0)
    assert station.configuration.text("CpoName") == CPO
    assert ConfigurationStatus.REJECTED is change_security_setting(station, "CpoName", "x" * 65, 0.0)
    assert station.events == [(RECONFIGURED, "CpoName")]
    assert station.reconnects == 0


# -- profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("has", [frozenset(each) for size in range(4) for each in combinations(NEEDS, size)])
@pytest.mark.parametrize("new", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("present", [0, 1, 2, 3])
def test_a_profile_is_only_raised_and_only_with_what_it_needs(
    cpo: pki.Authority, present: int, new: int, has: frozenset[str]
) -> None:
    """A05.FR.01 to 05, as a table of what each profile needs."""
    needs = {1: {"password"}, 2: {"password", "root"}, 3: {"root", "certificate"}}
    security = Security(
        present,
        password=b"p" * 16 if "password" in has else None,
        central_system_roots=(read_root(cpo.pem),) if "root" in has else (),
        credential=credential(cpo) if "certificate" in has else None,
    )
    expected = new > present and new in needs and needs[new] <= has
    assert expected == security.check_profile(new, UTC)


def test_what_has_expired_does_not_count(cpo: pki.Authority) -> None:
    """A05.FR.03 and A05.FR.04: no *valid* certificate is none."""
    own = credential(cpo, days=10)
    security = secured(cpo, own=own)
    assert security.check_profile(3, own.not_after)
    assert not security.check_profile(3, own.not_after + 1)
    assert not secured(cpo, own=credential(cpo, UTC, 9999)).check_profile(3, UTC + 3651 * pki.DAY)


def test_a_higher_profile_is_taken_with_the_next_connection(cpo: pki.Authority) -> None:
    """A05: Accepted, disconnected, connected with it; once that worked there is no way back."""
    station = SecuredStation(UTC, {"AuthorizationKey": KEY})
    assert ConfigurationStatus.REJECTED is change_security_setting(station, "SecurityProfile", "2", 0.0)
    assert (station.reconnects, station.events, station.security.profile) == (0, [], 0)
    assert InstallStatus.ACCEPTED is install(station.security, cpo.pem)
    assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "SecurityProfile", "2", 0.0)
    assert station.configuration.text("SecurityProfile") == "2"
    assert (station.reconnects, station.security.profile) == (1, 2)
    assert station.events == [(RECONFIGURED, "SecurityProfile")]
    station.security.opened()
    for _ in range(10):
        connection_refused(station, 0.0)
    assert station.security.profile == 2
    assert ConfigurationStatus.REJECTED is change_security_setting(station, "SecurityProfile", "1", 0.0)


def test_a_profile_that_does_not_connect_is_given_up() -> None:
    """A05.FR.08: or the charge point would be out of reach for good."""
    station = SecuredStation(UTC, {"AuthorizationKey": KEY})
    assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "SecurityProfile", "1", 0.0)
    for attempt in range(1, PROFILE_ATTEMPTS):
        connection_refused(station, 0.0)
        assert station.security.profile == 1, attempt
    connection_refused(station, 0.0, event=SecurityEvent.FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM, tech_info="HTTP 401")
    assert (station.security.profile, station.configuration.text("SecurityProfile")) == (0, "0")
    assert station.events[1:] == [
        (SecurityEvent.FAILED_TO_AUTHENTICATE_AT_CENTRAL_SYSTEM, "HTTP 401"),
        (RECONFIGURED, "back to security profile 0"),
    ]
    # It may be tried again.
    assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "SecurityProfile", "1", 0.0)


def test_it_falls_back_to_the_last_profile_that_worked(cpo: pki.Authority) -> None:
    """A05.FR.08: raised twice before it could connect, it must not end at one that never did."""
    station = SecuredStation(UTC, {"AuthorizationKey": KEY})
    install(station.security, cpo.pem)
    for profile in ("1", "2"):
        assert ConfigurationStatus.ACCEPTED is change_security_setting(station, "SecurityProfile", profile, 0.0)
    for _ in range(PROFILE_ATTEMPTS):
        connection_refused(station, 0.0)
    assert station.security.profile == 0


# -- the charge point's certificate ---------------------------------------------------------------


def signing_station(cpo: pki.Authority, profile: str = "0") -> SecuredStation:
    station = SecuredStation(UTC, {"CpoName": CPO, "SecurityProfile": profile})
    install(station.security, cpo.pem)
    return station


def request(station: SecuredStation) -> str:
    """Have it ask for a certificate; return the CSR."""
    assert sign_certificate(station, 0.0)
    action, payload = station.calls[-1]
    assert action == "SignCertificate"
    csr: str = payload["csr"]
    return csr


def deliver(station: SecuredStation, chain: str) -> str:
    answer = certificate_signed(station, {"certificateChain": chain}, 0.0)
    validate("CertificateSigned", Direction.CONF, answer)
    status: str = answer["status"]
    return status


def test_a_certificate_is_asked_for_delivered_and_used(cpo: pki.Authority) -> None:
    """A02 from end to end: with profile 3, the connection is made anew with it (A02.FR.08)."""
    for profile, reconnects in (("0", 0), ("3", 1)):
        station = signing_station(cpo, profile)
        chain = cpo.sign(request(station))
        assert deliver(station, chain) == "Accepted"
        own = station.security.credential(UTC)
        assert own is not None
        assert (pki.der(x509.load_pem_x509_certificate(chain.encode())),) == own.chain
        assert station.reconnects == reconnects
        assert station.events == [(RECONFIGURED, "charge point certificate")]
        assert deliver(station, chain) == "Rejected", "it is asked for once"


def test_without_a_cpo_name_nothing_is_asked_for() -> None:
    """The prerequisite of A02."""
    station = SecuredStation(UTC)
    assert not sign_certificate(station, 0.0)
    assert station.calls == []


def test_a_bad_certificate_is_discarded_and_told(cpo: pki.Authority) -> None:
    """A02.FR.07: InvalidChargePointCertificate; the right one is still taken afterwards."""
    station = signing_station(cpo)
    csr = request(station)
    other = pki.Authority("Somebody", UTC)
    assert deliver(station, other.sign(csr)) == "Rejected"
    assert deliver(station, "nonsense") == "Rejected"
    assert station.events == [
        (INVALID, "it does not lead to an installed root certificate that is valid"),
        (INVALID, "no certificate in PEM"),
    ]
    assert station.security.credential(UTC) is None
    assert deliver(station, cpo.sign(csr)) == "Accepted"


def test_a_certificate_that_nobody_asked_for_is_refused(cpo: pki.Authority) -> None:
    """There is no key for it."""
    station = signing_station(cpo)
    assert deliver(station, pki.pem(cpo.issue(pki.new_key().public_key()))) == "Rejected"
    assert station.events == [(INVALID, "no certificate was asked for")]


def test_a_chain_longer_than_the_configuration_allows_is_refused(cpo: pki.Authority) -> None:
    """CertificateSignedMaxChainSize (whitepaper 7.3)."""
    station = SecuredStation(UTC, {"CpoName": CPO, "CertificateSignedMaxChainSize": "1000"})
    install(station.security, cpo.pem)
    chain = cpo.sign(request(station))
    assert deliver(station, chain + "\n" * (1001 - len(chain))) == "Rejected"
    assert station.events == [(INVALID, "longer than CertificateSignedMaxChainSize")]
    assert deliver(station, chain + "\n" * (1000 - len(chain))) == "Accepted"


def test_the_newest_valid_certificate_is_used(cpo: pki.Authority) -> None:
    """A02.FR.08 and A02.FR.09: one that comes to life later takes over then, and not before."""
    security = secured(cpo, profile=3, own=credential(cpo, UTC - 2 * pki.DAY))
    old = security.credential(UTC)
    csr = security.sign_request("CP1", CPO)
    coming = cpo.sign(csr, begins=UTC + 100, ends=UTC + 365 * pki.DAY)
    status, event, _ = security.certificate_signed(coming, UTC, serial_number="CP1", cpo_name=CPO)
    assert (status, event) == (SignedStatus.ACCEPTED, None)
    assert old is security.credential(UTC + 99)
    new = security.credential(UTC + 100)
    assert new is not None
    assert new.not_before == UTC + 100


def test_a_certificate_that_began_earlier_does_not_take_over(cpo: pki.Authority) -> None:
    """A02.FR.09: the newest is the one whose validity starts last, whichever came last."""
    security = secured(cpo, profile=3, own=credential(cpo, UTC - pki.DAY))
    old = security.credential(UTC)
    earlier = cpo.sign(security.sign_request("CP1", CPO), begins=UTC - 2 * pki.DAY)
    assert SignedStatus.ACCEPTED is security.certificate_signed(earlier, UTC, serial_number="CP1", cpo_name=CPO)[0]
    assert old is security.credential(UTC)


def test_a_refused_certificate_gives_way_to_the_one_before_for_a_month(cpo: pki.Authority) -> None:
    """A02.FR.10: the old one is the fallback; after a month it is gone."""
    old = credential(cpo, UTC - 2 * pki.DAY)
    security = secured(cpo, profile=3, own=old)
    new_pem = cpo.sign(security.sign_request("CP1", CPO))
    security.certificate_signed(new_pem, UTC, serial_number="CP1", cpo_name=CPO)
    new = security.credential(UTC)
    assert new is not None
    assert new is not old
    security.refused()
    assert new is security.credential(UTC), "nobody said that the certificate was the reason"
    security.refused(was_own_certificate=True)
    assert old is security.credential(UTC)
    security.refused(was_own_certificate=True)
    assert new is security.credential(UTC), "both are tried in turn"
    security.refused(was_own_certificate=True)
    assert old is security.credential(new.not_before + 30 * pki.DAY)
    assert new is security.credential(new.not_before + 31 * pki.DAY)


def test_certificates_do_not_pile_up(cpo: pki.Authority) -> None:
    """A soak that rotates each minute must not keep a certificate for each."""
    security = secured(cpo, profile=3)
    for turn in range(10):
        pem = cpo.sign(security.sign_request("CP1", CPO), begins=UTC + turn)
        assert SignedStatus.ACCEPTED is security.certificate_signed(pem, UTC, serial_number="CP1", cpo_name=CPO)[0]
    seen = set()
    for _ in range(10):
        security.refused(was_own_certificate=True)
        seen.add(security.credential(UTC + 100))
    assert len(seen) == 3


@pytest.mark.parametrize(("days", "before_end"), [(365, 30), (90, 30), (30, 10), (3, 1)])
def test_a_certificate_is_renewed_a_month_before_its_end(cpo: pki.Authority, days: float, before_end: float) -> None:
    """A03.FR.02; a short-lived one in its last third, or it would be renewed without end."""
    own = credential(cpo, UTC, days)
    security = secured(cpo, profile=3, own=own)
    assert UTC + (days - before_end) * pki.DAY == security.renewal_due
    security.sign_request("CP1", CPO)
    assert security.renewal_due is None, "asked for once: A03, error handling"
    assert secured(cpo).renewal_due is None


# -- root certificates ----------------------------------------------------------------------------


def test_roots_are_installed_listed_and_deleted(cpo: pki.Authority) -> None:
    """M03 to M05, with the payloads of the wire."""
    station = SecuredStation(UTC)
    maker = pki.Authority("Maker", UTC)
    for use, authority in ((CENTRAL, cpo), (MAKER, maker)):
        assert answer(station, "GetInstalledCertificateIds", {"certificateType": use.value}) == {"status": "NotFound"}
        installing = {"certificateType": use.value, "certificate": authority.pem}
        assert answer(station, "InstallCertificate", installing) == {"status": "Accepted"}
        found = answer(station, "GetInstalledCertificateIds", {"certificateType": use.value})
        assert found["status"] == "Accepted"
        (hash_data,) = found["certificateHashData"]
        assert f"{authority.certificate.serial_number:X}" == hash_data["serialNumber"]
        # CiStrings: what the central system made lower case is the same.
        wanted = {name: text if name == "hashAlgorithm" else text.swapcase() for name, text in hash_data.items()}
        assert answer(station, "DeleteCertificate", {"certificateHashData": wanted}) == {"status": "Accepted"}
        assert answer(station, "DeleteCertificate", {"certificateHashData": wanted}) == {"status": "NotFound"}
        assert answer(station, "GetInstalledCertificateIds", {"certificateType": use.value}) == {"status": "NotFound"}


def answer(station: SecuredStation, action: str, payload: Payload) -> Payload:
    validate(action, Direction.REQ, payload)
    handlers = {
        "GetInstalledCertificateIds": get_installed_certificate_ids,
        "InstallCertificate": install_certificate,
        "DeleteCertificate": delete_certificate,
    }
    conf = handlers[action](station, payload, 0.0)
    validate(action, Direction.CONF, conf)
    return conf


def test_the_store_has_a_length() -> None:
    """M05.FR.03: CertificateStoreMaxLength counts both uses; the same root again takes no place."""
    station = SecuredStation(UTC, {"CertificateStoreMaxLength": "2"})
    authorities = [pki.Authority(f"Root {number}", UTC) for number in range(3)]
    statuses = [
        answer(station, "InstallCertificate", {"certificateType": use.value, "certificate": each.pem})["status"]
        for use, each in zip((CENTRAL, MAKER, CENTRAL), authorities, strict=True)
    ]
    assert statuses == ["Accepted", "Accepted", "Rejected"]
    assert InstallStatus.ACCEPTED is station.security.install(
        CENTRAL, authorities[0].pem, UTC, max_length=2, replaces=False
    )
    assert len(station.security.installed(CENTRAL)) == 1


def test_what_is_no_valid_root_is_not_installed(cpo: pki.Authority) -> None:
    """M05.FR.06."""
    security = Security()
    leaf = pki.pem(cpo.issue(pki.new_key().public_key()))
    expired = pki.Authority("Old", UTC - 20 * pki.DAY, days=10)
    for pem in ("", "nonsense", leaf, cpo.pem + cpo.pem, expired.pem):
        assert InstallStatus.REJECTED is install(security, pem)
    assert security.installed(CENTRAL) == []


def test_with_the_additional_check_a_root_is_replaced_by_one_that_it_signed(cpo: pki.Authority) -> None:
    """M05.FR.08 to 12: the old one stays as fallback until a connection was made with the new one."""
    security = secured()
    assert InstallStatus.ACCEPTED is install(security, cpo.pem, replaces=True)
    stranger = pki.Authority("Stranger", UTC)
    assert InstallStatus.REJECTED is install(security, stranger.pem, replaces=True)
    new = pki.Authority("CPO root 2", UTC, parent=cpo)
    assert InstallStatus.ACCEPTED is install(security, new.pem, replaces=True)
    ders = [pki.der(each.certificate) for each in (new, cpo)]
    assert ders == [each.der for each in security.central_system_roots]
    # M05.FR.13: the server is still on the old one, which stays.
    security.opened([b"the server's", ders[1]])
    assert ders == [each.der for each in security.central_system_roots]
    security.opened([b"the server's", ders[0], ders[1]])
    assert ders[:1] == [each.der for each in security.central_system_roots]
    (left,) = security.installed(CENTRAL)
    assert f"{new.certificate.serial_number:X}" == left["serialNumber"]
    # The check is about one use only.
    assert InstallStatus.ACCEPTED is install(security, stranger.pem, MAKER, replaces=True)


def test_the_root_of_the_present_connection_and_the_own_certificate_cannot_be_deleted(cpo: pki.Authority) -> None:
    """M04.FR.05 and M04.FR.06: or the charge point cuts itself off."""
    second = pki.Authority("Second", UTC)
    own = credential(cpo)
    security = secured(cpo, second, profile=3, own=own)
    first_data, second_data = security.installed(CENTRAL)
    security.opened([b"the server's", pki.der(second.certificate)])
    assert DeleteStatus.FAILED is security.delete(second_data, UTC)
    assert DeleteStatus.ACCEPTED is security.delete(first_data, UTC)
    assert DeleteStatus.FAILED is security.delete(second_data, UTC)
    own_data = {**first_data, "serialNumber": serial(own)}
    security = secured(cpo, second, profile=3, own=own)
    assert DeleteStatus.FAILED is security.delete(own_data, UTC)
    assert own is security.credential(UTC)


def serial(own: Credential) -> str:
    return f"{x509.load_der_x509_certificate(own.chain[0]).serial_number:X}"


def test_without_tls_every_root_can_be_deleted(cpo: pki.Authority) -> None:
    """M04, remarks: the last one too, if no connection depends on it."""
    for profile, status in ((0, DeleteStatus.ACCEPTED), (1, DeleteStatus.ACCEPTED), (2, DeleteStatus.FAILED)):
        security = secured(cpo, profile=profile)
        assert status is security.delete(security.installed(CENTRAL)[0], UTC)


def test_one_root_for_both_uses_is_two_entries(cpo: pki.Authority) -> None:
    """The manufacturer's use of a root does not protect, nor lose, the central system's (M04.FR.06)."""
    security = Security(2)
    install(security, cpo.pem, MAKER)
    (hash_data,) = security.installed(MAKER)
    install(security, cpo.pem, CENTRAL)
    assert DeleteStatus.FAILED is security.delete(hash_data, UTC)
    second = pki.Authority("Second", UTC)
    install(security, second.pem, CENTRAL)
    security.opened([pki.der(second.certificate)])
    assert DeleteStatus.ACCEPTED is security.delete(hash_data, UTC)
    assert DeleteStatus.ACCEPTED is security.delete(hash_data, UTC)
    assert DeleteStatus.NOT_FOUND is security.delete(hash_data, UTC)


def test_a_root_is_found_by_any_hash_algorithm(cpo: pki.Authority) -> None:
    """M04.FR.07: the central system chooses the algorithm; the charge point lists SHA256."""
    from ampswarm.charge_point.certificates import hash_data  # noqa: PLC0415  only here

    der = pki.der(cpo.certificate)
    assert DeleteStatus.ACCEPTED is secured(cpo).delete(hash_data(der, der, "SHA512"), UTC)
    mixed = {**hash_data(der, der, "SHA512"), "hashAlgorithm": "SHA384"}
    assert DeleteStatus.NOT_FOUND is secured(cpo).delete(mixed, UTC)


def test_equal_charge_points_share_their_roots(cpo: pki.Authority) -> None:
    """50,000 charge points that are sent the same root keep it once."""
    roots = []
    for _ in range(2):
        security = Security()
        install(security, "".join(list(cpo.pem)))
        roots.append(security.central_system_roots[0])
    assert roots[0] is roots[1]


class StoreMachine(RuleBasedStateMachine):
    """A store against a list: whatever is installed and deleted, in whatever order."""

    authorities = [pki.Authority(f"Root {number}", UTC) for number in range(4)]  # noqa: RUF012  never changed

    def __init__(self) -> None:
        super().__init__()
        self.security = Security()
        self.model: list[tuple[CertificateUse, int]] = []

    @rule(use=st.sampled_from(CertificateUse), number=st.integers(0, 3))
    def install(self, use: CertificateUse, number: int) -> None:
        status = self.security.install(use, self.authorities[number].pem, UTC, max_length=3, replaces=False)
        if (use, number) in self.model:
            assert status is InstallStatus.ACCEPTED
        elif len(self.model) == 3:
            assert status is InstallStatus.REJECTED
        else:
            assert status is InstallStatus.ACCEPTED
            self.model.append((use, number))

    @rule(number=st.integers(0, 3))
    def delete(self, number: int) -> None:
        other = Security()
        other.install(MAKER, self.authorities[number].pem, UTC, max_length=1, replaces=False)
        status = self.security.delete(other.installed(MAKER)[0], UTC)
        uses = [use for use in CertificateUse if (use, number) in self.model]
        assert status is (DeleteStatus.ACCEPTED if uses else DeleteStatus.NOT_FOUND)
        if uses:
            self.model.remove((uses[0], number))

    @invariant()
    def lists_what_is_installed(self) -> None:
        for use in CertificateUse:
            expected = [f"{self.authorities[n].certificate.serial_number:X}" for u, n in self.model if u is use]
            assert expected == [each["serialNumber"] for each in self.security.installed(use)]


TestStore = StoreMachine.TestCase


# -- firmware and events --------------------------------------------------------------------------


def test_a_firmware_certificate_is_accepted_invalid_or_revoked() -> None:
    """L01.FR.23 to 25, against the ManufacturerRootCertificates and no others."""
    maker = pki.Authority("Maker", UTC)
    signer = maker.issue(pki.new_key().public_key(), "Signer", "Maker")
    pem = pki.pem(signer)
    security = Security()
    assert FirmwareCertificateStatus.INVALID is security.verify_firmware_certificate(pem, UTC)
    install(security, maker.pem, CENTRAL)
    assert FirmwareCertificateStatus.INVALID is security.verify_firmware_certificate(pem, UTC)
    install(security, maker.pem, MAKER)
    assert FirmwareCertificateStatus.ACCEPTED is security.verify_firmware_certificate(pem, UTC)
    revoked = {signer.serial_number}
    assert FirmwareCertificateStatus.REVOKED is security.verify_firmware_certificate(pem, UTC, revoked=revoked)
    assert FirmwareCertificateStatus.INVALID is security.verify_firmware_certificate("nonsense", UTC, revoked=revoked)


def test_the_security_events_are_those_of_the_whitepaper() -> None:
    """Chapter 8, word for word: a central system knows them by these names."""
    critical = {
        "FirmwareUpdated",
        "SettingSystemTime",
        "StartupOfTheDevice",
        "ResetOrReboot",
        "SecurityLogWasCleared",
        "MemoryExhaustion",
        "TamperDetectionActivated",
    }
    others = {
        "FailedToAuthenticationAtCentralSystem",
        "CentralSystemFailedToAuthentication",
        "ReconfigurationOfSecurityParameters",
        "InvalidMessages",
        "AttemptedReplayAttacks",
        "InvalidFirmwareSignature",
        "InvalidFirmwareSigningCertificate",
        "InvalidCentralSystemCertificate",
        "InvalidChargePointCertificate",
        "InvalidTLSVersion",
        "InvalidTLSCipherSuite",
    }
    assert critical == {each.value for each in SecurityEvent if each.is_critical}
    assert others == {each.value for each in SecurityEvent if not each.is_critical}


@given(event=st.sampled_from(SecurityEvent), tech_info=st.text(max_size=300))
def test_a_security_event_fits_its_schema(event: SecurityEvent, tech_info: str) -> None:
    """Whitepaper 5.15: at most 255 characters of technical information, and none is left out."""
    payload = security_event_notification(event, UTC, tech_info)
    validate("SecurityEventNotification", Direction.REQ, payload)
    assert ("techInfo" in payload) == bool(tech_info)


def test_nothing_secret_is_shown(cpo: pki.Authority) -> None:
    """A01.FR.12 and A02.FR.05: a log of a charge point is no place for keys."""
    own = credential(cpo)
    security = Security(3, password=b"a password of mine", credential=own)
    security.sign_request("CP1", CPO)
    for text in (repr(security), str(security), repr(own)):
        assert "a password" not in text
        assert repr(own.private_key)[2:20] not in text
