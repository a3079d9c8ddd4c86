"""Signed firmware updates that are refused, seen on the wire (whitepaper L01)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.security import Security
from ampswarm.charge_point.template import Template
from tests.fakes import pki
from tests.fakes.scene import UTC_AT_ZERO, Scene


@pytest.fixture(scope="module")
def maker() -> pki.Authority:
    """The root of the manufacturer's hierarchy."""
    return pki.Authority("Maker", UTC_AT_ZERO)


def booted(maker: pki.Authority) -> Scene:
    scene = Scene(Template(), security=Security(0), utc_offset=UTC_AT_ZERO)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.serve(1)
    root = {"certificateType": "ManufacturerRootCertificate", "certificate": maker.pem}
    assert scene.command("InstallCertificate", root) == {"status": "Accepted"}
    return scene


def update(scene: Scene, certificate: str, signature: str = "c2lnbmF0dXJl") -> str:
    firmware = {
        "location": "ftp://files.example.com/2.0.0.bin",
        "retrieveDateTime": scene.time(),
        "signingCertificate": certificate,
        "signature": signature,
    }
    answer = scene.command("SignedUpdateFirmware", {"requestId": 7, "firmware": firmware})
    assert isinstance(answer, dict)
    status: str = answer["status"]
    return status


def told(scene: Scene, seconds: float) -> list[dict[str, Any]]:
    actions = ("SecurityEventNotification", "SignedFirmwareStatusNotification")
    return [each.payload for each in scene.serve(seconds) if each.action in actions]


def test_a_certificate_of_somebody_else_is_told_and_starts_nothing(maker: pki.Authority) -> None:
    """L01.FR.02, L01.FR.24: InvalidCertificate, and SHALL send InvalidFirmwareSigningCertificate, critical or not."""
    scene = booted(maker)
    stranger = pki.Authority("Stranger", UTC_AT_ZERO)
    certificate = pki.pem(stranger.issue(pki.new_key().public_key(), "Signer", "Stranger"))
    assert update(scene, certificate) == "InvalidCertificate"
    assert [each.get("type") for each in told(scene, 600)] == ["InvalidFirmwareSigningCertificate"]


def test_a_signature_that_is_none_is_told(maker: pki.Authority) -> None:
    """L01.FR.03: SHALL send InvalidFirmwareSignature; L01, step 5: and the status InvalidSignature."""
    scene = booted(maker)
    certificate = pki.pem(maker.issue(pki.new_key().public_key(), "Signer", "Maker"))
    assert update(scene, certificate, signature="") == "Accepted"
    sent = told(scene, 600)
    assert [each["status"] for each in sent if "status" in each] == ["Downloading", "Downloaded", "InvalidSignature"]
    assert [each["type"] for each in sent if "type" in each] == ["InvalidFirmwareSignature"]
