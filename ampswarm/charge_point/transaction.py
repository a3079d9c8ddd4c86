"""One transaction: from the meter's reading at its start to the one at its stop (core 3.6, 4.8, 4.10)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from ampswarm.ocppj.frames import Payload, pack, packed_array
from ampswarm.ocppj.timestamps import format_utc, parse_utc

UNDELIVERED_ID: Final = -1
"""The transactionId of a transaction whose start was never confirmed (core errata 3.18)."""


class Reason(StrEnum):
    """Why a transaction stopped (core 7.36)."""

    DE_AUTHORIZED = "DeAuthorized"
    EMERGENCY_STOP = "EmergencyStop"
    EV_DISCONNECTED = "EVDisconnected"
    HARD_RESET = "HardReset"
    LOCAL = "Local"
    OTHER = "Other"
    POWER_LOSS = "PowerLoss"
    REBOOT = "Reboot"
    REMOTE = "Remote"
    SOFT_RESET = "SoftReset"
    UNLOCK_COMMAND = "UnlockCommand"


class Transaction:
    """One transaction. Registers in whole Wh, times in seconds since 1970 by the charge point's clock."""

    __slots__ = (
        "connector_id",
        "data",
        "id_tag",
        "is_invalid",
        "meter_start",
        "parent_id_tag",
        "reservation_id",
        "started",
        "started_at",
        "stopped_by",
        "transaction_id",
    )

    def __init__(
        self,
        connector_id: int,
        id_tag: str,
        *,
        parent_id_tag: str | None,
        meter_start: int,
        started: float,
        started_at: float,
        reservation_id: int | None,
    ) -> None:
        self.connector_id = connector_id
        self.id_tag = id_tag
        self.parent_id_tag = parent_id_tag
        """The group of the one who started it; another of the group may stop it (core 3.10)."""
        self.meter_start = meter_start
        self.started = started
        self.started_at = started_at
        """In seconds of the monotonic clock."""
        self.reservation_id = reservation_id
        self.transaction_id: int | None = None
        """As the central system gave it; `None` until then."""
        self.is_invalid = False
        """Whether the central system did not accept the id tag, after the start (core errata 3.17)."""
        self.stopped_by: str | None = None
        """The id tag that stopped it."""
        self.data: list[tuple[float, bytes]] | None = None
        """MeterValue elements for transactionData: when, in seconds since 1970, and what, packed."""

    @property
    def wire_id(self) -> int:
        """The transactionId that its messages carry."""
        return UNDELIVERED_ID if self.transaction_id is None else self.transaction_id

    def start_request(self) -> Payload:
        """Return StartTransaction.req (core 6.45)."""
        payload: Payload = {
            "connectorId": self.connector_id,
            "idTag": self.id_tag,
            "meterStart": self.meter_start,
            "timestamp": format_utc(self.started),
        }
        if self.reservation_id is not None:
            payload["reservationId"] = self.reservation_id
        return payload

    def stop_request(self, reason: Reason, meter_stop: int, stopped: float, id_tag: str | None) -> Payload:
        """Return StopTransaction.req (core 6.49) but for its transactionId.

        Args:
            reason: why it stopped.
            meter_stop: Wh.
            stopped: when, in seconds since 1970.
            id_tag: who stopped it; `None` for the charge point itself.
        """
        payload: Payload = {"meterStop": meter_stop, "timestamp": format_utc(stopped), "reason": reason.value}
        self.stopped_by = id_tag
        if id_tag is not None:
            payload["idTag"] = id_tag
        if self.data:
            payload["transactionData"] = packed_array(element for _, element in self.data)
        return payload

    def meter_values(self, elements: list[Payload]) -> Payload:
        """Return MeterValues.req (core 6.31) but for its transactionId."""
        return {"connectorId": self.connector_id, "meterValue": elements}

    def remember(self, elements: list[Payload], most: int) -> None:
        """Keep MeterValue elements for StopTransaction.req.

        When there are more than `most`, so many of those between first and last go that what is left
        covers the whole time evenly (core errata 3.91: never the first and the last, nor all from one end).
        """
        if not elements:
            return
        if self.data is None:
            self.data = []
        self.data.extend((parse_utc(each["timestamp"]), pack(each)) for each in elements)
        if len(self.data) > max(most, 2):
            first, *between, last = self.data
            times = [time for time, _ in between]
            self.data = [first, *(between[index] for index in evenly(times, (most - 2) // 2)), last]


def evenly(times: Sequence[float], most: int) -> list[int]:
    """Return the indexes of at most `most` moments that cover the time of all of them evenly.

    Halving what is kept whenever it is too much would leave nearly nothing of what is old.

    Args:
        times: in seconds, in ascending order but for a clock that was set.
        most: how many may be left.
    """
    if most <= 0 or not times:
        return []
    first, span = times[0], times[-1] - times[0]
    kept: list[int] = []
    last = -1
    for index, time in enumerate(times):
        part = int((time - first) / span * most) if span > 0 else index * most // len(times)
        part = min(part, most - 1)
        if part > last:
            kept.append(index)
            last = part
    return kept
