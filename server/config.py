"""What the central system is told by flags and environment variables; a flag wins."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

import configargparse

import ampswarm
from ampswarm.option_types import boolean, integer, name_variable, port, seconds
from ampswarm.secret_files import BadSecretFile, take_secret_files
from server.bus import BadBus
from server.chaos_file import read_chaos_file
from server.chaos_schema import BadChaos, ChaosConfig
from server.security_options import SecurityOptions, add_security_options, security_options
from server.store import DEFAULT as DEFAULT_STORE
from server.store import MEMORY, BadStore
from server.store import check_url as check_store

MAX_INTERVAL_MS: Final = 24 * 60 * 60 * 1000
TOKEN_VARIABLE: Final = "ADMIN_TOKEN"  # noqa: S105  the name of the variable
"""Only the environment can set it: a command line is read by everybody on the host."""
SECRETS: Final = (TOKEN_VARIABLE, "STORE", "BUS")
"""Variables that may be files: `ADMIN_TOKEN_FILE` and so on."""


@dataclass(frozen=True, slots=True)
class Config:
    """How the central system runs."""

    host: str = "0.0.0.0"  # noqa: S104  a server that containers and other hosts reach
    """Address to listen on."""
    port: int = 8080
    """TCP port to listen on; 0 takes a free one."""
    ping_interval: float = 30.0
    """Seconds between two PINGs to a connection; 0 sends none."""
    boot_interval: int = 300
    """Seconds; `interval` of BootNotification.conf (core 6.4)."""
    require_boot: bool = False
    """Whether to refuse Calls of charge points that did not boot since this process started."""
    log_payload: bool = False
    """Whether each message is logged."""
    log_lifecycle: bool = True
    """Whether connections coming and going, and boots, are logged."""
    admin_host: str = "127.0.0.1"
    """Address that the operator API listens on."""
    admin_port: int = 8081
    """TCP port of the operator API; 0 takes a free one."""
    admin_token: str | None = field(default=None, repr=False)
    """What requests to the operator API must bear; `None` asks for nothing."""
    csr_ca_cert: Path | None = None
    """PEM file of the CA that signs certificates of charge points; `None` rejects all requests."""
    csr_ca_key: Path | None = None
    """PEM file of its private key."""
    store: str = field(default=DEFAULT_STORE, repr=False)
    """`memory`, `sqlite:///FILE` or `postgresql+asyncpg://…`; it may have a password."""
    keep_transactions: int = 10_000_000
    """Ended transactions that are remembered."""
    bus: str | None = field(default=None, repr=False)
    """`redis://…`, by which replicas talk to each other; `None` for a replica that is alone."""
    keep_messages: int = 20_000
    """Messages that each process keeps in memory, to be looked at; 0 keeps none."""
    processes: int = 1
    """Processes that share the port."""
    drain_rate: int = 5000
    """Connections closed in a second when it is told to stop."""
    drain_delay: float = 0.0
    """Seconds for a load balancer to see that it is not ready any more, before the first connection is closed."""
    security: SecurityOptions = field(default_factory=SecurityOptions)
    """Who may connect, and how much."""
    chaos: ChaosConfig | None = None
    """What goes wrong on purpose from the start; `None` for nothing."""


class _Parser(configargparse.ArgumentParser):  # type: ignore[misc]  # it has no types
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage, and exit with status 2."""
        sys.stderr.write(f"{self.prog}: error: {name_variable(self, message)}\n")
        sys.exit(2)


