"""One process of the central system: its parts, put together, and its life from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, cast

import orjson

from ampswarm.lifecycle import LifecycleLog
from ampswarm.ocppj.session import UniqueIds
from server import book
from server import ledger as books
from server.acceptor import Acceptor, handle_exception
from server.acceptor import bind as bind_all
from server.admin import AdminServer, admin_server, bind, build_app
from server.bus import BadBus, Bus, BusFailed, LocalBus
from server.calls import Calls
from server.certificates import BadAuthority, CertificateAuthority, CertificateDesk
from server.chaos_control import ChaosControl
from server.cluster import Body, Cluster, NoFleet
from server.config import Config
from server.connections import CentralSystem
from server.drain import drain
from server.fleet import Fleet
from server.gate import HEALTH
from server.handlers import Handlers
from server.hub import Hub, HubBus
from server.id_tags import IdTags
from server.journal import Journal
from server.last_resort import PATIENCE, end_within
from server.listener import opener
from server.log import write_line, write_payload
from server.messages import Messages
from server.metrics import Metrics, State
from server.readiness import Readiness
from server.records import Records
from server.security import BadSecurity, Security
from server.settings import Settings, system_id
from server.store import MEMORY, BadStore, Store, StoreFailed, open_store
from server.stored_passwords import StoredPasswords

_FLUSH_INTERVAL: Final = 1.0
_FORGET_INTERVAL: Final = 5.0
_ALIVE_INTERVAL: Final = 1.0
_MOST_IN_MEMORY: Final = 1_000_000
"""Ended transactions that are remembered where there is no file for them; 250 MB."""
_LAST_WORDS: Final = 5.0
"""Seconds for what was not kept yet when the last charge point has gone."""
_PATIENCE: Final = 15.0
"""Seconds for a store or a bus that is not up yet when the process starts."""


class Mistake(Exception):  # noqa: N818  one line for whoever starts the process
    """Something that the operator has to set right."""


class Process:
    """All parts of one process.

    Args:
        config: how it runs.
        number: which of the processes of this host it is, from 0; the first has the operator API.
        hub: the socket by which the processes of this host talk to each other; `None` for one that is alone.

    Raises:
        Mistake: the store, the bus, or the CA for charge points' certificates cannot be used.
    """

    def __init__(self, config: Config, number: int = 0, hub: Path | None = None) -> None:
        self._config = config
        self._number = number
        self._metrics = metrics = Metrics()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._readiness = Readiness()
        self._node = secrets.token_hex(4)
        self._lifecycle = lifecycle = LifecycleLog(write_line if config.log_lifecycle else None)
        self._store: Store = open_store(config.store)
        self._id_tags = IdTags()
        self._records = Records(self._store, self._node, self._not_written)
        self._journal = Journal(
            self._store,
            self._node,
            self._id_tags.is_one_at_a_time,
            metrics,
            partial(self._condition, "store"),
            partial(self._trouble, "entry"),
        )
        self._handlers = Handlers(
            self._records,
            self._id_tags,
            metrics,
            boot_interval=config.boot_interval,
            require_boot=config.require_boot,
        )
        self._central = CentralSystem(
            self._handlers,
            Calls(UniqueIds(secrets.token_hex(8)), metrics),
            self._journal,
            self._records,
            metrics,
            lifecycle,
            log_payload=write_payload if config.log_payload else None,
            ping_interval=config.ping_interval,
        )
        if config.keep_messages:
            self._central.messages = Messages(config.keep_messages)
        # Processes of one host have a way to their parent, whatever the bus is.
        self._parent = None if hub is None else HubBus(self._node, hub, self._stopping.set)
        self._bus = self._make_bus()
        self._cluster = self._join(self._bus, self._central)
        self._bus.changed = self._bus_changed
        self._central.opened = self._cluster.connected
        self._fleet = Fleet(self._central, self._cluster, self._records, self._store)
        metrics.store_lag = lambda: self._journal.lag
        # Of the processes of this host, whatever the bus is: other hosts are asked by Prometheus itself.
        self._neighbours = self._cluster
        if self._parent is not None and self._parent is not self._bus:
            self._neighbours = self._join(self._parent, NoFleet())
        self._neighbours.answer("metrics", self._answer_metrics)
        self._settings = Settings(self._store, self._handlers, self._id_tags, partial(self._cluster.tell, "settings"))
        self._chaos = ChaosControl(self._central, self._handlers, self._cluster, metrics, lifecycle)
        self._chaos.about_to_stall = self._say_alive
        self._cluster.listen("settings", self._settings.have_changed)
        self._cluster.missed = partial(self._settings.have_changed, {})
        self._passwords: StoredPasswords | None = None
        if config.security.stored_passwords:
            self._passwords = self._central.passwords = StoredPasswords(self._store)
        try:
            self._security = Security(config.security, lifecycle, passwords=self._passwords)
        except BadSecurity as bad:
            raise Mistake(str(bad)) from None
        self._desk: CertificateDesk | None = None
        if config.csr_ca_cert is not None and config.csr_ca_key is not None:
            try:
                authority = CertificateAuthority(config.csr_ca_cert, config.csr_ca_key)
            except BadAuthority as bad:
                raise Mistake(str(bad)) from None
            organization = config.security.tls_client_organization
            # A charge point that is not accepted yet has asked for it all the same, and was told that it will come.
            send = partial(self._central.call, force=True)
            self._desk = CertificateDesk(authority, send, metrics, lifecycle, organization)
            self._handlers.request_certificate = self._desk.accept

    def _make_bus(self) -> Bus:
        if self._config.bus is not None:
            from server.redis_bus import RedisBus  # noqa: PLC0415  as in `parse_args`

            return RedisBus(self._node, self._config.bus)
        return LocalBus(self._node) if self._parent is None else self._parent

    def _join(self, bus: Bus, connections: CentralSystem | NoFleet) -> Cluster:
        cluster = Cluster(bus, connections, self._fault)
        cluster.not_understood = self._not_understood
        return cluster

    # -- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; another one makes it hurry.

        Raises:
            Mistake: the store or the bus cannot be used, or a port cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(handle_exception)
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._security.reread)
        async with contextlib.AsyncExitStack() as opened:
            if not await self._until_stopped(self._open(opened)):
                return
            if self._config.chaos is not None:
                self._chaos.apply(self._config.chaos.as_dict())
            else:
                await self._chaos.adopt()
            await self._serve(*await self._listen())

    async def _until_stopped(self, opening: Awaitable[None]) -> bool:
        """Return whether something is open; not when the process is stopped before."""
        task = asyncio.ensure_future(opening)
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False

    async def _open(self, opened: contextlib.AsyncExitStack) -> None:
        opened.push_async_callback(self._store.close)
        try:
            await _patiently(self._open_store, StoreFailed, f"the store {self._store.name}")
            for bus in {self._bus, self._parent} - {None}:
                assert bus is not None
                opened.push_async_callback(bus.close)
                await _patiently(bus.open, BusFailed, "the bus")
            # After the bus is open: what is changed from now on, the others tell.
            await self._settings.load()
        except BadStore as bad:
            raise Mistake(f"--store or STORE: {bad}") from None
        except BadBus as bad:
            raise Mistake(f"--bus or BUS: {bad}") from None
        except StoreFailed as failed:
            raise Mistake(f"--store or STORE: {self._store.name}: {failed.reason}") from None

    async def _open_store(self) -> None:
        await self._store.open()
        if self._config.bus is not None:
            # A bus can be that of many systems: whose replicas have one store are one system.
            self._bus.system = await system_id(self._store)

    async def _listen(self) -> tuple[AdminServer | None, dict[str, Acceptor]]:
        config = self._config
        listening = None
        if self._number == 0:
            try:
                listening = await bind(config.admin_host, config.admin_port)
            except (OSError, UnicodeError) as error:
                where = f"{config.admin_host} port {config.admin_port} (--admin-host, --admin-port)"
                raise Mistake(f"cannot listen on {where}: {_why(error)}") from None
        try:
            ports = await self._accept()
        except Mistake:
            if listening is not None:
                listening.close()
            raise
        if listening is None:
            return None, ports
        app = build_app(
            central=self._central,
            fleet=self._fleet,
            handlers=self._handlers,
            settings=self._settings,
            id_tags=self._id_tags,
            passwords=self._passwords,
            records=self._records,
            store=self._store,
            readiness=self._readiness,
            chaos=self._chaos,
            collect=self._collect,
            lifecycle=self._lifecycle,
            token=config.admin_token,
        )
        return admin_server(app, listening), ports

    async def _accept(self) -> dict[str, Acceptor]:
        config, central = self._config, self._central
        is_shared = config.processes > 1
        limits = config.security
        open_websocket = opener(
            central, max_message=limits.max_message_bytes, messages_per_second=limits.max_messages_per_second
        )
        recall = self._records.registration if config.require_boot else None
        handshakes = self._security.handshakes(
            central, open_websocket, lambda: central.is_closing, self._status, recall
        )
        self._chaos.watch(handshakes)
        ports: dict[str, Acceptor] = {}
        port = config.port
        try:
            if limits.is_plain:
                ports["port"] = Acceptor(handshakes, await bind_all(config.host, port, reuse_port=is_shared), None)
            port = limits.tls_port
            with_tls = await self._security.listen_tls(handshakes, config.host, port, reuse_port=is_shared)
        except (OSError, UnicodeError) as error:
            for each in ports.values():
                each.close()
            raise Mistake(f"cannot listen on {config.host} port {port}: {_why(error)}") from None
        if with_tls is not None:
            ports["tls_port"] = with_tls
        return ports

    def _status(self, path: str) -> tuple[int, bytes]:
        """Answer /healthz and /readyz on the charge points' ports, for load balancers."""
        if path == HEALTH:
            return 200, b'{"status":"ok"}'
        return 200 if self._readiness.ready else 503, orjson.dumps(self._readiness.as_json())

    async def _serve(self, admin: AdminServer | None, ports: dict[str, Acceptor]) -> None:
        config = self._config
        fields: dict[str, object] = {"host": config.host, **{name: each.port for name, each in ports.items()}}
        if admin is not None:
            fields |= {"admin_host": config.admin_host, "admin_port": admin.port}
        # First of all lines, whatever is logged by those that connect.
        self._tell("listening", {**fields, "store": self._store.name})
        # To the very end, and so none of the tasks that end before the last words.
        watching = asyncio.create_task(self._watch_each_other())
        tasks = [
            asyncio.create_task(self._settings.keep_up(partial(self._trouble, "settings"))),
            asyncio.create_task(self._flush_for_ever()),
            asyncio.create_task(self._fleet.prime()),
            asyncio.create_task(self._forget_for_ever()),
            asyncio.create_task(self._records.run()),
        ]
        if self._central.seconds_per_slot:
            tasks.append(asyncio.create_task(_ping_for_ever(self._central)))
        journal = asyncio.create_task(self._journal.run())
        serving = None if admin is None else asyncio.create_task(admin.serve())
        await self._stopping.wait()
        self._readiness.fail("draining", "the process was told to stop")
        self._central.is_closing = True
        await drain(self._central, rate=config.drain_rate, delay=config.drain_delay, hurry=self._hurry)
        end_within(PATIENCE)
        for task in tasks:
            task.cancel()
        for each in ports.values():
            each.close()
        self._security.close()
        if self._passwords is not None:
            await self._passwords.close()
        if self._desk is not None:
            self._desk.close()
        if admin is not None and serving is not None:
            admin.stop()
            if not (await asyncio.wait([serving], timeout=_LAST_WORDS))[0]:
                serving.cancel()
        await self._keep_the_rest(journal)
        await self._cluster.close()
        await self._say_goodbye()
        watching.cancel()

    async def _keep_the_rest(self, journal: asyncio.Task[None]) -> None:
        with contextlib.suppress(TimeoutError, StoreFailed):
            async with asyncio.timeout(_LAST_WORDS):
                await self._journal.settle()
                await self._records.flush()
        journal.cancel()

    async def _say_goodbye(self) -> None:
        self._lifecycle.flush(time.monotonic(), final=True)
        try:
            ledger: object = await self._store.read(books.sums)
        except StoreFailed as failed:
            ledger = {"error": failed.reason}
        self._tell("stopped", {**self._metrics.snapshot(), "transactions": ledger})

    def _tell(self, event: str, fields: dict[str, object]) -> None:
        """Write a line of the whole central system; one of several processes leaves that to their parent."""
        if self._parent is None:
            write_line({"event": event, **fields})
        else:
            self._parent.send(Hub.NAME, orjson.dumps({"event": event, "number": self._number, "fields": fields}))

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    # -- what goes on meanwhile ---------------------------------------------------------------

    def _say_alive(self, silent_for: float) -> None:
        """Tell the parent, if there is one, that this process lives, and for how many seconds it may be silent now."""
        if self._parent is not None:
            self._tell("alive", {"silent_for": silent_for})

    async def _watch_each_other(self) -> None:
        """Say again and again that this process lives; the first one of a host looks who does not answer."""
        if self._parent is None:
            return
        looking: asyncio.Task[None] | None = None
        try:
            while True:
                self._say_alive(0)
                if self._number == 0 and (looking is None or looking.done()):
                    looking = asyncio.create_task(self._look())
                await asyncio.sleep(_ALIVE_INTERVAL)
        finally:
            if looking is not None:
                looking.cancel()

    async def _look(self) -> None:
        silent = await self._neighbours.look()
        if silent:
            self._readiness.fail("processes", f"no answer of {', '.join(sorted(silent))}")
        else:
            self._readiness.mend("processes")

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_INTERVAL)
            self._lifecycle.flush(time.monotonic())

    async def _forget_for_ever(self) -> None:
        keep = self._config.keep_transactions
        if self._store.name == MEMORY:
            keep = min(keep, _MOST_IN_MEMORY)
        work = partial(book.forget, keep_ended=keep)
        while True:
            await asyncio.sleep(_FORGET_INTERVAL)
            with contextlib.suppress(StoreFailed):
                while await self._store.write(work):  # noqa: ASYNC110  others write in between
                    await asyncio.sleep(0.05)

    async def _collect(self) -> list[State]:
        if self._parent is None:
            return [self._metrics.state()]
        answers = await self._neighbours.ask_briefly("metrics", {})
        return [cast("State", answer) for answer in answers.values()]

    async def _answer_metrics(self, _body: Body) -> AsyncIterator[Body]:
        yield {**self._metrics.state()}

    def _bus_changed(self, trouble: str | None) -> None:
        self._condition("bus", trouble)
        self._cluster.bus_changed(trouble)
        if trouble is None:
            # What was changed here meanwhile, the others have not heard.
            self._cluster.tell("settings", {})

    def _condition(self, condition: str, trouble: str | None) -> None:
        if trouble is None:
            self._readiness.mend(condition)
            write_line({"event": condition, "status": "well again"})
        else:
            self._readiness.fail(condition, "it fails: see the log")
            write_line({"event": condition, "status": "fails", "why": trouble})

    def _not_written(self, failed: StoreFailed) -> None:
        if failed.is_down:
            self._journal.suspect(failed.reason)
        else:
            self._trouble("records", failed.reason)

    def _trouble(self, what: str, why: str) -> None:
        self._lifecycle.write("not kept", time.monotonic(), what=what, why=why)

    def _not_understood(self, why: str) -> None:
        self._metrics.events["messages of the bus not understood"] += 1
        self._lifecycle.write("not understood", time.monotonic(), what="a message of the bus", why=why)

    def _fault(self, question: str, fault: Exception) -> None:
        self._lifecycle.write("fault", time.monotonic(), question=question, error=repr(fault))


async def _patiently(attempt: Callable[[], Awaitable[None]], failure: type[StoreFailed | BusFailed], what: str) -> None:
    """Make an attempt until it succeeds: what it needs may be starting at the same time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    has_said = False
    while True:
        try:
            await attempt()
        except failure as failed:
            if loop.time() >= deadline:
                raise Mistake(f"{what} cannot be reached: {failed}") from None
            if not has_said:
                write_line({"event": "waiting", "for": what, "why": str(failed)})
                has_said = True
            await asyncio.sleep(0.5)
        else:
            return


async def _ping_for_ever(central: CentralSystem) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        # Behind by more than a turn, it goes on from now: no catching up in a burst.
        due = max(due + central.seconds_per_slot, loop.time())
        await asyncio.sleep(due - loop.time())
        central.ping_next()


def _why(error: Exception) -> str:
    # UnicodeError: what cannot be a name at all, such as one with a part of 70 characters.
    return getattr(error, "strerror", None) or "not a host name"
