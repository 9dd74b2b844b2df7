"""Keeps one child running: starts it again when it ends, until a budget is used up."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gateway.domain import Clock
from gateway.stack.child import Child, ChildSpec, describe

PERMANENT = 3
"""The exit code of a child that would fail the same way again (as uvicorn's STARTUP_FAILURE)."""

_LARGEST_WAIT_SECONDS = 10.0


class RestartBudget:
    """At most `restarts` within `window_seconds`, each after twice the wait of the one before. Pure but for its clock.

    A child that has run for a whole window starts again from the shortest wait.
    """

    def __init__(
        self,
        restarts: int = 5,
        window_seconds: float = 300.0,
        first_wait_seconds: float = 0.5,
        clock: Clock = time.monotonic,
    ) -> None:
        self.restarts = restarts
        self.window_seconds = window_seconds
        self._first_wait_seconds = first_wait_seconds
        self._clock = clock
        self._spent: deque[float] = deque()

    def spend(self) -> float | None:
        """Return how long to wait before the next start, None where none is left."""
        now = self._clock()
        while self._spent and now - self._spent[0] >= self.window_seconds:
            self._spent.popleft()
        if len(self._spent) >= self.restarts:
            return None
        wait = min(self._first_wait_seconds * 2.0 ** len(self._spent), _LARGEST_WAIT_SECONDS)
        self._spent.append(now)
        return wait


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Why a child will not be started again, and what `serve` then exits with."""

    sentence: str
    exit_code: int


class Keeper:
    """Owns one child from its first start to its stop. `say` takes one sentence for the operator."""

    def __init__(self, spec: ChildSpec, budget: RestartBudget, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.child: Child | None = None
        self._budget = budget
        self._say = say

    async def keep(self) -> GaveUp:
        """Run the child, again and again. Return when that has no use; cancelling leaves the child running."""
        while True:
            self.child = await Child.start(self.spec)
            code = await self.child.wait()
            if code == PERMANENT:
                return GaveUp(self._with_log(f"The {self.spec.name} cannot run:"), PERMANENT)
            wait_seconds = self._budget.spend()
            if wait_seconds is None:
                return GaveUp(self._with_log(f"The {self.spec.name} keeps ending ({describe(code)}):"), 1)
            self._say(
                f"The {self.spec.name} ended ({describe(code)}); it starts again in {wait_seconds:g} s."
                + (f" Its log is {self.spec.log}." if self.spec.log else "")
            )
            await asyncio.sleep(wait_seconds)

    async def stop(self) -> None:
        """End the child if it runs. `keep` must have been cancelled before."""
        if self.child is not None and not await self.child.stop():
            self._say(f"The {self.spec.name} did not end within {self.spec.stop_seconds:g} s and was killed.")

    def kill(self) -> None:
        """End the child now."""
        if self.child is not None:
            self.child.kill()

    def _with_log(self, sentence: str) -> str:
        if self.spec.log is None:
            return sentence
        lines = self.child.last_lines() if self.child else []
        return "\n".join([sentence, *(f"  {line}" for line in lines), f"  (from {self.spec.log})"])
