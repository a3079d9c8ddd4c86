"""`make demo`: what a newcomer runs first; and it leaves nothing behind, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import ROOT, TIMEOUT, clean_environment


class Demo:
    """The demo in a process of its own."""

    def __init__(self, out: Path, *args: str) -> None:
        self.out = out
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ampswarm.demo", "--out", str(out), *args],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,)) for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match in its output."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(match for line in self._lines if (match := re.search(pattern, line)))
            return bool(found)

        with self._changed:
            self._changed.wait_for(look, TIMEOUT)
        assert found, self._lines
        return found[0]

    def wait(self) -> tuple[int, str]:
        """Return its exit status and output."""
        status = self.process.wait(TIMEOUT)
        for reader in self._readers:
            reader.join(TIMEOUT)
        return status, "\n".join(self._lines)

    def children(self) -> list[psutil.Process]:
        """Return the processes that it started."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children

    def _read(self, stream: object) -> None:
        for line in stream:  # type: ignore[attr-defined]
            with self._changed:
                self._lines.append(line.rstrip())
                self._changed.notify_all()


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    """Demos to end with the test. One test at a time has them: each demo takes the first ports that are free."""
    with (Path(tempfile.gettempdir()) / "ampswarm-demo-tests.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield from end_with_the_test([])


def end_with_the_test(running: list[Demo]) -> Iterator[list[Demo]]:
    yield running
    for demo in running:
        if demo.process.poll() is None:
            children = demo.children()
            demo.process.kill()
            for child in children:
                child.kill()
        demo.wait()
        for stream in (demo.process.stdout, demo.process.stderr):
            assert stream is not None
            stream.close()


def test_the_demo_restarts_the_central_system_and_ends_with_every_charge_point_online(
    demos: list[Demo], tmp_path: Path
) -> None:
    """Shorter and smaller than `make demo`, and otherwise the same."""
    demo = Demo(tmp_path / "out", "--charge-points", "50", "--seconds", "28")
    demos.append(demo)
    address = demo.wait_for(r"Locust's web UI  (http://\S+)")[1]
    children = demo.children()
    demo.wait_for("restarting the central system")
    with urllib.request.urlopen(address, timeout=10) as page:
        assert b"Locust" in page.read()
    status, output = demo.wait()
    assert status == 0, output
    assert "50 of 50 charge points were online when the test ended" in output
    assert re.search(r"WS +connect ", output)
    assert re.search(r"FLOW +online +100 +0", output)
    assert str(demo.out / "report.html") in output
    assert b"BootNotification" in (demo.out / "report.html").read_bytes()
    assert (demo.out / "steady_state_stats.csv").read_text().count("OCPP,") == 3
    assert len(children) == 2
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process_behind(
    demos: list[Demo], tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C, a kill, a closed terminal."""
    demo = Demo(tmp_path / "out", "--charge-points", "20", "--open-ended")
    demos.append(demo)
    demo.wait_for("All users spawned")
    children = demo.children()
    assert len(children) == 2
    os.kill(demo.process.pid, number)
    status, output = demo.wait()
    assert status == 130, output
    assert "Traceback" not in output
    assert not any(child.is_running() for child in children)


def test_the_web_ui_refuses_a_bad_option_and_takes_a_good_one(demos: list[Demo], tmp_path: Path) -> None:
    """A mistake in the form is told on the page; Locust alone would log a traceback and start nothing."""
    demo = Demo(tmp_path / "out", "--charge-points", "5", "--open-ended")
    demos.append(demo)
    address = demo.wait_for(r"Locust's web UI  (http://\S+)")[1]
    demo.wait_for("All users spawned")
    form = {"user_count": "5", "spawn_rate": "5", "host": "localhost:1", "call_timeout": "30"}
    bad_host = post(f"{address}/swarm", form)
    assert bad_host["success"] is False
    assert "must start with ws:// or wss://" in str(bad_host["message"])
    port = demo.wait_for(r"ws://127.0.0.1:(\d+)/ocpp")[1]
    good = {**form, "host": f"ws://127.0.0.1:{port}/ocpp"}
    assert "'x' is not a time" in str(post(f"{address}/swarm", {**good, "call_timeout": "x"})["message"])
    assert post(f"{address}/swarm", good)["success"] is True
    os.kill(demo.process.pid, signal.SIGTERM)
    _, output = demo.wait()
    assert "Traceback" not in output


def post(url: str, form: dict[str, str]) -> dict[str, object]:
    with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=10) as response:
        answer: dict[str, object] = json.load(response)
        return answer
