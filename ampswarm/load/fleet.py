"""What the charge points of one process share, and what ties them to Locust's life cycle."""

from __future__ import annotations

import logging
import random
import secrets
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from ampswarm.capacity.slos import SloJudge
from ampswarm.charge_point.security import MAX_PROFILE, Security
from ampswarm.lifecycle import LifecycleLog
from ampswarm.load.bystanders import Bystanders
from ampswarm.load.call_counts import CallCounts
from ampswarm.load.credentials import UNUSABLE, TlsContexts, Unlisted, check_scheme, read_credential, read_roots
from ampswarm.load.drivers import day_offset
from ampswarm.load.equipment import READS_FOR, check_lists, check_paths
from ampswarm.load.fleet_file import FleetSource, InvalidFleetFile, read_fleet_file
from ampswarm.load.fleet_source import FleetInquiry, FleetOffice
from ampswarm.load.generator_health import COLUMNS, GeneratorHealth
from ampswarm.load.identities import IdentityPool, LeasedPool, Lessor, LocalPool
from ampswarm.load.incidents import Incidents
from ampswarm.load.loop_care import mend_locust
from ampswarm.load.measurements import Measurements
from ampswarm.load.online_verdict import OnlineVerdict
from ampswarm.load.open_load import OpenLoad
from ampswarm.load.options import (
    DEFAULT_SPAWN_RATE,
    InvalidOption,
    Settings,
    add_options,
    central_system_url,
    check_form,
)
from ampswarm.load.population import FleetFile, Population
from ampswarm.load.precise_statistics import install as keep_three_digits
from ampswarm.load.recorder import Recorder
from ampswarm.load.reports import Reports
from ampswarm.load.shapes import ChargePointArrivals
from ampswarm.load.storm_page import add_storm_page
from ampswarm.load.storm_spec import InvalidStorm, Storm, parse_storm, parse_storms
from ampswarm.load.storms import Storms
from ampswarm.load.transport import ConnectFailed, Connection, Connector, Measured, Resolver
from ampswarm.load.verdict import Judge, Wanted
from ampswarm.load.web_tabs import add_tab
from ampswarm.load.workers import WorkerWatch, answer_probes
from ampswarm.ocppj.identity import Endpoint, InvalidEndpoint, parse_endpoint
from ampswarm.ocppj.session import UniqueIds

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.env import Environment

    from ampswarm.capacity.judge import LoadJudge
    from ampswarm.charge_point.certificates import Root
    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.charging_behaviour import ChargingBehaviour
    from ampswarm.load.operators import Command

logger: Final = logging.getLogger("ampswarm")

_NO_FLEET: Final = "fleet file: it cannot be used"
_GOLDEN_RATIO: Final = 0.6180339887498949


