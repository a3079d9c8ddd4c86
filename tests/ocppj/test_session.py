"""One outstanding Call, answers that find it, and a defined end for everything else (J 4.1.1)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.session import (
    Answered,
    Failed,
    Failure,
    Ignored,
    Oddity,
    Received,
    Refused,
    Session,
    UniqueIds,
)

TIME = {"currentTime": "2026-01-01T00:00:00Z"}
TIMEOUT = 30.0


def new_session() -> Session:
    return Session(UniqueIds("t-"), TIMEOUT)


def sent(text: bytes | None) -> list[Any]:
    assert text is not None
    message: list[Any] = json.loads(text)
    return message


def test_a_call_is_answered() -> None:
    """The wire time is from sending to answer; the due time is what the caller said."""
    session = new_session()
    call = sent(session.call("Heartbeat", {}, 10.0, due=9.0))
    assert call == [2, "t-1", "Heartbeat", {}]
    assert not session.is_idle
    assert session.deadline == 40.0
    answer = json.dumps([3, call[1], TIME])
    event = session.receive(answer, 10.5)
    assert Answered("Heartbeat", TIME, due=9.0, sent=10.0, ended=10.5, size=len(answer)) == event
    assert session.is_idle
    assert session.deadline is None


def test_a_second_call_waits_for_the_first() -> None:
    """J 4.1.1: not before all Calls before it were responded to or have timed out."""
    session = new_session()
    first = sent(session.call("Heartbeat", {}, 0.0))
    assert session.call("Authorize", {"idTag": "A"}, 1.0) is None
    assert session.poll(1.0) is None
    session.receive(json.dumps([3, first[1], TIME]), 2.0)
    assert not session.is_idle
    assert sent(session.poll(2.0)) == [2, "t-2", "Authorize", {"idTag": "A"}]
    answered = session.receive(json.dumps([3, "t-2", {"idTagInfo": {"status": "Accepted"}}]), 3.0)
    assert isinstance(answered, Answered)
    assert (answered.due, answered.sent, answered.ended) == (1.0, 2.0, 3.0)


def test_a_call_times_out_and_the_next_goes_out() -> None:
    """A central system that swallows one message must not silence the charge point."""
    session = new_session()
    first = sent(session.call("Heartbeat", {}, 0.0))
    session.call("Heartbeat", {}, 0.0)
    assert session.expire(29.9) is None
    assert Failed("Heartbeat", Failure.TIMED_OUT, "", 0.0, 0.0, 30.0) == session.expire(30.0)
    assert sent(session.poll(30.0))[1] == "t-2"
    late = session.receive(json.dumps([3, first[1], TIME]), 31.0)
    assert Ignored(Oddity.LATE_ANSWER, "CallResult") == late
    assert session.expire(31.0) is None


@pytest.mark.parametrize(
    ("answer", "failure", "detail"),
    [
        ([4, "t-1", "InternalError", "out of order", {}], Failure.CALL_ERROR, "InternalError"),
        ([4, "t-1", "FormatViolation", "", {}], Failure.CALL_ERROR, "FormationViolation"),
        ([4, "t-1", "Whatever 4711", "", {}], Failure.CALL_ERROR, "unknown code"),
        ([3, "t-1", {}], Failure.INVALID_ANSWER, "ProtocolError"),
        ([3, "t-1", {"currentTime": 5}], Failure.INVALID_ANSWER, "TypeConstraintViolation"),
        ([3, "t-1"], Failure.MALFORMED_ANSWER, "wrong number of elements"),
        ([4, "t-1", "InternalError"], Failure.MALFORMED_ANSWER, "wrong number of elements"),
        ([3, "t-1", [1]], Failure.MALFORMED_ANSWER, "payload is not an object"),
    ],
)
def test_a_bad_answer_ends_the_call_at_once(answer: list[Any], failure: Failure, detail: str) -> None:
    """Nobody should wait 30 s for an answer that has come; and its text names no charge point."""
    session = new_session()
    session.call("Heartbeat", {}, 0.0)
    assert Failed("Heartbeat", failure, detail, 0.0, 0.0, 1.0) == session.receive(json.dumps(answer), 1.0)
    assert session.is_idle


def test_an_answer_to_another_id_is_counted_and_changes_nothing() -> None:
    """Late and unknown ids are never fatal."""
    session = new_session()
    session.call("Heartbeat", {}, 0.0)
    for text in ('[3,"other",{}]', '[4,"other","InternalError","",{}]'):
        event = session.receive(text, 1.0)
        assert isinstance(event, Ignored)
        assert event.oddity is Oddity.LATE_ANSWER
    assert Ignored(Oddity.MALFORMED, "wrong number of elements") == session.receive('[3,"other"]', 1.0)
    assert not session.is_idle


def test_an_answer_comes_once_and_its_repetition_is_late() -> None:
    """Duplicate ids: the second CallResult belongs to nothing."""
    session = new_session()
    session.call("Heartbeat", {}, 0.0)
    answer = json.dumps([3, "t-1", TIME])
    assert isinstance(session.receive(answer, 1.0), Answered)
    assert Ignored(Oddity.LATE_ANSWER, "CallResult") == session.receive(answer, 1.1)


def test_a_call_of_the_peer_is_answered_while_ours_is_outstanding() -> None:
    """J 4.1.1, note: Calls of both sides can always cross each other."""
    session = new_session()
    session.call("Heartbeat", {}, 0.0)
    event = session.receive('[2,"cs-1","Reset",{"type":"Soft"}]', 0.5)
    assert isinstance(event, Received)
    assert event.call.payload == {"type": "Soft"}
    assert sent(session.respond("cs-1", {"status": "Accepted"})) == [3, "cs-1", {"status": "Accepted"}]
    assert isinstance(session.receive(json.dumps([3, "t-1", TIME]), 1.0), Answered)


def test_a_call_that_is_being_handled_is_not_taken_twice() -> None:
    """J 4.2.3: "an existing call with the same unique identifier is being handled already"."""
    session = new_session()
    call = '[2,"cs-1","ClearCache",{}]'
    assert isinstance(session.receive(call, 0.0), Received)
    again = session.receive(call, 0.1)
    assert isinstance(again, Refused)
    assert sent(again.reply)[:3] == [4, "cs-1", "GenericError"]
    session.refuse("cs-1", OcppError(ErrorCode.NOT_SUPPORTED))
    # Once it is answered, the same id is a repetition, which J errata 3.1 allows.
    assert isinstance(session.receive(call, 0.2), Received)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[2,"1","Reset",{}]', "ProtocolError"),
        ('[2,"1","Reset",{"type":"Warm"}]', "PropertyConstraintViolation"),
        ('[2,"1","Levitate",{}]', "NotImplemented"),
        ('[2,"1","Reset"]', "FormationViolation"),
        ('[2,"' + "1" * 40 + '","Reset",{"type":"Soft"}]', "PropertyConstraintViolation"),
    ],
)
def test_a_bad_call_is_refused_with_the_right_code(text: str, code: str) -> None:
    """J 4.2.3: five elements, details {}, and the very same message id."""
    event = new_session().receive(text, 0.0)
    assert isinstance(event, Refused)
    reply = sent(event.reply)
    assert reply[0] == 4
    assert reply[1] == json.loads(text)[1]
    assert code == reply[2]
    assert reply[4] == {}
    assert len(reply) == 5


def test_a_lost_connection_fails_what_was_under_way_and_ids_go_on() -> None:
    """J errata 3.7: an id is not used again after a reconnect."""
    session = new_session()
    session.call("Heartbeat", {}, 0.0)
    session.call("Authorize", {"idTag": "A"}, 1.0)
    session.receive('[2,"cs-1","ClearCache",{}]', 1.5)
    failed = session.lost(2.0)
    assert [(each.action, each.failure) for each in failed] == [
        ("Heartbeat", Failure.CONNECTION_LOST),
        ("Authorize", Failure.CONNECTION_LOST),
    ]
    assert session.is_idle
    assert sent(session.call("Heartbeat", {}, 3.0))[1] == "t-2"
    # The peer may call with the same id on the new connection: the old one is not handled any more.
    assert isinstance(session.receive('[2,"cs-1","ClearCache",{}]', 3.5), Received)


def test_message_ids_fit_even_after_a_long_run() -> None:
    """J 4.1.4: at most 36 characters."""
    with pytest.raises(ValueError, match="at most 20 characters"):
        UniqueIds("x" * 21)
    ids = UniqueIds("x" * 20)
    assert len({ids.next() for _ in range(1000)}) == 1000
    assert len("x" * 20 + f"{2**63:x}") <= 36


class SessionMachine(RuleBasedStateMachine):
    """Random conversations, checked against a model that is nothing but a list of Calls."""

    def __init__(self) -> None:
        super().__init__()
        self.session = new_session()
        self.now = 0.0
        self.outstanding: list[str] = []  # ids on the wire and not ended: never more than one
        self.used: set[str] = set()
        self.asked = 0
        self.ended = 0

    def _goes_out(self, text: bytes | None) -> None:
        if text is None:
            return
        unique_id = json.loads(text)[1]
        assert unique_id not in self.used
        self.used.add(unique_id)
        self.outstanding.append(unique_id)

    @rule()
    def call(self) -> None:
        self.asked += 1
        self._goes_out(self.session.call("Heartbeat", {}, self.now))

    @rule()
    def poll(self) -> None:
        self._goes_out(self.session.poll(self.now))

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        deadline = self.session.deadline
        failed = self.session.expire(self.now)
        assert (failed is not None) == (deadline is not None and self.now >= deadline)
        if failed is not None:
            self.ended += 1
            self.outstanding.clear()

    @precondition(lambda self: self.outstanding)
    @rule(answer=st.sampled_from([[3, TIME], [3, {}], [4, "InternalError", "", {}], [4], [3, 7]]))
    def answered(self, answer: list[Any]) -> None:
        unique_id = self.outstanding.pop()
        event = self.session.receive(json.dumps([answer[0], unique_id, *answer[1:]]), self.now)
        assert isinstance(event, Answered | Failed)
        self.ended += 1

    @rule(text=st.sampled_from(['[3,"no",{}]', "[", "[7]", '[4,"t-1","x","",{}]', "[3]", '[2,"a","Reset",[]]']))
    def noise(self, text: str) -> None:
        if not any(f'"{unique_id}"' in text for unique_id in self.outstanding):
            assert isinstance(self.session.receive(text, self.now), Ignored | Refused)

    @rule()
    def connection_lost(self) -> None:
        self.ended += len(self.session.lost(self.now))
        self.outstanding.clear()
        assert self.session.is_idle
        assert self.asked == self.ended

    @invariant()
    def at_most_one_is_outstanding(self) -> None:
        assert len(self.outstanding) <= 1
        assert bool(self.outstanding) == (self.session.deadline is not None)
        assert self.ended <= self.asked


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
