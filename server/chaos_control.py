"""Chaos at run time, in all processes: a configuration that is set and taken away, stalls and drops at once."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from ampswarm.lifecycle import LifecycleLog
from server.chaos import Chaos, Dice
from server.chaos_hooks import COUNTED, ChaosHooks, LateAnswers, end
from server.chaos_schema import ChaosConfig, StallRule, parse
from server.cluster import Body, Cluster
from server.connections import CentralSystem
from server.handlers import Handlers
from server.handshake import Handshakes
from server.metrics import Metrics

_NEWS: Final = "chaos"
_STALL: Final = "chaos stall"
_DROP: Final = "chaos drop"
_COUNTS: Final = "chaos counts"
_CONFIGURATION: Final = "chaos configuration"
_NOTICE: Final = 0.05
"""Seconds from the announcement of a stall to its beginning: the log and the other processes hear of it, and a
signal that is here already is not stuck in the loop."""
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)


class ChaosControl:
    """What operators do with chaos.

    Args:
        central: whose connections suffer.
        handlers: whose boot policy has exceptions.
        cluster: the way to the other processes.
        metrics: where all is counted that is done.
        lifecycle: where it is logged that chaos is on or off, and each stall.
    """

    def __init__(
        self, central: CentralSystem, handlers: Handlers, cluster: Cluster, metrics: Metrics, lifecycle: LifecycleLog
    ) -> None:
        self._central = central
        self._handlers = handlers
        self._cluster = cluster
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._late = LateAnswers()
        central.closed = self._late.forget
        self._config: ChaosConfig | None = None
        self._since: float | None = None
        self._stalls: dict[int, asyncio.TimerHandle] = {}
        self._is_told_to_stop = False
        self._hooks: ChaosHooks | None = None
        self._handshakes: Handshakes | None = None
        self.about_to_stall: Callable[[float], None] | None = None
        """Called before this process stands still, with for how many seconds."""
        cluster.listen(_NEWS, lambda body: self.apply(body["configuration"]))
        cluster.listen(_STALL, lambda body: self._stall(body["seconds"]))
        cluster.answer(_DROP, self._answer_drop)
        cluster.answer(_COUNTS, self._answer_counts)
        cluster.answer(_CONFIGURATION, self._answer_configuration)

    @property
    def config(self) -> ChaosConfig | None:
        """What is in force; `None` for nothing."""
        return self._config

    @property
    def seconds(self) -> float | None:
        """For how many seconds it has been so; `None` where nothing was ever set or taken away."""
        return None if self._since is None else time.monotonic() - self._since

    def watch(self, handshakes: Handshakes) -> None:
        """Refuse upgrades among these handshakes."""
        self._handshakes = handshakes
        self._set_intercept()

    async def adopt(self) -> None:
        """Do what the other processes do, for one that has come later than they were told."""
        if self._cluster.is_alone:
            return
        for answer in (await self._cluster.ask_briefly(_CONFIGURATION, {})).values():
            if answer["configuration"] is not None:
                self.apply(answer["configuration"])
                return

    def apply(self, values: dict[str, Any] | None) -> None:
        """Do from now on, in this process, what a configuration says; `None` ends all.

        Answers that are late already keep to their time.

        Raises:
            BadChaos: the configuration cannot be used; nothing has changed.
        """
        self._set(None if values is None else parse(values))

    def put(self, config: ChaosConfig | None) -> None:
        """Do from now on, in all processes, what a configuration says; `None` ends all."""
        self._set(config)
        self._cluster.tell(_NEWS, {"configuration": None if config is None else config.as_dict()})

    def stall(self, seconds: float) -> None:
        """Let everything stand still in all processes, in a moment, for `seconds`."""
        self._cluster.tell(_STALL, {"seconds": seconds})
        self._stall(seconds)

    async def drop(self, share: float, code: int | None) -> int:
        """End the connections of a share of the fleet, in all processes; return how many there were.

        Args:
            share: of the fleet; always the same charge points for the same seed.
            code: close code; `None` cuts them off without a Close frame.
        """
        if self._cluster.is_alone:
            return self._drop(share, code)
        answers = await self._cluster.ask_briefly(_DROP, {"share": share, "code": code})
        return sum(answer["dropped"] for answer in answers.values())

    async def counts(self) -> dict[str, int]:
        """Return what was done since the start, in all processes, and how often."""
        counts = [self._counts()]
        if not self._cluster.is_alone:
            counts = list((await self._cluster.ask_briefly(_COUNTS, {})).values())
        return dict(sorted(sum(map(Counter, counts), Counter[str]()).items()))

    # -- inside -------------------------------------------------------------------------------

    def _set(self, config: ChaosConfig | None) -> None:
        for timer in self._stalls.values():
            timer.cancel()
        self._stalls = {}
        self._config = config
        self._since = time.monotonic()
        hooks = None if config is None else ChaosHooks(Chaos(config), self._central, self._late, self._metrics)
        self._hooks = self._central.chaos = hooks
        self._handlers.boot_exception = None if hooks is None else hooks.boot_policy
        self._set_intercept()
        if config is not None:
            loop = asyncio.get_running_loop()
            for number, rule in enumerate(config.stalls):
                self._schedule(number, rule, loop.time() + rule.at)
        self._lifecycle.write("chaos", time.monotonic(), status="off" if config is None else "on")

    def _set_intercept(self) -> None:
        if self._handshakes is not None:
            self._handshakes.intercept = None if self._hooks is None else self._hooks.intercept

    def _schedule(self, number: int, rule: StallRule, due: float) -> None:
        self._stalls[number] = asyncio.get_running_loop().call_at(due, self._due, number, rule, due)

    def _due(self, number: int, rule: StallRule, due: float) -> None:
        self._stall(rule.seconds)
        if rule.every is None:
            del self._stalls[number]
            return
        # Those that fell into another stall are left out.
        missed = (asyncio.get_running_loop().time() - due) // rule.every
        self._schedule(number, rule, due + (missed + 1) * rule.every)

    def _stall(self, seconds: float) -> None:
        self._metrics.events[f"{COUNTED}stalls"] += 1
        self._lifecycle.write("stall", time.monotonic(), seconds=seconds)
        if self.about_to_stall is not None:
            self.about_to_stall(seconds)
        asyncio.get_running_loop().call_later(_NOTICE, self._stand_still, seconds)

    def _stand_still(self, seconds: float) -> None:
        # One stall that was cut short is the last one.
        if not (self._central.is_closing or self._is_told_to_stop):
            self._is_told_to_stop = block(seconds)

    def _drop(self, share: float, code: int | None) -> int:
        dice = Dice(0 if self._config is None else self._config.seed)
        found = [each for each in self._central.connections() if dice.place(each.identity) < share]
        for connection in found:
            end(connection, code, self._central, self._metrics)
        return len(found)

    def _counts(self) -> dict[str, int]:
        events = self._metrics.events.items()
        return {name.removeprefix(COUNTED): times for name, times in events if name.startswith(COUNTED)}

    async def _answer_drop(self, body: Body) -> AsyncIterator[Body]:
        yield {"dropped": self._drop(body["share"], body["code"])}

    async def _answer_configuration(self, _body: Body) -> AsyncIterator[Body]:
        yield {"configuration": None if self._config is None else self._config.as_dict()}

    async def _answer_counts(self, _body: Body) -> AsyncIterator[Body]:
        yield self._counts()


def block(seconds: float) -> bool:
    """Hold this thread, and with it its event loop, for `seconds`; return whether the process was told to stop.

    Then it ends at once, and the signal goes where it always does.
    """
    # asyncio hears of a signal from its loop alone, and that stands still.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        came = signal.sigtimedwait(_ENDS, seconds)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if came is None:
        return False
    signal.raise_signal(came.si_signo)
    return True
