"""TriggerMessage and ExtendedTriggerMessage (core 5.17; core errata 3.35, 3.46; whitepaper 5.5, 6.16)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.frames import Call, CallResult
from ampswarm.ocppj.session import Answered
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

REGISTER = "Energy.Active.Import.Register"
ALL = [
    "Heartbeat",
    "StatusNotification",
    "MeterValues",
    "DiagnosticsStatusNotification",
    "FirmwareStatusNotification",
]
ALL_EXTENDED = [
    ("Heartbeat", "Heartbeat"),
    ("StatusNotification", "StatusNotification"),
    ("MeterValues", "MeterValues"),
    ("FirmwareStatusNotification", "SignedFirmwareStatusNotification"),
    ("LogStatusNotification", "LogStatusNotification"),
]


def booted(*, connectors: int = 1, **settings: str) -> Scene:
    chosen = {"MeterValueSampleInterval": "0", **settings}
    scene = Scene(Template(connectors=connectors, settings=tuple(chosen.items())))
    scene.boot(interval=86_400)
    return scene


def pending() -> Scene:
    scene = Scene()
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=3600))
    return scene


def trigger(scene: Scene, message: str, connector_id: int | None = None, *, action: str = "TriggerMessage") -> str:
    """Ask for a message; return the status."""
    request: dict[str, Any] = {"requestedMessage": message}
    if connector_id is not None:
        request["connectorId"] = connector_id
    answer = scene.command(action, request)
    assert isinstance(answer, dict)
    status: str = answer["status"]
    return status


def sent(scene: Scene) -> list[Sent]:
    return scene.serve()


@pytest.mark.parametrize("message", ALL)
def test_the_answer_goes_first_and_the_message_follows(message: str) -> None:
    """Core 5.17: SHALL first send the response, before sending the requested message."""
    scene = booted()
    scene.receive([2, "cs-1", "TriggerMessage", {"requestedMessage": message, "connectorId": 1}])
    answer, call = scene.sends()
    assert answer == CallResult("cs-1", {"status": "Accepted"})
    assert isinstance(call, Call)
    assert message == call.action


def test_what_was_triggered_is_due_from_then_on_however_long_it_waits_for_its_turn() -> None:
    """One Call at a time: the second connector's message waits for a slow answer, and DUE has to show it."""
    scene = booted(connectors=2)
    asked = scene.now
    assert trigger(scene, "MeterValues") == "Accepted"
    for waited in (3.0, 6.0):
        scene.expect("MeterValues")
        scene.now += 3
        scene.answer({})
        answered = scene.events[-1]
        assert isinstance(answered, Answered)
        assert (answered.due, answered.ended) == (asked, asked + waited)


@pytest.mark.parametrize(("message", "action"), ALL_EXTENDED)
def test_extended_triggers_send_what_the_security_extension_calls_it(message: str, action: str) -> None:
    """Whitepaper 6.16: FirmwareStatusNotification is that of the signed update here."""
    scene = booted()
    assert trigger(scene, message, 1, action="ExtendedTriggerMessage") == "Accepted"
    assert [action] == [each.action for each in sent(scene)]


@pytest.mark.parametrize("message", ALL)
def test_pending_sends_what_it_is_asked_for_and_nothing_else(message: str) -> None:
    """Core 4.2: while Pending, only what TriggerMessage asks for."""
    scene = pending()
    assert trigger(scene, message, 1) == "Accepted"
    assert [message] == [each.action for each in scene.serve(3000)]


@pytest.mark.parametrize(("message", "action"), ALL_EXTENDED)
def test_pending_obeys_the_extended_trigger_as_well(message: str, action: str) -> None:
    """Core 4.2 and whitepaper 5.5: a certificate may have to be installed before the charge point is accepted."""
    scene = pending()
    assert trigger(scene, message, 1, action="ExtendedTriggerMessage") == "Accepted"
    assert [action] == [each.action for each in scene.serve(3000)]


@pytest.mark.parametrize("action", ["TriggerMessage", "ExtendedTriggerMessage"])
def test_a_boot_is_triggered_only_before_it_was_accepted(action: str) -> None:
    """Core errata 3.35: after Accepted it is RECOMMENDED to reject; core 4.2: before, it may come early."""
    scene = pending()
    assert trigger(scene, "BootNotification", action=action) == "Accepted"
    assert [each.action for each in sent(scene)] == ["BootNotification", "StatusNotification", "StatusNotification"]
    assert trigger(scene, "BootNotification", action=action) == "Rejected"
    assert sent(scene) == []


