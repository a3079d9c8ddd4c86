"""What the ledger of the bundled central system says of a run, where that was the target."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ampswarm.load.operator_http import ask
from ampswarm.load.options import OPERATOR_API

if TYPE_CHECKING:
    from locust.env import Environment

_MOST: Final = 100
"""Anomalies that are told."""


def ledger_of_target(environment: Environment, began: float) -> dict[str, Any] | None:
    """Return its sums, and the anomalies since a run began; `None` where there is no such central system.

    Args:
        environment: Locust's, whose host is the target.
        began: when the run began, in seconds since 1970.
    """
    options = environment.parsed_options
    if not has_api_of_target(environment):
        return None
    status, sums = ask(options, "GET", "/ledger")
    if status != 200:
        return None
    status, found = ask(options, "GET", f"/ledger/anomalies?limit={_MOST}")
    anomalies = found.get("anomalies", []) if status == 200 else []
    # Its clock is that of the same host, or as good.
    since = datetime.fromtimestamp(began, UTC)
    return {"sums": sums, "anomalies": [each for each in anomalies if datetime.fromisoformat(each["at"]) >= since]}


def has_api_of_target(environment: Environment) -> bool:
    """Whether the operator API is that of the target: it is said where it is, or both are on one host."""
    options = environment.parsed_options
    if options is None:
        return False
    return options.operator_api != OPERATOR_API or is_same_host(environment.host or "", options.operator_api)


def is_same_host(one: str, other: str) -> bool:
    """Whether two URLs are on one host, as far as their names tell."""
    names = [urlsplit(each).hostname or "" for each in (one, other)]
    return bool(names[0]) and (names[0] == names[1] or all(map(_is_loopback, names)))


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
