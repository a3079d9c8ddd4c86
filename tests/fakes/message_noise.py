"""What a connected charge point may say that means no good: Calls and answers, most of them broken. No socket.

Everything is drawn from a `Random` that the caller has seeded, so that a run can be repeated.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from ampswarm.ocppj.schemas import ACTIONS, CENTRAL_SYSTEM_ACTIONS, CHARGE_POINT_ACTIONS, Direction
from tests.ocppj.payloads import schema

TIME = "2026-03-01T12:00:00Z"
_CHARGE_POINT, _CENTRAL_SYSTEM, _ALL = (
    sorted(each) for each in (CHARGE_POINT_ACTIONS, CENTRAL_SYSTEM_ACTIONS, ACTIONS)
)


def valid(action: str, direction: Direction, random: Random) -> Any:
    """Return a payload that keeps to the schema."""
    root = schema(action, direction)
    return _from(root, root, random)


def _from(node: dict[str, Any], root: dict[str, Any], random: Random) -> Any:
    if "$ref" in node:
        target: Any = root
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _from(target, root, random)
    if "enum" in node:
        return random.choice(node["enum"])
    match node.get("type"):
        case "object":
            required = set(node.get("required", ()))
            return {
                name: _from(each, root, random)
                for name, each in node.get("properties", {}).items()
                if name in required or random.random() < 0.5
            }
        case "array":
            least = node.get("minItems", 0)
            return [_from(node["items"], root, random) for _ in range(random.randrange(least, least + 3))]
        case "string":
            if node.get("format") == "date-time":
                return TIME
            return "".join(
                random.choices('aZ9é⚡ \0"\\/\u2028', k=random.randrange(min(node.get("maxLength", 20), 20) + 1))
            )
        case "integer":
            return random.choice((0, 1, 1, 2, -1, 7, 1000, 2**31 - 1, -(2**31)))
        case "number":
            return random.choice((0, 0.1, 16, -1.5))
    return random.random() < 0.5


# As JSON has them, where Python may not: lone surrogates, numbers of any size, what is no JSON at all.
_STRANGE = (
    "null", "true", "1e400", "-1e400", "1E-400", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "1" * 400, "0.1", "1.0", "-0", "-0.0", "[]", "{}", '""', '"\\u0000"', '"\\ud800"',
    '"\\udc00x"', '"\\ud83d\\ude00"', '"' + "x" * 26_000 + '"', '"\\u202e\\u2028"', "[" * 1000 + "]" * 1000,
    '{"a":' * 200 + "1" + "}" * 200, "NaN", "Infinity", "01", "+1", "'x'", '"\t"', '"\\x"', "[1,]", '{"a":1,"a":2}',
    "{1:2}", '"$(id)"', "\"'; DROP TABLE transactions;--\"", '"<script>"', '"2026-13-45T99:99:99Z"',
    '"0000-00-00T00:00:00Z"', '"9999-12-31T23:59:59.999999999999Z"', "[" * 2000, "4294967296", "-2147483649",
)  # fmt: skip
_MARK = "\ue000{}\ue001"
"""Where something strange stands in a payload, until it is JSON."""


def strange(payload: Any, random: Random) -> str:
    """Return a payload as JSON, or nearly so, with one to three strange things in it."""
    payload = json.loads(json.dumps(payload))
    if not isinstance(payload, dict):
        payload = {"": payload}
    strangers: list[str] = []
    for _ in range(random.randrange(1, 4)):
        container, key = random.choice([(payload, None), *_places(payload)])
        strangers.append(random.choice(_STRANGE))
        mark = _MARK.format(len(strangers) - 1)
        match random.randrange(3):
            case 0 if key is not None:
                del container[key]
            case 1 if key is not None:
                container[key] = mark
            case _ if isinstance(container, dict):
                container[random.choice(("unknown", "status", "connectorId", "", "__proto__", "\0"))] = mark
            case _:
                container.append(mark)
    written = json.dumps(payload)
    for number, each in enumerate(strangers):
        written = written.replace(json.dumps(_MARK.format(number)), each)
    if random.random() < 0.1:
        written = written.replace("{", '{"connectorId":1,"connectorId":2,', 1)
    return written


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) in a payload."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found: list[tuple[Any, Any]] = []
    for key, value in list(items):
        found += [(node, key), *_places(value)]
    return found


_TRANSACTIONS = ("StartTransaction", "StopTransaction", "MeterValues")


def call(random: Random, transaction_id: int = 1) -> str:
    """Return a Call of any action; often one of transactions, sometimes in order, mostly not.

    Args:
        random: where it is drawn from.
        transaction_id: one that there may be.
    """
    action = random.choice(_TRANSACTIONS if random.random() < 0.4 else _CHARGE_POINT if random.random() < 0.8 else _ALL)
    payload = valid(action, Direction.REQ, random)
    if "transactionId" in payload and random.random() < 0.7:
        payload["transactionId"] = transaction_id
    if "meterStart" in payload or "meterStop" in payload:
        name = "meterStart" if "meterStart" in payload else "meterStop"
        payload[name] = random.choice((0, 1000, 2**31 - 1, 2**63 - 1, -(2**63), 2**62, -(2**62)))
    written = json.dumps(payload) if random.random() < 0.4 else strange(payload, random)
    unique_id = random.choice(("same", "x" * 36, f"{random.getrandbits(60):x}"))
    if random.random() < 0.05:
        action = random.choice(("", "heartbeat", "Heartbeat\0", "x" * 5000, "__class__", "Heartbeat ", "⚡"))
    return f"[2,{json.dumps(unique_id)},{json.dumps(action)},{written}]"


def bulk(random: Random, transaction_id: int) -> str:
    """Return a Call as long as may be: of a transaction's values, or of a status for a connector among many."""
    if random.random() < 0.3:
        value = {"connectorId": random.randrange(10**6), "errorCode": "NoError", "status": "Faulted"}
        return json.dumps([2, "bulk", "StatusNotification", value])
    number = random.choice(("-1", "1e308", "0", "nan", "7"))
    if random.random() < 0.5:
        values = [{"timestamp": TIME, "sampledValue": [{"value": number}] * 12_000}]
    else:
        values = [{"timestamp": f"20{at % 30:02}", "sampledValue": [{"value": number}]} for at in range(3500)]
    payload = {"connectorId": 1, "transactionId": transaction_id, "meterValue": values}
    return json.dumps([2, "bulk", "MeterValues", payload], separators=(",", ":"))


