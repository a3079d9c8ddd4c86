"""What a charge point's port may be sent by those who mean no good: bytes, requests, frames and messages. No socket.

Everything is drawn from a `Random` that the caller has seeded, so that a run can be repeated.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from random import Random
from typing import Any
from urllib.parse import quote

from ampswarm.ocppj.schemas import ACTIONS, CENTRAL_SYSTEM_ACTIONS, CHARGE_POINT_ACTIONS, Direction
from tests.ocppj.payloads import schema

TIME = "2026-03-01T12:00:00Z"
_CHARGE_POINT, _CENTRAL_SYSTEM, _ALL = (
    sorted(each) for each in (CHARGE_POINT_ACTIONS, CENTRAL_SYSTEM_ACTIONS, ACTIONS)
)
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA

# -- bytes ----------------------------------------------------------------------------------------

_TLS_HELLO = bytes.fromhex("16030100c5010000c10303") + bytes(range(64))
_OTHER_PROTOCOLS = (
    _TLS_HELLO,
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00" * 64,
    b"\r\n\r\n\r\n\r\n",
    b"EHLO x\r\n",
    b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    b"\r\n\r\n\x00\r\nPROXY\x01",
    b"GET / HTTP/0.9\r\n\r\n",
    b"\x10\x0c\x00\x04MQTT\x04\x02\x00<\x00\x00",
)


def noise(random: Random) -> bytes:
    """Return bytes that are no request, or the beginning of another protocol."""
    start = random.choice(_OTHER_PROTOCOLS) if random.random() < 0.5 else b""
    return start + random.randbytes(random.choice((0, 1, 7, 300, 20_000)))


def pieces(data: bytes, random: Random) -> list[bytes]:
    """Split what is sent: not at all, anywhere, or behind every byte."""
    match random.randrange(4):
        case 0 if len(data) < 400:
            return [data[at : at + 1] for at in range(len(data))]
        case 1:
            cuts = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(1, 6)))
            return [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return [data]


# -- requests -------------------------------------------------------------------------------------


def upgrade(identity: str, random: Random) -> bytes:
    """Return a request that is in order."""
    head, _ = _request(identity, random)
    return b"\r\n".join(head) + b"\r\n\r\n"


def _request(identity: str, random: Random) -> tuple[list[bytes], bytes]:
    key = base64.b64encode(random.randbytes(16))
    lines = [
        b"GET /ocpp/" + quote(identity, safe="").encode() + b" HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + key,
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Protocol: ocpp1.6",
    ]
    return lines, key


_TARGETS = (
    b"/", b"//", b"/ocpp/", b"/%", b"/%f", b"/%ff%fe", b"/%00", b"/a%00b", b"/%2e%2e%2f", b"/ocpp/%C0%AF", b"/%ED%A0%80",
    b"/%u0041", b"/a%0d%0aX-Evil:%201", b"/" + b"x" * 300, b"/" + b"%41" * 100, b"*", b"http://evil/CP", b"/a?b#c", b"/ocpp/\xff",
    b"/ocpp/\xc3\xa9", b"/a b", b"/\t", b"", b"/%E2%80%AE", b"/..", b"/ocpp/%20", b"/healthz", b"/readyz?x", b"/metrics",
)  # fmt: skip
_METHODS = (b"POST", b"HEAD", b"OPTIONS", b"get", b"G\x00T", b"", b"TRACE", b"CONNECT", b"GET GET", b"\xffET", b"X" * 5000)
_VERSIONS = (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1\r", b"", b"HTTP/9999.1")
_HEADERS = (
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 6", b"Content-Length:  0", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked", b"Expect: 100-continue", b"Upgrade: h2c", b"Connection: close", b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Key: AAAA", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Key:", b"Sec-WebSocket-Key: \xff",
    b"Sec-WebSocket-Version: 12", b"Sec-WebSocket-Version: 13, 8", b"Sec-WebSocket-Protocol: ocpp2.0.1", b"Sec-WebSocket-Protocol: ,,,",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8", b"X: a\x00b", b"X: a\rb", b"X: a\nb", b" folded: x",
    b"\tfolded", b"No-Colon", b": no name", b"X Y: z", b"X\x00: z", b"Host:", b"Host: a\r\nHost: b", b"Authorization: Basic \xff\xfe",
    b"Authorization: Basic " + b"QQ==" * 300, b"X-Forwarded-For: 1.2.3.4, ::1, evil", b"X: " + b"y" * 17_000, b"Cookie: " + b"z" * 3000,
)  # fmt: skip


def mutated_upgrade(identity: str, random: Random) -> bytes:
    """Return a request with one to three things wrong with it, and sometimes what nobody asked for behind it."""
    lines, key = _request(identity, random)
    end = b"\r\n\r\n"
    for _ in range(random.randrange(1, 4)):
        place = random.randrange(1, len(lines)) if len(lines) > 1 else 0
        match random.randrange(11):
            case 0:
                lines[0] = b"GET " + random.choice(_TARGETS) + b" HTTP/1.1"
            case 1:
                lines[0] = lines[0].replace(b"GET", random.choice(_METHODS), 1)
            case 2:
                lines[0] = lines[0].replace(b"HTTP/1.1", random.choice(_VERSIONS), 1)
            case 3:
                lines.insert(place, random.choice(_HEADERS))
            case 4 if place:
                del lines[place]
            case 5:
                lines.append(lines[place])
            case 6:
                lines += [b"X-%d: y" % number for number in range(random.choice((95, 130, 2000)))]
            case 7:
                end = random.choice((b"\n\n", b"\r\n", b"\r\r", b"", b"\r\n \r\n", b"\r\n\r\n\r\n"))
            case 8:
                at = random.randrange(len(lines[place]) + 1)
                lines[place] = lines[place][:at] + random.randbytes(random.randrange(1, 4)) + lines[place][at:]
            case 9:
                lines[place] = lines[place].replace(key, random.choice((key[:-1], key * 2, b"", key + b", " + key)))
            case _:
                lines[place] = lines[place].swapcase()
    rest = b""
    match random.randrange(4):
        case 0:
            rest = noise(random)
        case 1:
            rest = b"".join(broken_frames(random))
        case 2:
            rest = upgrade("smuggled", random)
    return b"\r\n".join(lines) + end + rest


# -- frames ---------------------------------------------------------------------------------------


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    length: int | None = None,
    wide: int = 0,
) -> bytes:
    """Return a client's frame, in order or not (RFC 6455, 5.2).

    Args:
        opcode: of four bits.
        payload: before it is masked.
        fin: whether it is the last of its message.
        rsv: the three reserved bits.
        mask: of four bytes; `None` does not mask.
        length: what it says of its length; `None` for the truth.
        wide: says the length in 2 or 8 bytes, also where fewer would do.
    """
    size = len(payload) if length is None else length
    masked = 0 if mask is None else 0x80
    if wide == 8 or size >= 1 << 16:
        head = bytes((masked | 127,)) + (size % (1 << 64)).to_bytes(8)
    elif wide == 2 or size >= 126:
        head = bytes((masked | 126,)) + size.to_bytes(2)
    else:
        head = bytes((masked | size,))
    first = bytes(((0x80 if fin else 0) | rsv << 4 | opcode,))
    if mask is None:
        return first + head + payload
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return first + head + mask + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(len(payload))


def text(payload: bytes) -> bytes:
    """Return a text message in one frame."""
    return frame(TEXT, payload)


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a Close frame."""
    return frame(CLOSE, code.to_bytes(2) + reason)


