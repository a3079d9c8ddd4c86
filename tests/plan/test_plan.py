"""`ampswarm plan` orders enough, says why, and does not hide what does not fit."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.cli import main
from ampswarm.plan import constants as c
from ampswarm.plan.constants import CONSTANTS, GB, MIB, Origin
from ampswarm.plan.lines import down_to_two_digits, number, percent
from ampswarm.plan.plan import Plan, plan
from ampswarm.plan.question import Question, Store
from ampswarm.plan.text import to_env, to_text
from tests.processes import ROOT, clean_environment

MILLION = Question(1_000_000)
VARIABLES = [
    "CHARGE_POINTS", "SPAWN_RATE", "WORKERS", "CENTRAL_SYSTEMS", "CENTRAL_SYSTEMS_PER_NODE", "HEARTBEAT", "OPEN_FILES",
    "WORKER_MEMORY", "CENTRAL_SYSTEM_MEMORY", "MAX_CONNECTIONS", "PROXY_THREADS", "PROXY_OPEN_FILES", "PROXY_MEMORY",
    "SOURCE_ADDRESSES",
]  # fmt: skip
PATTERNS = {"MEMORY": r"[1-9]\d*M", "ADDRESSES": "(auto)?"}

fleets = st.integers(1, 10_000_000)
shares = st.floats(0, 1)
questions = st.builds(
    Question,
    charge_points=fleets,
    tls=st.booleans(),
    heartbeat=st.integers(1, 86_400),
    meter_values=st.integers(1, 86_400),
    charging=shares,
    transactions_per_day=st.integers(0, 1000),
    ping_interval=st.integers(0, 86_400),
    central_system_ping_interval=st.integers(0, 86_400),
    store=st.sampled_from(Store),
    storm=shares,
    spawn_rate=st.none() | st.integers(1, 1_000_000),
    worker_capacity=st.none() | st.integers(1, 100_000),
    open_files=st.none() | st.integers(1000, 2**30),
    ports=st.integers(1000, 64_512),
    source_addresses=st.integers(1, 256),
    proxy_addresses=st.integers(1, 256),
    cores_per_host=st.integers(1, 1024),
    memory_per_host=st.integers(2, 16_384),
    manager_cores=st.integers(1, 1024),
    manager_memory=st.integers(2, 16_384),
)


def figures(found: Plan) -> dict[str, Any]:
    return {name: each["value"] for name, each in found.as_dict()["figures"].items()}


# -- enough is ordered --------------------------------------------------------------------------


@given(questions)
def test_what_is_planned_carries_what_was_asked_for(question: Question) -> None:
    """A plan that is too small is found out on the day of the test."""
    found = plan(question)
    workers, target, proxy = found.generators, found.central_systems, found.proxy
    assert workers.workers * workers.load >= question.charge_points
    assert workers.workers * workers.capacity >= question.charge_points
    assert workers.hosts * workers.workers_per_host >= workers.workers
    assert target.needed * target.load >= question.charge_points
    assert proxy.connections >= question.charge_points
    assert found.spawn_rate <= max(1, workers.workers * workers.worker_rate) + 1e-6
    assert found.spawn_rate * figures(found)["ramp_seconds"] >= question.charge_points
    assert target.accept_rate >= found.spawn_rate * 0.999
    assert proxy.accept_rate >= found.spawn_rate * 0.999
    if question.spawn_rate is not None:
        assert found.spawn_rate == question.spawn_rate


@given(questions)
def test_no_worker_is_beyond_its_ports_files_memory_or_share_of_a_core(question: Question) -> None:
    """Each of them makes a run invalid."""
    workers = plan(question).generators
    assert workers.load <= question.ports * question.source_addresses * 0.9
    if question.open_files is not None:
        assert workers.load + c.OTHER_FILES.value <= question.open_files * 0.9 + 1
    if question.worker_capacity is not None:
        assert workers.load <= question.worker_capacity
    needed = c.WORKER_AT_REST.value * MIB + workers.load * workers.connection
    assert needed <= workers.worker_memory * percent(c.MEMORY_SHARE) + 1
    steady = workers.steady / workers.workers
    assert steady <= 0.3 + 1e-9
    # All workers together may start what is planned; each carries its part beside its steady state.
    assert (
        steady + min(workers.worker_rate, plan(question).spawn_rate / workers.workers) * workers.boot_ms / 1e3 <= 0.601
    )
    assert workers.host_memory <= question.memory_per_host * GB
    assert workers.workers_per_host <= question.cores_per_host


@given(questions)
def test_no_central_system_is_beyond_its_limits_when_one_is_away(question: Question) -> None:
    """A rolling update takes one away at a time."""
    target = plan(question).central_systems
    assert target.replicas == (target.needed + 1 if target.needed > 1 else 1)
    assert target.load <= question.ports * question.proxy_addresses * 0.9
    assert target.host_memory <= question.memory_per_host * GB
    if question.open_files is not None:
        assert target.load + c.OTHER_FILES.value <= question.open_files * 0.9 + 1


GROWING = (
    "hosts", "cores", "memory", "workers", "generator_hosts", "central_systems", "calls", "pings", "max_connections",
    "spawn_rate", "proxy_threads", "proxy_memory", "proxy_kernel_memory", "manager_cores", "manager_memory",
)  # fmt: skip


@given(questions, fleets)
def test_a_larger_fleet_never_needs_less(question: Question, other: int) -> None:
    """Nor does it start more slowly: whoever compares two plans would trust neither."""
    small, large = sorted((question.charge_points, other))
    before, after = (figures(plan(replace(question, charge_points=each))) for each in (small, large))
    assert {name: (before[name], after[name]) for name in GROWING if before[name] > after[name]} == {}


@given(questions)
def test_tls_never_needs_less(question: Question) -> None:
    """Workers and proxy pay for it."""
    plain, tls = (figures(plan(replace(question, tls=each, spawn_rate=100))) for each in (False, True))
    more = ("workers", "generator_hosts", "proxy_memory", "proxy_threads", "manager_memory")
    assert {name for name in more if plain[name] > tls[name]} == set()


# -- known answers ------------------------------------------------------------------------------


def test_a_million_is_what_paper_and_pencil_say() -> None:
    """Each of these can be computed by hand from the table of constants."""
    found = plan(replace(MILLION, ports=28_232))
    numbers = figures(found)
    assert numbers["worker_capacity"] == 25_408  # 90 % of the ports
    assert numbers["workers"] == 40
    assert numbers["connections_per_worker"] == 25_000
    assert numbers["worker_memory"] == 1216  # (67 MiB + 25,000 * 38.4 KiB) / 85 %, in steps of 64 MiB
    assert numbers["central_systems"] == 41
    assert round(numbers["heartbeats"], 1) == 3333.3
    assert round(numbers["pings"], 1) == 33_333.3
    assert numbers["proxy_steady_cores"] == pytest.approx(36_666.7 * 0.045e-3, rel=1e-3)
    assert numbers["max_connections"] == 1_100_000
    assert found.warnings == []


def test_prepared_ports_need_fewer_central_systems() -> None:
    """The plan says what they are needed for; and several fit on a host."""
    note = next(each for each in plan(replace(MILLION, ports=28_232)).notes if "ports" in each)
    assert "need 40 central systems, all else 7" in note
    found = plan(MILLION).central_systems
    assert (found.replicas, found.per_host, found.hosts) == (19, 2, 10)


def test_transactions_cost_what_the_store_takes() -> None:
    """The dearer a commit, the more of the central systems' cores; none costs as any other Call."""
    fleet = Question(100_000, transactions_per_day=20, charging=0.2)
    steady = [plan(replace(fleet, store=store)).central_systems.steady for store in
              (Store.NONE, Store.MEMORY, Store.SQLITE, Store.POSTGRESQL)]  # fmt: skip
    assert steady == sorted(set(steady))


