"""The pipelines of docs/how-to/ci: their shell, run as GitHub and GitLab run it, against a real central system.

Nothing of the files is changed. Left out is what installs Ampswarm; what is done by actions, and by GitLab itself (the
checkout, the cache, the artifacts), is done here in their place.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from ampswarm.results.report import Status, load
from tests.processes import ROOT, CentralSystem, clean_environment

CI = ROOT / "docs" / "how-to" / "ci"
GITHUB: dict[Any, Any] = yaml.safe_load((CI / "github-actions.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((CI / "gitlab-ci.yml").read_text())
STEPS: list[dict[str, Any]] = GITHUB["jobs"]["load"]["steps"]
SCRIPT: list[str] = [*GITLAB["load"]["before_script"], *GITLAB["load"]["script"]]
INSTALL = "pip install"
RUN = "locust -f"
BASELINE = "baseline/report.json"
SIZES = {"CHARGE_POINTS": "20", "SPAWN_RATE": "20", "RUN_TIME": "5s"}
"""What a team would set as variables; the rest is as the files have it."""
SECRETS = {"FLEET_PASSWORDS", "FLEET_KEY"}
SLOW = {"delays": [{"seconds": 3}]}
"""Chaos of the central system: far above the SLOs, and above what the generator itself may be late by."""
FLEET = """
[[populations]]
name = "staging"
[populations.security]
profile = 1
passwords = "passwords.csv"
"""
PASSWORDS = "identity,password\n" + "".join(f"CP{each:06d},pw-{each:06d}-0123456789\n" for each in range(1, 21))
TIMEOUT = 60


@dataclass(frozen=True)
class Job:
    """How a job ended, in a folder of its own."""

    status: int
    """Of its first step that failed, or of its script."""
    output: str
    summary: str
    """What GitHub shows on the page of the run; empty for GitLab."""
    artifacts: Sequence[str]
    """Those files of its artifacts that are there in the end."""
    folder: Path
    baseline: bool
    """Whether its report is kept for later runs."""


class Runs(NamedTuple):
    """Of one pipeline."""

    main: Job
    """On the main branch, for the first time."""
    change: Job
    """On a branch that made the central system slow."""


# -- as GitHub does it ------------------------------------------------------------------------------


def evaluate(expression: str, context: Mapping[str, str]) -> str:
    """Return what an expression comes to: of `||`, `&&`, `==`, `!`, names and texts; empty is false."""
    value = ""
    for alternative in expression.split("||"):
        for term in alternative.split("&&"):
            value = _term(term.strip(), context)
            if not value:
                break
        if value:
            break
    return value


def _term(term: str, context: Mapping[str, str]) -> str:
    if "==" in term:
        one, other = (_term(each.strip(), context) for each in term.split("=="))
        return "true" if one == other else ""
    if term.startswith("!"):
        return "" if _term(term[1:], context) else "true"
    if term.startswith("'"):
        assert term.endswith("'")
        return term[1:-1]
    assert re.fullmatch(r"(vars|secrets|inputs|github|steps|env|runner)\.[\w.]+|\w+\(\)", term), term
    return context.get(term, "")


def filled(text: str, context: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ (.*?) }}", lambda found: evaluate(found[1], context), text)


def condition(step: Mapping[str, Any]) -> str:
    found = re.fullmatch(r"\$\{\{ (.*) }}", step.get("if", "${{ success() }}"))
    assert found is not None, step
    # Where nothing is asked of what went before, it must have gone well.
    is_asked = re.search(r"(success|failure|always|cancelled)\(\)", found[1])
    return found[1] if is_asked else f"success() && {found[1]}"


def variables(given: Mapping[str, str], context: Mapping[str, str]) -> dict[str, str]:
    return {name: filled(text, context) for name, text in given.items()}


def github(folder: Path, settings: Mapping[str, str], *, branch: str, leave_out: str = "") -> Job:
    """Run the steps of the job, each in a shell of its own.

    Args:
        folder: the checkout.
        settings: variables and secrets of the repository.
        branch: which one it is of.
        leave_out: what a command has in it that is taken for done.
    """
    job = GITHUB["jobs"]["load"]
    event = {"github.ref": f"refs/heads/{branch}", "github.event_name": "push" if branch == "main" else "pull_request"}
    repository = {f"{'secrets' if name in SECRETS else 'vars'}.{name}": value for name, value in settings.items()}
    context = {**event, **repository}
    files = {
        name: folder.parent / f"{folder.name}-{name}" for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_OUTPUT")
    }
    for file in files.values():
        file.touch()
    env = {**environment(), **variables(job["env"], context), **{name: f"{file}" for name, file in files.items()}}
    status, output, artifacts, baseline = 0, "", [], False
    for step in STEPS:
        context |= {"always()": "true", "success()": "" if status else "true"}
        outcome = "skipped"
        if evaluate(condition(step), context):
            command, action = step.get("run", ""), step.get("uses", "")
            outcome = "success"
            if action.startswith("actions/upload-artifact@"):
                artifacts = [each for each in step["with"]["path"].split() if (folder / each).is_file()]
            elif action.startswith("actions/cache/save@"):
                baseline = (folder / step["with"]["path"]).is_file()
            elif command and INSTALL not in command and not (leave_out and leave_out in command):
                # What `shell: bash` stands for.
                shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command)
                done = run(shell, folder, {**env, **variables(step.get("env", {}), context)})
                output += done.stdout
                if done.returncode:
                    outcome, status = "failure", status or done.returncode
        if "id" in step:
            context[f"steps.{step['id']}.outcome"] = outcome
    # They are not used: what would be in them is passed on to no step here.
    assert not files["GITHUB_ENV"].read_text() + files["GITHUB_OUTPUT"].read_text()
    return Job(status, output, files["GITHUB_STEP_SUMMARY"].read_text(), artifacts, folder, baseline)


# -- as GitLab does it ------------------------------------------------------------------------------


def gitlab(folder: Path, settings: Mapping[str, str], *, branch: str, leave_out: str = "") -> Job:
    """Run the script of the job, all of it in one shell; the arguments are those of `github`."""
    job = GITLAB["load"]
    given = {name: each["value"] if isinstance(each, dict) else each for name, each in GITLAB["variables"].items()}
    # Of type File: the value is a path.
    secrets = {name: folder.parent / f"{folder.name}-{name}" for name in SECRETS & set(settings)}
    for name, file in secrets.items():
        file.write_text(settings[name])
    paths = {name: f"{file}" for name, file in secrets.items()}
    about = {"CI_DEFAULT_BRANCH": "main"} | ({"CI_COMMIT_BRANCH": branch} if branch == "main" else {})
    lines = [each for each in SCRIPT if INSTALL not in each and not (leave_out and leave_out in each)]
    # Between two of them, the runner shows what comes next: `$?` of the one before is gone.
    script = "\necho\n".join(["set -eo pipefail", *lines])
    done = run(("bash", "-c", script), folder, {**environment(), **given, **settings, **paths, **about})
    artifacts = [each for each in job["artifacts"]["paths"] if (folder / each).is_file()]
    baseline = branch == "main" and (folder / BASELINE).is_file()
    return Job(done.returncode, done.stdout, "", artifacts, folder, baseline)


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**clean_environment(), "PATH": path}


def run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False,
    )  # fmt: skip


# -- what both have run ------------------------------------------------------------------------------

PIPELINES: dict[str, Callable[..., Job]] = {"github": github, "gitlab": gitlab}


def checkout(folder: Path, baseline: Path | None = None) -> Path:
    """Make what a job begins with: the files of the repository, and what the cache had."""
    (folder / "load").mkdir(parents=True)
    shutil.copy(CI / "slo.txt", folder / "load" / "slo.txt")
    (folder / "load" / "fleet.toml").write_text(FLEET)
    if baseline is not None:
        (folder / BASELINE).parent.mkdir()
        shutil.copy(baseline, folder / BASELINE)
    return folder


def both_branches(pipeline: Callable[..., Job], folder: Path) -> Runs:
    """Run a pipeline on the main branch, and on one that made the central system slow."""
    folder.mkdir()
    (folder / "passwords.csv").write_text(PASSWORDS)
    hashes = folder / "passwords.txt"
    cheap = ("--memory-kib", "64", "--iterations", "1")
    subprocess.run(
        [sys.executable, "-m", "server.passwords", f"{folder / 'passwords.csv'}", "--output", f"{hashes}", *cheap],
        cwd=ROOT, env=clean_environment(), timeout=TIMEOUT, check=True,
    )  # fmt: skip
    with CentralSystem(folder / "cs.log", "--boot-interval", "1", "--password-file", f"{hashes}") as central_system:
        settings = {
            **SIZES, "STAGING_URL": central_system.url, "AMPSWARM_FLEET": "load/fleet.toml",
            "FLEET_PASSWORDS": PASSWORDS,
        }  # fmt: skip
        main = pipeline(checkout(folder / "main"), settings, branch="main")
        assert central_system.request("PUT", "/api/v1/chaos", SLOW)[0] == 200
        report = main.folder / BASELINE
        change = pipeline(checkout(folder / "change", report if report.is_file() else None), settings, branch="change")
    return Runs(main, change)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runs]:
    """What came of each pipeline; they run side by side, each with a central system of its own."""
    folder = tmp_path_factory.mktemp("pipelines")
    with ThreadPoolExecutor(len(PIPELINES)) as pool:
        futures = {name: pool.submit(both_branches, each, folder / name) for name, each in PIPELINES.items()}
        return {name: each.result() for name, each in futures.items()}


def written(name: str) -> set[str]:
    """Return the files that the commands of a pipeline write."""
    commands = "\n".join([step.get("run", "") for step in STEPS] if name == "github" else SCRIPT)
    return set(re.findall(r"--(?:report-json|report-html|junit-xml|summary-md) (\S+)", commands))


# -- the files themselves ----------------------------------------------------------------------------


def test_github_takes_the_workflow() -> None:
    """A step with neither or both of `run` and `uses`, or an action of any version, is refused or breaks some day."""
    # YAML 1.1 reads the key `on` as true.
    assert {"name", True, "permissions", "concurrency", "jobs"} == set(GITHUB)
    assert {"pull_request", "push", "schedule", "workflow_dispatch"} == set(GITHUB[True])
    job = GITHUB["jobs"]["load"]
    assert job["defaults"]["run"] == {"shell": "bash"}
    assert isinstance(job["timeout-minutes"], int)
    for step in STEPS:
        assert len({"run", "uses"} & set(step)) == 1, step
        assert {"name", "id", "if", "env", "run", "uses", "with"} >= set(step)
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"]), step
        # What comes from a branch's name or an input would be run as shell.
        assert "${{" not in step.get("run", "")
    (python,) = (step["with"] for step in STEPS if "setup-python" in step.get("uses", ""))
    assert python == {"python-version": "3.13"}


def test_gitlab_takes_the_pipeline() -> None:
    """A job without a script, of an unknown stage, or a line that YAML reads as something else than text is refused."""
    assert {"stages", "variables", "load"} == set(GITLAB)
    job = GITLAB["load"]
    assert job["stage"] in GITLAB["stages"]
    assert [each for each in SCRIPT if not isinstance(each, str)] == []
    assert all({"if", "variables"} == set(rule) for rule in job["rules"])
    assert {"pull", "pull-push"} == {rule["variables"]["BASELINE"] for rule in job["rules"]}
    assert job["retry"] == {"max": 1, "exit_codes": 4}
    assert "timeout" in job


def test_two_runs_do_not_load_staging_at_once() -> None:
    """Whatever branches they are of: a group with the branch in its name would let them."""
    assert GITHUB["concurrency"] == {"group": "load-on-staging", "cancel-in-progress": False}
    assert GITLAB["load"]["resource_group"] == "load-on-staging"


def test_each_pipeline_installs_ampswarm_by_one_line() -> None:
    """The only command that these tests do not run."""
    expected = ['python -m pip install "$AMPSWARM"']
    lines = [line.strip() for step in STEPS for line in step.get("run", "").splitlines()]
    assert expected == [line for line in lines if INSTALL in line]
    assert expected == [line for each in SCRIPT for line in each.splitlines() if INSTALL in line]


def test_the_artifacts_are_files_that_the_commands_write() -> None:
    """Another name, and the reports of a failed run would be gone."""
    (upload,) = (step for step in STEPS if "upload-artifact" in step.get("uses", ""))
    assert upload["if"] == "${{ always() }}"
    assert {"report.html", "report.json", "junit.xml"} == set(upload["with"]["path"].split())
    assert set(upload["with"]["path"].split()) <= written("github")
    artifacts = GITLAB["load"]["artifacts"]
    assert artifacts["when"] == "always"
    assert set(artifacts["paths"]) == written("gitlab")
    assert artifacts["reports"]["junit"] in artifacts["paths"]


def test_the_baseline_is_kept_where_it_is_looked_for() -> None:
    """GitHub finds a cache by its path and its key, GitLab by its key: each size of a run has its own."""
    restore, save = (step["with"] for step in STEPS if "actions/cache" in step.get("uses", ""))
    assert restore["path"] == save["path"] == BASELINE
    assert restore["key"] == save["key"]
    assert save["key"].startswith(restore["restore-keys"])
    cache = GITLAB["load"]["cache"]
    assert cache["paths"] == [BASELINE]
    assert (cache["when"], cache["policy"], cache["unprotect"]) == ("always", "$BASELINE", True)
    for key in (save["key"], cache["key"]):
        assert "CHARGE_POINTS" in key
        assert "RUN_TIME" in key


def test_a_nightly_run_is_longer() -> None:
    """An input goes before the schedule, that before a variable, and that before what the file has."""
    expression = GITHUB["jobs"]["load"]["env"]["RUN_TIME"]
    assert filled(expression, {}) == "3m"
    assert filled(expression, {"vars.RUN_TIME": "5m"}) == "5m"
    nightly = {"vars.RUN_TIME": "5m", "github.event_name": "schedule"}
    assert filled(expression, nightly) == "30m"
    assert filled(expression, {**nightly, "inputs.run_time": "1h"}) == "1h"


# -- what becomes of a run ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", PIPELINES)
def test_a_run_within_its_slos_passes_and_leaves_all_files(runs: dict[str, Runs], name: str) -> None:
    """The job is green, the reports are there, and the next runs have something to be compared with."""
    job = runs[name].main
    assert job.status == 0, job.output
    assert written(name) <= {each.name for each in job.folder.iterdir()}
    report = load(job.folder / "report.json")
    assert report.status is Status.PASSED
    assert report.data["run"]["charge_points"] == 20
    assert report.data["run"]["options"]["fleet"] == "load/fleet.toml"
    assert "Nothing to compare" in job.output
    assert job.baseline
    assert (job.folder / BASELINE).read_bytes() == (job.folder / "report.json").read_bytes()


@pytest.mark.parametrize("name", PIPELINES)
def test_a_slow_central_system_fails_the_job_and_the_reports_are_there(runs: dict[str, Runs], name: str) -> None:
    """Status 3, and nobody has to run it again to see why."""
    job = runs[name].change
    assert job.status == 3, job.output
    assert {"report.html", "report.json", "junit.xml"} <= set(job.artifacts)
    assert load(job.folder / "report.json").status is Status.MISSED
    failed = {
        case.get("name") for case in ET.parse(job.folder / "junit.xml").iter("testcase") if list(case.iter("failure"))
    }
    assert "OCPP/BootNotification p99 < 1s" in failed
    assert not job.baseline


@pytest.mark.parametrize("name", PIPELINES)
def test_a_failed_run_is_compared_with_the_main_branch(runs: dict[str, Runs], name: str) -> None:
    """Whether staging was always that slow, or is so since this change."""
    output = runs[name].change.output
    assert re.search(r"^worse +OCPP/BootNotification +p50 ", output, re.MULTILINE), output
    assert "Something got worse" in output


def test_github_shows_verdict_and_comparison_on_the_page_of_the_run(runs: dict[str, Runs]) -> None:
    """The step's summary is what a reviewer sees without a download."""
    assert runs["github"].main.summary.startswith("# Passed: every SLO held\n")
    assert "Nothing to compare" in runs["github"].main.summary
    summary = runs["github"].change.summary
    assert summary.startswith("# Missed\n")
    assert "Something got worse" in summary.partition("## From the main branch to this run\n```text\n")[2]


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize(("after", "status", "found"), [("main", 0, "Nothing"), ("change", 3, "Something")])
def test_the_comparison_alone_decides_where_the_slos_held(
    runs: dict[str, Runs], tmp_path: Path, name: str, after: str, status: int, found: str
) -> None:
    """What is slower than the main branch fails although its SLOs held, and is the baseline after a merge."""
    folder = checkout(tmp_path / "checkout", runs[name].main.folder / BASELINE)
    report = getattr(runs[name], after).folder / "report.json"
    shutil.copy(report, folder)
    job = PIPELINES[name](folder, SIZES, branch="main", leave_out=RUN)
    assert job.status == status, job.output
    assert f"{found} got worse" in job.output
    assert job.baseline
    assert (folder / BASELINE).read_bytes() == report.read_bytes()


