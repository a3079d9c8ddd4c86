"""Reset, and what becomes of transactions, queues and settings (core 5.14, 7.42; core errata 3.36, 3.37, 3.82)."""

from __future__ import annotations

import pytest

from ampswarm.charge_point.link import CloseReason, Link, Registration
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

TRANSACTION_MESSAGES = ("StartTransaction", "MeterValues", "StopTransaction")
KINDS = [("Soft", "SoftReset"), ("Hard", "HardReset")]


def booted(*, connectors: int = 1, **settings: str) -> Scene:
    chosen = {"MeterValueSampleInterval": "0", **settings}
    scene = Scene(Template(connectors=connectors, settings=tuple(chosen.items())))
    scene.boot(interval=86_400)
    return scene


def reset(scene: Scene, kind: str) -> None:
    assert scene.command("Reset", {"type": kind}) == {"status": "Accepted"}


def closed(scene: Scene) -> None:
    """Check that it wants its connection closed for the Reset, and close it."""
    assert (scene.charge_point.link, scene.charge_point.close_reason) == (Link.CLOSING, CloseReason.RESET)
    scene.lose()


def rebooted(scene: Scene) -> list[Sent]:
    """Wait for it to come back, and answer all that it sends in its first seconds."""
    assert scene.charge_point.registration is Registration.NONE
    assert 5 <= scene.wait_until_due() <= 15
    scene.connect()
    sent = scene.serve(5)
    assert sent[0].action == "BootNotification"
    return sent


def of_transactions(sent: list[Sent]) -> list[Sent]:
    return [each for each in sent if each.action in TRANSACTION_MESSAGES]


def test_a_soft_reset_tells_every_stop_before_it_closes_the_connection() -> None:
    """Core errata 3.36: SHALL send a StopTransaction.req for every ongoing transaction before the reset."""
    scene = booted(connectors=2)
    scene.start(1)
    scene.wait(360)
    scene.start(2, "TWO")
    scene.wait(360)
    reset(scene, "Soft")
    asked = scene.now
    told = scene.serve(60)
    assert [
        (each.action, each.payload["transactionId"], each.payload["reason"], each.payload["meterStop"]) for each in told
    ] == [("StopTransaction", 1, "SoftReset", 2200), ("StopTransaction", 2, "SoftReset", 1100)]
    assert {format_utc(UTC_AT_ZERO + asked)} == {each.payload["timestamp"] for each in told}
    # Core 4.10: stopped by the charge point itself, nobody's id tag.
    assert not any("idTag" in each.payload for each in told)
    assert scene.charge_point.unsent == 0
    closed(scene)
    told = rebooted(scene)
    assert of_transactions(told) == []
    statuses = [each.payload["status"] for each in told if each.action == "StatusNotification"]
    assert statuses == ["Available", "Finishing", "Finishing"]


def test_a_soft_reset_tells_what_waited_before_as_well() -> None:
    """Core errata 3.36 and core 3.7: in order, as far as the central system answers."""
    scene = booted(MeterValueSampleInterval="60")
    scene.start()
    scene.lose()
    scene.pass_offline(200)
    scene.connect()
    reset(scene, "Soft")
    told = scene.serve(30)
    assert [each.action for each in told] == ["MeterValues"] * 3 + ["StopTransaction"]
    closed(scene)


def test_a_hard_reset_tells_the_stop_after_the_boot() -> None:
    """Core 5.14 and 7.42: after having restarted and having been accepted."""
    scene = booted()
    scene.start()
    scene.wait(360)
    reset(scene, "Hard")
    asked = scene.now
    assert scene.serve(60) == []
    closed(scene)
    told = rebooted(scene)
    (stop,) = of_transactions(told)
    assert (
        stop.action,
        stop.payload["transactionId"],
        stop.payload["reason"],
        stop.payload["meterStop"],
    ) == ("StopTransaction", 1, "HardReset", 1100)
    assert format_utc(UTC_AT_ZERO + asked) == stop.payload["timestamp"]


@pytest.mark.parametrize("failure", ["no answer", "CallError"])
def test_a_soft_reset_does_not_wait_for_ever(failure: str) -> None:
    """Core errata 3.36: a StopTransaction without a StopTransaction.conf is queued, and the reset goes on."""
    scene = booted(connectors=2, TransactionMessageRetryInterval="60")
    scene.start(1)
    scene.start(2, "TWO")
    reset(scene, "Soft")
    asked = scene.now
    first = scene.expect("StopTransaction")
    if failure == "CallError":
        scene.answer_error()
    else:
        assert scene.wait_until_due() == 30
        scene.outstanding = None
    while scene.is_open():
        assert scene.serve() == []
        if scene.is_open():
            scene.wait_until_due()
    assert scene.now - asked <= 60
    closed(scene)
    told = of_transactions(rebooted(scene) + scene.serve(60))
    assert [each.payload["transactionId"] for each in told] == [1, 2]
    assert first == told[0].payload
    assert {each.payload["reason"] for each in told} == {"SoftReset"}


