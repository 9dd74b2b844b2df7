"""The Store: one pipelined connection to Redis, one breaker, and what Redis's errors mean.

redis-py reads the URL and names the errors; `connection` does the sending.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redis.asyncio.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import NoScriptError, ResponseError

from config import RedisSettings
from gateway.domain import Clock
from gateway.errors import StoreDown
from gateway.store.address import Address, Listener, Patience, Who
from gateway.store.breaker import Breaker
from gateway.store.command import Unusable, away, pack
from gateway.store.connection import Connection
from gateway.store.scripts import Script
from gateway.telemetry.metrics import Metrics

Argument = str | bytes | int | float
StoreRefused = ResponseError
"""What a call raises that Redis itself will not do: a fault in a script, a key of another kind."""

_UNWRITABLE = ("OOM ", "READONLY ", "MISCONF ", "MASTERDOWN ", "NOREPLICAS ", "BUSY ")
_UNWRITABLE_IN_SCRIPT = ("-OOM ", "-READONLY ", "MISCONF ")
"""How Redis, and a script's error, tell that it answers but takes no data: full, a replica, or unable to persist."""


class Loading(Unusable):
    """Redis has been started and reads its data."""


class NotAllowed(Unusable):
    """Redis wants other credentials, or has too many clients."""


_UNUSABLE = {
    "LOADING ": Loading,
    "NOAUTH ": NotAllowed,
    "WRONGPASS ": NotAllowed,
    "DENIED ": NotAllowed,
    "ERR max number of clients": NotAllowed,
}


class Store:
    """Redis as the rooms see it. Every call ends within the time-out or raises StoreDown."""

    def __init__(
        self, address: Address, settings: RedisSettings, metrics: Metrics, clock: Clock = time.monotonic
    ) -> None:
        self._address = address
        self._patience = Patience(settings.connect_timeout_seconds, settings.timeout_seconds)
        self._listener = Listener(self._answered, self._lost, _error)
        self._breaker = Breaker(settings.breaker_seconds, clock)
        self._metrics = metrics
        self._connection: Connection | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last call was answered."""
        return self._breaker.closed

    async def call(self, *command: Argument) -> Any:
        """Run one command. Raises StoreDown, or RedisError if Redis itself refuses the command."""
        return _value(await self._send(command))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Run a script, loading it where Redis does not know it (a restart forgets them)."""
        tail = (len(keys), *keys, *arguments)
        reply = await self._send_script(script, tail)
        try:
            if isinstance(reply, NoScriptError):
                reply = await self._send(("EVAL", script.text, *tail))
            return _value(reply)
        finally:
            del reply  # An error whose traceback leads to itself is for the garbage collector only.

    def post(self, *command: Argument) -> None:
        """Run a command and forget its answer: for what is good to have and no reason to wait."""
        if self._breaker.closed:
            self._send(command)

    def post_script(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        lost: Callable[[], object] | None = None,
    ) -> None:
        """Run a script and wait for nothing. `lost` is called, once, where Redis may not have run it.

        While Redis is away this may be the call that finds it back.
        """
        tail = (len(keys), *keys, *arguments)
        try:
            reply = self._send_script(script, tail)
        except StoreDown:
            if lost is not None:
                lost()
        else:
            reply.add_done_callback(partial(self._posted, script, tail, lost))

    def _posted(
        self,
        script: Script,
        tail: tuple[Argument, ...],
        lost: Callable[[], object] | None,
        reply: asyncio.Future[Any],
    ) -> None:
        """See what became of a posted script; send it in full where Redis has forgotten it."""
        error = reply.result()
        if isinstance(error, NoScriptError) and self._breaker.closed:
            resent = self._send(("EVAL", script.text, *tail))
            resent.add_done_callback(partial(self._posted, script, tail, lost))
        elif isinstance(error, (StoreDown, NoScriptError)) and lost is not None:
            lost()

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
        """Send what is pending, then close the connection."""
        if self._connection is not None:
            await self._connection.aclose()

    def _send(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        # Packed first, so that what cannot be sent fails its own caller and is nobody's try.
        packed = pack(command)
        return self._connected().send(packed)

    def _send_script(self, script: Script, tail: tuple[Argument, ...]) -> asyncio.Future[Any]:
        """Send it by its digest; the first time on a connection in full, which loads it for all that come after."""
        connection = self._connected()
        if script.sha in connection.scripts:
            return connection.send(pack(("EVALSHA", script.sha, *tail)))
        packed = pack(("EVAL", script.text, *tail))
        connection.scripts.add(script.sha)
        return connection.send(packed)

    def _connected(self) -> Connection:
        """Return the connection, a new one where the last is lost. With a cluster this is where a node is chosen."""
        if not self._breaker.allows():
            raise away(sent=False)
        if self._connection is None or self._connection.closed:
            self._connection = Connection(self._address, self._patience, self._listener)
        return self._connection

    def _answered(self) -> None:
        self._breaker.succeeded()
        self._metrics.redis_up.set(1)

    def _lost(self, error: Exception) -> None:
        self._breaker.failed()
        self._metrics.redis_failed(type(error).__name__)


def _value(reply: Any) -> Any:
    """Return a reply, raise an error."""
    try:
        if isinstance(reply, Exception):
            raise reply
        return reply
    finally:
        del reply


def _error(text: str) -> Exception:
    """Return what an error reply is for the caller."""
    for mark, unusable in _UNUSABLE.items():
        if text.startswith(mark):
            return unusable(text)
    if text.startswith(_UNWRITABLE) or any(mark in text for mark in _UNWRITABLE_IN_SCRIPT):
        return away()
    return NoScriptError(text) if text.startswith("NOSCRIPT ") else ResponseError(text)


def _address(url: str) -> Address:
    """Return what the URL says. Raises ValueError for one that says nothing."""
    pool = ConnectionPool.from_url(url)
    parsed: Any = pool.connection_class(**pool.connection_kwargs)
    who = Who(parsed.username or "", parsed.password or "", int(parsed.db), parsed.client_name or "")
    if isinstance(parsed, UnixDomainSocketConnection):
        return Address(who, path=parsed.path)
    tls = parsed.ssl_context.get() if isinstance(parsed, SSLConnection) else None
    return Address(who, parsed.host, int(parsed.port), tls=tls)


def open_store(settings: RedisSettings, metrics: Metrics) -> Store:
    """Return a Store for `settings.url`; no connection is made yet. The caller owns it and must aclose() it."""
    return Store(_address(settings.url.get_secret_value()), settings, metrics)
