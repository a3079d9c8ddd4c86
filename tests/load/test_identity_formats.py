"""Two populations must never have a charge point of the same identity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampswarm.load.identity_formats import collision


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CP{}", "CP1{}"),  # CP11
        ("CP{:06d}", "CP1{:05d}"),  # CP100001, with the 100,001st charge point
        ("CP{:06d}", "CP7{:05d}"),
        ("CP{:d}", "CP{:x}"),  # CP10 is 10 and 16
        ("{}-A", "1{}-A"),
        ("A{:x}", "A{:b}"),
        ("{:,}", "{}0,000"),
    ],
)
def test_formats_that_meet_are_found(one: str, other: str) -> None:
    """However far off the other number is: it is computed, not looked for."""
    for first, second in ((one, other), (other, one)):
        numbers = collision(first, second)
        assert numbers is not None
        assert numbers[0] != numbers[1]
        assert first.format(numbers[0]) == second.format(numbers[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CP{:06d}", "CP{:06d}"),  # every number belongs to one of them
        ("CP{:06d}", "CP{:04d}"),  # alike for one and the same number only
        ("CP-{:06d}", "CP{:06d}"),
        ("AC{}", "DC{}"),
        ("{}A", "{}B"),
        ("a{{{}", "b{{{}"),
    ],
)
def test_formats_that_never_meet_are_taken(one: str, other: str) -> None:
    """A false alarm would forbid a good fleet."""
    assert collision(one, other) is None
    assert collision(other, one) is None


FORMATS = st.builds(
    "{}{{{}}}{}".format,
    st.text("1AB-", max_size=3),
    st.sampled_from(["", ":d", ":04d", ":x"]),
    st.text("1AB-", max_size=2),
)


@given(FORMATS, FORMATS)
def test_collision_agrees_with_the_identities_of_a_fleet(one: str, other: str) -> None:
    """What the first 500 of each have in common, for different charge points, is found."""
    numbers = {one.format(number): number for number in range(1, 501)}
    meeting = [
        (numbers[identity], number)
        for number in range(1, 130)
        if (identity := other.format(number)) in numbers and numbers[identity] != number
    ]
    found = collision(one, other)
    if meeting:
        assert found is not None
    if found is not None:
        assert one != other
        assert found[0] != found[1]
        assert one.format(found[0]) == other.format(found[1])
