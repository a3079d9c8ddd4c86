"""What goes into the operator API, and what comes out of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ampswarm.ocppj.identity import MAX_IDENTITY
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS

MAX_PAGE: Final = 1000
MAX_CONCURRENCY: Final = 10_000
MAX_TIMEOUT: Final = 3600.0
DEFAULT_TIMEOUT: Final = 30.0
MAX_ID_TAG: Final = 20
"""Characters (core 7.28)."""
_MAX_INT: Final = 2**31 - 1

Identity = Annotated[
    str,
    Path(min_length=1, max_length=MAX_IDENTITY, description="The charge point's identity, percent-encoded (J 3.1.1)."),
]
Action = Annotated[
    str,
    Path(
        description="What to ask of the charge point; any other is 422.",
        json_schema_extra={"enum": sorted(CENTRAL_SYSTEM_ACTIONS)},
    ),
]
IdTag = Annotated[
    str,
    Path(min_length=1, max_length=MAX_ID_TAG, description="The id tag, percent-encoded; case does not matter."),
]
Timeout = Annotated[
    float,
    Query(gt=0, le=MAX_TIMEOUT, allow_inf_nan=False, description="Seconds for the answer, from sending the Call."),
]
Connected = Annotated[bool | None, Query(description="Only those that are connected, or only those that are not.")]
Offset = Annotated[int, Query(ge=0, le=_MAX_INT, description="How many to pass over.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]
TransactionState = Annotated[Literal["open", "ended"] | None, Query(description="Only those in this state.")]

_Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_Whole = BeforeValidator(lambda value: int(value) if type(value) is float and value.is_integer() else value)
"""In JSON, 60.0 is an integer like 60."""
_Count = Annotated[int, Field(ge=0)]


class Model(BaseModel):
    """JSON whose every member is described."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Error(Model):
    """What went wrong."""

    code: str
    """One word for a program: an OCPP error code where one fits."""
    description: str
    """One line for a person."""
    details: dict[str, Any]


class Failure(Model):
    """The shape of every answer but a success."""

    error: Error


# -- the process ----------------------------------------------------------------------------------


class Health(Model):
    """It lives."""

    status: Literal["ok"]
    version: str
    connections: _Count
    """Charge points that are connected."""


class Stopping(Model):
    """It lives, but not for long."""

    status: Literal["stopping"]


class Ready(Model):
    """Whether new charge points should be sent here."""

    ready: bool
    failing: dict[str, str]
    """Each condition that does not hold, and why."""


# -- charge points and Calls ----------------------------------------------------------------------


class ChargePoint(Model):
    """What is known of a charge point."""

    identity: str
    connected: bool
    registration: Literal["unknown", "accepted", "pending", "rejected"]
    """What its last BootNotification was answered."""
    boot: dict[str, Any] | None
    """The payload of its last BootNotification.req."""
    connectors: dict[str, dict[str, Any]]
    """The payload of each connector's last StatusNotification.req, by number."""
    calls_waiting: _Count
    """Calls that it has not answered yet, or was not even sent."""
    last_seen: _Time
    round_trip_seconds: float | None
    """From the last PING that it answered to the PONG."""


class Paging(Model):
    """Where a page stands."""

    total: _Count
    offset: _Count
    next_offset: int | None
    """Of the page after this one; `null` for the last."""

    @staticmethod
    def fields(total: int, offset: int, count: int) -> dict[str, object]:
        """Return them for a page with `count` things on it."""
        after = offset + count
        return {"total": total, "offset": offset, "next_offset": after if count and after < total else None}


class ChargePoints(Paging):
    """A page of charge points."""

    charge_points: list[ChargePoint]


class CallAnswer(Model):
    """A CallResult."""

    result: dict[str, Any]
    """Its payload."""


class CallMany(Model):
    """One Call to many charge points."""

    payload: dict[str, Any] | None = None
    """The request's payload; `null` is `{}`."""
    identities: list[str] | None = None
    """Whom; `null` for all that are connected."""
    concurrency: Annotated[int, _Whole] = Field(100, ge=1, le=MAX_CONCURRENCY)
    """How many Calls may be outstanding at a time."""
    timeout: float = Field(DEFAULT_TIMEOUT, gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)
    """Seconds for each answer, from when its Call is sent."""


# -- transactions ---------------------------------------------------------------------------------


class _Transaction(Model):
    transaction_id: int
    identity: str
    connector_id: int
    id_tag: str
    meter_start_wh: int
    started_at: str
    """As StartTransaction.req had it."""


class OpenTransaction(_Transaction):
    """One that was not stopped."""

    state: Literal["open"]


class EndedTransaction(_Transaction):
    """One that was stopped, followed by another on its connector, or forgotten."""

    state: Literal["stopped", "superseded", "forgotten"]
    meter_stop_wh: int | None
    stopped_at: str | None
    reason: str | None


class TransactionPage(Paging):
    """A page of transactions."""

    transactions: list[OpenTransaction | EndedTransaction]


class Ledger(Model):
    """What was counted since the start."""

    started: _Count
    repeated_starts: _Count
    stopped: _Count
    repeated_stops: _Count
    unknown_stops: _Count
    without_transaction_id: _Count
    superseded: _Count
    forgotten: _Count
    running: _Count
    energy_wh: _Count
    backward_meters: _Count
    meter_values: _Count
    meter_values_out_of_order: _Count
    meter_values_unknown_transaction: _Count


# -- settings -------------------------------------------------------------------------------------


class IdTagBody(Model):
    """An IdTagInfo (core 7.27), spelled as on the wire."""

    status: Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
    expiry_date: str | None = Field(None, alias="expiryDate")
    """ISO 8601, between 1970 and 9000."""
    parent_id_tag: str | None = Field(None, alias="parentIdTag", max_length=MAX_ID_TAG)


class BootPolicyBody(Model):
    """What the next BootNotification.req is answered (core 4.2)."""

    status: Literal["Accepted", "Pending", "Rejected"]
    interval: Annotated[int, _Whole] = Field(ge=0, le=_MAX_INT)
    """Seconds. 0 leaves it to the charge point."""
