"""Every text has one outcome: a message, or `MalformedFrame` with the reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ampswarm.ocppj.errors import ErrorCode
from ampswarm.ocppj.frames import (
    Call,
    CallError,
    CallResult,
    Frame,
    Malformation,
    MalformedFrame,
    decode,
    encode,
    encode_call,
    for_log,
    pack,
    with_member,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
PAYLOADS = st.dictionaries(TEXT, JSON, max_size=4)
UNIQUE_IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=36)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Call, UNIQUE_IDS, TEXT, PAYLOADS),
    st.builds(CallResult, UNIQUE_IDS, PAYLOADS),
    st.builds(CallError, UNIQUE_IDS, TEXT, TEXT, PAYLOADS),
)


@given(FRAMES)
def test_what_is_encoded_is_decoded_to_the_same(frame: Frame) -> None:
    """A message that changed on the way would be a fault of the tester, not of the tested."""
    decoded = decode(encode(frame))
    assert frame == decoded
    assert type(frame) is type(decoded)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Malformation.NOT_JSON),
        ("boot", Malformation.NOT_JSON),
        ("[2,", Malformation.NOT_JSON),
        ('[2,"1","Heartbeat",{}]x', Malformation.NOT_JSON),
        ('[2,"1","Heartbeat",{"a":NaN}]', Malformation.NOT_JSON),
        ('[2,"1","Heartbeat",{"a":1e999}]', Malformation.NOT_JSON),
        ('[2,"\\ud800","Heartbeat",{}]', Malformation.NOT_JSON),
        ('[2,"\ud800","Heartbeat",{}]', Malformation.NOT_JSON),
        (b'[2,"\xff","Heartbeat",{}]', Malformation.NOT_JSON),
        ("[" * 1_000_000, Malformation.NOT_JSON),
        ("[" * 500_000 + "]" * 500_000, Malformation.NOT_JSON),
        ("{}", Malformation.NOT_AN_ARRAY),
        ("null", Malformation.NOT_AN_ARRAY),
        ('"[2]"', Malformation.NOT_AN_ARRAY),
        ("[]", Malformation.NO_MESSAGE_TYPE),
        ('["2","1","Heartbeat",{}]', Malformation.NO_MESSAGE_TYPE),
        ('[true,"1","Heartbeat",{}]', Malformation.NO_MESSAGE_TYPE),
        ('[2.0,"1","Heartbeat",{}]', Malformation.NO_MESSAGE_TYPE),
        ('[null,"1","Heartbeat",{}]', Malformation.NO_MESSAGE_TYPE),
        ('[1,"1","Heartbeat",{}]', Malformation.UNKNOWN_MESSAGE_TYPE),
        ('[5,"1",{}]', Malformation.UNKNOWN_MESSAGE_TYPE),
        ("[99999999999999999999]", Malformation.NO_MESSAGE_TYPE),
        ("[2]", Malformation.NO_UNIQUE_ID),
        ('[2,1,"Heartbeat",{}]', Malformation.NO_UNIQUE_ID),
        ('[2,null,"Heartbeat",{}]', Malformation.NO_UNIQUE_ID),
        ('[2,"1234567890123456789012345678901234567","Heartbeat",{}]', Malformation.UNIQUE_ID_TOO_LONG),
        ('[2,"1"]', Malformation.WRONG_LENGTH),
        ('[2,"1","Heartbeat"]', Malformation.WRONG_LENGTH),
        ('[2,"1","Heartbeat",{},{}]', Malformation.WRONG_LENGTH),
        ('[3,"1"]', Malformation.WRONG_LENGTH),
        ('[3,"1",{},{}]', Malformation.WRONG_LENGTH),
        ('[4,"1","InternalError",""]', Malformation.WRONG_LENGTH),
        ('[2,"1",7,{}]', Malformation.BAD_ACTION),
        ('[2,"1",null,{}]', Malformation.BAD_ACTION),
        ('[2,"1","Heartbeat",[]]', Malformation.BAD_PAYLOAD),
        ('[2,"1","Heartbeat","{}"]', Malformation.BAD_PAYLOAD),
        ('[3,"1",false]', Malformation.BAD_PAYLOAD),
        ('[4,"1",1,"",{}]', Malformation.BAD_ERROR),
        ('[4,"1","InternalError",null,{}]', Malformation.BAD_ERROR),
        ('[4,"1","InternalError","",[]]', Malformation.BAD_ERROR),
    ],
    ids=lambda value: str(value)[:30],
)
def test_malformed_text_has_its_one_outcome(text: str | bytes, reason: Malformation) -> None:
    """J 4.2: what is not one of the three messages is recognised as what it is."""
    with pytest.raises(MalformedFrame) as caught:
        decode(text)
    assert reason is caught.value.reason


@given(st.text() | st.binary() | JSON.map(json.dumps))
@example("\ud800")
def test_no_text_raises_anything_else(text: str | bytes) -> None:
    """Whatever a peer sends, nothing but `MalformedFrame` comes out of it."""
    try:
        decode(text)
    except MalformedFrame as malformed:
        assert malformed.reason in Malformation


@given(st.lists(JSON, max_size=6), st.integers(0, 6))
def test_arrays_of_anything_are_a_message_or_malformed(items: list[Any], message_type: int) -> None:
    """Arrays that are nearly messages: right number, wrong types."""
    items = [message_type, *items]
    try:
        frame = decode(json.dumps(items))
    except MalformedFrame as malformed:
        answer = malformed.answer()
        # Only a Call is answered, with the id it came with (J 4.2.3).
        assert (answer is not None) == (message_type == 2 and len(items) > 1 and isinstance(items[1], str))
        assert answer is None or answer.unique_id == items[1]
    else:
        assert frame.unique_id == items[1]


def test_a_payload_of_null_is_an_empty_object() -> None:
    """J 4.2.1, table 4: JSON allows for both notations."""
    assert Call("1", "Heartbeat", {}) == decode('[2,"1","Heartbeat",null]')
    assert CallResult("1", {}) == decode('[3,"1",null]')


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[2,"1","Heartbeat"]', ErrorCode.FORMATION_VIOLATION),
        ('[2,"1","Heartbeat",[]]', ErrorCode.FORMATION_VIOLATION),
        ('[2,"' + "1" * 37 + '","Heartbeat",{}]', ErrorCode.PROPERTY_CONSTRAINT_VIOLATION),
        ('[2,1,"Heartbeat",{}]', None),
        ('[3,"1"]', None),
        ('[4,"1"]', None),
        ('[7,"1"]', None),
        ("?", None),
    ],
)
def test_a_malformed_call_is_answered_if_its_id_is_known(text: str, code: ErrorCode | None) -> None:
    """J 4.2.3: the sender of a bad Call is told, unless nobody could say which one is meant."""
    with pytest.raises(MalformedFrame) as caught:
        decode(text)
    answer = caught.value.answer()
    assert code == (None if answer is None else answer.code)
    if answer is not None:
        assert answer.details == {}
        encode(answer)


@pytest.mark.parametrize("value", ["\udc00", 2**65, object(), {1, 2}])
def test_what_json_cannot_say_is_a_value_error(value: object) -> None:
    """A scenario's mistake gets one line that names the message."""
    with pytest.raises(ValueError, match="id-7: cannot be sent as JSON"):
        encode(Call("id-7", "DataTransfer", {"data": value}))


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("FormationViolation", ErrorCode.FORMATION_VIOLATION),
        ("FormatViolation", ErrorCode.FORMATION_VIOLATION),
        ("OccurenceConstraintViolation", ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION),
        ("OccurrenceConstraintViolation", ErrorCode.OCCURENCE_CONSTRAINT_VIOLATION),
        ("NotImplemented", ErrorCode.NOT_IMPLEMENTED),
        ("Oops", None),
    ],
)
def test_both_spellings_of_the_misspelt_codes_are_read(spelling: str, code: ErrorCode | None) -> None:
    """J errata 5.1 and 5.2: implementations send either."""
    assert code == ErrorCode.parse(spelling)