def test_a_central_system_that_answers_slowly_cannot_hold_up_a_soft_reset() -> None:
    """A backlog of hundreds at a second each would take minutes: it goes on after the boot."""
    scene = booted(MeterValueSampleInterval="1")
    scene.start()
    scene.lose()
    scene.pass_offline(300)
    scene.connect()
    reset(scene, "Soft")
    asked = scene.now
    told = 0
    while scene.is_open():
        scene.sends()
        if scene.outstanding is not None:
            scene.wait(1)
            scene.answer({})
            told += 1
        elif scene.is_open():
            scene.wait_until_due()
    assert 20 <= told <= 32
    assert scene.now - asked <= 32
    closed(scene)
    rest = of_transactions(rebooted(scene) + scene.serve(120))
    assert told + len(rest) == 301
    assert (rest[-1].action, rest[-1].payload["transactionId"]) == ("StopTransaction", 1)


def test_the_network_may_go_while_a_soft_reset_waits() -> None:
    """Core errata 3.36: queued; the reset is not forgotten with the connection."""
    scene = booted()
    scene.start()
    reset(scene, "Soft")
    stop = scene.expect("StopTransaction")
    scene.lose()
    (again,) = of_transactions(rebooted(scene))
    assert ("StopTransaction", stop) == (again.action, again.payload)


@pytest.mark.parametrize("kind", ["Soft", "Hard"])
def test_nothing_starts_between_a_reset_and_its_reboot(kind: str) -> None:
    """Core errata 3.36: no transaction runs when the charge point goes down, and none runs through it."""
    scene = booted(connectors=2, AllowOfflineTxForUnknownId="true")
    scene.start(1)
    scene.plug_in(2)
    scene.serve()
    reset(scene, kind)
    scene.sends()
    # A driver, and a remote start, while it waits for the answer to StopTransaction.
    scene.present(2, "TWO")
    if kind == "Soft":
        remote = {"connectorId": 2, "idTag": "THREE"}
        assert scene.command("RemoteStartTransaction", remote) == {"status": "Rejected"}
        scene.serve(60)
    closed(scene)
    scene.present(2, "FOUR")
    assert not scene.charge_point.has_transactions()
    told = of_transactions(rebooted(scene))
    assert "StartTransaction" not in [each.action for each in told]
    assert scene.transactions == 1


def test_an_id_tag_that_waits_for_its_answer_starts_nothing_in_a_reset() -> None:
    """The answer to its Authorize never comes: it must not be taken as accepted offline meanwhile."""
    scene = booted(AllowOfflineTxForUnknownId="true")
    scene.plug_in()
    scene.present()
    scene.expect_status("Preparing")
    reset(scene, "Soft")
    scene.serve(60)
    closed(scene)
    assert not scene.charge_point.has_transactions()
    assert of_transactions(rebooted(scene)) == []


@pytest.mark.parametrize(("kind", "reason"), KINDS)
def test_a_reset_that_comes_before_the_network_goes_is_carried_out_offline(kind: str, reason: str) -> None:
    """Core 5.14: it was Accepted; what the central system has to know comes after the boot."""
    scene = booted()
    scene.start()
    reset(scene, kind)
    # Not even its answer got out.
    scene.lose()
    (stop,) = of_transactions(rebooted(scene))
    assert reason == stop.payload["reason"]


def test_a_charge_point_that_restarts_by_itself_while_offline_keeps_its_transactions() -> None:
    """Core 7.36, Reboot: a locally initiated one; core 3.7: queued."""
    scene = booted(MeterValueSampleInterval="60")
    scene.start()
    scene.lose()
    scene.pass_offline(90)
    scene.charge_point.restart(scene.now)
    stop_at = scene.now
    told = of_transactions(rebooted(scene))
    assert [each.action for each in told] == ["MeterValues", "StopTransaction"]
    assert told[-1].payload["reason"] == "Reboot"
    assert format_utc(UTC_AT_ZERO + stop_at) == told[-1].payload["timestamp"]


