"""Where records are kept: SQLite in this process, in memory or in a file, or a PostgreSQL that many share.

Work is a plain function of a SQLAlchemy connection. For SQLite it runs in a thread, for PostgreSQL in the event
loop, on asyncpg; it need not know which.
"""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from server.tables import METADATA

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
Work = Callable[[Connection], T]

DEFAULT: Final = "sqlite:///central-system.db"
MEMORY: Final = "memory"

_TIMEOUT: Final = 5.0
"""Seconds after which a commit that does not come back has failed."""
_BUSY_TIMEOUT: Final = 4.0
"""Seconds that SQLite waits for another process to finish writing."""
_READERS: Final = 2
_SHARED_READERS: Final = 3
"""Connections to PostgreSQL that look things up."""
_WRITERS: Final = 2
"""Connections to PostgreSQL that write: however much is looked up, what charge points wait for is kept."""
MAX_WAITING: Final = 2000
"""Look-ups that may wait for a connection to PostgreSQL; more are refused at once."""
_MIGRATION_TIMEOUT: Final = 3600.0
"""Seconds for all of a migration: an index of many million transactions takes minutes, and replicas wait for it."""
_MIGRATION_LOCK: Final = 0x616D7073
_OPTIONS: Final = frozenset(
    {"host", "passfile", "port", "prepared_statement_cache_size", "ssl", "target_session_attrs"}
)
"""What may stand behind the ? of a PostgreSQL: what asyncpg takes as a text, and SQLAlchemy turns into a number."""
_UNREACHABLE: Final = ("57P", "08", "53")
"""Classes of PostgreSQL's errors that say something about the server and not about what was asked of it."""


class BadStore(ValueError):  # noqa: N818  one line for whoever starts the process
    """A store that cannot be used as it was named."""


