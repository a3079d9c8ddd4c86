"""The command `ampswarm`: what there is to do before a run and with its results."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

import orjson

from ampswarm.option_types import share
from ampswarm.plan.command import add_plan
from ampswarm.results.compare import DEFAULT_THRESHOLD, compare
from ampswarm.results.compare_table import to_text
from ampswarm.results.html import to_html
from ampswarm.results.report import BadReport, Report, Status, load, write_whole

EXIT_BAD_INPUT: Final = 2
EXIT_WORSE: Final = 3
EXIT_INVALID: Final = 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: error: {message}\n")
        sys.exit(EXIT_BAD_INPUT)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(
        prog="ampswarm", description="What to do with the results of Ampswarm's runs, and what to order for the next."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_compare(commands.add_parser)
    _add_report(commands.add_parser)
    add_plan(commands.add_parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status. The script `ampswarm`.

    Args:
        arguments: those of the command line; `None` takes the process's.
    """
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except BadReport as error:
        sys.stderr.write(f"ampswarm: error: {error}\n")
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` has. Nothing more can be written, at exit neither.
        sys.stdout = None
        return EXIT_BAD_INPUT


def _add_compare(add: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add(
        "compare",
        help="tell what got slower or failed more between two runs, beyond noise",
        description="Tell what got slower, or failed more, from one run to another, by how much, beyond noise.",
        epilog="Exit status: 0 nothing got worse, 3 something did, 4 a run is invalid, 2 a file or an option is wrong.",
    )
    parser.add_argument("first", type=Path, metavar="A.json", help="report of the run before (--report-json)")
    parser.add_argument("second", type=Path, metavar="B.json", help="report of the run after")
    parser.add_argument(
        "--threshold",
        type=share(10),
        default=DEFAULT_THRESHOLD,
        metavar="SHARE",
        help="change that is worth a word, such as 5%% or 0.05 (default: 5%%)",
    )
    parser.add_argument("--all", action="store_true", help="show what stayed the same too")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON instead of a table")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    first, second = load(options.first), load(options.second)
    comparison = compare(first, second, options.threshold)
    if options.json:
        text = orjson.dumps(comparison.as_dict(), option=orjson.OPT_INDENT_2).decode()
    else:
        text = to_text(comparison, everything=options.all)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    invalid = [report for report in (first, second) if report.status is Status.INVALID]
    for report in invalid:
        sys.stderr.write(f"ampswarm: {report.name} is of an invalid run: {_reason(report)}\n")
    if invalid:
        return EXIT_INVALID
    return EXIT_WORSE if comparison.is_worse else 0


def _add_report(add: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add(
        "report",
        help="make the HTML report of a run from its JSON, or that of two runs side by side",
        description="Make one HTML file that explains a run, or two runs side by side, from what --report-json wrote.",
        epilog="Exit status: 0 it is written, 2 a file or an option is wrong.",
    )
    parser.add_argument("first", type=Path, metavar="A.json", help="report of a run (--report-json)")
    parser.add_argument("second", type=Path, metavar="B.json", nargs="?", help="report of another run, beside it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: A.html, or A-B.html)")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    paths = [each for each in (options.first, options.second) if each is not None]
    reports = [load(each) for each in paths]
    out: Path = options.out or options.first.with_name("-".join(each.stem for each in paths) + ".html")
    try:
        write_whole(out, to_html(*reports))
    except OSError as error:
        raise BadReport(f"--out {out}: {error.strerror}") from None
    sys.stdout.write(f"{out}\n")
    return 0


def _reason(report: Report) -> str:
    return " ".join("; ".join(report.data["verdict"]["invalid"]).split()) or "it does not say why"


if __name__ == "__main__":
    sys.exit(main())
