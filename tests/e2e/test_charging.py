"""Fleets that charge, with everything real; and what both sides have counted in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.processes import ROOT, CentralSystem, Locust, run_locust, until

CHARGING = ROOT / "locustfiles" / "charging.py"

QUICK = """
[[populations]]
name = "quick"
connectors = 2
reboot_seconds = 0.5
download_seconds = 1
install_seconds = 1
upload_seconds = 0.5

[populations.configuration]
MeterValueSampleInterval = 1
StopTxnSampledData = "Energy.Active.Import.Register"
TransactionMessageRetryInterval = 1
AllowOfflineTxForUnknownId = true
"""


# Every charge point notes what it gave: it is what the central system must have counted in the end.
NOTING = """
import os
from locust import task
from ampswarm.charge_point.events import TransactionEnded
from ampswarm.load import ChargePointUser, Vehicle

class Noting(ChargePointUser):
    abstract = True

    def observed(self, event):
        if isinstance(event, TransactionEnded):
            with open(os.environ["SESSIONS"], "a") as sessions:
                print(self.charge_point.identity, event.connector_id, event.reason, event.energy, file=sessions)
"""


def charged(tmp_path: Path) -> list[tuple[str, str, str, int]]:
    """What the charge points say that they gave: identity, connector, reason and Wh."""
    lines = [line.split() for line in (tmp_path / "sessions").read_text().splitlines()]
    return [(cp, connector, reason, int(wh)) for cp, connector, reason, wh in lines]


def prepare(tmp_path: Path, scenario: str) -> dict[str, Any]:
    """Write a scenario and its fleet; return what Locust needs to be told."""
    (tmp_path / "scenario.py").write_text(NOTING + scenario)
    (tmp_path / "fleet.toml").write_text(QUICK)
    return {"locustfile": tmp_path / "scenario.py", "env": {"SESSIONS": str(tmp_path / "sessions")}}


def ledger(central_system: CentralSystem) -> dict[str, Any]:
    """What the central system counted of transactions."""
    status, counted = central_system.request("GET", "/api/v1/ledger")
    assert status == 200
    assert isinstance(counted, dict)
    return counted


CUT = """
class Station(Noting):
    @task
    def charge(self):
        self.plug_in(Vehicle(soc=20))
        assert self.start_charging("TAG1")
        self.sleep(2)
        self.lose_network(2.5)
        self.stop_charging()
        self.unplug()
        # A whole transaction while nobody can be asked.
        self.lose_network(0.01)
        self.plug_in(Vehicle(soc=50), connector=2)
        self.lose_network(2)
        self.start_charging("TAG2", connector=2)
        self.sleep(2)
        self.stop_charging(connector=2)
        self.unplug(connector=2)
        self.wait_until(lambda: self.charge_point.is_online and not self.charge_point.unsent, 30)
        self.sleep(1000)
"""


def test_a_network_cut_in_the_middle_of_charging_loses_nothing_and_doubles_nothing(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """Core 3.7: what happened without a network is told afterwards, in order, with the energy of both sides equal."""
    more = prepare(tmp_path, CUT)
    run = run_locust(
        tmp_path, "--headless", "-t", "22s", "-u", "40", "--spawn-rate", "40", "--host", central_system.url,
        "--fleet", str(tmp_path / "fleet.toml"), "--reconnect-max", "1.5", "--require-online", **more,
    )  # fmt: skip
    assert "40 of 40 charge points were online when the test ended" in run.output
    # What was on its way when the network went is a failed Call, and is sent again.
    assert {"connection lost before the answer"} >= {text.split("'")[1] for text in run.failures}
    counted = ledger(central_system)
    sessions = charged(tmp_path)
    assert len(sessions) == 80
    assert {(cp, connector) for cp, connector, _, _ in sessions} == {
        (f"CP{number:06d}", connector) for number in range(1, 41) for connector in "12"
    }
    assert counted["started"] == counted["stopped"] == 80
    assert counted["open"] == counted["unknown_stops"] == counted["without_transaction_id"] == 0
    assert counted["energy_wh"] == sum(wh for _, _, _, wh in sessions) > 80 * 3
    assert counted["meter_values_out_of_order"] == counted["meter_values_unknown_transaction"] == 0
    assert counted["meter_values"] >= 80 * 3
    assert "OUTBOX" not in "".join(run.rows)


STORM = """
class Station(Noting):
    @task
    def charge(self):
        self.plug_in(Vehicle(soc=20))
        self.start_charging("TAG1")
        self.sleep(1000)
