"""Ampswarm against the `ocpp` package over the `websockets` library: an independent OCPP on each side."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocpp.routing import on
from ocpp.v16 import ChargePoint as TheirChargePoint
from ocpp.v16 import call, call_result
from ocpp.v16.enums import (
    Action,
    AvailabilityType,
    ChargePointErrorCode,
    ChargePointStatus,
    FirmwareStatus,
    MessageTrigger,
    Reason,
    RegistrationStatus,
    ResetType,
)
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.processes import CentralSystem, Run, run_locust

NOW = "2026-01-01T00:00:00Z"


# -- their charge point, our central system ---------------------------------------------------


def test_their_charge_point_works_with_our_central_system(central_system: CentralSystem) -> None:
    """A whole day of a charge point, in the other implementation's words; it validates every answer."""
    answers = asyncio.run(_a_day_of_theirs(central_system.url))
    assert answers["boot"].status == RegistrationStatus.accepted
    assert answers["boot"].interval == 1
    assert answers["start"].transaction_id > 0
    assert answers["authorize"].id_tag_info["status"] == "Accepted"
    assert answers["stop"].id_tag_info["status"] == "Accepted"
    assert answers["data"].status == "UnknownVendorId"
    assert answers["sign"].status == "Rejected"
    assert all(answer is not None for answer in answers.values())
    summary = central_system.summary()
    assert summary["errors"] == {}
    assert summary["transactions"]["started"] == summary["transactions"]["stopped"] == 1


async def _a_day_of_theirs(url: str) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    async with connect(f"{url}/THEIRS%201", subprotocols=[Subprotocol("ocpp1.6")], proxy=None) as ws:
        charge_point = TheirChargePoint("THEIRS 1", ws)
        listening = asyncio.create_task(charge_point.start())
        for name, request in (
            ("boot", call.BootNotification(charge_point_model="M", charge_point_vendor="V")),
            ("status", call.StatusNotification(1, ChargePointErrorCode.no_error, ChargePointStatus.available)),
            ("heartbeat", call.Heartbeat()),
            ("authorize", call.Authorize(id_tag="TAG")),
            ("start", call.StartTransaction(connector_id=1, id_tag="TAG", meter_start=0, timestamp=NOW)),
            ("meter", call.MeterValues(1, [{"timestamp": NOW, "sampled_value": [{"value": "12"}]}])),
            ("firmware", call.FirmwareStatusNotification(status=FirmwareStatus.downloaded)),
            ("data", call.DataTransfer(vendor_id="com.example")),
            ("security", call.SecurityEventNotification("SettingSystemTime", NOW, "none")),
            ("sign", call.SignCertificate(csr="-----BEGIN CERTIFICATE REQUEST-----")),
        ):
            answers[name] = await charge_point.call(request, suppress=False)
        answers["stop"] = await charge_point.call(
            call.StopTransaction(
                meter_stop=10,
                timestamp=NOW,
                transaction_id=answers["start"].transaction_id,
                id_tag="TAG",
                reason=Reason.ev_disconnected,
            ),
            suppress=False,
        )
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
    return answers


# -- our charge points, their central system --------------------------------------------------


