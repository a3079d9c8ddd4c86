"""`deployment_template/prepare-host` on a tree of files that stands for a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "deployment_template" / "prepare-host"
CONF = "etc/sysctl.d/90-ampswarm.conf"
STATE = "var/lib/ampswarm/prepare-host.json"
DROP_IN = "etc/systemd/system/docker.service.d/zz-ampswarm.conf"
GIB = 1024 * 1024  # in the kB of /proc/meminfo
PAGE = os.sysconf("SC_PAGE_SIZE")

VALUES = {
    "fs.file-max": "100000",
    "fs.nr_open": "65536",
    "fs.epoll.max_user_watches": "100000",
    "net.core.somaxconn": "4096",
    "net.core.netdev_max_backlog": "1000",
    "net.ipv4.tcp_max_syn_backlog": "2048",
    "net.ipv4.tcp_mem": "1000\t2000\t3000",
    "net.ipv4.tcp_rmem": "4096\t131072\t6291456",
    "net.ipv4.tcp_wmem": "4096\t16384\t4194304",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.netfilter.nf_conntrack_max": "65536",
}


class Tree:
    """A host that begins with a kernel's defaults."""

    def __init__(self, root: Path, *, has_conntrack: bool = True) -> None:
        self.root = root
        self.write("proc/meminfo", f"MemTotal: {64 * GIB} kB\nMemFree: 1 kB\n")
        for name, value in VALUES.items():
            if has_conntrack or "conntrack" not in name:
                self.set(name, value)
        if has_conntrack:
            self.write("sys/module/nf_conntrack/parameters/hashsize", "16384\n")

    def write(self, file: str, text: str) -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def read(self, file: str) -> str:
        return (self.root / file).read_text(encoding="utf-8")

    def set(self, name: str, value: str) -> None:
        self.write(f"proc/sys/{name.replace('.', '/')}", f"{value}\n")

    def get(self, name: str) -> str:
        return " ".join(self.read(f"proc/sys/{name.replace('.', '/')}").split())

    def daemon(self, name: str, limit: int, pid: int) -> None:
        self.write(f"proc/{pid}/comm", f"{name}\n")
        self.write(
            f"proc/{pid}/limits", f"Limit  Soft Limit  Hard Limit  Units\nMax open files  {limit}  {limit}  files\n"
        )

    def kept(self) -> dict[str, str]:
        """Return what the file in sysctl.d sets at the next start."""
        pairs = [line.partition("=") for line in self.read(CONF).splitlines() if line and not line.startswith("#")]
        return {name.strip().lstrip("-"): value.strip() for name, _, value in pairs}

    def everything(self) -> dict[str, str]:
        return {str(path): path.read_text() for path in sorted(self.root.rglob("*")) if path.is_file()}

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        # Without site-packages: a host has none.
        command = [sys.executable, "-I", "-S", str(PROGRAM), *options, "--root", str(self.root)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert "Traceback" not in ran.stderr
        return ran

    def check(self, *options: str) -> tuple[int, dict[str, list[str]]]:
        """Return the exit status, and the words of each line after the name."""
        ran = self.run("--check", *options)
        rows = [line.split("  ") for line in ran.stdout.splitlines() if line.endswith(("ok", "short", "large"))]
        return ran.returncode, {row[0]: [word.strip() for word in row[1:] if word] for row in rows}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_sets_keeps_and_tells(tree: Tree) -> None:
    """Without one of the three, a host is short now, or after its next start, or nobody knows what became of it."""
    ran = tree.run("--connections", "50000")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "fs.file-max: 100000 -> 129024" in ran.stdout
    assert "net.ipv4.ip_local_port_range: 32768 60999 -> 12288 65535" in ran.stdout
    assert (tree.get("fs.file-max"), tree.get("net.ipv4.ip_local_port_range")) == ("129024", "12288 65535")
    kept = tree.kept()
    assert {name: tree.get(name) for name in VALUES if name in kept} == {k: v for k, v in kept.items() if k in VALUES}
    assert "#   prepare-host --connections 50000" in tree.read(CONF)
    assert "nf_conntrack hashsize: 16384 -> 165888" in ran.stdout


def test_check_changes_nothing_and_tells_each_value(tree: Tree) -> None:
    """A check that touches a host in use, or exits with 0 where something is short, is worse than none."""
    before = tree.everything()

    status, rows = tree.check("--connections", "50000")

    assert status == 1
    assert rows["fs.file-max"] == ["100000", "129024", "short"]
    assert rows["net.ipv4.ip_local_port_range"] == ["32768 60999", "53248 ports", "short"]
    assert rows["net.ipv4.tcp_wmem"] == ["4096 16384 4194304", "<=4096 <=65536 any", "ok"]
    assert before == tree.everything()


def test_check_by_somebody_who_is_not_root(tree: Tree) -> None:
    """The hash size can be read by root alone; "not loaded" would be wrong, and send people after a module."""
    (tree.root / "sys/module/nf_conntrack/parameters/hashsize").unlink()
    tree.set("net.netfilter.nf_conntrack_buckets", "262144")

    _, rows = tree.check("--connections", "50000")

    assert rows["nf_conntrack hashsize"] == ["262144", "165888", "ok"]


def test_check_is_content_after_a_run(tree: Tree) -> None:
    """Needs that a run does not meet would send people after values that are right."""
    for role in ("generator", "server", "proxy"):
        assert tree.run("--connections", "200000", "--role", role).returncode == 0

        status, rows = tree.check("--connections", "200000", "--role", role)

        assert (0, {"ok"}) == (status, {row[-1] for row in rows.values()})
    assert tree.run("--connections", "200000", "--role", "proxy").stdout.startswith("16 of 16 values were enough")


def test_undo_goes_back_to_before_the_first_run(tree: Tree) -> None:
    """A second run that takes the first one's values for the host's own leaves them there for ever."""
    before = tree.everything()
    tree.run("--connections", "20000", "--role", "server")
    tree.run("--connections", "200000", "--role", "proxy")

    ran = tree.run("--undo")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "net.core.somaxconn: 20480 -> 4096" in ran.stdout
    assert {k: v.split() for k, v in before.items()} == {k: v.split() for k, v in tree.everything().items()}
    assert tree.run("--undo").stdout == "nothing to undo\n"


def test_undo_leaves_what_somebody_changed_since(tree: Tree) -> None:
    """An administrator's own value, set later, is not ours to take away."""
    tree.run("--connections", "50000")
    tree.set("fs.file-max", "999999")

    ran = tree.run("--undo")

    assert "fs.file-max: 999999 stays" in ran.stdout
    assert tree.get("fs.file-max") == "999999"
    assert tree.get("net.ipv4.ip_local_port_range") == "32768 60999"


def test_undo_after_a_run_that_could_not_write(tree: Tree) -> None:
    """Values that were set by a run which then failed must not be forgotten."""
    tree.write("etc/sysctl.d", "no folder")

    ran = tree.run("--connections", "50000")

    assert ran.returncode == 1
    assert "prepare-host: /etc/sysctl.d/90-ampswarm.conf cannot be written: " in ran.stderr
    assert tree.get("fs.file-max") == "129024"
    tree.run("--undo")
    assert tree.get("fs.file-max") == "100000"


def test_undo_without_its_state(tree: Tree) -> None:
    """Its files go, and it does not claim to have set values that it does not know."""
    tree.run("--connections", "50000")
    (tree.root / STATE).unlink()

    ran = tree.run("--undo")

    assert ran.returncode == 1
    assert "stay as they are until this host is started again" in ran.stderr
    assert not (tree.root / CONF).exists()


def test_a_damaged_state_stops_everything(tree: Tree) -> None:
    """Going on would overwrite the only record of the values before."""
    tree.write(STATE, '{"before": {')
    before = tree.everything()

    for options in (["--undo"], ["--connections", "50000"]):
        ran = tree.run(*options)
        assert ran.returncode == 2
        assert len(ran.stderr.splitlines()) == 1
        assert "is damaged" in ran.stderr
    assert before == tree.everything()


def test_never_lowers(tree: Tree) -> None:
    """A host that is tuned for something larger would become slower by being prepared."""
    larger = {
        "fs.file-max": "9223372036854775807",
        "net.core.somaxconn": "100000",
        "net.ipv4.tcp_mem": "9000000 9500000 9900000",
        "net.netfilter.nf_conntrack_max": "4000000",
    }
    for name, value in larger.items():
        tree.set(name, value)

    tree.run("--connections", "50000", "--role", "proxy")

    assert larger == {name: tree.get(name) for name in larger}
    assert larger == {name: tree.kept()[name] for name in larger}


def test_a_smaller_run_and_another_role_take_nothing_back(tree: Tree) -> None:
    """A node that is a proxy and a generator is prepared twice, and needs both after its next start."""
    tree.run("--connections", "200000", "--role", "proxy")
    kept = tree.kept()

    tree.run("--connections", "1000", "--role", "generator")

    assert kept == tree.kept()
    assert "#   prepare-host --connections 200000" in tree.read(CONF)
    assert "#   prepare-host --connections 1000" in tree.read(CONF)


def test_a_proxy_has_two_sockets_for_a_connection(tree: Tree) -> None:
    """Prepared for one, it would stop halfway."""
    _, server = tree.check("--connections", "100000", "--role", "server")
    _, proxy = tree.check("--connections", "100000", "--role", "proxy")

    assert (server["fs.file-max"][1], proxy["fs.file-max"][1]) == ("191488", "316416")
    assert tuple(rows["net.netfilter.nf_conntrack_max"][1] for rows in (server, proxy)) == ("266240", "465920")
    assert "net.ipv4.ip_local_port_range" not in server
    assert proxy["net.ipv4.ip_local_port_range"][-1] == "short"


def test_tcp_mem_is_in_pages_and_below_a_quarter_of_the_memory(tree: Tree) -> None:
    """Bytes for pages would let TCP take all memory, and so would a fleet that is too large for the host."""
    tree.run("--connections", "100000", "--role", "server")
    assert tree.get("net.ipv4.tcp_mem") == "150000 200000 300000"

    tree.write("proc/meminfo", f"MemTotal: {16 * GIB} kB\n")
    ran = tree.run("--connections", "1000000", "--role", "server")

    pages = 4 * GIB * 1024 // PAGE
    assert f"{pages // 2} {pages * 2 // 3} {pages}" == tree.get("net.ipv4.tcp_mem")
    assert "tcp_mem ends at 25% of this host's memory" in ran.stdout


def test_buffers_become_smaller_only_as_far_as_the_memory_asks(tree: Tree) -> None:
    """Smaller buffers than needed would cost throughput; the largest size is for others, and stays."""
    tree.run("--connections", "20000")
    assert tree.get("net.ipv4.tcp_rmem") == "4096 131072 6291456"

    tree.run("--connections", "500000")
    assert tree.get("net.ipv4.tcp_rmem") == "4096 32768 6291456"
    assert tree.get("net.ipv4.tcp_wmem") == "4096 16384 4194304"


def test_ports_of_services_are_reserved(tree: Tree) -> None:
    """A connection that got the port of a service by chance keeps it from starting."""
    tree.set("net.ipv4.ip_local_reserved_ports", "7000-7002")
    listening = "   0: 00000000:238C 00000000:0000 0A 0\n   1: 00000000:0016 00000000:0000 0A 0\n"
    tree.write(
        "proc/net/tcp", f"  sl  local_address rem_address   st\n{listening}   2: 0100007F:2400 0100007F:1F90 01 0\n"
    )

    tree.run("--connections", "61000", "--reserve", "9400-9401")

    reserved = "2377,3000,4789,5557,7000-7002,7946,8080-8089,8404,8443,9090,9100,9400-9401"
    assert reserved == tree.get("net.ipv4.ip_local_reserved_ports") == tree.kept()["net.ipv4.ip_local_reserved_ports"]
    assert tree.get("net.ipv4.ip_local_port_range") == "1024 65535"
    names = list(tree.kept())
    assert names.index("net.ipv4.ip_local_reserved_ports") < names.index("net.ipv4.ip_local_port_range")


def test_more_connections_than_ports(tree: Tree) -> None:
    """No range is wide enough for them, and only more addresses help."""
    ran = tree.run("--connections", "100000")

    assert "100000 need 2 addresses, of containers or of the target" in ran.stdout


def test_what_containers_need_of_their_own(tree: Tree) -> None:
    """A container begins with the kernel's defaults, whatever its host has; nobody would look there."""
    ran = tree.run("--connections", "100000", "--role", "proxy")

    for line in (
        "sysctls:",
        '  net.core.somaxconn: "10240"',
        '  net.ipv4.ip_local_port_range: "1024 65535"',
        '  net.ipv4.tcp_tw_reuse: "1"',
    ):
        assert line in ran.stdout.splitlines()


def test_connection_tracking_that_is_not_loaded(tmp_path: Path) -> None:
    """Docker loads it later, and the kernel's default of its table then ends the test halfway."""
    tree = Tree(tmp_path, has_conntrack=False)

    ran = tree.run("--connections", "50000")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "net.netfilter.nf_conntrack_max: nf_conntrack is not loaded; 165888 once it is" in ran.stdout
    assert "nf_conntrack" in tree.read("etc/modules-load.d/ampswarm.conf").splitlines()
    assert "options nf_conntrack hashsize=165888" in tree.read("etc/modprobe.d/zz-ampswarm.conf").splitlines()
    # A failing line would mark the whole service as failed at each start.
    assert "-net.netfilter.nf_conntrack_max = 165888" in tree.read(CONF).splitlines()
    status, rows = tree.check("--connections", "50000")
    assert (status, rows["nf_conntrack hashsize"][0]) == (0, "not loaded, then 165888")
    assert tree.check("--connections", "90000")[0] == 1


def test_a_value_that_the_kernel_refuses(tree: Tree) -> None:
    """One value must not keep the others back, nor come again at each start; and nobody may take it for set."""
    # A file of the real kernel that nobody can write, whoever runs this.
    refused = tree.root / "proc/sys/net/core/somaxconn"
    refused.unlink()
    refused.symlink_to("/proc/sys/kernel/cap_last_cap")
    is_now = refused.read_text().strip()

    ran = tree.run("--connections", "100000", "--role", "server")

    assert ran.returncode == 1
    assert [f"prepare-host: net.core.somaxconn: the kernel refuses 10240, and keeps {is_now}: Permission denied"] == [
        line.replace("Read-only file system", "Permission denied") for line in ran.stderr.splitlines()
    ]
    assert tree.get("fs.file-max") == "191488"
    assert "net.core.somaxconn" not in tree.kept()
    assert tree.run("--undo").returncode == 0


def test_a_file_that_overrides_ours(tree: Tree) -> None:
    """All is well until the next start, and then it is not: /etc/sysctl.conf comes as 99-sysctl.conf."""
    tree.write("etc/sysctl.conf", "# tuning\nnet.core.somaxconn=1024\nfs.file-max = 10000000\n")
    (tree.root / "etc/sysctl.d").mkdir()
    (tree.root / "etc/sysctl.d/99-sysctl.conf").symlink_to("../sysctl.conf")

    ran = tree.run("--connections", "100000", "--role", "server")

    line = "/etc/sysctl.d/99-sysctl.conf, line 2, sets net.core.somaxconn = 1024 at the next start: needed is 10240"
    assert (1, f"prepare-host: {line}\n") == (ran.returncode, ran.stderr)
    assert tree.check("--connections", "100000", "--role", "server")[0] == 1
    # What that file has larger is not lowered by ours, should somebody rename it.
    assert tree.kept()["fs.file-max"] == "10000000"


def test_files_of_a_lower_place_do_not_count(tree: Tree) -> None:
    """A file in /etc replaces that of the same name in /usr/lib, and a complaint about that one misleads."""
    tree.write("usr/lib/sysctl.d/95-vendor.conf", "net.core.somaxconn = 128\n")
    tree.write("etc/sysctl.d/95-vendor.conf", "")

    assert tree.run("--connections", "100000", "--role", "server").returncode == 0


def test_open_files_of_docker(tree: Tree) -> None:
    """Containers have their daemon's limit, and the daemon has its own until it is restarted."""
    tree.daemon("dockerd", 524_288, 71)
    tree.daemon("containerd", 1_048_576, 72)
    # That of `systemctl edit`, which sorts after most names.
    tree.write("etc/systemd/system/docker.service.d/override.conf", "[Service]\nLimitNOFILE=1024:524288\n")

    ran = tree.run("--connections", "700000", "--role", "server")

    assert ran.returncode == 0
    assert "LimitNOFILE=745472" in tree.read(DROP_IN).splitlines()
    assert "RESTART NEEDED, which stops this node's containers: systemctl restart docker" in ran.stdout
    assert not (tree.root / "etc/systemd/system/containerd.service.d").exists()
    assert tree.get("fs.nr_open") == "745472"
    assert "RESTART NEEDED" in tree.run("--connections", "700000", "--role", "server").stdout
    tree.daemon("dockerd", 745_472, 71)
    assert tree.check("--connections", "700000", "--role", "server")[0] == 0


def test_docker_that_has_enough(tree: Tree) -> None:
    """A drop-in would lower a limit that is infinite, or ask for a restart that nobody needs."""
    for service in ("docker", "containerd"):
        tree.write(f"usr/lib/systemd/system/{service}.service", "[Service]\nLimitNOFILE=infinity\n")
    tree.set("fs.nr_open", "1048576")

    ran = tree.run("--connections", "100000")

    assert "RESTART" not in ran.stdout
    assert not (tree.root / DROP_IN).exists()


def test_too_little_memory(tree: Tree) -> None:
    """No value makes up for memory that is not there; it is better known before the test."""
    tree.write("proc/meminfo", f"MemTotal: {8 * GIB} kB\n")

    ran = tree.run("--connections", "1000000", "--role", "proxy")

    assert ran.returncode == 1
    assert "2000000 sockets of 5 KiB" in ran.stdout
    assert "prepare-host: this host has too little memory for as many connections" in ran.stderr.splitlines()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "--connections N is needed"),
        (["--connections", "0"], "'0' is not a number of connections (1 to 10000000)"),
        (["--connections", "1e6"], "'1e6' is not a number of connections"),
        (["--connections", "10", "--role", "client"], "invalid choice: 'client'"),
        (["--connections", "10", "--reserve", "80,x"], "'80,x' is not a list of ports"),
        (["--connections", "10", "--reserve", "70000"], "'70000' is not a list of ports"),
        (["--connections", "10", "--check", "--undo"], "not allowed with argument"),
    ],
)
def test_bad_options_are_one_line(tree: Tree, options: list[str], says: str) -> None:
    """Whoever mistypes needs to know what, and that nothing was changed."""
    before = tree.everything()

    ran = tree.run(*options)

    assert (ran.returncode, len(ran.stderr.splitlines()), says in ran.stderr) == (2, 1, True)
    assert before == tree.everything()


