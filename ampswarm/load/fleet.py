"""What the charge points of one process share, and what ties them to Locust's life cycle."""

from __future__ import annotations

import logging
import random
import secrets
import signal
import sys
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import gevent
import locust.argument_parser
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from ampswarm.lifecycle import LifecycleLog
from ampswarm.load.identities import IdentityPool, LeasedPool, Lessor, LocalPool
from ampswarm.load.measurements import Measurements
from ampswarm.load.online_verdict import OnlineVerdict
from ampswarm.load.options import (
    DEFAULT_SPAWN_RATE,
    InvalidOption,
    Settings,
    add_options,
    central_system_url,
    check_form,
)
from ampswarm.load.transport import ConnectFailed, Connection, Connector, Resolver
from ampswarm.ocppj.identity import Endpoint, InvalidEndpoint, parse_endpoint
from ampswarm.ocppj.session import UniqueIds

if TYPE_CHECKING:
    from locust.env import Environment

    from ampswarm.charge_point.station import ChargePoint

logger: Final = logging.getLogger("ampswarm")

_GOLDEN_RATIO: Final = 0.6180339887498949


class Fleet:
    """The charge points of this process: their settings, identities, connector, and statistics.

    Args:
        environment: Locust's.
        pool: where identities' numbers come from.
    """

    def __init__(self, environment: Environment, pool: IdentityPool) -> None:
        self.environment = environment
        self.pool = pool
        self.measurements = Measurements(environment.events.request)
        self.unique_ids = UniqueIds(secrets.token_hex(8))
        self.random = random.Random(secrets.randbits(64))  # noqa: S311  jitter, not secrets
        self.lifecycle = LifecycleLog(None)
        self.charge_points: set[ChargePoint] = set()
        self._resolver = Resolver()
        self._endpoints: dict[str, Endpoint] = {}
        self._connector: Connector | None = None
        self._settings: Settings | None = None
        # Not the same for all workers: their charge points would start in the same instants.
        self._spread = self.random.random()

    @property
    def settings(self) -> Settings:
        """What the options of this run come to."""
        if self._settings is None:
            assert self.environment.parsed_options is not None
            self._settings = Settings.from_options(self.environment.parsed_options)
            self.lifecycle = LifecycleLog(_log if self._settings.log_lifecycle else None)
            if self._settings.seed:
                # Each worker draws its own numbers, and the same ones in the next run.
                worker = getattr(self.environment.runner, "worker_index", 0)
                self.random = random.Random(f"{self._settings.seed}/{worker}")  # noqa: S311  jitter
                self._spread = self.random.random()
        return self._settings

    def configure(self) -> None:
        """A test starts: take the options as they are now, the web UI may have changed them."""
        self.lifecycle.flush(time.monotonic(), final=True)
        self._settings = None
        self._connector = None
        self._endpoints.clear()

    def endpoint(self, url: str | None) -> Endpoint:
        """Return the endpoint that a user class's `host` names; without one, CS_HOST and its like do.

        Raises:
            InvalidEndpoint: it is not the URL of an OCPP-J endpoint.
        """
        key = url or ""
        if key not in self._endpoints:
            assert self.environment.parsed_options is not None
            self._endpoints[key] = parse_endpoint(url or central_system_url(self.environment.parsed_options))
        return self._endpoints[key]

    def connect(self, url: str | None, identity: str) -> Connection:
        """Return an open connection of the charge point `identity` to a user class's `host`.

        Raises:
            ConnectFailed: with the class of what went wrong.
        """
        try:
            endpoint = self.endpoint(url)
            connector = self._connector_for(endpoint)
        except (InvalidEndpoint, InvalidOption) as error:
            # Found at the start of the process where it can be. A master's options may not hold here.
            raise ConnectFailed(str(error)) from None
        return connector.connect(endpoint, identity)

    def check(self, url: str | None) -> None:
        """Find out whether charge points could connect to `url` at all.

        Raises:
            InvalidEndpoint: it is not the URL of an OCPP-J endpoint.
            InvalidOption: the CA file cannot be used, or options contradict each other.
        """
        self._connector_for(self.endpoint(url))

    def _connector_for(self, endpoint: Endpoint) -> Connector:
        if self._connector is None or (endpoint.is_secure and self._connector.tls is None):
            settings = self.settings
            tls = settings.tls_context() if endpoint.is_secure else None
            self._connector = Connector(self._resolver, tls, settings.handshake_timeout)
        return self._connector

    def start_delay(self) -> float:
        """Return how long the next charge point waits before power-on, in seconds below 1.

        Locust spawns all charge points of a second in its first instant. The multiples of the golden
        ratio spread any number of them evenly over it.
        """
        self._spread = (self._spread + _GOLDEN_RATIO) % 1.0
        return self._spread

    def online(self) -> tuple[int, int]:
        """Return how many charge points are online and get answers, and how many there are."""
        online = sum(each.is_online and each.is_heard for each in self.charge_points)
        return online, len(self.charge_points)


