"""SLOs: what a run has to hold, in one line each.

    OCPP/BootNotification p99 < 250ms
    FLOW/online max < 60s
    fail_ratio < 0.1%
    DUE/* p99.9 < 1s after 60s
    OCPP/* rate > 500/s after 60s before 300s

| part | |
|---|---|
| target | `TYPE/NAME` of Locust's table; `*` and `?` stand for anything. Without one: all of the Aggregated row |
| metric | `p50`, `p99.9` …, `min`, `mean`, `max`; `fail_ratio`; `count`, `failures`; `rate`, per second |
| limit | `<`, `<=`, `>`, `>=` and a number |
| unit | of times `us`, `ms`, `s`, `min`, `h`; of ratios `%`, or none from 0 to 1; of rates `/s` |
| time | `after T`, `before T`: what ended then, in whole windows of the timeline, counted from the start of the test |

With a pattern, each row that it meets has to hold, and the worst is named; of `count`, `failures` and `rate` it is
the sum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any, Final, NoReturn

from ampswarm.results.histogram import Histogram
from ampswarm.results.timeline import Key, Timeline

VIEWS: Final = frozenset({("WS", "tcp"), ("WS", "tls"), ("WS", "upgrade")})
"""What is another view of something that is counted already, as is all of the type DUE."""

_TIMES: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0, "min": 60_000.0, "h": 3_600_000.0}
"""Milliseconds of a unit."""
_SUMMED: Final = ("count", "failures", "rate")
_METRICS: Final = ("min", "mean", "max", "fail_ratio", *_SUMMED)
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": lambda value, limit: value <= limit,
    ">=": lambda value, limit: value >= limit,
    "<": lambda value, limit: value < limit,
    ">": lambda value, limit: value > limit,
}
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")
_WORD: Final = re.compile(r"\s*([^\s<>=]+)")
_OPERATOR: Final = re.compile(r"\s*([<>]=?)")
_NUMBER: Final = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z%/]*)(?=\s|$)")
_PERCENTILE: Final = re.compile(r"p(\d{1,3}(?:\.\d{1,3})?)")


class InvalidSlo(ValueError):  # noqa: N818  one clear line
    """An expression that is no SLO; says where, and what is wanted."""


class Outcome(StrEnum):
    """What became of an SLO."""

    HELD = "held"
    MISSED = "missed"
    NO_SAMPLE = "no sample"
    """Nothing was there to be judged, which is no success."""


@dataclass(frozen=True, slots=True)
class Slo:
    """One SLO."""

    text: str
    """As it was written."""
    target: str
    """Empty for everything in the Aggregated row."""
    metric: str
    operator: str
    limit: float
    """Milliseconds, a ratio from 0 to 1, a number, or a number per second, as the metric is."""
    after: float = 0.0
    """Seconds since the test began."""
    before: float = float("inf")

    @property
    def unit(self) -> str:
        """Return what `limit` and a value are in: `ms`, `/s`, or nothing."""
        if self.metric == "rate":
            return "/s"
        return "" if self.metric in {"fail_ratio", *_SUMMED} else "ms"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an SLO came to."""

    slo: Slo
    outcome: Outcome
    value: float | None
    """In the unit of the SLO; that of the worst row. `None` without a sample."""
    worst: str
    """Type and name of the row that it is of; empty when it is of several together."""
    samples: int
    """How many it was made of."""
    is_few: bool
    """Whether these were too few for such a percentile: one more sample could change it a lot."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as reports and pages have it."""
        return {
            "slo": self.slo.text,
            "outcome": self.outcome.value,
            "value": self.value,
            "shown": "" if self.value is None else shown(self.value, self.slo),
            "limit": self.slo.limit,
            "unit": self.slo.unit,
            "worst": self.worst,
            "samples": self.samples,
            "few_samples": self.is_few,
            "text": str(self),
        }

    def __str__(self) -> str:
        """Return it as a line of a log."""
        if self.value is None:
            return f"{self.outcome}: {self.slo.text}"
        where = f" for {self.worst}" if self.worst and self.worst != self.slo.target else ""
        few = " (few samples)" if self.is_few else ""
        return f"{self.outcome}: {self.slo.text}: {shown(self.value, self.slo)}{where}, {self.samples} samples{few}"


