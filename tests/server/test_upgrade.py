"""The head of upgrade requests, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.upgrade import BadRequest, parse_head, websocket_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = (
    b"GET /ocpp/CP1 HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\nSec-WebSocket-Version: 13"
)


def test_a_request_of_a_proxy_is_taken_too() -> None:
    """Connection is a list, and names and values have any case (RFC 6455, 4.2.1): some proxies make use of it."""
    request = parse_head(GOOD)
    assert request.target == "/ocpp/CP1"
    assert websocket_key(request) == KEY


def test_a_header_that_comes_twice_is_one_list() -> None:
    """RFC 9110, 5.3: the subprotocols may be spread over several."""
    request = parse_head(GOOD + b"\r\nSec-WebSocket-Protocol: ocpp2.0.1\r\nsec-websocket-protocol:ocpp1.6 ")
    assert request.header("sec-websocket-protocol") == "ocpp2.0.1, ocpp1.6"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GET /CP1",
        b"GET /CP1 HTTP/2.0",
        b"GET  /CP1 HTTP/1.1",
        b"GET /CP\x001 HTTP/1.1",
        b"GET /CP1\tx HTTP/1.1",
        b"GET /CP1 HTTP/1.1\r\nHost",
        b"GET /CP1 HTTP/1.1\r\nHost : x",
        b"GET /CP1 HTTP/1.1\r\n folded: x",
        b"GET /CP1 HTTP/1.1\r\nHost: x\ny",
        b"GET /CP1 HTTP/1.1\r\nHost: x\ry",
        b"GET /CP1 HTTP/1.1\r\nHost: \x00",
        b"GET /CP1 HTTP/1.1\nHost: x",
        b"GET /CP1 HTTP/1.1\r\nContent-Length: 5",
        b"GET /CP1 HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 5",
        b"GET /CP1 HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"GET /CP1 HTTP/1.1" + b"\r\na: b" * 101,
    ],
)
def test_what_breaks_http_is_refused(head: bytes) -> None:
    """Two readers of one request must not see two requests in it: no smuggling past a proxy."""
    with pytest.raises(BadRequest):
        parse_head(head)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"WebSocket", b"h2c"),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"Version: 13", b"Version: 12"),
        (KEY.encode(), b"short"),
        (KEY.encode(), b"\xff"),
        (KEY.encode(), KEY.encode() + b"\r\nSec-WebSocket-Key: " + KEY.encode()),
    ],
)
def test_what_asks_for_no_websocket_is_refused(old: bytes, new: bytes) -> None:
    """RFC 6455, 4.2.1."""
    with pytest.raises(BadRequest):
        websocket_key(parse_head(GOOD.replace(old, new)))


@given(st.binary(max_size=300))
@example(GOOD)
def test_any_bytes_are_a_request_or_refused_with_one_line_without_them(head: bytes) -> None:
    """Nothing that a stranger sends is an error here, or comes back in the answer."""
    try:
        request = parse_head(head)
        websocket_key(request)
    except BadRequest as bad:
        assert str(bad).isprintable()
    else:
        assert not any(char < " " or char == "\x7f" for char in request.target)
