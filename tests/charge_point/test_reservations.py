"""Reservations: who may charge where, and until when (core 3.11, 5.1, 5.13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene

QUIET = (("MeterValueSampleInterval", "0"),)
ONE = Template(settings=QUIET)
TWO = Template(connectors=2, settings=QUIET)


def booted(template: Template = ONE) -> Scene:
    scene = Scene(template)
    scene.boot(86_400)
    return scene


def reserve(
    scene: Scene,
    id_tag: str = "TAG1",
    connector_id: int = 1,
    reservation_id: int = 7,
    seconds: float = 3600,
    **more: str,
) -> object:
    """Send ReserveNow.req; return the status, or the code of the CallError."""
    request = {
        "connectorId": connector_id,
        "expiryDate": format_utc(UTC_AT_ZERO + scene.now + seconds),
        "idTag": id_tag,
        "reservationId": reservation_id,
        **more,
    }
    answer = scene.command("ReserveNow", request)
    return answer["status"] if isinstance(answer, dict) else answer


def cancel(scene: Scene, reservation_id: int = 7) -> object:
    answer = scene.command("CancelReservation", {"reservationId": reservation_id})
    assert isinstance(answer, dict)
    return answer["status"]


def available(scene: Scene, connector_id: int, *, is_operative: bool) -> object:
    kind = "Operative" if is_operative else "Inoperative"
    return scene.command("ChangeAvailability", {"connectorId": connector_id, "type": kind})


def starts(scene: Scene, id_tag: str, connector_id: int = 1, **info: str) -> dict[str, Any] | None:
    """Let somebody plug in and present an id tag that the central system accepts; return StartTransaction.req."""
    scene.id_tag_info = {"status": "Accepted", **info}
    if not scene.connector(connector_id).is_plugged:
        scene.plug_in(connector_id)
    scene.present(connector_id, id_tag)
    sent = [each.payload for each in scene.serve() if each.action == "StartTransaction"]
    assert len(sent) <= 1
    return sent[0] if sent else None


def test_a_reservation_is_told_as_a_status() -> None:
    """Core 5.13, 4.9 (A7): the answer, and StatusNotification."""
    scene = booted()
    assert reserve(scene) == "Accepted"
    scene.expect_status("Reserved")
    scene.expect_silence()


def test_the_reserved_id_tag_starts_and_names_its_reservation() -> None:
    """Core 5.13, 4.8: StartTransaction.req tells which reservation it ends; the next one has none to tell."""
    scene = booted()
    reserve(scene)
    start = starts(scene, "tag1")
    assert start is not None
    assert start["reservationId"] == 7
    assert cancel(scene) == "Rejected"
    scene.present(1, "TAG1")
    scene.serve()
    assert scene.unplug()
    scene.serve()
    again = starts(scene, "TAG2")
    assert again is not None
    assert "reservationId" not in again


def test_nobody_else_starts() -> None:
    """Core 5.13: it shall refuse charging for all other id tags, whatever the central system says of them."""
    scene = booted()
    reserve(scene)
    scene.expect_status("Reserved")
    scene.plug_in()
    scene.present(1, "TAG2")
    scene.authorize("TAG2")
    scene.expect_silence()
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    assert scene.accept_start()["reservationId"] == 7


def test_one_of_the_reserved_group_starts() -> None:
    """Core 5.13, 3.10: the parent that Authorize.conf tells is compared with the reservation's."""
    scene = booted()
    reserve(scene, parentIdTag="FLEET")
    assert starts(scene, "TAG2", parentIdTag="OTHERS") is None
    start = starts(scene, "TAG3", parentIdTag="fleet")
    assert start is not None
    assert (start["idTag"], start["reservationId"]) == ("TAG3", 7)


def test_the_parent_of_a_reservation_is_no_id_tag() -> None:
    """Core 3.10: a parent should not be compared with what was presented."""
    scene = booted()
    reserve(scene, parentIdTag="FLEET")
    assert starts(scene, "FLEET") is None


