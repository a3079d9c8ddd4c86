"""The last messages of a charge point: what is kept, for how long, and who may read what in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.ocppj.timestamps import parse_utc
from server.messages import MAX_OF_ONE, MAX_TEXT, MAX_WATCHED, Messages, cut
from tests.processes import CentralSystem, until
from tests.server.station import Command, Station
from tests.server.test_admin import refuses_to_start

BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}
SECRET = "4f43415050534543"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralSystem]:
    """One central system for all tests that leave it as it was."""
    with CentralSystem(tmp_path_factory.mktemp("messages") / "cs.log", "--ping-interval-ms", "0") as running:
        yield running


def path_of(identity: str) -> str:
    return f"/api/v1/charge-points/{quote(identity, safe='')}/messages"


def ask(server: CentralSystem, identity: str, query: str = "") -> dict[str, Any]:
    status, answer = server.request("GET", f"{path_of(identity)}?{query}")
    assert status == 200, answer
    assert isinstance(answer, dict)
    return answer


def said(answer: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the messages of an answer: the direction, and what it says."""
    return [(each["direction"], json.loads(each["text"])) for each in answer["messages"]]


def number(message: int) -> bytes:
    return b"%d" % message


# -- the memory --------------------------------------------------------------------------------------


@given(
    keep=st.integers(1, 30),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60),
    limit=st.integers(1, MAX_OF_ONE),
)
def test_who_asks_again_and_again_sees_each_message_once_and_in_order(
    keep: int, steps: list[tuple[str, bool]], limit: int
) -> None:
    """From the first question on, however many messages others exchange; before it, what the ring still has."""
    messages = Messages(keep)
    sent: list[tuple[str, int]] = []
    seen: list[int] = []
    after = 0
    is_watched = False
    for count, (identity, does_ask) in enumerate(steps):
        messages.add((1000.0 + count, identity, False, number(count)))
        sent.append((identity, count))
        if not does_ask:
            continue
        missed = [each for each in sent if is_watched or each in sent[-keep:]]
        expected = [each for who, each in missed if who == "a" and each not in seen][-limit:]
        found = messages.of("a", after, limit)
        assert expected == [int(each.text) for each in found]
        is_watched = True
        seen = [each for who, each in sent if who == "a"]
        after = found[-1].number if found else after


def test_a_clock_that_is_put_back_hides_no_message() -> None:
    """Time servers do that; what comes afterwards is still newer."""
    messages = Messages(10)
    messages.add((2000.0, "A", False, b"before"))
    (before,) = messages.of("A")
    messages.add((1000.0, "A", True, b"after"))
    assert [each.text for each in messages.of("A", before.number)] == ["after"]


def test_the_one_that_nobody_asks_for_any_more_is_forgotten_first() -> None:
    """Else whoever looks at many charge points would fill the memory; and who looks still loses nothing."""
    messages = Messages(1)
    for each in range(MAX_WATCHED):
        messages.of(f"CP{each}")
    messages.of("CP0")
    messages.of("one more")
    for count in range(3):
        for identity in ("CP0", "CP1", "CP2"):
            messages.add((float(count), identity, False, number(count)))
    assert len(messages.of("CP0")) == 3
    assert len(messages.of("CP2")) == 3
    # No more than the last one of the ring, which is another's.
    assert messages.of("CP1") == []


def test_an_earlier_cursor_holds_after_a_charge_point_was_forgotten() -> None:
    """Nothing is shown twice to somebody whose charge point was not watched for a while."""
    messages = Messages(10)
    messages.add((1.5, "A", False, b"old"))
    (old,) = messages.of("A")
    for each in range(MAX_WATCHED):
        messages.of(f"CP{each}")
    messages.add((2.5, "A", False, b"new"))
    assert [each.text for each in messages.of("A", old.number)] == ["new"]


def test_a_password_is_masked_before_a_message_is_cut() -> None:
    """Half of it at the end of what is kept would be found by nobody who masks it later."""
    for padding in range(MAX_TEXT - 120, MAX_TEXT):
        text = json.dumps(["x" * padding, {"key": "AuthorizationKey", "value": SECRET}]).encode()
        text += b" " * MAX_TEXT
        assert SECRET[:6] not in cut(text).beginning


