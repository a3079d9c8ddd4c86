"""The counters as Prometheus reads them. The only module that knows prometheus_client.

`docs/reference/metrics.md` lists all that is here; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import Any, Final, cast

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, PlatformCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS_CONTENT_TYPE
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

import ampswarm
from server.histogram import ANSWER_BOUNDS, DURATION_BOUNDS, HANDLER_BOUNDS, SIZE_BOUNDS
from server.metrics import State, Tree, merge

CONTENT_TYPES: Final = (CONTENT_TYPE_PLAIN_0_0_4, OPENMETRICS_CONTENT_TYPE)
"""What `expose` may return."""


class Kind(Enum):
    """The types of metrics, as Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with all its labels."""

    name: str
    """Of a counter, without `_total`."""
    kind: Kind
    help: str
    """What it counts, and in which unit."""
    key: str
    """Its name in a `State`."""
    labels: tuple[str, ...] = ()
    """What the keys below `key` in a `State` say, from the outside in."""
    bounds: tuple[float, ...] = ()

    @property
    def exposed_name(self) -> str:
        """The name that Prometheus shows; a histogram's series add to it."""
        return f"{self.name}_total" if self.kind is Kind.COUNTER else self.name


def _counter(name: str, key: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, text, key, labels)


def _gauge(name: str, key: str, text: str) -> Family:
    return Family(name, Kind.GAUGE, text, key)


def _histogram(name: str, key: str, bounds: tuple[float, ...], text: str, *labels: str) -> Family:
    return Family(name, Kind.HISTOGRAM, text, key, labels, bounds)


FAMILIES: Final = (
    _gauge("ocpp_connections", "connections", "Charge points that are connected now."),
    _counter("ocpp_connections_opened", "connections_opened", "Connections that were taken."),
    _counter("ocpp_connections_closed", "connections_closed", "Connections that ended, by cause.", "cause"),
    _counter(
        "ocpp_upgrades_refused",
        "upgrades_refused",
        "Upgrades to WebSocket that were refused, by reason and HTTP status.",
        "reason",
        "status",
    ),
    _counter(
        "ocpp_calls_received",
        "calls_received",
        "Calls of charge points, by action and by outcome: result, unanswered, or the code of the CallError.",
        "action",
        "outcome",
    ),
    _histogram(
        "ocpp_handler_duration_seconds",
        "handling",
        HANDLER_BOUNDS,
        "Time in seconds from a Call of a charge point to its answer, without what that waited for.",
        "action",
    ),
    _counter(
        "ocpp_messages_malformed", "malformed", "Texts of charge points that were no message, by reason.", "reason"
    ),
    _counter("ocpp_calls_sent", "calls_sent", "Calls that were sent to charge points, by action.", "action"),
    _counter(
        "ocpp_calls_ended",
        "calls_ended",
        "Calls to charge points that ended, sent or not, by action and outcome.",
        "action",
        "outcome",
    ),
    _counter("ocpp_call_errors_received", "call_errors", "CallErrors of charge points, by code.", "code"),
    _histogram(
        "ocpp_call_duration_seconds",
        "answering",
        ANSWER_BOUNDS,
        "Time in seconds from sending a Call to a charge point to its answer, of those that were answered.",
        "action",
    ),
    _histogram(
        "ocpp_call_queue_duration_seconds",
        "queueing",
        DURATION_BOUNDS,
        "Time in seconds that a Call to a charge point waited for its turn before it was sent.",
    ),
    _counter("ocpp_pings_sent", "pings_sent", "WebSocket PINGs that were sent to charge points."),
    _counter("ocpp_pings_lost", "pings_lost", "Connections that were ended because a PING was not answered."),
    _histogram(
        "ocpp_ping_round_trip_seconds",
        "round_trips",
        DURATION_BOUNDS,
        "Time in seconds from a PING to its PONG.",
    ),
    _histogram(
        "central_system_store_wait_seconds",
        "store_waits",
        DURATION_BOUNDS,
        "Time in seconds that an answer waited until what it says was kept.",
    ),
    _histogram(
        "central_system_store_commit_duration_seconds",
        "store_commits",
        DURATION_BOUNDS,
        "Time in seconds that a commit to the store took.",
    ),
    _histogram(
        "central_system_store_batch_size",
        "store_batches",
        SIZE_BOUNDS,
        "Number of changes that a commit to the store kept.",
    ),
    _counter("central_system_store_failures", "store_failures", "Commits to the store that failed."),
    _gauge(
        "central_system_store_lag_seconds",
        "store_lag",
        "Time in seconds that the oldest change that is not kept yet has waited; of the slowest process.",
    ),
    _counter("central_system_events", "events", "Everything else that is worth counting, by name.", "event"),
    _gauge("central_system_processes", "processes", "Processes whose numbers are added up here."),
    _counter("process_cpu_seconds", "cpu_seconds", "CPU time in seconds, user and system, of all processes."),
    _gauge("process_resident_memory_bytes", "resident_bytes", "Resident memory in bytes, of all processes."),
    _gauge("process_open_fds", "open_files", "Open files, of all processes; only on Linux 6.2 and newer."),
    _gauge(
        "process_start_time_seconds",
        "started",
        "When the process started, in seconds since 1970; of several, the last one.",
    ),
)
"""All that a `State` holds."""

BUILD_INFO: Final = "central_system_build_info"
PYTHON_INFO: Final = "python_info"

_PLATFORM: Final = PlatformCollector(registry=None)


class _States(Collector):
    """One state, as prometheus_client collects it."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterable[Metric]:
        """Return all metrics."""
        build = GaugeMetricFamily(BUILD_INFO, "The version of the central system; always 1.", labels=["version"])
        build.add_metric([ampswarm.__version__], 1)
        yield build
        yield from _PLATFORM.collect()
        values: dict[str, Tree] = {**self._state["adds"], **self._state["greatest"]}
        for family in FAMILIES:
            if family.key in values:
                yield _metric(family, values[family.key])


def expose(states: Sequence[State], accept: str) -> tuple[bytes, str]:
    """Return the metrics of several processes as one text, and its content type.

    Args:
        states: at least one.
        accept: the Accept header of the request: OpenMetrics is for those who name it.
    """
    collector = _States(merge(states))
    if "application/openmetrics-text" in accept:
        return generate_openmetrics(collector), OPENMETRICS_CONTENT_TYPE
    return generate_latest(collector), CONTENT_TYPE_PLAIN_0_0_4


def _metric(family: Family, tree: Tree) -> Metric:
    name, text, labels = family.name, family.help, family.labels
    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=labels)
        names = [*map(str, family.bounds), "+Inf"]
        for values, leaf in _leaves(tree, len(labels)):
            fields = cast("Mapping[str, Any]", leaf)
            histogram.add_metric(values, list(zip(names, accumulate(fields["counts"]), strict=True)), fields["sum"])
        return histogram
    metric = (CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily)(name, text, labels=labels)
    for values, leaf in _leaves(tree, len(labels)):
        metric.add_metric(values, cast("float", leaf))
    return metric


def _leaves(tree: Tree, depth: int, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Tree]]:
    """Yield what stands `depth` levels deep, with the names on the way to it."""
    if depth == 0:
        yield names, tree
        return
    assert isinstance(tree, Mapping)
    for name, below in sorted(tree.items()):
        yield from _leaves(below, depth - 1, (*names, name))
