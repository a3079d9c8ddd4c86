"""What is metered when, and what is told of it (core 3.16, 4.7, 9.1.5; core errata 3.14 to 3.16, 3.78, 3.91)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.scene import UTC_AT_ZERO, Scene, Sent

REGISTER = "Energy.Active.Import.Register"
INTERVAL = "Energy.Active.Import.Interval"
WH_PER_SECOND = 11_000 / 3600
"""What the usual EV takes of a three-phase AC charge point."""


def booted(*, is_dc: bool = False, connectors: int = 1, **settings: str) -> Scene:
    """Return a scene that is online, a second after midnight, with these configuration keys."""
    chosen = {"MeterValueSampleInterval": "0", **settings}
    scene = Scene(Template(connectors=connectors, is_dc=is_dc, power=22_000.0, settings=tuple(chosen.items())))
    scene.wait(1.0)
    scene.boot(interval=86_400)
    return scene


def meter_values(sent: list[Sent]) -> list[Sent]:
    return [each for each in sent if each.action == "MeterValues"]


def at(seconds: float) -> str:
    return format_utc(UTC_AT_ZERO + seconds)


def values(element: dict[str, Any]) -> dict[str, str]:
    """Return the values of a MeterValue without phases, by measurand."""
    return {each["measurand"]: each["value"] for each in element["sampledValue"]}


def contexts(element: dict[str, Any]) -> set[str]:
    return {each["context"] for each in element["sampledValue"]}


def stop(scene: Scene, connector_id: int = 1) -> dict[str, Any]:
    """Stop a transaction with its id tag; return StopTransaction.req."""
    scene.present(connector_id)
    (payload,) = [each.payload for each in scene.serve() if each.action == "StopTransaction"]
    return payload


# -- sampled ------------------------------------------------------------------------------------------


def test_samples_come_in_their_interval_from_the_start_of_the_transaction() -> None:
    """Core 3.16.1 and 4.7, core errata 3.15: above 0, MeterValues SHALL be sent at the interval."""
    scene = booted(MeterValueSampleInterval="60")
    assert meter_values(scene.serve(600)) == []
    transaction_id = scene.start()
    began = scene.now
    samples = meter_values(scene.serve(200))
    assert [began + 60, began + 120, began + 180] == [each.now for each in samples]
    for number, each in enumerate(samples, start=1):
        (element,) = each.payload["meterValue"]
        assert (1, transaction_id) == (each.payload["connectorId"], each.payload["transactionId"])
        assert at(began + 60 * number) == element["timestamp"]
        assert contexts(element) == {"Sample.Periodic"}
        assert {REGISTER: f"{int(WH_PER_SECOND * 60 * number)}", "Power.Active.Import": "11000.0"} == values(element)
    stop(scene)
    assert meter_values(scene.serve(600)) == []


def test_an_ac_charge_point_reports_all_its_phases_and_no_state_of_charge() -> None:
    """Core 3.16.3: all phases SHALL be reported; core 7.45 gives the units, core errata 3.86 none for Frequency."""
    wanted = "Current.Import,Voltage,Power.Offered,Current.Offered,Temperature,Frequency"
    scene = booted(MeterValueSampleInterval="60", MeterValuesSampledData=wanted)
    scene.start()
    (sample,) = meter_values(scene.serve(60))
    (element,) = sample.payload["meterValue"]
    told = [(each["measurand"], each.get("phase"), each.get("unit")) for each in element["sampledValue"]]
    assert told == [
        ("Current.Import", "L1", "A"),
        ("Current.Import", "L2", "A"),
        ("Current.Import", "L3", "A"),
        ("Voltage", "L1-N", "V"),
        ("Voltage", "L2-N", "V"),
        ("Voltage", "L3-N", "V"),
        ("Power.Offered", None, "W"),
        ("Current.Offered", None, "A"),
        ("Temperature", None, "Celcius"),
        ("Frequency", None, None),
    ]
    amperes = sum(float(each["value"]) for each in element["sampledValue"][:3])
    volts = float(element["sampledValue"][3]["value"])
    assert pytest.approx(amperes * volts, rel=0.001) == 11_000
    refused = scene.command("ChangeConfiguration", {"key": "MeterValuesSampledData", "value": "SoC"})
    assert refused == {"status": "Rejected"}


def test_a_dc_charge_point_tells_the_state_of_charge_of_the_ev() -> None:
    """Core 7.31 and 7.30: SoC in Percent, located at the EV; it never falls while charging."""
    scene = booted(is_dc=True, MeterValueSampleInterval="60", MeterValuesSampledData="SoC,Current.Import,Voltage")
    scene.start()
    samples = meter_values(scene.serve(3600))
    assert len(samples) == 60
    socs = []
    for sample in samples:
        soc, current, voltage = sample.payload["meterValue"][0]["sampledValue"]
        assert (soc["location"], soc["unit"]) == ("EV", "Percent")
        assert "phase" not in current
        assert pytest.approx(float(current["value"]) * float(voltage["value"]), rel=0.01) == 22_000
        socs.append(int(soc["value"]))
    # 22 kWh into 60 kWh.
    assert (socs[0], socs[-1]) == (20, 56)
    assert sorted(socs) == socs


def test_an_interval_of_0_is_off_and_another_one_counts_at_once() -> None:
    """Core 3.16.1: 0 means that no sampled data is sent; core 5.3: Accepted means effective immediately."""
    scene = booted(MeterValueSampleInterval="3600")
    scene.start()
    scene.serve(1000)
    scene.configure("MeterValueSampleInterval", "60")
    changed = scene.now
    assert [changed + 60, changed + 120] == [each.now for each in meter_values(scene.serve(130))]
    scene.configure("MeterValueSampleInterval", "0")
    assert meter_values(scene.serve(7200)) == []
    scene.configure("MeterValueSampleInterval", "30")
    changed = scene.now
    assert [changed + 30, changed + 60] == [each.now for each in meter_values(scene.serve(60))]


def test_a_longer_interval_follows_the_sample_that_was_planned() -> None:
    """Core 3.16.1 leaves the change in the middle open: the sample that was on its way still comes."""
    scene = booted(MeterValueSampleInterval="60")
    scene.start()
    scene.serve(90)
    scene.configure("MeterValueSampleInterval", "600")
    start = scene.now
    assert [start + 30, start + 630] == [each.now for each in meter_values(scene.serve(700))]


def test_what_is_sampled_may_change_in_the_middle() -> None:
    """Core 9.1.17; core 3.16.4: a list with one unsupported item changes nothing."""
    scene = booted(MeterValueSampleInterval="60", MeterValuesSampledData=REGISTER)
    scene.start()
    scene.serve(60)
    bad = {"key": "MeterValuesSampledData", "value": "Power.Active.Import,RPM"}
    assert scene.command("ChangeConfiguration", bad) == {"status": "Rejected"}
    (sample,) = meter_values(scene.serve(60))
    assert {REGISTER} == set(values(sample.payload["meterValue"][0]))
    scene.configure("MeterValuesSampledData", "Power.Active.Import")
    (sample,) = meter_values(scene.serve(60))
    assert set(values(sample.payload["meterValue"][0])) == {"Power.Active.Import"}
    scene.configure("MeterValuesSampledData", "")
    assert meter_values(scene.serve(600)) == []


def test_registers_only_grow_and_transactions_follow_each_other_without_a_gap() -> None:
    """Core errata 3.78: a transaction starts with the register that the one before ended with."""
    scene = booted(MeterValueSampleInterval="60", MeterValuesSampledData=REGISTER)
    registers: list[int] = []
    for _ in range(3):
        scene.plug_in()
        scene.present()
        for each in scene.serve(500.5):
            if each.action == "StartTransaction":
                assert each.payload["meterStart"] == (registers[-1] if registers else 0)
                registers.append(each.payload["meterStart"])
            elif each.action == "MeterValues":
                registers.append(int(values(each.payload["meterValue"][0])[REGISTER]))
        registers.append(stop(scene)["meterStop"])
        assert scene.charging.unplug(1, scene.now)
        scene.serve(100)
    assert sorted(registers) == registers
    assert pytest.approx(3 * 500.5 * WH_PER_SECOND, abs=1) == registers[-1]


# -- clock-aligned ------------------------------------------------------------------------------------


def test_clock_aligned_values_come_at_the_ends_of_slots_counted_from_midnight() -> None:
    """Core 3.16.2, 9.1.5; core errata 3.16: with the transaction that is ongoing, for the others without one."""
    scene = booted(connectors=2, ClockAlignedDataInterval="900")
    scene.serve(99)
    transaction_id = scene.start(2)
    samples = meter_values(scene.serve(1800))
    assert sorted((round(each.now), each.payload["connectorId"]) for each in samples) == [
        (900, 1),
        (900, 2),
        (1800, 1),
        (1800, 2),
    ]
    for each in samples:
        (element,) = each.payload["meterValue"]
        assert at(round(each.now)) == element["timestamp"]
        assert contexts(element) == {"Sample.Clock"}
        is_charging = each.payload["connectorId"] == 2
        assert (transaction_id if is_charging else None) == each.payload.get("transactionId")
        energy = int(WH_PER_SECOND * (each.now - 100)) if is_charging else 0
        assert {REGISTER: f"{energy}"} == values(element)


def test_a_slot_that_does_not_divide_the_day_is_cut_off_at_midnight() -> None:
    """Core 3.16.2: evenly spaced intervals per day, starting at midnight."""
    scene = booted(ClockAlignedDataInterval="50000")
    ends = [round(each.now) for each in meter_values(scene.serve(2 * 86_400))]
    assert ends == [50_000, 86_400, 136_400, 172_800]


def test_clock_aligned_values_can_be_switched_on_and_off() -> None:
    """Core 3.16.2: 0 is off; core 5.3: effective immediately."""
    scene = booted()
    assert meter_values(scene.serve(1000)) == []
    scene.configure("ClockAlignedDataInterval", "300")
    assert [round(each.now) for each in meter_values(scene.serve(600))] == [1200, 1500]
    scene.configure("ClockAlignedDataInterval", "60")
    assert [round(each.now) for each in meter_values(scene.serve(100))] == [1620, 1680]
    scene.configure("ClockAlignedDataInterval", "0")
    assert meter_values(scene.serve(7200)) == []


def test_per_period_data_bears_the_time_at_which_its_period_began() -> None:
    """Core 9.1.5: accumulated across the interval, sent at its end, bearing the interval's start time."""
    scene = booted(ClockAlignedDataInterval="900", MeterValuesAlignedData=f"{REGISTER},{INTERVAL}")
    scene.serve(299)
    scene.start()
    first, second = meter_values(scene.serve(1700))
    for sample, began, ended in ((first, 300.0, 900), (second, 900.0, 1800)):
        period, instant = sample.payload["meterValue"]
        # The first one is a partial interval, at the beginning of the transaction.
        assert (at(began), at(ended)) == (period["timestamp"], instant["timestamp"])
        assert pytest.approx(WH_PER_SECOND * (ended - began), abs=0.1) == float(values(period)[INTERVAL])
        assert {REGISTER} == set(values(instant))


