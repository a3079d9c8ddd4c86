"""The whole plan: lines, values for the stack, commands for hosts, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Final

from ampswarm.plan import central_systems as target
from ampswarm.plan import constants as c
from ampswarm.plan import generators as load
from ampswarm.plan import proxy as middle
from ampswarm.plan.central_systems import CentralSystems
from ampswarm.plan.constants import CONSTANTS, MIB
from ampswarm.plan.generators import Generators
from ampswarm.plan.lines import STEP, Line, down_to_two_digits, number, percent, up
from ampswarm.plan.proxy import Proxy
from ampswarm.plan.question import Question

_LEAST_FILES: Final = 20_000
"""What the stack asks for by default."""
_FIRST_BACK_OFF: Final = 1.0
"""Seconds in which a fleet tries to come back at first: from --reconnect-min to twice that."""


@dataclass(frozen=True)
class Plan:
    """What to order, and what to deploy on it."""

    question: Question
    generators: Generators
    central_systems: CentralSystems
    proxy: Proxy
    spawn_rate: int
    """Charge points that start in a second."""
    sections: Mapping[str, Sequence[Line]]
    variables: Mapping[str, str]
    """Values for the stack."""
    commands: Sequence[str]
    """What prepares the hosts, one for each kind."""
    warnings: Sequence[str]
    """What does not fit."""
    notes: Sequence[str]
    """What has to be so, or is not known."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        lines = [line for section in self.sections.values() for line in section]
        return {
            "question": asdict(self.question),
            "figures": {
                line.key: {
                    "label": line.label, "value": line.value, "unit": line.unit, "how": line.how, "note": line.note,
                    "constants": [constant.name for constant in line.constants],
                }
                for line in lines
            },
            "variables": dict(self.variables),
            "commands": list(self.commands),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
            "constants": [asdict(each) for each in CONSTANTS],
        }  # fmt: skip


def plan(question: Question) -> Plan:
    """Return what a fleet needs."""
    generators = load.generators(question)
    generators_rate = generators.workers * generators.worker_rate
    # Neither depends on how many of the hosts' cores are left: a larger fleet never starts more slowly.
    carried = down_to_two_digits(min(generators_rate, middle.ramp_rate(question)))
    spawn_rate = question.spawn_rate or carried
    central_systems = target.central_systems(question, spawn_rate)
    proxy = middle.proxy(question, spawn_rate)
    files = max(generators.load, central_systems.load) + c.OTHER_FILES.value
    open_files = question.open_files or max(_LEAST_FILES, up(files / percent(c.FILE_SHARE), 1000))
    sections = {
        "Order": _order(question, generators, central_systems, proxy),
        "Ramp and load": _ramp(question, generators, generators_rate, spawn_rate),
        "Generators": load.lines_of(question, generators),
        "Central systems": target.lines_of(question, spawn_rate, central_systems),
        "Proxy and manager": middle.lines_of(question, spawn_rate, proxy),
    }
    warnings = [*generators.warnings, *central_systems.warnings, *proxy.warnings]
    if question.storm:
        storm, more = _storm(question, generators_rate, central_systems, proxy)
        sections["Storm"] = storm
        warnings += more
    variables = {
        "CHARGE_POINTS": f"{question.charge_points}",
        "SPAWN_RATE": f"{spawn_rate}",
        "WORKERS": f"{generators.workers}",
        "CENTRAL_SYSTEMS": f"{central_systems.replicas}",
        "CENTRAL_SYSTEMS_PER_NODE": f"{central_systems.per_host}",
        "HEARTBEAT": f"{question.heartbeat}",
        "OPEN_FILES": f"{open_files}",
        "WORKER_MEMORY": f"{generators.worker_memory // MIB}M",
        "CENTRAL_SYSTEM_MEMORY": f"{central_systems.memory // MIB}M",
        "MAX_CONNECTIONS": f"{proxy.connections}",
        "PROXY_THREADS": f"{proxy.threads}",
        "PROXY_OPEN_FILES": f"{up(2 * proxy.connections + c.OTHER_FILES.value, 1000)}",
        "PROXY_MEMORY": f"{up((proxy.process_memory + proxy.kernel_memory) / percent(c.MEMORY_SHARE), STEP) // MIB}M",
        "SOURCE_ADDRESSES": "auto" if question.source_addresses > 1 else "",
    }
    commands = [
        f"deployment_template/prepare-host --connections {connections} --role {role}"
        for role, connections in (
            ("generator", generators.host_connections),
            ("server", central_systems.load * central_systems.per_host),
            ("proxy", proxy.connections),
        )
    ]
    notes = _notes(question, generators, central_systems, proxy, spawn_rate)
    return Plan(
        question, generators, central_systems, proxy, spawn_rate, sections, variables, commands, warnings, notes
    )


