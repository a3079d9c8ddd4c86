"""What the security whitepaper asks of a charge point, seen on the wire (A01 to A05)."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from ampswarm.charge_point.certificates import Credential, read_credential, read_root
from ampswarm.charge_point.link import CloseReason, Link
from ampswarm.charge_point.security import PROFILE_ATTEMPTS, Security
from ampswarm.charge_point.template import Template
from tests.fakes import pki
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

CPO = "Volt & Co"
KEY = "000102030405060708090A0B0C0D0E0F10111213"
OLD = bytes(range(16))


@pytest.fixture(scope="module")
def cpo() -> pki.Authority:
    """The root of the charge point operator's hierarchy."""
    return pki.Authority("CPO root", UTC_AT_ZERO)


def credential(authority: pki.Authority, *, begins: float = -pki.DAY, ends: float) -> Credential:
    """Return a certificate of CP1, valid between times of the scene."""
    key = pki.new_key()
    certificate = authority.issue(key.public_key(), begins=UTC_AT_ZERO + begins, ends=UTC_AT_ZERO + ends)
    return read_credential(pki.pem(certificate), pki.key_pem(key))


def secured(
    profile: int,
    *roots: pki.Authority,
    password: bytes | None = OLD,
    own: Credential | None = None,
    **settings: str,
) -> Scene:
    """Return a scene that is switched off, and whose clock is right."""
    security = Security(
        profile, password=password, credential=own, central_system_roots=tuple(read_root(each.pem) for each in roots)
    )
    chosen = {"CpoName": CPO, "MeterValueSampleInterval": "0", **settings}
    template = Template(security_profile=profile, settings=tuple(chosen.items()))
    return Scene(template, security=security, utc_offset=UTC_AT_ZERO)


def switch_on(scene: Scene) -> list[Sent]:
    """Boot it, and return what it tells first."""
    scene.charge_point.power_on(scene.now)
    scene.connect()
    return scene.serve(1)


def change(scene: Scene, key: str, value: str) -> str:
    answer = scene.command("ChangeConfiguration", {"key": key, "value": value})
    assert isinstance(answer, dict)
    status: str = answer["status"]
    return status


def shown(scene: Scene, key: str) -> dict[str, Any]:
    got = scene.command("GetConfiguration", {"key": [key]})
    assert isinstance(got, dict)
    entry: dict[str, Any] = got["configurationKey"][0]
    return entry


def reconnects(scene: Scene) -> None:
    """Check that it closes the connection for the sake of new credentials, and wants another one at once."""
    assert scene.sends() == []
    assert (scene.charge_point.link, scene.charge_point.close_reason) == (Link.CLOSING, CloseReason.CREDENTIALS)
    scene.lose()
    assert scene.wait_until_due() == 0


