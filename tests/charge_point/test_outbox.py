"""Transaction messages: kept, in order, retried, given up, drained (core 3.7, 3.7.1; core errata 3.14, 3.18)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.events import Dropped
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.transaction import evenly
from ampswarm.ocppj.timestamps import format_utc, parse_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

TRANSACTION_MESSAGES = ("StartTransaction", "MeterValues", "StopTransaction")
REGISTER = "Energy.Active.Import.Register"


def booted(*, connectors: int = 1, outbox_capacity: int = 1000, drain_interval: float = 0.1, **settings: str) -> Scene:
    """Return a scene that is online, that samples nothing if not told, and that starts for any id tag offline."""
    chosen = {"MeterValueSampleInterval": "0", "AllowOfflineTxForUnknownId": "true", **settings}
    scene = Scene(
        Template(
            connectors=connectors,
            outbox_capacity=outbox_capacity,
            drain_interval=drain_interval,
            settings=tuple(chosen.items()),
        )
    )
    scene.boot(interval=86_400)
    return scene


def of_transactions(sent: list[Sent]) -> list[Sent]:
    return [each for each in sent if each.action in TRANSACTION_MESSAGES]


def happened(message: Sent) -> float:
    """Return when a transaction message says that it happened."""
    payload = message.payload
    text = payload["timestamp"] if "timestamp" in payload else payload["meterValue"][0]["timestamp"]
    return parse_utc(text) - UTC_AT_ZERO


def dropped(scene: Scene) -> list[str]:
    return [event.action for event in scene.events if isinstance(event, Dropped)]


def charge_offline(scene: Scene, seconds: float, connector_id: int = 1, id_tag: str = "TAG1") -> None:
    """Let a driver start, charge for a while, stop and leave, without a network."""
    scene.plug_in(connector_id)
    scene.present(connector_id, id_tag)
    scene.pass_offline(seconds)
    scene.present(connector_id, id_tag)
    assert scene.unplug(connector_id)


def serve_all_but(scene: Scene, action: str, seconds: float) -> tuple[list[Sent], list[float]]:
    """Answer everything for a while but refuse one action; return what was answered, and when it was refused."""
    until = scene.now + seconds
    sent: list[Sent] = []
    refused: list[float] = []
    while True:
        scene.sends()
        if scene.outstanding is not None:
            if scene.outstanding.action == action:
                refused.append(scene.now)
                scene.answer_error()
            else:
                sent.append(Sent(scene.now, scene.outstanding.action, scene.outstanding.payload))
                scene.answer({"currentTime": scene.time()} if scene.outstanding.action == "Heartbeat" else {})
            continue
        due = scene.charge_point.next_deadline()
        if due > until:
            scene.now = until
            return sent, refused
        scene.now = max(scene.now, due)


# -- order --------------------------------------------------------------------------------------------


def test_what_happened_offline_is_told_in_the_order_in_which_it_happened() -> None:
    """Core 3.7: MUST be queued while offline, SHOULD be delivered in chronological order."""
    scene = booted(connectors=2, MeterValueSampleInterval="60")
    scene.lose()
    scene.plug_in(1)
    scene.present(1, "ONE")
    scene.pass_offline(100)
    charge_offline(scene, 100, 2, "TWO")
    scene.pass_offline(25)
    scene.present(1, "ONE")
    scene.connect()
    told = of_transactions(scene.serve(30))
    assert [(each.action, each.payload.get("connectorId")) for each in told] == [
        ("StartTransaction", 1),
        ("MeterValues", 1),
        ("StartTransaction", 2),
        ("MeterValues", 1),
        ("MeterValues", 2),
        ("MeterValues", 1),
        ("StopTransaction", None),
        ("StopTransaction", None),
    ]
    times = [happened(each) for each in told]
    assert sorted(times) == times
    assert scene.charge_point.unsent == 0


def test_each_message_of_a_backlog_has_the_id_of_its_own_transaction() -> None:
    """Core 4.8: the id comes with StartTransaction.conf, while what it is for already waits."""
    scene = booted(MeterValueSampleInterval="60")
    scene.lose()
    for _ in range(3):
        charge_offline(scene, 130)
        scene.pass_offline(10)
    scene.connect()
    told = of_transactions(scene.serve(30))
    assert [each.action for each in told] == ["StartTransaction", "MeterValues", "MeterValues", "StopTransaction"] * 3
    ids = [each.payload["transactionId"] for each in told if each.action != "StartTransaction"]
    assert ids == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_new_transaction_messages_wait_behind_the_queue() -> None:
    """Core 3.7: the delivery of new transaction-related messages SHALL wait until the queue is empty."""
    scene = booted(connectors=2, MeterValueSampleInterval="10", drain_interval=1.0)
    scene.lose()
    charge_offline(scene, 205)
    scene.connect()
    scene.plug_in(2)
    scene.present(2, "TWO")
    told = scene.serve(60)
    times = [happened(each) for each in of_transactions(told)]
    assert sorted(times) == times
    actions = [each.action for each in told]
    # The driver is not kept waiting for that.
    assert actions.index("Authorize") <= 2
    start = [each.payload.get("idTag") if each.action == "StartTransaction" else "" for each in told].index("TWO")
    assert "StopTransaction" in actions[:start]


def test_authorize_and_status_overtake_a_message_that_waits_for_its_retry() -> None:
    """Core 3.7: messages that are not transaction-related MAY be delivered immediately."""
    scene = booted(connectors=2)
    scene.start(1)
    scene.present(1)
    sent, refused = serve_all_but(scene, "StopTransaction", 0)
    assert [scene.now] == refused
    assert [each.payload["status"] for each in sent] == ["Finishing"]
    scene.wait(5)
    scene.plug_in(2)
    scene.present(2, "TWO")
    scene.expect_status("Preparing", 2)
    scene.authorize("TWO")
    # The new transaction's start has to wait for the old one's stop.
    sent, refused = serve_all_but(scene, "StopTransaction", 54.9)
    assert [each.action for each in sent] == ["StatusNotification"]
    assert refused == []
    told = scene.serve(1)
    assert [each.action for each in told] == ["StopTransaction", "StartTransaction"]


def test_nothing_of_a_backlog_goes_before_the_central_system_has_accepted() -> None:
    """Core 4.2: between power-on and Accepted no other request, cached messages included."""
    scene = booted(MeterValueSampleInterval="60")
    scene.start()
    scene.serve(100)
    scene.charge_point.power_off(scene.now)
    scene.wait(3600)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=600))
    assert scene.charge_point.unsent == 1
    scene.wait(599)
    scene.expect_silence()
    scene.wait(1)
    scene.expect("BootNotification")
    scene.answer(scene.registration("Rejected", interval=600))
    scene.wait(599)
    scene.expect_silence()
    told = scene.serve(5)
    assert [each.action for each in told] == [
        "BootNotification",
        "StatusNotification",
        "StatusNotification",
        "StopTransaction",
    ]


# -- failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["CallError", "no answer", "answer that breaks the schema"])
def test_a_message_is_retried_after_growing_pauses_and_then_given_up(failure: str) -> None:
    """Core 3.7.1 with its own example: 3 attempts, 60 s and 120 s between them, then the next message."""
    scene = booted(TransactionMessageAttempts="3", TransactionMessageRetryInterval="60")
    scene.start()
    scene.present()
    tries: list[tuple[float, dict[str, Any]]] = []
    failed_at: list[float] = []
    while len(failed_at) < 3:
        scene.sends()
        if scene.outstanding is None:
            scene.wait_until_due()
            continue
        if scene.outstanding.action != "StopTransaction":
            scene.answer({})
            continue
        tries.append((scene.now, scene.outstanding.payload))
        match failure:
            case "CallError":
                scene.answer_error()
            case "no answer":
                # It is given up when its time is over, and only then does anything else go out.
                assert pytest.approx(30) == scene.wait_until_due()
                scene.outstanding = None
            case _:
                scene.answer({"idTagInfo": {"status": "Fine"}})
        failed_at.append(scene.now)
    pauses = [again - failed for failed, (again, _) in zip(failed_at, tries[1:], strict=False)]
    assert [pytest.approx(each) for each in pauses] == [60, 120]
    assert all(payload == tries[0][1] for _, payload in tries)
    # It goes on as if nothing had been.
    scene.serve()
    assert dropped(scene) == ["StopTransaction"]
    assert scene.charge_point.unsent == 0
    assert scene.unplug()
    scene.serve()
    scene.start()
    assert scene.charge_point.unsent == 0


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_as_many_attempts_as_configured(attempts: int) -> None:
    """Core 9.1.31: how often the charge point should try; with 1 there is no retry."""
    scene = booted(TransactionMessageRetryInterval="10")
    scene.start()
    scene.configure("TransactionMessageAttempts", f"{attempts}")
    scene.present()
    _, refused = serve_all_but(scene, "StopTransaction", 1000)
    gaps = [later - earlier for earlier, later in pairwise(refused)]
    assert attempts == len(refused)
    assert [pytest.approx(10.0 * number) for number in range(1, attempts)] == gaps
    assert dropped(scene) == ["StopTransaction"]


def test_after_the_last_attempt_the_next_message_goes() -> None:
    """Core 3.7.1: SHOULD discard the message and continue with the next one."""
    scene = booted(MeterValueSampleInterval="60", TransactionMessageAttempts="2", TransactionMessageRetryInterval="30")
    scene.start()
    sent, refused = serve_all_but(scene, "MeterValues", 200)
    assert [pytest.approx(each) for each in refused] == [60, 90, 120, 150, 180]
    assert of_transactions(sent) == []
    scene.present()
    told = of_transactions(scene.serve(60))
    assert [each.action for each in told] == ["MeterValues", "StopTransaction"]
    assert dropped(scene) == ["MeterValues", "MeterValues"]


def test_a_transaction_whose_start_was_given_up_goes_on_with_minus_1() -> None:
    """Core errata 3.18: SHALL send its messages with transactionId -1."""
    scene = booted(MeterValueSampleInterval="300", TransactionMessageAttempts="2", TransactionMessageRetryInterval="10")
    scene.plug_in()
    scene.present()
    scene.expect_status("Preparing")
    scene.authorize("TAG1")
    _, refused = serve_all_but(scene, "StartTransaction", 60)
    assert [pytest.approx(each) for each in refused] == [0, 10]
    assert dropped(scene) == ["StartTransaction"]
    (sample,) = of_transactions(scene.serve(300))
    assert (sample.action, sample.payload["transactionId"]) == ("MeterValues", -1)
    scene.present()
    (stop,) = of_transactions(scene.serve())
    assert (stop.action, stop.payload["transactionId"]) == ("StopTransaction", -1)
    # The next one is not affected.
    assert scene.unplug()
    assert scene.start() == 1


def test_a_start_that_is_confirmed_at_the_second_try_gives_its_id_to_all_that_waited() -> None:
    """Core errata 3.18: -1 only where no id ever came."""
    scene = booted(MeterValueSampleInterval="30")
    scene.plug_in()
    scene.present()
    scene.expect_status("Preparing")
    scene.authorize("TAG1")
    serve_all_but(scene, "StartTransaction", 59)
    scene.present()
    told = of_transactions(scene.serve(10))
    assert [(each.action, each.payload.get("transactionId")) for each in told] == [
        ("StartTransaction", None),
        ("MeterValues", 1),
        ("StopTransaction", 1),
    ]


def test_a_late_answer_is_no_answer() -> None:
    """J 4.1.1: after the time-out the message is sent again; the id of a late answer is not taken."""
    scene = booted(TransactionMessageRetryInterval="5")
    scene.plug_in()
    scene.present()
    scene.expect_status("Preparing")
    scene.authorize("TAG1")
    first = scene.expect("StartTransaction")
    late, scene.outstanding = scene.outstanding, None
    assert late is not None
    scene.wait(30)
    scene.expect_status("Charging")
    scene.receive([3, late.unique_id, {"transactionId": 99, "idTagInfo": {"status": "Accepted"}}])
    scene.wait(5)
    assert first == scene.accept_start(7)
    scene.present()
    assert scene.accept_stop()["transactionId"] == 7


# -- lost connections and lost power --------------------------------------------------------------------


def test_a_message_that_the_network_cut_off_is_sent_again_and_not_counted() -> None:
    """Core 3.7.1: only what the central system failed to process counts; J 4.1.1 knows no answer after a cut."""
    scene = booted(TransactionMessageAttempts="2", TransactionMessageRetryInterval="20")
    scene.start()
    scene.present()
    payloads = [scene.expect("StopTransaction")]
    for _ in range(5):
        scene.wait(1)
        scene.lose()
        scene.connect()
        scene.sends()
        if scene.outstanding_action == "StatusNotification":
            scene.answer({})
            scene.sends()
        assert scene.outstanding is not None
        payloads.append(scene.outstanding.payload)
    # The first failure is the first one, whatever the network did before.
    scene.answer_error()
    assert pytest.approx(20) == scene.wait_until_due()
    payloads.append(scene.expect("StopTransaction"))
    scene.answer({})
    assert [payloads[0]] * 7 == payloads
    assert dropped(scene) == []
    assert scene.charge_point.unsent == 0


def test_a_lost_connection_does_not_shorten_the_pause_before_a_retry() -> None:
    """Core 3.7.1: before every retransmission it waits; a central system in trouble must not be hurried."""
    scene = booted(TransactionMessageRetryInterval="300")
    scene.start()
    scene.present()
    _, (refused,) = serve_all_but(scene, "StopTransaction", 10)
    scene.lose()
    scene.connect()
    assert of_transactions(scene.serve(refused + 299 - scene.now)) == []
    (again,) = of_transactions(scene.serve(2))
    assert pytest.approx(refused + 300) == again.now


def test_power_loss_ends_a_transaction_with_the_meter_as_it_was() -> None:
    """Core 7.36, PowerLoss: complete loss of power; the meter's reading and the time are those of the cut."""
    scene = booted(MeterValueSampleInterval="60", StopTxnSampledData=REGISTER)
    scene.start()
    began = scene.now
    scene.serve(150)
    cut = scene.now
    scene.charge_point.power_off(scene.now)
    scene.wait(10_000)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    (stop,) = of_transactions(scene.serve(10))
    payload = stop.payload
    energy = int(11_000 * (cut - began) / 3600)
    assert ("StopTransaction", 1, "PowerLoss", energy) == (
        stop.action,
        payload["transactionId"],
        payload["reason"],
        payload["meterStop"],
    )
    assert format_utc(UTC_AT_ZERO + cut) == payload["timestamp"]
    assert "idTag" not in payload
    assert len(payload["transactionData"]) == 4
    assert scene.charge_point.unsent == 0


