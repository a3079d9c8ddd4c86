"""One firmware update, step by step, and what is told of it (core 5.19, whitepaper L01)."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.configuration_keys import Key
from ampswarm.charge_point.file_transfer import FileTransfer, new_version, path_of, spread
from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.maintenance import Station

DOWNLOAD_WORDS: Final = ("download-fails",)

_FOREVER: Final = float("inf")
_LAST_WORDS: Final = 5.0
"""Seconds in which InstallRebooting can be sent, and answered, before the reboot (whitepaper L01.FR.15)."""
_MOMENT: Final = 0.001
"""Seconds, the resolution of times on the wire: nobody waits for less, which a clock may not even show."""

_CORE_STATUSES: Final = frozenset(
    {"Downloaded", "DownloadFailed", "Downloading", "InstallationFailed", "Installing", "Installed"}
)
"""What core 7.25 can say of an update, Idle apart."""
_IN_CORE: Final = {
    "": "Idle",
    "DownloadScheduled": "Idle",
    "SignatureVerified": "Downloaded",
    "InstallScheduled": "Downloaded",
    "InstallRebooting": "Installing",
}
"""How core 7.25 says what only the whitepaper has a word for."""


class _Stage(Enum):
    """What happens to an update when it is next due."""

    RETRIEVE_DATE = auto()
    DOWNLOAD_BEGINS = auto()
    DOWNLOAD_ENDS = auto()
    INSTALL_DATE = auto()
    TRANSACTIONS = auto()
    INSTALLATION_BEGINS = auto()
    INSTALLATION_ENDS = auto()
    RESTART = auto()
    REBOOT = auto()


class Progress(Enum):
    """What a step came to."""

    GOES_ON = auto()
    IS_OVER = auto()
    REBOOTS = auto()
    """The charge point is to be restarted; `booted` ends the update."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a SignedUpdateFirmware.req has besides an UpdateFirmware.req (whitepaper 5.21)."""

    request_id: int
    signature: str
    install_at: float
    """In seconds since 1970; 0 for as soon as possible."""


