"""Chaos files: what is done to charge points from the start, in TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path

from server.chaos_schema import BadChaos, ChaosConfig, parse


def read_chaos_file(path: Path) -> ChaosConfig:
    """Return the configuration in a file.

    Raises:
        BadChaos: it cannot be used; one line with the file and the key or line.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadChaos(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadChaos(f"{path}: {error}") from None
    except (RecursionError, ValueError):
        # A path with a null character, tables nested too deeply, or a number of too many digits.
        raise BadChaos(f"{path}: cannot be read") from None
    try:
        return parse(values)
    except BadChaos as bad:
        raise BadChaos(f"{path}: {bad}") from None
