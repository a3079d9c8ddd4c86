"""What the charge points of one process share."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from ampswarm.load.fleet import Fleet
from ampswarm.load.identities import LocalPool


def new_fleet() -> Fleet:
    environment: Any = SimpleNamespace(events=SimpleNamespace(request=None))
    return Fleet(environment, LocalPool())


def test_the_charge_points_of_one_burst_start_evenly_over_the_second() -> None:
    """Locust spawns a second's users in one instant; a connect time measured then would be our own queue."""
    fleet = new_fleet()
    for burst in (10, 100, 1000):
        starts = sorted(fleet.start_delay() for _ in range(burst))
        gaps = [later - earlier for earlier, later in pairwise([0.0, *starts, 1.0])]
        assert starts[0] >= 0
        assert starts[-1] < 1
        assert max(gaps) < 3 / burst


def test_the_workers_of_a_run_do_not_start_in_step() -> None:
    """Twenty workers must not connect twenty charge points in each of the same instants."""
    assert len({new_fleet().start_delay() for _ in range(20)}) == 20
