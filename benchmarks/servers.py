"""The servers under measurement: processes of their own, and what they use."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.stations import Failure

ROOT: Final = Path(__file__).parent.parent
NODE_SERVER: Final = Path(__file__).with_name("node_central_system.js")
_START_TIMEOUT: Final = 60.0
_STOP_TIMEOUT: Final = 20.0
_INSTALL_TIMEOUT: Final = 120.0


@dataclass(frozen=True)
class Server:
    """One kind of server that is measured.

    Args:
        label: its column in the table.
        command: makes the command line that listens on a port of 127.0.0.1.
        environment: variables that are added to ours.
    """

    label: str
    command: Callable[[int], list[str]]
    environment: Mapping[str, str]


def central_system(label: str, options: list[str], tree: Path = ROOT) -> Server:
    """Return `python -m server` of the checkout `tree`."""
    quiet = ["--host", "127.0.0.1", "--admin-port", "0", "--log-lifecycle", "false", "--boot-interval", "86400"]
    return Server(
        label,
        lambda port: [sys.executable, "-m", "server", *quiet, "--port", str(port), *options],
        {"PYTHONPATH": str(tree)},
    )


def node(modules: Path) -> Server:
    """Return the yardstick on Node.js, with its `ws` in the folder `modules`."""
    return Server("node", lambda port: ["node", str(NODE_SERVER), str(port)], {"NODE_PATH": str(modules)})


@contextlib.contextmanager
def installed_ws() -> Iterator[Path | str]:
    """Install npm's `ws` for a while; yield the folder of modules, or in one line why there is none."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        yield f"{' and '.join(missing)} not found on the PATH"
        return
    with tempfile.TemporaryDirectory(prefix="bench-node-") as folder:
        command = ["npm", "install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder]
        try:
            subprocess.run(
                [*command, "ws@7"], check=True, capture_output=True, timeout=_INSTALL_TIMEOUT, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            yield f"npm did not install ws within {_INSTALL_TIMEOUT:.0f} s"
        except subprocess.CalledProcessError as error:
            yield f"npm could not install ws (exit status {error.returncode})"
        else:
            yield Path(folder, "node_modules")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server used up to now, with all its children."""

    cpu: float
    """Seconds, user and system."""
    resident: int
    """Bytes."""


class Running:
    """A server's process and its children."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = psutil.Process(process.pid)
        self.port = port

    def usage(self) -> Usage:
        """Look at it now."""
        family = [self._process, *self._process.children(recursive=True)]
        return Usage(sum(_cpu(each.pid) for each in family), sum(each.memory_info().rss for each in family))


def _cpu(pid: int) -> float:
    # The clock of another process (clock_getcpuclockid): what psutil says too, but to the nanosecond, where
    # /proc/PID/stat has steps of 10 ms.
    return time.clock_gettime(~pid << 3 | 2)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Running]:
    """Run a server in an empty folder; end it however the block ends.

    Raises:
        Failure: it does not listen.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, tempfile.TemporaryFile() as output:
        port = _free_port()
        process = subprocess.Popen(
            server.command(port),
            cwd=folder,
            env={**os.environ, **server.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C is for us, who end it.
            start_new_session=True,
        )
        try:
            if not _listens(port, process):
                output.seek(0)
                last = output.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
                raise Failure(f"it does not listen: {last}")
            yield Running(process, port)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        # Children that outlived it are in its session, and so in its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def allow_open_files(count: int) -> None:
    """Let this process and those that it starts open `count` files.

    Raises:
        Failure: the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))
    except (ValueError, OSError):
        raise Failure(f"{count} open files are needed, and {hard} allowed (ulimit -Hn)") from None
