"""Carries out what the engine's life (`life.py`) asks for: starts, looks, kills, waits, and tells the status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from engine.life import Do, Life, Phase, Rules, began, exited, looked, stop_asked, ticked
from engine.probe import Reading

_POLL_SECONDS = 0.5


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
        self._logger.info("engine_stopped", reason=self.life.reason, exit_code=self.life.exit_code)
        return self.life.exit_code or 0

    async def _live_once(self) -> Do:
        """Start a child and stay with it to its end. Whatever happens here, it is not left running."""
        self.process = process = await self._start()
        self.life = began(self.life, self._clock())
        self._logger.info("engine_starting", pid=process.pid)
        ended = asyncio.create_task(process.wait())
        try:
            while not ended.done():
                await self._wait({ended})
                if not ended.done():
                    await self._observe(process)
            return self._apply(exited(self.life, ended.result(), self._clock(), self._rules))
        finally:
            process.kill()
            await asyncio.shield(ended)
            self.process = None

    async def _observe(self, process: Process) -> None:
        if self._stop.is_set() and self.life.phase is not Phase.DRAINING:
            do = self._apply(stop_asked(self.life, self._clock()))
        else:
            do = self._apply(looked(self.life, await self._look(), self._clock(), self._rules))
        if do is Do.TERMINATE:
            process.terminate()
        elif do is Do.KILL:
            process.kill()

    async def _between_lives(self) -> Do:
        await self._wait(set())
        if self._stop.is_set():
            return self._apply(stop_asked(self.life, self._clock()))
        return self._apply(ticked(self.life, self._clock()))

    async def _wait(self, ended: set[asyncio.Task[int]]) -> None:
        """Wait for a poll's time, less if the child ends or stop() is called for the first time."""
        stop = asyncio.create_task(self._stop.wait())
        watched = ended if self.life.phase is Phase.DRAINING else {*ended, stop}
        try:
            if watched:
                await asyncio.wait(watched, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(self._poll_seconds)
        finally:
            stop.cancel()

    def _apply(self, result: tuple[Life, Do]) -> Do:
        before, (self.life, do) = self.life, result
        if self.life.phase is not before.phase or self.life.reason != before.reason:
            self._logger.info(
                f"engine_{self.life.phase}",
                was=before.phase,
                after_seconds=round(self._clock() - before.since, 1),
                reason=self.life.reason or None,
                last_exit=self.life.last_exit,
            )
        return do
