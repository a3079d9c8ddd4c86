"""Firmware, diagnostics and logs, as transcripts of what the central system is told.

Core 5.9 and 5.19, whitepaper L01 and N01.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ampswarm.charge_point.configuration_keys import Key
from ampswarm.charge_point.file_transfer import new_version
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.schemas import Direction, validate
from tests.fakes.maintained import FOREVER, MaintainedStation
from tests.ocppj.payloads import valid

FIRMWARE = "ftp://files.example.com/swarm-22/2.4.0/image.bin"
LOGS = "https://files.example.com/logs/"
DAY = 86_400.0
WEEK = 7 * DAY

UNSIGNED = ["Downloading", "Downloaded", "Installing", "Installed"]
SIGNED = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting", "Installed"]
SCHEDULED = [
    "DownloadScheduled",
    "Downloading",
    "Downloaded",
    "SignatureVerified",
    "InstallScheduled",
    "Installing",
    "InstallRebooting",
    "Installed",
]


def update(station: MaintainedStation, location: str = FIRMWARE, *, at: float = 0.0, **more: Any) -> dict[str, Any]:
    return station.command(
        "UpdateFirmware", {"location": location, "retrieveDate": station.at(station.now + at), **more}
    )


def signed(
    station: MaintainedStation,
    request_id: int = 7,
    location: str = FIRMWARE,
    *,
    at: float = 0.0,
    install_at: float | None = None,
    signature: str = "c2lnbmF0dXJl",
    **more: Any,
) -> str:
    firmware = {
        "location": location,
        "retrieveDateTime": station.at(station.now + at),
        "signingCertificate": "-----BEGIN CERTIFICATE-----",
        "signature": signature,
    }
    if install_at is not None:
        firmware["installDateTime"] = station.at(station.now + install_at)
    status: str = station.command("SignedUpdateFirmware", {"requestId": request_id, "firmware": firmware, **more})[
        "status"
    ]
    return status


def log(
    station: MaintainedStation, request_id: int = 3, location: str = LOGS, kind: str = "SecurityLog", **more: Any
) -> dict[str, Any]:
    return station.command(
        "GetLog", {"logType": kind, "requestId": request_id, "log": {"remoteLocation": location}, **more}
    )


def actions(station: MaintainedStation) -> set[str]:
    return {each.action for each in station.sent}


def timeline(station: MaintainedStation) -> list[tuple[str, float]]:
    """Return each status sent and when, to the millisecond."""
    return [(each.payload["status"], round(each.now, 3)) for each in station.sent]


def triggers(station: MaintainedStation) -> tuple[dict[str, Any], ...]:
    """Return what the four triggers would send, each checked against its schema."""
    maintenance = station.maintenance
    payloads = (
        maintenance.firmware_status(),
        maintenance.signed_firmware_status(),
        maintenance.diagnostics_status(),
        maintenance.log_status(),
    )
    for action, payload in zip(
        (
            "FirmwareStatusNotification",
            "SignedFirmwareStatusNotification",
            "DiagnosticsStatusNotification",
            "LogStatusNotification",
        ),
        payloads,
        strict=True,
    ):
        validate(action, Direction.REQ, payload)
    return payloads


# -- UpdateFirmware ---------------------------------------------------------------------------


def test_an_update_tells_each_step_and_ends_in_the_new_version() -> None:
    """Core 5.19: every step is told; Installed comes from the new firmware, after a reboot."""
    station = MaintainedStation()
    assert update(station) == {}
    assert station.sent == []  # the answer goes first
    station.run()
    assert {"FirmwareStatusNotification"} == actions(station)
    assert station.take() == UNSIGNED
    assert len(station.restarts) == 1
    assert station.firmware_version == "2.4.0"
    assert station.events == []


def test_the_new_version_is_that_of_the_boot_before_installed() -> None:
    """BootNotification after the reboot must name the new firmware, and not before."""
    station = MaintainedStation()
    update(station)
    station.run_until("Installing")
    assert station.firmware_version == "1.0.0"
    while not station.restarts:
        station.run(station.next_moment())
    assert station.firmware_version == "2.4.0"
    assert station.take()[-1] == "Installing"


def test_the_download_waits_for_the_retrieve_date_in_silence() -> None:
    """Core 6.55 and errata 3.63: not allowed before; 5.19: as soon as possible after. Core knows no scheduled state."""
    station = MaintainedStation()
    update(station, at=2 * DAY)
    station.run(2 * DAY - 1)
    assert station.sent == []
    station.run(2 * DAY + 1)
    assert timeline(station) == [("Downloading", 2 * DAY)]


def test_a_clock_that_was_set_moves_the_retrieve_date() -> None:
    """The date is one of the central system's clock, which BootNotification.conf sets (core 4.2)."""
    station = MaintainedStation()
    update(station, at=DAY)
    station.run(10)
    station.utc_at_zero += DAY - 60
    station.maintenance.booted(station.now)
    station.run(55)
    assert station.sent == []
    station.run(65)
    assert timeline(station) == [("Downloading", 60)]


