"""A real child with real children of its own: however it ends, nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from config import leash
from engine import process as process_module
from engine.command import Command
from engine.process import EngineProcess
from tests.unit.engine.family import Family, eventually_gone

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    family = Family(tmp_path)
    yield family
    for pid in family.left():
        os.kill(pid, signal.SIGKILL)


async def start(family: Family, kind: str) -> EngineProcess:
    return await EngineProcess.start(family.command(kind), family.folder / "logs" / "engine.log")


async def started(process: EngineProcess) -> None:
    async with asyncio.timeout(10):
        while "started" not in process.log_lines():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("kind", "code"), [("dies", 9), ("parent-dies", 7)])
async def test_one_that_dies_leaves_no_worker_behind(family: Family, kind: str, code: int) -> None:
    process = await start(family, kind)
    assert await process.wait() == code
    assert family.left() == []


async def test_one_that_ends_when_asked_leaves_no_worker_behind(family: Family) -> None:
    process = await start(family, "polite")
    await started(process)
    await family.of(2)
    process.terminate()
    assert await process.wait() == 0
    assert family.left() == []


async def test_one_that_does_not_end_when_asked_is_killed_with_its_worker(family: Family) -> None:
    process = await start(family, "stubborn")
    await started(process)
    await family.of(2)
    process.terminate()
    await asyncio.sleep(0.1)
    assert len(family.left()) == 2
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert family.left() == []


async def test_a_stopped_one_is_killed_too(family: Family) -> None:
    process = await start(family, "stubborn")
    await family.of(2)
    for pid in family.pids():
        os.kill(pid, signal.SIGSTOP)
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    assert family.left() == []


async def test_what_comes_after_its_end_does_nothing(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    process = await start(family, "dies")
    await process.wait()

    def refuse(*_: object) -> None:
        raise AssertionError("its id may be another's by now")

    monkeypatch.setattr(os, "killpg", refuse)
    monkeypatch.setattr(os, "kill", refuse)
    process.kill()
    process.terminate()


async def test_the_wait_for_the_killed_rest_is_bounded(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "_LONGEST_END_SECONDS", 0.1)
    monkeypatch.setattr(process_module, "_group_runs", lambda _: True)
    process = await start(family, "dies")
    assert await asyncio.wait_for(process.wait(), 5) == 9


async def test_it_leads_a_session_of_its_own_with_nothing_to_read(family: Family) -> None:
    process = await start(family, "stubborn")
    await family.of(1)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid != os.getsid(0)
    assert Path(f"/proc/{process.pid}/fd/0").readlink() == Path("/dev/null")
    process.kill()
    await process.wait()


async def test_the_log_keeps_all_runs_and_tells_of_this_one(family: Family) -> None:
    log = family.folder / "logs" / "engine.log"
    log.parent.mkdir()
    log.write_text("of an earlier run\n")
    process = await start(family, "dies")
    await process.wait()
    assert process.log_lines() == ["It cannot load."]
    assert EngineProcess.tail(log, 5) == ["of an earlier run", "It cannot load."]
    assert EngineProcess.tail(log, 1) == ["It cannot load."]


async def test_a_log_that_is_moved_away_is_an_empty_one(family: Family) -> None:
    process = await start(family, "dies")
    await process.wait()
    (family.folder / "logs" / "engine.log").unlink()
    assert process.log_lines() == []
    assert EngineProcess.tail(family.folder / "no.log", 5) == []


async def test_only_the_end_of_a_long_log_is_read(family: Family) -> None:
    log = family.folder / "long.log"
    log.write_text("x" * 79 + "\n" + ("y" * 79 + "\n") * 100_000)
    assert len(EngineProcess.tail(log, 1_000_000)) < 1000


async def test_a_large_log_is_put_aside_and_no_one_else_can_read_the_new_one(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "_LARGEST_LOG_BYTES", 10)
    log = family.folder / "logs" / "engine.log"
    log.parent.mkdir()
    log.write_text("of an earlier run\n")
    await (await start(family, "dies")).wait()
    assert log.read_text() == "It cannot load.\n"
    assert log.with_name("engine.log.1").read_text() == "of an earlier run\n"
    assert log.stat().st_mode & 0o777 == 0o600


async def test_a_command_that_does_not_exist_is_said_in_the_log(tmp_path: Path) -> None:
    process = await EngineProcess.start(Command(("no-such-command",)), tmp_path / "engine.log")
    assert await process.wait() == 127
    assert process.log_lines() == ["no-such-command cannot be run: No such file or directory"]


async def test_a_bare_name_is_looked_up_on_the_path_given(tmp_path: Path) -> None:
    tool = tmp_path / "my-engine"
    tool.write_text("#!/bin/sh\necho found\nenv\n")
    tool.chmod(0o755)
    command = Command(("my-engine",), {"PATH": f"{tmp_path}:/usr/bin:/bin", "HF_TOKEN": "hf_1"})
    process = await EngineProcess.start(command, tmp_path / "engine.log")
    assert await process.wait() == 0
    assert process.log_lines()[0] == "found"
    assert "HF_TOKEN=hf_1" in process.log_lines()


async def test_a_log_that_cannot_be_written_is_an_oserror(family: Family) -> None:
    (family.folder / "logs").touch()
    with pytest.raises(OSError):
        await start(family, "dies")
    assert family.pids() == []


_SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from engine.command import Command
from engine.process import EngineProcess

async def main():
    process = await EngineProcess.start(Command(tuple(sys.argv[2:])), Path(sys.argv[1]))
    print(process.pid, flush=True)
    await process.wait()

asyncio.run(main())
"""


async def test_a_killed_supervisor_takes_the_engine_with_it(family: Family) -> None:
    argv = [sys.executable, "-c", _SUPERVISOR, str(family.folder / "engine.log"), *family.argv("plain")]
    supervisor = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    pids = await family.of(1)
    supervisor.kill()
    await supervisor.communicate()
    assert await eventually_gone(pids)


def test_the_leash_starts_nothing_for_a_parent_that_is_gone() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", leash.__file__, "1", "true"], check=False)
    assert done.returncode == 1 or os.getpid() == 1


def test_the_leash_hands_on_signals_as_a_shell_does() -> None:
    shown = ("grep", "SigIgn", "/proc/self/status")
    argv = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *shown]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)
