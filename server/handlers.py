"""The answer to every message that a 1.6 charge point can send: one handler for each action."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.schemas import CENTRAL_SYSTEM_ACTIONS
from ampswarm.ocppj.timestamps import format_utc
from server.metrics import Metrics
from server.transactions import Transactions


class Registered(Enum):
    """Whether a charge point was accepted, as far as this process knows."""

    UNKNOWN = "unknown"
    """It did not boot since this process started."""
    ACCEPTED = "accepted"


class Caller(Protocol):
    """The charge point that sent the message."""

    identity: str
    registered: Registered


class Handlers:
    """Answers Calls of charge points.

    Args:
        transactions: the book of running transactions.
        metrics: where odd requests are counted.
        boot_interval: seconds; `interval` of BootNotification.conf.
        require_boot: whether a charge point has to boot before anything else is answered.
    """

    def __init__(
        self,
        transactions: Transactions,
        metrics: Metrics,
        *,
        boot_interval: int,
        require_boot: bool,
    ) -> None:
        self._transactions = transactions
        self._metrics = metrics
        self._boot_interval = boot_interval
        self._require_boot = require_boot
        self._handlers: Final[dict[str, Callable[[Caller, Payload, float], Payload]]] = {
            "Authorize": self._authorize,
            "BootNotification": self._boot_notification,
            "DataTransfer": self._data_transfer,
            "DiagnosticsStatusNotification": _acknowledge,
            "FirmwareStatusNotification": _acknowledge,
            "Heartbeat": _heartbeat,
            "LogStatusNotification": _acknowledge,
            "MeterValues": _acknowledge,
            "SecurityEventNotification": _acknowledge,
            "SignCertificate": self._sign_certificate,
            "SignedFirmwareStatusNotification": _acknowledge,
            "StartTransaction": self._start_transaction,
            "StatusNotification": _acknowledge,
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
        if self._require_boot and caller.registered is Registered.UNKNOWN and action != "BootNotification":
            raise OcppError(ErrorCode.SECURITY_ERROR, "BootNotification was not accepted yet")

    def handle(self, caller: Caller, action: str, payload: Payload, utc: float) -> Payload:
        """Return the payload of the CallResult. `check` and the schema have passed before.

        Args:
            caller: who asks.
            action: what is asked.
            payload: the request's payload.
            utc: seconds since 1970.
        """
        return self._handlers[action](caller, payload, utc)

    def _boot_notification(self, caller: Caller, _payload: Payload, utc: float) -> Payload:
        caller.registered = Registered.ACCEPTED
        return {
            "status": "Accepted",
            "currentTime": format_utc(utc),
            "interval": self._boot_interval,
        }

    def _authorize(self, _caller: Caller, _payload: Payload, _utc: float) -> Payload:
        return {"idTagInfo": {"status": "Accepted"}}

    def _data_transfer(self, _caller: Caller, _payload: Payload, _utc: float) -> Payload:
        # Core 4.3: a vendor that is not known.
        return {"status": "UnknownVendorId"}

    def _sign_certificate(self, _caller: Caller, _payload: Payload, _utc: float) -> Payload:
        # Accepted would promise a CertificateSigned.req that nothing here can send.
        self._metrics.events["certificate signing requests rejected"] += 1
        return {"status": "Rejected"}

    def _start_transaction(self, caller: Caller, payload: Payload, _utc: float) -> Payload:
        transaction = self._transactions.start(caller.identity, payload)
        return {
            "transactionId": transaction.transaction_id,
            "idTagInfo": {"status": "Accepted"},
        }

    def _stop_transaction(self, caller: Caller, payload: Payload, _utc: float) -> Payload:
        self._transactions.stop(caller.identity, payload)
        return {"idTagInfo": {"status": "Accepted"}} if "idTag" in payload else {}


def _acknowledge(_caller: Caller, _payload: Payload, _utc: float) -> Payload:
    return {}


def _heartbeat(_caller: Caller, _payload: Payload, utc: float) -> Payload:
    return {"currentTime": format_utc(utc)}