def test_a_clock_that_was_set_back_is_noticed_at_the_date() -> None:
    """A Heartbeat.conf may set the clock as well: no download before the date (core 6.55)."""
    station = MaintainedStation()
    update(station, at=100)
    station.run(50)
    station.utc_at_zero -= 1000
    station.run(1099)
    assert station.sent == []
    station.run(1101)
    assert station.take() == ["Downloading"]


@pytest.mark.parametrize("location", ["sftp://a.example.com/1.2.bin", "image-1.2.bin", "", "ftp", "://x/", "FTP:/a/b"])
def test_a_scheme_that_is_not_supported_fails_after_all_retries(location: str) -> None:
    """Core errata 3.90: SupportedFileTransferProtocols; core 6.55: retries, and the interval between them."""
    station = MaintainedStation(Template(download_time=10))
    update(station, location, retries=2, retryInterval=100)
    station.run()
    assert [each.payload["status"] for each in station.sent] == ["Downloading", "DownloadFailed"]
    # Three tries of 5 to 15 s, and two pauses.
    assert 200 + 3 * 5 <= station.sent[-1].now <= 200 + 3 * 15
    assert station.restarts == []
    assert station.firmware_version == "1.0.0"


def test_the_supported_schemes_are_those_of_the_configuration_key() -> None:
    """Core errata 3.90: a charge point without HTTP does not download by HTTP."""
    template = Template(settings=(("SupportedFileTransferProtocols", "FTP,FTPS"),))
    for location, expected in (("http://a/1.1", "DownloadFailed"), ("FTPS://a/1.1", "Installed")):
        station = MaintainedStation(template)
        update(station, location, retries=0)
        station.run()
        assert expected == station.take()[-1]


def test_retries_that_the_central_system_leaves_open_are_three_a_minute_apart() -> None:
    """Core 6.55: left to the charge point, which must give up some time and not at once."""
    station = MaintainedStation(Template(download_time=0))
    update(station, "gopher://a/b")
    station.run()
    assert timeline(station) == [("Downloading", 0), ("DownloadFailed", 180)]


@pytest.mark.parametrize(("retries", "last"), [(1, "DownloadFailed"), (2, "Installed")])
def test_a_download_that_fails_twice_needs_two_retries(retries: int, last: str) -> None:
    """A tester can see the retries succeed, not only fail."""
    station = MaintainedStation()
    update(station, "ftp://a.example.com/download-fails-2x/1.1.bin", retries=retries, retryInterval=5)
    station.run()
    assert station.take()[-1] == last


@pytest.mark.parametrize("retries", [-1, 0, 2**31])
@pytest.mark.parametrize("interval", [-5, 0])
def test_any_retries_and_interval_end_or_make_progress(retries: int, interval: int) -> None:
    """The schema takes any integer: none may keep the process busy."""
    station = MaintainedStation(Template(download_time=0))
    update(station, "ftp://a/download-fails", retries=retries, retryInterval=interval)
    station.maintenance.advance(1000.0)
    assert (station.take()[-1] == "DownloadFailed") == (retries <= 0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("install-fails", ["Downloading", "Downloaded", "Installing", "InstallationFailed"]),
        ("Verification-Fails", ["Downloading", "Downloaded", "InstallationFailed"]),
        ("invalid-signature", UNSIGNED),
    ],
)
def test_installations_fail_where_the_location_says_so(words: str, expected: list[str]) -> None:
    """Core 7.25: InstallationFailed must be reachable by choice; no reboot, no new version, connectors free again."""
    station = MaintainedStation()
    update(station, f"http://files.example.com/{words}/9.9.bin")
    station.run()
    assert expected == station.take()
    assert ("9.9" if expected == UNSIGNED else "1.0.0") == station.firmware_version
    assert not station.maintenance.wants_connectors
    assert station.unavailable == [] or not station.unavailable[-1][1]


def test_words_in_the_host_do_not_fail() -> None:
    """Only what follows the host is looked at."""
    station = MaintainedStation()
    update(station, "ftp://download-fails.example.com:21/1.1.bin")
    station.run()
    assert station.take() == UNSIGNED


def test_an_installation_waits_for_transactions_and_takes_the_other_connectors() -> None:
    """Core errata 3.49: charging goes on; connectors not in use are Unavailable until the firmware is installed."""
    station = MaintainedStation()
    station.is_charging = True
    update(station)
    station.run()
    assert station.take() == ["Downloading", "Downloaded"]
    assert [wanted for _, wanted in station.unavailable] == [True]
    assert station.maintenance.deadline == FOREVER
    station.run(10_000)
    station.end_transactions()
    assert station.sent == []  # what tells of the transaction's end goes first
    station.run_until("Installing")
    assert station.sent[-1].now == 10_000
    assert station.maintenance.wants_connectors
    station.run()
    assert station.take() == ["Installing", "Installed"]
    assert [wanted for _, wanted in station.unavailable] == [True, False]


def test_a_transaction_that_goes_on_after_another_has_ended_is_waited_for() -> None:
    """Core errata 3.49: a hint that one ended does not break the other off."""
    station = MaintainedStation()
    station.is_charging = True
    update(station)
    station.run()
    station.maintenance.transactions_ended(station.now)
    station.run()
    assert station.take() == ["Downloading", "Downloaded"]


