"""A report as one HTML file that explains itself: nothing of it is fetched from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import orjson

from ampswarm.page import asset
from ampswarm.results.compare import Change, compare
from ampswarm.results.report import Report

_END_OF_SCRIPT: Final = re.compile(rb"<(?=[/!])")
"""What could end a script element, or begin a comment in it: written as JSON may write it."""
_EXPORT: Final = re.compile(rb"^export ", re.MULTILINE)
_FIRST: Final = (Change.WORSE, Change.BETTER, Change.UNCLEAR)
"""In which order changes are told."""
_KEPT: Final = (
    *("run", "verdict", "calls", "fleet", "fleet_history", "generators", "storms", "events", "capacity", "ledger"),
)


def to_html(*reports: Report) -> bytes:
    """Return the page of one report, or of two side by side, with what changed from the first to the second."""
    data: dict[str, Any] = {"runs": [_of_run(each) for each in reports], "differences": None}
    if len(reports) == 2:
        data["differences"] = _differences(*reports)
    scenario = reports[0].data["run"]["scenario"]
    title = f"{scenario}: {' and '.join(each.status.value for each in reports)}"
    page = asset("report.html")
    for place, text in (
        (b"@@TITLE@@", escape(title).encode()),
        (b"/*@@STYLE@@*/", asset("colors.css") + asset("report.css")),
        (b"/*@@LIBRARY@@*/", asset("chart.js").replace(b"</script", b"<\\/script")),
        # Modules cannot import one another within a file: both are one.
        (b"/*@@CHARTS@@*/", _EXPORT.sub(b"", asset("charts.js"))),
        (b"/*@@SCRIPT@@*/", asset("report.js")),
        (b"@@VERDICT@@", escape(title).encode()),
        (b"@@DATA@@", _END_OF_SCRIPT.sub(b"\\\\u003c", orjson.dumps(data))),
    ):
        before, _, after = page.partition(place)
        page = before + text + after
    return page


def _of_run(report: Report) -> dict[str, Any]:
    """Return what the page needs of a report: rows for tables, and windows for charts."""
    data = report.data
    series: dict[str, list[list[float]]] = {
        f"{row['type']}/{row['name']}": [
            [each["begin"], each["count"], each["failures"], each["p50_ms"], each["p95_ms"], each["p99_ms"]]
            for each in row["windows"]
        ]
        for row in data["timeline"]["rows"]
    }
    statistics: Sequence[Mapping[str, Any]] = data["statistics"]
    return {
        **{name: data[name] for name in _KEPT if name in data},
        "name": report.name,
        "width": data["timeline"]["window_seconds"],
        "series": series,
        "statistics": [
            {name: value for name, value in row.items() if name not in {"histogram", "blocks"}} for row in statistics
        ],
    }


def _differences(first: Report, second: Report) -> dict[str, Any]:
    comparison = compare(first, second)
    found = [each for each in comparison.as_dict()["differences"] if each["change"] != Change.SAME]
    found.sort(key=lambda each: _FIRST.index(each["change"]))
    return {"worse": comparison.is_worse, "other_conditions": list(comparison.other_conditions), "rows": found}
