"""Who may charge, and who is asked about it (core 3.5, 3.10, 4.1)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene

QUIET = (("MeterValueSampleInterval", "0"),)
TWO = Template(connectors=2, settings=QUIET)


def booted(**settings: str) -> Scene:
    scene = Scene(TWO)
    scene.boot(86_400)
    for key, value in settings.items():
        scene.configure(key, value)
    return scene


def entry(id_tag: str, status: str = "Accepted", **info: str) -> dict[str, Any]:
    return {"idTag": id_tag, "idTagInfo": {"status": status, **info}}


def send_list(scene: Scene, *entries: dict[str, Any]) -> None:
    request = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": list(entries)}
    assert scene.command("SendLocalList", request) == {"status": "Accepted"}


def learn(scene: Scene, id_tag: str, status: str = "Accepted", **info: str) -> None:
    """Let the charge point hear of an id tag, at connector 2, by an answer to Authorize.req."""
    scene.present(2, id_tag)
    scene.authorize(id_tag, status, **info)
    if status == "Accepted":
        scene.expect_status("Preparing", 2)
        scene.present(2, id_tag)
        scene.expect_status("Available", 2)


def is_charging(scene: Scene) -> bool:
    return scene.connector().transaction is not None


def plugged(scene: Scene) -> None:
    scene.plug_in()
    scene.expect_status("Preparing")


# -- online -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
def test_who_is_not_accepted_does_not_charge(status: str) -> None:
    """Core 4.1, 7.2: any status but Accepted; the cable may still be used by somebody else."""
    scene = booted()
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", status)
    scene.expect_silence()
    assert not is_charging(scene)
    scene.present(1, "TAG2")
    scene.authorize("TAG2")
    assert scene.accept_start()["idTag"] == "TAG2"


def test_the_central_system_is_asked_about_those_it_has_accepted_before() -> None:
    """Core 9.1.13: with LocalPreAuthorize false, list and cache save no question while online."""
    scene = booted(LocalPreAuthorize="false")
    send_list(scene, entry("TAG1"))
    learn(scene, "TAG2")
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Blocked")
    scene.expect("StatusNotification")
    scene.answer({})
    scene.present(1, "TAG2")
    scene.authorize("TAG2")
    scene.accept_start()


@pytest.mark.parametrize("where", ["list", "cache"])
def test_those_who_are_known_start_without_a_question(where: str) -> None:
    """Core 3.5, 9.1.13: LocalPreAuthorize, from the local list and from the cache."""
    scene = booted(LocalPreAuthorize="true")
    if where == "list":
        send_list(scene, entry("TAG1"))
    else:
        learn(scene, "TAG1")
    plugged(scene)
    scene.present(1, "tag1")
    assert scene.accept_start()["idTag"] == "tag1"


@pytest.mark.parametrize("known", ["Blocked", "Expired", "Invalid", "ConcurrentTx", "expired since", "unknown"])
@pytest.mark.parametrize("where", ["list", "cache"])
def test_those_who_are_known_to_be_invalid_are_asked_for(where: str, known: str) -> None:
    """Core 3.5.1, 4.1: stored as not valid, or not at all, and online: Authorize.req, whose answer decides."""
    scene = booted(LocalPreAuthorize="true")
    info: dict[str, str] = {}
    status = known
    if known == "expired since":
        status, info = "Accepted", {"expiryDate": format_utc(UTC_AT_ZERO + 30)}
    if where == "list":
        send_list(scene, *([] if known == "unknown" else [entry("TAG1", status, **info)]))
    elif known != "unknown":
        learn(scene, "TAG1", status, **info)
    scene.wait(31)
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    sent = [each.action for each in scene.serve()]
    assert "StartTransaction" in sent


def test_the_local_list_goes_before_the_cache() -> None:
    """Core 3.5.3: for the same id tag, whatever the cache had learnt before the list came."""
    scene = booted(LocalPreAuthorize="true")
    learn(scene, "TAG1")
    learn(scene, "TAG2", "Blocked")
    send_list(scene, entry("TAG1", "Blocked"), entry("TAG2"))
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Blocked")
    scene.present(1, "TAG2")
    assert scene.accept_start()["idTag"] == "TAG2"


def test_the_cache_learns_from_the_answer_to_a_start_and_to_a_stop() -> None:
    """Core 3.5.1: it is updated with every idTagInfo that is received."""
    scene = booted(LocalPreAuthorize="true")
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.accept_start(1, "Accepted", parentIdTag="FAMILY")
    scene.expect_status("Charging")
    # The parent is in the cache by now: no question.
    scene.plug_in(2)
    scene.expect_status("Preparing", 2)
    scene.present(2, "TAG1")
    scene.accept_start(2, "Accepted", parentIdTag="FAMILY")
    scene.expect_status("Charging", 2)
    scene.present(1, "TAG1")
    scene.expect("StopTransaction")
    scene.answer({"idTagInfo": {"status": "Blocked"}})
    scene.expect_status("Finishing")
    scene.unplug()
    scene.expect_status("Available")
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Blocked")
    assert not is_charging(scene)


def test_a_cache_that_is_cleared_or_off_knows_nobody() -> None:
    """Core 5.4, 9.1.2: Authorize.req is sent again."""
    scene = booted(LocalPreAuthorize="true")
    learn(scene, "TAG1")
    assert scene.command("ClearCache", {}) == {"status": "Accepted"}
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Blocked")
    learn(scene, "TAG2")
    scene.configure("AuthorizationCacheEnabled", "false")
    assert scene.command("ClearCache", {}) == {"status": "Rejected"}
    scene.present(1, "TAG2")
    scene.authorize("TAG2", "Blocked")


def test_a_list_that_is_off_knows_nobody() -> None:
    """Core 9.2.1: LocalAuthListEnabled false; the list is still there when it is on again."""
    scene = booted(LocalPreAuthorize="true", AuthorizationCacheEnabled="false")
    send_list(scene, entry("TAG1"))
    scene.configure("LocalAuthListEnabled", "false")
    plugged(scene)
    scene.present(1, "TAG1")
    scene.expect("Authorize")
    scene.answer_error()
    scene.expect_silence()
    scene.configure("LocalAuthListEnabled", "true")
    scene.present(1, "TAG1")
    scene.accept_start()


def test_list_and_cache_outlast_a_power_cut() -> None:
    """Core 3.5.1, 3.5.2, errata 3.4: kept across reboots, resets and power outages."""
    scene = booted(LocalPreAuthorize="true")
    send_list(scene, entry("TAG1"))
    learn(scene, "TAG2")
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.serve()
    for connector_id, id_tag in ((1, "TAG1"), (2, "TAG2")):
        scene.plug_in(connector_id)
        scene.present(connector_id, id_tag)
        assert "Authorize" not in [each.action for each in scene.serve()]
        assert scene.connector(connector_id).transaction is not None


def test_a_driver_who_drives_on_starts_nothing() -> None:
    """The answer to Authorize.req may come when the cable is out again: then it is the id tag that came first."""
    scene = booted()
    plugged(scene)
    scene.present(1, "TAG1")
    scene.expect("Authorize")
    assert scene.unplug()
    scene.answer({"idTagInfo": {"status": "Accepted"}})
    sent = [each.action for each in scene.serve(120)]
    assert "StartTransaction" not in sent
    assert scene.connector().status == "Available"


# -- stopping ---------------------------------------------------------------------------------


def test_who_started_stops_without_a_question() -> None:
    """Core 4.1: no Authorize.req for the id tag that started it; its case does not count (7.28)."""
    scene = booted()
    scene.start()
    scene.present(1, "tag1")
    assert scene.accept_stop()["idTag"] == "tag1"


def test_who_started_stops_even_if_blocked_since() -> None:
    """Core 4.1: stopping with the same id tag asks nobody, and so cannot be refused."""
    scene = booted(LocalPreAuthorize="true")
    send_list(scene, entry("TAG1"))
    scene.start()
    send_list(scene, entry("TAG1", "Blocked"))
    scene.present(1, "TAG1")
    assert scene.accept_stop()["reason"] == "Local"


def test_another_of_the_same_group_stops() -> None:
    """Core 3.10, 4.1: asked for, as it is another id tag; StopTransaction.req names the one that stopped it."""
    scene = booted()
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": "FAMILY"}
    scene.start()
    scene.present(1, "TAG2")
    scene.authorize("TAG2", parentIdTag="family")
    stop = scene.accept_stop()
    assert (stop["idTag"], stop["reason"]) == ("TAG2", "Local")


def test_a_group_that_is_not_known_here_is_asked_for() -> None:
    """Core 3.10, 9.1.13: LocalPreAuthorize saves the question whether to charge, not of which group somebody is."""
    scene = booted(LocalPreAuthorize="true")
    learn(scene, "TAG2")
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": "FAMILY"}
    scene.start()
    scene.present(1, "TAG2")
    scene.authorize("TAG2", parentIdTag="FAMILY")
    assert scene.accept_stop()["idTag"] == "TAG2"
    scene.plug_in(2)
    scene.present(2, "TAG1")
    scene.serve()
    scene.present(2, "TAG2")
    assert scene.accept_stop()["idTag"] == "TAG2"


@pytest.mark.parametrize(
    ("status", "info"),
    [
        ("Accepted", {}),
        ("Accepted", {"parentIdTag": "OTHERS"}),
        ("Blocked", {"parentIdTag": "FAMILY"}),
    ],
)
def test_nobody_else_stops(status: str, info: dict[str, str]) -> None:
    """Core 3.10: neither without a group, nor from another one, nor who is not accepted."""
    scene = booted()
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": "FAMILY"}
    scene.start()
    scene.present(1, "TAG2")
    scene.authorize("TAG2", status, **info)
    scene.expect_silence()
    assert is_charging(scene)


def test_the_group_itself_stops_nothing() -> None:
    """Core 3.10: a parent should not be compared with what was presented, and two without one are no group."""
    scene = booted()
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": "FAMILY"}
    scene.start()
    scene.present(1, "FAMILY")
    scene.authorize("FAMILY")
    scene.expect_silence()
    assert is_charging(scene)


def test_the_group_that_only_the_answer_to_the_start_told() -> None:
    """Core 3.10, 4.8: after a remote start, the parent comes with StartTransaction.conf."""
    scene = booted()
    plugged(scene)
    scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "APP"})
    scene.accept_start(1, parentIdTag="FAMILY")
    scene.expect_status("Charging")
    scene.present(1, "TAG2")
    scene.authorize("TAG2", parentIdTag="FAMILY")
    assert scene.accept_stop()["idTag"] == "TAG2"


def test_the_group_in_the_local_list_stops_also_offline() -> None:
    """Core 3.10, 3.5: what list and cache say of a parent is enough without a central system."""
    scene = booted()
    send_list(scene, entry("TAG2", parentIdTag="FAMILY"), entry("TAG3", parentIdTag="OTHERS"))
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": "FAMILY"}
    scene.start()
    scene.lose()
    scene.present(1, "TAG3")
    assert is_charging(scene)
    scene.present(1, "TAG2")
    assert not is_charging(scene)


def test_one_transaction_is_not_stopped_for_another() -> None:
    """The answer to Authorize.req may come when the next driver charges already."""
    scene = booted()
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": "FAMILY"}
    scene.start()
    scene.present(1, "TAG2")
    scene.expect("Authorize")
    scene.present(1, "TAG1")
    scene.answer({"idTagInfo": {"status": "Accepted", "parentIdTag": "FAMILY"}})
    stops = [each.payload["idTag"] for each in scene.serve() if each.action == "StopTransaction"]
    assert stops == ["TAG1"]


# -- offline ----------------------------------------------------------------------------------

KNOWN = {
    "Accepted": entry("TAG1"),
    "Accepted for now": entry("TAG1", expiryDate=format_utc(UTC_AT_ZERO + 86_400)),
    "expired since": entry("TAG1", expiryDate=format_utc(UTC_AT_ZERO + 30)),
    "Blocked": entry("TAG1", "Blocked"),
    "Expired": entry("TAG1", "Expired"),
    "Invalid": entry("TAG1", "Invalid"),
}


@pytest.mark.parametrize(
    ("known", "authorize_offline", "allow_unknown", "expected"),
    [
        ("Accepted", "true", "false", True),
        ("Accepted", "true", "true", True),
        ("Accepted", "false", "false", False),
        ("Accepted", "false", "true", True),
        ("Accepted for now", "true", "false", True),
        ("expired since", "true", "true", False),
        ("expired since", "false", "true", False),
        ("Blocked", "true", "true", False),
        ("Blocked", "false", "true", False),
        ("Expired", "true", "true", False),
        ("Invalid", "true", "true", False),
        ("unknown", "true", "false", False),
        ("unknown", "true", "true", True),
        ("unknown", "false", "true", True),
        ("unknown", "false", "false", False),
    ],
)
@pytest.mark.parametrize("where", ["list", "cache"])
def test_offline(where: str, known: str, authorize_offline: str, allow_unknown: str, expected: bool) -> None:
    """Core 3.5, 3.5.4, 9.1.1, 9.1.12: every answer that a charge point on its own can give."""
    scene = booted(LocalAuthorizeOffline=authorize_offline, AllowOfflineTxForUnknownId=allow_unknown)
    if known in KNOWN and where == "list":
        send_list(scene, KNOWN[known])
    elif known in KNOWN:
        learn(scene, "TAG1", **KNOWN[known]["idTagInfo"])
    scene.lose()
    scene.pass_offline(60)
    scene.plug_in()
    scene.present(1, "TAG1")
    assert expected is is_charging(scene)
    scene.connect()
    starts = [each.payload["idTag"] for each in scene.serve(1) if each.action == "StartTransaction"]
    assert starts == (["TAG1"] if expected else [])


@pytest.mark.parametrize("failure", ["time-out", "CallError", "lost"])
@pytest.mark.parametrize(("known", "expected"), [("Accepted", True), ("Blocked", False), ("unknown", False)])
def test_nobody_answers_an_authorize(failure: str, known: str, expected: bool) -> None:
    """Core 3.5, J 4.1.1: a central system that does not answer is an unavailable one; the driver is not forgotten."""
    scene = booted(LocalAuthorizeOffline="true")
    if known in KNOWN:
        send_list(scene, KNOWN[known])
    plugged(scene)
    scene.present(1, "TAG1")
    scene.expect("Authorize")
    assert scene.connector().is_checking
    match failure:
        case "time-out":
            assert scene.wait_until_due() == pytest.approx(30)
            scene.outstanding = None
            scene.sends()
        case "CallError":
            scene.answer_error()
        case _:
            scene.lose()
    assert not scene.connector().is_checking
    assert expected is is_charging(scene)


def test_an_authorize_that_waits_for_its_turn_does_not_outlive_the_connection() -> None:
    """Core 3.5: the driver gets an answer from the charge point itself, and no Authorize.req is sent afterwards."""
    scene = booted(AllowOfflineTxForUnknownId="true")
    scene.plug_in()
    assert scene.expect("StatusNotification")["status"] == "Preparing"
    scene.present(1, "TAG1")
    assert not is_charging(scene)
    scene.lose()
    assert is_charging(scene)
    scene.connect()
    assert "Authorize" not in [each.action for each in scene.serve(1)]


def test_a_power_cut_forgets_who_was_asked_for() -> None:
    """A transaction that nobody waits for any more would charge somebody else's car."""
    scene = booted(AllowOfflineTxForUnknownId="true")
    plugged(scene)
    scene.present(1, "TAG1")
    scene.expect("Authorize")
    scene.outstanding = None
    scene.charge_point.power_off(scene.now)
    assert not is_charging(scene)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    assert "StartTransaction" not in [each.action for each in scene.serve(600)]


