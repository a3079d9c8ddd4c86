"""Firmware updates and uploads among drivers and cuts of network and power (core 5.9, 5.19; errata 3.47 to 3.50)."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from ampswarm.charge_point.link import CloseReason, Link
from ampswarm.charge_point.security import Security
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes import pki
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

NEW = "ftp://files.example.com/swarm-2.0.0.bin"


def booted(*, connectors: int = 1, **settings: str) -> Scene:
    chosen = {"MeterValueSampleInterval": "0", **settings}
    scene = Scene(Template(connectors=connectors, settings=tuple(chosen.items())))
    scene.boot(interval=86_400)
    return scene


def at(seconds: float) -> str:
    return format_utc(UTC_AT_ZERO + seconds)


def update(scene: Scene, location: str = NEW, *, after: float = 0.0, **more: int) -> None:
    request = {"location": location, "retrieveDate": at(scene.now + after), **more}
    assert scene.command("UpdateFirmware", request) == {}


def told(sent: list[Sent], action: str = "FirmwareStatusNotification") -> list[str]:
    return [each.payload["status"] for each in sent if each.action == action]


def connector_statuses(sent: list[Sent], connector_id: int) -> list[str]:
    return [
        each.payload["status"]
        for each in sent
        if each.action == "StatusNotification" and each.payload["connectorId"] == connector_id
    ]


def run(scene: Scene, seconds: float = 600.0) -> list[Sent]:
    """Serve for a while, through every reboot that the charge point makes of its own accord."""
    until = scene.now + seconds
    sent: list[Sent] = []
    while scene.now < until:
        if scene.charge_point.link is Link.CLOSING:
            assert scene.charge_point.close_reason is CloseReason.RESET
            scene.lose()
        if scene.charge_point.link is Link.WAITING:
            scene.connect()
        sent += scene.serve(max(0.0, until - scene.now))
    return sent


def boots(sent: list[Sent]) -> list[str]:
    return [each.payload["firmwareVersion"] for each in sent if each.action == "BootNotification"]


def test_an_update_from_the_command_to_installed() -> None:
    """Core 5.19 and core errata 3.47: every state is told; Installed after the boot of the new firmware."""
    scene = booted()
    update(scene)
    sent = run(scene, 200)
    actions = [each.payload.get("status", each.action) for each in sent if "connectorId" not in each.payload]
    assert actions == ["Downloading", "Downloaded", "Installing", "BootNotification", "Installed"]
    assert boots(sent) == ["2.0.0"]
    assert scene.charge_point.is_online
    scene.start()


def test_an_update_waits_for_its_date() -> None:
    """Core 5.19: the date and time after which it is allowed to retrieve the new firmware."""
    scene = booted()
    update(scene, after=3600)
    asked = scene.now
    assert scene.serve(3599) == []
    (first,) = scene.serve(2)
    assert pytest.approx(asked + 3600, abs=0.01) == first.now
    assert first.payload == {"status": "Downloading"}


def test_the_date_of_an_update_is_that_of_the_central_systems_clock() -> None:
    """Core 5.19 and 4.6: a clock that is set forward brings the date nearer."""
    scene = booted()
    update(scene, after=3600)
    scene.serve(60)
    scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"})
    scene.expect("Heartbeat")
    scene.answer({"currentTime": at(scene.now + 3600)})
    assert told(scene.serve(1)) == ["Downloading"]


def test_an_installation_waits_for_the_transaction_and_keeps_free_connectors() -> None:
    """Core errata 3.49: wait until the charging session has ended; connectors not in use Unavailable meanwhile."""
    scene = booted(connectors=3)
    scene.start(1)
    update(scene)
    sent = scene.serve(3600)
    assert told(sent) == ["Downloading", "Downloaded"]
    assert [connector_statuses(sent, each) for each in (1, 2, 3)] == [[], ["Unavailable"], ["Unavailable"]]
    # Nobody else can start meanwhile, neither there nor from afar.
    scene.present(2, "TWO")
    assert scene.serve() == []
    remote = {"connectorId": 3, "idTag": "THREE"}
    assert scene.command("RemoteStartTransaction", remote) == {"status": "Rejected"}
    register = scene.connector(1).register
    scene.serve(60)
    assert scene.connector(1).register > register
    scene.present(1)
    sent = run(scene)
    assert [each.payload["reason"] for each in sent if each.action == "StopTransaction"] == ["Local"]
    assert told(sent) == ["Installing", "Installed"]
    assert boots(sent) == ["2.0.0"]
    # After the boot they are free again.
    assert [connector_statuses(sent, each)[-1] for each in (1, 2, 3)] == ["Finishing", "Available", "Available"]
    assert scene.start(2) == 2


def test_operators_and_updates_keep_connectors_independently() -> None:
    """Core 5.2: what ChangeAvailability set stays set when the update lets go."""
    scene = booted(connectors=2)
    scene.command("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"})
    update(scene)
    sent = run(scene)
    assert told(sent)[-1] == "Installed"
    assert connector_statuses(sent, 2)[-1] == "Unavailable"
    assert connector_statuses(sent, 1)[-1] == "Available"


def test_a_transaction_that_began_during_the_installation_is_not_lost() -> None:
    """Core errata 3.36: the reboot into the new firmware stops and tells it, whoever let it start."""
    scene = booted(ConnectionTimeOut="3600")
    scene.plug_in()
    scene.serve()
    update(scene)
    sent: list[Sent] = []
    while "Installing" not in told(sent):
        sent += scene.serve(1)
    scene.present()
    sent += run(scene)
    assert [each.action for each in sent].count("StartTransaction") == 1
    assert [each.payload["reason"] for each in sent if each.action == "StopTransaction"] == ["Reboot"]
    assert told(sent)[-1] == "Installed"
    assert scene.charge_point.unsent == 0


@pytest.mark.parametrize("cut_after", ["Downloading", "Downloaded", "Installing"])
def test_a_power_cut_in_the_middle_does_not_end_an_update(cut_after: str) -> None:
    """Core errata 3.48: SHALL install as soon as it is able to; what was interrupted begins again."""
    scene = booted()
    update(scene)
    sent: list[Sent] = []
    while cut_after not in told(sent):
        sent += scene.serve(1)
    scene.charge_point.power_off(scene.now)
    scene.wait(3600)
    scene.charge_point.power_on(scene.now)
    sent += run(scene, 1200)
    assert told(sent)[-1] == "Installed"
    assert told(sent).count("Installed") == 1
    assert boots(sent) == ["1.0.0", "2.0.0"]
    order = ["Downloading", "Downloaded", "Installing", "Installed"]
    assert order == list(dict.fromkeys(told(sent)))


def test_a_power_cut_while_it_waits_for_a_transaction_ends_both() -> None:
    """Core 7.36 and core errata 3.49: the transaction stopped with the power, so the installation may begin."""
    scene = booted(connectors=2)
    scene.start()
    update(scene)
    scene.serve(600)
    scene.charge_point.power_off(scene.now)
    scene.wait(60)
    scene.charge_point.power_on(scene.now)
    sent = run(scene, 1200)
    assert [each.payload["reason"] for each in sent if each.action == "StopTransaction"] == ["PowerLoss"]
    assert told(sent)[-1] == "Installed"
    assert connector_statuses(sent, 2)[-1] == "Available"


def test_a_reset_in_the_middle_does_not_end_an_update() -> None:
    """Core errata 3.48: a reset is to an update what a power cut is."""
    scene = booted()
    update(scene)
    scene.serve(1)
    scene.command("Reset", {"type": "Hard"})
    sent = run(scene, 1200)
    assert boots(sent) == ["1.0.0", "2.0.0"]
    assert told(sent)[-1] == "Installed"


def test_what_happens_offline_is_told_on_return_in_order() -> None:
    """Core errata 3.47: MUST keep the central system updated; no state is skipped for want of a network."""
    scene = booted()
    update(scene)
    scene.serve()
    scene.lose()
    for _ in range(3):
        scene.pass_offline(100)
    # It has rebooted without a network.
    sent = run(scene, 300)
    assert boots(sent) == ["2.0.0"]
    assert told(sent) == ["Downloaded", "Installing", "Installed"]


def test_a_download_that_fails_is_retried_and_then_given_up() -> None:
    """Core 6.55 and core errata 3.50: retries after retryInterval; DownloadFailed, and all is as before."""
    scene = booted()
    update(scene, "ftp://x/download-fails/2.0.0", retries=2, retryInterval=100)
    sent = run(scene, 3600)
    assert told(sent) == ["Downloading", "DownloadFailed"]
    failed = next(each.now for each in sent if each.payload["status"] == "DownloadFailed")
    assert failed > 200
    assert boots(sent) == []
    scene.start()


def test_an_installation_that_fails_gives_the_connectors_back() -> None:
    """Core errata 3.49: Unavailable only while the charge point waits and installs."""
    scene = booted(connectors=2)
    update(scene, "ftp://x/install-fails/2.0.0")
    sent = run(scene, 600)
    assert told(sent) == ["Downloading", "Downloaded", "Installing", "InstallationFailed"]
    assert boots(sent) == []
    assert [connector_statuses(sent, each) for each in (1, 2)] == [["Unavailable", "Available"]] * 2
    assert scene.start(2) == 1


def test_a_second_update_replaces_the_first() -> None:
    """Core 5.19 has no word on it, and no status to refuse with: the last word of the central system counts."""
    scene = booted()
    update(scene, after=600)
    update(scene, "ftp://x/3.1.4")
    sent = run(scene, 1200)
    assert boots(sent) == ["3.1.4"]
    assert told(sent) == ["Downloading", "Downloaded", "Installing", "Installed"]


def test_an_update_while_pending_is_told_only_when_accepted() -> None:
    """Core 4.2: while Pending, no request that was not triggered; nothing of it is lost."""
    scene = Scene()
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=600))
    update(scene)
    scene.wait(10)
    scene.expect_silence()
    assert scene.command("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}) == {"status": "Accepted"}
    assert scene.expect("FirmwareStatusNotification") == {"status": "Downloading"}
    scene.answer({})
    sent = run(scene, 1200)
    assert list(dict.fromkeys(told(sent))) == ["Downloading", "Downloaded", "Installing", "Installed"]


# -- signed -------------------------------------------------------------------------------------------


def test_a_signed_update_tells_of_its_reboot_and_of_its_end() -> None:
    """Whitepaper L01.FR.01, L01.FR.15, and chapter 8: InstallRebooting before, Installed and FirmwareUpdated after."""
    maker = pki.Authority("Maker", UTC_AT_ZERO)
    security = Security(1, password=bytes(16))
    scene = Scene(
        Template(security_profile=1, settings=(("MeterValueSampleInterval", "0"),)),
        security=security,
        utc_offset=UTC_AT_ZERO,
    )
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.serve(1)
    root = {"certificateType": "ManufacturerRootCertificate", "certificate": maker.pem}
    assert scene.command("InstallCertificate", root) == {"status": "Accepted"}
    key = pki.new_key()
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    signing = pki.pem(maker.issue(key.public_key(), extensions=((usage, True),)))
    firmware: dict[str, Any] = {
        "location": NEW,
        "retrieveDateTime": at(0),
        "signingCertificate": signing,
        "signature": "c2lnbmF0dXJl",
    }
    request = {"requestId": 17, "firmware": firmware}
    assert scene.command("SignedUpdateFirmware", request) == {"status": "Accepted"}
    sent = run(scene, 600)
    mine = [each for each in sent if each.action == "SignedFirmwareStatusNotification"]
    assert told(mine, "SignedFirmwareStatusNotification") == [
        "Downloading",
        "Downloaded",
        "SignatureVerified",
        "Installing",
        "InstallRebooting",
        "Installed",
    ]
    assert {each.payload["requestId"] for each in mine} == {17}
    boot = next(each.now for each in sent if each.action == "BootNotification")
    assert mine[-2].now < boot <= mine[-1].now
    events = [each.payload["type"] for each in sent if each.action == "SecurityEventNotification"]
    assert events == ["ResetOrReboot", "StartupOfTheDevice", "FirmwareUpdated"]
    # Whitepaper L01.FR.20: with a security profile, firmware has to be signed.
    unsigned = {"location": NEW, "retrieveDate": at(0)}
    assert scene.command("UpdateFirmware", unsigned) == "NotSupported"


# -- uploads ------------------------------------------------------------------------------------------


def test_diagnostics_are_uploaded_while_cars_charge() -> None:
    """Core 5.9 and 4.4, core errata 3.31: the file's name in the answer, then the status of the upload."""
    scene = booted()
    scene.start()
    answer = scene.command("GetDiagnostics", {"location": "ftp://x"})
    assert isinstance(answer, dict)
    assert "CP1" in answer["fileName"]
    sent = scene.serve(60)
    assert told(sent, "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"]
    assert scene.charge_point.has_transactions()


def test_an_upload_that_the_power_cut_off_begins_again() -> None:
    """Core errata 3.31: MUST keep the central system updated with the status of the upload."""
    scene = booted()
    scene.command("GetDiagnostics", {"location": "ftp://x"})
    assert told(scene.serve(1), "DiagnosticsStatusNotification") == ["Uploading"]
    scene.charge_point.power_off(scene.now)
    scene.wait(60)
    scene.charge_point.power_on(scene.now)
    assert told(run(scene, 120), "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"]


def test_an_upload_that_fails_is_told() -> None:
    """Core 7.24: UploadFailed, after the retries."""
    scene = booted()
    scene.command("GetDiagnostics", {"location": "ftp://x/upload-fails", "retries": 1, "retryInterval": 30})
    sent = scene.serve(600)
    assert told(sent, "DiagnosticsStatusNotification") == ["Uploading", "UploadFailed"]
