"""The three OCPP-J messages (J 4.2) and their way to and from JSON text.

Whatever arrives has exactly one outcome: one of the three messages, or `MalformedFrame` with the
reason. No other exception leaves `decode`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple

import orjson

from ampswarm.ocppj.errors import ErrorCode, OcppError

MAX_UNIQUE_ID: Final = 36
"""Longest message id, in characters (J 4.1.4, table 3)."""

_MAX_DESCRIPTION: Final = 255

Payload = dict[str, Any]


class MessageType(IntEnum):
    """Message type numbers (J 4.1.3, table 2)."""

    CALL = 2
    CALL_RESULT = 3
    CALL_ERROR = 4


# Tuples, not dataclasses: one is made for every message, and a tuple takes a third of the time.
class Call(NamedTuple):
    """A request (J 4.2.1)."""

    unique_id: str
    action: str
    payload: Payload


class CallResult(NamedTuple):
    """The answer to a Call that was handled (J 4.2.2)."""

    unique_id: str
    payload: Payload


class CallError(NamedTuple):
    """The answer to a Call that could not be handled (J 4.2.3).

    `code` is the text on the wire; see `ErrorCode.parse` for what it means.
    """

    unique_id: str
    code: str
    description: str
    details: Payload


Frame = Call | CallResult | CallError


def refusal(unique_id: str, error: OcppError) -> CallError:
    """Return the CallError that tells the sender of the Call `unique_id` of `error`."""
    return CallError(unique_id, error.code.value, error.description, error.details)


class Malformation(StrEnum):
    """Why a text is not an OCPP-J message. In the order in which the checks are made."""

    NOT_JSON = "not JSON"
    NOT_AN_ARRAY = "not a JSON array"
    NO_MESSAGE_TYPE = "no message type number"
    UNKNOWN_MESSAGE_TYPE = "unknown message type number"
    NO_UNIQUE_ID = "no message id"
    UNIQUE_ID_TOO_LONG = "message id longer than 36 characters"
    WRONG_LENGTH = "wrong number of elements"
    BAD_ACTION = "action is not a string"
    BAD_PAYLOAD = "payload is not an object"
    BAD_ERROR = "error code, description or details have the wrong type"


class MalformedFrame(Exception):  # noqa: N818  it is the name of a thing that arrived, not of a fault
    """A text that is not an OCPP-J message.

    Args:
        reason: the first check that it failed.
        unique_id: its message id, where one could be read; else `None`.
        message_type: its message type, where one could be read; else `None`.
    """

    def __init__(
        self,
        reason: Malformation,
        unique_id: str | None = None,
        message_type: MessageType | None = None,
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.unique_id = unique_id
        self.message_type = message_type

    def answer(self) -> CallError | None:
        """Return the CallError that the sender is owed, or `None` where nothing can be answered.

        Only a Call is answered, and only when its message id is known: J 4.2.3 wants the very same
        id back. An unknown message type is ignored (J 4.1.3).
        """
        if self.message_type is not MessageType.CALL or self.unique_id is None:
            return None
        code = (
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION
            if self.reason is Malformation.UNIQUE_ID_TOO_LONG
            else ErrorCode.FORMATION_VIOLATION
        )
        return CallError(self.unique_id, code.value, self.reason.value, {})


# Also with blanks around it, or within a longer text: rather a value too many is hidden than one too few.
_PASSWORD_KEY: Final = re.compile(rb"authorizationkey", re.IGNORECASE)
_VALUE: Final = re.compile(rb'("value"\s*:\s*)"(?:[^"\\]|\\.)*"')
_USER_INFO: Final = re.compile(rb'(://[^/\s"@:]*:)[^@/\s"]+@')


def for_log(text: bytes) -> str:
    """Return a message for a log, but for passwords in it.

    That is the AuthorizationKey that ChangeConfiguration.req brings (A01.FR.12) or somebody tells, and what stands
    before the host of a URL, as in GetDiagnostics.req.
    """
    if b"\\u" in text:
        # A name may be written in escapes: as JSON it is what it is.
        with contextlib.suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
            text = orjson.dumps(orjson.loads(text))
    if _PASSWORD_KEY.search(text):
        text = _VALUE.sub(rb'\1"***"', text)
    return _USER_INFO.sub(rb"\1***@", text).decode("utf-8", "replace")


def pack(payload: Payload) -> bytes:
    """Return a payload as JSON text, for keeping: a fifth of the memory that its dictionaries take."""
    # A copy: orjson's own bytes keep the whole buffer that they were written in, 4 KiB for 1.3.
    return bytes(memoryview(orjson.dumps(payload)))


def packed_array(items: Iterable[bytes]) -> object:
    """Return packed payloads as an array that can stand in another payload."""
    return orjson.Fragment(b"[" + b",".join(items) + b"]")


def with_member(packed: bytes, name: str, value: int) -> bytes:
    """Return a packed payload, which is not empty, with one member more."""
    return b'{"%s":%d,%s' % (name.encode(), value, packed[1:])


_MESSAGE_TYPES: Final = {2: MessageType.CALL, 3: MessageType.CALL_RESULT, 4: MessageType.CALL_ERROR}
_LENGTHS: Final = {MessageType.CALL: 4, MessageType.CALL_RESULT: 3, MessageType.CALL_ERROR: 5}


def decode(text: str | bytes) -> Frame:
    """Return the message that one WebSocket text message holds.

    A payload of `null` is the same as `{}` (J 4.2.1, table 4).

    Raises:
        MalformedFrame: for everything that is not a Call, CallResult or CallError.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise MalformedFrame(Malformation.NOT_JSON) from None
    # The common case first, and in as few steps as it takes: this runs for every message.
    if type(message) is list and len(message) == 4 and message[0] == 2:
        type_number, unique_id, action, payload = message
        if (
            type(type_number) is int
            and type(unique_id) is str
            and len(unique_id) <= MAX_UNIQUE_ID
            and type(action) is str
            and type(payload) is dict
        ):
            return Call(unique_id, action, payload)
    return _decode_checked(message)


