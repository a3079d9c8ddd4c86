"""WebSocket over TCP for the central system. The only module that knows picows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from ampswarm.ocppj.identity import InvalidIdentity, identity_from_path, negotiate_subprotocol
from server.chaos import refusal_headers as chaos_headers
from server.connections import MAX_MESSAGE, CentralSystem, CloseCode, Connection
from server.metrics import Closed, Refusal

_HANDSHAKE_TIMEOUT: Final = 20.0
"""Seconds for a client to send its upgrade request."""
_CLOSE_TIMEOUT: Final = 2.0
"""Seconds for a peer to answer a Close frame before the connection is ended all the same."""
_MAX_FRAME: Final = 4 * MAX_MESSAGE
"""Bytes. A frame between MAX_MESSAGE and this is read to its end before it is refused with 1009:
closing a socket with unread data in it resets the connection, and the peer may never see why."""
_READ_BUFFER: Final = 2048
"""Bytes, per connection. The default of 16 KiB would be half of all the memory used."""
_BACKLOG: Final = 16384
"""Connections that the kernel may hold until they are accepted: a whole fleet may come at once."""


class _PicowsPeer(WSListener):
    """One WebSocket connection: joins fragments, keeps to RFC 6455, hands whole messages on."""

    __slots__ = ("_cause", "_central", "_closing", "_connection", "_fragments", "_identity", "_transport")

    def __init__(self, central: CentralSystem, identity: str | None) -> None:
        self._central = central
        self._identity = identity
        self._connection: Connection | None = None
        self._transport: WSTransport | None = None
        self._fragments: bytearray | None = None
        self._closing: str | None = None
        self._cause = Closed.LOST

    # -- what picows calls --------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        if self._identity is None:
            # J 3.2: complete the handshake without a subprotocol, then immediately close.
            self.close(CloseCode.PROTOCOL_ERROR, "no common subprotocol: this is OCPP 1.6")
        else:
            self._connection = self._central.connect(self._identity, self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        msg_type = frame.msg_type
        if msg_type == WSMsgType.CLOSE:
            self._on_close(transport, frame)
        elif self._closing is not None or self._connection is None:
            return
        elif msg_type == WSMsgType.PONG:
            self._connection.pong()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(CloseCode.PROTOCOL_ERROR, "reserved bits without an extension")
        elif frame.payload_size > MAX_MESSAGE:
            self._too_big()
        elif msg_type == WSMsgType.TEXT and frame.fin and self._fragments is None:
            self._connection.receive(frame.get_payload_as_memoryview())
        else:
            self._on_fragment(msg_type, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._connection is not None:
            why = self._closing
            if why is None and transport.close_handshake is not None:
                received = transport.close_handshake.recv
                sent = transport.close_handshake.sent
                if received is not None:
                    why = f"closed by the charge point with {received.code.value}"
                    self._cause = Closed.CHARGE_POINT
                elif sent is not None:
                    why = f"closed with {sent.code.value}"
                    self._cause = Closed.by_code(sent.code.value)
            self._central.disconnected(self._connection, why or "connection lost", self._cause)
            self._connection = None

    def pause_writing(self) -> None:
        # A charge point that asks without reading the answers is not read from either.
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.underlying_transport.resume_reading()

    # -- what the central system calls (Peer) -------------------------------------------------

    def send_text(self, text: bytes) -> None:
        transport = self._transport
        if transport is not None and self._closing is None:
            transport.send(WSMsgType.TEXT, text)

    def ping(self) -> None:
        if self._transport is not None and self._closing is None:
            self._transport.send_ping()

    def close(self, code: int, reason: str) -> None:
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        self._closing = f"closed with {code}: {reason}"
        self._cause = Closed.by_code(code)
        transport.send_close(WSCloseCode(code), reason)
        asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    # -- inside -------------------------------------------------------------------------------

    def _on_close(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._closing is None:
            code = frame.get_close_code()
            transport.send_close(WSCloseCode.OK if code == WSCloseCode.NO_INFO else code)
        transport.disconnect()

    def _on_fragment(self, msg_type: WSMsgType, frame: WSFrame) -> None:
        starts = msg_type != WSMsgType.CONTINUATION
        if starts == (self._fragments is not None):
            self.close(CloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        if msg_type == WSMsgType.BINARY:
            self.close(CloseCode.UNSUPPORTED_DATA, "OCPP-J messages are text")
            return
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += frame.get_payload_as_memoryview()
        if len(self._fragments) > MAX_MESSAGE:
            self._fragments = None
            self._too_big()
        elif frame.fin:
            message = bytes(self._fragments)
            self._fragments = None
            if self._connection is not None:
                self._connection.receive(message)

    def _too_big(self) -> None:
        self.close(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {MAX_MESSAGE} bytes")


def _router(central: CentralSystem) -> Callable[[WSUpgradeRequest], WSUpgradeResponseWithListener]:
    def route(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        if central.is_closing:
            central.refused(HTTPStatus.SERVICE_UNAVAILABLE, "the central system is going away", Refusal.STOPPING)
            response = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE)
            return WSUpgradeResponseWithListener(response, None)
        try:
            # Latin-1 takes any byte; the identity's own decoding decides what is UTF-8.
            identity = identity_from_path(request.path.decode("latin-1"))
        except InvalidIdentity as error:
            why = f"the path names no charge point: {error}"
            central.refused(HTTPStatus.NOT_FOUND, why, Refusal.BAD_PATH)
            response = WSUpgradeResponse.create_error_response(HTTPStatus.NOT_FOUND, why.encode("utf-8", "replace"))
            return WSUpgradeResponseWithListener(response, None)
        if central.chaos is not None and (refusal := central.chaos.refusal(identity)) is not None:
            central.refused(refusal[0], "chaos", Refusal.CHAOS)
            response = WSUpgradeResponse.create_error_response(refusal[0], b"chaos", chaos_headers(*refusal))
            return WSUpgradeResponseWithListener(response, None)
        subprotocol = negotiate_subprotocol(request.headers.getall("Sec-WebSocket-Protocol", []))
        if subprotocol is None:
            central.disagreed()
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(), _PicowsPeer(central, None))
        response = WSUpgradeResponse.create_101_response({"Sec-WebSocket-Protocol": subprotocol})
        return WSUpgradeResponseWithListener(response, _PicowsPeer(central, identity))

    return route


async def listen(central: CentralSystem, host: str, port: int, *, shared: bool = False) -> asyncio.Server:
    """Accept charge points on `host` and `port`; 0 takes a free port.

    Args:
        central: where they are taken to.
        host: the address to listen on.
        port: 0 takes a free one.
        shared: whether other processes listen there as well; each gets some of the connections.

    Raises:
        OSError: the address cannot be listened on.
    """
    return await ws_create_server(
        _router(central),
        host,
        port,
        websocket_handshake_timeout=_HANDSHAKE_TIMEOUT,
        enable_auto_pong=True,
        max_frame_size=_MAX_FRAME,
        read_buffer_init_size=_READ_BUFFER,
        logger_name="central-system",
        backlog=_BACKLOG,
        reuse_port=shared or None,
    )