def test_a_period_tells_only_the_energy_of_its_own_transaction() -> None:
    """Core errata 3.16: with a transactionId, only values related to that transaction can be reported."""
    scene = booted(ClockAlignedDataInterval="900", MeterValuesAlignedData=INTERVAL)
    scene.serve(99)
    scene.start()
    scene.serve(300)
    stop(scene)
    assert scene.charging.unplug(1, scene.now)
    scene.serve(100)
    scene.start()
    began = scene.now
    (sample,) = meter_values(scene.serve(500))
    (element,) = sample.payload["meterValue"]
    assert sample.payload["transactionId"] == 2
    assert at(began) == element["timestamp"]
    assert pytest.approx(WH_PER_SECOND * (900 - began), abs=0.1) == float(values(element)[INTERVAL])


def test_the_first_period_after_switching_on_has_no_older_energy() -> None:
    """Core 9.1.5: per-period data is that of the period, which began when it was switched on."""
    scene = booted(MeterValuesAlignedData=INTERVAL)
    scene.start()
    scene.serve(1099)
    scene.configure("ClockAlignedDataInterval", "900")
    switched_on = scene.now
    (sample,) = meter_values(scene.serve(800))
    (element,) = sample.payload["meterValue"]
    assert at(switched_on) == element["timestamp"]
    assert pytest.approx(WH_PER_SECOND * (1800 - switched_on), abs=0.1) == float(values(element)[INTERVAL])


