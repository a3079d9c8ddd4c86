"""What goes into the operator API, and what comes out of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ampswarm.ocppj.identity import MAX_IDENTITY
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS
from server.anomalies import Anomaly
from server.messages import MAX_OF_ONE

MAX_PAGE: Final = 1000
MAX_CONCURRENCY: Final = 10_000
MAX_TIMEOUT: Final = 3600.0
DEFAULT_TIMEOUT: Final = 30.0
MAX_ID_TAG: Final = 20
"""Characters (core 7.28)."""
MAX_PASSWORD: Final = 64
"""Bytes; the whitepaper wants 16 to 20 (A00.FR.205)."""
_MAX_INT: Final = 2**31 - 1
_MAX_LONG: Final = 2**63 - 1

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
Force = Annotated[
    bool,
    Query(
        description="Send it although the charge point's boot was answered Pending, which allows no remote start or "
        "stop, or Rejected, after which no Call should be sent (core 4.2); else it is 409."
    ),
]
Connected = Annotated[bool | None, Query(description="Only those that are connected, or only those that are not.")]
Registration = Annotated[
    Literal["unknown", "accepted", "pending", "rejected"] | None,
    Query(description="Only those whose last boot was answered so."),
]
Prefix = Annotated[str | None, Query(max_length=MAX_IDENTITY, description="Only those whose identity begins with it.")]
OfIdentity = Annotated[str | None, Query(max_length=MAX_IDENTITY, description="Only those of this charge point.")]
After = Annotated[str | None, Query(max_length=MAX_IDENTITY, description="`next` of the page before.")]
Before = Annotated[int | None, Query(ge=0, le=_MAX_LONG, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="How many at most.")]
MessageCursor = Annotated[
    str,
    Query(
        max_length=8192,
        pattern=r"^([0-9a-f]{1,16}-[0-9]{1,18}(\.[0-9a-f]{1,16}-[0-9]{1,18})*)?$",
        description="`cursor` of the answer before: only messages that came later.",
    ),
]
MessageLimit = Annotated[int, Query(ge=1, le=MAX_OF_ONE, description="How many at most: the last ones.")]
TransactionId = Annotated[int, Path(ge=0, le=_MAX_INT)]
TransactionState = Annotated[
    Literal["open", "stopped", "superseded"] | None, Query(description="Only those in this state.")
]
AnomalyKind = Annotated[Anomaly | None, Query(description="Only those of this kind.")]

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
    node: str | None
    """The process that it is connected to."""
    registration: Literal["unknown", "accepted", "pending", "rejected"]
    """What its last BootNotification was answered."""
    boot: dict[str, Any] | None
    """The payload of its last BootNotification.req."""
    booted_at: _Time | None
    connectors: dict[str, dict[str, Any]]
    """The payload of each connector's last StatusNotification.req, by number."""
    connected_at: _Time | None
    """When its last connection came."""
    last_seen: _Time
    round_trip_seconds: float | None
    """From the last PING that it answered to the PONG."""
    calls_waiting: _Count
    """Calls that it has not answered yet, or was not even sent."""


class KeyValue(Model):
    """A configuration key, as far as it is known (core 7.29)."""

    value: str | None = None
    readonly: bool | None = None


class ChargePointDetails(ChargePoint):
    """All that is known of a charge point."""

    configuration: dict[str, KeyValue]
    """What GetConfiguration has told so far, and ChangeConfiguration changed, by key."""


class ChargePoints(Model):
    """A page of charge points."""

    charge_points: list[ChargePoint]
    next: str | None
    """`after` of the next page; `null` on the last."""


class FleetGlance(Model):
    """All charge points at a glance."""

    nodes: dict[str, _Count]
    """How many are connected to each process."""
    connected: _Count
    known: _Count
    """How many have ever connected."""
    registrations: dict[str, _Count]
    """How many of them were last answered what, when they booted."""
    transactions_open: int
    counted_at: _Time
    """When that was counted: not anew for each request."""


class CallAnswer(Model):
    """A CallResult."""

    result: dict[str, Any]
    """Its payload."""


class Filter(Model):
    """Which of the charge points that are connected; all that is named must hold."""

    prefix: str | None = Field(None, min_length=1, max_length=MAX_IDENTITY)
    """Their identities begin with it."""
    registration: Literal["unknown", "accepted", "pending", "rejected"] | None = None
    """What their last BootNotification was answered."""
    vendor: str | None = Field(None, max_length=20)
    """chargePointVendor of it."""
    model: str | None = Field(None, max_length=20)
    """chargePointModel of it."""


class CallMany(Model):
    """One Call to many charge points: `identities`, or those that `filter` finds, or all that are connected."""

    payload: dict[str, Any] | None = None
    """The request's payload; `null` is `{}`."""
    identities: list[str] | None = None
    """Whom; those that are not connected get an error each."""
    filter: Filter | None = None
    """Whom; not beside `identities`."""
    concurrency: Annotated[int, _Whole] = Field(100, ge=1, le=MAX_CONCURRENCY)
    """How many Calls may be outstanding at a time."""
    timeout: float = Field(DEFAULT_TIMEOUT, gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)
    """Seconds for each answer, from when its Call is sent."""


class KeptMessage(Model):
    """One OCPP-J message."""

    at: _Time
    direction: Literal["in", "out"]
    """As the central system sees it: `in` is from the charge point."""
    text: str
    """As it was on the wire, but for a password; what is no UTF-8 is shown as U+FFFD."""
    is_cut: bool
    """Whether there was more of it: 4,096 bytes are kept."""
    size: _Count
    """Its length in bytes."""


