"""Transactions: how they start, what flows, why they stop (core 3.5.4, 3.6, 4.8, 4.10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ampswarm.charge_point.events import TransactionEnded, TransactionStarted
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.transaction import Reason
from ampswarm.charge_point.vehicle import Vehicle
from tests.charge_point.test_connector_status import STEPS
from tests.fakes.scene import Scene, Sent

QUIET = (("MeterValueSampleInterval", "0"),)
SOCKET = Template(settings=QUIET)
FIXED = Template(has_cable_lock=False, settings=QUIET)
DC = Template(is_dc=True, power=50_000.0, settings=QUIET)


def booted(template: Template = SOCKET, **settings: str) -> Scene:
    scene = Scene(template)
    scene.boot(86_400)
    for key, value in settings.items():
        scene.configure(key, value)
    return scene


def limit(scene: Scene, amperes: float) -> None:
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": amperes}]}
    profile = {
        "chargingProfileId": 1,
        "stackLevel": 0,
        "chargingProfilePurpose": "TxDefaultProfile",
        "chargingProfileKind": "Relative",
        "chargingSchedule": schedule,
    }
    request = {"connectorId": 1, "csChargingProfiles": profile}
    assert scene.command("SetChargingProfile", request) == {"status": "Accepted"}


def of(scene: Scene, action: str, seconds: float = 0.0) -> list[dict[str, Any]]:
    """Serve for a while; return what was sent of one action."""
    return [each.payload for each in scene.serve(seconds) if each.action == action]


def in_battery(scene: Scene) -> float:
    battery = scene.connector().battery
    assert battery is not None
    return battery.energy


# -- from start to stop -----------------------------------------------------------------------


def test_a_session_from_the_cable_to_the_cable() -> None:
    """Core 4.1, 4.8, 4.9, 4.10: every message of an ordinary session, in order, and none besides."""
    scene = booted()
    scene.plug_in()
    assert scene.time() == scene.expect_status("Preparing")["timestamp"]
    scene.wait(5)
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    began = scene.time()
    assert scene.accept_start(42) == {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": began}
    scene.expect_status("Charging")
    assert scene.serve(3600) == []
    scene.present(1, "tag1")
    assert scene.accept_stop() == {
        "transactionId": 42,
        "idTag": "tag1",
        "meterStop": 11_000,
        "timestamp": scene.time(),
        "reason": "Local",
    }
    scene.expect_status("Finishing")
    assert scene.unplug()
    scene.expect_status("Available")
    scene.expect_silence()
    began_and_ended = [each for each in scene.events if isinstance(each, TransactionStarted | TransactionEnded)]
    assert began_and_ended == [
        TransactionStarted(1, "TAG1"),
        TransactionEnded(1, "TAG1", "Local", 11_000, pytest.approx(3600)),  # type: ignore[arg-type]
    ]


def test_no_energy_before_the_authorization() -> None:
    """Core 4.1: the charge point shall only supply energy after authorization."""
    scene = booted()
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.serve(30)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Blocked")
    scene.serve(20)
    assert in_battery(scene) == Vehicle().battery * Vehicle().soc / 100
    assert scene.connector().register == 0


def test_charging_does_not_wait_for_the_answer_to_its_start() -> None:
    """Core 4.8: StartTransaction.req informs about a transaction that has been started."""
    scene = booted()
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.expect("StartTransaction")
    scene.wait(20)
    assert in_battery(scene) == pytest.approx(12_000 + 11_000 * 20 / 3600)


def test_the_id_of_a_transaction_that_stopped_before_its_start_was_answered() -> None:
    """Core 4.8, errata 3.18: StopTransaction.req waits for its turn, and then knows the id."""
    scene = booted()
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    start = scene.expect("StartTransaction")
    assert start["meterStart"] == 0
    scene.wait(10)
    scene.present(1, "TAG1")
    scene.expect_silence()
    scene.answer({"transactionId": 77, "idTagInfo": {"status": "Accepted"}})
    stop = of(scene, "StopTransaction")
    assert [each["transactionId"] for each in stop] == [77]


def test_a_second_transaction_goes_on_from_the_register_of_the_first() -> None:
    """Core 7.31: the register belongs to the meter, and only grows."""
    scene = booted()
    scene.start()
    scene.serve(1800)
    scene.present(1, "TAG1")
    first = of(scene, "StopTransaction")[0]["meterStop"]
    assert scene.unplug()
    scene.serve()
    scene.plug_in()
    scene.present(1, "TAG2")
    assert [first] == [each["meterStart"] for each in of(scene, "StartTransaction")]


def test_two_connectors_charge_at_the_same_time() -> None:
    """Core 3.8, 4.8: each with a meter and an id of its own."""
    scene = booted(Template(connectors=2, settings=QUIET))
    assert (scene.start(1, "TAG1"), scene.start(2, "TAG2")) == (1, 2)
    scene.serve(360)
    scene.present(1, "TAG1")
    scene.serve(360)
    scene.present(2, "TAG2")
    stops = of(scene, "StopTransaction")
    assert [(each["transactionId"], each["idTag"], each["meterStop"]) for each in stops] == [(2, "TAG2", 2200)]
    assert (int(scene.connector(1).register), int(scene.connector(2).register)) == (1100, 2200)


def test_nothing_charges_before_the_charge_point_was_ever_accepted() -> None:
    """Core 4.2.1: advisable to deny all charging; there is nobody to tell of a transaction."""
    scene = Scene(Template(settings=(*QUIET, ("AllowOfflineTxForUnknownId", "true"))))
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", 600))
    scene.plug_in()
    scene.present(1, "TAG1")
    scene.expect_silence()
    assert scene.connector().transaction is None


def test_after_a_reboot_it_charges_also_while_pending() -> None:
    """Core 4.2, 4.2.1: once accepted, a pending charge point works as if offline, and tells it afterwards."""
    scene = booted(AllowOfflineTxForUnknownId="true")
    scene.lose()
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", 600))
    scene.plug_in()
    scene.present(1, "TAG1")
    scene.expect_silence()
    began = scene.time()
    scene.wait(600)
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted", 86_400))
    sent = scene.serve(1)
    assert [began] == [each.payload["timestamp"] for each in sent if each.action == "StartTransaction"]
    assert [
        (each.payload["connectorId"], each.payload["status"]) for each in sent if each.action == "StatusNotification"
    ] == [(0, "Available"), (1, "Charging")]


# -- what flows -------------------------------------------------------------------------------


@given(
    soc=st.floats(0, 100),
    target=st.floats(1, 100),
    template=st.sampled_from([SOCKET, FIXED, DC]),
    seconds=st.lists(st.integers(1, 20_000), min_size=1, max_size=4),
)
def test_the_meter_counts_what_the_battery_gets(
    soc: float, target: float, template: Template, seconds: list[int]
) -> None:
    """Core 4.8, 4.10: meterStop - meterStart is the energy that flowed, whatever interrupts it."""
    scene = booted(template)
    scene.start(vehicle=Vehicle(soc=soc, target_soc=target))
    before = in_battery(scene)
    stops: list[dict[str, Any]] = []
    for index, pause in enumerate(seconds):
        stops += of(scene, "StopTransaction", pause)
        scene.charging.pause_ev(1, scene.now, is_paused=index % 2 == 0)
    got = in_battery(scene) - before
    scene.present(1, "TAG1")
    stops += of(scene, "StopTransaction")
    assert len(stops) == 1
    assert stops[0]["meterStop"] == pytest.approx(got, abs=1.001)
    assert stops[0]["meterStop"] <= got + 1e-3


def test_an_ev_that_is_full_suspends_and_keeps_its_transaction() -> None:
    """Core 3.6, 4.9 (C4), errata 3.55: the EV takes no more; the transaction goes on until somebody stops it."""
    scene = booted()
    scene.start(vehicle=Vehicle(battery=10_000, soc=50, target_soc=80))
    assert scene.wait_until_due() == pytest.approx(3000 / 11_000 * 3600, abs=0.01)
    scene.expect_status("SuspendedEV")
    assert scene.serve(36_000) == []
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 3000


def test_an_ev_that_pauses_gets_nothing_meanwhile() -> None:
    """Core 3.6: an EV-initiated suspension separates two energy transfer periods of one transaction."""
    scene = booted()
    scene.start()
    scene.serve(360)
    scene.charging.pause_ev(1, scene.now, is_paused=True)
    scene.expect_status("SuspendedEV")
    scene.serve(3600)
    scene.charging.pause_ev(1, scene.now, is_paused=False)
    scene.expect_status("Charging")
    scene.serve(360)
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 2200


@pytest.mark.parametrize("amperes", [0, 5.9])
def test_an_evse_that_offers_nothing_suspends(amperes: float) -> None:
    """Core 3.6, 4.9 (C5, E3): a profile of 0, or of less than the 6 A that an EV can use (IEC 61851)."""
    scene = booted()
    scene.start()
    scene.serve(360)
    limit(scene, amperes)
    scene.expect_status("SuspendedEVSE")
    assert scene.connector().power == 0
    scene.serve(3600)
    limit(scene, 6)
    scene.expect_status("Charging")
    scene.serve(360)
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 1100 + 414


@pytest.mark.parametrize("amperes", [0, 5])
@pytest.mark.parametrize("vehicle", [Vehicle(soc=100), Vehicle()], ids=["full", "paused"])
def test_suspended_by_both_is_suspended_by_the_evse(amperes: float, vehicle: Vehicle) -> None:
    """Core 4.9: SuspendedEVSE shall have precedence over SuspendedEV."""
    scene = booted()
    scene.start(vehicle=vehicle)
    scene.charging.pause_ev(1, scene.now, is_paused=True)
    scene.serve()
    assert scene.connector().status == "SuspendedEV"
    limit(scene, amperes)
    scene.expect_status("SuspendedEVSE")
    limit(scene, 16)
    scene.expect_status("SuspendedEV")


def test_a_faulted_connector_gives_nothing() -> None:
    """Core 7.7: Faulted is not available for energy delivery; the transaction is there again after the repair."""
    scene = booted()
    scene.start()
    scene.serve(360)
    scene.charging.fault(1, "OverCurrentFailure", scene.now)
    assert scene.expect_status("Faulted")["errorCode"] == "OverCurrentFailure"
    scene.serve(3600)
    scene.charging.repair(1, scene.now)
    assert scene.expect_status("Charging")["errorCode"] == "NoError"
    scene.serve(360)
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 2200


# -- whatever happens -------------------------------------------------------------------------


def connect(scene: Scene) -> None:
    while not scene.charge_point.attempt(scene.now):
        scene.wait_until_due()
        scene.charge_point.advance(scene.now)
    scene.charge_point.opened(scene.now)


def go_offline(scene: Scene) -> None:
    scene.outstanding = None
    scene.charge_point.lost(scene.now)
    scene.pass_offline(20)


def lose_power(scene: Scene) -> None:
    scene.outstanding = None
    scene.charge_point.power_off(scene.now)
    scene.pass_offline(20)
    scene.charge_point.power_on(scene.now)


CUTS = {"offline": go_offline, "no power": lose_power}


@example(["plug", "tag", "offline", "tag", "unplug", "plug", "tag", "no power", "online", "tag"])
@given(st.lists(st.sampled_from([*sorted(STEPS), "tag", "plug", "online", *CUTS]), max_size=40))
def test_starts_and_stops_are_told_in_pairs(steps: list[str]) -> None:
    """Core 3.7, 4.8, 4.10: whatever happens on and off the network, each transaction is told once, in order."""
    scene = Scene(Template(settings=(*QUIET, ("AllowOfflineTxForUnknownId", "true"))))
    scene.boot(86_400)
    sent: list[Sent] = []
    for step in [*steps, "online", "operative"]:
        if step == "online":
            if not scene.is_open():
                connect(scene)
        elif step in CUTS:
            if scene.is_open():
                CUTS[step](scene)
        elif scene.is_open():
            outcome = STEPS[step](scene)
            sent += outcome if isinstance(outcome, list) else []
        elif step in {"plug", "unplug", "tag", "pause", "resume", "disconnect", "reconnect", "fault", "repair"}:
            STEPS[step](scene)
        if scene.is_open():
            sent += scene.serve(1)
    pairs = [each for each in sent if each.action in {"StartTransaction", "StopTransaction"}]
    register, at = 0, ""
    for index, message in enumerate(pairs):
        is_start = index % 2 == 0
        assert message.action == ("StartTransaction" if is_start else "StopTransaction")
        reading = message.payload["meterStart" if is_start else "meterStop"]
        assert register <= reading
        assert at <= message.payload["timestamp"]
        if not is_start:
            assert message.payload["transactionId"] == index // 2 + 1
        register, at = reading, message.payload["timestamp"]
    assert (len(pairs) % 2 == 1) is (scene.connector().transaction is not None)
    assert len(pairs) == sum(isinstance(each, TransactionStarted | TransactionEnded) for each in scene.events)


# -- why it stops -----------------------------------------------------------------------------


def cut_power(scene: Scene) -> None:
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()


def come_back(scene: Scene) -> None:
    scene.lose()
    scene.connect()


def reset(kind: str) -> Callable[[Scene], object]:
    def act(scene: Scene) -> None:
        scene.receive([2, "cs-reset", "Reset", {"type": kind}])

    return act


def reboot(scene: Scene) -> None:
    scene.charge_point.restart(scene.now)


def stop_for_another_reason(scene: Scene) -> None:
    scene.charging.stop(scene.connector(), Reason.OTHER, scene.now)


@pytest.mark.parametrize(
    ("reason", "id_tag", "act"),
    [
        ("EmergencyStop", None, lambda scene: scene.charging.emergency_stop(scene.now)),
        ("EVDisconnected", None, lambda scene: scene.charging.disconnect_ev(1, scene.now)),
        ("HardReset", None, reset("Hard")),
        ("Local", "TAG1", lambda scene: scene.present(1, "TAG1")),
        ("Other", None, stop_for_another_reason),
        ("PowerLoss", None, cut_power),
        ("Reboot", None, reboot),
        ("Remote", None, lambda scene: scene.command("RemoteStopTransaction", {"transactionId": 1})),
        ("SoftReset", None, reset("Soft")),
        ("UnlockCommand", None, lambda scene: scene.command("UnlockConnector", {"connectorId": 1})),
    ],
)
def test_every_reason(reason: str, id_tag: str | None, act: Callable[[Scene], object]) -> None:
    """Core 7.36, 4.10: the right reason; the id tag only where somebody showed it; the meter as it was."""
    scene = booted()
    scene.start()
    scene.serve(360)
    at = scene.time()
    act(scene)
    stops = of(scene, "StopTransaction", 1)
    if scene.charge_point.link == "closing":
        come_back(scene)
        stops += of(scene, "StopTransaction", 1)
    assert [(1, reason, id_tag, 1100, at)] == [
        (each["transactionId"], each["reason"], each.get("idTag"), each["meterStop"], each["timestamp"])
        for each in stops
    ]
    assert [reason] == [each.reason for each in scene.events if isinstance(each, TransactionEnded)]


def test_an_emergency_stop_stops_all() -> None:
    """Core 7.36: and no connector can be used until it is repaired."""
    scene = booted(Template(connectors=2, settings=QUIET))
    scene.start(1, "TAG1")
    scene.start(2, "TAG2")
    scene.charging.emergency_stop(scene.now)
    sent = scene.serve()
    assert sorted(each.payload["transactionId"] for each in sent if each.action == "StopTransaction") == [1, 2]
    told = [each.payload for each in sent if each.action == "StatusNotification"]
    assert [(each["connectorId"], each["status"]) for each in told] == [(1, "Faulted"), (2, "Faulted")]
    assert scene.unplug(1)
    scene.plug_in(1)
    scene.present(1, "TAG3")
    scene.expect_silence()


def test_the_clock_that_is_set_back_ends_no_transaction_before_it_began() -> None:
    """Core 4.6 lets the central system set the clock at any time; a negative duration would be billed."""
    scene = booted(HeartbeatInterval="60")
    began = scene.time()
    scene.start()
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.answer({"currentTime": "2025-12-31T00:00:00Z"})
    scene.present(1, "TAG1")
    assert began == scene.accept_stop()["timestamp"]


# -- the EV's side ----------------------------------------------------------------------------


@pytest.mark.parametrize("unlock", ["true", "false"])
def test_a_disconnected_ev_does_not_stop_the_transaction(unlock: str) -> None:
    """Core 4.10: StopTransactionOnEVSideDisconnect false has priority: the cable stays, the transaction goes on."""
    scene = booted(StopTransactionOnEVSideDisconnect="false", UnlockConnectorOnEVSideDisconnect=unlock)
    scene.start()
    scene.serve(360)
    scene.charging.disconnect_ev(1, scene.now)
    told = scene.expect_status("SuspendedEV")
    assert (told["errorCode"], told["info"]) == ("NoError", "EV side disconnected")
    assert not scene.unplug()
    scene.serve(3600)
    scene.charging.reconnect_ev(1, scene.now)
    assert "info" not in scene.expect_status("Charging")
    scene.serve(360)
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 2200
    scene.expect_status("Finishing")
    assert scene.unplug()
    scene.expect_status("Available")


def test_a_disconnected_ev_stops_the_transaction_and_unlocks() -> None:
    """Core 4.10, 4.9: both keys true: Finishing with the reason in words, and the cable can be taken."""
    scene = booted(UnlockConnectorOnEVSideDisconnect="true")
    scene.start()
    scene.charging.disconnect_ev(1, scene.now)
    assert scene.accept_stop()["reason"] == "EVDisconnected"
    told = scene.expect_status("Finishing")
    assert (told["errorCode"], told["info"]) == ("NoError", "EV side disconnected")
    scene.charging.reconnect_ev(1, scene.now)
    scene.serve(600)
    assert scene.connector().power == 0
    assert scene.unplug()
    assert "info" not in scene.expect_status("Available")


def test_a_disconnected_ev_leaves_a_locked_cable() -> None:
    """Core 4.10, 9.1.33: UnlockConnectorOnEVSideDisconnect false: locked until the user presents the identifier."""
    scene = booted(UnlockConnectorOnEVSideDisconnect="false")
    scene.start()
    scene.charging.disconnect_ev(1, scene.now)
    assert scene.accept_stop()["reason"] == "EVDisconnected"
    scene.expect_status("Finishing")
    assert not scene.unplug()
    scene.present(1, "TAG2")
    scene.expect_silence()
    assert not scene.unplug()
    scene.present(1, "tag1")
    scene.expect_status("Available")
    scene.expect_silence()


def test_a_locked_cable_is_no_new_transaction() -> None:
    """Core 4.10: reconnected, energy is not allowed until a new transaction is started, by another presentation."""
    scene = booted(UnlockConnectorOnEVSideDisconnect="false")
    scene.start()
    scene.charging.disconnect_ev(1, scene.now)
    scene.serve()
    scene.charging.reconnect_ev(1, scene.now)
    scene.present(1, "TAG1")
    scene.expect_silence()
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.accept_start(2)


def test_the_fixed_cable_of_an_ev_that_left_needs_nobody() -> None:
    """Core 4.9 (C1), errata 3.84: no lock, no Finishing."""
    scene = booted(FIXED)
    scene.start()
    scene.charging.disconnect_ev(1, scene.now)
    assert scene.accept_stop()["reason"] == "EVDisconnected"
    scene.expect_status("Available")
    scene.plug_in()
    scene.expect_status("Preparing")


def test_a_transaction_without_its_ev_is_stopped_and_the_fixed_cable_is_free() -> None:
    """Core 4.9 (D1): nobody is left to take a cable out, so nothing is left to be finished."""
    scene = booted(FIXED, StopTransactionOnEVSideDisconnect="false")
    scene.start()
    scene.charging.disconnect_ev(1, scene.now)
    scene.expect_status("SuspendedEV")
    scene.command("RemoteStopTransaction", {"transactionId": 1})
    assert scene.accept_stop()["reason"] == "Remote"
    scene.expect_status("Available")
    scene.plug_in()
    scene.expect_status("Preparing")


def test_an_ev_cannot_drive_away_with_a_locked_cable() -> None:
    """Core 4.10: pulling at the socket's side gets nothing out; it is the EV's side that comes off."""
    scene = booted(StopTransactionOnEVSideDisconnect="false")
    scene.start()
    assert not scene.unplug()
    scene.expect_status("SuspendedEV")
    assert scene.connector().transaction is not None


# -- who was not accepted after all -----------------------------------------------------------


def invalid(scene: Scene, status: str = "Invalid", **info: str) -> None:
    """Start a transaction that the central system does not accept."""
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.present(1, "TAG1")
    scene.authorize("TAG1", **info)
    scene.accept_start(1, status, **info)


@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
def test_an_id_tag_that_is_not_accepted_stops_its_transaction(status: str) -> None:
    """Core errata 3.17, 3.5.4: with StopTransactionOnInvalidId, reason DeAuthorized, online as well."""
    scene = booted()
    invalid(scene, status)
    sent = {each.action: each.payload for each in scene.serve()}
    assert (sent["StopTransaction"]["reason"], sent["StopTransaction"]["transactionId"]) == ("DeAuthorized", 1)
    assert "idTag" not in sent["StopTransaction"]
    assert sent["StatusNotification"]["status"] == "Finishing"


def test_the_cable_of_one_who_was_not_accepted_stays_locked() -> None:
    """Core errata 3.5: until the id tag of the start is presented again; another one does not do."""
    scene = booted()
    invalid(scene)
    scene.serve()
    assert not scene.unplug()
    scene.present(1, "TAG2")
    scene.expect_silence()
    assert not scene.unplug()
    scene.present(1, "TAG1")
    scene.expect_silence()
    assert scene.unplug()
    scene.expect_status("Available")


def test_another_of_the_same_group_gets_the_locked_cable() -> None:
    """Core errata 3.5: "or an identifier with the same ParentIdTag"."""
    scene = booted()
    invalid(scene, parentIdTag="FAMILY")
    scene.serve()
    scene.present(1, "TAG2")
    scene.authorize("TAG2", parentIdTag="OTHERS")
    assert not scene.unplug()
    scene.serve()
    scene.present(1, "TAG3")
    scene.authorize("TAG3", parentIdTag="family")
    assert scene.unplug()
    scene.expect_status("Available")


def test_the_help_desk_unlocks_a_cable() -> None:
    """Core 5.18: UnlockConnector helps a driver who cannot get the cable out."""
    scene = booted()
    invalid(scene)
    scene.serve()
    assert not scene.unplug()
    assert scene.command("UnlockConnector", {"connectorId": 1}) == {"status": "Unlocked"}
    assert scene.unplug()


def test_a_fixed_cable_is_never_locked() -> None:
    """Core errata 3.5: "if the charge point has the possibility to lock"."""
    scene = booted(FIXED)
    invalid(scene)
    scene.serve()
    assert scene.unplug()


def test_who_was_not_accepted_only_gets_no_energy() -> None:
    """Core errata 3.17, 4.9 (C5): with StopTransactionOnInvalidId false the transaction goes on without energy."""
    scene = booted(StopTransactionOnInvalidId="false")
    invalid(scene)
    scene.expect_status("Charging")
    scene.expect_status("SuspendedEVSE")
    assert scene.serve(36_000) == []
    assert scene.connector().power == 0
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 0


def test_who_was_not_accepted_gets_enough_to_drive_away() -> None:
    """Core 3.5.4, 9.1.14: MaxEnergyOnInvalidId, counted from when it is invalidated."""
    scene = booted(StopTransactionOnInvalidId="false", MaxEnergyOnInvalidId="1100")
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.expect("StartTransaction")
    scene.wait(18)
    scene.answer({"transactionId": 1, "idTagInfo": {"status": "Invalid"}})
    scene.expect_status("Charging")
    assert scene.wait_until_due() == pytest.approx(360, abs=0.01)
    scene.expect_status("SuspendedEVSE")
    scene.serve(3600)
    scene.present(1, "TAG1")
    assert scene.accept_stop()["meterStop"] == 1100 + 55


def test_who_was_not_accepted_offline_is_stopped_on_return() -> None:
    """Core 3.5.4: the start was authorized offline; the answer comes when the connection is restored."""
    scene = booted(AllowOfflineTxForUnknownId="true")
    scene.lose()
    scene.plug_in()
    scene.present(1, "TAG1")
    scene.pass_offline(360)
    scene.connect()
    scene.id_tag_info = {"status": "Blocked"}
    sent = [(each.action, each.payload) for each in scene.serve(1) if each.action != "StatusNotification"]
    (started, start), (stopped, stop) = sent
    assert (started, stopped) == ("StartTransaction", "StopTransaction")
    assert stop["reason"] == "DeAuthorized"
    assert stop["meterStop"] - start["meterStart"] == pytest.approx(1100, abs=10)


def test_an_answer_that_comes_after_the_end_changes_nothing() -> None:
    """Core 3.5.4: only "when the transaction is still ongoing"; no cable is locked, nothing is stopped twice."""
    scene = booted(AllowOfflineTxForUnknownId="true")
    scene.lose()
    scene.plug_in()
    scene.present(1, "TAG1")
    scene.pass_offline(360)
    scene.present(1, "TAG1")
    scene.connect()
    scene.id_tag_info = {"status": "Blocked"}
    assert [each["reason"] for each in of(scene, "StopTransaction", 1)] == ["Local"]
    assert scene.unplug()


# -- ConnectionTimeOut ------------------------------------------------------------------------


def test_a_driver_who_does_not_plug_in_loses_the_authorization() -> None:
    """Core 9.1.6, errata 3.21, 3.77: from Preparing back to Available after ConnectionTimeOut."""
    scene = booted(ConnectionTimeOut="90")
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.expect_status("Preparing")
    assert scene.wait_until_due() == pytest.approx(90)
    scene.expect_status("Available")
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.expect_silence()


def test_a_cable_without_an_id_tag_has_to_go() -> None:
    """Core errata 3.20 (B6): Finishing, so that nobody else's id tag starts a transaction on this cable."""
    scene = booted(ConnectionTimeOut="90")
    scene.plug_in()
    scene.expect_status("Preparing")
    assert scene.wait_until_due() == pytest.approx(90)
    scene.expect_status("Finishing")
    scene.present(1, "TAG2")
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG2"}) == {"status": "Rejected"}
    scene.expect_silence()
    assert scene.unplug()
    scene.expect_status("Available")
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.accept_start()


def test_the_time_counts_from_preparing() -> None:
    """Core errata 3.77: "from beginning of status: 'Preparing'", and not again from a refused id tag."""
    scene = booted(ConnectionTimeOut="90")
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.wait(60)
    scene.present(1, "TAG1")
    scene.authorize("TAG1", "Invalid")
    assert scene.wait_until_due() == pytest.approx(30)
    scene.expect_status("Finishing")


def test_a_transaction_knows_no_connection_time_out() -> None:
    """Core 9.1.6: it ends what is incipient only."""
    scene = booted(ConnectionTimeOut="90")
    scene.start()
    assert scene.serve(3600) == []
    assert scene.connector().transaction is not None


def test_an_id_tag_that_is_presented_twice_is_taken_back() -> None:
    """Core 4.9 (B1): "second presentation of idTag" ends the intended usage."""
    scene = booted()
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.expect_status("Preparing")
    scene.present(1, "tag1")
    scene.expect_status("Available")
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.expect_silence()
    assert scene.connector().transaction is None
