"""Lifecycle lines are thinned out, and what is left out is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ampswarm.lifecycle import LifecycleLog


def recorded(limit: int = 3) -> tuple[LifecycleLog, list[dict[str, object]]]:
    lines: list[dict[str, object]] = []
    return LifecycleLog(lines.append, limit), lines


def test_a_burst_is_cut_and_summed_up() -> None:
    """Each kind of event has its own allowance in each second."""
    log, lines = recorded()
    for number in range(10):
        log.write("connected", 5.0, identity=number)
    log.write("lost", 5.5, identity=1)
    assert [line["event"] for line in lines] == ["connected"] * 3 + ["lost"]
    log.write("connected", 6.0, identity=11)
    assert lines[-2:] == [
        {"event": "connected", "suppressed": 7, "seconds": 1.0},
        {"event": "connected", "identity": 11},
    ]


def test_what_was_left_out_last_is_told_even_if_nothing_follows() -> None:
    """After the storm there may be silence."""
    log, lines = recorded(limit=1)
    log.write("lost", 0.0)
    log.write("lost", 0.1)
    log.flush(0.5)
    assert len(lines) == 1
    log.flush(1.0)
    assert lines[-1] == {"event": "lost", "suppressed": 1, "seconds": 1.0}
    log.write("lost", 1.1)
    log.write("lost", 1.2)
    log.flush(1.3, final=True)
    assert lines[-1] == {"event": "lost", "suppressed": 1, "seconds": 0.2}


def test_few_lines_in_a_longer_time() -> None:
    """A run of a hundred charge points shows that they come, and not each of them."""
    lines: list[dict[str, object]] = []
    log = LifecycleLog(lines.append, 2, 10.0)
    for number in range(100):
        log.write("connected", number / 10, identity=number)
    assert [line["identity"] for line in lines] == [0, 1]
    log.flush(10.0)
    assert lines[2:] == [{"event": "connected", "suppressed": 98, "seconds": 10.0}]


def test_without_a_sink_nothing_is_kept() -> None:
    """Switched off, it costs nothing."""
    log = LifecycleLog(None)
    assert not log.is_on
    log.write("lost", 0.0)
    log.flush(9.0, final=True)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.7)), max_size=200))
def test_every_line_is_written_or_counted(steps: list[tuple[str, float]]) -> None:
    """Nothing is lost, whatever the rhythm."""
    log, lines = recorded()
    now = 0.0
    for event, pause in steps:
        now += pause
        log.write(event, now, identity=1)
        if pause > 0.6:
            log.flush(now)
    log.flush(now, final=True)
    for event in "ab":
        mine = [line for line in lines if line["event"] == event]
        suppressed = [line["suppressed"] for line in mine if "suppressed" in line]
        assert all(isinstance(each, int) for each in suppressed)
        total = sum("identity" in line for line in mine) + sum(each for each in suppressed if isinstance(each, int))
        assert total == sum(kind == event for kind, _ in steps)
