"""Locust's side of Ampswarm: what a locustfile imports.

Importing it imports Locust, which monkey-patches the process.
"""

from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.load import plugin  # noqa: F401  ties the fleet to Locust's events
from ampswarm.load.misbehaviour import Misdeed
from ampswarm.load.operators import OperatorUser
from ampswarm.load.user import ChargePointUser

__all__ = ["ChargePointUser", "Misdeed", "OperatorUser", "Vehicle"]
