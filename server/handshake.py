"""The opening handshake of each connection, until it is refused or becomes a WebSocket connection.

Reads the request's head under one deadline, decides, answers refusals and health checks itself, and hands
all others over. Knows no WebSocket library: `Handshakes.open` is given what makes a protocol of a transport.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol, cast

from ampswarm.ocppj.identity import InvalidIdentity, identity_from_path, negotiate_subprotocol
from server.authentication import Certificate, PasswordCheck, check_certificate
from server.limits import Admission, Overload, Place, TokenBucket, TrustedProxies
from server.metrics import RefusalReason
from server.records import Registered
from server.store import StoreFailed
from server.upgrade import MAX_HEAD, BadRequest, Refusal, Request, http_response, parse_head, websocket_key

HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz"})
MAX_EARLY: Final = 16 * 1024
"""Bytes that a client may send before it has an answer; the rest stays in the kernel."""
MAX_CHECKED: Final = 1000
"""Requests that are looked up or checked at one time; others are sent away for a while."""
_OVERLOAD_RETRY_AFTER: Final = 30
_RESTART_RETRY_AFTER: Final = 5
_REFUSAL_TIMEOUT: Final = 5.0
"""Seconds for one that is one too many to send its request, and hear so."""
_CLOSE_TIMEOUT: Final = 2.0
"""Seconds for a refused client to read its answer."""

# One buffer for all handshakes: bytes are taken out of it before anything else is read.
_BUFFER: Final = bytearray(8 * 1024)
_VIEW: Final = memoryview(_BUFFER)

Status = Callable[[str], tuple[int, bytes]]
"""Takes /healthz or /readyz; returns the HTTP status and a JSON text."""


@dataclass(slots=True)
class Entry:
    """A WebSocket connection that may be opened."""

    identity: str | None
    """The charge point's; `None` without a common subprotocol: opened, and closed at once (J 3.2)."""
    subprotocol: str | None
    key: str
    """Sec-WebSocket-Key of the request."""
    registered: Registered = Registered.UNKNOWN
    """What its last boot was answered, where that was looked up."""


Open = Callable[[asyncio.Transport, Entry, bytes, Place | None], None]
"""Makes a WebSocket connection of a transport; takes the bytes that came after the request, and the place
to leave when it is gone."""


class Report(Protocol):
    """What is told of handshakes, to be counted and logged."""

    def refused(self, status: int, why: str, reason: RefusalReason, **fields: object) -> None:
        """A request was refused with an HTTP status."""

    def dropped(self, why: str, **fields: object) -> None:
        """A connection ended before there was a request to answer."""

    def disagreed(self, **fields: object) -> None:
        """A handshake is completed without a common subprotocol, to be closed at once (J 3.2)."""


