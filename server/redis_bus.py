"""A bus over Redis: the central systems of many hosts. The only module that knows redis.

Messages go by publish and subscribe: one channel for all, one for each process, named by the system and the number of
the database, so that many systems can use one Redis. Who is there is a sorted set of
names by the time at which each was seen last, on Redis' own clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from server.bus import BadBus, Bus, BusFailed

_PREFIX: Final = "ampswarm"
_BEAT_INTERVAL: Final = 1.0
_GONE_AFTER: Final = 5.0
"""Seconds without a sign of life after which a process is there no more."""
_TIMEOUT: Final = 3.0
_RETRY_INTERVAL: Final = 1.0
_MAX_UNSENT: Final = 10_000
"""Messages that may wait for a slow Redis; the oldest are lost first."""
_MAX_AT_ONCE: Final = 500
_ANSWERS: Final = 10

# One step, so that no two processes see another list: say that this one lives, forget the dead, tell who is there.
_BEAT: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
return {time[1], time[2], redis.call('ZRANGE', KEYS[1], 0, -1)}
"""


def check_url(url: str) -> None:
    """Look at `--bus`.

    Raises:
        BadBus: with one line, which does not show a password.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"redis", "rediss"} and bool(parts.hostname) and parts.port != 0
        is_good = is_good and re.fullmatch(r"/?\d{0,9}", parts.path) is not None
    except ValueError:
        is_good = False
    if not is_good:
        raise BadBus("it is not redis://HOST:PORT/DATABASE")
    try:
        # Not connected: this is how redis says whether it knows all that stands behind the ?.
        ConnectionPool.from_url(url).make_connection()
    except (TypeError, ValueError, RedisError):
        raise BadBus("what stands behind its ? is not an option of redis, or not a value of it") from None


class Difference:
    """By how much another clock is ahead of this host's, from questions for its time.

    The quickest of the last answers counts: it can be wrong by half the time that it took, and no more.
    """

    def __init__(self) -> None:
        self._answers: deque[tuple[float, float]] = deque(maxlen=_ANSWERS)

    def add(self, asked: float, theirs: float, answered: float) -> None:
        """Take an answer: seconds since 1970 when it was asked for and when it came, here, and what it was."""
        self._answers.append((answered - asked, theirs - (asked + answered) / 2))

    @property
    def ahead(self) -> float:
        """Seconds; 0 before there was an answer."""
        return min(self._answers, default=(0.0, 0.0))[1]


class RedisBus(Bus):
    """A process's way to the others.

    Args:
        node: this process.
        url: `redis://…` or `rediss://…`.
    """

    def __init__(self, node: str, url: str) -> None:
        super().__init__(node)
        check_url(url)
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}"
        """For a log; without a password."""
        # Retries are made here, where it is known what has to be said again.
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=Retry(NoBackoff(), 0)
        )
        database = self._redis.connection_pool.connection_kwargs.get("db", 0)
        self._database = str(database)
        self._prefix = ""
        self._members = frozenset({node})
        self._difference = Difference()
        self._unsent: deque[tuple[str, bytes]] = deque(maxlen=_MAX_UNSENT)
        self._to_send = asyncio.Event()
        # Each goes on for ever, whatever fault it meets with: one that ended would leave this process deaf or dumb, and
        # nobody would notice. What it meets with is trouble, and shows in readiness.
        self._tasks: list[asyncio.Task[None]] = []
        # What each of the tasks has met with last: they use connections of their own, which fail and mend apart.
        self._troubles: dict[str, str] = {}
        self._well_since = float("-inf")
        """Seconds, on the loop's clock: when the bus has failed last, or become well again."""

    @property
    def members(self) -> frozenset[str]:
        """Return who is there now."""
        return self._members

    async def open(self) -> None:
        """Join."""
        # Channels are the same in all databases of a Redis: their names tell systems apart.
        self._prefix = f"{_PREFIX}:{self.system}:{self._database}"
        try:
            pubsub = await self._subscribe()
            await self._beat()
        except (AuthenticationError, ResponseError) as error:
            raise BadBus(f"{self.name}: {_line(error)}") from None
        except (RedisError, OSError, TimeoutError) as error:
            raise BusFailed(f"{self.name}: {_line(error)}") from None
        self._tasks = [
            asyncio.create_task(self._listen(pubsub)),
            asyncio.create_task(self._send_all()),
            asyncio.create_task(self._beat_for_ever()),
        ]

    def publish(self, message: bytes) -> None:
        """Send a message to all."""
        self._put(f"{self._prefix}:all", message)

    def send(self, node: str, message: bytes) -> None:
        """Send a message to one process."""
        if node == self.node:
            asyncio.get_running_loop().call_soon(self.receive, message)
        else:
            self._put(f"{self._prefix}:to:{node}", message)

    async def close(self) -> None:
        """Leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                await self._publish_waiting()
                await self._redis.zrem(f"{self._prefix}:members", self.node)
        await self._redis.aclose()

    def _put(self, channel: str, message: bytes) -> None:
        if self._troubles:
            return
        self._unsent.append((channel, message))
        self._to_send.set()

    async def _subscribe(self) -> PubSub:
        pubsub: PubSub = self._redis.pubsub(ignore_subscribe_messages=False)
        await pubsub.subscribe(f"{self._prefix}:all", f"{self._prefix}:to:{self.node}")
        # Until Redis has said so, messages would be missed.
        for _ in range(2):
            await pubsub.get_message(timeout=_TIMEOUT)
        return pubsub

    async def _listen(self, pubsub: PubSub) -> None:
        while True:
            try:
                while True:
                    message: dict[str, Any] | None = await pubsub.get_message(
                        ignore_subscribe_messages=True, timeout=None
                    )
                    if message is not None:
                        self.receive(message["data"])
            except Exception as error:  # noqa: BLE001  as in `_tasks`
                self._say("listening", _line(error))
            pubsub = await self._subscribe_again(pubsub)
            self._say("listening", None)

    async def _subscribe_again(self, old: PubSub) -> PubSub:
        while True:
            with contextlib.suppress(Exception):
                await old.aclose()
            try:
                # The others of the pool were cut off as well, and would fail when they are used next.
                await self._redis.connection_pool.disconnect(inuse_connections=False)
                return await self._subscribe()
            except Exception:  # noqa: BLE001  as in `_tasks`
                await asyncio.sleep(_RETRY_INTERVAL)

    async def _send_all(self) -> None:
        while True:
            await self._to_send.wait()
            try:
                await self._publish_waiting()
                self._say("sending", None)
            except Exception as error:  # noqa: BLE001  as in `_tasks`
                self._say("sending", _line(error))
                await asyncio.sleep(_RETRY_INTERVAL)

    async def _publish_waiting(self) -> None:
        while self._unsent:
            group = [self._unsent[index] for index in range(min(_MAX_AT_ONCE, len(self._unsent)))]
            pipeline = self._redis.pipeline(transaction=False)
            for channel, message in group:
                pipeline.publish(channel, message)
            await pipeline.execute()
            for each in group:
                # The oldest may have been lost meanwhile.
                if self._unsent and self._unsent[0] is each:
                    self._unsent.popleft()
        self._to_send.clear()

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_INTERVAL)
            try:
                await self._beat()
                self._say("beating", None)
            except Exception as error:  # noqa: BLE001  as in `_tasks`
                self._say("beating", _line(error))

    async def _beat(self) -> None:
        asked = time.time()
        seconds, microseconds, names = await self._redis.eval(
            _BEAT, 1, f"{self._prefix}:members", self.node, str(_GONE_AFTER)
        )
        self._difference.add(asked, int(seconds) + int(microseconds) / 1e6, time.time())
        self.ahead = self._difference.ahead
        members = frozenset(name.decode() for name in names)
        if asyncio.get_running_loop().time() - self._well_since < _GONE_AFTER:
            # A Redis that has started again knows only those who have said so since.
            members |= self._members
        if members != self._members:
            self._members = members
            self.members_changed()

    def _say(self, task: str, trouble: str | None) -> None:
        had_trouble = bool(self._troubles)
        if trouble is None:
            self._troubles.pop(task, None)
        else:
            self._troubles[task] = trouble
            # News would be old by the time they could be sent, and contradict what was said since.
            self._unsent.clear()
        if had_trouble != bool(self._troubles):
            self._well_since = asyncio.get_running_loop().time()
            self.changed(trouble)


def _line(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
