"""The HTTP request that opens a WebSocket connection (RFC 6455, 4.2.1), and what refuses it. No socket."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from server.metrics import RefusalReason

MAX_HEAD: Final = 16 * 1024
"""Bytes of a request line with all headers."""
MAX_HEADERS: Final = 100

# Whole heads at once: a line for each header is what the parsing costs.
_HEAD: Final = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])"
    r"((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)*)"
)
_BODY: Final = "a request with a body opens no WebSocket connection"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer that ends a connection. No secret, and nothing that the client sent, stands in it."""

    status: HTTPStatus
    why: str
    """One line, for the client and for the log."""
    headers: tuple[tuple[str, str], ...] = ()
    inside: str = ""
    """What the log has instead of `why`, where the client need not know."""
    reason: RefusalReason = RefusalReason.BAD_REQUEST
    """What it is counted under."""

    def response(self) -> bytes:
        """Return the whole response."""
        return http_response(self.status, f"{self.why}\n".encode(), self.headers)


class BadRequest(Exception):  # noqa: N818  what it is called in HTTP
    """A request that is not well-formed, with one line that says why."""


@dataclass(slots=True)
class Request:
    """The head of a request."""

    method: str
    target: str
    """As it came, percent-encoded; each byte is one character."""
    is_1_1: bool
    """Whether it is HTTP/1.1."""
    headers: dict[str, str] = field(repr=False)
    """Values by name in lower case; those of a name that comes twice are joined by commas. Holds secrets."""

    def header(self, name: str) -> str:
        """Return a header's value; empty where there is none."""
        return self.headers.get(name, "")

    @property
    def is_upgrade(self) -> bool:
        """Whether it asks for an upgrade to anything."""
        return "upgrade" in self.headers


def parse_head(head: bytes) -> Request:
    """Return the request in `head`, which is all before the empty line.

    Raises:
        BadRequest: it breaks the syntax of HTTP, or announces a body.
    """
    matched = _HEAD.fullmatch(head.decode("latin-1"))
    if matched is None:
        raise BadRequest("this is no well-formed HTTP/1.1 request")
    method, target, minor, lines = matched.groups()
    fields = lines.split("\r\n")
    del fields[0]
    if len(fields) > MAX_HEADERS:
        raise BadRequest(f"a request has at most {MAX_HEADERS} headers")
    headers: dict[str, str] = {}
    for line in fields:
        name, _, value = line.partition(":")
        key = name.lower()
        text = value.strip(" \t")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    if "transfer-encoding" in headers or headers.get("content-length", "0").strip("0"):
        raise BadRequest(_BODY)
    return Request(method, target, minor == "1", headers)


def websocket_key(request: Request) -> str:
    """Return the key of a request that asks for a WebSocket connection.

    Raises:
        BadRequest: it asks for none (RFC 6455, 4.2.1).
    """
    header = request.header
    if request.method != "GET":
        raise BadRequest("only GET opens a WebSocket connection")
    if not request.is_1_1 or header("upgrade").lower() != "websocket":
        raise BadRequest("this is an OCPP-J endpoint: it takes WebSocket upgrades")
    if "upgrade" not in {token.strip().lower() for token in header("connection").split(",")}:
        raise BadRequest("Connection does not name Upgrade")
    if header("sec-websocket-version") not in {"13", "8", "7"}:
        raise BadRequest("Sec-WebSocket-Version is not 13")
    key = header("sec-websocket-key")
    try:
        is_good = len(b64decode(key, validate=True)) == 16
    except (ValueError, binascii.Error):
        is_good = False
    if not is_good:
        raise BadRequest("Sec-WebSocket-Key is not 16 bytes in base64")
    return key


def http_response(
    status: HTTPStatus, body: bytes, headers: tuple[tuple[str, str], ...] = (), content_type: str = "text/plain"
) -> bytes:
    """Return a response after which the connection is closed."""
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
