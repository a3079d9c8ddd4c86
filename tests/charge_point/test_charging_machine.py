"""A charge point with drivers, driven through random charging, commands, answers, losses and times.

The model beside it is what the central system sees on the wire and what happened at the site: `Ledger` and
`StatusBoard` know the rules, this module the world.
"""

from __future__ import annotations

import json
from functools import cache
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from ampswarm.charge_point.connector import Connector
from ampswarm.charge_point.events import Dropped, TransactionEnded, TransactionStarted
from ampswarm.charge_point.link import CloseReason, Link
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Battery, Vehicle
from ampswarm.ocppj.frames import Call, CallResult, decode
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.session import UniqueIds
from ampswarm.ocppj.timestamps import format_utc
from tests.fakes.ledger import ROUNDING, Ledger, registers
from tests.fakes.scene import UTC_AT_ZERO, Scene
from tests.fakes.status_board import CHARGING, StatusBoard
from tests.ocppj.payloads import valid

FOREVER = float("inf")
ID_TAGS = ["TAG1", "tag1", "TAG2", "TAG3"]
GROUPS = ["GROUP", "OTHER"]
CAPACITY = 5
MEASURANDS = ["", "Energy.Active.Import.Register", "Energy.Active.Import.Register,Power.Active.Import,Voltage"]
TRANSACTION_MESSAGES = ("StartTransaction", "StopTransaction", "MeterValues")
FAILING = {
    "transactions fail": TRANSACTION_MESSAGES,
    "all fails": (*TRANSACTION_MESSAGES, "Authorize", "BootNotification", "Heartbeat", "StatusNotification"),
}
CUT = {
    "transactions are cut": TRANSACTION_MESSAGES,
    "transactions are cut or fail": TRANSACTION_MESSAGES,
    "statuses are cut": ("StatusNotification",),
}
FIRST_RETRY = 30.0
"""Seconds: half of the template's `boot_retry_interval` is jitter."""

SETTINGS = {
    "AuthorizeRemoteTxRequests": ["true", "false"],
    "AllowOfflineTxForUnknownId": ["true", "false"],
    "ClockAlignedDataInterval": ["0", "900", "3600"],
    "ConnectionTimeOut": ["30", "600"],
    "LocalPreAuthorize": ["true", "false"],
    "MaxEnergyOnInvalidId": ["0", "300"],
    "MessageTimeout": ["5", "30"],
    "MeterValueSampleInterval": ["0", "300", "900"],
    "MeterValuesAlignedData": MEASURANDS,
    "MeterValuesSampledData": MEASURANDS,
    "StopTransactionOnEVSideDisconnect": ["true", "false"],
    "StopTransactionOnInvalidId": ["true", "false"],
    "StopTxnAlignedData": MEASURANDS,
    "StopTxnSampledData": MEASURANDS,
    "TransactionMessageAttempts": ["1", "3", "5"],
    "TransactionMessageRetryInterval": ["1", "20", "60"],
    "UnlockConnectorOnEVSideDisconnect": ["true", "false"],
    "WebSocketPingInterval": ["0", "60"],
}

# What makes that a random payload hits something. Dates are seconds from now.
HITS: dict[str, st.SearchStrategy[Any]] = {
    "chargingProfileId": st.integers(1, 4),
    "connectorId": st.integers(0, 4),
    "duration": st.sampled_from([60, 3600, 86_400]),
    "idTag": st.sampled_from(ID_TAGS),
    "limit": st.sampled_from([0.0, 5.0, 6.0, 10.0, 16.0, 32.0, 3000.0, 11_000.0]),
    "listVersion": st.integers(1, 5),
    "parentIdTag": st.sampled_from(GROUPS),
    "reservationId": st.integers(1, 3),
    "stackLevel": st.integers(0, 2),
    "startPeriod": st.sampled_from([0, 60, 600, 3600]),
    "transactionId": st.integers(1000, 1006),
}
SECONDS_FROM_NOW = st.sampled_from([-86_400.0, -600.0, 60.0, 3600.0, 86_400.0, 700_000.0])
DATES = {"expiryDate", "installDate", "retrieveDate", "startSchedule", "startTime", "stopTime", "validFrom", "validTo"}

