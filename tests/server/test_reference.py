"""The reference page of the central system says what `--help` says."""

from __future__ import annotations

import re
import subprocess
import sys

from server.config import Config
from tests.processes import ROOT, clean_environment

PAGE = ROOT / "docs" / "reference" / "central-system.md"


def documented() -> dict[str, tuple[str, str]]:
    """Return each option's variable and default, as the page has them."""
    rows = re.findall(r"^\| `(--[a-z-]+)` \| `([A-Z_]+)` \|(.*?)\| .* \|$", PAGE.read_text(), re.MULTILINE)
    return {flag: (variable, default.strip(" `")) for flag, variable, default in rows}


def test_the_page_has_every_option_and_its_variable_and_no_other() -> None:
    """Whoever looks an option up finds it, and what it is called in the environment."""
    done = subprocess.run(
        [sys.executable, "-m", "server", "--help"],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    entries = re.findall(r"^  (--[a-z-]+) (.*?)(?=^  -|\Z)", done.stdout, re.MULTILINE | re.DOTALL)
    variables = {flag: re.search(r"\[env\s+var:\s+([A-Z_]+)\]", text) for flag, text in entries}
    helped = {flag: found[1] for flag, found in variables.items() if found is not None}
    assert len(helped) > 30
    assert helped == {flag: variable for flag, (variable, _) in documented().items()}


def test_the_page_has_the_defaults() -> None:
    """An option that is left out does what the page says."""
    defaults = {flag: default for flag, (_, default) in documented().items()}
    config = Config()
    named = {
        "--store": config.store,
        "--keep-transactions": str(config.keep_transactions),
        "--keep-messages": str(config.keep_messages),
        "--processes": str(config.processes),
        "--drain-rate": str(config.drain_rate),
        "--drain-delay": f"{config.drain_delay:g}",
        "--port": str(config.port),
        "--admin-port": str(config.admin_port),
        "--tls-port": str(config.security.tls_port),
        "--handshake-timeout": f"{config.security.handshake_timeout:g}",
        "--max-message-bytes": str(config.security.max_message_bytes),
        "--boot-interval": str(config.boot_interval),
        "--ping-interval-ms": f"{1000 * config.ping_interval:g}",
    }
    assert named == {flag: defaults[flag] for flag in named}
