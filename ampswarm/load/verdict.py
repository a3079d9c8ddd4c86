"""What a run comes to: SLOs, whether its numbers can be trusted, the exit status, and the files that say so."""

from __future__ import annotations

import argparse
import logging
import platform
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import gevent
import locust.log
from gevent.lock import RLock
from locust.argument_parser import get_parser
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import StatsError

from ampswarm.load.options import InvalidOption
from ampswarm.results.doubt import doubt
from ampswarm.results.histogram import Histogram
from ampswarm.results.html import to_html
from ampswarm.results.junit import to_junit
from ampswarm.results.markdown import to_markdown
from ampswarm.results.report import Finding, Report, Status, Verdict, build, write_whole
from ampswarm.results.slo import InvalidSlo, Outcome, Slo, judge, parse_slos

if TYPE_CHECKING:
    from locust.env import Environment

    from ampswarm.load.incidents import Incidents
    from ampswarm.load.online_verdict import OnlineVerdict
    from ampswarm.load.recorder import Recorder
    from ampswarm.load.reports import Reports
    from ampswarm.load.storm_spec import Storm

logger: Final = logging.getLogger("ampswarm")

EXIT_MISSED: Final = 3
EXIT_INVALID: Final = 4
_SECRETS: Final = ("auth", "bearer", "credential", "key", "login", "pass", "pwd", "secret", "token")
"""What the name of an option has in it whose value nobody else should see."""
_NAMED: Final = "|".join((*_SECRETS, "cookie"))
_IN_URLS: Final = (
    # A user and a password, and what is called so in a query.
    (re.compile(r"(?<=://)[^/?#\s]*@"), ""),
    (re.compile(rf"(?i)([?&;][^=&#\s]*(?:{_NAMED})[^=&#\s]*=)[^&#\s]+"), r"\1…"),
)
_IN_TEXTS: Final = (
    # A header, or what is made like one.
    (re.compile(rf"(?i)\b([\w-]*(?:{_NAMED})[\w-]*\s*[:=]\s*).+"), r"\1…"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+).+"), r"\1…"),
)
"""What is taken for a secret within a value, whatever option has it, and what is written instead."""
_MASTER_PORT: Final = 5557
"""Where workers look for a master if they are not told."""
_SIMPLE: Final = (str, int, float, bool, list)
_NOT_REPEATED: Final = frozenset({"enable_rebalancing", "locustfile", "only_summary"})
"""Options that a command line has in another way, or that were set by what ran."""
_OF_PROCESSES: Final = frozenset({"expect_workers", "master", "worker"})
"""Options that Locust sets itself where it was given `--processes`, and takes from nobody else then."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options ask for."""

    slos: tuple[Slo, ...]
    files: Mapping[str, Path]
    """`report_json`, `report_html`, `junit_xml` and `summary_md`, those that are wanted."""

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> Wanted:
        """Return it.

        Raises:
            InvalidOption: an SLO is none, or a file cannot be read or written.
        """
        slos: list[Slo] = []
        for text in options.slo or ():
            slos += _parsed(text.replace(";", "\n"), "--slo")
        if options.slo_file:
            try:
                text = Path(options.slo_file).read_text()
            except (OSError, UnicodeError) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or "is no text"
                raise InvalidOption(f"--slo-file {options.slo_file}: {why}") from None
            found = _parsed(text, options.slo_file)
            if not found:
                raise InvalidOption(f"--slo-file {options.slo_file}: there is no SLO in it")
            slos += found
        names = ("report_json", "report_html", "junit_xml", "summary_md")
        files = {name: Path(getattr(options, name)) for name in names if getattr(options, name)}
        for name, path in files.items():
            _check_writable(f"{_flag(name)} {path}", path)
        for (one, path), (other, same) in combinations(files.items(), 2):
            if path.resolve() == same.resolve() and not _is_device(path):
                raise InvalidOption(f"{_flag(one)} and {_flag(other)}: both are {path}")
        return cls(tuple(slos), files)


