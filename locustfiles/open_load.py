r"""Messages, drivers or charge points arrive at planned times, whether or not the central system keeps up.

Without `--arrivals` it is an ordinary fleet. With it, each arrival is sent when it is due, or queues at its
charge point; `DUE` counts from when it was due, so that no delay hides another:

    locust -f locustfiles/open_load.py --host ws://localhost:8080/ocpp --users 1000 --run-time 15min \
        --arrivals "ramp 0/s to 200/s over 5min, poisson 200/s for 10min" --arrivals-of MeterValues

docs/reference/open-load.md has every form of it.
"""

from ampswarm.load import ChargePointUser


class ChargePoint(ChargePointUser):
    """Does what arrives at it, beside what every charge point does."""
