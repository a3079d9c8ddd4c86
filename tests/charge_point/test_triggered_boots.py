"""A BootNotification that TriggerMessage asked for, among other things that happen (core 4.2, 5.17)."""

from __future__ import annotations

import pytest

from tests.fakes.scene import Scene

BOOT = {"requestedMessage": "BootNotification"}


def pending(interval: int = 600) -> Scene:
    scene = Scene()
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval))
    return scene


@pytest.mark.parametrize("is_sent", [True, False])
def test_one_that_the_network_cut_off_waits_for_the_interval_again(is_sent: bool) -> None:
    """Core 4.2: not earlier than the interval, unless TriggerMessage asks; 5.17: and triggers are not kept."""
    scene = pending()
    scene.wait(10)
    assert scene.command("TriggerMessage", BOOT) == {"status": "Accepted"}
    if is_sent:
        scene.expect("BootNotification")
    scene.lose()
    scene.connect()
    scene.expect_silence()
    scene.wait_until_due()
    assert scene.now == pytest.approx(600)
    scene.expect("BootNotification")


def test_one_that_fails_does_not_bring_the_next_one_forward() -> None:
    """Core 4.2: the interval of the last answer is the minimum."""
    scene = pending()
    scene.command("TriggerMessage", BOOT)
    scene.expect("BootNotification")
    scene.answer_error()
    scene.expect_silence()
    scene.wait_until_due()
    assert scene.now == pytest.approx(600)


def test_one_that_is_under_way_complies() -> None:
    """Core 5.17: the message just sent MAY be considered as complying; none after Accepted (errata 3.35)."""
    scene = pending()
    scene.wait_until_due()
    scene.expect("BootNotification")
    assert scene.command("TriggerMessage", BOOT) == {"status": "Accepted"}
    scene.answer(scene.registration("Accepted", 600))
    sent = [each.action for each in scene.serve(1)]
    assert sent == ["StatusNotification", "StatusNotification"]
