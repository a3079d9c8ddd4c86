"""A search as a picture: one SVG file that needs nothing else."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import Final

from ampswarm.capacity.evidence import UNITS, Evidence, Report, judged

_WIDTH: Final = 760
_HEIGHT: Final = 560
_LEFT: Final = 80
_RIGHT: Final = 30
_PANELS: Final = ((70, 190), (330, 180))
"""Top and height of each."""
_HELD: Final = "#1a7f37"
_FAILED: Final = "#cf222e"
_MEDIAN: Final = "#57606a"
_STYLE: Final = (
    "text{font:12px sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}.grid{stroke:#d0d7de}"
    ".edge{stroke:#0969da;stroke-width:2;stroke-dasharray:6 4}.plan{stroke:#8c959f;stroke-dasharray:3 3}"
)


def svg(report: Report) -> str:
    """Return the plot: latency over load, and what was achieved over what was tried."""
    trials = list(report.trials)
    most = _nice(max((each.load for each in trials), default=1))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(report.sentence())}</title><style>{_STYLE}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{_LEFT}" y="28">{escape(_short(report.sentence()))}</text>',
        *_latency(report, judged(trials), most),
        *_achieved(report, trials, most),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _latency(report: Report, trials: list[Evidence], most: float) -> list[str]:
    top, height = _PANELS[0]
    times = [time for each in trials for time in (each.p50, each.p99) if time > 0]
    # From a microsecond on: less is no time that a clock can tell.
    low = floor(log10(max(min(times, default=1.0), 0.001)))
    high = max(ceil(log10(max(times, default=10.0))), low + 1)

    def y(milliseconds: float) -> float:
        share = (log10(max(milliseconds, 10**low)) - low) / (high - low)
        return top + height * (1 - share)

    parts = [f'<text x="{_LEFT}" y="{top - 12}">milliseconds from due to answered: p99 (p50 in grey)</text>']
    parts += [_line_of_grid(y(10.0**power), f"{10.0**power:g}") for power in range(low, high + 1)]
    parts += _floor(top + height, most) + _edge(report, top, height, most)
    for each in trials:
        parts.append(_dot(_x(each.load, most), y(each.p50), _MEDIAN, each, 3))
        parts.append(_dot(_x(each.load, most), y(each.p99), _color(each), each, 5))
    return parts


def _achieved(report: Report, trials: list[Evidence], most: float) -> list[str]:
    top, height = _PANELS[1]
    highest = _nice(max([most, *(each.achieved for each in trials)]))

    def y(load: float) -> float:
        return top + height * (1 - load / highest)

    parts = [
        f'<text x="{_LEFT}" y="{top - 12}">achieved, over what was tried, in {UNITS[report.of]}</text>',
        *(_line_of_grid(y(highest * share), f"{highest * share:g}") for share in (0.0, 0.5, 1.0)),
        f'<line class="plan" x1="{_x(0, most):.1f}" y1="{y(0):.1f}" x2="{_x(most, most):.1f}" y2="{y(most):.1f}"/>',
        *_floor(top + height, most),
        *_edge(report, top, height, most),
    ]
    return parts + [_dot(_x(each.load, most), y(each.achieved), _color(each), each, 5) for each in trials]


def _edge(report: Report, top: float, height: float, most: float) -> list[str]:
    if not report.capacity:
        return []
    x = _x(report.capacity, most)
    return [f'<line class="edge" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + height}"/>']


def _floor(bottom: float, most: float) -> list[str]:
    return [
        f'<text x="{_x(most * share, most):.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{most * share:g}</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]


def _line_of_grid(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _dot(x: float, y: float, color: str, trial: Evidence, radius: int) -> str:
    words = f"{trial.load}, {trial.purpose}: {'held' if trial.held else trial.reason}"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}"><title>{escape(words)}</title></circle>'


def _color(trial: Evidence) -> str:
    return _HELD if trial.held else _FAILED


def _x(load: float, most: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * load / most


def _nice(value: float) -> float:
    """Return the next number whose quarters are short labels."""
    power = 10.0 ** floor(log10(max(value, 1.0)))
    return next(digit * power for digit in (1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10) if digit * power >= value)


def _short(text: str, longest: int = 95) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
