"""How many workers a fleet needs, and how fast they may start it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ampswarm.plan import constants as c
from ampswarm.plan.constants import GB, KIB, MIB
from ampswarm.plan.lines import STEP, Line, down, down_to_two_digits, number, percent, up
from ampswarm.plan.question import Question


@dataclass(frozen=True, slots=True)
class Generators:
    """The load side, Locust's master aside."""

    limits: dict[str, int]
    """Charge points that a worker may have, by what limits them."""
    capacity: int
    """Charge points that a worker may have."""
    workers: int
    load: int
    """Charge points of the fullest worker."""
    workers_per_host: int
    hosts: int
    boot_ms: float
    """CPU of a worker to bring a charge point up."""
    worker_rate: float
    """Charge points that a worker starts in a second without being late."""
    steady: float
    """Cores of all workers in steady state."""
    worker_memory: int
    """Limit of a worker's container, bytes."""
    connection: float
    """Memory of a charge point with its socket in the kernel, bytes."""
    host_memory: float
    """Used on the fullest host, bytes: containers' limits and the system."""
    warnings: Sequence[str]

    @property
    def host_connections(self) -> int:
        """Connections of the fullest host."""
        return min(self.workers_per_host, self.workers) * self.load

    @property
    def limit(self) -> str:
        """What limits a worker."""
        return min(self.limits, key=lambda name: self.limits[name])


def generators(question: Question) -> Generators:
    """Return the workers of a fleet."""
    fleet, steady = question.charge_points, question.traffic.generator_cores
    boot_ms = (c.BOOT_TLS if question.tls else c.BOOT).value
    idle = (c.CHARGE_POINT_TLS if question.tls else c.CHARGE_POINT).value
    connection = (idle + question.charging * c.CHARGING.value + c.SOCKET.value + c.TRACKED.value) * KIB
    available = question.memory_per_host * GB - c.SYSTEM.value * GB
    per_host = max(1, min(question.cores_per_host, int(available // (c.LEAST_MEMORY.value * MIB))))
    room = down(available / per_host, STEP) * percent(c.MEMORY_SHARE) - c.WORKER_AT_REST.value * MIB
    limits = {
        "ports": int(question.ports * question.source_addresses * percent(c.PORT_SHARE)),
        "memory": int(room / connection),
        "CPU in steady state": int(percent(c.STEADY_SHARE) / (steady / fleet)),
    }
    if question.open_files is not None:
        limits["open files"] = int(question.open_files * percent(c.FILE_SHARE) - c.OTHER_FILES.value)
    warnings = []
    if question.worker_capacity is not None:
        least = min(limits, key=lambda name: limits[name])
        if question.worker_capacity > limits[least]:
            warnings.append(
                f"a worker carries {number(limits[least])} charge points and not {number(question.worker_capacity)} "
                f"({least}): the plan has more workers"
            )
        limits["--worker-capacity"] = question.worker_capacity
    capacity = min(limits.values())
    worker_rate = (percent(c.CPU_SHARE) - steady / fleet * capacity) / (boot_ms / 1000)
    workers = max(ceil(fleet / capacity), ceil((question.spawn_rate or 0) / worker_rate))
    load = ceil(fleet / workers)
    needed = c.WORKER_AT_REST.value * MIB + load * connection
    worker_memory = max(up(needed / percent(c.MEMORY_SHARE), STEP), int(c.LEAST_MEMORY.value * MIB))
    on_host = min(per_host, workers)
    return Generators(
        limits, capacity, workers, load, per_host, ceil(workers / per_host), boot_ms, worker_rate, steady,
        worker_memory, connection,
        c.SYSTEM.value * GB + on_host * worker_memory, warnings,
    )  # fmt: skip


def lines_of(question: Question, found: Generators) -> list[Line]:
    """Return the numbers of the generators."""
    tls = question.tls
    idle = c.CHARGE_POINT_TLS if tls else c.CHARGE_POINT
    fleet, steady = question.charge_points, found.steady / found.workers * 100
    of_limits = ", ".join(f"{name} {number(value)}" for name, value in found.limits.items())
    return [
        Line(
            "worker_capacity", "charge points that a worker may have", found.capacity, "", f"the least of: {of_limits}",
            (c.PORTS, c.PORT_SHARE, c.MEMORY_SHARE, idle, c.SOCKET, c.TRACKED, c.STEADY_SHARE, c.FILE_SHARE,
             c.OTHER_FILES), f"limit: {found.limit}",
        ),
        Line(
            "workers", "workers", found.workers, "",
            f"the larger of {number(fleet)} / {number(found.capacity)}, and spawn rate "
            f"{number(question.spawn_rate or 0)} / {number(found.worker_rate)} of a worker; rounded up",
        ),
        Line(
            "connections_per_worker", "connections of each worker", found.load, "",
            f"{number(fleet)} charge points / {found.workers} workers, rounded up",
        ),
        Line(
            "worker_ports", "of its ports", found.load / (question.ports * question.source_addresses) * 100, "%",
            f"{number(found.load)} / ({number(question.ports)} ports x {question.source_addresses} source addresses)",
            (c.PORTS,),
        ),
        Line(
            "worker_cpu", "of a core, in steady state", steady, "%",
            f"({number(question.traffic.calls)} Calls x {c.CALL.value} ms (MeterValues {c.METER_VALUES.value}) + "
            f"{number(question.traffic.pings)} PINGs x {c.PING.value} ms) / {found.workers} workers",
            (c.CALL, c.METER_VALUES, c.PING),
        ),
        Line(
            "worker_rate", "charge points that a worker can start", down_to_two_digits(found.worker_rate), "/s",
            f"({c.CPU_SHARE.value:g} % of a core - {found.capacity * found.steady / fleet * 100:.3g} % in steady state "
            f"when full) / {found.boot_ms} ms to connect, boot and report 2 statuses",
            (c.CPU_SHARE, c.BOOT_TLS if tls else c.BOOT),
        ),
        Line(
            "worker_memory", "memory limit of a worker", found.worker_memory / MIB, "MiB",
            f"({c.WORKER_AT_REST.value:g} MiB + {number(found.load)} x {found.connection / KIB:.4g} KiB "
            f"with what the kernel has of it) / {c.MEMORY_SHARE.value:g} %, rounded up to 64 MiB, "
            f"{c.LEAST_MEMORY.value:g} at least",
            (c.WORKER_AT_REST, idle, c.CHARGING, c.SOCKET, c.TRACKED, c.MEMORY_SHARE, c.LEAST_MEMORY),
        ),
        Line(
            "generator_hosts", "hosts", found.hosts, "",
            f"{found.workers} workers / {found.workers_per_host} to a host of {question.cores_per_host} cores and "
            f"{question.memory_per_host} GB, rounded up", (c.SYSTEM,),
        ),
        Line(
            "generator_host_memory", "memory of the fullest host", found.host_memory / GB, "GB",
            f"{min(found.workers_per_host, found.workers)} workers' limits + system {c.SYSTEM.value} GB",
            (c.SYSTEM,),
        ),
    ]  # fmt: skip