class Handshakes:
    """What all handshakes of a process share.

    Args:
        report: told of what did not become a connection.
        open_websocket: see Open.
        is_closing: whether no connection is taken any more.
        status: see Status; `None` has no health checks.
        timeout: seconds from when a connection is accepted until its request is whole, TLS included.
        admission: counts connections; `None` lets all in.
        upgrades_per_second: requests that may open a connection; 0 for any number.
        proxies: whose X-Forwarded-For is believed; `None` for nobody's.
        passwords: checks passwords; `None` asks for none.
        organization: the O of client certificates; `None` for any.
        recall: returns what an identity's last boot was answered, before it is let in; raises StoreFailed when
            that is not possible now. `None` where nobody asks.
    """

    def __init__(
        self,
        *,
        report: Report,
        open_websocket: Open,
        is_closing: Callable[[], bool] = lambda: False,
        status: Status | None = None,
        timeout: float = 20.0,
        admission: Admission | None = None,
        upgrades_per_second: int = 0,
        proxies: TrustedProxies | None = None,
        passwords: PasswordCheck | None = None,
        organization: str | None = None,
        recall: Callable[[str], Awaitable[Registered]] | None = None,
    ) -> None:
        self.recall = recall
        self.report = report
        self.open = open_websocket
        self.is_closing = is_closing
        self.status = status
        self.timeout = timeout
        self.proxies = proxies
        self.passwords = passwords
        self.organization = organization
        self.intercept: Callable[[str], Refusal | None] | None = None
        """Refuses an identity's upgrade for a reason of its own, before it is authenticated."""
        self._admission = admission
        now = time.monotonic()
        rate = upgrades_per_second
        self._bucket = TokenBucket(rate, max(1, rate), now) if rate else None
        # TLS costs more than all that follows, and before it nobody can be told anything.
        self._tls_bucket = TokenBucket(4 * rate, max(4, 4 * rate), now) if rate else None
        self.tasks: set[asyncio.Task[None]] = set()

    def new(self, address: str, *, is_secure: bool) -> Handshake | None:
        """Return the handshake of a connection that was accepted; `None` if it is to be cut off.

        Args:
            address: where it comes from.
            is_secure: whether it begins with TLS.
        """
        now = time.monotonic()
        if is_secure and self._tls_bucket is not None and not self._tls_bucket.take(now):
            self.report.dropped("too many TLS handshakes", address=address)
            return None
        place = None
        if self._admission is not None:
            is_proxy = self.proxies is not None and self.proxies.trusts(address)
            place = self._admission.enter(None if is_proxy else address)
            if place is None:
                self.report.dropped("too many connections", address=address)
                return None
        return Handshake(self, address, place, now + self.timeout)

    def examine(self, request: Request, address: str, place: Place | None) -> Refusal | Entry:
        """Decide on a request, but for authentication."""
        if self.is_closing():
            return _going_away()
        if place is not None and place.overload is None and self.proxies is not None and self.proxies.trusts(address):
            place.belongs_to(self.proxies.client(address, request.header("x-forwarded-for")))
        if place is not None and place.overload is not None:
            is_full = place.overload is Overload.CONNECTIONS
            status = HTTPStatus.SERVICE_UNAVAILABLE if is_full else HTTPStatus.TOO_MANY_REQUESTS
            reason = RefusalReason.TOO_MANY_CONNECTIONS if is_full else RefusalReason.TOO_MANY_FROM_ADDRESS
            return _come_back(status, place.overload.value, _OVERLOAD_RETRY_AFTER, reason)
        try:
            # Latin-1 takes any byte; the identity's own decoding decides what is UTF-8.
            identity = identity_from_path(request.target)
        except InvalidIdentity as error:
            why = f"the path names no charge point: {error}"
            return Refusal(HTTPStatus.NOT_FOUND, why, reason=RefusalReason.BAD_PATH)
        try:
            key = websocket_key(request)
        except BadRequest as bad:
            return Refusal(HTTPStatus.BAD_REQUEST, str(bad))
        now = time.monotonic()
        if self._bucket is not None and not self._bucket.take(now):
            return _come_back(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many handshakes in this second",
                self._bucket.retry_after(now),
                RefusalReason.TOO_MANY_HANDSHAKES,
            )
        if self.intercept is not None:
            refusal = self.intercept(identity)
            if refusal is not None:
                return refusal
        return Entry(identity, negotiate_subprotocol([request.header("sec-websocket-protocol")]), key)


