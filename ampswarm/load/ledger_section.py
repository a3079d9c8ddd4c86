"""What the ledger of the bundled central system says of a run, where that was the target."""

from __future__ import annotations

import ipaddress
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

import gevent

from ampswarm.load.operator_http import ask
from ampswarm.load.options import OPERATOR_API

if TYPE_CHECKING:
    from locust.env import Environment

logger: Final = logging.getLogger("ampswarm")

MOST: Final = 100
"""Anomalies that are told, the first of a run: what comes then may be their consequence."""
_PAGE: Final = 1000
_PAGES: Final = 20
"""Of anomalies, that are looked through for the first."""
_STANDING: Final = frozenset({"open"})
"""Sums that are no counts: how it is now."""


class LedgerSection:
    """Remembers what the ledger had counted when a test began.

    Args:
        environment: Locust's, of a master or a single process, whose host is the target.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._before: dict[str, int] | None = None
        environment.events.test_start.add_listener(lambda **_: self._begin())

    def of_run(self, began: float) -> dict[str, Any] | None:
        """Return what it counted in a run, and the anomalies; `None` where there is no such central system.

        Args:
            began: when the run began, in seconds since 1970.
        """
        if not has_api_of_target(self._environment):
            return None
        options = self._environment.parsed_options
        status, sums = ask(options, "GET", "/ledger")
        if status != 200:
            if options is None or options.operator_api == OPERATOR_API:
                return None  # nobody has said that there is one
            logger.error("the report is without a ledger: %s", sums.get("message", status))
            return {"sums": {}, "anomalies": [], "trouble": f"{sums.get('message', status)}"}
        before = self._before
        found = {
            name: value - (0 if before is None or name in _STANDING else before.get(name, 0))
            for name, value in sums.items()
        }
        section = {"sums": found, "anomalies": self._anomalies(began), "anomalies_in_all": found.get("anomalies", 0)}
        return section if before is not None else {**section, "trouble": "counted since its store was made"}

    def _anomalies(self, began: float) -> list[dict[str, Any]]:
        """Return the first of them, the earliest last."""
        # Its clock is that of the same host, or as good.
        since = datetime.fromtimestamp(began, UTC)
        found: list[dict[str, Any]] = []
        before: int | None = None
        for _ in range(_PAGES):
            query = urlencode({"limit": _PAGE, **({} if before is None else {"before": before})})
            status, page = ask(self._environment.parsed_options, "GET", f"/ledger/anomalies?{query}")
            if status != 200:
                break
            new = [each for each in page["anomalies"] if datetime.fromisoformat(each["at"]) >= since]
            found = [*found, *new][-MOST:]
            before = page["next"]
            if before is None or len(new) < len(page["anomalies"]):
                break
        return found

    def _begin(self) -> None:
        self._before = None
        if has_api_of_target(self._environment):
            # The test need not wait for it.
            gevent.spawn(self._look)

    def _look(self) -> None:
        status, sums = ask(self._environment.parsed_options, "GET", "/ledger")
        self._before = sums if status == 200 else None


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
