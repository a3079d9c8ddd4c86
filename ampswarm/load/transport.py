"""One charge point's WebSocket: websocket-client over a socket that reads in large pieces.

websocket-client reads an opening handshake one byte at a time, 236 system calls for one connect, and
every frame in two or three. It takes a socket of ours through its public `socket=` option, so the
socket here buffers, keeps a deadline over a whole handshake, and waits in gevent's loop. It is a plain
non-blocking socket with one watcher: gevent's own socket, with two, costs a kilobyte more each.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import websocket
from gevent import Timeout, get_hub, monkey, spawn
from gevent import sleep as gevent_sleep
from gevent.event import AsyncResult
from websocket import ABNF, _handshake

from ampswarm.load.credentials import Cause, TlsContexts, cause_of, certificate_alert, endpoint_for
from ampswarm.load.paths import Paths
from ampswarm.load.socket_census import CENSUS
from ampswarm.ocppj.identity import SUBPROTOCOL, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ampswarm.charge_point.security import Security

# Under Locust, `socket.socket` is gevent's. This is the one underneath.
_socket_type: Final[type[socket.socket]] = monkey.get_original("socket", "socket")

# websocket-client keeps cookies that name a domain for the whole process: the cookie with which a load
# balancer marks one charge point would send the whole fleet to the same replica.
_handshake.CookieJar.add = lambda set_cookie: None  # type: ignore[method-assign]  # noqa: ARG005

_poll_type: Final[type[select.poll]] = monkey.get_original("select", "poll")

_READABLE: Final = 1
_WRITABLE: Final = 2
_READ_SIZE: Final = 16 * 1024
_MAX_RESPONSE_HEAD: Final = 64 * 1024
"""Bytes of the status line and headers that answer an upgrade request."""
_STALL_TIMEOUT: Final = 30.0
"""Seconds for the rest of a frame to come, or to go out, before the connection counts as lost."""
_UNRESOLVED_FOR: Final = 1.0
"""Seconds for which a failure to resolve a name is the answer for everybody."""
_RESOLVED_FOR: Final = 30.0
"""Seconds for which a name's addresses are kept. As long as a rolling deployment takes to notice."""
_NEVER: Final = float("inf")
_AT_ONCE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER's struct: on, for 0 seconds."""
_MAX_RETRY_AFTER: Final = 24 * 60 * 60.0

Address = tuple[socket.AddressFamily, Any]


class ConnectFailed(Exception):  # noqa: N818  read in Locust's table: ConnectFailed('HTTP 503 …')
    """An attempt to connect that failed.

    Args:
        reason: the class of failure. The same text for every charge point that fails in this way:
            Locust keeps one entry for each text.
        retry_after: seconds that the central system asked to wait; 0 when it did not.
        cause: what it means to the charge point's security.
    """

    def __init__(self, reason: str, retry_after: float = 0.0, cause: Cause = Cause.OTHER) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.cause = cause


class ConnectionLost(Exception):  # noqa: N818
    """The connection has ended; the text says how, the same for every charge point."""


class Control(Enum):
    """What `Connection.receive` returns for a frame that is no message."""

    PING = "PING"
    """It was answered."""
    PONG = "PONG"


