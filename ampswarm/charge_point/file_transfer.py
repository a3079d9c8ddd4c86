"""Files that are downloaded and uploaded only in name: which tries fail, and when the next one comes (core chapter 8).

No connection is made and no byte is moved. Whether a transfer succeeds follows from its location
alone, so that a tester decides it, and the whole fleet behaves alike. It fails where the scheme is
not one of SupportedFileTransferProtocols (core errata 3.90), and where these words stand in the
location after its host, in any case:

- `download-fails`: every try of a download; `download-fails-2x`: the first two tries
- `invalid-signature`: the image is not what its signature says (whitepaper L01.FR.03)
- `verification-fails`: the image is found broken before it is installed
- `install-fails`: the installation fails at its end
- `upload-fails`, `upload-fails-2x`: every try, or the first two, of an upload
- `permission-denied`, `not-supported`: every try of an upload; a log says why it failed
"""

from __future__ import annotations

import re
from random import Random
from typing import Final

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.timestamps import parse_utc

_RETRIES: Final = 3
_RETRY_INTERVAL: Final = 60
"""Seconds. Both are left to the charge point where the central system does not say (core 6.25, 6.55)."""
_SHORTEST_INTERVAL: Final = 1.0
"""Seconds. So that a great number of retries without a pause does not keep the process busy."""

# Bounded everywhere: a location may be of any length (core 6.55), and comes from outside. At most
# 49 characters, as a firmware version has 50 (core 6.3).
_VERSION: Final = re.compile(r"(?<!\d)\d{1,9}(?:\.\d{1,9}){1,4}", re.ASCII)
_LAST_NUMBER: Final = re.compile(r"(\d+)(\D*)$", re.ASCII)
_MAX_VERSION: Final = 50


def spread(duration: float, random: Random) -> float:
    """Return `duration` give or take half of it: a fleet that was told at once is not done at once."""
    return duration * random.uniform(0.5, 1.5)


def time_of(text: str, field: str) -> float:
    """Return the seconds from 1970 to the point in time that a field of a command names.

    Raises:
        OcppError: PropertyConstraintViolation where it names none; the schemas do not look.
    """
    try:
        return parse_utc(text)
    except ValueError as error:
        raise OcppError(ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, f"{field}: {error}") from None


def path_of(location: str) -> str:
    """Return what follows the host in a URL, in lower case."""
    return location.partition("://")[2].partition("/")[2].lower()


def new_version(location: str, present: str) -> str:
    """Return the version of the firmware at `location`.

    The last thing after the host that looks like a version number (`2.10.0`, `1.4`); where nothing
    does, the present version with its last number raised.
    """
    found = _VERSION.findall(path_of(location))
    if found:
        return str(found[-1])
    raised = _LAST_NUMBER.sub(lambda match: f"{int(match[1]) + 1:0{len(match[1])}}{match[2]}", present, count=1)
    if raised == present:
        raised = f"{present}.1"
    return raised if len(raised) <= _MAX_VERSION else present


class FileTransfer:
    """The tries of one transfer.

    Args:
        location: where from, or where to.
        retries: how often a failed transfer is tried again (core errata 3.50); `None` for 3.
        interval: seconds from a failed try to the next; `None` for 60.
        words: what in the location makes it fail, other than its scheme.
    """

    __slots__ = ("_fails", "_interval", "_left", "location")

    _fails: float

    def __init__(self, location: str, retries: int | None, interval: int | None, words: tuple[str, ...]) -> None:
        self.location = location
        self._left = max(0, _RETRIES if retries is None else retries)
        self._interval = max(_SHORTEST_INTERVAL, _RETRY_INTERVAL if interval is None else interval)
        # How many tries are still to fail.
        self._fails = 0
        path = path_of(location)
        for word in words:
            match = re.search(rf"{word}(?:-(\d{{1,3}})x)?", path, re.ASCII)
            if match is not None:
                self._fails = float("inf") if match[1] is None else int(match[1])
                break

    def is_supported(self, protocols: str) -> bool:
        """Return whether the location's scheme is among `protocols`, a comma separated list."""
        scheme, separator, _rest = self.location.partition("://")
        return bool(separator) and scheme.upper() in [each.strip().upper() for each in protocols.split(",")]

    def succeeds(self, protocols: str) -> bool:
        """Return whether the try that ends now succeeds; call it once for every try."""
        if self._fails > 0:
            self._fails -= 1
            return False
        return self.is_supported(protocols)

    def next_try(self, now: float) -> float | None:
        """Return when to try again after a try that failed at `now`; `None` to give up."""
        if not self._left:
            return None
        self._left -= 1
        return now + self._interval
