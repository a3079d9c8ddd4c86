r"""New firmware for the whole fleet: UpdateFirmware through the operator API, and what follows until all are back.

    locust -f locustfiles/firmware_rollout.py --host ws://localhost:8080/ocpp --users 1000 \\
        --operator-api http://localhost:8081

One of the users is an operator, who tells the charge points of its worker after `--rollout-after` seconds (60);
with several workers, there must be one on each (`fixed_count`). The type `FIRMWARE` counts from when a charge point had
the command: until each status was told (Downloading, Downloaded, Installing, Installed), and until it was back after
its reboot. `REMOTE/UpdateFirmware answer` counts from the one call of the API that tells them all.
"""

import time

from locust import task

from ampswarm.charge_point.events import CommandReceived, Online, ProgressTold, StationEvent
from ampswarm.load import ChargePointUser, OperatorUser
from ampswarm.load.operator_api import CommandFailed
from ampswarm.load.operators import report
from ampswarm.load.options import Option, declare
from ampswarm.option_types import seconds

OPTIONS = (
    Option("--rollout-after", "ROLLOUT_AFTER", 60.0, seconds(0.0, 86_400.0),
           "Seconds from the start of the operator to its command"),
)  # fmt: skip
LOCATION = "https://firmware.example/swarm-22/2.0.0/image.bin"


declare(OPTIONS)


class ChargePoint(ChargePointUser):
    """Gets new firmware in the middle of its everyday life."""

    asked_at = 0.0
    is_installing = False

    def observed(self, event: StationEvent) -> None:
        """Measure how the update goes on."""
        match event:
            case CommandReceived(action="UpdateFirmware"):
                self.asked_at = time.monotonic()
            case ProgressTold(action="FirmwareStatusNotification", status=status) if self.asked_at:
                failed = CommandFailed(status) if "Fail" in status else None
                report(self, "FIRMWARE", status, time.monotonic() - self.asked_at, failed)
                self.is_installing = self.is_installing or status == "Installing"
            case Online() if self.is_installing:
                # Its reboot; what it loses and finds again before or later is not of the update.
                self.is_installing = False
                report(self, "FIRMWARE", "back online", time.monotonic() - self.asked_at)


class Operator(OperatorUser):
    """Rolls the firmware out, once."""

    fixed_count = 1

    @task
    def roll_out(self) -> None:
        """Tell every charge point of this worker that is online."""
        time.sleep(self.environment.parsed_options.rollout_after)
        whom = [each.identity for each in self.fleet.charge_points if each.is_online]
        payload = {"location": LOCATION, "retrieveDate": "2026-01-01T00:00:00Z"}
        began = time.monotonic()
        for _, answer in self.api.call_all(whom, "UpdateFirmware", payload, timeout=30):
            failed = answer if isinstance(answer, CommandFailed) else None
            self.report("REMOTE", "UpdateFirmware answer", time.monotonic() - began, failed)
        time.sleep(float(10**6))
