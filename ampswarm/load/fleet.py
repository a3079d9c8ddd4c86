"""What the charge points of one process share."""

from __future__ import annotations

import logging
import random
import secrets
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.security import MAX_PROFILE, Security
from ampswarm.lifecycle import LifecycleLog
from ampswarm.load.bystanders import Bystanders
from ampswarm.load.call_counts import CallCounts
from ampswarm.load.credentials import UNUSABLE, TlsContexts, Unlisted, check_scheme, read_credential, read_roots
from ampswarm.load.drivers import day_offset
from ampswarm.load.fleet_census import ConnectCounts, FleetCensus
from ampswarm.load.fleet_file import FleetSource, InvalidFleetFile, read_fleet_file
from ampswarm.load.fleet_source import FleetInquiry
from ampswarm.load.generator_health import GeneratorHealth
from ampswarm.load.identities import IdentityPool
from ampswarm.load.incidents import Incidents
from ampswarm.load.measurements import Measurements
from ampswarm.load.open_load import OpenLoad
from ampswarm.load.options import (
    InvalidOption,
    Settings,
    central_system_url,
)
from ampswarm.load.paths import Paths
from ampswarm.load.population import FleetFile, Population
from ampswarm.load.recorder import Recorder
from ampswarm.load.reports import Reports
from ampswarm.load.socket_census import CENSUS
from ampswarm.load.storm_spec import Storm, parse_storm, parse_storms
from ampswarm.load.storms import Storms
from ampswarm.load.transport import ConnectFailed, Connection, Connector, Measured, Resolver
from ampswarm.load.verdict import Judge
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
_LINES: Final = 5
_LINES_SECONDS: Final = 10.0
"""So many lines of each kind of event, in so many seconds: the first charge points are seen, and the line that tells
of the progress is not lost among them."""


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
        self._told_faults: set[str] = set()
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
        self.recorder.was_reset = lambda: self.incidents.note("statistics reset")
        self.measurements = Measurements(environment.events.request, self.recorder)
        self.unique_ids = UniqueIds(secrets.token_hex(8))
        self.calls = CallCounts(self.unique_ids, self.measurements, self.reports)
        self.random = random.Random(secrets.randbits(64))  # noqa: S311  jitter, not secrets
        self.lifecycle = LifecycleLog(None)
        self.charge_points: set[ChargePoint] = set()
        self.connects = ConnectCounts()
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
        self.own_sources: tuple[str, ...] = ()
        """Of `--source-addresses`, those of this process, whatever the master's are."""
        self._resolver = Resolver()
        self._endpoints: dict[str, Endpoint] = {}
        self._connector: Connector | None = None
        self._settings: Settings | None = None
        self.health: GeneratorHealth
        """How this process, or all of them, are; there once Locust has begun."""
        self.census: FleetCensus
        """What its charge points are at, or those of all processes; there once Locust has begun."""
        # Not the same for all workers: their charge points would start in the same instants.
        self._spread = self.random.random()

    @property
    def settings(self) -> Settings:
        """What the options of this run come to."""
        if self._settings is None:
            assert self.environment.parsed_options is not None
            self._settings = Settings.from_options(self.environment.parsed_options)
            self.lifecycle = LifecycleLog(_log if self._settings.log_lifecycle else None, _LINES, _LINES_SECONDS)
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
            sources = self.own_sources or settings.source_addresses
            CENSUS.source_addresses = max(1, len(sources))
            self._connector = Connector(
                self._resolver,
                TlsContexts(settings.tls_context),
                settings.handshake_timeout,
                Paths(sources, settings.target_ports),
            )
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

    def tell_fault(self, where: str, fault: Exception) -> None:
        """Log that code of the scenario raised, with its traceback: each kind of fault once."""
        kind = f"{where} {type(fault).__name__}"
        if kind not in self._told_faults:
            self._told_faults.add(kind)
            logger.error("%s of the scenario raised; told once, counted each time", where, exc_info=fault)

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
        if self.settings.storms is not None:
            return self.settings.storms
        # Of the class that has them: those that inherit them have no others.
        owners = dict.fromkeys(
            base for each in self.environment.user_classes
            for base in islice((base for base in each.__mro__ if "storms" in vars(base)), 1)
        )  # fmt: skip
        return tuple(storm for owner in owners for text in vars(owner)["storms"] for storm in parse_storms(text))

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
