"""Three significant digits in Locust's statistics, below a millisecond too; percentiles as everywhere else here.

Locust counts times in whole milliseconds, and from 100 ms on in two digits: a central system on the same network
answers in less than one. What it prints and writes is cut to whole milliseconds once more. Its percentile is that of
a sample too many: the p99 of 100 samples is their maximum. And its CSV files lack what came in their last second.
"""

from __future__ import annotations

import time
from typing import Any

import locust.stats
from locust.stats import StatsCSV, StatsCSVFileWriter, StatsEntry

from ampswarm.results.histogram import bucket, nearest_ranks, rank_of, three_digits

_WIDTH_OF_TYPE = locust.stats.STATS_TYPE_WIDTH
_WIDTH_OF_NAME = max(locust.stats.STATS_NAME_WIDTH, _WIDTH_OF_TYPE)
"""A narrow terminal leaves nothing for names, by Locust's reckoning; or less."""


def install() -> None:
    """Replace what loses digits, in this process: bucketing, console tables, CSV files, and what the web UI shows."""
    # Made to be replaced, says its docstring; the others are methods that nobody else overrides.
    locust.stats.bucket_response_time = bucket  # type: ignore[assignment]
    locust.stats.calculate_response_time_percentile = _nearest_rank  # type: ignore[assignment]
    StatsEntry.to_string = _to_string  # type: ignore[method-assign]
    StatsEntry.percentile = _percentile  # type: ignore[method-assign]
    StatsEntry.to_dict = _to_dict  # type: ignore[method-assign]
    StatsCSV._percentile_fields = _percentile_fields  # type: ignore[method-assign]  # noqa: SLF001
    StatsCSVFileWriter.close_files = _close_files  # type: ignore[method-assign]
    # The page rounds its own column of medians to two decimals, and no percentile.
    if locust.stats.PERCENTILES_TO_STATISTICS == [0.95, 0.99]:
        locust.stats.PERCENTILES_TO_STATISTICS = [0.5, 0.95, 0.99]


def _nearest_rank(response_times: dict[float, int], _num_requests: int, percent: float) -> float:
    """Return the time within which `percent`, from 0 to 1, of all that have a time were; 0 for none."""
    below = sum(response_times.values())
    rank = rank_of(percent * 100, below)
    # From above: what is asked for is mostly high, and it is asked for in the loop that all charge points live in.
    for time_ in sorted(response_times, reverse=True):
        below -= response_times[time_]
        if below < rank:
            return time_
    return 0.0


_locusts_to_dict = StatsEntry.to_dict
_locusts_close_files = StatsCSVFileWriter.close_files


def _close_files(self: StatsCSVFileWriter) -> None:
    """Write once more, whole, what is written over each second, and then close all files."""
    for file, writer, columns, write in (
        (self.requests_csv_filehandle, self.requests_csv_writer, self.requests_csv_columns, self._requests_data_rows),
        (self.failures_csv_filehandle, self.failures_csv_writer, self.failures_columns, self._failures_data_rows),
        (
            self.exceptions_csv_filehandle,
            self.exceptions_csv_writer,
            self.exceptions_columns,
            self._exceptions_data_rows,
        ),
    ):
        file.seek(0)
        writer.writerow(columns)
        write(writer)
        file.truncate()
    self._stats_history_data_rows(self.stats_history_csv_writer, time.time())
    _locusts_close_files(self)


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
    percents = [100 * each for each in locust.stats.PERCENTILES_TO_REPORT]
    first, *others = map(three_digits, nearest_ranks(self.response_times, percents))
    # As wide as Locust's heading, which has two places more for the first one.
    row = " ".join([f"{first:>8}", *(f"{each:>6}" for each in others), f"{self.num_requests:>6}"])
    return f"{self.method or '':<{_WIDTH_OF_TYPE}} {self.name:<{_WIDTH_OF_NAME}} {row}"


def _percentile_fields(self: StatsCSV, stats_entry: StatsEntry, use_current: bool = False) -> list[Any]:  # noqa: FBT001, FBT002  Locust's signature
    if not stats_entry.num_requests:
        return self.percentiles_na
    if use_current and stats_entry.use_response_times_cache:
        return [stats_entry.get_current_response_time_percentile(each) or 0 for each in self.percentiles_to_report]
    return nearest_ranks(stats_entry.response_times, [100 * each for each in self.percentiles_to_report])
