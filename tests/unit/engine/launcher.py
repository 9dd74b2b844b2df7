"""`python -m engine` as a real process that a test owns."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.fakes.ports import free_port
from tests.unit.engine.family import eventually_gone

ROOT = Path(__file__).resolve().parents[3]


class Launcher:
    """A running `python -m engine`, its status port, and every process that it was seen to have."""

    def __init__(self, data_dir: Path, *arguments: str, **engine: str) -> None:
        self.data_dir = data_dir
        self.port, self.status_port = free_port(), free_port()
        self._arguments = arguments
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GEMMA_")},
            "GEMMA_DATA_DIR": str(data_dir),
            "GEMMA_ENGINE__PROFILE": "demo",
            "GEMMA_ENGINE__PORT": str(self.port),
            "GEMMA_ENGINE__STATUS_PORT": str(self.status_port),
            "GEMMA_ENGINE__RESTART_INITIAL_SECONDS": "0.05",
        }
        self.set(**engine)
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.status_port}", trust_env=False)
        self._seen: set[int] = set()
        self._output = b""

    def set(self, **engine: str) -> None:
        """Change settings of the engine before the start."""
        self._variables |= {f"GEMMA_ENGINE__{name.upper()}": value for name, value in engine.items()}

    async def start(self) -> None:
        """Start it."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "engine", *self._arguments),
            cwd=ROOT,
            env=self._variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def get(self, path: str) -> httpx.Response:
        """Ask the status port."""
        return await self._http.get(path)

    async def status(self) -> dict[str, Any]:
        """Return what /status says, empty where nobody answers."""
        try:
            status: dict[str, Any] = (await self.get("/status")).json()
        except httpx.TransportError:
            return {}
        self.note_children()
        return status

    async def until(self, condition: Callable[[dict[str, Any]], object], seconds: float = 20) -> dict[str, Any]:
        """Return the status once it fulfils `condition`."""
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(seconds):
                while not (status and condition(status)):
                    await asyncio.sleep(0.05)
                    status = await self.status()
        except TimeoutError:
            raise AssertionError(f"still {status}, {self.process.returncode}") from None
        return status

    async def ended(self, seconds: float = 30) -> tuple[int, str]:
        """Return the exit code and all output once it has ended."""
        self._output += (await asyncio.wait_for(self.process.communicate(), seconds))[0]
        assert self.process.returncode is not None
        return self.process.returncode, self._output.decode()

    async def read_until(self, text: str) -> None:
        """Return once it has written `text`."""
        assert self.process.stdout is not None
        while text.encode() not in self._output:
            line = await asyncio.wait_for(self.process.stdout.readline(), 30)
            assert line, f"it ended without saying {text}: {self._output.decode()}"
            self._output += line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.note_children()
        self.process.send_signal(number)

    def note_children(self) -> None:
        """Remember the processes that it has now."""
        try:
            self._seen |= {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}
        except psutil.NoSuchProcess:
            return

    async def nothing_left(self, seconds: float = 5) -> bool:
        """Whether all its processes end in time."""
        return await eventually_gone(sorted(self._seen), seconds)

    async def close(self) -> None:
        """Kill whatever still runs."""
        await self._http.aclose()
        if self.process.returncode is None:
            self.signal(signal.SIGKILL)
            await self.process.communicate()
        for pid in self._seen:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def launched(data_dir: Path, *arguments: str, **engine: str) -> AsyncIterator[Launcher]:
    """Run it for the time of a block."""
    launcher = Launcher(data_dir, *arguments, **engine)
    if "command" not in engine:
        command = (sys.executable, "-m", "tests.fakes.engine", "--port", str(launcher.port))
        launcher.set(command=",".join(command))
    await launcher.start()
    try:
        yield launcher
    finally:
        await launcher.close()
