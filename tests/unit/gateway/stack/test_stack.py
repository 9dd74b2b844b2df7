"""The whole stack with a real Redis and stand-ins for the engine's supervisor and the gateway."""

import asyncio
import io
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from config import EngineSettings, ServerSettings, Settings
from gateway.identity.local_key import ensure_local_key
from gateway.stack.console import Console
from gateway.stack.keeper import RestartBudget
from gateway.stack.plan import Commands, make_plan
from gateway.stack.stack import Stack

CHILDREN = str(Path(__file__).with_name("children.py"))


class Run:
    """A stack that runs in a task of this test."""

    def __init__(self, stack: Stack, output: io.StringIO, data_dir: Path, *, verbose: bool) -> None:
        self._output = output
        self._data_dir = data_dir
        self.task = asyncio.create_task(stack.run(verbose=verbose))

    @property
    def text(self) -> str:
        return self._output.getvalue()

    def log(self, name: str) -> str:
        path = self._data_dir / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                assert not self.task.done(), self.text
                await asyncio.sleep(0.02)

    async def until_started_twice(self, name: str, log: str) -> None:
        await self.until(lambda: f"The {name} ended (killed by SIGKILL); it starts again" in self.text)
        await self.until(lambda: self.log(log).count("pid ") == 2)


@asynccontextmanager
async def run_stack(
    folder: Path, *, gateway: str = "gateway", engine: str = "engine", verbose: bool = False
) -> AsyncIterator[Run]:
    settings = Settings(data_dir=folder, server=ServerSettings(port=0), engine=EngineSettings(port=0, status_port=0))
    commands = Commands(gateway=(sys.executable, CHILDREN, gateway), engine=(sys.executable, CHILDREN, engine))
    plan = make_plan(settings, dict(os.environ), folder / "redis.sock", commands)
    output = io.StringIO()
    stack = Stack(
        plan, ensure_local_key(folder), Console(output), lambda: RestartBudget(restarts=2, first_wait_seconds=0.01)
    )
    others = set(psutil.Process().children(recursive=True))
    run = Run(stack, output, folder, verbose=verbose)
    try:
        yield run
    finally:
        if not run.task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await run.task
        assert set(psutil.Process().children(recursive=True)) <= others


async def test_it_greets_when_all_is_ready_and_ctrl_c_ends_it_with_0(tmp_path: Path) -> None:
    async with run_stack(tmp_path) as run:
        await run.until(lambda: "\nready: " in run.text)
        assert run.text.splitlines()[-1].startswith("ready: http://127.0.0.1:")
        assert "gemma-gateway serves stand-in" in run.text
        assert f"redis unix://{tmp_path}/redis.sock" in run.log("gateway")
        os.kill(os.getpid(), signal.SIGINT)
        assert await run.task == 0


async def test_a_child_that_dies_is_started_again_and_it_is_said(tmp_path: Path) -> None:
    async with run_stack(tmp_path) as run:
        await run.until(lambda: "\nready: " in run.text)
        for name, log in (("gateway", "gateway"), ("engine", "engine-supervisor")):
            pid = int(run.log(log).rpartition("pid ")[2])
            os.kill(pid, signal.SIGKILL)
            await run.until_started_twice(name, log)
        # Other tests' Redis may be children of this process too; ours has its socket in this test's folder.
        redis = next(child for child in psutil.Process().children() if str(tmp_path) in " ".join(child.cmdline()))
        redis.kill()
        await run.until(lambda: "The redis ended" in run.text)
        await run.until(lambda: run.log("redis").count("ready to accept connections") == 2)


async def test_an_engine_that_can_never_run_stops_everything_with_its_sentence_and_3(tmp_path: Path) -> None:
    async with run_stack(tmp_path, engine="permanent") as run:
        async with asyncio.timeout(20):
            assert await run.task == 3
        assert run.text.splitlines()[-3:-1] == ["The engine cannot run:", "  The model is gated."]


async def test_a_gateway_that_keeps_crashing_stops_everything_with_1(tmp_path: Path) -> None:
    async with run_stack(tmp_path, gateway="crash") as run:
        async with asyncio.timeout(20):
            assert await run.task == 1
        assert "The gateway keeps ending (exit code 1):\n  It broke." in run.text


async def test_a_second_ctrl_c_does_not_wait_for_a_child_that_will_not_end(tmp_path: Path) -> None:
    async with run_stack(tmp_path, engine="stubborn") as run:
        await run.until(lambda: "grandchild" in run.log("engine-supervisor") and "ready: " in run.text)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.4)
        assert not run.task.done()
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            assert await run.task == 0


async def test_verbose_shows_what_the_children_write(tmp_path: Path) -> None:
    async with run_stack(tmp_path, verbose=True) as run:
        await run.until(lambda: re.search(r"^redis \| .*ready to accept connections", run.text, re.MULTILINE))
        await run.until(lambda: re.search(r"^engine \| pid \d+$", run.text, re.MULTILINE))
        await run.until(lambda: "\ngateway | redis unix://" in run.text)


async def test_the_engines_stage_is_shown_while_it_loads(tmp_path: Path) -> None:
    async with run_stack(tmp_path, gateway="stubborn") as run:
        await run.until(lambda: "engine: loading weights (" in run.text)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.4)
        os.kill(os.getpid(), signal.SIGINT)
