"""The book of transactions, in a real SQLite: what it counts, and that it forgets what it has to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, StaticPool, create_engine

from server import book as pages
from server import ledger
from server.samples import energy_register
from server.tables import METADATA
from server.transactions import Entry, Kept, Sample, Start, Stop

TIME = "2026-01-01T00:00:00Z"


class Book:
    """A book on a database in memory; each entry is a batch of its own unless `record` is given more."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.one_at_a_time: set[str] = set()

    def record(self, *entries: Entry) -> list[Kept]:
        ids = pages.lease_ids(self.connection, len(entries))
        return pages.record(self.connection, "node", entries, ids, self.one_at_a_time.__contains__)

    def start(self, identity: str = "A", connector_id: int = 1, number: int = 0, id_tag: str = "T") -> int:
        return self.record(start(identity, connector_id, number, id_tag))[0].transaction_id

    @property
    def ledger(self) -> dict[str, int]:
        """What was counted, but for anomalies, and without what was not."""
        counted = ledger.sums(self.connection)
        return {name: count for name, count in counted.items() if count and name != "anomalies"}

    @property
    def states(self) -> dict[int, str]:
        return {row.id: row.state for row in ledger.page(self.connection, 1000)}

    @property
    def anomalies(self) -> list[str]:
        return [row.kind for row in reversed(ledger.anomalies(self.connection, 1000))]

    @property
    def details(self) -> list[str]:
        return [row.detail for row in reversed(ledger.anomalies(self.connection, 1000))]


@contextmanager
def open_book() -> Iterator[Book]:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with engine.connect() as connection:
        yield Book(connection)
    engine.dispose()


@pytest.fixture
def book() -> Iterator[Book]:
    """An empty book."""
    with open_book() as opened:
        yield opened


def start(
    identity: str = "A", connector_id: int = 1, number: int = 0, id_tag: str = "T", timestamp: str = TIME
) -> Start:
    request = {"connectorId": connector_id, "idTag": id_tag, "meterStart": number, "timestamp": timestamp}
    return Start(identity, request, 1.0)


def stop(transaction_id: int, meter_stop: int = 0, identity: str = "A", **more: Any) -> Stop:
    request = {"transactionId": transaction_id, "meterStop": meter_stop, "timestamp": TIME, **more}
    return Stop(identity, request, 2.0)


def sample(transaction_id: int, *timestamps: str, identity: str = "A", connector_id: int = 1, **value: Any) -> Sample:
    values = [values_at(timestamp, **value) for timestamp in timestamps]
    request = {"connectorId": connector_id, "transactionId": transaction_id, "meterValue": values}
    return Sample(identity, request, 3.0)


def values_at(timestamp: str, **value: Any) -> dict[str, Any]:
    return {"timestamp": timestamp, "sampledValue": [{"value": "0", **value}]}


def test_a_start_on_a_busy_connector_supersedes_what_ran_there(book: Book) -> None:
    """Its stop got lost, or comes late; either way nothing runs twice on a connector, nor stays for ever."""
    first, second = book.start(number=1), book.start(number=2)
    assert book.ledger == {"started": 2, "open": 1, "superseded": 1}
    book.record(stop(first, 11))
    book.record(stop(first, 11))
    book.record(stop(second, 22))
    assert book.ledger == {"started": 2, "stopped": 2, "late_stops": 1, "repeated_stops": 1, "energy_wh": 30}
    assert book.states == {first: "stopped", second: "stopped"}
    assert book.anomalies == ["start without a stop", "late stop", "repeated stop"]


def stop_without_id(**more: str) -> Stop:
    return Stop("A", {"transactionId": -1, "meterStop": 5, "timestamp": TIME, **more}, 2.0)


@pytest.mark.parametrize("more", [{}, {"idTag": "t"}])
def test_a_stop_without_an_id_ends_the_only_one_that_it_may_mean(book: Book, more: dict[str, str]) -> None:
    """Core errata 3.18: the start's answer got lost. Else its id tag would be in use for ever."""
    other = book.start("B")
    transaction = book.start(number=1)
    book.record(stop_without_id(**more), sample(-1, TIME))
    assert book.states == {other: "open", transaction: "stopped"}
    book.record(stop_without_id(**more))
    assert book.ledger == {"started": 2, "open": 1, "stopped": 1, "without_transaction_id": 3, "energy_wh": 4}
    assert book.anomalies == ["without transaction id"] * 3