def test_transactions_that_the_power_cut_has_ended_are_not_waited_for() -> None:
    """The update would hang for ever if a power cut ended the last transaction."""
    station = MaintainedStation()
    station.is_charging = True
    update(station)
    station.run()
    station.is_charging = False
    station.cut_power(60)
    station.run()
    assert station.take() == UNSIGNED


def test_an_end_of_transactions_outside_an_update_changes_nothing() -> None:
    """Transactions end all the time: an upload or a download under way must not be hastened by it."""
    station = MaintainedStation()
    station.maintenance.transactions_ended(0.0)
    assert station.maintenance.deadline == FOREVER
    update(station)
    station.run_until("Downloading")
    before = station.maintenance.deadline
    station.maintenance.transactions_ended(station.now)
    assert before == station.maintenance.deadline


@pytest.mark.parametrize("status", ["", "Downloading", "Downloaded", "Installing"])
def test_a_second_update_replaces_the_first(status: str) -> None:
    """UpdateFirmware.conf (core 6.56) has no way to refuse: the last one counts, from its first step."""
    station = MaintainedStation()
    station.is_charging = status == "Downloaded"
    update(station)
    if status:
        station.run_until(status)
        station.run(station.now)
    station.take()
    station.is_charging = False
    update(station, "ftp://files.example.com/3.0.bin")
    assert not station.maintenance.wants_connectors
    station.run()
    assert station.take() == UNSIGNED
    assert station.firmware_version == "3.0"
    assert len(station.restarts) == 1


def test_an_update_that_comes_while_the_new_firmware_boots_does_not_lose_installed() -> None:
    """A charge point that is Pending answers commands (core 4.2): the first update is over, the second begins."""
    station = MaintainedStation()
    update(station)
    while not station.restarts:
        station.run(station.next_moment())
    station.boots_at = FOREVER
    station.maintenance.power_back(station.now)
    update(station, "ftp://files.example.com/3.0.bin")
    station.run()
    assert [*UNSIGNED, *UNSIGNED] == station.take()
    assert station.firmware_version == "3.0"


def test_an_update_without_a_signature_is_not_supported_under_a_security_profile() -> None:
    """Whitepaper L01.FR.20: CallError NotSupported, and no update process."""
    station = MaintainedStation(Template(security_profile=2))
    with pytest.raises(OcppError) as caught:
        update(station)
    assert caught.value.code == ErrorCode.NOT_SUPPORTED
    station.run()
    assert station.sent == []
    station.configuration.set(Key.SECURITY_PROFILE, 0)
    assert update(station) == {}


@pytest.mark.parametrize("date", ["", "soon", "0001-01-01T00:00:00+23:00", "2026-13-01T00:00:00Z"])
def test_a_date_that_is_none_is_refused_and_changes_nothing(date: str) -> None:
    """The schemas take any text as a date: no charge point may die of it, nor guess."""
    station = MaintainedStation()
    update(station)
    signing = {"location": FIRMWARE, "signingCertificate": "", "signature": "aa=="}
    for action, payload in (
        ("UpdateFirmware", {"location": FIRMWARE, "retrieveDate": date}),
        ("SignedUpdateFirmware", {"requestId": 1, "firmware": {**signing, "retrieveDateTime": date}}),
        (
            "SignedUpdateFirmware",
            {"requestId": 1, "firmware": {**signing, "retrieveDateTime": station.at(0), "installDateTime": date}},
        ),
        ("GetDiagnostics", {"location": LOGS, "startTime": date}),
        (
            "GetLog",
            {"requestId": 1, "logType": "SecurityLog", "log": {"remoteLocation": LOGS, "latestTimestamp": date}},
        ),
    ):
        with pytest.raises(OcppError) as caught:
            station.command(action, payload)
        assert caught.value.code == ErrorCode.PROPERTY_CONSTRAINT_VIOLATION
    station.run()
    assert station.take() == UNSIGNED


# -- firmware versions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "present", "expected"),
    [
        ("ftp://h/fw-1.2.3.bin", "1.0.0", "1.2.3"),
        ("ftp://h/1.0/fw_V2.10.hex", "1.0.0", "2.10"),
        ("ftp://10.0.0.1/fw.bin", "1.0.0", "1.0.1"),
        ("ftp://u:p@10.0.0.1:21/fw", "1.0.9", "1.0.10"),
        ("https://h/fw?version=4.5.6", "1.0.0", "4.5.6"),
        ("fw-9.9.bin", "1.0.0", "1.0.1"),
        ("ftp://h/fw", "2026-a09-rc", "2026-a10-rc"),
        ("ftp://h/fw", "beta", "beta.1"),
        ("ftp://h/fw", "", ".1"),
        ("ftp://h/fw", "v" * 50, "v" * 50),
        ("ftp://h/fw", "9" * 50, "9" * 50),
        ("ftp://h/" + "1" * 100, "1.0.0", "1.0.1"),
        ("ftp://h/12345678901.5", "1.0.0", "1.0.1"),
        ("ftp://h/٣.٤", "1.0.0", "1.0.1"),
    ],
)
def test_the_new_version_is_read_from_the_location(location: str, present: str, expected: str) -> None:
    """A tester chooses the version by the location; the host's address is none."""
    assert expected == new_version(location, present)