def test_a_folder_that_is_no_host(tmp_path: Path) -> None:
    """A mistyped folder, or another system than Linux, is one line."""
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), "--connections", "10", "--check", "--root", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (2, f"prepare-host: error: {tmp_path}/proc is not that of a Linux host\n") == (ran.returncode, ran.stderr)


def test_without_root_it_only_checks() -> None:
    """Half of the values would be refused one by one, where one line says why."""
    # The modules are imported as whoever runs this: another user might not be able to read them.
    script = (
        "import importlib.util, os, sys;"
        "from importlib.machinery import SourceFileLoader;"
        f"loader = SourceFileLoader('prepare_host', {str(PROGRAM)!r});"
        "module = importlib.util.module_from_spec(importlib.util.spec_from_loader('prepare_host', loader));"
        "sys.modules['prepare_host'] = module; sys.dont_write_bytecode = True;"
        "loader.exec_module(module);"
        "os.geteuid() == 0 and os.setuid(65534);"
        "sys.argv = ['prepare-host', '--connections', '10'];"
        "sys.exit(module.main())"
    )
    ran = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=False, timeout=60)

    assert (
        ran.returncode,
        ran.stderr,
    ) == (2, "prepare-host: error: only root can change these values; --check shows them to anybody\n")


def test_the_state_says_what_was(tree: Tree) -> None:
    """People read it when the program is gone."""
    tree.run("--connections", "50000")

    state: Mapping[str, Mapping[str, str]] = json.loads(tree.read(STATE))

    assert (state["before"]["fs.file-max"], state["after"]["fs.file-max"]) == ("100000", "129024")