def test_it_ends_it_in_the_same_batch_as_well(book: Book) -> None:
    """A charge point that was offline sends all that it has at once."""
    book.record(start(number=1), stop_without_id())
    assert book.ledger == {"started": 1, "stopped": 1, "without_transaction_id": 1, "energy_wh": 4}


def test_a_stop_without_an_id_that_may_mean_several_or_none_ends_none(book: Book) -> None:
    """A guess would end what still runs, and take its own stop for a repeated one."""
    for connector_id in (1, 2):
        book.start(connector_id=connector_id, number=1)
    book.record(stop_without_id(), stop_without_id(idTag="T"), stop_without_id(idTag="another"))
    assert book.ledger == {"started": 2, "open": 2, "without_transaction_id": 3}


def test_a_transaction_whose_id_is_known_is_not_ended_without_it(book: Book) -> None:
    """Who sent MeterValues with the id has had the answer, and another register cannot have started higher."""
    known = book.start(number=1)
    book.record(sample(known, TIME))
    book.start(connector_id=2, number=10)
    book.record(stop_without_id())
    assert book.ledger == {"started": 2, "open": 2, "meter_values": 1, "without_transaction_id": 1}


def test_a_batch_comes_to_the_same_as_its_entries_one_by_one(book: Book) -> None:
    """Many charge points are committed together, and one that pipelines may be in it more than once."""
    first, again, other, second = book.record(start(number=1), start(number=1), start("B"), start(number=2))
    assert first.transaction_id == again.transaction_id
    assert len({first.transaction_id, other.transaction_id, second.transaction_id}) == 3
    book.record(stop(second.transaction_id, 5), start(number=5), stop(second.transaction_id, 5))
    assert book.ledger == {
        "started": 4,
        "repeated_starts": 1,
        "open": 2,
        "superseded": 1,
        "stopped": 1,
        "repeated_stops": 1,
        "energy_wh": 3,
    }


# -- what repeats -------------------------------------------------------------------------------


def test_the_same_start_after_its_stop_is_a_repetition(book: Book) -> None:
    """Core 3.7.1: its answer came late or got lost; a second transaction would run for ever, without a stop."""
    first = book.start()
    book.record(stop(first))
    assert first == book.start()
    assert book.ledger == {"started": 1, "stopped": 1, "repeated_starts": 1}
    assert book.states == {first: "stopped"}
    assert book.anomalies == ["repeated start"]


def test_the_same_start_after_a_later_one_supersedes_nothing(book: Book) -> None:
    """What runs on the connector by now must not end because of an old message."""
    first, second = book.start(number=1), book.start(number=2)
    assert first == book.start(number=1)
    assert book.states == {first: "superseded", second: "open"}
    assert book.ledger == {"started": 2, "open": 1, "superseded": 1, "repeated_starts": 1}


@pytest.mark.parametrize(
    "other",
    [
        start(identity="B"),
        start(connector_id=2),
        start(number=1),
        start(id_tag="t"),
        start(timestamp="2026-01-01T00:00:01Z"),
    ],
)
def test_a_start_that_differs_in_anything_is_a_new_one(book: Book, other: Start) -> None:
    """Else a driver would charge in somebody else's transaction."""
    first = book.start()
    book.record(stop(first))
    assert book.record(other)[0].transaction_id != first
    assert book.ledger == {"started": 2, "stopped": 1, "open": 1}


def test_starts_of_one_charge_point_repeat_in_one_batch(book: Book) -> None:
    """A charge point that was offline sends all that it has at once, and all again."""
    times = [f"2026-01-01T0{hour}:00:00Z" for hour in range(3)]
    offline = [start(connector_id=number, timestamp=time) for number in (1, 2) for time in times]
    ids = [kept.transaction_id for kept in book.record(*offline)]
    again = [kept.transaction_id for kept in book.record(*offline, *offline)]
    assert ids * 2 == again
    assert book.ledger == {"started": 6, "open": 2, "superseded": 4, "repeated_starts": 12}


def test_a_start_and_its_end_and_the_start_again_in_one_batch(book: Book) -> None:
    """The same as one by one."""
    first = book.start("B")
    kept = book.record(start(), stop(first, identity="B"), start(number=1), start(), start("B"))
    assert [kept[0].transaction_id, first] == [each.transaction_id for each in kept[3:]]
    assert book.ledger == {"started": 3, "stopped": 1, "superseded": 1, "open": 1, "repeated_starts": 2}