def _order(question: Question, generators: Generators, central_systems: CentralSystems, proxy: Proxy) -> list[Line]:
    hosts = generators.hosts + central_systems.hosts
    cores, memory = question.cores_per_host, question.memory_per_host
    manager = ceil(proxy.host_memory / c.GB)
    return [
        Line(
            "hosts", "hosts", hosts + 1, "",
            f"{generators.hosts} for workers, {central_systems.hosts} for central systems, 1 manager",
            note=f"{generators.hosts} for workers, {central_systems.hosts} for central systems, 1 manager",
        ),
        Line(
            "cores", "cores", hosts * cores + proxy.host_cores, "",
            f"{hosts} hosts x {cores} + manager {proxy.host_cores}",
            note=f"{hosts} x {cores}, manager {proxy.host_cores}",
        ),
        Line(
            "memory", "memory", hosts * memory + manager, "GB",
            f"{hosts} hosts x {memory} GB + manager {manager} GB", note=f"{hosts} x {memory}, manager {manager}",
        ),
    ]  # fmt: skip


def _ramp(question: Question, generators: Generators, generators_rate: float, spawn_rate: int) -> list[Line]:
    traffic, fleet = question.traffic, question.charge_points
    if question.spawn_rate is not None:
        how, note = "as asked for", "as asked for"
    else:
        proxies = middle.ramp_rate(question)
        how = (
            f"the least of: {generators.workers} workers x {number(generators.worker_rate)} /s = "
            f"{number(generators_rate)} /s; (manager {question.manager_cores} - {c.MASTER_CORES.value:g}) cores x "
            f"{c.CPU_SHARE.value / 2:g} % / {middle.open_ms(question):.3g} ms in the proxy = {number(proxies)} /s; "
            "rounded down to two digits"
        )
        note = f"limit: {'generators' if generators_rate <= proxies else 'proxy, on the manager host asked about'}"
    transactions = traffic.transactions * c.CALLS_OF_TRANSACTION.value
    of_pings = [
        f"{number(fleet)} / {each} s ({who})"
        for each, who in ((question.central_system_ping_interval, "the central system's"),
                          (question.ping_interval, "the charge points'"))
        if each
    ]  # fmt: skip
    return [
        Line("spawn_rate", "charge points that start", spawn_rate, "/s", how, (c.CPU_SHARE,), note),
        Line(
            "ramp_seconds", "ramp", ceil(fleet / spawn_rate), "s",
            f"{number(fleet)} / {number(spawn_rate)} /s, rounded up",
            note=_minutes(fleet / spawn_rate),
        ),
        Line("ramp_calls", "Calls in the ramp, more", 3 * spawn_rate, "/s",
             f"{number(spawn_rate)} x (boot + 2 statuses)"),
        Line("heartbeats", "Heartbeats", traffic.heartbeats, "/s", f"{number(fleet)} / {question.heartbeat} s"),
        Line(
            "meter_values", "MeterValues", traffic.meter_values, "/s",
            f"{number(fleet)} x {question.charging * 100:g} % / {question.meter_values} s",
        ),
        Line(
            "transaction_calls", "Calls of transactions", transactions, "/s",
            f"{number(fleet)} x {question.transactions_per_day:g} a day / 86,400 s x "
            f"{c.CALLS_OF_TRANSACTION.value:g} Calls",
            (c.CALLS_OF_TRANSACTION,),
        ),
        Line("calls", "Calls in all", traffic.calls, "/s", "the three above; each has an answer"),
        Line("pings", "PINGs", traffic.pings, "/s", " + ".join(of_pings) or "none are sent"),
    ]  # fmt: skip


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 90 else ""