_milliseconds = integer(0, MAX_INTERVAL_MS, "a time in milliseconds")
_transactions = integer(0, 2**31 - 1, "a number of transactions")
_messages = integer(0, 1_000_000, "a number of messages")
_processes = integer(1, 256, "a number of processes")
_connections = integer(1, 10_000_000, "a number of connections")
_seconds = integer(1, 86400, "a time in seconds")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line and the environment."""
    parser: argparse.ArgumentParser = _Parser(
        prog="central-system",
        description="An OCPP 1.6-J central system that answers every message a charge point can send.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Config()
    add: Callable[..., object] = parser.add_argument
    add("--host", metavar="ADDRESS", env_var="WEB_SRV_HOST", default=default.host, help="address to listen on")
    add("--port", metavar="PORT", env_var="WEB_SRV_PORT", default=default.port, type=port,
        help="port to listen on; 0 takes a free one")  # fmt: skip
    add("--ping-interval-ms", metavar="MS", env_var="HEARTBEAT_INT_MS", type=_milliseconds,
        default=round(default.ping_interval * 1000),
        help="milliseconds between two PINGs to a connection; one that did not answer the previous PING is ended; "
        "0 sends none")  # fmt: skip
    add("--boot-interval", metavar="SECONDS", env_var="BOOT_INTERVAL", type=_seconds,
        default=default.boot_interval,
        help="interval in BootNotification.conf: the charge points' heartbeat interval in seconds")  # fmt: skip
    add("--require-boot", metavar="BOOL", env_var="REQUIRE_BOOT", type=boolean, nargs="?", const=True,
        default=default.require_boot,
        help="answer SecurityError to charge points that have not booted yet; the store remembers who has")  # fmt: skip
    add("--log-payload", metavar="BOOL", env_var="LOG_PAYLOAD", type=boolean, nargs="?", const=True,
        default=default.log_payload, help="log each message")  # fmt: skip
    add("--log-lifecycle", metavar="BOOL", env_var="LOG_LIFECYCLE", type=boolean, nargs="?", const=True,
        default=default.log_lifecycle, help="log connections and boots, thinned out when there are many")  # fmt: skip
    add("--admin-host", metavar="ADDRESS", env_var="ADMIN_HOST", default=default.admin_host,
        help=f"address that the operator API listens on; any but a loopback address needs {TOKEN_VARIABLE} in "
        "the environment")  # fmt: skip
    add("--admin-port", metavar="PORT", env_var="ADMIN_PORT", default=default.admin_port, type=port,
        help="port of the operator API; 0 takes a free one")  # fmt: skip
    add(
        "--csr-ca-cert",
        metavar="FILE",
        env_var="CSR_CA_CERT",
        type=Path,
        help="PEM file of the CA that signs what charge points send in SignCertificate, with its chain; without it, "
        "all are rejected",
    )
    add("--csr-ca-key", metavar="FILE", env_var="CSR_CA_KEY", type=Path,
        help="PEM file of its private key, RSA or elliptic curve")  # fmt: skip
    add("--store", metavar="URL", env_var="STORE", default=default.store,
        help="where records are kept: memory, sqlite:///FILE (four slashes for an absolute path), or, for replicas "
        "to share, postgresql+asyncpg://USER:PASSWORD@HOST/DATABASE (better in the environment)")  # fmt: skip
    add("--keep-transactions", metavar="N", env_var="KEEP_TRANSACTIONS", type=_transactions,
        default=default.keep_transactions, help="ended transactions that are remembered; all are counted")  # fmt: skip
    add("--keep-messages", metavar="N", env_var="KEEP_MESSAGES", type=_messages, default=default.keep_messages,
        help="last messages of all charge points that each process keeps in memory, to be looked at; 0 keeps none, "
        "at most 1,000,000")  # fmt: skip
    add("--bus", metavar="URL", env_var="BUS",
        help="redis://[:PASSWORD@]HOST:PORT[/DATABASE], by which the replicas that share a store talk to each other; "
        "a replica that is alone needs none")  # fmt: skip
    add("--processes", metavar="N", env_var="PROCESSES", type=_processes, default=default.processes,
        help="processes that share the ports, on a host with more than one core; they need a store other than "
        "memory")  # fmt: skip
    add("--drain-rate", metavar="N", env_var="DRAIN_RATE", type=_connections, default=default.drain_rate,
        help="connections closed in a second, with code 1012, after SIGTERM")  # fmt: skip
    add("--drain-delay", metavar="SECONDS", env_var="DRAIN_DELAY", type=seconds(0, 3600), default=default.drain_delay,
        help="seconds for a load balancer to see /readyz fail, before the first of them is closed")  # fmt: skip
    add_security_options(parser)
    add("--chaos", metavar="FILE", env_var="CHAOS_FILE", type=_chaos,
        help="TOML file of what goes wrong on purpose, from the start")  # fmt: skip
    parser.add_argument("--version", action="version", version=f"ampswarm {ampswarm.__version__}")
    return parser


def parse_args(args: Sequence[str] | None = None) -> Config:
    """Return the configuration from the command line and the environment.

    Bad values end the process with one line on stderr and status 2.

    Args:
        args: the command line without the program's name; `None` takes the process's own.
    """
    parser = build_parser()
    try:
        take_secret_files(SECRETS, os.environ)
    except BadSecretFile as bad:
        parser.error(f"{bad}")
    options = parser.parse_args(args)
    if not options.host.strip():
        parser.error(
            "--host or WEB_SRV_HOST: it is empty; 0.0.0.0 is every IPv4 address of this host, :: every address"
        )
    if (options.csr_ca_cert is None) != (options.csr_ca_key is None):
        parser.error("--csr-ca-cert (CSR_CA_CERT) and --csr-ca-key (CSR_CA_KEY) need each other")
    try:
        check_store(options.store)
    except BadStore as bad:
        parser.error(f"--store or STORE: {bad}")
    if options.bus is not None:
        # Here, as in `Process`: most have no bus, and redis takes a twentieth of the time of a start.
        from server.redis_bus import check_url as check_bus  # noqa: PLC0415

        try:
            check_bus(options.bus)
        except BadBus as bad:
            parser.error(f"--bus or BUS: {bad}")
    if options.processes > 1 and options.store == MEMORY:
        parser.error("--processes or PROCESSES: several processes need a store that they can share, not memory")
    token = os.environ.get(TOKEN_VARIABLE) or None
    if token is not None and not (token.isascii() and all(" " < char < "\x7f" for char in token)):
        parser.error(f"{TOKEN_VARIABLE}: a token is made of visible ASCII characters")
    if token is None and not is_loopback(options.admin_host):
        parser.error(f"--admin-host or ADMIN_HOST: {options.admin_host!r} can be reached from elsewhere: set "
                     f"{TOKEN_VARIABLE} to what its requests must bear")  # fmt: skip
    return Config(
        host=options.host,
        port=options.port,
        ping_interval=options.ping_interval_ms / 1000,
        boot_interval=options.boot_interval,
        require_boot=options.require_boot,
        log_payload=options.log_payload,
        log_lifecycle=options.log_lifecycle,
        admin_host=options.admin_host,
        admin_port=options.admin_port,
        admin_token=token,
        csr_ca_cert=options.csr_ca_cert,
        csr_ca_key=options.csr_ca_key,
        store=options.store,
        keep_transactions=options.keep_transactions,
        keep_messages=options.keep_messages,
        bus=options.bus,
        processes=options.processes,
        drain_rate=options.drain_rate,
        drain_delay=options.drain_delay,
        security=security_options(options, parser.error),
        chaos=options.chaos,
    )


def _chaos(path: str) -> ChaosConfig:
    try:
        return read_chaos_file(Path(path))
    except BadChaos as bad:
        raise argparse.ArgumentTypeError(str(bad)) from None


def is_loopback(host: str) -> bool:
    """Return whether only this host reaches what listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.split("%", 1)[0]).is_loopback
    except ValueError:
        return False
