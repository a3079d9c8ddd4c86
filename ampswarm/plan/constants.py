"""What a plan is made of: each number with its unit, and where it comes from.

Figures are as they were measured, on two cores that others used, too; what is added for safety are numbers of their
own, those that were *chosen*. A number that nobody measured is *estimated*, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Origin(StrEnum):
    """How a number came about."""

    MEASURED = "measured"
    """By a benchmark of this repository, or counted in a run."""
    GIVEN = "given"
    """By the kernel's or Ampswarm's defaults."""
    CHOSEN = "chosen"
    """A margin: how full a plan makes things."""
    ESTIMATED = "estimated"
    """From experience or arithmetic; nobody measured it here."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One number of the plan."""

    name: str
    value: float
    unit: str
    """`KiB`, `MiB`, `ms` of a core, `%` or what is counted."""
    origin: Origin
    source: str
    """The benchmark, page or setting, in plain words."""


KIB: Final = 1024
MIB: Final = 1024 * 1024
GB: Final = 1_000_000_000
"""Of a machine that is ordered; the kernel shows less than as many GiB."""

_M, _G, _C, _E = Origin.MEASURED, Origin.GIVEN, Origin.CHOSEN, Origin.ESTIMATED
_FLEET: Final = "`python -m benchmarks.idle_fleet`"
_TARGET: Final = "`python -m benchmarks.central_system`"
_PROXY: Final = "`python -m benchmarks.proxy`"
_PING: Final = f"{_FLEET}, 500 charge points more with a PING each second"
_BOOK: Final = f"{_TARGET} --quick, one run: a pair of StartTransaction and StopTransaction"

# -- generators -----------------------------------------------------------------------------------

WORKER_AT_REST: Final = Constant(
    "worker at rest", 67, "MiB", _M, "docs/explanation/scale.md: Locust and its libraries, with 30 charge points"
)
CHARGE_POINT: Final = Constant("idle charge point, ws", 13.5, "KiB", _M, f"{_FLEET}; decision 2")
CHARGE_POINT_TLS: Final = Constant("idle charge point, wss", 33, "KiB", _M, f"{_FLEET}; decision 2")
CHARGING: Final = Constant(
    "charge point that charges, more", 1.32, "KiB", _M, "`python -m benchmarks.charge_point`: 1.91 less 0.59"
)
BOOT: Final = Constant(
    "connect, boot, 2 statuses, ws, in a worker", 1.1, "ms", _M, f"{_FLEET}; docs/explanation/scale.md"
)
BOOT_TLS: Final = Constant(
    "connect, boot, 2 statuses, wss, in a worker", 2.3, "ms", _M, f"{_FLEET}; docs/explanation/scale.md"
)
CALL: Final = Constant(
    "Call and its answer, in a worker", 0.12, "ms", _M, f"{_FLEET}: a Heartbeat, with statistics; other Calls count so"
)
METER_VALUES: Final = Constant(
    "MeterValues and its answer, in a worker", 0.167, "ms", _M,
    "a Heartbeat, and 0.063 less 0.016 of `python -m benchmarks.charge_point`",
)  # fmt: skip
PING: Final = Constant("PING and PONG, in a worker", 0.066, "ms", _M, _PING)
WATCHED: Final = Constant(
    "charge points of the largest worker whose lag was measured", 5000, "charge points", _M,
    "`python -m benchmarks.loop_lag`: 500 more each second, a Heartbeat every 10 s: p99 of 4.4 ms",
)  # fmt: skip

# -- central systems ------------------------------------------------------------------------------

CENTRAL_SYSTEM_AT_REST: Final = Constant(
    "central system at rest", 107, "MiB", _M, f"{_TARGET} --quick, on PostgreSQL, with the operator API"
)
MESSAGE_RING: Final = Constant(
    "last messages of a central system", 90, "MiB", _G, "--keep-messages 20000: docs/reference/central-system.md"
)
CONNECTION: Final = Constant("idle connection of a central system", 13.3, "KiB", _M, f"{_TARGET}; decision 12")
ACCEPTED: Final = Constant("connect, boot, 2 statuses, in a central system", 0.4, "ms", _M, f"{_TARGET}; decision 12")
ANSWERED: Final = Constant(
    "Call, in a central system", 0.044, "ms", _M, f"{_FLEET}: a Heartbeat; docs/explanation/central-system.md"
)
METERED: Final = Constant(
    "MeterValues, in a central system", 0.074, "ms", _M, f"{_TARGET} --quick, evenly; 0.053 to 0.068 of a transaction"
)
PONGED: Final = Constant("PING and PONG, in a central system", 0.026, "ms", _M, _PING)
KEPT: Final = Constant(
    "StartTransaction or StopTransaction, in a central system", 0.067, "ms", _M, f"{_BOOK}, saturated, PostgreSQL"
)
COMMIT_MEMORY: Final = Constant("commit in memory", 0.45, "ms", _M, f"{_BOOK}, one at a time, less saturated")
COMMIT_SQLITE: Final = Constant("commit, SQLite", 0.7, "ms", _M, f"{_BOOK}, one at a time, less saturated")
COMMIT_POSTGRESQL: Final = Constant(
    "commit, PostgreSQL, in the central system", 1.1, "ms", _M, f"{_BOOK}, one at a time, less saturated"
)
COMMITS: Final = Constant("most commits of a process", 250, "a second", _G, "what comes within 4 ms: decision 11")
CALLS_OF_TRANSACTION: Final = Constant(
    "Calls of a transaction", 7, "Calls", _M,
    "Authorize, StartTransaction, StopTransaction, 4 StatusNotifications: docs/how-to/read-the-numbers.md",
)  # fmt: skip

