"""What keeps the loop of a process with thousands of charge points free for them.

Each trick with what it brings: a worker with 5,000 charge points, ramped up at 500 a second, on a machine with two
cores that the central system shares (`python -m benchmarks.loop_lag`). Without any of them, the p99 of the loop's lag
in the ramp is 107 ms and the longest 247 ms; with them 4 ms and 13 ms.

Measured, and left as it is: what Locust does to create users (8 µs each), and to serialise its statistics (1 ms for
each report, as there are few names).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import gevent
import locust.argument_parser
from locust.runners import Runner

_FREEZE_EVERY: Final = 1.0
"""Seconds between two looks at whether the fleet has grown."""
_THRESHOLDS: Final = (50_000, 20, 100)
"""Of the garbage collector's generations, where 700, 10 and 10 are Python's own.

A charge point that connects makes some 45 objects that stay. At 700, the youngest generation is full 30 times a
second in a ramp, the oldest one some times in 10 s, and then all charge points are looked at: 115 ms at 5,000.
"""


def mend_locust() -> None:
    """Replace what Locust does at length in the loop that its users live in."""
    # A worker works through a spawn message there, one for each second of a ramp, and Locust makes its parser anew
    # for each of 60 options then: 66 ms during which nobody is served, and more with each option.
    locust.argument_parser.default_args_dict = cache(locust.argument_parser.default_args_dict)
    # It counts its users by class five times for each spawn message and once for each report, 1.5 ms at 5,000.
    # Most fleets are of one class, and a group knows its size.
    original: Any = Runner.user_classes_count
    by_looking = original.fget

    def user_classes_count(runner: Any) -> dict[str, int]:  # noqa: ANN401
        if len(runner.user_classes) == 1:
            return {runner.user_classes[0].__name__: len(runner.user_greenlets)}
        counts: dict[str, int] = by_looking(runner)
        return counts

    Runner.user_classes_count = property(user_classes_count)  # type: ignore[method-assign,assignment]


class LoopCare:
    """Keeps garbage collection rare and short while a test runs.

    Args:
        count: returns how many charge points there are.
    """

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._greenlet: gevent.Greenlet | None = None
        self._before = gc.get_threshold()

    def begin(self, *, is_wanted: bool) -> None:
        """A test begins, and there are no charge points yet."""
        self.end()
        if not is_wanted:
            return
        self._before = gc.get_threshold()
        gc.set_threshold(*_THRESHOLDS)
        # Modules, schemas and Locust itself: 55 ms, while nobody waits.
        _set_aside()
        self._greenlet = gevent.spawn(self._run)

    def end(self) -> None:
        """The test is over, and its charge points are gone: nobody waits while what they left is collected."""
        if self._greenlet is None:
            return
        self._greenlet.kill(block=False)
        self._greenlet = None
        gc.set_threshold(*self._before)
        gc.unfreeze()

    def _run(self) -> None:
        most = 0
        while True:
            gevent.sleep(_FREEZE_EVERY)
            count = self._count()
            if count > most:
                # While the fleet grows, and not only once it has: no collection looks at a charge point twice.
                # Beyond its largest size only: of a fleet that shrinks and grows again and again, the first charge
                # points stay in memory, and those after them do not.
                most = count
                _set_aside()


def _set_aside() -> None:
    """Collect what is garbage among all that came since the last time, and never look at the rest again.

    Of 500 charge points, 5 ms. A fleet that connects leaves no cycles, but one that is refused leaves 50 objects
    each time: to freeze them uncollected would be a leak.
    """
    gc.collect()
    gc.freeze()
