"""Faults and what is told of them (core 4.9, 6.47, 7.6)."""

from __future__ import annotations

import pytest

from ampswarm.charge_point.template import Template
from tests.fakes.scene import Scene

FAULTS = [
    "ConnectorLockFailure",
    "GroundFailure",
    "HighTemperature",
    "InternalError",
    "OtherError",
    "OverCurrentFailure",
    "OverVoltage",
    "PowerMeterFailure",
    "PowerSwitchFailure",
    "ReaderFailure",
    "ResetFailure",
    "UnderVoltage",
    "WeakSignal",
]


def booted() -> Scene:
    scene = Scene(Template(connectors=2, settings=(("MeterValueSampleInterval", "0"),)))
    scene.boot(86_400)
    return scene


@pytest.mark.parametrize("error_code", FAULTS)
@pytest.mark.parametrize("connector_id", [0, 1])
def test_every_error_is_told_with_faulted_and_nothing_without_it(error_code: str, connector_id: int) -> None:
    """Core 7.6, 7.7: Faulted with its code, NoError after the repair."""
    scene = booted()
    scene.charging.fault(connector_id, error_code, scene.now, info="i" * 60)
    told = scene.expect_status("Faulted", connector_id)
    assert (error_code, "i" * 50) == (told["errorCode"], told["info"])
    scene.charging.repair(connector_id, scene.now)
    told = scene.expect_status("Available", connector_id)
    assert (told["errorCode"], told.get("info")) == ("NoError", None)
    scene.expect_silence()


@pytest.mark.parametrize("error_code", ["EVCommunicationError", "LocalListConflict", "NoError", "Smoke", ""])
def test_what_does_not_go_with_faulted_is_no_fault(error_code: str) -> None:
    """Core 4.9: EVCommunicationError SHALL NOT be used with Faulted; 3.5.2: nor is a conflict of lists a fault."""
    scene = booted()
    with pytest.raises(ValueError, match="no error that goes with Faulted"):
        scene.charging.fault(1, error_code, scene.now)
    scene.expect_silence()


def test_a_fault_that_came_offline_is_told_on_return_and_one_that_has_gone_is_not() -> None:
    """Core 4.9, rules 1 to 3: the current status, with its error; no history."""
    scene = booted()
    scene.lose()
    scene.charging.fault(1, "HighTemperature", scene.now)
    scene.charging.fault(2, "GroundFailure", scene.now)
    scene.pass_offline(10)
    scene.charging.repair(2, scene.now)
    scene.connect()
    assert scene.expect_status("Faulted", 1)["errorCode"] == "HighTemperature"
    scene.expect_silence()


def test_a_faulted_connector_can_neither_be_used_nor_reserved_nor_started_from_afar() -> None:
    """Core 7.7: not available for energy delivery; 5.11 and 5.13 answer so."""
    scene = booted()
    scene.charging.fault(1, "OverVoltage", scene.now)
    scene.expect_status("Faulted")
    scene.plug_in()
    scene.present()
    assert scene.serve(30) == []
    assert scene.command("RemoteStartTransaction", {"connectorId": 1, "idTag": "A"}) == {"status": "Rejected"}
    assert scene.connector().transaction is None
    # The driver who waited with a cable gets it back, and the connector its state.
    assert scene.unplug()
    scene.charging.repair(1, scene.now)
    scene.expect_status("Available")
