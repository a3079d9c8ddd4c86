"""A charge point that can be maintained and nothing else, on a manual clock.

It checks what any charge point relies on: every message keeps to its schema, is kept until it can
be sent, comes in the order of time, and never while the charge point is switched off.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from ampswarm.charge_point.configuration import Configuration
from ampswarm.charge_point.maintenance import Maintenance
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.timestamps import format_utc

UTC_AT_ZERO = 1_767_225_600.0
"""2026-01-01T00:00:00Z: what the charge point's clock shows when the scene's shows 0."""

FOREVER = float("inf")


class Sent(NamedTuple):
    """A message, and when it was made."""

    now: float
    action: str
    payload: dict[str, Any]


class MaintainedStation:
    """What `Maintenance` needs of its charge point, and the world around it."""

    def __init__(
        self, template: Template | None = None, *, seed: int = 1, identity: str = "CP1", boot_time: float = 20.0
    ) -> None:
        self.template = template or Template()
        self.configuration = Configuration(self.template.defaults)
        self.identity = identity
        self.firmware_version = self.template.firmware_version
        self.random = Random(seed)
        self.utc_at_zero = UTC_AT_ZERO
        self.boot_time = boot_time
        self.certificate_status = "Accepted"
        self.is_charging = False
        self.now = 0.0
        self.sent: list[Sent] = []
        self.events: list[str] = []
        self.restarts: list[float] = []
        self.unavailable: list[tuple[float, bool]] = []
        self.boots_at = FOREVER
        self.is_powered = True
        self.maintenance = Maintenance(self)

    # -- the Protocol -------------------------------------------------------------------------

    def utc(self, now: float) -> float:
        return now + self.utc_at_zero

    def notify(self, action: str, payload: dict[str, Any], now: float, *, is_kept: bool = False) -> None:
        assert self.is_powered
        assert self.boots_at == FOREVER
        assert is_kept
        assert not self.sent or now >= self.sent[-1].now
        validate(action, Direction.REQ, payload)
        self.sent.append(Sent(now, action, payload))

    def restart(self, now: float) -> None:
        self.restarts.append(now)
        self.boots_at = now + self.boot_time

    def security_event(self, name: str, now: float, tech_info: str = "") -> None:
        validate(
            "SecurityEventNotification",
            Direction.REQ,
            {"type": name, "timestamp": format_utc(self.utc(now)), "techInfo": tech_info},
        )
        self.events.append(name)

    def has_transactions(self) -> bool:
        return self.is_charging

    def connectors_changed(self, now: float) -> None:
        self.unavailable.append((now, self.maintenance.wants_connectors))

    def verify_firmware_certificate(self, pem: str, now: float) -> str:
        return self.certificate_status

    # -- the world ----------------------------------------------------------------------------

    def command(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Call it; return the payload of its CallResult."""
        validate(action, Direction.REQ, payload)
        handler = {
            "UpdateFirmware": self.maintenance.update_firmware,
            "SignedUpdateFirmware": self.maintenance.signed_update_firmware,
            "GetDiagnostics": self.maintenance.get_diagnostics,
            "GetLog": self.maintenance.get_log,
        }[action]
        answer = handler(payload, self.now)
        validate(action, Direction.CONF, answer)
        return answer

    def next_moment(self) -> float:
        """Return when something happens next: a step, or the end of a reboot."""
        return min(self.maintenance.deadline, self.boots_at) if self.is_powered else FOREVER

    def run(self, until: float = FOREVER) -> None:
        """Let time pass to `until`, or until nothing more happens."""
        while (moment := self.next_moment()) <= until and moment < FOREVER:
            self.now = moment
            if moment == self.boots_at:
                self.boots_at = FOREVER
                self.maintenance.booted(self.now)
            else:
                self.maintenance.advance(self.now)
        if until < FOREVER:
            self.now = until

    def run_until(self, status: str) -> None:
        """Let time pass until this status was sent."""
        while not self.sent or self.sent[-1].payload["status"] != status:
            assert self.next_moment() < FOREVER, f"{status} never came: {self.sent}"
            self.run(self.next_moment())

    def cut_power(self, seconds: float) -> None:
        """Switch it off for a time, and let it boot and be accepted."""
        self.is_powered = False
        self.maintenance.power_lost(self.now)
        assert self.maintenance.deadline == FOREVER
        self.maintenance.advance(self.now + seconds)
        self.now += seconds
        self.is_powered = True
        self.boots_at = FOREVER
        self.maintenance.power_back(self.now)
        self.maintenance.booted(self.now)

    def end_transactions(self) -> None:
        """Stop the last transaction."""
        self.is_charging = False
        self.maintenance.transactions_ended(self.now)

    def knows_its_connectors(self) -> bool:
        """Return whether it was told of every change of what the update wants."""
        told = [wanted for _, wanted in self.unavailable]
        alternate = [bool(number % 2) for number in range(1, len(told) + 1)]
        return told == alternate and (told or [False])[-1] == self.maintenance.wants_connectors

    def at(self, seconds: float) -> str:
        """Return a time of the scene as it is on the wire."""
        return format_utc(self.utc_at_zero + seconds)

    def take(self) -> list[str]:
        """Return the statuses sent since the last time, and forget them."""
        assert self.knows_its_connectors()
        statuses = [each.payload["status"] for each in self.sent]
        self.sent.clear()
        return statuses
