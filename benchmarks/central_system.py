"""CPU per message and memory per connection of central systems: `python -m benchmarks.central_system`.

Servers are black boxes on loopback sockets: what is measured is the CPU time of the server's processes, less what
they take when nothing happens, so that the client's cost does not count. Of several servers, each in turn is
started anew for each round, so that noise hits all of them; a figure is the median of the rounds, and beside it stand
the least and the largest.

| figure | how |
|---|---|
| process at rest | resident memory before anybody connects |
| idle connection | resident memory after all connected, booted and were quiet, by the connections |
| the same, after the load | resident memory at the end, by the connections |
| all connections at rest | CPU in a second without messages: PINGs; taken off the figures that follow |
| connect, boot, 2 statuses | CPU from the TCP connection to the second StatusNotification.conf |
| even | messages one by one at a low rate, from all connections in turn |
| saturated | one message outstanding on each of many connections, always: all that OCPP allows (J 4.1.1) |
| one at a time | one message outstanding in all, as for a single charge point |
| pair | StartTransaction.req and StopTransaction.req |
| rate, load | messages, and CPU, in a second: with a load far below 100 % the machine was too busy to saturate it |
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import platform
import re
import shlex
import signal
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NoReturn

from benchmarks import answer
from benchmarks.messages import BOOT, HEARTBEAT, METER_VALUES, call, start, status, stop
from benchmarks.servers import (
    Running,
    Server,
    Usage,
    allow_open_files,
    central_system,
    installed_ws,
    node,
    running,
)
from benchmarks.stations import Failure, NextFrame, Station, Stations, Work
from benchmarks.websocket_frames import TEXT, masked

_WARM_UP: Final = 200
"""Connections, and a second of messages on them, before anything is measured."""
_POOL: Final = 20_011
"""Frames made beforehand, each with a message id of its own. A prime: no charge point says the same one soon again."""
_TRANSACTION_ID: Final = re.compile(rb'"transactionId":(-?\d+)')


@dataclass(frozen=True)
class Plan:
    """How much is done in a round."""

    connections: int
    busy: int
    """Connections that send all the time when the server is saturated."""
    rate: float
    """Messages per second, when they come evenly."""
    seconds: float
    """Of each phase."""
    settle: float
    """Seconds of quiet before memory is read; what a server uses in them, it uses at rest."""


_COLUMN: Final = 34
"""Characters, in the table."""

Figures = dict[str, dict[str, list[float]]]
"""A value for each round, by figure and server."""

_UNITS: Final = {
    "process at rest": "MiB",
    "idle connection": "KiB",
    "the same, after the load": "KiB",
    "all connections at rest": "ms/s",
    "connect, boot, 2 statuses": "us",
    "Heartbeat, even": "us",
    "Heartbeat, saturated": "us",
    "Heartbeat, saturated, rate": "/s",
    "Heartbeat, saturated, load": "%",
    "MeterValues, even": "us",
    "MeterValues, saturated": "us",
    "MeterValues of a transaction, saturated": "us",
    "Start/StopTransaction pair, saturated": "us",
    "Start/StopTransaction pair, saturated, rate": "/s",
    "Start/StopTransaction pair, one at a time": "us",
    "Start/StopTransaction, one at a time, a message takes": "ms",
}
"""In the order of the table."""


class _Transactions:
    """What each charge point sends next, in transactions that follow each other."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._running: set[int] = set()

    def next_frame(self, station: Station) -> bytes:
        """Start a transaction, or stop the one that was just started."""
        turn = next(self._ids)
        id_tag = f"TAG{station.number:06d}"
        if station.number not in self._running:
            self._running.add(station.number)
            return _frame(f"t-{turn}", "StartTransaction", start(id_tag, turn))
        self._running.remove(station.number)
        return _frame(f"t-{turn}", "StopTransaction", stop(_transaction_id(station), id_tag, turn))


def _frame(unique_id: str, action: str, payload: dict[str, object]) -> bytes:
    return masked(TEXT, call(unique_id, action, payload))


def _transaction_id(station: Station) -> int:
    found = _TRANSACTION_ID.search(station.answer)
    if found is None:
        raise Failure(f"no transactionId in {station.answer.decode(errors='replace')}")
    return int(found[1])


def _pool(action: str, payload: dict[str, object]) -> NextFrame:
    frames = itertools.cycle([_frame(f"b-{number}", action, payload) for number in range(_POOL)])
    return lambda _station: next(frames)


def _introduction(number: int) -> Iterator[bytes]:
    yield _frame(f"i-{number}-0", "BootNotification", BOOT)
    for connector_id in (0, 1):
        yield _frame(f"i-{number}-{connector_id + 1}", "StatusNotification", status(connector_id))