class StoreFailed(Exception):  # noqa: N818  what happened, and mostly not a fault of the program
    """The store did not keep or tell something.

    Args:
        reason: one line, without what was to be kept.
        is_down: whether the store itself is in trouble; else what was to be kept is at fault.
        conflict: whether another process wrote the same at the same time, and a second try is worth it.
        is_lost: whether the connection to it was lost, and another one may do.
    """

    def __init__(self, reason: str, *, is_down: bool, conflict: bool = False, is_lost: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_down = is_down
        self.conflict = conflict
        self.is_lost = is_lost


def check_url(store: str) -> URL | None:
    """Return what `--store` names; `None` for memory.

    Raises:
        BadStore: with one line, which does not show a password.
    """
    if store == MEMORY:
        return None
    wanted = f"{MEMORY}, sqlite:///FILE or postgresql+asyncpg://USER@HOST/DATABASE"
    try:
        url = make_url(store)
    except (ArgumentError, ValueError):
        raise BadStore(f"it is none of: {wanted}") from None
    if url.drivername not in {"sqlite", "postgresql+asyncpg"}:
        raise BadStore(f"{url.drivername!r} is none of: {wanted}")
    if not url.database:
        raise BadStore(f"it names no {'file' if url.drivername == 'sqlite' else 'database'}; write {wanted}")
    if url.drivername == "sqlite" and (url.host or url.query or url.database.startswith((":", "file:"))):
        raise BadStore("a SQLite store is sqlite:///FILE, and no more")
    if not url.query.keys() <= _OPTIONS:
        raise BadStore(f"behind its ? may stand {', '.join(sorted(_OPTIONS))}, and no more")
    if url.port is not None and not 0 < url.port < 2**16:
        raise BadStore(f"{url.port} is no port")
    return url


def shown(store: str) -> str:
    """Return `--store` for a log: without its password."""
    url = check_url(store)
    return MEMORY if url is None else url.render_as_string(hide_password=True)


class Store(ABC):
    """A database. What `write` returned for is kept, whatever happens to this process then."""

    name: str
    """For a log and for people; without a password."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, and bring the tables up to date.

        Raises:
            BadStore: it cannot be used; nothing will change that but the operator.
            StoreFailed: it cannot be reached now.
        """

    @abstractmethod
    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction of its own; return what it returned once that is committed.

        Raises:
            StoreFailed: it is not committed, or not known to be.
        """

    @abstractmethod
    async def read(self, work: Work[T]) -> T:
        """Run `work`, which writes nothing; return what it returned.

        Raises:
            StoreFailed: there is no answer.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of all connections."""


def open_store(store: str) -> Store:
    """Return the store that `--store` names, not opened yet.

    Raises:
        BadStore: it names none.
    """
    url = check_url(store)
    return _Sqlite(url) if url is None or url.drivername == "sqlite" else _Postgres(url)


_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_NEWEST: Final = max(each.name[1:5] for each in (_MIGRATIONS / "versions").glob("v*.py"))
"""The version of the tables that this program needs: `v0001_….py` makes version 0001."""


def _is_newest(connection: Connection) -> bool:
    return _version(connection) == _NEWEST


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Replicas that start together wait here for the first of them.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    if _is_newest(connection):
        return
    # Here, because it takes a fifth of the time of a start, and most starts have nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        # Such as a database that a newer release has been at.
        raise BadStore(f"its tables are not of a version that is known here: {error}") from None


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return version


class _Sqlite(Store):
    def __init__(self, url: URL | None) -> None:
        self._url = url
        self.name = MEMORY if url is None else url.render_as_string()
        self._folder = None if url is None or url.database is None else Path(url.database).absolute().parent
        # One writes, others read beside it, which the write-ahead log allows. In memory there is one
        # connection, which can do but one thing at a time.
        self._writer = ThreadPoolExecutor(1, "store-writer")
        self._readers = self._writer if url is None else ThreadPoolExecutor(_READERS, "store-reader")
        self._engine = _engine(url)
        self._writing = self._engine.execution_options(is_writing=True)

    async def open(self) -> None:
        if self._folder is not None and not await asyncio.to_thread(self._folder.is_dir):
            raise BadStore(f"{self._folder} is not a folder")
        try:
            # What is in memory is made anew each time: a test holds tables and migrations together.
            if self._url is None:
                await self.write(METADATA.create_all)
            elif not await self.read(_is_newest):
                await self._migrate(self._url)
        except (BadStore, StoreFailed) as failed:
            raise BadStore(f"{self.name}: {failed}") from None

    async def _migrate(self, url: URL) -> None:
        """Bring the tables up to date, or wait until another process has."""
        engine = _engine(url, busy_timeout=_MIGRATION_TIMEOUT)
        writing = engine.execution_options(is_writing=True)
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._in_transaction, writing, _migrate)
        finally:
            engine.dispose()

    async def write(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._in_transaction, self._writing, work)

    async def read(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._in_transaction, self._engine, work)

    async def close(self) -> None:
        for executor in {self._writer, self._readers}:
            await asyncio.to_thread(executor.shutdown)
        self._engine.dispose()

    def _in_transaction(self, engine: Any, work: Work[T]) -> T:  # noqa: ANN401  an Engine with options is none for mypy
        try:
            with engine.begin() as connection:
                return work(connection)
        except SQLAlchemyError as error:
            raise _failed(error) from None


def _engine(url: URL | None, *, busy_timeout: float = _BUSY_TIMEOUT) -> Engine:
    """Return what makes connections to a file, or (`None`) to one SQLite in memory."""
    if url is None:
        engine = create_engine(
            "sqlite://",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
            insertmanyvalues_page_size=500,
        )
    else:
        engine = create_engine(
            url,
            pool_size=_READERS + 1,
            connect_args={"check_same_thread": False, "timeout": busy_timeout},
        )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions begin where `_begin` says so, and not where the driver guesses.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: what is committed is on the disk, and outlives the host's power as well as this process.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY", "cache_size=-65536"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes then could be refused in between; one that says at once
    # that it will write waits for its turn.
    is_writing = connection.get_execution_options().get("is_writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


class _Postgres(Store):
    def __init__(self, url: URL) -> None:
        self._url = url
        self.name = url.render_as_string(hide_password=True)
        try:
            self._writing = _pool(url, _WRITERS)
            self._reading = _pool(url, _SHARED_READERS)
        except (ArgumentError, TypeError, ValueError):
            raise BadStore(_WRONG_OPTION) from None
        self._readers = asyncio.Semaphore(_SHARED_READERS)
        self._waiting = 0

    async def open(self) -> None:
        try:
            if not await self.read(_is_newest):
                await self._migrate()
        except BadStore as bad:
            raise BadStore(f"{self.name}: {bad}") from None
        except StoreFailed as failed:
            if failed.is_down:
                raise
            raise BadStore(f"{self.name}: {failed.reason}") from None
        except (TypeError, ValueError):
            # From asyncpg, which looks at its arguments only now.
            raise BadStore(f"{self.name}: {_WRONG_OPTION}") from None

    async def _migrate(self) -> None:
        """Bring the tables up to date, or wait until another replica has."""
        engine = _pool(self._url, 1, command_timeout=_MIGRATION_TIMEOUT)
        try:
            await _in_time(engine, _migrate, _MIGRATION_TIMEOUT)
        finally:
            await engine.dispose()

    async def write(self, work: Work[T]) -> T:
        return await _in_time(self._writing, work)

    async def read(self, work: Work[T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise StoreFailed("too many look-ups wait for it", is_down=False)
        self._waiting += 1
        try:
            async with self._readers:
                try:
                    return await _in_time(self._reading, work)
                except StoreFailed as failed:
                    if not failed.is_lost:
                        raise
                # It was one from before the server started again; the pool has let go of all these now.
                return await _in_time(self._reading, work)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        await self._writing.dispose()
        await self._reading.dispose()


_WRONG_OPTION: Final = "its host, or what stands behind its ?, cannot be used"


def _pool(url: URL, size: int, *, command_timeout: float = _TIMEOUT) -> AsyncEngine:
    # Here, because it brings all of SQLAlchemy's ORM, which nobody uses: a twentieth of the time of a start.
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

    return create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=_TIMEOUT,
        # asyncpg's own limits: a server that does not answer must not hold a charge point for ever.
        connect_args={"timeout": _TIMEOUT, "command_timeout": command_timeout},
    )


async def _in_time(engine: AsyncEngine, work: Work[T], seconds: float = 2 * _TIMEOUT) -> T:
    try:
        async with asyncio.timeout(seconds), engine.begin() as connection:
            return await connection.run_sync(work)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        raise _failed(error) from None


def _failed(error: Exception) -> StoreFailed:
    if isinstance(error, DBAPIError):
        cause = error.orig
        # Not str(error): it has the statement and its parameters, which may be anybody's.
        reason = (str(cause).splitlines() or [""])[0].split(": ", 1)[-1][:200] or type(cause).__name__
        state = getattr(cause, "sqlstate", None)
        if isinstance(error, IntegrityError) or state in {"40001", "40P01"}:
            return StoreFailed(reason, is_down=False, conflict=True)
        if isinstance(cause, sqlite3.Error):
            return StoreFailed(reason, is_down=isinstance(cause, sqlite3.OperationalError))
        is_down = state is None or state.startswith(_UNREACHABLE)
        return StoreFailed(reason, is_down=is_down, is_lost=error.connection_invalidated)
    if isinstance(error, PoolTimeoutError | TimeoutError):
        return StoreFailed("no answer in time", is_down=True)
    if isinstance(error, OSError):
        return StoreFailed(error.strerror or str(error) or type(error).__name__, is_down=True)
    return StoreFailed(type(error).__name__, is_down=False)
