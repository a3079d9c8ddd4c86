"""The answer to every message that a 1.6 charge point can send: one handler for each action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS
from ampswarm.ocppj.timestamps import format_utc
from server.id_tags import IdTags
from server.metrics import Metrics
from server.records import Records, Registered
from server.transactions import Entry, Kept, Sample, Start, Stop

_REGISTERED: Final = {
    "Accepted": Registered.ACCEPTED,
    "Pending": Registered.PENDING,
    "Rejected": Registered.REJECTED,
}


@dataclass(frozen=True, slots=True)
class BootPolicy:
    """What BootNotification.req is answered (core 4.2)."""

    status: str
    """A RegistrationStatus: Accepted, Pending or Rejected (core 7.38)."""
    interval: int
    """Seconds: until the next Heartbeat when Accepted, else until the next BootNotification."""


class Caller(Protocol):
    """The charge point that sent the message."""

    identity: str
    registered: Registered


class Later(NamedTuple):
    """An answer that must wait until something is kept."""

    entry: Entry
    """What has to be kept."""
    answer: Callable[[Kept], Payload]
    """Returns the payload of the CallResult, from what the entry came to."""


class Handlers:
    """Answers Calls of charge points.

    Args:
        records: where boots and statuses go.
        id_tags: which id tags are accepted.
        metrics: where odd requests are counted.
        boot_interval: seconds; `interval` of BootNotification.conf.
        require_boot: whether a charge point has to boot before anything else is answered.
    """

    def __init__(
        self,
        records: Records,
        id_tags: IdTags,
        metrics: Metrics,
        *,
        boot_interval: int,
        require_boot: bool,
    ) -> None:
        self._records = records
        self._id_tags = id_tags
        self._metrics = metrics
        self._require_boot = require_boot
        self.boot_policy = BootPolicy("Accepted", boot_interval)
        """What the next BootNotification.req is answered."""
        self.boot_exception: Callable[[str, BootPolicy], BootPolicy] | None = None
        """Takes an identity and the boot policy; returns another one for charge points that are to see it."""
        self.request_certificate: Callable[[str, str], bool] | None = None
        """Takes an identity and the CSR of its SignCertificate.req; returns whether CertificateSigned.req
        will follow. `None` rejects all."""
        self._handlers: Final[dict[str, Callable[[Caller, Payload, float], Payload | Later]]] = {
            "Authorize": self._authorize,
            "BootNotification": self._boot_notification,
            "DataTransfer": self._data_transfer,
            "DiagnosticsStatusNotification": _acknowledge,
            "FirmwareStatusNotification": _acknowledge,
            "Heartbeat": _heartbeat,
            "LogStatusNotification": _acknowledge,
            "MeterValues": self._meter_values,
            "SecurityEventNotification": _acknowledge,
            "SignCertificate": self._sign_certificate,
            "SignedFirmwareStatusNotification": _acknowledge,
            "StartTransaction": self._start_transaction,
            "StatusNotification": self._status_notification,
            "StopTransaction": self._stop_transaction,
        }

    def check(self, caller: Caller, action: str) -> None:
        """Refuse what is not to be handled, before its payload is looked at.

        Raises:
            OcppError: NotImplemented for an action that nobody knows, NotSupported for one that only
                a central system sends, SecurityError before the boot (J errata 3.10).
        """
        if action not in self._handlers:
            if action in CENTRAL_SYSTEM_ACTIONS:
                raise OcppError(ErrorCode.NOT_SUPPORTED, f"{action} is for charge points")
            raise OcppError(ErrorCode.NOT_IMPLEMENTED, f"unknown action {action[:60]!r}")
        # Pending ones may be asked for messages with TriggerMessage (core 4.2).
        if (
            self._require_boot
            and action != "BootNotification"
            and caller.registered in (Registered.UNKNOWN, Registered.REJECTED)
        ):
            raise OcppError(ErrorCode.SECURITY_ERROR, "BootNotification was not accepted yet")

    def handle(self, caller: Caller, action: str, payload: Payload, utc: float) -> Payload | Later:
        """Return the payload of the CallResult, or what it waits for. `check` and the schema have passed before.

        Args:
            caller: who asks.
            action: what is asked.
            payload: the request's payload.
            utc: seconds since 1970.
        """
        return self._handlers[action](caller, payload, utc)

    def _boot_notification(self, caller: Caller, payload: Payload, utc: float) -> Payload:
        policy = self.boot_policy
        if self.boot_exception is not None:
            policy = self.boot_exception(caller.identity, policy)
        caller.registered = _REGISTERED[policy.status]
        self._records.booted(caller.identity, caller.registered, payload, utc)
        return {
            "status": policy.status,
            "currentTime": format_utc(utc),
            "interval": policy.interval,
        }

    def _status_notification(self, caller: Caller, payload: Payload, utc: float) -> Payload:
        self._records.reported(caller.identity, payload, utc)
        return {}

    def _authorize(self, _caller: Caller, payload: Payload, utc: float) -> Payload:
        return {"idTagInfo": self._id_tags.answer(payload["idTag"], utc)}

    def _data_transfer(self, _caller: Caller, _payload: Payload, _utc: float) -> Payload:
        # Core 4.3: a vendor that is not known.
        return {"status": "UnknownVendorId"}

    def _sign_certificate(self, caller: Caller, payload: Payload, _utc: float) -> Payload:
        if self.request_certificate is None:
            # Accepted would promise a CertificateSigned.req that nobody here can make.
            self._metrics.events["certificate signing requests rejected"] += 1
            return {"status": "Rejected"}
        return {"status": "Accepted" if self.request_certificate(caller.identity, payload["csr"]) else "Rejected"}

    def _meter_values(self, caller: Caller, payload: Payload, utc: float) -> Payload | Later:
        if "transactionId" in payload:
            return Later(Sample(caller.identity, payload, utc), _empty)
        return {}

    def _start_transaction(self, caller: Caller, payload: Payload, utc: float) -> Later:
        # Core 4.8: an id tag that is not accepted gets a transaction id all the same.
        def answer(kept: Kept) -> Payload:
            info = self._id_tags.answer(payload["idTag"], utc, starts=True, is_concurrent=kept.is_concurrent)
            return {"transactionId": kept.transaction_id, "idTagInfo": info}

        return Later(Start(caller.identity, payload, utc), answer)

    def _stop_transaction(self, caller: Caller, payload: Payload, utc: float) -> Later:
        def answer(_kept: Kept) -> Payload:
            return {"idTagInfo": self._id_tags.answer(payload["idTag"], utc)} if "idTag" in payload else {}

        return Later(Stop(caller.identity, payload, utc), answer)


def _empty(_kept: Kept) -> Payload:
    return {}


def _acknowledge(_caller: Caller, _payload: Payload, _utc: float) -> Payload:
    return {}


def _heartbeat(_caller: Caller, _payload: Payload, utc: float) -> Payload:
    return {"currentTime": format_utc(utc)}
