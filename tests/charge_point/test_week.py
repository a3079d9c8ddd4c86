"""A week at a charging site: drivers, cuts, resets and nightly limits, on a clock that jumps to deadlines."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

import pytest

from ampswarm.charge_point.events import Dropped
from ampswarm.charge_point.link import Link
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Battery, Vehicle
from ampswarm.ocppj.frames import Call, CallResult, decode
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.session import UniqueIds
from ampswarm.ocppj.timestamps import format_utc, parse_utc
from tests.fakes.ledger import Ledger, contexts
from tests.fakes.scene import UTC_AT_ZERO
from tests.fakes.status_board import CHARGING, StatusBoard

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
SLOT = 900
SAMPLE = 300
NIGHT_LIMIT = 4_200.0
"""W for each transaction, from 22:00 to 06:00."""

SETTINGS = (
    ("ClockAlignedDataInterval", f"{SLOT}"),
    ("MeterValueSampleInterval", f"{SAMPLE}"),
    ("MeterValuesSampledData", "Energy.Active.Import.Register,Power.Offered"),
    ("StopTxnSampledData", "Energy.Active.Import.Register"),
    ("TransactionMessageAttempts", "5"),
)
AC = Template(connectors=2, settings=SETTINGS)
AC_FIXED_CABLE = Template(connectors=1, phases=1, power=7_400.0, has_cable_lock=False, settings=SETTINGS)
DC = Template(connectors=2, is_dc=True, power=150_000.0, settings=SETTINGS, drain_interval=1.0)


class Site:
    """One charge point, its drivers, its network, and an honest central system that answers after a moment."""

    def __init__(self, template: Template, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self.template = template
        # Its clock is wrong until the central system has told it the time.
        self.cp = ChargePoint(
            "CP1", template, unique_ids=UniqueIds("w-"), random=Random(seed), utc_offset=UTC_AT_ZERO - 40.0
        )
        self.ledger = Ledger(attempts=5, interval=60.0, period=SAMPLE)
        self.board = StatusBoard(knows_all=True)
        self.batteries: list[Battery] = []
        self.dropped: list[Dropped] = []
        self.answers: list[str] = []
        self.slots: dict[int, set[float]] = {}
        self.seen: dict[int, float] = {}
        self.is_network_up = True
        self._plans: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._outstanding: Call | None = None
        self._connection = 0
        self._asked: dict[str, str] = {}

    # -- time ---------------------------------------------------------------------------------

    def plan(self, at: float, do: Callable[[], object]) -> None:
        """Do something at a time."""
        heappush(self._plans, (at, next(self._order), do))

    def run(self, until: float) -> None:
        """Let time pass; nobody looks at the charge point but at its deadlines, and when something happens."""
        same = 0
        while True:
            due = min(self.cp.next_deadline(), self._plans[0][0] if self._plans else until, until)
            same = same + 1 if due <= self.now else 0
            assert same < 100, "it spins"
            self.now = max(self.now, due)
            if self.now >= until:
                return
            while self._plans and self._plans[0][0] <= self.now:
                heappop(self._plans)[2]()
            self.step()

    def step(self) -> None:
        """Do what an adapter does."""
        if self.cp.attempt(self.now):
            if self.is_network_up:
                self._connection += 1
                self.cp.opened(self.now)
            else:
                self.cp.refused(self.now)
        for text in self.cp.poll(self.now):
            frame = decode(text)
            if isinstance(frame, Call):
                self._called(frame)
            else:
                assert isinstance(frame, CallResult)
                action = self._asked.pop(frame.unique_id)
                validate(action, Direction.CONF, frame.payload)
                self.answers.append(f"{action} {frame.payload.get('status', '')}")
        self._watch()
        if self.cp.link is Link.CLOSING:
            self.lose()

    def _watch(self) -> None:
        for event in self.cp.take_events():
            if isinstance(event, Dropped):
                self.dropped.append(event)
            self.ledger.observe(event)

    # -- the network and the power ------------------------------------------------------------

    def lose(self) -> None:
        """End the connection."""
        if self.cp.link in (Link.OPEN, Link.CLOSING):
            self.cp.lost(self.now)
            self._forget()

    def _forget(self) -> None:
        self._outstanding = None
        self._connection += 1
        self._asked.clear()
        self.board.missed_something()

    def cut_network(self, seconds: float) -> None:
        """Let the network be away for a while."""
        self.is_network_up = False
        self.lose()
        self.plan(self.now + seconds, self._network_comes_back)

    def _network_comes_back(self) -> None:
        self.is_network_up = True

    def cut_power(self, seconds: float) -> None:
        """Let the power be away for a while."""
        if self.cp.link is not Link.OFF:
            self.cp.power_off(self.now)
            self._forget()
            self.plan(self.now + seconds, lambda: self.cp.power_on(self.now))

    # -- the central system -------------------------------------------------------------------

    def command(self, action: str, payload: dict[str, Any]) -> bool:
        """Call the charge point; False when it is not there."""
        if not self.cp.is_online:
            return False
        unique_id = f"cs-{next(self._order)}"
        self._asked[unique_id] = action
        validate(action, Direction.REQ, payload)
        self.cp.receive(json.dumps([2, unique_id, action, payload]), self.now)
        return True

    def _called(self, call: Call) -> None:
        validate(call.action, Direction.REQ, call.payload)
        assert self._outstanding is None
        # The events first: what is sent now has happened before.
        self._watch()
        self._outstanding = call
        self.ledger.sent(call, self.now)
        match call.action:
            case "StatusNotification":
                self.board.told(call.payload)
            case "MeterValues" if "transactionId" in call.payload:
                self._metered(call.payload)
        connection = self._connection
        self.plan(self.now + self.random.uniform(0.02, 0.5), lambda: self._answer(call, connection))

    def _metered(self, payload: dict[str, Any]) -> None:
        for element in payload["meterValue"]:
            utc = parse_utc(element["timestamp"])
            transaction_id = payload["transactionId"]
            # A retransmission brings the same time again, but never an earlier one.
            assert utc >= self.seen.get(transaction_id, 0.0)
            self.seen[transaction_id] = utc
            if contexts([element]) == {"Sample.Clock"}:
                self.slots.setdefault(transaction_id, set()).add(utc)
            for value in element["sampledValue"]:
                if value["measurand"] == "Power.Offered" and is_night(utc):
                    assert float(value["value"]) <= NIGHT_LIMIT

    def _answer(self, call: Call, connection: int) -> None:
        if connection != self._connection:
            return
        time = format_utc(UTC_AT_ZERO + self.now)
        payload: dict[str, Any] = {}
        match call.action:
            case "BootNotification":
                payload = {"status": "Accepted", "currentTime": time, "interval": 600}
                self.board.missed_something()
            case "Heartbeat":
                payload = {"currentTime": time}
            case "Authorize":
                payload = {"idTagInfo": {"status": "Accepted"}}
            case "StartTransaction":
                payload = {"transactionId": self.ledger.answer(call), "idTagInfo": {"status": "Accepted"}}
        self._outstanding = None
        self.ledger.taken(call)
        self.cp.receive(json.dumps([3, call.unique_id, payload]), self.now)

    # -- drivers ------------------------------------------------------------------------------

    def plan_drivers(self, connector_id: int, until: float) -> None:
        """Let drivers come and go, one after the other."""
        at = self.random.expovariate(1 / (2 * HOUR))
        while at < until:
            stay = self.random.uniform(20 * MINUTE, 9 * HOUR)
            self.plan(at, lambda: self._come(connector_id))
            self.plan(at + stay, lambda: self._go(connector_id))
            at += stay + MINUTE + self.random.expovariate(1 / HOUR)

    def _come(self, connector_id: int) -> None:
        charging = self.cp.charging(self.now)
        vehicle = Vehicle(
            battery=self.random.choice([30_000.0, 60_000.0, 90_000.0]),
            soc=self.random.uniform(5, 70),
            target_soc=self.random.choice([80.0, 100.0]),
            phases=self.random.choice([1, 3]),
        )
        id_tag = f"DRIVER{connector_id}"
        remote = {"connectorId": connector_id, "idTag": id_tag}
        match self.random.choice(["cable first", "id tag first", "remote"]):
            case "cable first":
                self._plug_in(connector_id, vehicle)
                self.plan(self.now + 15.0, lambda: self._show(connector_id, id_tag))
            case "remote" if self.command("RemoteStartTransaction", remote):
                self.plan(self.now + 20.0, lambda: self._plug_in(connector_id, vehicle))
            case _:
                charging.present(connector_id, id_tag, self.now)
                self.plan(self.now + 20.0, lambda: self._plug_in(connector_id, vehicle))

    def _plug_in(self, connector_id: int, vehicle: Vehicle) -> None:
        charging = self.cp.charging(self.now)
        assert charging.plug_in(connector_id, vehicle, self.now)
        battery = charging.connector(connector_id).battery
        assert battery is not None
        self.batteries.append(battery)

    def _show(self, connector_id: int, id_tag: str) -> None:
        self.cp.charging(self.now).present(connector_id, id_tag, self.now)

    def _go(self, connector_id: int) -> None:
        if connector_id in self.ledger.running:
            if self.random.random() < 0.8:
                self._show(connector_id, f"DRIVER{connector_id}")
            else:
                transaction_id = self.ledger.running[connector_id].transaction_id
                self.command("RemoteStopTransaction", {"transactionId": transaction_id})
        assert self.cp.charging(self.now).unplug(connector_id, self.now)


def is_night(utc: float) -> bool:
    """Return whether the nightly limit holds, well inside its first and last minute."""
    seconds = utc % DAY
    return utc > UTC_AT_ZERO + DAY and (seconds > 22 * HOUR + MINUTE or seconds < 6 * HOUR - MINUTE)


def nightly_limit() -> dict[str, Any]:
    """Return SetChargingProfile.req with the nightly limit, for every connector and every day."""
    return {
        "connectorId": 0,
        "csChargingProfiles": {
            "chargingProfileId": 1,
            "stackLevel": 0,
            "chargingProfilePurpose": "TxDefaultProfile",
            "chargingProfileKind": "Recurring",
            "recurrencyKind": "Daily",
            "chargingSchedule": {
                "chargingRateUnit": "W",
                "startSchedule": format_utc(UTC_AT_ZERO - 2 * HOUR),
                "chargingSchedulePeriod": [
                    {"startPeriod": 0, "limit": NIGHT_LIMIT},
                    {"startPeriod": int(8 * HOUR), "limit": 500_000.0},
                ],
            },
        },
    }


def live_through_a_week(site: Site) -> None:
    """Let a week pass with all that disturbs, and then two quiet hours without drivers that come or go."""
    site.cp.power_on(0.0)
    site.plan(MINUTE, lambda: None if site.command("SetChargingProfile", nightly_limit()) else pytest.fail("offline"))
    for connector_id in range(1, site.template.connectors + 1):
        site.plan_drivers(connector_id, WEEK)
    at = HOUR
    while at < WEEK:
        match site.random.choice(["network", "network", "network", "power", "reset"]):
            case "network":
                seconds = site.random.choice([3.0, 5 * MINUTE, HOUR])
                site.plan(at, partial(site.cut_network, seconds))
            case "power":
                seconds = site.random.choice([1.0, 10 * MINUTE])
                site.plan(at, partial(site.cut_power, seconds))
            case _:
                kind = site.random.choice(["Soft", "Hard"])
                site.plan(at, partial(site.command, "Reset", {"type": kind}))
        at += site.random.uniform(HOUR, 8 * HOUR)
    site.run(WEEK)
    site._plans = [each for each in site._plans if each[0] < WEEK + 2 * HOUR]
    site.run(WEEK + 2 * HOUR)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("template", [AC, AC_FIXED_CABLE, DC], ids=["AC", "AC with a fixed cable", "DC"])
def test_after_a_week_the_books_balance(template: Template, seed: int) -> None:
    """Whatever happened in between, the central system knows every transaction, and every Wh that an EV got (core 3.7).

    If it did not, a load test would report lost transactions that the central system never lost.
    """
    site = Site(template, seed)

    live_through_a_week(site)

    assert site.cp.is_online
    assert site.dropped == []
    assert site.cp.unsent == 0
    site.ledger.check_balance()
    assert len(site.ledger.booked) > 15 * template.connectors
    ended = sum(each.ended.energy for each in site.ledger.booked if each.ended is not None)
    charging = site.cp.charging(site.now)
    charging.update(site.now)
    charged = sum(each.energy - each.vehicle.battery * each.vehicle.soc / 100 for each in site.batteries)
    running = sum(
        charging.connector(connector_id).register - (booked.start or {})["meterStart"]
        for connector_id, booked in site.ledger.running.items()
    )
    # Whole Wh on the wire: less than one is cut off at each connector.
    assert abs(charged - ended - running) < template.connectors
    assert charged > 100_000


@pytest.mark.parametrize("template", [AC, AC_FIXED_CABLE, DC], ids=["AC", "AC with a fixed cable", "DC"])
def test_a_week_of_clock_aligned_values_has_no_gap(template: Template) -> None:
    """Each quarter of an hour within a transaction has its reading, through cuts of the network too (core 3.16.2)."""
    site = Site(template, 7)

    live_through_a_week(site)

    ended = [each for each in site.ledger.booked if each.stop is not None]
    assert ended
    for each in ended:
        assert each.start is not None
        assert each.stop is not None
        began, stopped = parse_utc(each.start["timestamp"]), parse_utc(each.stop["timestamp"])
        first = began - began % SLOT + SLOT
        due = {first + SLOT * number for number in range(int((stopped - first) // SLOT) + 1)}
        assert due == site.slots.get(each.number, set())


@pytest.mark.parametrize("template", [AC, AC_FIXED_CABLE, DC], ids=["AC", "AC with a fixed cable", "DC"])
def test_after_a_week_the_central_system_knows_the_status_of_every_connector(template: Template) -> None:
    """What was told last is what a driver sees, though half of it happened offline (core 4.9)."""
    site = Site(template, 11)

    live_through_a_week(site)

    assert site.board.status[0] == "Available"
    for connector_id in range(1, template.connectors + 1):
        status = site.board.status[connector_id]
        if connector_id in site.ledger.running:
            assert status in CHARGING
        elif site.cp.charging(site.now).connector(connector_id).is_plugged:
            assert status == "Finishing"
        else:
            assert status == "Available"
