"""Open load: arrivals that do not wait for the target, over all processes of a run (docs/reference/open-load.md).

The master, or a run's only process, reads what `--arrivals` says and tells every worker, with the seed, when
the test starts. From then on each charge point knows by its number when its own arrivals are due.
"""

from __future__ import annotations

import logging
import secrets
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from ampswarm.arrivals import Arrivals, Dial, InvalidArrivals, parse
from ampswarm.load.errands import MESSAGES, Errand, Messages, Place, Share, Tally, Visits
from ampswarm.load.options import CHARGE_POINTS, DRIVERS, InvalidOption
from ampswarm.load.slots import SlotOffice, Slots

if TYPE_CHECKING:
    from locust.env import Environment

    from ampswarm.charge_point.station import ChargePoint
    from ampswarm.load.charging_behaviour import ChargingBehaviour
    from ampswarm.load.reports import Reports

logger: Final = logging.getLogger("ampswarm")

PLAN: Final = "ampswarm_arrivals"
TURN: Final = "ampswarm_arrivals_turn"
SLOTS: Final = "ampswarm_arrivals_slots"
WANTED: Final = "ampswarm_arrivals_wanted"
_SETTLES: Final = 5.0
"""Seconds from the last charge point of a fleet to the first arrival of work, where nothing else is said."""
AHEAD: Final = 5.0
"""Seconds by which charge points are spawned before they switch themselves on: a tick of a shape may take 3 s."""
NOTICE: Final = 2.0
"""Seconds from a change of the rate to when it holds: all charge points have looked by then."""


