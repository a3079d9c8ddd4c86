r"""How many charge points the central system holds, or how many messages in a second.

It steps up, waits until the load is steady, judges it, and finds the edge; the result has its evidence, as
JSON and as a plot:

    locust -f locustfiles/capacity.py --host ws://localhost:8080/ocpp --headless --reconnect-max 5 \
        --capacity-of charge-points --capacity-from 500 --capacity-to 20000 --capacity-out out

    locust -f locustfiles/capacity.py --host ws://localhost:8080/ocpp --headless --users 1000 \
        --capacity-of messages --arrivals-of MeterValues --capacity-from 100 --capacity-to 5000

docs/reference/capacity.md says how it is judged, and what else can be said.
"""

from ampswarm.load import ChargePointUser
from ampswarm.load.capacity import CapacitySearch

__all__ = ["CapacitySearch", "ChargePoint"]


class ChargePoint(ChargePointUser):
    """Boots, sends what is asked of it, and comes back when it loses its connection."""
