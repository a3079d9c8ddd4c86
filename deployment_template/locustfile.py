"""A fleet in its everyday life: every charge point connects, boots, beats and reconnects.

Aim it at a central system and say how many charge points there are:

    locust -f locustfiles/steady_state.py --host ws://localhost:8080/ocpp --users 1000
"""

from ampswarm.load import ChargePointUser


class ChargePoint(ChargePointUser):
    """Boots when it is switched on, sends Heartbeats, and comes back when it loses its connection."""
