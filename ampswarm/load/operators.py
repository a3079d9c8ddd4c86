"""Operators: Locust users who send commands through the central system, and see at the charge point what comes of it.

| type | name | response time, from the call of the API |
|---|---|---|
| REMOTE | the action, arrival | until the charge point had the command |
| REMOTE | the action, answer | until the API returned the charge point's answer |
| REMOTE | the action, effect | until the charge point sent what the command leads to |
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from gevent.event import Event
from locust import User

from ampswarm.charge_point.events import CommandReceived
from ampswarm.load.fleet import fleet_of
from ampswarm.load.operator_api import CentralSystemApi, CommandFailed, OperatorApi
from ampswarm.ocppj.session import Answered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from locust.env import Environment

    from ampswarm.charge_point.events import StationEvent
    from ampswarm.charge_point.station import ChargePoint

_MILLISECONDS: Final = 1000
_TIMEOUT: Final = 30.0
_MET: Final = frozenset({"", "Accepted", "Unlocked", "RebootRequired", "Scheduled"})
"""Statuses after which the effect of a command is to come; an answer may have none."""


class Command:
    """A command on its way: what is seen of it at the charge point.

    Args:
        action: which.
        effect: the action of the Call that it leads to; empty for none.
    """

    __slots__ = ("_changed", "_effect", "action", "arrived", "effect_sent")

    def __init__(self, action: str, effect: str) -> None:
        self._changed = Event()
        self._effect = effect
        self.action = action
        self.arrived: float | None = None
        """When the charge point had it, in seconds of the monotonic clock."""
        self.effect_sent: float | None = None
        """When the charge point sent what it leads to."""

    def observe(self, event: StationEvent) -> None:
        """Take note of what the charge point observed."""
        match event:
            case CommandReceived(action=action) if action == self.action and self.arrived is None:
                self.arrived = time.monotonic()
            case Answered(action=action, sent=sent) if (
                action == self._effect
                and self.effect_sent is None
                and self.arrived is not None
                and sent >= self.arrived
            ):
                self.effect_sent = sent
                self._changed.set()

    def wait(self, seconds: float) -> None:
        """Wait for the effect, for `seconds` at most."""
        self._changed.wait(max(0.0, seconds))


class OperatorUser(User):
    """An operator. A subclass has the tasks; those find charge points of this process, and `command` them."""

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.fleet = fleet_of(environment)
        self._api: OperatorApi | None = None

    def open_api(self) -> OperatorApi:
        """Return what commands go through: the bundled central system's API, at `--operator-api`."""
        options = self.environment.parsed_options
        assert options is not None
        return CentralSystemApi(options.operator_api, options.operator_token)

    @property
    def api(self) -> OperatorApi:
        """What commands go through."""
        if self._api is None:
            self._api = self.open_api()
        return self._api

    def find(self, is_wanted: Callable[[ChargePoint], bool] = lambda _: True) -> ChargePoint | None:
        """Return a charge point of this process that is online and wanted, by chance; `None` if there is none.

        Not one that another operator's command is on its way to.
        """
        commands = self.fleet.commands
        found = [
            each for each in self.fleet.charge_points
            if each.is_online and each.identity not in commands and is_wanted(each)
        ]  # fmt: skip
        return self.fleet.random.choice(found) if found else None

    def command(
        self,
        identity: str,
        action: str,
        payload: Mapping[str, Any] | None = None,
        *,
        effect: str = "",
        timeout: float = _TIMEOUT,
    ) -> dict[str, Any] | None:
        """Send a command, measure how far it comes and how fast, and return the answer; `None` without one.

        Args:
            identity: a charge point of this process, which no other command is on its way to.
            action: what.
            payload: its request.
            effect: the action of the Call that it leads to, when it is Accepted; empty for none.
            timeout: seconds for the answer, and again for the effect.
        """
        commands = self.fleet.commands
        commands[identity] = command = Command(action, effect)
        began = time.monotonic()
        answer: dict[str, Any] | None = None
        error: CommandFailed | None = None
        try:
            try:
                answer = self.api.call(identity, action, payload or {}, timeout)
            except CommandFailed as failed:
                error = failed
            ended = time.monotonic()
            self._report(action, "answer", ended - began, error)
            is_lost = command.arrived is None
            seconds = (command.arrived or ended) - began
            self._report(action, "arrival", seconds, CommandFailed("did not arrive") if is_lost else None)
            if effect and answer is not None:
                self._wait_for_effect(command, effect, str(answer.get("status", "")), began, timeout)
        finally:
            if commands.get(identity) is command:
                del commands[identity]
        return answer

    def on_stop(self) -> None:
        """Close the connection to the API."""
        if self._api is not None:
            self._api.close()

    def report(self, kind: str, name: str, seconds: float, error: Exception | None = None) -> None:
        """Report a measurement to Locust's statistics.

        Args:
            kind: its type.
            name: its name; the same for all charge points.
            seconds: how long it took.
            error: with a text that is the same for all charge points; `None` for a success.
        """
        report(self, kind, name, seconds, error)

    def _wait_for_effect(self, command: Command, effect: str, status: str, began: float, timeout: float) -> None:
        error: CommandFailed | None = None
        if status not in _MET:
            error = CommandFailed(f"answered {status}")
        else:
            command.wait(timeout)
            if command.effect_sent is None:
                error = CommandFailed(f"no {effect} within {timeout:g} s")
        self._report(command.action, "effect", (command.effect_sent or time.monotonic()) - began, error)

    def _report(self, action: str, what: str, seconds: float, error: Exception | None) -> None:
        self.report("REMOTE", f"{action} {what}", seconds, error)


def report(user: User, kind: str, name: str, seconds: float, error: Exception | None = None) -> None:
    """Report a measurement of any user to Locust's statistics; arguments as for `OperatorUser.report`."""
    user.environment.events.request.fire(
        request_type=kind,
        name=name,
        response_time=seconds * _MILLISECONDS,
        response_length=0,
        exception=error,
        context={},
    )
