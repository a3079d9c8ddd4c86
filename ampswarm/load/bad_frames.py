"""Text messages that break the rules of OCPP-J, and what the central system owes each of them."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from ampswarm.ocppj.frames import Call, CallResult, Payload, decode, encode
from ampswarm.ocppj.session import UniqueIds

_MALFORMED: Final = (
    # A Call that was cut off, an object, a message type that nobody knows (J 4.1.3: ignored): nothing can be answered.
    ('[2,"{id}","Heartbeat",{{', False),
    ('{{"messageTypeId":2,"uniqueId":"{id}","action":"Heartbeat","payload":{{}}}}', False),
    ('[5,"{id}","Heartbeat",{{}}]', False),
    # Calls without a payload, with a list for one, with a number for an action: FormationViolation (J 4.2.3).
    ('[2,"{id}","Heartbeat"]', True),
    ('[2,"{id}","Heartbeat",[]]', True),
    ('[2,"{id}",7,{{}}]', True),
)

_SCHEMA_BREAKING: Final[tuple[tuple[str, Payload], ...]] = (
    ("Heartbeat", {"seconds": 60}),
    ("StatusNotification", {"connectorId": 1, "errorCode": "NoError"}),
    ("StatusNotification", {"connectorId": 1, "errorCode": "NoError", "status": "Busy"}),
    ("Authorize", {"idTag": "an id tag of more than 20 characters"}),
    ("MeterValues", {"connectorId": "one", "meterValue": []}),
    ("StartTransaction", {"connectorId": 1, "idTag": "TAG", "timestamp": "2026-03-01T12:00:00Z"}),
)


class BadFrame(NamedTuple):
    """A message that should not be sent."""

    text: bytes
    is_answerable: bool
    """Whether it is a Call with a message id, so that J 4.2.3 wants a CallError for it."""


def malformed(unique_id: str, random: Random) -> BadFrame:
    """Return a frame that is no OCPP-J message (J 4.1.3, 4.2)."""
    text, is_answerable = random.choice(_MALFORMED)
    return BadFrame(text.format(id=unique_id).encode(), is_answerable)


def schema_breaking(unique_id: str, random: Random) -> BadFrame:
    """Return a Call whose payload breaks the schema of its action (core 6)."""
    action, payload = random.choice(_SCHEMA_BREAKING)
    return BadFrame(encode(Call(unique_id, action, payload)), is_answerable=True)


def wrong_id(answer: bytes, unique_id: str) -> bytes:
    """Return an answer under another message id than that of its Call (against J 4.2.2, 4.2.3)."""
    return encode(decode(answer)._replace(unique_id=unique_id))


def stray_answer(unique_id: str) -> BadFrame:
    """Return a CallResult to a Call that was never made (J 4.2.2)."""
    return BadFrame(encode(CallResult(unique_id, {"status": "Accepted"})), is_answerable=False)


def flood(unique_ids: UniqueIds, size: int) -> dict[str, bytes]:
    """Return `size` Calls by message id, to be sent without waiting for an answer (against J 4.1.1)."""
    calls = [Call(unique_ids.next(), "Heartbeat", {}) for _ in range(size)]
    return {call.unique_id: encode(call) for call in calls}