class OpenLoad:
    """The arrivals of this process.

    Args:
        environment: Locust's.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runner: Any = None
        self._arrivals: Arrivals | None = None
        self._kind = ""
        self._origin = 0.0
        self._size = 0
        # What a message to a worker says, but for the time; and how often the rate was changed.
        self._plan: dict[str, Any] = {}
        self._files: dict[str, str] = {}
        self._slots = Slots()
        self._office = SlotOffice(self._grant, self._is_there)
        self._planned = 0
        self.dial: Dial | None = None
        """The rate, where somebody sets it while it runs: set before the test starts; on the master."""
        self.dial_kind = MESSAGES[1]
        """What then arrives."""
        self.mine = Tally()
        """What became of this process's arrivals."""
        self.all = Tally()
        """What became of all processes', as far as they have told; on the master, or in a single process."""

    def follow(self, runner: Any) -> None:  # noqa: ANN401
        """Begin and end with the tests of Locust's runner, of any kind."""
        self._runner = runner
        listen = self._environment.events
        if isinstance(runner, WorkerRunner):
            runner.register_message(PLAN, lambda msg, **_: self._accept(msg.data))
            runner.register_message(SLOTS, lambda msg, **_: self._slots.grant(msg.data["slots"]))
            runner.register_message(TURN, lambda msg, **_: self._turned(msg.data))
            # In the middle of a test, perhaps. Locust says that a worker has connected before it can listen.
            runner.send_message(WANTED, {})
            return
        listen.test_start.add_listener(lambda **_: self._begin())
        listen.test_stopping.add_listener(lambda **_: self._end())
        listen.quitting.add_listener(lambda **_: self._tell())
        if isinstance(runner, MasterRunner):
            runner.register_message(WANTED, lambda msg, **_: self._send(msg.node_id))

    def report_by(self, reports: Reports) -> None:
        """Let what becomes of arrivals come together."""
        reports.add("arrivals", self.mine.take, lambda _, taken: self.all.add(taken))
        reports.add("arrivals_slots", self._take_slots, self._office.accept)

    # -- what charge points ask ---------------------------------------------------------------

    def start_delay(self, number: int, now: float) -> float | None:
        """Return how long charge point `number` waits before power-on: below 0 where it is late; `None` for unplanned.

        Args:
            number: from 1.
            now: the time.
        """
        if self._arrivals is None or self._kind != CHARGE_POINTS:
            return None
        at = self._arrivals.at(number - 1)
        return None if at == inf else self._origin + at - now

    def errand(self, station: ChargePoint, number: int, behaviour: ChargingBehaviour, now: float) -> Errand | None:
        """Return what arrives at charge point `number`; `None` for nothing.

        Args:
            station: the charge point.
            number: from 1.
            behaviour: of the drivers who may come.
            now: the time.
        """
        arrivals = self._arrivals
        if arrivals is None or self._kind == CHARGE_POINTS:
            return None

        def begin(slot: int, now: float) -> Errand:
            share = Share(arrivals, self._origin, slot, self._size, now)
            if self._kind == DRIVERS:
                return Visits(station, share, behaviour, self.mine, now)
            return Messages(station, share, self._kind, self.mine, is_adjustable=isinstance(arrivals, Dial))

        return Place(self._slots, number, begin, now)

    # -- the master, or a single process ------------------------------------------------------

    @property
    def arrivals(self) -> Arrivals | None:
        """What arrives in the test that runs; `None` for nothing, and while none runs."""
        return self._arrivals

    @property
    def is_planned(self) -> bool:
        """Whether there are arrivals at all."""
        options = self._environment.parsed_options
        return self.dial is not None or bool(options is not None and options.arrivals)

    @property
    def is_of_charge_points(self) -> bool:
        """Whether the options say that charge points arrive."""
        options = self._environment.parsed_options
        return bool(options is not None and options.arrivals and options.arrivals_of == CHARGE_POINTS)

    def check(self) -> Arrivals | None:
        """Return what the options say; `None` for nothing. Reads the files that they name.

        Raises:
            InvalidOption: they cannot be used.
        """
        options = self._environment.parsed_options
        assert options is not None
        if not options.arrivals:
            return None
        self._files.clear()
        try:
            return parse(options.arrivals, self._read, "0")
        except InvalidArrivals as error:
            raise InvalidOption(f"--arrivals or AMPSWARM_ARRIVALS: {error}") from None

    def elapsed(self, now: float) -> float:
        """Return how long there have been arrivals, in seconds; below 0 before they begin."""
        return now - self._origin

    def planned(self, elapsed: float) -> int:
        """Return how many arrivals are planned by then."""
        return 0 if self._arrivals is None else self._arrivals.count(elapsed)

    def turn(self, rate: float) -> float:
        """Set the dial to so many arrivals per second, a little later; return when, in seconds that have elapsed then.

        Only while a test runs, and where there is a dial.
        """
        at = max(0.0, self.elapsed(time.monotonic())) + NOTICE
        data = {"at": at, "rate": rate}
        self._plan["turns"].append([at, rate])
        if isinstance(self._runner, MasterRunner):
            self._runner.send_message(TURN, data)
        self._turned(data)
        return at

    def _read(self, name: str) -> str:
        text = Path(name).read_text(encoding="utf-8")
        self._files[name] = text
        return text

    def _begin(self) -> None:
        options = self._environment.parsed_options
        assert options is not None
        self._tell()
        self.all.clear()
        self._office.clear()
        self._arrivals = None
        if not self.is_planned:
            return
        size = max(1, self._runner.target_user_count)
        is_of_work = self.dial is None and options.arrivals_of != CHARGE_POINTS
        after = options.arrivals_after
        if self.dial is not None:
            after = 0.0
        elif after < 0:
            after = size / (options.spawn_rate or 1) + _SETTLES if is_of_work else AHEAD
        self._plan = {
            "of": self.dial_kind if self.dial is not None else options.arrivals_of,
            "text": "" if self.dial is not None else options.arrivals,
            "files": dict(self._files),
            "seed": f"{options.seed or secrets.randbits(32)}",
            "size": size,
            "turns": [],
        }
        self._accept({**self._plan, "elapsed": -after})
        if isinstance(self._runner, MasterRunner):
            self._send(None)

    def _send(self, client_id: str | None) -> None:
        if self._arrivals is not None:
            # All workers' clocks begin when the master's does, but for the time that this message takes.
            data = {**self._plan, "elapsed": self.elapsed(time.monotonic())}
            self._runner.send_message(PLAN, data, client_id)

    def _end(self) -> None:
        self._planned = self.planned(self.elapsed(time.monotonic()))
        self._arrivals = None

    def _tell(self) -> None:
        planned, done = self._planned, self.all
        self._planned = 0
        if not planned or self._kind == CHARGE_POINTS:
            return
        logger.info(
            "open load: %d arrivals of %s were planned, %d were handed to charge points: %d %s, %d without an answer, "
            "%d unfinished at the end, %d turned away",
            planned, self._kind, done.handed, done.answered, "came" if self._kind == DRIVERS else "answered",
            done.lost, done.unsent, done.turned_away,
        )  # fmt: skip
        missed = planned - done.handed
        if missed > 0:
            logger.warning("open load: %d arrivals had no charge point: it was not there, or just ended", missed)

    # -- every process ------------------------------------------------------------------------

    def _take_slots(self) -> dict[str, Any]:
        return self._slots.take()

    def _grant(self, process: str, slots: list[int]) -> None:
        if isinstance(self._runner, MasterRunner):
            self._runner.send_message(SLOTS, {"slots": slots}, process)
        else:
            self._slots.grant(slots)

    def _is_there(self, process: str) -> bool:
        if not isinstance(self._runner, MasterRunner):
            return True
        client = self._runner.clients.get(process)
        return client is not None and client.state != STATE_MISSING

    def _accept(self, plan: dict[str, Any]) -> None:
        self.mine.clear()
        self._kind = plan["of"]
        self._size = plan["size"]
        self._slots = Slots(self._size)
        self._origin = time.monotonic() - plan["elapsed"]
        if plan["text"]:
            try:
                self._arrivals = parse(plan["text"], plan["files"].__getitem__, plan["seed"])
            except (InvalidArrivals, KeyError) as error:
                logger.error("nothing arrives in this process: the master is of another version: %s", error)
                self._arrivals = None
            return
        self._arrivals = dial = Dial()
        for at, rate in plan["turns"]:
            dial.set(at, rate)

    def _turned(self, turn: dict[str, float]) -> None:
        if isinstance(self._arrivals, Dial):
            self._arrivals.set(turn["at"], turn["rate"])
