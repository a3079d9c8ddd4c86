"""The documentation: it is made without a warning, and has all that there is to look up."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampswarm.load.fleet_file import CHARGING_KEYS, MISBEHAVIOUR_KEYS, POPULATION_KEYS, VEHICLE_KEYS
from ampswarm.load.fleet_page import COLUMNS
from tests.processes import ROOT, clean_environment

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
TIMEOUT = 120
ROOMS = ("ampswarm", "server", "locustfiles")
INTERNAL = {
    "CENTRAL_SYSTEM_PROCESS", "CENTRAL_SYSTEM_HUB", "CENTRAL_SYSTEM_PORT", "CENTRAL_SYSTEM_TLS_PORT",
    "CENTRAL_SYSTEM_ADMIN_PORT",
}  # fmt: skip
"""What a process of `--processes` is told by its parent."""


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder, env=clean_environment(), capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip


def sphinx(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", f"{source}", f"{target}")


# -- the site -----------------------------------------------------------------------------------


def test_it_is_made_without_a_warning(tmp_path: Path) -> None:
    """A warning is a dead link, a page that nothing leads to, a name that is no more."""
    done = sphinx(DOCS, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    pages = {each.relative_to(DOCS).with_suffix(".html") for each in DOCS.rglob("*.md")}
    assert {each.relative_to(tmp_path) for each in tmp_path.rglob("*.html")} >= pages
    assert "lose_network" in (tmp_path / "reference" / "scenarios.html").read_text()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[here](#a-page)", ""),
        ("[gone](no-such-page.md)", "no-such-page.md"),
        ("[gone](#no-such-heading)", "no-such-heading"),
        ("[gone](index.md#no-such-heading)", "no-such-heading"),
        ("![gone](no-such-image.png)", "no-such-image.png"),
    ],
)
def test_a_dead_link_fails(tmp_path: Path, text: str, complaint: str) -> None:
    """What is only a warning elsewhere: whoever follows a link gets somewhere."""
    shutil.copy(DOCS / "conf.py", tmp_path)
    shutil.copytree(DOCS / "_static", tmp_path / "_static")
    (tmp_path / "index.md").write_text(f"# A page\n\n{text}\n")
    done = sphinx(tmp_path, tmp_path / "out")
    assert done.returncode == bool(complaint)
    assert complaint in done.stderr


def links_out_of_the_documentation() -> Iterator[tuple[Path, str]]:
    """Yield the README's own links, and those of pages that lead to other files of the repository."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not target.startswith(("http://", "https://", "#")):
                yield page, target


def test_links_between_files_lead_somewhere() -> None:
    """On the web page of the repository as well, where no generator looks at them."""
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in links_out_of_the_documentation()
        if not (page.parent / target.split("#", 1)[0]).exists()
    ]
    assert dead == []


# -- what there is to look up -------------------------------------------------------------------


