"""Whether every charge point was online when the test ended: `--require-online`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from locust.runners import LocalRunner, MasterRunner, WorkerRunner

if TYPE_CHECKING:
    from locust.env import Environment

logger: Final = logging.getLogger("ampswarm")

AT_STOP: Final = "ampswarm_fleet_at_stop"
_EXIT_NOT_ONLINE: Final = 1
_SAME_STOP: Final = 5.0
"""Seconds by which a worker may stop before its master: Ctrl-C reaches both."""


def expected(environment: Environment) -> int:
    """Return how many charge points a test wants now: Locust's users without others, such as operators."""
    runner: Any = environment.runner
    classes = {each.__name__: each for each in environment.user_classes}
    counts: dict[str, int] = runner.target_user_classes_count
    others = sum(count for name, count in counts.items() if not hasattr(classes.get(name), "charge_point"))
    return int(runner.target_user_count) - others


class OnlineVerdict:
    """How many charge points were online when the test ended, over all workers.

    Args:
        environment: Locust's.
        runner: Locust's, of any kind.
        count: returns how many charge points of this process are online, and how many there are.
    """

    def __init__(self, environment: Environment, runner: Any, count: Callable[[], tuple[int, int]]) -> None:  # noqa: ANN401
        self._environment = environment
        self._count = count
        self._runner = runner
        # By worker: when it said so, how many were online, and how many there were.
        self._counts: dict[str, tuple[float, int, int]] = {}
        self._target = 0
        self._stopped_at = 0.0
        self._is_decided = False
        self.exit_status: int | None = None
        """What the last test comes to: 1 when not everybody was online and `--require-online` is given."""
        self.last: dict[str, int] = {}
        """How many charge points there were when the last test ended, and how many of them were online."""
        if isinstance(runner, MasterRunner):
            runner.register_message(AT_STOP, self._on_at_stop)

    def note(self) -> None:
        """The test stops now: count before the charge points go."""
        self._is_decided = False
        self._target = expected(self._environment)
        self._stopped_at = time.monotonic()
        online, total = self._count()
        if isinstance(self._runner, WorkerRunner):
            self._runner.send_message(AT_STOP, {"online": online, "total": total})
        elif isinstance(self._runner, LocalRunner):
            self._counts = {"": (self._stopped_at, online, total)}

    def decide(self) -> None:
        """The test has stopped: say what was counted, once."""
        if self._is_decided:
            return
        self._is_decided = True
        online, there = self._counted()
        # A worker that died said nothing: its charge points count as what they are, not online.
        total = max(self._target, there)
        if total:
            logger.info("%d of %d charge points were online when the test ended", online, total)
        self.last = {"charge_points": total, "online": online}
        options = self._environment.parsed_options
        is_missed = options is not None and options.require_online and (online < total or total == 0)
        if is_missed:
            logger.error("not every charge point was online when the test ended" if total else "no test was run")
        self.exit_status = _EXIT_NOT_ONLINE if is_missed else None

    def _counted(self) -> tuple[int, int]:
        """Return how many were online at the end, and how many there were, as far as workers have said so."""
        online = there = 0
        for said_at, is_online, total in sorted(self._counts.values(), reverse=True):
            if said_at < self._stopped_at:
                # What a worker said when it left in the middle of the test is no longer true: others may have taken
                # over its charge points.
                is_over = said_at < self._stopped_at - _SAME_STOP or there + total > self._target
                if is_over:
                    continue
            online += is_online
            there += total
        return online, there

    def _on_at_stop(self, msg: Any, **_: object) -> None:  # noqa: ANN401
        self._counts[msg.node_id] = time.monotonic(), msg.data["online"], msg.data["total"]