@given(location=st.one_of(st.text(), st.text("0123456789./:", max_size=200).map("ftp://h/".__add__)))
def test_any_location_gives_a_version_that_fits(location: str) -> None:
    """Core 6.3: firmwareVersion has 50 characters; BootNotification would be refused otherwise."""
    version = new_version(location, "1.0.0")
    assert 1 <= len(version) <= 50
    assert version != "1.0.0" or "1.0.0" in location


# -- SignedUpdateFirmware ---------------------------------------------------------------------


def test_a_signed_update_tells_each_step_with_its_request() -> None:
    """Whitepaper L01: the states of figure 14, each with the requestId (L01.FR.10), and FirmwareUpdated in the end."""
    station = MaintainedStation()
    assert signed(station, 42) == "Accepted"
    assert station.sent == []
    station.run()
    assert {"SignedFirmwareStatusNotification"} == actions(station)
    assert {42} == {each.payload["requestId"] for each in station.sent}
    assert station.take() == SIGNED
    assert station.events == ["FirmwareUpdated"]
    assert len(station.restarts) == 1
    assert station.firmware_version == "2.4.0"


def test_a_signed_update_keeps_to_both_of_its_dates() -> None:
    """Whitepaper L01.FR.13 and 16: DownloadScheduled and InstallScheduled, then at the specified time."""
    station = MaintainedStation()
    signed(station, at=DAY, install_at=3 * DAY)
    station.run()
    times = {each.payload["status"]: each.now for each in station.sent}
    assert station.take() == SCHEDULED
    assert times["DownloadScheduled"] == 0
    assert pytest.approx(DAY) == times["Downloading"]
    assert times["InstallScheduled"] == times["SignatureVerified"] < DAY + 60
    assert pytest.approx(3 * DAY) == times["Installing"]
    assert [pytest.approx(3 * DAY), times["Installed"]] == [when for when, _ in station.unavailable]


def test_a_scheduled_installation_waits_for_transactions_as_well() -> None:
    """Whitepaper L01.FR.18 and 19: the connectors are taken from the install date on, not before."""
    station = MaintainedStation()
    station.is_charging = True
    signed(station, install_at=DAY)
    station.run(DAY - 1)
    station.end_transactions()
    station.is_charging = True
    assert not station.maintenance.wants_connectors
    station.run()
    assert SCHEDULED[1:5] == station.take()
    assert station.maintenance.wants_connectors
    station.end_transactions()
    station.run()
    assert SCHEDULED[5:] == station.take()


@pytest.mark.parametrize("signature", ["", "  ", "not base64", "YWJj!", "YQ", "ü"])
def test_a_signature_that_is_none_ends_the_update(signature: str) -> None:
    """Whitepaper L01, step 5, and L01.FR.03: InvalidSignature, and the security event."""
    station = MaintainedStation()
    signed(station, signature=signature)
    station.run()
    assert station.take() == ["Downloading", "Downloaded", "InvalidSignature"]
    assert station.events == ["InvalidFirmwareSignature"]
    assert station.restarts == []


@pytest.mark.parametrize(
    ("words", "expected", "events"),
    [
        ("download-fails", ["Downloading", "DownloadFailed"], []),
        ("invalid-signature", ["Downloading", "Downloaded", "InvalidSignature"], ["InvalidFirmwareSignature"]),
        ("verification-fails", ["Downloading", "Downloaded", "SignatureVerified", "InstallVerificationFailed"], []),
        (
            "install-fails",
            ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallationFailed"],
            [],
        ),
    ],
)
def test_signed_updates_fail_where_the_location_says_so(words: str, expected: list[str], events: list[str]) -> None:
    """Whitepaper 6.8: every failure end state must be reachable by choice; FR.29: a trigger tells it again."""
    station = MaintainedStation()
    signed(station, 5, f"ftp://files.example.com/{words}/2.0.bin", retries=1, retryInterval=1)
    station.run()
    assert expected == station.take()
    assert events == station.events
    assert station.restarts == []
    assert not station.maintenance.wants_connectors
    for _ in range(2):
        assert {"status": expected[-1], "requestId": 5} == triggers(station)[1]
    assert triggers(station)[0] == {"status": "Idle"}


def test_a_signature_over_several_lines_is_one() -> None:
    """Base64 comes wrapped from many tools."""
    station = MaintainedStation()
    signed(station, signature="c2lnbmF0\r\ndXJl\n")
    station.run()
    assert station.take() == SIGNED


@pytest.mark.parametrize("status", ["InvalidCertificate", "RevokedCertificate"])
def test_a_certificate_that_is_refused_starts_nothing_and_cancels_nothing(status: str) -> None:
    """Whitepaper L01.FR.02, 23 to 25: the certificate is looked at before the message is accepted."""
    station = MaintainedStation()
    signed(station, 1)
    station.certificate_status = status
    assert status == signed(station, 2)
    assert station.events == ["InvalidFirmwareSigningCertificate"]
    station.run()
    assert {1} == {each.payload["requestId"] for each in station.sent}
    assert station.take() == SIGNED


