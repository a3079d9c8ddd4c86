"""What is told of a connector: the table of core 4.9, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

ROWS = {
    "Available": "A",
    "Preparing": "B",
    "Charging": "C",
    "SuspendedEV": "D",
    "SuspendedEVSE": "E",
    "Finishing": "F",
    "Reserved": "G",
    "Unavailable": "H",
    "Faulted": "I",
}
"""The rows of the table, in the order of its columns."""
COLUMNS = {status: str(number) for number, status in enumerate(ROWS, 1)}
FIELDS = {
    "A": "2345789",
    "B": "134569",
    "C": "145689",
    "D": "135689",
    "E": "134689",
    "F": "1289",
    "G": "1289",
    "H": "123459",
    "I": "12345678",
}
TABLE = frozenset(row + column for row, columns in FIELDS.items() for column in columns)
"""Core 4.9, with B6 of core errata 3.20."""
WITHOUT_A_READER = frozenset({"A3", "A4", "A5", "H3", "H4", "H5"})
"""Core 4.9: "can be possible in a Charge Point without an authorization means"."""
QUIET = (("MeterValueSampleInterval", "0"),)
SOCKET = Template(connectors=2, settings=QUIET)
FIXED = Template(connectors=2, has_cable_lock=False, settings=QUIET)
FULL = Vehicle(soc=100.0)

Step = Callable[[Scene], object]


def profile(limit: float) -> dict[str, Any]:
    """Return a SetChargingProfile.req that limits every transaction on connector 1."""
    return {
        "connectorId": 1,
        "csChargingProfiles": {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": {
                "chargingRateUnit": "A",
                "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}],
            },
        },
    }


def reservation(scene: Scene, id_tag: str, seconds: float, connector_id: int = 1) -> dict[str, Any]:
    """Return a ReserveNow.req."""
    expires = format_utc(UTC_AT_ZERO + scene.now + seconds)
    return {"connectorId": connector_id, "expiryDate": expires, "idTag": id_tag, "reservationId": 7}


def availability(scene: Scene, kind: str, connector_id: int = 1) -> object:
    return scene.command("ChangeAvailability", {"connectorId": connector_id, "type": kind})


def remote_stop(scene: Scene) -> object:
    transaction = scene.connector().transaction
    transaction_id = -7 if transaction is None else transaction.transaction_id
    return scene.command("RemoteStopTransaction", {"transactionId": transaction_id})


STEPS: dict[str, Step] = {
    "plug": lambda scene: scene.charging.plug_in(1, Vehicle(), scene.now),
    "plug full": lambda scene: scene.charging.plug_in(1, FULL, scene.now),
    "unplug": lambda scene: scene.unplug(),
    "tag": lambda scene: scene.present(1, "TAG1"),
    "other tag": lambda scene: scene.present(1, "TAG2"),
    "timeout": lambda scene: scene.serve(60),
    "pause": lambda scene: scene.charging.pause_ev(1, scene.now, is_paused=True),
    "resume": lambda scene: scene.charging.pause_ev(1, scene.now, is_paused=False),
    "disconnect": lambda scene: scene.charging.disconnect_ev(1, scene.now),
    "reconnect": lambda scene: scene.charging.reconnect_ev(1, scene.now),
    "limit 0": lambda scene: scene.command("SetChargingProfile", profile(0)),
    "limit 5": lambda scene: scene.command("SetChargingProfile", profile(5)),
    "no limit": lambda scene: scene.command("ClearChargingProfile", {}),
    "remote start": lambda scene: scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG1"}),
    "remote stop": remote_stop,
    "unlock": lambda scene: scene.command("UnlockConnector", {"connectorId": 1}),
    "reserve": lambda scene: scene.command("ReserveNow", reservation(scene, "TAG1", 3600)),
    "reserve shortly": lambda scene: scene.command("ReserveNow", reservation(scene, "TAG1", 30)),
    "cancel": lambda scene: scene.command("CancelReservation", {"reservationId": 7}),
    "inoperative": lambda scene: availability(scene, "Inoperative"),
    "operative": lambda scene: availability(scene, "Operative"),
    "all inoperative": lambda scene: availability(scene, "Inoperative", 0),
    "all operative": lambda scene: availability(scene, "Operative", 0),
    "fault": lambda scene: scene.charging.fault(1, "GroundFailure", scene.now),
    "repair": lambda scene: scene.charging.repair(1, scene.now),
    "emergency": lambda scene: scene.charging.emergency_stop(scene.now),
    "withhold": lambda scene: scene.charging.withhold(scene.now, is_withheld=True),
    "release": lambda scene: scene.charging.withhold(scene.now, is_withheld=False),
    "keep the transaction": lambda scene: scene.configure("StopTransactionOnEVSideDisconnect", "false"),
    "keep the cable": (
        lambda scene: scene.command(
            "ChangeConfiguration", {"key": "UnlockConnectorOnEVSideDisconnect", "value": "false"}
        )
    ),
    "hour": lambda scene: scene.serve(3600),
    "day": lambda scene: scene.serve(86_400),
}


def told(sent: list[Sent], connector_id: int = 1) -> list[str]:
    """Return the statuses of a connector, from the first that was told."""
    return [
        payload["status"]
        for _, action, payload in sent
        if action == "StatusNotification" and payload["connectorId"] == connector_id
    ]


def transitions(statuses: list[str]) -> list[str]:
    """Return the fields of the table that a connector went through, from Available on."""
    return [ROWS[old] + COLUMNS[new] for old, new in pairwise(["Available", *statuses]) if old != new]


def play(template: Template, steps: list[str]) -> list[Sent]:
    scene = Scene(template)
    scene.boot(86_400)
    sent: list[Sent] = []
    for step in steps:
        outcome = STEPS[step](scene)
        if isinstance(outcome, list):
            sent += outcome
        sent += scene.serve()
    return sent


@pytest.mark.parametrize(
    ("template", "steps", "expected"),
    [
        (SOCKET, "plug", "A2"),
        (SOCKET, "tag", "A2"),
        (SOCKET, "remote start", "A2"),
        (SOCKET, "reserve", "A7"),
        (SOCKET, "inoperative", "A8"),
        (SOCKET, "all inoperative", "A8"),
        (SOCKET, "fault", "A9"),
        (SOCKET, "emergency", "A9"),
        (SOCKET, "plug, unplug", "A2 B1"),
        (FIXED, "plug, disconnect", "A2 B1"),
        (SOCKET, "tag, tag", "A2 B1"),
        (SOCKET, "tag, timeout", "A2 B1"),
        (SOCKET, "remote start, timeout", "A2 B1"),
        (SOCKET, "plug, tag", "A2 B3"),
        (SOCKET, "tag, plug", "A2 B3"),
        (SOCKET, "plug, remote start", "A2 B3"),
        (SOCKET, "plug full, tag", "A2 B4"),
        (SOCKET, "limit 0, plug, tag", "A2 B5"),
        (SOCKET, "plug, timeout", "A2 B6"),
        (SOCKET, "plug, fault", "A2 B9"),
        (FIXED, "plug, tag, disconnect", "A2 B3 C1"),
        (FIXED, "plug, tag, unplug", "A2 B3 C1"),
        (SOCKET, "plug, tag, pause", "A2 B3 C4"),
        (SOCKET, "plug, tag, day", "A2 B3 C4"),
        (SOCKET, "keep the transaction, plug, tag, disconnect", "A2 B3 C4"),
        (SOCKET, "plug, tag, limit 0", "A2 B3 C5"),
        (SOCKET, "plug, tag, limit 5", "A2 B3 C5"),
        (SOCKET, "plug, tag, tag", "A2 B3 C6"),
        (SOCKET, "plug, tag, remote stop", "A2 B3 C6"),
        (SOCKET, "plug, tag, unlock", "A2 B3 C6"),
        (SOCKET, "plug, tag, disconnect", "A2 B3 C6"),
        (FIXED, "plug, tag, tag", "A2 B3 C6"),
        (FIXED, "plug, tag, inoperative, disconnect", "A2 B3 C8"),
        (SOCKET, "plug, tag, fault", "A2 B3 C9"),
        (SOCKET, "plug, tag, emergency", "A2 B3 C9"),
        (FIXED, "plug, tag, pause, disconnect", "A2 B3 C4 D1"),
        (FIXED, "keep the transaction, plug, tag, disconnect, tag", "A2 B3 C4 D1"),
        (FIXED, "keep the transaction, plug, tag, disconnect, remote stop", "A2 B3 C4 D1"),
        (SOCKET, "plug, tag, pause, resume", "A2 B3 C4 D3"),
        (SOCKET, "keep the transaction, plug, tag, disconnect, reconnect", "A2 B3 C4 D3"),
        (SOCKET, "plug, tag, pause, limit 0", "A2 B3 C4 D5"),
        (SOCKET, "plug, tag, pause, limit 5", "A2 B3 C4 D5"),
        (SOCKET, "plug, tag, pause, tag", "A2 B3 C4 D6"),
        (FIXED, "plug, tag, pause, inoperative, disconnect", "A2 B3 C4 D8"),
        (SOCKET, "plug, tag, pause, fault", "A2 B3 C4 D9"),
        (FIXED, "plug, tag, limit 0, disconnect", "A2 B3 C5 E1"),
        (SOCKET, "plug, tag, limit 0, no limit", "A2 B3 C5 E3"),
        (SOCKET, "plug, tag, limit 0, pause, no limit", "A2 B3 C5 E4"),
        (SOCKET, "plug, tag, limit 0, remote stop", "A2 B3 C5 E6"),
        (FIXED, "plug, tag, limit 0, inoperative, disconnect", "A2 B3 C5 E8"),
        (SOCKET, "plug, tag, limit 0, fault", "A2 B3 C5 E9"),
        (SOCKET, "plug, tag, tag, unplug", "A2 B3 C6 F1"),
        (SOCKET, "plug, timeout, unplug", "A2 B6 F1"),
        (SOCKET, "plug, tag, tag, tag", "A2 B3 C6 F2 B3"),
        (SOCKET, "plug, tag, tag, remote start", "A2 B3 C6 F2 B3"),
        (SOCKET, "plug, tag, disconnect, reconnect, tag", "A2 B3 C6 F2 B3"),
        (SOCKET, "plug, timeout, disconnect, reconnect, tag", "A2 B6 F2 B3"),
        (SOCKET, "plug, tag, inoperative, tag, unplug", "A2 B3 C6 F8"),
        (SOCKET, "plug, tag, tag, inoperative, unplug", "A2 B3 C6 F8"),
        (SOCKET, "plug, tag, tag, fault", "A2 B3 C6 F9"),
        (SOCKET, "reserve, cancel", "A7 G1"),
        (SOCKET, "reserve shortly, timeout", "A7 G1"),
        (SOCKET, "reserve, tag", "A7 G2"),
        (SOCKET, "reserve, plug, tag", "A7 G2 B3"),
        (SOCKET, "reserve, inoperative", "A7 G8"),
        (SOCKET, "reserve, all inoperative", "A7 G8"),
        (SOCKET, "reserve, fault", "A7 G9"),
        (SOCKET, "inoperative, operative", "A8 H1"),
        (SOCKET, "inoperative, plug, operative", "A8 H2"),
        (SOCKET, "inoperative, plug, tag, operative, tag", "A8 H2 B3"),
        (SOCKET, "inoperative, fault", "A8 H9"),
        (SOCKET, "fault, repair", "A9 I1"),
        (SOCKET, "plug, fault, repair", "A2 B9 I2"),
        (SOCKET, "tag, fault, plug, repair", "A2 B9 I2 B3"),
        (SOCKET, "plug, tag, fault, repair", "A2 B3 C9 I3"),
        (SOCKET, "plug, tag, pause, fault, repair", "A2 B3 C4 D9 I4"),
        (SOCKET, "plug, tag, limit 0, fault, repair", "A2 B3 C5 E9 I5"),
        (SOCKET, "plug, tag, tag, fault, repair", "A2 B3 C6 F9 I6"),
        (SOCKET, "plug, tag, emergency, repair", "A2 B3 C9 I6"),
        (SOCKET, "inoperative, fault, repair", "A8 H9 I8"),
    ],
)
def test_a_transition_of_the_table(template: Template, steps: str, expected: str) -> None:
    """Core 4.9, with core errata 3.19: each of these is told, once, and nothing between."""
    statuses = told(play(template, steps.split(", ")))
    assert expected.split() == transitions(statuses)
    assert len(expected.split()) == len(statuses)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # A reservation ends when the connector is faulted (core 5.13), so there is no I7.
        ("reserve, fault, repair", "A7 G9 I1"),
        # Nor B7: the reservation outlasts the driver who did not plug in.
        ("reserve, tag, timeout", "A7 G2 B1 A7"),
        ("reserve, tag, tag", "A7 G2 B1 A7"),
        # Nor B8: a connector that somebody is about to use is made unavailable afterwards.
        ("plug, inoperative, unplug", "A2 B1 A8"),
        ("tag, inoperative, timeout", "A2 B1 A8"),
        # Unavailable stays so, whoever comes.
        ("inoperative, plug, tag, unplug, tag", "A8"),
        ("inoperative, remote start", "A8"),
        # A reserved connector with a cable in it waits for its id tag.
        ("reserve, plug, timeout, unplug", "A7"),
        ("reserve, plug, other tag", "A7"),
        # Core errata 3.49: what waits for an installation stays unavailable; there is no H6 and no H7.
        ("withhold, plug, tag, timeout, release", "A8 H2"),
        ("withhold, plug, release, timeout", "A8 H2 B6"),
        ("reserve, withhold, release", "A7 G8 H1"),
        ("reserve, plug, withhold, unplug, release", "A7 G8 H1"),
        ("plug, withhold, unplug, release", "A2 B1 A8 H1"),
        # Nothing is told of what changes nothing.
        ("fault, plug, tag, unplug", "A9"),
        ("plug, tag, resume", "A2 B3"),
    ],
)
def test_what_the_table_does_not_have(steps: str, expected: str) -> None:
    """Core 4.9: a central system that checks transitions against the table finds none that is not in it."""
    assert expected.split() == transitions(told(play(SOCKET, steps.split(", "))))


def test_every_transition_that_a_charge_point_with_a_reader_makes_is_played() -> None:
    """Core 4.9: the rows above are the whole table but for I7, which core 5.13 rules out."""
    mark = next(mark for mark in test_a_transition_of_the_table.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    played = {code for _, _, expected in mark.args[1] for code in expected.split()}
    assert TABLE - WITHOUT_A_READER - {"I7"} == played


def test_the_short_preparing_is_not_left_out() -> None:
    """Core 4.9: the status "would successively change from Preparing to Charging", also where a driver is quick."""
    scene = Scene(SOCKET)
    scene.boot()
    scene.plug_in()
    scene.present(1, "TAG1")
    scene.expect_status("Preparing")
    scene.authorize("TAG1")
    scene.accept_start()
    scene.expect_status("Charging")
    scene.expect_silence()


def test_a_fault_of_the_charge_point_is_told_of_connector_0() -> None:
    """Core 4.9: connector 0 has a status of its own; what charges meanwhile is suspended."""
    scene = Scene(SOCKET)
    scene.boot()
    scene.start()
    scene.charging.fault(0, "PowerSwitchFailure", scene.now, info="main contactor")
    sent = [payload for _, _, payload in scene.serve()]
    assert sorted((payload["connectorId"], payload["status"], payload["errorCode"]) for payload in sent) == [
        (0, "Faulted", "PowerSwitchFailure"),
        (1, "SuspendedEVSE", "NoError"),
    ]
    assert [payload["info"] for payload in sent if "info" in payload] == ["main contactor"]
    scene.charging.repair(0, scene.now)
    sent = [payload for _, _, payload in scene.serve()]
    assert sorted((payload["connectorId"], payload["status"], payload["errorCode"]) for payload in sent) == [
        (0, "Available", "NoError"),
        (1, "Charging", "NoError"),
    ]


def test_a_reservation_of_any_connector_leaves_connector_0_available() -> None:
    """Core 4.9: connector 0 knows only Available, Unavailable and Faulted."""
    scene = Scene(SOCKET)
    scene.boot()
    assert scene.command("ReserveNow", reservation(scene, "TAG1", 3600, 0)) == {"status": "Accepted"}
    assert told(scene.serve(), 0) == []
    assert scene.command("TriggerMessage", {"requestedMessage": "StatusNotification", "connectorId": 0})
    scene.expect_status("Available", 0)


def test_offline_only_the_last_status_is_told_and_only_if_it_changed() -> None:
    """Core 4.9, rules 1 and 3: no history, and nothing of a connector that is as it was."""
    scene = Scene(SOCKET)
    scene.boot()
    scene.lose()
    scene.plug_in(1)
    scene.plug_in(2)
    assert scene.unplug(2)
    scene.connect()
    scene.expect_status("Preparing", 1)
    scene.expect_silence()


def test_a_status_that_was_on_its_way_when_the_network_went_is_told_again() -> None:
    """Core 4.9: the central system may not have heard of it."""
    scene = Scene(SOCKET)
    scene.boot()
    scene.plug_in()
    assert scene.expect("StatusNotification")["status"] == "Preparing"
    scene.lose()
    scene.connect()
    scene.expect_status("Preparing")
    scene.expect_silence()


def test_a_trigger_does_not_tell_the_present_before_the_past() -> None:
    """Core 4.9, rule 4: in the order of the events, also where a triggered status waits for its turn (5.17)."""
    scene = Scene(SOCKET)
    scene.boot()
    scene.configure("ConnectionTimeOut", "20")
    assert scene.command("TriggerMessage", {"requestedMessage": "StatusNotification"}) == {"status": "Accepted"}
    assert scene.expect("StatusNotification")["connectorId"] == 0
    scene.plug_in()
    scene.wait(20)
    scene.expect_silence()
    scene.answer({})
    scene.expect_status("Available", 2)
    scene.expect_status("Preparing", 1)
    scene.expect_status("Finishing", 1)
    scene.expect_silence()


@pytest.mark.parametrize("template", [SOCKET, FIXED], ids=["socket", "fixed cable"])
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=30))
@settings(max_examples=200)
def test_no_other_transition_ever_shows(template: Template, steps: list[str]) -> None:
    """Core 4.9: whatever drivers, EVs, faults and the central system do, in any order."""
    sent = play(template, steps)
    allowed = TABLE - WITHOUT_A_READER
    for connector_id in (1, 2):
        assert set() == set(transitions(told(sent, connector_id))) - allowed
    assert set() == set(told(sent, 0)) - {"Available", "Unavailable", "Faulted"}
    for _, action, payload in sent:
        if action == "StatusNotification":
            assert (payload["status"] == "Faulted") == (payload["errorCode"] != "NoError")
