"""Writes into the reference what the code knows: options, variables, commands, metrics.

    python docs/generate.py            write
    python docs/generate.py --check    only say what is not up to date; exit status 1

A page has a place for each, between two comments, and everything around it is written by people:

    <!-- generated: charge-point-options -->
    <!-- end -->
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final, cast

# Importing Locust would patch this whole process.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

import ampswarm.cli
import ampswarm.demo
import server.passwords
from ampswarm.load.capacity import CAPACITY_OPTIONS
from ampswarm.load.exposition import FAMILIES as LOAD_FAMILIES
from ampswarm.load.options import SECRETS as LOAD_SECRETS
from ampswarm.load.options import THEMES, Option
from ampswarm.plan.constants import CONSTANTS
from ampswarm.plan.lines import number
from ampswarm.plan.plan import plan
from ampswarm.plan.question import Question
from ampswarm.plan.text import to_text
from server.config import SECRETS as SERVER_SECRETS
from server.config import TOKEN_VARIABLE, build_parser
from server.exposition import BUILD_INFO, FAMILIES, PYTHON_INFO

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
SCENARIOS: Final = ("clock_aligned", "firmware_rollout")
"""Locustfiles that have options of their own, in `OPTIONS`."""
ENVIRONMENT_ONLY: Final = (
    (TOKEN_VARIABLE, "central system", "bearer token that requests to the operator API must carry; no flag sets it"),
    *(
        (f"{name}_FILE", "central system", f"file that holds `{name}`, as containers get secrets")
        for name in SERVER_SECRETS
    ),
    *(
        (f"{name}_FILE", "charge points", f"file that holds `{name}`, as containers get secrets")
        for name in LOAD_SECRETS
    ),
    ("LOCUST_LOCUSTFILE", "container image", "locustfile of a master or worker; `/locustfiles/steady_state.py`"),
)
"""Variables without a flag: name, of what, and what they say."""

_PLACE: Final = re.compile(r"(<!-- generated: ([a-z-]+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
_CODE: Final = re.compile(
    r"""(?<![\w/])(--[a-z][a-z-]+\w|[\w+]+:/{2,3}[^\s,);]+|'[^']+'|"[^"]+"|[A-Z]+(?:_[A-Z0-9]+)+|\b[a-z]+=)"""
)
"""What is code in a help text, which is plain."""


@dataclass(frozen=True, slots=True)
class Row:
    """One option."""

    flag: str
    variable: str
    default: str
    text: str

    def __str__(self) -> str:
        """Return it as a row of a table."""
        default = f"`{self.default}`" if self.default else ""
        return f"| `{self.flag}` | `{self.variable}` | {default} | {markdown(self.text)} |"


def markdown(text: str) -> str:
    """Return a help text as Markdown: names marked as code, nothing else a mark."""
    parts = _CODE.split(text.replace("%%", "%"))
    plain = [re.sub(r"([*_<>|\[\]])", r"\\\1", each) for each in parts[::2]]
    code = [f"`{each.strip(chr(39) + chr(34))}`" for each in parts[1::2]]
    return "".join(one + other for one, other in zip(plain, [*code, ""], strict=True)).replace("|", r"\|")


def _shown(value: object) -> str:
    match value:
        case None | () | "" | []:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def rows_of(options: Iterable[Option]) -> Iterator[Row]:
    """Return those of Locust's command line."""
    for each in options:
        yield Row(each.flag, each.variable, _shown(each.default), each.help)


def rows_of_parser(parser: argparse.ArgumentParser) -> Iterator[Row]:
    """Return those of the central system."""
    for action in parser._actions:  # noqa: SLF001  argparse has no public list of its options
        variable = getattr(action, "env_var", None)
        if variable:
            yield Row(action.option_strings[-1], variable, _shown(action.default), action.help or "")


def table(rows: Iterable[object], head: str) -> str:
    """Return a table in Markdown; `head` is its first row."""
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *map(str, rows)]) + "\n"


_METRICS_HEAD: Final = "| metric | type | labels | |"
_HEAD: Final = "| flag | variable | default | |"


def charge_point_options() -> str:
    """Return the options of every test, by what they are about."""
    return "\n".join(f"## {name}\n\n{table(rows_of(options), _HEAD)}" for name, options in THEMES.items())


