"""What is counted, and how Prometheus gets to see it."""

from __future__ import annotations

import json
import re
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from ampswarm.ocppj.errors import ErrorCode
from ampswarm.ocppj.frames import Malformation
from ampswarm.ocppj.schemas import ACTIONS, CENTRAL_SYSTEM_ACTIONS
from server.calls import Outcome
from server.exposition import BUILD_INFO, FAMILIES, PYTHON_INFO, expose
from server.histogram import DURATION_BOUNDS, Histogram
from server.metrics import OTHER, RESULT, UNANSWERED, Closed, Metrics, RefusalReason, State, merge
from server.readiness import Readiness
from tests.processes import ROOT, TIMEOUT, CentralSystem, until
from tests.server.station import Answer, Command, Station
from tests.server.station import Refusal as CallErrorAnswer

PAGE = ROOT / "docs" / "reference" / "metrics.md"
TOKEN = "s3cret-token"
Series = dict[tuple[str, ...], float]
"""The values of one metric, by the values of its labels in their order; a histogram's, by `le` at the end."""


def fetch(server: CentralSystem, path: str, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Return what the operator API says, and its content type."""
    request = urllib.request.Request(server.admin + path, headers=headers or {})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=TIMEOUT) as response:
        return response.read().decode(), response.headers["content-type"]


def scrape(server: CentralSystem) -> dict[str, Series]:
    """Return the metrics, as Prometheus' own parser reads them, by the names of their samples."""
    return parsed(fetch(server, "/metrics")[0])


def parsed(text: str) -> dict[str, Series]:
    samples: dict[str, Series] = {}
    for family in parse_text(text):
        assert family.documentation
        for sample in family.samples:
            names = sorted(sample.labels, key=lambda name: (name == "le", name))
            samples.setdefault(sample.name, {})[tuple(sample.labels[name] for name in names)] = sample.value
    return samples


# -- counting -----------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.sampled_from(DURATION_BOUNDS), st.floats(0, 20))))
def test_a_histogram_counts_each_value_where_it_belongs(values: list[float]) -> None:
    """A bound belongs to its own bucket: Prometheus' `le` is "at most"."""
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    at_most = [sum(value <= bound for value in values) for bound in DURATION_BOUNDS]
    assert at_most == [sum(histogram.counts[: number + 1]) for number in range(len(DURATION_BOUNDS))]
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))


_SECONDS = st.floats(0, 20)
_ACTION = st.sampled_from([*sorted(ACTIONS), "Levitate", "", OTHER, RESULT])
_DEEDS: st.SearchStrategy[Callable[[Metrics], object]] = st.one_of(
    st.builds(
        lambda action, outcome: lambda metrics: metrics.received[action].ended(outcome),
        _ACTION,
        st.sampled_from([RESULT, UNANSWERED, *(code.value for code in ErrorCode)]),
    ),
    st.builds(lambda action, s: lambda metrics: metrics.received[action].handling.observe(s), _ACTION, _SECONDS),
    st.builds(
        lambda action, outcome, code: lambda metrics: metrics.call_failed(action, outcome.value, code),
        st.sampled_from(sorted(CENTRAL_SYSTEM_ACTIONS)),
        st.sampled_from(Outcome),
        st.one_of(st.none(), st.text(), st.sampled_from([code.value for code in ErrorCode])),
    ),
    st.builds(lambda s: lambda metrics: metrics.sent["Reset"].answering.observe(s), _SECONDS),
    st.builds(
        lambda status, reason: lambda metrics: metrics.refusals.update([(status, reason)]),
        st.sampled_from([401, 404, 503]),
        st.sampled_from(RefusalReason),
    ),
    st.builds(lambda cause: lambda metrics: metrics.connections_closed.update([cause]), st.sampled_from(Closed)),
    st.builds(lambda reason: lambda metrics: metrics.malformed.update([reason]), st.sampled_from(Malformation)),
    st.builds(lambda s: lambda metrics: metrics.round_trips.observe(s), _SECONDS),
    st.builds(lambda s, n: lambda metrics: metrics.committed(s, n), _SECONDS, st.integers(1, 20_000)),
    st.builds(lambda name: lambda metrics: metrics.events.update([name]), st.sampled_from(["a", "b"])),
)


@given(st.lists(st.tuples(st.integers(0, 2), _DEEDS)))
def test_several_processes_count_what_one_would(deeds: list[tuple[int, Callable[[Metrics], object]]]) -> None:
    """Whichever of them answers Prometheus; their states come as JSON."""
    alone, several = Metrics(), [Metrics() for _ in range(3)]
    for which, deed in deeds:
        deed(alone)
        deed(several[which])
    states: list[State] = [json.loads(json.dumps(each.state())) for each in several]
    together = merge(states)
    assert together["adds"]["processes"] == 3
    assert together["greatest"]["started"] == max(each["greatest"]["started"] for each in states)
    assert _close(counted(alone.state()), counted(together))
    # In any order, and in any grouping.
    assert _close(counted(together), counted(merge([states[2], merge([states[1], states[0]])])))


