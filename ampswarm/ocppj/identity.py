"""Charge point identities in URLs (J 3.1.1), and the choice of a subprotocol (J 3.1.2, 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

SUBPROTOCOL: Final = "ocpp1.6"
"""The WebSocket subprotocol of OCPP 1.6 over JSON (J 3.1.2, table 1)."""

MAX_IDENTITY: Final = 255
"""Longest identity that is taken, in characters. 1.6 sets no limit; a log line and a page need one."""

_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}


class InvalidIdentity(ValueError):  # noqa: N818  the sentence reads better: "InvalidIdentity: it is empty"
    """A URL path that names no charge point, or an identity that no URL can name."""


class InvalidEndpoint(ValueError):  # noqa: N818
    """A URL that cannot be an OCPP-J endpoint."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An OCPP-J endpoint URL (J 3.1.1), taken apart."""

    scheme: str
    """`ws` or `wss`."""
    host: str
    """A name or an address, without the brackets of IPv6."""
    port: int
    path: str
    """Starts with a slash or is empty; never ends with one."""

    @property
    def is_secure(self) -> bool:
        """Whether connections to it use TLS."""
        return self.scheme == "wss"

    @property
    def url(self) -> str:
        """The endpoint's URL, to which a charge point adds its identity."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    def connection_url(self, identity: str) -> str:
        """Return the URL to which the charge point `identity` connects (J 3.1.1)."""
        return f"{self.url}/{encode_identity(identity)}"


def parse_endpoint(url: str) -> Endpoint:
    """Return the OCPP-J endpoint that `url` names; the port defaults to 80 or 443.

    Raises:
        InvalidEndpoint: with one line that says what is wrong with it.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidEndpoint(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidEndpoint(f"{url!r} is not an OCPP-J endpoint: it must start with ws:// or wss://")
    if not parts.hostname or any(char <= " " for char in url):
        raise InvalidEndpoint(f"{url!r} is not an OCPP-J endpoint: it names no host")
    if parts.query or parts.fragment:
        raise InvalidEndpoint(f"{url!r}: the identity is added to the path, so no query can follow it")
    if "@" in parts.netloc:
        raise InvalidEndpoint("a password does not belong in the URL of an OCPP-J endpoint")
    if port == 0:
        raise InvalidEndpoint(f"{url!r}: port 0 cannot be connected to")
    return Endpoint(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


def encode_identity(identity: str) -> str:
    """Return `identity` as one path segment, percent-encoded (J 3.1.1).

    Raises:
        InvalidIdentity: it is empty, too long, or cannot be UTF-8.
    """
    _check(identity)
    return quote(identity, safe="")


def identity_from_path(path: str) -> str:
    """Return the identity in the path of a connection URL: its last segment, percent-decoded.

    Raises:
        InvalidIdentity: the segment is empty, too long, or not UTF-8.
    """
    segment = path.split("?", 1)[0].rsplit("/", 1)[-1]
    try:
        identity = unquote_to_bytes(segment).decode()
    except UnicodeError:
        raise InvalidIdentity("it is not UTF-8") from None
    _check(identity)
    return identity


def _check(identity: str) -> None:
    if not identity:
        raise InvalidIdentity("it is empty")
    if len(identity) > MAX_IDENTITY:
        raise InvalidIdentity(f"it has more than {MAX_IDENTITY} characters")
    try:
        identity.encode()
    except UnicodeEncodeError:
        raise InvalidIdentity("it cannot be written as UTF-8") from None
    # "." and ".." are steps in a path: what stands before the server may resolve them away.
    if identity in {".", ".."}:
        raise InvalidIdentity(f"{identity!r} cannot stand in a URL")


def negotiate_subprotocol(offers: list[str]) -> str | None:
    """Return the subprotocol to agree on, or `None` when `ocpp1.6` is not among the offers.

    With `None`, the server completes the handshake without the header and closes (J 3.2).

    Args:
        offers: the values of the Sec-WebSocket-Protocol headers of the request; each may be a list.
    """
    for offer in offers:
        if SUBPROTOCOL in (name.strip() for name in offer.split(",")):
            return SUBPROTOCOL
    return None
