"""What this process uses of its host, from /proc and the control group; `None` where a system has no such thing."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_PAGE: Final = resource.getpagesize()
_UNLIMITED: Final = 1 << 50
"""Bytes: version 1 of control groups writes a huge number where there is no limit."""
_MANY_FILES: Final = 2000


class HostResources:
    """Looks at the host, cheaply enough for once a second in the loop that serves the charge points.

    Args:
        proc: where `/proc` is.
        cgroups: where the control groups are.
    """

    def __init__(self, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        self._proc = proc
        self._group = _memory_group(proc, cgroups)
        self._file_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._is_counted_by_kernel = self._stat_files() > 0
        self.port_range = self._ports()
        """How many ephemeral ports there are; 0 for unknown."""

    def open_files(self) -> float | None:
        """Return how many files are open, in percent of what the process may open."""
        limit = self._file_limit
        if limit in (0, resource.RLIM_INFINITY):
            return None
        # Since Linux 6.2, the size of the directory; before, each entry has to be read.
        count = self._stat_files() if self._is_counted_by_kernel else self._list_files()
        return None if count is None else 100.0 * count / limit

    def _stat_files(self) -> int:
        try:
            return (self._proc / "self" / "fd").stat().st_size
        except OSError:
            return 0

    def _list_files(self) -> int | None:
        # The lowest free number: as many are open at the least. Without holes, that is all.
        try:
            free = os.open("/", os.O_RDONLY)
        except OSError:
            return self._file_limit
        os.close(free)
        if free > _MANY_FILES:
            return free
        try:
            return len(os.listdir(self._proc / "self" / "fd"))  # noqa: PTH208  names are enough
        except OSError:
            return None

    def _ports(self) -> int:
        try:
            first, last = (self._proc / "sys/net/ipv4/ip_local_port_range").read_text().split()
            return int(last) - int(first) + 1
        except (OSError, ValueError):
            return 0

    def resident(self) -> int:
        """Return the bytes of this process; 0 for unknown."""
        try:
            return int((self._proc / "self" / "statm").read_text().split()[1]) * _PAGE
        except (OSError, ValueError, IndexError):
            return 0

    def memory(self) -> float | None:
        """Return how much memory is in use in percent, of the host or of the container, whichever has less left."""
        shares = [share for share in (self._host_memory(), self._group_memory()) if share is not None]
        return max(shares, default=None)

    def _host_memory(self) -> float | None:
        found = _numbers(self._proc / "meminfo", "MemTotal:", "MemAvailable:")
        if len(found) < 2 or not found["MemTotal:"]:
            return None
        return 100.0 * (1 - found["MemAvailable:"] / found["MemTotal:"])

    def _group_memory(self) -> float | None:
        if self._group is None:
            return None
        directory, limit_file, usage_file, cache = self._group
        try:
            limit = int((directory / limit_file).read_text())
            usage = int((directory / usage_file).read_text())
        except (OSError, ValueError):
            return None  # "max": none
        if not 0 < limit < _UNLIMITED:
            return None
        # The cache of files is given back before anybody is killed.
        return 100.0 * max(0, usage - _numbers(directory / "memory.stat", cache).get(cache, 0)) / limit


def _memory_group(proc: Path, cgroups: Path) -> tuple[Path, str, str, str] | None:
    """Return the directory of the control group that limits memory, and its files for limit, usage and cache."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, files = cgroups, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root, files = cgroups / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container, the path is often the host's, and the root is the container's own.
        for directory in (root / path.lstrip("/"), root):
            if (directory / files[0]).exists():
                return directory, *files
    return None


def _numbers(file: Path, *names: str) -> dict[str, int]:
    """Return the numbers that lines of a file give to `names`."""
    found: dict[str, int] = {}
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        name, *values = line.split()
        if name in names and values:
            found[name] = int(values[0])
    return found
