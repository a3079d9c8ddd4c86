"""PostgreSQL, Redis and HAProxy for tests: real ones, on free ports, which end with the test, however it ends."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from tests.processes import TIMEOUT, free_port, until

# It ends with the test's process even when that is killed. Of util-linux, which Debian always has.
_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
_POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/bin")


def find(program: str, folders: Sequence[str] = ()) -> str:
    """Return the path of a program; skip the test where it is missing, but never in CI, which installs it."""
    for pattern in folders:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if (folder / program).exists():
                return str(folder / program)
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed, and CI has to install it")
        pytest.skip(f"{program} is not installed")
    return found


class _Service(ABC):
    """A process in a folder of its own.

    Args:
        user: who it runs as, where the test runs as root; `None` for the same.
    """

    def __init__(self, user: str | None = None) -> None:
        self._user = user if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="ampswarm-test-"))
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self._folder, entry.pw_uid, entry.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that runs it in the foreground."""

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_WITH_PARENT, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=self._user,
                start_new_session=True,
            )
        until(self._listens)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it and all its children at once."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(TIMEOUT)
            self._process = None

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self) -> str:
        """Return what it has logged."""
        return (self._folder / "log").read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self._folder, user=self._user, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class Postgres(_Service):
    """A PostgreSQL server of its own."""

    _numbers = count(1)

    def __init__(self) -> None:
        self._postgres = find("postgres", _POSTGRES_FOLDERS)
        self._initdb = find("initdb", _POSTGRES_FOLDERS)
        self._psql = find("psql", _POSTGRES_FOLDERS)
        super().__init__("postgres")
        self._run(self._initdb, "-D", str(self._folder / "data"), "-A", "trust", "-U", "ampswarm", "--no-sync")

    def command(self) -> list[str]:
        return [
            *(self._postgres, "-D", str(self._folder / "data"), "-p", str(self.port), "-k", str(self._folder)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50"),
        ]

    def start(self) -> None:
        """Start it and wait until it answers."""
        pid_file = self._folder / "data" / "postmaster.pid"
        pid_file.unlink(missing_ok=True)
        super().start()
        end = time.monotonic() + TIMEOUT
        while "database system is ready" not in self.log().rpartition("starting PostgreSQL")[2]:
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def stop_all(self) -> None:
        """Let none of its processes go on, as on a host that hangs."""
        self._signal_all(signal.SIGSTOP)

    def continue_all(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        for process in (parent, *parent.children(recursive=True)):
            process.send_signal(number)

    def new_database(self) -> str:
        """Return the `--store` of a new, empty database."""
        name = f"test{next(self._numbers)}"
        self.query("postgres", f"CREATE DATABASE {name}")
        return f"postgresql+asyncpg://ampswarm@127.0.0.1:{self.port}/{name}"

    def add_user(self, name: str, password: str) -> None:
        """Add a user that needs a password; all others need none."""
        self.query("postgres", f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        rules = self._folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {name} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self.query("postgres", "SELECT pg_reload_conf()")

    def query(self, database: str, statement: str) -> str:
        """Run a statement; return what psql prints of it, without headings."""
        return self._run(
            *(self._psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "ampswarm", "-d", database),
            *("-v", "ON_ERROR_STOP=1", "-Atc", statement),
        )


class Redis(_Service):
    """A Redis server of its own, which keeps nothing."""

    def __init__(self, password: str | None = None) -> None:
        self._redis = find("redis-server")
        self._password = password
        super().__init__()

    @property
    def url(self) -> str:
        """Its `--bus`."""
        credentials = "" if self._password is None else f":{self._password}@"
        return f"redis://{credentials}127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        password = () if self._password is None else ("--requirepass", self._password)
        return [
            *(self._redis, "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--save", "", "--appendonly", "no", *password),
        ]


class HaProxy(_Service):
    """HAProxy in front of central systems, as in a deployment: least connections, and checks of `/readyz`.

    Args:
        targets: for each of them, the port of charge points and that of the operator API.
    """

    def __init__(self, targets: Sequence[tuple[int, int]]) -> None:
        self._haproxy = find("haproxy")
        super().__init__()
        servers = "\n".join(
            f"    server cs{number} 127.0.0.1:{port} check port {admin_port} inter 200 fall 1 rise 1"
            for number, (port, admin_port) in enumerate(targets, 1)
        )
        (self._folder / "haproxy.cfg").write_text(
            f"""
global
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
    option redispatch
    retries 3
frontend charge_points
    bind 127.0.0.1:{self.port}
    default_backend central_systems
backend central_systems
    balance leastconn
    option httpchk
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost
    http-check expect status 200
{servers}
"""
        )

    @property
    def url(self) -> str:
        """The OCPP-J endpoint that it is."""
        return f"ws://127.0.0.1:{self.port}/ocpp"

    def command(self) -> list[str]:
        return [self._haproxy, "-db", "-f", str(self._folder / "haproxy.cfg")]
