"""The local authorization list on the wire (core 5.10, 5.15, 6.41, 7.47, 9.2; core errata 3.52)."""

from __future__ import annotations

from typing import Any

import pytest

from ampswarm.charge_point.template import Template
from tests.fakes.scene import Scene


def booted(**settings: str) -> Scene:
    chosen = {"MeterValueSampleInterval": "0", "LocalPreAuthorize": "true", **settings}
    scene = Scene(Template(settings=tuple(chosen.items())))
    scene.boot()
    return scene


def send(scene: Scene, version: int, kind: str, *entries: tuple[str, str | None]) -> str:
    """Send a list; `None` is an entry without idTagInfo. Return the status."""
    told: list[dict[str, Any]] = [
        {"idTag": id_tag} if status is None else {"idTag": id_tag, "idTagInfo": {"status": status}}
        for id_tag, status in entries
    ]
    request = {"listVersion": version, "updateType": kind, "localAuthorizationList": told}
    answer = scene.command("SendLocalList", request)
    assert isinstance(answer, dict)
    status: str = answer["status"]
    return status


def version(scene: Scene) -> int:
    answer = scene.command("GetLocalListVersion", {})
    assert isinstance(answer, dict)
    told: int = answer["listVersion"]
    return told


def starts_unasked(scene: Scene, id_tag: str) -> bool:
    """Return whether an id tag starts a transaction without Authorize.req; end it again."""
    scene.id_tag_info = {"status": "Accepted"}
    scene.plug_in()
    scene.present(1, id_tag)
    was_asked = "Authorize" in [each.action for each in scene.serve()]
    scene.present(1, id_tag)
    scene.serve()
    assert scene.unplug()
    scene.serve()
    return not was_asked


def test_the_version_is_that_of_the_last_update_and_0_when_empty() -> None:
    """Core 5.10: 0 SHALL be used for an empty list; core 5.15: the version that came with the update."""
    scene = booted()
    assert version(scene) == 0
    assert send(scene, 5, "Full", ("TAG1", "Accepted")) == "Accepted"
    assert version(scene) == 5
    assert send(scene, 9, "Differential", ("TAG2", "Accepted")) == "Accepted"
    assert version(scene) == 9
    assert send(scene, 9, "Differential", ("TAG3", "Accepted")) == "VersionMismatch"
    assert send(scene, 0, "Full", ("TAG3", "Accepted")) == "Failed"
    assert version(scene) == 9
    assert send(scene, 11, "Full") == "Accepted"
    assert version(scene) == 0


def test_updates_decide_who_starts() -> None:
    """Core 5.15, 7.1: full replaces; differential adds, changes and deletes."""
    scene = booted(AuthorizationCacheEnabled="false")
    send(scene, 1, "Full", ("TAG1", "Accepted"), ("TAG2", "Accepted"))
    assert [starts_unasked(scene, each) for each in ("TAG1", "TAG2", "TAG3")] == [True, True, False]
    send(scene, 2, "Differential", ("TAG1", None), ("TAG3", "Accepted"))
    assert [starts_unasked(scene, each) for each in ("TAG1", "TAG2", "TAG3")] == [False, True, True]
    send(scene, 3, "Full", ("TAG1", "Accepted"))
    assert [starts_unasked(scene, each) for each in ("TAG1", "TAG2", "TAG3")] == [True, False, False]


@pytest.mark.parametrize(
    ("key", "value", "count"), [("LocalAuthListMaxLength", "3", 3), ("SendLocalListMaxLength", "2", 2)]
)
def test_the_limits_that_are_told_are_kept(key: str, value: str, count: int) -> None:
    """Core 9.2.2 and 9.2.3: one more than there may be fails, and changes nothing."""
    scene = booted(**{key: value})
    got = scene.command("GetConfiguration", {"key": [key]})
    assert isinstance(got, dict)
    assert got["configurationKey"] == [{"key": key, "readonly": True, "value": value}]
    entries = [(f"TAG{number}", "Accepted") for number in range(count + 1)]
    assert send(scene, 1, "Full", *entries) == "Failed"
    assert version(scene) == 0
    assert send(scene, 1, "Full", *entries[:count]) == "Accepted"


def test_a_list_that_is_off_cannot_be_updated() -> None:
    """Core 7.47, 9.2.1: NotSupported while LocalAuthListEnabled is false; what there was stays."""
    scene = booted()
    send(scene, 4, "Full", ("TAG1", "Accepted"))
    scene.configure("LocalAuthListEnabled", "false")
    assert send(scene, 5, "Full", ("TAG2", "Accepted")) == "NotSupported"
    assert version(scene) == 4


def test_nothing_but_an_update_changes_the_list() -> None:
    """Core 3.5.2: SHALL NOT be modified by any other means; neither by what is said of an id tag, nor by ClearCache."""
    scene = booted()
    send(scene, 4, "Full", ("TAG1", "Accepted"))
    scene.plug_in()
    scene.present()
    scene.id_tag_info = {"status": "Blocked"}
    scene.serve()
    assert scene.command("ClearCache", {}) == {"status": "Accepted"}
    assert version(scene) == 4
    scene.present()
    assert scene.unplug()
    scene.serve()
    assert starts_unasked(scene, "TAG1")
