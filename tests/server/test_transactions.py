"""The book of transactions: what it counts, and that it stays small."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.transactions import End, Ended, Transactions

TIME = "2026-01-01T00:00:00Z"


def start(book: Transactions, identity: str = "A", connector_id: int = 1, number: int = 0) -> int:
    request = {"connectorId": connector_id, "idTag": "T", "meterStart": number, "timestamp": TIME}
    return book.start(identity, request).transaction_id


def stop(transaction_id: int, meter_stop: int = 0) -> dict[str, Any]:
    return {"transactionId": transaction_id, "meterStop": meter_stop, "timestamp": TIME}


def test_a_start_on_a_busy_connector_supersedes_what_ran_there() -> None:
    """Its stop got lost, or comes late; either way nothing runs twice on a connector, nor stays for ever."""
    book = Transactions(1)
    first = start(book, number=1)
    second = start(book, number=2)
    assert (book.running, book.superseded) == (1, 1)
    book.stop("A", stop(first, 11))
    book.stop("A", stop(first, 11))
    book.stop("A", stop(second, 22))
    assert (book.running, book.stopped, book.repeated_stops, book.unknown_stops) == (0, 2, 1, 0)
    assert book.energy_wh == 10 + 20
    assert [each.end for each in book.page(0, 9) if isinstance(each, Ended)] == [End.STOPPED, End.STOPPED]


def test_memory_is_bounded_and_an_old_stop_is_still_a_repetition() -> None:
    """Of what is remembered no more, the number alone says that it was given out here."""
    book = Transactions(100, max_open=3, keep_ended=2)
    ids = [start(book, connector_id=number) for number in range(1, 6)]
    assert (book.running, book.forgotten, book.remembered) == (3, 2, 2)
    for transaction_id in ids[2:]:
        book.stop("A", stop(transaction_id))
    assert (book.running, book.remembered, book.stopped) == (0, 2, 3)
    book.stop("A", stop(ids[2]))
    assert (book.repeated_stops, book.unknown_stops) == (1, 0)
    book.stop("A", stop(ids[-1] + 1))
    book.stop("A", stop(99))
    assert (book.repeated_stops, book.unknown_stops) == (1, 2)
    assert not book._sampled
    assert not book._by_connector


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-13-01T00:00:00Z", ""])
def test_a_time_that_cannot_be_read_stands_in_no_order(timestamp: str) -> None:
    """The schema does not check it; it must not cost the charge point its answer."""
    book = Transactions(1)
    transaction_id = start(book)
    book.sample("A", {"transactionId": transaction_id, "meterValue": [{"timestamp": timestamp}]})
    assert (book.meter_values, book.meter_values_out_of_order) == (1, 1)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.sampled_from(["Z", "+00:00", "+02:00", ""]))
def test_a_sample_older_than_one_before_is_out_of_order(minutes: list[int], zone: str) -> None:
    """None may be older than any before it."""
    book = Transactions(1)
    transaction_id = start(book)
    sent: list[int] = []
    out_of_order = 0
    for minute in minutes:
        value = {"timestamp": f"2026-01-01T12:{minute:02}:00{zone}"}
        book.sample("A", {"transactionId": transaction_id, "meterValue": [value]})
        out_of_order += any(before > minute for before in sent)
        sent.append(minute)
    assert (len(minutes), out_of_order) == (book.meter_values, book.meter_values_out_of_order)


_STEPS = st.lists(st.tuples(st.sampled_from(["start", "again", "stop"]), st.sampled_from("AB"), st.integers(1, 2)))


@given(_STEPS)
def test_the_sums_agree_with_what_was_sent(steps: list[tuple[str, str, int]]) -> None:
    """Each transaction ends once and is counted once, whatever repeats in between."""
    book = Transactions(1)
    running: dict[tuple[str, int], tuple[int, int]] = {}
    over: list[tuple[str, int]] = []
    starts = repeats = stops = again = 0
    for number, (step, identity, connector_id) in enumerate(steps):
        connector = (identity, connector_id)
        if step == "start":
            running[connector] = start(book, identity, connector_id, number), number
            starts += 1
        elif connector in running and step == "again":
            transaction_id, first = running[connector]
            assert transaction_id == start(book, identity, connector_id, first)
            repeats += 1
        elif connector in running:
            transaction_id, first = running.pop(connector)
            book.stop(identity, stop(transaction_id, first + 7))
            over.append((identity, transaction_id))
            stops += 1
        elif over:
            owner, transaction_id = over[-1]
            book.stop(owner, stop(transaction_id, 7))
            again += 1
    assert (starts, repeats, stops, again) == (book.started, book.repeated_starts, book.stopped, book.repeated_stops)
    assert (len(running), 7 * stops, 0) == (book.running, book.energy_wh, book.unknown_stops)
    assert book.started == book.running + book.stopped + book.superseded