def counted(state: State) -> Any:
    """Return what was counted, without what the operating system says."""
    its_own = {"processes", "cpu_seconds", "resident_bytes", "open_files"}
    return {name: value for name, value in state["adds"].items() if name not in its_own}


def _close(one: Any, other: Any) -> bool:
    """Return whether they are equal but for the rounding of sums, and for zeros that need not be there."""
    if isinstance(one, dict):
        zero = 0
        return all(_close(one.get(name, zero), other.get(name, zero)) for name in {*one, *other})
    return bool(one == pytest.approx(other)) or (not one and other == {RESULT: 0})


def test_the_lag_of_the_slowest_process_is_shown() -> None:
    """The sum of two lags would be a time that nobody waited."""
    one, other = Metrics(), Metrics()
    one.store_lag = lambda: 0.5
    other.store_lag = lambda: 2.5
    text, _ = expose([one.state(), other.state()], "")
    samples = parsed(text.decode())
    assert samples["central_system_store_lag_seconds"] == {(): 2.5}
    assert samples["central_system_processes"] == {(): 2}


@given(st.lists(st.text(max_size=50), max_size=200))
def test_no_text_of_a_charge_point_becomes_a_label(texts: list[str]) -> None:
    """However many actions and codes it makes up, there is one place for all of them."""
    metrics = Metrics()
    for text in texts:
        metrics.received[text].ended(RESULT)
        metrics.call_failed("Reset", Outcome.CALL_ERROR.value, text)
    assert set(metrics.received) <= {OTHER, *ACTIONS}
    assert set(metrics.call_errors) <= {OTHER, *(code.value for code in ErrorCode)}
    assert len(texts) == sum(each.outcomes[RESULT] for each in metrics.received.values())
    assert len(texts) == metrics.call_errors.total()


# -- what a scrape shows ------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system that sends PINGs soon."""
    with CentralSystem(tmp_path / "cs.log", "--ping-interval-ms", "1000") as running:
        yield running


def test_a_scrape_shows_what_charge_points_sent(server: CentralSystem) -> None:
    """By action and outcome, to the last message; and every Call has a handling time."""
    with Station(server, "A") as station:
        for _ in range(7):
            station.call("Heartbeat", {})
        for _ in range(3):
            assert station.ask("Authorize", {})[2] == "ProtocolError"
        for action in ("Levitate", "Levitate2", "other"):
            assert station.ask(action, {})[2] == "NotImplemented"
        assert station.ask("Reset", {"type": "Soft"})[2] == "NotSupported"
        station.send("hello")
        assert station.exchange('[2,"1","Heartbeat",[]]')[2] == "FormationViolation"
        station.call("Heartbeat", {})
        samples = scrape(server)
    assert samples["ocpp_connections"] == {(): 1}
    assert samples["ocpp_connections_opened_total"] == {(): 1}
    received = {labels: value for labels, value in samples["ocpp_calls_received_total"].items() if value}
    assert received == {
        ("Heartbeat", "result"): 8,
        ("Authorize", "ProtocolError"): 3,
        ("other", "NotImplemented"): 3,
        ("other", "FormationViolation"): 1,
        ("Reset", "NotSupported"): 1,
    }
    handled = samples["ocpp_handler_duration_seconds_count"]
    assert handled == {("Heartbeat",): 8, ("Authorize",): 3, ("other",): 3, ("Reset",): 1}
    assert 0 < samples["ocpp_handler_duration_seconds_sum"]["Heartbeat",] < 1
    assert samples["ocpp_handler_duration_seconds_bucket"]["Heartbeat", "+Inf"] == 8
    assert samples["ocpp_messages_malformed_total"] == {("not_json",): 1, ("bad_payload",): 1}
    summary = server.summary()
    assert summary["calls"] == {"Heartbeat": 8}
    assert summary["errors"] == {
        "ProtocolError": 3,
        "NotImplemented": 3,
        "NotSupported": 1,
        "FormationViolation": 1,
    }