def test_offline_without_a_transaction_nothing_is_kept_and_with_one_everything() -> None:
    """Core 3.7: what has to do with a transaction MUST be queued; the rest need not, and is not."""
    scene = booted(connectors=2, ClockAlignedDataInterval="900", MeterValueSampleInterval="600")
    scene.start(2)
    scene.lose()
    scene.pass_offline(1850)
    scene.connect()
    samples = meter_values(scene.serve(5))
    told = [(each.payload["connectorId"], each.payload["meterValue"][0]["timestamp"]) for each in samples]
    # It came online a second after midnight; samples count from there, slots from midnight.
    assert told == [(2, at(601)), (2, at(900)), (2, at(1201)), (2, at(1800)), (2, at(1801))]
    assert {1} == {each.payload["transactionId"] for each in samples}


def test_nothing_is_metered_for_the_central_system_before_it_has_accepted() -> None:
    """Core 4.2: while Pending, no request but those that it asks for."""
    scene = Scene(Template(settings=(("ClockAlignedDataInterval", "900"),)))
    scene.charge_point.power_on(0.0)
    scene.connect()
    scene.expect("BootNotification")
    scene.answer(scene.registration("Pending", interval=3600))
    assert scene.serve(3599) == []


# -- in StopTransaction -------------------------------------------------------------------------------


