"""Feature profiles: what a charge point answers where it does not have one (core 3.3; core errata 3.2, 3.3)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from tests.charge_point.test_commands import VALID
from tests.fakes.scene import Scene

# The table of core 3.3, with the columns put right by core errata 3.2.
FIRMWARE_MANAGEMENT = {"GetDiagnostics", "UpdateFirmware"}
LOCAL_AUTH_LIST_MANAGEMENT = {"GetLocalListVersion", "SendLocalList"}
REMOTE_TRIGGER = {"TriggerMessage"}
RESERVATION = {"CancelReservation", "ReserveNow"}
SMART_CHARGING = {"ClearChargingProfile", "GetCompositeSchedule", "SetChargingProfile"}
ACTIONS = {
    "FirmwareManagement": FIRMWARE_MANAGEMENT,
    "LocalAuthListManagement": LOCAL_AUTH_LIST_MANAGEMENT,
    "RemoteTrigger": REMOTE_TRIGGER,
    "Reservation": RESERVATION,
    "SmartCharging": SMART_CHARGING,
}
CORE = {
    "ChangeAvailability",
    "ChangeConfiguration",
    "ClearCache",
    "DataTransfer",
    "GetConfiguration",
    "RemoteStartTransaction",
    "RemoteStopTransaction",
    "Reset",
    "UnlockConnector",
}
REQUESTS: dict[str, dict[str, Any]] = {
    **VALID,
    "ChangeConfiguration": {"key": "HeartbeatInterval", "value": "60"},
    "Reset": {"type": "Soft"},
    "TriggerMessage": {"requestedMessage": "Heartbeat"},
}


def booted(profiles: str) -> Scene:
    scene = Scene(Template(settings=(("SupportedFeatureProfiles", profiles),)))
    scene.boot()
    return scene


def without(profile: str) -> Scene:
    return booted(",".join(["Core", *(each for each in ACTIONS if each != profile)]))


@pytest.mark.parametrize(
    ("profile", "action"), [(profile, action) for profile in ACTIONS for action in sorted(ACTIONS[profile])]
)
def test_what_belongs_to_a_profile_is_not_supported_without_it(profile: str, action: str) -> None:
    """Core 3.3, J 4.2.3: recognized but not supported is NotSupported; a list version has an answer of its own."""
    answer = without(profile).command(action, REQUESTS[action])
    assert answer == ({"listVersion": -1} if action == "GetLocalListVersion" else "NotSupported")


@pytest.mark.parametrize("profile", ACTIONS)
def test_the_other_profiles_are_not_touched(profile: str) -> None:
    """Core 3.3: each profile can be there or not, and Core always is."""
    scene = without(profile)
    for action in sorted((set().union(*ACTIONS.values()) | CORE) - ACTIONS[profile] - {"Reset"}):
        assert isinstance(scene.command(action, REQUESTS[action]), dict), action


def test_core_alone_is_a_charge_point() -> None:
    """Core 3.3: all other profiles are optional; SupportedFeatureProfiles tells (9.1.29)."""
    scene = booted("Core")
    got = scene.command("GetConfiguration", {"key": ["SupportedFeatureProfiles"]})
    assert isinstance(got, dict)
    assert got["configurationKey"][0]["value"] == "Core"
    assert scene.start() == 1
    for action in sorted(CORE):
        assert isinstance(scene.command(action, REQUESTS[action]), dict), action
