"""WebSocket frames as a client sends and takes them (RFC 6455, 5.2): no socket, and in as few steps as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# Any but zero, which some servers need not undo. A measurement has nobody to hide its bytes from.
_KEY: Final = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a client's frame, of up to 64 KiB.

    Raises:
        ValueError: the payload is longer.
    """
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
    else:
        raise ValueError(f"a frame of {size} bytes")
    key = (_KEY * (size // 4 + 1))[:size]
    return head + _KEY + (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the opcode, and where its payload begins and ends, of each whole frame that a server sent.

    What stands behind the last end is the beginning of a frame that is still to come.

    Raises:
        ValueError: a fragment, or a masked frame; servers under measurement send neither.
    """
    at, size = 0, len(data)
    while at + 2 <= size:
        first, length = data[at], data[at + 1]
        if not first & 0x80 or length & 0x80:
            raise ValueError(f"a fragment, or masked: {data[at : at + 16].hex()}")
        begin = at + 2
        if length == 126:
            begin += 2
        elif length == 127:
            begin += 8
        if begin > at + 2:
            if begin > size:
                return
            length = int.from_bytes(data[at + 2 : begin])
        at = begin + length
        if at > size:
            return
        yield first & 0x0F, begin, at