class FirmwareUpdate:
    """A firmware update under way.

    It is `Downloading` from its first try to its last: DownloadFailed is an end (whitepaper 6.8).

    Args:
        station: whose.
        transfer: where from, and how often.
        retrieve_at: when the download may begin, in seconds since 1970.
        now: seconds on the station's clock.
        signed: `None` for an UpdateFirmware.req.
    """

    __slots__ = (
        "_is_untold",
        "_retrieve_at",
        "_signed",
        "_stage",
        "_station",
        "_transfer",
        "due",
        "status",
        "wants_connectors",
    )

    due: float
    """When `step` has something to do, in seconds on the station's clock."""
    status: str
    """The last one entered, in the whitepaper's words; empty before the first."""
    wants_connectors: bool
    """Whether connectors that are not in use are to be Unavailable (core errata 3.49, whitepaper
    L01.FR.07): from when it is ready to be installed until it is."""

    def __init__(
        self, station: Station, transfer: FileTransfer, retrieve_at: float, now: float, signed: Signed | None = None
    ) -> None:
        self._station = station
        self._transfer = transfer
        self._retrieve_at = retrieve_at
        self._signed = signed
        self._stage = _Stage.RETRIEVE_DATE
        self._is_untold = False
        self.due = now
        self.status = ""
        self.wants_connectors = False

    @property
    def is_signed(self) -> bool:
        """Whether it came by SignedUpdateFirmware."""
        return self._signed is not None

    @property
    def is_rebooting(self) -> bool:
        """Whether the new firmware is in place, and waits for the boot to be accepted."""
        return self._stage is _Stage.REBOOT

    @property
    def core_status(self) -> str:
        """The status in the words of core 7.25."""
        return _IN_CORE.get(self.status, self.status)

    def payload(self) -> Payload:
        """Return the notification of the present status."""
        if self._signed is None:
            return {"status": self.core_status}
        return {"status": self.status, "requestId": self._signed.request_id}

    def step(self, now: float) -> Progress:  # noqa: C901 - one case for each stage, in their order
        """Do what is due."""
        station = self._station
        match self._stage:
            case _Stage.RETRIEVE_DATE:
                if not self._waits_until(self._retrieve_at, "DownloadScheduled", now):
                    self._stage = _Stage.DOWNLOAD_BEGINS
            case _Stage.DOWNLOAD_BEGINS:
                self._enter("Downloading", now)
                self._stage = _Stage.DOWNLOAD_ENDS
                self.due = now + spread(station.template.download_time, station.random)
            case _Stage.DOWNLOAD_ENDS:
                return self._end_download(now)
            case _Stage.INSTALL_DATE:
                if self._signed is None or not self._waits_until(self._signed.install_at, "InstallScheduled", now):
                    self._stage = _Stage.TRANSACTIONS
            case _Stage.TRANSACTIONS:
                self._want_connectors(now, is_wanted=True)
                if station.has_transactions():
                    self.due = _FOREVER
                else:
                    self._stage = _Stage.INSTALLATION_BEGINS
            case _Stage.INSTALLATION_BEGINS:
                self._enter("Installing", now)
                self._stage = _Stage.INSTALLATION_ENDS
                self.due = now + spread(station.template.install_time, station.random)
            case _Stage.INSTALLATION_ENDS:
                return self._end_installation(now)
            case _Stage.RESTART:
                self._start_new_firmware()
                return Progress.REBOOTS
        return Progress.GOES_ON

    def look_again(self, now: float) -> None:
        """The clock may have been set, or a transaction have ended: check what it waits for."""
        if self._stage in (_Stage.RETRIEVE_DATE, _Stage.INSTALL_DATE, _Stage.TRANSACTIONS):
            self.due = now

    def begin_again(self, now: float) -> None:
        """Start the step under way from its beginning: the power was away. It is no retry, and told again."""
        match self._stage:
            case _Stage.DOWNLOAD_ENDS:
                self._stage = _Stage.DOWNLOAD_BEGINS
            case _Stage.INSTALLATION_ENDS:
                self._stage = _Stage.INSTALLATION_BEGINS
            case _Stage.RESTART:
                # The power cut was the reboot.
                self._start_new_firmware()
                return
            case _:
                # Nothing was interrupted; a retry still waits for its interval.
                self.due = max(self.due, now)
                return
        self._is_untold = True
        self.due = now

    def booted(self, now: float) -> None:
        """The new firmware runs, and its boot was accepted."""
        self._enter("Installed", now)
        if self.is_signed:
            self._station.security_event("FirmwareUpdated", now, self._station.firmware_version)

    def release_connectors(self, now: float) -> None:
        """The update is over, or given up: the connectors are free again."""
        self._want_connectors(now, is_wanted=False)

    # -- steps --------------------------------------------------------------------------------

    def _waits_until(self, utc: float, status: str, now: float) -> bool:
        seconds = utc - self._station.utc(now)
        if seconds <= _MOMENT:
            return False
        self._enter(status, now)
        self.due = now + seconds
        return True

    def _end_download(self, now: float) -> Progress:
        path = path_of(self._transfer.location)
        if not self._transfer.succeeds(self._station.configuration.text(Key.SUPPORTED_FILE_TRANSFER_PROTOCOLS)):
            again = self._transfer.next_try(now)
            if again is None:
                self._enter("DownloadFailed", now)
                return Progress.IS_OVER
            self._stage = _Stage.DOWNLOAD_BEGINS
            self.due = again
            return Progress.GOES_ON
        self._enter("Downloaded", now)
        if self._signed is not None:
            if "invalid-signature" in path or not _is_base64(self._signed.signature):
                self._enter("InvalidSignature", now)
                self._station.security_event("InvalidFirmwareSignature", now)
                return Progress.IS_OVER
            self._enter("SignatureVerified", now)
        if "verification-fails" in path:
            self._enter("InstallationFailed" if self._signed is None else "InstallVerificationFailed", now)
            return Progress.IS_OVER
        self._stage = _Stage.INSTALL_DATE
        return Progress.GOES_ON

    def _end_installation(self, now: float) -> Progress:
        if "install-fails" in path_of(self._transfer.location):
            self._enter("InstallationFailed", now)
            return Progress.IS_OVER
        self._enter("InstallRebooting", now)
        self._stage = _Stage.RESTART
        self.due = now + spread(_LAST_WORDS, self._station.random)
        return Progress.GOES_ON

    def _start_new_firmware(self) -> None:
        # Good practice, though no requirement: Installed is told by the new firmware (core 5.19).
        self._stage = _Stage.REBOOT
        self.due = _FOREVER
        station = self._station
        station.firmware_version = new_version(self._transfer.location, station.firmware_version)

    def _want_connectors(self, now: float, *, is_wanted: bool) -> None:
        if is_wanted != self.wants_connectors:
            self.wants_connectors = is_wanted
            self._station.connectors_changed(now)

    def _enter(self, status: str, now: float) -> None:
        if status == self.status and not self._is_untold:
            return
        self.status = status
        self._is_untold = False
        if self._signed is not None:
            self._station.notify("SignedFirmwareStatusNotification", self.payload(), now, is_kept=True)
        elif status in _CORE_STATUSES:
            self._station.notify("FirmwareStatusNotification", self.payload(), now, is_kept=True)


def _is_base64(text: str) -> bool:
    # A signature that is missing entirely is an invalid one (whitepaper L01, step 5).
    try:
        return bool(b64decode("".join(text.split()), validate=True))
    except ValueError:
        return False
