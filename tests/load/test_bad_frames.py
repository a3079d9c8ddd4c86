"""Messages that break the rules: each must break exactly the rule that its name says."""

from __future__ import annotations

import random

import pytest

from ampswarm.load import bad_frames
from ampswarm.ocppj.errors import OcppError
from ampswarm.ocppj.frames import Call, CallError, CallResult, MalformedFrame, decode, encode
from ampswarm.ocppj.schemas import CHARGE_POINT_ACTIONS, Direction, validate
from ampswarm.ocppj.session import UniqueIds

MANY = 200
"""Draws, so that every kind comes."""


def test_a_malformed_frame_is_no_message_and_is_owed_an_answer_only_where_one_can_be_given() -> None:
    """J 4.2.3: a CallError needs the message id of a Call; a verdict must not ask for what nobody can send."""
    numbers = random.Random(1)
    reasons = set()
    for number in range(MANY):
        frame = bad_frames.malformed(f"id-{number}", numbers)
        with pytest.raises(MalformedFrame) as caught:
            decode(frame.text)
        reasons.add(caught.value.reason)
        answer = caught.value.answer()
        assert frame.is_answerable == (answer is not None)
        if answer is not None:
            assert answer.unique_id == f"id-{number}"
    assert len(reasons) >= 5


def test_a_schema_breaking_call_is_a_message_of_a_charge_point_with_a_bad_payload() -> None:
    """Core 6: well-formed OCPP-J whose payload alone is wrong, in more ways than one."""
    numbers = random.Random(1)
    codes = set()
    for _ in range(MANY):
        frame = bad_frames.schema_breaking("id", numbers)
        assert frame.is_answerable
        call = decode(frame.text)
        assert isinstance(call, Call)
        assert call.action in CHARGE_POINT_ACTIONS
        with pytest.raises(OcppError) as caught:
            validate(call.action, Direction.REQ, call.payload)
        codes.add(caught.value.code)
    assert len(codes) >= 3


@pytest.mark.parametrize(
    "answer", [CallResult("right", {"status": "Accepted"}), CallError("right", "NotSupported", "no", {"a": 1})]
)
def test_an_answer_under_a_wrong_id_is_right_in_all_else(answer: CallResult | CallError) -> None:
    """J 4.2.2, 4.2.3: with anything else wrong, a central system would refuse it for another reason."""
    assert decode(bad_frames.wrong_id(encode(answer), "wrong")) == type(answer)("wrong", *answer[1:])


def test_a_stray_answer_is_a_valid_call_result() -> None:
    """J 4.2.2: nothing is wrong with it but that nobody asked."""
    frame = bad_frames.stray_answer("id")
    assert decode(frame.text) == CallResult("id", {"status": "Accepted"})
    assert not frame.is_answerable


def test_a_flood_is_of_valid_calls_with_different_ids() -> None:
    """J 4.1.4: only their number is wrong, or the central system would refuse them for another reason."""
    calls = bad_frames.flood(UniqueIds("x"), 100)
    assert len(calls) == 100
    for unique_id, text in calls.items():
        assert decode(text) == Call(unique_id, "Heartbeat", {})
