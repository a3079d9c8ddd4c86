"""Locust's load shape for charge points that arrive as `--arrivals` says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

from locust import LoadTestShape

from ampswarm.load.open_load import AHEAD, OpenLoad

if TYPE_CHECKING:
    from locust import User

_AFTERWARDS: Final = 10.0
"""Seconds from the last arrival to the end of a test that has no `--run-time`."""

Tick = tuple[int, float] | tuple[int, float, list[type["User"]] | None] | None


class ChargePointArrivals(LoadTestShape):
    """Spawns charge points a few seconds before they arrive; each switches itself on at its own time.

    Locust spawns a second's users in its first instant, and looks once a second at the most. An arrival
    is neither.
    """

    use_common_options: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def tick(self) -> Tick:
        """Return how many charge points there must be by now."""
        assert self.runner is not None
        environment = self.runner.environment
        open_load: OpenLoad = environment.ampswarm.open_load  # type: ignore[attr-defined]
        arrivals = open_load.arrivals
        if arrivals is None:
            # Before the test starts. Locust has no test without users: the first one waits for its time.
            return 1, 1.0
        elapsed = open_load.elapsed(time.monotonic())
        options = environment.parsed_options
        # Locust leaves its own limit to the shape.
        limit = options.run_time if options is not None else None
        if self.get_run_time() >= limit if limit else elapsed > arrivals.duration + _AFTERWARDS:  # type: ignore[no-untyped-call]
            return None
        users = max(1, arrivals.count(elapsed + AHEAD))
        # All at once: each waits for its own time.
        return users, float(users)