class Fleet:
    """The charge points of this process: their settings, identities, connector, and statistics.

    Args:
        environment: Locust's.
        pool: where identities' numbers come from.
        inquiry: where a worker gets the fleet file from; `None` in any other process.
    """

    storms: Storms
    """The storms of a test."""

    def __init__(self, environment: Environment, pool: IdentityPool, inquiry: FleetInquiry | None = None) -> None:
        self.environment = environment
        self.pool = pool
        self._inquiry = inquiry
        self._source: FleetSource | None = None
        self._populations: FleetFile | None = None
        # The roots that a population trusts, one tuple for all its charge points.
        self._roots: dict[str, tuple[Root, ...]] = {}
        # Why there are none, and what the log has said of those that must not connect.
        self._has_no_populations = False
        self._complaints: set[str] = set()
        self._accelerated: dict[tuple[int, float], tuple[ChargingBehaviour, ChargingBehaviour]] = {}
        # When the test began: on the monotonic clock, and in seconds since 1970.
        self._began = time.monotonic(), time.time()
        self.reports = Reports(environment)
        """What comes together on the master, or in the only process."""
        self.recorder = Recorder(environment, self.reports)
        self.incidents = Incidents(lambda: self.recorder.elapsed)
        self.measurements = Measurements(environment.events.request, self.recorder)
        self.unique_ids = UniqueIds(secrets.token_hex(8))
        self.calls = CallCounts(self.unique_ids, self.measurements, self.reports)
        self.random = random.Random(secrets.randbits(64))  # noqa: S311  jitter, not secrets
        self.lifecycle = LifecycleLog(None)
        self.charge_points: set[ChargePoint] = set()
        self.bystanders = Bystanders()
        # By identity: what an operator of this process has sent, and how far it has come.
        self.commands: dict[str, Command] = {}
        self.open_load = OpenLoad(environment)
        self.load_judge: LoadJudge | None = None
        """What the SLOs say of a part of the run; `None` where there are none."""
        self.generator_trouble: Callable[[], str | None] = lambda: None
        """Says why the generator's numbers cannot be trusted; `None` for no reason."""
        self.judge: Judge | None = None
        """Of the whole run; `None` on a worker, and before Locust has begun."""
        self._resolver = Resolver()
        self._endpoints: dict[str, Endpoint] = {}
        self._connector: Connector | None = None
        self._settings: Settings | None = None
        self.health: GeneratorHealth
        """How this process, or all of them, are; there once Locust has begun."""
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
        self.recorder.begin()
        self.incidents.clear()
        self.calls.begin()
        self._settings = None
        self._began = time.monotonic(), time.time()
        self._accelerated.clear()
        self._populations = None
        self._has_no_populations = False
        self._complaints.clear()
        self._roots.clear()
        self._connector = None
        self._endpoints.clear()
        if self._inquiry is not None:
            self._inquiry.forget()

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

    @property
    def populations(self) -> FleetFile:
        """The populations of the fleet: those of the fleet file, or one of what the options come to.

        Waits for the master where only it has the file.

        Raises:
            InvalidFleetFile: the file cannot be used.
        """
        if self._populations is None:
            settings = self.settings
            source = self.fleet_source()
            if source is None:
                self._populations = self._everybody()
            else:
                self._populations = source.parse(settings.template, settings.identity_format)
        return self._populations

    def _everybody(self) -> FleetFile:
        settings = self.settings
        return FleetFile((Population("all", 1.0, None, settings.identity_format, settings.template),))

    def fleet_source(self) -> FleetSource | None:
        """Return the fleet file as it was read; `None` without one."""
        if self._inquiry is not None:
            return self._inquiry.source()
        settings = self.settings
        if self._source is None and settings.fleet:
            self._source = read_fleet_file(
                Path(settings.fleet), base=settings.template, identity_format=settings.identity_format
            )
        return self._source

    def behaviour_of(self, behaviour: ChargingBehaviour) -> ChargingBehaviour:
        """Return how drivers behave at the acceleration that the options ask for; one object for all charge points."""
        acceleration = self.settings.acceleration
        if not acceleration or acceleration == behaviour.acceleration:
            return behaviour
        key = id(behaviour), acceleration
        if key not in self._accelerated:
            # With the original, whose id nothing else may have while this one is kept.
            self._accelerated[key] = behaviour, replace(behaviour, acceleration=acceleration)
        return self._accelerated[key][1]

    def day_offset(self, behaviour: ChargingBehaviour) -> float:
        """Return what to add to the monotonic clock for the time of the drivers' day; the same for all."""
        began, utc = self._began
        return day_offset(began, utc, self.settings.start_hour, behaviour.acceleration)

    def equip(self, number: int) -> tuple[Population, Security | None, str]:
        """Return the population of charge point `number`, what it leaves the factory with, and a flaw.

        With a flaw, it lives but must not connect: the words for that, the same for all; or empty. What can be
        seen before the start was: this is for a worker whose own disk lacks a file, and for more charge points
        than were spoken of then. The log says the first of each.
        """
        try:
            population = self.populations.population_of(number)
        except InvalidFleetFile as error:
            # A master of another version took it.
            self._populations = self._everybody()
            self._has_no_populations = True
            self._complain(_NO_FLEET, error)
            population = self._populations.population_of(number)
        if self._has_no_populations:
            return population, None, _NO_FLEET
        try:
            return population, self.security_of(population, population.identity(number)), ""
        except InvalidOption as error:
            flaw = error.reason if isinstance(error, Unlisted) else UNUSABLE
            self._complain(flaw, error)
            return population, None, flaw

    def _complain(self, flaw: str, error: Exception) -> None:
        if flaw not in self._complaints:
            self._complaints.add(flaw)
            logger.error("charge points do not connect: %s; first: %s", flaw, error)

    def security_of(self, population: Population, identity: str) -> Security | None:
        """Return what a charge point leaves the factory with; `None` where its population has no credentials.

        Raises:
            InvalidOption: a certificate, key or CA file cannot be used, or its certificate is not valid now.
            Unlisted: it has not got the password or certificate that it needs.
        """
        credentials = population.credentials
        if credentials is None:
            return None
        missing = credentials.missing(identity)
        if missing:
            raise Unlisted(missing, credentials.lists.get(missing, ""), identity)
        password = credentials.password_of(identity)
        files = credentials.certificate_of(identity)
        credential = None if files is None else read_credential(str(files[0]), str(files[1]))
        if credentials.profile == MAX_PROFILE and credential is not None and not credential.is_valid(time.time()):
            assert files is not None
            raise InvalidOption(f"{files[0]}: is not valid now")
        return Security(
            credentials.profile,
            password=None if password is None else password.encode(),
            credential=credential,
            central_system_roots=self._roots_of(credentials.ca_file or ""),
            manufacturer_roots=self._roots_of(credentials.manufacturer_ca_file or ""),
        )

    def _roots_of(self, file: Path | str) -> tuple[Root, ...]:
        path = str(file)
        if path and path not in self._roots:
            self._roots[path] = read_roots(path)
        return self._roots.get(path, ())

    def connect(
        self, url: str | None, charge_point: ChargePoint, now: float, measured: Measured | None = None
    ) -> Connection:
        """Return an open connection of a charge point to a user class's `host`.

        Args:
            url: the user class's `host`.
            charge_point: who connects, with the credentials that it has now.
            now: the time.
            measured: told how long each part took.

        Raises:
            ConnectFailed: with the class of what went wrong.
        """
        try:
            endpoint = self.endpoint(url)
            connector = self._connector_for(endpoint)
        except (InvalidEndpoint, InvalidOption) as error:
            # Found at the start of the process where it can be. A master's options may not hold here.
            raise ConnectFailed(str(error)) from None
        return connector.connect(
            endpoint,
            charge_point.identity,
            charge_point.security if charge_point.has_security else None,
            charge_point.utc(now),
            measured,
        )

    def check(self, url: str | None) -> None:
        """Find out whether charge points could connect to `url` at all.

        Raises:
            InvalidEndpoint: it is not the URL of an OCPP-J endpoint.
            InvalidOption: the CA file cannot be used, or options contradict each other.
        """
        endpoint = self.endpoint(url)
        for population in self.populations.populations:
            if population.credentials is not None:
                check_scheme(endpoint, population.credentials.profile)
        self._connector_for(endpoint)

    def _connector_for(self, endpoint: Endpoint) -> Connector:
        if self._connector is None:
            settings = self.settings
            self._connector = Connector(self._resolver, TlsContexts(settings.tls_context), settings.handshake_timeout)
        if endpoint.is_secure:
            _ = self._connector.tls.shared  # for what it raises: now, and not in the first connection
        return self._connector

    def start_delay(self) -> float:
        """Return how long the next charge point waits before power-on, in seconds below 1.

        Locust spawns all charge points of a second in its first instant. The multiples of the golden
        ratio spread any number of them evenly over it.
        """
        self._spread = (self._spread + _GOLDEN_RATIO) % 1.0
        return self._spread

    def storm(self, storm: Storm | str) -> None:
        """Let a storm begin now over the whole fleet; from any process, without waiting.

        Args:
            storm: as `--storm` takes it, without `at`, which does not count.

        Raises:
            InvalidStorm: what was written is none.
            StormNotPossible: no test runs.
        """
        self.storms.strike(parse_storm(storm) if isinstance(storm, str) else storm)

    def planned_storms(self) -> tuple[Storm, ...]:
        """Return the storms of the options, or else those of the scenario.

        Raises:
            InvalidStorm: one of the scenario's is none.
        """
        scenarios = (text for each in self.environment.user_classes for text in getattr(each, "storms", ()))
        return self.settings.storms or tuple(storm for text in scenarios for storm in parse_storms(text))

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


