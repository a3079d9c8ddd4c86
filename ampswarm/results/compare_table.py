"""A comparison as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ampswarm.results.compare import Change, Comparison, Difference
from ampswarm.results.histogram import three_digits

_ORDER: Final = (Change.WORSE, Change.BETTER, Change.UNCLEAR, Change.SAME)
_COLUMNS: Final = ("", "row", "metric", "before", "after", "change")


def to_text(comparison: Comparison, *, everything: bool = False) -> str:
    """Return the table, the worst first, and a sentence.

    Args:
        comparison: what was found.
        everything: whether to show what stayed the same too.
    """
    lines = [f"The runs themselves differ in their {_line(each)}" for each in comparison.other_conditions]
    shown = [
        each
        for change in _ORDER
        for each in sorted(comparison.differences, key=_by_size, reverse=True)
        if each.change is change and (everything or change is not Change.SAME)
    ]
    if shown:
        lines += [*([""] if lines else []), *_aligned([_COLUMNS, *(_cells(each) for each in shown)]), ""]
    lines.append(_sentence(comparison))
    return "\n".join(lines)


def _sentence(comparison: Comparison) -> str:
    counts = {change: sum(each.change is change for each in comparison.differences) for change in Change}
    parts = [f"{counts[change]} {change}" for change in _ORDER if counts[change]]
    if not parts:
        return "There was nothing to compare."
    found = "Something got worse" if comparison.is_worse else "Nothing got worse"
    return (
        f"{found}: {', '.join(parts)}, of {len(comparison.differences)} numbers. "
        f"A change counts from {comparison.threshold * 100:.3g} % on, and beyond noise."
    )


def _by_size(difference: Difference) -> float:
    relative = difference.relative
    return float("inf") if relative is None else abs(relative)


def _cells(difference: Difference) -> Sequence[str]:
    relative = difference.relative
    if difference.metric == "count" and not difference.after:
        change = "gone"
    elif relative is None:
        change = "new" if difference.after else ""
    else:
        change = f"{relative * 100:+.1f} %"
    return (
        difference.change.value,
        _line(difference.row),
        difference.metric,
        _number(difference.before, difference.metric),
        _number(difference.after, difference.metric),
        change,
    )


def _number(value: float, metric: str) -> str:
    if metric == "fail_ratio":
        return f"{value * 100:.3g} %"
    if metric == "count":
        return f"{value:.0f}"
    return f"{three_digits(value)} ms"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if column < 3 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _line(text: str) -> str:
    """Return a text without what a terminal would obey: names come from whoever wrote the locustfile."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
