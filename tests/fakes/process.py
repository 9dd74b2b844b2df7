"""The scripted engine as a real process that a test owns."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.domain import Replica

_ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 20.0


class EngineProcess:
    """Starts `tests.fakes.engine` on a free port and a unix socket; kills it at the end.

    `async with EngineProcess() as engine:` then `engine.replica` (TCP) or `engine.unix_replica`.
    """

    replica: Replica
    unix_replica: Replica

    def __init__(self, *arguments: str, name: str = "fake", port: int = 0) -> None:
        self._name = name
        self._arguments = arguments
        self._port = port
        self._process: asyncio.subprocess.Process | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="engine-")
        self._control = httpx.AsyncClient(trust_env=False, timeout=10, verify=False)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        await self.kill()
        await self._control.aclose()
        self._folder.cleanup()

    async def start(self) -> None:
        """Start it, after `kill()` on the same port again, and wait until it listens."""
        unix_socket = str(Path(self._folder.name) / "engine.sock")
        command = [sys.executable, "-m", "tests.fakes.engine", "--port", str(self._port), "--unix", unix_socket]
        self._process = await asyncio.create_subprocess_exec(
            *command, *self._arguments, cwd=_ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), _START_SECONDS)
        assert line.startswith(b"listening "), "the scripted engine did not start"
        self._port = int(line.split()[1])
        self.replica = Replica(self._name, "127.0.0.1", self._port)
        self.unix_replica = Replica(self._name, "127.0.0.1", self._port, unix_socket)

    async def script(self, behaviour: str, *, times: int = 1, path: str | None = None, **parameters: Any) -> None:
        """Give the next `times` requests (-1: all that follow) this behaviour."""
        await self._post("/_script", {"behaviour": behaviour, "times": times, "path": path, **parameters})

    async def show(self, **values: Any) -> None:
        """Change what /health (`health=503`) and /metrics (`waiting=3`, `kv=0.9`) say, and what it `takes`."""
        await self._post("/_set", values)

    async def release(self) -> None:
        """Let requests under `hold` finish."""
        await self._post("/_release", {})

    async def reset(self) -> None:
        """Forget scripts and counts."""
        await self._post("/_reset", {})

    async def stats(self) -> dict[str, Any]:
        """Return the counts and the last 100 requests."""
        response = await self._control.get(f"{self.replica.base_url}/_stats")
        stats: dict[str, Any] = response.json()
        return stats

    async def asked(self) -> list[dict[str, Any]]:
        """Return the last requests for an answer; the gateway's looks at health, models and media do not count."""
        requests = (await self.stats())["requests"]
        return [each for each in requests if each["method"] == "POST" and not _asks_for_media(each)]

    async def eventually(self, seconds: float = 2.0, **expected: Any) -> dict[str, Any]:
        """Return the stats once they hold `expected`; fail after `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            stats = await self.stats()
            if all(stats[name] == value for name, value in expected.items()):
                return stats
            shown = {name: stats[name] for name in expected}
            assert asyncio.get_running_loop().time() < deadline, f"expected {expected}, still {shown}"
            await asyncio.sleep(0.01)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process and self._process.returncode is None:
            self._process.kill()
        if self._process:
            # Reading to the end closes our end of the pipe, which a killed process leaves to us.
            await self._process.communicate()

    def stop(self) -> None:
        """SIGSTOP: it hangs, its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: it goes on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _post(self, path: str, value: dict[str, Any]) -> None:
        response = await self._control.post(f"{self.replica.base_url}{path}", json=value)
        response.raise_for_status()


def _asks_for_media(request: dict[str, Any]) -> bool:
    """Whether it is the watcher's, whose client is another than that of requests."""
    headers: dict[str, str] = request["headers"]
    return request["path"] == "/tokenize" and headers.get("user-agent", "").startswith("python-httpx")
