"""One connection pool to Redis, one breaker, and calls of the same loop turn in one pipeline.

A lone EVALSHA costs about 150 µs of CPU in redis-py, one in a pipeline of 32 about 24 µs, so requests that reach Redis
in the same turn of the event loop share a round trip.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from config import RedisSettings
from gateway.domain import Clock
from gateway.errors import StoreDown
from gateway.store.breaker import Breaker
from gateway.store.scripts import Script
from gateway.telemetry.metrics import Metrics

Argument = str | bytes | int | float
_Call = tuple[list[bytes], "asyncio.Future[Any]"]

_MAX_BATCH = 256
_UNWRITABLE = ("-OOM ", "-READONLY ", "MISCONF ")
"""How a script's error tells that Redis answers but takes no data: full, a replica, or unable to persist."""


class Store:
    """Redis as the rooms see it. Every call ends within the time-out or raises StoreDown."""

    def __init__(self, client: Redis, settings: RedisSettings, metrics: Metrics, clock: Clock = time.monotonic) -> None:
        self._client = client
        self._timeout_seconds = settings.timeout_seconds + settings.connect_timeout_seconds
        self._breaker = Breaker(settings.breaker_seconds, clock)
        self._metrics = metrics
        self._pending: list[_Call] = []
        self._flushing: asyncio.Task[None] | None = None
        # Asked for once: finding the running loop is a system call in Python 3.11.
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last call was answered."""
        return self._breaker.closed

    async def call(self, *command: Argument) -> Any:
        """Run one command. Raises StoreDown, or RedisError if Redis itself refuses the command."""
        return await self._enqueue(command)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script, loading it first where Redis does not know it (a restart forgets them)."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        try:
            return await self._enqueue(command)
        except NoScriptError:
            return await self._enqueue(("EVAL", script.text, len(keys), *keys, *arguments))

    def post(self, *command: Argument) -> None:
        """Run a command and forget its answer: for what is good to have and no reason to wait."""
        if self._breaker.closed:
            self._enqueue(command).add_done_callback(_retrieve)

    async def ping(self) -> float:
        """Return the seconds one PING takes. Raises StoreDown."""
        started = time.perf_counter()
        await self.call("PING")
        return time.perf_counter() - started

    async def info(self) -> dict[str, str]:
        """Return the `INFO server` section. Raises StoreDown."""
        lines = (await self.call("INFO", "server")).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def aclose(self) -> None:
        """Send what is pending, then close every connection."""
        if self._flushing is not None:
            await asyncio.gather(self._flushing, return_exceptions=True)
        await self._client.aclose()

    def _enqueue(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        # Encoded here, so that what cannot be sent fails its own caller and not the batch.
        encoded = [_encoded(argument) for argument in command]
        loop = self._loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._breaker.allows():
            future.set_exception(_away())
            return future
        self._pending.append((encoded, future))
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        return future

    async def _flush(self) -> None:
        """Send batches until none is pending. A task of its own, so that a caller's cancellation touches no other."""
        try:
            while self._pending:
                batch, self._pending = self._pending[:_MAX_BATCH], self._pending[_MAX_BATCH:]
                await self._send(batch)
        finally:
            self._flushing = None

    async def _send(self, batch: list[_Call]) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                pipeline = self._client.pipeline(transaction=False)
                for command, _ in batch:
                    pipeline.execute_command(*command)
                replies = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as error:
            self._breaker.failed()
            self._metrics.redis_failed(type(error).__name__)
            # Who came meanwhile would only find out the same, one time-out later.
            lost, self._pending = batch + self._pending, []
            for _, future in lost:
                if not future.done():
                    future.set_exception(_away())
            return
        self._breaker.succeeded()
        self._metrics.redis_up.set(1)
        for (_, future), reply in zip(batch, replies, strict=True):
            _resolve(future, reply)


def _resolve(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, ResponseError) and not _is_unwritable(reply):
        future.set_exception(reply)
    elif isinstance(reply, Exception):
        future.set_exception(_away())
    else:
        future.set_result(reply)


def _is_unwritable(error: ResponseError) -> bool:
    if isinstance(error, ReadOnlyError | OutOfMemoryError):
        return True
    text = str(error)
    return any(mark in text for mark in _UNWRITABLE)


def _encoded(argument: Argument) -> bytes:
    return argument if isinstance(argument, bytes) else str(argument).encode()


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Mark a posted call's failure as seen; the metric has counted it."""
    if not future.cancelled():
        future.exception()


def _away() -> StoreDown:
    return StoreDown("The session and limit store is not reachable right now.", retry_after_ms=1000)


def open_store(settings: RedisSettings, metrics: Metrics) -> Store:
    """Return a Store for `settings.url`; no connection is made yet. The caller owns it and must aclose() it."""
    client = Redis.from_url(
        settings.url.get_secret_value(),
        socket_timeout=settings.timeout_seconds,
        socket_connect_timeout=settings.connect_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        protocol=2,
    )
    # Replies as Redis sends them: redis-py's own shaping costs time and differs between commands and scripts.
    client.response_callbacks.clear()
    return Store(client, settings, metrics)
