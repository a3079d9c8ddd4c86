"""One upload of diagnostics or of a log, and what is told of it (core 4.4 and 5.9, whitepaper N01)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ampswarm.charge_point.configuration_keys import Key
from ampswarm.charge_point.file_transfer import FileTransfer, path_of, spread
from ampswarm.ocppj.frames import Payload

if TYPE_CHECKING:
    from ampswarm.charge_point.maintenance import Station

UPLOAD_WORDS: Final = ("upload-fails", "permission-denied", "not-supported")


class Upload:
    """An upload under way.

    It is `Uploading` from its first try to its last: the other statuses say how it ended.

    Args:
        station: whose.
        transfer: where to, and how often.
        now: when it begins, in seconds on the station's clock.
        request_id: of the GetLog.req, which every message names (whitepaper N01.FR.07); `None` for
            diagnostics.
    """

    __slots__ = ("_is_announced", "_is_trying", "_request_id", "_station", "_transfer", "due")

    due: float
    """When `step` has something to do, in seconds on the station's clock."""

    def __init__(self, station: Station, transfer: FileTransfer, now: float, request_id: int | None = None) -> None:
        self._station = station
        self._transfer = transfer
        self._request_id = request_id
        self._is_announced = False
        self._is_trying = False
        self.due = now

    def payload(self, status: str) -> Payload:
        """Return the notification of a status."""
        return {"status": status} if self._request_id is None else {"status": status, "requestId": self._request_id}

    def step(self, now: float) -> bool:
        """Do what is due; return whether the upload is over."""
        if not self._is_trying:
            if not self._is_announced:
                self._is_announced = True
                self._tell("Uploading", now)
            self._is_trying = True
            self.due = now + spread(self._station.template.upload_time, self._station.random)
            return False
        self._is_trying = False
        if self._transfer.succeeds(self._protocols()):
            self._tell("Uploaded", now)
            return True
        again = self._transfer.next_try(now)
        if again is None:
            self._tell(self._failure(), now)
            return True
        self.due = again
        return False

    def begin_again(self, now: float) -> None:
        """Start the try under way from its beginning: the power was away. It is no retry, and told again."""
        if self._is_trying:
            self._is_trying = self._is_announced = False
            self.due = now
        else:
            # Nothing was interrupted; a retry still waits for its interval.
            self.due = max(self.due, now)

    def _failure(self) -> str:
        if self._request_id is None:
            return "UploadFailed"
        # As precise as possible (whitepaper N01.FR.10).
        if not self._transfer.is_supported(self._protocols()):
            return "BadMessage"
        path = path_of(self._transfer.location)
        if "upload-fails" in path:
            return "UploadFailure"
        return "PermissionDenied" if "permission-denied" in path else "NotSupportedOperation"

    def _protocols(self) -> str:
        return self._station.configuration.text(Key.SUPPORTED_FILE_TRANSFER_PROTOCOLS)

    def _tell(self, status: str, now: float) -> None:
        action = "DiagnosticsStatusNotification" if self._request_id is None else "LogStatusNotification"
        self._station.notify(action, self.payload(status), now, is_kept=True)