@pytest.mark.parametrize(
    "text",
    [
        b'[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"00112233445566778899aabbccddeeff"}]',
        b'[2, "1", "ChangeConfiguration", {"value": "00112233445566778899aabbccddeeff", "key": "authorizationKEY"}]',
        b'[2,"1","ChangeConfiguration",{"key":"AuthorizationKey","value":"\\"00112233445566778899aabbccddeeff"}]',
        b'[3,"1",{"configurationKey":[{"key":"\\u0041uthorizationKey","readonly":false,"value":"0011223344"}]}]',
        b'[2,"1","ChangeConfiguration",{"key":" authorizationkey\\t","value":"00112233445566778899aabbccddeeff"}]',
        '[3,"1",{"configurationKey":[{"key":"\xa0AuthorizationKey","value":"0011223344"}]}]'.encode(),
        b'[2,"1","GetDiagnostics",{"location":"ftp://user:00112233@host/path"}]',
    ],
)
def test_a_log_shows_no_password(text: bytes) -> None:
    """Whitepaper A01.FR.12: whoever reads the log must not be able to log in."""
    assert "00112233" not in for_log(text)
    assert "***" in for_log(text)


def test_a_log_shows_everything_else() -> None:
    """Other values, and text that is no UTF-8."""
    text = b'[2,"1","ChangeConfiguration",{"key":"HeartbeatInterval","value":"300"}]'
    assert text.decode() == for_log(text)
    assert for_log(b"\xff[") == "\ufffd["


@given(payload=st.dictionaries(st.text(max_size=5), st.integers(-100, 100), min_size=1), number=st.integers(-1, 2**31))
def test_what_is_packed_is_sent_as_it_was(payload: dict[str, int], number: int) -> None:
    """A transaction message that waited for hours says what it said when it was made, and its id besides."""
    packed = with_member(pack(payload), "transactionId", number)
    frame = decode(encode_call("1", "MeterValues", packed))
    assert isinstance(frame, Call)
    assert frame.payload == {"transactionId": number, **payload}