class Resolver:
    """Addresses of host names, asked for once for all charge points of a worker."""

    def __init__(self) -> None:
        # What is known, or was found not to be, and until when.
        self._known: dict[tuple[str, int], tuple[float, list[Address] | OSError]] = {}
        self._asked: dict[tuple[str, int], AsyncResult] = {}
        self._turn = 0

    def addresses(self, host: str, port: int, deadline: float) -> list[Address]:
        """Return where to connect to, in the order in which to try.

        The order takes turns over the addresses of the family that the system prefers, so that the
        charge points spread over all of them.

        Args:
            host: a name or an address.
            port: the TCP port.
            deadline: when to give up, in seconds of the monotonic clock.

        Raises:
            OSError: the name cannot be resolved, or `TimeoutError` at the deadline.
        """
        key = (host, port)
        expires, addresses = self._known.get(key, (0.0, []))
        if time.monotonic() >= expires:
            addresses = self._ask(key, deadline)
        if isinstance(addresses, OSError):
            raise addresses
        preferred = [each for each in addresses if each[0] == addresses[0][0]]
        self._turn = (self._turn + 1) % len(preferred)
        others = [each for each in addresses if each[0] != addresses[0][0]]
        return preferred[self._turn :] + preferred[: self._turn] + others

    def _ask(self, key: tuple[str, int], deadline: float) -> list[Address] | OSError:
        """Wait for the answer to a question that one greenlet asks for all that have it."""
        if key not in self._asked:
            self._asked[key] = AsyncResult()
            spawn(self._look_up, key)
        try:
            found: list[Address] | OSError = self._asked[key].get(timeout=max(0.0, deadline - time.monotonic()))
        except Timeout:
            raise TimeoutError from None
        return found

    def _look_up(self, key: tuple[str, int]) -> None:
        answer: list[Address] | OSError
        try:
            found = socket.getaddrinfo(*key, type=socket.SOCK_STREAM)
            answer, valid = [(family, address) for family, _, _, _, address in found], _RESOLVED_FOR
        except OSError as error:
            answer, valid = error, _UNRESOLVED_FOR
        except UnicodeError:
            answer, valid = socket.gaierror(socket.EAI_NONAME, "not a host name"), _UNRESOLVED_FOR
        self._known[key] = time.monotonic() + valid, answer
        self._asked.pop(key).set(answer)


Measured = Callable[[str, float], None]
"""Takes a part of a connect, and how many seconds it took."""


def _unmeasured(_part: str, _seconds: float) -> None:
    """Measure nothing."""


@dataclass(frozen=True, slots=True)
class Connector:
    """How charge points connect; one for a whole fleet.

    Args:
        resolver: where addresses come from.
        tls: where their TLS contexts come from.
        handshake_timeout: seconds for TCP, TLS and upgrade together.
        paths: from which address to which port.
    """

    resolver: Resolver
    tls: TlsContexts
    handshake_timeout: float
    paths: Paths = field(default_factory=Paths)

    def connect(
        self,
        endpoint: Endpoint,
        identity: str,
        security: Security | None = None,
        utc: float = 0.0,
        measured: Measured | None = None,
    ) -> Connection:
        """Return a connection that is open, with `ocpp1.6` agreed on.

        Args:
            endpoint: where the fleet connects to.
            identity: the charge point's.
            security: what it proves itself with, as it is now; `None` for nothing. It is told when the
                connection stands, and not when it fails.
            utc: the charge point's clock, in seconds since 1970.
            measured: told how many seconds each part took, once it has succeeded: `tcp`, `tls`, `upgrade`.

        Raises:
            ConnectFailed: with the class of what went wrong.
        """
        endpoint = self.paths.over(endpoint_for(endpoint, security))
        deadline = time.monotonic() + self.handshake_timeout
        measured = measured or _unmeasured
        try:
            addresses = self.resolver.addresses(endpoint.host, endpoint.port, deadline)
            began = time.monotonic()
            link = self._connect_tcp(addresses, deadline)
            now = time.monotonic()
            measured("tcp", now - began)
            try:
                if endpoint.is_secure:
                    link.start_tls(self.tls.context_for(security, utc), endpoint.host)
                    began, now = now, time.monotonic()
                    measured("tls", now - began)
                authorization = None if security is None else security.authorization(identity)
                ws = _upgrade(link, endpoint.connection_url(identity), authorization)
                measured("upgrade", time.monotonic() - now)
                if security is not None:
                    security.opened(link.server_chain() if security.uses_tls else ())
                return Connection(ws, link)
            except BaseException:
                link.close()
                raise
        except ConnectFailed:
            raise
        except websocket.WebSocketTimeoutException:
            raise self._too_late() from None
        except websocket.WebSocketConnectionClosedException:
            raise ConnectFailed("closed during the opening handshake") from None
        except websocket.WebSocketException as error:
            raise ConnectFailed(f"no WebSocket handshake: {_first_words(error)}") from None
        except (OSError, ValueError) as error:
            CENSUS.note_failure(error)
            if isinstance(error, TimeoutError) and error.errno is None:
                raise self._too_late() from None  # our own; the kernel's has a number
            raise ConnectFailed(describe(error), cause=cause_of(error)) from None

    def _too_late(self) -> ConnectFailed:
        return ConnectFailed(f"no opening handshake within {self.handshake_timeout:g} s")

    def _connect_tcp(self, addresses: Sequence[Address], deadline: float) -> BufferedSocket:
        failure: OSError | None = None
        for number, (family, address) in enumerate(addresses):
            # An address that swallows everything must leave time for those after it.
            now = time.monotonic()
            share = (deadline - now) / (len(addresses) - number)
            link = BufferedSocket(family, now + share)
            try:
                link.connect(address, self.paths)
            except OSError as error:
                link.close()
                failure = failure or error
            except BaseException:
                link.close()
                raise
            else:
                link.deadline = deadline
                return link
        raise failure or OSError(errno.EADDRNOTAVAIL, "no address")


