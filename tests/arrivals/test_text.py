"""Arrivals as an option says them: what each form means, and one clear line for what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.arrivals import InvalidArrivals, parse

DAY = "hour,arrivals\n" + "".join(f"{hour},{100 * hour}\n" for hour in range(24))
FILES = {
    "day.csv": DAY,
    "with spaces, and a comma.csv": DAY,
    "short.csv": "hour,arrivals\n0,1\n",
    "twice.csv": "hour,arrivals\n0,1\n0,1\n",
    "25.csv": "hour,arrivals\n24,1\n",
    "empty.csv": "",
    "header.csv": "seconds\n",
    "nothing.csv": "hour,arrivals\n" + "".join(f"{h},0\n" for h in range(24)),
    "times.csv": "\ufeffid,seconds\r\na,3.5\r\nb,1\r\n\r\nc,7\r\n",
    "stamps.csv": "timestamp,who\n2026-05-01T06:30:02Z,a\n2026-05-01T08:30:00.5+02:00,b\n2026-05-01T06:30:04Z,c\n",
    "bad.csv": "seconds\n1\n-2\n",
    "word.csv": "seconds\nsoon\n",
    "local.csv": "timestamp\n2026-05-01T06:30:02\n",
    "other.csv": "time\n1\n",
    "quote.csv": 'seconds\n1\n"2\n',
    "narrow.csv": "id,seconds\na,1\nb\n",
}


def read(name: str) -> str:
    if name == "latin.csv":
        return b"\xff".decode()
    if name not in FILES:
        raise FileNotFoundError(name)
    return FILES[name]


@pytest.mark.parametrize(
    ("text", "counts", "duration"),
    [
        ("constant 50/s", {10: 500}, float("inf")),
        ("constant 30/min for 2min", {60: 30, 120: 60, 600: 60}, 120),
        ("constant 7200/h for 500ms", {1: 1}, 0.5),
        ("ramp 0/s to 200/s over 5min, constant 200/s for 10min", {300: 30_000, 900: 150_000}, 900),
        ("ramp 0/s to 200/s over 5min then constant 200/s for 10min", {300: 30_000, 900: 150_000}, 900),
        ("steps 100/s +50/s every 60s up to 500/s", {60: 6000, 120: 15_000, 540: 162_000}, 540),
        ("steps 10/s -5/s every 1s down to 0/s", {1: 10, 2: 15, 3: 15}, 3),
        ("spike 50/s peak 500/s at 120s for 10s", {120: 6000, 130: 11_000, 140: 11_500}, float("inf")),
        ("spike 50/s peak 500/s at 0s for 10s over 20s", {10: 5000, 20: 5500}, 20),
        ("day day.csv x60", {60: 0, 120: 100, 1440: 27_600}, 1440),
        ('day "with spaces, and a comma.csv" x60 from 23:30', {30: 1150, 90: 1150, 1440: 27_600}, 1440),
        ("day day.csv for 2h", {7200: 100}, 7200),
        ("replay times.csv", {0.9: 0, 1: 1, 3.5: 2, 7: 3}, 7),
        ("replay times.csv x2, constant 1/s for 2s", {3.5: 3, 5.5: 5}, 5.5),
        ("replay stamps.csv", {0: 1, 1.5: 2, 3.5: 3}, 3.5),
    ],
)
def test_each_form_means_what_it_says(text: str, counts: dict[float, int], duration: float) -> None:
    """The examples of the reference, by what has come when."""
    arrivals = parse(text, read, "1")
    assert counts == {at: arrivals.count(at) for at in counts}
    assert duration == pytest.approx(arrivals.duration)


@pytest.mark.parametrize("shape", ["50/s for 10min", "constant 50/s for 10min", "ramp 0/s to 100/s over 10min"])
def test_poisson_goes_with_every_shape(shape: str) -> None:
    """The same seed is the same run; about as many as without."""
    one, same, other = (parse(f"poisson {shape}", read, seed) for seed in ("1", "1", "2"))
    assert one.at(100) == same.at(100) != other.at(100)
    assert pytest.approx(one.total, abs=4.5 * 30_000**0.5) == 30_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no arrival in it"),
        ("constant 5/s for 1s,", "piece 2: there is no arrival in it"),
        ("constantly 5/s", "'constantly' is none of: poisson, constant, ramp, steps, spike, day, replay"),
        ("poisson", "nothing is none of: poisson, constant"),
        ("poisson replay times.csv", "'replay' is none of"),
        ("constant", "nothing where a rate as in 50/s, 10/min or 4/h should be"),
        ("constant 5", "'5' where a rate as in 50/s, 10/min or 4/h should be"),
        ("constant 1e7/s", "'1e7/s' is more than 1e+06/s"),
        ("constant e/s", "'e/s' where a rate"),
        ("constant -5/s", "a rate must be 0 or more"),
        ("constant 5/s for ever", "'ever' where a time as in 90s, 10min or 2h should be"),
        ("constant 5/s for 0s", "'0s' is not a time from 0.001 s"),
        ("constant 5/s to 6/s", "'to' is not understood here"),
        ("constant 5/s, constant 6/s", "piece 1: it has no end, and something comes after it: it needs a `for`"),
        ("ramp 0/s to 200 over 5min", "'200' where a rate"),
        ("ramp 0/s 200/s over 5min", "'200/s' where 'to' should be"),
        ("steps 1/s +1/s every 1s to 5/s", "'to' where 'up' should be"),
        ("steps 5/s +1/s every 1s up to 1/s", "the steps lead away from where they should end"),
        ("spike 1/s peak 5/s at 10s for 5s over 12s", "it must be over after the spike"),
        ('replay "times.csv', "a quotation mark has no other one"),
        ("replay", "nothing where the name of a CSV file should be"),
        ("replay no.csv", "no.csv: no such file"),
        ("replay latin.csv", "latin.csv: is not UTF-8"),
        ("replay times.csv x0", "'x0' is not an acceleration as in x60"),
        ("replay times.csv xx", "'xx' where an acceleration as in x60 should be"),
        ("replay empty.csv", "empty.csv: has no rows"),
        ("replay header.csv", "header.csv: has no rows"),
        ("replay bad.csv", "bad.csv: line 3: seconds: '-2' is not a number of 0 or more"),
        ("replay word.csv", "word.csv: line 2: seconds: 'soon' is not a number"),
        ("replay local.csv", "local.csv: line 2: timestamp: '2026-05-01T06:30:02' is not a time as in"),
        ("replay other.csv", "other.csv: line 1: must name the column seconds"),
        ("replay quote.csv", "quote.csv: line 3: unexpected end of data"),
        ("replay narrow.csv", "narrow.csv: line 3: has too few columns"),
        ("day short.csv", "short.csv: has no row for hour 1, 2, 3"),
        ("day twice.csv", "twice.csv: line 3: hour: 0 comes a second time"),
        ("day 25.csv", "25.csv: line 2: hour: '24' is not an hour from 0 to 23"),
        ("day nothing.csv", "nothing.csv: nothing ever arrives"),
        ("day day.csv from 24:00", "'24:00' where a time of day as in 06:30 should be"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_and_where(text: str, said: str) -> None:
    """Without a traceback, and with what was written."""
    with pytest.raises(InvalidArrivals) as raised:
        parse(text, read, "1")
    assert f"{raised.value}".startswith(said)
    assert "\n" not in f"{raised.value}"


WORDS = st.one_of(
    st.sampled_from(["constant", "ramp", "steps", "spike", "day", "replay", "poisson", "for", "to", "over", "every"]),
    st.sampled_from(["up", "at", "peak", "then", "from", ",", "x60", "x", "day.csv", "times.csv", '"', "06:30"]),
    st.sampled_from(["5/s", "+5/s", "0/s", "1e3/min", "10s", "2min", "١/s", "nan/s", "1e999/s"]),
)


@given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=12).map(" ".join)))
def test_no_text_is_more_than_a_mistake(text: str) -> None:
    """Whatever is typed is arrivals, or one line."""
    try:
        arrivals = parse(text, read, "1")
    except InvalidArrivals as error:
        assert "\n" not in f"{error}".replace(text, "")
    else:
        assert arrivals.count(5.0) <= arrivals.count(6.0)
