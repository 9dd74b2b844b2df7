"""Kept responses in Redis: each is written once, with what was new in it, and names the one before it.

So a row of responses is never copied: whoever goes on from one reads it back to its beginning, and two may go on from
the same. What a user has not used for longest is forgotten first.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

import orjson

from config import ResponsesSettings
from gateway.domain import Caller, JsonObject
from gateway.errors import InvalidRequest, NotFound, StoreDown
from gateway.store import Cipher, Store, keys, load_script
from gateway.telemetry.metrics import Metrics

_CHAIN = load_script("gateway.responses", "chain.lua")
_KEEP = load_script("gateway.responses", "keep.lua")
_DELETE = load_script("gateway.responses", "delete.lua")
_ID = re.compile("resp_[0-9a-f]{1,64}")
_LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Row:
    """What was said up to a response, from the beginning."""

    items: tuple[JsonObject, ...] = ()
    turns: int = 0
    bytes: int = 0
    """As it is kept."""


NO_ROW = Row()


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """One response and what was asked for it."""

    response: JsonObject
    input: tuple[JsonObject, ...]


class ResponseStore:
    """Every method raises StoreDown while Redis is away."""

    def __init__(self, store: Store, settings: ResponsesSettings, cipher: Cipher, metrics: Metrics) -> None:
        self._store = store
        self._settings = settings
        self._cipher = cipher
        self._metrics = metrics
        self._full = False
        self._looked = -_LOOK_SECONDS

    @property
    def takes_more(self) -> bool:
        """Whether Redis answered when it was last asked, and had room for responses when that was last looked at."""
        return self._store.healthy and not self._full

    async def row(self, caller: Caller, response_id: str) -> Row:
        """Return what was said up to a response of the caller's. All of it is in use from now on.

        Raises InvalidRequest where there is no such response, or one before it is gone.
        """
        kept: list[Any] = [0, response_id.encode()]
        if _ID.fullmatch(response_id):
            arguments: list[str | int] = [self._prefix(caller), response_id, caller.user, _now_ms()]
            arguments.append(self._settings.ttl_seconds)
            kept = await self._store.run(_CHAIN, self._keys(caller, response_id), arguments)
        if not kept[0]:
            raise _no_previous(response_id, kept[1].decode())
        _, size, turns, found = kept
        items = [item for newest in range(len(found) - 2, -1, -2) for item in self._items(caller, found, newest)]
        return Row(tuple(items), int(turns), int(size))

    def check_room(self, row: Row, new_bytes: int) -> None:
        """Raise InvalidRequest where one more response, to a request of so many bytes, would be too much."""
        if row.turns >= self._settings.max_turns:
            raise _full(f"At most {self._settings.max_turns} responses may go on from one another.")
        if row.bytes + new_bytes > self._settings.max_bytes:
            raise _full(f"What is kept of a conversation may have at most {self._settings.max_bytes} bytes.")

    async def keep(self, caller: Caller, kept: KeptResponse, row: Row) -> None:
        """Keep a response, which goes on from `row`. Raises StoreDown also where there is no room in Redis."""
        await self._check_redis()
        response_id = kept.response["id"]
        shown = {name: value for name, value in kept.response.items() if name != "output"}
        sealed = {
            "input": self._sealed(caller, kept.input),
            "output": self._sealed(caller, kept.response["output"]),
            "response": self._sealed(caller, shown),
        }
        own_bytes = sum(map(len, sealed.values()))
        fields: dict[str, str | int | bytes] = {
            "user": caller.user,
            "previous": kept.response["previous_response_id"] or "",
            "turns": row.turns + 1,
            "all_bytes": row.bytes + own_bytes,
            **sealed,
        }
        settings = self._settings
        most_bytes = settings.max_bytes_per_user
        arguments: list[str | int | bytes] = [self._prefix(caller), response_id, _now_ms(), settings.ttl_seconds]
        arguments += [most_bytes, own_bytes, *(each for field in fields.items() for each in field)]
        gone = await self._store.run(_KEEP, self._keys(caller, response_id), arguments)
        self._metrics.responses_kept.inc()
        self._metrics.responses_evicted.inc(gone)

    async def _check_redis(self) -> None:
        """Raise StoreDown where Redis is nearly full: what is kept unasked must not take sessions and limits with it.

        Where Redis makes room by itself, it may be as full as it likes. Looked at every five seconds.
        """
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            memory = await self._store.info("memory")
            most_bytes = int(memory.get("maxmemory", 0)) * self._settings.max_redis_use
            keeps_all = memory.get("maxmemory_policy") == "noeviction"
            self._full = keeps_all and 0 < most_bytes < int(memory.get("used_memory", 0))
        if self._full:
            raise StoreDown("Responses cannot be kept right now: Redis is nearly full.")

    async def read(self, caller: Caller, response_id: str) -> KeptResponse:
        """Return a response of the caller's. Raises NotFound."""
        sealed: list[Any] = [None]
        if _ID.fullmatch(response_id):
            key = keys.response(caller.tenant, response_id)
            sealed = await self._store.call("HMGET", key, "user", "input", "output", "response")
        if sealed[0] != caller.user.encode():
            raise _not_found(response_id)
        given, output, shown = (orjson.loads(self._cipher.open(each, caller.tenant)) for each in sealed[1:])
        return KeptResponse({**shown, "output": output}, tuple(given))

    async def delete(self, caller: Caller, response_id: str) -> None:
        """Delete a response: nothing can go on from it, nor from those that did. Raises NotFound."""
        arguments = [response_id, caller.user]
        if not _ID.fullmatch(response_id) or not await self._store.run(
            _DELETE, self._keys(caller, response_id), arguments
        ):
            raise _not_found(response_id)

    def _items(self, caller: Caller, found: list[bytes], index: int) -> list[JsonObject]:
        said: list[JsonObject] = []
        for sealed in found[index : index + 2]:
            said += orjson.loads(self._cipher.open(sealed, caller.tenant))
        return said

    def _sealed(self, caller: Caller, value: Any) -> bytes:
        return self._cipher.seal(orjson.dumps(value), caller.tenant)

    def _keys(self, caller: Caller, response_id: str) -> list[str]:
        tenant, user = caller.tenant, caller.user
        index, sizes = keys.responses_of(tenant, user), keys.response_sizes(tenant, user)
        return [keys.response(tenant, response_id), index, sizes]

    def _prefix(self, caller: Caller) -> str:
        return keys.response(caller.tenant, "")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _no_previous(asked: str, missing: str) -> InvalidRequest:
    if asked == missing:
        problem = f"Previous response with id '{asked}' not found."
    else:
        problem = f"Previous response with id '{asked}' goes on from '{missing}', which is gone."
    return InvalidRequest(problem, param="previous_response_id", code="previous_response_not_found")


def _not_found(response_id: str) -> NotFound:
    return NotFound(f"Response with id '{response_id}' not found.", param="response_id")


def _full(problem: str) -> InvalidRequest:
    return InvalidRequest(problem, param="previous_response_id", code="conversation_full")
