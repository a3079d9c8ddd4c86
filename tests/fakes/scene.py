"""A charge point on a manual clock, and a central system played by hand.

Tests read as transcripts: `scene.expect("BootNotification")`, `scene.accept()`, `scene.wait(300)`.
Every message that the charge point sends is checked against its schema on the way.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple

from ampswarm.charge_point.backoff import Backoff
from ampswarm.charge_point.charging import Charging
from ampswarm.charge_point.connector import Connector
from ampswarm.charge_point.events import StationEvent
from ampswarm.charge_point.link import Link
from ampswarm.charge_point.security import Security
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.charge_point.vehicle import Vehicle
from ampswarm.ocppj.frames import Call, CallError, CallResult, decode
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.session import UniqueIds
from ampswarm.ocppj.timestamps import format_utc

UTC_AT_ZERO = 1_767_225_600.0
"""2026-01-01T00:00:00Z: what the central system's clock shows when the scene's shows 0."""


class Sent(NamedTuple):
    """A Call of the charge point, and when it went out."""

    now: float
    action: str
    payload: dict[str, Any]


class Scene:
    """One charge point and its central system."""

    def __init__(
        self,
        template: Template | None = None,
        *,
        seed: int = 1,
        security: Security | None = None,
        utc_offset: float = 1e9,
    ) -> None:
        self.now = 0.0
        self.template = template or Template(backoff=Backoff(minimum=1.0, maximum=90.0))
        self.charge_point = ChargePoint(
            "CP1",
            self.template,
            unique_ids=UniqueIds("t-"),
            random=Random(seed),
            utc_offset=utc_offset,
            security=security,
        )
        self.events: list[StationEvent] = []
        self.outstanding: Call | None = None
        self.transactions = 0
        """Ids that `serve` has given to transactions: 1, 2, 3 and so on."""
        self.id_tag_info: dict[str, Any] = {"status": "Accepted"}
        """What `serve` says of every id tag."""
        self.pings: list[float] = []
        """When it sent a PING that `serve` has answered."""
        self._commands = 0

    # -- time and network ---------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass, without asking the charge point for anything."""
        self.now += seconds

    def wait_until_due(self) -> float:
        """Let time pass until the charge point's next deadline; return how long that was."""
        waited = max(0.0, self.charge_point.next_deadline() - self.now)
        self.now += waited
        return waited

    def connect(self) -> None:
        """Wait until it wants to connect, and let it."""
        self.wait_until_due()
        assert self.charge_point.attempt(self.now)
        if self.charge_point.has_security:
            self.charge_point.security.opened()
        self.charge_point.opened(self.now)
        self._collect()

    def refuse(self, retry_after: float = 0.0) -> None:
        """Wait until it wants to connect, and refuse."""
        self.wait_until_due()
        assert self.charge_point.attempt(self.now)
        self.charge_point.refused(self.now, retry_after=retry_after)
        self._collect()

    def lose(self) -> None:
        """Cut the connection."""
        self.outstanding = None
        self.charge_point.lost(self.now)
        self._collect()

    @property
    def outstanding_action(self) -> str | None:
        """The action of its Call that waits for an answer."""
        return None if self.outstanding is None else self.outstanding.action

    # -- messages -----------------------------------------------------------------------------

    def sends(self) -> list[Call | CallResult | CallError]:
        """Return what it sends now."""
        frames = []
        for text in self.charge_point.poll(self.now):
            frame = decode(text)
            if isinstance(frame, Call):
                validate(frame.action, Direction.REQ, frame.payload)
                assert self.outstanding is None, "a second Call before the first was answered"
                self.outstanding = frame
            frames.append(frame)
        self._collect()
        return frames

    def expect(self, action: str) -> dict[str, Any]:
        """Check that it sends this Call now and nothing else; return the payload."""
        frames = self.sends()
        assert [action] == [frame.action if isinstance(frame, Call) else type(frame) for frame in frames]
        assert self.outstanding is not None
        return self.outstanding.payload

    def expect_silence(self) -> None:
        """Check that it sends nothing now."""
        assert self.sends() == []

    def answer(self, payload: dict[str, Any]) -> None:
        """Answer its outstanding Call with a CallResult."""
        assert self.outstanding is not None
        unique_id, self.outstanding = self.outstanding.unique_id, None
        self.receive([3, unique_id, payload])

    def answer_error(self, code: str = "InternalError") -> None:
        """Answer its outstanding Call with a CallError."""
        assert self.outstanding is not None
        unique_id, self.outstanding = self.outstanding.unique_id, None
        self.receive([4, unique_id, code, "", {}])

    def receive(self, message: list[Any]) -> None:
        """Send it a message."""
        self.charge_point.receive(json.dumps(message), self.now)
        self._collect()

    def command(self, action: str, payload: dict[str, Any]) -> dict[str, Any] | str | None:
        """Call it; return the payload of its CallResult, the code of its CallError, or `None` for silence.

        What it sends besides stays to be expected.
        """
        self._commands += 1
        unique_id = f"cs-{self._commands}"
        self.receive([2, unique_id, action, payload])
        replies = self.charge_point._replies or []
        for text in replies:
            frame = decode(text)
            assert frame.unique_id == unique_id
            self.charge_point._replies = None
            if isinstance(frame, CallResult):
                validate(action, Direction.CONF, frame.payload)
                return frame.payload
            assert isinstance(frame, CallError)
            return frame.code
        return None

    # -- shorthands ---------------------------------------------------------------------------

    def time(self) -> str:
        """Return the central system's time, as it is on the wire."""
        return format_utc(UTC_AT_ZERO + self.now)

    def registration(self, status: str, interval: int = 300) -> dict[str, Any]:
        """Return a BootNotification.conf."""
        return {"status": status, "currentTime": self.time(), "interval": interval}

    def boot(self, interval: int = 300) -> None:
        """Switch it on, connect it, accept it, and take its first StatusNotifications."""
        self.charge_point.power_on(self.now)
        self.connect()
        self.expect("BootNotification")
        self.answer(self.registration("Accepted", interval))
        for _ in range(self.template.connectors + 1):
            self.expect("StatusNotification")
            self.answer({})
        self.events.clear()

    # -- drivers, and a central system that answers everything ---------------------------------

    @property
    def charging(self) -> Charging:
        """Its connectors, for what drivers do."""
        return self.charge_point.charging(self.now)

    def plug_in(self, connector_id: int = 1, vehicle: Vehicle | None = None) -> None:
        """Put an EV's cable in."""
        assert self.charging.plug_in(connector_id, vehicle or Vehicle(), self.now)

    def present(self, connector_id: int = 1, id_tag: str = "TAG1") -> None:
        """Hold an id tag before the reader."""
        self.charging.present(connector_id, id_tag, self.now)

    def start(self, connector_id: int = 1, id_tag: str = "TAG1", vehicle: Vehicle | None = None) -> int:
        """Start a transaction online, with all its messages answered; return its id."""
        self.plug_in(connector_id, vehicle)
        self.present(connector_id, id_tag)
        self.serve()
        transaction = self.charging.connector(connector_id).transaction
        assert transaction is not None
        assert transaction.transaction_id == self.transactions
        return self.transactions

    def serve(self, seconds: float = 0.0) -> list[Sent]:
        """Answer whatever it sends, for a while; return it. Ends early when it wants to close the connection."""
        until = self.now + seconds
        sent: list[Sent] = []
        if self.outstanding is not None:
            self.answer(self._honest_answer(self.outstanding))
        while True:
            frames = self.sends()
            if self.outstanding is not None:
                sent.append(Sent(self.now, self.outstanding.action, self.outstanding.payload))
                self.answer(self._honest_answer(self.outstanding))
                continue
            if self.charge_point.link is not Link.OPEN:
                return sent
            if self.charge_point.take_ping(self.now):
                self.pings.append(self.now)
                self.charge_point.pong_received(self.now)
            due = self.charge_point.next_deadline()
            if due > until:
                break
            assert frames or due > self.now, "it would keep its adapter busy for ever"
            self.now = max(self.now, due)
        self.now = until
        return sent

    def pass_offline(self, seconds: float) -> None:
        """Let time pass without a network; its meters run."""
        self.now += seconds
        self.charge_point.advance(self.now)
        self._collect()

    def _honest_answer(self, call: Call) -> dict[str, Any]:
        match call.action:
            case "BootNotification":
                return self.registration("Accepted")
            case "Heartbeat":
                return {"currentTime": self.time()}
            case "Authorize":
                return {"idTagInfo": self.id_tag_info}
            case "StartTransaction":
                self.transactions += 1
                return {"transactionId": self.transactions, "idTagInfo": self.id_tag_info}
            case "DataTransfer" | "SignCertificate":
                return {"status": "Accepted"}
            case _:
                return {}

    def is_open(self) -> bool:
        """Return whether its connection stands."""
        return self.charge_point.link is Link.OPEN

    # -- a central system that answers as the test says -----------------------------------------

    def connector(self, connector_id: int = 1) -> Connector:
        """Return a connector, with what its meter shows now."""
        self.charging.advance(self.now)
        self.charging.update(self.now)
        return self.charging.connector(connector_id)

    def unplug(self, connector_id: int = 1) -> bool:
        """Take the EV and its cable away; return whether the cable came along."""
        return self.charging.unplug(connector_id, self.now)

    def configure(self, key: str, value: str) -> None:
        """Change a configuration key from the central system."""
        assert self.command("ChangeConfiguration", {"key": key, "value": value}) == {"status": "Accepted"}

    def expect_status(self, status: str, connector_id: int = 1) -> dict[str, Any]:
        """Check that it tells this status now; answer, and return the payload."""
        payload = self.expect("StatusNotification")
        assert (connector_id, status) == (payload["connectorId"], payload["status"])
        self.answer({})
        return payload

    def authorize(self, id_tag: str, status: str = "Accepted", **info: str) -> None:
        """Check that it asks for an id tag now, and answer."""
        assert {"idTag": id_tag} == self.expect("Authorize")
        self.answer({"idTagInfo": {"status": status, **info}})

    def accept_start(self, transaction_id: int = 1, status: str = "Accepted", **info: str) -> dict[str, Any]:
        """Check that it sends StartTransaction now; answer, and return the payload."""
        payload = self.expect("StartTransaction")
        self.answer({"transactionId": transaction_id, "idTagInfo": {"status": status, **info}})
        return payload

    def accept_stop(self) -> dict[str, Any]:
        """Check that it sends StopTransaction now; answer, and return the payload."""
        payload = self.expect("StopTransaction")
        self.answer({})
        return payload

    def _collect(self) -> None:
        self.events += self.charge_point.take_events()
