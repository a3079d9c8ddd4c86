"""Secrets that are files, as Docker gives them to containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ampswarm.secret_files import MAX_BYTES, BadSecretFile, take_secret_files


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n"])
def test_the_variable_is_what_the_file_holds(tmp_path: Path, content: str) -> None:
    """Without the line break that an editor leaves; child processes find the variable alone."""
    (tmp_path / "token").write_bytes(content.encode())
    environment = {"TOKEN_FILE": f"{tmp_path / 'token'}", "OTHER": "1", "STORE": "memory", "BUS_FILE": ""}
    take_secret_files(["TOKEN", "STORE", "BUS"], environment)
    assert environment == {"TOKEN": "s3cret", "OTHER": "1", "STORE": "memory", "BUS_FILE": ""}


@pytest.mark.parametrize(
    ("content", "more", "wrong"),
    [
        (None, {}, "No such file or directory"),
        (b"", {}, "it has to be one line, with the secret"),
        (b"\n", {}, "it has to be one line, with the secret"),
        (b"two\nlines\n", {}, "it has to be one line, with the secret"),
        (b"\xff\xfe", {}, "is no text"),
        (b"x" * (MAX_BYTES + 1), {}, f"is longer than {MAX_BYTES} bytes"),
        (b"x", {"TOKEN": "y"}, "TOKEN is set as well; only one of them can hold"),
    ],
)
def test_a_file_that_holds_no_secret_is_told(
    tmp_path: Path, content: bytes | None, more: dict[str, str], wrong: str
) -> None:
    """In one line that names the variable, and never what is in the file."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSecretFile) as error:
        take_secret_files(["TOKEN"], {"TOKEN_FILE": f"{path}", **more})
    assert f"{error.value}".startswith("TOKEN_FILE: ")
    assert f"{error.value}".endswith(wrong)
    assert "\n" not in f"{error.value}"
