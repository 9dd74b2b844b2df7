"""Finds the session that a request is about, and waits a moment for it where another request holds it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import orjson

from config import SessionsSettings
from gateway.domain import NEW_SESSION, Asked, Caller, Endpoint, JsonObject, SessionId
from gateway.errors import InvalidRequest, SessionBusy, StoreDown
from gateway.sessions.leases import Addition, Busy, Leased, Leases, later
from gateway.sessions.line import Line
from gateway.sessions.recall import Recall
from gateway.sessions.store import NewSession, SessionStore, place_of
from gateway.telemetry.metrics import Metrics

_BUSY_RETRY_MS = 1000
_FIRST_TRY_SECONDS = 0.05
_RAREST_TRY_SECONDS = 0.4

_NO_CALLER = Caller("", "")


def _nobody() -> bool:
    return False


class SessionRoom:
    """One for a gateway process: it knows who waits here for which session."""

    def __init__(self, sessions: SessionStore, leases: Leases, settings: SessionsSettings, metrics: Metrics) -> None:
        self._sessions = sessions
        self._leases = leases
        self._settings = settings
        self._metrics = metrics
        self._line = Line(settings.max_waiting_per_tenant)
        # One for all requests without a session: it holds nothing, so that nothing of one can be left in it.
        self._without = Recall(leases, self._line, metrics, _NO_CALLER, None, _nobody)
        metrics.sessions_waiting.set_function(lambda: self._line.waiting)

    async def recall(self, caller: Caller, asked: Asked, told: Callable[[], bool] = _nobody) -> Recall:
        """Return a hold on the asked session; the caller enters it and so owns it.

        One that is made for the request and gets no message is gone again at the end, unless the client was `told` of
        it. Raises SessionNotFound, SessionBusy, InvalidRequest, StoreDown, with nothing held.
        """
        if asked.session_id is None or asked.endpoint is not Endpoint.CHAT:
            return self._without
        if asked.session_id == NEW_SESSION:
            leased = await self._made(caller, asked)
        else:
            leased = await self._lease(caller, SessionId(asked.session_id))
        recall = self._hold(caller, leased, told)
        try:
            self._check_room(leased, asked)
            if asked.regenerate:
                recall.forget_last_answer()
        except BaseException:
            recall.release()
            raise
        return recall

    async def forget(self, caller: Caller, session_id: SessionId, since: str | None) -> int:
        """Delete a message and all after it, or all messages; return how many.

        It is a write like any other: it waits for one under way. Raises what recall() raises.
        """
        leased = await self._lease(caller, session_id, whole=True)
        try:
            keep = 0 if since is None else place_of(list(leased.messages), since, "from")
        except BaseException:
            self._hold(caller, leased).release()
            raise
        kept, record = leased.messages[:keep], leased.record
        cut = record.cut if record.cut < keep else 0
        pinned = record.pinned if cut else ()
        addition = Addition(
            keep=keep,
            kept_bytes=sum(each.bytes for each in kept),
            cut=cut,
            cut_tokens=record.cut_tokens if cut else 0,
            pinned=pinned,
        )
        await self._hold(caller, leased).change(addition)
        return len(leased.messages) - keep

    def _hold(self, caller: Caller, leased: Leased, told: Callable[[], bool] = _nobody) -> Recall:
        return Recall(self._leases, self._line, self._metrics, caller, leased, told)

    async def _made(self, caller: Caller, asked: Asked) -> Leased:
        token = secrets.token_hex(16)
        new = NewSession(model=asked.model)
        record = await self._sessions.create(caller, new, (token, self._leases.milliseconds))
        return Leased(record, (), token, made=True)

    async def _lease(self, caller: Caller, session_id: SessionId, *, whole: bool = False) -> Leased:
        token = secrets.token_hex(16)
        if self._line.is_empty(caller, session_id):
            reply = await self._try(caller, session_id, token, whole=whole)
            if isinstance(reply, Leased):
                return reply
        started = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._settings.busy_wait_seconds):
                return await self._wait(caller, session_id, token, whole=whole)
        except SessionBusy:
            self._metrics.session_conflicts.labels("line_full").inc()
            raise
        except TimeoutError:
            self._metrics.session_conflicts.labels("busy").inc()
            raise SessionBusy(
                "Another message to this session is being answered.", retry_after_ms=_BUSY_RETRY_MS
            ) from None
        finally:
            self._metrics.session_wait.observe(asyncio.get_running_loop().time() - started)

    async def _wait(self, caller: Caller, session_id: SessionId, token: str, *, whole: bool) -> Leased:
        """Return the lease once it is this one's turn and the session is free; cancelled when it takes too long."""
        pause_seconds = _FIRST_TRY_SECONDS
        with self._line.joined(caller, session_id) as turn:
            while True:
                first = self._line.is_first(caller, session_id, turn)
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_seconds if first else None):
                        await turn.wait()
                turn.clear()
                reply = await self._try(caller, session_id, token, whole=whole)
                if isinstance(reply, Leased):
                    return reply
                pause_seconds = min(2 * pause_seconds, _RAREST_TRY_SECONDS)

    async def _try(self, caller: Caller, session_id: SessionId, token: str, *, whole: bool) -> Leased | Busy:
        try:
            return await self._leases.take(caller, session_id, token, whole=whole)
        except asyncio.CancelledError:
            # Redis may grant it all the same, when nobody is here any more to give it back.
            self._leases.release(caller, session_id, token)
            self._line.wake(caller, session_id)
            raise
        except StoreDown as down:
            if down.sent:
                # Likewise, and to give it back now would reach nobody.
                later(partial(self._leases.release, caller, session_id, token))
            raise

    def _check_room(self, leased: Leased, asked: Asked) -> None:
        new = asked.body["messages"]
        if leased.record.message_count + len(new) + 1 > self._settings.max_messages:
            raise InvalidRequest(
                f"The session may hold at most {self._settings.max_messages} messages.",
                param="messages",
                code="session_full",
            )
        if leased.record.bytes + _bytes_of(new) > self._settings.max_bytes:
            raise InvalidRequest(
                f"The session may hold at most {self._settings.max_bytes} bytes.", param="messages", code="session_full"
            )


def _bytes_of(new: Sequence[JsonObject]) -> int:
    """Return how many bytes the messages take. Raises InvalidRequest."""
    try:
        # In a list more, as an export has them one level deeper: what is kept can be given back.
        return len(orjson.dumps([new])) - 2
    except orjson.JSONEncodeError:
        # What can be read may still be nested too deeply to be written.
        raise InvalidRequest("The body is nested too deeply.", param="messages", code="invalid_json") from None
