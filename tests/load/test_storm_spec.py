"""What a storm is, as it is written: `--storm "at=60s share=50% kind=network"`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ampswarm.load.storm_spec import InvalidStorm, Storm, StormKind, parse_storm, parse_storms

SECONDS = st.floats(0, 30 * 24 * 3600.0)
NAMES = st.text("abcXYZ019_.-", max_size=40)


@st.composite
def storms(draw: st.DrawFn) -> Storm:
    kind = draw(st.sampled_from(StormKind))
    away = draw(SECONDS.filter(bool) if kind is StormKind.BLACKHOLE else SECONDS)
    share = draw(st.floats(0, 1, exclude_min=True) | st.integers(1, 100).map(lambda percent: percent / 100))
    at, over, seed = draw(st.none() | SECONDS), draw(SECONDS), draw(st.integers(0, 2**31 - 1))
    return Storm(kind, share, at, away, over, seed, draw(NAMES))


@given(storms())
@example(Storm(StormKind.HERD, 0.07, 1e-7, 5e-324))
def test_a_storm_that_is_written_down_is_the_same_storm(storm: Storm) -> None:
    """What the log and the report say of a storm can be copied into the next run."""
    assert parse_storm(str(storm)) == storm


@given(st.text() | st.text("atshrekindfo=%;0129.smh "))
def test_nothing_else_comes_out_of_a_text(text: str) -> None:
    """Whatever is written is a storm, or one line that says why not."""
    try:
        parsed = parse_storms(text)
    except InvalidStorm as error:
        assert "\n" not in f"{error}"
    else:
        assert parse_storms(";".join(map(str, parsed))) == parsed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at=60s share=50% kind=network", Storm(StormKind.NETWORK, 0.5, 60.0)),
        ("kind=power  at=2min for=500ms", Storm(StormKind.POWER, 1.0, 120.0, 0.5)),
        ("kind=blackhole share=0.25 for=90 at=1h", Storm(StormKind.BLACKHOLE, 0.25, 3600.0, 90.0)),
        ("at=0 kind=herd over=5s seed=7 name=dawn", Storm(StormKind.HERD, 1.0, 0.0, 0.0, 5.0, 7, "dawn")),
    ],
)
def test_what_the_words_mean(text: str, expected: Storm) -> None:
    """Each key, with its units and its default."""
    assert expected == parse_storm(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at=60s share=50%", "'at=60s share=50%': kind: missing: one of network, power, blackhole, herd"),
        ("at=60s share=50 kind=network", "share: '50' is not a share, as in 50% or 0.5"),
        ("at=60s share=0% kind=network", "share: '0%' is not a share"),
        ("at=soon kind=network", "at: 'soon' is not a time, as in 30s, 500ms, 2min or 1h"),
        ("at=-1s kind=network", "at: '-1s' is not a time"),
        ("at=1s kind=rain", "kind: 'rain' is none of: network, power, blackhole, herd"),
        ("at=1s at=2s kind=network", "at: is there twice"),
        ("at=1s kind=network when=now", "'when' is none of: at, share, kind, for, over, seed, name"),
        ("storm", "'storm' is not KEY=VALUE"),
        ("at=1s kind=blackhole", "for: missing: a blackhole needs the seconds"),
        ("at=1s kind=network seed=x", "seed: 'x' is not a seed"),
        ("at=1s kind=network name=a/b", "name: 'a/b' is not a name"),
        ("kind=network", "at: missing: the seconds since the test began, as in at=60s"),
    ],
)
def test_what_is_no_storm_is_one_line_that_names_the_key(text: str, said: str) -> None:
    """A user sees what was wrong and where, and not a stack of Python."""
    with pytest.raises(InvalidStorm) as error:
        parse_storms(text)
    assert said in f"{error.value}"
    assert "\n" not in f"{error.value}"


def test_several_storms_have_semicolons_between_them() -> None:
    """The environment has one variable for all of them; one at its end, or a gap, is no mistake."""
    assert parse_storms("at=1s kind=power; ;at=2s kind=herd;") == (
        Storm(StormKind.POWER, at=1.0),
        Storm(StormKind.HERD, at=2.0),
    )
    assert parse_storms("") == ()


@given(st.integers(1, 10_000), st.integers(1, 400), st.integers(1, 100), st.integers(0, 2**31 - 1))
def test_of_any_charge_points_in_a_row_a_share_is_hit(first: int, count: int, percent: int, seed: int) -> None:
    """50 % of 200 charge points are 100, or a few more or less, whichever numbers they have."""
    storm = Storm(StormKind.NETWORK, percent / 100, seed=seed)
    is_hit = storm.hits()
    hit = [number for number in range(first, first + count) if is_hit(number)]
    assert abs(len(hit) - count * percent / 100) < 4
    assert all(storm.place(number) < storm.share for number in hit)


def test_another_seed_hits_others() -> None:
    """Two storms of a tenth each need not find the same charge points."""
    first, second = (
        {number for number in range(1, 1001) if Storm(StormKind.NETWORK, 0.1, seed=seed).hits()(number)}
        for seed in (1, 2)
    )
    assert first != second


@given(st.floats(0, 100), st.integers(1, 10_000))
def test_hits_spread_over_the_time_that_was_asked_for(over: float, number: int) -> None:
    """The first is hit at once and the last after `over` seconds."""
    storm = Storm(StormKind.POWER, over=over)
    assert 0 <= storm.moment(number) <= over
