"""Points in time on the wire: ISO 8601 in UTC (core 3.14, 3.15), as seconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC).timestamp()
"""So that a clock that was set to any time can run on and still be written."""


_second: tuple[int, str] = (0, "1970-01-01T00:00:00.")
"""The last whole second that was written, and its text: most of what is written in a second is of the same one."""


def format_utc(seconds: float) -> str:
    """Return the point in time `seconds` after 1970 as text, in UTC to the millisecond."""
    global _second  # noqa: PLW0603  a cache of one entry, replaced as a whole
    whole = int(seconds)
    # As `datetime` does: to the nearest microsecond, and then to the millisecond that has begun.
    microseconds = round((seconds - whole) * 1_000_000)
    if not 0 <= microseconds < 1_000_000:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    last, prefix = _second
    if whole != last:
        prefix = datetime.fromtimestamp(whole, UTC).isoformat(timespec="seconds")[:-6] + "."
        _second = whole, prefix
    return f"{prefix}{microseconds // 1000:03}Z"


def parse_utc(text: str) -> float:
    """Return the seconds from 1970 to the point in time that `text` names.

    A text without a zone is taken as UTC, which core 3.14 recommends.

    Raises:
        ValueError: `text` is not an ISO 8601 date and time between 1970 and 9000.
    """
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"not an ISO 8601 date and time: {text[:40]!r}") from None
    if not 0 <= seconds < _LATEST:
        raise ValueError(f"not a date between 1970 and 9000: {text[:40]!r}")
    return seconds