def test_stop_transaction_has_begin_periodic_clock_and_end_in_order() -> None:
    """Core 3.16.1, 3.16.2 and 4.10; core errata 3.14: Transaction.Begin and .End of every measurand configured."""
    scene = booted(
        MeterValueSampleInterval="400",
        StopTxnSampledData=REGISTER,
        ClockAlignedDataInterval="900",
        StopTxnAlignedData="Power.Active.Import",
    )
    scene.serve(99)
    scene.start()
    scene.serve(900)
    payload = stop(scene)
    data = payload["transactionData"]
    # It started at 100 and stopped at 1000.
    expected = [
        (at(100), {"Transaction.Begin"}, {REGISTER, "Power.Active.Import"}),
        (at(500), {"Sample.Periodic"}, {REGISTER}),
        (at(900), {"Sample.Clock"}, {"Power.Active.Import"}),
        (at(900), {"Sample.Periodic"}, {REGISTER}),
        (at(1000), {"Transaction.End"}, {REGISTER, "Power.Active.Import"}),
    ]
    told = [(each["timestamp"], contexts(each), set(values(each))) for each in data]
    assert sorted(map(str, expected)) == sorted(map(str, told))
    assert [each[0] for each in expected] == [each[0] for each in told]
    assert expected[-1] == told[-1]
    assert values(data[0])[REGISTER] == "0"
    assert f"{payload['meterStop']}" == values(data[-1])[REGISTER]


def test_empty_lists_put_no_meter_values_into_stop_transaction() -> None:
    """Core 3.16.5: SHALL NOT."""
    scene = booted(MeterValueSampleInterval="60", ClockAlignedDataInterval="60")
    scene.start()
    assert len(meter_values(scene.serve(600))) > 10
    assert "transactionData" not in stop(scene)


def test_what_stop_transaction_tells_need_not_be_told_before() -> None:
    """Core 3.16: as standalone MeterValues or as transactionData, each with a list of its own."""
    scene = booted(MeterValueSampleInterval="60", MeterValuesSampledData="", StopTxnSampledData=REGISTER)
    scene.start()
    assert meter_values(scene.serve(300)) == []
    assert len(stop(scene)["transactionData"]) == 2 + 5


def test_too_many_values_lose_some_in_the_middle_and_never_begin_or_end() -> None:
    """Core errata 3.91 and 3.14: at most StopTransactionMaxMeterValues; not all dropped from one end."""
    scene = booted(MeterValueSampleInterval="10", StopTxnSampledData=REGISTER, StopTransactionMaxMeterValues="20")
    scene.start()
    began = scene.now
    scene.serve(7200)
    data = stop(scene)["transactionData"]
    assert 10 <= len(data) <= 20
    assert [{"Transaction.Begin"}, {"Transaction.End"}] == [contexts(data[0]), contexts(data[-1])]
    registers = [int(values(each)[REGISTER]) for each in data]
    assert sorted(registers) == registers
    assert {"Sample.Periodic"} == {context for each in data[1:-1] for context in contexts(each)}
    # Something of each quarter of the time is left.
    times = [int(registers[-1] * quarter / 4) for quarter in range(5)]
    for earlier, later in pairwise(times):
        assert any(earlier <= register <= later for register in registers[1:-1])
    assert at(began) == data[0]["timestamp"]