def test_a_parent_that_is_not_known_here_is_asked_for() -> None:
    """Core 5.13: not found in list or cache, the charge point shall send Authorize.req, whatever may start without."""
    scene = booted()
    scene.configure("LocalPreAuthorize", "true")
    scene.command(
        "SendLocalList",
        {
            "listVersion": 1,
            "updateType": "Full",
            "localAuthorizationList": [
                {"idTag": "TAG2", "idTagInfo": {"status": "Accepted"}},
                {"idTag": "TAG3", "idTagInfo": {"status": "Accepted", "parentIdTag": "FLEET"}},
            ],
        },
    )
    reserve(scene, parentIdTag="FLEET")
    scene.expect_status("Reserved")
    scene.plug_in()
    scene.present(1, "TAG2")
    scene.authorize("TAG2", parentIdTag="OTHERS")
    scene.expect_silence()
    scene.present(1, "TAG3")
    assert scene.accept_start()["idTag"] == "TAG3"


def test_offline_the_reservation_holds() -> None:
    """Core 5.13: also while nobody can be asked, an id tag that is known starts only with the right parent."""
    scene = booted()
    scene.command(
        "SendLocalList",
        {
            "listVersion": 1,
            "updateType": "Full",
            "localAuthorizationList": [
                {"idTag": "TAG2", "idTagInfo": {"status": "Accepted"}},
                {"idTag": "TAG3", "idTagInfo": {"status": "Accepted", "parentIdTag": "FLEET"}},
            ],
        },
    )
    reserve(scene, parentIdTag="FLEET")
    scene.serve()
    scene.lose()
    scene.plug_in()
    scene.present(1, "TAG2")
    assert scene.connector().transaction is None
    scene.present(1, "TAG3")
    scene.connect()
    sent = {each.action: each.payload for each in scene.serve(1)}
    assert (sent["StartTransaction"]["idTag"], sent["StartTransaction"]["reservationId"]) == ("TAG3", 7)


def finish(scene: Scene) -> None:
    scene.start()
    scene.present(1, "TAG1")


def open_one_of_a_closed_charge_point(scene: Scene) -> None:
    available(scene, 0, is_operative=False)
    available(scene, 1, is_operative=True)


@pytest.mark.parametrize(
    ("status", "make"),
    [
        pytest.param("Occupied", lambda scene: scene.plug_in(), id="cable"),
        pytest.param("Occupied", lambda scene: (scene.present(1, "TAG1"), scene.serve()), id="id tag"),
        pytest.param("Occupied", lambda scene: scene.start(), id="transaction"),
        pytest.param("Occupied", finish, id="finishing"),
        pytest.param("Occupied", lambda scene: reserve(scene, "TAG2", reservation_id=8), id="another's"),
        pytest.param("Occupied", lambda scene: reserve(scene, "TAG1", reservation_id=8), id="the same one's"),
        pytest.param("Faulted", lambda scene: scene.charging.fault(1, "GroundFailure", scene.now), id="fault"),
        pytest.param("Faulted", lambda scene: scene.charging.fault(0, "InternalError", scene.now), id="whole fault"),
        pytest.param("Unavailable", lambda scene: available(scene, 1, is_operative=False), id="unavailable"),
        pytest.param("Unavailable", open_one_of_a_closed_charge_point, id="whole unavailable"),
        pytest.param("Unavailable", lambda scene: scene.charging.withhold(scene.now, is_withheld=True), id="withheld"),
    ],
)
def test_what_keeps_a_reservation_from_being_made(status: str, make: Callable[[Scene], object]) -> None:
    """Core 5.13: each status, of the connector or of the charge point; and nothing changes."""
    scene = booted()
    make(scene)
    scene.serve()
    before = scene.connector().reservation
    assert status == reserve(scene)
    assert before == scene.connector().reservation
    scene.expect_silence()


def test_a_reservation_that_cannot_be_is_rejected() -> None:
    """Core 5.13 leaves open what to say to a time that has passed, and to a connector that there is not."""
    scene = booted()
    assert reserve(scene, seconds=0) == "Rejected"
    assert reserve(scene, connector_id=2) == "Rejected"
    assert reserve(scene, connector_id=-1) == "Rejected"
    scene.expect_silence()