def test_a_message_under_way_when_the_power_goes_is_sent_again_after_the_boot() -> None:
    """Core 3.7: kept through lost power, before what the cut itself brought."""
    scene = booted()
    scene.plug_in()
    scene.present()
    scene.expect_status("Preparing")
    scene.authorize("TAG1")
    first = scene.expect("StartTransaction")
    scene.wait(3)
    scene.outstanding = None
    scene.charge_point.power_off(scene.now)
    scene.wait(60)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    start, stop = of_transactions(scene.serve(10))
    assert ("StartTransaction", first) == (start.action, start.payload)
    assert (stop.action, stop.payload["transactionId"], stop.payload["reason"]) == ("StopTransaction", 1, "PowerLoss")


def test_several_power_cuts_lose_and_double_nothing() -> None:
    """Core 3.7: as often as the power goes, each transaction has one start and one stop."""
    scene = booted()
    for _ in range(4):
        scene.plug_in()
        scene.present()
        scene.serve()
        scene.charge_point.power_off(scene.now)
        scene.wait(10)
        scene.charge_point.power_on(scene.now)
        scene.charge_point.power_off(scene.now)
        assert scene.unplug()
        scene.wait(10)
        scene.charge_point.power_on(scene.now)
        scene.connect()
        (stop,) = of_transactions(scene.serve(5))
        assert ("StopTransaction", scene.transactions) == (stop.action, stop.payload["transactionId"])
    assert (scene.transactions, scene.charge_point.unsent) == (4, 0)


