"""Three significant digits in Locust's statistics, below a millisecond too.

Locust counts times in whole milliseconds, and from 100 ms on in two digits: a central system on the same network
answers in less than one. What it prints and writes is cut to whole milliseconds once more.
"""

from __future__ import annotations

from typing import Any

import locust.stats
from locust.stats import StatsCSV, StatsEntry

from ampswarm.results.histogram import bucket, three_digits

_WIDTH_OF_TYPE = locust.stats.STATS_TYPE_WIDTH
_WIDTH_OF_NAME = locust.stats.STATS_NAME_WIDTH


def install() -> None:
    """Replace what loses digits, in this process: bucketing, console tables, CSV files, and what the web UI shows."""
    # Made to be replaced, says its docstring; the others are methods that nobody else overrides.
    locust.stats.bucket_response_time = bucket  # type: ignore[assignment]
    StatsEntry.to_string = _to_string  # type: ignore[method-assign]
    StatsEntry.percentile = _percentile  # type: ignore[method-assign]
    StatsEntry.to_dict = _to_dict  # type: ignore[method-assign]
    StatsCSV._percentile_fields = _percentile_fields  # type: ignore[method-assign]  # noqa: SLF001


_locusts_to_dict = StatsEntry.to_dict


def _to_dict(self: StatsEntry, escape_string_values: bool = False) -> dict[str, int | float | str]:  # noqa: FBT001, FBT002  Locust's signature
    fields = _locusts_to_dict(self, escape_string_values)
    fields["min_response_time"] = bucket(self.min_response_time or 0)
    fields["max_response_time"] = bucket(self.max_response_time)
    return fields


def _to_string(self: StatsEntry, current: bool = True) -> str:  # noqa: FBT001, FBT002  Locust's signature
    rate = self.current_rps if current else self.total_rps
    failures = self.current_fail_per_sec if current else self.total_fail_per_sec
    times = (self.avg_response_time, self.min_response_time or 0, self.max_response_time, self.median_response_time)
    average, lowest, highest, median = (three_digits(each) for each in times)
    name = f"{self.name:<{_WIDTH_OF_NAME - _WIDTH_OF_TYPE + 4}}"
    failed = f"{self.num_failures}({self.fail_ratio * 100:.2f}%)"
    return (
        f"{(self.method and self.method + ' ') or '':<{_WIDTH_OF_TYPE}} {name} {self.num_requests:7d} {failed:>12} |"
        f"{average:>7} {lowest:>7} {highest:>7}{median:>7} | {rate or 0:7.2f} {failures or 0:11.2f}"
    )


def _percentile(self: StatsEntry) -> str:
    if not self.num_requests:
        raise ValueError("Can't calculate percentile on url with no successful requests")
    times = (three_digits(self.get_response_time_percentile(each)) for each in locust.stats.PERCENTILES_TO_REPORT)
    first, *others = times
    # As wide as Locust's heading, which has two places more for the first one.
    row = " ".join([f"{first:>8}", *(f"{each:>6}" for each in others), f"{self.num_requests:>6}"])
    return f"{self.method or '':<{_WIDTH_OF_TYPE}} {self.name:<{_WIDTH_OF_NAME}} {row}"


def _percentile_fields(self: StatsCSV, stats_entry: StatsEntry, use_current: bool = False) -> list[Any]:  # noqa: FBT001, FBT002  Locust's signature
    if not stats_entry.num_requests:
        return self.percentiles_na
    if use_current and stats_entry.use_response_times_cache:
        return [stats_entry.get_current_response_time_percentile(each) or 0 for each in self.percentiles_to_report]
    return [stats_entry.get_response_time_percentile(each) or 0 for each in self.percentiles_to_report]
