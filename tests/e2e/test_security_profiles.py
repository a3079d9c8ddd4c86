"""Security profiles 1, 2 and 3 of a real fleet, against the central system's own passwords and TLS."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from cryptography import x509

from tests.fakes.pki import Authority, key_pem, new_key, pem
from tests.processes import ROOT, CentralSystem, Locust, clean_environment, run_locust, until

FLEET = """
[[populations]]
name = "basic"
count = 4
identity_format = "BASIC-{:03d}"
[populations.security]
profile = 2
passwords = "passwords.csv"
ca_file = "ca.pem"

[[populations]]
name = "mutual"
count = 4
identity_format = "MUTUAL-{:03d}"
[populations.security]
profile = 3
certificate = "{identity}.pem"
private_key = "{identity}.key"
ca_file = "ca.pem"
"""
NEW_KEY = "00112233445566778899aabbccddeeff"


def make_passwords(folder: Path) -> list[str]:
    """Make the central system's password file from the fleet's own CSV file; return the option."""
    command = [
        sys.executable,
        "-m",
        "server.passwords",
        str(folder / "passwords.csv"),
        "--output",
        str(folder / "hashes"),
    ]
    subprocess.run([*command, "--memory-kib", "64"], cwd=ROOT, env=clean_environment(), check=True, timeout=60)
    return ["--password-file", str(folder / "hashes")]


def test_profile_1_and_a_password_that_is_changed_over_ocpp(tmp_path: Path) -> None:
    """Whitepaper A01: the new AuthorizationKey counts once it is in the file, and stands in no log."""
    csv_file = tmp_path / "passwords.csv"
    csv_file.write_text("identity,password\nCP000001,secret-0123456789\nCP000002,another-0123456789\n")
    (tmp_path / "fleet.toml").write_text(
        '[[populations]]\nname = "basic"\n[populations.security]\nprofile = 1\npasswords = "passwords.csv"\n'
    )
    with CentralSystem(tmp_path / "log", "--log-payload", *make_passwords(tmp_path)) as server:
        with Locust(
            tmp_path, "--headless", "-t", "8s", "-u", "2", "--host", server.url, "--fleet",
            str(tmp_path / "fleet.toml"), "--reconnect-max", "1.5", "--require-online",
        ) as locust:  # fmt: skip
            until(lambda: server.connections == 2)
            change = {"key": "AuthorizationKey", "value": NEW_KEY}
            csv_file.write_text(
                f"identity,authorization_key\nCP000001,{NEW_KEY}\nCP000002,{b'another-0123456789'.hex()}\n"
            )
            make_passwords(tmp_path)
            assert server.call("CP000001", "ChangeConfiguration", change) == {"status": "Accepted"}
            # It comes back with the new one at once: 401, until the file is read again.
            refusal = server.wait_for(lambda line: line["event"] == "refused")
            assert (refusal["status"], refusal["identity"], refusal["why"]) == (401, "CP000001", "wrong password")
            server.signal(signal.SIGHUP)
            until(lambda: server.connections == 2)
            run = locust.wait()
        summary = server.summary()
    assert run.status in {0, 1}, run.output
    assert summary["events"]["connections opened"] == 3
    assert "2 of 2 charge points were online when the test ended" in run.output
    log = (tmp_path / "log").read_text()
    for secret in (NEW_KEY, "secret-0123456789", "another-0123456789", "argon2"):
        assert secret not in log


def test_profiles_2_and_3_beside_each_other(tmp_path: Path) -> None:
    """Passwords and certificates on one port; one with another's certificate stays outside, with 403."""
    authority = Authority("Test CA", time.time())
    (tmp_path / "ca.pem").write_text(authority.pem)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    key = new_key()
    (tmp_path / "server.pem").write_text(
        pem(authority.issue(key.public_key(), "localhost", extensions=[(names, False)]))
    )
    (tmp_path / "server.key").write_text(key_pem(key))
    rows = ["identity,password"]
    for number in range(1, 9):
        rows.append(f"BASIC-{number:03d},secret-of-{number:03d}-0123456789")
        identity = f"MUTUAL-{number:03d}"
        key = new_key()
        common_name = "MUTUAL-999" if number == 4 else identity
        (tmp_path / f"{identity}.pem").write_text(pem(authority.issue(key.public_key(), common_name)))
        (tmp_path / f"{identity}.key").write_text(key_pem(key))
    (tmp_path / "passwords.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "fleet.toml").write_text(FLEET)
    options = [
        *("--tls-cert", str(tmp_path / "server.pem"), "--tls-key", str(tmp_path / "server.key"), "--plain", "false"),
        *("--tls-client-ca", str(tmp_path / "ca.pem"), "--tls-client-organization", "Volt & Co"),
    ]
    with CentralSystem(tmp_path / "log", *options, *make_passwords(tmp_path)) as server:
        run = run_locust(
            tmp_path, "--headless", "-t", "5s", "-u", "8", "--host", f"wss://localhost:{server.tls_port}/ocpp",
            "--fleet", str(tmp_path / "fleet.toml"),
        )  # fmt: skip
        refused = {line["identity"] for line in server.lines("refused") if "identity" in line}
        summary = server.summary()
    assert refused == {"MUTUAL-004"}
    assert list(run.failures) == ["WS/connect: ConnectFailed('HTTP 403 Forbidden')"]
    assert run.rows["FLOW/online"].requests == 7
    assert summary["calls"]["BootNotification"] == 7