def exit_for(message: str) -> NoReturn:
    """End the process for a mistake of the user: one line, status 2."""
    sys.stderr.write(f"locust: error: {message}\n")
    sys.exit(2)


def _on_init_command_line_parser(parser: Any, **_: object) -> None:  # noqa: ANN401
    add_options(parser)


def _on_init(environment: Environment, runner: Any, web_ui: Any, **_: object) -> None:  # noqa: ANN401
    mend_locust()
    keep_three_digits()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        gevent.signal_handler(signal.SIGINT, _interrupt)
    _apply_defaults(environment)
    inquiry: FleetInquiry | None = None
    office: FleetOffice | None = None
    match runner:
        case MasterRunner():
            pool: IdentityPool = LocalPool()
            office = FleetOffice(runner)
        case WorkerRunner():
            pool = LeasedPool(runner)
            inquiry = FleetInquiry(runner)
            answer_probes(runner)
        case _:
            pool = LocalPool()
    fleet = Fleet(environment, pool, inquiry)
    fleet.open_load.follow(runner)
    fleet.open_load.report_by(fleet.reports)
    environment.ampswarm = fleet  # type: ignore[attr-defined]
    if isinstance(runner, MasterRunner):
        WorkerWatch(runner, Lessor(runner), fleet.incidents)
    if not isinstance(runner, WorkerRunner):
        # A worker gets the master's options, with the first spawn.
        _check(environment, fleet)
    if office is not None:
        office.source = fleet.fleet_source()
    fleet.health = GeneratorHealth(environment, runner, fleet.reports, lambda: len(fleet.charge_points))
    online = OnlineVerdict(environment, runner, fleet.online)
    environment.events.test_start.add_listener(lambda **_: fleet.configure())
    environment.events.test_stopping.add_listener(lambda **_: online.note())
    fleet.storms = Storms(environment, runner, fleet.reports, fleet.bystanders, fleet.planned_storms)
    if not isinstance(runner, WorkerRunner):
        wanted = _wanted(environment)
        if getattr(environment.shape_class, "judges_each_load", False):
            # By the SLOs, too: what was too much on purpose must not fail the run.
            fleet.load_judge = SloJudge(wanted.slos, fleet.recorder.timeline) if wanted.slos else None
            wanted = replace(wanted, slos=())
        fleet.generator_trouble = lambda: "; ".join(fleet.health.generators.reasons()) or None
        judge = Judge(environment, wanted, fleet.recorder, fleet.reports, fleet.incidents, online)
        judge.sections |= {
            "calls": fleet.calls.as_dict,
            "fleet": lambda: online.last,
            "generators": fleet.health.section,
            "storms": fleet.storms.section,
        }
        judge.reasons += [fleet.health.reasons, fleet.storms.reasons]
        judge.lag = fleet.health.lag
        fleet.judge = judge
    environment.events.test_stop.add_listener(lambda **_: fleet.pool.close())
    environment.events.usage_monitor.add_listener(lambda **_: fleet.lifecycle.flush(time.monotonic()))
    environment.events.quit.add_listener(lambda **_: fleet.lifecycle.flush(time.monotonic(), final=True))
    if web_ui is not None:
        _guard_form(web_ui)
        add_tab(web_ui, "generators", "Generators", COLUMNS, fleet.health.table)
        add_storm_page(web_ui, fleet.storms)


