"""Secrets that are files: `NAME_FILE` names one that holds what the variable `NAME` would.

As container images have it: Docker and Kubernetes give secrets to a container as files, and an environment is read by
whoever may inspect it.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from pathlib import Path

MAX_BYTES = 65_536
"""Of a secret."""


class BadSecretFile(ValueError):  # noqa: N818  the sentence reads better
    """What is wrong, in one line."""


def take_secret_files(names: Iterable[str], environment: MutableMapping[str, str]) -> None:
    """Set each variable from the file that its `NAME_FILE` names, if it does.

    Args:
        names: of variables.
        environment: in which `NAME` then is, and `NAME_FILE` is not any more: child processes take it as it is.

    Raises:
        BadSecretFile: a file cannot be read or has nothing in it, or there are both variables.
    """
    for name in names:
        variable = f"{name}_FILE"
        path = environment.get(variable)
        if not path:
            continue
        if environment.get(name):
            raise BadSecretFile(f"{variable}: {name} is set as well; only one of them can hold")
        environment[name] = _read(path, f"{variable}: {path}")
        del environment[variable]


def _read(path: str, where: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise BadSecretFile(f"{where}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSecretFile(f"{where}: is no text") from None
    if len(content) > MAX_BYTES:
        raise BadSecretFile(f"{where}: is longer than {MAX_BYTES} bytes")
    # Editors and `echo` end a file with a line break, and no secret has one.
    text = text.rstrip("\r\n")
    if not text or "\n" in text or "\0" in text:
        raise BadSecretFile(f"{where}: it has to be one line, with the secret")
    return text