def _parsed(text: str, where: str) -> list[Slo]:
    try:
        return parse_slos(text, "" if where == "--slo" else where)
    except InvalidSlo as error:
        raise InvalidOption(f"{where}: {error}" if where == "--slo" else f"--slo-file {error}") from None


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _check_writable(what: str, path: Path) -> None:
    if path.is_dir():
        raise InvalidOption(f"{what}: is a folder")
    if _is_device(path):
        return  # whether a pipe has a reader is seen when it is written to
    path = path.resolve()
    try:
        # Where the file will be, and as it will be written.
        probe = path.with_name(f".{path.name}.probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidOption(f"{what}: {error.strerror}") from None


class Judge:
    """Judges each test once all its numbers are there, and decides the exit status.

    Args:
        environment: Locust's, with its runner.
        wanted: SLOs and files.
        recorder: has the samples.
        reports: brings them together.
        incidents: what happened.
        online: what `--require-online` comes to.
    """

    def __init__(
        self,
        environment: Environment,
        wanted: Wanted,
        recorder: Recorder,
        reports: Reports,
        incidents: Incidents,
        online: OnlineVerdict,
    ) -> None:
        self._environment = environment
        self._wanted = wanted
        self._recorder = recorder
        self._reports = reports
        self._incidents = incidents
        self._online = online
        self._lock = RLock()
        self._is_judged = True
        self._has_set_status = False
        self._written = 0
        self._began = self._ended = time.time()
        self._seconds = 0.0
        self._size = 0
        self._workers = 0
        self.reasons: list[Callable[[], list[str]]] = [self._silent]
        """Return why the numbers of this test cannot be trusted."""
        self.lag: Callable[[float, float], Histogram] = lambda _after, _before: Histogram()
        """Return how late the generators' loops were between two times of this test, in milliseconds."""
        self.find: Callable[[], Finding | None] = lambda: None
        """Return what the scenario itself makes of this test."""
        self.storms_by_hand: Callable[[], Iterable[Storm]] = lambda: ()
        """Return all storms of this test, with when, if somebody has begun one that was not planned."""
        self.sections: dict[str, Callable[[], Any]] = {"events": incidents.as_list}
        """Return what else the report has, by name; nothing is written of what is empty."""
        self.report: Report | None = None
        """Of the last test that was judged."""
        listen = environment.events
        listen.test_start.add_listener(lambda **_: self._begin())
        listen.test_stopping.add_listener(lambda **_: self._end())
        listen.test_stop.add_listener(lambda **_: gevent.spawn(self.conclude))
        listen.quitting.add_listener(lambda **_: self.conclude())

    @property
    def slos(self) -> tuple[Slo, ...]:
        """What the run has to hold."""
        return self._wanted.slos

    @property
    def began(self) -> float:
        """When the last test began, in seconds since 1970."""
        return self._began

    def _begin(self) -> None:
        self._is_judged = False
        self._began = time.time()

    def _end(self) -> None:
        self._ended = time.time()
        self._seconds = self._recorder.elapsed
        runner: Any = self._environment.runner
        self._size = runner.target_user_count
        self._workers = runner.worker_count if isinstance(runner, MasterRunner) else 1

    def conclude(self) -> None:
        """Wait until all is there, judge, write the files; once for each test, and nothing on a worker."""
        if isinstance(self._environment.runner, WorkerRunner):
            return
        with self._lock:
            self._reports.finish()
            self._online.decide()
            if self._is_judged:
                if self.report is None:
                    self._without_a_test()
                return
            self._is_judged = True
            verdict = self._judge()
            status = self._exit_status(verdict)
            self._exit_with(status)
            self.report = self._build(verdict, status)
            self._write(self.report)

    def _without_a_test(self) -> None:
        if self._wanted.slos:
            logger.error("no test was run: no SLO can have held")
        self._exit_with(EXIT_MISSED if self._wanted.slos else self._online.exit_status)

    def _exit_with(self, status: int | None) -> None:
        # Of the last test; and not over what a scenario's own code has set.
        if status is not None or self._has_set_status:
            self._environment.process_exit_code = status
            self._has_set_status = status is not None

    def _silent(self) -> list[str]:
        return [f"worker {each}: its last report did not come" for each in self._reports.silent]

    def _judge(self) -> Verdict:
        judgements = [judge(each, self._recorder.timeline, self._seconds) for each in self._wanted.slos]
        doubts = [doubt(each, self.lag(each.slo.after, each.slo.before)) for each in judgements]
        for each in filter(None, doubts):
            logger.error("the run is invalid: %s", each)
        if since := self._recorder.timeline.since:
            logger.warning("the statistics were reset %.0f s into the test: what was before is not judged", since)
        reasons = [reason for source in self.reasons for reason in source()]
        verdict = Verdict(judgements, [*reasons, *filter(None, doubts)], self.find())
        for judgement in judgements:
            level = logging.INFO if judgement.outcome is Outcome.HELD else logging.ERROR
            logger.log(level, "SLO %s", judgement)
        if verdict.status is not Status.NONE:
            level = logging.INFO if verdict.status is Status.PASSED else logging.ERROR
            # Each was a line of its own when it happened.
            why = f": {'; '.join(verdict.invalid)}" if verdict.invalid else ""
            logger.log(level, "verdict: %s%s", verdict.status, why)
        return verdict

    def _exit_status(self, verdict: Verdict) -> int | None:
        match verdict.status:
            case Status.INVALID:
                return EXIT_INVALID
            case Status.MISSED:
                return EXIT_MISSED
            case Status.PASSED:
                # A request that failed is what the SLOs make of it, and not Locust's own status 1. A scenario that
                # raised is broken, whatever it measured: that is Locust's to say, and so no status of ours.
                return self._online.exit_status or (None if self._has_raised() else 0)
        return self._online.exit_status

    def _has_raised(self) -> bool:
        runner: Any = self._environment.runner
        return bool(runner.exceptions) or locust.log.unhandled_greenlet_exception

    def _build(self, verdict: Verdict, status: int | None) -> Report:
        environment = self._environment
        errors = [
            (each.method, each.name, StatsError.parse_error(each.error), each.occurrences)
            for each in environment.stats.errors.values()
        ]
        sections = {name: source() for name, source in self.sections.items()}
        return build(
            run={
                "began": _iso(self._began),
                "ended": _iso(self._ended),
                "seconds": round(self._seconds, 3),
                "scenario": environment.locustfile or "",
                "host": _without_secrets(environment.host) if environment.host else None,
                "charge_points": self._size,
                "workers": self._workers,
                "versions": {
                    "ampswarm": version("ampswarm"),
                    "locust": locust.__version__,
                    "python": platform.python_version(),
                    "system": f"{platform.system()} {platform.release()} {platform.machine()}",
                },
                "options": _public(environment.parsed_options),
                **self._command(),
                **({"statistics_since": round(since, 3)} if (since := self._recorder.timeline.since) else {}),
            },
            verdict=verdict,
            exit_status=status,
            timeline=self._recorder.timeline,
            errors=errors,
            sections={name: section for name, section in sections.items() if section},
        )

    def _command(self) -> dict[str, str]:
        """Return command lines that would run it again: of a test from the web UI, as long and as large a one."""
        environment = self._environment
        options = environment.parsed_options
        if options is None:
            return {}
        runs = argparse.Namespace(**vars(options))
        if not options.headless:
            runs.autostart = True
            runs.run_time = options.run_time or max(1, round(self._seconds))
        storms = [f"{each}" for each in self.storms_by_hand()]
        if storms:
            runs.storm = storms
        found = {"command": _command(environment, runs)}
        if isinstance(environment.runner, MasterRunner) and not options.processes:
            host = options.master_bind_host if options.master_bind_host != "*" else "MASTER"
            parts = ["locust", "-f", *_locustfiles(environment), "--worker", "--master-host", host]
            if options.master_bind_port != _MASTER_PORT:
                parts += ["--master-port", str(options.master_bind_port)]
            found["worker_command"] = shlex.join(parts)
        return found

    def _write(self, report: Report) -> None:
        writers: dict[str, Callable[[Path], None]] = {
            "report_json": report.save,
            "report_html": lambda path: write_whole(path, to_html(report)),
            "junit_xml": lambda path: write_whole(path, to_junit(report)),
            "summary_md": lambda path: write_whole(path, to_markdown(report).encode()),
        }
        self._written += 1
        for name, wanted in self._wanted.files.items():
            path = wanted
            if self._written > 1 and not _is_device(path):
                # The file of the first test of the process stays what it is.
                path = wanted.with_stem(f"{wanted.stem}-{self._written}")
                logger.info("%s of this test: %s", _flag(name), path)
            try:
                writers[name](path)
            except OSError as error:
                logger.error("%s %s: %s", _flag(name), path, error.strerror)
                # Whoever waits for it must not take the run for one that has said all.
                self._exit_with(self._environment.process_exit_code or 1)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _locustfiles(environment: Environment) -> list[str]:
    return environment.parsed_locustfiles or [environment.locustfile or "locustfile.py"]


def _command(environment: Environment, options: argparse.Namespace) -> str:
    """Return a command line that would run it again: what is not as it is by default, without secrets."""
    parts = ["locust", "-f", *_locustfiles(environment)]
    public = _public(options)
    # In front: an option that takes several values would take them too.
    parts += public.get("user_classes") or []
    left_out = _NOT_REPEATED | (_OF_PROCESSES if public.get("processes") else frozenset())
    for action in get_parser()._actions:  # noqa: SLF001  as in `_public`
        value = public.get(action.dest)
        if not action.option_strings or action.dest in left_out or value in (None, "", [], action.default):
            continue
        if action.dest == "stop_timeout" and not value:
            continue  # Locust makes 0 of none
        flag = max(action.option_strings, key=len)
        if action.nargs == 0:
            parts.append(flag)
        elif isinstance(value, list) and action.nargs in ("*", "+"):
            parts += [flag, *map(str, value)]
        elif isinstance(value, list):
            parts += [text for each in value for text in (flag, str(each))]
        else:
            parts += [flag, str(value)]
    return shlex.join(parts)


def _without_secrets(value: Any) -> Any:  # noqa: ANN401  of any option
    if isinstance(value, list):
        return [_without_secrets(each) for each in value]
    if isinstance(value, str):
        for pattern, instead in _IN_URLS if "://" in value else _IN_TEXTS:
            value = pattern.sub(instead, value)
    return value


def _public(options: argparse.Namespace | None) -> dict[str, Any]:
    """Return the options whose values anybody may see."""
    if options is None:
        return {}
    # What a scenario has marked as such, among its own options.
    actions = get_parser()._actions  # noqa: SLF001  it has a list of those in the web UI only
    secret = {each.dest for each in actions if getattr(each, "is_secret", False)}
    return {
        name: _without_secrets(value)
        for name, value in sorted(vars(options).items())
        if (value is None or isinstance(value, _SIMPLE))
        and name not in secret
        and not any(each in name for each in _SECRETS)
    }
