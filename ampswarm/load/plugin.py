"""What ties a fleet to Locust: its options, what is checked before the start, and who does what in a test's life."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from ampswarm.capacity.slos import SloJudge
from ampswarm.load.chaos_watch import ChaosWatch
from ampswarm.load.equipment import READS_FOR, check_lists, check_paths
from ampswarm.load.fleet import Fleet, fleet_of
from ampswarm.load.fleet_census import FleetCensus
from ampswarm.load.fleet_file import InvalidFleetFile
from ampswarm.load.fleet_page import add_fleet_page
from ampswarm.load.fleet_source import FleetInquiry, FleetOffice
from ampswarm.load.generator_health import COLUMNS, GeneratorHealth
from ampswarm.load.identities import IdentityPool, LeasedPool, Lessor, LocalPool
from ampswarm.load.ledger_section import LedgerSection
from ampswarm.load.live_page import add_live_page
from ampswarm.load.loop_care import mend_locust
from ampswarm.load.online_verdict import OnlineVerdict
from ampswarm.load.options import DEFAULT_SPAWN_RATE, InvalidOption, add_options, central_system_url, check_form
from ampswarm.load.paths import is_own, read_addresses
from ampswarm.load.precise_statistics import install as keep_three_digits
from ampswarm.load.progress import Progress
from ampswarm.load.reports import name_of
from ampswarm.load.shapes import ChargePointArrivals
from ampswarm.load.standing import Standing
from ampswarm.load.storm_requests import add_storm_requests
from ampswarm.load.storm_spec import InvalidStorm
from ampswarm.load.storms import Storms
from ampswarm.load.verdict import Judge, Wanted
from ampswarm.load.web_login import add_login
from ampswarm.load.web_pages import add_to_main_page
from ampswarm.load.web_tabs import add_tab
from ampswarm.load.workers import WorkerWatch, answer_probes, end_without_a_master
from ampswarm.ocppj.identity import InvalidEndpoint
from ampswarm.page import asset

if TYPE_CHECKING:
    from locust.env import Environment

logger: Final = logging.getLogger("ampswarm")


def exit_for(message: str) -> NoReturn:
    """End the process for a mistake of the user: one line, status 2."""
    sys.stderr.write(f"locust: error: {message}\n")
    sys.exit(2)


def _on_init_command_line_parser(parser: Any, **_: object) -> None:  # noqa: ANN401
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        # The kernel ends process 1 by no signal that it does not handle: a container that still waits for its workers,
        # or its master, would be killed in the end. Locust has a handler of its own, later.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    add_options(parser)


def _on_init(environment: Environment, runner: Any, web_ui: Any, **_: object) -> None:  # noqa: ANN401
    mend_locust()
    keep_three_digits()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        gevent.signal_handler(signal.SIGINT, _interrupt)
    _apply_defaults(environment)
    fleet = _make_fleet(environment, runner)
    _watch(fleet, runner)
    online = OnlineVerdict(environment, runner, fleet.online)
    environment.events.test_start.add_listener(lambda **_: fleet.configure())
    environment.events.test_stopping.add_listener(lambda **_: online.note())
    fleet.storms = Storms(environment, runner, fleet.reports, fleet.bystanders, fleet.planned_storms)
    if not isinstance(runner, WorkerRunner):
        fleet.generator_trouble = lambda: "; ".join(fleet.health.generators.reasons()) or None
        fleet.judge = judge = _make_judge(fleet, online)
        _note_sizes(fleet)
        standing = Standing(fleet.recorder, judge.slos)
        _show_progress(fleet, standing)
        _expose(fleet, standing)
        watch = ChaosWatch(environment, fleet.incidents)
        if web_ui is not None:
            _add_to(web_ui, fleet, standing, watch)
    environment.events.test_stop.add_listener(lambda **_: fleet.pool.close())
    environment.events.usage_monitor.add_listener(lambda **_: fleet.lifecycle.flush(time.monotonic()))
    environment.events.quit.add_listener(lambda **_: fleet.lifecycle.flush(time.monotonic(), final=True))


def _note_sizes(fleet: Fleet) -> None:
    """Note when a fleet gets another size in the middle of a test, but not what a shape does all the time."""
    environment, sizes = fleet.environment, list[int]()

    def note(user_count: int, **_: object) -> None:
        if sizes and sizes[-1] != user_count and environment.shape_class is None:
            fleet.incidents.note("another fleet size", users=user_count, before=sizes[-1])
        sizes.append(user_count)

    environment.events.test_start.add_listener(lambda **_: sizes.clear())
    environment.events.spawning_complete.add_listener(note)


def _show_progress(fleet: Fleet, standing: Standing) -> None:
    """Tell on the terminal how a headless run goes on, instead of Locust's tables if nobody asked for those."""
    options = fleet.environment.parsed_options
    assert options is not None
    if not options.headless or options.progress == "tables":
        return
    # Locust looks at it only when all listeners have been called.
    options.only_summary = True
    if options.progress == "line":
        Progress(fleet, standing)