@pytest.mark.parametrize("action", ["TriggerMessage", "ExtendedTriggerMessage"])
def test_rejected_does_not_even_answer(action: str) -> None:
    """Core 4.2: while Rejected, SHALL NOT respond to any message of the central system."""
    scene = Scene()
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Rejected", interval=600))
    assert scene.command(action, {"requestedMessage": "BootNotification"}) is None
    scene.wait(599)
    scene.expect_silence()


# -- MeterValues --------------------------------------------------------------------------------------


def test_meter_values_are_the_most_recent_ones_of_all_measurands() -> None:
    """Core errata 3.46: SHALL return the most recent measurements of MeterValuesSampledData; core 7.35: Trigger."""
    scene = booted(MeterValuesSampledData=f"{REGISTER},Power.Active.Import,Voltage")
    transaction_id = scene.start()
    scene.wait(1234)
    assert trigger(scene, "MeterValues", 1) == "Accepted"
    (told,) = sent(scene)
    assert (1, transaction_id) == (told.payload["connectorId"], told.payload["transactionId"])
    (element,) = told.payload["meterValue"]
    assert format_utc(UTC_AT_ZERO + scene.now) == element["timestamp"]
    assert {each["context"] for each in element["sampledValue"]} == {"Trigger"}
    assert [each["measurand"] for each in element["sampledValue"]] == [
        REGISTER,
        "Power.Active.Import",
        "Voltage",
        "Voltage",
        "Voltage",
    ]
    assert f"{int(11_000 * 1234 / 3600)}" == element["sampledValue"][0]["value"]


def test_meter_values_without_a_connector_are_those_of_all_that_are_metered() -> None:
    """Core 5.17: for all allowed connectorId values; this charge point has no main meter, so none for 0."""
    scene = booted(connectors=3)
    scene.start(2)
    assert trigger(scene, "MeterValues") == "Accepted"
    told = sent(scene)
    assert [(each.payload["connectorId"], each.payload.get("transactionId")) for each in told] == [
        (1, None),
        (2, 1),
        (3, None),
    ]


@pytest.mark.parametrize("connector_id", [0, 2, -1])
def test_meter_values_of_a_connector_that_is_not_metered_are_rejected(connector_id: int) -> None:
    """Core 5.17: it is up to the charge point; nothing is sent then."""
    scene = booted()
    assert trigger(scene, "MeterValues", connector_id) == "Rejected"
    assert sent(scene) == []


def test_meter_values_of_nothing_are_rejected() -> None:
    """Core 7.33: a MeterValue has at least one SampledValue, and none is configured."""
    scene = booted(MeterValuesSampledData="")
    assert trigger(scene, "MeterValues", 1) == "Rejected"
    assert sent(scene) == []


def test_a_triggered_reading_changes_nothing_of_what_comes_by_itself() -> None:
    """Core 5.17: not intended to retrieve historic data; the rhythm and the data of the transaction stay."""
    scene = booted(
        MeterValueSampleInterval="60",
        MeterValuesSampledData="Energy.Active.Import.Interval",
        StopTxnSampledData=REGISTER,
    )
    scene.start()
    scene.serve(45)
    trigger(scene, "MeterValues", 1)
    sent(scene)
    (sample,) = scene.serve(15)
    value = float(sample.payload["meterValue"][0]["sampledValue"][0]["value"])
    assert pytest.approx(11_000 / 60, abs=0.1) == value
    scene.present()
    stop = next(each for each in sent(scene) if each.action == "StopTransaction")
    assert len(stop.payload["transactionData"]) == 3


# -- others -------------------------------------------------------------------------------------------


def test_statuses_are_the_present_ones() -> None:
    """Core 5.17: without a connector, of the charge point itself and of each of its connectors."""
    scene = booted(connectors=2)
    scene.start(2)
    assert trigger(scene, "StatusNotification") == "Accepted"
    told = [(each.payload["connectorId"], each.payload["status"]) for each in sent(scene)]
    assert told == [(0, "Available"), (1, "Available"), (2, "Charging")]


