"""Holds what a central system sends to the rules, whatever it was sent. No socket."""

from __future__ import annotations

import json
from typing import Any


class Violation(AssertionError):  # noqa: N818  what happened
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
        self.pings: list[bytes] = []
        """Payloads of PINGs that nobody has answered yet."""
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
        elif first == 0x89:
            self.pings.append(payload)
        elif first != 0x8A or len(payload) > 125:
            raise Violation(f"a frame {first:#x} of {len(payload)} bytes")


def _checked(payload: bytes) -> list[Any]:
    said = json.loads(payload)
    lengths = {2: 4, 3: 3, 4: 5}
    if type(said) is not list or len(said) != lengths[said[0]] or type(said[1]) is not str:
        raise Violation(f"said {payload[:200]!r}")
    if said[0] == 4 and not (said[2].isalpha() and type(said[3]) is str and type(said[4]) is dict):
        raise Violation(f"said {payload[:200]!r}")
    return said
