"""The supervisor carries out what the engine's life asks for, on a scripted process and on real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from config import EngineSettings
from engine.command import Command
from engine.life import Life, Phase, Rules
from engine.probe import Lookout, PatientLookout, Reading, client_for
from engine.process import EngineProcess
from engine.restart import RestartPolicy
from engine.supervisor import Supervisor
from tests.fakes.ports import free_port
from tests.unit.engine.family import Family, eventually_gone

HEALTHY = Reading(healthy=True, running=0, steps=1)
SILENT = Reading(healthy=False)


def rules(*, startup: float = 60, hang: float = 60, drain: float = 60, budget: int = 3, wait: float = 0.01) -> Rules:
    return Rules(startup, hang, drain, RestartPolicy(wait, wait, budget, 1000))


class FakeProcess:
    """A process that ends when a test says so, or when it is killed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.calls: list[str] = []
        self.dies_of_kill = True
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def terminate(self) -> None:
        self.calls.append("terminate")

    def kill(self) -> None:
        if not self._ended.done():
            self.calls.append("kill")
            if self.dies_of_kill:
                self.end(-9)

    def end(self, code: int) -> None:
        self._ended.set_result(code)

    @property
    def ended(self) -> bool:
        return self._ended.done()


class Stage:
    """What the supervisor is given: processes, readings and their order."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.reading = SILENT
        self.fails: list[OSError] = []
        self.looks = 0
        self.look_hangs = False

    async def start(self) -> FakeProcess:
        assert all(process.ended for process in self.processes), "two at once"
        if self.fails:
            raise self.fails.pop(0)
        self.processes.append(FakeProcess(len(self.processes) + 1))
        return self.processes[-1]

    async def look(self) -> Reading:
        self.looks += 1
        if self.look_hangs:
            await asyncio.Event().wait()
        return self.reading


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


class Play:
    """A supervisor at work on a stage."""

    def __init__(self, stage: Stage, supervisor: Supervisor) -> None:
        self.stage = stage
        self.supervisor = supervisor
        self.running = asyncio.create_task(supervisor.run())

    async def started(self, count: int = 1) -> FakeProcess:
        await until(lambda: len(self.stage.processes) == count and self.supervisor.process)
        return self.stage.processes[-1]

    async def ready(self, count: int = 1) -> FakeProcess:
        process = await self.started(count)
        self.stage.reading = HEALTHY
        await until(lambda: self.supervisor.life.ready)
        return process

    async def left(self) -> int:
        return await asyncio.wait_for(self.running, 5)


@asynccontextmanager
async def play(stage: Stage | None = None, given: Rules | None = None) -> AsyncIterator[Play]:
    stage = stage or Stage()
    made = Play(stage, Supervisor(given or rules(), start=stage.start, look=stage.look, poll_seconds=0.005))
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.wait({made.running})
        assert all(process.ended for process in stage.processes), "a process is left behind"
        assert made.supervisor.process is None


async def test_it_starts_looks_and_stops_when_asked() -> None:
    async with play() as it:
        process = await it.ready()
        it.supervisor.stop()
        await until(lambda: "terminate" in process.calls)
        assert not it.supervisor.life.ready
        process.end(0)
        assert await it.left() == 0
        assert process.calls == ["terminate"]


async def test_a_second_stop_changes_nothing() -> None:
    async with play() as it:
        process = await it.ready()
        it.supervisor.stop()
        await until(lambda: process.calls)
        it.supervisor.stop()
        await asyncio.sleep(0.03)
        assert process.calls == ["terminate"]
        process.end(0)
        assert await it.left() == 0


async def test_it_stops_one_that_is_still_starting() -> None:
    async with play() as it:
        process = await it.started()
        it.supervisor.stop()
        await until(lambda: process.calls)
        process.end(-15)
        assert await it.left() == 0


async def test_a_stop_does_not_wait_for_a_look_at_a_silent_engine() -> None:
    async with play() as it:
        process = await it.ready()
        it.stage.look_hangs = True
        looks = it.stage.looks
        await until(lambda: it.stage.looks > looks)
        it.supervisor.stop()
        await until(lambda: "terminate" in process.calls, 1)
        process.end(0)
        assert await it.left() == 0


async def test_a_death_does_not_wait_for_a_look_either() -> None:
    async with play() as it:
        process = await it.ready()
        it.stage.look_hangs = True
        looks = it.stage.looks
        await until(lambda: it.stage.looks > looks)
        process.end(1)
        await until(lambda: len(it.stage.processes) == 2, 1)


async def test_a_drain_is_not_disturbed_by_looks_and_ends_in_time() -> None:
    async with play(given=rules(drain=0.05)) as it:
        process = await it.ready()
        it.supervisor.stop()
        await until(lambda: process.calls)
        looks = it.stage.looks
        assert await it.left() == 0
        assert process.calls == ["terminate", "kill"]
        assert it.stage.looks == looks
        assert it.supervisor.life.reason == "stopped as asked; it did not end within 0.05 s"


async def test_one_that_ends_is_started_again() -> None:
    async with play() as it:
        (await it.ready()).end(1)
        await until(lambda: len(it.stage.processes) == 2)
        await it.ready(2)
        assert it.supervisor.recent_restarts == 1
        assert it.supervisor.life.last_exit == 1


async def test_a_hung_one_is_killed_and_started_again() -> None:
    async with play(given=rules(hang=0.05)) as it:
        process = await it.ready()
        it.stage.reading = Reading(healthy=True, running=1, steps=1)
        await it.started(2)
        assert process.calls == ["kill"]
        assert "made no step" in it.supervisor.life.reason


async def test_one_that_falls_silent_is_killed_and_started_again() -> None:
    async with play(given=rules(hang=0.05)) as it:
        process = await it.ready()
        it.stage.reading = SILENT
        await it.started(2)
        assert process.calls == ["kill"]


async def test_one_that_is_killed_and_does_not_die_at_once_is_waited_for() -> None:
    async with play(given=rules(hang=0.03)) as it:
        process = await it.ready()
        process.dies_of_kill = False
        it.stage.reading = SILENT
        await until(lambda: process.calls)
        await asyncio.sleep(0.05)
        assert (process.calls, len(it.stage.processes)) == (["kill"], 1)
        it.supervisor.stop()
        await until(lambda: it.supervisor.life.phase is Phase.DRAINING)
        process.end(-9)
        assert await it.left() == 0


async def test_a_stop_ends_the_wait_before_a_restart() -> None:
    async with play(given=rules(wait=60)) as it:
        (await it.ready()).end(1)
        await until(lambda: it.supervisor.life.phase is Phase.RESTARTING)
        it.supervisor.stop()
        assert await it.left() == 0
        assert len(it.stage.processes) == 1


async def test_two_early_deaths_are_exit_code_3() -> None:
    async with play() as it:
        (await it.started()).end(1)
        (await it.started(2)).end(1)
        assert await it.left() == 3


async def test_a_used_up_budget_is_exit_code_1() -> None:
    async with play(given=rules(budget=1)) as it:
        (await it.ready()).end(1)
        (await it.ready(2)).end(1)
        assert await it.left() == 1


async def test_a_start_that_fails_is_tried_again() -> None:
    stage = Stage()
    stage.fails = [OSError(12, "Cannot allocate memory"), OSError(11, "Resource temporarily unavailable")]
    async with play(stage) as it:
        await it.ready()
        assert it.supervisor.recent_restarts == 2


async def test_a_start_that_keeps_failing_ends_it_with_the_reason() -> None:
    stage = Stage()
    stage.fails = [OSError(28, "No space left on device") for _ in range(9)]
    async with play(stage) as it:
        assert await it.left() == 1
        assert "No space left on device" in it.supervisor.life.reason


async def test_a_cancelled_one_kills_its_child() -> None:
    async with play() as it:
        process = await it.ready()
        it.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await it.running
        assert process.calls == ["kill"]


async def test_a_look_that_fails_unexpectedly_kills_the_child_before_it_is_raised() -> None:
    stage = Stage()

    async def look() -> Reading:
        raise RuntimeError("a fault in a look")

    supervisor = Supervisor(rules(), start=stage.start, look=look, poll_seconds=0.005)
    with pytest.raises(RuntimeError, match="a fault in a look"):
        await supervisor.run()
    assert stage.processes[0].calls == ["kill"]


async def test_it_tells_how_long_the_phase_has_lasted() -> None:
    now = 100.0
    stage = Stage()
    supervisor = Supervisor(rules(), start=stage.start, look=stage.look, clock=lambda: now)
    supervisor.life = Life(since=90.0, restarts=(50.0, -950.0))
    assert supervisor.phase_seconds == 10
    assert supervisor.recent_restarts == 1


# From here on with real processes.


@asynccontextmanager
async def supervised(argv: tuple[str, ...], settings: EngineSettings, log: Path) -> AsyncIterator[Supervisor]:
    async with client_for(settings.host, settings.port) as client:
        lookout = PatientLookout(Lookout(client, settings), settings.hang_seconds)
        supervisor = Supervisor(
            Rules.of(settings),
            start=lambda: EngineProcess.start(Command(argv), log),
            look=lookout.look,
            poll_seconds=0.05,
        )
        running = asyncio.create_task(supervisor.run())
        try:
            yield supervisor
            supervisor.stop()
            assert await asyncio.wait_for(running, 20) == 0
        finally:
            running.cancel()
            await asyncio.wait({running})


def quick(port: int) -> EngineSettings:
    return EngineSettings(
        port=port, served_model_name="gemma-3n", hang_seconds=2.0, restart_initial_seconds=0.05,
        shutdown_timeout_seconds=1,
    )  # fmt: skip


def scripted_engine(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.fakes.engine", "--port", str(port))


async def test_a_real_engine_that_dies_stops_or_hangs_is_replaced(tmp_path: Path) -> None:
    settings = quick(free_port())
    async with supervised(scripted_engine(settings.port), settings, tmp_path / "engine.log") as it:
        seen: list[int] = []

        async def next_one() -> int:
            await until(lambda: it.life.ready and it.process and it.process.pid not in seen, 20)
            assert it.process is not None
            seen.append(it.process.pid)
            return it.process.pid

        os.kill(await next_one(), signal.SIGKILL)
        os.kill(await next_one(), signal.SIGSTOP)
        await next_one()
        assert it.recent_restarts == 2
        assert it.life.last_exit == -signal.SIGKILL
        # It hangs while idle: its counters say that nothing runs, and only a nudge finds it out.
        async with client_for(settings.host, settings.port) as client:
            await client.post("/_script", json={"behaviour": "hang", "times": -1, "silent": True})
        await next_one()
        assert it.recent_restarts == 3
    assert await eventually_gone(seen)


async def test_a_real_engine_that_ignores_the_stop_is_killed_with_its_worker(tmp_path: Path) -> None:
    family = Family(tmp_path)
    port = free_port()
    rules_with_a_short_drain = rules(drain=0.3)
    async with client_for("127.0.0.1", port) as client:
        supervisor = Supervisor(
            rules_with_a_short_drain,
            start=lambda: EngineProcess.start(Command(family.argv("stubborn", port)), tmp_path / "engine.log"),
            look=Lookout(client, quick(port)).read,
            poll_seconds=0.05,
        )
        running = asyncio.create_task(supervisor.run())
        await family.of(2)
        await until(lambda: supervisor.life.ready, 10)
        supervisor.stop()
        assert await asyncio.wait_for(running, 10) == 0
    assert family.left() == []


async def test_a_real_engine_that_cannot_load_is_exit_code_3(tmp_path: Path) -> None:
    family = Family(tmp_path)
    supervisor = Supervisor(
        rules(),
        start=lambda: EngineProcess.start(family.command("parent-dies"), tmp_path / "engine.log"),
        look=lambda: asyncio.sleep(0, SILENT),
        poll_seconds=0.05,
    )
    assert await asyncio.wait_for(supervisor.run(), 10) == 3
    assert supervisor.life.reason == "it cannot start: it ended by itself with exit code 7"
    assert len(family.pids()) >= 3
    assert family.left() == []


async def test_cancelling_while_a_real_engine_runs_leaves_nothing(tmp_path: Path) -> None:
    family = Family(tmp_path)
    supervisor = Supervisor(
        rules(),
        start=lambda: EngineProcess.start(family.command("stubborn"), tmp_path / "engine.log"),
        look=lambda: asyncio.sleep(0, SILENT),
    )
    running = asyncio.create_task(supervisor.run())
    await family.of(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert family.left() == []


@pytest.mark.parametrize("delay_seconds", [0.0, 0.001, 0.003, 0.01, 0.03])
async def test_cancelling_in_the_middle_of_a_real_start_leaves_nothing(tmp_path: Path, delay_seconds: float) -> None:
    family = Family(tmp_path)
    supervisor = Supervisor(
        rules(),
        start=lambda: EngineProcess.start(family.command("stubborn"), tmp_path / "engine.log"),
        look=lambda: asyncio.sleep(0, SILENT),
    )
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(delay_seconds)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.sleep(0.05)
    await until(lambda: not family.left(), 5)
