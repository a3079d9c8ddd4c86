"""Firmware updates, diagnostics and logs: what is asked, what is under way, what the power takes (core 5.9, 5.19).

Nothing is really transferred and nothing installed: a charge point goes through the steps, takes
about the template's time for each, and tells of them as a real one would. Which locations fail is
said in `ampswarm.charge_point.file_transfer`.

Every notification is kept until it can be sent: each new state SHALL be told (whitepaper L01.FR.01,
N01.FR.08 to 10), also the one after which the charge point reboots.
"""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING, Final, Protocol

from ampswarm.charge_point.configuration_keys import Key
from ampswarm.charge_point.file_transfer import FileTransfer, time_of
from ampswarm.charge_point.firmware_update import DOWNLOAD_WORDS, FirmwareUpdate, Progress, Signed
from ampswarm.charge_point.upload import UPLOAD_WORDS, Upload
from ampswarm.ocppj.errors import ErrorCode, OcppError
from ampswarm.ocppj.frames import Payload
from ampswarm.ocppj.timestamps import format_utc

if TYPE_CHECKING:
    from ampswarm.charge_point.configuration import Configuration
    from ampswarm.charge_point.template import Template

_FOREVER: Final = float("inf")
_NOT_IN_A_FILE_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")


class Station(Protocol):
    """What maintenance needs of its charge point."""

    firmware_version: str
    """What BootNotification says; it outlasts the reboot that makes it true."""

    @property
    def template(self) -> Template:
        """How long things take."""

    @property
    def configuration(self) -> Configuration:
        """SupportedFileTransferProtocols and SecurityProfile."""

    @property
    def identity(self) -> str:
        """Part of the names of uploaded files."""

    @property
    def random(self) -> Random:
        """Where jitter comes from."""

    def utc(self, now: float) -> float:
        """Return the seconds since 1970 at a time on the station's clock."""

    def notify(self, action: str, payload: Payload, now: float, *, is_kept: bool = False) -> None:
        """Queue a Call; one that is kept survives the loss of network and power."""

    def restart(self, now: float) -> None:
        """Reboot."""

    def security_event(self, name: str, now: float, tech_info: str = "") -> None:
        """Note a security event (whitepaper A04)."""

    def has_transactions(self) -> bool:
        """Return whether an installation has to wait."""

    def connectors_changed(self, now: float) -> None:
        """Take note that `Maintenance.wants_connectors` has changed."""

    def verify_firmware_certificate(self, pem: str, now: float) -> str:
        """Return Accepted, InvalidCertificate or RevokedCertificate (whitepaper L01.FR.23)."""


