"""Reservations for a group, where the charge point itself does not know who belongs to it (core 3.10, 5.13)."""

from __future__ import annotations

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene

SETTINGS = (("MeterValueSampleInterval", "0"), ("LocalPreAuthorize", "true"))


def booted(connectors: int = 1) -> Scene:
    """Return a charge point that knows TAG2 without a group, and TAG3 as one of FLEET."""
    scene = Scene(Template(connectors=connectors, settings=SETTINGS))
    scene.boot(86_400)
    entries = [
        {"idTag": "TAG2", "idTagInfo": {"status": "Accepted"}},
        {"idTag": "TAG3", "idTagInfo": {"status": "Accepted", "parentIdTag": "FLEET"}},
    ]
    request = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": entries}
    assert scene.command("SendLocalList", request) == {"status": "Accepted"}
    return scene


def reserve(scene: Scene, connector_id: int) -> None:
    expires = format_utc(UTC_AT_ZERO + scene.now + 3600)
    request = {
        "connectorId": connector_id,
        "expiryDate": expires,
        "idTag": "TAG1",
        "parentIdTag": "FLEET",
        "reservationId": 7,
    }
    assert scene.command("ReserveNow", request) == {"status": "Accepted"}
    scene.serve()


@pytest.mark.parametrize("connectors", [1, 2])
@pytest.mark.parametrize("where", [0, 1])
def test_whoever_may_be_of_the_group_is_asked_for(connectors: int, where: int) -> None:
    """Core 5.13: the parent is in neither list nor cache, so the charge point SHALL send Authorize.req."""
    scene = booted(connectors)
    reserve(scene, where)
    scene.plug_in()
    scene.serve()
    scene.present(1, "TAG2")
    scene.authorize("TAG2", parentIdTag="FLEET")
    start = scene.accept_start()
    assert (start["idTag"], start["reservationId"]) == ("TAG2", 7)
    scene.serve()
    assert scene.command("CancelReservation", {"reservationId": 7}) == {"status": "Rejected"}


@pytest.mark.parametrize("where", [0, 1])
def test_who_is_known_to_be_of_the_group_is_not_asked_for(where: int) -> None:
    """Core 5.13: the charge point MAY look the parent up in its list."""
    scene = booted()
    reserve(scene, where)
    scene.plug_in()
    scene.serve()
    scene.present(1, "TAG3")
    assert scene.accept_start()["reservationId"] == 7


def test_a_reservation_stays_where_its_holder_charges_elsewhere() -> None:
    """Core 5.13 (1): it ends with a transaction on the reserved connector only."""
    scene = booted(2)
    reserve(scene, 1)
    scene.plug_in(2)
    scene.present(2, "TAG1")
    (start,) = [each.payload for each in scene.serve() if each.action == "StartTransaction"]
    assert (start["connectorId"], "reservationId" in start) == (2, False)
    assert scene.connector(1).status == "Reserved"
    assert scene.command("CancelReservation", {"reservationId": 7}) == {"status": "Accepted"}