class TheirCentralSystem(TheirChargePoint):  # type: ignore[misc]  # it has no types
    """Their word for one connection, on either side. Boots are Pending once, and then Accepted."""

    def __init__(self, identity: str, ws: ServerConnection, seen: Counter[str], boots: Counter[str]) -> None:
        super().__init__(identity, ws)
        self.seen = seen
        self.boots = boots
        self._heartbeat = asyncio.Event()
        self.metered = asyncio.Event()
        self.stopped = asyncio.Event()
        self.meters: dict[str, int] = {}

    async def next_heartbeat(self) -> None:
        """Wait for the next Heartbeat on this connection."""
        self._heartbeat.clear()
        await self._heartbeat.wait()

    @on(Action.boot_notification)  # type: ignore[untyped-decorator]
    def on_boot(self, **_: Any) -> call_result.BootNotification:
        self.seen["BootNotification"] += 1
        self.boots[self.id] += 1
        status = RegistrationStatus.pending if self.boots[self.id] == 1 else RegistrationStatus.accepted
        return call_result.BootNotification(datetime.now(UTC).isoformat(), 1, status)

    @on(Action.heartbeat)  # type: ignore[untyped-decorator]
    def on_heartbeat(self) -> call_result.Heartbeat:
        self.seen["Heartbeat"] += 1
        self._heartbeat.set()
        return call_result.Heartbeat(current_time=datetime.now(UTC).isoformat())

    @on(Action.authorize)  # type: ignore[untyped-decorator]
    def on_authorize(self, id_tag: str) -> call_result.Authorize:
        self.seen["Authorize"] += 1
        return call_result.Authorize({"status": "Accepted" if id_tag.startswith("TAG") else "Invalid"})

    @on(Action.start_transaction)  # type: ignore[untyped-decorator]
    def on_start(self, meter_start: int, **_: Any) -> call_result.StartTransaction:
        self.seen["StartTransaction"] += 1
        self.meters["start"] = meter_start
        return call_result.StartTransaction(4711, {"status": "Accepted"})

    @on(Action.meter_values)  # type: ignore[untyped-decorator]
    def on_meter_values(self, transaction_id: int, **_: Any) -> call_result.MeterValues:
        self.seen["MeterValues"] += 1
        if self.seen["MeterValues"] >= 3:
            self.metered.set()
        assert transaction_id == 4711
        return call_result.MeterValues()

    @on(Action.stop_transaction)  # type: ignore[untyped-decorator]
    def on_stop(self, transaction_id: int, meter_stop: int, reason: str, **_: Any) -> call_result.StopTransaction:
        self.seen["StopTransaction"] += 1
        assert (transaction_id, reason) == (4711, "Remote")
        self.meters["stop"] = meter_stop
        self.stopped.set()
        return call_result.StopTransaction()

    @on(Action.status_notification)  # type: ignore[untyped-decorator]
    def on_status(self, **_: Any) -> call_result.StatusNotification:
        self.seen["StatusNotification"] += 1
        return call_result.StatusNotification()


Operator = Callable[[TheirCentralSystem], Any]


