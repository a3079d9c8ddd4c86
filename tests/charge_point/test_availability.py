"""ChangeAvailability: at once, or when nobody needs the connector any more, and for good (core 5.2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ampswarm.charge_point.template import Template
from tests.fakes.scene import Scene, Sent

TWO = Template(connectors=2, settings=(("MeterValueSampleInterval", "0"),))


def booted() -> Scene:
    scene = Scene(TWO)
    scene.boot(86_400)
    return scene


def change(scene: Scene, kind: str, connector_id: int = 1) -> object:
    answer = scene.command("ChangeAvailability", {"connectorId": connector_id, "type": kind})
    assert isinstance(answer, dict)
    return answer["status"]


def told(sent: list[Sent]) -> list[tuple[int, str]]:
    return [
        (each.payload["connectorId"], each.payload["status"]) for each in sent if each.action == "StatusNotification"
    ]


def reboot(scene: Scene) -> list[Sent]:
    scene.charge_point.power_off(scene.now)
    scene.outstanding = None
    scene.wait(60)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    return scene.serve(1)


def test_a_free_connector_changes_at_once() -> None:
    """Core 5.2, 4.9 (A8, H1): Accepted, with a StatusNotification of the new status."""
    scene = booted()
    assert change(scene, "Inoperative") == "Accepted"
    scene.expect_status("Unavailable", 1)
    scene.expect_silence()
    assert change(scene, "Operative") == "Accepted"
    scene.expect_status("Available", 1)
    scene.expect_silence()


@pytest.mark.parametrize("kind", ["Operative", "Inoperative"])
def test_what_it_is_already_is_accepted(kind: str) -> None:
    """Core 5.2: Accepted, and nothing to tell."""
    scene = booted()
    change(scene, kind)
    scene.serve()
    assert change(scene, kind) == "Accepted"
    scene.expect_silence()


def test_a_connector_that_there_is_not() -> None:
    """Core 7.3: Rejected, the request could not be carried out."""
    scene = booted()
    assert change(scene, "Inoperative", 3) == "Rejected"
    assert change(scene, "Inoperative", -1) == "Rejected"
    scene.expect_silence()


def test_nobody_charges_at_an_unavailable_connector() -> None:
    """Core 5.2: it does not allow any charging, by id tag or remotely, with or without a cable."""
    scene = booted()
    change(scene, "Inoperative")
    scene.expect_status("Unavailable", 1)
    scene.present(1, "TAG1")
    scene.expect_silence()
    scene.plug_in(1)
    scene.present(1, "TAG1")
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG1"}) == {"status": "Rejected"}
    assert scene.serve(600) == []
    assert scene.connector().transaction is None


def test_a_remote_start_takes_a_connector_that_is_available() -> None:
    """Core 5.11: the charge point chooses, and not one that must not charge."""
    scene = booted()
    change(scene, "Inoperative", 1)
    scene.serve()
    assert scene.command("RemoteStartTransaction", {"idTag": "TAG1"}) == {"status": "Accepted"}
    scene.expect_status("Preparing", 2)


def test_a_transaction_goes_on_and_the_change_follows() -> None:
    """Core 5.2: Scheduled while it is in progress; told when the change has happened, and not before."""
    scene = booted()
    scene.start()
    assert change(scene, "Inoperative") == "Scheduled"
    scene.expect_silence()
    scene.serve(3600)
    assert scene.connector().power > 0
    scene.present(1, "TAG1")
    assert told(scene.serve()) == [(1, "Finishing")]
    assert scene.unplug()
    assert told(scene.serve()) == [(1, "Unavailable")]


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda scene: scene.plug_in(1), id="cable"),
        pytest.param(lambda scene: scene.present(1, "TAG1"), id="id tag"),
        pytest.param(lambda scene: (scene.start(), scene.present(1, "TAG1")), id="finishing"),
    ],
)
def test_a_connector_that_somebody_uses_follows_too(use: Callable[[Scene], object]) -> None:
    """Core 5.2, 4.9: there is neither a B8 nor an F8 before the driver is gone."""
    scene = booted()
    use(scene)
    scene.serve()
    assert change(scene, "Inoperative") == "Scheduled"
    scene.expect_silence()
    scene.unplug()
    assert told(scene.serve(60))[-1] == (1, "Unavailable")


def test_a_driver_who_had_begun_may_charge() -> None:
    """Core 5.2: what is scheduled happens after the transaction, but no other driver comes in between."""
    scene = booted()
    scene.present(1, "TAG1")
    scene.serve()
    assert change(scene, "Inoperative") == "Scheduled"
    scene.plug_in(1)
    assert told(scene.serve()) == [(1, "Charging")]
    scene.present(1, "TAG1")
    scene.serve()
    scene.present(1, "TAG2")
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "TAG2"}) == {"status": "Rejected"}
    assert scene.serve() == []


def test_a_schedule_is_withdrawn() -> None:
    """Core 5.2: Operative is what it still is, so that is Accepted, and the other change does not follow."""
    scene = booted()
    scene.start()
    assert change(scene, "Inoperative") == "Scheduled"
    assert change(scene, "Operative") == "Accepted"
    scene.present(1, "TAG1")
    scene.serve()
    assert scene.unplug()
    assert told(scene.serve()) == [(1, "Available")]


def test_the_whole_charge_point() -> None:
    """Core 5.2: connector 0 means the charge point and all connectors."""
    scene = booted()
    assert change(scene, "Inoperative", 0) == "Accepted"
    assert sorted(told(scene.serve())) == [(0, "Unavailable"), (1, "Unavailable"), (2, "Unavailable")]
    assert change(scene, "Operative", 0) == "Accepted"
    assert sorted(told(scene.serve())) == [(0, "Available"), (1, "Available"), (2, "Available")]


def test_one_connector_does_not_change_the_others() -> None:
    """Core 4.9: the status of connector 0 has no direct connection to that of another."""
    scene = booted()
    change(scene, "Inoperative", 1)
    change(scene, "Inoperative", 2)
    assert sorted(told(scene.serve())) == [(1, "Unavailable"), (2, "Unavailable")]


def test_the_whole_charge_point_waits_for_its_last_transaction() -> None:
    """Core 5.2: "scheduled to occur after the transaction has finished"; what is free does not wait."""
    scene = booted()
    scene.start(1, "TAG1")
    assert change(scene, "Inoperative", 0) == "Scheduled"
    assert told(scene.serve()) == [(2, "Unavailable")]
    scene.serve(600)
    assert scene.connector(1).power > 0
    scene.present(1, "TAG1")
    assert told(scene.serve()) == [(1, "Finishing")]
    assert scene.unplug()
    assert sorted(told(scene.serve())) == [(0, "Unavailable"), (1, "Unavailable")]


def test_the_whole_charge_point_changes_its_mind() -> None:
    """Core 5.2: Operative before the last transaction has ended brings back what had changed already."""
    scene = booted()
    scene.start(1, "TAG1")
    assert change(scene, "Inoperative", 0) == "Scheduled"
    scene.serve()
    assert change(scene, "Operative", 0) == "Accepted"
    assert told(scene.serve()) == [(2, "Available")]
    scene.present(1, "TAG1")
    scene.serve()
    assert scene.unplug()
    assert told(scene.serve()) == [(1, "Available")]


@pytest.mark.parametrize("connector_id", [0, 1])
def test_unavailable_outlasts_a_reboot(connector_id: int) -> None:
    """Core 4.9, 5.2: the Unavailable status MUST be persistent across reboot."""
    scene = booted()
    change(scene, "Inoperative", connector_id)
    scene.serve()
    expected = {
        0: [(0, "Unavailable"), (1, "Unavailable"), (2, "Unavailable")],
        1: [(0, "Available"), (1, "Unavailable"), (2, "Available")],
    }
    assert told(reboot(scene)) == expected[connector_id]
    scene.present(1, "TAG1")
    scene.expect_silence()
    assert change(scene, "Operative", connector_id) == "Accepted"
    assert (1, "Available") in told(scene.serve())


def test_unavailable_outlasts_a_reset() -> None:
    """Core 4.9: whoever caused the reboot."""
    scene = booted()
    change(scene, "Inoperative", 2)
    scene.serve()
    scene.receive([2, "cs-reset", "Reset", {"type": "Soft"}])
    scene.serve()
    scene.lose()
    scene.connect()
    assert told(scene.serve()) == [(0, "Available"), (1, "Available"), (2, "Unavailable")]


def test_a_schedule_outlasts_a_reboot() -> None:
    """Core 5.2: the power cut has ended the transaction, but the cable is still in."""
    scene = booted()
    scene.start(1, "TAG1")
    assert change(scene, "Inoperative") == "Scheduled"
    assert (1, "Finishing") in told(reboot(scene))
    assert scene.unplug()
    assert told(scene.serve()) == [(1, "Unavailable")]


def test_the_change_that_happens_offline_is_told_on_return() -> None:
    """Core 5.2, 4.9: it shall be told; the driver left while nobody could be."""
    scene = booted()
    scene.start(1, "TAG1")
    assert change(scene, "Inoperative") == "Scheduled"
    scene.sends()
    scene.lose()
    scene.present(1, "TAG1")
    assert scene.unplug()
    scene.connect()
    assert told(scene.serve(1)) == [(1, "Unavailable")]


def test_pending_does_not_keep_availability_from_changing() -> None:
    """Core 4.2: the charge point should answer; what it is, is told once it is Accepted."""
    scene = Scene(TWO)
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", 600))
    assert change(scene, "Inoperative", 2) == "Accepted"
    scene.expect_silence()
    scene.wait(600)
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted", 600))
    assert told(scene.serve()) == [(0, "Available"), (1, "Available"), (2, "Unavailable")]


def test_a_faulted_connector_is_unavailable_after_its_repair() -> None:
    """Core 5.2, 4.9 (I8): the change is accepted and happens; the fault hides it until then."""
    scene = booted()
    scene.charging.fault(1, "GroundFailure", scene.now)
    scene.serve()
    assert change(scene, "Inoperative") == "Accepted"
    scene.expect_silence()
    scene.charging.repair(1, scene.now)
    scene.expect_status("Unavailable", 1)