EXTENDED = {
    "FirmwareStatusNotification": "SignedFirmwareStatusNotification",
    "SignChargePointCertificate": "SignCertificate",
}
OFTEN = [
    "CancelReservation",
    "ChangeAvailability",
    "ClearChargingProfile",
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "ReserveNow",
    "SetChargingProfile",
    "TriggerMessage",
    "UnlockConnector",
]
SELDOM = [
    "CertificateSigned",
    "ChangeConfiguration",
    "ClearCache",
    "DataTransfer",
    "DeleteCertificate",
    "ExtendedTriggerMessage",
    "GetCompositeSchedule",
    "GetConfiguration",
    "GetDiagnostics",
    "GetInstalledCertificateIds",
    "GetLocalListVersion",
    "GetLog",
    "InstallCertificate",
    "Reset",
    "SendLocalList",
    "SignedUpdateFirmware",
    "UpdateFirmware",
]
REASONS = {
    "RemoteStopTransaction": {"Remote"},
    "UnlockConnector": {"UnlockCommand"},
    "Reset": {"HardReset", "SoftReset"},
}

VEHICLES = st.builds(
    Vehicle,
    battery=st.sampled_from([1_500.0, 20_000.0, 80_000.0]),
    soc=st.sampled_from([0.0, 50.0, 94.9, 100.0]),
    target_soc=st.sampled_from([80.0, 100.0]),
    phases=st.integers(1, 3),
)


