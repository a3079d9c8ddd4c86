"""What the central system is told by flags and environment variables; a flag wins."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import configargparse

import ampswarm
from ampswarm.option_types import boolean, integer, name_variable, port

MAX_INTERVAL_MS: Final = 24 * 60 * 60 * 1000


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


class _Parser(configargparse.ArgumentParser):  # type: ignore[misc]  # it has no types
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, without the usage, and exit with status 2."""
        sys.stderr.write(f"{self.prog}: error: {name_variable(self, message)}\n")
        sys.exit(2)


_milliseconds = integer(0, MAX_INTERVAL_MS, "a time in milliseconds")
_seconds = integer(1, 86400, "a time in seconds")


def parse_args(args: Sequence[str] | None = None) -> Config:
    """Return the configuration from the command line and the environment.

    Bad values end the process with one line on stderr and status 2.

    Args:
        args: the command line without the program's name; `None` takes the process's own.
    """
    parser = _Parser(
        prog="central-system",
        description="An OCPP 1.6-J central system that answers every message a charge point can send.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Config()
    add = parser.add_argument
    add("--host", metavar="ADDRESS", env_var="WEB_SRV_HOST", default=default.host, help="address to listen on")
    add("--port", metavar="PORT", env_var="WEB_SRV_PORT", default=default.port, type=port,
        help="port to listen on; 0 takes a free one")  # fmt: skip
    add("--ping-interval-ms", metavar="MS", env_var="HEARTBEAT_INT_MS", type=_milliseconds,
        default=round(default.ping_interval * 1000),
        help="milliseconds between two PINGs to a connection, which is ended when the previous one "
        "was not answered; 0 sends none")  # fmt: skip
    add("--boot-interval", metavar="SECONDS", env_var="BOOT_INTERVAL", type=_seconds,
        default=default.boot_interval,
        help="interval in BootNotification.conf: the charge points' heartbeat interval")  # fmt: skip
    add("--require-boot", metavar="BOOL", env_var="REQUIRE_BOOT", type=boolean, nargs="?", const=True,
        default=default.require_boot,
        help="answer SecurityError to charge points that did not boot since it was started")  # fmt: skip
    add("--log-payload", metavar="BOOL", env_var="LOG_PAYLOAD", type=boolean, nargs="?", const=True,
        default=default.log_payload, help="log each message")  # fmt: skip
    add("--log-lifecycle", metavar="BOOL", env_var="LOG_LIFECYCLE", type=boolean, nargs="?", const=True,
        default=default.log_lifecycle, help="log connections and boots")  # fmt: skip
    parser.add_argument("--version", action="version", version=f"ampswarm {ampswarm.__version__}")
    options = parser.parse_args(args)
    return Config(
        host=options.host,
        port=options.port,
        ping_interval=options.ping_interval_ms / 1000,
        boot_interval=options.boot_interval,
        require_boot=options.require_boot,
        log_payload=options.log_payload,
        log_lifecycle=options.log_lifecycle,
    )
