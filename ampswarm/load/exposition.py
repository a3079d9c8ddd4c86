"""The run as metrics for Prometheus: `--metrics-port`, on a master or a single process, with a web UI or without."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import gevent
from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ampswarm.load.fleet_page import fleet_rows
from ampswarm.results.census import CONDITIONS
from ampswarm.results.running import RunningTotals
from ampswarm.results.slo import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ampswarm.load.fleet import Fleet
    from ampswarm.load.standing import Standing
    from ampswarm.results.histogram import Histogram

BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
)
"""Of the histogram's buckets, in seconds."""
_TOTAL: Final = "all"


class Family(NamedTuple):
    """A metric."""

    name: str
    kind: Any
    labels: tuple[str, ...]
    help: str

    @property
    def type(self) -> str:
        """As Prometheus calls it."""
        return str(self.kind("name", "").type)

    @property
    def exposed_name(self) -> str:
        """The name that Prometheus shows; a histogram's series add to it."""
        return f"{self.name}_total" if self.kind is CounterMetricFamily else self.name


CHARGE_POINTS: Final = Family(
    "ampswarm_charge_points", GaugeMetricFamily, ("generator", "condition"), "Charge points by what they are at."
)
OUTSTANDING: Final = Family(
    "ampswarm_calls_outstanding", GaugeMetricFamily, ("generator",), "Calls that wait for an answer."
)
OUTBOX: Final = Family("ampswarm_outbox_messages", GaugeMetricFamily, ("generator",), "Messages in outboxes.")
COMMANDS: Final = Family("ampswarm_commands", CounterMetricFamily, ("generator",), "Commands that charge points got.")
CONNECTS: Final = Family(
    "ampswarm_connects_per_second", GaugeMetricFamily, ("generator",), "Connections that were made, in a second."
)
REFUSALS: Final = Family(
    "ampswarm_refusals_per_second", GaugeMetricFamily, ("generator",), "Connections that were refused, in a second."
)
LAG: Final = Family(
    "ampswarm_generator_loop_lag_p99_seconds", GaugeMetricFamily, ("generator",), "How late its loop is, in seconds."
)
CPU: Final = Family(
    "ampswarm_generator_cpu_ratio", GaugeMetricFamily, ("generator",), "CPU that it uses; 1 is a whole core."
)
TIMES: Final = Family(
    "ampswarm_response_time_seconds",
    HistogramMetricFamily,
    ("type", "name"),
    "Times in seconds of all that was measured in this test, failures too, by type and name.",
)
FAILURES: Final = Family(
    "ampswarm_failures", CounterMetricFamily, ("type", "name"), "What failed in this test, by type and name."
)
SLO_HELD: Final = Family(
    "ampswarm_slo_held", GaugeMetricFamily, ("slo",), "Whether it would hold, were the test to end."
)
VALID: Final = Family("ampswarm_run_valid", GaugeMetricFamily, (), "Whether the numbers of this run can be trusted.")
RUNNING: Final = Family("ampswarm_test_running", GaugeMetricFamily, (), "Whether a test runs.")
FAMILIES: Final = (
    *(CHARGE_POINTS, OUTSTANDING, OUTBOX, COMMANDS, CONNECTS, REFUSALS, LAG, CPU, TIMES, FAILURES, SLO_HELD),
    *(VALID, RUNNING),
)
"""All of them. A generator's series have the labels of the tab *Fleet*; there is none for the sum of all."""
_OF_ROWS: Final = (
    (OUTSTANDING, "outstanding", 1.0),
    (OUTBOX, "outbox", 1.0),
    (COMMANDS, "commands", 1.0),
    (CONNECTS, "connected_per_second", 1.0),
    (REFUSALS, "refused_per_second", 1.0),
    (LAG, "loop_lag_p99_ms", 0.001),
    (CPU, "cpu_percent", 0.01),
)
"""Each with its column of the tab *Fleet*, and what that is to be multiplied with."""


class Exposition(Collector):
    """What a run comes to at present.

    Args:
        fleet: that of a master, or of a single process.
        standing: of the SLOs.
    """

    def __init__(self, fleet: Fleet, standing: Standing) -> None:
        self._fleet = fleet
        self._standing = standing
        self._totals = RunningTotals(fleet.recorder.timeline)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values."""
        rows = [each for each in fleet_rows(self._fleet.census, self._fleet.health) if each["generator"] != _TOTAL]
        yield _metric(
            CHARGE_POINTS, {(row["generator"], condition): row[condition] for row in rows for condition in CONDITIONS}
        )
        for family, column, unit in _OF_ROWS:
            yield _metric(family, {(row["generator"],): float(row[column] or 0) * unit for row in rows})
        while not self._totals.catch_up():
            gevent.sleep(0)
        totals = self._totals.totals()
        times = TIMES.kind(TIMES.name, TIMES.help, labels=TIMES.labels)
        for key, histogram in sorted(totals.items()):
            times.add_metric(key, _buckets(histogram), histogram.total / 1000)
        yield times
        yield _metric(FAILURES, {key: histogram.failures for key, histogram in sorted(totals.items())})
        judged = [each for each in self._standing.now() if each.outcome is not Outcome.NO_SAMPLE]
        yield _metric(SLO_HELD, {(each.slo.text,): each.outcome is Outcome.HELD for each in judged})
        yield _metric(VALID, {(): not self._fleet.health.generators.reasons()})
        runner: Any = self._fleet.environment.runner
        yield _metric(RUNNING, {(): runner.state in {"spawning", "running"}})


def _metric(family: Family, values: Mapping[tuple[str, ...], float]) -> Metric:
    metric = family.kind(family.name, family.help, labels=family.labels)
    for labels, value in values.items():
        metric.add_metric(labels, float(value))
    made: Metric = metric
    return made


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Return how many times were within each bound; what has no time is in none but the last."""
    counts = [0] * (len(BOUNDS) + 1)
    for milliseconds, times in histogram.counts.items():
        counts[bisect_left(BOUNDS, milliseconds / 1000)] += times
    counts[-1] += histogram.count - histogram.timed
    return list(zip([*map(str, BOUNDS), "+Inf"], accumulate(counts), strict=True))


def expose(fleet: Fleet, standing: Standing, host: str, port: int) -> None:
    """Listen for Prometheus until the process ends.

    Raises:
        OSError: nothing can listen there.
    """
    registry = CollectorRegistry()
    registry.register(Exposition(fleet, standing))

    def answer(environ: Mapping[str, Any], start_response: Any) -> list[bytes]:  # noqa: ANN401
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"there is /metrics here, and nothing else\n"]
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        start_response("200 OK", [("Content-Type", content_type)])
        return [encode(registry)]

    server = WSGIServer((host, port), answer, log=None)
    server.start()