def test_a_spawn_rate_that_is_asked_for_brings_workers() -> None:
    """10,000 charge points would fit in one worker, which starts 230 of them in a second."""
    assert plan(Question(10_000)).generators.workers == 1
    assert plan(Question(10_000, spawn_rate=1000)).generators.workers == 5


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        (replace(MILLION, manager_memory=32), "the manager host needs 37.8 GB and has 32"),
        (replace(MILLION, manager_cores=4), "the manager host needs 6 cores and has 4"),
        (replace(MILLION, worker_capacity=60_000), "a worker carries 35,930 charge points and not 60,000 (memory)"),
        (replace(MILLION, storm=0.3), "a storm over 30% is 300,000 charge points at once"),
        (replace(MILLION, transactions_per_day=1), "a ledger of its own"),
        (replace(MILLION, spawn_rate=50_000), "HAProxy has 64 at most"),
    ],
)
def test_what_does_not_fit_is_a_line(question: Question, complaint: str) -> None:
    """A line that is not there is money spent on the wrong machines."""
    found = plan(question)
    (line,) = (each for each in found.warnings if complaint in each)
    assert "\n" not in line
    assert f"does not fit: {line}" in to_text(found).splitlines()


def test_what_has_to_be_set_is_a_line() -> None:
    """Limits of the kernel that a million connections meet."""
    notes = "\n".join(plan(MILLION).notes)
    assert "nf_conntrack_max is 262,144" in notes
    assert "fs.nr_open" in notes
    assert "longer than 30 s" in notes
    assert "rehearse one with 35,715" in notes
    small = "\n".join(plan(Question(1000)).notes)
    assert "nf_conntrack_max" not in small
    assert "fs.nr_open" not in small
    assert "rehearse" not in small