_CODES = (0, 999, 1000, 1001, 1002, 1004, 1005, 1006, 1012, 1015, 1016, 2999, 3000, 3999, 4000, 4999, 5000, 65535)
_BEAT = b'[2,"f","Heartbeat",{}]'

_Breaker = Callable[[Random], list[bytes]]


def _fragments(random: Random) -> list[bytes]:
    """Fragments in the wrong order, or cut through a character."""
    split = "[2,\"f\",\"DataTransfer\",{\"vendorId\":\"⚡\"}]".encode()
    at = split.index("⚡".encode()) + 1
    return random.choice(
        (
            [frame(0, b"x")],
            [frame(TEXT, b"[2,", fin=False), frame(TEXT, _BEAT)],
            [frame(TEXT, b"[2,", fin=False), frame(BINARY, b"x"), frame(0, b"x")],
            [frame(TEXT, split[:at], fin=False), frame(PING, b"p"), frame(0, split[at:])],
            [frame(TEXT, split[:at], fin=False), frame(0, b"\xff")],
            [frame(TEXT, b"", fin=False), *[frame(0, b"", fin=False)] * 300, frame(0, b"")],
            [frame(TEXT, b"x" * 200_000, fin=False), frame(0, b"x" * 200_000)],
            [frame(TEXT, b"[", fin=False), close(1000)],
            [frame(TEXT, b"[" * 1000, fin=False)],
            [frame(BINARY, b"x", fin=False), frame(0, b"x")],
        )
    )


