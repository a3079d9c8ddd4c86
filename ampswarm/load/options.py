"""Ampswarm's options: on Locust's command line, in its environment, files and web UI.

The master's values hold for the whole run: Locust sends them to the workers with the first spawn.
"""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from locust import events

from ampswarm.charge_point.backoff import Backoff, Growth
from ampswarm.charge_point.ping_watch import PingWatchRule, WatchMode
from ampswarm.charge_point.template import Template
from ampswarm.load.errands import MESSAGES
from ampswarm.load.paths import read_addresses, read_ports, source_addresses, target_ports
from ampswarm.load.storm_spec import Storm, parse_storms, storms_text
from ampswarm.load.web_login import AskForLogin
from ampswarm.ocppj.identity import InvalidEndpoint, parse_endpoint
from ampswarm.option_types import boolean, identity_format, integer, name_variable, one_of, percent, port, seconds
from ampswarm.results.slo import InvalidSlo, parse_slos
from ampswarm.secret_files import BadSecretFile, take_secret_files

if TYPE_CHECKING:
    from locust.argument_parser import LocustArgumentParser

    from ampswarm.load.fleet_file import FleetSource

CHARGE_POINTS: Final = "charge-points"
DRIVERS: Final = "drivers"
ARRIVE: Final = (CHARGE_POINTS, DRIVERS, *MESSAGES)
"""What may arrive in an open load."""

DEFAULT_SPAWN_RATE: Final = 100.0
"""Charge points per second where neither flag, environment nor file says otherwise."""

SECRETS: Final = ("AMPSWARM_OPERATOR_TOKEN", "AMPSWARM_UI_PASSWORD")
"""Variables that may be files: `AMPSWARM_OPERATOR_TOKEN_FILE` and so on."""

OPERATOR_API: Final = "http://127.0.0.1:8081"
"""Where the bundled central system has it, on the same host."""

_DAY: Final = 24 * 60 * 60.0


class InvalidOption(ValueError):  # noqa: N818
    """Options that are each well-formed, and cannot be used together or here; one clear line."""


def _host_name(text: str) -> str:
    try:
        host = parse_endpoint(f"ws://[{text}]" if ":" in text else f"ws://{text}").host
    except InvalidEndpoint:
        host = ""
    if not text or host != text.lower():
        raise argparse.ArgumentTypeError(f"{text!r} is not a host name or address")
    return text


def slo_text(text: str) -> str:
    """Return the value of `--slo`, which can be read.

    Raises:
        argparse.ArgumentTypeError: it is no SLO.
    """
    try:
        slos = parse_slos(text.replace(";", "\n"))
    except InvalidSlo as error:
        raise argparse.ArgumentTypeError(f"{error}") from None
    if not slos:
        # A variable of a pipeline that is empty by mistake would let everything pass.
        raise argparse.ArgumentTypeError("there is no SLO in it")
    return text


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url:
        raise argparse.ArgumentTypeError(f"{text!r} is not the URL of an operator API, as in http://localhost:8081")
    return text