class _Round:
    """All phases with one server."""

    def __init__(self, server: Running, stations: Stations, plan: Plan, enter: Callable[[str, float], None]) -> None:
        self._server = server
        self._stations = stations
        self._plan = plan
        self._enter = enter
        self._idle = 0.0
        """CPU seconds per second at rest."""

    def run(self) -> None:
        """Measure everything."""
        plan, stations, enter = self._plan, self._stations, self._enter
        heartbeat, meter_values = _pool("Heartbeat", HEARTBEAT), _pool("MeterValues", METER_VALUES)
        enter("process at rest", self._server.usage().resident / 2**20)
        stations.grow(_WARM_UP, _introduction)
        for next_frame in (heartbeat, meter_values):
            stations.saturate(stations.all, next_frame, min(0.5, plan.seconds))
        stations.rest(plan.settle)
        small = self._server.usage()
        stations.grow(plan.connections, _introduction)
        grown = self._server.usage()
        stations.rest(plan.settle)
        large = self._server.usage()
        self._idle = (large.cpu - grown.cpu) / plan.settle
        enter("all connections at rest", self._idle * 1e3)
        enter("idle connection", (large.resident - small.resident) / plan.connections / 1024)
        enter("connect, boot, 2 statuses", (grown.cpu - small.cpu) / plan.connections * 1e6)
        busy = stations.all[: plan.busy]
        for name, next_frame in (("Heartbeat", heartbeat), ("MeterValues", meter_values)):
            self._measure(f"{name}, even", lambda: stations.pace(next_frame, plan.rate, plan.seconds))  # noqa: B023
            cpu, work = self._measure(f"{name}, saturated", lambda: stations.saturate(busy, next_frame, plan.seconds))  # noqa: B023
            if name == "Heartbeat":
                enter("Heartbeat, saturated, rate", work.messages / work.seconds)
                enter("Heartbeat, saturated, load", cpu / work.seconds * 100)
        self._in_transactions(busy)
        stations.rest(plan.settle)
        after = (self._server.usage().resident - small.resident) / plan.connections / 1024
        enter("the same, after the load", after)

    def _in_transactions(self, busy: list[Station]) -> None:
        plan, stations = self._plan, self._stations
        # A new book for each phase begins with starts again, whatever the phase before ended with.
        ids = itertools.count()
        transactions = _Transactions(ids)
        pair = "Start/StopTransaction pair, saturated"
        _, work = self._measure(pair, lambda: stations.saturate(busy, transactions.next_frame, plan.seconds), of=2)
        self._enter(f"{pair}, rate", work.messages / 2 / work.seconds)
        one = "Start/StopTransaction pair, one at a time"
        single = _Transactions(ids)
        _, work = self._measure(one, lambda: stations.saturate(stations.all[-1:], single.next_frame, plan.seconds))
        self._enter("Start/StopTransaction, one at a time, a message takes", work.seconds / work.messages * 1e3)
        mine: dict[int, Iterator[bytes]] = {}
        charging = _Transactions(ids)
        for station in busy:
            stations.saturate([station], charging.next_frame, 0.0)
            payload = {**METER_VALUES, "transactionId": _transaction_id(station)}
            mine[station.number] = itertools.cycle([_frame(f"m-{n}", "MeterValues", payload) for n in range(8)])
        self._measure(
            "MeterValues of a transaction, saturated",
            lambda: stations.saturate(busy, lambda station: next(mine[station.number]), plan.seconds),
        )

    def _measure(self, name: str, work: Callable[[], Work], *, of: int = 1) -> tuple[float, Work]:
        """Enter the CPU per `of` messages; return all of it, in seconds, and what was done."""
        before: Usage = self._server.usage()
        done = work()
        cpu = self._server.usage().cpu - before.cpu - self._idle * done.seconds
        self._enter(name, cpu / done.messages * of * 1e6)
        return cpu, done


def _measure_all(servers: list[Server], plan: Plan, rounds: int) -> Figures:
    figures: Figures = {name: {} for name in _UNITS}
    for turn in range(rounds):
        for server in servers:
            print(f"round {turn + 1} of {rounds}: {server.label} …", file=sys.stderr, flush=True)

            def enter(name: str, value: float, label: str = server.label) -> None:
                figures[name].setdefault(label, []).append(value)

            try:
                with running(server) as process, closing(Stations(process.port)) as stations:
                    # Our own collections would be pauses in which a server has nothing to do.
                    gc.collect()
                    gc.disable()
                    _Round(process, stations, plan, enter).run()
            except Failure as failure:
                raise Failure(f"{server.label}: {failure}") from None
            finally:
                gc.enable()
    return figures


