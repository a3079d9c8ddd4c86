"""New firmware for a fleet, signed by its manufacturer (whitepaper L01), from the operator API to the last status."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ampswarm.ocppj.timestamps import format_utc
from tests.fakes import pki
from tests.processes import CentralSystem, Locust, until

FLEET = 4
FLEET_FILE = """
[[populations]]
name = "signed"
reboot_seconds = 1
download_seconds = 1
install_seconds = 1

[populations.security]
profile = 1
password = "password-of-{identity}"
manufacturer_ca_file = "maker.pem"
"""
STATUSES = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting", "Installed"]


@pytest.fixture
def witness(tmp_path: Path) -> object:
    """A central system that logs every message."""
    with CentralSystem(tmp_path / "cs.log", "--log-payload", "true") as running:
        yield running


@pytest.fixture
def maker(tmp_path: Path) -> pki.Authority:
    """The manufacturer's root, where the fleet file looks for it."""
    root = pki.Authority("Maker", time.time())
    (tmp_path / "maker.pem").write_text(root.pem)
    (tmp_path / "fleet.toml").write_text(FLEET_FILE)
    return root


def start(witness: CentralSystem, tmp_path: Path, seconds: int) -> Locust:
    return Locust(
        tmp_path, "--headless", "-t", f"{seconds}s", "-u", f"{FLEET}", "-r", f"{FLEET}", "--require-online",
        "--host", witness.url, "--fleet", str(tmp_path / "fleet.toml"), "--reconnect-max", "1.5",
    )  # fmt: skip


def update(signer: pki.Authority) -> dict[str, Any]:
    """Return a SignedUpdateFirmware.req with a certificate that `signer` issued."""
    return {
        "requestId": 42,
        "firmware": {
            "location": "https://files.example.com/swarm-7.0.0.bin",
            "retrieveDateTime": format_utc(time.time()),
            "signingCertificate": pki.pem(signer.issue(pki.new_key().public_key(), "Signer", "Maker")),
            "signature": "c2lnbmF0dXJl",
        },
    }


def sent(witness: CentralSystem, action: str) -> dict[str, list[dict[str, Any]]]:
    """Return the payloads of all Calls of an action, in their order, by identity."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in witness.lines("message"):
        frame: list[Any] = json.loads(line["message"]) if line["direction"] == "in" else [3]
        if frame[0] == 2 and frame[2] == action:
            found.setdefault(line["identity"], []).append(frame[3])
    return found


def online(witness: CentralSystem) -> bool:
    """Whether all of the fleet have told both of their statuses."""
    statuses = sent(witness, "StatusNotification")
    return len(statuses) == FLEET and all(len(each) >= 2 for each in statuses.values())


def test_a_fleet_takes_new_firmware_from_its_manufacturer(
    witness: CentralSystem, maker: pki.Authority, tmp_path: Path
) -> None:
    """L01.FR.01, 10, 15, 21: every status in its order up to Installed, the boot in between, and FirmwareUpdated."""
    with start(witness, tmp_path, 25) as locust:
        until(lambda: online(witness))
        answers = witness.call_all("SignedUpdateFirmware", update(maker))
        assert [each["result"] for each in answers] == [{"status": "Accepted"}] * FLEET
        updated = "SecurityEventNotification"
        until(lambda: sum("FirmwareUpdated" in str(each) for each in sent(witness, updated).values()) == FLEET)
        run = locust.wait()
    assert run.status == 0, run.output
    identities = {f"CP{number:06d}" for number in range(1, FLEET + 1)}
    told = sent(witness, "SignedFirmwareStatusNotification")
    assert told.keys() == identities
    for payloads in told.values():
        assert [{"status": status, "requestId": 42} for status in STATUSES] == payloads
    boots = sent(witness, "BootNotification")
    assert {identity: ["1.0.0", "7.0.0"] for identity in identities} == {
        identity: [each["firmwareVersion"] for each in payloads] for identity, payloads in boots.items()
    }
    events = sent(witness, "SecurityEventNotification")
    assert events.keys() == identities
    for payloads in events.values():
        mine = [each for each in payloads if each["type"] == "FirmwareUpdated"]
        assert [each["techInfo"] for each in mine] == ["7.0.0"]
    assert run.rows["OCPP/SignedFirmwareStatusNotification"].requests == len(STATUSES) * FLEET
    assert run.rows["/Aggregated"].failures == 0


def test_firmware_of_somebody_else_is_refused(witness: CentralSystem, maker: pki.Authority, tmp_path: Path) -> None:
    """L01.FR.02, 24: InvalidCertificate, the event for it, no status and no reboot; the right one is still taken."""
    stranger = pki.Authority("Maker", time.time())
    with start(witness, tmp_path, 12) as locust:
        until(lambda: online(witness))
        answers = witness.call_all("SignedUpdateFirmware", update(stranger))
        assert [each["result"] for each in answers] == [{"status": "InvalidCertificate"}] * FLEET
        event = "InvalidFirmwareSigningCertificate"
        until(lambda: str(sent(witness, "SecurityEventNotification")).count(event) == FLEET)
        assert sent(witness, "SignedFirmwareStatusNotification") == {}
        answer = witness.call("CP000002", "SignedUpdateFirmware", update(maker))
        assert answer == {"status": "Accepted"}
        until(lambda: "Downloading" in str(sent(witness, "SignedFirmwareStatusNotification")))
        run = locust.wait()
    assert sent(witness, "SignedFirmwareStatusNotification").keys() == {"CP000002"}
    assert {identity for identity, boots in sent(witness, "BootNotification").items() if len(boots) > 1} <= {"CP000002"}
    assert "Traceback" not in run.output
