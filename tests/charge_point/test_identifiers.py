"""Numbers and names on the wire: connectors, id tags, transactions, the charge point itself (core 3.8, 3.9, 6.3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.charge_point.template import Template
from ampswarm.ocppj.schemas import Direction, validate
from tests.fakes.scene import Scene

QUIET = (("MeterValueSampleInterval", "0"),)
ODD_ID_TAGS = ["a", "x" * 20, "04a3bc", "#*!; ,'\"\\", "Zoë Ünïcødé", "客户-卡片", "0", " 1 ", "null"]


def booted(connectors: int = 1, **settings: str) -> Scene:
    scene = Scene(Template(connectors=connectors, settings=(*QUIET, *settings.items())))
    scene.boot(86_400)
    return scene


@pytest.mark.parametrize("connectors", [1, 2, 7])
def test_connectors_are_numbered_from_1_without_a_gap(connectors: int) -> None:
    """Core 3.8, 9.1.21: the first is 1, none above their number; 0 is the charge point's main controller."""
    scene = Scene(Template(connectors=connectors, settings=QUIET))
    scene.charge_point.power_on(scene.now)
    scene.connect()
    told = [each.payload["connectorId"] for each in scene.serve() if each.action == "StatusNotification"]
    assert list(range(connectors + 1)) == told
    got = scene.command("GetConfiguration", {"key": ["NumberOfConnectors"]})
    assert isinstance(got, dict)
    assert got["configurationKey"] == [{"key": "NumberOfConnectors", "readonly": True, "value": f"{connectors}"}]
    for number in range(1, connectors + 1):
        assert scene.start(number, f"TAG{number}") == number


@pytest.mark.parametrize("id_tag", ODD_ID_TAGS)
@pytest.mark.parametrize("is_remote", [True, False])
def test_an_id_tag_may_be_anything(id_tag: str, is_remote: bool) -> None:
    """Core 3.9: MUST NOT presume anything of its format; it goes out as it came, also as somebody's parent."""
    scene = booted()
    scene.id_tag_info = {"status": "Accepted", "parentIdTag": id_tag}
    scene.plug_in()
    if is_remote:
        assert scene.command("RemoteStartTransaction", {"idTag": id_tag}) == {"status": "Accepted"}
    else:
        scene.present(1, id_tag)
    (start,) = [each.payload for each in scene.serve() if each.action == "StartTransaction"]
    assert id_tag == start["idTag"]
    scene.present(1, "ANOTHER")
    (stop,) = [each.payload for each in scene.serve() if each.action == "StopTransaction"]
    assert stop["idTag"] == "ANOTHER"


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        ("RemoteStartTransaction", {"idTag": "x" * 21}),
        (
            "ReserveNow",
            {"connectorId": 1, "expiryDate": "2030-01-01T00:00:00Z", "idTag": "x" * 21, "reservationId": 1},
        ),
        ("ChangeConfiguration", {"key": "x" * 51, "value": "1"}),
        ("ChangeConfiguration", {"key": "CpoName", "value": "x" * 501}),
    ],
)
def test_what_is_longer_than_its_type_is_refused(action: str, request_: dict[str, Any]) -> None:
    """Core errata 3.58 to 3.62: lengths are the most that there may be, and J 4.2.3 has a code for more."""
    assert booted().command(action, request_) == "TypeConstraintViolation"


@pytest.mark.parametrize("transaction_id", [0, -1, -7, 2**31 - 1])
def test_a_transaction_id_may_be_any_number(transaction_id: int) -> None:
    """Core errata 3.54: zero and negative ones have no special meaning to the charge point."""
    scene = booted()
    scene.plug_in()
    scene.expect_status("Preparing")
    scene.present()
    scene.authorize("TAG1")
    scene.accept_start(transaction_id)
    scene.expect_status("Charging")
    assert scene.command("RemoteStopTransaction", {"transactionId": transaction_id}) == {"status": "Accepted"}
    assert transaction_id == scene.accept_stop()["transactionId"]


@given(identity=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_bootnotification_fits_whatever_the_identity_is(identity: str) -> None:
    """Core 6.3: 25 characters for a serial number; a longer identity must not cost the boot."""
    payload = Template(serial_number="SN-{identity}").boot_notification(identity)
    assert f"SN-{identity}"[:25] == payload["chargePointSerialNumber"]
    validate("BootNotification", Direction.REQ, payload)


def test_bootnotification_tells_all_that_is_known() -> None:
    """Core 6.3: vendor and model always, the rest where the make has it, and nothing empty."""
    template = Template(
        vendor="V" * 20,
        model="M" * 20,
        firmware_version="F" * 50,
        iccid="8" * 20,
        imsi="2" * 15,
        meter_type="T" * 25,
        meter_serial_number="S" * 25,
    )
    scene = Scene(template)
    scene.charge_point.power_on(0.0)
    scene.connect()
    assert scene.expect("BootNotification") == {
        "chargePointVendor": "V" * 20,
        "chargePointModel": "M" * 20,
        "chargePointSerialNumber": "CP1",
        "firmwareVersion": "F" * 50,
        "iccid": "8" * 20,
        "imsi": "2" * 15,
        "meterType": "T" * 25,
        "meterSerialNumber": "S" * 25,
    }
