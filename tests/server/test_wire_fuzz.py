"""Attackers on the charge points' ports, for as long as one likes: healthy charge points must not notice.

WIRE_FUZZ_SECONDS says how long (20 without it), WIRE_FUZZ_SEED repeats what was drawn; times stay the machine's own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.fakes import wire_noise
from tests.fakes.certificate import Certificate
from tests.fakes.message_noise import TIME
from tests.fakes.wire_attackers import Attacker, Report, Target, identity
from tests.processes import TIMEOUT, CentralSystem
from tests.server.station import Station

ROUNDS = 3
ATTACKERS = 6
HEALTHY = 4
HANDSHAKE_TIMEOUT = 2
SECONDS = float(os.environ.get("WIRE_FUZZ_SECONDS", "20"))
BOUND = 5.0
"""Seconds for the answer to a healthy charge point. Mostly it has it in milliseconds; but tests share their cores."""
LEAK = 6 * 2**20
"""Bytes by which resident memory may be larger after a round than after an equal one before. Pages of SQLite's cache
(4 KiB for each that is new), free lists and the allocator's fragments come and go in 3 MiB. What connections and
messages are made of is counted piece by piece besides; this is for what nobody counts, in runs of some minutes."""


@dataclass
class Healthy:
    """A charge point that does everything right, and wants everything right."""

    server: CentralSystem
    identity: str
    transactions: list[int] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    commands: int = 0

    def connect(self, opened: ExitStack) -> None:
        self.station = opened.enter_context(Station(self.server, self.identity))
        assert self.ask("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"})["status"] == "Accepted"

    def ask(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        answer = self.station.call(action, payload)
        self.latencies.append(time.monotonic() - began)
        return answer

    def live(self, seconds: float) -> None:
        """Beat and charge."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.ask("Heartbeat", {}).keys() == {"currentTime"}
            meter = 100 * len(self.transactions)
            start = {"connectorId": 1, "idTag": "T", "meterStart": meter, "timestamp": TIME}
            started = self.ask("StartTransaction", start)
            assert started["idTagInfo"] == {"status": "Accepted"}
            number = started["transactionId"]
            assert number > 0
            self.transactions.append(number)
            value = {"timestamp": TIME, "sampledValue": [{"value": str(meter + 1)}]}
            assert self.ask("MeterValues", {"connectorId": 1, "transactionId": number, "meterValue": [value]}) == {}
            stop = {"transactionId": number, "meterStop": meter + 50, "timestamp": TIME}
            assert self.ask("StopTransaction", stop) == {}
            self.command()
            time.sleep(0.01)

    def command(self) -> None:
        """Let the operator command it."""
        self.commands += 1
        assert self.server.call(self.identity, "ClearCache") == {"status": "Accepted"}


class Operator(threading.Thread):
    """Calls attackers, which may answer anything."""

    def __init__(self, server: CentralSystem) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._is_over = threading.Event()
        self._random = random.Random(0)
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        while not self._is_over.is_set():
            name = quote(identity(self._random.randrange(ATTACKERS)))
            action = self._random.choice(
                ["ClearCache", "GetConfiguration", "GetLocalListVersion", "ChangeConfiguration"]
            )
            payload = {"key": "A", "value": "B"} if action == "ChangeConfiguration" else {}
            path = f"/api/v1/charge-points/{name}/calls/{action}?timeout=0.3"
            self.statuses[self._server.request("POST", path, payload)[0]] += 1
            self.statuses[self._server.request("GET", f"/api/v1/charge-points/{name}/messages")[0]] += 1
            self.statuses[self._server.request("GET", f"/api/v1/charge-points/{name}")[0]] += 1

    def stop(self) -> None:
        self._is_over.set()
        self.join(TIMEOUT)


@dataclass(frozen=True)
class Held:
    """What the process holds when nothing happens."""

    files: int
    tasks: int
    timers: int
    resident: int
    objects: dict[str, int]


class Observer:
    """Looks into a central system that is run by `observed_server`."""

    def __init__(self, server: CentralSystem) -> None:
        self._server = server
        self._count = 0

    def look(self) -> Held:
        self._count += 1
        self._server.signal(signal.SIGUSR1)
        line = self._server.wait_for(lambda line: line.get("number") == self._count and line["event"] == "observed")
        return Held(line["files"], line["tasks"], line["timers"], line["resident"], line["held"])

    def look_until(self, condition: Callable[[Held], bool], what: str) -> Held:
        """Look until what nobody needs any more has gone, which takes its timeouts."""
        end = time.monotonic() + TIMEOUT
        while not condition(held := self.look()):
            assert time.monotonic() < end, f"{what}: {held}"
            time.sleep(0.25)
        return held


def get(server: CentralSystem, path: str) -> Any:
    status, answer = server.request("GET", path)
    assert status == 200, answer
    return answer


