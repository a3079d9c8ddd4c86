"""A load is judged when it is there, has settled, and stays."""

from __future__ import annotations

import pytest

from ampswarm.capacity.steadiness import Hold, Phase, Times

TIMES = Times(settle=2.0, hold=4.0, patience=10.0, lag=1.0)


@pytest.mark.parametrize(
    ("looks", "expected", "window"),
    [
        (
            [(0.5, False), (1.2, True), (3.5, True), (4.0, True), (7.9, True), (8.5, True), (9.0, True)],
            [Phase.RISING, Phase.SETTLING, Phase.SETTLING, Phase.HOLDING, Phase.HOLDING, Phase.COLLECTING, Phase.OVER],
            (4.0, 8.0),
        ),
        # It comes and goes: judged only when it stays.
        (
            [(1.0, True), (4.0, False), (5.0, True), (7.0, True)],
            [Phase.SETTLING, Phase.RISING, Phase.SETTLING, Phase.HOLDING],
            (7.0, 11.0),
        ),
        # What happens after the hold has no part in it.
        ([(1.0, True), (7.1, False), (8.0, False)], [Phase.SETTLING, Phase.COLLECTING, Phase.OVER], (3.0, 7.0)),
        ([(9.9, False), (10.0, False), (11.0, True)], [Phase.RISING, Phase.LATE, Phase.LATE], (0.0, 0.0)),
        ([(1.0, True), (9.5, True), (20.0, False)], [Phase.SETTLING, Phase.OVER, Phase.OVER], (3.0, 7.0)),
    ],
)
def test_a_trial_in_time(looks: list[tuple[float, bool]], expected: list[Phase], window: tuple[float, float]) -> None:
    """Seconds in whole windows of the timeline, none of them from before the load was there."""
    hold = Hold(TIMES, 0.0)
    assert expected == [hold.look(now, is_there=is_there) for now, is_there in looks]
    assert window == (hold.after, hold.before)
