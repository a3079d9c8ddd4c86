"""What a process uses of its host, as the kernel tells it, on all kinds of hosts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ampswarm.load.host_resources import HostResources

MIB = 1 << 20
MEMINFO = "MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   6000 kB\n"


def host(tmp_path: Path, files: dict[str, str]) -> HostResources:
    """Return a host with these files below `/proc` and `/sys/fs/cgroup`."""
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return HostResources(tmp_path / "proc", tmp_path / "cgroup")


V2 = {"proc/self/cgroup": "0::/kubepods/pod7\n"}
V1 = {"proc/self/cgroup": "9:cpu:/x\n8:memory:/docker/7\n"}


def version_2(where: str, most: str, used: int, cache: int) -> dict[str, str]:
    return {
        f"cgroup/{where}memory.max": most,
        f"cgroup/{where}memory.current": f"{used}\n",
        f"cgroup/{where}memory.stat": f"anon 1\ninactive_file {cache}\n",
    }


@pytest.mark.parametrize(
    ("files", "percent"),
    [
        ({}, None),
        ({"proc/meminfo": MEMINFO}, 25.0),
        ({"proc/meminfo": "MemTotal: 8000 kB\n"}, None),
        ({**V2, **version_2("kubepods/pod7/", f"{100 * MIB}\n", 95 * MIB, 5 * MIB)}, 90.0),
        ({**V2, **version_2("", f"{100 * MIB}\n", 40 * MIB, 0)}, 40.0),
        ({**V2, **version_2("", "max\n", 40 * MIB, 0), "proc/meminfo": MEMINFO}, 25.0),
        ({**V2, **version_2("", f"{100 * MIB}\n", 10 * MIB, 0), "proc/meminfo": MEMINFO}, 25.0),
        ({**V2, **version_2("", f"{100 * MIB}\n", 60 * MIB, 0), "proc/meminfo": MEMINFO}, 60.0),
        (
            {
                **V1,
                "cgroup/memory/docker/7/memory.limit_in_bytes": f"{200 * MIB}",
                "cgroup/memory/docker/7/memory.usage_in_bytes": f"{150 * MIB}",
                "cgroup/memory/docker/7/memory.stat": f"cache 7\ntotal_inactive_file {50 * MIB}",
            },
            50.0,
        ),
        (
            {
                **V1,
                "cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "cgroup/memory/memory.usage_in_bytes": f"{150 * MIB}",
            },
            None,
        ),
    ],
)
def test_memory_is_that_of_the_container_or_of_the_host(
    tmp_path: Path, files: dict[str, str], percent: float | None
) -> None:
    """Whichever has less left: it is the one that kills."""
    assert percent == host(tmp_path, files).memory()


@pytest.mark.parametrize(("text", "count"), [("32768\t60999\n", 28_232), ("1024 1024\n", 1), ("", 0), ("a b\n", 0)])
def test_the_range_of_ports(tmp_path: Path, text: str, count: int) -> None:
    """Both of its ends belong to it."""
    assert count == host(tmp_path, {"proc/sys/net/ipv4/ip_local_port_range": text}).port_range


def test_a_system_without_proc_knows_little_and_says_so(tmp_path: Path) -> None:
    """No figure is better than one that is wrong."""
    nowhere = host(tmp_path, {})
    assert (nowhere.memory(), nowhere.port_range, nowhere.resident()) == (None, 0, 0)


def test_open_files_are_counted() -> None:
    """50 more of them, on this host as it is."""
    here = HostResources()
    before = here.open_files()
    assert before is not None
    files = [os.open("/", os.O_RDONLY) for _ in range(50)]
    try:
        after = here.open_files()
    finally:
        for each in files:
            os.close(each)
    assert after is not None
    assert after > before
    assert here.resident() > MIB