class Handshake(asyncio.BufferedProtocol):
    """One connection, until it is refused or handed over.

    Args:
        shared: what it has in common with others.
        address: where it comes from.
        place: what it takes up, if that is counted; left when the connection is gone.
        deadline: seconds, monotonic, when its request has to be whole.
    """

    __slots__ = (
        "_address", "_deadline", "_head", "_identity", "_is_answered", "_is_read", "_place", "_shared", "_task",
        "_timer", "_transport",
    )  # fmt: skip

    def __init__(self, shared: Handshakes, address: str, place: Place | None, deadline: float) -> None:
        self._shared = shared
        self._address = address
        self._place = place
        self._deadline = deadline
        # The head, until it is whole; then what came after it.
        self._head = bytearray()
        self._is_read = False
        self._is_answered = False
        self._identity: str | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def failed(self, why: str, **fields: object) -> None:
        """It came to nothing before it began: TLS failed."""
        if not self._is_answered:
            self._is_answered = True
            self._shared.report.dropped(why, address=self._address, **fields)
        self._leave()

    # -- what the transport calls -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the request."""
        self._transport = cast("asyncio.Transport", transport)
        rest = self._deadline - time.monotonic()
        if self._place is not None and self._place.overload is not None:
            rest = min(rest, _REFUSAL_TIMEOUT)
        self._timer = asyncio.get_running_loop().call_later(rest, self._late)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's signature
        """Lend the buffer that all share."""
        return _VIEW

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if self._is_answered:
            return
        head = self._head
        searched = max(0, len(head) - 3)
        head += _VIEW[:nbytes]
        if self._is_read:
            if len(head) > MAX_EARLY and self._transport is not None:
                self._transport.pause_reading()
            return
        end = head.find(b"\r\n\r\n", searched)
        if end > MAX_HEAD or (end < 0 and len(head) > MAX_HEAD):
            why = f"a request's head has at most {MAX_HEAD} bytes"
            self._refuse(Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, why))
        elif end >= 0:
            self._is_read = True
            self._head = head[end + 4 :]
            self._decide(bytes(head[:end]))

    def eof_received(self) -> bool:
        """Close: who sends no more will not read either."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Forget it."""
        self._stop_timer()
        if self._task is not None:
            self._task.cancel()
        if not self._is_answered:
            self._is_answered = True
            self._shared.report.dropped("the client left", address=self._address)
        self._transport = None
        self._leave()

    # -- inside -------------------------------------------------------------------------------

    def _decide(self, head: bytes) -> None:
        shared = self._shared
        try:
            request = parse_head(head)
        except BadRequest as bad:
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, str(bad)))
            return
        if shared.status is not None and not request.is_upgrade and request.target.split("?", 1)[0] in HEALTH_PATHS:
            self._tell_status(shared.status, request)
            return
        outcome = shared.examine(request, self._address, self._place)
        if isinstance(outcome, Refusal):
            self._refuse(outcome)
            return
        self._identity = outcome.identity
        assert self._transport is not None
        certificate: Certificate | None = self._transport.get_extra_info("peercert")
        if certificate:
            assert outcome.identity is not None
            refusal = check_certificate(outcome.identity, certificate, shared.organization)
            if refusal is not None:
                self._refuse(refusal)
                return
        passwords = None if certificate else shared.passwords
        if passwords is None and shared.recall is None:
            self._hand_over(outcome)
            return
        if len(shared.tasks) >= MAX_CHECKED:
            why = "too many handshakes at one time"
            self._refuse(_come_back(HTTPStatus.SERVICE_UNAVAILABLE, why, _RESTART_RETRY_AFTER, RefusalReason.BUSY))
            return
        task = asyncio.get_running_loop().create_task(self._let_in(passwords, outcome, request.header("authorization")))
        self._task = task
        shared.tasks.add(task)
        task.add_done_callback(shared.tasks.discard)

    async def _let_in(self, passwords: PasswordCheck | None, entry: Entry, authorization: str) -> None:
        # The request is whole, and what follows is bounded: its deadline has been met.
        self._stop_timer()
        assert entry.identity is not None
        refusal: Refusal | None = None
        try:
            if passwords is not None:
                refusal = await passwords.check(entry.identity, authorization)
            if refusal is None and self._shared.recall is not None:
                entry.registered = await self._shared.recall(entry.identity)
        except StoreFailed as failed:
            retry = (("Retry-After", f"{_RESTART_RETRY_AFTER}"),)
            inside = f"the store failed: {failed.reason}"
            refusal = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "try again later", retry, inside, RefusalReason.BUSY)
        except Exception as error:  # noqa: BLE001  a fault here must not leave a client without an answer
            inside = f"fault: {type(error).__name__}"
            why_not = "it could not be checked who this is"
            refusal = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, why_not, (), inside, RefusalReason.OTHER)
        self._task = None
        if self._transport is None or self._transport.is_closing():
            return
        if refusal is None and self._shared.is_closing():
            refusal = _going_away()
        if refusal is not None:
            self._refuse(refusal)
        else:
            self._hand_over(entry)

    def _hand_over(self, entry: Entry) -> None:
        transport, place = self._transport, self._place
        assert transport is not None
        self._stop_timer()
        self._is_answered = True
        self._place = self._transport = None
        if entry.subprotocol is None:
            self._shared.report.disagreed(identity=entry.identity, address=self._address)
            entry = Entry(None, None, entry.key)
        rest = bytes(self._head)
        self._head = bytearray()
        was_paused = not transport.is_reading()
        self._shared.open(transport, entry, rest, place)
        if was_paused:
            transport.resume_reading()

    def _tell_status(self, status: Status, request: Request) -> None:
        code, body = status(request.target.split("?", 1)[0])
        response = http_response(HTTPStatus(code), body, content_type="application/json")
        if request.method == "HEAD":
            response = response[: len(response) - len(body)]
        self._answer(response)

    def _refuse(self, refusal: Refusal) -> None:
        fields: dict[str, object] = {"address": self._address}
        if self._identity is not None:
            fields["identity"] = self._identity
        self._shared.report.refused(refusal.status.value, refusal.inside or refusal.why, refusal.reason, **fields)
        self._answer(refusal.response())

    def _answer(self, response: bytes) -> None:
        transport = self._transport
        assert transport is not None
        self._is_answered = True
        self._stop_timer()
        transport.write(response)
        transport.close()
        # One that does not read its answer is not waited for.
        self._timer = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, transport.abort)

    def _late(self) -> None:
        self._shared.report.dropped("no request in time", address=self._address)
        self._is_answered = True
        if self._transport is not None:
            self._transport.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()


def _going_away() -> Refusal:
    why = "the central system is going away"
    return _come_back(HTTPStatus.SERVICE_UNAVAILABLE, why, _RESTART_RETRY_AFTER, RefusalReason.STOPPING)


def _come_back(status: HTTPStatus, why: str, seconds: int, reason: RefusalReason) -> Refusal:
    return Refusal(status, why, (("Retry-After", f"{seconds}"),), reason=reason)
