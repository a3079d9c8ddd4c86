"""SampledValues: which are wanted, and how they are written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.sampling import (
    SUPPORTED,
    SUPPORTED_AC,
    SUPPORTED_DC,
    Context,
    Measurand,
    Reading,
    Wanted,
    is_per_period,
    meter_value,
    parse_measurands,
    sampled_values,
    shown_register,
)
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate
from tests.ocppj.payloads import schema

AC3 = Reading(
    register=123_456.78,
    interval=183.333,
    power=11_000.0,
    offered=22_080.0,
    voltage=230.0,
    phases=3,
    supply_phases=3,
    is_dc=False,
    soc=None,
    temperature=24.66,
    frequency=50.0,
)
AC1 = replace(AC3, power=3_680.0, offered=7_360.0, phases=1, supply_phases=1)
DC = replace(AC3, power=98_765.4, offered=150_000.0, voltage=400.0, phases=1, supply_phases=1, is_dc=True, soc=63.9)
PERIODIC = Context.SAMPLE_PERIODIC


def ac(text: str) -> tuple[Wanted, ...]:
    return parse_measurands(text, supported=SUPPORTED_AC, phases=3, max_length=20)


def one(wanted: str, reading: Reading) -> list[Payload]:
    items = parse_measurands(wanted, supported=SUPPORTED, phases=3, max_length=1)
    return sampled_values(items, reading, PERIODIC)


def value(value: str, measurand: str, **fields: str) -> Payload:
    return {"value": value, "context": "Sample.Periodic", "measurand": measurand, **fields}


@pytest.mark.parametrize(
    ("text", "reading", "expected"),
    [
        ("Energy.Active.Import.Register", AC3, [value("123456", "Energy.Active.Import.Register", unit="Wh")]),
        ("Energy.Active.Import.Interval", AC3, [value("183.3", "Energy.Active.Import.Interval", unit="Wh")]),
        ("Power.Active.Import", AC3, [value("11000.0", "Power.Active.Import", unit="W")]),
        ("Power.Offered", AC3, [value("22080.0", "Power.Offered", unit="W")]),
        (
            "Current.Import",
            AC3,
            [value("15.94", "Current.Import", phase=phase, unit="A") for phase in ("L1", "L2", "L3")],
        ),
        ("Current.Import", AC1, [value("16.00", "Current.Import", phase="L1", unit="A")]),
        (
            "Current.Import",
            replace(AC3, power=3_680.0, phases=1),
            [
                value("16.00", "Current.Import", phase="L1", unit="A"),
                value("0.00", "Current.Import", phase="L2", unit="A"),
                value("0.00", "Current.Import", phase="L3", unit="A"),
            ],
        ),
        ("Current.Import.L2", AC3, [value("15.94", "Current.Import", phase="L2", unit="A")]),
        ("Current.Import.L2", AC1, []),
        ("Current.Import.L1", DC, []),
        ("Current.Import", DC, [value("246.91", "Current.Import", unit="A")]),
        ("Current.Offered", AC3, [value("32.00", "Current.Offered", unit="A")]),
        ("Current.Offered", DC, [value("375.00", "Current.Offered", unit="A")]),
        (
            "Voltage",
            AC3,
            [value("230.0", "Voltage", phase=phase, unit="V") for phase in ("L1-N", "L2-N", "L3-N")],
        ),
        ("Voltage", replace(AC3, phases=1), one("Voltage", AC3)),
        ("Voltage", AC1, [value("230.0", "Voltage", phase="L1-N", unit="V")]),
        ("Voltage.L1", AC3, [value("230.0", "Voltage", phase="L1", unit="V")]),
        ("Voltage.L3-N", AC3, [value("230.0", "Voltage", phase="L3-N", unit="V")]),
        ("Voltage", DC, [value("400.0", "Voltage", unit="V")]),
        ("SoC", DC, [value("63", "SoC", location="EV", unit="Percent")]),
        ("SoC", AC3, []),
        ("SoC", replace(DC, soc=None), []),
        ("Temperature", AC3, [value("24.7", "Temperature", location="Body", unit="Celcius")]),
        (
            "Temperature",
            replace(AC3, temperature=-0.04),
            [value("0.0", "Temperature", location="Body", unit="Celcius")],
        ),
        ("Frequency", AC3, [value("50.00", "Frequency")]),
        ("Frequency", DC, []),
    ],
)
def test_a_value_is_written_as_meters_write_it(text: str, reading: Reading, expected: list[Payload]) -> None:
    """Core 7.30 to 7.45, core errata 3.86 (Frequency has no unit), J errata 2.1 (Celcius)."""
    assert expected == one(text, reading)


def test_a_meter_value_holds_all_that_is_wanted_in_its_order() -> None:
    """One time, one reading, several values (core 7.33)."""
    wanted = ac("Power.Active.Import,Energy.Active.Import.Register")
    assert meter_value(1_772_366_400.0, wanted, AC3, Context.TRANSACTION_END) == {
        "timestamp": "2026-03-01T12:00:00.000Z",
        "sampledValue": [
            {"value": "11000.0", "context": "Transaction.End", "measurand": "Power.Active.Import", "unit": "W"},
            {
                "value": "123456",
                "context": "Transaction.End",
                "measurand": "Energy.Active.Import.Register",
                "unit": "Wh",
            },
        ],
    }


def test_a_meter_value_is_never_empty() -> None:
    """At least one sampledValue (core 7.33): nothing wanted, or nothing that applies, is no MeterValue."""
    assert meter_value(0.0, (), AC3, PERIODIC) is None
    assert meter_value(0.0, (Wanted(Measurand.SOC),), AC3, PERIODIC) is None


def enumeration(field: str) -> set[str]:
    """Return what the published schema allows in one field of a SampledValue."""
    root: Any = schema("MeterValues", Direction.REQ)
    meter_values = root["properties"]["meterValue"]["items"]["properties"]
    return set(meter_values["sampledValue"]["items"]["properties"][field]["enum"])


def test_the_spelling_is_that_of_the_schema() -> None:
    """Core 7.31 and 7.35: a value that is misspelled loses the whole message."""
    assert enumeration("measurand") == set(Measurand)
    assert enumeration("context") == set(Context)


def test_what_is_supported_depends_on_the_current() -> None:
    """An AC charge point does not know the SoC; behind a rectifier there is no frequency."""
    assert {
        "Energy.Active.Import.Register",
        "Energy.Active.Import.Interval",
        "Power.Active.Import",
        "Power.Offered",
        "Current.Import",
        "Current.Offered",
        "Voltage",
        "Temperature",
        "Frequency",
    } == SUPPORTED_AC
    assert SUPPORTED_AC - {Measurand.FREQUENCY} | {Measurand.SOC} == SUPPORTED_DC
    assert SUPPORTED_AC | SUPPORTED_DC == SUPPORTED


READINGS = st.builds(
    Reading,
    register=st.floats(0, 1e12),
    interval=st.floats(0, 1e6),
    power=st.floats(0, 400_000),
    offered=st.floats(0, 400_000),
    voltage=st.just(0.0) | st.floats(1, 1000),
    phases=st.integers(0, 3),
    supply_phases=st.integers(1, 3),
    is_dc=st.booleans(),
    soc=st.none() | st.floats(0, 100),
    temperature=st.floats(-50, 120),
    frequency=st.floats(45, 65),
)
ITEMS = st.sampled_from(
    [
        *(Wanted(measurand) for measurand in sorted(SUPPORTED)),
        *(Wanted(Measurand.CURRENT_IMPORT, phase) for phase in ("L1", "L2", "L3")),
        *(Wanted(Measurand.VOLTAGE, phase) for phase in ("L1", "L2", "L3", "L1-N", "L2-N", "L3-N")),
    ]
)


@given(READINGS, st.lists(ITEMS, max_size=20), st.sampled_from(Context), st.floats(0, 2e9))
def test_every_meter_value_keeps_to_the_schema(
    reading: Reading, wanted: list[Wanted], context: Context, timestamp: float
) -> None:
    """In MeterValues.req and in the transactionData of StopTransaction.req; every value a plain decimal number."""
    written = meter_value(timestamp, tuple(wanted), reading, context)
    if written is None:
        return
    validate("MeterValues", Direction.REQ, {"connectorId": 1, "meterValue": [written]})
    validate(
        "StopTransaction",
        Direction.REQ,
        {
            "meterStop": 0,
            "timestamp": written["timestamp"],
            "transactionId": 1,
            "transactionData": [written],
        },
    )
    for each in written["sampledValue"]:
        assert each["context"] == context
        whole, _, fraction = each["value"].removeprefix("-").partition(".")
        assert whole.isdecimal()
        assert not fraction or fraction.isdecimal()
        assert float(each["value"]) != 0 or not each["value"].startswith("-")


@given(READINGS)
def test_power_is_voltage_times_current_of_all_phases(reading: Reading) -> None:
    """Back ends check the one against the other: the rounding of each is all that may differ."""
    volts = max(1.0, reading.voltage)
    reading = replace(
        reading,
        voltage=volts,
        phases=1 if reading.is_dc else min(max(1, reading.phases), reading.supply_phases),
        supply_phases=1 if reading.is_dc else reading.supply_phases,
    )
    [power, offered, limit], currents, voltages = (
        [float(each["value"]) for each in sampled_values(wanted, reading, PERIODIC)]
        for wanted in (
            ac("Power.Active.Import, Power.Offered, Current.Offered"),
            ac("Current.Import"),
            ac("Voltage"),
        )
    )
    phases = reading.phases
    assert len(currents) == len(voltages) == reading.supply_phases
    # Half of the last digit: 0.005 A at each voltage, 0.05 V at each current, 0.05 W.
    assert sum(u * i for u, i in zip(voltages, currents, strict=True)) == pytest.approx(
        power, abs=0.0051 * phases * (volts + 1) + 0.051 * sum(currents) + 0.051
    )
    assert voltages[0] * limit * phases == pytest.approx(
        offered, abs=0.0051 * phases * (volts + 1) + 0.051 * limit * phases + 0.051
    )


def test_no_voltage_or_no_phase_is_no_current() -> None:
    """A connector without power must not stop a charge point with a division by zero."""
    for reading in (replace(AC3, voltage=0.0), replace(AC3, phases=0)):
        assert [value("0.00", "Current.Offered", unit="A")] == one("Current.Offered", reading)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
def test_a_register_only_grows_and_its_differences_add_up(parts: list[float]) -> None:
    """Core 7.31: monotonic; what is billed from readings in between is what is billed from the ends."""
    registers = [sum(parts[:end]) for end in range(len(parts) + 1)]
    shown = [shown_register(register) for register in registers]
    assert sorted(shown) == shown
    for register, number in zip(registers, shown, strict=True):
        assert register - 1 < number <= register + 1e-5
    assert [str(shown[-1])] == [
        each["value"] for each in one("Energy.Active.Import.Register", replace(AC3, register=registers[-1]))
    ]


def test_a_register_shows_the_whole_wh_that_its_parts_add_up_to() -> None:
    """Ten times 0.1 Wh is 1 Wh, whatever floating point makes of it."""
    register = sum([0.1] * 10)
    assert register < 1
    assert shown_register(register) == 1


def test_a_state_of_charge_of_100_percent_is_full() -> None:
    """Almost full is 99: a back end ends sessions at 100."""
    assert [each["value"] for each in one("SoC", replace(DC, soc=99.99))] == ["99"]
    assert [each["value"] for each in one("SoC", replace(DC, soc=100.0))] == ["100"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("Voltage", [(Measurand.VOLTAGE, None)]),
        ("Voltage.L1", [(Measurand.VOLTAGE, "L1")]),
        ("voltage.l1-n", [(Measurand.VOLTAGE, "L1-N")]),
        ("Current.Import.L3", [(Measurand.CURRENT_IMPORT, "L3")]),
        (
            " Temperature ,ENERGY.ACTIVE.IMPORT.REGISTER, temperature",
            [(Measurand.TEMPERATURE, None), (Measurand.ENERGY_ACTIVE_IMPORT_REGISTER, None)],
        ),
    ],
)
def test_a_list_of_measurands_is_read(text: str, expected: list[tuple[Measurand, str | None]]) -> None:
    """Core 9.1.17. In any case: the value of ChangeConfiguration.req is a CiString500Type (core 6.9)."""
    assert [Wanted(measurand, phase) for measurand, phase in expected] == list(ac(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Voltage,Volume", "not a measurand: 'Volume'"),
        ("Voltage,", "not a measurand: ''"),
        ("Voltage;SoC", "not a measurand: 'Voltage;SoC'"),
        ("Voltage.L4", "not a measurand: 'Voltage.L4'"),
        ("Voltage.N", "not a measurand: 'Voltage.N'"),
        ("L1", "not a measurand: 'L1'"),
        ("x" * 500, f"not a measurand: '{'x' * 60}'"),
        ("RPM", "RPM is not supported"),
        ("Voltage, SoC", "SoC is not supported"),
        ("Power.Active.Import.L1", "Power.Active.Import is not measured on phase L1"),
        ("Current.Import.L1-N", "Current.Import is not measured on phase L1-N"),
        ("Voltage,Current.Import,SoC,Temperature", "4 measurands are more than 3"),
        ("Voltage.L2", "Voltage: there is no phase L2"),
    ],
)
def test_one_bad_item_spoils_the_list(text: str, message: str) -> None:
    """Core 3.16.4: Rejected, not half accepted; the line goes to a log."""
    with pytest.raises(ValueError) as raised:
        parse_measurands(text, supported=SUPPORTED_AC, phases=1, max_length=3)
    assert message == str(raised.value)


def test_a_dc_charge_point_has_no_phases_to_ask_for() -> None:
    """Core 3.16.4: what it could never send is not accepted."""
    with pytest.raises(ValueError, match=r"^Voltage: there is no phase L1$"):
        parse_measurands("Voltage.L1", supported=SUPPORTED_DC, phases=0, max_length=9)


@pytest.mark.parametrize(
    ("measurand", "phase", "message"),
    [
        (Measurand.POWER_FACTOR, None, "Power.Factor is not supported"),
        (Measurand.VOLTAGE, "N", "Voltage is not measured on phase N"),
        (Measurand.VOLTAGE, "", "Voltage is not measured on phase "),
        (Measurand.TEMPERATURE, "L1", "Temperature is not measured on phase L1"),
    ],
)
def test_what_cannot_be_reported_cannot_be_wanted(measurand: Measurand, phase: str | None, message: str) -> None:
    """An error at the start, not a missing value in the middle of a load test."""
    with pytest.raises(ValueError) as raised:
        Wanted(measurand, phase)
    assert message == str(raised.value)


def test_equal_lists_are_one_object() -> None:
    """50,000 charge points that are told the same must not keep 50,000 lists."""
    text = "Voltage,Temperature"
    assert ac(text) is ac(text)
    assert ac(text) is not ac("Temperature,Voltage")


def test_only_intervals_are_per_period() -> None:
    """Core 9.1.5: clock-aligned, they bear the time at which their interval began; registers do not."""
    assert [wanted.measurand for wanted in map(Wanted, sorted(SUPPORTED)) if is_per_period(wanted)] == [
        "Energy.Active.Import.Interval"
    ]