@pytest.mark.parametrize(
    "status", ["DownloadScheduled", "Downloading", "InstallScheduled", "Installing", "InstallRebooting"]
)
def test_a_second_signed_update_cancels_the_first(status: str) -> None:
    """Whitepaper L01.FR.26: AcceptedCanceled, and nothing more of the first one, whatever its state was."""
    station = MaintainedStation()
    signed(station, 1, at=100, install_at=1000)
    station.run_until(status)
    station.take()
    assert signed(station, 2, "gopher://nowhere", retries=0) == "AcceptedCanceled"
    station.run()
    assert [(each.payload["status"], each.payload["requestId"]) for each in station.sent] == [
        ("Downloading", 2),
        ("DownloadFailed", 2),
    ]
    assert not station.maintenance.wants_connectors
    assert station.restarts == []
    assert station.firmware_version == "1.0.0"


def test_a_signed_update_is_rejected_while_the_new_firmware_starts() -> None:
    """Whitepaper L01.FR.27: what is installed cannot be canceled, and still comes to its end."""
    station = MaintainedStation()
    signed(station, 1)
    while not station.restarts:
        station.run(station.next_moment())
    assert signed(station, 2) == "Rejected"
    station.run()
    assert station.take() == SIGNED


def test_signed_and_unsigned_updates_replace_each_other() -> None:
    """There is one firmware: two updates of it never run beside each other."""
    station = MaintainedStation()
    update(station)
    station.run_until("Downloading")
    assert signed(station, 1) == "AcceptedCanceled"
    station.run_until("Installing")
    update(station)
    assert triggers(station)[:2] == ({"status": "Idle"}, {"status": "Idle"})
    station.run()
    assert ["Downloading", *SIGNED[:4], *UNSIGNED] == station.take()


# -- GetDiagnostics and GetLog ----------------------------------------------------------------


def test_diagnostics_are_uploaded() -> None:
    """Core 5.9: the name of the file in the answer, then Uploading and Uploaded."""
    station = MaintainedStation(identity="CP 1/ä")
    assert station.command("GetDiagnostics", {"location": LOGS}) == {
        "fileName": "CP_1__-diagnostics-20260101T000000Z.log"
    }
    assert station.sent == []
    station.run()
    assert {"DiagnosticsStatusNotification"} == actions(station)
    assert station.take() == ["Uploading", "Uploaded"]


@pytest.mark.parametrize("location", ["sftp://a/b", "ftp://a/upload-fails/", "ftp://a/permission-denied"])
def test_diagnostics_that_cannot_be_uploaded_fail_after_all_retries(location: str) -> None:
    """Core 6.25 and errata 3.50: `retries` more tries, `retryInterval` seconds apart."""
    station = MaintainedStation(Template(upload_time=0))
    station.command("GetDiagnostics", {"location": location, "retries": 4, "retryInterval": 30})
    station.run()
    assert timeline(station) == [("Uploading", 0), ("UploadFailed", 120)]


def test_a_second_request_for_diagnostics_replaces_the_first() -> None:
    """The notifications have no number: two uploads at a time could not be told apart."""
    station = MaintainedStation()
    station.command("GetDiagnostics", {"location": LOGS})
    station.run_until("Uploading")
    station.command("GetDiagnostics", {"location": LOGS})
    station.run()
    assert station.take() == ["Uploading", "Uploading", "Uploaded"]


@pytest.mark.parametrize(
    ("oldest", "latest", "is_there"),
    [(None, None, True), (-10, None, True), (-10, 10, True), (None, -10, True), (10, None, False), (-10, -20, False)],
)
def test_there_are_no_records_of_the_future_nor_of_a_span_that_is_none(
    oldest: int | None, latest: int | None, *, is_there: bool
) -> None:
    """Core 5.9: then GetDiagnostics.conf has no file name; whitepaper N01.FR.01: and GetLog is not Accepted."""
    station = MaintainedStation()
    span = {} if oldest is None else {"startTime": station.at(oldest)}
    span |= {} if latest is None else {"stopTime": station.at(latest)}
    assert is_there == ("fileName" in station.command("GetDiagnostics", {"location": LOGS, **span}))
    span = {} if oldest is None else {"oldestTimestamp": station.at(oldest)}
    span |= {} if latest is None else {"latestTimestamp": station.at(latest)}
    answer = station.command(
        "GetLog", {"logType": "SecurityLog", "requestId": 1, "log": {"remoteLocation": LOGS, **span}}
    )
    assert ("Accepted" if is_there else "Rejected", is_there) == (answer["status"], "filename" in answer)
    station.run()
    assert (4 if is_there else 0) == len(station.sent)


@pytest.mark.parametrize(("kind", "part"), [("SecurityLog", "security"), ("DiagnosticsLog", "diagnostics")])
def test_a_log_is_uploaded(kind: str, part: str) -> None:
    """Whitepaper N01.FR.01 to 09: each notification has the request's number."""
    station = MaintainedStation()
    assert {"status": "Accepted", "filename": f"CP1-{part}-20260101T000000Z.log"} == log(station, 9, kind=kind)
    assert station.sent == []
    station.run()
    assert [(each.action, each.payload["status"], each.payload["requestId"]) for each in station.sent] == [
        ("LogStatusNotification", "Uploading", 9),
        ("LogStatusNotification", "Uploaded", 9),
    ]


