"""What the central system may ask: Reset, TriggerMessage, ChangeConfiguration, and all the rest."""

from __future__ import annotations

import pytest

from ampswarm.charge_point.events import CommandReceived, Online
from ampswarm.charge_point.link import CloseReason, Link, Registration
from ampswarm.charge_point.ping_watch import PingWatchRule, WatchMode
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.frames import CallResult
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS
from ampswarm.ocppj.session import Failed
from tests.fakes.scene import Scene


def booted(template: Template | None = None, interval: int = 300) -> Scene:
    scene = Scene(template)
    scene.boot(interval)
    return scene


@pytest.mark.parametrize("kind", ["Soft", "Hard"])
def test_reset_answers_closes_and_boots(kind: str) -> None:
    """Core 5.14, errata 3.36: the answer first, then the connection closes and a boot follows."""
    scene = booted()
    scene.receive([2, "cs-1", "Reset", {"type": kind}])
    assert scene.sends() == [CallResult("cs-1", {"status": "Accepted"})]
    assert scene.charge_point.link is Link.CLOSING
    assert scene.charge_point.close_reason is CloseReason.RESET
    scene.wait(0.1)
    scene.lose()
    assert scene.charge_point.registration is Registration.NONE
    down = scene.wait_until_due()
    assert 5 <= down <= 15
    switched_on = scene.now
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    assert [switched_on] == [event.since for event in scene.events if isinstance(event, Online)]
    scene.expect("StatusNotification")


def test_reset_waits_for_the_answer_that_is_under_way() -> None:
    """The Call did not fail, and must not be counted as if it had."""
    scene = booted(interval=10)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.receive([2, "cs-1", "Reset", {"type": "Hard"}])
    assert len(scene.sends()) == 1
    assert scene.is_open()
    scene.answer({"currentTime": scene.time()})
    assert scene.charge_point.next_deadline() <= scene.now
    scene.expect_silence()
    assert scene.charge_point.link is Link.CLOSING
    assert not [event for event in scene.events if isinstance(event, Failed)]


def test_reset_does_not_wait_for_ever() -> None:
    """A central system that stopped answering cannot hold back its own Reset."""
    scene = booted(interval=10)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.receive([2, "cs-1", "Reset", {"type": "Hard"}])
    scene.sends()
    scene.wait_until_due()
    scene.outstanding = None
    scene.expect_silence()
    assert scene.charge_point.link is Link.CLOSING


def test_a_reset_with_a_dead_connection_waits_for_nothing_but_the_call() -> None:
    """The watch's deadline has passed as well: there must be one thing to wait for, and not in the past."""
    scene = booted(Template(ping_watch=PingWatchRule(WatchMode.FIXED, 5)), interval=10)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.charge_point.ping_received(scene.now)
    scene.receive([2, "cs-1", "Reset", {"type": "Hard"}])
    scene.sends()
    scene.wait(6)
    scene.expect_silence()
    assert scene.charge_point.next_deadline() > scene.now


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        ("HeartbeatInterval", "60", "Accepted"),
        ("heartbeatINTERVAL", "60", "Accepted"),
        ("HeartbeatInterval", "86400", "Accepted"),
        ("HeartbeatInterval", "0", "Rejected"),
        ("HeartbeatInterval", "-5", "Rejected"),
        ("HeartbeatInterval", "1.5", "Rejected"),
        ("HeartbeatInterval", "soon", "Rejected"),
        ("HeartbeatInterval", "", "Rejected"),
        ("HeartbeatInterval", "٣", "Rejected"),
        ("HeartbeatInterval", "9" * 400, "Rejected"),
        ("NoSuchKey", "1", "NotSupported"),
    ],
)
def test_change_configuration(key: str, value: str, status: str) -> None:
    """Core 5.3: Accepted, Rejected for a bad value, NotSupported for an unknown key."""
    scene = booted()
    assert {"status": status} == scene.command("ChangeConfiguration", {"key": key, "value": value})
    expected = int(value) if status == "Accepted" else 300
    assert expected == scene.charge_point.heartbeat_interval
    if status == "Accepted":
        assert expected == scene.wait_until_due()
        scene.expect("Heartbeat")


@pytest.mark.parametrize("message", ["Heartbeat", "FirmwareStatusNotification", "DiagnosticsStatusNotification"])
def test_trigger_message_is_answered_before_the_message_is_sent(message: str) -> None:
    """Core 5.17: first the response, then the requested message."""
    scene = booted()
    scene.receive([2, "cs-1", "TriggerMessage", {"requestedMessage": message}])
    answer, call = scene.sends()
    assert answer == CallResult("cs-1", {"status": "Accepted"})
    assert message == getattr(call, "action", None)


def test_trigger_status_without_a_connector_is_for_all_of_them() -> None:
    """Core 5.17: the charge point itself and each of its connectors."""
    scene = booted(Template(connectors=3))
    assert scene.command("TriggerMessage", {"requestedMessage": "StatusNotification"}) == {"status": "Accepted"}
    for connector_id in range(4):
        assert connector_id == scene.expect("StatusNotification")["connectorId"]
        scene.answer({})
    scene.expect_silence()


