"""Hashes, password files, and the command that makes them."""

from __future__ import annotations

import asyncio
import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.authentication import MAX_WAITING, PasswordCheck, VerifiedPasswords, basic_credentials, check_certificate
from server.password_file import BadPasswordFile, PasswordFile, read_password_file
from server.passwords import BadHash, Cost, cost_of, make_hash, nobodys_hash, verify
from tests.processes import ROOT, clean_environment

CHEAP = Cost(memory_kib=8, iterations=1)
PASSWORD = b"0123456789abcdef"


def run(*args: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "server.passwords", *args],
        cwd=ROOT, env=clean_environment(), input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@settings(max_examples=20)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_hash_is_its_password_s_and_no_other_s(password: bytes, other: bytes) -> None:
    """Passwords are bytes: an AuthorizationKey holds any."""
    phc = make_hash(password, CHEAP)
    assert cost_of(phc) == CHEAP
    assert verify(password, phc)
    assert (password == other) == verify(other, phc)


def test_nobody_s_hash_costs_the_same_and_is_no_password_s() -> None:
    """An unknown charge point must take as long to refuse as a known one."""
    cost = Cost(64, 3, 2)
    assert cost == cost_of(nobodys_hash(cost))
    assert not verify(b"", nobodys_hash(cost))


@pytest.mark.parametrize(
    "phc",
    [
        "",
        "secret",
        "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
        "$argon2id$v=19$m=8,t=100000,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
        "$argon2id$v=19$m=8,t=1,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
        "$argon2id$v=19$m=8,t=1,p=1$short$short",
    ],
)
def test_a_hash_that_would_hold_up_everybody_is_refused(phc: str) -> None:
    """4 GiB or minutes for one charge point would be an outage for all."""
    with pytest.raises(BadHash):
        cost_of(phc)


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        ("Basic Q1AxOnNlY3JldA==", (b"CP1", b"secret")),
        ("basic  Q1AxOnNlY3JldA==", (b"CP1", b"secret")),
        ("Basic Q1AxOv8AOg==", (b"CP1", b"\xff\x00:")),
        ("Basic Q1Ax", None),
        ("Basic", None),
        ("Basic ?", None),
        ("Basic \xff", None),
        ("Bearer Q1AxOnNlY3JldA==", None),
    ],
)
def test_basic_credentials_are_bytes(header: str, credentials: tuple[bytes, bytes] | None) -> None:
    """RFC 7617; the password may hold colons and any byte, and what is malformed is refused."""
    assert credentials == basic_credentials(header)