def test_a_reservation_with_the_same_id_replaces_the_old_one() -> None:
    """Core 5.13: for another id tag, until another time, on another connector."""
    scene = booted(TWO)
    reserve(scene, "TAG1", 1)
    scene.expect_status("Reserved", 1)
    assert reserve(scene, "TAG2", 2) == "Accepted"
    scene.expect_status("Available", 1)
    scene.expect_status("Reserved", 2)
    assert starts(scene, "TAG1", 1) is not None
    assert starts(scene, "TAG1", 2) is None


def test_a_reservation_is_replaced_also_under_a_cable() -> None:
    """Core 5.13: it shall be replaced; somebody's cable has changed nothing about it."""
    scene = booted()
    reserve(scene, "TAG1")
    scene.plug_in()
    assert reserve(scene, "TAG2") == "Accepted"
    assert starts(scene, "TAG1") is None
    assert starts(scene, "TAG2") is not None


def test_the_time_of_a_replaced_reservation_counts_no_more() -> None:
    """Core 5.13: only the new expiryDate ends it."""
    scene = booted()
    reserve(scene, seconds=60)
    reserve(scene, seconds=600)
    scene.expect_status("Reserved")
    assert scene.serve(599) == []
    scene.wait(1)
    scene.expect_status("Available")


def test_a_reservation_ends_by_itself_when_its_time_is_over() -> None:
    """Core 5.13 (2): at expiryDate, with a StatusNotification; then anybody may charge."""
    scene = booted()
    reserve(scene, seconds=3600)
    scene.expect_status("Reserved")
    assert scene.wait_until_due() == pytest.approx(3600)
    scene.expect_status("Available")
    assert cancel(scene) == "Rejected"
    assert starts(scene, "TAG2") is not None


def test_a_reservation_that_ends_under_a_cable_lets_its_driver_go_on() -> None:
    """Core 4.9 (G2), 9.1.6: ConnectionTimeOut begins when the connector is there for its driver."""
    scene = booted()
    reserve(scene, seconds=3600)
    scene.expect_status("Reserved")
    scene.plug_in()
    scene.wait_until_due()
    scene.expect_status("Preparing")
    assert scene.wait_until_due() == pytest.approx(60)
    scene.expect_status("Finishing")


def test_a_reservation_outlasts_a_lost_network_and_ends_offline() -> None:
    """Core 5.13 (2): its end needs no central system; on return the present status is told (4.9)."""
    scene = booted()
    reserve(scene, seconds=600)
    scene.expect_status("Reserved")
    scene.lose()
    scene.pass_offline(601)
    scene.connect()
    scene.expect_status("Available")


@pytest.mark.parametrize("how", ["fault", "unavailable"])
@pytest.mark.parametrize("where", [0, 1])
def test_a_reservation_ends_with_what_it_is_for(how: str, where: int) -> None:
    """Core 5.13 (3): when the charge point or the connector is set to Faulted or Unavailable, and for good."""
    scene = booted()
    reserve(scene)
    scene.serve()
    if how == "fault":
        scene.charging.fault(where, "InternalError", scene.now)
        scene.serve()
        scene.charging.repair(where, scene.now)
    else:
        available(scene, where, is_operative=False)
        scene.serve()
        available(scene, where, is_operative=True)
    scene.serve()
    assert scene.connector().status == "Available"
    assert cancel(scene) == "Rejected"
    assert starts(scene, "TAG2") is not None


def test_a_reservation_is_cancelled() -> None:
    """Core 5.1: Accepted for one that there is, and anybody may charge; Rejected for any other."""
    scene = booted()
    reserve(scene)
    scene.expect_status("Reserved")
    assert cancel(scene, 8) == "Rejected"
    scene.expect_silence()
    assert cancel(scene) == "Accepted"
    scene.expect_status("Available")
    assert cancel(scene) == "Rejected"
    scene.expect_silence()
    assert starts(scene, "TAG2") is not None


