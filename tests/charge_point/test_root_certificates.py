"""Root certificates on the wire: installed, listed, deleted, replaced (whitepaper M03, M04, M05, 7.1, 7.4)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.security import Security
from ampswarm.charge_point.template import Template
from tests.fakes import pki
from tests.fakes.scene import UTC_AT_ZERO, Scene

USES = ["CentralSystemRootCertificate", "ManufacturerRootCertificate"]


def booted(**settings: str) -> Scene:
    scene = Scene(Template(settings=tuple(settings.items())), security=Security(0), utc_offset=UTC_AT_ZERO)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.serve(1)
    return scene


def install(scene: Scene, pem: str, use: str = USES[0]) -> str:
    answer = scene.command("InstallCertificate", {"certificateType": use, "certificate": pem})
    assert isinstance(answer, dict)
    status: str = answer["status"]
    return status


def installed(scene: Scene, use: str = USES[0]) -> list[dict[str, Any]]:
    answer = scene.command("GetInstalledCertificateIds", {"certificateType": use})
    assert isinstance(answer, dict)
    found: list[dict[str, Any]] = answer.get("certificateHashData", [])
    assert ("Accepted" if found else "NotFound") == answer["status"]
    return found


def delete(scene: Scene, hash_data: dict[str, Any]) -> str:
    answer = scene.command("DeleteCertificate", {"certificateHashData": hash_data})
    assert isinstance(answer, dict)
    status: str = answer["status"]
    return status


def serial(authority: pki.Authority) -> str:
    return f"{authority.certificate.serial_number:X}"


@pytest.mark.parametrize("use", USES)
def test_what_is_installed_is_listed_until_it_is_deleted(use: str) -> None:
    """M03.FR.01 to 04, M04.FR.01 to 04, M05.FR.01 and 02, A00.FR.506: each with its hash data, of its use only."""
    scene = booted()
    one, two = (pki.Authority(name, UTC_AT_ZERO) for name in ("One", "Two"))
    assert installed(scene, use) == []
    assert [install(scene, each.pem, use) for each in (one, two)] == ["Accepted", "Accepted"]
    assert [serial(one), serial(two)] == [each["serialNumber"] for each in installed(scene, use)]
    assert {each["hashAlgorithm"] for each in installed(scene, use)} == {"SHA256"}
    other = USES[1 - USES.index(use)]
    assert installed(scene, other) == []
    first = installed(scene, use)[0]
    assert delete(scene, first) == "Accepted"
    assert delete(scene, first) == "NotFound"
    assert [serial(two)] == [each["serialNumber"] for each in installed(scene, use)]


def test_what_is_no_root_or_does_not_fit_is_rejected() -> None:
    """M05.FR.03 and 06, whitepaper 7.4: CertificateStoreMaxLength; invalid or expired ones change nothing."""
    scene = booted(CertificateStoreMaxLength="1")
    expired = pki.Authority("Old", UTC_AT_ZERO - 20 * pki.DAY, days=10)
    assert [install(scene, each) for each in ("nonsense", expired.pem)] == ["Rejected", "Rejected"]
    assert installed(scene) == []
    assert install(scene, pki.Authority("One", UTC_AT_ZERO).pem) == "Accepted"
    assert install(scene, pki.Authority("Two", UTC_AT_ZERO).pem) == "Rejected"
    assert len(installed(scene)) == 1


def test_with_the_additional_check_the_old_root_has_to_sign_the_new_one() -> None:
    """M05.FR.08 to 10, whitepaper 7.1: AdditionalRootCertificateCheck, which can be read and not written."""
    scene = booted(AdditionalRootCertificateCheck="true")
    got = scene.command("GetConfiguration", {"key": ["AdditionalRootCertificateCheck"]})
    assert isinstance(got, dict)
    assert got["configurationKey"][0] == {"key": "AdditionalRootCertificateCheck", "readonly": True, "value": "true"}
    old = pki.Authority("Old", UTC_AT_ZERO)
    assert install(scene, old.pem) == "Accepted"
    assert install(scene, pki.Authority("Stranger", UTC_AT_ZERO).pem) == "Rejected"
    new = pki.Authority("New", UTC_AT_ZERO, parent=old)
    assert install(scene, new.pem) == "Accepted"
    # The old one stays as a fallback until a connection was made with the new one (M05.FR.11).
    assert {serial(old), serial(new)} == {each["serialNumber"] for each in installed(scene)}


def test_roots_outlast_a_reboot() -> None:
    """Whitepaper M05: the charge point's trust store; a power cut must not cost the next connection."""
    scene = booted()
    root = pki.Authority("One", UTC_AT_ZERO)
    install(scene, root.pem)
    scene.charge_point.power_off(scene.now)
    scene.charge_point.power_on(scene.now)
    scene.connect()
    scene.serve(1)
    assert [serial(root)] == [each["serialNumber"] for each in installed(scene)]