_BREAKERS: tuple[_Breaker, ...] = (
    lambda _: [frame(TEXT, _BEAT, mask=None)],
    lambda _: [frame(TEXT, _BEAT, mask=b"\0\0\0\0")],
    lambda random: [frame(TEXT, _BEAT, rsv=random.randrange(1, 8))],
    lambda random: [frame(random.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), b"x")],
    lambda random: [frame(random.choice((CLOSE, PING, PONG)), b"x" * random.choice((126, 200, 70_000)))],
    lambda random: [frame(random.choice((CLOSE, PING, PONG)), b"x", fin=False)],
    lambda random: [frame(PING, b"p", rsv=4), frame(PONG, b"p", rsv=1)],
    _fragments,
    _fragments,
    lambda random: [frame(TEXT, b"", length=random.choice((1 << 20, 1 << 20 | 1, 1 << 31, 1 << 32, (1 << 63) - 1)))],
    lambda random: [frame(TEXT, b"", length=random.choice((1 << 63, (1 << 64) - 1)))],
    lambda random: [frame(TEXT, _BEAT, wide=random.choice((2, 8)))],
    lambda random: [frame(TEXT, b"x" * 100, length=random.choice((101, 5000, 65_000)))],
    lambda random: [frame(TEXT, b"x" * random.choice((262_145, 600_000)))],
    lambda random: [frame(TEXT, b"x" * 1_100_000)],
    lambda random: [close(random.choice(_CODES), random.choice((b"", b"why", b"\xff\xfe", b"x" * 123)))],
    lambda random: [close(random.choice(_CODES)), frame(TEXT, _BEAT), close(1000)],
    lambda _: [frame(CLOSE, b"")],
    lambda _: [frame(CLOSE, b"\x03")],
    lambda random: [frame(PING, random.randbytes(125))] * random.choice((1, 500)),
    lambda random: [frame(PONG, random.randbytes(125))] * random.choice((1, 500)),
    lambda _: [frame(BINARY, _BEAT)],
    lambda _: [frame(TEXT, b"")],
    lambda _: [frame(TEXT, b"\xff")],
    lambda _: [frame(TEXT, b'[2,"f","Heartbeat",{"\xed\xa0\x80":1}]')],
    lambda random: [random.randbytes(random.choice((1, 2, 13, 500)))],
    # One that is in order, with one that is not in the same segment, and more behind.
    lambda _: [text(_BEAT) + frame(3, b"") + text(_BEAT) * 100],
)


def broken_frames(random: Random) -> list[bytes]:
    """Return a few frames of which at least one is broken, or strange."""
    sent: list[bytes] = []
    for _ in range(random.randrange(1, 4)):
        if random.random() < 0.3:
            sent.append(text(_BEAT))
        sent += random.choice(_BREAKERS)(random)
    return sent


# -- messages -------------------------------------------------------------------------------------


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
            return "".join(random.choices("aZ9é⚡ \0\"\\/\u2028", k=random.randrange(min(node.get("maxLength", 20), 20) + 1)))
        case "integer":
            return random.choice((0, 1, 1, 2, -1, 7, 1000, 2**31 - 1, -(2**31)))
        case "number":
            return random.choice((0, 0.1, 16, -1.5))
    return random.random() < 0.5


