"""The rules of transactions: what repeats, what matches nothing, what runs backwards, and the sums. No database.

Entries of many charge points are looked at together, in their order, over the transactions that they concern; `book`
reads those before, and writes afterwards what has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import parse_utc
from server.anomalies import Anomaly
from server.samples import METER_TOLERANCE, Data, digest, fall, is_before, walk
from server.sql import storable, storable_integer
from server.tables import OPEN, STOPPED, SUPERSEDED

LARGEST_ID: Final = 2**31 - 1
NO_ID: Final = -1
"""The transactionId of a transaction whose StartTransaction.conf never came (core errata 3.18)."""
_MOST_ENERGY: Final = 2**31 - 1
"""Wh that are counted of one transaction. None has as many; but a charge point may say anything, and the sum of all
has to stay within 64 bits."""


class Start(NamedTuple):
    """A StartTransaction.req."""

    identity: str
    request: Payload
    utc: float
    """Seconds since 1970: when it came."""


class Stop(NamedTuple):
    """A StopTransaction.req."""

    identity: str
    request: Payload
    utc: float


class Sample(NamedTuple):
    """A MeterValues.req with a transactionId."""

    identity: str
    request: Payload
    utc: float


Entry = Start | Stop | Sample


class Kept(NamedTuple):
    """What an entry came to."""

    transaction_id: int = 0
    """The id that a Start was given; 0 for other entries."""
    is_concurrent: bool = False
    """Whether the id tag of a Start is for one transaction at a time and another one runs."""


NOTHING: Final = Kept()

Key = tuple[str, int, str, str, int]
"""What makes two StartTransaction.req the same: identity, connector, timestamp, id tag and meterStart."""


@dataclass(slots=True)
class Transaction:
    """A row, while a batch works on it."""

    id: int
    identity: str
    connector_id: int
    id_tag: str
    meter_start: int
    started_at: str
    state: str
    meter_values: int
    sampled_at: float | None
    meter_last: int | None
    received_at: float
    values_digest: int | None = None
    """Of its last MeterValues.req."""
    meter_stop: int | None = None
    stopped_at: str | None = None
    reason: str | None = None
    ended_at: float | None = None
    is_concurrent: bool = False
    """What its start was answered. Written with it, and not read with the others: see `Batch.first_starts`."""
    is_new: bool = False
    is_changed: bool = False


@dataclass(slots=True)
class Batch:
    """The rows that the entries of a batch concern, and what is to be written."""

    node: str
    by_id: dict[int, Transaction] = field(default_factory=dict)
    by_connector: dict[tuple[str, int], Transaction] = field(default_factory=dict)
    open_of: dict[str, dict[int, Transaction]] = field(default_factory=dict)
    """Those that run, by identity and id; complete for the identities that were asked for."""
    open_tags: Counter[str] = field(default_factory=Counter)
    first_starts: dict[Key, Kept] = field(default_factory=dict)
    """What came of each StartTransaction.req that these may repeat, whatever has become of its transaction."""
    forgotten: range = range(0)
    totals: Counter[str] = field(default_factory=Counter)
    anomalies: list[dict[str, Any]] = field(default_factory=list)

    def found(self, row: Transaction) -> None:
        """Take a transaction that the entries concern."""
        self.by_id[row.id] = row
        if row.state == OPEN:
            self.by_connector[row.identity, row.connector_id] = row
            self.open_of.setdefault(row.identity, {})[row.id] = row

    def note(self, kind: Anomaly, entry: Entry, detail: str, transaction_id: int | None = None) -> None:
        """Note an anomaly, with who and when."""
        self.totals["anomalies"] += 1
        self.anomalies.append(
            {
                "at": entry.utc,
                "kind": kind.value,
                "identity": storable(entry.identity),
                "transaction_id": transaction_id,
                "detail": storable(detail),
            }
        )

    # -- the rules ----------------------------------------------------------------------------

    def start(self, entry: Start, next_id: Callable[[], int], is_one_at_a_time: Callable[[str], bool]) -> Kept:
        """Core 4.8: an id tag that is not accepted gets a transaction id all the same."""
        request = entry.request
        identity, connector_id = storable(entry.identity), storable_integer(request["connectorId"])
        id_tag, started_at = storable(request["idTag"]), storable(request["timestamp"])
        key = identity, connector_id, started_at, id_tag, storable_integer(request["meterStart"])
        first = self.first_starts.get(key)
        if first is not None:
            # A charge point that got no answer sends the same again (core 3.7.1); it gets the same answer.
            self.totals["repeated_starts"] += 1
            self.note(Anomaly.REPEATED_START, entry, f"on connector {connector_id}", first.transaction_id)
            return first
        before = self.by_connector.get((identity, connector_id))
        if before is not None:
            self._supersede(before, entry)
        transaction = Transaction(
            id=next_id(),
            identity=identity,
            connector_id=connector_id,
            id_tag=id_tag,
            meter_start=key[-1],
            started_at=started_at,
            state=OPEN,
            meter_values=0,
            sampled_at=None,
            meter_last=None,
            received_at=entry.utc,
            is_new=True,
        )
        self.totals["started"] += 1
        self.open_tags[transaction.id_tag.casefold()] += 1
        self.found(transaction)
        self._read_time(entry, transaction.id)
        if self._is_concurrent(transaction, is_one_at_a_time):
            transaction.is_concurrent = True
            self.totals["concurrent_starts"] += 1
            self.note(Anomaly.CONCURRENT, entry, f"id tag {id_tag[:20]}", transaction.id)
        kept = self.first_starts[key] = Kept(transaction.id, transaction.is_concurrent)
        return kept

    def stop(self, entry: Stop) -> None:
        """It is answered whatever it says: nobody can prevent a transaction from stopping (core 4.10)."""
        request = entry.request
        transaction_id: int = request["transactionId"]
        if transaction_id == NO_ID:
            transaction = self._unconfirmed(entry)
            self._without_id(entry, transaction)
            if transaction is None:
                self._read_time(entry)
            else:
                self._stop(transaction, entry)
            return
        transaction = self.by_id.get(transaction_id)
        is_ours = transaction is not None and transaction.identity == storable(entry.identity)
        if (transaction is None and transaction_id in self.forgotten) or (
            is_ours and transaction is not None and transaction.state == STOPPED
        ):
            # Core 3.7.1. Of one that is remembered no more only the id says so: whose it was is not known.
            self.totals["repeated_stops"] += 1
            self.note(Anomaly.REPEATED_STOP, entry, "", transaction_id)
            return
        if transaction is None or not is_ours:
            self.totals["unknown_stops"] += 1
            detail = "" if transaction is None else "it is another charge point's transaction"
            self.note(Anomaly.UNKNOWN_STOP, entry, detail, storable_integer(transaction_id))
            self._read_time(entry, storable_integer(transaction_id))
            return
        if transaction.state == SUPERSEDED:
            self.totals["superseded"] -= 1
            self.totals["late_stops"] += 1
            self.note(Anomaly.LATE_STOP, entry, "", transaction_id)
        self._stop(transaction, entry)

    def _stop(self, transaction: Transaction, entry: Stop) -> None:
        request = entry.request
        meter_stop = storable_integer(request["meterStop"])
        self.totals["stopped"] += 1
        at = self._read_time(entry, transaction.id)
        if at is not None and is_before(at, transaction.started_at):
            self.totals["early_stops"] += 1
            detail = f"{request['timestamp'][:40]} is older than the start, {transaction.started_at[:40]}"
            self.note(Anomaly.EARLY_STOP, entry, detail, transaction.id)
        energy = meter_stop - transaction.meter_start
        backwards = self._read_data(transaction, entry, meter_stop) if "transactionData" in request else ""
        if not backwards and (energy < 0 or (transaction.meter_last or 0) > meter_stop + METER_TOLERANCE):
            backwards = fall(max(transaction.meter_start, transaction.meter_last or 0), meter_stop)
        if backwards:
            self._backwards(entry, transaction, backwards)
        if energy > _MOST_ENERGY:
            self.totals["implausible_energy"] += 1
            self.note(Anomaly.IMPLAUSIBLE_ENERGY, entry, f"{energy} Wh, of which {_MOST_ENERGY} count", transaction.id)
        self.totals["energy_wh"] += min(max(energy, 0), _MOST_ENERGY)
        self._end(transaction, STOPPED, entry.utc)
        transaction.meter_stop = meter_stop
        transaction.stopped_at = storable(request["timestamp"])
        transaction.reason = request.get("reason")

    def _read_data(self, transaction: Transaction, entry: Stop, meter_stop: int) -> str:
        """Look at the samples in a StopTransaction.req; return how the register in them runs backwards.

        They are in order among themselves, and may repeat what MeterValues.req have said.
        """
        data = Data(transaction.started_at, transaction.meter_start)
        disorder, early, backwards = walk(data, entry.request["transactionData"])
        if disorder:
            self.totals["transaction_data_out_of_order"] += 1
            self.note(Anomaly.DATA_OUT_OF_ORDER, entry, disorder, transaction.id)
        if early:
            self._early(entry, transaction, early)
        if not backwards and data.meter_last is not None and data.meter_last > meter_stop + METER_TOLERANCE:
            return fall(data.meter_last, meter_stop)
        return backwards

    def _unconfirmed(self, entry: Stop) -> Transaction | None:
        """Return the transaction that a StopTransaction.req without an id must mean; `None` if that is not sure.

        The answer to its StartTransaction got lost (core errata 3.18), so no MeterValues ever named it. The request
        tells no connector: only when there is exactly one that it may be, it is taken.
        """
        request = entry.request
        id_tag = storable(request["idTag"]).casefold() if "idTag" in request else None
        fitting = (
            each
            for each in self.open_of.get(storable(entry.identity), {}).values()
            if not each.meter_values
            and each.meter_start <= request["meterStop"]
            and id_tag in {None, each.id_tag.casefold()}
        )
        first, second = next(fitting, None), next(fitting, None)
        return first if second is None else None

    def sample(self, entry: Sample) -> None:
        """Enter a MeterValues.req of a transaction."""
        request = entry.request
        transaction_id: int = request["transactionId"]
        if transaction_id == NO_ID:
            self._without_id(entry)
            return
        transaction = self.by_id.get(transaction_id)
        if transaction is None and transaction_id in self.forgotten:
            self.totals["meter_values"] += 1
            self._out_of_order(entry, transaction_id, "its transaction ended long ago")
            return
        if transaction is None or transaction.identity != storable(entry.identity):
            self.totals["meter_values_unknown_transaction"] += 1
            detail = "" if transaction is None else "it is another charge point's transaction"
            self.note(Anomaly.VALUES_UNKNOWN, entry, detail, storable_integer(transaction_id))
            return
        known = digest(request)
        if known == transaction.values_digest and transaction.state != STOPPED:
            # Right after itself: its answer got lost (core 3.7.1).
            self.totals["repeated_meter_values"] += 1
            self.note(Anomaly.REPEATED_VALUES, entry, "", transaction_id)
            return
        self.totals["meter_values"] += 1
        transaction.meter_values += 1
        transaction.values_digest = known
        transaction.is_changed = True
        connector_id = storable_integer(request["connectorId"])
        is_here = connector_id == transaction.connector_id
        disorder, early, backwards = walk(transaction, request["meterValue"], reads_register=is_here)
        # Each once for a message, however many thousand samples it has.
        if not is_here and connector_id != 0:
            self.totals["meter_values_of_another_connector"] += 1
            detail = f"of connector {connector_id}, and its transaction is on {transaction.connector_id}"
            self.note(Anomaly.VALUES_ELSEWHERE, entry, detail, transaction_id)
        if early:
            self._early(entry, transaction, early)
        if backwards:
            self._backwards(entry, transaction, backwards)
        if transaction.state != OPEN:
            disorder = "its transaction has ended"
        if disorder:
            self._out_of_order(entry, transaction_id, disorder)

    def _supersede(self, before: Transaction, entry: Start) -> None:
        self.totals["superseded"] += 1
        self._end(before, SUPERSEDED, entry.utc)
        detail = f"another one started on connector {before.connector_id}"
        self.note(Anomaly.SUPERSEDED, entry, detail, before.id)

    def _is_concurrent(self, transaction: Transaction, is_one_at_a_time: Callable[[str], bool]) -> bool:
        key = transaction.id_tag.casefold()
        return self.open_tags[key] > 1 and is_one_at_a_time(key)

    def _end(self, transaction: Transaction, state: str, utc: float) -> None:
        connector = (transaction.identity, transaction.connector_id)
        if self.by_connector.get(connector) is transaction:
            del self.by_connector[connector]
        if transaction.state == OPEN:
            self.open_of[transaction.identity].pop(transaction.id, None)
            self.open_tags[transaction.id_tag.casefold()] -= 1
        transaction.state = state
        transaction.ended_at = utc
        transaction.is_changed = True

    def _backwards(self, entry: Entry, transaction: Transaction, detail: str) -> None:
        self.totals["backward_meters"] += 1
        self.note(Anomaly.METER_BACKWARDS, entry, detail, transaction.id)

    def _early(self, entry: Entry, transaction: Transaction, detail: str) -> None:
        self.totals["early_meter_values"] += 1
        self.note(Anomaly.VALUES_EARLY, entry, detail, transaction.id)

    def _read_time(self, entry: Start | Stop, transaction_id: int | None = None) -> float | None:
        """Return the time of a request in seconds since 1970; note it when it cannot be read."""
        try:
            return parse_utc(entry.request["timestamp"])
        except ValueError as error:
            self.totals["unreadable_timestamps"] += 1
            self.note(Anomaly.UNREADABLE_TIME, entry, str(error), transaction_id)
            return None

    def _out_of_order(self, entry: Sample, transaction_id: int, why: str) -> None:
        self.totals["meter_values_out_of_order"] += 1
        self.note(Anomaly.VALUES_OUT_OF_ORDER, entry, why, transaction_id)

    def _without_id(self, entry: Entry, transaction: Transaction | None = None) -> None:
        self.totals["without_transaction_id"] += 1
        what = type(entry).__name__.lower()
        if transaction is None:
            self.note(Anomaly.WITHOUT_ID, entry, what)
        else:
            self.note(Anomaly.WITHOUT_ID, entry, f"{what}; it ends the only one that it may mean", transaction.id)
