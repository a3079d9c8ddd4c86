"""What got slower or failed more from one run to another, beyond noise (docs/decisions/0017-comparing.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import log, log1p
from statistics import NormalDist
from typing import Any, Final

from ampswarm.results import blocks
from ampswarm.results.blocks import Estimate
from ampswarm.results.histogram import Histogram
from ampswarm.results.report import Report

PERCENTILES: Final = (50.0, 95.0, 99.0)
METRICS: Final = ("mean", *(f"p{percent:g}" for percent in PERCENTILES), "fail_ratio")
DEFAULT_THRESHOLD: Final = 0.05

_FALSE_ALARMS: Final = 0.01
"""How often two runs of the same system may be told apart, over all that is compared."""
_LEAST_MILLISECONDS: Final = 0.1
"""What a difference of times has to be at least: less may be the generator's own."""
_LEAST_RATIO: Final = 0.001
_BURST: Final = 0.01
"""The ratio of failures, where there were none, that counts though they may all be of one moment."""
_LEAST_FAILURES: Final = 5
_LEAST_GONE: Final = 10
_LEAST_APART: Final = 10
"""Samples on each side of which times can be told apart without blocks of time."""
_APART: Final = 3.0
"""The ratio of two times that counts then."""
_NO_CONDITION: Final = frozenset(
    {
        "config",
        "csv_prefix",
        "host",
        "html_file",
        "json_file",
        "junit_xml",
        "locustfile",
        "logfile",
        "loglevel",
        "master_bind_host",
        "master_bind_port",
        "num_users",
        "only_summary",
        "progress",
        "report_html",
        "report_json",
        "slo",
        "slo_file",
        "summary_md",
        "web_host",
        "web_port",
    }
)
"""Options that say where results go or how they are judged, or that are compared as something else."""