@pytest.mark.parametrize(
    ("location", "status"),
    [
        ("ftp://a/upload-fails", "UploadFailure"),
        ("ftp://a/permission-denied", "PermissionDenied"),
        ("ftp://a/not-supported", "NotSupportedOperation"),
        ("scp://a/b", "BadMessage"),
        ("ftp://a/upload-fails-1x", "UploadFailure"),
        ("ftp://a/upload-fails-0x", "Uploaded"),
    ],
)
def test_a_log_says_why_it_could_not_be_uploaded(location: str, status: str) -> None:
    """Whitepaper N01.FR.10: as precise as possible."""
    station = MaintainedStation()
    log(station, location=location, retries=0)
    station.run()
    assert ["Uploading", status] == station.take()


def test_a_second_log_cancels_the_first_which_says_no_more() -> None:
    """Whitepaper N01.FR.11: AcceptedCanceled; 6.19 has no status for the one that was canceled."""
    station = MaintainedStation()
    log(station, 1)
    station.run_until("Uploading")
    assert log(station, 2)["status"] == "AcceptedCanceled"
    station.run()
    assert [(each.payload["status"], each.payload["requestId"]) for each in station.sent] == [
        ("Uploading", 1),
        ("Uploading", 2),
        ("Uploaded", 2),
    ]
    assert log(station, 3)["status"] == "Accepted"


@given(identity=st.text(min_size=1, max_size=300))
@example(identity="x" * 300)
def test_every_identity_makes_a_file_name(identity: str) -> None:
    """Core 6.26: 255 characters, and an identity may be anything that a URL can carry."""
    station = MaintainedStation(identity=identity)
    name = station.command("GetDiagnostics", {"location": LOGS})["fileName"]
    assert "/" not in name
    assert log(station)["filename"] != name


# -- triggers ---------------------------------------------------------------------------------


def test_triggers_are_idle_where_nothing_was_asked() -> None:
    """Core 4.4, 4.5, whitepaper 6.8, 6.19: Idle, and no requestId."""
    assert triggers(MaintainedStation()) == ({"status": "Idle"},) * 4


def test_triggers_tell_the_state_of_a_signed_update() -> None:
    """Whitepaper L01.FR.28 and 29: the last status sent, Idle after Installed. Core 4.5: not Idle when busy."""
    station = MaintainedStation()
    signed(station, 6, at=100, install_at=1000)
    seen = [triggers(station)[:2]]
    while station.next_moment() < FOREVER:
        station.run(station.next_moment())
        if seen[-1] != triggers(station)[:2]:
            seen.append(triggers(station)[:2])
    idle = {"status": "Idle"}
    assert [
        (idle, idle),
        (idle, {"status": "DownloadScheduled", "requestId": 6}),
        ({"status": "Downloading"}, {"status": "Downloading", "requestId": 6}),
        ({"status": "Downloaded"}, {"status": "InstallScheduled", "requestId": 6}),
        ({"status": "Installing"}, {"status": "Installing", "requestId": 6}),
        ({"status": "Installing"}, {"status": "InstallRebooting", "requestId": 6}),
        (idle, idle),
    ] == [state for state, _ in groupby(seen)]


def test_triggers_tell_the_state_of_an_update_without_a_signature() -> None:
    """Core 4.5: Idle only when not busy; whitepaper L01.FR.21: no status of a signed update that is none."""
    station = MaintainedStation()
    station.is_charging = True
    update(station, at=100, location="ftp://a/download-fails-1x/1.1", retries=1)
    seen = []
    for _ in range(20):
        seen.append(triggers(station)[0]["status"])
        assert triggers(station)[1] == {"status": "Idle"}
        if station.next_moment() < FOREVER:
            station.run(station.next_moment())
        elif station.is_charging:
            station.end_transactions()
    assert [state for state, _ in groupby(seen)] == ["Idle", "Downloading", "Downloaded", "Installing", "Idle"]


def test_a_failed_update_without_a_signature_is_idle() -> None:
    """Core 4.5: after the end, whatever it was, nothing is being downloaded or installed."""
    station = MaintainedStation()
    update(station, "ftp://a/install-fails")
    station.run()
    assert triggers(station)[:2] == ({"status": "Idle"}, {"status": "Idle"})


def test_triggers_tell_of_uploads_apart() -> None:
    """Core 4.4, whitepaper N01.FR.12: each has its own; a retry that waits is busy too."""
    station = MaintainedStation()
    idle = {"status": "Idle"}
    station.command("GetDiagnostics", {"location": "ftp://a/upload-fails", "retries": 1, "retryInterval": 1000})
    station.run(500)
    assert (idle, idle, {"status": "Uploading"}, idle) == triggers(station)
    log(station, 8)
    station.run(501)
    assert (idle, idle, {"status": "Uploading"}, {"status": "Uploading", "requestId": 8}) == triggers(station)
    station.run()
    assert (idle,) * 4 == triggers(station)


