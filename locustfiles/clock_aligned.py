r"""Every charge point samples its meters in the same second (core 9.1.6, ClockAlignedDataInterval).

    locust -f locustfiles/clock_aligned.py --host ws://localhost:8080/ocpp --users 1000

Each quarter of an hour the whole fleet sends MeterValues at once: compare `OCPP MeterValues` with Heartbeats between
the peaks, and see in `DUE` how long the last had to wait. `--aligned-seconds 10` makes a peak every ten seconds.
"""

from locust import task

from ampswarm.load import ChargePointUser
from ampswarm.load.options import Option, declare
from ampswarm.option_types import integer

OPTIONS = (
    Option("--aligned-seconds", "ALIGNED_SECONDS", 900, integer(1, 86_400, "an interval in seconds"),
           "Seconds from one sample of all meters to the next"),
)  # fmt: skip


declare(OPTIONS)


class ChargePoint(ChargePointUser):
    """Charges an EV without end, and tells what its meters show at :00, :15, :30 and :45."""

    def on_start(self) -> None:
        """Set the interval, as the central system would with ChangeConfiguration."""
        self.configure("ClockAlignedDataInterval", f"{self.environment.parsed_options.aligned_seconds}")

    @task
    def charge(self) -> None:
        """Plug in, and keep charging."""
        self.plug_in()
        self.start_charging("DRIVER")
        self.sleep(float("inf"))