"""


def test_a_reset_storm_ends_every_transaction_and_brings_everybody_back(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """Core errata 3.36 for a whole fleet at once: one StopTransaction each, one more boot each, nobody missing."""
    more = prepare(tmp_path, STORM)
    with Locust(
        tmp_path, "--headless", "-t", "14s", "-u", "150", "--spawn-rate", "150", "--host", central_system.url,
        "--fleet", str(tmp_path / "fleet.toml"), "--reconnect-max", "1.5", "--require-online", **more,
    ) as locust:  # fmt: skip
        wait_for_ledger(central_system, lambda counted: counted["open"] == 150)
        answers = central_system.call_all("Reset", {"type": "Soft"})
        assert [each["result"] for each in answers] == [{"status": "Accepted"}] * 150
        wait_for_ledger(central_system, lambda counted: counted["stopped"] == 150)
        run = locust.wait()
    assert run.status == 0, run.output
    counted = ledger(central_system)
    sessions = charged(tmp_path)
    assert [(reason, wh >= 0) for _, _, reason, wh in sessions] == [("SoftReset", True)] * 150
    assert counted["started"] == counted["stopped"] == 150
    assert counted["energy_wh"] == sum(wh for _, _, _, wh in sessions)
    assert run.rows["OCPP/BootNotification"].requests == 300
    assert run.rows["OCPP/StopTransaction"].requests == 150
    assert run.rows["/Aggregated"].failures == 0


def test_firmware_is_rolled_out_over_a_fleet(central_system: CentralSystem, tmp_path: Path) -> None:
    """Core 5.19: every status in order, a reboot, and the new version in BootNotification."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(QUICK)
    with Locust(
        tmp_path, "--headless", "-t", "16s", "-u", "100", "--spawn-rate", "100", "--host", central_system.url,
        "--fleet", str(fleet), "--reconnect-max", "1.5", "--require-online",
    ) as locust:  # fmt: skip
        until(lambda: central_system.connections == 100)
        update = {"location": "https://firmware.invalid/ampswarm-2.7.1.bin", "retrieveDate": "2026-01-01T00:00:00Z"}
        assert [each["result"] for each in central_system.call_all("UpdateFirmware", update)] == [{}] * 100
        run = locust.wait()
    assert run.status == 0, run.output
    # Downloading, Downloaded, Installing, Installed.
    assert run.rows["OCPP/FirmwareStatusNotification"].requests == 400
    assert run.rows["OCPP/BootNotification"].requests == 200
    assert run.rows["/Aggregated"].failures == 0
    for identity in ("CP000001", "CP000100"):
        status, known = central_system.request("GET", f"/api/v1/charge-points/{identity}")
        assert status == 200
        assert known["boot"]["firmwareVersion"] == "2.7.1"


def test_drivers_come_and_go_and_both_ledgers_agree(central_system: CentralSystem, tmp_path: Path) -> None:
    """`locustfiles/charging.py` with a shipped fleet, accelerated: sessions, and no failure."""
    scenario = CHARGING.read_text().replace("(ChargePointUser)", "(Noting)")
    (tmp_path / "charging.py").write_text(NOTING + scenario)
    run = run_locust(
        tmp_path, "--headless", "-t", "15s", "-u", "60", "--spawn-rate", "60", "--host", central_system.url,
        "--fleet", str(ROOT / "locustfiles" / "fleets" / "highway.toml"), "--acceleration", "1000", "--seed", "3",
        locustfile=tmp_path / "charging.py", env={"SESSIONS": str(tmp_path / "sessions")},
    )  # fmt: skip
    assert run.status == 0, run.output
    counted = ledger(central_system)
    sessions = charged(tmp_path)
    assert counted["stopped"] >= 15
    # A few may be under way in both directions when Locust stops.
    assert 0 <= len(sessions) - counted["stopped"] <= 3
    assert counted["unknown_stops"] == counted["repeated_starts"] == 0
    assert run.rows["/Aggregated"].failures == 0
    assert counted["energy_wh"] <= sum(wh for _, _, _, wh in sessions)


