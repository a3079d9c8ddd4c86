"""What an honest central system books of one charge point's transactions, and what it checks while it does.

Beside the wire it knows what was seen at the charge point: that a transaction started, ended, or that a
message was given up. From these follows which transaction messages have to come, in which order, and when
again (core 3.7). Register readings are in Wh.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ampswarm.charge_point.events import Dropped, StationEvent, TransactionEnded, TransactionStarted
from ampswarm.ocppj.frames import Call, Payload
from ampswarm.ocppj.timestamps import parse_utc

UNCONFIRMED = -1
"""The transactionId of a transaction whose start the central system never took (core errata 3.18)."""
REGISTER = "Energy.Active.Import.Register"
ROUNDING = 1e-6
"""Seconds. Times are sums of numbers that have no exact form."""


@dataclass
class Booked:
    """One transaction: as it was seen at the charge point, and as it is on the wire."""

    connector_id: int
    id_tag: str
    number: int
    """The transactionId that the central system gives it."""
    period: float | None
    """Seconds between its periodic samples; 0 for none, `None` for not known."""
    start: Payload | None = None
    stop: Payload | None = None
    ended: TransactionEnded | None = None
    transaction_id: int = UNCONFIRMED
    register: int = 0
    """The highest reading so far."""
    samples: int = 0
    """Periodic ones, each counted once."""
    lost: set[str] = field(default_factory=set)
    """Actions that the charge point gave up."""


class Ledger:
    """The transactions of one charge point.

    Args:
        attempts: TransactionMessageAttempts.
        interval: TransactionMessageRetryInterval, in seconds.
        period: MeterValueSampleInterval, in seconds; 0 where nothing is to be sampled.
    """

    def __init__(self, *, attempts: int, interval: float, period: float) -> None:
        self.attempts = attempts
        self.interval = interval
        self.period = period
        self.booked: list[Booked] = []
        self.dropped: Counter[str] = Counter()
        self.running: dict[int, Booked] = {}
        """By connector: as seen at the charge point."""
        self.must_drop = False
        """Whether a message failed as often as it may, and nobody gave it up yet."""
        self._told: dict[int, Booked] = {}
        """By connector: started on the wire, and not stopped there."""
        self._expected: deque[tuple[str, Booked]] = deque()
        self._registers: dict[int, int] = {}
        self._head: Call | None = None
        """The last transaction message, as long as it is neither taken nor given up."""
        self._head_booked: Booked | None = None
        self._failures = 0
        self._not_before = 0.0
        self._may_be_thinned = False

    @property
    def owed(self) -> int:
        """How many starts and stops the central system has not taken yet, nor will never see."""
        is_head_one = self._head is not None and self._head.action != "MeterValues"
        return len(self._expected) + is_head_one

    # -- at the charge point ------------------------------------------------------------------

    def observe(self, event: StationEvent) -> None:
        """Take what was seen at the charge point."""
        match event:
            case TransactionStarted():
                assert event.connector_id not in self.running
                booked = Booked(event.connector_id, event.id_tag, 1000 + len(self.booked), self.period)
                self.booked.append(booked)
                self.running[event.connector_id] = booked
                self._expected.append(("StartTransaction", booked))
            case TransactionEnded():
                booked = self.running.pop(event.connector_id)
                assert event.id_tag == booked.id_tag
                booked.ended = event
                self._expected.append(("StopTransaction", booked))
            case Dropped():
                self._dropped(event)

    def _dropped(self, event: Dropped) -> None:
        self.dropped[event.action] += 1
        if event.why.startswith("given up"):
            # Core 3.7.1: only what failed as often as it may.
            assert self._head is not None
            assert self._head_booked is not None
            assert self._head.action == event.action
            assert self.must_drop
            self._head_booked.lost.add(event.action)
            self._head, self.must_drop = None, False
            return
        # Core errata 3.14: never what starts or stops a transaction.
        assert event.action not in ("StartTransaction", "StopTransaction")
        self._may_be_thinned = True

    # -- on the wire --------------------------------------------------------------------------

    def sent(self, call: Call, now: float) -> None:
        """Take a Call of the charge point."""
        if call.action == "MeterValues" and _is_beside_the_queue(call.payload):
            self._sent_beside_the_queue(call.payload)
        elif call.action in ("StartTransaction", "StopTransaction", "MeterValues"):
            self._sent_in_turn(call, now)

    def _sent_in_turn(self, call: Call, now: float) -> None:
        assert not self.must_drop, "it was to be given up"
        head = self._head
        if head is not None:
            if (head.action, head.payload) == (call.action, call.payload):
                assert now >= self._not_before - ROUNDING, "sent again too soon"
                self._head = call
                return
            assert head.action == "MeterValues", f"{head.action} was neither taken nor given up"
            assert self._may_be_thinned, "MeterValues was neither taken nor given up"
        self._head, self._failures, self._not_before = call, 0, 0.0
        self._may_be_thinned = False
        match call.action:
            case "StartTransaction":
                self._started(call.payload)
            case "StopTransaction":
                self._stopped(call.payload)
            case _:
                self._metered(call.payload)

    def _started(self, payload: Payload) -> None:
        action, booked = self._expected.popleft()
        assert action == "StartTransaction", f"{action} comes first"
        assert (booked.connector_id, booked.id_tag) == (payload["connectorId"], payload["idTag"])
        assert booked.connector_id not in self._told
        # No energy but that of transactions.
        assert self._registers.get(booked.connector_id, 0) == payload["meterStart"]
        booked.start = payload
        booked.register = payload["meterStart"]
        self._told[booked.connector_id] = booked
        self._head_booked = booked

    def _stopped(self, payload: Payload) -> None:
        action, booked = self._expected.popleft()
        assert action == "StopTransaction", f"{action} comes first"
        assert booked.start is not None
        assert booked.ended is not None
        assert booked.transaction_id == payload["transactionId"]
        assert self._told.pop(booked.connector_id) is booked
        assert booked.ended.reason == payload["reason"]
        assert payload["meterStop"] >= booked.register
        assert booked.ended.energy == payload["meterStop"] - booked.start["meterStart"]
        assert parse_utc(payload["timestamp"]) >= parse_utc(booked.start["timestamp"])
        data = payload.get("transactionData", [])
        shown = [booked.start["meterStart"], *registers(data), payload["meterStop"]]
        assert sorted(shown) == shown
        booked.stop = payload
        self._registers[booked.connector_id] = payload["meterStop"]
        self._head_booked = booked

    def _metered(self, payload: Payload) -> None:
        booked = self._told[payload["connectorId"]]
        assert booked.transaction_id == payload["transactionId"]
        for shown in registers(payload["meterValue"]):
            assert shown >= booked.register
            booked.register = shown
        booked.samples += "Sample.Periodic" in contexts(payload["meterValue"])
        self._head_booked = booked

    def _sent_beside_the_queue(self, payload: Payload) -> None:
        if "transactionId" in payload:
            booked = self._told[payload["connectorId"]]
            assert booked.transaction_id == payload["transactionId"]
            assert booked.start is not None
            assert all(shown >= booked.start["meterStart"] for shown in registers(payload["meterValue"]))

    def answer(self, call: Call) -> int:
        """Return the transactionId for a StartTransaction; the same when it comes again."""
        assert self._head is call
        assert self._head_booked is not None
        return self._head_booked.number

    def taken(self, call: Call) -> None:
        """The central system has answered a Call, and the charge point has seen it."""
        if self._head is call:
            assert self._head_booked is not None
            if call.action == "StartTransaction":
                self._head_booked.transaction_id = self._head_booked.number
            self._head = None

    def failed(self, call: Call, now: float) -> None:
        """There was no usable answer to a Call (core 3.7.1); a lost connection is none of these."""
        if self._head is call:
            self._failures += 1
            self.must_drop = self._failures >= self.attempts
            self._not_before = now + self.interval * self._failures

    def period_changed(self, period: float) -> None:
        """The charge point was told other sampling: what runs is no longer foreseen."""
        self.period = period
        for booked in self.running.values():
            booked.period = None

    # -- in the end ---------------------------------------------------------------------------

    def check_balance(self) -> None:
        """Check that nothing is missing: all was taken, or given up with a word."""
        assert not self.owed
        assert self.running == self._told
        for booked in self.booked:
            assert booked.start is not None
            assert (booked.stop is None) == (booked.ended is None)
            assert ("StartTransaction" in booked.lost) == (booked.transaction_id == UNCONFIRMED)
            if booked.ended is not None and booked.period is not None and not self.dropped["MeterValues"]:
                due = booked.ended.seconds / booked.period if booked.period else 0.0
                assert int(due - ROUNDING) <= booked.samples <= int(due + ROUNDING)


def registers(elements: list[Payload]) -> Iterator[int]:
    """Yield the energy registers of MeterValue elements, in order."""
    for value in _values(elements):
        if value.get("measurand", REGISTER) == REGISTER:
            yield int(value["value"])


def contexts(elements: list[Payload]) -> set[str]:
    """Return why the values of MeterValue elements were taken (core 7.35)."""
    return {value.get("context", "Sample.Periodic") for value in _values(elements)}


def _values(elements: list[Payload]) -> Iterator[dict[str, Any]]:
    for element in elements:
        yield from element["sampledValue"]


def _is_beside_the_queue(payload: Payload) -> bool:
    # Core 3.7: what was triggered, and what belongs to no transaction.
    return "transactionId" not in payload or "Trigger" in contexts(payload["meterValue"])
