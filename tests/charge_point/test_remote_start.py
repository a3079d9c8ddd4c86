"""What the central system starts, stops and unlocks (core 5.11, 5.12, 5.16.2, 5.18)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from tests.fakes.scene import Scene

QUIET = (("MeterValueSampleInterval", "0"),)
ONE = Template(settings=QUIET)
TWO = Template(connectors=2, settings=QUIET)


def booted(template: Template = ONE, **settings: str) -> Scene:
    scene = Scene(template)
    scene.boot(86_400)
    for key, value in settings.items():
        scene.configure(key, value)
    return scene


def start(scene: Scene, id_tag: str = "APP", **more: Any) -> object:
    """Send RemoteStartTransaction.req; return the status."""
    answer = scene.command("RemoteStartTransaction", {"idTag": id_tag, **more})
    return answer["status"] if isinstance(answer, dict) else answer


def stop(scene: Scene, transaction_id: int) -> object:
    answer = scene.command("RemoteStopTransaction", {"transactionId": transaction_id})
    return answer["status"] if isinstance(answer, dict) else answer


def unlock(scene: Scene, connector_id: int = 1) -> object:
    answer = scene.command("UnlockConnector", {"connectorId": connector_id})
    return answer["status"] if isinstance(answer, dict) else answer


def profile(amperes: float, **more: Any) -> dict[str, Any]:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": amperes}]}
    return {
        "chargingProfileId": 5,
        "stackLevel": 1,
        "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
        **more,
    }


# -- start ------------------------------------------------------------------------------------


def test_it_starts_at_once() -> None:
    """Core 5.11: without AuthorizeRemoteTxRequests, StartTransaction.req is the only question about the id tag."""
    scene = booted(AuthorizeRemoteTxRequests="false")
    scene.plug_in()
    scene.expect_status("Preparing")
    assert start(scene, connectorId=1) == "Accepted"
    request = scene.accept_start()
    assert (request["connectorId"], request["idTag"]) == (1, "APP")
    scene.expect_status("Charging")
    scene.expect_silence()


def test_the_answer_comes_before_what_it_leads_to() -> None:
    """Core errata 3.32: the answer says that it will attempt to start, not that it has."""
    scene = booted()
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.receive([2, "cs-9", "RemoteStartTransaction", {"idTag": "APP"}])
    first, second = scene.sends()
    assert first.unique_id == "cs-9"
    assert getattr(second, "action", None) == "StartTransaction"


def test_it_waits_for_the_driver_to_plug_in() -> None:
    """Core 5.11, 4.9 (A2, B3): Preparing, and the transaction begins with the cable."""
    scene = booted()
    assert start(scene) == "Accepted"
    scene.expect_status("Preparing")
    scene.wait(30)
    scene.plug_in()
    began = scene.time()
    assert began == scene.accept_start()["timestamp"]
    scene.expect_status("Charging")


def test_it_does_not_wait_for_ever() -> None:
    """Core 9.1.6: ConnectionTimeOut, and whoever plugs in later does not charge on that account."""
    scene = booted(ConnectionTimeOut="45")
    assert start(scene) == "Accepted"
    scene.expect_status("Preparing")
    assert scene.wait_until_due() == pytest.approx(45)
    scene.expect_status("Available")
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.expect_silence()


@pytest.mark.parametrize(("answer", "is_started"), [("Accepted", True), ("Blocked", False), ("ConcurrentTx", False)])
def test_it_asks_first(answer: str, is_started: bool) -> None:
    """Core 5.11: with AuthorizeRemoteTxRequests it shall behave as if in response to a local action."""
    scene = booted(AuthorizeRemoteTxRequests="true")
    scene.plug_in()
    scene.expect_status("Preparing")
    assert start(scene) == "Accepted"
    scene.authorize("APP", answer)
    assert is_started is ("StartTransaction" in [each.action for each in scene.serve()])


def test_it_asks_list_and_cache_first() -> None:
    """Core 5.11: "using the Local Authorization List, Authorization Cache and/or an Authorization.req"."""
    scene = booted(AuthorizeRemoteTxRequests="true", LocalPreAuthorize="true")
    entry = {"idTag": "APP", "idTagInfo": {"status": "Accepted"}}
    scene.command("SendLocalList", {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [entry]})
    scene.plug_in()
    scene.expect_status("Preparing")
    assert start(scene) == "Accepted"
    scene.accept_start()


def test_it_chooses_where_an_ev_is() -> None:
    """Core 5.11: without a connector the charge point is in control; an EV that is there wants to charge."""
    scene = booted(TWO)
    scene.plug_in(2)
    scene.expect_status("Preparing", 2)
    assert start(scene) == "Accepted"
    assert scene.accept_start()["connectorId"] == 2
    scene.expect_status("Charging", 2)
    assert start(scene, "APP2") == "Accepted"
    scene.expect_status("Preparing", 1)
    assert start(scene, "APP3") == "Rejected"


@pytest.mark.parametrize("connector_id", [0, 2, -1])
def test_a_connector_that_there_is_not(connector_id: int) -> None:
    """Core 6.33: a connector is above 0."""
    scene = booted()
    assert start(scene, connectorId=connector_id) == "Rejected"
    scene.expect_silence()


@pytest.mark.parametrize("state", ["charging", "promised", "faulted", "locked", "EV disconnected"])
def test_a_connector_that_cannot_start(state: str) -> None:
    """Core 5.11: Rejected, rather than Accepted and nothing."""
    scene = booted()
    match state:
        case "charging":
            scene.start()
        case "promised":
            start(scene, "OTHER")
        case "faulted":
            scene.charging.fault(1, "GroundFailure", scene.now)
        case "locked":
            scene.configure("UnlockConnectorOnEVSideDisconnect", "false")
            scene.start()
            scene.charging.disconnect_ev(1, scene.now)
        case _:
            scene.plug_in()
            scene.charging.disconnect_ev(1, scene.now)
    scene.serve()
    assert start(scene, connectorId=1) == "Rejected"
    assert start(scene) == "Rejected"
    scene.expect_silence()


def test_not_while_pending() -> None:
    """Core 4.2: RemoteStartTransaction and RemoteStopTransaction are not allowed while Pending."""
    scene = booted()
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", 600))
    assert start(scene) == "Rejected"
    assert stop(scene, 1) == "Rejected"
    assert scene.connector().authorized is None
    scene.expect_silence()


def test_the_id_tag_of_a_remote_start_stops_it_too() -> None:
    """Core 3.9, 4.1: it is an id tag like any other; its case does not count."""
    scene = booted()
    scene.plug_in()
    start(scene)
    scene.serve()
    scene.present(1, "app")
    assert scene.accept_stop()["reason"] == "Local"


# -- with a charging profile ------------------------------------------------------------------


def test_it_charges_with_the_profile_that_came_along() -> None:
    """Core 5.11, 5.16.2: the charge point shall use it for this transaction, and for no other."""
    scene = booted()
    scene.plug_in()
    scene.serve()
    assert start(scene, chargingProfile=profile(8)) == "Accepted"
    scene.serve(3600)
    assert scene.connector().power == pytest.approx(8 * 230 * 3)
    assert scene.connector().register == pytest.approx(8 * 230 * 3)
    assert stop(scene, 1) == "Accepted"
    scene.serve()
    assert scene.unplug()
    scene.serve()
    scene.start(1, "TAG1")
    assert scene.connector().power == 11_000


def test_the_profile_waits_for_the_cable() -> None:
    """Core 5.16.2: it applies to the newly started transaction, whenever that begins."""
    scene = booted()
    assert start(scene, chargingProfile=profile(8)) == "Accepted"
    scene.serve(20)
    scene.plug_in()
    scene.serve()
    assert scene.connector().power == pytest.approx(8 * 230 * 3)


def test_the_profile_goes_with_a_driver_who_does_not_come() -> None:
    """Core 5.16.2: no transaction was started with it."""
    scene = booted()
    assert start(scene, chargingProfile=profile(8)) == "Accepted"
    scene.serve(61)
    scene.start(1, "TAG1")
    assert scene.connector().power == 11_000


def test_the_profile_is_replaced_by_its_transaction_id() -> None:
    """Core 5.16.2: a SetChargingProfile for the transaction, with the same stack level, shall replace it."""
    scene = booted()
    scene.plug_in()
    start(scene, chargingProfile=profile(8))
    scene.serve()
    later = profile(10, chargingProfileId=6, transactionId=1)
    request = {"connectorId": 1, "csChargingProfiles": later}
    assert scene.command("SetChargingProfile", request) == {"status": "Accepted"}
    assert scene.connector().power == pytest.approx(10 * 230 * 3)
    assert scene.command("ClearChargingProfile", {"id": 5}) == {"status": "Unknown"}


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"chargingProfilePurpose": "TxDefaultProfile"}, id="purpose"),
        pytest.param({"chargingProfilePurpose": "ChargePointMaxProfile"}, id="whole"),
        pytest.param({"transactionId": 1}, id="transaction"),
        pytest.param({"stackLevel": 999}, id="stack"),
    ],
)
def test_a_profile_that_cannot_be(bad: dict[str, Any]) -> None:
    """Core 5.16.2, errata 3.41: it MUST be a TxProfile without a transaction, and one that the charge point takes."""
    scene = booted()
    scene.plug_in()
    scene.expect_status("Preparing")
    assert start(scene, chargingProfile=profile(8, **bad)) == "Rejected"
    scene.expect_silence()


def test_without_smart_charging_the_profile_is_ignored() -> None:
    """Core 5.11: this parameter SHOULD be ignored, not the request."""
    scene = booted(Template(settings=(*QUIET, ("SupportedFeatureProfiles", "Core"))))
    scene.plug_in()
    scene.serve()
    assert start(scene, chargingProfile=profile(8)) == "Accepted"
    scene.serve()
    assert scene.connector().power == 11_000


# -- stop -------------------------------------------------------------------------------------


def test_it_stops_and_unlocks() -> None:
    """Core 5.12: equal to a local stop: StopTransaction.req with Remote, and the cable is free."""
    scene = booted()
    assert scene.start() == 1
    assert stop(scene, 1) == "Accepted"
    request = scene.accept_stop()
    assert (request["reason"], request["transactionId"]) == ("Remote", 1)
    assert "idTag" not in request
    scene.expect_status("Finishing")
    assert scene.unplug()


@pytest.mark.parametrize("transaction_id", [0, 2, -1])
def test_it_stops_no_other_transaction(transaction_id: int) -> None:
    """Core 5.12, errata 3.33: Rejected unless a transaction with this id is ongoing."""
    scene = booted()
    scene.start()
    assert stop(scene, transaction_id) == "Rejected"
    scene.expect_silence()
    assert scene.connector().transaction is not None


def test_it_stops_the_right_one_of_two() -> None:
    """Core 5.12: by the id of the transaction, not of the connector."""
    scene = booted(TWO)
    scene.start(2, "TAG2")
    scene.start(1, "TAG1")
    assert stop(scene, 1) == "Accepted"
    scene.serve()
    assert scene.connector(2).transaction is None
    assert scene.connector(1).transaction is not None
    assert stop(scene, 1) == "Rejected"


@pytest.mark.parametrize("transaction_id", [1, -1])
def test_a_transaction_without_an_id_cannot_be_meant(transaction_id: int) -> None:
    """Core errata 3.18: as long as StartTransaction.req was not answered, there is no id, and -1 is none."""
    scene = booted()
    scene.plug_in()
    start(scene)
    scene.sends()
    assert stop(scene, transaction_id) == "Rejected"
    assert scene.connector().transaction is not None


# -- unlock -----------------------------------------------------------------------------------


def test_unlocking_stops_the_transaction_first() -> None:
    """Core 5.18: it shall finish the transaction first, as in StopTransaction, with reason UnlockCommand."""
    scene = booted()
    scene.start()
    assert unlock(scene) == "Unlocked"
    assert scene.accept_stop()["reason"] == "UnlockCommand"
    scene.expect_status("Finishing")
    assert scene.unplug()
    scene.expect_status("Available")


def test_unlocking_a_connector_without_a_transaction() -> None:
    """Core 5.18: a new attempt to unlock; nothing else changes."""
    scene = booted()
    assert unlock(scene) == "Unlocked"
    scene.plug_in()
    scene.expect_status("Preparing")
    assert unlock(scene) == "Unlocked"
    scene.expect_silence()


@pytest.mark.parametrize("connector_id", [0, 3, -1])
def test_unlocking_a_connector_that_there_is_not(connector_id: int) -> None:
    """Core errata 3.87: NotSupported when the ConnectorId is unknown."""
    assert unlock(booted(TWO), connector_id) == "NotSupported"


@pytest.mark.parametrize("template", [Template(has_cable_lock=False), Template(is_dc=True)], ids=["fixed", "DC"])
def test_unlocking_what_has_no_lock(template: Template) -> None:
    """Core 7.46: NotSupported without a connector lock; the transaction goes on."""
    scene = booted(template)
    scene.start()
    assert unlock(scene) == "NotSupported"
    assert scene.connector().transaction is not None


def test_remote_starts_that_come_together_get_connectors_of_their_own() -> None:
    """Core 5.11: what is Accepted is attempted; a connector whose id tag is being asked about is taken."""
    scene = Scene(Template(connectors=2, settings=(("AuthorizeRemoteTxRequests", "true"),)))
    scene.boot()
    for connector_id in (1, 2):
        scene.plug_in(connector_id)
    scene.serve()
    asked = [scene.command("RemoteStartTransaction", {"idTag": id_tag}) for id_tag in ("A", "B", "C")]
    assert asked == [{"status": "Accepted"}, {"status": "Accepted"}, {"status": "Rejected"}]
    started = [each.payload for each in scene.serve(1) if each.action == "StartTransaction"]
    assert {(1, "A"), (2, "B")} == {(each["connectorId"], each["idTag"]) for each in started}


def test_unlocking_fails_where_the_lock_is_broken() -> None:
    """Core 7.46: UnlockFailed is for a lock that stays closed."""
    scene = Scene()
    scene.boot()
    scene.start()
    scene.charging.fault(1, "ConnectorLockFailure", scene.now)
    assert scene.command("UnlockConnector", {"connectorId": 1}) == {"status": "UnlockFailed"}
    assert [each.payload["reason"] for each in scene.serve(1) if each.action == "StopTransaction"] == ["UnlockCommand"]
