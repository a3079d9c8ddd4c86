"""A process that was told to stop and does not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.processes import ROOT, TIMEOUT

STUCK_TASK = """
async def deaf():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def main():
    end_within(0.3)
    asyncio.create_task(deaf())
    await asyncio.sleep(0)
"""
STUCK_THREAD = """
def deaf():
    threading.Event().wait()

async def main():
    end_within(0.3)
    threading.Thread(target=deaf).start()
"""
WELL_BEHAVED = """
async def main():
    end_within(60)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    text = f"import asyncio, threading\nfrom server.last_resort import end_within\n{program}\nasyncio.run(main())\n"
    return subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@pytest.mark.parametrize(("program", "part", "where"), [(STUCK_TASK, "tasks", "deaf: "), (STUCK_THREAD, "threads", "")])
def test_it_ends_all_the_same_and_says_what_it_waited_for(program: str, part: str, where: str) -> None:
    """Else a rolling update waits for it until somebody looks, and nobody learns why."""
    done = run(program)
    assert done.returncode == 1
    line = json.loads(done.stderr)
    assert (line["event"], line["after_s"]) == ("ended the hard way", 0.3)
    assert any(each.startswith(where) and "<string>:" in each for each in line[part]), line


def test_who_ends_in_time_is_left_alone() -> None:
    """And does not wait for the timer."""
    done = run(WELL_BEHAVED)
    assert (done.returncode, done.stderr) == (0, "")