def scenario(name: str) -> ModuleType:
    """Return a locustfile as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "locustfiles" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scenario_options() -> str:
    """Return the options of locustfiles that have their own."""
    found = {"capacity": CAPACITY_OPTIONS, **{name: scenario(name).OPTIONS for name in SCENARIOS}}
    return "\n".join(f"### {name}.py\n\n{table(rows_of(options), _HEAD)}" for name, options in found.items())


def capacity_options() -> str:
    """Return the options of a capacity search."""
    return table(rows_of(CAPACITY_OPTIONS), _HEAD)


def central_system_options() -> str:
    """Return the options of the central system."""
    rows: list[object] = list(rows_of_parser(build_parser()))
    rows += [f"| | `{name}` | | {text} |" for name, what, text in ENVIRONMENT_ONLY if what == "central system"]
    return table(rows, _HEAD)


def environment() -> str:
    """Return every variable, in the order of their names."""
    found: dict[str, tuple[str, str]] = {}
    for options in THEMES.values():
        found |= {row.variable: (f"`{row.flag}`", "[charge points](options.md)") for row in rows_of(options)}
    for row in rows_of_parser(build_parser()):
        flag, page = f"`{row.flag}`", "[central system](central-system.md)"
        if row.variable in found:  # LOG_PAYLOAD and LOG_LIFECYCLE are of both
            page = f"{found[row.variable][1]}, {page}"
        found[row.variable] = flag, page
    found |= {row.variable: (f"`{row.flag}`", "[capacity.py](capacity.md)") for row in rows_of(CAPACITY_OPTIONS)}
    for name in SCENARIOS:
        for row in rows_of(scenario(name).OPTIONS):
            found[row.variable] = f"`{row.flag}`", f"[{name}.py](options.md#{name.replace('_', '-')}-py)"
    found |= {name: ("", f"{what}: {text}") for name, what, text in ENVIRONMENT_ONLY}
    return table((f"| `{name}` | {flag} | {what} |" for name, (flag, what) in sorted(found.items())),
                 "| variable | flag | of |")  # fmt: skip


def commands() -> str:
    """Return the help of each command that is no test and no central system."""
    parsers = [ampswarm.cli.build_parser(), server.passwords.build_parser(), ampswarm.demo.build_parser()]
    for parser in parsers[:1]:
        for action in parser._actions:  # noqa: SLF001  argparse has no public list of its options
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
                parsers[1:1] = action.choices.values()
    return "\n".join(f"## {each.prog}\n\n```text\n{_help(each)}```\n" for each in parsers)


def _help(parser: argparse.ArgumentParser) -> str:
    # As wide everywhere, whatever the terminal.
    formatter = cast("type[argparse.HelpFormatter]", parser.formatter_class)
    parser.formatter_class = partial(formatter, width=100)
    return parser.format_help()


def plan_options() -> str:
    """Return the options of a plan."""
    (subparsers,) = (
        action
        for action in ampswarm.cli.build_parser()._actions  # noqa: SLF001  argparse has no public list of its options
        if isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    )
    rows = []
    for action in subparsers.choices["plan"]._actions:  # noqa: SLF001
        flags = "`, `".join(action.option_strings)
        if "--help" not in action.option_strings:
            text = (action.help or "").replace("%(default)s", _shown(action.default))
            default = re.search(r" \(default: ([^)]*)\)", text)
            if default is not None:
                text = text.replace(default[0], "")
            rows.append(f"| `{flags}` | {markdown(default[1]) if default else ''} | {markdown(text)} |")
    return table(rows, "| flag | default | |")


def plan_constants() -> str:
    """Return what a plan is made of."""
    rows = (f"| {each.name} | {number(each.value)} {each.unit} | {each.origin} | {each.source} |" for each in CONSTANTS)
    return table(rows, "| | value | | where |")


def plan_example() -> str:
    """Return the plan of a million charge points."""
    return f"```text\n{to_text(plan(Question(1_000_000)))}\n```\n"


def metrics(*prefixes: str) -> Iterator[str]:
    """Return a row for each metric whose name begins so."""
    for each in FAMILIES:
        if each.name.startswith(prefixes):
            labels = ", ".join(f"`{label}`" for label in each.labels)
            yield f"| `{each.exposed_name}` | {each.kind.value} | {labels} | {each.help} |"


def ocpp_metrics() -> str:
    """Return the metrics of what comes and goes on the wire."""
    return table(metrics("ocpp_"), _METRICS_HEAD)


def process_metrics() -> str:
    """Return the metrics of the process."""
    build = f"| `{BUILD_INFO}` | gauge | `version` | The version of the central system; always 1. |"
    labels = "`implementation`, `major`, `minor`, `patchlevel`, `version`"
    python = f"| `{PYTHON_INFO}` | gauge | {labels} | Python platform information |"
    return table([build, *metrics("central_system_", "process_"), python], _METRICS_HEAD)


def run_metrics() -> str:
    """Return the metrics of a run."""
    rows = (
        f"| `{each.exposed_name}` | {each.type} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in LOAD_FAMILIES
    )
    return table(rows, _METRICS_HEAD)


BLOCKS: Final[dict[str, Callable[[], str]]] = {
    "charge-point-options": charge_point_options,
    "scenario-options": scenario_options,
    "capacity-options": capacity_options,
    "central-system-options": central_system_options,
    "environment": environment,
    "commands": commands,
    "plan-options": plan_options,
    "plan-constants": plan_constants,
    "plan-example": plan_example,
    "ocpp-metrics": ocpp_metrics,
    "process-metrics": process_metrics,
    "run-metrics": run_metrics,
}


def pages() -> list[Path]:
    """Return every page."""
    return sorted(each for each in DOCS.rglob("*.md") if "build" not in each.relative_to(DOCS).parts)


def filled(text: str) -> str:
    """Return a page with its places filled.

    Raises:
        KeyError: it has a place for what there is not.
    """
    return _PLACE.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[4]}", text)


def main() -> int:
    """Fill all pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only say what is not up to date; exit status 1")
    is_check = parser.parse_args().check
    stale, used = [], set()
    for page in pages():
        text = page.read_text()
        used |= {found[2] for found in _PLACE.finditer(text)}
        new = filled(text)
        if new != text:
            stale.append(page.relative_to(ROOT))
            if not is_check:
                page.write_text(new)
    for name in sorted(set(BLOCKS) - used):
        sys.stderr.write(f"{name} is on no page\n")
    for each in stale:
        sys.stdout.write(f"{each}: {'not up to date: make docs' if is_check else 'written'}\n")
    return 1 if set(BLOCKS) - used or (is_check and stale) else 0


if __name__ == "__main__":
    sys.exit(main())
