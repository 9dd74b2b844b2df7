"""The Store: a pipelined connection and a breaker for each Redis it talks to, and what Redis's errors mean.

With one Redis that is one. In a cluster a node names another for what is not its own (MOVED, ASK): the Store goes
there, and from then on at once, as every call is about the slot of its first key:
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#redirection-and-resharding.

redis-py reads the URL and names the errors; `connection` does the sending.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.crc import key_slot
from redis.exceptions import ResponseError

from config import RedisSettings
from gateway.domain import Clock
from gateway.store.address import Address, Who
from gateway.store.command import Argument, Unusable, away, pack
from gateway.store.node import Node, Redirect, redirect_of
from gateway.store.posted import Posted
from gateway.store.scripts import NotLoaded, Prepared, Script
from gateway.store.sentinel import NotMaster, Sentinels
from gateway.telemetry.logging import get_logger
from gateway.telemetry.metrics import Metrics

StoreRefused = ResponseError
"""What a call raises that Redis itself will not do: a fault in a script, a key of another kind."""

_UNWRITABLE = ("OOM ", "MISCONF ", "NOREPLICAS ", "BUSY ", "TRYAGAIN ", "CLUSTERDOWN ")
_UNWRITABLE_IN_SCRIPT = ("-OOM ", "MISCONF ")
"""How Redis, and a script's error, tell that it answers but takes no data: full, or unable to persist."""
_REPLICA = ("READONLY ", "MASTERDOWN ")
_REPLICA_IN_SCRIPT = "-READONLY "
"""How they tell that it is a replica."""

