"""The vLLM child: its own session, its log in a file, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from config import leash
from engine.command import Command

_LARGEST_LOG_BYTES = 50_000_000
_TAIL_BYTES = 16_384
_LONGEST_END_SECONDS = 3.0


def leashed(argv: Sequence[str]) -> tuple[str, ...]:
    """Return the command that runs `argv` and gets SIGTERM should this process be killed."""
    return (sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *argv)


class EngineProcess:
    """A started vLLM. It leads a session of its own, so that its workers can be ended with it.

    Should the supervisor be killed, the leash sends vLLM SIGTERM, and vLLM takes its workers with it.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, log_start_bytes: int) -> None:
        self._process = process
        self._log = log
        self._log_start_bytes = log_start_bytes
        self._gone = False

    @classmethod
    async def start(cls, command: Command, log: Path) -> EngineProcess:
        """Start `command` with its output appended to `log`. Raises OSError where the log cannot be written.

        A command that cannot be run shows as exit code 127 and a line in the log.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(log)
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            start_bytes = output.tell()
            process = await asyncio.create_subprocess_exec(
                *leashed(command.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=command.environment(os.environ),
                start_new_session=True,
            )
        return cls(process, log, start_bytes)

    @property
    def pid(self) -> int:
        """The process id, which is also that of the group and session."""
        return self._process.pid

    def log_lines(self) -> list[str]:
        """Return the last lines that this run has written."""
        return _last_lines(self._log, self._log_start_bytes)

    @staticmethod
    def tail(log: Path, count: int) -> list[str]:
        """Return the last `count` lines of a log, whichever run wrote them."""
        return _last_lines(log, 0)[-count:]

    async def wait(self) -> int:
        """Return the exit code (-N after signal N) once it has ended and what it left in its group is gone too."""
        code = await self._process.wait()
        self.kill()
        await self._until_gone()
        return code

    def terminate(self) -> None:
        """Ask it to drain and end (SIGTERM to vLLM alone: it ends its workers itself)."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """SIGKILL for everything in its group. Any number of times: once it is gone, its id may be another's."""
        if not self._gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _until_gone(self) -> None:
        """Wait for the killed rest: its port and GPU memory are free only when it has really ended."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LONGEST_END_SECONDS
        while _group_runs(self.pid) and loop.time() < deadline:  # noqa: ASYNC110 - the kernel sends no event for it
            await asyncio.sleep(0.02)
        self._gone = True


def _group_runs(group: int) -> bool:
    """Whether a process of the group still runs. One that ended and that nobody has asked about does not."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _last_lines(log: Path, start_bytes: int) -> list[str]:
    try:
        with log.open("rb") as lines:
            size = lines.seek(0, os.SEEK_END)
            lines.seek(max(start_bytes, size - _TAIL_BYTES))
            return lines.read().decode("utf-8", "replace").splitlines()
    except OSError:  # Somebody has moved it away; what it says is a help, not a need.
        return []


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
        log.replace(log.with_name(f"{log.name}.1"))