def _interrupt() -> None:
    """Raise KeyboardInterrupt where Locust waits for it, as SIGINT does by itself.

    By itself, it is raised in whatever code happens to run: with a fleet, in the greenlet of some
    charge point, which dies with a traceback instead of closing its connection.
    """
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def _apply_defaults(environment: Environment) -> None:
    options = environment.parsed_options
    assert options is not None
    if options.spawn_rate is None:
        options.spawn_rate = DEFAULT_SPAWN_RATE
    # A fleet of so many charge points stays one of so many, whatever becomes of a worker.
    options.enable_rebalancing = True
    # Locust gives the environment's host to every user class: not over one that has its own.
    if environment.host is None and not any(each.host for each in environment.user_classes):
        environment.host = options.host = central_system_url(options)


def _check(environment: Environment, fleet: Fleet) -> None:
    """Find what is wrong with the options before the first connection."""
    options = environment.parsed_options
    assert options is not None
    try:
        size = fleet.populations.size
        if options.num_users is None:
            # The counts of a fleet file say how many there are, where nothing else does.
            counts = size if size is not None and options.concurrency_level == 1 else None
            options.num_users = counts or options.concurrency_level
        _check_credentials(environment, fleet)
        fleet.planned_storms()
        _check_arrivals(environment, fleet)
    except (InvalidFleetFile, InvalidOption, InvalidStorm) as error:
        exit_for(f"{error}")
    classes = [each for each in environment.user_classes if hasattr(each, "charge_point")]
    hosts = {each.host: f"the host of {each.__name__}" for each in classes}
    if environment.host is not None:
        hosts = {environment.host: "--host"}
    for host, whose in hosts.items():
        try:
            fleet.check(host)
        except InvalidEndpoint as error:
            exit_for(f"{whose}: {error}")
        except InvalidOption as error:
            exit_for(f"{error}")