def test_a_driver_who_does_not_plug_in_does_not_lose_the_reservation() -> None:
    """Core 9.1.6: after ConnectionTimeOut it goes back to its original state, which is Reserved."""
    scene = booted()
    reserve(scene)
    scene.expect_status("Reserved")
    scene.present(1, "TAG1")
    scene.authorize("TAG1")
    scene.expect_status("Preparing")
    assert scene.wait_until_due() == pytest.approx(60)
    scene.expect_status("Available")
    scene.expect_status("Reserved")
    assert starts(scene, "TAG2") is None
    start = starts(scene, "TAG1")
    assert start is not None
    assert start["reservationId"] == 7


# -- any one connector ------------------------------------------------------------------------


def test_a_charge_point_may_know_no_reservation_of_any_one_connector() -> None:
    """Core 5.13, 9.3.1: Rejected for connector 0 with ReserveConnectorZeroSupported false."""
    scene = booted(Template(connectors=2, settings=(("ReserveConnectorZeroSupported", "false"),)))
    assert reserve(scene, connector_id=0) == "Rejected"
    assert reserve(scene, connector_id=1) == "Accepted"


def test_any_one_connector_is_kept_free() -> None:
    """Core 5.13: no specific connector is reserved; others charge as long as one remains for the reserved id tag."""
    scene = booted(TWO)
    assert reserve(scene, "TAG1", 0) == "Accepted"
    scene.expect_silence()
    assert starts(scene, "TAG2", 1) is not None
    assert starts(scene, "TAG3", 2) is None
    assert scene.unplug(2)
    start = starts(scene, "TAG1", 2)
    assert start is not None
    assert start["reservationId"] == 7
    assert cancel(scene) == "Rejected"


def test_a_cable_without_an_id_tag_does_not_take_the_last_connector() -> None:
    """Core 5.13: while somebody's cable is in one, the other one is what remains."""
    scene = booted(TWO)
    reserve(scene, "TAG1", 0)
    scene.plug_in(1)
    assert starts(scene, "TAG3", 2) is None
    assert starts(scene, "TAG1", 2) is not None
    # Used up: the first driver may go on.
    assert starts(scene, "TAG2", 1) is not None


def test_the_group_of_any_one_connector() -> None:
    """Core 5.13, 3.10: one of the group takes the connector that remains."""
    scene = booted(ONE)
    reserve(scene, "TAG1", 0, parentIdTag="FLEET")
    assert starts(scene, "TAG2", parentIdTag="OTHERS") is None
    start = starts(scene, "TAG3", parentIdTag="FLEET")
    assert start is not None
    assert start["reservationId"] == 7


def test_the_last_connector_is_not_reserved_for_somebody_else() -> None:
    """Core 5.13: "at any time during the validity of the reservation, one connector remains available"."""
    scene = booted(TWO)
    assert reserve(scene, "TAG1", 0, 7) == "Accepted"
    assert reserve(scene, "TAG2", 1, 8) == "Accepted"
    assert reserve(scene, "TAG3", 2, 9) == "Occupied"
    # The same reservation, made definite, is no other.
    assert reserve(scene, "TAG1", 2, 7) == "Accepted"


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (("free", "charging"), "Accepted"),
        (("charging", "charging"), "Occupied"),
        (("charging", "reserved"), "Occupied"),
        (("faulted", "charging"), "Occupied"),
        (("faulted", "faulted"), "Faulted"),
        (("unavailable", "unavailable"), "Unavailable"),
        (("free", "unavailable"), "Accepted"),
    ],
)
def test_any_one_connector_needs_one(states: tuple[str, str], status: str) -> None:
    """Core 5.13: Occupied, Faulted, Unavailable when all are."""
    scene = booted(TWO)
    for connector_id, state in enumerate(states, 1):
        match state:
            case "charging":
                scene.start(connector_id, f"TAG{connector_id}")
            case "reserved":
                reserve(scene, "TAG9", connector_id, 9)
            case "faulted":
                scene.charging.fault(connector_id, "GroundFailure", scene.now)
            case "unavailable":
                available(scene, connector_id, is_operative=False)
            case _:
                pass
    assert status == reserve(scene, "TAG8", 0)