def test_the_time_of_a_storm_follows_its_weakest_part() -> None:
    """It is what `over=` has to be."""
    numbers = figures(plan(replace(MILLION, storm=0.3, manager_cores=64)))
    assert numbers["storm_charge_points"] == 300_000
    assert numbers["storm_seconds"] * numbers["storm_rate"] >= 300_000
    assert numbers["storm_rate"] <= plan(MILLION).generators.worker_rate * 40


# -- what is printed ----------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[str, str]:
    assert main(["plan", *options]) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_table_and_json_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """One for people, one for machines, of one plan."""
    options = ("--charge-points", "1000000", "--storm", "30%", "--charging", "10%")
    table, _ = printed(capsys, *options)
    data = json.loads(printed(capsys, *options, "--json")[0])
    for each in data["figures"].values():
        row = rf"^  {re.escape(each['label'])} +{re.escape(number(each['value']))}( |$)"
        assert re.search(row, table, re.MULTILINE), each
    for name, value in data["variables"].items():
        assert f"  {name}={value}" in table.splitlines()
    assert [f"  {each}" for each in data["commands"]] == re.findall(r"^  deployment_template/.*$", table, re.MULTILINE)
    assert data["warnings"] == re.findall(r"^does not fit: (.*)$", table, re.MULTILINE)
    assert data["notes"] == re.findall(r"^mind: (.*)$", table, re.MULTILINE)
    assert data["question"]["storm"] == 0.3


def test_every_number_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """Below each line is its arithmetic, and no constant goes without a name."""
    text, _ = printed(capsys, "--charge-points", "1000000", "--explain")
    data = json.loads(printed(capsys, "--charge-points", "1000000", "--json")[0])
    names = {each["name"] for each in data["constants"]}
    for each in data["figures"].values():
        assert f"    = {each['how']}" in text.splitlines()
        assert set(each["constants"]) <= names
    assert "idle TCP socket, in the kernel (measured)" in text
    assert "Locust master, memory (estimated)" in text


@given(questions)
def test_values_for_the_stack_are_for_a_shell(question: Question) -> None:
    """`ampswarm plan … --env > .env` is read by `docker compose`, by `set -a`, and by eyes."""
    lines = to_env(plan(question)).splitlines()
    assert [each.partition("=")[0] for each in lines] == VARIABLES
    for each in lines:
        assert shlex.split(each) == [each]
        name, _, value = each.partition("=")
        assert re.fullmatch(PATTERNS.get(name.rpartition("_")[2], r"[1-9]\d*"), value), each


