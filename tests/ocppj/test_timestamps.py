"""Points in time keep their meaning on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.ocppj.timestamps import format_utc, parse_utc


@given(st.integers(0, 4_000_000_000_000).map(lambda milliseconds: milliseconds / 1000))
def test_a_point_in_time_survives_the_wire_to_the_millisecond(seconds: float) -> None:
    """Core 3.15: a clock that is set from the answer must show the same time."""
    assert abs(parse_utc(format_utc(seconds)) - seconds) <= 0.0015


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2013-02-01T20:53:32.486Z", 1359752012.486),
        ("2013-02-01T20:53:32Z", 1359752012),
        ("2013-02-01T21:53:32+01:00", 1359752012),
        ("2013-02-01T20:53:32", 1359752012),
        ("2013-02-01T20:53:32.486123456Z", 1359752012.486123),
    ],
)
def test_the_notations_of_central_systems_are_read(text: str, seconds: float) -> None:
    """Core 3.14: UTC is recommended, and not everybody writes it alike."""
    assert seconds == pytest.approx(parse_utc(text))


@pytest.mark.parametrize("text", ["", "now", "2013-13-01T00:00:00Z", "20:53:32", "2013-02-01T24:53:32Z"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    """The schemas let any text through; it must not end a charge point."""
    with pytest.raises(ValueError, match="not an ISO 8601"):
        parse_utc(text)


@given(st.floats(0, 253402300799, allow_nan=False), st.integers(-2000, 2000))
def test_times_are_written_as_datetime_writes_them(seconds: float, more: int) -> None:
    """To the millisecond, whichever second was written before."""
    for moment in (seconds, max(0.0, seconds + more / 1_000_000), max(0.0, seconds - 1e-7)):
        text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        assert format_utc(moment) == text.removesuffix("+00:00") + "Z"