def test_the_same_meter_values_again_are_a_repetition(book: Book) -> None:
    """Core 3.7.1: counted apart, so that the others are as many as were sampled."""
    transaction_id = book.start()
    first, second = (sample(transaction_id, f"2026-01-01T00:0{minute}:00Z") for minute in (1, 2))
    book.record(first)
    book.record(first, second, second)
    book.record(second)
    assert book.ledger == {"started": 1, "open": 1, "meter_values": 2, "repeated_meter_values": 3}
    assert book.anomalies == ["repeated meter values"] * 3


def test_the_same_meter_values_later_are_out_of_order(book: Book) -> None:
    """Behind others, or behind the stop, they are no retry: core 3.7.1 keeps the order."""
    transaction_id = book.start()
    first, second = (sample(transaction_id, f"2026-01-01T00:0{minute}:00Z") for minute in (1, 2))
    book.record(first, second, first, stop(transaction_id), first)
    counted = book.ledger
    assert (counted["meter_values"], counted["meter_values_out_of_order"]) == (4, 2)
    assert "repeated_meter_values" not in counted


def test_a_repeated_start_is_answered_as_it_was_first(book: Book) -> None:
    """Whatever else has started or ended with its id tag since: its driver was told so."""
    book.one_at_a_time = {"t"}
    first, second = start("A"), start("B")
    answers = [kept.is_concurrent for entry in (first, second) for kept in book.record(entry)]
    assert answers == [False, True]
    for ended in ("", "A", "B"):
        for transaction_id, state in book.states.items():
            if state == "open" and ended:
                book.record(stop(transaction_id, identity=ended))
        again = [kept.is_concurrent for entry in (first, second) for kept in book.record(entry)]
        assert answers == again
    assert book.ledger["concurrent_starts"] == 1


def test_few_rows_are_read_for_a_start_however_many_there_were() -> None:
    """Else a charge point that has charged ten thousand times would keep all others waiting."""
    for _ in range(5):
        # The order in which indexes are made is not the same each time, and decides where nothing else does.
        engine = create_engine("sqlite://", poolclass=StaticPool)
        METADATA.create_all(engine)
        with engine.connect() as connection:
            for statement, index, given in (
                (pages._open_of("sqlite"), "transactions_open", {"wanted": '["A"]'}),
                (pages._started_as("sqlite"), "transactions_started", {"said": '{"A": "B"}'}),
            ):
                compiled = statement.compile(engine)
                values = tuple((compiled.params | given)[name] for name in compiled.positiontup or ())
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
                assert f"USING INDEX {index} (identity=?" in str(plan)
        engine.dispose()


# -- what is odd --------------------------------------------------------------------------------


def data(*values: dict[str, Any]) -> dict[str, Any]:
    return {"transactionData": list(values)}


EARLIER, LATER, LATEST = "2025-12-31T23:59:00Z", "2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"