def test_with_env_there_is_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    """What does not fit is on stderr, where it is seen and does no harm."""
    out, err = printed(capsys, "--charge-points", "1000000", "--manager-memory", "32", "--env")
    assert len(out.splitlines()) == len(VARIABLES)
    assert out.startswith("CHARGE_POINTS=1000000\nSPAWN_RATE=")
    assert err.startswith("ampswarm: does not fit: the manager host needs 37.8 GB")
    assert len(err.splitlines()) == 1


def test_a_shell_reads_the_values() -> None:
    """The real one, of the real command; and it loads nothing that belongs to a run."""
    code = """
import sys
from ampswarm.cli import main
main(sys.argv[1:])
assert not {"locust", "gevent", "websocket", "server"} & set(sys.modules)
"""
    script = (
        f'set -eu; eval "$({shlex.quote(sys.executable)} -c {shlex.quote(code)} plan --charge-points 2000 --env)"; '
    )
    done = subprocess.run(
        ["sh", "-c", f"{script} echo $CHARGE_POINTS $WORKERS $CENTRAL_SYSTEMS $WORKER_MEMORY"],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "2000 1 1 512M\n", "")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--charge-points", "0"),
        ("--charge-points", "1e6"),
        ("--charge-points", "10000001"),
        ("--charge-points", "10", "--heartbeat", "0"),
        ("--charge-points", "10", "--charging", "101%"),
        ("--charge-points", "10", "--charging", "nan"),
        ("--charge-points", "10", "--store", "mysql"),
        ("--charge-points", "10", "--memory-per-host", "1"),
        ("--charge-points", "10", "--ports", "65536"),
        ("--charge-points", "10", "--json", "--env"),
        ("--charge-points", "10", "--spawn-rate", "-5"),
    ],
)
def test_a_bad_option_is_a_line_and_exit_status_2(capsys: pytest.CaptureFixture[str], options: tuple[str, ...]) -> None:
    """Whoever made it sees what it was, and not a page of usage."""
    with pytest.raises(SystemExit) as ended:
        main(["plan", *options])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ampswarm plan: error: ")
    assert len(captured.err.splitlines()) == 1


# -- what it is made of -------------------------------------------------------------------------


def test_every_constant_names_its_source_and_is_documented() -> None:
    """A number from nowhere is a guess; it has to be called one."""
    assert len({each.name for each in CONSTANTS}) == len(CONSTANTS) > 30
    page = (ROOT / "docs" / "reference" / "plan.md").read_text()
    for each in CONSTANTS:
        assert each.source
        assert each.unit
        assert each.value > 0
        assert f"| {each.name} | {number(each.value)} {each.unit} | {each.origin} | {each.source} |" in page
    measured = [each for each in CONSTANTS if each.origin is Origin.MEASURED]
    for each in measured:
        found = re.search(r"python -m benchmarks\.(\w+)|(docs/[\w./-]+\.md)", each.source)
        assert found, each
        assert (ROOT / (found[2] or f"benchmarks/{found[1]}.py")).is_file()


def test_every_constant_is_used() -> None:
    """One that nothing is computed from would only look like care."""
    sources = "\n".join(file.read_text() for file in (ROOT / "ampswarm" / "plan").glob("*.py"))
    names = [name for name, value in vars(c).items() if isinstance(value, c.Constant)]
    assert {name for name in names if not re.search(rf"\bc\.{name}\b", sources)} == set()


@pytest.mark.parametrize(("rate", "rounded"), [(0.3, 1), (9.9, 9), (99.9, 99), (1765, 1700), (9999, 9900)])
def test_rates_are_rounded_down(rate: float, rounded: int) -> None:
    """Never up: that would be a generator that is late."""
    assert down_to_two_digits(rate) == rounded