def test_a_password_file_names_its_charge_points(tmp_path: Path) -> None:
    """With comments, empty lines, Windows line ends, and identities as they stand in the URL."""
    phc = make_hash(PASSWORD, CHEAP)
    path = tmp_path / "passwords"
    path.write_text(f"# fleet A\n\nCP1:{phc}\r\nRDAM%20123:{phc}\nCP%2F1:{phc}\n⚡:{phc}\n", encoding="utf-8")
    assert {"CP1", "RDAM 123", "CP/1", "⚡"} == read_password_file(path).keys()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"CP1\n", "line 1: is not identity:hash"),
        (b"CP1:secret-in-clear\n", "line 1: the hash is not Argon2id in PHC format"),
        (b"# x\nCP1:{phc}\nCP1:{phc}\n", "line 3: 'CP1' is there twice"),
        (b":{phc}\n", "line 1: the identity: it is empty"),
        (b"a/b:{phc}\n", "line 1: the identity must be percent-encoded"),
        (b"CP1:$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g\n", "1: Argon2id has"),
        (b"CP1:\xff\n", "is not UTF-8"),
        (None, "No such file"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_password_file_is_one_line_without_the_secret(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """Whoever put clear passwords there by mistake does not find them in a log, too."""
    path = tmp_path / "passwords"
    if content is not None:
        path.write_bytes(content.replace(b"{phc}", make_hash(PASSWORD, CHEAP).encode()))
    with pytest.raises(BadPasswordFile) as caught:
        PasswordFile(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "secret" not in message
    assert len(message.splitlines()) == 1


def test_the_command_makes_a_file_that_the_central_system_reads(tmp_path: Path) -> None:
    """From the same CSV that fleet files use; for nobody else's eyes."""
    csv_file, output = tmp_path / "passwords.csv", tmp_path / "hashes"
    csv_file.write_text('identity,password\nCP1,0123456789abcdef\n"RDAM 1","with,comma and ""quotes"""\n')
    done = run(str(csv_file), "--output", str(output), "--memory-kib", "8", "--iterations", "1")
    assert (done.returncode, done.stderr, done.stdout) == (0, "2 passwords\n", "")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    hashes = read_password_file(output)
    assert verify(b"0123456789abcdef", hashes["CP1"])
    assert verify(b'with,comma and "quotes"', hashes["RDAM 1"])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["hashes", "passwords.csv"]


def test_authorization_keys_come_from_stdin_in_hexadecimal() -> None:
    """As they stand in the configuration key (whitepaper A00.FR.205); strong by default."""
    done = run(text="identity,authorization_key\nCP1,00112233445566778899aabbccddeeff\n")
    assert done.returncode == 0
    identity, _, phc = done.stdout.strip().partition(":")
    assert ("CP1", Cost()) == (identity, cost_of(phc))
    assert verify(bytes.fromhex("00112233445566778899aabbccddeeff"), phc)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "stdin: has no rows"),
        ("identity,password\n", "stdin: has no rows"),
        ("name,word\n", "stdin: line 1: must name the columns"),
        ("identity,password\nCP1,secret\n", "line 2: password has 6 bytes, not 16 to 40"),
        ("identity,password\nCP1\n", "line 2: has 1 columns"),
        ("identity,password\nC:1,secret-secret-secret\n", "line 2: 'C:1' has a colon"),
        ("identity,password\n" + "CP1,secret-secret-secret\n" * 2, "line 3: 'CP1' is there twice"),
        ("identity,authorization_key\nCP1,secret-secret-secret\n", "line 2: authorization_key is not hexadecimal"),
        ('identity,password\nCP1,"secret-secret-secret\n', "line 2: unexpected end of data"),
    ],
)
def test_a_mistake_in_the_csv_file_is_one_line_without_the_secret(text: str, said: str) -> None:
    """It names the line, and repeats no password (whitepaper A01.FR.12)."""
    done = run("--memory-kib", "8", "--iterations", "1", text=text)
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_failed_run_leaves_the_old_file(tmp_path: Path) -> None:
    """A mistake in line 100,000 must not lock the fleet out."""
    output = tmp_path / "hashes"
    output.write_text("old")
    done = run("--output", str(output), text="identity,password\nCP1,short\n")
    assert done.returncode == 2
    assert [output] == list(tmp_path.iterdir())
    assert output.read_text() == "old"


def test_verified_passwords_are_bounded_and_cannot_be_mistaken() -> None:
    """Neither another password, nor an old hash, nor another charge point; the oldest goes first."""
    verified = VerifiedPasswords(2)
    verified.remember("a", b"x", "1")
    assert verified.knows("a", b"x", "1")
    assert not verified.knows("a", b"y", "1")
    assert not verified.knows("a", b"x", "2")
    assert not verified.knows("b", b"x", "1")
    verified.remember("b", b"x", "1")
    verified.remember("c", b"x", "1")
    assert [verified.knows(each, b"x", "1") for each in "abc"] == [False, True, True]
    verified.forget("b")
    assert not verified.knows("b", b"x", "1")
    assert len(verified) == 1
    assert b"x" not in repr(vars(verified)).encode().split()


class Source:
    """Hashes that a test changes; counts how often it is asked."""

    def __init__(self, **hashes: str) -> None:
        self.hashes = hashes
        self.failure: Exception | None = None

    async def find(self, identity: str) -> list[str]:
        if self.failure is not None:
            raise self.failure
        return [self.hashes[identity]] if identity in self.hashes else []

    async def used(self, identity: str, phc: str) -> None:
        raise AssertionError(identity, phc)


def basic(identity: str, password: bytes) -> str:
    return "Basic " + base64.b64encode(identity.encode() + b":" + password).decode()


