"""What the proxy needs, and the manager host that it shares with Locust's master."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ampswarm.plan import constants as c
from ampswarm.plan.constants import GB, KIB, MIB
from ampswarm.plan.lines import Line, number, percent, up
from ampswarm.plan.question import Question


@dataclass(frozen=True, slots=True)
class Proxy:
    """HAProxy, and the host that it is on."""

    connections: int
    """maxconn."""
    open_ms: float
    """CPU to connect, TLS included, with the boot and 2 statuses after it."""
    threads: int
    steady: float
    """Cores in steady state."""
    accept_rate: float
    """Charge points that come through in a second beside the steady state, in the planned share of its threads."""
    process_memory: float
    """Bytes of HAProxy."""
    kernel_memory: float
    """Bytes of the kernel: two sockets, and as many tracked connections, for each charge point."""
    host_cores: int
    host_memory: float
    """Bytes that the manager host has to have: what is used is the planned share of it."""
    warnings: Sequence[str]


def open_ms(question: Question) -> float:
    """Return the proxy's CPU for a charge point that comes up, in milliseconds."""
    return (c.OPENED_TLS if question.tls else c.OPENED).value + 3 * c.PASSED.value


def ramp_rate(question: Question) -> float:
    """Return how many charge points in a second the manager's cores bring through: in half of the planned share."""
    cores = max(1, question.manager_cores - c.MASTER_CORES.value)
    return cores * percent(c.CPU_SHARE) / 2 / (open_ms(question) / 1e3)


def proxy(question: Question, spawn_rate: float) -> Proxy:
    """Return the proxy of a fleet that starts at `spawn_rate` charge points in a second."""
    fleet, steady, each = question.charge_points, question.traffic.proxy_cores, open_ms(question)
    share = percent(c.CPU_SHARE)
    threads = max(1, ceil((steady + spawn_rate * each / 1e3) / share))
    process = c.PROXY_AT_REST.value * MIB + fleet * (c.PROXIED_TLS if question.tls else c.PROXIED).value * KIB
    kernel = fleet * 2 * (c.SOCKET.value + c.TRACKED.value) * KIB
    cores = threads + int(c.MASTER_CORES.value)
    memory = (process + kernel + (c.MASTER_MEMORY.value + c.SYSTEM.value) * GB) / percent(c.MEMORY_SHARE)
    warnings = []
    if threads > c.THREADS.value:
        warnings.append(f"the proxy needs {threads} threads, and HAProxy has {c.THREADS.value:g} at most in a group")
    if cores > question.manager_cores:
        warnings.append(
            f"the manager host needs {cores} cores and has {question.manager_cores}: {threads} threads of the proxy, "
            f"{steady:.3g} cores of it in steady state and {spawn_rate * each / 1e3:.3g} for the ramp"
        )
    if memory > question.manager_memory * GB:
        warnings.append(
            f"the manager host needs {memory / GB:,.1f} GB and has {question.manager_memory}: {process / GB:,.1f} GB "
            f"for the proxy, {kernel / GB:,.1f} GB for the kernel's sockets"
        )
    return Proxy(
        up(fleet * (1 + percent(c.SPARE_CONNECTIONS)), 1000), each, threads, steady,
        (threads * share - steady) / (each / 1e3), process, kernel, cores, memory, warnings,
    )  # fmt: skip


def lines_of(question: Question, spawn_rate: float, found: Proxy) -> list[Line]:
    """Return the numbers of the proxy and its host."""
    fleet, traffic = question.charge_points, question.traffic
    idle = c.PROXIED_TLS if question.tls else c.PROXIED
    return [
        Line(
            "max_connections", "connections of the proxy, at most", found.connections, "",
            f"{number(fleet)} + {c.SPARE_CONNECTIONS.value:g} %, rounded up to 1,000", (c.SPARE_CONNECTIONS,),
        ),
        Line(
            "proxy_open_files", "open files of the proxy", 2 * found.connections + c.OTHER_FILES.value, "",
            f"2 x {number(found.connections)} + {c.OTHER_FILES.value:g}", (c.OTHER_FILES,),
        ),
        Line(
            "proxy_steady_cores", "cores of the proxy, in steady state", found.steady, "",
            f"({number(traffic.calls)} Calls + {number(traffic.pings)} PINGs) x {c.PASSED.value} ms", (c.PASSED,),
        ),
        Line(
            "proxy_ramp_cores", "more of them in the ramp", spawn_rate * found.open_ms / 1e3, "",
            f"{number(spawn_rate)} /s x {found.open_ms:.3g} ms to connect, boot and report 2 statuses",
            (c.OPENED_TLS if question.tls else c.OPENED, c.PASSED),
        ),
        Line(
            "proxy_threads", "threads of the proxy", found.threads, "",
            f"({found.steady:.3g} + {spawn_rate * found.open_ms / 1e3:.3g}) cores / {c.CPU_SHARE.value:g} %, rounded "
            "up",
            (c.CPU_SHARE,),
        ),
        Line(
            "proxy_memory", "memory of the proxy", found.process_memory / GB, "GB",
            f"{c.PROXY_AT_REST.value:g} MiB + {number(fleet)} x {idle.value} KiB", (c.PROXY_AT_REST, idle),
        ),
        Line(
            "proxy_kernel_memory", "memory of the kernel for it", found.kernel_memory / GB, "GB",
            f"{number(fleet)} x 2 sockets x ({c.SOCKET.value:g} KiB + tracked {c.TRACKED.value} KiB)",
            (c.SOCKET, c.TRACKED),
        ),
        Line(
            "manager_cores", "cores of the manager host", found.host_cores, "",
            f"{found.threads} threads of the proxy + {c.MASTER_CORES.value:g} of Locust's master",
            (c.MASTER_CORES,), f"asked about: {question.manager_cores}",
        ),
        Line(
            "manager_memory", "memory of the manager host", found.host_memory / GB, "GB",
            f"({found.process_memory / GB:.1f} + {found.kernel_memory / GB:.1f} + master {c.MASTER_MEMORY.value:g} + "
            f"system {c.SYSTEM.value} GB) / {c.MEMORY_SHARE.value:g} %",
            (c.MASTER_MEMORY, c.SYSTEM, c.MEMORY_SHARE), f"asked about: {question.manager_memory}",
        ),
    ]  # fmt: skip
