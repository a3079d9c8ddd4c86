"""The part of a charge point that its security deals with, and a record of what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping

from ampswarm.charge_point.configuration import Configuration
from ampswarm.charge_point.security import Security, SecurityEvent
from ampswarm.charge_point.security_commands import factory_security
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import Direction, validate


class SecuredStation:
    """A charge point CP1 whose clock shows `utc` at time 0.

    Args:
        utc: seconds since 1970.
        settings: configuration keys that differ from the usual.
        identity: its identity, and serial number.
    """

    def __init__(self, utc: float, settings: Mapping[str, str] | None = None, identity: str = "CP1") -> None:
        self.identity = identity
        self.template = Template(settings=tuple((settings or {}).items()))
        self.configuration = Configuration(self.template.defaults)
        self.security: Security = factory_security(self.configuration)
        self.calls: list[tuple[str, Payload]] = []
        self.events: list[tuple[SecurityEvent, str]] = []
        self.reconnects = 0
        self._utc = utc

    def utc(self, now: float) -> float:
        return self._utc + now

    def notify(self, action: str, payload: Payload, now: float, *, is_kept: bool = False) -> None:
        validate(action, Direction.REQ, payload)
        self.calls.append((action, payload))

    def security_event(self, event: SecurityEvent, now: float, tech_info: str = "") -> None:
        self.events.append((event, tech_info))

    def reconnect(self, now: float) -> None:
        self.reconnects += 1
