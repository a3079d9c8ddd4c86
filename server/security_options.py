"""Flags and environment variables about who may connect, and how much."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ampswarm.option_types import boolean, integer, port, seconds
from server.limits import Network

DEFAULT_MAX_MESSAGE: Final = 256 * 1024
_MANY: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class SecurityOptions:
    """Who may connect, and how much. A limit of 0 is none."""

    is_plain: bool = True
    """Whether the port without TLS is open."""
    tls_port: int = 8443
    """TCP port with TLS, open where there is a certificate; 0 takes a free one."""
    tls_certificates: tuple[tuple[Path, Path], ...] = ()
    """PEM files of certificates with their chains, and of their keys."""
    tls_client_ca: Path | None = None
    """PEM file of the CAs behind client certificates."""
    tls_client_organization: str | None = None
    """The O that a client certificate must have."""
    password_file: Path | None = None
    """Hashes of charge points' passwords."""
    stored_passwords: bool = False
    """Whether they are in the store instead."""
    handshake_timeout: float = 20.0
    """Seconds for a client to send its upgrade request, TLS included."""
    max_connections: int = 0
    max_connections_per_address: int = 0
    max_handshakes_per_second: int = 0
    max_message_bytes: int = DEFAULT_MAX_MESSAGE
    max_messages_per_second: int = 0
    """Of each connection, on average over ten seconds."""
    trusted_proxies: tuple[Network, ...] = ()
    """Whose X-Forwarded-For is believed."""