def test_what_is_generated_is_up_to_date() -> None:
    """Options, variables, commands and metrics are there as the code has them now."""
    done = run("docs/generate.py", "--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def documented(page: str) -> dict[str, str]:
    """Return the variable of each flag that a page has in a table."""
    return dict(re.findall(r"^\| `(--[a-z0-9-]+)` \| `([A-Z_0-9]+)` \|", (REFERENCE / page).read_text(), re.MULTILINE))


def test_the_central_system_has_no_other_options() -> None:
    """Its `--help` and its page name the same flags and variables."""
    done = run("-m", "server", "--help")
    assert done.returncode == 0, done.stderr
    entries = re.findall(r"^  (--[a-z0-9-]+)(.*?)(?=^  -|\Z)", done.stdout, re.MULTILINE | re.DOTALL)
    found = {flag: re.search(r"\[env\s+var:\s+([A-Z_0-9]+)\]", text) for flag, text in entries}
    helps = {flag: variable[1] for flag, variable in found.items() if variable is not None}
    assert len(helps) > 30
    assert helps == documented("central-system.md")


@pytest.mark.parametrize("scenario", sorted(each.stem for each in (ROOT / "locustfiles").glob("*.py")))
def test_a_test_has_no_other_options(scenario: str) -> None:
    """What Locust's parser knows once a locustfile is imported, beside Locust's own, is on the page."""
    code = f"""
import json, sys
from locust.argument_parser import get_parser
known = {{action.dest for action in get_parser()._actions}}
sys.path.insert(0, "locustfiles")
import {scenario}
actions = [each for each in get_parser()._actions if each.dest not in known]
print(json.dumps({{each.option_strings[-1]: each.env_var for each in actions}}))
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    own = json.loads(done.stdout)
    assert len(own) > 30
    page = documented("options.md")
    assert own == {flag: variable for flag, variable in page.items() if flag in own}


def names_in(tree: ast.AST) -> dict[str, str]:
    """Return the texts that a module gives a name."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and isinstance(node.value.value, str):
                    found[target.id] = node.value.value
    return found


def variables_read() -> set[str]:
    """Return the environment variables that the code reads past any option."""
    found = set(re.findall(r"\$\{(\w+):=", (ROOT / "docker-entrypoint").read_text()))
    trees = [ast.parse(file.read_text()) for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    names = {name: text for tree in trees for name, text in names_in(tree).items()}
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.Subscript(value=ast.Attribute(attr="environ"), slice=key):
                    pass
                case ast.Call(func=ast.Attribute(attr="get", value=ast.Attribute(attr="environ")), args=[key, *_]):
                    pass
                case ast.Call(func=ast.Attribute(attr="getenv"), args=[key, *_]):
                    pass
                case _:
                    continue
            if isinstance(key, ast.Constant):
                found.add(str(key.value))
            elif isinstance(key, ast.Name) and key.id.isupper() and key.id in names:
                found.add(names[key.id])
    return found


def test_every_variable_of_the_environment_is_listed() -> None:
    """Those of options come from the options; here are the others that the code reads."""
    page = (REFERENCE / "environment.md").read_text()
    listed = set(re.findall(r"^\| `([A-Z_0-9]+)` \|", page, re.MULTILINE))
    read = variables_read()
    assert {"ADMIN_TOKEN", "LOCUST_LOCUSTFILE"} <= read
    assert {name for name in read - listed if not name.startswith("_")} - INTERNAL == set()
    assert {*documented("central-system.md").values(), *documented("options.md").values()} <= listed


def literals(*methods: str) -> set[str]:
    """Return the texts that the code gives these methods first."""
    found = set()
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
                    texts = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
                    if name in methods and texts:
                        found.add(str(texts[0]))
    return found


def test_every_type_of_measurement_is_explained() -> None:
    """Each row of Locust's table can be looked up."""
    types = literals("_fire", "_view", "report")
    assert types >= {"WS", "OCPP", "DUE", "FLOW", "OUTBOX", "MISBEHAVIOUR", "REMOTE", "FIRMWARE"}
    text = (REFERENCE / "measurements.md").read_text()
    assert {each for each in types if f"| `{each}` |" not in text} == set()


def test_every_key_of_a_fleet_file_is_explained() -> None:
    """A key that is not on the page is one that nobody finds."""
    text = (REFERENCE / "fleet-files.md").read_text() + (REFERENCE / "misbehaviour.md").read_text()
    keys = {*POPULATION_KEYS, *CHARGING_KEYS, *VEHICLE_KEYS, *MISBEHAVIOUR_KEYS}
    assert {key for key in keys if not re.search(rf"`(\w+\.)*{key}`", text)} == set()


def test_every_name_of_a_report_is_explained() -> None:
    """And every column of the fleet."""
    schema = json.loads((ROOT / "ampswarm" / "results" / "report.schema.json").read_text())
    text = (REFERENCE / "report.md").read_text()
    assert {name for name in schema["properties"] if f"`{name}`" not in text} == set()
    assert {name for name in schema["properties"]["run"]["properties"] if f"`{name}`" not in text} == set()
    tab = (REFERENCE / "fleet-tab.md").read_text()
    assert {name for name in COLUMNS if f"| `{name}` |" not in tab} == set()
