"""Carries out what the engine's life (`life.py`) asks for: starts, looks, kills, waits, and tells the status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import structlog

from engine.life import Do, Life, Phase, Rules, began, exited, looked, not_started, stop_asked, ticked
from engine.probe import Reading

_POLL_SECONDS = 1.0
"""A look costs vLLM's HTTP process about 5 ms; one that is not ready has them to spare and is looked at more often."""


class Process(Protocol):
    """A started engine, as `engine.process.EngineProcess` is one."""

    @property
    def pid(self) -> int:
        """Its process id."""

    async def wait(self) -> int:
        """Return its exit code once it has ended and nothing of it is left."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it with all it started."""


class Supervisor:
    """One engine, kept running until stop() is called or starting it again has no point."""

    def __init__(
        self,
        rules: Rules,
        start: Callable[[], Awaitable[Process]],
        look: Callable[[], Awaitable[Reading]],
        *,
        clock: Callable[[], float] = time.monotonic,
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._rules = rules
        self._start = start
        self._look = look
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._stop = asyncio.Event()
        self._logger = structlog.get_logger()
        self.life = Life()
        self.process: Process | None = None

    @property
    def phase_seconds(self) -> float:
        """How long the present phase has lasted."""
        return self._clock() - self.life.since

    @property
    def recent_restarts(self) -> int:
        """How many restarts count against the budget now."""
        return len(self._rules.policy.recent(self.life.restarts, self._clock()))

    def stop(self) -> None:
        """Ask the engine to drain and end; run() returns when it has. Safe in a signal handler of the loop."""
        self._stop.set()

    async def run(self) -> int:
        """Keep the engine running. Returns the exit code: 0 after stop(), 3 where a restart has no point, else 1."""
        do = Do.START
        while do is not Do.LEAVE:
            if do is Do.START:
                do = await self._live_once()
            else:
                do = await self._between_lives()
        return self.life.exit_code or 0

    async def _live_once(self) -> Do:
        """Start a child and stay with it to its end. Whatever happens here, it is not left running."""
        try:
            self.process = process = await self._start()
        except OSError as error:
            return self._apply(not_started(self.life, str(error), self._clock(), self._rules))
        self.life = began(self.life, self._clock())
        self._logger.info("engine_starting", pid=process.pid)
        ended = asyncio.create_task(process.wait())
        try:
            while not ended.done():
                await self._wait({ended}, self._poll_seconds if self.life.ready else self._poll_seconds / 4)
                if not ended.done():
                    await self._observe(process, ended)
            return self._apply(exited(self.life, ended.result(), self._clock(), self._rules))
        finally:
            process.kill()
            await asyncio.shield(ended)
            self.process = None

    async def _observe(self, process: Process, ended: asyncio.Task[int]) -> None:
        if self.life.phase is Phase.DRAINING:
            do = self._apply(ticked(self.life, self._clock(), self._rules))
        elif self._stop.is_set():
            do = self._apply(stop_asked(self.life, self._clock()))
        else:
            reading = await self._look_meanwhile(ended)
            do = self._apply(looked(self.life, reading, self._clock(), self._rules)) if reading else Do.NOTHING
        if do is Do.TERMINATE:
            process.terminate()
        elif do is Do.KILL:
            process.kill()

    async def _look_meanwhile(self, ended: asyncio.Task[int]) -> Reading | None:
        """Look, unless the child ends or stop() is called first: a silent engine takes its time to say nothing."""
        look = asyncio.ensure_future(self._look())
        try:
            await self._wait({look, ended}, None)
            return look.result() if look.done() else None
        finally:
            look.cancel()
            await asyncio.wait({look})

    async def _between_lives(self) -> Do:
        await self._wait(set(), self._poll_seconds)
        if self._stop.is_set():
            return self._apply(stop_asked(self.life, self._clock()))
        return self._apply(ticked(self.life, self._clock(), self._rules))

    async def _wait(self, watched: set[asyncio.Future[Any]], timeout_seconds: float | None) -> None:
        """Wait for one of `watched`, less if stop() is called for the first time or time is up."""
        stop = asyncio.create_task(self._stop.wait())
        if self.life.phase is not Phase.DRAINING:
            watched = {*watched, stop}
        try:
            await asyncio.wait(watched, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()

    def _apply(self, result: tuple[Life, Do]) -> Do:
        before, (self.life, do) = self.life, result
        if self.life.phase is not before.phase or self.life.reason != before.reason:
            self._logger.info(
                "engine_killed" if do is Do.KILL else f"engine_{self.life.phase}",
                was=before.phase,
                after_seconds=round(self._clock() - before.since, 1),
                reason=self.life.reason or None,
                last_exit=self.life.last_exit,
                exit_code=self.life.exit_code,
            )
        return do
