"""What a central system knows of the connectors' status, and which changes core 4.9 knows."""

from __future__ import annotations

from ampswarm.ocppj.frames import Payload

# The table of core 4.9 with B6 of core errata 3.20: from (left) to (right).
STATUS_CHANGES = {
    "Available": "Preparing Charging SuspendedEV SuspendedEVSE Reserved Unavailable Faulted",
    "Preparing": "Available Charging SuspendedEV SuspendedEVSE Finishing Faulted",
    "Charging": "Available SuspendedEV SuspendedEVSE Finishing Unavailable Faulted",
    "SuspendedEV": "Available Charging SuspendedEVSE Finishing Unavailable Faulted",
    "SuspendedEVSE": "Available Charging SuspendedEV Finishing Unavailable Faulted",
    "Finishing": "Available Preparing Unavailable Faulted",
    "Reserved": "Available Preparing Unavailable Faulted",
    "Unavailable": "Available Preparing Charging SuspendedEV SuspendedEVSE Faulted",
    "Faulted": "Available Preparing Charging SuspendedEV SuspendedEVSE Finishing Reserved Unavailable",
}
CHARGING = ("Charging", "SuspendedEV", "SuspendedEVSE")


class StatusBoard:
    """The status of each connector, as it was told.

    Args:
        knows_all: whether every change is told, so that each one must be in the table. Not so where
            MinimumStatusDuration hides those that do not last.
    """

    def __init__(self, *, knows_all: bool) -> None:
        self.knows_all = knows_all
        self.status: dict[int, str] = {}
        self._certain: set[int] = set()
        """Connectors that nothing can have happened to unseen."""

    def missed_something(self) -> None:
        """The charge point was offline, or had to drop what it wanted to tell."""
        self._certain.clear()

    def told(self, payload: Payload) -> None:
        """Take a StatusNotification."""
        connector_id, status = payload["connectorId"], payload["status"]
        if not connector_id:
            assert status in ("Available", "Unavailable", "Faulted")
        elif self.knows_all and connector_id in self._certain:
            before = self.status[connector_id]
            assert status == before or status in STATUS_CHANGES[before].split(), f"{before} to {status}"
        assert (status == "Faulted") == (payload["errorCode"] not in ("NoError", "LocalListConflict"))
        self.status[connector_id] = status
        self._certain.add(connector_id)