def add_security_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser of configargparse."""
    default = SecurityOptions()
    add: Callable[..., object] = parser.add_argument
    add("--plain", metavar="BOOL", env_var="PLAIN", type=boolean, nargs="?", const=True, default=default.is_plain,
        help="false closes the port without TLS")  # fmt: skip
    add("--tls-port", metavar="PORT", env_var="TLS_PORT", type=port, default=default.tls_port,
        help="port with TLS, open where there is a certificate; 0 takes a free one")  # fmt: skip
    add("--tls-cert", metavar="FILE", env_var="TLS_CERT", type=_paths, action="extend",
        help="PEM file of a certificate with its chain; given twice, or with a comma, for RSA and ECDSA")  # fmt: skip
    add("--tls-key", metavar="FILE", env_var="TLS_KEY", type=_paths, action="extend",
        help="PEM file of its private key; as many as certificates, in the same order")  # fmt: skip
    add("--tls-client-ca", metavar="FILE", env_var="TLS_CLIENT_CA", type=Path,
        help="PEM file of the CAs behind charge points' certificates; each then needs its own, or a password where "
        "there are some")  # fmt: skip
    add("--tls-client-organization", metavar="NAME", env_var="TLS_CLIENT_ORGANIZATION",
        help="O that a charge point's certificate must have")  # fmt: skip
    add("--stored-passwords", metavar="BOOL", env_var="STORED_PASSWORDS", type=boolean, nargs="?", const=True,
        default=default.stored_passwords,
        help="ask charge points for the passwords that are in the store, set by the operator API")  # fmt: skip
    add("--password-file", metavar="FILE", env_var="PASSWORD_FILE", type=Path,
        help="hashes of charge points' passwords, made by central-system-passwords; each then needs one")  # fmt: skip
    add("--handshake-timeout", metavar="SECONDS", env_var="HANDSHAKE_TIMEOUT", type=seconds(0.1, 3600),
        default=default.handshake_timeout,
        help="seconds for a client to send its upgrade request, TLS included")  # fmt: skip
    add("--max-connections", metavar="N", env_var="MAX_CONNECTIONS", type=_limit, default=default.max_connections,
        help="connections at one time; 503 beyond; 0 for any number")  # fmt: skip
    add("--max-connections-per-address", metavar="N", env_var="MAX_CONNECTIONS_PER_ADDRESS", type=_limit,
        default=default.max_connections_per_address,
        help="connections at one time from one address, or one /64 network of IPv6; 429 beyond; 0 for any "
        "number")  # fmt: skip
    add("--max-handshakes-per-second", metavar="N", env_var="MAX_HANDSHAKES_PER_SECOND", type=_limit,
        default=default.max_handshakes_per_second,
        help="upgrade requests that are considered in a second; 429 beyond; 0 for any number")  # fmt: skip
    add("--max-message-bytes", metavar="N", env_var="MAX_MESSAGE_BYTES",
        type=integer(1024, 64 * 1024 * 1024, "a size in bytes"), default=default.max_message_bytes,
        help="bytes of the longest message; closed with 1009 beyond")  # fmt: skip
    add("--max-messages-per-second", metavar="N", env_var="MAX_MESSAGES_PER_SECOND", type=_limit,
        default=default.max_messages_per_second,
        help="messages of each charge point in a second, on average over ten; closed with 1008 beyond; 0 for any "
        "number")  # fmt: skip
    add("--trusted-proxies", metavar="CIDR,…", env_var="TRUSTED_PROXIES", type=_networks,
        default=default.trusted_proxies,
        help="networks, such as 10.0.0.0/8,fd00::/8, of the proxies whose X-Forwarded-For is believed")  # fmt: skip


def security_options(options: argparse.Namespace, refuse: Callable[[str], object]) -> SecurityOptions:
    """Return what the options of `add_security_options` say.

    Args:
        options: parsed.
        refuse: takes one line about options that do not go together, and does not return.
    """
    certificates, keys = options.tls_cert or (), options.tls_key or ()
    if len(certificates) != len(keys):
        refuse("--tls-cert (TLS_CERT) and --tls-key (TLS_KEY) need each other, and as many of one as of the other")
    if not options.plain and not certificates:
        refuse("--plain false (PLAIN) leaves no port: it needs --tls-cert (TLS_CERT)")
    if options.tls_client_ca is not None and not certificates:
        refuse("--tls-client-ca (TLS_CLIENT_CA) needs --tls-cert (TLS_CERT)")
    if options.password_file is not None and options.stored_passwords:
        refuse("--password-file (PASSWORD_FILE) and --stored-passwords (STORED_PASSWORDS) exclude each other")
    has_passwords = options.password_file is not None or options.stored_passwords
    if options.tls_client_ca is not None and options.plain and not has_passwords:
        refuse(
            "--tls-client-ca (TLS_CLIENT_CA) would leave the port without TLS open to all: "
            "close it with --plain false (PLAIN), or ask for passwords with --password-file (PASSWORD_FILE) "
            "or --stored-passwords (STORED_PASSWORDS)"
        )
    if options.tls_client_organization is not None and options.tls_client_ca is None:
        refuse("--tls-client-organization (TLS_CLIENT_ORGANIZATION) needs --tls-client-ca (TLS_CLIENT_CA)")
    return SecurityOptions(
        is_plain=options.plain,
        tls_port=options.tls_port,
        tls_certificates=tuple(zip(certificates, keys, strict=True)),
        tls_client_ca=options.tls_client_ca,
        tls_client_organization=options.tls_client_organization,
        password_file=options.password_file,
        stored_passwords=options.stored_passwords,
        handshake_timeout=options.handshake_timeout,
        max_connections=options.max_connections,
        max_connections_per_address=options.max_connections_per_address,
        max_handshakes_per_second=options.max_handshakes_per_second,
        max_message_bytes=options.max_message_bytes,
        max_messages_per_second=options.max_messages_per_second,
        trusted_proxies=options.trusted_proxies,
    )


_limit = integer(0, _MANY, "a limit")


def _paths(text: str) -> list[Path]:
    return [Path(each.strip()) for each in text.split(",") if each.strip()]


def _networks(text: str) -> tuple[Network, ...]:
    networks: list[Network] = []
    for each in text.split(","):
        try:
            networks.append(ipaddress.ip_network(each.strip()))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{each.strip()!r} is not a network such as 10.0.0.0/8: {error}") from None
    return tuple(networks)