@dataclass(frozen=True, slots=True)
class _Option:
    flag: str
    variable: str
    default: object
    parse: Callable[[str], object]
    help: str
    in_web_ui: bool = True
    is_repeatable: bool = False
    """Whether it may be given several times. Its variable holds several values with `;` between."""
    is_secret: bool = False
    """Whether nobody is to see its value: reports leave it out, and the web UI hides it."""
    action: type[argparse.Action] | None = None
    """What takes its value, where that is not simply kept."""

    @property
    def dest(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


Option = _Option
"""One option, for scenarios that have their own."""

_TARGET: Final = (
    _Option("--cs-protocol", "CS_PROTOCOL", "ws", one_of("ws", "wss"),
            "Protocol of the central system, where --host is not given: ws or wss", in_web_ui=False),
    _Option("--cs-host", "CS_HOST", "localhost", _host_name,
            "Host of the central system, where --host is not given", in_web_ui=False),
    _Option("--cs-port", "CS_PORT", 8080, integer(1, 65535, "a port"),
            "Port of the central system, where --host is not given", in_web_ui=False),
    _Option("--tls-ca-file", "AMPSWARM_TLS_CA_FILE", "", str,
            "PEM file of the CA behind the central system's certificate; the system's CAs if not given",
            in_web_ui=False),
    _Option("--tls-verify", "AMPSWARM_TLS_VERIFY", default=True, parse=boolean, help=
            "Check the central system's certificate: true or false", in_web_ui=False),
    _Option("--operator-api", "AMPSWARM_OPERATOR_API", OPERATOR_API, _http_url,
            "URL of the central system's operator API: for operators, the live page's chaos, and the ledger in reports",
            in_web_ui=False),
    _Option("--operator-token", "AMPSWARM_OPERATOR_TOKEN", "", str,
            "Its bearer token; better in the environment, which not everybody on the host reads", in_web_ui=False,
            is_secret=True),
)  # fmt: skip
"""What is tested."""

_FLEET: Final = (
    _Option("--concurrency-level", "CONCURRENCY_LEVEL", 1,
            integer(1, 100_000_000, "a number of charge points"),
            "Number of charge points, where -u is not given", in_web_ui=False),
    _Option("--fleet", "AMPSWARM_FLEET", "", str,
            "TOML file that describes the populations of the fleet", in_web_ui=False),
    _Option("--identity-format", "AMPSWARM_IDENTITY_FORMAT", "CP{:06d}", identity_format,
            "Python format that makes the identity of charge point 1, 2, 3 …"),
    _Option("--connectors", "AMPSWARM_CONNECTORS", 1, integer(1, 100, "a number of connectors"),
            "Connectors of each charge point"),
    _Option("--acceleration", "AMPSWARM_ACCELERATION", 0.0, seconds(0.0, 100_000.0),
            "How many times as fast as in life drivers come, charge and go; 0 leaves it to the fleet file"),
    _Option("--start-hour", "AMPSWARM_START_HOUR", -1.0, seconds(-1.0, 24.0),
            "Hour of the drivers' day, in UTC, at which a test begins; -1 takes the present one"),
    _Option("--end-sessions", "AMPSWARM_END_SESSIONS", default=False, parse=boolean, help=
            "Stop running transactions when the test stops, and tell the central system: true or false"),
    _Option("--seed", "AMPSWARM_SEED", 0, integer(0, 2**31 - 1, "a seed"),
            "Draw delays from this seed, to repeat a run; 0 takes another one each time"),
)  # fmt: skip
"""What charge points there are."""

_CONNECTIONS: Final = (
    _Option("--handshake-timeout", "AMPSWARM_HANDSHAKE_TIMEOUT", 120.0, seconds(0.1, 3600),
            "Seconds to wait for TCP, TLS and upgrade together"),
    _Option("--call-timeout", "AMPSWARM_CALL_TIMEOUT", 30.0, seconds(0.1, 3600),
            "Seconds after which a Call without an answer has failed"),
    _Option("--reconnect", "AMPSWARM_RECONNECT", "exponential", one_of(*Growth),
            "Reconnect delays: exponential (full jitter from shortest to longest) or fixed (the longest)"),
    _Option("--reconnect-min", "AMPSWARM_RECONNECT_MIN", 1.0, seconds(0.001, _DAY),
            "Shortest reconnect delay in seconds"),
    _Option("--reconnect-max", "AMPSWARM_RECONNECT_MAX", 90.0, seconds(0.001, _DAY),
            "Longest reconnect delay in seconds"),
    _Option("--source-addresses", "AMPSWARM_SOURCE_ADDRESSES", "", source_addresses,
            "Addresses of the generator's host to connect from in turn, each with ports of its own, as in "
            "10.0.0.16/28,10.0.1.7, or auto for all that it has; a worker's own come before the master's",
            in_web_ui=False),
    _Option("--target-ports", "AMPSWARM_TARGET_PORTS", "", target_ports,
            "Ports of the target to connect to in turn instead of the one in its URL, as in 443,9001-9008",
            in_web_ui=False),
    _Option("--ping-watch", "AMPSWARM_PING_WATCH", "learn", one_of(*WatchMode),
            "Drop connections without PINGs, once one has come: learn (the rhythm), fixed or off"),
    _Option("--ping-watch-timeout", "AMPSWARM_PING_WATCH_TIMEOUT", 31.0, seconds(0.1, _DAY),
            "Seconds without a PING that end a connection (fixed), or the least of them (learn)"),
)  # fmt: skip
"""How they connect, and how long they wait."""

_LOAD: Final = (
    _Option("--storm", "AMPSWARM_STORM", (), storms_text, is_repeatable=True, in_web_ui=False, help=
            'Storm over the fleet, as in "at=60s share=50%% kind=network" (network, power, blackhole or herd); '
            "also for=, over=, seed=, name=. Repeatable, or with ; between them; none leaves out the scenario's own"),
    _Option("--arrivals", "AMPSWARM_ARRIVALS", "", str,
            "Open load: what arrives when, as in 'ramp 0/s to 200/s over 5min, poisson 200/s for 10min'",
            in_web_ui=False),
    _Option("--arrivals-of", "AMPSWARM_ARRIVALS_OF", "MeterValues", one_of(*ARRIVE),
            f"What arrives: {', '.join(ARRIVE)}", in_web_ui=False),
    _Option("--arrivals-after", "AMPSWARM_ARRIVALS_AFTER", -1.0, seconds(-1.0, _DAY),
            "Seconds from the start of the test to the first arrival; -1 lets the fleet be spawned, and 5 s",
            in_web_ui=False),
)  # fmt: skip
"""What comes on top of everyday life."""

_VERDICT: Final = (
    _Option("--slo", "AMPSWARM_SLO", (), slo_text,
            "What the run has to hold, such as 'OCPP/BootNotification p99 < 250ms'; may be given again",
            in_web_ui=False, is_repeatable=True),
    _Option("--slo-file", "AMPSWARM_SLO_FILE", "", str,
            "File with SLOs, one a line", in_web_ui=False),
    _Option("--require-online", "AMPSWARM_REQUIRE_ONLINE", default=False, parse=boolean, help=
            "Exit with status 1 unless every charge point is online when the test ends: true or false",
            in_web_ui=False),
    _Option("--report-json", "AMPSWARM_REPORT_JSON", "", str,
            "Write everything about the run to this file, as JSON", in_web_ui=False),
    _Option("--report-html", "AMPSWARM_REPORT_HTML", "", str,
            "Write a report for people to this file: HTML, with all that it needs in it", in_web_ui=False),
    _Option("--junit-xml", "AMPSWARM_JUNIT_XML", "", str,
            "Write the verdict to this file, as JUnit XML", in_web_ui=False),
    _Option("--summary-md", "AMPSWARM_SUMMARY_MD", "", str,
            "Write a summary to this file, as Markdown", in_web_ui=False),
    _Option("--ui-password", "AMPSWARM_UI_PASSWORD", "", str,
            "Password for Locust's web UI, whatever the user; better in the environment, which not everybody on the "
            "host reads", in_web_ui=False, is_secret=True, action=AskForLogin),
    _Option("--metrics-port", "AMPSWARM_METRICS_PORT", 0, port,
            "Port on which the master, or a single process, answers Prometheus; 0 for none", in_web_ui=False),
    _Option("--metrics-host", "AMPSWARM_METRICS_HOST", "127.0.0.1", str,
            "Address that it listens on; 0.0.0.0 for all: anybody who reaches it may read them", in_web_ui=False),
    _Option("--progress", "AMPSWARM_PROGRESS", "line", one_of("line", "tables", "none"),
            "How a headless run shows that it goes on: line, Locust's tables, or none", in_web_ui=False),
    _Option("--log-lifecycle", "LOG_LIFECYCLE", default=True, parse=boolean, help=
            "Log connections and boots, five of each kind in ten seconds, and how many more: true or false"),
    _Option("--log-payload", "LOG_PAYLOAD", default=False, parse=boolean, help=
            "Log each message: true or false"),
)  # fmt: skip
"""What a run comes to, and what is left of it."""

_HEALTH: Final = (
    _Option("--max-loop-lag", "AMPSWARM_MAX_LOOP_LAG", 0.5, seconds(0.0, 3600),
            "Seconds by which a generator's loop may be late; the run is invalid if it is for more than 1 s of 10"),
    _Option("--max-generator-cpu", "AMPSWARM_MAX_GENERATOR_CPU", 95.0, percent,
            "Percent of a core that a generator may use over 5 s; above, the run is invalid"),
    _Option("--max-gc-pause", "AMPSWARM_MAX_GC_PAUSE", 0.5, seconds(0.0, 3600),
            "Seconds of a pause for garbage collection; more than 1 s of longer ones in 10 s, and the run is invalid"),
    _Option("--max-open-files", "AMPSWARM_MAX_OPEN_FILES", 95.0, percent,
            "Percent of its limit of open files that a generator may use; above, the run is invalid"),
    _Option("--max-ports", "AMPSWARM_MAX_PORTS", 95.0, percent,
            "Percent of a host's ephemeral ports that may lead to one destination; above, the run is invalid"),
    _Option("--max-generator-memory", "AMPSWARM_MAX_GENERATOR_MEMORY", 95.0, percent,
            "Percent of a host's or container's memory in use over 5 s; above, the run is invalid"),
    _Option("--max-clock-jump", "AMPSWARM_MAX_CLOCK_JUMP", 1.0, seconds(0.0, _DAY),
            "Seconds by which a generator's clock may be set while a test runs; above, the run is invalid"),
    _Option("--max-master-distance", "AMPSWARM_MAX_MASTER_DISTANCE", 5.0, seconds(0.0, 3600),
            "Seconds that a worker's way to the master and back may take; above, the run is invalid"),
    _Option("--gc-freeze", "AMPSWARM_GC_FREEZE", default=True, parse=boolean, help=
            "Keep garbage collection rare, and away from charge points that are there: true or false"),
)  # fmt: skip
"""What the load generator must not be past: docs/reference/generator-health.md. 0 switches a limit off."""

THEMES: Final = {
    "The target": _TARGET,
    "The fleet": _FLEET,
    "Connections": _CONNECTIONS,
    "Load": _LOAD,
    "Verdict and reports": _VERDICT,
    "Health of the generators": _HEALTH,
}
"""Every option of Ampswarm, with its environment variable and default, by what it is about."""

OPTIONS: Final = tuple(option for theme in THEMES.values() for option in theme)
"""The same, one behind the other."""


def add_options(parser: LocustArgumentParser) -> None:
    """Add Ampswarm's options to Locust's parser."""
    complain = parser.error
    # On the object, not in a subclass: Locust makes the parser.
    parser.error = lambda message: complain(name_variable(parser, message))  # type: ignore[method-assign,no-untyped-call]
    try:
        take_secret_files(SECRETS, os.environ)
    except BadSecretFile as bad:
        parser.error(f"{bad}")
    add_to(parser, OPTIONS)


def declare(options: Iterable[_Option]) -> None:
    """Let a scenario have options of its own, on the command line, in the environment and in files.

    Their values are in `environment.parsed_options`, on workers too, when the first charge point starts.
    """
    events.init_command_line_parser.add_listener(lambda parser, **_: add_to(parser, options))


def add_to(parser: LocustArgumentParser, options: Iterable[_Option]) -> None:
    """Add options to a parser: these, or those of a scenario."""
    for option in options:
        more: dict[str, Any] = {}
        if option.parse is boolean:
            more = {"nargs": "?", "const": True}
        elif option.is_repeatable:
            more = {"action": "append"}
        elif option.action is not None:
            more = {"action": option.action}
        # In an argument group, Locust loses the flags that the web UI looks at: none here.
        parser.add_argument(
            option.flag,
            env_var=option.variable,
            default=None if option.is_repeatable else option.default,
            type=option.parse,
            metavar=option.dest.rsplit("_", 1)[-1].upper(),
            help=option.help,
            include_in_web_ui=option.in_web_ui,
            is_secret=option.is_secret,
            **more,
        )


def check_form(form: dict[str, str], options: argparse.Namespace, fleet: FleetSource | None = None) -> str | None:
    """Return what is wrong with the values that the web UI's form sends, or `None`.

    Args:
        form: the form's fields.
        options: what holds for those that it leaves out.
        fleet: the fleet file, which must go together with them.
    """
    try:
        parsed = {each.dest: each.parse(form[each.dest]) for each in OPTIONS if each.dest in form}
        if form.get("host"):
            parse_endpoint(form["host"])
        settings = Settings.from_options(argparse.Namespace(**{**vars(options), **parsed}))
        if fleet is not None:
            fleet.parse(settings.template, settings.identity_format)
    except (argparse.ArgumentTypeError, ValueError) as error:
        return f"{error}"
    return None


def central_system_url(options: argparse.Namespace) -> str:
    """Return the endpoint that CS_PROTOCOL, CS_HOST and CS_PORT name together."""
    host = f"[{options.cs_host}]" if ":" in options.cs_host else options.cs_host
    return f"{options.cs_protocol}://{host}:{options.cs_port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options come to, for all charge points of a process."""

    template: Template
    identity_format: str
    handshake_timeout: float
    """Seconds."""
    log_payload: bool
    log_lifecycle: bool
    tls_ca_file: str
    tls_verify: bool
    seed: int
    """0 for none."""
    start_hour: float
    """Of the drivers' day when a test begins; negative for the present one."""
    end_sessions: bool
    """Whether running transactions are stopped at the end of a test."""
    acceleration: float
    """Of drivers; 0 leaves it to the fleet file."""
    fleet: str
    """Path of the fleet file on the master; empty for none."""
    source_addresses: tuple[str, ...]
    """To connect from in turn; none leaves it to the kernel."""
    target_ports: tuple[int, ...]
    """To connect to in turn; none takes that of the endpoint."""
    storms: tuple[Storm, ...] | None
    """Those that are planned; `None` leaves it to the scenario."""

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Settings:
        """Return the settings.

        Raises:
            InvalidOption: two options contradict each other.
        """
        try:
            backoff = Backoff(Growth(options.reconnect), options.reconnect_min, options.reconnect_max)
            watch = PingWatchRule(WatchMode(options.ping_watch), options.ping_watch_timeout)
        except ValueError as error:
            raise InvalidOption(f"--reconnect-min and --reconnect-max: {error}") from None
        return cls(
            template=Template(
                connectors=options.connectors,
                call_timeout=options.call_timeout,
                backoff=backoff,
                ping_watch=watch,
            ),
            identity_format=options.identity_format,
            handshake_timeout=options.handshake_timeout,
            log_payload=options.log_payload,
            log_lifecycle=options.log_lifecycle,
            tls_ca_file=options.tls_ca_file,
            tls_verify=options.tls_verify,
            seed=options.seed,
            acceleration=options.acceleration,
            start_hour=options.start_hour,
            end_sessions=options.end_sessions,
            fleet=options.fleet,
            source_addresses=read_addresses(options.source_addresses),
            target_ports=read_ports(options.target_ports),
            storms=parse_storms(";".join(options.storm)) if any(options.storm or ()) else None,
        )

    def tls_context(self) -> ssl.SSLContext:
        """Return the one TLS context of all charge points of a process.

        Raises:
            InvalidOption: the CA file cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.tls_ca_file:
            try:
                context.load_verify_locations(self.tls_ca_file)
            except ssl.SSLError:
                raise InvalidOption(f"--tls-ca-file {self.tls_ca_file}: no PEM certificate in it") from None
            except OSError as error:
                raise InvalidOption(f"--tls-ca-file {self.tls_ca_file}: {error.strerror}") from None
        else:
            context.load_default_certs()
        return context