@cache
def payloads(action: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for one command's arguments, made once."""
    return valid(action, Direction.REQ)


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """Draw a make of charge point."""
    own = {name: draw(st.sampled_from(values)) for name, values in SETTINGS.items()}
    is_dc = draw(st.booleans())
    locks = draw(st.booleans())
    if is_dc or not locks:
        own["UnlockConnectorOnEVSideDisconnect"] = "false"
    return Template(
        connectors=draw(st.integers(2, 3)),
        is_dc=is_dc,
        phases=draw(st.sampled_from([1, 3])),
        has_cable_lock=locks,
        drain_interval=draw(st.sampled_from([0.0, 0.1, 5.0])),
        outbox_capacity=draw(st.sampled_from([CAPACITY, 1000])),
        settings=(*own.items(), ("MinimumStatusDuration", draw(st.sampled_from(["0", "0", "0", "20"])))),
    )


class ChargingMachine(RuleBasedStateMachine):
    """Rules are what the world does; most checks are in `_look`, `_check_call`, and the two books."""

    visits: Bundle[int] = Bundle("visits")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.skew = 0.0
        self.outstanding: Call | None = None
        self.sent_at = 0.0
        self.timed_out: Call | None = None
        self.said: str | None = None
        self.may_boot_at = 0.0
        self.was_accepted = False
        self.triggered: set[str] = set()
        self.commands = 0
        self.asked: dict[str, str] = {}
        self.shown: set[str] = set()
        self.owes_pong = False
        self.arrived: dict[int, list[tuple[Battery, float]]] = {}
        self.idle_registers: dict[int, int] = {}
        self.faults: dict[int, bool] = {}
        self.opinion = {"status": "Accepted"}
        self.is_cut_next = False

    @initialize(seed=st.integers(0, 2**32), template=templates())
    def switch_on_first(self, seed: int, template: Template) -> None:
        self.template = template
        self.cp = ChargePoint("CP1", template, unique_ids=UniqueIds("m-"), random=Random(seed), utc_offset=1.7e9)
        self.setting = dict(template.settings)
        self.ledger = Ledger(
            attempts=int(self.setting["TransactionMessageAttempts"]),
            interval=float(self.setting["TransactionMessageRetryInterval"]),
            period=self._sampling_period(),
        )
        self.board = StatusBoard(knows_all=self.setting["MinimumStatusDuration"] == "0")
        self._switch_on()
        self._connect()
        self._go_on(self.now + 5, 30)

    # -- drivers ------------------------------------------------------------------------------

    def _connector(self, data: st.DataObject) -> int:
        return data.draw(st.integers(1, self.template.connectors), label="connector")

    @rule(data=st.data(), vehicle=VEHICLES)
    def plugs_in(self, data: st.DataObject, vehicle: Vehicle) -> None:
        self._plug_in(self._connector(data), vehicle)

    def _plug_in(self, connector_id: int, vehicle: Vehicle) -> None:
        charging = self.cp.charging(self.now)
        was_plugged = charging.connector(connector_id).is_plugged
        assert charging.plug_in(connector_id, vehicle, self.now) is not was_plugged
        if not was_plugged:
            battery = charging.connector(connector_id).battery
            assert battery is not None
            self.arrived.setdefault(connector_id, []).append((battery, vehicle.battery * vehicle.soc / 100))
        self._look()

    @rule(data=st.data(), id_tag=st.sampled_from(ID_TAGS))
    def shows_id_tag(self, data: st.DataObject, id_tag: str) -> None:
        self._show(self._connector(data), id_tag)

    def _show(self, connector_id: int, id_tag: str) -> None:
        self.shown.add(id_tag)
        running = self.ledger.running.get(connector_id)
        self.cp.charging(self.now).present(connector_id, id_tag, self.now)
        self._look({"Local"})
        if running is not None and running.id_tag.casefold() == id_tag.casefold():
            # Core 4.1: the id tag that started it stops it, without anybody being asked.
            assert running.ended is not None

    @rule(
        target=visits,
        data=st.data(),
        vehicle=VEHICLES,
        id_tag=st.sampled_from(ID_TAGS),
        cable_first=st.booleans(),
        seconds=st.sampled_from([0.0, 10.0, 400.0, 5000.0]),
    )
    def comes_to_charge(
        self, data: st.DataObject, vehicle: Vehicle, id_tag: str, cable_first: bool, seconds: float
    ) -> int:
        """Come to a connector, from which whoever was there goes, and have the time to charge."""
        connector_id = self._connector(data)
        self._repair_all(connector_id)
        for _ in range(2):
            self._unplug(connector_id)
            for previous in ID_TAGS[1:] if self._connector_at(connector_id).is_plugged else ():
                self._show(connector_id, previous)
        if cable_first:
            self._plug_in(connector_id, vehicle)
        self._show(connector_id, id_tag)
        self._go_on(self.now + 10.0, 30)
        if not cable_first:
            self._plug_in(connector_id, vehicle)
        self._go_on(self.now + seconds, 60)
        return connector_id

    @rule(connector_id=visits, stops=st.booleans())
    def goes_again(self, connector_id: int, stops: bool) -> None:
        if stops and connector_id in self.ledger.running:
            self._show(connector_id, self.ledger.running[connector_id].id_tag)
        self._unplug(connector_id)

    def _repair_all(self, connector_id: int) -> None:
        for each in (0, connector_id):
            if self.faults.get(each):
                self.cp.charging(self.now).repair(each, self.now)
                self.faults[each] = False
                self._look()

    @rule(data=st.data())
    def unplugs(self, data: st.DataObject) -> None:
        self._unplug(self._connector(data))

    def _unplug(self, connector_id: int) -> None:
        was_plugged = self.cp.charging(self.now).connector(connector_id).is_plugged
        gone = self.cp.charging(self.now).unplug(connector_id, self.now)
        assert was_plugged or not gone
        self._look({"EVDisconnected"})
        if gone:
            assert connector_id not in self.ledger.running

    @rule(data=st.data(), what=st.sampled_from(["disconnect", "reconnect", "pause", "resume"]))
    def handles_the_ev(self, data: st.DataObject, what: str) -> None:
        connector_id = self._connector(data)
        charging = self.cp.charging(self.now)
        if not charging.connector(connector_id).is_plugged:
            return
        match what:
            case "disconnect":
                charging.disconnect_ev(connector_id, self.now)
            case "reconnect":
                charging.reconnect_ev(connector_id, self.now)
            case _:
                charging.pause_ev(connector_id, self.now, is_paused=what == "pause")
        self._look({"EVDisconnected"} if what == "disconnect" else set())

    @rule(data=st.data(), is_fault=st.booleans(), code=st.sampled_from(["GroundFailure", "InternalError"]))
    def something_breaks_or_is_repaired(self, data: st.DataObject, is_fault: bool, code: str) -> None:
        connector_id = data.draw(st.integers(0, self.template.connectors), label="connector")
        charging = self.cp.charging(self.now)
        if is_fault:
            charging.fault(connector_id, code, self.now)
        else:
            charging.repair(connector_id, self.now)
        self.faults[connector_id] = is_fault
        self._look()

    @precondition(lambda self: self.ledger.running)
    @rule()
    def presses_the_emergency_button(self) -> None:
        self.cp.charging(self.now).emergency_stop(self.now)
        self.faults.update(dict.fromkeys(range(1, self.template.connectors + 1), True))
        self._look({"EmergencyStop"})
        assert not self.ledger.running

    # -- power, network, time -----------------------------------------------------------------

    def _switch_on(self) -> None:
        self.cp.power_on(self.now)
        self._rebooted()

    def _rebooted(self) -> None:
        self.said = None
        self.may_boot_at = self.now

    def _cut(self) -> None:
        if self.outstanding is not None and self.outstanding.action == "BootNotification":
            self.may_boot_at = self.now
        self.outstanding = self.timed_out = None
        self.asked.clear()
        self.triggered.clear()
        self.owes_pong = False
        self.board.missed_something()

    @rule(is_long=st.booleans())
    def power_goes_or_comes(self, is_long: bool) -> None:
        if self.cp.link is Link.OFF:
            self._switch_on()
            return
        self.cp.power_off(self.now)
        self._cut()
        self._look({"PowerLoss"})
        assert not self.ledger.running
        assert self.cp.next_deadline() == FOREVER
        if is_long:
            self.now += 100_000.0

    def _connect(self, *, succeeds: bool = True) -> None:
        self.now = max(self.now, self.cp.next_deadline())
        if not self.cp.attempt(self.now):
            self.cp.advance(self.now)
            assert self.cp.next_deadline() > self.now
            self._look()
            return
        if succeeds:
            self.cp.opened(self.now)
        else:
            self._refuse()
        self._look()

    def _refuse(self) -> None:
        was_resetting = self.cp.close_reason is CloseReason.RESET
        self.cp.refused(self.now)
        if was_resetting:
            self._rebooted()

    @precondition(lambda self: self.cp.link is Link.WAITING)
    @rule(succeeds=st.booleans())
    def connects(self, succeeds: bool) -> None:
        self._connect(succeeds=succeeds)

    @precondition(lambda self: self.cp.link in (Link.OPEN, Link.CLOSING))
    @rule()
    def connection_is_lost(self) -> None:
        is_reset = self.cp.close_reason is CloseReason.RESET
        self.cp.lost(self.now)
        self._cut()
        if is_reset:
            self._rebooted()
        self._look({"Local"})

    @rule(seconds=st.one_of(st.floats(0, 1), st.floats(0, 100), st.floats(0, 10_000), st.just(700_000.0)))
    def time_passes_unseen(self, seconds: float) -> None:
        if seconds > 100_000 and self.cp.connectors is not None and self.ledger.running:
            seconds = 50_000
        self.now += seconds
        self._look({"Local", "Reboot"})

    @rule()
    def time_passes_to_the_deadline(self) -> None:
        deadline = self.cp.next_deadline()
        if deadline < FOREVER:
            self.now = max(self.now, deadline)
        self._look({"Local", "Reboot"})

    @rule(
        seconds=st.one_of(st.floats(0, 100), st.floats(0, 20_000)),
        how=st.sampled_from(["well", "mute", "offline", *FAILING, *CUT]),
    )
    def a_while_goes_by(self, seconds: float, how: str) -> None:
        self._go_on(self.now + seconds, 60, how)

    @rule(status=st.sampled_from(["Accepted", "Blocked", "Invalid"]))
    def the_central_system_has_an_opinion(self, status: str) -> None:
        self.opinion = {"status": status, "parentIdTag": GROUPS[0]}

    @rule(hours=st.sampled_from([-30.0, -1.0, 0.0, 0.0, 1.0, 30.0, 3000.0]))
    def the_central_systems_clock_jumps(self, hours: float) -> None:
        self.skew = hours * 3600

    def _go_on(self, until: float, steps: int, how: str = "well") -> None:
        """Do what an adapter does, asked only at the deadlines, with one kind of network and central system."""
        for _ in range(steps):
            if self.cp.link is Link.OFF:
                self._switch_on()
            if how == "offline" and self.cp.link in (Link.OPEN, Link.CLOSING):
                self.connection_is_lost()
            if self.cp.link is Link.WAITING and self.cp.attempt(self.now):
                if how == "offline":
                    self._refuse()
                else:
                    self.cp.opened(self.now)
            self._look({"Local", "Reboot"})
            if self.outstanding is not None and how != "mute":
                self._treat(self.outstanding, how)
                continue
            if self.cp.link is Link.CLOSING:
                self.connection_is_lost()
                continue
            if self.owes_pong:
                self.cp.pong_received(self.now)
                self.owes_pong = False
            deadline = self.cp.next_deadline()
            if deadline > until:
                self.now = max(self.now, until)
                self._look({"Local", "Reboot"})
                return
            assert deadline > self.now or self.cp.link is Link.WAITING
            self.now = max(self.now, deadline)

    def _treat(self, call: Call, how: str) -> None:
        if call.action in FAILING.get(how, ()):
            self.is_answered_badly("error")
        elif call.action in CUT.get(how, ()):
            # Both by turns: what was cut off is no failure, and counts for nothing (core 3.7.1).
            self.is_cut_next = not self.is_cut_next
            if self.is_cut_next or how != "transactions are cut or fail":
                self.connection_is_lost()
            else:
                self.is_answered_badly("error")
        else:
            info = self.opinion if call.action == "StartTransaction" else None
            self._answer(self._honest_answer(call, "Accepted", info))

    # -- answers ------------------------------------------------------------------------------

    def _honest_answer(self, call: Call, status: str, info: dict[str, Any] | None = None) -> dict[str, Any]:
        time = format_utc(UTC_AT_ZERO + self.now + self.skew)
        match call.action:
            case "BootNotification":
                return {"status": status, "currentTime": time, "interval": 300}
            case "Heartbeat":
                return {"currentTime": time}
            case "Authorize":
                return {"idTagInfo": info or {"status": "Accepted"}}
            case "StartTransaction":
                return {"transactionId": self.ledger.answer(call), "idTagInfo": info or {"status": "Accepted"}}
            case "DataTransfer" | "SignCertificate":
                return {"status": "Accepted"}
        return {}

    def _answer(self, payload: dict[str, Any]) -> None:
        call, self.outstanding = self.outstanding, None
        assert call is not None
        validate(call.action, Direction.CONF, payload)
        if call.action == "BootNotification":
            self.said = payload["status"]
            self.was_accepted |= self.said == "Accepted"
            self.may_boot_at = self.now + (payload["interval"] or FIRST_RETRY)
            self.triggered.discard("BootNotification")
            if self.said == "Accepted":
                self.board.missed_something()
        self.ledger.taken(call)
        self.cp.receive(json.dumps([3, call.unique_id, payload]), self.now)
        self._look({"Local", "DeAuthorized"})

    @precondition(lambda self: self.outstanding is not None)
    @rule(
        status=st.sampled_from(["Accepted", "Accepted", "Pending", "Rejected"]),
        interval=st.sampled_from([0, 60, 900]),
        id_tag_status=st.sampled_from(["Accepted", "Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]),
        group=st.sampled_from([None, *GROUPS]),
        expires=st.none() | SECONDS_FROM_NOW,
    )
    def is_answered(
        self, status: str, interval: int, id_tag_status: str, group: str | None, expires: float | None
    ) -> None:
        assert self.outstanding is not None
        info = {"status": id_tag_status}
        if group is not None:
            info["parentIdTag"] = group
        if expires is not None:
            info["expiryDate"] = format_utc(UTC_AT_ZERO + self.now + expires)
        payload = self._honest_answer(self.outstanding, status, info)
        if "interval" in payload:
            payload["interval"] = interval
        self._answer(payload)

    @precondition(lambda self: self.outstanding is not None)
    @rule(kind=st.sampled_from(["error", "unknown field", "no payload"]))
    def is_answered_badly(self, kind: str) -> None:
        assert self.outstanding is not None
        call = self.outstanding
        self._failed()
        message: list[Any] = {
            "error": [4, call.unique_id, "InternalError", "", {}],
            "unknown field": [3, call.unique_id, {"noSuchField": 1}],
            "no payload": [3, call.unique_id],
        }[kind]
        self.cp.receive(json.dumps(message), self.now)
        self._look({"Local"})

    @precondition(lambda self: self.timed_out is not None and self.cp.link is Link.OPEN)
    @rule()
    def is_answered_late(self) -> None:
        call, self.timed_out = self.timed_out, None
        assert call is not None
        # The transactionId in it is one that nobody may use: it counts as never given (core errata 3.18).
        late = {"transactionId": 5000, "idTagInfo": {"status": "Accepted"}} if "Start" in call.action else {}
        self.cp.receive(json.dumps([3, call.unique_id, late]), self.now)
        self._look()

    @precondition(lambda self: self.outstanding is not None)
    @rule()
    def is_not_answered(self) -> None:
        self.now = max(self.now, self.sent_at + float(self.setting["MessageTimeout"]))
        self._look({"Local"})

    def _failed(self) -> None:
        call, self.outstanding = self.outstanding, None
        assert call is not None
        self.ledger.failed(call, self.now)
        if call.action == "BootNotification":
            self.may_boot_at = self.now + FIRST_RETRY
            self.triggered.discard("BootNotification")

    # -- commands -----------------------------------------------------------------------------

    def _steered(self, data: st.DataObject, node: Any) -> Any:
        """Return a payload with most of what refers to something changed to what may be there."""
        if isinstance(node, list):
            return [self._steered(data, each) for each in node]
        if not isinstance(node, dict):
            return node
        steered: dict[str, Any] = {}
        for name, value in node.items():
            if name == "transactionId" and self.ledger.running:
                known = [booked.number for booked in self.ledger.running.values()]
                steered[name] = data.draw(st.sampled_from([*known, 999]), label=name)
            elif name in HITS:
                steered[name] = data.draw(HITS[name], label=name)
            elif name in DATES:
                steered[name] = format_utc(UTC_AT_ZERO + self.now + self.skew + data.draw(SECONDS_FROM_NOW, label=name))
            else:
                steered[name] = self._steered(data, value)
        return steered

    def _command(self, action: str, payload: dict[str, Any], reasons: set[str]) -> None:
        self.commands += 1
        unique_id = f"cs-{self.commands}"
        if self.said != "Rejected":
            self.asked[unique_id] = action
        self.cp.receive(json.dumps([2, unique_id, action, payload]), self.now)
        self._look(reasons)
        # Whatever was asked is answered at once, but for a charge point that is Rejected (core 4.2).
        assert not self.asked

    @precondition(lambda self: self.cp.link is Link.OPEN)
    @rule(data=st.data(), action=st.one_of(st.sampled_from(OFTEN), st.sampled_from(OFTEN), st.sampled_from(SELDOM)))
    def is_commanded(self, data: st.DataObject, action: str) -> None:
        payload = self._steered(data, data.draw(payloads(action), label="payload"))
        if action == "RemoteStartTransaction":
            self.shown.add(payload["idTag"])
        elif action == "ChangeConfiguration":
            self.configuring = (payload["key"], payload["value"])
        elif action in ("TriggerMessage", "ExtendedTriggerMessage"):
            requested = payload["requestedMessage"]
            self.triggered.add(requested)
            if action == "ExtendedTriggerMessage":
                self.triggered.add(EXTENDED.get(requested, requested))
            if requested == "BootNotification":
                self.may_boot_at = min(self.may_boot_at, self.now)
        self._command(action, payload, {"Local"} | REASONS.get(action, set()))

    @precondition(lambda self: self.cp.link is Link.OPEN)
    @rule(data=st.data(), key=st.sampled_from(sorted(SETTINGS)))
    def is_configured(self, data: st.DataObject, key: str) -> None:
        value = data.draw(st.sampled_from(SETTINGS[key]), label="value")
        self.configuring = (key, value)
        if key == "MessageTimeout" and self.said != "Rejected":
            # Before the answer is out: it counts for the Call that is on its way as well.
            self.setting[key] = value
        self._command("ChangeConfiguration", {"key": key, "value": value}, {"Local"})

    def _configured(self, key: str, value: str) -> None:
        self.setting[key] = value
        self.ledger.attempts = int(self.setting["TransactionMessageAttempts"])
        self.ledger.interval = float(self.setting["TransactionMessageRetryInterval"])
        if key.startswith("MeterValue"):
            self.ledger.period_changed(self._sampling_period())

    def _sampling_period(self) -> float:
        return float(self.setting["MeterValueSampleInterval"]) if self.setting["MeterValuesSampledData"] else 0.0

    # -- what must hold -----------------------------------------------------------------------

    def _look(self, reasons: set[str] | frozenset[str] = frozenset()) -> None:
        """Do what an adapter does now, and take all that comes of it."""
        self._watch_the_site(reasons)
        for _ in range(20):
            was_open = self.cp.link is Link.OPEN
            if was_open and self.outstanding is not None:
                due = self.sent_at + float(self.setting["MessageTimeout"])
                if self.now >= due:
                    self.timed_out = self.outstanding
                    self._failed()
                    reasons = {*reasons, "Local"}
            texts = self.cp.poll(self.now)
            self._watch_the_site(reasons)
            for text in texts:
                assert was_open
                frame = decode(text)
                if isinstance(frame, Call):
                    self._check_call(frame)
                else:
                    action = self.asked.pop(frame.unique_id)
                    if isinstance(frame, CallResult):
                        validate(action, Direction.CONF, frame.payload)
                        if action == "ChangeConfiguration" and frame.payload["status"] == "Accepted":
                            self._configured(*self.configuring)
            is_pinging = self.cp.take_ping(self.now)
            self.owes_pong |= is_pinging
            if not texts and not is_pinging:
                # An adapter that waits until the deadline must not find itself there already.
                if self.cp.link is Link.OPEN:
                    assert self.cp.next_deadline() > self.now
                break
        else:
            raise AssertionError("it never stops talking")
        assert not self.ledger.must_drop, "one more failure than TransactionMessageAttempts"

    def _watch_the_site(self, reasons: set[str] | frozenset[str]) -> None:
        if self.cp.link is Link.WAITING and not self.cp.is_running and self.said is not None:
            # It reboots of its own accord, as after an installation.
            self._rebooted()
        for event in self.cp.take_events():
            if isinstance(event, TransactionStarted):
                assert event.id_tag in self.shown
                assert self.was_accepted
                assert self.cp.charging(self.now).connector(event.connector_id).is_plugged
            elif isinstance(event, TransactionEnded):
                assert event.reason in reasons
            elif isinstance(event, Dropped) and event.action == "StatusNotification":
                self.board.missed_something()
            self.ledger.observe(event)

    def _check_call(self, call: Call) -> None:
        validate(call.action, Direction.REQ, call.payload)
        # J 4.1.1: one at a time.
        assert self.outstanding is None
        self.outstanding, self.sent_at = call, self.now
        if call.action == "BootNotification":
            assert self.said != "Accepted"
            assert self.now >= self.may_boot_at - ROUNDING
        elif self.said == "Pending":
            assert call.action in self.triggered
        else:
            assert self.said == "Accepted"
        self.ledger.sent(call, self.now)
        if call.action == "StatusNotification":
            self.board.told(call.payload)
        elif call.action == "MeterValues" and "transactionId" not in call.payload:
            self._check_idle_meter(call.payload)

    def _check_idle_meter(self, payload: dict[str, Any]) -> None:
        connector_id = payload["connectorId"]
        assert 1 <= connector_id <= self.template.connectors
        for shown in registers(payload["meterValue"]):
            assert shown <= self._connector_at(connector_id).register + 1
            if "Trigger" not in str(payload):
                assert shown >= self.idle_registers.get(connector_id, 0)
                self.idle_registers[connector_id] = shown

    def _connector_at(self, connector_id: int) -> Connector:
        return self.cp.charging(self.now).connector(connector_id)

    @invariant()
    def what_the_evs_got_is_what_the_meters_count(self) -> None:
        for connector_id, evs in self.arrived.items():
            got = sum(battery.energy - before for battery, before in evs)
            register = self._connector_at(connector_id).register
            assert abs(got - register) <= 1e-6 * max(1.0, got)

    @invariant()
    def it_stays_small(self) -> None:
        if not hasattr(self, "cp"):
            return
        calls = self.cp._calls
        # Beyond its capacity: what must not be dropped, the first MeterValues, and one that is on its way.
        assert self.ledger.owed <= self.cp.unsent <= max(self.template.outbox_capacity, self.ledger.owed + 2)
        assert len(calls._notices or ()) <= 100
        assert len(calls._triggered or ()) <= 2 * self.template.connectors + 8

    def teardown(self) -> None:
        """Let everything go well until everything is told, and compare the books."""
        if not hasattr(self, "cp"):
            return
        self.skew = 0.0
        for _ in range(40):
            self._go_on(self.now + 120, 300)
            if not self.cp.unsent and self.cp.is_online and self.cp.close_reason is None:
                break
        assert not self.cp.unsent
        self._go_on(self.now + 40, 300)
        if self.cp.is_online and not self.cp.unsent and self.outstanding is None:
            self.ledger.check_balance()
            self._check_final_status()

    def _check_final_status(self) -> None:
        for connector_id in range(self.template.connectors + 1):
            status = self.board.status[connector_id]
            if self.faults.get(connector_id):
                assert status == "Faulted"
            elif connector_id in self.ledger.running:
                assert status in CHARGING
            elif connector_id and self._connector_at(connector_id).is_plugged:
                assert status in ("Preparing", "Finishing", "Unavailable", "Reserved")
            else:
                assert status in ("Available", "Preparing", "Reserved", "Unavailable")


TestChargingMachine = ChargingMachine.TestCase
TestChargingMachine.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_status_that_had_to_be_dropped_is_told_later() -> None:
    """A central system that answers nothing for long still learns in the end what is so now (core 4.9).

    Otherwise a connector would stay Faulted in its books until the next boot.
    """
    every_minute = Template(settings=(("ClockAlignedDataInterval", "60"), ("MessageTimeout", "86400")))
    scene = Scene(every_minute)
    scene.boot(interval=86_400)
    charging = scene.charge_point.charging(scene.now)
    charging.clock_changed(scene.now)
    scene.wait(61)
    scene.expect("MeterValues")
    charging.fault(1, "GroundFailure", scene.now)
    scene.wait(200 * 60)
    assert scene.sends() == []
    scene.answer({})
    assert scene.expect("StatusNotification")["status"] == "Faulted"
    scene.answer({})
    assert any(isinstance(each, Dropped) and each.action == "StatusNotification" for each in scene.events)


def test_a_message_timeout_of_the_factory_counts_from_the_first_call() -> None:
    """A fleet whose settings name MessageTimeout gives up Calls after it, not after the template's usual time."""
    scene = Scene(Template(settings=(("messageTimeout", "5"),)))
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.expect("BootNotification")
    assert scene.wait_until_due() == 5.0