# -- what fits, and how fast it goes ----------------------------------------------------------------------


def test_a_full_outbox_drops_meter_values_and_never_starts_or_stops() -> None:
    """Core errata 3.14 and 3.91: intermediate values go first, evenly; every drop is reported."""
    scene = booted(outbox_capacity=40, MeterValueSampleInterval="10")
    scene.lose()
    for _ in range(5):
        charge_offline(scene, 2000)
        scene.pass_offline(5)
    assert scene.charge_point.unsent <= 40
    scene.connect()
    told = of_transactions(scene.serve(60))
    assert [each.action for each in told].count("StartTransaction") == 5
    assert [each.action for each in told].count("StopTransaction") == 5
    values = [each for each in told if each.action == "MeterValues"]
    assert set(dropped(scene)) == {"MeterValues"}
    assert len(values) + len(dropped(scene)) == 5 * 200
    # Something of each transaction is left, and in order.
    assert {1, 2, 3, 4, 5} == {each.payload["transactionId"] for each in values}
    times = [happened(each) for each in told]
    assert sorted(times) == times


@given(times=st.lists(st.floats(0, 1e6), min_size=1, max_size=60).map(sorted), most=st.integers(-2, 40))
def test_what_is_left_of_a_series_covers_its_whole_time(times: list[float], most: int) -> None:
    """Core errata 3.91: a long transaction keeps something of its beginning as well as of its end."""
    kept = evenly(times, most)
    assert sorted(set(kept)) == kept
    assert len(kept) <= max(0, most)
    if most <= 0:
        return
    assert kept[0] == 0
    # Nothing that goes is further from what stays before it than one of `most` equal parts.
    part = (times[-1] - times[0]) / most
    for index, time in enumerate(times):
        before = max(each for each in kept if each <= index)
        assert time - times[before] <= part * (1 + 1e-9) or not part