@pytest.mark.parametrize("message", ["Heartbeat", "DiagnosticsStatusNotification", "FirmwareStatusNotification"])
def test_a_connector_that_means_nothing_to_a_message_is_ignored(message: str) -> None:
    """Core 5.17: if the connectorId is not relevant to the message, it should still be sent."""
    scene = booted()
    assert trigger(scene, message, 99) == "Accepted"
    assert [message] == [each.action for each in sent(scene)]


def test_idle_is_told_where_nothing_is_under_way() -> None:
    """Core 4.4, 4.5, 7.24, 7.25: Idle only when triggered, and not busy."""
    scene = booted()
    for message in ("DiagnosticsStatusNotification", "FirmwareStatusNotification"):
        trigger(scene, message)
    for message in ("FirmwareStatusNotification", "LogStatusNotification"):
        trigger(scene, message, action="ExtendedTriggerMessage")
    assert [each.payload for each in sent(scene)] == [{"status": "Idle"}] * 4


def test_what_is_under_way_is_told() -> None:
    """Core 5.17: the state, when its last notification was long ago."""
    scene = booted()
    scene.command("UpdateFirmware", {"location": "ftp://x/2.0.0.bin", "retrieveDate": scene.time()})
    scene.command("GetDiagnostics", {"location": "ftp://x"})
    scene.serve(1)
    trigger(scene, "FirmwareStatusNotification")
    trigger(scene, "DiagnosticsStatusNotification")
    assert [(each.action, each.payload["status"]) for each in sent(scene)] == [
        ("FirmwareStatusNotification", "Downloading"),
        ("DiagnosticsStatusNotification", "Uploading"),
    ]


@pytest.mark.parametrize("message", ["DiagnosticsStatusNotification", "FirmwareStatusNotification"])
def test_a_message_that_it_does_not_have_is_not_implemented(message: str) -> None:
    """Core 5.17: unknown or not implemented: SHALL return NotImplemented."""
    scene = booted(SupportedFeatureProfiles="Core,RemoteTrigger")
    assert trigger(scene, message) == "NotImplemented"
    assert sent(scene) == []


def test_without_remote_trigger_there_are_no_triggers() -> None:
    """J 4.2.3: an action of a profile that it has not is NotSupported; the extension has a trigger of its own."""
    scene = booted(SupportedFeatureProfiles="Core")
    assert scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"}) == "NotSupported"
    assert trigger(scene, "Heartbeat", action="ExtendedTriggerMessage") == "Accepted"


def test_a_trigger_does_not_wait_for_a_backlog() -> None:
    """Core 3.7: a message that is not transaction-related need not wait for the queue."""
    scene = booted(MeterValueSampleInterval="1")
    scene.start()
    scene.lose()
    scene.pass_offline(600)
    scene.connect()
    scene.expect("MeterValues")
    assert trigger(scene, "StatusNotification", 1) == "Accepted"
    scene.answer({})
    scene.expect_status("Charging")


def test_a_status_that_is_about_to_go_out_complies_with_the_trigger() -> None:
    """Core 5.17: the message just sent MAY be considered as complying with the request."""
    scene = booted()
    scene.plug_in()
    assert trigger(scene, "StatusNotification", 1) == "Accepted"
    assert [each.payload["status"] for each in sent(scene)] == ["Preparing"]


def test_what_a_lost_connection_kept_from_being_sent_is_not_sent_later() -> None:
    """Core 5.17: triggers give current information only."""
    scene = booted()
    trigger(scene, "Heartbeat")
    trigger(scene, "MeterValues")
    scene.lose()
    scene.connect()
    assert sent(scene) == []


def test_a_triggered_heartbeat_sets_the_clock_and_counts_as_one() -> None:
    """Core 4.6: the next one is due a whole interval later."""
    scene = booted()
    scene.configure("HeartbeatInterval", "100")
    scene.serve(60)
    trigger(scene, "Heartbeat")
    scene.expect("Heartbeat")
    scene.answer({"currentTime": "2030-01-01T00:00:00Z"})
    assert format_utc(scene.charge_point.utc(scene.now)) == "2030-01-01T00:00:00.000Z"
    assert pytest.approx(100) == scene.wait_until_due()