@pytest.mark.parametrize(("connector_id", "status"), [(0, "Accepted"), (1, "Accepted"), (2, "Rejected")])
def test_trigger_status_of_one_connector(connector_id: int, status: str) -> None:
    """Core 5.17: one that is not there is Rejected."""
    scene = booted()
    request = {"requestedMessage": "StatusNotification", "connectorId": connector_id}
    assert {"status": status} == scene.command("TriggerMessage", request)
    if status == "Accepted":
        assert connector_id == scene.expect("StatusNotification")["connectorId"]
    else:
        scene.expect_silence()


def test_trigger_boot_after_accepted_is_rejected() -> None:
    """Core errata 3.35: recommended."""
    scene = booted()
    assert scene.command("TriggerMessage", {"requestedMessage": "BootNotification"}) == {"status": "Rejected"}
    scene.expect_silence()


def test_trigger_before_the_boot_was_answered_sends_nothing_else() -> None:
    """Core 4.2: no other request between power-on and a BootNotification that succeeded."""
    scene = Scene()
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    assert scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Rejected"}
    assert scene.command("TriggerMessage", {"requestedMessage": "BootNotification"}) == {"status": "Accepted"}
    scene.expect_silence()


def test_a_flood_of_triggers_sends_each_message_once() -> None:
    """Core 5.17: the message just sent complies with every request for it; nothing piles up."""
    scene = booted(Template(connectors=2))
    for _ in range(1000):
        for message in ("StatusNotification", "Heartbeat", "FirmwareStatusNotification"):
            scene.receive([2, "cs-1", "TriggerMessage", {"requestedMessage": message}])
        scene.charge_point._replies = None
    asked = 0
    while scene.sends():
        asked += 1
        scene.answer({"currentTime": scene.time()} if scene.outstanding_action == "Heartbeat" else {})
    assert asked == 5


@pytest.mark.parametrize("action", sorted(CENTRAL_SYSTEM_ACTIONS - {"Reset", "TriggerMessage", "ChangeConfiguration"}))
def test_every_other_command_is_answered(action: str) -> None:
    """A command without an answer would block the central system for its whole timeout."""
    scene = booted()
    answer = scene.command(action, VALID[action])
    assert isinstance(answer, dict)
    assert [CommandReceived(action, answer.get("status", ""))] == [
        event for event in scene.events if isinstance(event, CommandReceived)
    ]
    assert scene.is_open()


@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Reset", {}, "ProtocolError"),
        ("Reset", {"type": "Warm"}, "PropertyConstraintViolation"),
        ("MakeCoffee", {}, "NotImplemented"),
    ],
)
def test_bad_commands_get_their_call_error(action: str, payload: dict[str, str], code: str) -> None:
    """J 4.2.3."""
    scene = booted()
    assert code == scene.command(action, payload)
    assert scene.is_open()


PROFILE = {
    "chargingProfileId": 1,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {
        "chargingRateUnit": "A",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.1}],
    },
}
HASH = {
    "hashAlgorithm": "SHA256",
    "issuerNameHash": "a",
    "issuerKeyHash": "b",
    "serialNumber": "1",
}
VALID: dict[str, dict[str, object]] = {
    "CancelReservation": {"reservationId": 1},
    "CertificateSigned": {"certificateChain": "x"},
    "ChangeAvailability": {"connectorId": 0, "type": "Operative"},
    "ClearCache": {},
    "ClearChargingProfile": {},
    "DataTransfer": {"vendorId": "v"},
    "DeleteCertificate": {"certificateHashData": HASH},
    "ExtendedTriggerMessage": {"requestedMessage": "Heartbeat"},
    "GetCompositeSchedule": {"connectorId": 0, "duration": 60},
    "GetConfiguration": {},
    "GetDiagnostics": {"location": "ftp://x"},
    "GetInstalledCertificateIds": {"certificateType": "CentralSystemRootCertificate"},
    "GetLocalListVersion": {},
    "GetLog": {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": "ftp://x"}},
    "InstallCertificate": {"certificateType": "CentralSystemRootCertificate", "certificate": "x"},
    "RemoteStartTransaction": {"idTag": "A"},
    "RemoteStopTransaction": {"transactionId": 1},
    "ReserveNow": {
        "connectorId": 1,
        "expiryDate": "2026-01-01T00:00:00Z",
        "idTag": "A",
        "reservationId": 1,
    },
    "SendLocalList": {"listVersion": 1, "updateType": "Full"},
    "SetChargingProfile": {"connectorId": 0, "csChargingProfiles": PROFILE},
    "SignedUpdateFirmware": {
        "requestId": 1,
        "firmware": {
            "location": "ftp://x",
            "retrieveDateTime": "2026-01-01T00:00:00Z",
            "signingCertificate": "c",
            "signature": "s",
        },
    },
    "UnlockConnector": {"connectorId": 1},
    "UpdateFirmware": {"location": "ftp://x", "retrieveDate": "2026-01-01T00:00:00Z"},
}
