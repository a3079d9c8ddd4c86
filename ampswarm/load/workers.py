"""The master's watch over its workers: who is missing, who came back, who is gone for good.

A worker that does not answer may hang, and its connections stand as long as it does: nobody else may have its
identities. One that has no connection to the master any more may be dead, or live on behind a network that broke;
it ends by itself when it has heard nothing from its master for a minute (Locust's MASTER_HEARTBEAT_TIMEOUT), and
only after that its identities are free.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import gevent
import locust.runners
import zmq
from locust.rpc import Message
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, WorkerRunner

from ampswarm.load.verdict import EXIT_INVALID

if TYPE_CHECKING:
    from ampswarm.load.identities import Lessor
    from ampswarm.load.incidents import Incidents

logger: Final = logging.getLogger("ampswarm")

PROBE: Final = "ampswarm_probe"
"""A message that says nothing: what counts is whether it finds its way."""
_INTERVAL: Final = 1.0
_MARGIN: Final = 5.0
"""Seconds more than those after which a worker without a master ends by itself, until nobody has its identities."""
_LEAVING: Final = 3.0
"""Seconds for which no identity is given out after a stranger was last seen: its charge points are about to go."""
_NOT_DEAD: Final = -10
"""Heartbeats that are missing; at 60 Locust takes a worker for dead."""
_PATIENCE: Final = 5
"""Looks in a row that found another number of users than there should be: reports come every three seconds."""


def end_without_a_master(runner: Any) -> None:  # noqa: ANN401  WorkerRunner
    """Let a worker whose master is gone end with status 4: what it measured last reached nobody."""

    def look() -> None:
        last = runner.last_heartbeat_timestamp
        # What Locust itself goes by when it lets such a worker quit.
        if last and last < time.time() - locust.runners.MASTER_HEARTBEAT_TIMEOUT:
            logger.error("the master is gone: the last samples of this worker are lost, and so is the test")
            runner.environment.process_exit_code = EXIT_INVALID

    runner.environment.events.quitting.add_listener(lambda **_: look())


def answer_probes(runner: WorkerRunner) -> None:
    """On a worker: let probes come."""
    runner.register_message(PROBE, lambda **_: None)


def keep_stopping(runner: Any) -> None:  # noqa: ANN401  MasterRunner
    """Let nothing start a test anew while the master stops it.

    A rebalance that is under way then makes Locust believe that the test runs, and each worker that reports as
    stopped is one more reason to share out the users again: the master waits for a minute, and workers go on.
    """
    start, update_state = runner.start, runner.update_state
    is_stopping = False

    def start_unless_stopping(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if not is_stopping:
            start(*args, **kwargs)

    def update_unless_stopping(state: str) -> None:
        if not (is_stopping and state in (STATE_SPAWNING, STATE_RUNNING)):
            update_state(state)

    def note(*, stopping: bool) -> None:
        nonlocal is_stopping
        is_stopping = stopping

    send = runner.server.send_to_client

    def send_unless_stopping(message: Any) -> None:  # noqa: ANN401
        # A ramp that is under way goes on to its end.
        if not (is_stopping and message.type == "spawn"):
            send(message)

    runner.start, runner.update_state = start_unless_stopping, update_unless_stopping
    runner.server.send_to_client = send_unless_stopping
    runner.environment.events.test_stopping.add_listener(lambda **_: note(stopping=True))
    runner.environment.events.test_stop.add_listener(lambda **_: note(stopping=False))


class WorkerWatch:
    """Looks after the workers of a master, once a second.

    Args:
        runner: the master's.
        lessor: takes back the identities of those that are gone.
        incidents: where it is said.
    """

    def __init__(self, runner: Any, lessor: Lessor, incidents: Incidents) -> None:  # noqa: ANN401  MasterRunner
        self._runner = runner
        self._lessor = lessor
        self._incidents = incidents
        self._missing: set[str] = set()
        # Since when nobody is found under the name of a worker, in seconds of the monotonic clock.
        self._not_found: dict[str, float] = {}
        self._known: set[str] = set()
        # Workers of a master that was here before: all that were heard of, and those that have not gone yet.
        self._strangers: set[str] = set()
        self._strangers_here: set[str] = set()
        self._wrong_size = 0
        keep_stopping(runner)
        runner.environment.events.worker_connect.add_listener(lambda client_id, **_: self._known.add(client_id))
        self._listen_for_strangers()
        gevent.spawn(self._run)

    def _run(self) -> None:
        while True:
            gevent.sleep(_INTERVAL)
            self._look()

    def _look(self) -> None:
        clients = self._runner.clients
        missing = {each.id for each in clients.all if each.state == STATE_MISSING}
        for worker in missing:
            # Locust has shared out its users already. After a minute it would begin again from nobody, and let
            # every other worker stop all of its users first.
            clients[worker].heartbeat = max(clients[worker].heartbeat, _NOT_DEAD)
        is_running = self._runner.state in (STATE_SPAWNING, STATE_RUNNING)
        for worker in missing - self._missing:
            if is_running:
                self._note("worker missing", worker)
        for worker in self._missing - missing:
            # Locust forgets those that are missing for a minute, which is no return.
            if worker in clients and is_running:
                self._note("worker back", worker)
        self._missing = missing
        self._keep_size()
        self._strangers_here = {each for each in self._strangers_here if self._is_there(each)}
        if self._strangers_here:
            self._lessor.hold(_LEAVING)
        for owner in self._lessor.owners():
            if (owner in clients and owner not in missing) or self._is_there(owner):
                self._not_found.pop(owner, None)
            else:
                since = self._not_found.setdefault(owner, time.monotonic())
                if time.monotonic() - since >= locust.runners.MASTER_HEARTBEAT_TIMEOUT + _MARGIN:
                    del self._not_found[owner]
                    count = self._lessor.forget(owner)
                    self._note("worker gone", owner, identities_taken_back=count)
                    logger.warning("worker %s is gone: its %d identities are free again", owner, count)

    def _keep_size(self) -> None:
        """Let Locust share out the users anew where their number is not what it should be.

        It does so by itself when a worker goes missing. When one comes back after that, it believes that it is
        still at it (a dispatcher never says that a rebalance is over), and there are too many.
        """
        runner = self._runner
        is_settled = runner.state == STATE_RUNNING and runner.spawning_completed and runner.worker_count > 0
        if not is_settled or runner.user_count == runner.target_user_count:
            self._wrong_size = 0
            return
        self._wrong_size += 1
        if self._wrong_size >= _PATIENCE:
            self._wrong_size = 0
            self._incidents.note("users shared out anew", users=runner.user_count, wanted=runner.target_user_count)
            gevent.spawn(runner.start, runner.target_user_count, runner.spawn_rate)

    def _listen_for_strangers(self) -> None:
        """Hear of every message: Locust itself passes over those of workers that it does not know."""
        server = self._runner.server
        receive = server.recv_from_client

        def receive_and_look() -> Any:  # noqa: ANN401  a pair: who sent it, and a message
            client_id, message = receive()
            if message.type in {"heartbeat", "stats"}:
                self._heard_of(client_id)
            return client_id, message

        server.recv_from_client = receive_and_look

    def _heard_of(self, client_id: str) -> None:
        """Send a worker away that never came to this master: it runs for one that is gone, with leases of that one."""
        if client_id in self._known or client_id in self._strangers:
            return
        self._strangers.add(client_id)
        self._strangers_here.add(client_id)
        self._lessor.hold(_LEAVING)
        logger.warning("worker %s runs for a master that is gone: it is told to quit", client_id)
        self._runner.server.send_to_client(Message("quit", None, client_id))

    def _note(self, what: str, worker: str, **details: int) -> None:
        self._incidents.note(what, worker=worker, index=self._runner.get_worker_index(worker), **details)

    def _is_there(self, worker: str) -> bool:
        """Whether the kernel of its host still has its connection: it does while a process hangs, or is stopped."""
        socket = self._runner.server.socket
        # Otherwise ZeroMQ drops in silence what has nowhere to go. Nobody else sends meanwhile.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        try:
            socket.send_multipart([worker.encode(), Message(PROBE, None, worker).serialize()], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            # Any other: its queue is full, because it hangs.
            return error.errno != zmq.EHOSTUNREACH
        finally:
            socket.setsockopt(zmq.ROUTER_MANDATORY, 0)
        return True