def test_a_cut_in_the_middle_of_a_character_is_no_fault() -> None:
    """What is left of the character is not shown."""
    text = "é".encode() * MAX_TEXT
    messages = Messages(1)
    messages.add((0.0, "A", False, cut(b"x" + text)))
    (message,) = messages.of("A")
    assert (message.text, message.size, message.is_cut) == ("x" + "é" * (MAX_TEXT // 2 - 1), 2 * MAX_TEXT + 1, True)


# -- over the API ------------------------------------------------------------------------------------


def test_messages_are_told_in_both_directions_and_newer_ones_after_a_cursor(server: CentralSystem) -> None:
    """Calls, answers, answers that waited for the store, and Calls to the charge point."""
    with Station(server, "both") as station:
        station.call("BootNotification", BOOT)
        start = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-01T00:00:00Z"}
        station.call("StartTransaction", start)
        server.call("both", "Reset", {"type": "Soft"})
        answer = ask(server, "both")
        frames = said(answer)
        assert [direction for direction, _ in frames] == ["in", "out", "in", "out", "out", "in"]
        kinds = [2, 3, 2, 3, 2, 3]
        assert kinds == [frame[0] for _, frame in frames]
        assert frames[0][1][3] == BOOT
        assert frames[4][1][2:] == ["Reset", {"type": "Soft"}]
        assert frames[5][1][2] == {"status": "Accepted"}
        times = [parse_utc(each["at"]) for each in answer["messages"]]
        assert times == sorted(times)
        assert ask(server, "both", f"after={answer['cursor']}")["messages"] == []
        station.call("Heartbeat", {})
        newer = ask(server, "both", f"after={answer['cursor']}")
        assert [frame[2] for direction, frame in said(newer) if direction == "in"] == ["Heartbeat"]
        assert len(ask(server, "both", "limit=1")["messages"]) == 1


def test_messages_of_one_that_has_gone_are_still_told_and_of_one_that_never_came_are_404(
    server: CentralSystem,
) -> None:
    """What happened before a connection broke is what one wants to see."""
    with Station(server, "gone") as station:
        station.call("Heartbeat", {})
    assert len(ask(server, "gone")["messages"]) == 2
    assert server.request("GET", path_of("never"))[0] == 404


def test_long_messages_are_cut_and_broken_ones_are_shown(server: CentralSystem) -> None:
    """And say so, with the length that they had."""
    with Station(server, "odd") as station:
        text = json.dumps([2, "1", "DataTransfer", {"vendorId": "V", "data": "x" * 10_000}])
        station.exchange(text)
        station.send("<b>no JSON</b>")
        station.call("Heartbeat", {})
        first, _, broken, *_ = ask(server, "odd")["messages"]
    assert (text[:MAX_TEXT], True, len(text)) == (first["text"], first["is_cut"], first["size"])
    assert (broken["text"], broken["is_cut"]) == ("<b>no JSON</b>", False)


def test_no_password_is_told(server: CentralSystem) -> None:
    """The operator who changes it knows it; whoever looks at the page need not."""
    with Station(server, "keeper"):
        server.call("keeper", "ChangeConfiguration", {"key": "AuthorizationKey", "value": SECRET})
        answer = ask(server, "keeper")
    assert SECRET not in json.dumps(answer)
    assert "***" in answer["messages"][0]["text"]


def test_an_identity_that_ends_like_the_path_is_no_other_one(server: CentralSystem) -> None:
    """A slash is part of some identities, percent-encoded."""
    with Station(server, "a/messages"), Station(server, "a") as other:
        other.call("Heartbeat", {})
        status, answer = server.request("GET", "/api/v1/charge-points/a%2Fmessages")
        assert (status, answer["identity"]) == (200, "a/messages")
        assert ask(server, "a/messages")["messages"] == []
        assert len(ask(server, "a")["messages"]) == 2


@pytest.mark.parametrize("query", ["after=x", "after=ab-1%0A", "limit=0", f"limit={MAX_OF_ONE + 1}"])
def test_a_cursor_that_is_none_is_refused(server: CentralSystem, query: str) -> None:
    """Instead of being taken for the beginning."""
    with Station(server, "cursor"):
        status, answer = server.request("GET", f"{path_of('cursor')}?{query}")
    assert (status, answer["error"]["code"]) == (422, "InvalidRequest")


def test_none_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    """And it is said, so that nobody waits for them."""
    with CentralSystem(tmp_path / "log", "--keep-messages", "0") as server, Station(server, "A") as station:
        station.call("Heartbeat", {})
        assert ask(server, "A") == {"messages": [], "cursor": "", "are_kept": False}
    assert "--keep-messages or KEEP_MESSAGES" in refuses_to_start("--keep-messages", "1000001")


def test_messages_of_all_processes_are_told_by_the_one_that_is_asked(tmp_path: Path) -> None:
    """A charge point is connected to any of them, and reconnects to another: its messages are one list."""

    def answer(command: Command) -> dict[str, Any]:
        return {"status": "Accepted"}

    with (
        CentralSystem(tmp_path / "log", "--processes", "2", "--ping-interval-ms", "0") as server,
        ExitStack() as opened,
    ):
        until(lambda: len(server.request("GET", "/api/v1/fleet")[1]["nodes"]) == 2)
        cursor = ""
        nodes = set()
        for count in range(40):
            station = opened.enter_context(Station(server, "A", answer))
            station.call("DataTransfer", {"vendorId": str(count)})
            nodes.add(server.request("GET", "/api/v1/charge-points/A")[1]["node"])
            found = ask(server, "A", f"after={cursor}")
            cursor = found["cursor"]
            assert [("in", str(count)), ("out", None)] == [
                (direction, frame[3]["vendorId"] if direction == "in" else None) for direction, frame in said(found)
            ]
            if len(nodes) == 2:
                break
        assert len(nodes) == 2
        assert 2 * (count + 1) == len(ask(server, "A")["messages"])
