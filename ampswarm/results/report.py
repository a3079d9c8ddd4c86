"""The report of a run: everything a machine wants of it, as JSON. docs/reference/report.md describes it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import orjson

from ampswarm.results.blocks import blocks_of
from ampswarm.results.histogram import Histogram
from ampswarm.results.slo import Judgement, Outcome
from ampswarm.results.timeline import Timeline

FORMAT: Final = 1
"""Version of the format; it grows when something changes its meaning or goes."""
PERCENTILES: Final = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)


class BadReport(ValueError):  # noqa: N818  one clear line
    """A file that is no report of a run."""


class Status(StrEnum):
    """What a run came to."""

    PASSED = "passed"
    """All SLOs held."""
    MISSED = "missed"
    """An SLO did not hold, or nothing was there to judge it by."""
    INVALID = "invalid"
    """The generator was at its limits: its numbers say nothing of the target."""
    NONE = "none"
    """There was nothing to judge it by: no SLO, and nothing that the scenario found."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scenario itself makes of its run, such as a search for capacity."""

    status: Status
    text: str
    """One line."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to, and why."""

    judgements: Sequence[Judgement] = ()
    invalid: Sequence[str] = ()
    """Why its numbers cannot be trusted, a line each; empty when they can."""
    found: Finding | None = None
    """By the scenario itself, where it is one that finds something out."""

    @property
    def status(self) -> Status:
        """Return what it comes to. Invalid goes first: what cannot be trusted misses nothing."""
        if self.invalid:
            return Status.INVALID
        if self.found is not None and self.found.status is not Status.PASSED:
            return self.found.status
        if not self.judgements:
            return Status.NONE if self.found is None else self.found.status
        is_held = all(each.outcome is Outcome.HELD for each in self.judgements)
        return Status.PASSED if is_held else Status.MISSED

    def as_dict(self) -> dict[str, Any]:
        """Return it as the report has it."""
        return {
            "status": self.status.value,
            "invalid": list(self.invalid),
            "found": None if self.found is None else {"status": self.found.status.value, "text": self.found.text},
            "slos": [each.as_dict() for each in self.judgements],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A report: what JSON has, checked against its schema."""

    data: Mapping[str, Any]
    name: str = field(default="", compare=False)
    """Where it was read from."""

    @property
    def status(self) -> Status:
        """What the run came to."""
        return Status(self.data["verdict"]["status"])

    def histograms(self) -> dict[str, Histogram]:
        """Return the samples of each row, by `type/name`."""
        return {
            f"{each['type']}/{each['name']}": Histogram.unpack(each["histogram"]) for each in self.data["statistics"]
        }

    def blocks(self) -> dict[str, list[Histogram]]:
        """Return the same in stretches of time, by `type/name`: what two runs are compared by."""
        return {
            f"{each['type']}/{each['name']}": [Histogram.unpack(block) for block in each["blocks"]]
            for each in self.data["statistics"]
        }

    def save(self, path: Path) -> None:
        """Write it to a file, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        write_whole(path, orjson.dumps(self.data, option=orjson.OPT_APPEND_NEWLINE))


def write_whole(path: Path, text: bytes) -> None:
    """Write a file, whole or not at all: who reads it meanwhile gets the old one.

    Raises:
        OSError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        # Such as /dev/stdout or a named pipe: there is nothing to take the place of.
        with path.open("wb") as file:
            file.write(text)
        return
    path = path.resolve()  # what a link points to, and not the link
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        # As `open` would have made it.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def build(
    *,
    run: Mapping[str, Any],
    verdict: Verdict,
    exit_status: int | None,
    timeline: Timeline,
    errors: Sequence[tuple[str, str, str, int]] = (),
    sections: Mapping[str, Any] | None = None,
) -> Report:
    """Return the report of a run.

    Args:
        run: what was run, as the schema has it.
        verdict: what it came to.
        exit_status: with which the process will end; `None` where that is not known.
        timeline: all samples.
        errors: type, name, text and count of each kind of failure.
        sections: what else is to be told, by name: `calls`, `fleet`, `generators`, `storms`, `events` and others.
    """
    by_row: dict[tuple[str, str], dict[str, int]] = {}
    for kind, name, text, count in errors:
        texts = by_row.setdefault((kind, name), {})
        texts[text] = texts.get(text, 0) + count
    data: dict[str, Any] = {
        "format": FORMAT,
        "run": dict(run),
        "verdict": {**verdict.as_dict(), "exit_status": exit_status},
        "statistics": [_row(key, timeline, by_row.get(key, {})) for key in timeline.seen()],
        "timeline": {
            "window_seconds": timeline.width,
            "rows": [
                {"type": key[0], "name": key[1], "windows": [_window(*each) for each in timeline.windows(key)]}
                for key in timeline.seen()
            ],
        },
        **(sections or {}),
    }
    return Report(data)


def _row(key: tuple[str, str], timeline: Timeline, errors: Mapping[str, int]) -> dict[str, Any]:
    histogram = timeline.total(key)
    percentiles = zip(PERCENTILES, histogram.percentiles(PERCENTILES), strict=True)
    return {
        "type": key[0],
        "name": key[1],
        "count": histogram.count,
        "failures": histogram.failures,
        "mean_ms": _rounded(histogram.mean),
        "min_ms": _rounded(histogram.lowest if histogram.timed else 0.0),
        "max_ms": _rounded(histogram.highest),
        "percentiles_ms": {f"{percent:g}": milliseconds for percent, milliseconds in percentiles},
        "errors": dict(errors),
        "histogram": histogram.pack(),
        "blocks": [block.pack() for block in blocks_of(timeline, key)],
    }


def _window(begin: float, histogram: Histogram) -> dict[str, Any]:
    middle, high, higher = histogram.percentiles([50, 95, 99])
    return {
        "begin": begin,
        "count": histogram.count,
        "failures": histogram.failures,
        "mean_ms": _rounded(histogram.mean),
        "p50_ms": middle,
        "p95_ms": high,
        "p99_ms": higher,
        "max_ms": _rounded(histogram.highest),
    }


def _rounded(milliseconds: float) -> float:
    return round(milliseconds, 4)


def load(path: Path) -> Report:
    """Read a report.

    Raises:
        BadReport: it cannot be read, or is none.
    """
    try:
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        raise BadReport(f"{path}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise BadReport(f"{path}: is no JSON: {error}") from None
    if isinstance(data, dict) and isinstance(data.get("format"), int) and data["format"] > FORMAT:
        raise BadReport(f"{path}: its format is {data['format']}, of a later Ampswarm; this one knows {FORMAT}")
    wrong = next(iter(_validator().iter_errors(data)), None)
    if wrong is not None:
        place = ".".join(str(each) for each in wrong.instance_path) or "the file"
        # What comes from the file may have line breaks in it.
        words = " ".join(f"{place}: {wrong.message[:200]}".split())
        raise BadReport(f"{path}: is no report of a run: {words}")
    report = Report(data, str(path))
    try:
        report.histograms()
        report.blocks()
    except ValueError as error:
        raise BadReport(f"{path}: is no report of a run: statistics: {error}") from None
    return report


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a report."""
    text = resources.files("ampswarm.results").joinpath("report.schema.json").read_bytes()
    found: dict[str, Any] = orjson.loads(text)
    return found


@cache
def _validator() -> Any:  # noqa: ANN401  of a class that the library does not name the same everywhere
    return jsonschema_rs.validator_for(schema())
