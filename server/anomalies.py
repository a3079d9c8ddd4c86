"""The names of what a ledger should not have."""

from __future__ import annotations

from enum import StrEnum


class Anomaly(StrEnum):
    """What a ledger should not have."""

    REPEATED_START = "repeated start"
    """The same StartTransaction.req again (core 3.7.1: its answer got lost), also when its transaction is over."""
    REPEATED_STOP = "repeated stop"
    UNKNOWN_STOP = "stop without a start"
    """StopTransaction.req for a transaction that this charge point never started."""
    SUPERSEDED = "start without a stop"
    """The charge point moved on: it started another transaction on the same connector."""
    LATE_STOP = "late stop"
    """The StopTransaction.req of a transaction that was a start without a stop until now."""
    WITHOUT_ID = "without transaction id"
    """transactionId -1 (core errata 3.18)."""
    CONCURRENT = "concurrent start"
    """An id tag for one transaction at a time was presented during another one."""
    METER_BACKWARDS = "meter runs backwards"
    VALUES_OUT_OF_ORDER = "meter values out of order"
    """A sample older than one before, one without a readable time, or one after the end (core 3.7.1)."""
    VALUES_UNKNOWN = "meter values without a start"
    REPEATED_VALUES = "repeated meter values"
    """The same MeterValues.req again, right after itself (core 3.7.1)."""
    VALUES_EARLY = "meter values before the start"
    VALUES_ELSEWHERE = "meter values of another connector"
    """MeterValues.req that names another connector than that of its transaction. 0 is none: the main meter."""
    DATA_OUT_OF_ORDER = "transaction data out of order"
    """The same in the transactionData of a StopTransaction.req as VALUES_OUT_OF_ORDER is in MeterValues.req."""
    EARLY_STOP = "stop before the start"
    UNREADABLE_TIME = "unreadable timestamp"
    """Of a StartTransaction.req or StopTransaction.req, which is confirmed all the same (core 4.8, 4.10)."""
    IMPLAUSIBLE_ENERGY = "implausible energy"
    """More than is counted of one transaction."""