ORDER, EARLY, BACK = "transaction_data_out_of_order", "early_meter_values", "backward_meters"
KINDS = {ORDER: "transaction data out of order", EARLY: "meter values before the start", BACK: "meter runs backwards"}
KWH = {"value": "1.2", "unit": "kWh"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([values_at(TIME, value="1000"), values_at(LATER, **KWH), values_at(LATEST, value="1500")], []),
        ([values_at(TIME, value="1000"), values_at(LATER, value="1500"), values_at(LATEST, value="2")], [BACK]),
        ([values_at(LATER, value="1000"), values_at(LATER, value="1100")], []),
        ([values_at(LATER, value="1510")], []),
        ([values_at(LATER, value="1511")], [BACK]),
        ([values_at(LATER, value="989")], [BACK]),
        ([values_at(LATER, value="9999", phase="L1")], []),
        ([values_at(LATEST, value="1100"), values_at(LATER, value="1200")], [ORDER]),
        ([values_at("soon", value="1100"), values_at("never", value="1200")], [ORDER]),
        ([values_at(EARLIER, value="1000")], [EARLY]),
        ([values_at(EARLIER, value="1000"), values_at("", value="1"), values_at(TIME, value="5000")], [*KINDS]),
    ],
)
def test_the_data_of_a_stop_are_looked_at(book: Book, values: list[dict[str, Any]], expected: list[str]) -> None:
    """Core 4.10: they are bills, too. In order among themselves; the register between meterStart and meterStop."""
    transaction_id = book.start(number=1000)
    # They may repeat what MeterValues.req have said, and what is older.
    book.record(sample(transaction_id, LATEST, value="1450"))
    book.record(stop(transaction_id, 1500, **data(*values)))
    assert [KINDS[each] for each in expected] == book.anomalies
    ordinary = {"started": 1, "stopped": 1, "meter_values": 1, "energy_wh": 500}
    assert ordinary | dict.fromkeys(expected, 1) == book.ledger


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-13-01T00:00:00Z", ""])
def test_a_start_or_stop_without_a_readable_time_is_kept_and_noted(book: Book, timestamp: str) -> None:
    """Core 4.8, 4.10: it is confirmed whatever it says; but nobody can bill it by time. Once, if it repeats."""
    entry = start(timestamp=timestamp)
    transaction_id = book.record(entry)[0].transaction_id
    assert book.record(entry)[0].transaction_id == transaction_id
    # What has no readable start has nothing before it.
    book.record(sample(transaction_id, EARLIER))
    book.record(stop(transaction_id, timestamp=timestamp), stop(transaction_id, timestamp=timestamp))
    book.record(stop(-1, timestamp=timestamp), stop(2**40, timestamp=timestamp))
    assert book.ledger == {
        "started": 1,
        "repeated_starts": 1,
        "meter_values": 1,
        "stopped": 1,
        "repeated_stops": 1,
        "unreadable_timestamps": 4,
        "without_transaction_id": 1,
        "unknown_stops": 1,
    }
    assert book.anomalies.count("unreadable timestamp") == 4
    assert repr(timestamp) in book.details[0]


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [("2025-12-31T23:59:59Z", 0), ("2025-12-31T23:59:58.9Z", 1), ("2026-01-01T01:00:00+02:00", 1), (TIME, 0)],
)
def test_a_sample_older_than_the_start_is_noted(book: Book, timestamp: str, expected: int) -> None:
    """Core 4.7: it belongs to no part of the transaction. A second is allowed: some round, and some cut."""
    transaction_id = book.start()
    book.record(sample(transaction_id, timestamp))
    book.record(sample(transaction_id, LATER))
    counted = book.ledger
    assert (2, expected) == (counted["meter_values"], counted.get("early_meter_values", 0))
    assert "meter_values_out_of_order" not in counted
    # Behind one that is in order, it is both.
    book.record(sample(transaction_id, "2025-01-01T00:00:00Z"))
    counted = book.ledger
    assert (expected + 1, 1) == (counted["early_meter_values"], counted["meter_values_out_of_order"])


def test_samples_of_one_message_before_and_after_the_start(book: Book) -> None:
    """Only what is older is left out: the register of the others counts."""
    transaction_id = book.start(number=100)
    book.record(sample(transaction_id, EARLIER, TIME, value="500"))
    book.record(stop(transaction_id, 400))
    assert book.anomalies == ["meter values before the start", "meter runs backwards"]


@pytest.mark.parametrize(("timestamp", "expected"), [("2025-12-31T23:59:59Z", 0), ("2025-12-31T23:59:58Z", 1)])
def test_a_stop_older_than_its_start_is_noted(book: Book, timestamp: str, expected: int) -> None:
    """A session of negative duration is a clock that was put back, or a bill that nobody pays."""
    book.record(stop(book.start(), timestamp=timestamp))
    assert book.ledger.get("early_stops", 0) == expected
    assert book.anomalies == ["stop before the start"] * expected


@pytest.mark.parametrize(("energy", "expected"), [(2**31 - 1, 0), (2**31, 1), (2**64 - 1, 1)])
def test_energy_beyond_what_is_counted_is_noted(book: Book, energy: int, expected: int) -> None:
    """It is capped, so that one broken meter does not drown the sum; but not silently."""
    book.record(stop(book.start(), energy))
    assert book.ledger == {
        "started": 1,
        "stopped": 1,
        "energy_wh": 2**31 - 1,
        **({"implausible_energy": 1} if expected else {}),
    }
    assert book.anomalies == ["implausible energy"] * expected