def test_any_one_connector_is_reserved_once() -> None:
    """Core 5.13: Occupied when the charge point has been reserved for the same or another id tag."""
    scene = booted(TWO)
    assert reserve(scene, "TAG1", 0, 7) == "Accepted"
    assert reserve(scene, "TAG2", 0, 8) == "Occupied"
    assert reserve(scene, "TAG2", 0, 7) == "Accepted"
    assert cancel(scene) == "Accepted"
    assert reserve(scene, "TAG2", 0, 8) == "Accepted"


def test_a_reservation_of_any_one_connector_ends_by_itself() -> None:
    """Core 5.13 (2): then the last connector is anybody's."""
    scene = booted(ONE)
    reserve(scene, "TAG1", 0, seconds=600)
    assert starts(scene, "TAG2") is None
    assert scene.unplug()
    scene.serve(601)
    assert starts(scene, "TAG2") is not None


# -- a remote start ---------------------------------------------------------------------------


def test_a_remote_start_takes_its_reservation() -> None:
    """Core 5.11, 5.13: for the reserved id tag, at once; for another one, Rejected."""
    scene = booted()
    reserve(scene)
    scene.expect_status("Reserved")
    scene.plug_in()
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG2"}) == {"status": "Rejected"}
    assert scene.command("RemoteStartTransaction", {"idTag": "TAG2"}) == {"status": "Rejected"}
    scene.expect_silence()
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG1"}) == {"status": "Accepted"}
    assert scene.accept_start()["reservationId"] == 7


@pytest.mark.parametrize("connector_id", [0, 1])
def test_a_remote_start_for_one_of_the_group_asks_for_the_parent(connector_id: int) -> None:
    """Core 5.13: the parent is not known here, so the charge point shall send Authorize.req, whatever the key says."""
    scene = booted()
    reserve(scene, connector_id=connector_id, parentIdTag="FLEET")
    scene.serve()
    scene.plug_in()
    scene.serve()
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG2"}) == {"status": "Accepted"}
    scene.authorize("TAG2", parentIdTag="OTHERS")
    scene.expect_silence()
    assert scene.command("RemoteStartTransaction", {"idTag": "TAG3"}) == {"status": "Accepted"}
    scene.authorize("TAG3", parentIdTag="FLEET")
    start = [each.payload for each in scene.serve() if each.action == "StartTransaction"]
    assert [(each["idTag"], each["reservationId"]) for each in start] == [("TAG3", 7)]


def test_a_reservation_outlasts_a_reboot() -> None:
    """Core 5.13 names three things that end one, and a reboot is none of them."""
    scene = booted()
    reserve(scene)
    scene.serve()
    scene.charge_point.power_off(scene.now)
    scene.wait(60)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    sent = scene.serve()
    assert [
        (each.payload["connectorId"], each.payload["status"]) for each in sent if each.action == "StatusNotification"
    ] == [(0, "Available"), (1, "Reserved")]
    assert starts(scene, "TAG2") is None


def test_a_reservation_that_ended_without_power_is_not_there_any_more() -> None:
    """Core 5.13 (2)."""
    scene = booted()
    reserve(scene, seconds=60)
    scene.serve()
    scene.charge_point.power_off(scene.now)
    scene.wait(120)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    sent = [each for each in scene.serve() if each.action == "StatusNotification"]
    assert [(each.payload["connectorId"], each.payload["status"]) for each in sent] == [
        (0, "Available"),
        (1, "Available"),
    ]


def test_a_date_that_is_none_is_refused() -> None:
    """J 4.2.3: PropertyConstraintViolation for an expiryDate that cannot be read."""
    scene = booted()
    request = {"connectorId": 1, "expiryDate": "tomorrow", "idTag": "TAG1", "reservationId": 7}
    assert scene.command("ReserveNow", request) == "PropertyConstraintViolation"