def names(csr: str) -> tuple[str, str]:
    """Return CN and O of a signing request."""
    subject = x509.load_pem_x509_csr(csr.encode()).subject
    (common_name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    (organization,) = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(common_name.value), str(organization.value)


def of(sent: list[Sent], action: str) -> list[dict[str, Any]]:
    return [each.payload for each in sent if each.action == action]


# -- A01: the password --------------------------------------------------------------------------------


def test_a_new_password_is_used_on_a_new_connection_at_once() -> None:
    """A01.FR.03: the central system no longer accepts the old one; J 5.4: no boot for that."""
    scene = secured(1)
    switch_on(scene)
    assert change(scene, "AuthorizationKey", KEY) == "Accepted"
    reconnects(scene)
    scene.connect()
    header = scene.charge_point.security.authorization("CP1")
    assert header is not None
    assert b64decode(header.removeprefix("Basic ")) == b"CP1:" + bytes.fromhex(KEY)
    assert scene.serve(5) == []
    assert scene.charge_point.is_online


@pytest.mark.parametrize("key", ["", "abc", "00" * 15, "00" * 21, "zz" * 16])
def test_a_password_that_is_none_changes_nothing(key: str) -> None:
    """A00.FR.205 and A01.FR.04: Rejected, and the old one stays in use."""
    scene = secured(1)
    switch_on(scene)
    before = scene.charge_point.security.authorization("CP1")
    assert change(scene, "AuthorizationKey", key) == "Rejected"
    assert scene.serve(5) == []
    assert scene.is_open()
    assert before == scene.charge_point.security.authorization("CP1")


def test_the_password_can_never_be_read() -> None:
    """Whitepaper 7.2 and A01.FR.12: write-only; in no answer and in no event."""
    scene = secured(1)
    switch_on(scene)
    change(scene, "AuthorizationKey", KEY)
    assert shown(scene, "AuthorizationKey") == {"key": "AuthorizationKey", "readonly": False}
    everything = scene.command("GetConfiguration", {})
    for text in (repr(everything), repr(scene.events), repr(scene.charge_point.security)):
        assert KEY.lower() not in text.lower()
        assert repr(bytes.fromhex(KEY)) not in text


def test_without_basic_authentication_a_password_costs_no_connection() -> None:
    """A01: under profile 0 nothing uses it yet."""
    scene = secured(0)
    switch_on(scene)
    assert change(scene, "AuthorizationKey", KEY) == "Accepted"
    assert scene.serve(5) == []
    assert scene.is_open()


def test_a_call_under_way_is_answered_before_the_new_connection() -> None:
    """A Call that is cut off would look like a fault of the network."""
    scene = secured(1)
    switch_on(scene)
    scene.start()
    scene.present()
    scene.expect("StopTransaction")
    assert change(scene, "AuthorizationKey", KEY) == "Accepted"
    scene.expect_silence()
    assert scene.is_open()
    scene.answer({})
    reconnects(scene)
    scene.connect()
    assert [each.payload["status"] for each in scene.serve()] == ["Finishing"]


def test_a_transaction_goes_on_over_a_new_password() -> None:
    """A01 asks for a new connection only; energy flows meanwhile, and nothing is lost."""
    scene = secured(1, MeterValueSampleInterval="10")
    switch_on(scene)
    scene.start()
    change(scene, "AuthorizationKey", KEY)
    reconnects(scene)
    scene.pass_offline(25)
    scene.connect()
    assert len(of(scene.serve(10), "MeterValues")) == 3
    scene.present()
    (stop,) = of(scene.serve(), "StopTransaction")
    assert stop["reason"] == "Local"


# -- A05: the security profile --------------------------------------------------------------------------


def test_a_higher_profile_is_used_on_a_new_connection(cpo: pki.Authority) -> None:
    """A05.FR.05 to 07: Accepted, disconnect, reconnect with the new profile."""
    scene = secured(1, cpo)
    switch_on(scene)
    assert change(scene, "SecurityProfile", "2") == "Accepted"
    reconnects(scene)
    assert scene.charge_point.security.uses_tls
    scene.connect()
    assert scene.serve(5) == []
    assert shown(scene, "SecurityProfile")["value"] == "2"


@pytest.mark.parametrize(
    ("present", "new", "is_rooted", "password"),
    [
        (1, "1", True, OLD),
        (2, "1", True, OLD),
        (2, "0", True, OLD),
        (1, "4", True, OLD),
        (1, "2", False, OLD),
        (0, "1", True, None),
        (0, "2", True, None),
        (1, "3", True, OLD),
    ],
)
def test_a_profile_that_cannot_be_changes_nothing(
    present: int, new: str, is_rooted: bool, password: bytes | None, cpo: pki.Authority
) -> None:
    """A05.FR.01 to 04: lower, equal, or without password, root or certificate: Rejected, and no reconnect."""
    scene = secured(present, *[cpo] * is_rooted, password=password)
    switch_on(scene)
    assert change(scene, "SecurityProfile", new) == "Rejected"
    assert scene.serve(5) == []
    assert scene.is_open()
    assert shown(scene, "SecurityProfile")["value"] == f"{present}"


def test_a_profile_with_which_no_connection_comes_about_is_given_up(cpo: pki.Authority) -> None:
    """A05.FR.08: SHOULD fall back to the previous profile; this one does after three attempts."""
    scene = secured(1, cpo)
    switch_on(scene)
    change(scene, "SecurityProfile", "2")
    reconnects(scene)
    for _ in range(PROFILE_ATTEMPTS):
        assert scene.charge_point.security.profile == 2
        scene.refuse()
    assert scene.charge_point.security.profile == 1
    scene.connect()
    assert shown(scene, "SecurityProfile")["value"] == "1"


def test_a_profile_that_has_proved_good_stays(cpo: pki.Authority) -> None:
    """A05.FR.09: the central system does not allow the lower one any more."""
    scene = secured(1, cpo)
    switch_on(scene)
    change(scene, "SecurityProfile", "2")
    reconnects(scene)
    scene.connect()
    scene.lose()
    for _ in range(10):
        scene.refuse()
    assert scene.charge_point.security.profile == 2


def test_a_profile_outlives_a_reboot(cpo: pki.Authority) -> None:
    """A05: the setting is stored for good."""
    scene = secured(1, cpo)
    switch_on(scene)
    change(scene, "SecurityProfile", "2")
    reconnects(scene)
    scene.charge_point.power_off(scene.now)
    switch_on(scene)
    assert shown(scene, "SecurityProfile")["value"] == "2"


# -- A02 and A03: the certificate -------------------------------------------------------------------------


def ask_for_certificate(scene: Scene) -> str:
    """Trigger a signing request; return it."""
    request = {"requestedMessage": "SignChargePointCertificate"}
    assert scene.command("ExtendedTriggerMessage", request) == {"status": "Accepted"}
    (payload,) = of(scene.serve(), "SignCertificate")
    csr: str = payload["csr"]
    return csr


def test_a_certificate_is_asked_for_signed_and_used(cpo: pki.Authority) -> None:
    """A02: trigger, CSR with serial number and CpoName, CertificateSigned, and a new connection with it."""
    old = credential(cpo, ends=90 * pki.DAY)
    scene = secured(3, cpo, own=old)
    switch_on(scene)
    assert scene.charge_point.security.credential(UTC_AT_ZERO) is old
    csr = ask_for_certificate(scene)
    assert names(csr) == ("CP1", CPO)
    chain = cpo.sign(csr, begins=UTC_AT_ZERO)
    assert scene.command("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    reconnects(scene)
    used = scene.charge_point.security.credential(UTC_AT_ZERO + scene.now)
    assert used is not None
    assert used is not old
    scene.connect()
    assert scene.serve(5) == []


def test_a_certificate_that_is_not_valid_yet_is_used_when_its_time_has_come(cpo: pki.Authority) -> None:
    """A02.FR.08: SHALL switch to it as soon as the date is after `Not valid before`."""
    old = credential(cpo, ends=90 * pki.DAY)
    scene = secured(3, cpo, own=old)
    switch_on(scene)
    chain = cpo.sign(ask_for_certificate(scene), begins=UTC_AT_ZERO + 3600)
    assert scene.command("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    reconnects(scene)
    scene.connect()
    assert scene.charge_point.security.credential(UTC_AT_ZERO + scene.now) is old
    assert {each.action for each in scene.serve(3599 - scene.now)} == {"Heartbeat"}
    assert scene.is_open()
    scene.serve(5)
    reconnects(scene)
    assert scene.charge_point.security.credential(UTC_AT_ZERO + scene.now) is not old
    scene.connect()
    scene.serve(7200)
    assert scene.is_open()


def test_a_renewal_that_cannot_be_asked_for_keeps_nothing_busy(cpo: pki.Authority) -> None:
    """A02.FR.13: without a CpoName there is no request; the charge point goes on with what it has."""
    scene = secured(3, cpo, own=credential(cpo, begins=-300 * pki.DAY, ends=20 * pki.DAY), CpoName="")
    switch_on(scene)
    assert {each.action for each in scene.serve(7200)} == {"Heartbeat"}


def test_below_profile_3_a_certificate_costs_no_connection(cpo: pki.Authority) -> None:
    """A02.FR.08: it is there for the day when profile 3 is set, which may follow at once."""
    scene = secured(2, cpo)
    switch_on(scene)
    chain = cpo.sign(ask_for_certificate(scene))
    assert scene.command("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    assert scene.serve(5) == []
    assert change(scene, "SecurityProfile", "3") == "Accepted"
    reconnects(scene)


def test_a_certificate_of_somebody_else_is_refused(cpo: pki.Authority) -> None:
    """A02.FR.06 and 07: not of the operator's hierarchy; the event is not critical and only logged."""
    scene = secured(3, cpo, own=credential(cpo, ends=90 * pki.DAY))
    switch_on(scene)
    chain = pki.Authority("Another root", UTC_AT_ZERO).sign(ask_for_certificate(scene))
    assert scene.command("CertificateSigned", {"certificateChain": chain}) == {"status": "Rejected"}
    assert scene.serve(5) == []
    assert scene.is_open()


def test_without_cpo_name_there_is_no_signing_request() -> None:
    """Prerequisite of A02, A02.FR.13: CpoName is the CSR's organization."""
    scene = secured(1, CpoName="")
    switch_on(scene)
    request = {"requestedMessage": "SignChargePointCertificate"}
    assert scene.command("ExtendedTriggerMessage", request) == {"status": "Rejected"}
    assert scene.serve(5) == []


def test_of_two_triggers_the_request_that_is_sent_can_be_signed(cpo: pki.Authority) -> None:
    """A02.FR.02: each trigger makes a new key pair; a request for a key that is gone would be of no use."""
    scene = secured(2, cpo)
    switch_on(scene)
    request = {"requestedMessage": "SignChargePointCertificate"}
    for _ in range(2):
        assert scene.command("ExtendedTriggerMessage", request) == {"status": "Accepted"}
    *_, last = of(scene.serve(), "SignCertificate")
    chain = cpo.sign(last["csr"])
    assert scene.command("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}


def test_a_certificate_that_ends_is_renewed_a_month_before() -> None:
    """A03.FR.02 and 03: by itself, once; the one that comes is renewed in its own time."""
    root = pki.Authority("CPO root", UTC_AT_ZERO)
    scene = secured(3, root, own=credential(root, begins=-300 * pki.DAY, ends=40 * pki.DAY), HeartbeatInterval="86400")
    switch_on(scene)
    (asked,) = [each for each in scene.serve(20 * pki.DAY) if each.action == "SignCertificate"]
    assert pytest.approx(10 * pki.DAY, abs=60) == asked.now
    chain = root.sign(asked.payload["csr"], begins=UTC_AT_ZERO + scene.now - 60, ends=UTC_AT_ZERO + 120 * pki.DAY)
    assert scene.command("CertificateSigned", {"certificateChain": chain}) == {"status": "Accepted"}
    reconnects(scene)
    scene.connect()
    (asked,) = [each for each in scene.serve(90 * pki.DAY) if each.action == "SignCertificate"]
    assert pytest.approx(90 * pki.DAY, abs=60) == asked.now


def test_a_renewal_that_is_due_at_the_boot_waits_until_it_was_accepted(cpo: pki.Authority) -> None:
    """Core 4.2: no other request before Accepted; A03.FR.02: and then it is not forgotten."""
    scene = secured(3, cpo, own=credential(cpo, begins=-300 * pki.DAY, ends=5 * pki.DAY))
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=600))
    scene.wait(599)
    scene.expect_silence()
    assert len(of(scene.serve(10), "SignCertificate")) == 1


def test_a_renewal_that_was_due_while_offline_comes_on_return(cpo: pki.Authority) -> None:
    """A03.FR.02."""
    scene = secured(3, cpo, own=credential(cpo, begins=-300 * pki.DAY, ends=31 * pki.DAY))
    switch_on(scene)
    scene.lose()
    scene.pass_offline(2 * pki.DAY)
    scene.connect()
    assert len(of(scene.serve(10), "SignCertificate")) == 1


def test_a_signing_request_that_the_network_cut_off_is_sent_again(cpo: pki.Authority) -> None:
    """A03: the same request, for the key that waits for its certificate."""
    scene = secured(3, cpo, own=credential(cpo, begins=-300 * pki.DAY, ends=30.5 * pki.DAY))
    switch_on(scene)
    while scene.outstanding_action != "SignCertificate":
        scene.wait_until_due()
        scene.sends()
        if scene.outstanding_action == "Heartbeat":
            scene.answer({"currentTime": scene.time()})
    assert scene.outstanding is not None
    first = scene.outstanding.payload
    scene.lose()
    scene.connect()
    assert [first] == of(scene.serve(5), "SignCertificate")


# -- A04: events --------------------------------------------------------------------------------------


def test_a_reset_is_told_after_the_boot_with_the_time_at_which_it_happened() -> None:
    """A04.FR.01 and 02: critical events SHALL be told, and are queued while there is no connection."""
    scene = secured(1)
    first = switch_on(scene)
    assert [each["type"] for each in of(first, "SecurityEventNotification")] == ["StartupOfTheDevice"]
    asked = scene.now
    scene.command("Reset", {"type": "Hard"})
    scene.serve()
    scene.lose()
    scene.wait_until_due()
    up = scene.time()
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=60))
    scene.wait(59)
    scene.expect_silence()
    told = of(scene.serve(5), "SecurityEventNotification")
    assert [each["type"] for each in told] == ["ResetOrReboot", "StartupOfTheDevice"]
    assert told[0]["timestamp"] < up
    assert up == told[1]["timestamp"]
    assert asked < scene.now


def test_an_event_that_the_network_cut_off_is_told_again() -> None:
    """A04.FR.02: guaranteed delivery; over a lost network and over lost power."""
    scene = secured(1)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    for _ in range(2):
        scene.expect("StatusNotification")
        scene.answer({})
    first = scene.expect("SecurityEventNotification")
    scene.lose()
    scene.connect()
    assert first == scene.expect("SecurityEventNotification")
    scene.outstanding = None
    scene.charge_point.power_off(scene.now)
    scene.wait(60)
    told = of(switch_on(scene), "SecurityEventNotification")
    assert [each["type"] for each in told] == ["StartupOfTheDevice", "StartupOfTheDevice"]
    assert first == told[0]


def test_setting_the_clock_is_told() -> None:
    """Whitepaper chapter 8: SettingSystemTime is critical; keeping a clock right is not setting it."""
    scene = secured(1)
    switch_on(scene)
    for drift, expected in ((2.0, []), (-3600.0, ["SettingSystemTime"])):
        scene.command("ExtendedTriggerMessage", {"requestedMessage": "Heartbeat"})
        scene.expect("Heartbeat")
        scene.now += drift
        told_time = scene.time()
        scene.now -= drift
        scene.answer({"currentTime": told_time})
        assert expected == [each["type"] for each in of(scene.serve(), "SecurityEventNotification")]


def test_what_is_not_critical_is_not_told(cpo: pki.Authority) -> None:
    """A04.FR.01 and chapter 8: a refused password, a new profile, an invalid certificate are only logged."""
    scene = secured(1, cpo)
    switch_on(scene)
    change(scene, "AuthorizationKey", KEY)
    reconnects(scene)
    scene.connect()
    change(scene, "SecurityProfile", "2")
    reconnects(scene)
    scene.connect()
    scene.command("CertificateSigned", {"certificateChain": "nonsense"})
    assert scene.serve(5) == []


def test_a_charge_point_without_the_extension_tells_no_events() -> None:
    """A central system of 1.6 without the whitepaper knows no SecurityEventNotification."""
    scene = Scene()
    scene.boot()
    scene.command("Reset", {"type": "Hard"})
    scene.serve()
    scene.lose()
    scene.connect()
    told = scene.serve(600)
    assert "SecurityEventNotification" not in [each.action for each in told]
    assert told[0].action == "BootNotification"


def test_a_question_about_certificates_makes_nobody_secure() -> None:
    """Whitepaper A04: events come from charge points that were given credentials, not from all that were asked."""
    scene = Scene()
    scene.boot()
    asked = {"certificateType": "CentralSystemRootCertificate"}
    assert scene.command("GetInstalledCertificateIds", asked) == {"status": "NotFound"}
    assert scene.command("Reset", {"type": "Soft"}) == {"status": "Accepted"}
    assert "SecurityEventNotification" not in [each.action for each in scene.serve(60)]