@pytest.mark.parametrize(("connector_id", "expected"), [(1, 0), (2, 1), (2**63, 1), (0, 0)])
def test_meter_values_of_another_connector_are_noted_and_their_register_is_not_read(
    book: Book, connector_id: int, expected: int
) -> None:
    """It is another meter, which would seem to run backwards. 0 is the main meter, which core errata advise against."""
    transaction_id = book.start(number=1000)
    book.record(sample(transaction_id, LATER, value="1500"))
    book.record(sample(transaction_id, LATEST, value="1600" if connector_id == 1 else "7", connector_id=connector_id))
    assert book.ledger.get("meter_values_of_another_connector", 0) == expected
    assert book.anomalies == ["meter values of another connector"] * expected
    assert book.ledger["meter_values"] == 2


# -- what is forgotten, and what nobody would send ----------------------------------------------


def test_what_is_forgotten_is_counted_and_its_stop_is_still_a_repetition(book: Book) -> None:
    """The store stays small; of what is remembered no more, the id says that it was given out here."""
    ids = [book.start(connector_id=number) for number in range(1, 7)]
    for transaction_id in ids[:5]:
        book.record(stop(transaction_id, 1))
    assert pages.forget(book.connection, 2) == 3
    assert pages.forget(book.connection, 2) == 0
    assert book.states == {ids[3]: "stopped", ids[4]: "stopped", ids[5]: "open"}
    book.record(stop(ids[0]), sample(ids[1], TIME), stop(ids[-1] + 1), sample(ids[-1] + 1, TIME))
    assert book.ledger == {
        "started": 6,
        "open": 1,
        "stopped": 5,
        "energy_wh": 5,
        "repeated_stops": 1,
        "unknown_stops": 1,
        "meter_values": 1,
        "meter_values_out_of_order": 1,
        "meter_values_unknown_transaction": 1,
    }