def shown(value: float, slo: Slo) -> str:
    """Return a value as people read it."""
    if slo.metric == "fail_ratio":
        return f"{value * 100:.3g} %"
    if slo.unit == "ms":
        return f"{value / 1000:.4g} s" if value >= 10_000 else f"{value:.4g} ms"
    return f"{value:.6g}{slo.unit}"


def parse_slo(text: str) -> Slo:
    """Return the SLO that an expression means.

    Raises:
        InvalidSlo: it means none.
    """
    return _Parser(text).parse()


def parse_slos(text: str, where: str = "") -> list[Slo]:
    """Return the SLOs of a text, one a line; what begins with `#`, after a blank or at the beginning, is a comment.

    Args:
        text: the lines.
        where: the file that they are from, for messages.

    Raises:
        InvalidSlo: one is none.
    """
    slos = []
    for number, line in enumerate(text.splitlines(), 1):
        expression = _COMMENT.sub("", line).strip()
        if not expression:
            continue
        try:
            slos.append(parse_slo(expression))
        except InvalidSlo as error:
            raise InvalidSlo(f"{where}:{number}: {error}" if where else f"{error}") from None
    return slos


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._at = 0

    def parse(self) -> Slo:
        target, metric = "", self._word("a metric, or TYPE/NAME and a metric")
        if "/" in metric:
            target = metric
            while True:
                # Names may have blanks in them; metrics have none.
                metric = self._word(f"a metric behind {target!r}: {_wanted_metrics()}")
                if _is_metric(metric):
                    break
                target += f" {metric}"
        if not _is_metric(metric):
            self._fail(f"{metric!r} is no metric", _wanted_metrics(), back=len(metric))
        found = _OPERATOR.match(self._text, self._at)
        if found is None:
            self._fail("no comparison", "<, <=, > or >=")
        self._at = found.end()
        limit = self._limit(metric)
        after, before = 0.0, float("inf")
        while self._at < len(self._text):
            word = self._word("after or before")
            if word == "after":
                after = self._seconds(word)
            elif word == "before":
                before = self._seconds(word)
            else:
                self._fail(f"{word!r}", "after T or before T", back=len(word))
        if after >= before:
            self._fail("no time is left", "after a time that is earlier than before")
        return Slo(self._text, target, metric, found[1], limit, after, before)

    def _limit(self, metric: str) -> float:
        number, unit = self._number()
        if metric == "fail_ratio":
            if unit not in {"", "%"}:
                self._fail(f"{unit!r} is no unit of a ratio", "%, or none", back=len(unit))
            ratio = number / 100 if unit == "%" else number
            if ratio > 1:
                self._fail("more than everything", "0 to 1, or 0 % to 100 %", back=len(unit))
            return ratio
        if metric == "rate":
            if unit != "/s":
                self._fail(
                    f"{unit!r} is no unit of a rate" if unit else "a rate without its unit", "/s", back=len(unit)
                )
            return number
        if metric in _SUMMED:
            if unit:
                self._fail(f"{metric} has no unit, and not {unit!r}", "a number", back=len(unit))
            return number
        return number * self._factor(unit)

    def _seconds(self, what: str) -> float:
        number, unit = self._number(f"a time behind {what}, such as 60s")
        return number * self._factor(unit) / 1000

    def _factor(self, unit: str) -> float:
        if unit not in _TIMES:
            wrong = f"{unit!r} is no unit of time" if unit else "a time without its unit"
            self._fail(wrong, ", ".join(_TIMES), back=len(unit))
        return _TIMES[unit]

    def _number(self, wanted: str = "a number and its unit, such as 250ms, 0.1% or 500/s") -> tuple[float, str]:
        found = _NUMBER.match(self._text, self._at)
        if found is None:
            self._fail("no number", wanted)
        number = float(found[1])
        if not isfinite(number):
            self._fail("larger than any number", wanted)
        self._at = found.end()
        return number, found[2]

    def _word(self, wanted: str) -> str:
        found = _WORD.match(self._text, self._at)
        if found is None:
            self._fail("something is missing", wanted)
        self._at = found.end()
        return found[1]

    def _fail(self, wrong: str, wanted: str, back: int = 0) -> NoReturn:
        place = max(0, self._at - back)
        rest = self._text[place : place + 20].strip()
        here = f"at {rest!r}" if rest else "at the end"
        raise InvalidSlo(f"{self._text!r}, {here}: {wrong}; wanted: {wanted}")