@given(times=st.lists(st.floats(-1e6, 1e6), max_size=60), most=st.integers(0, 40))
def test_a_clock_that_jumps_does_not_let_a_series_grow(times: list[float], most: int) -> None:
    """Core 4.6: the central system may set the clock in the middle of a transaction."""
    assert len(evenly(times, most)) <= most


def test_starts_and_stops_are_kept_beyond_the_capacity() -> None:
    """Core errata 3.14: what starts or stops a transaction is never dropped."""
    scene = booted(outbox_capacity=4, MeterValueSampleInterval="10")
    scene.lose()
    for _ in range(10):
        charge_offline(scene, 35)
    assert 20 <= scene.charge_point.unsent <= 21
    scene.connect()
    told = of_transactions(scene.serve(30))
    assert [each.action for each in told if each.action != "MeterValues"] == [
        "StartTransaction",
        "StopTransaction",
    ] * 10
    assert scene.transactions == 10


def test_a_message_under_way_is_not_the_one_that_is_dropped() -> None:
    """Its answer must not count for another message."""
    scene = booted(outbox_capacity=3, MeterValueSampleInterval="10")
    scene.start()
    scene.wait_until_due()
    under_way = scene.expect("MeterValues")
    scene.wait(29)
    scene.charge_point.advance(scene.now)
    scene.answer({})
    told = of_transactions(scene.serve())
    assert under_way not in [each.payload for each in told]
    scene.present()
    told += of_transactions(scene.serve())
    times = [happened(each) for each in told]
    assert sorted(times) == times
    assert [each.action for each in told][-1] == "StopTransaction"


