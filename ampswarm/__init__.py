"""Load-testing for OCPP 1.6-J central systems: one Locust user is one charge point."""

__version__ = "0.1.0"
