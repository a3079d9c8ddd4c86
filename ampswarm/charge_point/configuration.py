"""Configuration keys (core chapter 9) and ChangeConfiguration (core 5.3)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

MAX_HEARTBEAT_INTERVAL: Final = 24 * 60 * 60
"""Seconds. A day: core 4.6 advises one Heartbeat in 24 h, for the clock."""


class ConfigurationStatus(StrEnum):
    """What became of a ChangeConfiguration (core 7.22)."""

    ACCEPTED = "Accepted"
    REJECTED = "Rejected"
    REBOOT_REQUIRED = "RebootRequired"
    NOT_SUPPORTED = "NotSupported"


def parse_heartbeat_interval(value: str) -> int | None:
    """Return the seconds of a HeartbeatInterval (core 9.1.10), or `None` for a bad value.

    A value that is no integer, or out of range, is Rejected (core 5.3).
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        return None
    seconds = int(value)
    return seconds if 1 <= seconds <= MAX_HEARTBEAT_INTERVAL else None