class Maintenance:
    """What one charge point has under way: at most a firmware update, an upload of diagnostics and one of a log.

    What a command asks begins with the next `advance`, so that its answer goes first. Every
    reboot that is not asked for by `Station.restart` counts as lost power.

    Args:
        station: the charge point.
    """

    __slots__ = ("_diagnostics", "_firmware", "_is_off", "_last_signed", "_log", "_station", "deadline")

    deadline: float
    """When `advance` has something to do, in seconds on the station's clock; infinity for never."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._firmware: FirmwareUpdate | None = None
        self._diagnostics: Upload | None = None
        self._log: Upload | None = None
        self._is_off = False
        # How the last signed update ended, where not well.
        self._last_signed: Payload | None = None
        self.deadline = _FOREVER

    @property
    def wants_connectors(self) -> bool:
        """Whether connectors that are not in use are to be Unavailable (core errata 3.49, whitepaper L01.FR.07)."""
        return self._firmware is not None and self._firmware.wants_connectors

    def advance(self, now: float) -> None:
        """Do every step that is due, in order, each at its own time, however long ago that was."""
        while self.deadline <= now:
            due = self.deadline
            # Where two are due at once, in this order.
            if self._firmware is not None and self._firmware.due == due:
                self._step_firmware(self._firmware, due)
            elif self._diagnostics is not None and self._diagnostics.due == due:
                if self._diagnostics.step(due):
                    self._diagnostics = None
            elif self._log is not None and self._log.step(due):
                self._log = None
            self._reckon()

    # -- what the central system asks ---------------------------------------------------------

    def update_firmware(self, payload: Payload, now: float) -> Payload:
        """Carry out UpdateFirmware.req (core 5.19).

        A second one replaces an update under way. The specification has no word on it, and the
        answer no field to refuse with: the last word of the central system counts.

        Raises:
            OcppError: NotSupported under a security profile, where firmware has to be signed
                (whitepaper L01.FR.20); PropertyConstraintViolation for a retrieveDate that is none.
        """
        if self._station.configuration.integer(Key.SECURITY_PROFILE) > 0:
            raise OcppError(ErrorCode.NOT_SUPPORTED, "firmware must be signed: SignedUpdateFirmware")
        retrieve_at = time_of(payload["retrieveDate"], "retrieveDate")
        if self._firmware is not None and self._firmware.is_rebooting:
            # It is installed already. What is left of it is to be told.
            self._end_firmware_reboot(self._firmware, now)
        transfer = FileTransfer(
            payload["location"], payload.get("retries"), payload.get("retryInterval"), DOWNLOAD_WORDS
        )
        self._replace_firmware(FirmwareUpdate(self._station, transfer, retrieve_at, now), now)
        return {}

    def signed_update_firmware(self, payload: Payload, now: float) -> Payload:
        """Carry out SignedUpdateFirmware.req (whitepaper L01).

        A second one cancels an update under way, which then says no more: there is no status for
        it but the AcceptedCanceled of this answer (L01.FR.26). It is Rejected where the new
        firmware is already being started (L01.FR.27).

        Raises:
            OcppError: PropertyConstraintViolation for a date that is none.
        """
        station = self._station
        firmware: Payload = payload["firmware"]
        retrieve_at = time_of(firmware["retrieveDateTime"], "retrieveDateTime")
        install_at = time_of(firmware["installDateTime"], "installDateTime") if "installDateTime" in firmware else 0.0
        # Before all else (L01.FR.23 to 25). Nothing that is under way suffers from it.
        status = station.verify_firmware_certificate(firmware["signingCertificate"], now)
        if status != "Accepted":
            station.security_event("InvalidFirmwareSigningCertificate", now, status)
            return {"status": status}
        if self._firmware is not None:
            if self._firmware.is_rebooting:
                return {"status": "Rejected"}
            status = "AcceptedCanceled"
        transfer = FileTransfer(
            firmware["location"], payload.get("retries"), payload.get("retryInterval"), DOWNLOAD_WORDS
        )
        signed = Signed(payload["requestId"], firmware["signature"], install_at)
        self._replace_firmware(FirmwareUpdate(station, transfer, retrieve_at, now, signed), now)
        return {"status": status}

    def get_diagnostics(self, payload: Payload, now: float) -> Payload:
        """Carry out GetDiagnostics.req (core 5.9).

        A second one replaces an upload under way: the specification has no word on it, and the
        status notifications have no number to tell two uploads by.

        Raises:
            OcppError: PropertyConstraintViolation for a time that is none.
        """
        if not self._has_records(payload, "startTime", "stopTime", now):
            return {}
        transfer = FileTransfer(payload["location"], payload.get("retries"), payload.get("retryInterval"), UPLOAD_WORDS)
        self._diagnostics = Upload(self._station, transfer, now)
        self._reckon()
        return {"fileName": self._file_name("diagnostics", now)}

    def get_log(self, payload: Payload, now: float) -> Payload:
        """Carry out GetLog.req (whitepaper N01). It is Rejected where there is nothing to send (N01.FR.01).

        A second one cancels an upload under way, which then says no more: it has neither failed
        nor ended, and there is no status for it but the AcceptedCanceled of this answer (N01.FR.11).

        Raises:
            OcppError: PropertyConstraintViolation for a time that is none.
        """
        log: Payload = payload["log"]
        if not self._has_records(log, "oldestTimestamp", "latestTimestamp", now):
            return {"status": "Rejected"}
        status = "Accepted" if self._log is None else "AcceptedCanceled"
        transfer = FileTransfer(
            log["remoteLocation"], payload.get("retries"), payload.get("retryInterval"), UPLOAD_WORDS
        )
        self._log = Upload(self._station, transfer, now, payload["requestId"])
        self._reckon()
        kind = "security" if payload["logType"] == "SecurityLog" else "diagnostics"
        return {"status": status, "filename": self._file_name(kind, now)}

    # -- what a trigger asks ------------------------------------------------------------------

    def firmware_status(self) -> Payload:
        """Return FirmwareStatusNotification.req for a TriggerMessage: Idle only when not busy (core 4.5)."""
        return {"status": "Idle" if self._firmware is None else self._firmware.core_status}

    def signed_firmware_status(self) -> Payload:
        """Return SignedFirmwareStatusNotification.req for an ExtendedTriggerMessage.

        The last status sent, a failure too; Idle after Installed (whitepaper L01.FR.28 and 29).
        """
        update = self._firmware
        if update is not None and update.is_signed and update.status:
            return update.payload()
        return self._last_signed or {"status": "Idle"}

    def diagnostics_status(self) -> Payload:
        """Return DiagnosticsStatusNotification.req for a TriggerMessage (core 4.4)."""
        return {"status": "Idle"} if self._diagnostics is None else self._diagnostics.payload("Uploading")

    def log_status(self) -> Payload:
        """Return LogStatusNotification.req for an ExtendedTriggerMessage (whitepaper N01.FR.12)."""
        return {"status": "Idle"} if self._log is None else self._log.payload("Uploading")

    # -- what the station says ----------------------------------------------------------------

    def booted(self, now: float) -> None:
        """The station was accepted after a boot, and may have set its clock."""
        if self._firmware is not None and self._firmware.is_rebooting:
            self._end_firmware_reboot(self._firmware, now)
        if self._is_off:
            self.power_back(now)
        if self._firmware is not None:
            self._firmware.look_again(now)
        self._reckon()

    def power_lost(self, now: float) -> None:  # noqa: ARG002 - the instant does not matter: what was under way begins again
        """Stop everything until the power is back. What is under way is not forgotten."""
        self._is_off = True
        self._reckon()

    def power_back(self, now: float) -> None:
        """Begin the steps that were under way again."""
        if not self._is_off:
            return
        self._is_off = False
        for job in (self._firmware, self._diagnostics, self._log):
            if job is not None:
                job.begin_again(now)
        self._reckon()

    def clock_changed(self, now: float) -> None:
        """The clock was set: look anew whether the time for what has a date has come."""
        if self._firmware is not None:
            self._firmware.look_again(now)
            self._reckon()

    def transactions_ended(self, now: float) -> None:
        """The last transaction has stopped: an installation that waits for it may begin."""
        if self._firmware is not None:
            self._firmware.look_again(now)
            self._reckon()

    # -- inside -------------------------------------------------------------------------------

    def _step_firmware(self, update: FirmwareUpdate, due: float) -> None:
        progress = update.step(due)
        if progress is Progress.IS_OVER:
            if update.is_signed:
                self._last_signed = update.payload()
            self._firmware = None
            update.release_connectors(due)
        elif progress is Progress.REBOOTS:
            # First, as the station may say at once that the power is gone.
            self._is_off = True
            self._reckon()
            self._station.restart(due)

    def _end_firmware_reboot(self, update: FirmwareUpdate, now: float) -> None:
        update.booted(now)
        self._firmware = None
        update.release_connectors(now)

    def _replace_firmware(self, update: FirmwareUpdate, now: float) -> None:
        before, self._firmware = self._firmware, update
        self._last_signed = None
        if before is not None:
            before.release_connectors(now)
        self._reckon()

    def _has_records(self, payload: Payload, oldest: str, latest: str, now: float) -> bool:
        # There are records of every time up to now, as nobody looks into them.
        first = time_of(payload[oldest], oldest) if oldest in payload else 0.0
        last = time_of(payload[latest], latest) if latest in payload else _FOREVER
        return first <= min(last, self._station.utc(now))

    def _file_name(self, kind: str, now: float) -> str:
        identity = _NOT_IN_A_FILE_NAME.sub("_", self._station.identity)[:100]
        moment = format_utc(self._station.utc(now))[:19].replace("-", "").replace(":", "")
        return f"{identity}-{kind}-{moment}Z.log"

    def _reckon(self) -> None:
        deadline = _FOREVER
        if not self._is_off:
            for job in (self._firmware, self._diagnostics, self._log):
                if job is not None and job.due < deadline:
                    deadline = job.due
        self.deadline = deadline