async def _run_against_them(
    tmp_path: Path, operate: Operator, *args: str, **more: Any
) -> tuple[Run, Counter[str], Counter[str]]:
    seen: Counter[str] = Counter()
    boots: Counter[str] = Counter()
    operators = []

    async def serve_one(ws: ServerConnection) -> None:
        assert ws.request is not None
        central = TheirCentralSystem(ws.request.path.rsplit("/", 1)[-1], ws, seen, boots)
        operators.append(asyncio.create_task(operate(central)))
        with contextlib.suppress(ConnectionClosed):
            await central.start()

    async with serve(serve_one, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        run = await asyncio.to_thread(
            run_locust, tmp_path, "--headless", "--host", f"ws://127.0.0.1:{port}/ocpp", *args, **more
        )
    # What an operator found wrong is a failure of the test.
    for outcome in await asyncio.gather(*operators, return_exceptions=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, ConnectionClosed | asyncio.TimeoutError):
            raise outcome
    return run, seen, boots


def test_our_charge_points_work_with_their_central_system(tmp_path: Path) -> None:
    """Pending, Accepted, statuses, Heartbeats: their validation accepts every message of ours."""

    async def look_on(_central: TheirCentralSystem) -> None:
        return

    run, seen, boots = asyncio.run(_run_against_them(tmp_path, look_on, "-t", "8s", "-u", "20"))
    assert run.status == 0, run.output
    assert len(boots) == 20
    assert set(boots.values()) == {2}
    rows = run.rows
    assert rows["OCPP/BootNotification"].requests == seen["BootNotification"] == 40
    assert rows["OCPP/StatusNotification"].requests == seen["StatusNotification"] == 40
    assert rows["OCPP/Heartbeat"].requests >= 60
    assert rows["FLOW/online"].requests == 20
    assert rows["/Aggregated"].failures == 0


def test_our_charge_points_answer_their_commands(tmp_path: Path) -> None:
    """TriggerMessage, ChangeConfiguration and Reset, sent by the other implementation while we work."""
    results: dict[str, Any] = {}

    async def operate(central: TheirCentralSystem) -> None:
        await central.next_heartbeat()
        if results:
            return  # the connection after the Reset
        heartbeats = central.seen["Heartbeat"]
        results["configure"] = await central.call(
            call.ChangeConfiguration(key="HeartbeatInterval", value="3600"), suppress=False
        )
        results["trigger"] = await central.call(
            call.TriggerMessage(requested_message=MessageTrigger.heartbeat), suppress=False
        )
        results["availability"] = await central.call(
            call.ChangeAvailability(0, AvailabilityType.operative), suppress=False
        )
        if central.seen["Heartbeat"] == heartbeats:
            await central.next_heartbeat()
        results["heartbeats"] = central.seen["Heartbeat"] - heartbeats
        results["reset"] = await central.call(call.Reset(type=ResetType.soft), suppress=False)

    run, seen, boots = asyncio.run(
        _run_against_them(tmp_path, operate, "-t", "26s", "-u", "1", "--identity-format", "OURS {}")
    )
    assert run.status == 0, run.output
    assert results["configure"].status == "Accepted"
    assert results["trigger"].status == "Accepted"
    assert results["availability"].status == "Accepted"
    assert 1 <= results["heartbeats"] <= 2
    assert results["reset"].status == "Accepted"
    # Pending and Accepted once, and Accepted again after the Reset (core 5.14).
    assert boots == {"OURS%201": 3}
    assert seen["BootNotification"] == 3
    assert run.rows["FLOW/online"].requests == 2
    assert run.rows["/Aggregated"].failures == 0


CHARGING = """
from ampswarm.load import ChargePointUser, Vehicle
from locust import task

class Station(ChargePointUser):
    @task
    def charge(self):
        self.plug_in(Vehicle(soc=20))
        self.sleep(1000)
"""

EVERY_MEASURAND = (
    "Energy.Active.Import.Register,Energy.Active.Import.Interval,Power.Active.Import,Power.Offered,Current.Import,"
    "Current.Offered,Voltage,Temperature,Frequency"
)


def test_a_session_of_ours_is_understood_by_the_other_implementation(tmp_path: Path) -> None:
    """Remote start, every measurand, remote stop: it validates all that comes (J errata 2.1)."""
    results: dict[str, Any] = {}

    async def operate(central: TheirCentralSystem) -> None:
        await central.next_heartbeat()
        for key, value in (("MeterValuesSampledData", EVERY_MEASURAND), ("MeterValueSampleInterval", "1")):
            changed = await central.call(call.ChangeConfiguration(key=key, value=value), suppress=False)
            assert changed.status == "Accepted"
        started = await central.call(call.RemoteStartTransaction(id_tag="TAG", connector_id=1), suppress=False)
        results["start"] = started.status
        await central.metered.wait()
        results["configuration"] = await central.call(call.GetConfiguration(), suppress=False)
        stopped = await central.call(call.RemoteStopTransaction(transaction_id=4711), suppress=False)
        results["stop"] = stopped.status
        await central.stopped.wait()
        results["wh"] = central.meters["stop"] - central.meters["start"]

    scenario = tmp_path / "scenario.py"
    scenario.write_text(CHARGING)

    run, seen, _ = asyncio.run(
        _run_against_them(
            tmp_path, operate, "-t", "20s", "-u", "1", "--identity-format", "OURS {}", locustfile=scenario
        )
    )
    assert run.status == 0, run.output
    assert (results["start"], results["stop"]) == ("Accepted", "Accepted")
    # 11 kW for three seconds or a little more.
    assert 6 <= results["wh"] <= 60
    assert seen["StartTransaction"] == seen["StopTransaction"] == 1
    assert run.rows["OCPP/MeterValues"].requests == seen["MeterValues"] >= 3
    assert len(results["configuration"].configuration_key) > 45
    assert run.rows["/Aggregated"].failures == 0
