"""Recall: the history before the question, and the promise that nobody else writes until the answer is appended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Self

from gateway.domain import NO_HISTORY, Caller, History, JsonObject, SessionId
from gateway.errors import InvalidRequest, StoreDown
from gateway.sessions.leases import Addition, Leased, Leases, later
from gateway.sessions.line import Line
from gateway.sessions.messages import Message, new_message
from gateway.sessions.trim import cut_of, staying, turn_tokens
from gateway.telemetry.metrics import Metrics


class Recall:
    """One request's hold on its session, until it is exited; without a session it holds nothing and does nothing."""

    __slots__ = (
        "_before_tokens", "_caller", "_cut", "_cut_tokens", "_keep", "_leased", "_leases", "_line", "_metrics",
        "_pinned", "_timer", "_told", "_window", "open",
    )  # fmt: skip

    def __init__(
        self,
        leases: Leases,
        line: Line,
        metrics: Metrics,
        caller: Caller,
        leased: Leased | None,
        told: Callable[[], bool],
    ) -> None:
        self._leases = leases
        self._line = line
        self._metrics = metrics
        self._caller = caller
        self._leased = leased
        self._told = told
        self._window: tuple[Message, ...] = leased.messages if leased else ()
        self._pinned: tuple[Message, ...] = leased.pinned if leased else ()
        self._cut = leased.record.cut if leased else 0
        self._cut_tokens = leased.record.cut_tokens if leased else 0
        self._before_tokens = leased.record.context_tokens if leased else 0
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
            return NO_HISTORY
        system = self._leased.record.content.system
        first: tuple[JsonObject, ...] = ({"role": "system", "content": system},) if system else ()
        said = (each.said for each in (*self._pinned, *self._window))
        counted_tokens = self._before_tokens if self._window and self._keep is None else 0
        trimmed = self._cut - len(self._pinned)
        return History(self._leased.record.id, (*first, *said), counted_tokens, trimmed, self._cut_tokens)

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

    def trim(self, excess_tokens: int) -> bool:
        """Leave out the oldest turns, at least `excess_tokens` of them. False if there is nothing more to leave out.

        The session keeps all its messages. Where it is cut is kept with the answer, so that the next turn's prompt
        begins as this one's.
        """
        count = cut_of(self._window, excess_tokens)
        if not count:
            return False
        gone = self._window[:count]
        stay = staying(gone)
        self._pinned += tuple(gone[index] for index in stay)
        self._window = self._window[count:]
        gone_tokens = turn_tokens(gone)
        self._before_tokens = max(0, self._before_tokens - gone_tokens)
        self._cut_tokens += gone_tokens
        self._cut += count
        self._metrics.session_trims.inc()
        return True

    async def append(
        self, asked: Sequence[JsonObject], answer: JsonObject, finish_reason: str | None, context_tokens: int = 0
    ) -> None:
        """Append question and answer and give the session back, all in one step.

        `context_tokens` are those of prompt and answer together, 0 where the engine has not told.
        Raises StoreDown if that cannot be done, also where the lease was lost: the caller must not say that it was.
        Where Redis was lost meanwhile it may have been done all the same.
        """
        if self._leased is None or not self.open:
            return
        await self.change(self._addition(self._leased, asked, answer, finish_reason, context_tokens))

    async def change(self, addition: Addition) -> None:
        """Change the session and give it back, all in one step. Raises StoreDown as append() does."""
        leased = self._leased
        if leased is None or not self.open:
            return
        try:
            changed = await self._leases.append(self._caller, leased, addition)
        except StoreDown as down:
            told = self._told()
            self.release()
            if down.sent:
                # Redis may have it, and may not: where it has, the lease is gone, else it is given back later.
                later(partial(self._give_back, leased, told))
            raise
        self._end()
        if not changed:
            self._metrics.session_conflicts.labels("lost").inc()
            raise StoreDown("The session was taken over or deleted meanwhile; nothing was saved.")

    def keep_partial(
        self, asked: Sequence[JsonObject], answer: JsonObject, finish_reason: str, context_tokens: int = 0
    ) -> None:
        """Append a question and what came of its answer, and give the session back, without waiting."""
        if self._leased is not None and self.open:
            addition = self._addition(self._leased, asked, answer, finish_reason, context_tokens)
            self._leases.post_append(self._caller, self._leased, addition)
            self._end()

    def release(self) -> None:
        """Give the session back with nothing appended. Never waits."""
        if self._leased is not None and self.open:
            self._give_back(self._leased, self._told())
            self._end()

    def _give_back(self, leased: Leased, told: bool) -> None:
        if leased.made:
            self._leases.leave(self._caller, leased, told=told)
        else:
            self._leases.release(self._caller, leased.record.id, leased.token)

    def _addition(
        self,
        leased: Leased,
        asked: Sequence[JsonObject],
        answer: JsonObject,
        finish_reason: str | None,
        context_tokens: int,
    ) -> Addition:
        now = int(time.time())
        turn = max(0, context_tokens - self._before_tokens) if self._before_tokens or not self._window else 0
        messages = [new_message(each, now) for each in asked]
        messages.append(new_message(answer, now, finish_reason, turn))
        self._metrics.session_bytes.inc(sum(map(len, messages)))
        replaced = leased.messages[self._keep - leased.record.cut :] if self._keep is not None else ()
        stay = staying(leased.messages[: self._cut - leased.record.cut])
        return Addition(
            messages=messages,
            keep=self._keep,
            kept_bytes=leased.record.bytes - sum(each.bytes for each in replaced),
            cut=self._cut,
            cut_tokens=self._cut_tokens,
            pinned=(*leased.record.pinned, *(leased.record.cut + index for index in stay)),
            context_tokens=context_tokens,
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