class KeptMessages(Model):
    """The last messages of a charge point."""

    messages: list[KeptMessage]
    """In the order of time."""
    cursor: str
    """`after` of the request for newer ones."""
    are_kept: bool
    """`false` where the central system keeps no messages (`--keep-messages 0`)."""


# -- transactions ---------------------------------------------------------------------------------


class Transaction(Model):
    """One transaction."""

    transaction_id: int
    identity: str
    connector_id: int
    id_tag: str
    state: Literal["open", "stopped", "superseded"]
    """Superseded: another one was started on its connector, and its StopTransaction.req has not come."""
    started_at: str
    """As StartTransaction.req had it."""
    meter_start_wh: int
    meter_values: _Count
    """How many MeterValues.req came for it."""
    meter_last_wh: int | None
    """The last reading of the energy register in them."""
    stopped_at: str | None
    """As StopTransaction.req had it."""
    meter_stop_wh: int | None
    reason: str | None
    """As StopTransaction.req had it; `null` also where it had none, which means Local (core 6.49)."""
    received_at: _Time
    """When StartTransaction.req came."""
    ended_at: _Time | None
    """When StopTransaction.req came, or the start that superseded it."""


class Transactions(Model):
    """A page of transactions."""

    transactions: list[Transaction]
    next: int | None
    """`before` of the next page; `null` on the last."""


class Ledger(Model):
    """What was counted since the store was made: started = open + stopped + superseded."""

    started: _Count
    open: int
    stopped: _Count
    superseded: int
    """Started without a stop, whose charge point moved on."""
    repeated_starts: _Count
    concurrent_starts: _Count
    """With an id tag for one transaction at a time, during another one."""
    repeated_stops: _Count
    unknown_stops: _Count
    """Without a start."""
    late_stops: _Count
    """Of transactions that were superseded until then."""
    without_transaction_id: _Count
    """With transactionId -1 (core errata 3.18)."""
    energy_wh: _Count
    """Of stopped transactions."""
    backward_meters: _Count
    meter_values: _Count
    meter_values_out_of_order: _Count
    meter_values_unknown_transaction: _Count
    anomalies: _Count
    """All that were noted; the last 100,000 are listed."""
    repeated_meter_values: _Count
    """The same MeterValues.req again, right after itself; not among `meter_values`."""
    early_meter_values: _Count
    """Messages with a sample that is older than its transaction's start."""
    meter_values_of_another_connector: _Count
    """MeterValues.req that name another connector than that of their transaction."""
    transaction_data_out_of_order: _Count
    """StopTransaction.req whose samples are not in order, or have a time that cannot be read."""
    early_stops: _Count
    unreadable_timestamps: _Count
    """Of StartTransaction.req and StopTransaction.req."""
    implausible_energy: _Count
    """Transactions whose energy is counted in part only: nobody delivers 2 TWh."""


class AnomalyNote(Model):
    """Something that a ledger should not have."""

    id: int
    at: _Time
    kind: Anomaly
    identity: str
    transaction_id: int | None
    detail: str


class Anomalies(Model):
    """A page of anomalies."""

    anomalies: list[AnomalyNote]
    next: int | None
    """`before` of the next page; `null` on the last."""


# -- settings -------------------------------------------------------------------------------------


class IdTagBody(Model):
    """An IdTagInfo (core 7.27), spelled as on the wire."""

    status: Literal["Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx"]
    expiry_date: str | None = Field(None, alias="expiryDate")
    """ISO 8601, between 1970 and 9000."""
    parent_id_tag: str | None = Field(None, alias="parentIdTag", max_length=MAX_ID_TAG)
    one_at_a_time: bool = Field(default=False, alias="oneAtATime")
    """Whether another transaction with it is answered ConcurrentTx while one runs (core 7.2)."""


IdTagName = Annotated[str, Field(min_length=1, max_length=MAX_ID_TAG)]


class IdTagBodies(Model):
    """A page of id tags."""

    id_tags: dict[str, IdTagBody]
    """In lower case."""
    next: str | None
    """`after` of the next page; `null` on the last."""


class IdTagsSet(Model):
    """How many were set."""

    id_tags: _Count


class UnknownIdTags(Model):
    """What id tags are answered that were not set."""

    status: Literal["Accepted", "Blocked", "Expired", "Invalid"]


class PasswordBody(Model):
    """A charge point's password, in one of two ways."""

    password: str | None = Field(None, min_length=1, max_length=MAX_PASSWORD)
    """As text."""
    hexadecimal: str | None = Field(None, min_length=2, max_length=2 * MAX_PASSWORD)
    """As AuthorizationKey has it (whitepaper A00.FR.205)."""


PasswordHashes = dict[
    Annotated[str, Field(min_length=1, max_length=MAX_IDENTITY)], Annotated[str, Field(max_length=300)]
]
"""Argon2id in PHC format, by identity."""


class PasswordsSet(Model):
    """How many were set."""

    passwords: _Count


class BootPolicyBody(Model):
    """What the next BootNotification.req is answered (core 4.2)."""

    status: Literal["Accepted", "Pending", "Rejected"]
    interval: Annotated[int, _Whole] = Field(ge=0, le=_MAX_INT)
    """Seconds. 0 leaves it to the charge point."""