def metric(server: CentralSystem, name: str) -> float:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server.admin}/metrics", timeout=TIMEOUT) as response:
        lines = response.read().decode().splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def check_ledger(server: CentralSystem) -> None:
    """Hold the sums to the transactions themselves."""
    states: Counter[str] = Counter()
    before = ""
    while True:
        page = get(server, f"/api/v1/transactions?limit=1000{before}")
        states.update(each["state"] for each in page["transactions"])
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    ledger = get(server, "/api/v1/ledger")
    assert {name: ledger[name] for name in ("open", "stopped", "superseded")} == {
        name: states[name] for name in ("open", "stopped", "superseded")
    }
    assert ledger["started"] == states.total()


def check_log(path: Path) -> None:
    """No line but JSON, and none that tells of a fault."""
    for text in path.read_text().splitlines():
        line = json.loads(text)
        assert line["event"] not in {"fault", "not kept", "store"}, text
        assert line["event"] != "log", line["message"]


def say(line: str) -> None:
    """Print a line, which pytest shows when the test fails."""
    sys.stdout.write(f"{line}\n")


def test_attackers_disturb_nobody_and_leave_nothing_behind(tmp_path: Path) -> None:
    """Whatever comes over the wire: no crash, no leak, no fault, and every healthy charge point is served."""
    seed = wire_noise.seed()
    say(f"to repeat: WIRE_FUZZ_SEED={seed}")
    options = [
        *("--handshake-timeout", str(HANDSHAKE_TIMEOUT), "--ping-interval-ms", "1000", "--boot-interval", "3600"),
        # Not more than the first attack fills, so that what comes later does not look like a leak.
        *("--keep-messages", "500", *(certificate := Certificate(tmp_path)).options),
    ]
    log = tmp_path / "log"
    with CentralSystem(log, *options, module="tests.fakes.observed_server") as server, ExitStack() as opened:
        target = Target(server.port, server.tls_port, certificate.client)
        healthy = [Healthy(server, f"healthy {number}") for number in range(HEALTHY)]
        for each in healthy:
            each.connect(opened)
        observer = Observer(server)
        report = Report()
        attack(server, target, healthy, f"{seed}/warm-up", min(2.0, SECONDS / ROUNDS), report)
        before = rest(server, observer, None)
        after: list[Held] = []
        for number in range(ROUNDS):
            attack(server, target, healthy, f"{seed}/{number}", SECONDS / ROUNDS, report)
            after.append(rest(server, observer, before))
        say(f"resident: {[round(each.resident / 2**20, 1) for each in (before, *after)]} MiB; did {dict(report.done)}")
        latencies = [latency for each in healthy for latency in each.latencies]
        say(f"the slowest of {len(latencies)} answers: {max(latencies):.3f} s; HTTP answers: {dict(report.statuses)}")
        assert after[-1].resident < after[-2].resident + LEAK
        check_healthy(server, healthy)
        check_ledger(server)
        # All kinds of attacks were made.
        assert len({name for name in report.done if "cut off" not in name}) == 12, report.done
        assert report.answers > 0
    check_log(log)


def attack(
    server: CentralSystem, target: Target, healthy: list[Healthy], seed: str, seconds: float, report: Report
) -> None:
    """Let all attack while healthy ones go about their work."""
    attackers = [Attacker(target, number, seed, seconds, report) for number in range(ATTACKERS)]
    operator = Operator(server)
    for thread in (*attackers, operator):
        thread.start()
    with ThreadPoolExecutor(len(healthy)) as threads:
        for work in [threads.submit(each.live, seconds) for each in healthy]:
            work.result(seconds + TIMEOUT)
    for thread in attackers:
        thread.join(TIMEOUT)
        assert not thread.is_alive(), thread.name
    operator.stop()
    assert operator.statuses.keys() <= {200, 404, 429, 502, 504}, operator.statuses
    assert report.violations == []


def rest(server: CentralSystem, observer: Observer, before: Held | None) -> Held:
    """Wait until nothing is left of the attack; return what is held then."""
    observer.look_until(lambda held: server.connections == HEALTHY, "connections")
    assert metric(server, "ocpp_connections") == HEALTHY
    held = observer.look_until(lambda held: held.objects.get("server.listener._Peer") == HEALTHY, "connections")
    if before is None:
        return held
    return observer.look_until(
        lambda held: (
            held.files <= before.files
            and held.tasks <= before.tasks
            and held.timers <= before.timers
            and held.objects == before.objects
        ),
        f"more than {before}",
    )


def check_healthy(server: CentralSystem, healthy: list[Healthy]) -> None:
    """Nobody was disconnected, waited long, or lost anything; and what they say is still kept."""
    for each in healthy:
        each.live(0.1)
        assert len(each.station.commands) == each.commands
        assert max(each.latencies) < BOUND
        status, found = server.request("GET", f"/api/v1/transactions?identity={quote(each.identity)}&limit=1000")
        assert status == 200
        states = {row["transaction_id"]: (row["state"], row["meter_values"]) for row in found["transactions"]}
        latest = each.transactions[-1000:]
        assert dict.fromkeys(latest, ("stopped", 1)) == states