def test_a_backlog_is_told_at_a_bounded_pace_and_keeps_nobody_waiting() -> None:
    """Core 3.7: a fleet that comes back must not send all that it kept in one burst; others go in between."""
    scene = booted(connectors=2, MeterValueSampleInterval="10", drain_interval=0.5)
    scene.lose()
    charge_offline(scene, 505)
    scene.connect()
    came_back = scene.now
    told = scene.serve(5)
    scene.plug_in(2)
    scene.present(2, "TWO")
    presented = scene.now
    told += scene.serve(30)
    backlog = of_transactions(told)[:52]
    assert all(later.now - earlier.now >= 0.499 for earlier, later in pairwise(backlog))
    assert backlog[-1].now - came_back < 30
    (asked,) = [each.now for each in told if each.action == "Authorize"]
    assert asked - presented < 0.5
    prepared = [each.now for each in told if each.payload.get("status") == "Preparing"]
    assert all(each - presented < 0.5 for each in prepared)


def test_what_happens_online_is_not_held_back() -> None:
    """The pace is for what was kept; a StartTransaction of now goes now."""
    scene = booted(drain_interval=20.0)
    for _ in range(3):
        scene.start()
        began = scene.now
        scene.present()
        (stop,) = of_transactions(scene.serve(1))
        assert began == stop.now
        assert scene.unplug()
        scene.serve(1)


# -- Heartbeat ----------------------------------------------------------------------------------------


def test_meter_values_stand_in_for_heartbeats() -> None:
    """Core 4.6 and 9.1.10: after inactivity only, but for one in 24 h."""
    scene = booted(MeterValueSampleInterval="60")
    scene.configure("HeartbeatInterval", "120")
    scene.start()
    told = scene.serve(90_000)
    assert [pytest.approx(each.now, abs=1) for each in told if each.action == "Heartbeat"] == [86_400]
    scene.present()
    stopped = scene.now
    beats = [each.now for each in scene.serve(600) if each.action == "Heartbeat"]
    assert [stopped + 120 * number for number in range(1, 6)] == [pytest.approx(each) for each in beats]
