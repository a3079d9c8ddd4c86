"""What every process of a run tells the one that reports: with each of Locust's reports, and at the end.

A part is a name, what a process with charge points has to say (`take`), and what becomes of it where all comes
together (`accept`): on the master, or in the same process where there is only one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
from gevent.event import Event
from locust.runners import STATE_INIT, STATE_MISSING, STATE_STOPPED, LocalRunner, MasterRunner, WorkerRunner

if TYPE_CHECKING:
    from locust.env import Environment

logger: Final = logging.getLogger("ampswarm")

LAST: Final = "ampswarm_last_report"
"""A worker's message: what it sent before was the last of this test."""
LOCAL: Final = "local"
"""What a run's only process is called."""
_FIELD: Final = "ampswarm"
_LATE: Final = 2.0
"""Seconds after the master from which a worker has come late, and is not only told late."""
_INTERVAL: Final = 1.0
"""Seconds between two reports within one process."""
_PATIENCE: Final = 10.0
"""Seconds that the master waits for the last reports of workers that have stopped."""


def name_of(process: str, runner: Any) -> str:  # noqa: ANN401  Locust's, of any kind
    """Return what a process with charge points is called in tables: `process` is a worker's id, or `LOCAL`."""
    return "this process" if process == LOCAL else f"worker {process} (index {runner.get_worker_index(process)})"


class _Part(NamedTuple):
    take: Callable[[], object]
    accept: Callable[[str, Any], None]


class Reports:
    """The parts of a report, on their way.

    Args:
        environment: Locust's, with its runner.
    """

    def __init__(self, environment: Environment) -> None:
        self._runner: Any = environment.runner
        self._parts: dict[str, _Part] = {}
        self._last: set[str] = set()
        self._awaited: set[str] = set()
        self._arrived = Event()
        self.silent: list[str] = []
        """Workers whose last reports of this test did not come."""
        self.is_complete = True
        """Whether all reports of the last test have come, or will not come any more."""
        self._began = time.monotonic()
        # How much later than the master each worker began: it may have come in the middle of a test.
        self._later: dict[str, float] = {}
        self.add("clock", lambda: [time.monotonic() - self._began], self._hear_clock)
        listen = environment.events
        match self._runner:
            case MasterRunner():
                listen.worker_report.add_listener(self._on_report)
                self._runner.register_message(LAST, self._on_last)
                listen.test_stopping.add_listener(lambda **_: self._expect())
                self._wrap_quit(self._runner)
            case WorkerRunner():
                listen.report_to_master.add_listener(self._on_reporting)
                listen.test_stop.add_listener(lambda **_: self._send_last())
            case LocalRunner():
                gevent.spawn(self._loop)
                listen.test_stop.add_listener(lambda **_: self.pass_on())
        listen.test_start.add_listener(lambda **_: self._begin())

    def add(self, name: str, take: Callable[[], object], accept: Callable[[str, Any], None]) -> None:
        """Add a part.

        Args:
            name: what it is called in a message.
            take: returns what is new, in what msgpack can carry; nothing is sent for `None`, or anything empty.
            accept: takes the name of the process (a worker's id, or `LOCAL`) and what it had to say.
        """
        self._parts[name] = _Part(take, accept)

    def later(self, process: str) -> float:
        """Return the seconds to add to what a process takes for the time since the test began."""
        later = self._later.get(process, 0.0)
        # Less is the time of the messages.
        return later if later >= _LATE else 0.0

    def pass_on(self) -> None:
        """In a single process: hand over what is new."""
        for part in self._parts.values():
            data = part.take()
            if data:
                part.accept(LOCAL, data)

    def finish(self) -> None:
        """Stop the test if it still runs, and wait until all that was measured has come; does it once a test.

        In any process; workers have nothing to wait for.
        """
        runner = self._runner
        if isinstance(runner, WorkerRunner):
            return
        if runner.state not in (STATE_INIT, STATE_STOPPED):
            runner.stop()
        if isinstance(runner, LocalRunner):
            self.pass_on()
            return
        self._wait()

    # -- the master ---------------------------------------------------------------------------

    def _hear_clock(self, process: str, said: Any) -> None:  # noqa: ANN401  whatever came in a message
        later = time.monotonic() - self._began - float(said[0])
        # The fastest of its reports tells best.
        self._later[process] = min(self._later.get(process, later), later)

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._later.clear()
        self._last.clear()
        self._awaited.clear()
        self.silent = []
        self.is_complete = True

    def _expect(self) -> None:
        """The test stops: these have something to say."""
        clients = self._runner.clients
        self._awaited = {each.id for each in clients.all if each.state not in (STATE_MISSING, STATE_INIT)}
        self.is_complete = not self._awaited
        self._arrived.clear()

    def _on_report(self, client_id: str, data: dict[str, Any], **_: object) -> None:
        for name, packed in data.get(_FIELD, {}).items():
            part = self._parts.get(name)
            if part is None:
                continue
            try:
                part.accept(client_id, packed)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                # A worker of another version.
                logger.error("a report of worker %s cannot be read: %s: %s", client_id, name, error)

    def _on_last(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        self._last.add(msg.node_id)
        if self._awaited <= self._last:
            self._arrived.set()

    def _wait(self) -> None:
        if self.is_complete:
            return
        end = time.monotonic() + _PATIENCE
        while not self._awaited <= self._last and time.monotonic() < end:
            self._arrived.wait(end - time.monotonic())
            self._arrived.clear()
        self.is_complete = True
        self.silent = sorted(self._awaited - self._last)
        for worker in self.silent:
            logger.error("the last report of worker %s did not come: its last seconds are missing", worker)

    def _wrap_quit(self, runner: Any) -> None:  # noqa: ANN401
        # Locust's own tells the workers to quit and is gone 0.5 s later, whatever they have to say.
        quit_now = runner.quit

        def quit_at_last() -> None:
            self.finish()
            quit_now()

        runner.quit = quit_at_last

    # -- a worker -----------------------------------------------------------------------------

    def _on_reporting(self, data: dict[str, Any], **_: object) -> None:
        taken = {name: part.take() for name, part in self._parts.items()}
        data[_FIELD] = {name: packed for name, packed in taken.items() if packed}

    def _send_last(self) -> None:
        # On the same socket: what was sent before arrives before.
        self._runner._send_stats()  # noqa: SLF001  Locust has no other way to report out of turn
        self._runner.send_message(LAST, {})

    # -- a single process ---------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            gevent.sleep(_INTERVAL)
            self.pass_on()