# -- conflicts --------------------------------------------------------------------------------


def conflicts(scene: Scene) -> list[tuple[int, str, str]]:
    return [
        (each.payload["connectorId"], each.payload["status"], each.payload["errorCode"])
        for each in scene.serve()
        if each.action == "StatusNotification" and each.payload["errorCode"] != "NoError"
    ]


@pytest.mark.parametrize(
    ("listed", "told", "is_conflict"),
    [
        ("Accepted", "Invalid", True),
        ("Accepted", "Expired", True),
        ("Accepted", "Accepted", False),
        ("Accepted", "ConcurrentTx", False),
        (None, "Invalid", False),
    ],
)
def test_the_answer_to_a_start_conflicts_with_the_list(listed: str | None, told: str, is_conflict: bool) -> None:
    """Core 3.5.2: StatusNotification for connector 0 with LocalListConflict, a warning; the list stays as it is."""
    scene = booted(LocalPreAuthorize="true", AllowOfflineTxForUnknownId="true")
    send_list(scene, *([entry("TAG1", listed)] if listed else []))
    scene.lose()
    scene.plug_in()
    scene.present(1, "TAG1")
    scene.connect()
    scene.id_tag_info = {"status": told}
    assert conflicts(scene) == ([(0, "Available", "LocalListConflict")] if is_conflict else [])
    assert scene.command("GetLocalListVersion", {}) == {"listVersion": 1 if listed else 0}


@pytest.mark.parametrize(("listed", "told"), [("Accepted", "Blocked"), ("Blocked", "Accepted")])
def test_the_answer_to_an_authorize_conflicts_with_the_list(listed: str, told: str) -> None:
    """Core 3.5.2 names StartTransaction.conf "for instance": any message that says otherwise is a conflict."""
    scene = booted()
    send_list(scene, entry("TAG1", listed))
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", told)
    told_of = conflicts(scene)
    assert (0, "Available", "LocalListConflict") in told_of
    assert {(0, "Available", "LocalListConflict")} == set(told_of)


def test_a_conflict_does_not_make_the_charge_point_forget_its_status() -> None:
    """Core 4.9: the warning is no new status of connector 0, so nothing is told after the next lost network."""
    scene = booted(LocalPreAuthorize="false")
    send_list(scene, entry("TAG1"))
    plugged(scene)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Blocked")
    assert conflicts(scene) == [(0, "Available", "LocalListConflict")]
    scene.lose()
    scene.connect()
    scene.expect_silence()