def _is_metric(word: str) -> bool:
    found = _PERCENTILE.fullmatch(word)
    return word in _METRICS or (found is not None and 0 < float(found[1]) <= 100)


def _wanted_metrics() -> str:
    return f"p0.001 to p100, {', '.join(_METRICS)}"


# -- judging ------------------------------------------------------------------------------------


def judge(slo: Slo, timeline: Timeline, seconds: float) -> Judgement:
    """Return what an SLO came to.

    Args:
        slo: which.
        timeline: of the run.
        seconds: how long the run took.
    """
    after, before = times_of(slo, timeline, seconds)
    totals = {key: timeline.total(key, after=after, before=before) for key in matching(slo, timeline.seen())}
    return judge_totals(slo, totals, span_of(slo, timeline, seconds))


def judge_totals(slo: Slo, totals: Mapping[Key, Histogram], span: float) -> Judgement:
    """Return what an SLO comes to.

    Args:
        slo: which.
        totals: what was counted in its time, by type and name; others than it is about do not matter.
        span: how many seconds that time is.
    """
    rows = [(f"{kind}/{name}", totals[kind, name]) for kind, name in matching(slo, sorted(totals))]
    rows = [(name, histogram) for name, histogram in rows if histogram.count]
    if len(rows) > 1 and (not slo.target or slo.metric in _SUMMED):
        rows = [("", Histogram.merged(histogram for _, histogram in rows))]
    if slo.metric not in {"fail_ratio", *_SUMMED}:
        rows = [(name, histogram) for name, histogram in rows if histogram.timed]
    if not rows:
        return Judgement(slo, Outcome.NO_SAMPLE, None, "", 0, is_few=False)
    span = max(span, 0.001)
    values = [(metric_of(slo.metric, histogram, span), name, histogram) for name, histogram in rows]
    is_upper = slo.operator.startswith("<")
    value, name, histogram = (max if is_upper else min)(values, key=lambda each: each[0])
    holds = _COMPARISONS[slo.operator](value, slo.limit)
    outcome = Outcome.HELD if holds else Outcome.MISSED
    return Judgement(slo, outcome, value, name, histogram.count, is_few=_is_few(slo.metric, histogram))


def times_of(slo: Slo, timeline: Timeline, seconds: float) -> tuple[float, float]:
    """Return between which times an SLO looks at what was counted, as `Timeline.total` takes them.

    A rate looks at whole windows of the run alone: what comes when it has stopped, such as a thousand last
    StopTransactions, comes in no time.
    """
    if slo.metric != "rate" or slo.before <= seconds:
        return slo.after, slo.before
    _, end = timeline.whole(0.0, seconds)
    return slo.after, float(end) if end else slo.before


def span_of(slo: Slo, timeline: Timeline, seconds: float) -> float:
    """Return how many seconds those are: of whole windows, from when the timeline was begun anew for the last time."""
    after, before = times_of(slo, timeline, seconds)
    begin, end = timeline.whole(max(after, timeline.since), min(before, seconds))
    return (seconds if before >= seconds else end) - begin


def matching(slo: Slo, keys: Iterable[Key]) -> list[Key]:
    """Return those of `keys` that an SLO is about."""
    if not slo.target:
        return [key for key in keys if is_counted(key)]
    # Of what fnmatch knows, brackets stand for themselves.
    kind, _, name = slo.target.replace("[", "[[]").partition("/")
    return [key for key in keys if fnmatchcase(key[0], kind) and fnmatchcase(key[1], name)]


def is_counted(key: Key) -> bool:
    """Whether a row counts in the Aggregated one, and is no other view of something that does."""
    return key[0] != "DUE" and key not in VIEWS


def metric_of(metric: str, histogram: Histogram, span: float = 1.0) -> float:
    """Return the value of a metric; `span` is how many seconds a rate is over."""
    match metric:
        case "min":
            return histogram.lowest
        case "mean":
            return histogram.mean
        case "max":
            return histogram.highest
        case "fail_ratio":
            return histogram.fail_ratio
        case "count":
            return float(histogram.count)
        case "failures":
            return float(histogram.failures)
        case "rate":
            return histogram.count / span
        case _:
            return histogram.percentile(float(metric[1:]))


def _is_few(metric: str, histogram: Histogram) -> bool:
    found = _PERCENTILE.fullmatch(metric)
    return found is not None and histogram.timed * (100 - float(found[1])) < 100
