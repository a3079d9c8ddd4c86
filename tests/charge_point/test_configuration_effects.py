"""What follows from ChangeConfiguration at once, seen on the wire (core 5.3, 5.8, chapter 9; J errata 3.11)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ampswarm.charge_point.backoff import Backoff
from ampswarm.charge_point.events import Dropped
from ampswarm.charge_point.link import CloseReason, Link
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.ocppj.session import Answered, Failed, Failure
from tests.fakes.scene import Scene, Sent


def booted(*, connectors: int = 1, interval: int = 86_400, **settings: str) -> Scene:
    chosen = {"MeterValueSampleInterval": "0", **settings}
    scene = Scene(Template(connectors=connectors, settings=tuple(chosen.items())))
    scene.boot(interval=interval)
    return scene


def statuses(sent: list[Sent], connector_id: int = 1) -> list[str]:
    return [
        each.payload["status"]
        for each in sent
        if each.action == "StatusNotification" and each.payload["connectorId"] == connector_id
    ]


def shown(scene: Scene, key: str) -> str:
    got = scene.command("GetConfiguration", {"key": [key]})
    assert isinstance(got, dict)
    (entry,) = got["configurationKey"]
    value: str = entry["value"]
    return value


# -- HeartbeatInterval --------------------------------------------------------------------------------


def test_heartbeats_follow_heartbeat_interval_at_once() -> None:
    """Core 9.1.10 and 5.3: Accepted means effective immediately, counted from the last message."""
    scene = booted(interval=3600)
    scene.serve(50)
    scene.configure("HeartbeatInterval", "60")
    beats = [each.now for each in scene.serve(200)]
    assert [pytest.approx(each) for each in beats] == [60, 120, 180, 240]
    scene.configure("HeartbeatInterval", "600")
    assert [pytest.approx(each.now) for each in scene.serve(1000)] == [840]


def test_what_a_shorter_interval_makes_overdue_is_due_from_then_on() -> None:
    """Nobody had waited for it: DUE would tell of a queue that was none."""
    scene = booted(interval=3600)
    scene.serve(100)
    scene.configure("HeartbeatInterval", "10")
    changed = scene.now
    scene.expect("Heartbeat")
    scene.now += 1
    scene.answer({"currentTime": "2026-01-01T00:00:00Z"})
    answered = scene.events[-1]
    assert isinstance(answered, Answered)
    assert (answered.due, answered.ended) == (changed, changed + 1)


def test_get_configuration_tells_the_interval_that_bootnotification_gave() -> None:
    """Core 4.2 and 5.8: the charge point adjusts its interval, and tells what is in force."""
    scene = booted(interval=123)
    assert shown(scene, "HeartbeatInterval") == "123"
    scene.configure("HeartbeatInterval", "77")
    assert shown(scene, "HeartbeatInterval") == "77"


# -- MessageTimeout -----------------------------------------------------------------------------------


def test_message_timeout_decides_when_a_call_has_failed() -> None:
    """Core errata 3.83: the time after which the charge point gives a Call up, also one that is under way."""
    scene = booted(interval=100)
    for timeout in (7, 90):
        scene.configure("MessageTimeout", f"{timeout}")
        scene.wait_until_due()
        scene.expect("Heartbeat")
        assert pytest.approx(timeout) == scene.wait_until_due()
        scene.outstanding = None
        scene.expect_silence()
        assert [each.failure for each in scene.events if isinstance(each, Failed)] == [Failure.TIMED_OUT]
        scene.events.clear()
    scene.wait_until_due()
    scene.expect("Heartbeat")
    scene.configure("MessageTimeout", "5")
    assert pytest.approx(5) == scene.wait_until_due()


def test_a_message_timeout_from_the_factory_counts_from_the_first_call() -> None:
    """Core errata 3.83 and core 5.8: what GetConfiguration tells is what the charge point does."""
    scene = Scene(Template(settings=(("MessageTimeout", "11"),)))
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    assert scene.wait_until_due() == 11


# -- RebootRequired -----------------------------------------------------------------------------------


def slow_to_learn() -> Scene:
    """A charge point that takes up these keys when it starts."""
    delayed = frozenset({"HeartbeatInterval", "MessageTimeout", "WebSocketPingInterval"})
    settings = {"MeterValueSampleInterval": "0", "HeartbeatInterval": "600", "MessageTimeout": "30"}
    scene = Scene(Template(settings=tuple(settings.items()), reboot_required=delayed))
    scene.boot(interval=0)
    for key, value in (("HeartbeatInterval", "70"), ("MESSAGETIMEOUT", "7"), ("WebSocketPingInterval", "20")):
        assert scene.command("ChangeConfiguration", {"key": key, "value": value}) == {"status": "RebootRequired"}
    return scene


def in_force(scene: Scene) -> list[float]:
    """Return after how many seconds the next Heartbeat comes, and its Call has failed."""
    began = scene.now
    while scene.outstanding is None:
        scene.wait_until_due()
        scene.charge_point.take_ping(scene.now)
        scene.charge_point.pong_received(scene.now)
        scene.sends()
    assert scene.outstanding_action == "Heartbeat"
    pause, sent = scene.now - began, scene.now
    scene.events.clear()
    while not any(isinstance(each, Failed) for each in scene.events):
        scene.wait_until_due()
        if scene.charge_point.take_ping(scene.now):
            scene.charge_point.pong_received(scene.now)
        scene.sends()
    scene.outstanding = None
    return [pause, scene.now - sent]


def test_what_requires_a_reboot_is_in_force_after_the_reset_and_not_before() -> None:
    """Core 5.3, 7.22: RebootRequired; the old values hold, the new ones are told, and hold after the Reset."""
    scene = slow_to_learn()
    assert [shown(scene, key) for key in ("MessageTimeout", "WebSocketPingInterval")] == ["7", "20"]
    assert [pytest.approx(600), pytest.approx(30)] == in_force(scene)
    scene.serve(200)
    assert scene.pings == []
    assert scene.command("Reset", {"type": "Soft"}) == {"status": "Accepted"}
    scene.serve(60)
    assert scene.charge_point.close_reason is CloseReason.RESET
    scene.lose()
    scene.connect()
    scene.expect("BootNotification")
    assert pytest.approx(7) == scene.wait_until_due()
    scene.answer(scene.registration("Accepted", 0))
    scene.serve(1)
    began = scene.now
    assert [pytest.approx(70, abs=1), pytest.approx(7)] == in_force(scene)
    scene.serve(25)
    assert scene.pings
    assert scene.pings[0] - began <= 130
    # What it is already needs no reboot.
    assert scene.command("ChangeConfiguration", {"key": "MessageTimeout", "value": "7"}) == {"status": "Accepted"}


def test_a_lost_network_is_no_reboot_for_the_configuration() -> None:
    """J 5.4: a new connection without a boot takes nothing up that waits for a reboot."""
    scene = slow_to_learn()
    scene.lose()
    scene.connect()
    scene.serve(100)
    assert scene.pings == []
    scene.charge_point.power_off(scene.now)
    scene.outstanding = None
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.serve(100)
    assert len(scene.pings) == 5


# -- WebSocketPingInterval ----------------------------------------------------------------------------


def test_pings_come_in_their_interval_and_0_ends_them() -> None:
    """Core 9.1.34: seconds between pings; 0 disables them; negative values are Rejected."""
    scene = booted()
    scene.serve(1000)
    assert scene.pings == []
    scene.configure("WebSocketPingInterval", "20")
    began = scene.now
    scene.serve(70)
    assert [began + 20, began + 40, began + 60] == [pytest.approx(each) for each in scene.pings]
    refused = scene.command("ChangeConfiguration", {"key": "WebSocketPingInterval", "value": "-1"})
    assert refused == {"status": "Rejected"}
    scene.configure("WebSocketPingInterval", "0")
    scene.serve(1000)
    assert len(scene.pings) == 3


def test_a_missing_pong_closes_the_connection() -> None:
    """J errata 3.11: a half-open connection is detected by a ping, and closed; it then connects again."""
    scene = booted(WebSocketPingInterval="20")
    scene.wait_until_due()
    assert scene.charge_point.take_ping(scene.now)
    assert not scene.charge_point.take_ping(scene.now)
    assert pytest.approx(20) == scene.wait_until_due()
    assert not scene.charge_point.take_ping(scene.now)
    scene.expect_silence()
    assert (scene.charge_point.link, scene.charge_point.close_reason) == (Link.CLOSING, CloseReason.PONG_MISSING)
    scene.lose()
    # J 5.4: no boot after a lost network; the next connection is watched anew.
    scene.connect()
    scene.expect_silence()
    began = scene.now
    scene.serve(50)
    assert [began + 20, began + 40] == [pytest.approx(each) for each in scene.pings]


def test_a_pong_in_time_keeps_the_connection_whatever_else_is_silent() -> None:
    """J errata 3.11: only a missing pong closes; messages need not come."""
    scene = booted(WebSocketPingInterval="5")
    scene.serve(3600)
    assert len(scene.pings) == 720
    assert scene.is_open()


def test_pings_need_no_idle_session() -> None:
    """J errata 3.11: while a Call waits for its answer, the connection may be half-open just as well."""
    scene = booted(interval=60, WebSocketPingInterval="25")
    for _ in range(2):
        scene.wait_until_due()
        assert scene.charge_point.take_ping(scene.now)
        scene.charge_point.pong_received(scene.now)
    scene.wait_until_due()
    scene.expect("Heartbeat")
    assert pytest.approx(15) == scene.wait_until_due()
    assert scene.charge_point.take_ping(scene.now)
    assert scene.wait_until_due() == 15  # the Heartbeat's time is over
    scene.outstanding = None
    scene.expect_silence()
    assert pytest.approx(10) == scene.wait_until_due()
    scene.expect_silence()
    assert scene.charge_point.close_reason is CloseReason.PONG_MISSING


# -- MinimumStatusDuration ----------------------------------------------------------------------------


def test_a_status_that_does_not_last_is_not_told() -> None:
    """Core 4.9 and 9.1.20: only what was active for MinimumStatusDuration; what lasts comes late."""
    scene = booted()
    scene.configure("MinimumStatusDuration", "30")
    scene.plug_in()
    assert scene.serve(20) == []
    assert scene.unplug()
    assert scene.serve(600) == []
    scene.plug_in()
    began = scene.now
    (told,) = scene.serve(31)
    assert pytest.approx(began + 30) == told.now
    assert told.payload["status"] == "Preparing"
    scene.present()
    # Charging began at once, and is told when it has lasted.
    began = scene.now
    told_at = [each.now for each in scene.serve(31) if each.action == "StatusNotification"]
    assert [began + 30] == [pytest.approx(each) for each in told_at]
    assert scene.connector().reported == "Charging"


def test_a_status_that_is_under_way_when_it_ends_is_corrected() -> None:
    """Core 4.9: the central system must not be left with a status that has gone."""
    scene = booted(MinimumStatusDuration="10")
    scene.plug_in()
    scene.wait_until_due()
    assert scene.expect("StatusNotification")["status"] == "Preparing"
    # The answer takes its time, and the driver leaves meanwhile.
    scene.wait(5)
    assert scene.unplug()
    scene.wait(1)
    scene.answer({})
    assert statuses(scene.serve(60)) == ["Available"]


def test_another_error_of_the_same_status_is_told() -> None:
    """Core 4.9 and 6.47: the error code is part of what is told."""
    scene = booted(MinimumStatusDuration="10")
    scene.charging.fault(1, "GroundFailure", scene.now)
    scene.serve(20)
    scene.charging.fault(1, "HighTemperature", scene.now)
    told = [each.payload["errorCode"] for each in scene.serve(60) if each.action == "StatusNotification"]
    assert told == ["HighTemperature"]


def test_a_status_of_an_offline_time_is_told_once() -> None:
    """Core 4.9: after an offline time the current status, if it changed; not again when it has lasted."""
    scene = Scene(
        Template(
            backoff=Backoff(minimum=1.0, maximum=1.5),
            settings=(("MinimumStatusDuration", "60"), ("ConnectionTimeOut", "3600")),
        )
    )
    scene.boot(interval=86_400)
    scene.lose()
    scene.plug_in()
    scene.connect()
    assert statuses(scene.serve(600)) == ["Preparing"]


def test_switching_minimum_status_duration_off_takes_effect() -> None:
    """Core 5.3: effective immediately."""
    scene = booted(MinimumStatusDuration="3600")
    scene.configure("MinimumStatusDuration", "0")
    scene.plug_in()
    assert statuses(scene.serve()) == ["Preparing"]


# -- others -------------------------------------------------------------------------------------------


def test_connection_time_out_counts_for_the_next_driver() -> None:
    """Core 9.1.6, core errata 3.77."""
    scene = booted()
    scene.configure("ConnectionTimeOut", "15")
    scene.plug_in()
    sent = scene.serve(20)
    assert [(round(each.now), each.payload["status"]) for each in sent] == [(0, "Preparing"), (15, "Finishing")]


def test_transaction_message_keys_count_for_the_failure_that_comes_next() -> None:
    """Core 9.1.31, 9.1.32 and 5.3: effective immediately, also for what already waits."""
    scene = booted(TransactionMessageAttempts="3", TransactionMessageRetryInterval="60")
    scene.start()
    scene.present()
    scene.expect("StopTransaction")
    scene.configure("TransactionMessageRetryInterval", "5")
    scene.answer_error()
    scene.serve(4)
    scene.wait(1)
    scene.expect("StopTransaction")
    scene.configure("TransactionMessageAttempts", "2")
    scene.answer_error()
    assert [Dropped("StopTransaction", "given up after TransactionMessageAttempts")] == [
        each for each in scene.events if isinstance(each, Dropped)
    ]


def test_authorization_cache_can_be_switched_off() -> None:
    """Core 3.5.1 and 9.1.2: without a cache, ClearCache is Rejected (core errata 3.23) and nobody is remembered."""
    scene = booted(LocalPreAuthorize="true")
    scene.start()
    scene.present()
    scene.serve()
    assert scene.unplug()
    scene.serve()
    scene.configure("AuthorizationCacheEnabled", "false")
    assert scene.command("ClearCache", {}) == {"status": "Rejected"}
    scene.plug_in()
    scene.present()
    assert "Authorize" in [each.action for each in scene.serve()]


def test_max_energy_on_invalid_id_counts_at_once() -> None:
    """Core 3.5.4 and 9.1.16; core errata 3.17: raised in the middle, the EV gets the rest."""
    scene = booted(StopTransactionOnInvalidId="false", MaxEnergyOnInvalidId="0")
    scene.id_tag_info = {"status": "Blocked"}
    scene.configure("LocalAuthorizeOffline", "true")
    scene.configure("AllowOfflineTxForUnknownId", "true")
    scene.lose()
    scene.plug_in()
    scene.present()
    scene.connect()
    scene.serve(600)
    connector = scene.connector()
    assert connector.status == "SuspendedEVSE"
    before = connector.register
    scene.configure("MaxEnergyOnInvalidId", "1000")
    assert statuses(scene.serve(3600)) == ["Charging", "SuspendedEVSE"]
    assert pytest.approx(1000, abs=1) == connector.register - connector.invalid_register
    assert connector.register > before


def test_a_key_of_the_vendors_own_is_kept_and_told() -> None:
    """Core 5.3 and 5.8: keys beyond the standard ones."""
    scene = Scene(Template(vendor_keys=(("DisplayLanguage", "en"),)))
    scene.boot()
    scene.configure("displaylanguage", "de")
    assert shown(scene, "DisplayLanguage") == "de"


def test_every_key_that_may_be_written_leaves_a_charge_point_that_works() -> None:
    """Core 5.3: whatever is Accepted, it charges, meters and answers after it."""
    scene = booted(connectors=2)
    got = scene.command("GetConfiguration", {})
    assert isinstance(got, dict)
    for entry in got["configurationKey"]:
        value: str | None = entry.get("value")
        if value is None or entry["readonly"] or entry["key"] == "SecurityProfile":
            continue
        other = {"true": "false", "false": "true"}.get(value, value)
        if other.isdigit():
            other = f"{int(other) + 1}" if int(other) < 100 else "50"
        answer = scene.command("ChangeConfiguration", {"key": entry["key"], "value": other})
        assert answer == {"status": "Accepted"}, entry["key"]
        assert other == shown(scene, entry["key"])
    scene.start()
    told: list[Any] = scene.serve(3600)
    assert "MeterValues" in [each.action for each in told]
    assert scene.is_open()


def test_what_was_changed_is_still_so_after_a_reboot() -> None:
    """Core 5.3: a setting that was Accepted, and its effect, outlive a reboot."""
    scene = booted(WebSocketPingInterval="0")
    scene.configure("WebSocketPingInterval", "30")
    scene.configure("MessageTimeout", "9")
    scene.configure("MeterValueSampleInterval", "45")
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    assert scene.wait_until_due() == 9
    scene.outstanding = None
    scene.serve(200)
    assert len(scene.pings) >= 4
    assert [pytest.approx(30)] * (len(scene.pings) - 1) == [b - a for a, b in pairwise(scene.pings)]
    scene.start(vehicle=Vehicle())
    assert len([each for each in scene.serve(91) if each.action == "MeterValues"]) == 2