# -- the proxy ------------------------------------------------------------------------------------

PROXY_AT_REST: Final = Constant("HAProxy at rest", 100, "MiB", _E, "with tables for two million files")
PROXIED: Final = Constant(
    "idle connection of HAProxy, ws", 5, "KiB", _M, f"{_PROXY}, HAProxy 2.6, both sides: 4.6, rounded up"
)
PROXIED_TLS: Final = Constant(
    "idle connection of HAProxy, wss", 19, "KiB", _M, f"{_PROXY}, HAProxy 2.6, both sides: 18.9, rounded up"
)
OPENED: Final = Constant("connect, ws, in HAProxy", 0.2, "ms", _M, f"{_PROXY}, up to the 101")
OPENED_TLS: Final = Constant(
    "connect, wss, in HAProxy",
    1.2,
    "ms",
    _M,
    f"{_PROXY}, up to the 101; RSA of 2048 bits, whole handshakes: 0.89 to 1.16",
)
PASSED: Final = Constant(
    "Call or PING and its answer, in HAProxy", 0.045, "ms", _M,
    f"{_PROXY}, 50 at the same time: 0.038 to 0.041; one by one, of a proxy with little to do, up to 0.12",
)  # fmt: skip
THREADS: Final = Constant("most threads of HAProxy", 64, "threads", _G, "one thread group of HAProxy, nbthread")

# -- hosts ----------------------------------------------------------------------------------------

SOCKET: Final = Constant(
    "idle TCP socket, in the kernel", 5, "KiB", _M, f"{_PROXY}: 3.5 to 5.4 in nine runs, in the middle 4.6"
)
TRACKED: Final = Constant("connection that is tracked, in the kernel", 0.4, "KiB", _E, "an entry of nf_conntrack")
PORTS: Final = Constant(
    "ports of a source address to one destination",
    64_512,
    "ports",
    _G,
    "net.ipv4.ip_local_port_range 1024 65535, as the stack sets it in its containers; the kernel's default: 28,232",
)
TRACKED_BY_DEFAULT: Final = Constant(
    "nf_conntrack_max by default", 262_144, "connections", _G, "the kernel, from 4 GB of memory on"
)
FILES_BY_DEFAULT: Final = Constant("fs.nr_open by default", 1_048_576, "files", _G, "the kernel")
SYSTEM: Final = Constant("system of a host", 0.5, "GB", _E, "the kernel, Docker, and what else runs on every host")
MASTER_CORES: Final = Constant("Locust master, cores", 1, "cores", _E, "adds up the workers' reports")
MASTER_MEMORY: Final = Constant("Locust master, memory", 1, "GB", _E, "what workers report, for hours")

# -- margins --------------------------------------------------------------------------------------

CPU_SHARE: Final = Constant(
    "share of a core at the end of a ramp", 60, "%", _C,
    "by these constants, what the worker of `python -m benchmarks.loop_lag` used that was not late",
)  # fmt: skip
STEADY_SHARE: Final = Constant(
    "share of a core in steady state, in a worker", 30, "%", _C, "half of the share, so that half is left for the ramp"
)
MEMORY_SHARE: Final = Constant("share of a memory limit", 85, "%", _C, "--max-generator-memory is 95 %")
PORT_SHARE: Final = Constant("share of the ports", 90, "%", _C, "--max-ports is 95 %; those of TIME_WAIT are not seen")
FILE_SHARE: Final = Constant("share of the open files", 90, "%", _C, "--max-open-files is 95 %")
OTHER_FILES: Final = Constant("files that are no connection", 500, "files", _E, "logs, reports, the store")
SPARE_CONNECTIONS: Final = Constant(
    "connections of the proxy more than charge points", 10, "%", _C, "old ones, of charge points that came back"
)
LEAST_MEMORY: Final = Constant("smallest container", 512, "MiB", _C, "room for a report")

CONSTANTS: Final[tuple[Constant, ...]] = tuple(each for each in list(globals().values()) if isinstance(each, Constant))
"""All of them, in the order of the table."""
