"""The command line of `ampswarm plan`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Final

import orjson

from ampswarm.option_types import integer, one_of, share
from ampswarm.plan.plan import plan
from ampswarm.plan.question import DAY, Question, Store
from ampswarm.plan.text import to_env, to_text

_MOST: Final = 10_000_000
_FEW_PER_DAY: Final = 1000


def add_plan(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to those of `ampswarm`."""
    parser = add(
        "plan",
        help="how many hosts, workers and central systems a fleet needs, and with what values its stack is deployed",
        description="Tell what a fleet on Docker Swarm needs: hosts, cores, memory, ports and files, the time of its "
        "ramp and its messages per second, from what was measured, and the values for the stack.",
        epilog="Exit status: 0 there is a plan, also where it says that something does not fit; 2 an option is wrong.",
    )
    number = parser.add_argument
    default = Question(charge_points=1)
    _fleet(parser, default)
    number("--spawn-rate", type=integer(1, 1_000_000, "a number of charge points in a second"), metavar="N",
        help="charge points that start in a second (default: what workers and proxy carry in time)")  # fmt: skip
    number("--worker-capacity", type=integer(1, _MOST, "a number of charge points"), metavar="N",
        help="charge points of a worker process (default: what its ports, files, memory and CPU allow)")  # fmt: skip
    number("--open-files", type=integer(1000, 2**30, "a number of files"), metavar="N",
        help="files that a worker or central system may open (default: as many as it needs)")  # fmt: skip
    number("--ports", type=integer(1000, 64512, "a number of ports"), metavar="N", default=default.ports,
        help="ports of a source address to one destination (default: %(default)s, as the stack sets "
        "net.ipv4.ip_local_port_range in its containers; the kernel's own are 28232)")  # fmt: skip
    addresses = integer(1, 256, "a number of addresses")
    number("--source-addresses", type=addresses, metavar="N", default=default.source_addresses,
        help="source addresses of each worker (default: %(default)s)")  # fmt: skip
    number("--proxy-addresses", type=addresses, metavar="N", default=default.proxy_addresses,
        help="the proxy's source addresses to each central system (default: %(default)s, as in the stack)")  # fmt: skip
    _hosts(parser, default)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--explain", action="store_true", help="show the arithmetic behind each number")
    output.add_argument("--json", action="store_true", help="print all of it as JSON, with the arithmetic")
    output.add_argument("--env", action="store_true", help="print only the values for the stack, NAME=value a line")
    parser.set_defaults(run=run)


def _fleet(parser: argparse.ArgumentParser, default: Question) -> None:
    add = parser.add_argument
    interval = integer(1, DAY, "a time in seconds")
    pause = integer(0, DAY, "a time in seconds, or 0")
    add("--charge-points", type=integer(1, _MOST, "a number of charge points"), metavar="N", required=True,
        help="how many")  # fmt: skip
    add("--tls", action=argparse.BooleanOptionalAction, default=default.tls,
        help="whether they connect with TLS, which the proxy ends (default: --tls)")  # fmt: skip
    add("--heartbeat", type=interval, metavar="SECONDS", default=default.heartbeat,
        help="between Heartbeats of a charge point (default: %(default)s)")  # fmt: skip
    add("--charging", type=share(1), metavar="SHARE", default=default.charging,
        help="of the fleet that charges, such as 20%% or 0.2 (default: 0)")  # fmt: skip
    add("--meter-values", type=interval, metavar="SECONDS", default=default.meter_values,
        help="between MeterValues of one that charges (default: %(default)s)")  # fmt: skip
    add("--transactions-per-day", type=integer(0, _FEW_PER_DAY, "a number of transactions"), metavar="N", default=0,
        help="of each charge point (default: 0)")  # fmt: skip
    add("--ping-interval", type=pause, metavar="SECONDS", default=default.ping_interval,
        help="WebSocketPingInterval, between PINGs of a charge point (default: %(default)s, none)")  # fmt: skip
    add("--central-system-ping-interval", type=pause, metavar="SECONDS", default=default.central_system_ping_interval,
        help="between PINGs of the central system to each connection (default: %(default)s; 0: none)")  # fmt: skip
    add("--store", type=one_of(*Store), metavar="STORE", default=default.store.value,
        help="of the central system: memory, sqlite, postgresql, or none for a target that keeps nothing "
        "(default: %(default)s)")  # fmt: skip
    add("--storm", type=share(1), metavar="SHARE", default=default.storm,
        help="of the fleet that comes back at once (default: 0)")  # fmt: skip


def _hosts(parser: argparse.ArgumentParser, default: Question) -> None:
    add = parser.add_argument
    cores, gigabytes = integer(1, 1024, "a number of cores"), integer(2, 16_384, "a memory in GB")
    add("--cores-per-host", type=cores, metavar="N", default=default.cores_per_host,
        help="of hosts for workers, one for each, and for central systems (default: %(default)s)")  # fmt: skip
    add("--memory-per-host", type=gigabytes, metavar="GB", default=default.memory_per_host,
        help="of the same hosts (default: %(default)s)")  # fmt: skip
    add("--manager-cores", type=cores, metavar="N", default=default.manager_cores,
        help="of the host of proxy and Locust master (default: %(default)s)")  # fmt: skip
    add("--manager-memory", type=gigabytes, metavar="GB", default=default.manager_memory,
        help="of the same host (default: %(default)s)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print a plan; return the exit status."""
    asked = {name: value for name, value in vars(options).items() if name in Question.__dataclass_fields__}
    found = plan(Question(**{**asked, "store": Store(options.store)}))
    if options.json:
        text = orjson.dumps(found.as_dict(), option=orjson.OPT_INDENT_2).decode()
    elif options.env:
        text = to_env(found)
        for each in found.warnings:
            sys.stderr.write(f"ampswarm: does not fit: {each}\n")
    else:
        text = to_text(found, explain=options.explain)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    return 0