class Change(StrEnum):
    """What became of a number."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    """Any difference is within the threshold or the noise."""
    UNCLEAR = "unclear"
    """There are too few samples, or in too short a time, to tell."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of a row, in both runs."""

    row: str
    """`type/name`."""
    metric: str
    """One of `METRICS`; `count` for a row that only one run has."""
    before: float
    """Milliseconds; a ratio from 0 to 1; or how many."""
    after: float
    change: Change
    sigmas: float | None
    """The difference in standard errors; `None` where nothing is known of those."""

    @property
    def relative(self) -> float | None:
        """By how much it changed, as a part of what it was; `None` where that was nothing."""
        return self.after / self.before - 1 if self.before else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that was compared."""

    differences: Sequence[Difference]
    other_conditions: Sequence[str]
    """In what the runs themselves differ, a line each: what may be the reason."""
    threshold: float

    @property
    def is_worse(self) -> bool:
        """Whether anything is."""
        return any(each.change is Change.WORSE for each in self.differences)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "worse": self.is_worse,
            "threshold": self.threshold,
            "other_conditions": list(self.other_conditions),
            "differences": [{**asdict(each), "relative": each.relative} for each in self.differences],
        }


def compare(first: Report, second: Report, threshold: float = DEFAULT_THRESHOLD) -> Comparison:
    """Return what changed from the first run to the second.

    Args:
        first: what was.
        second: what is.
        threshold: what a time, or a ratio of failures, has to change by to be named, as a part of what it was.
    """
    old, new = _rows(first), _rows(second)
    both = [name for name in old if name in new]
    # The more is compared, the surer each has to be.
    needed = -NormalDist().inv_cdf(_FALSE_ALARMS / max(1, len(both) * len(METRICS)) / 2)
    differences = [
        difference for name in both for difference in _differences(name, old[name], new[name], threshold, needed)
    ]
    differences += [_gone(name, old[name][0]) for name in old if name not in new]
    differences += [_come(name, new[name][0]) for name in new if name not in old]
    return Comparison(differences, _other_conditions(first.data["run"], second.data["run"]), threshold)


_Row = tuple[Histogram, Sequence[Histogram]]


def _rows(report: Report) -> dict[str, _Row]:
    parts = report.blocks()
    return {name: (whole, parts[name]) for name, whole in report.histograms().items() if whole.count}


def _differences(name: str, old: _Row, new: _Row, threshold: float, needed: float) -> Iterator[Difference]:
    (old_whole, old_blocks), (new_whole, new_blocks) = old, new
    if old_whole.timed and new_whole.timed:
        before, after = blocks.mean(old_blocks, old_whole), blocks.mean(new_blocks, new_whole)
        yield _unless_apart(_of_times(name, "mean", before, after, threshold, needed), old_whole, new_whole)
        for percent in PERCENTILES:
            before = blocks.percentile(old_blocks, old_whole, percent)
            after = blocks.percentile(new_blocks, new_whole, percent)
            yield _unless_apart(
                _of_times(name, f"p{percent:g}", before, after, threshold, needed), old_whole, new_whole
            )
    yield _of_failures(name, old, new, threshold, needed)


def _of_times(name: str, metric: str, before: Estimate, after: Estimate, threshold: float, needed: float) -> Difference:
    ratio = log(after.value) - log(before.value) if before.value > 0 and after.value > 0 else 0.0
    sigmas = blocks.sigmas(ratio, before, after)
    if abs(ratio) < log1p(threshold) or abs(after.value - before.value) < _LEAST_MILLISECONDS:
        change = Change.SAME
    else:
        change = _told(sigmas, needed)
    return Difference(name, metric, before.value, after.value, change, sigmas)


def _unless_apart(difference: Difference, old: Histogram, new: Histogram) -> Difference:
    """Return what is said of a time that blocks do not tell of, unless both runs have next to no time in common.

    What happens in the ramp alone, such as a boot, is over before there are blocks; and what comes and goes within a
    run has blocks that tell nothing. Nine of ten of its times in one run above nine of ten in the other, and the number
    itself three times as large: no noise does that. If only the number is, nobody can say that it is the same.
    """
    if difference.change not in {Change.UNCLEAR, Change.SAME} or min(old.timed, new.timed) < _LEAST_APART:
        return difference
    few, many = sorted((difference.before, difference.after))
    if few <= 0 or many < few * _APART or many - few < _LEAST_MILLISECONDS:
        return difference
    difference = replace(difference, change=Change.UNCLEAR)
    if new.percentile(10) > old.percentile(90):
        return replace(difference, change=Change.WORSE)
    if old.percentile(10) > new.percentile(90):
        return replace(difference, change=Change.BETTER)
    return difference


def _of_failures(name: str, old: _Row, new: _Row, threshold: float, needed: float) -> Difference:
    before, after = blocks.fail_ratio(old[1], old[0]), blocks.fail_ratio(new[1], new[0])
    difference = after.value - before.value
    sigmas = blocks.sigmas(difference, before, after)
    few, many = sorted((before.value, after.value))
    if many - few < _LEAST_RATIO or many < few * (1 + threshold):
        change = Change.SAME
    elif few == 0 and many >= _BURST and max(old[0].failures, new[0].failures) >= _LEAST_FAILURES:
        change = Change.WORSE if difference > 0 else Change.BETTER
    else:
        change = _told(sigmas, needed)
    return Difference(name, "fail_ratio", before.value, after.value, change, sigmas)


def _told(sigmas: float | None, needed: float) -> Change:
    if sigmas is None:
        return Change.UNCLEAR
    if abs(sigmas) < needed:
        return Change.SAME
    return Change.WORSE if sigmas > 0 else Change.BETTER


def _gone(name: str, old: Histogram) -> Difference:
    """Judge a row that is not there any more: what succeeded often, and does not happen now, got worse."""
    succeeded = old.count - old.failures
    if succeeded >= _LEAST_GONE:
        change = Change.WORSE
    else:
        change = Change.UNCLEAR if succeeded or old.count < _LEAST_FAILURES else Change.BETTER
    return Difference(name, "count", old.count, 0, change, None)


def _come(name: str, new: Histogram) -> Difference:
    """Judge a row that was not there before: messages that were lost, say, are failures alone."""
    is_failing = new.failures >= max(_LEAST_FAILURES, new.count * _BURST)
    return Difference(name, "count", 0, new.count, Change.WORSE if is_failing else Change.UNCLEAR, None)


def _other_conditions(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{name.replace('_', ' ')}: {first[name]} and {second[name]}"
        for name in ("scenario", "host", "charge_points", "workers")
        if first[name] != second[name]
    ]
    lines += [
        f"statistics reset {each['statistics_since']:.0f} s into the {which} run: what was before is not in it"
        for each, which in ((first, "first"), (second, "second"))
        if each.get("statistics_since")
    ]
    before, after = first["options"], second["options"]
    return lines + [
        f"{name}: {before.get(name)} and {after.get(name)}"
        for name in sorted({*before, *after} - _NO_CONDITION)
        if before.get(name) != after.get(name)
    ]