def fleet_of(environment: Environment) -> Fleet:
    """Return the fleet of this process."""
    fleet: Fleet = environment.ampswarm  # type: ignore[attr-defined]
    return fleet


def _log(fields: dict[str, object]) -> None:
    event = fields.pop("event")
    logger.info("%s %s", event, " ".join(f"{name}={value!r}" for name, value in fields.items()))


def _exit(message: str) -> None:
    """End the process for a mistake of the user: one line, status 2."""
    sys.stderr.write(f"locust: error: {message}\n")
    sys.exit(2)


def _on_init_command_line_parser(parser: Any, **_: object) -> None:  # noqa: ANN401
    add_options(parser)


def _on_init(environment: Environment, runner: Any, web_ui: Any, **_: object) -> None:  # noqa: ANN401
    # A worker works through a spawn message in the loop that its charge points live in, and Locust
    # makes its parser anew for each of 60 options then: 66 ms during which nobody is served.
    locust.argument_parser.default_args_dict = cache(locust.argument_parser.default_args_dict)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        gevent.signal_handler(signal.SIGINT, _interrupt)
    _apply_defaults(environment)
    match runner:
        case MasterRunner():
            pool: IdentityPool = LocalPool()
            lessor = Lessor(runner)
            environment.events.test_start.add_listener(lambda **_: lessor.new_test())
        case WorkerRunner():
            pool = LeasedPool(runner)
        case _:
            pool = LocalPool()
    fleet = Fleet(environment, pool)
    environment.ampswarm = fleet  # type: ignore[attr-defined]
    if not isinstance(runner, WorkerRunner):
        # A worker gets the master's options, with the first spawn.
        _check(environment, fleet)
    verdict = OnlineVerdict(environment, runner, fleet.online)
    environment.events.test_start.add_listener(lambda **_: fleet.configure())
    environment.events.test_stopping.add_listener(lambda **_: verdict.note())
    environment.events.test_stop.add_listener(lambda **_: fleet.pool.close())
    environment.events.quitting.add_listener(lambda **_: verdict.decide())
    environment.events.usage_monitor.add_listener(lambda **_: fleet.lifecycle.flush(time.monotonic()))
    environment.events.quit.add_listener(lambda **_: fleet.lifecycle.flush(time.monotonic(), final=True))
    if web_ui is not None:
        _guard_form(web_ui)


def _interrupt() -> None:
    """Raise KeyboardInterrupt where Locust waits for it, as SIGINT does by itself.

    By itself, it is raised in whatever code happens to run: with a fleet, in the greenlet of some
    charge point, which dies with a traceback instead of closing its connection.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def _apply_defaults(environment: Environment) -> None:
    options = environment.parsed_options
    assert options is not None
    if options.num_users is None:
        options.num_users = options.concurrency_level
    if options.spawn_rate is None:
        options.spawn_rate = DEFAULT_SPAWN_RATE
    # Locust gives the environment's host to every user class: not over one that has its own.
    if environment.host is None and not any(each.host for each in environment.user_classes):
        environment.host = options.host = central_system_url(options)


def _check(environment: Environment, fleet: Fleet) -> None:
    """Find what is wrong with the options before the first connection."""
    classes = [each for each in environment.user_classes if hasattr(each, "charge_point")]
    hosts = {each.host: f"the host of {each.__name__}" for each in classes}
    if environment.host is not None:
        hosts = {environment.host: "--host"}
    for host, whose in hosts.items():
        try:
            fleet.check(host)
        except InvalidEndpoint as error:
            _exit(f"{whose}: {error}")
        except InvalidOption as error:
            _exit(f"{error}")


def _guard_form(web_ui: Any) -> None:  # noqa: ANN401
    from flask import Response, jsonify, request  # noqa: PLC0415  only a master or a single process has it

    @web_ui.app.before_request  # type: ignore[untyped-decorator]
    def check_swarm_form() -> Response | None:
        if request.method != "POST" or not request.path.endswith("/swarm"):
            return None
        wrong = check_form(request.form.to_dict(), web_ui.environment.parsed_options)
        if wrong is None:
            return None
        return jsonify({"success": False, "message": wrong, "host": web_ui.environment.host})


events.init_command_line_parser.add_listener(_on_init_command_line_parser)
events.init.add_listener(_on_init)
