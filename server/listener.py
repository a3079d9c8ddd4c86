"""WebSocket over TCP for the central system. The only module that knows picows."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import ClassVar, Final

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # its stub leaves it out

from server.connections import MAX_MESSAGE, CentralSystem, CloseCode, Connection
from server.handshake import Entry, Open
from server.limits import Place, TokenBucket
from server.metrics import Closed

# An attribute of the module, which is found sooner than one of an enumeration.
_TEXT: Final = WSMsgType.TEXT
_CLOSE_TIMEOUT: Final = 2.0
"""Seconds for a peer to answer a Close frame before the connection is ended all the same."""
_FRAME_PER_MESSAGE: Final = 4
"""A frame up to so many times as long as a message may be is read to its end before it is refused with
1009: closing a socket with unread data in it resets the connection, and the peer may never see why."""
_READ_BUFFER: Final = 2048
"""Bytes, per connection. The default of 16 KiB would be half of all the memory used."""
_BURST_SECONDS: Final = 10
"""Over which the rate of messages is taken: a charge point that was offline has something to tell."""
# An adapter, since picows gives each connection a child of a logger itself, which takes 1 KiB.
_LOGGER: Final = logging.LoggerAdapter(logging.getLogger("picows.central-system"), {})
# picows reports each broken frame at level ERROR too; that is a peer's doing. What has a traceback is a fault of ours.
_LOGGER.logger.addFilter(lambda record: record.exc_info is not None)


class _PicowsPeer(WSListener):
    """One WebSocket connection: joins fragments, keeps to RFC 6455, hands whole messages on."""

    __slots__ = (
        "_cause",
        "_central",
        "_closing",
        "_connection",
        "_fragments",
        "_identity",
        "_place",
        "_registered",
        "_transport",
    )

    max_message: ClassVar[int] = MAX_MESSAGE
    """Bytes."""

    def __init__(self, central: CentralSystem, entry: Entry, place: Place | None) -> None:
        self._central = central
        self._identity = entry.identity
        self._registered = entry.registered
        self._place = place
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
            self._connection = self._central.connect(self._identity, self, self._registered)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        msg_type = frame.msg_type
        connection = self._connection
        if (
            # Nearly every frame is a whole text message: it is told from all others first.
            msg_type == _TEXT
            and frame.fin
            and connection is not None
            and self._closing is None
            and self._fragments is None
            and frame.payload_size <= self.max_message
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            connection.receive(frame.get_payload_as_bytes())
        elif msg_type == WSMsgType.CLOSE:
            self._on_close(transport, frame)
        elif self._closing is not None or self._connection is None:
            return
        elif msg_type == WSMsgType.PONG:
            self._connection.pong()
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            self.close(CloseCode.PROTOCOL_ERROR, "reserved bits without an extension")
        elif frame.payload_size > self.max_message:
            self._too_big()
        else:
            self._on_fragment(msg_type, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._place is not None:
            self._place.leave()
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
            transport.send(_TEXT, text)

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
        if len(self._fragments) > self.max_message:
            self._fragments = None
            self._too_big()
        elif frame.fin:
            message = bytes(self._fragments)
            self._fragments = None
            if self._connection is not None:
                self._connection.receive(message)

    def _too_big(self) -> None:
        self.close(CloseCode.MESSAGE_TOO_BIG, f"a message has at most {self.max_message} bytes")


class _LimitedPeer(_PicowsPeer):
    """One that may send only so many messages a second."""

    __slots__ = ("_bucket",)

    messages_per_second: ClassVar[int] = 1

    def __init__(self, central: CentralSystem, entry: Entry, place: Place | None) -> None:
        super().__init__(central, entry, place)
        rate = self.messages_per_second
        self._bucket = TokenBucket(rate, _BURST_SECONDS * rate, time.monotonic())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # All frames count: fragments and PINGs cost as much as messages.
        if not self._bucket.take(time.monotonic()) and frame.msg_type != WSMsgType.CLOSE:
            self.close(CloseCode.POLICY_VIOLATION, f"more than {self.messages_per_second} messages a second")
        elif frame.msg_type == WSMsgType.PING:
            if self._closing is None:
                transport.send_pong(frame.get_payload_as_bytes())
        else:
            super().on_ws_frame(transport, frame)


def opener(central: CentralSystem, *, max_message: int = MAX_MESSAGE, messages_per_second: int = 0) -> Open:
    """Return what makes WebSocket connections of the central system, for handshakes.

    Args:
        central: whose connections they are.
        max_message: bytes of the longest message that is taken.
        messages_per_second: of each charge point, on average over ten seconds; 0 for any number.
    """
    # The limits are the class's, not each connection's.
    limits = {"__slots__": (), "max_message": max_message, "messages_per_second": messages_per_second}
    kind: type[_PicowsPeer] = type("_Peer", (_LimitedPeer if messages_per_second else _PicowsPeer,), limits)
    max_frame = _FRAME_PER_MESSAGE * max_message

    def open_websocket(transport: asyncio.Transport, entry: Entry, rest: bytes, place: Place | None) -> None:
        peer = kind(central, entry, place)

        def route(_: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            headers = None if entry.subprotocol is None else {"Sec-WebSocket-Protocol": entry.subprotocol}
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), peer)

        protocol = WSProtocol(
            None, None, False,  # noqa: FBT003  host, path, and whether this is the client's side
            route, _LOGGER,
            True, None,  # noqa: FBT003  disconnect after an exception; the handshake's timeout was kept already
            False, 20, 20, WSAutoPingStrategy.PING_WHEN_IDLE,  # noqa: FBT003  PINGs are the central system's
            not messages_per_second,  # whether picows answers PINGs by itself, uncounted
            max_frame, None, _READ_BUFFER,
        )  # fmt: skip
        try:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            # The request as picows wants it, without what only the handshake needed: it is kept, and the
            # original holds a password.
            _feed(protocol, _REQUEST % entry.key.encode() + rest, transport)
        except Exception:
            _LOGGER.exception("a WebSocket connection could not be opened")
            if place is not None:
                place.leave()
            transport.abort()

    return open_websocket


_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
)


def _feed(protocol: asyncio.BufferedProtocol, data: bytes, transport: asyncio.Transport) -> None:
    """Let a protocol read `data` as if it had just arrived."""
    unread = memoryview(data)
    while unread and not transport.is_closing():
        buffer = memoryview(protocol.get_buffer(-1))
        size = min(len(buffer), len(unread))
        buffer[:size] = unread[:size]
        protocol.buffer_updated(size)
        unread = unread[size:]
