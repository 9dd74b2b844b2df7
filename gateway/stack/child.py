"""One child process in a session of its own, on a leash, writing to its log file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from config import leash
from config.hang_up import hang_ups_held_back

_LARGEST_LOG_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run; without a `log` it writes where we do. `stop_seconds`: how long it may take to end at SIGTERM."""

    name: str
    argv: tuple[str, ...]
    log: Path | None
    stop_seconds: float
    variables: Mapping[str, str] = field(default_factory=dict)


class Child:
    """A running child. It leads its own session, so a Ctrl-C in the terminal reaches it only through us, in order.

    It writes its log itself: no pipe to break, and nothing is lost, should `serve` be killed.
    """

    def __init__(self, spec: ChildSpec, process: asyncio.subprocess.Process, log_start: int) -> None:
        self.spec = spec
        self._process = process
        self._log_start = log_start

    @classmethod
    async def start(cls, spec: ChildSpec) -> Self:
        """Start `spec`. A command that does not exist shows as exit code 127 and a line in the log."""
        with _output(spec.log) as descriptor, hang_ups_held_back():
            log_start = 0 if descriptor is None else os.fstat(descriptor).st_size
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *spec.argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env={**spec.variables, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        return cls(spec, process, log_start)

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group and session."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the exit code (-N after signal N) once it has ended, and end what it left in its group."""
        code = await self._process.wait()
        self.kill()
        return code

    async def stop(self) -> bool:
        """SIGTERM, and SIGKILL for the whole group after `stop_seconds`. Return whether it ended by itself."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        try:
            await asyncio.wait_for(self.wait(), self.spec.stop_seconds)
        except TimeoutError:
            self.kill()
            await self.wait()
            return False
        return True

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing where it is gone."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for the whole group; nothing where it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def last_lines(self, count: int = 5) -> list[str]:
        """Return the last lines that this process wrote into its log, newest last."""
        if self.spec.log is None:
            return []
        with self.spec.log.open("rb") as file:
            file.seek(self._log_start)
            lines = file.read().decode("utf-8", "replace").splitlines()
        return [line for line in lines if line.strip()][-count:]


def describe(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


@contextlib.contextmanager
def _output(path: Path | None) -> Generator[int | None]:
    """Yield a descriptor that appends to `path`; a large log is put aside first, in place of the one before it."""
    if path is None:
        yield None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
