"""A report as a page of Markdown, for the summary of a pipeline's step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ampswarm.results.histogram import three_digits
from ampswarm.results.report import Report, Status

_VERDICTS: Final = {
    Status.PASSED: "Passed: every SLO held",
    Status.MISSED: "Missed",
    Status.INVALID: "Invalid: the numbers cannot be trusted",
    Status.NONE: "Not judged: there was no SLO",
}
_FOUND: Final = {
    Status.PASSED: "Passed",
    Status.MISSED: "Missed",
    Status.INVALID: "Invalid",
    Status.NONE: "Not judged",
}
"""Where the scenario itself found something out, which is said next."""
_MOST_ERRORS: Final = 20
_MOST_EVENTS: Final = 50


def to_markdown(report: Report) -> str:
    """Return the page: the verdict first."""
    data = report.data
    run = data["run"]
    found = data["verdict"].get("found")
    heading = f"{_FOUND[report.status]}: {_text(found['text'])}" if found else _VERDICTS[report.status]
    lines = [f"# {heading}", ""]
    where = f" against `{_code(run['host'])}`" if run["host"] else ""
    processes = "1 process" if run["workers"] == 1 else f"{run['workers']} processes"
    what = f"{run['charge_points']} charge points of {_text(run['scenario'])}{where}"
    lines += [f"{what}, {run['seconds']:.0f} s from {_text(run['began'])}, {processes}", ""]
    if run.get("statistics_since"):
        lines += [f"The statistics were reset {run['statistics_since']:.0f} s into it: nothing here is of before.", ""]
    if data["verdict"]["invalid"]:
        lines += [*(f"- {_text(each)}" for each in data["verdict"]["invalid"]), ""]
    slos = data["verdict"]["slos"]
    if slos:
        lines += _table(["SLO", "", "value", "worst", "samples"], (_slo(each) for each in slos))
    lines += _table(
        ["type", "name", "count", "failures", "mean", "p50", "p95", "p99", "max"],
        (_statistics(each) for each in data["statistics"]),
    )
    lines += ["Times in milliseconds.", ""]
    errors = [
        (count, [_text(row["type"]), _text(row["name"]), _text(text), f"{count}"])
        for row in data["statistics"]
        for text, count in row["errors"].items()
    ]
    if errors:
        errors.sort(key=lambda each: each[0], reverse=True)
        most = [cells for _, cells in errors[:_MOST_ERRORS]]
        lines += ["## Failures", "", *_table(["type", "name", "what", "count"], most)]
        if len(errors) > _MOST_ERRORS:
            lines += [f"And {len(errors) - _MOST_ERRORS} other kinds.", ""]
    for heading, section in (("Storms", data.get("storms")), ("Events", data.get("events"))):
        if section:
            lines += [f"## {heading}", "", *_of_dictionaries(section[:_MOST_EVENTS])]
    return "\n".join(lines)


def _slo(slo: Mapping[str, Any]) -> list[str]:
    few = " (few)" if slo["few_samples"] else ""
    cells = [slo["outcome"], slo["shown"], slo["worst"], f"{slo['samples']}{few}"]
    return [f"`{_code(slo['slo'])}`", *map(_text, cells)]


def _statistics(row: Mapping[str, Any]) -> list[str]:
    percentiles = row["percentiles_ms"]
    times = [row["mean_ms"], percentiles["50"], percentiles["95"], percentiles["99"], row["max_ms"]]
    cells = [row["type"], row["name"], f"{row['count']}", f"{row['failures']}"]
    return [*map(_text, cells), *map(three_digits, times)]


def _of_dictionaries(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(
        dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, dict | list))
    )
    cells = ([_text(f"{row.get(name, '')}") for name in names] for row in rows)
    return _table([_text(name) for name in names], cells)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def _text(text: str) -> str:
    """Return a text that is only text: nothing in it makes a table, a link or HTML."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    for special in "\\`*_[]>|#":
        text = text.replace(special, "\\" + special)
    return " ".join(text.split())


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").replace("|", "\\|").split())
