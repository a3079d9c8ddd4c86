r"""Half of the fleet loses its network at once, and comes back: how long that takes, and what the others feel of it.

    locust -f locustfiles/reconnect_storm.py --host ws://localhost:8080/ocpp --users 1000 \\
        --headless --run-time 3m

The storm is an entry of the scenario. `--storm` takes its place, as in `--storm "at=60s share=80% kind=herd"`, for
devices that know no back-off; several come with several `--storm`. The table at the end says when 50, 90, 99 and 100 %
were accepted again, after how many attempts, and what was refused.
"""

from ampswarm.load import ChargePointUser


class ChargePoint(ChargePointUser):
    """A charge point of a steady fleet."""

    storms = ("at=60s share=50% kind=network for=5s name=uplink",)
