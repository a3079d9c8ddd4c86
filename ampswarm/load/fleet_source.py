"""How workers get the fleet file that the master was given: they may be on hosts that do not have it.

The spawn messages, a dozen for each ramp, are no place for it: passwords of a large fleet are megabytes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from gevent import spawn_later
from gevent.event import Event

from ampswarm.load.fleet_file import FleetSource

if TYPE_CHECKING:
    from locust.runners import MasterRunner, WorkerRunner

WANTED: Final = "ampswarm_fleet_wanted"
SOURCE: Final = "ampswarm_fleet"
_ASK_AGAIN_AFTER: Final = 5.0
"""Seconds."""


class FleetOffice:
    """The master's side: tells every worker that asks."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self.source: FleetSource | None = None
        runner.register_message(WANTED, self._on_wanted)

    def _on_wanted(self, msg: Any, **_: object) -> None:  # noqa: ANN401  Locust's untyped message
        source = None if self.source is None else {**asdict(self.source), "files": dict(self.source.files)}
        self._runner.send_message(SOURCE, source, client_id=msg.node_id)


class FleetInquiry:
    """A worker's side: asks once for all its charge points, and again for every test."""

    def __init__(self, runner: WorkerRunner) -> None:
        self._runner = runner
        self._source: FleetSource | None = None
        self._is_asking = False
        self._known = Event()
        runner.register_message(SOURCE, self._on_source)

    def forget(self) -> None:
        """A new test: the master may be another one."""
        self._known.clear()

    def source(self) -> FleetSource | None:
        """Return the fleet file, `None` where the master has none; waits for the master."""
        if not self._known.is_set() and not self._is_asking:
            self._is_asking = True
            self._ask()
        self._known.wait()
        return self._source

    def _ask(self) -> None:
        if not self._known.is_set():
            self._runner.send_message(WANTED, None)
            spawn_later(_ASK_AGAIN_AFTER, self._ask)

    def _on_source(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        self._source = None if msg.data is None else FleetSource(**msg.data)
        self._is_asking = False
        self._known.set()
