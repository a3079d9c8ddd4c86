"""A charge point driven through random conversations, losses, power cuts and answers.

The model beside it is no second charge point: it remembers what the central system said last, and
from that alone knows what may be on the wire (core 4.2, J 4.1.1, J 5.4).
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ampswarm.charge_point.events import Online
from ampswarm.charge_point.link import Link, Registration
from ampswarm.charge_point.ping_watch import PingWatchRule, WatchMode
from ampswarm.charge_point.station import ChargePoint
from ampswarm.charge_point.template import Template
from ampswarm.ocppj.frames import Call, decode
from ampswarm.ocppj.schemas import Direction, validate
from ampswarm.ocppj.session import UniqueIds
from tests.ocppj.payloads import valid

TEMPLATE = Template(connectors=2, ping_watch=PingWatchRule(timeout=40))
FIXED_WATCH = Template(connectors=2, ping_watch=PingWatchRule(WatchMode.FIXED, 10))


class ChargePointMachine(RuleBasedStateMachine):
    """Rules are what the world does; the checks are in `_take_what_it_sends`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.outstanding: Call | None = None
        self.unanswered_commands: set[str] = set()
        self.used_ids: set[str] = set()
        self.commands = 0
        # What the central system said: None before it said anything since power-on.
        self.said: str | None = None
        self.may_boot_at = 0.0
        self.triggered: set[str] = set()
        self.online_events = 0
        self.times_online = 0
        self.powered = False

    @initialize(seed=st.integers(0, 2**32), template=st.sampled_from([TEMPLATE, FIXED_WATCH]))
    def switch_on_first(self, seed: int, template: Template) -> None:
        self.cp = ChargePoint("CP1", template, unique_ids=UniqueIds("m-"), random=Random(seed))
        self.power_on()

    # -- the world ----------------------------------------------------------------------------

    def power_on(self) -> None:
        self.cp.power_on(self.now)
        self.powered = True
        self._forget()
        self.said = None
        self.may_boot_at = self.now

    @precondition(lambda self: self.cp.link is Link.OFF)
    @rule()
    def power_comes_back(self) -> None:
        self.power_on()

    @precondition(lambda self: self.cp.link is not Link.OFF)
    @rule()
    def power_goes(self) -> None:
        self.cp.power_off(self.now)
        self._forget()
        self.said = None

    @rule(seconds=st.one_of(st.floats(0, 5), st.floats(0, 100), st.floats(0, 90_000)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._take_what_it_sends()

    @rule()
    def time_passes_to_the_deadline(self) -> None:
        deadline = self.cp.next_deadline()
        if deadline < float("inf"):
            self.now = max(self.now, deadline)
        self._take_what_it_sends()

    @precondition(lambda self: self.cp.link is Link.WAITING)
    @rule(succeeds=st.booleans())
    def connects(self, succeeds: bool) -> None:
        self.now = max(self.now, self.cp.next_deadline())
        assert self.cp.attempt(self.now)
        if not succeeds:
            self.cp.refused(self.now)
            assert self.cp.next_deadline() >= self.now + 1
            return
        self.cp.opened(self.now)
        if self.said == "Accepted":
            self.times_online += 1
        self._take_what_it_sends()

    @precondition(lambda self: self.cp.link in (Link.OPEN, Link.CLOSING))
    @rule()
    def connection_is_lost(self) -> None:
        rebooting = self.cp.close_reason == "reset"
        self.cp.lost(self.now)
        self._forget()
        if rebooting:
            self.said = None
            self.may_boot_at = self.now

    @precondition(lambda self: self.cp.link is Link.OPEN)
    @rule()
    def ping(self) -> None:
        self.cp.ping_received(self.now)
        self._take_what_it_sends()

    @precondition(lambda self: self.outstanding is not None)
    @rule(status=st.sampled_from(["Accepted", "Pending", "Rejected"]), interval=st.sampled_from([0, 1, 60, 900]))
    def answers(self, status: str, interval: int) -> None:
        assert self.outstanding is not None
        call, self.outstanding = self.outstanding, None
        payload: dict[str, Any] = {}
        if call.action == "BootNotification":
            payload = {"status": status, "currentTime": "2026-01-01T00:00:00Z", "interval": interval}
            self.said = status
            self.may_boot_at = self.now + interval
            self.triggered.discard("BootNotification")
            self.times_online += status == "Accepted"
        elif call.action == "Heartbeat":
            payload = {"currentTime": "2026-01-01T00:00:00Z"}
        self.cp.receive(json.dumps([3, call.unique_id, payload]), self.now)
        self._take_what_it_sends()

    @precondition(lambda self: self.outstanding is not None)
    @rule(code=st.sampled_from(["InternalError", "SecurityError", "Unheard"]))
    def answers_with_an_error(self, code: str) -> None:
        assert self.outstanding is not None
        call, self.outstanding = self.outstanding, None
        self.cp.receive(json.dumps([4, call.unique_id, code, "", {}]), self.now)
        self._take_what_it_sends()

    @precondition(lambda self: self.cp.link is Link.OPEN)
    @rule(
        data=st.data(),
        action=st.sampled_from(["Reset", "TriggerMessage", "ChangeConfiguration", "ClearCache"]),
    )
    def commands_it(self, data: st.DataObject, action: str) -> None:
        payload = data.draw(valid(action, Direction.REQ))
        self.commands += 1
        unique_id = f"cs-{self.commands}"
        if action == "TriggerMessage":
            self.triggered.add(payload["requestedMessage"])
        if self.said != "Rejected":
            self.unanswered_commands.add(unique_id)
        self.cp.receive(json.dumps([2, unique_id, action, payload]), self.now)
        self._take_what_it_sends()

    @precondition(lambda self: self.cp.link is Link.OPEN)
    @rule(text=st.sampled_from(["", "[", "[3]", '[3,"x",{}]', '[2,"x","Reset"]', '[9,"x"]', "{}"]))
    def talks_nonsense(self, text: str) -> None:
        self.cp.receive(text, self.now)
        if self.said != "Rejected" and text.startswith("[2"):
            self.unanswered_commands.add("x")
        self._take_what_it_sends()

    # -- what must hold -----------------------------------------------------------------------

    def _forget(self) -> None:
        self.outstanding = None
        self.unanswered_commands.clear()
        self.triggered.clear()

    def _take_what_it_sends(self) -> None:
        was_open = self.cp.link is Link.OPEN
        texts = self.cp.poll(self.now)
        if was_open:
            # An adapter that waits until the deadline must not find itself there already.
            assert texts or self.cp.next_deadline() > self.now
        for text in texts:
            assert was_open
            frame = decode(text)
            if isinstance(frame, Call):
                self._check_call(frame)
            else:
                self.unanswered_commands.remove(frame.unique_id)
        if was_open:
            # Whatever was asked is answered at once, but for a charge point that is Rejected.
            assert not self.unanswered_commands
        if self.cp._calls.session.is_idle:
            self.outstanding = None  # it timed out
        self.online_events += sum(isinstance(event, Online) for event in self.cp.take_events())

    def _check_call(self, call: Call) -> None:
        validate(call.action, Direction.REQ, call.payload)
        assert call.unique_id not in self.used_ids
        self.used_ids.add(call.unique_id)
        if self.outstanding is not None:
            assert self.cp._calls.session.deadline == self.now + TEMPLATE.call_timeout  # the other timed out
        self.outstanding = call
        if call.action == "BootNotification":
            assert self.said != "Accepted"
            if "BootNotification" not in self.triggered or self.said == "Rejected":
                assert self.now >= self.may_boot_at
        elif self.said == "Pending":
            assert call.action in self.triggered
        else:
            assert self.said == "Accepted"

    @invariant()
    def it_waits_for_something_unless_it_is_off(self) -> None:
        if self.powered and self.cp.link in (Link.WAITING, Link.OPEN):
            assert self.cp.next_deadline() < float("inf")

    @invariant()
    def it_stays_small(self) -> None:
        assert len(self.cp._calls._triggered or ()) <= TEMPLATE.connectors + 4
        assert len(self.cp._replies or ()) <= 1

    @invariant()
    def it_counts_every_return_to_work_once(self) -> None:
        if self.powered:
            assert (self.said == "Accepted") == (self.cp.registration is Registration.ACCEPTED)
            assert self.online_events <= self.times_online


TestChargePointMachine = ChargePointMachine.TestCase
TestChargePointMachine.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