def _check_arrivals(environment: Environment, fleet: Fleet) -> None:
    """Find out whether there can be the arrivals that the options ask for; let charge points come as they say.

    Raises:
        InvalidOption: there cannot.
    """
    if fleet.open_load.check() is None or not fleet.open_load.is_of_charge_points:
        return
    if environment.shape_class is None:
        environment.shape_class = ChargePointArrivals()
        environment.shape_class.runner = environment.runner
    elif not isinstance(environment.shape_class, ChargePointArrivals):
        raise InvalidOption(
            "--arrivals-of charge-points: the locustfile has a load shape of its own, which says how many there are"
        )


def _wanted(environment: Environment) -> Wanted:
    assert environment.parsed_options is not None
    try:
        return Wanted.from_options(environment.parsed_options)
    except InvalidOption as error:
        exit_for(f"{error}")


def _check_credentials(environment: Environment, fleet: Fleet) -> None:
    """Find out whether the charge points have the credentials that a fleet file speaks of.

    Raises:
        InvalidFleetFile: one has not.
    """
    source = fleet.fleet_source()
    options = environment.parsed_options
    if source is None or options is None:
        return
    # How many charge points there will be is not said where other users come with them, or a shape decides.
    is_known = environment.shape_class is None and all(
        hasattr(each, "charge_point") for each in environment.user_classes
    )
    users = options.num_users if is_known else None
    check_lists(fleet.populations, source.name, users)
    if isinstance(environment.runner, MasterRunner) and not options.processes:
        return  # its workers' disks are others
    read = check_paths(fleet.populations, source.name, users)
    if read is not None:
        logger.warning(
            "%s: %d certificates were read before the start, as many as %g s suffice for; "
            "the others are read when their charge points start", source.name, read, READS_FOR,
        )  # fmt: skip


def _guard_form(web_ui: Any) -> None:  # noqa: ANN401
    from flask import Response, jsonify, request  # noqa: PLC0415  only a master or a single process has it

    @web_ui.app.before_request  # type: ignore[untyped-decorator]
    def check_swarm_form() -> Response | None:
        if request.method != "POST" or not request.path.endswith("/swarm"):
            return None
        wrong = check_form(
            request.form.to_dict(), web_ui.environment.parsed_options, fleet_of(web_ui.environment).fleet_source()
        )
        if wrong is None:
            return None
        return jsonify({"success": False, "message": wrong, "host": web_ui.environment.host})


events.init_command_line_parser.add_listener(_on_init_command_line_parser)
events.init.add_listener(_on_init)