def test_a_scrape_shows_what_became_of_calls_to_charge_points(server: CentralSystem) -> None:
    """With the time that they took and the time that they waited, and no code that a charge point made up."""
    answers: dict[str, Answer] = {
        "Reset": {"status": "Accepted"},
        "ClearCache": CallErrorAnswer("InternalError"),
        "GetLocalListVersion": CallErrorAnswer("Gremlins"),
        "UnlockConnector": '[3,"{id}",{}]',
        "TriggerMessage": None,
    }

    def answer(command: Command) -> Answer:
        return answers[command.action]

    with Station(server, "A", answer):
        path = "/api/v1/charge-points/A/calls"
        for _ in range(2):
            assert server.request("POST", f"{path}/Reset", {"type": "Soft"})[0] == 200
        assert server.request("POST", f"{path}/ClearCache")[0] == 502
        assert server.request("POST", f"{path}/GetLocalListVersion")[0] == 502
        assert server.request("POST", f"{path}/UnlockConnector", {"connectorId": 1})[0] == 502
        body = {"requestedMessage": "Heartbeat"}
        assert server.request("POST", f"{path}/TriggerMessage?timeout=0.2", body)[0] == 504
        samples = scrape(server)
    sent = {("Reset",): 2, ("ClearCache",): 1, ("GetLocalListVersion",): 1, ("UnlockConnector",): 1}
    assert samples["ocpp_calls_sent_total"] == {**sent, ("TriggerMessage",): 1}
    assert samples["ocpp_calls_ended_total"] == {
        ("Reset", "result"): 2,
        ("ClearCache", "CallError"): 1,
        ("GetLocalListVersion", "CallError"): 1,
        ("UnlockConnector", "InvalidAnswer"): 1,
        ("TriggerMessage", "TimedOut"): 1,
    }
    assert samples["ocpp_call_errors_received_total"] == {("InternalError",): 1, ("other",): 1}
    answered = {labels: count for labels, count in samples["ocpp_call_duration_seconds_count"].items() if count}
    assert answered == sent
    assert samples["ocpp_call_queue_duration_seconds_count"] == {(): 6}
    assert samples["ocpp_call_queue_duration_seconds_sum"][()] < 1


def test_a_scrape_shows_why_connections_ended_and_upgrades_were_refused(server: CentralSystem) -> None:
    """By cause and by reason: an operator sees from it whether the network, the fleet or this side is to blame."""
    with Station(server, "A"), ExitStack() as opened:
        replaced = Station(server, "B")
        with Station(server, "B"):
            replaced.close()
        options: Any = {"subprotocols": ["ocpp1.6"], "proxy": None}
        for number, message in enumerate((b"binary", "x" * 300_000)):
            ws = opened.enter_context(connect(f"{server.url}/{number}", **options))
            ws.send(message)
        for _ in range(2):
            with pytest.raises(InvalidStatus):
                connect(f"{server.url}/", **options)
        opened.enter_context(connect(f"{server.url}/lost", **options)).socket.close()
        until(lambda: sum(scrape(server).get("ocpp_connections_closed_total", {}).values()) == 5)
        samples = scrape(server)
        assert samples["ocpp_connections_closed_total"] == {
            ("replaced",): 1,
            ("charge_point",): 1,
            ("protocol_error",): 1,
            ("too_big",): 1,
            ("lost",): 1,
        }
        assert samples["ocpp_upgrades_refused_total"] == {("bad_path", "404"): 2}
        assert samples["ocpp_connections"] == {(): 1}
    summary = server.summary()
    assert summary["refusals"] == {"bad_path": 2}
    assert summary["events"]["upgrades refused with 404"] == 2


def test_pings_are_timed(server: CentralSystem) -> None:
    """For the fleet as a histogram, and for each charge point its last one."""
    with Station(server, "A"):

        def round_trip() -> float | None:
            seconds: float | None = server.request("GET", "/api/v1/charge-points/A")[1]["round_trip_seconds"]
            return seconds

        until(lambda: round_trip() is not None)
        samples = scrape(server)
        assert samples["ocpp_pings_sent_total"][()] >= samples["ocpp_ping_round_trip_seconds_count"][()] >= 1
        assert samples["ocpp_pings_lost_total"] == {(): 0}
        assert 0 < (round_trip() or 0) < 5


def test_no_charge_point_can_make_series_grow(server: CentralSystem) -> None:
    """A Prometheus that runs out of memory is the usual end of a label with text from outside."""
    with Station(server, "A", lambda command: CallErrorAnswer(f"Code{command.unique_id}", "no")) as station:

        def mischief(number: int) -> int:
            station.ask(f"Action{number}", {})
            station.ask("DataTransfer", {"vendorId": f"{number}", f"field{number}": 1})
            station.send(f'[{number + 5},"x{number}"]')
            station.send(f"{{{number}")
            server.request("POST", f"/api/v1/charge-points/A/calls/ClearCache?x{number}")
            server.request("POST", f"/api/v1/charge-points/A/calls/Clear{number}")
            server.request("GET", f"/nowhere/{number}")
            with Station(server, f"CP{number}"):
                pass
            with pytest.raises(InvalidStatus):
                connect(f"{server.url}/{number}%ff", proxy=None)
            until(lambda: scrape(server)["ocpp_connections"] == {(): 1})
            return sum(map(len, scrape(server).values()))

        first = mischief(0)
        assert {first} == {mischief(number) for number in range(1, 6)}
        text, _ = fetch(server, "/metrics")
        assert not re.search(r"Action\d|field\d|Code|CP\d|nowhere", text)