_ENVELOPES = (
    "", " ", "[]", "{}", "[2]", '[2,"1"]', '[2,"1","Heartbeat"]', '[2,"1","Heartbeat",{},{}]', '[2,1,"Heartbeat",{}]',
    '[2,"1",7,{}]', '[2.0,"1","Heartbeat",{}]', '["2","1","Heartbeat",{}]', '[2,null,"Heartbeat",{}]',
    '[true,"1","Heartbeat",{}]', '[5,"1",{}]', '[-2,"1","Heartbeat",{}]', '[1e999,"1",{}]',
    '[2,"' + "x" * 37 + '","Heartbeat",{}]', '[2,"\\ud800","Heartbeat",{}]', '[2,"\\u0000","Heartbeat",{}]',
    '[2,"","Heartbeat",{}]', '[2,"1","Heartbeat",null]', '[3,"1",null]', '[4,"1",null,null,null]', '[4,"1","","",{}]',
    '[4,"1","' + "x" * 10_000 + '","\\u0000",{}]', '\ufeff[2,"1","Heartbeat",{}]', '[2,"1","Heartbeat",{}]\0',
    '[2,"1","Heartbeat",{}] [2,"2","Heartbeat",{}]', "[" * 100_000, "[" * 250_000, '{"a":' * 40_000, "null", "true",
    "2", '"2"', "[[2]]", "[2,[],{},[]]", "x" * 262_144,
)  # fmt: skip


def message(random: Random, outstanding: str | None = None) -> str:
    """Return a text that is valid Unicode, and mostly no valid message.

    Args:
        random: where it is drawn from.
        outstanding: the id of a Call that the other side waits for an answer to.
    """
    choice = random.random()
    if choice < 0.6:
        return call(random)
    if choice < 0.8:
        return answer(random.choice(_CENTRAL_SYSTEM), outstanding or random.choice(("same", "none", "")), random)
    return random.choice(_ENVELOPES)


def answer(action: str, unique_id: str, random: Random) -> str:
    """Return an answer to a Call of the central system: in order, or not."""
    name = json.dumps(unique_id)
    payload = valid(action, Direction.CONF, random)
    match random.randrange(5):
        case 0:
            return f"[3,{name},{json.dumps(payload)}]"
        case 1:
            return f"[3,{name}]"
        case 2:
            code = random.choice(("InternalError", "", "x" * 300, "⚡\0", "GenericError"))
            details = strange(payload, random) if random.random() < 0.5 else random.choice(("{}", "null", "[]"))
            return f"[4,{name},{json.dumps(code)},{json.dumps('d' * random.choice((0, 300)))},{details}]"
    return f"[3,{name},{strange(payload, random)}]"
