"""What all charge points of one make have in common; one object for a whole fleet."""

from __future__ import annotations

from dataclasses import dataclass

from ampswarm.charge_point.backoff import Backoff
from ampswarm.charge_point.ping_watch import PingWatchRule
from ampswarm.ocppj.frames import Payload


@dataclass(frozen=True, slots=True)
class Template:
    """A make of charge point: what it is and how it behaves. Times in seconds."""

    vendor: str = "Ampswarm"
    model: str = "Swarm 22"
    firmware_version: str = "1.0.0"
    connectors: int = 1
    """Connectors that an EV can be plugged into; connector 0 comes on top."""
    heartbeat_interval: int = 300
    """Used until BootNotification.conf brings another, and where it brings 0."""
    boot_retry_interval: float = 60.0
    """Between two BootNotifications where the central system leaves the time to the charge point
    (core 4.2: an `interval` of 0), or gave no usable answer. Half of it is jitter."""
    reboot_time: float = 10.0
    """From the end of a connection to power-on after a Reset. Half of it is jitter."""
    call_timeout: float = 30.0
    """After which a Call without an answer has failed (J 4.1.1)."""
    backoff: Backoff = Backoff()
    ping_watch: PingWatchRule = PingWatchRule()

    def boot_notification(self, identity: str) -> Payload:
        """Return BootNotification.req (core 6.3) of the charge point `identity`."""
        return {
            "chargePointVendor": self.vendor,
            "chargePointModel": self.model,
            "chargePointSerialNumber": identity[:25],
            "firmwareVersion": self.firmware_version,
        }
