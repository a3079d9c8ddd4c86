"""How many central systems a fleet needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from ampswarm.plan import constants as c
from ampswarm.plan.constants import GB, KIB, MIB, Constant
from ampswarm.plan.lines import STEP, Line, down, number, percent, up
from ampswarm.plan.question import Question, Store

COMMIT: Final[dict[Store, Constant | None]] = {
    Store.MEMORY: c.COMMIT_MEMORY,
    Store.SQLITE: c.COMMIT_SQLITE,
    Store.POSTGRESQL: c.COMMIT_POSTGRESQL,
    Store.NONE: None,
}
"""What a commit costs the process, beside the messages in it."""


@dataclass(frozen=True, slots=True)
class CentralSystems:
    """The target, a process each."""

    needs: dict[str, int]
    """Central systems that are needed, by what they are needed for."""
    needed: int
    """The largest of them."""
    per_host: int
    """As many of them as a host has cores and memory for."""
    replicas: int
    """One more than needed, where several are: one may be away."""
    load: int
    """Connections of each when one is away."""
    steady: float
    """Cores of all of them in steady state."""
    accept_rate: float
    """Charge points a second that those needed bring up beside the steady state, in the share of a core each."""
    memory: int
    """Limit of a container, bytes."""
    warnings: Sequence[str]

    @property
    def limit(self) -> str:
        """What most of them are needed for."""
        return max(self.needs, key=lambda name: self.needs[name])

    @property
    def host_memory(self) -> float:
        """Used on each host, bytes."""
        return c.SYSTEM.value * GB + min(self.per_host, self.replicas) * self.memory

    @property
    def hosts(self) -> int:
        """Hosts of them alone."""
        return ceil(self.replicas / self.per_host)


def central_systems(question: Question, spawn_rate: float) -> CentralSystems:
    """Return the central systems of a fleet that starts at `spawn_rate` charge points in a second."""
    fleet, traffic = question.charge_points, question.traffic
    share = percent(c.CPU_SHARE)
    other = traffic.calls - traffic.meter_values
    messages = (
        other * c.ANSWERED.value + traffic.meter_values * c.METERED.value + traffic.pings * c.PONGED.value
    ) / 1e3
    commit = 0.0
    if (constant := COMMIT[question.store]) is not None:
        messages += 2 * traffic.transactions * max(0.0, c.KEPT.value - c.ANSWERED.value) / 1e3
        commit = constant.value / 1e3
    ramp = spawn_rate * c.ACCEPTED.value / 1e3
    # A process commits for each message that is to be kept, or as often as it can, whichever is less.
    busy = min((messages + ramp + traffic.durable * commit) / share,
               (messages + ramp) / (share - c.COMMITS.value * commit))  # fmt: skip
    connection = (c.CONNECTION.value + c.SOCKET.value + c.TRACKED.value) * KIB
    base = (c.CENTRAL_SYSTEM_AT_REST.value + c.MESSAGE_RING.value) * MIB
    limit = down((question.memory_per_host - c.SYSTEM.value) * GB, STEP)
    needs = {
        "CPU at the end of the ramp": ceil(busy),
        "ports of the proxy": ceil(fleet / int(question.ports * question.proxy_addresses * percent(c.PORT_SHARE))),
        "memory": ceil(fleet / int((limit * percent(c.MEMORY_SHARE) - base) / connection)),
    }
    if question.open_files is not None:
        files = int(question.open_files * percent(c.FILE_SHARE) - c.OTHER_FILES.value)
        needs["open files"] = ceil(fleet / files)
    needed = max(needs.values())
    load = ceil(fleet / needed)
    at_least = int(c.LEAST_MEMORY.value * MIB)
    memory = max(up((base + load * connection) / percent(c.MEMORY_SHARE), STEP), at_least)
    per_host = max(1, min(question.cores_per_host, int((question.memory_per_host - c.SYSTEM.value) * GB // memory)))
    replicas = needed + 1 if needed > 1 else 1
    steady = messages + min(traffic.durable, c.COMMITS.value * replicas) * commit
    # Of those that are left when one is away, which commit less often.
    busiest = messages + min(traffic.durable, c.COMMITS.value * needed) * commit
    accept_rate = (needed * share - min(busiest, needed * share)) / (c.ACCEPTED.value / 1e3)
    warnings = []
    if replicas > 1 and traffic.transactions and question.store in {Store.MEMORY, Store.SQLITE}:
        warnings.append(
            f"with --store {question.store} each of {replicas} central systems has a ledger of its own, and a "
            "transaction that ends at another one is unknown there: --store postgresql, with a bus"
        )
    return CentralSystems(needs, needed, per_host, replicas, load, steady, accept_rate, memory, warnings)


def lines_of(question: Question, spawn_rate: float, found: CentralSystems) -> list[Line]:
    """Return the numbers of the central systems."""
    traffic = question.traffic
    constant = COMMIT[question.store]
    commits = "" if constant is None else (
        f" + {number(2 * traffic.transactions)} x {c.KEPT.value - c.ANSWERED.value:.3g} ms more to keep + "
        f"{number(min(traffic.durable, c.COMMITS.value * found.replicas))} commits x {constant.value} ms"
    )  # fmt: skip
    away = [
        Line(
            "connections_one_away", "of each when one is away", found.load, "",
            f"{number(question.charge_points)} / {found.needed}, rounded up",
        ),
    ]  # fmt: skip
    usual = ceil(question.charge_points / found.replicas)
    needs = ", ".join(f"{name} {number(value)}" for name, value in found.needs.items())
    return [
        Line(
            "central_systems", "central systems", found.replicas, "",
            f"the most of: {needs}" + (", and one that may be away" if found.replicas > 1 else ""),
            (c.CPU_SHARE, c.ACCEPTED, c.COMMITS, c.PORTS, c.PORT_SHARE, c.MEMORY_SHARE, c.CONNECTION, c.SOCKET),
            f"for: {found.limit}" + (", one to spare" if found.replicas > 1 else ", none to spare"),
        ),
        Line(
            "central_systems_per_host", "of them on a host", found.per_host, "",
            f"{question.cores_per_host} cores; ({question.memory_per_host} GB - system {c.SYSTEM.value:g} GB) / "
            f"{number(found.memory / MIB)} MiB", (c.SYSTEM,),
        ),
        Line(
            "connections_per_central_system", "connections of each", usual, "",
            f"{number(question.charge_points)} / {found.replicas}, rounded up",
        ),
        *(away if found.replicas > 1 else ()),
        Line(
            "central_system_cpu", "of a core, in steady state", found.steady / found.replicas * 100, "%",
            f"({number(traffic.calls)} Calls x {c.ANSWERED.value} ms (MeterValues {c.METERED.value}) + "
            f"{number(traffic.pings)} PINGs x {c.PONGED.value} ms{commits}) / {found.replicas}",
            (c.ANSWERED, c.METERED, c.PONGED, c.KEPT, *((constant, c.COMMITS) if constant else ())),
        ),
        Line(
            "central_system_ramp_cpu", "more of it in the ramp",
            spawn_rate * c.ACCEPTED.value / 10 / found.replicas, "%",
            f"{number(spawn_rate)} /s x {c.ACCEPTED.value} ms / {found.replicas}", (c.ACCEPTED,),
        ),
        Line(
            "central_system_memory", "memory limit of a central system", found.memory / MIB, "MiB",
            f"({c.CENTRAL_SYSTEM_AT_REST.value:g} MiB + last messages {c.MESSAGE_RING.value:g} MiB + "
            f"{number(found.load)} x {c.CONNECTION.value + c.SOCKET.value + c.TRACKED.value:.4g} KiB with what the "
            f"kernel has of it) / {c.MEMORY_SHARE.value:g} %, rounded up to 64 MiB",
            (c.CENTRAL_SYSTEM_AT_REST, c.MESSAGE_RING, c.CONNECTION, c.SOCKET, c.TRACKED, c.MEMORY_SHARE),
        ),
    ]  # fmt: skip