def test_old_anomalies_are_forgotten_and_stay_counted(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A faulty fleet must not fill the disk."""
    monkeypatch.setattr(pages, "KEEP_ANOMALIES", 3)
    book.record(*[stop(-1)] * 10)
    assert pages.forget(book.connection, 100) == 7
    assert len(book.anomalies) == 3
    assert book.ledger == {"without_transaction_id": 10}


@pytest.mark.parametrize("transaction_id", [-2, 0, 2**31, 2**63, 2**64 - 1])
def test_ids_that_were_never_given_out_are_unknown(book: Book, transaction_id: int) -> None:
    """Whatever number JSON can say: it is answered, and it breaks nothing."""
    book.record(stop(transaction_id), sample(transaction_id, TIME))
    assert book.ledger == {"unknown_stops": 1, "meter_values_unknown_transaction": 1}


def test_numbers_and_texts_that_no_column_holds_are_kept_all_the_same(book: Book) -> None:
    """A meter of 64 bits and a NUL in an identity are odd, and no reason to lose the others of the batch."""
    (kept, _) = book.record(start("A\0", number=2**64 - 1, id_tag="\0"), start("B"))
    book.record(stop(kept.transaction_id, 2**64 - 1, identity="A\0"))
    assert book.ledger == {"started": 2, "open": 1, "stopped": 1}


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-13-01T00:00:00Z", ""])
def test_a_time_that_cannot_be_read_stands_in_no_order(book: Book, timestamp: str) -> None:
    """The schema does not check it; it must not cost the charge point its answer."""
    book.record(sample(book.start(), timestamp))
    assert book.ledger == {"started": 1, "open": 1, "meter_values": 1, "meter_values_out_of_order": 1}


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.sampled_from(["Z", "+00:00", "+02:00", ""]))
def test_a_sample_older_than_one_before_is_out_of_order(minutes: list[int], zone: str) -> None:
    """None may be older than any before it."""
    with open_book() as book:
        transaction_id = book.start()
        told = [minute for number, minute in enumerate(minutes) if number == 0 or minutes[number - 1] != minute]
        expected = sum(any(before > minute for before in told[:number]) for number, minute in enumerate(told))
        for minute in minutes:
            book.record(sample(transaction_id, f"2026-01-01T12:{minute:02}:00{zone}"))
        counted = book.ledger
        assert (len(told), expected) == (counted["meter_values"], counted.get("meter_values_out_of_order", 0))
        assert len(minutes) - len(told) == counted.get("repeated_meter_values", 0)


def test_a_meter_that_runs_backwards_is_found(book: Book) -> None:
    """Between two samples, and at the stop; rounding between Wh and kWh is no fault."""
    transaction_id = book.start(number=1000)
    for value, unit in (("1500", "Wh"), ("1.5", "kWh"), ("1.495", "kWh"), ("1200", "Wh")):
        book.record(sample(transaction_id, TIME, value=value, unit=unit))
    book.record(stop(transaction_id, 1100))
    assert book.ledger["backward_meters"] == 2
    assert book.ledger["energy_wh"] == 100


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"value": "12.6"}, 13),
        ({"value": "1.5", "unit": "kWh", "measurand": "Energy.Active.Import.Register", "location": "Outlet"}, 1500),
        ({"value": "5", "measurand": "Power.Active.Import"}, None),
        ({"value": "5", "phase": "L1"}, None),
        ({"value": "5", "location": "Inlet"}, None),
        ({"value": "5", "unit": "A"}, None),
        ({"value": "abc", "format": "SignedData"}, None),
        ({"value": "five"}, None),
        ({"value": "nan"}, None),
        ({"value": "1e400"}, None),
        ({"value": "1e30"}, 2**63 - 1),
    ],
)
def test_the_main_register_is_told_from_other_values(value: dict[str, Any], expected: int | None) -> None:
    """Core 7.43: a value without a measurand is the energy register, in Wh."""
    assert expected == energy_register(value)


def test_an_id_tag_for_one_transaction_at_a_time_is_looked_up_in_any_case(book: Book) -> None:
    """Over charge points and batches, and within one."""
    book.one_at_a_time = {"only"}
    ((_, first), (_, second)) = [kept[:2] for kept in book.record(start("A", id_tag="ONLY"), start("B", id_tag="only"))]
    assert (first, second) == (False, True)
    assert [kept.is_concurrent for kept in book.record(start("C", id_tag="Only"), start("D", id_tag="other"))] == [
        True,
        False,
    ]
    assert book.ledger["concurrent_starts"] == 2


def test_a_new_start_on_the_same_connector_is_not_concurrent_with_what_it_ends(book: Book) -> None:
    """The transaction before it is over, whether its stop came or not."""
    book.one_at_a_time = {"t"}
    assert [kept.is_concurrent for kept in book.record(start(number=1), start(number=2))] == [False, False]
    assert [kept.is_concurrent for kept in book.record(start(number=3))] == [False]


_STEPS = st.lists(st.tuples(st.sampled_from(["start", "again", "stop"]), st.sampled_from("AB"), st.integers(1, 2)))


@given(_STEPS, st.integers(1, 5))
def test_the_sums_agree_with_what_was_sent(steps: list[tuple[str, str, int]], batch: int) -> None:
    """Each transaction ends once and is counted once, whatever repeats in between."""
    with open_book() as book:
        running: dict[tuple[str, int], tuple[int, int]] = {}
        over: list[tuple[str, int]] = []
        done: list[tuple[str, int, int]] = []
        waiting: list[Entry] = []
        starts = repeats = stops = again = superseded = 0
        for number, (step, identity, connector_id) in enumerate(steps):
            connector = (identity, connector_id)
            if step == "start":
                book.record(*waiting)
                waiting = []
                superseded += connector in running
                running[connector] = book.start(identity, connector_id, number), number
                starts += 1
            elif connector in running and step == "again":
                waiting.append(start(identity, connector_id, running[connector][1]))
                repeats += 1
            elif connector in running:
                transaction_id, first = running.pop(connector)
                waiting.append(stop(transaction_id, first + 7, identity))
                over.append((identity, transaction_id))
                done.append((*connector, first))
                stops += 1
            elif done and step == "again":
                waiting.append(start(*done[-1]))
                repeats += 1
            elif over:
                owner, transaction_id = over[-1]
                waiting.append(stop(transaction_id, 7, owner))
                again += 1
            if len(waiting) >= batch:
                book.record(*waiting)
                waiting = []
        book.record(*waiting)
        expected = {
            "started": starts,
            "repeated_starts": repeats,
            "stopped": stops,
            "repeated_stops": again,
            "superseded": superseded,
            "open": len(running),
            "energy_wh": 7 * stops,
        }
        assert {name: count for name, count in expected.items() if count} == book.ledger
        assert sorted(book.states.values()).count("open") == len(running)
