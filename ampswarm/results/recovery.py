"""How a fleet came back from a storm, as values: counts of each process, their sum, a table, a section of the report.

Times count from the moment at which the storm began in the process that saw it, so clocks need not agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, Final

from ampswarm.results.histogram import Histogram, bucket
from ampswarm.results.timeline import Timeline

PERCENTS: Final = (50, 90, 99, 100)
BEFORE: Final = 30.0
"""Seconds before a storm that are compared with it."""
VIEWS: Final = ("OCPP", "DUE")
"""Wire time of a Call, and the time since it was due."""
_BACK: Final = 99
"""Per cent of those that were hit: with them, the storm is over for the others."""
_SUMS: Final = ("hit", "were_online", "backlogs", "backlog_messages")
_MOST_PAIRS: Final = 200
_HISTOGRAMS: Final = ("back", "attempts", "drained", "drain")


class Recovery:
    """What became of one storm: of one process, or of all.

    Histograms are in milliseconds, but for `attempts`, which counts them.
    """

    __slots__ = (
        "attempts",
        "back",
        "backlog_messages",
        "backlogs",
        "before",
        "drain",
        "drained",
        "hit",
        "others",
        "refused",
        "were_online",
    )

    def __init__(self) -> None:
        self.hit = 0
        """Charge points that were hit."""
        self.were_online = 0
        """Those of them that were online then."""
        self.back = Histogram()
        """From the beginning of the storm until a charge point was accepted again."""
        self.attempts = Histogram()
        """To connect, of each charge point until it was back, or until the test ended."""
        self.refused: dict[str, int] = {}
        """Attempts that failed, by what was wrong."""
        self.backlogs = 0
        """Charge points that came back with transaction messages in their outboxes."""
        self.backlog_messages = 0
        self.drained = Histogram()
        """From the beginning of the storm until such an outbox was empty."""
        self.drain = Histogram()
        """From being back to that."""
        self.before = {view: Histogram() for view in VIEWS}
        """Latency of the others in the seconds before the storm."""
        self.others = Timeline()
        """Latency of the others since it began."""

    @property
    def is_over(self) -> bool:
        """Whether all that were hit are back, with empty outboxes."""
        return self.hit > 0 and self.back.count >= self.hit and self.drained.count >= self.backlogs

    def note_other(self, at: float, latencies: tuple[float, float], *, failed: bool) -> None:
        """Count a Call of a charge point that was not hit.

        Args:
            at: when it ended, in seconds since the storm began; negative for before.
            latencies: milliseconds, one for each of `VIEWS`.
            failed: whether it got no usable answer.
        """
        for view, milliseconds in zip(VIEWS, latencies, strict=True):
            if at < 0:
                self.before[view].add(milliseconds, failed=failed)
            else:
                self.others.add(view, "", at, milliseconds, failed=failed)

    # -- from workers to the master ----------------------------------------------------------

    def take(self) -> dict[str, Any]:
        """Return all that was counted since the last time, for `accept`, and forget it; empty for nothing."""
        taken: dict[str, Any] = {name: getattr(self, name) for name in _SUMS if getattr(self, name)}
        for name in _HISTOGRAMS:
            if getattr(self, name).count:
                taken[name] = getattr(self, name).pack()
        if self.refused:
            taken["refused"] = self.refused
        before = {view: histogram.pack() for view, histogram in self.before.items() if histogram.count}
        if before:
            taken["before"] = before
        others = self.others.take()
        if others:
            taken["others"] = others
        self.__init__()  # type: ignore[misc]
        return taken

    def accept(self, taken: Mapping[str, Any]) -> None:
        """Add what another one had taken.

        Raises:
            ValueError: it is nothing of the sort.
        """
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + int(taken.get(name, 0)))
        for name in _HISTOGRAMS:
            if name in taken:
                getattr(self, name).merge(Histogram.unpack(taken[name]))
        for reason, count in taken.get("refused", {}).items():
            self.refused[reason] = self.refused.get(reason, 0) + int(count)
        for view, packed in taken.get("before", {}).items():
            self.before[view].merge(Histogram.unpack(packed))
        self.others.accept(taken.get("others", ()))

    # -- what it comes to ---------------------------------------------------------------------

    def seconds_until(self, percent: float) -> float | None:
        """Return when `percent` of 100 of those hit were accepted again; `None` where they never were."""
        return _nth(self.back, ceil(percent * self.hit / 100))

    def curve(self) -> list[list[float]]:
        """Return how many were back after how many seconds: pairs, 200 at most, the last one of all that are back."""
        times = sorted(self.back.counts)
        pairs: list[list[float]] = []
        back = 0
        for milliseconds in times:
            back += self.back.counts[milliseconds]
            pairs.append([round(milliseconds / 1000, 3), back])
        step = len(pairs) // _MOST_PAIRS + 1
        return pairs if step == 1 else [*pairs[:-1:step], pairs[-1]]

    def section(self) -> dict[str, Any]:
        """Return all of it for a report: what JSON can hold, times in seconds and latencies in milliseconds."""
        mean, (p99, most) = self.attempts.mean, self.attempts.percentiles((99, 100))
        drain = [each / 1000 for each in self.drain.percentiles((50, 99, 100))]
        end = self.seconds_until(_BACK)
        # Windows are whole seconds, and the one in which the last of the 99 % came back is part of the storm.
        until = float("inf") if end is None else ceil(end / self.others.width) * self.others.width
        return {
            "hit": self.hit,
            "were_online": self.were_online,
            "back": self.back.count,
            "curve": self.curve(),
            "seconds_until": {f"{percent}": self.seconds_until(percent) for percent in PERCENTS},
            "attempts": {"mean": round(mean, 2), "p99": int(p99), "max": int(most)},
            "refused": dict(sorted(self.refused.items(), key=lambda item: (-item[1], item[0]))),
            "outbox": {
                "charge_points": self.backlogs,
                "messages": self.backlog_messages,
                "drained": self.drained.count,
                "p50_seconds": drain[0],
                "p99_seconds": drain[1],
                "max_seconds": drain[2],
                "seconds_until_all": _nth(self.drained, self.backlogs),
            },
            "others": {
                view: {
                    "before": _latency(self.before[view]),
                    "during": _latency(self.others.total((view, ""), before=until)),
                    "after": _latency(self.others.total((view, ""), after=until)),
                }
                for view in VIEWS
            },
        }


def table(section: Mapping[str, Any]) -> list[str]:
    """Return the lines of a table that shows a section, with `title` as its first line."""
    until = section["seconds_until"]
    attempts, outbox, others = section["attempts"], section["outbox"], section["others"]
    lines = [
        f"{section['title']}: {section['hit']} hit, {section['were_online']} of them online; {section['back']} back",
        _row("", *(f"{percent} %" for percent in until)),
        _row("accepted again after", *(_seconds(each) for each in until.values())),
        _row("", "mean", "p99", "max"),
        _row("attempts per charge point", f"{attempts['mean']:.2f}", f"{attempts['p99']}", f"{attempts['max']}"),
    ]
    refused = section["refused"]
    lines.append(_row("attempts that failed", f"{sum(refused.values())}"))
    lines += [f"{_row('', f'{count}')}  {reason}" for reason, count in refused.items()]
    if outbox["charge_points"]:
        lines.append(_row("", "p50", "p99", "max", "all since"))
        lines.append(
            _row(
                "outboxes drained within",
                *(_seconds(outbox[key]) for key in ("p50_seconds", "p99_seconds", "max_seconds", "seconds_until_all")),
            )
            + f"   {outbox['drained']} of {outbox['charge_points']}, {outbox['messages']} messages"
        )
    else:
        lines.append(_row("outboxes drained within", "none had to"))
    lines.append(_row("those not hit, p50 / p99 ms", *others[VIEWS[0]]))
    lines += [_row(f"  {view}", *(_pair(each) for each in others[view].values())) for view in VIEWS]
    return lines


def _row(label: str, *cells: str) -> str:
    return f"  {label:<28}" + "".join(f"{cell:>14}" for cell in cells)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.2f} s"


def _pair(latency: Mapping[str, Any]) -> str:
    return " / ".join(f"{bucket(latency[key]):g}" for key in ("p50_ms", "p99_ms")) if latency["count"] else "-"


def _latency(histogram: Histogram) -> dict[str, float]:
    p50, p99 = map(bucket, histogram.percentiles((50, 99)))
    return {"count": histogram.count, "failures": histogram.failures, "p50_ms": p50, "p99_ms": p99}


def _nth(histogram: Histogram, rank: int) -> float | None:
    """Return the seconds of the `rank`th of what was counted; `None` where there are not so many, or for 0."""
    if not 0 < rank <= histogram.timed:
        return None
    seen = 0
    for key in sorted(histogram.counts):
        seen += histogram.counts[key]
        if seen >= rank:
            return min(max(key, histogram.lowest), histogram.highest) / 1000
    return None


def tables(sections: Iterable[Mapping[str, Any]]) -> str:
    """Return one text with the tables of all storms."""
    return "\n".join(line for section in sections for line in table(section))