def test_openmetrics_is_for_those_who_ask(server: CentralSystem) -> None:
    """Both formats say the same, and whatever else stands in the header does no harm."""
    text, content_type = fetch(server, "/metrics")
    assert content_type.startswith("text/plain; version=0.0.4")
    for accept in (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
        'application/openmetrics-text;version="\\";q=x',
    ):
        opened, content_type = fetch(server, "/metrics", {"Accept": accept})
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        names = {family.name for family in parse_openmetrics(opened)}
        assert names == {family.name.removesuffix("_total") for family in parse_text(text)}


# -- the page -----------------------------------------------------------------------------------


def documented() -> dict[str, tuple[str, tuple[str, ...], str]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}


def test_the_page_lists_every_metric_and_no_other(server: CentralSystem) -> None:
    """Names, types, labels and help texts: what is written there is what a scrape shows."""
    families = {family.exposed_name: (family.kind.value, family.labels, family.help) for family in FAMILIES}
    # What a run is asked for, and not the central system, is on the page as well.
    page = {name: row for name, row in documented().items() if not name.startswith("ampswarm_")}
    assert families == {name: row for name, row in page.items() if name not in {BUILD_INFO, PYTHON_INFO}}
    shown = {
        family.name if family.type != "counter" else f"{family.name.removesuffix('_total')}_total": family
        for family in parse_text(fetch(server, "/metrics")[0])
    }
    assert set(page) >= set(shown)
    for name, family in shown.items():
        kind, labels, text = page[name]
        assert (family.type, family.documentation) == (kind, text)
        assert {*labels} >= {label for sample in family.samples for label in sample.labels} - {"le"}
    # What an operating system does not tell is not shown; all else is.
    assert set(page) - set(shown) <= {"process_open_fds"}


@pytest.mark.parametrize(("head", "values"), [("reason", RefusalReason), ("cause", Closed)])
def test_the_page_lists_what_a_label_may_say(head: str, values: type[RefusalReason | Closed]) -> None:
    """For alerts, which name them."""
    table = PAGE.read_text().split(f"| {head} | |\n", 1)[1].split("\n\n", 1)[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == sorted(value.value for value in values)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_metric_keeps_to_prometheus_conventions(family: Any) -> None:
    """Base units in the name, `_total` for counters only, the unit in the help text, rising bounds."""
    assert re.fullmatch(r"(ocpp|central_system|process)_[a-z_]+", family.name)
    assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_milliseconds"))
    assert ("seconds" in family.name) == ("in seconds" in family.help)
    assert family.help.endswith(".")
    assert list(family.bounds) == sorted(set(family.bounds))
    assert all(bound == family.bounds[bisect_left(family.bounds, bound)] for bound in family.bounds)


# -- ready or not -------------------------------------------------------------------------------


def test_health_and_readiness_need_no_token_and_metrics_do(tmp_path: Path) -> None:
    """A load balancer has none; numbers are for those who may command."""
    with CentralSystem(tmp_path / "log", env={"ADMIN_TOKEN": TOKEN}) as server:
        assert server.request("GET", "/healthz")[0] == 200
        assert server.request("GET", "/readyz") == (200, {"ready": True, "failing": {}})
        assert server.request("GET", "/readyz", headers={"Authorization": "Bearer wrong"})[0] == 200
        assert server.request("GET", "/metrics")[0] == 401
        text, _ = fetch(server, "/metrics", {"Authorization": f"Bearer {TOKEN}"})
        assert "ocpp_connections 0.0" in text


def test_readiness_names_each_condition_that_does_not_hold() -> None:
    """503 while any is left, whatever the order in which they come and go."""
    readiness = Readiness()
    assert (readiness.ready, readiness.as_json()) == (True, {"ready": True, "failing": {}})
    readiness.fail("store", "the disk is full")
    readiness.fail("bus", "no connection to Redis")
    both = {"bus": "no connection to Redis", "store": "the disk is full"}
    assert (readiness.ready, readiness.as_json()) == (False, {"ready": False, "failing": both})
    readiness.fail("store", "still full")
    readiness.mend("bus")
    readiness.mend("never failed")
    assert readiness.as_json() == {"ready": False, "failing": {"store": "still full"}}
    readiness.mend("store")
    assert readiness.ready