@pytest.mark.parametrize("first", ["Soft", "Hard"])
@pytest.mark.parametrize("second", ["Soft", "Hard"])
def test_two_resets_are_one_reboot(first: str, second: str) -> None:
    """Core 5.14: both are answered; transactions stop once, for the first one's reason."""
    scene = booted()
    scene.start()
    reset(scene, first)
    reset(scene, second)
    told = of_transactions(scene.serve(60))
    closed(scene)
    told += of_transactions(rebooted(scene))
    assert [f"{first}Reset"] == [each.payload["reason"] for each in told]
    scene.serve(600)
    assert scene.is_open()


def test_resets_without_end_do_not_put_off_the_first_one() -> None:
    """A central system that never answers and asks again and again gets its reboot."""
    scene = booted(TransactionMessageRetryInterval="1", TransactionMessageAttempts="1000", MessageTimeout="10")
    scene.start()
    asked = scene.now
    while scene.charge_point.link is Link.OPEN:
        reset(scene, "Soft")
        scene.charge_point.poll(scene.now)
        scene.wait(2)
        assert scene.now - asked < 60
    closed(scene)


def test_a_hard_reset_after_a_soft_one_waits_for_nothing_more() -> None:
    """Core 7.42: hard is the last resort for a charge point that does not work."""
    scene = booted(connectors=2)
    scene.start(1)
    scene.start(2, "TWO")
    reset(scene, "Soft")
    scene.expect("StopTransaction")
    reset(scene, "Hard")
    scene.answer({})
    assert scene.serve() == []
    closed(scene)
    (stop,) = of_transactions(rebooted(scene))
    assert stop.payload["transactionId"] == 2


def test_what_is_set_outlives_a_reset() -> None:
    """Core 5.14 and core errata 3.36, persistent states: availability and configuration keys persist."""
    scene = booted(connectors=2)
    scene.configure("MeterValueSampleInterval", "17")
    scene.configure("HeartbeatInterval", "4321")
    scene.command("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"})
    scene.serve()
    reset(scene, "Hard")
    scene.serve()
    closed(scene)
    told = rebooted(scene)
    statuses = [each.payload["status"] for each in told if each.action == "StatusNotification"]
    assert statuses == ["Available", "Available", "Unavailable"]
    got = scene.command("GetConfiguration", {"key": ["MeterValueSampleInterval"]})
    assert isinstance(got, dict)
    assert got["configurationKey"][0]["value"] == "17"


def test_the_cable_of_a_stopped_transaction_is_still_there_after_the_reset() -> None:
    """Core 4.9: the driver has to unplug first; the same EV may then charge again (F2)."""
    scene = booted()
    scene.start()
    reset(scene, "Soft")
    scene.serve(30)
    closed(scene)
    rebooted(scene)
    assert scene.connector().status == "Finishing"
    assert scene.unplug()
    assert [each.payload["status"] for each in scene.serve()] == ["Available"]
    assert scene.start() == 2


@pytest.mark.parametrize("registration", ["Pending", "Rejected"])
def test_a_reset_before_it_was_accepted(registration: str) -> None:
    """Core 4.2: a Pending charge point answers and obeys; a Rejected one does not even answer."""
    scene = Scene()
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration(registration, interval=600))
    answer = scene.command("Reset", {"type": "Soft"})
    scene.expect_silence()
    if registration == "Pending":
        assert answer == {"status": "Accepted"}
        closed(scene)
        rebooted(scene)
    else:
        assert answer is None
        assert scene.is_open()


def test_power_may_go_while_a_reset_is_under_way() -> None:
    """Nothing is told twice, and the boot that follows is one."""
    scene = booted()
    scene.start()
    reset(scene, "Hard")
    scene.sends()
    closed(scene)
    scene.wait(1)
    scene.charge_point.power_off(scene.now)
    scene.wait(100)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    (stop,) = of_transactions(scene.serve(5))
    assert stop.payload["reason"] == "HardReset"
    assert {each.action for each in scene.serve(600)} == {"Heartbeat"}


def test_a_hard_reset_does_not_wait_for_a_central_system_that_hangs() -> None:
    """Core 5.14: the hardware restarts, whatever is outstanding."""
    scene = Scene()
    scene.boot(interval=10)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.receive([2, "cs-1", "Reset", {"type": "Hard"}])
    scene.sends()
    assert scene.is_open()
    assert scene.wait_until_due() <= 1.0
    scene.expect_silence()
    assert scene.charge_point.link is Link.CLOSING


def test_one_that_is_rejected_after_a_reboot_does_not_charge() -> None:
    """Core 4.2.1: accepted once is not accepted for ever."""
    scene = Scene(Template(settings=(("AllowOfflineTxForUnknownId", "true"),)))
    scene.boot()
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Rejected", 600))
    scene.plug_in()
    scene.present()
    assert scene.charging.connector(1).transaction is None
    assert scene.charge_point.unsent == 0
