"""DataTransfer from the central system: whose it is, and what is known of it (core 4.3, 5.6)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from tests.fakes.scene import Scene

VENDOR = "com.example"


def booted() -> Scene:
    scene = Scene(Template(vendor=VENDOR))
    scene.boot()
    return scene


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"vendorId": "org.other"}, {"status": "UnknownVendorId"}),
        ({"vendorId": "org.other", "messageId": "Hello", "data": "x"}, {"status": "UnknownVendorId"}),
        ({"vendorId": VENDOR, "messageId": "Hello"}, {"status": "UnknownMessageId"}),
        ({"vendorId": VENDOR, "messageId": "Hello", "data": "x" * 10_000}, {"status": "UnknownMessageId"}),
        ({"vendorId": VENDOR}, {"status": "Accepted"}),
        ({"vendorId": VENDOR, "data": "x"}, {"status": "Accepted"}),
        # Core 7.18: a CiString255Type is case insensitive.
        ({"vendorId": VENDOR.upper()}, {"status": "Accepted"}),
    ],
)
def test_who_is_not_known_is_told_so_without_data(request_: dict[str, Any], expected: dict[str, str]) -> None:
    """Core 4.3, 7.23: UnknownVendorId, and SHALL have no data; UnknownMessageId for a message that there is not."""
    scene = booted()
    assert expected == scene.command("DataTransfer", request_)
    scene.expect_silence()


@pytest.mark.parametrize("request_", [{"vendorId": "v" * 256}, {"vendorId": VENDOR, "messageId": "m" * 51}])
def test_names_have_their_lengths(request_: dict[str, str]) -> None:
    """Core 6.15: 255 and 50 characters; J 4.2.3: a CallError beyond."""
    assert booted().command("DataTransfer", request_) == "TypeConstraintViolation"
