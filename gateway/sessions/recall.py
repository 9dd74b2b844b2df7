"""Recall: the history before the question, and the promise that nobody else writes until the answer is appended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Self

from gateway.domain import Caller, History, JsonObject, SessionId
from gateway.errors import InvalidRequest, StoreDown
from gateway.sessions.leases import Addition, Leased, Leases
from gateway.sessions.line import Line
from gateway.sessions.messages import Message, new_message
from gateway.telemetry.metrics import Metrics


class Recall:
    """One request's hold on its session, until it is exited; without a session it holds nothing and does nothing."""

    __slots__ = ("_caller", "_keep", "_leased", "_leases", "_line", "_metrics", "_timer", "_window", "open")

    def __init__(self, leases: Leases, line: Line, metrics: Metrics, caller: Caller, leased: Leased | None) -> None:
        self._leases = leases
        self._line = line
        self._metrics = metrics
        self._caller = caller
        self._leased = leased
        self._window: tuple[Message, ...] = leased.messages if leased else ()
        self._keep: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.open = leased is not None
        """Whether the session is held and nothing was appended yet."""

    def __enter__(self) -> Self:
        self._renew_later()
        return self

    def __exit__(self, *_: object) -> None:
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
        system = self._leased.record.content.system
        first: tuple[JsonObject, ...] = ({"role": "system", "content": system},) if system else ()
        said = (each.said for each in (*self._leased.pinned, *self._window))
        return History(self._leased.record.id, (*first, *said))

    def forget_last_answer(self) -> None:
        """Have the last question answered anew; the answer there is replaced when the new one is appended.

        Raises InvalidRequest where there is no question.
        """
        questions = len(self._window)
        while questions and self._window[questions - 1].role not in ("user", "tool"):
            questions -= 1
        if self._leased is None or not questions:
            raise InvalidRequest("There is no question in this session to answer again.", code="nothing_to_regenerate")
        self._keep = self._leased.record.cut + questions
        self._window = self._window[:questions]

    async def append(self, asked: Sequence[JsonObject], answer: JsonObject, finish_reason: str | None) -> None:
        """Append question and answer and give the session back, all in one step.

        Raises StoreDown if that cannot be done, also where the lease was lost: the caller must not say that it was.
        """
        if self._leased is None or not self.open:
            return
        await self.change(self._addition(self._leased, asked, answer, finish_reason))

    async def change(self, addition: Addition) -> None:
        """Change the session and give it back, all in one step. Raises StoreDown as append() does."""
        if self._leased is None or not self.open:
            return
        try:
            changed = await self._leases.append(self._caller, self._leased, addition)
        except StoreDown:
            self.release()
            raise
        self._end()
        if not changed:
            self._metrics.session_conflicts.labels("lost").inc()
            raise StoreDown("The session was taken over or deleted meanwhile; nothing was saved.")

    def keep_partial(self, asked: Sequence[JsonObject], answer: JsonObject, finish_reason: str) -> None:
        """Append a question and what came of its answer, and give the session back, without waiting."""
        if self._leased is not None and self.open:
            addition = self._addition(self._leased, asked, answer, finish_reason)
            self._leases.post_append(self._caller, self._leased, addition)
            self._end()

    def release(self) -> None:
        """Give the session back with nothing appended. Never waits."""
        if self._leased is not None and self.open:
            self._leases.release(self._caller, self._leased.record.id, self._leased.token)
            self._end()

    def _addition(
        self, leased: Leased, asked: Sequence[JsonObject], answer: JsonObject, finish_reason: str | None
    ) -> Addition:
        now = int(time.time())
        messages = [new_message(each, now) for each in asked]
        messages.append(new_message(answer, now, finish_reason))
        self._metrics.session_bytes.inc(sum(map(len, messages)))
        dropped = leased.messages[len(self._window) :] if self._keep is not None else ()
        return Addition(
            messages=messages,
            keep=self._keep,
            kept_bytes=leased.record.bytes - sum(each.bytes for each in dropped),
            cut=leased.record.cut,
            pinned=leased.record.pinned,
        )

    def _end(self) -> None:
        """Note that the session is let go; who waits for it here may try now."""
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
        if self._leased is not None:
            self._line.wake(self._caller, self._leased.record.id)

    def _renew_later(self) -> None:
        if self._leased is not None and self.open:
            after_seconds = self._leases.milliseconds / 3000
            self._timer = asyncio.get_running_loop().call_later(after_seconds, self._renew)

    def _renew(self) -> None:
        """Renew the lease; a round that fails is tried again at the next."""
        if self._leased is not None and self.open:
            self._leases.renew(self._caller, self._leased)
            self._renew_later()
