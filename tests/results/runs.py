"""Made-up runs, whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import exp, sqrt
from typing import Any

from ampswarm.results.report import Report, Verdict, build
from ampswarm.results.timeline import Timeline

RUN: Mapping[str, Any] = {
    "began": "2026-01-02T03:04:05.000Z",
    "ended": "2026-01-02T03:06:05.000Z",
    "seconds": 120.0,
    "scenario": "steady_state.py",
    "host": "ws://127.0.0.1:8080/ocpp",
    "charge_points": 300,
    "workers": 2,
    "versions": {"ampswarm": "1"},
    "options": {"call_timeout": 30.0, "num_users": 300},
}
ROWS = {"Heartbeat": 20.0, "MeterValues": 60.0, "Authorize": 5.0}
"""OCPP rows and their usual times in milliseconds."""


def drifting_run(
    seed: int, *, seconds: int = 120, slower: float = 1.0, failing: float = 0.005, warm_up: float = 0.0
) -> Report:
    """Return the report of a system whose speed drifts by 10 % over a few seconds, at 100 Calls a second of each row.

    Args:
        seed: another one is another run of the same system.
        seconds: how long it ran.
        slower: factor of all times.
        failing: ratio of failures.
        warm_up: factor of the times in the first quarter, more than 1.
    """
    draw = random.Random(seed)
    timeline = Timeline()
    for name, usual in ROWS.items():
        mood = 0.0
        for second in range(seconds):
            mood = 0.7 * mood + sqrt(1 - 0.7**2) * draw.gauss(0, 0.1)
            factor = slower * (1 + warm_up * (second < seconds / 4)) * exp(mood)
            for number in range(100):
                milliseconds = usual * factor * exp(draw.gauss(0, 0.4))
                timeline.add("OCPP", name, second + number / 100, milliseconds, failed=draw.random() < failing)
    return report_of(timeline)


def report_of(timeline: Timeline, verdict: Verdict | None = None, **run: object) -> Report:
    """Return a report of a timeline."""
    return build(run={**RUN, **run}, verdict=verdict or Verdict(), exit_status=None, timeline=timeline)
