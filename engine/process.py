"""The vLLM child: its own session, its log in a file, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from config import leash
from engine.command import Command

_LARGEST_LOG_BYTES = 50_000_000
_TAIL_BYTES = 16_384


class EngineProcess:
    """A started vLLM. It leads a session of its own, so that its workers can be ended with it.

    Should the supervisor be killed, the leash sends vLLM SIGTERM, and vLLM takes its workers with it.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path, log_start_bytes: int) -> None:
        self._process = process
        self._log = log
        self._log_start_bytes = log_start_bytes

    @classmethod
    async def start(cls, command: Command, log: Path) -> EngineProcess:
        """Start `command` with its output appended to `log`. Raises OSError where the log cannot be written."""
        log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(log)
        with log.open("ab") as output:
            start_bytes = output.tell()
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **command.env},
                start_new_session=True,
            )
        return cls(process, log, start_bytes)

    @property
    def pid(self) -> int:
        """The process id, which is also that of the group and session."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    def log_lines(self) -> list[str]:
        """Return the last lines that this run has written."""
        return _last_lines(self._log, self._log_start_bytes)

    @staticmethod
    def tail(log: Path, count: int) -> list[str]:
        """Return the last `count` lines of a log, whichever run wrote them."""
        return _last_lines(log, 0)[-count:] if log.exists() else []

    async def wait(self) -> int:
        """Return the exit code (-N after signal N) once it has ended; what it left in its group is killed then."""
        code = await self._process.wait()
        self.kill()
        return code

    def terminate(self) -> None:
        """Ask it to drain and end (SIGTERM to vLLM alone: it ends its workers itself)."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """SIGKILL for everything in its group. Any number of times."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace_seconds: float) -> int:
        """Ask it to end, kill it after `grace_seconds`, and return its exit code. Nothing of it is left then."""
        self.terminate()
        try:
            return await asyncio.wait_for(self.wait(), grace_seconds)
        except TimeoutError:
            self.kill()
            return await self.wait()


def _last_lines(log: Path, start_bytes: int) -> list[str]:
    with log.open("rb") as lines:
        size = lines.seek(0, os.SEEK_END)
        lines.seek(max(start_bytes, size - _TAIL_BYTES))
        return lines.read().decode("utf-8", "replace").splitlines()


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