def test_a_new_signed_update_forgets_how_the_last_one_failed() -> None:
    """Whitepaper L01.FR.10: no number of an update that is past."""
    station = MaintainedStation()
    signed(station, 1, "ftp://a/download-fails", retries=0)
    station.run()
    signed(station, 2)
    assert triggers(station)[1] == {"status": "Idle"}
    station.run()
    assert triggers(station)[1] == {"status": "Idle"}


# -- time and power ---------------------------------------------------------------------------


def test_a_fleet_does_not_answer_in_one_instant() -> None:
    """Durations vary by half: the central system of a fleet would else get all answers in one burst."""
    ends = []
    for seed in range(200):
        station = MaintainedStation(Template(upload_time=10), seed=seed)
        station.command("GetDiagnostics", {"location": LOGS})
        station.run()
        ends.append(station.sent[-1].now)
    assert 5 <= min(ends) < 6
    assert 14 < max(ends) <= 15
    assert len(set(ends)) == 200


def ask_for_everything(station: MaintainedStation, seed: int) -> None:
    """Have all three under way, with dates, retries and pauses that differ by `seed`."""
    signed(station, 1, "ftp://a/download-fails-2x/2.0", at=seed % 100, install_at=(seed % 7) * DAY, retryInterval=7)
    station.command("GetDiagnostics", {"location": "ftp://a/upload-fails-1x/", "retryInterval": seed % 90})
    log(station, 2, "ftp://a/permission-denied", retries=seed % 5, retryInterval=1)


@given(seed=st.integers(0, 2**16), pauses=st.lists(st.floats(0, DAY), max_size=20))
def test_a_late_advance_loses_nothing_and_moves_nothing(seed: int, pauses: list[float]) -> None:
    """However late and seldom a busy worker comes round, each step has its own time, up to the reboot."""
    punctual, late = (MaintainedStation(seed=seed) for _ in range(2))
    ask_for_everything(punctual, seed)
    ask_for_everything(late, seed)
    punctual.boot_time = late.boot_time = FOREVER
    punctual.run()
    for pause in pauses:
        late.now += pause
        late.maintenance.advance(late.now)
        assert late.maintenance.deadline > late.now
    late.maintenance.advance(late.now + WEEK)
    assert punctual.sent == late.sent
    assert punctual.restarts == late.restarts
    assert late.maintenance.deadline == FOREVER


def test_an_advance_that_is_a_week_late_does_all_steps_at_their_times() -> None:
    """Time at which a step happened, not the time at which somebody looked."""
    station = MaintainedStation(Template(download_time=20, install_time=40))
    update(station, at=60)
    station.maintenance.advance(WEEK)
    times = [each.now for each in station.sent]
    assert station.take() == ["Downloading", "Downloaded", "Installing"]
    assert pytest.approx(60) == times[0]
    assert 10 <= times[1] - times[0] <= 30
    assert times[1] == times[2]
    assert 20 <= station.restarts[0] - times[2] <= 60 + 7.5


class Case:
    """Something that takes time, and what is told of it when nothing happens to it."""

    def __init__(self, name: str, told: list[str], lasts: float) -> None:
        self.name = name
        self.told = told
        self.lasts = lasts

    def __repr__(self) -> str:
        return self.name

    def begin(self, station: MaintainedStation) -> None:
        match self.name:
            case "unsigned":
                update(station)
            case "signed":
                signed(station)
            case "scheduled":
                signed(station, at=50, install_at=150)
            case "retried":
                update(station, "ftp://a/download-fails-2x/2.4.0", retryInterval=40)
            case "diagnostics":
                station.command("GetDiagnostics", {"location": LOGS})
            case "log":
                log(station, location="ftp://a/upload-fails-1x", retryInterval=20)


CASES = [
    Case("unsigned", UNSIGNED, 120),
    Case("signed", SIGNED, 120),
    Case("scheduled", SCHEDULED, 300),
    Case("retried", UNSIGNED, 300),
    Case("diagnostics", ["Uploading", "Uploaded"], 20),
    Case("log", ["Uploading", "Uploaded"], 60),
]


@settings(max_examples=300)
@given(
    case=st.sampled_from(CASES),
    seed=st.integers(0, 2**16),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 400)), max_size=4),
)
def test_a_power_cut_in_any_step_loses_nothing(case: Case, seed: int, cuts: list[tuple[float, float]]) -> None:
    """The step under way starts again and is told again; nothing is sent while off; the end is the same."""
    station = MaintainedStation(seed=seed)
    case.begin(station)
    for share, seconds in cuts:
        station.run(station.now + share * case.lasts)
        station.cut_power(seconds)
    station.run()
    told = station.take()
    # A date that passed without power is waited for no more, so that its status is left out.
    expected = [status for status in case.told if status in told or "Scheduled" not in status]
    assert expected == [status for status, _ in groupby(told)]
    assert len(told) <= len(case.told) + len(cuts)
    if "Installed" in case.told:
        assert station.firmware_version == "2.4.0"
        # None where a cut came just before it.
        assert len(station.restarts) <= 1
    assert station.events == (["FirmwareUpdated"] if "InstallRebooting" in case.told else [])
    assert not station.maintenance.wants_connectors
    assert station.maintenance.deadline == FOREVER