# As JSON has them, where Python may not: lone surrogates, numbers of any size, what is no JSON at all.
_STRANGE = (
    "null", "true", "1e400", "-1e400", "1E-400", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "1" * 400, "0.1", "1.0", "-0", "-0.0", "[]", "{}", '""', '"\\u0000"', '"\\ud800"', '"\\udc00x"',
    '"\\ud83d\\ude00"', '"' + "x" * 26_000 + '"', '"\\u202e\\u2028"', "[" * 1000 + "]" * 1000, '{"a":' * 200 + "1" + "}" * 200, "NaN", "Infinity",
    "01", "+1", "'x'", '"\t"', '"\\x"', "[1,]", '{"a":1,"a":2}', "{1:2}", '"$(id)"', "\"'; DROP TABLE transactions;--\"", '"<script>"',
    '"2026-13-45T99:99:99Z"', '"0000-00-00T00:00:00Z"', '"9999-12-31T23:59:59.999999999999Z"', "[" * 2000, "4294967296", "-2147483649",
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
    "", " ", "[]", "{}", "[2]", '[2,"1"]', '[2,"1","Heartbeat"]', '[2,"1","Heartbeat",{},{}]', '[2,1,"Heartbeat",{}]', '[2,"1",7,{}]',
    '[2.0,"1","Heartbeat",{}]', '["2","1","Heartbeat",{}]', '[2,null,"Heartbeat",{}]', '[true,"1","Heartbeat",{}]', '[5,"1",{}]', '[-2,"1","Heartbeat",{}]',
    '[1e999,"1",{}]', '[2,"' + "x" * 37 + '","Heartbeat",{}]', '[2,"\\ud800","Heartbeat",{}]', '[2,"\\u0000","Heartbeat",{}]', '[2,"","Heartbeat",{}]',
    '[2,"1","Heartbeat",null]', '[3,"1",null]', '[4,"1",null,null,null]', '[4,"1","","",{}]', '[4,"1","' + "x" * 10_000 + '","\\u0000",{}]',
    '\ufeff[2,"1","Heartbeat",{}]', '[2,"1","Heartbeat",{}]\0', '[2,"1","Heartbeat",{}] [2,"2","Heartbeat",{}]', "[" * 100_000, "[" * 250_000,
    '{"a":' * 40_000, "null", "true", "2", '"2"', "[[2]]", "[2,[],{},[]]", "x" * 262_144,
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


# -- what comes back ------------------------------------------------------------------------------


class Violation(AssertionError):
    """The central system said something that it never should."""


class Incoming:
    """Takes what the central system sends, and holds it to HTTP, RFC 6455 and OCPP-J."""

    _STATUSES = frozenset({b"101", b"200", b"400", b"404", b"431", b"503"})

    def __init__(self) -> None:
        self._data = b""
        self._has_head = False
        self.status: bytes | None = None
        """Of the HTTP answer; `None` before it came."""
        self.messages: list[list[Any]] = []
        """OCPP-J messages, in their order."""
        self.closed: int | None = None
        """The code of its Close frame."""

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises:
            Violation: it is not as it should be.
        """
        self._data += data
        if not self._has_head:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            self._has_head, self._data = True, rest
            version, self.status = head.split(b" ")[:2]
            if version != b"HTTP/1.1" or self.status not in self._STATUSES:
                raise Violation(f"answered {head[:200]!r}")
        if self.status == b"101":
            self._read_frames()

    def _read_frames(self) -> None:
        while len(self._data) >= 2:
            first, length = self._data[:2]
            begin = 2
            if length in (126, 127):
                begin = 4 if length == 126 else 10
                if len(self._data) < begin:
                    return
                length = int.from_bytes(self._data[2:begin])
            if len(self._data) < begin + length:
                return
            payload, self._data = self._data[begin : begin + length], self._data[begin + length :]
            self._take(first, payload)

    def _take(self, first: int, payload: bytes) -> None:
        if self.closed is not None:
            raise Violation(f"a frame {first:#x} {payload[:100]!r} behind the Close frame")
        if first == 0x81:
            self.messages.append(_checked(payload))
        elif first == 0x88:
            self.closed = int.from_bytes(payload[:2])
            payload[2:].decode()
        elif first not in (0x89, 0x8A) or len(payload) > 125:
            raise Violation(f"a frame {first:#x} of {len(payload)} bytes")


def _checked(payload: bytes) -> list[Any]:
    said = json.loads(payload)
    lengths = {2: 4, 3: 3, 4: 5}
    if type(said) is not list or len(said) != lengths[said[0]] or type(said[1]) is not str:
        raise Violation(f"said {payload[:200]!r}")
    if said[0] == 4 and not (said[2].isalpha() and type(said[3]) is str and type(said[4]) is dict):
        raise Violation(f"said {payload[:200]!r}")
    return said


def seed() -> int:
    """Return the seed of this run: WIRE_FUZZ_SEED, or another one each time."""
    given = os.environ.get("WIRE_FUZZ_SEED")
    return int(given) if given else int.from_bytes(os.urandom(4))
