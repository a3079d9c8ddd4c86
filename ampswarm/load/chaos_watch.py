"""The chaos of the bundled central system while a test runs: each change is marked, whoever makes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.lock import RLock

from ampswarm.load.ledger_section import has_api_of_target
from ampswarm.load.operator_http import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from locust.env import Environment

    from ampswarm.load.incidents import Incidents

Rules = dict[str, Any]
EVERY: Final = 2.0
"""Seconds between two looks."""
_AT_ONCE: Final = {"stalls": ("stall", "stalls"), "connections dropped": ("connections dropped", "drops")}
"""By what is counted: what it is called, and the rules that do it too, and whose every time is no news."""


class ChaosWatch:
    """Looks at the target's chaos during each test, where the operator API is that of the target.

    Args:
        environment: Locust's, of a master or a single process.
        incidents: where changes are noted.
    """

    def __init__(self, environment: Environment, incidents: Incidents) -> None:
        self._environment = environment
        self._incidents = incidents
        self._greenlet: gevent.Greenlet | None = None
        self._lock = RLock()
        self._is_running = self._is_looking = False
        self._counts: dict[str, int] | None = None
        self._is_ours = True
        self._looked = 0.0
        self.configuration: Rules | None = None
        """What was in force when it last looked; `None` for nothing."""
        environment.events.test_start.add_listener(lambda **_: self._begin())
        environment.events.test_stop.add_listener(lambda **_: self._end())

    def look(self) -> None:
        """Look now, and note what has changed since the last look, if a test runs."""
        with self._lock:
            self._look()

    def look_if_idle(self) -> None:
        """Between tests nobody looks: do it for somebody who wants to know, without letting them wait."""
        if not self._is_running and not self._is_looking and time.monotonic() - self._looked >= EVERY:
            self._is_looking = True
            gevent.spawn(self._look_aside)

    def _look_aside(self) -> None:
        try:
            if has_api_of_target(self._environment):
                self.look()
        finally:
            self._looked, self._is_looking = time.monotonic(), False

    def _look(self) -> None:
        status, found = ask(self._environment.parsed_options, "GET", "/chaos")
        if status != 200 or not isinstance(found.get("counts"), dict):
            self._is_ours = not 400 <= status < 500
            return
        configuration, counts = found.get("configuration"), found["counts"]
        now = time.monotonic()
        if self._is_running:
            self._note(configuration, counts, float(found.get("seconds") or 0.0), now - self._looked)
        self.configuration, self._counts, self._looked = configuration, counts, now

    def _note(self, configuration: Rules | None, counts: Mapping[str, int], seconds: float, passed: float) -> None:
        """Note what has changed: `seconds` ago it was configured, `passed` since the last look."""
        if configuration != self.configuration:
            if configuration:
                rules = {name: each for name, each in configuration.items() if each}
                self._incidents.note("chaos", ago=seconds, chaos=rules)
            else:
                self._incidents.note("chaos ends", ago=seconds)
        if self._counts is None:
            return
        for name, (what, done_by) in _AT_ONCE.items():
            times = counts.get(name, 0) - self._counts.get(name, 0)
            if times > 0 and not (configuration or {}).get(done_by):
                # What comes of it is seen after the mark, and never before it.
                self._incidents.note(what, ago=passed, times=times)

    def _begin(self) -> None:
        self._end()
        self.configuration = self._counts = None
        self._is_running = True
        if has_api_of_target(self._environment):
            self._greenlet = gevent.spawn(self._watch)

    def _end(self) -> None:
        self._is_running = False
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def _watch(self) -> None:
        # One that stands still answers later, but not one of another make, or without its token.
        self._is_ours = True
        while self._is_ours:
            self.look()
            gevent.sleep(EVERY)