def test_the_least_that_can_be_kept_is_begin_and_end() -> None:
    """Core errata 3.91: also where every slot has two values, one of the period and one of the instant."""
    scene = booted(
        ClockAlignedDataInterval="60",
        StopTxnAlignedData=f"{REGISTER},{INTERVAL}",
        StopTransactionMaxMeterValues="2",
    )
    scene.start()
    scene.serve(600)
    data = stop(scene)["transactionData"]
    assert [{"Transaction.Begin"}, {"Transaction.End"}] == [contexts(each) for each in data]


@pytest.mark.parametrize("sample_interval", ["0", "60", "77"])
def test_the_periods_of_a_transaction_add_up_to_its_energy(sample_interval: str) -> None:
    """Core 9.1.5: partial intervals at the beginning and the end of a transaction are told as well."""
    scene = booted(
        MeterValueSampleInterval=sample_interval, ClockAlignedDataInterval="900", StopTxnAlignedData=INTERVAL
    )
    scene.serve(99)
    scene.start()
    scene.serve(2000)
    payload = stop(scene)
    periods = [float(values(each)[INTERVAL]) for each in payload["transactionData"]]
    assert len(periods) == 4
    assert pytest.approx(2000 * WH_PER_SECOND, abs=0.5) == sum(periods)


def test_no_measurand_is_told_twice_at_the_end() -> None:
    """Core errata 3.14: one in both lists is one value at Transaction.Begin and one at Transaction.End."""
    scene = booted(StopTxnSampledData=f"{REGISTER},{INTERVAL}", StopTxnAlignedData=f"{INTERVAL},{REGISTER}")
    scene.start()
    scene.serve(100)
    for element in stop(scene)["transactionData"]:
        measurands = [each["measurand"] for each in element["sampledValue"]]
        assert sorted(set(measurands)) == sorted(measurands)


# -- clocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-7200.0, -450.0, 450.0, 7200.0, 3 * 86_400.0])
def test_slots_follow_a_clock_that_the_central_system_has_set(jump: float) -> None:
    """Core 4.6 and 3.16.2: the slots are those of the clock that the central system tells."""
    scene = booted(ClockAlignedDataInterval="900", HeartbeatInterval="86400")
    scene.start()
    scene.serve(299)
    scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"})
    scene.expect("Heartbeat")
    scene.answer({"currentTime": format_utc(UTC_AT_ZERO + 86_400 * 2 + scene.now + jump)})
    clock = scene.now + jump
    samples = meter_values(scene.serve(1800))
    assert len(samples) == 2
    for sample, ahead in zip(samples, (900 - clock % 900, 1800 - clock % 900), strict=True):
        assert pytest.approx(300 + ahead, abs=0.01) == sample.now
        (element,) = sample.payload["meterValue"]
        assert at(86_400 * 2 + clock + ahead) == element["timestamp"]


def test_samples_keep_their_rhythm_when_the_clock_is_set() -> None:
    """Core 3.16.1: the interval counts from the start of the transaction, whatever the clock shows."""
    scene = booted(MeterValueSampleInterval="60", HeartbeatInterval="86400")
    scene.start()
    began = scene.now
    scene.serve(90)
    scene.command("TriggerMessage", {"requestedMessage": "Heartbeat"})
    scene.expect("Heartbeat")
    scene.answer({"currentTime": format_utc(UTC_AT_ZERO + scene.now - 3600)})
    assert [began + 120, began + 180] == [each.now for each in meter_values(scene.serve(100))]
    payload = stop(scene)
    # No transaction ends before it began.
    assert at(began) <= payload["timestamp"]
    assert pytest.approx(190 * WH_PER_SECOND, abs=1) == payload["meterStop"]


def test_a_period_that_a_power_cut_interrupted_has_no_energy_of_an_older_one() -> None:
    """Core 9.1.5: after hours without power, what was charged before does not belong to the new slot."""
    scene = booted(ClockAlignedDataInterval="900", MeterValuesAlignedData=INTERVAL)
    scene.start()
    scene.serve(600)
    scene.outstanding = None
    scene.charge_point.power_off(scene.now)
    scene.wait(7200)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    samples = meter_values(scene.serve(1800))
    assert len(samples) == 2
    assert [float(values(each.payload["meterValue"][0])[INTERVAL]) for each in samples] == [0.0, 0.0]
