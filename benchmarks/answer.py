"""What a message costs the central system without sockets: `python -m benchmarks.answer`.

From the text that came to the text that is sent: decode, validate, handle, validate, encode. In one process and
without a network, so that little else bends the figures, and a regression is seen.
"""

from __future__ import annotations

import gc
import time
from statistics import median

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.session import UniqueIds
from benchmarks.messages import BOOT, HEARTBEAT, METER_VALUES, call
from server.calls import Calls
from server.config import Config
from server.connections import CentralSystem
from server.handlers import Handlers
from server.id_tags import IdTags
from server.journal import Journal
from server.messages import Messages
from server.metrics import Metrics
from server.records import Records
from server.store import open_store

_REPEATS = 9
_MESSAGES = 10_000


class _Deaf:
    """A peer that keeps what it is sent last."""

    def __init__(self) -> None:
        self.last = b""

    def send_text(self, text: bytes) -> None:
        self.last = text

    def ping(self) -> None:
        raise AssertionError

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(code, reason)

    def abort(self) -> None:
        raise AssertionError


def _central_system() -> CentralSystem:
    # Neither message waits for the store, so it need not be opened.
    metrics, store, id_tags = Metrics(), open_store("memory"), IdTags()
    records = Records(store, "bench", print)
    journal = Journal(store, "bench", id_tags.is_one_at_a_time, metrics, print, print)
    handlers = Handlers(records, id_tags, metrics, boot_interval=300, require_boot=False)
    calls = Calls(UniqueIds("bench"), metrics)
    central = CentralSystem(handlers, calls, journal, records, metrics, LifecycleLog(None))
    central.messages = Messages(Config().keep_messages)
    return central


def measure() -> dict[str, list[float]]:
    """Return the CPU time of each repetition in us per message, by action."""
    peer = _Deaf()
    connection = _central_system().connect("CP000001", peer)
    connection.receive(call("boot", "BootNotification", BOOT))
    gc.collect()
    gc.freeze()
    costs: dict[str, list[float]] = {"Heartbeat": [], "MeterValues": []}
    texts = {
        action: [call(f"b-{number}", action, payload) for number in range(_MESSAGES)]
        for action, payload in (("Heartbeat", HEARTBEAT), ("MeterValues", METER_VALUES))
    }
    for _ in range(_REPEATS):
        for action, times in costs.items():
            began = time.process_time()
            for text in texts[action]:
                connection.receive(text)
            times.append((time.process_time() - began) / _MESSAGES * 1e6)
            assert peer.last.startswith(b"[3,"), peer.last
    gc.unfreeze()
    return costs


def main() -> None:
    """Measure and print."""
    for action, costs in measure().items():
        print(f"{action:16}{median(costs):8.2f} us a message ({min(costs):.2f} to {max(costs):.2f})")


if __name__ == "__main__":
    main()
