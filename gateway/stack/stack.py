"""The children's lives, from the first start to the last stop."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from config.load import gpu_present
from gateway.commands.chat import local_base_url
from gateway.commands.check import shown_redis
from gateway.domain import Clock
from gateway.stack.child import ChildSpec
from gateway.stack.console import Console
from gateway.stack.greeting import Running, greeting, reason_of
from gateway.stack.keeper import GaveUp, Keeper, RestartBudget
from gateway.stack.log_tail import LogTail, follow
from gateway.stack.plan import Plan
from gateway.stack.progress import Progress
from gateway.stack.redis_child import wait_for_predecessor, wait_until_answering

_SAME_CTRL_C_SECONDS = 0.3
"""`make` and `timeout` pass on a signal that the terminal or the group has sent already; that is not a second wish."""


class Stack:
    """Runs a plan once. Everything it starts it has stopped when `run` returns, in the reverse order."""

    def __init__(
        self,
        plan: Plan,
        key_file: Path,
        console: Console,
        new_budget: Callable[[], RestartBudget] = RestartBudget,
        clock: Clock = time.monotonic,
    ) -> None:
        self._plan = plan
        self._key_file = key_file
        self._console = console
        self._new_budget = new_budget
        self._clock = clock
        self._keepers: list[Keeper] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: asyncio.Future[GaveUp | None] = asyncio.get_running_loop().create_future()
        self._signalled_at: float | None = None

    async def run(self, *, verbose: bool) -> int:
        """Start everything, stay until a signal or a failure, stop everything; return the exit code."""
        self._listen_for_signals()
        if verbose:
            self._spawn(follow(_tails(self._plan), self._console.say))
        self._spawn(self._start())
        try:
            gave_up = await self._ending
        finally:
            await self._stop()
        if gave_up is None:
            return 0
        self._console.say(gave_up.sentence)
        return gave_up.exit_code

    async def _start(self) -> None:
        plan = self._plan
        if plan.redis is not None:
            await wait_for_predecessor(plan.redis_socket)
            self._keep(plan.redis)
            await wait_until_answering(plan.redis_socket)
        if plan.engine is not None:
            self._keep(plan.engine)
        self._keep(plan.gateway)
        await self._greet_when_ready()

    async def _greet_when_ready(self) -> None:
        settings = self._plan.settings
        base_url = local_base_url(settings.server.host, settings.server.port)
        engine_root = local_base_url(settings.engine.host, settings.engine.status_port).removesuffix("/v1")
        status_url = f"{engine_root}/status"
        async with Progress(base_url, status_url if self._plan.engine else None, self._console) as progress:
            await progress.wait_until_ready()
            key = self._key_file.read_text(encoding="ascii").strip()
            model = await progress.model(key)
            code = await progress.login_code(key) if settings.server.chat_page else None
        running = _running(self._plan, base_url, model, self._key_file)
        self._console.say(greeting(replace(running, login_code=code)))

    def _keep(self, spec: ChildSpec) -> None:
        keeper = Keeper(spec, self._new_budget(), self._console.say)
        self._keepers.append(keeper)
        self._spawn(self._keep_until_it_has_no_use(keeper))

    async def _keep_until_it_has_no_use(self, keeper: Keeper) -> None:
        self._end(await keeper.keep())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """Let a failure of our own end `run` too, so that it stops the children before it is raised."""
        if not task.cancelled() and (error := task.exception()) and not self._ending.done():
            self._ending.set_exception(error)

    def _end(self, gave_up: GaveUp | None) -> None:
        if not self._ending.done():
            self._ending.set_result(gave_up)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        now = self._clock()
        if self._signalled_at is None:
            self._signalled_at = now
            self._end(None)
        elif number is signal.SIGINT and now - self._signalled_at >= _SAME_CTRL_C_SECONDS:
            for keeper in self._keepers:
                keeper.kill()

    async def _stop(self) -> None:
        self._console.say("Stopping; Ctrl-C again to force it.")
        # First nobody may start a child again, then the children end: who uses the others goes first.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for keeper in reversed(self._keepers):
            await keeper.stop()


def _tails(plan: Plan) -> list[LogTail]:
    tails = [LogTail(spec.name, spec.log) for spec in (plan.redis, plan.engine, plan.gateway) if spec and spec.log]
    return [*tails, LogTail("vllm", plan.settings.data_dir / "logs" / "engine.log")]


def _running(plan: Plan, base_url: str, model: str | None, key_file: Path) -> Running:
    settings = plan.settings
    own_redis = f"on {plan.redis_socket}, its data in {settings.data_dir / 'redis'}"
    return Running(
        base_url=base_url,
        model=model or settings.engine.served_model_name,
        why=reason_of(settings.engine.profile, settings.routing.sources, gpu=gpu_present()),
        key_file=key_file,
        logs=settings.data_dir / "logs",
        redis=own_redis if plan.redis else shown_redis(settings.redis.url.get_secret_value()),
        python=sys.executable,
        command=str(Path(sys.executable).with_name("gemma-gateway")),
    )
