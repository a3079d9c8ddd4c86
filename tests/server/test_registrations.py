"""Calls to charge points whose boot was answered Pending or Rejected, which core 4.2 is against."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from server.records import Registered
from server.registrations import objection
from tests.processes import TIMEOUT, CentralSystem, until
from tests.server.station import Station

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
START, STOP = ("RemoteStartTransaction", {"idTag": "T"}), ("RemoteStopTransaction", {"transactionId": 1})
ASK: tuple[str, dict[str, Any]] = ("ClearCache", {})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system of a test's own."""
    with CentralSystem(tmp_path / "log", "--ping-interval-ms", "0") as running:
        yield running


def boot(server: CentralSystem, station: Station, status: str) -> None:
    assert server.request("PUT", "/api/v1/boot-policy", {"status": status, "interval": 60})[0] == 200
    # Another process hears of the policy a moment later.
    until(lambda: station.call("BootNotification", BOOT)["status"] == status)


def post(server: CentralSystem, identity: str, call: tuple[str, dict[str, Any]], query: str = "") -> tuple[int, Any]:
    action, payload = call
    return server.request("POST", f"/api/v1/charge-points/{identity}/calls/{action}{query}", payload)


def post_many(server: CentralSystem, call: tuple[str, dict[str, Any]], query: str = "") -> dict[str, Any]:
    """Call all that are connected; return the lines by identity, and the summary's errors under None."""
    action, payload = call
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=TIMEOUT)
    body = json.dumps({"payload": payload})
    connection.request("POST", f"/api/v1/calls/{action}{query}", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    *lines, last = [json.loads(line) for line in response.read().splitlines()]
    connection.close()
    return {line["identity"]: line for line in lines} | {"errors": last["summary"]["errors"]}


@pytest.mark.parametrize("registered", Registered)
@pytest.mark.parametrize("action", ["RemoteStartTransaction", "RemoteStopTransaction", "TriggerMessage", "Reset"])
def test_what_the_rules_are_against(registered: Registered, action: str) -> None:
    """Core 4.2: none to one that is Rejected; to one that is Pending all but remote starts and stops."""
    is_remote = action.startswith("Remote")
    expected = registered is Registered.REJECTED or (registered is Registered.PENDING and is_remote)
    why = objection(registered, action)
    assert expected == (why is not None)
    assert why is None or ("core 4.2" in why and "force=true" in why and "\n" not in why)


def test_a_call_against_the_rules_is_409_unless_it_is_forced(server: CentralSystem) -> None:
    """Who tests a charge point has to be able to provoke it, and not by mistake."""
    with Station(server, "A") as station:
        for status, refused in (("Pending", [START, STOP]), ("Rejected", [START, STOP, ASK]), ("Accepted", [])):
            boot(server, station, status)
            for call in (START, STOP, ASK):
                before = len(station.commands)
                code, answer = post(server, "A", call)
                assert code == (409 if call in refused else 200), answer
                if call in refused:
                    assert answer["error"]["code"] == "NotAccepted"
                    assert f"answered {status}" in answer["error"]["description"]
                    assert len(station.commands) == before
                    assert post(server, "A", call, "?force=false")[0] == 409
                    assert post(server, "A", call, "?force=true") == (200, {"result": {"status": "Accepted"}})
                assert [each.action for each in station.commands[before:]] == [call[0]]


def test_what_a_boot_was_answered_is_known_after_a_reconnection_and_a_restart(server: CentralSystem) -> None:
    """J 5.4: a charge point does not boot again because its network was away."""
    with Station(server, "A") as station:
        assert post(server, "A", START)[0] == 200  # it has not booted yet, and nothing was answered
        boot(server, station, "Pending")
    with Station(server, "A"):
        assert post(server, "A", START)[0] == 409
        assert post(server, "A", ASK)[0] == 200
    server.stop()
    server.start()
    with Station(server, "A") as station:
        assert post(server, "A", START)[0] == 409
        boot(server, station, "Accepted")
        assert post(server, "A", START)[0] == 200


def test_many_are_called_but_those_that_are_not_accepted(tmp_path: Path) -> None:
    """Each says so in its line; over all processes, and also those that have booted elsewhere or before."""
    with CentralSystem(tmp_path / "log", "--processes", "2") as server, ExitStack() as opened:
        names = {f"{status} {number}": status for status in ("Accepted", "Pending", "Rejected") for number in range(4)}
        for number, (name, status) in enumerate(names.items()):
            station = opened.enter_context(Station(server, name))
            boot(server, station, status)
            if number % 2:
                station.close()
                opened.enter_context(Station(server, name))
        # All processes write what they know.
        assert server.request("GET", "/api/v1/charge-points")[0] == 200
        for call, called in ((START, {"Accepted"}), (ASK, {"Accepted", "Pending"})):
            lines = post_many(server, call)
            errors = lines.pop("errors")
            assert names.keys() == lines.keys()
            assert {name for name, status in names.items() if status in called} == {
                name for name, line in lines.items() if "result" in line
            }
            refused = {name: line["error"] for name, line in lines.items() if "error" in line}
            assert {"NotAccepted": len(refused)} == errors
            for name, error in refused.items():
                assert (error["code"], f"answered {names[name]}" in error["description"]) == ("NotAccepted", True)
            forced = post_many(server, call, "?force=true")
            assert forced.pop("errors") == {}
            assert all("result" in line for line in forced.values())