def test_a_changed_password_counts_from_the_next_connection_on() -> None:
    """Also when the old one was verified just before."""

    async def scene() -> list[int | None]:
        source = Source(CP1=make_hash(PASSWORD, CHEAP))
        check = PasswordCheck(source, source.hashes["CP1"])
        outcomes = [await check.check("CP1", basic("CP1", PASSWORD)) for _ in range(2)]
        source.hashes["CP1"] = make_hash(b"new", CHEAP)
        outcomes.append(await check.check("CP1", basic("CP1", PASSWORD)))
        outcomes.append(await check.check("CP1", basic("CP1", b"new")))
        del source.hashes["CP1"]
        outcomes.append(await check.check("CP1", basic("CP1", b"new")))
        check.close()
        return [None if each is None else each.status.value for each in outcomes]

    assert asyncio.run(scene()) == [None, None, 401, None, 401]


def test_nobody_learns_from_an_answer_whether_a_charge_point_exists() -> None:
    """Unknown, wrong, and for another: one and the same answer; why stands in the log only."""

    async def scene() -> list[tuple[bytes, str]]:
        source = Source(CP1=make_hash(PASSWORD, CHEAP))
        check = PasswordCheck(source, source.hashes["CP1"])
        attempts = [("CP1", basic("CP1", b"wrong")), ("CP2", basic("CP2", PASSWORD)), ("CP2", basic("CP1", PASSWORD)),
                    ("CP1", ""), ("CP1", "Basic !")]  # fmt: skip
        outcomes = [await check.check(identity, header) for identity, header in attempts]
        check.close()
        return [(each.response(), each.inside) for each in outcomes if each is not None]

    outcomes = asyncio.run(scene())
    assert len(outcomes) == 5
    assert len({response for response, _ in outcomes}) == 1
    assert [inside for _, inside in outcomes[:2]] == ["wrong password", "unknown charge point"]


def test_a_source_that_fails_lets_nobody_in_and_sends_them_away_for_a_while() -> None:
    """503 with Retry-After: it is not the charge point's fault, and its password may be right."""

    async def scene() -> tuple[int, dict[str, str], str]:
        source = Source()
        source.failure = OSError("password=secret")
        check = PasswordCheck(source)
        refusal = await check.check("CP1", basic("CP1", PASSWORD))
        check.close()
        assert refusal is not None
        return refusal.status.value, dict(refusal.headers), refusal.inside

    status, headers, inside = asyncio.run(scene())
    assert (status, headers["Retry-After"]) == (503, "10")
    assert "secret" not in inside


def test_only_so_many_passwords_wait_for_their_hash() -> None:
    """A storm of wrong passwords takes bounded memory, and those that are known already get in meanwhile."""

    async def scene() -> list[int | None]:
        phc = make_hash(PASSWORD, Cost(memory_kib=1024, iterations=1))
        check = PasswordCheck(Source(CP1=phc), phc)
        assert await check.check("CP1", basic("CP1", PASSWORD)) is None
        wrong = [asyncio.create_task(check.check("CP1", basic("CP1", b"wrong"))) for _ in range(MAX_WAITING + 3)]
        await asyncio.sleep(0)
        assert check.waiting == MAX_WAITING
        known = await check.check("CP1", basic("CP1", PASSWORD))
        wrong[0].cancel()  # the client left
        outcomes = await asyncio.gather(*wrong[1:])
        assert check.waiting == 0
        check.close()
        return [None if each is None else each.status.value for each in (known, *outcomes)]

    known, *statuses = asyncio.run(scene())
    assert known is None
    assert statuses.count(503) == 3
    assert statuses.count(401) == MAX_WAITING - 1


@pytest.mark.parametrize(
    ("subject", "organization", "status"),
    [
        ([("commonName", "CP1"), ("organizationName", "Volt")], "Volt", None),
        ([("commonName", "CP1")], None, None),
        ([("commonName", "CP1")], "Volt", 403),
        ([("commonName", "CP1"), ("organizationName", "Amp")], "Volt", 403),
        ([("commonName", "CP2"), ("organizationName", "Volt")], "Volt", 403),
        ([("commonName", "CP2"), ("commonName", "CP1")], None, 403),
        ([("organizationName", "CP1")], None, 403),
        ([], None, 403),
    ],
)
def test_a_certificate_is_its_charge_point_s(
    subject: list[tuple[str, str]], organization: str | None, status: int | None
) -> None:
    """Whitepaper A00.FR.404 and A00.FR.405: one CN, the identity's; and the operator's O."""
    certificate = {"subject": tuple((pair,) for pair in subject)}
    refusal = check_certificate("CP1", certificate, organization)
    assert status == (None if refusal is None else refusal.status.value)