def _decode_checked(message: object) -> Frame:
    if type(message) is not list:
        raise MalformedFrame(Malformation.NOT_AN_ARRAY)
    # `type() is int` keeps true and 2.0 out, which Python takes for 1 and 2.
    if not message or type(message[0]) is not int:
        raise MalformedFrame(Malformation.NO_MESSAGE_TYPE)
    message_type = _MESSAGE_TYPES.get(message[0])
    if message_type is None:
        raise MalformedFrame(Malformation.UNKNOWN_MESSAGE_TYPE)
    if len(message) < 2 or type(message[1]) is not str:
        raise MalformedFrame(Malformation.NO_UNIQUE_ID, message_type=message_type)
    unique_id: str = message[1]
    if len(unique_id) > MAX_UNIQUE_ID:
        raise MalformedFrame(Malformation.UNIQUE_ID_TOO_LONG, unique_id, message_type)
    if len(message) != _LENGTHS[message_type]:
        raise MalformedFrame(Malformation.WRONG_LENGTH, unique_id, message_type)
    if message_type is MessageType.CALL_ERROR:
        return _call_error(message)
    if message_type is MessageType.CALL and type(message[2]) is not str:
        raise MalformedFrame(Malformation.BAD_ACTION, unique_id, message_type)
    payload = {} if message[-1] is None else message[-1]
    if type(payload) is not dict:
        raise MalformedFrame(Malformation.BAD_PAYLOAD, unique_id, message_type)
    return Call(unique_id, message[2], payload) if message_type is MessageType.CALL else CallResult(unique_id, payload)


def _call_error(message: list[Any]) -> CallError:
    _, unique_id, code, description, details = message
    if not (type(code) is str and type(description) is str and type(details) is dict):
        raise MalformedFrame(Malformation.BAD_ERROR, unique_id, MessageType.CALL_ERROR)
    return CallError(unique_id, code, description, details)


def encode_call(unique_id: str, action: str, packed: bytes) -> bytes:
    """Return the text of a Call whose payload is packed."""
    return orjson.dumps([2, unique_id, action, orjson.Fragment(packed)])


def encode_result(unique_id: str, payload: Payload) -> bytes:
    """Return the text of a CallResult whose payload was validated: `encode` without its detours."""
    return orjson.dumps([3, unique_id, payload])


def encode(frame: Frame) -> bytes:
    """Return the UTF-8 text of a message, ready to be sent as one WebSocket text message.

    Raises:
        ValueError: the payload holds what JSON or UTF-8 cannot say (a lone surrogate, a number
            of more than 64 bits, an object that is no JSON type).
    """
    message: list[Any]
    if type(frame) is Call:
        message = [2, frame.unique_id, frame.action, frame.payload]
    elif type(frame) is CallResult:
        message = [3, frame.unique_id, frame.payload]
    else:
        assert type(frame) is CallError
        message = [4, frame.unique_id, frame.code, frame.description[:_MAX_DESCRIPTION], frame.details]
    try:
        return orjson.dumps(message)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"{frame.unique_id}: cannot be sent as JSON: {error}") from None
