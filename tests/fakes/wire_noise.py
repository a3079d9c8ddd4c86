"""What a charge point's port may be sent by those who mean no good: bytes, requests and frames. No socket.

Everything is drawn from a `Random` that the caller has seeded, so that a run can be repeated.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from random import Random
from urllib.parse import quote

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
    b"/", b"//", b"/ocpp/", b"/%", b"/%f", b"/%ff%fe", b"/%00", b"/a%00b", b"/%2e%2e%2f", b"/ocpp/%C0%AF",
    b"/%ED%A0%80", b"/%u0041", b"/a%0d%0aX-Evil:%201", b"/" + b"x" * 300, b"/" + b"%41" * 100, b"*",
    b"http://evil/CP", b"/a?b#c", b"/ocpp/\xff", b"/ocpp/\xc3\xa9", b"/a b", b"/\t", b"", b"/%E2%80%AE", b"/..",
    b"/ocpp/%20", b"/healthz", b"/readyz?x", b"/metrics",
)  # fmt: skip
_METHODS = (
    b"POST",
    b"HEAD",
    b"OPTIONS",
    b"get",
    b"G\x00T",
    b"",
    b"TRACE",
    b"CONNECT",
    b"GET GET",
    b"\xffET",
    b"X" * 5000,
)
_VERSIONS = (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1\r", b"", b"HTTP/9999.1")
_HEADERS = (
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 5, 6", b"Content-Length:  0",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Expect: 100-continue", b"Upgrade: h2c",
    b"Connection: close", b"Connection: keep-alive, Upgrade", b"Sec-WebSocket-Key: AAAA",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Key:", b"Sec-WebSocket-Key: \xff",
    b"Sec-WebSocket-Version: 12", b"Sec-WebSocket-Version: 13, 8", b"Sec-WebSocket-Protocol: ocpp2.0.1",
    b"Sec-WebSocket-Protocol: ,,,", b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8",
    b"X: a\x00b", b"X: a\rb", b"X: a\nb", b" folded: x", b"\tfolded", b"No-Colon", b": no name", b"X Y: z",
    b"X\x00: z", b"Host:", b"Host: a\r\nHost: b", b"Authorization: Basic \xff\xfe",
    b"Authorization: Basic " + b"QQ==" * 300, b"X-Forwarded-For: 1.2.3.4, ::1, evil", b"X: " + b"y" * 17_000,
    b"Cookie: " + b"z" * 3000,
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
    rest = random.choice((b"", noise(random), b"".join(broken_frames(random)), upgrade("smuggled", random)))
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
    split = '[2,"f","DataTransfer",{"vendorId":"⚡"}]'.encode()
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


def seed() -> int:
    """Return the seed of this run: WIRE_FUZZ_SEED, or another one each time."""
    given = os.environ.get("WIRE_FUZZ_SEED")
    return int(given) if given else int.from_bytes(os.urandom(4))