def wait_for_ledger(central_system: CentralSystem, condition: Callable[[dict[str, Any]], bool]) -> None:
    until(lambda: condition(ledger(central_system)))


OUTAGE = """
class Station(Noting):
    @task
    def day(self):
        self.serve_drivers(seconds=6)
        self.lose_network(4)
        self.sleep(1000)

    def observed(self, event):
        super().observed(event)
        if isinstance(event, TransactionEnded):
            raise KeyError("a mistake in the scenario")
"""

SOME_DRIVE = """
[[populations]]
name = "busy"
weight = 50

[populations.charging]
arrivals_per_day = 40
minutes = 20

[[populations]]
name = "forgotten"
weight = 50
identity_format = "IDLE{:04d}"
"""


def test_drivers_come_through_an_outage_and_the_last_sessions_are_ended(
    central_system: CentralSystem, tmp_path: Path
) -> None:
    """Drivers who go on in `lose_network`, populations without any, mistakes of a scenario, and `--end-sessions`."""
    more = prepare(tmp_path, OUTAGE)
    (tmp_path / "fleet.toml").write_text(SOME_DRIVE)
    run = run_locust(
        tmp_path, "--headless", "-t", "16s", "-u", "40", "--spawn-rate", "40", "--host", central_system.url,
        "--fleet", str(tmp_path / "fleet.toml"), "--acceleration", "1000", "--start-hour", "12", "--end-sessions",
        "--reconnect-max", "1.5", "--require-online", **more,
    )  # fmt: skip
    assert "40 of 40 charge points were online when the test ended" in run.output
    sessions = charged(tmp_path)
    assert len(sessions) > 30
    assert not [cp for cp, _, _, _ in sessions if cp.startswith("IDLE")]
    # The mistake is reported, and costs nobody a connection: one at the start, one after the outage.
    assert "a mistake in the scenario" in Path(f"{run.csv_prefix}_exceptions.csv").read_text()
    assert run.rows["WS/connect"].requests == 80
    counted = ledger(central_system)
    assert counted["started"] == counted["stopped"] == len(sessions)
    assert counted["open"] == 0
    assert counted["energy_wh"] == sum(wh for _, _, _, wh in sessions)
    assert "Other" in {reason for _, _, reason, _ in sessions}


TWICE = """
class Station(Noting):
    @task
    def charge(self):
        for number in (1, 2):
            self.plug_in(Vehicle(soc=20))
            assert self.start_charging("TAG1")
            self.sleep(6)
            self.stop_charging()
            self.unplug()
        self.wait_until(lambda: self.charge_point.is_online and not self.charge_point.unsent, 30)
        self.sleep(1000)
"""


def test_one_of_two_processes_killed_while_a_fleet_charges_costs_nobody_anything(tmp_path: Path) -> None:
    """Its charge points come back to the other one, and on one SQLite file the ledger is balanced in the end."""
    more = prepare(tmp_path, TWICE)
    options = ("--processes", "2", "--boot-interval", "1")
    with (
        CentralSystem(tmp_path / "cs.log", *options) as server,
        Locust(
            tmp_path, "--headless", "-t", "24s", "-u", "100", "--spawn-rate", "100", "--host", server.url,
            "--fleet", str(tmp_path / "fleet.toml"), "--reconnect-max", "1.5", "--require-online", **more,
        ) as locust,
    ):  # fmt: skip
        wait_for_ledger(server, lambda counted: counted["open"] == 100)
        # Not the one with the operator API, which has to tell the ledger.
        api, other = sorted(psutil.Process(server.pid).children(), key=lambda each: _listens(each, server.admin_port))[
            ::-1
        ]
        connected = server.request("GET", "/api/v1/fleet")[1]["nodes"]
        other.kill()
        run = locust.wait()
        counted = ledger(server)
        assert api.is_running()
        assert len(server.lines("process ended")) == 1
    assert "100 of 100 charge points were online when the test ended" in run.output
    assert min(connected.values()) > 0
    sessions = charged(tmp_path)
    assert len(sessions) == 200
    assert counted["started"] == counted["stopped"] == 200
    assert counted["open"] == counted["superseded"] == counted["unknown_stops"] == 0
    assert counted["energy_wh"] == sum(wh for _, _, _, wh in sessions) > 0


def _listens(process: psutil.Process, port: int) -> bool:
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in process.net_connections("tcp"))