_MAX_REDIRECTS = 5
_ASKING = pack(("ASKING",))


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
        sentinels = _sentinels(address, settings)
        self._open_node = partial(
            Node, settings=settings, metrics=metrics, error=_error, clock=clock, sentinels=sentinels
        )
        self._home = self._open_node(address)
        self._nodes = {(address.host, address.port): self._home}
        self._owners: dict[int, Node] = {}
        self._metrics = metrics
        self._logger = get_logger()

    @property
    def healthy(self) -> bool:
        """Whether the last call was answered, by each Redis that is still asked.

        A node of a cluster whose slots are another's by now may never come back, and nobody misses it.
        """
        if not self._owners:
            return self._home.breaker.closed
        return not any(node.breaker.missed for node in self._nodes.values())

    async def call(self, *command: Argument) -> Any:
        """Run one command. Raises StoreDown, or RedisError if Redis itself refuses the command."""
        # Packed first, so that what cannot be sent fails its own caller and is nobody's try.
        packed = pack(command)
        reply = await self._node_of(_key_of(command)).connected().send(packed)
        if isinstance(reply, Redirect):
            reply = await self._follow(reply, packed)
        return _value(reply)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Coroutine[Any, Any, Any]:
        """Run a script, loading it where Redis does not know it (a restart forgets them)."""
        return self._run(script, keys[0] if keys else "", script.packed(keys, arguments))

    def run_prepared(self, call: Prepared, last: tuple[Argument, ...]) -> Coroutine[Any, Any, Any]:
        """Run a script likewise."""
        return self._run(call.script, call.keys[0], call.packed(last))

    def post(self, *command: Argument, lost: Callable[[], object] | None = None) -> None:
        """Run a command and forget its answer: for what is good to have and no reason to wait.

        `lost` is called, once, where Redis may not have run it.
        """
        node = self._node_of(_key_of(command))
        if node.breaker.closed:
            Posted(self, node, pack(command), None, lost).send()
        elif lost is not None:
            lost()

    def post_script(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> None:
        """Run a script and wait for nothing. While Redis is away this may be the call that finds it back."""
        node = self._node_of(keys[0] if keys else "")
        Posted(self, node, script.packed(keys, arguments), script, None).send()

    def post_prepared(self, call: Prepared, last: tuple[Argument, ...], lost: Callable[[], object]) -> None:
        """Run a script likewise. `lost` is called, once, where Redis may not have run it."""
        Posted(self, self._node_of(call.keys[0]), call.packed(last), call.script, lost).send()

    async def ping(self) -> float:
        """Return the seconds one PING takes. Raises StoreDown."""
        started = time.perf_counter()
        await self.call("PING")
        return time.perf_counter() - started

    async def info(self, section: str = "server") -> dict[str, str]:
        """Return a section of INFO. Raises StoreDown."""
        lines = (await self.call("INFO", section)).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def aclose(self) -> None:
        """Send what is pending, then close the connections."""
        for node in self._nodes.values():
            await node.aclose()

    def _node_of(self, key: str) -> Node:
        """Return whom to ask about a key. While its owner is away, another: it may know of a new owner.

        Where all are away, that is the owner and the address of the settings by turns: a cluster that was restarted as
        a whole may have none of the old addresses, and the one of the settings may be a name.
        """
        if not self._owners:
            return self._home
        owner = self._owners.get(key_slot(key.encode()), self._home)
        if owner.breaker.closed:
            return owner
        closed = next((node for node in self._nodes.values() if node.breaker.closed), None)
        return closed or min(owner, self._home, key=lambda node: node.breaker.open_until)

    async def _run(self, script: Script, key: str, packed: bytes) -> Any:
        node = self._node_of(key)
        reply = await node.send_script(script, packed)
        if not isinstance(reply, Exception):
            return reply
        try:
            if isinstance(reply, NotLoaded):
                reply = await node.connected().send(script.in_full(packed))
            if isinstance(reply, Redirect):
                reply = await self._follow(reply, script.in_full(packed))
            return _value(reply)
        finally:
            del reply  # An error whose traceback leads to itself is for the garbage collector only.

    async def _follow(self, redirect: Redirect, packed: bytes) -> Any:
        for _ in range(_MAX_REDIRECTS):
            reply = await self.redirected(redirect).connected().send(packed)
            if not isinstance(reply, Redirect):
                return reply
            redirect = reply
        return away()

    def refused(self, error: Exception) -> None:
        """Note that Redis will not do what was posted, such as a script that fails: nobody else is told."""
        self._metrics.redis_refused.inc()
        self._logger.warning("redis_refused", error=str(error))

    def redirected(self, redirect: Redirect) -> Node:
        """Return the node that was named, to be asked at once. A slot that has moved is asked for there from now on.

        Raises StoreDown.
        """
        host = redirect.host or self._home.address.host
        place = (host, redirect.port)
        node = self._nodes.get(place)
        if node is None:
            address = replace(self._home.address, host=host, port=redirect.port, path="")
            node = self._nodes[place] = self._open_node(address)
        if redirect.asks:
            node.connected().send(_ASKING)
        else:
            self._owners[redirect.slot] = node
        return node


def _key_of(command: tuple[Argument, ...]) -> str:
    """Return the key that a command is about, which all of ours have first; any text for one without a key."""
    return str(command[1]) if len(command) > 1 else ""


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
    if text.startswith(_REPLICA) or _REPLICA_IN_SCRIPT in text:
        # Left, since the same address, or the Sentinels, may name another by now: a failover closes no connection.
        return NotMaster(text)
    if text.startswith(_UNWRITABLE) or any(mark in text for mark in _UNWRITABLE_IN_SCRIPT):
        return away()
    if text.startswith(("MOVED ", "ASK ")):
        return redirect_of(text)
    return NotLoaded(text) if text.startswith("NOSCRIPT ") else ResponseError(text)


def _sentinels(address: Address, settings: RedisSettings) -> Sentinels | None:
    """Return whom to ask for the master that the URL names; None where it leads to Redis itself."""
    if not settings.sentinels:
        return None
    split = (place.rpartition(":") for place in settings.sentinels)
    places = tuple((host.strip("[]"), int(port)) for host, _, port in split)
    # Read here, since a parsed host is in lower case, and Sentinels tell names by case.
    master = urlsplit(settings.url.get_secret_value()).netloc.rpartition("@")[2].partition(":")[0]
    password = settings.sentinel_password.get_secret_value()
    return Sentinels(places, master, password, address.tls, settings.connect_timeout_seconds / 2)


def _address(url: str, password: str) -> Address:
    """Return what the URL says, with a password where it has none. Raises ValueError for a URL that says nothing."""
    pool = ConnectionPool.from_url(url)
    parsed: Any = pool.connection_class(**pool.connection_kwargs)
    who = Who(parsed.username or "", parsed.password or password, int(parsed.db), parsed.client_name or "")
    if isinstance(parsed, UnixDomainSocketConnection):
        return Address(who, path=parsed.path)
    tls = parsed.ssl_context.get() if isinstance(parsed, SSLConnection) else None
    return Address(who, parsed.host, int(parsed.port), tls=tls)


def open_store(settings: RedisSettings, metrics: Metrics) -> Store:
    """Return a Store for `settings.url`; no connection is made yet. The caller owns it and must aclose() it."""
    address = _address(settings.url.get_secret_value(), settings.password.get_secret_value())
    return Store(address, settings, metrics)