def _storm(
    question: Question, generators_rate: float, central_systems: CentralSystems, proxy: Proxy
) -> tuple[list[Line], list[str]]:
    back = ceil(question.charge_points * question.storm)
    rates = {
        "generators": generators_rate, "proxy": proxy.accept_rate, "central systems": central_systems.accept_rate
    }  # fmt: skip
    least = min(rates, key=lambda name: rates[name])
    rate = down_to_two_digits(rates[least])
    seconds = ceil(back / rate)
    lines = [
        Line("storm_charge_points", "that come back", back, "",
             f"{number(question.charge_points)} x {question.storm * 100:g} %, rounded up"),
        Line(
            "storm_rate", "that are carried", rate, "/s",
            "the least of: " + ", ".join(f"{name} {number(value)}" for name, value in rates.items())
            + f" /s, each in {c.CPU_SHARE.value:g} % of its cores beside the steady state; rounded down to two digits",
            (c.CPU_SHARE, c.BOOT_TLS, c.OPENED_TLS, c.ACCEPTED), f"limit: {least}",
        ),
        Line("storm_seconds", "until all are back", seconds, "s", f"{number(back)} / {number(rate)} /s, rounded up",
             note=_minutes(seconds)),
    ]  # fmt: skip
    warnings = []
    if back > rate * _FIRST_BACK_OFF:
        share = f"{question.storm * 100:g}%"
        warnings.append(
            f"a storm over {share} is {number(back)} charge points at once, where {number(rate)} a second are carried: "
            f'spread it (--storm "share={share} over={seconds}s …"), or generators may be late and the run invalid'
        )
    return lines, warnings


def _notes(
    question: Question, generators: Generators, central_systems: CentralSystems, proxy: Proxy, spawn_rate: int
) -> list[str]:
    notes = []
    if generators.load > c.WATCHED.value:
        rate = min(ceil(spawn_rate / generators.workers), down_to_two_digits(generators.worker_rate))
        notes.append(
            f"no worker with more than {number(c.WATCHED.value)} charge points was measured for lag: rehearse one with "
            f"{number(generators.load)} at {number(rate)} a second before the rest is ordered"
        )
    if central_systems.limit == "ports of the proxy" and central_systems.needed > 1:
        others = max(value for name, value in central_systems.needs.items() if name != central_systems.limit)
        notes.append(f"only the ports of the proxy need {central_systems.needed} central systems, all else {others}")
    tracked = {
        "the manager host": 2 * proxy.connections,
        "a host of workers": generators.host_connections,
        "a host of central systems": central_systems.load * central_systems.per_host,
    }
    notes += [
        f"{host} may track {number(value)} connections, and nf_conntrack_max is {number(c.TRACKED_BY_DEFAULT.value)} "
        "by default"
        for host, value in tracked.items()
        if value > c.TRACKED_BY_DEFAULT.value
    ]
    if 2 * proxy.connections + c.OTHER_FILES.value > c.FILES_BY_DEFAULT.value:
        notes.append(
            f"the proxy opens more files than fs.nr_open allows by default ({number(c.FILES_BY_DEFAULT.value)})"
        )
    silences = [question.heartbeat, question.ping_interval, question.central_system_ping_interval]
    notes.append(
        f"time-outs for silence on the way (the proxy's timeout tunnel) have to be longer than "
        f"{min(each for each in silences if each)} s"
    )
    notes.append("not in the plan: bandwidth, PostgreSQL, Redis, monitoring, and a target other than the bundled one")
    return notes