@pytest.mark.parametrize("status", ["Downloading", "Installing"])
def test_a_step_that_was_cut_takes_its_whole_time_again(status: str) -> None:
    """What was half downloaded when the power went is not done when it comes back."""
    station = MaintainedStation(Template(download_time=100, install_time=100))
    update(station)
    station.run_until(status)
    station.run(station.now + 40)
    station.cut_power(1000)
    back = station.now
    station.take()
    station.run(back + 49)
    assert [status] == station.take()
    assert back + 50 <= station.maintenance.deadline <= back + 150


def test_a_power_cut_does_not_shorten_the_pause_before_a_retry() -> None:
    """Core 6.25: the interval after which a retry may be attempted."""
    station = MaintainedStation(Template(upload_time=0, download_time=0))
    station.command("GetDiagnostics", {"location": "ftp://a/upload-fails-1x", "retryInterval": 100})
    update(station, "ftp://a/download-fails-1x", retryInterval=90)
    station.run(50)
    station.cut_power(10)
    station.run(100)
    assert timeline(station)[2:4] == [("Downloaded", 90), ("Installing", 90)]
    assert timeline(station)[4:] == [("Uploaded", 100)]


def test_power_that_was_never_away_starts_nothing_again() -> None:
    """A charge point that says twice that its power is back would else double its messages."""
    station = MaintainedStation()
    update(station)
    station.run_until("Downloading")
    before = station.maintenance.deadline
    station.maintenance.power_back(station.now)
    assert station.maintenance.deadline == before
    station.run()
    assert station.take() == UNSIGNED


@given(now=st.floats(0, 1e6), fraction=st.floats(0, 1), milliseconds=st.integers(1, 10**9), drift=st.floats(0, 9e-4))
@example(now=0.0, fraction=0.0, milliseconds=1000, drift=9e-4)
def test_a_date_has_come_at_the_deadline_for_it(now: float, fraction: float, milliseconds: int, drift: float) -> None:
    """A clock that every Heartbeat.conf sets moves by a hair: whoever waits for the deadline must not wait twice."""
    station = MaintainedStation()
    station.now = now
    station.utc_at_zero += fraction
    signed(station, at=milliseconds / 1000 + 0.01)
    station.maintenance.advance(now)
    assert station.take() == ["DownloadScheduled"]
    station.utc_at_zero -= drift
    station.maintenance.advance(station.maintenance.deadline)
    assert station.take() == ["Downloading"]


def test_a_date_that_passed_without_power_is_made_up_for() -> None:
    """Core 5.19: as soon as possible after the retrieve date."""
    station = MaintainedStation()
    update(station, at=100)
    station.cut_power(1000)
    station.run(1001)
    assert timeline(station) == [("Downloading", 1000)]


def test_install_rebooting_has_time_to_be_sent() -> None:
    """Whitepaper L01.FR.15: before rebooting. In the instant of the reboot it would go out after it."""
    station = MaintainedStation()
    signed(station)
    station.run_until("InstallRebooting")
    station.run()
    assert 2.5 <= station.restarts[0] - station.sent[-2].now <= 7.5
    assert station.take() == SIGNED


def test_a_power_cut_just_before_the_reboot_is_the_reboot() -> None:
    """The image is in place: the boot that follows is that of the new firmware, and no second one is due."""
    station = MaintainedStation()
    signed(station)
    station.run_until("InstallRebooting")
    assert station.firmware_version == "1.0.0"
    station.cut_power(60)
    station.run()
    assert station.take() == SIGNED
    assert station.firmware_version == "2.4.0"
    assert station.restarts == []


def test_an_upload_goes_on_after_the_reboot_of_an_update() -> None:
    """The reboot for the firmware interrupts what else is under way, and does not lose it."""
    station = MaintainedStation(Template(upload_time=1000))
    update(station)
    log(station)
    while not station.restarts:
        station.run(station.next_moment())
    station.run()
    assert [
        each.payload["status"] for each in station.sent if "Log" in each.action and each.now > station.restarts[0]
    ] == ["Uploading", "Uploaded"]
    assert [each for each in station.take() if each in UNSIGNED] == UNSIGNED


def test_a_boot_that_was_not_for_an_update_installs_nothing() -> None:
    """A Reset in the middle of a download is not the end of the update."""
    station = MaintainedStation()
    update(station)
    station.run_until("Downloading")
    station.maintenance.booted(station.now)
    assert station.take() == ["Downloading"]
    station.run()
    assert UNSIGNED[1:] == station.take()


@settings(max_examples=200)
@given(data=st.data(), count=st.integers(1, 6))
def test_any_valid_command_is_answered_by_the_schema(data: st.DataObject, count: int) -> None:
    """Whatever a central system may send, in any order: valid answers, valid messages, and an end."""
    station = MaintainedStation()
    for _ in range(count):
        action = data.draw(st.sampled_from(["UpdateFirmware", "SignedUpdateFirmware", "GetDiagnostics", "GetLog"]))
        station.command(action, data.draw(valid(action, Direction.REQ)))
        station.run(station.now + data.draw(st.floats(0, 200)))
        triggers(station)
    station.maintenance.advance(station.now + DAY)