def _expose(fleet: Fleet, standing: Standing) -> None:
    """Let Prometheus ask, if it is to."""
    options = fleet.environment.parsed_options
    assert options is not None
    if options.metrics_port:
        # Here: most have no Prometheus.
        from ampswarm.load.exposition import expose  # noqa: PLC0415

        try:
            expose(fleet, standing, options.metrics_host, options.metrics_port)
        except OSError as error:
            exit_for(f"--metrics-port {options.metrics_port}: {error.strerror or error}")


def _add_to(web_ui: Any, fleet: Fleet, standing: Standing, watch: ChaosWatch) -> None:  # noqa: ANN401
    """Add what is ours to Locust's web UI."""
    options = fleet.environment.parsed_options
    assert options is not None
    if options.ui_password:
        add_login(web_ui, options.ui_password)
        # Workers get the options, and have no use for it.
        options.ui_password = ""
    _guard_form(web_ui)
    add_fleet_page(web_ui, fleet.census, fleet.health)
    add_tab(web_ui, "generators", "Generators", COLUMNS, fleet.health.table)
    add_storm_requests(web_ui, fleet.storms)
    add_live_page(web_ui, fleet, standing, watch)
    buttons = {"live": ("Live", "#0b6e5f"), "live#storm": ("Storm", "#b3261e")}
    add_to_main_page(web_ui, buttons, asset("tables.js"))


def _make_fleet(environment: Environment, runner: Any) -> Fleet:  # noqa: ANN401
    """Return the fleet of a process of any kind, whose options hold."""
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
            end_without_a_master(runner)
        case _:
            pool = LocalPool()
    fleet = Fleet(environment, pool, inquiry)
    fleet.own_sources = _own_sources(environment, runner)
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
    return fleet


def _own_sources(environment: Environment, runner: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the addresses that this process was told to connect from, all of which it has."""
    options = environment.parsed_options
    assert options is not None
    if isinstance(runner, MasterRunner):
        return ()
    addresses = read_addresses(options.source_addresses)
    foreign = [each for each in addresses if not is_own(each)]
    if foreign:
        exit_for(f"--source-addresses: {foreign[0]} is not an address of this host")
    return addresses


def _watch(fleet: Fleet, runner: Any) -> None:  # noqa: ANN401
    """Watch how the generator is, and what its charge points are at."""
    fleet.health = GeneratorHealth(fleet.environment, runner, fleet.reports, lambda: len(fleet.charge_points))
    fleet.census = FleetCensus(
        fleet.environment,
        fleet.reports,
        charge_points=fleet.charge_points,
        connects=fleet.connects,
        commands=lambda: sum(fleet.measurements.commands.values()),
        name=lambda process: name_of(process, runner),
        elapsed=lambda: fleet.recorder.time,
        more=fleet.health.highest,
    )


def _make_judge(fleet: Fleet, online: OnlineVerdict) -> Judge:
    """Return what judges the whole run."""
    environment = fleet.environment
    wanted = _wanted(environment)
    if getattr(environment.shape_class, "judges_each_load", False):
        # By the SLOs, too: what was too much on purpose must not fail the run.
        fleet.load_judge = SloJudge(wanted.slos, fleet.recorder.timeline) if wanted.slos else None
        in_time = next((each.text for each in wanted.slos if each.after or each.before < float("inf")), None)
        if in_time is not None:
            exit_for(f"--slo: {in_time!r}: a search judges each load in its own time: neither after nor before")
        wanted = replace(wanted, slos=())
    judge = Judge(environment, wanted, fleet.recorder, fleet.reports, fleet.incidents, online)
    ledger = LedgerSection(environment)
    judge.sections |= {
        "calls": fleet.calls.as_dict,
        "fleet": lambda: online.last,
        "fleet_history": fleet.census.whole_history,
        "ledger": lambda: ledger.of_run(judge.began),
        "generators": fleet.health.section,
        "storms": fleet.storms.section,
    }
    judge.storms_by_hand = fleet.storms.by_hand
    judge.reasons += [fleet.health.reasons, fleet.storms.reasons]
    judge.lag = fleet.health.lag
    return judge


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
