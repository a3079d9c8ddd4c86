"""How a headless run shows that it goes on: a line that stays on a terminal, lines in a log elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ROOT, STEADY_STATE, TIMEOUT, CentralSystem, clean_environment, run_locust

SLO = ("--slo", "OCPP/Heartbeat p99 < 60s", "--slo", "OCPP/* count > 1000000")


def run_on_a_terminal(args: list[str]) -> tuple[int, str]:
    """Run Locust on a terminal of its own; return its status and all that was written there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(STEADY_STATE), *args],
        cwd=ROOT,
        env=clean_environment({"COLUMNS": "200"}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # as Linux says that nobody has the other end any more
                break
            if not part:
                break
            written += part
        os.close(ours)
        return process.wait(TIMEOUT), written.decode()


def test_on_a_terminal_one_line_stays_and_the_log_goes_above_it(central_system: CentralSystem) -> None:
    """Not a page of tables every two seconds; and no line of the log is cut by it."""
    status, text = run_on_a_terminal(
        ["--headless", "-u", "10", "-t", "6s", "--host", central_system.url, *SLO, "--storm", "at=3s kind=network"]
    )
    assert status == 3, text
    lines = re.findall(r"\r(0:0\d [^\r\n]*)\x1b\[K", text)
    assert len(lines) >= 4
    assert any("10 of 10 charge points: 10 online; " in line for line in lines), lines
    assert all("; SLOs: " in line and line.endswith(" ms") for line in lines)
    assert "SLOs: 1 held, 1 missed" in lines[-1]
    # Each line of the log begins where a line begins, and is whole.
    shown = re.sub(r"\r[^\r\n]*\x1b\[K", "", text)
    assert re.search(r"^\[[^\n]*storm 1 begins, [^\n]*kind=network\r?$", shown, re.MULTILINE)
    assert shown.count("Aggregated") == 2  # the summary: statistics and percentiles


@pytest.mark.parametrize(
    ("progress", "is_told", "tables"), [("line", True, 2), ("tables", False, 6), ("none", False, 2)]
)
def test_elsewhere_lines_of_the_log_say_it(
    central_system: CentralSystem, tmp_path: Path, progress: str, *, is_told: bool, tables: int
) -> None:
    """A pipeline keeps them; or Locust's tables, or nothing, as it likes."""
    run = run_locust(
        tmp_path, "--headless", "-u", "10", "-t", "12s", "--host", central_system.url, *SLO, "--progress", progress
    )
    assert run.status == 3, run.output
    found = re.findall(r"^\[.* progress: (.*)$", run.output, re.MULTILINE)
    assert bool(found) == is_told
    if is_told:
        assert re.match(r"0:(09|1\d) running", found[-1])
        assert "; 10 of 10 charge points: 10 online; " in found[-1]
    count = run.output.count("Aggregated")
    assert count == tables if tables == 2 else count > tables
    assert "\r" not in run.output


def test_another_word_is_one_line_and_status_2(tmp_path: Path) -> None:
    """Before the first connection."""
    run = run_locust(tmp_path, "--headless", "-t", "1s", "--progress", "dots")
    assert run.status == 2, run.output
    assert "'dots' is none of: line, tables, none" in run.output
