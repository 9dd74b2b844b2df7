import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import psutil

from gateway.stack.child import Child, ChildSpec, describe

CHILDREN = str(Path(__file__).with_name("children.py"))


def log_in(folder: Path) -> Path:
    return folder / "logs" / "child.log"


def spec(folder: Path, *argv: str, stop_seconds: float = 10.0) -> ChildSpec:
    return ChildSpec("child", argv, log_in(folder), stop_seconds, dict(os.environ))


async def lines_of(child: Child, count: int) -> list[str]:
    async with asyncio.timeout(20):
        while len(child.last_lines()) < count:
            await asyncio.sleep(0.02)
    return child.last_lines()


async def test_what_a_child_writes_is_in_its_log_and_its_exit_code_is_known(tmp_path: Path) -> None:
    child = await Child.start(spec(tmp_path, sys.executable, CHILDREN, "permanent"))
    assert await child.wait() == 3
    assert child.last_lines() == ["The model is gated."]


async def test_last_lines_are_of_this_start_only(tmp_path: Path) -> None:
    for _ in range(2):
        child = await Child.start(spec(tmp_path, sys.executable, CHILDREN, "crash"))
        await child.wait()
    assert child.last_lines() == ["It broke."]
    assert log_in(tmp_path).read_text() == "It broke.\nIt broke.\n"


async def test_a_command_that_does_not_exist_is_exit_code_127_and_a_line_in_the_log(tmp_path: Path) -> None:
    child = await Child.start(spec(tmp_path, "/no/such/command"))
    assert await child.wait() == 127
    assert child.last_lines() == ["/no/such/command cannot be run: No such file or directory"]


async def test_a_child_leads_its_own_session_so_that_ctrl_c_does_not_reach_it(tmp_path: Path) -> None:
    child = await Child.start(spec(tmp_path, "sleep", "600"))
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    assert await child.stop()


async def test_a_child_that_ignores_sigterm_is_killed_with_its_whole_group(tmp_path: Path) -> None:
    child = await Child.start(spec(tmp_path, sys.executable, CHILDREN, "stubborn", stop_seconds=0.2))
    pids = [int(line.split()[1]) for line in await lines_of(child, 2)]
    assert not await child.stop()
    # What the child left in its group was sent SIGKILL; the kernel may take a moment over it.
    async with asyncio.timeout(5):
        while [pid for pid in pids if alive(pid)]:
            await asyncio.sleep(0.01)


async def test_a_hang_up_waits_until_the_child_has_something_to_do_at_it(tmp_path: Path) -> None:
    script = (
        "import signal\n"
        "signal.signal(signal.SIGHUP, lambda *_: print('read again', flush=True))\n"
        "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})\n"
        "print('ready', flush=True)\n"
    )
    child = await Child.start(spec(tmp_path, sys.executable, "-c", script))
    child.send_signal(signal.SIGHUP)
    assert await child.wait() == 0
    assert child.last_lines() == ["read again", "ready"]
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


async def test_stopping_a_child_that_has_ended_is_no_error(tmp_path: Path) -> None:
    child = await Child.start(spec(tmp_path, "true"))
    await child.wait()
    assert await child.stop()


async def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """The parent here is a process that starts a child as `serve` does and is then killed with SIGKILL."""
    script = (
        "import asyncio, os, pathlib\n"
        "from gateway.stack.child import Child, ChildSpec\n"
        "async def main():\n"
        f"    log = pathlib.Path({str(tmp_path / 'log')!r})\n"
        "    child = await Child.start(ChildSpec('child', ('sleep', '600'), log, 1.0, dict(os.environ)))\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    async with asyncio.timeout(20):
        while psutil.Process(pid).name() != "sleep":
            await asyncio.sleep(0.02)
        parent.kill()
        await parent.communicate()
        while alive(pid):
            await asyncio.sleep(0.02)


async def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    this = spec(tmp_path, "echo", "new")
    log = log_in(tmp_path)
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(50_000_001)
    child = await Child.start(this)
    await child.wait()
    assert log.read_text() == "new\n"
    assert log.with_name("child.log.1").stat().st_size == 50_000_001


def test_how_a_process_ended_is_said_by_code_or_by_signal() -> None:
    assert [describe(1), describe(-signal.SIGKILL), describe(-99)] == [
        "exit code 1",
        "killed by SIGKILL",
        "killed by signal 99",
    ]


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