def _print_table(figures: Figures, labels: list[str]) -> None:
    names = max(map(len, _UNITS)) + 2
    print(f"{'':{names + 4}}" + "".join(f"{label:^{_COLUMN}}" for label in labels))
    for name, unit in _UNITS.items():
        row = figures[name]
        base = statistics.median(row[labels[0]])
        cells = [_cell(row[label], None if label == labels[0] else base) for label in labels]
        print(f"{name:{names}}{unit:>4}" + "".join(f"{cell:{_COLUMN}}" for cell in cells))
    print(f"median (least to largest) of the rounds; x: so many times the figure of {labels[0]}")


def _cell(values: list[float], base: float | None = None) -> str:
    middle = statistics.median(values)
    ratio = f" x{middle / base:.2f}" if base else ""
    return f"{_short(middle):>8}{f' ({_short(min(values))} to {_short(max(values))})':<17}{ratio}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: error: {message}\n")
        sys.exit(2)


def _named(text: str) -> tuple[str, str]:
    label, separator, value = text.partition("=")
    if not (label and separator):
        raise argparse.ArgumentTypeError(f"LABEL=… is wanted, not {text!r}")
    return label, value


def _checkout(text: str) -> tuple[str, str]:
    label, folder = _named(text)
    if not Path(folder, "server", "__main__.py").is_file():
        raise argparse.ArgumentTypeError(f"{folder!r} is no checkout with a central system")
    return label, folder


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _options() -> argparse.Namespace:
    parser = _Parser(prog="python -m benchmarks.central_system", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--server-args", default="", metavar="OPTIONS", help="options of `python -m server`, in one argument")
    add("--variant", action="append", default=[], type=_named, metavar="LABEL=OPTIONS",
        help="measure `python -m server` with these options instead; may be given again")  # fmt: skip
    add("--tree", action="append", default=[], type=_checkout, metavar="LABEL=FOLDER",
        help="measure the checkout in this folder too, with --server-args; may be given again")  # fmt: skip
    add("--no-node", action="store_true", help="leave the Node.js server out")
    add("--connections", type=_positive, metavar="N", help="default: 5000")
    add("--busy", type=_positive, default=1000, metavar="N", help="of them, busy ones when saturated; default: 1000")
    add("--rate", type=_positive, default=500, metavar="N", help="messages a second when even; default: 500")
    add("--rounds", type=_positive, metavar="N", help="default: 3")
    add("--quick", action="store_true", help="2 short rounds of 1000 connections: to try it out")
    add("--json", type=Path, metavar="FILE", help="write every round's figures there too")
    options = parser.parse_args()
    labels = ["node", *(label for label, _ in [*options.tree, *(options.variant or [("ours", "")])])]
    if len(labels) != len(set(labels)):
        parser.error(f"each server needs a label of its own: {', '.join(labels)}")
    return options


def _servers(options: argparse.Namespace, opened: ExitStack) -> list[Server]:
    servers: list[Server] = []
    if not options.no_node:
        modules = opened.enter_context(installed_ws())
        if isinstance(modules, Path):
            servers.append(node(modules))
        else:
            print(f"without Node.js: {modules}", file=sys.stderr)
    for label, folder in options.tree:
        servers.append(central_system(label, shlex.split(options.server_args), Path(folder).resolve()))
    for label, args in options.variant or [("ours", options.server_args)]:
        servers.append(central_system(label, shlex.split(args)))
    return servers


def _run(options: argparse.Namespace) -> None:
    connections = options.connections or (1000 if options.quick else 5000)
    plan = Plan(
        connections,
        min(options.busy, connections),
        options.rate,
        seconds=0.5 if options.quick else 1.5,
        settle=0.5 if options.quick else 2.0,
    )
    rounds = options.rounds or (2 if options.quick else 3)
    allow_open_files(connections + _WARM_UP + 200)
    with ExitStack() as opened:
        servers = _servers(options, opened)
        figures = _measure_all(servers, plan, rounds)
    in_process = answer.measure()
    labels = [server.label for server in servers]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}; "
          f"{connections} connections, {plan.busy} of them busy, {rounds} rounds")  # fmt: skip
    _print_table(figures, labels)
    for action, costs in in_process.items():
        print(f"in process, without a socket: {action} {_cell(costs).strip()} us")
    if options.json:
        report = {"plan": asdict(plan), "rounds": rounds, "units": _UNITS, "figures": figures, "in_process": in_process}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Measure, print, write JSON where asked; return the exit status."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        _run(options)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
