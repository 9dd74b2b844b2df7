"""Recall: the history before the question, and the promise that nobody else writes until the answer is appended."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Self

import orjson

from config import SessionsSettings
from gateway.domain import Asked, Caller, Endpoint, History, JsonObject, SessionId
from gateway.errors import InvalidRequest, SessionBusy, StoreDown
from gateway.sessions.records import stored_message
from gateway.sessions.store import Leased, SessionStore
from gateway.telemetry.logging import get_logger

_RETRY_WAIT_SECONDS = 0.05


class Recall:
    """One request's hold on its session, until it is exited; without a session it holds nothing and does nothing."""

    def __init__(self, store: SessionStore, caller: Caller, leased: Leased | None, renew_seconds: float = 10.0) -> None:
        self._store = store
        self._caller = caller
        self._leased = leased
        self._renewing = None if leased is None else asyncio.create_task(self._keep_renewed(renew_seconds))
        self.open = leased is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self.release()

    @property
    def session_id(self) -> SessionId | None:
        """The session's id, None without one."""
        return self._leased.record.id if self._leased else None

    @property
    def history(self) -> History:
        """What was said before, the session's system prompt first."""
        if self._leased is None:
            return History()
        system = self._leased.record.system
        first: tuple[JsonObject, ...] = ({"role": "system", "content": system},) if system else ()
        said = ({"role": item["role"], "content": item["content"]} for item in self._leased.messages)
        return History(self._leased.record.id, (*first, *said))

    async def append(self, asked: Sequence[JsonObject], answer: str, finish_reason: str | None) -> None:
        """Append question and answer and give the session back, all in one step.

        Raises StoreDown if that cannot be done, also where the lease was lost: the caller must not say that it was.
        """
        if self._leased is None or not self.open:
            return
        now = int(time.time())
        messages = [stored_message(item["role"], item["content"], now, None) for item in asked]
        messages.append(stored_message("assistant", answer, now, finish_reason))
        if not await self._store.append(self._caller, self._leased, messages):
            self.open = False
            raise StoreDown("The session was taken over or deleted meanwhile; this answer was not saved.")
        self.open = False

    def release(self) -> None:
        """Give the session back with nothing appended. Never waits."""
        if self._leased is not None and self.open:
            self.open = False
            self._store.release(self._caller, self._leased.record.id, self._leased.token)

    async def _keep_renewed(self, every_seconds: float) -> None:
        """Renew the lease until cancelled; a round that fails is tried again at the next."""
        while self._leased is not None and self.open:
            await asyncio.sleep(every_seconds)
            try:
                await self._store.renew(self._caller, self._leased)
            except StoreDown:
                get_logger().warning("session_lease_not_renewed", session_id=self.session_id)


class SessionRoom:
    """Finds the session a request is about."""

    def __init__(self, store: SessionStore, settings: SessionsSettings) -> None:
        self._store = store
        self._settings = settings

    async def recall(self, caller: Caller, asked: Asked) -> Recall:
        """Return a hold on the asked session; the caller enters it and so owns it.

        Raises SessionNotFound, SessionBusy, InvalidRequest, StoreDown, with nothing held.
        """
        if asked.session_id is None or asked.endpoint is not Endpoint.CHAT:
            return Recall(self._store, caller, None)
        leased = await self._lease(caller, SessionId(asked.session_id))
        try:
            self._check_room(leased, asked)
        except InvalidRequest:
            self._store.release(caller, leased.record.id, leased.token)
            raise
        return Recall(self._store, caller, leased, self._settings.lease_seconds / 3)

    async def _lease(self, caller: Caller, session_id: SessionId) -> Leased:
        deadline = time.monotonic() + self._settings.busy_wait_seconds
        token = secrets.token_hex(16)
        while True:
            try:
                reply = await self._store.lease(caller, session_id, token)
            except asyncio.CancelledError:
                # Redis may grant it all the same, when nobody is here any more to give it back.
                self._store.release(caller, session_id, token)
                raise
            if isinstance(reply, Leased):
                return reply
            if time.monotonic() >= deadline:
                raise SessionBusy("Another message to this session is being answered.", retry_after_ms=1000)
            await asyncio.sleep(_RETRY_WAIT_SECONDS)

    def _check_room(self, leased: Leased, asked: Asked) -> None:
        new = asked.body["messages"]
        if leased.record.message_count + len(new) + 1 > self._settings.max_messages:
            raise InvalidRequest(
                f"The session may hold at most {self._settings.max_messages} messages.",
                param="messages",
                code="session_full",
            )
        size = leased.record.bytes + sum(len(orjson.dumps(item["content"])) for item in new)
        if size > self._settings.max_bytes:
            raise InvalidRequest(
                f"The session may hold at most {self._settings.max_bytes} bytes.", param="messages", code="session_full"
            )
