"""Boot: nothing goes first, Pending and Rejected mean what they say (core 4.2, J 5.4)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ampswarm.charge_point.events import CommandReceived, Online, Registered
from ampswarm.charge_point.link import Registration
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.session import Failed, Failure
from tests.fakes.scene import UTC_AT_ZERO, Scene


def powered(template: Template | None = None) -> Scene:
    scene = Scene(template)
    scene.charge_point.power_on(0.0)
    scene.connect()
    return scene


def test_nothing_goes_before_bootnotification() -> None:
    """Core 4.2: between power-on and its success, no other request."""
    scene = powered()
    payload = scene.expect("BootNotification")
    assert payload == {
        "chargePointVendor": "Ampswarm",
        "chargePointModel": "Swarm 22",
        "chargePointSerialNumber": "CP1",
        "firmwareVersion": "1.0.0",
    }
    scene.wait(29)
    scene.expect_silence()


def test_accepted_reports_every_connector_and_then_beats_in_the_given_interval() -> None:
    """Core errata 3.22: StatusNotification for connector 0 and all connectors; core 4.6: then Heartbeats."""
    scene = powered(Template(connectors=2))
    scene.expect("BootNotification")
    scene.wait(0.2)
    scene.answer(scene.registration("Accepted", interval=120))
    assert Online(since=0.0, now=0.2) in scene.events
    assert scene.charge_point.is_online
    for connector_id in (0, 1, 2):
        payload = scene.expect("StatusNotification")
        assert (connector_id, "Available", "NoError") == (
            payload["connectorId"],
            payload["status"],
            payload["errorCode"],
        )
        assert scene.time() == payload["timestamp"]
        scene.answer({})
    for _ in range(3):
        scene.expect_silence()
        assert pytest.approx(scene.wait_until_due()) == 120
        scene.expect("Heartbeat")
        scene.answer({"currentTime": scene.time()})


def test_the_clock_is_set_from_the_answers() -> None:
    """Core 4.2 and 4.6: it is recommended to take the central system's time."""
    scene = powered()
    assert scene.charge_point.utc(scene.now) == 1e9
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    assert pytest.approx(scene.charge_point.utc(scene.now), abs=0.01) == UTC_AT_ZERO


@pytest.mark.parametrize(
    "current_time", ["soon", "", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z"]
)
def test_a_time_that_is_none_does_not_end_the_charge_point(current_time: str) -> None:
    """The schema takes any text as currentTime."""
    scene = powered()
    scene.expect("BootNotification")
    scene.answer({"status": "Accepted", "currentTime": current_time, "interval": 300})
    assert scene.charge_point.is_online
    assert scene.charge_point.utc(scene.now) == 1e9
    scene.expect("StatusNotification")


def test_accepted_with_interval_0_keeps_its_own_heartbeat_interval() -> None:
    """An interval of 0 must not become a flood of Heartbeats."""
    scene = Scene()
    scene.boot(interval=0)
    assert scene.wait_until_due() == 300


def test_pending_keeps_the_connection_answers_and_sends_nothing_unasked() -> None:
    """Core 4.2, Pending."""
    scene = powered()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=60))
    assert Registered(Registration.PENDING, 60) in scene.events
    assert scene.is_open()
    scene.wait(59)
    scene.expect_silence()
    assert scene.command("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "77"}) == {"status": "Accepted"}
    scene.expect_silence()
    # Only what TriggerMessage asks for.
    assert scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"}) == {"status": "Accepted"}
    scene.expect("Heartbeat")
    scene.answer({"currentTime": scene.time()})
    scene.expect_silence()
    assert pytest.approx(scene.wait_until_due()) == 1
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    assert scene.charge_point.is_online


def test_pending_boots_at_once_when_triggered() -> None:
    """Core 4.2: not earlier than the interval, unless TriggerMessage asks."""
    scene = powered()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=3600))
    assert scene.command("TriggerMessage", {"requestedMessage": "BootNotification"}) == {"status": "Accepted"}
    scene.expect("BootNotification")


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("Reset", {"type": "Hard"}),
        ("TriggerMessage", {"requestedMessage": "BootNotification"}),
        ("ClearCache", {}),
        ("Reset", {"type": "no such type"}),
        ("NoSuchAction", {}),
    ],
)
def test_rejected_sends_nothing_and_answers_nothing(action: str, payload: dict[str, str]) -> None:
    """Core 4.2, Rejected: SHALL NOT send, SHALL NOT respond, until the interval is over."""
    scene = powered()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Rejected", interval=600))
    scene.wait(300)
    assert scene.command(action, payload) is None
    scene.expect_silence()
    assert scene.is_open()
    assert pytest.approx(scene.wait_until_due()) == 300
    scene.expect("BootNotification")


def test_rejected_counts_what_it_leaves_unanswered() -> None:
    """Nothing is lost: the statistics of the load side know of the command."""
    scene = powered()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Rejected", interval=600))
    scene.command("ClearCache", {})
    assert CommandReceived("ClearCache", "not answered while Rejected") in scene.events


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_interval_0_is_a_wait_of_its_own_choice(status: str) -> None:
    """Core 4.2: it avoids flooding the central system; and a fleet does not do it in step."""
    waits = set()
    for seed in range(20):
        scene = Scene(seed=seed)
        scene.charge_point.power_on(0.0)
        scene.connect()
        scene.expect("BootNotification")
        scene.answer(scene.registration(status, interval=0))
        waits.add(scene.wait_until_due())
    assert all(30 <= wait <= 90 for wait in waits)
    assert len(waits) == 20


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_a_reconnect_does_not_shorten_the_wait(status: str) -> None:
    """Core 4.2: the interval is the minimum, and a lost network is no reboot."""
    scene = powered()
    scene.expect("BootNotification")
    scene.answer(scene.registration(status, interval=600))
    scene.wait(10)
    scene.lose()
    scene.connect()
    scene.expect_silence()
    scene.wait_until_due()
    assert pytest.approx(scene.now) == 600
    scene.expect("BootNotification")


@pytest.mark.parametrize("failure", ["error", "timeout", "invalid"])
def test_a_boot_without_a_usable_answer_is_repeated_after_a_pause(failure: str) -> None:
    """A central system that is overloaded gets no BootNotification more than once in 30 s."""
    scene = powered()
    starts = []
    for _ in range(5):
        scene.expect("BootNotification")
        starts.append(scene.now)
        if failure == "error":
            scene.answer_error()
        elif failure == "invalid":
            scene.answer({"status": "Accepted"})
        else:
            assert scene.wait_until_due() == scene.template.call_timeout
            scene.outstanding = None
            scene.expect_silence()
        assert not scene.charge_point.is_online
        scene.expect_silence()
        scene.wait_until_due()
    assert all(later - earlier >= 30 for earlier, later in pairwise(starts))
    assert {Failed} == {type(event) for event in scene.events}


def test_a_boot_cut_off_by_the_network_is_repeated_on_the_next_connection() -> None:
    """The back-off was pause enough."""
    scene = powered()
    scene.expect("BootNotification")
    scene.lose()
    assert [e.failure for e in scene.events if isinstance(e, Failed)] == [Failure.CONNECTION_LOST]
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Accepted"))
    assert [event.since for event in scene.events if isinstance(event, Online)] == [0.0]