class BufferedSocket:
    """What websocket-client takes for a socket.

    Every operation waits in gevent's loop until `deadline`, then raises `TimeoutError`.
    """

    __slots__ = (
        "_address", "_buffer", "_closed", "_in_handshake", "_readable", "_sock", "_tls", "deadline", "is_broken",
    )  # fmt: skip

    def __init__(self, family: socket.AddressFamily, deadline: float) -> None:
        sock = _socket_type(family, socket.SOCK_STREAM)
        sock.setblocking(False)  # noqa: FBT003
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._tls: Any = None
        self._readable = get_hub().loop.io(sock.fileno(), _READABLE)
        self._buffer = b""
        self._in_handshake = True
        self._closed = False  # websocket-client looks at it, and leaks the socket without
        self._address: Any = None
        self.deadline = deadline
        """When operations give up, in seconds of the monotonic clock."""
        self.is_broken = False
        """Whether a frame went out in part: nothing can be sent any more."""

    # -- what websocket-client calls ----------------------------------------------------------

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes; none when the peer has closed."""
        if not self._buffer:
            self._buffer = self._receive_some()
        buffer = self._buffer
        if size == 1 and self._in_handshake:
            # The handshake is read byte by byte until one of them is a line feed. What comes
            # before the line feed is returned in one piece, which saves 200 calls a connect.
            end = buffer.find(b"\n")
            size = max(1, len(buffer) if end < 0 else end)
        if len(buffer) <= size:
            self._buffer = b""
            return buffer
        self._buffer = buffer[size:]
        return buffer[:size]

    def send(self, data: bytes) -> int:
        """Send all of `data`; in the opening handshake, wait for the response to it too.

        Raises:
            ConnectFailed: the upgrade was refused.
        """
        view = data
        try:
            while view:
                sent = self._send_some(view)
                view = view[sent:]
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.is_broken = True
            self._hear_why()
            raise
        except BaseException:
            self.is_broken = len(view) < len(data) or self._tls is not None
            raise
        if self._in_handshake:
            # Here, and not when it is asked for: that is ten calls deeper, and what a greenlet's stack
            # has once needed stays resident for as long as it lives.
            self._buffer = self._receive_response()
        return len(data)

    def gettimeout(self) -> float:
        """Return 0, at which websocket-client leaves all waiting to the socket."""
        return 0.0

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: `deadline` decides."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._sock.fileno()

    def shutdown(self, how: int) -> None:
        """Do nothing: `close` follows."""

    def close(self) -> None:
        """Close the socket, and stop watching it first."""
        if not self._closed:
            self._closed = True
            self._readable.close()
            self._tls = None
            self._sock.close()
            if self._address is not None:
                CENSUS.closed(self._address)

    def reset(self) -> None:
        """Close the socket with RST."""
        if not self._closed:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self.close()

    # -- what the charge point calls ----------------------------------------------------------

    def connect(self, address: Any, paths: Paths) -> None:  # noqa: ANN401  an address of any family
        """Connect to `address`, from where `paths` say.

        Raises:
            OSError: it cannot be reached, or `TimeoutError` at the deadline.
        """
        if paths.sources:
            paths.bind(self._sock)
        code = self._sock.connect_ex(address)
        if code in (0, errno.EINPROGRESS):
            # The same object for all: the resolver's.
            self._address = address
            CENSUS.by_address[address] += 1
        if code == errno.EINPROGRESS:
            self._wait_writable()
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            CENSUS.note_no_port(code, address)
            raise OSError(code, os.strerror(code))

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Do the TLS handshake; the certificate is checked as `context` says.

        Raises:
            OSError: it failed, or `TimeoutError` at the deadline.
        """
        # The C-level TLS object on the plain socket, as gevent itself makes it: the SSLSocket of the
        # standard library does not work beside gevent's, and gevent's brings a second socket.
        self._tls = context._wrap_socket(self._sock, False, host)  # type: ignore[attr-defined]  # noqa: FBT003, SLF001
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._wait_readable()
            except ssl.SSLWantWriteError:
                self._wait_writable()
            else:
                return

    def server_chain(self) -> list[bytes]:
        """Return DER of the central system's certificate and those up to the root; empty if unchecked."""
        if self._tls is None or self._tls.context.verify_mode is ssl.CERT_NONE:
            return []
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in self._tls.get_verified_chain()]

    def handshake_done(self) -> None:
        """The upgrade is complete: from now on, bytes are returned as they are asked for."""
        self._in_handshake = False

    def is_readable_by(self, deadline: float | None) -> bool:
        """Wait until something can be read; False when `deadline` passes first. `None` is for ever."""
        if self._buffer or (self._tls is not None and self._tls.pending()):
            return True
        return self._wait(self._readable, deadline)

    # -- inside -------------------------------------------------------------------------------

    def _receive_response(self) -> bytes:
        """Return the response to the upgrade request, and what came behind it.

        Only one with status 101 is left to websocket-client: of any other it would read the body
        before it looks at the status, as long as the body takes.
        """
        response = b""
        while b"\r\n\r\n" not in response:
            piece = self._receive_some()
            if not piece:
                break
            response += piece
            if len(response) > _MAX_RESPONSE_HEAD:
                raise ConnectFailed("endless response to the opening handshake")
        status, headers = _parse_response(response)
        if status != HTTPStatus.SWITCHING_PROTOCOLS:
            raise _refused(status, headers)
        return response

    def _hear_why(self) -> None:
        """Raise the alert with which a central system hung up, if one came in.

        With TLS 1.3 it refuses a certificate when the charge point has begun to send.
        """
        if self._in_handshake and self._tls is not None:
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError, ConnectionError):
                self._tls.read(_READ_SIZE)

    def _receive_some(self) -> bytes:
        while True:
            try:
                data = self._sock.recv(_READ_SIZE) if self._tls is None else self._tls.read(_READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait_readable()
            except ssl.SSLWantWriteError:
                self._wait_writable()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            else:
                return bytes(data)

    def _send_some(self, data: bytes) -> int:
        while True:
            try:
                return self._sock.send(data) if self._tls is None else self._tls.write(data)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait_writable()
            except ssl.SSLWantReadError:
                self._wait_readable()

    def _wait_readable(self) -> None:
        if not self._wait(self._readable, self.deadline):
            raise TimeoutError

    def _wait_writable(self) -> None:
        # Rare but for the connect itself: a watcher of its own for each time.
        watcher = get_hub().loop.io(self._sock.fileno(), _WRITABLE)
        try:
            if not self._wait(watcher, self.deadline):
                raise TimeoutError
        finally:
            watcher.close()

    def _wait(self, watcher: Any, deadline: float | None) -> bool:  # noqa: ANN401  gevent's watchers are untyped
        hub = get_hub()
        if deadline is None:
            hub.wait(watcher)
            return True
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            gevent_sleep(0)  # whoever asks again and again lets the others live
            poll = _poll_type()
            poll.register(self._sock.fileno(), select.POLLIN)
            return watcher is self._readable and bool(poll.poll(0))
        with Timeout(seconds, False):  # noqa: FBT003  gevent's way to say: leave the block, raise nothing
            hub.wait(watcher)
            return True
        return False


class Connection:
    """An open connection of one charge point."""

    __slots__ = ("_link", "_ws")

    def __init__(self, ws: websocket.WebSocket, link: BufferedSocket) -> None:
        self._ws = ws
        self._link = link

    def send(self, text: bytes) -> None:
        """Send one text message.

        Raises:
            ConnectionLost: it could not be sent.
        """
        self._send(text, ABNF.OPCODE_TEXT)

    def _send(self, payload: bytes, opcode: int) -> None:
        if self._link.is_broken:
            raise ConnectionLost("interrupted while sending")
        self._link.deadline = time.monotonic() + _STALL_TIMEOUT
        try:
            self._ws.send(payload, opcode)
        except (OSError, websocket.WebSocketException) as error:
            raise ConnectionLost(describe(error)) from None
        except BaseException:
            # A scenario's time-out: nobody knows how much of the message went out.
            self._link.is_broken = True
            raise

    def ping(self) -> None:
        """Send a PING frame.

        Raises:
            ConnectionLost: it could not be sent.
        """
        self._send(b"", ABNF.OPCODE_PING)

    def receive(self, deadline: float) -> bytes | Control | None:
        """Return the next text message, PING, which was answered, or PONG; `None` when `deadline` passes.

        Args:
            deadline: seconds of the monotonic clock; infinity waits for ever.

        Raises:
            ConnectionLost: the connection has ended.
        """
        if self._link.is_broken:
            raise ConnectionLost("interrupted while sending")
        if not self._link.is_readable_by(None if deadline == _NEVER else deadline):
            return None
        self._link.deadline = time.monotonic() + _STALL_TIMEOUT
        try:
            opcode, frame = self._ws.recv_data_frame(control_frame=True)
        except (OSError, websocket.WebSocketException) as error:
            raise ConnectionLost(describe(error)) from None
        if opcode == ABNF.OPCODE_TEXT:
            return frame.data if isinstance(frame.data, bytes) else str(frame.data).encode()
        if opcode == ABNF.OPCODE_PING:
            return Control.PING
        if opcode == ABNF.OPCODE_CLOSE:
            raise ConnectionLost(_close_text(frame.data))
        if opcode == ABNF.OPCODE_BINARY:
            raise ConnectionLost("binary message")
        return Control.PONG

    def close(self, timeout: float) -> None:
        """Close politely: send a Close frame and wait at most `timeout` seconds for the answer."""
        link = self._link
        link.deadline = time.monotonic() + timeout
        try:
            if not link.is_broken and self._ws.connected:
                self._ws.send_close()
                while link.is_readable_by(link.deadline):
                    if self._ws.recv_frame().opcode == ABNF.OPCODE_CLOSE:
                        break
        except (OSError, websocket.WebSocketException):
            pass  # gone already: that is what was wanted
        finally:
            self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._ws.connected = False
        self._link.close()

    # -- for charge points that misbehave -----------------------------------------------------

    def answer_pings(self, *, is_wanted: bool) -> None:
        """Answer PINGs from now on, as a WebSocket has to, or leave them unanswered."""
        # On the object: `recv_data_frame` answers with it before anybody else sees the PING.
        if is_wanted:
            vars(self._ws).pop("pong", None)
        else:
            vars(self._ws)["pong"] = _leave_unanswered

    def reset(self) -> None:
        """End the connection with RST instead of FIN: what a peer gets that sends into a dead one."""
        self._ws.connected = False
        self._link.reset()


def _upgrade(link: BufferedSocket, url: str, authorization: str | None) -> websocket.WebSocket:
    ws = websocket.WebSocket(get_mask_key=_mask_key, enable_multithread=False, skip_utf8_validation=True)
    # As a header, not as `subprotocols=`: a missing agreement would come back as any other
    # invalid handshake, and J 3.2 makes it an outcome of its own.
    header = [f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"]
    if authorization is not None:
        header.append(f"Authorization: {authorization}")
    ws.connect(
        url,
        socket=link,
        header=header,
        suppress_origin=True,
        redirect_limit=0,
    )
    headers: Mapping[str, str] = ws.headers or {}
    if headers.get("sec-websocket-protocol", "") != SUBPROTOCOL:
        link.close()
        raise ConnectFailed(f"no agreement on the subprotocol {SUBPROTOCOL}")
    link.handshake_done()
    return ws


def _leave_unanswered(payload: str | bytes = "") -> None:
    """Take the place of `WebSocket.pong`."""


def _mask_key(size: int) -> bytes:
    # RFC 6455 wants masks that a proxy's attacker cannot guess. Nobody attacks a load generator,
    # and a system call for each frame is an eighth of a heartbeat's cost.
    return random.getrandbits(8 * size).to_bytes(size, "little")


def _parse_response(response: bytes) -> tuple[int, dict[str, str]]:
    """Return the status and the headers of a response, with header names in lower case.

    Raises:
        ConnectFailed: it is no HTTP response.
    """
    head, _, _ = response.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    code = rest[:3]
    if not status_line:
        raise ConnectFailed("closed during the opening handshake")
    if not version.startswith("HTTP/") or not (code.isascii() and code.isdigit()):
        raise ConnectFailed("no WebSocket handshake: it does not speak HTTP")
    fields = (line.partition(":") for line in lines)
    return int(code), {name.strip().lower(): value.strip() for name, _, value in fields}


def _refused(status: int, headers: Mapping[str, str]) -> ConnectFailed:
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    cause = Cause.PASSWORD if status == HTTPStatus.UNAUTHORIZED else Cause.OTHER
    return ConnectFailed(f"HTTP {status}{phrase}", _retry_after(headers.get("retry-after", "")), cause)


def _retry_after(text: str) -> float:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3); 0 for one that says nothing."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _MAX_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _close_text(data: bytes) -> str:
    if len(data) < 2:
        return "closed by the central system without a code"
    return f"closed by the central system with {int.from_bytes(data[:2])}"


def _first_words(error: Exception) -> str:
    return str(error).split(":", 1)[0][:60]


def describe(error: Exception) -> str:  # noqa: PLR0911  one answer for each class of failure
    """Return the class of a failure, in the same words for every charge point that has it."""
    match error:
        case ssl.SSLCertVerificationError():
            return f"TLS: certificate not accepted: {error.verify_message}"
        case ssl.SSLEOFError(reason=None):
            return "connection lost"
        case ssl.SSLError() if (alert := certificate_alert(error)) is not None:
            return f"TLS: charge point's certificate not accepted: {alert}"
        case ssl.SSLError():
            return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
        case TimeoutError(errno=None) | websocket.WebSocketTimeoutException():
            return f"stalled for {_STALL_TIMEOUT:g} s"
        case websocket.WebSocketConnectionClosedException():
            return "connection lost"
        case socket.gaierror():
            return f"name not resolved: {error.strerror}"
        case OSError():
            return (os.strerror(error.errno) if error.errno else str(error)).lower()
        case _:
            return f"{type(error).__name__}: {_first_words(error)}"
