"""Charge points that charge, and remember what they were told: to hold a central system to its word."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

TIME = "2026-01-01T00:00:00Z"
_PAUSE = 0.05
_SUBPROTOCOL = Subprotocol("ocpp1.6")


@dataclass
class Session:
    """One transaction, as its charge point knows it."""

    meter_start: int
    transaction_id: int | None = None
    """`None` until its start is confirmed."""
    confirmed_values: int = 0
    sent_values: int = 0
    meter_stop: int | None = None
    """What its stop said, sent or not; `None` while it runs."""
    is_stop_confirmed: bool = False


@dataclass
class ChargePoint:
    """One charge point. It sends a message until it is confirmed, over any number of connections."""

    identity: str
    sessions: list[Session] = field(default_factory=list)
    is_finishing: bool = False
    refused: int = 0
    """CallErrors that it got."""
    connections: int = 0

    async def live(self, url: str, changed: asyncio.Condition) -> None:
        """Charge, one session after the other; reconnect when the connection is lost; return when it has finished."""
        while not (self.is_finishing and self._is_done):
            with suppress(OSError, ConnectionClosed, InvalidHandshake, TimeoutError):
                url_of_it = f"{url}/{self.identity}"
                async with connect(url_of_it, subprotocols=[_SUBPROTOCOL], proxy=None, compression=None) as ws:
                    self.connections += 1
                    while not (self.is_finishing and self._is_done):
                        await self._step(ws)
                        async with changed:
                            changed.notify_all()
            await asyncio.sleep(_PAUSE)

    @property
    def _is_done(self) -> bool:
        return all(session.is_stop_confirmed for session in self.sessions)

    async def _step(self, ws: ClientConnection) -> None:
        if self._is_done:
            self.sessions.append(Session(len(self.sessions) * 1000))
        session = self.sessions[-1]
        if session.transaction_id is None:
            start = {"connectorId": 1, "idTag": "T", "meterStart": session.meter_start, "timestamp": TIME}
            answer = await self._call(ws, "StartTransaction", start)
            if answer is not None:
                session.transaction_id = answer["transactionId"]
        elif session.meter_stop is None and session.sent_values < 3:
            session.sent_values += 1
            value = {"timestamp": TIME, "sampledValue": [{"value": str(session.meter_start + session.sent_values)}]}
            values = {"connectorId": 1, "transactionId": session.transaction_id, "meterValue": [value]}
            if await self._call(ws, "MeterValues", values) is not None:
                session.confirmed_values += 1
        else:
            session.meter_stop = session.meter_start + 500
            stop = {"transactionId": session.transaction_id, "meterStop": session.meter_stop, "timestamp": TIME}
            session.is_stop_confirmed = await self._call(ws, "StopTransaction", stop) is not None

    async def _call(self, ws: ClientConnection, action: str, payload: dict[str, Any]) -> dict[str, Any] | None:
        await ws.send(json.dumps([2, "1", action, payload]))
        async with asyncio.timeout(30):
            answer = json.loads(await ws.recv())
        if answer[0] == 3:
            result: dict[str, Any] = answer[2]
            return result
        assert answer[2] == "InternalError", answer
        self.refused += 1
        await asyncio.sleep(_PAUSE)
        return None