@pytest.mark.parametrize("name", PIPELINES)
def test_secrets_are_files_that_nobody_else_reads_and_no_artifacts(runs: dict[str, Runs], name: str) -> None:
    """The fleet came in with them: the central system asked for passwords."""
    folder = runs[name].main.folder
    secret = folder / "load" / "passwords.csv"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() == PASSWORDS.strip()
    assert not (folder / "load" / "fleet.key").exists()
    assert not {each for each in written(name) if "pw-0000" in (folder / each).read_text()}


@pytest.mark.parametrize("name", PIPELINES)
def test_a_repository_without_a_target_or_with_its_own_locustfile(tmp_path: Path, name: str) -> None:
    """Its own scenario is not overwritten, no secret is no mistake, and nothing is loaded that nobody named."""
    folder = checkout(tmp_path / "checkout")
    (folder / "load" / "locustfile.py").write_text("# ours\n")
    job = PIPELINES[name](folder, SIZES, branch="main")
    assert job.status not in {0, 3}
    assert "STAGING_URL: is not set" in job.output
    assert (folder / "load" / "locustfile.py").read_text() == "# ours\n"
    assert not (folder / "load" / "passwords.csv").exists()
    assert not job.baseline


@pytest.mark.parametrize("name", PIPELINES)
def test_a_mistake_in_the_slo_file_is_no_miss(tmp_path: Path, name: str) -> None:
    """Status 2 before anything is loaded, one line that names the place, and nothing more goes wrong after it."""
    folder = checkout(tmp_path / "checkout")
    (folder / "load" / "slo.txt").write_text("p50 < 1s\np99 is < 1s\n")
    job = PIPELINES[name](folder, {**SIZES, "STAGING_URL": "ws://127.0.0.1:9"}, branch="main")
    assert job.status == 2, job.output
    assert "--slo-file load/slo.txt:2: 'p99 is < 1s'" in job.output
    assert not job.artifacts
    assert not job.baseline
