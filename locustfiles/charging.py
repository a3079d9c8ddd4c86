r"""EV drivers come to every charge point, charge and leave, all day long.

Every connector has a Poisson process of its own, whose rate follows the hours of the day. A fleet file
says who comes, and how often; `--acceleration 60` makes a day of 24 minutes:

    locust -f locustfiles/charging.py --host ws://localhost:8080/ocpp --fleet locustfiles/fleets/city.toml \\
        --users 1000 --acceleration 60
"""

from locust import task

from ampswarm.load import ChargePointUser


class ChargePoint(ChargePointUser):
    """Serves the drivers who come; beats, meters, answers and reconnects meanwhile."""

    @task
    def serve(self) -> None:
        """Serve them until Locust says stop."""
        self.serve_drivers()
