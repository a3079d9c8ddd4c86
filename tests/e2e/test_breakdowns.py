"""What a scenario can let happen to a charge point, seen from the central system."""

from __future__ import annotations

import json
from pathlib import Path

from tests.processes import CentralSystem, run_locust

A_BAD_DAY = """
from locust import task
from ampswarm.load import ChargePointUser, Vehicle

class Station(ChargePointUser):
    @task
    def day(self):
        self.plug_in(Vehicle(soc=20))
        assert self.start_charging("TAG1")
        self.pause_charging()
        self.sleep(0.2)
        self.resume_charging()
        self.sleep(0.2)
        self.fault("GroundFailure", info="wet")
        self.sleep(0.2)
        self.repair()
        self.sleep(0.2)
        self.disconnect_ev()
        self.reconnect_ev()
        self.unplug()
        self.sleep(0.2)
        self.plug_in(Vehicle(soc=20))
        assert self.start_charging("TAG1")
        self.emergency_stop()
        self.sleep(0.2)
        self.repair()
        self.unplug()
        try:
            self.present("x" * 21)
        except ValueError as refusal:
            print("refused:", refusal)
        self.sleep(1000)
"""


def test_everything_that_a_scenario_lets_happen_is_told(tmp_path: Path) -> None:
    """Pauses, faults, cables and the red button: statuses and reasons as core 4.9 and 7.36 name them."""
    (tmp_path / "scenario.py").write_text(A_BAD_DAY)
    with CentralSystem(tmp_path / "cs.log", "--log-payload", "true") as witness:
        run = run_locust(
            tmp_path, "--headless", "-t", "6s", "-u", "1", "--host", witness.url, locustfile=tmp_path / "scenario.py"
        )
        frames = [json.loads(line["message"]) for line in witness.lines("message") if line["direction"] == "in"]
    assert run.status == 0, run.output
    calls = [(frame[2], frame[3]) for frame in frames if frame[0] == 2]
    statuses = [
        payload["status"] for action, payload in calls
        if action == "StatusNotification" and payload["connectorId"] == 1
    ]  # fmt: skip
    assert statuses == [
        *("Preparing", "Charging", "SuspendedEV", "Charging", "Faulted", "Charging", "Finishing", "Available"),
        *("Preparing", "Charging", "Faulted", "Finishing", "Available"),
    ]
    reasons = [payload["reason"] for action, payload in calls if action == "StopTransaction"]
    assert reasons == ["EVDisconnected", "EmergencyStop"]
    faults = [payload for action, payload in calls if payload.get("status") == "Faulted"]
    assert [(each["errorCode"], each["info"]) for each in faults] == [
        ("GroundFailure", "wet"),
        ("OtherError", "emergency stop"),
    ]
    assert "refused: 'xxxxxxxxxxxxxxxxxxxxx' is no id tag: 1 to 20 characters (core 7.28)" in run.output
