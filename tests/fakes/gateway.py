"""The gateway as a real process that a test owns."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis
from redis.exceptions import RedisError

from gateway.store import keys
from tests.fakes.forked import ForkedGateway
from tests.fakes.ports import free_port

_START_SECONDS = 30.0


class GatewayProcess:
    """`async with GatewayProcess(redis_url, engines) as gateway:` then `gateway.client`, with the local key.

    Settings go in as `--set` assignments: `settings={"limits.requests_per_minute": 2}`.
    """

    client: httpx.AsyncClient

    def __init__(
        self,
        redis_url: str,
        engines: list[str] | None,
        settings: dict[str, Any] | None = None,
        config: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="gateway-")
        self._settings = {
            "engine.served_model_name": "fake",
            "routing.poll_seconds": 0.1,
            # A busy machine may keep Redis waiting longer than it ever should; tests of that set their own.
            "redis.timeout_seconds": 3,
            "limits.requests_per_minute": 0,
            "limits.requests_per_hour": 0,
            **(settings or {}),
        }
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GEMMA_")},
            "GEMMA_REDIS__URL": redis_url,
            "GEMMA_DATA_DIR": self._folder.name,
            "GEMMA_SERVER__PORT": str(self.port),
        }
        if engines is not None:
            self._environ["GEMMA_ROUTING__ENGINES"] = ",".join(engines)
        if config is not None:
            self._environ["GEMMA_CONFIG"] = str(config)
        self._process: ForkedGateway | None = None
        self._reading: asyncio.Task[None] | None = None
        self.log: list[dict[str, Any]] = []

    @property
    def key(self) -> str:
        """The local API key."""
        return (Path(self._folder.name) / "key").read_text(encoding="utf-8").strip()

    @property
    def pid(self) -> int:
        """Of the gateway's process."""
        assert self._process is not None
        return self._process.pid

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
        await self.client.aclose()
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            await asyncio.to_thread(self._sign_off)
        if self._reading is not None:
            await self._reading
        self._folder.cleanup()

    def _sign_off(self) -> None:
        """Have the killed gateway not be counted for ten seconds more: those after it would take too small a part."""
        with suppress(RedisError, ValueError, OSError):
            away = redis.from_url(self._environ["GEMMA_REDIS__URL"], socket_timeout=0.2, socket_connect_timeout=0.2)
            with away as client:
                client.delete(keys.gateways())

    async def start(self) -> None:
        """Start it and wait until it answers /health."""
        self.client = httpx.AsyncClient(base_url=self.base_url, timeout=60, trust_env=False)
        flags = [f"--set={name}={value}" for name, value in self._settings.items()]
        self._process = ForkedGateway(["gateway", *flags], self._environ)
        await self._process.listen()
        self._reading = asyncio.create_task(self._read_log())
        await self._wait_until_it_answers()
        self.client.headers["authorization"] = f"Bearer {self.key}"

    def send_signal(self, number: signal.Signals) -> None:
        """Send the gateway a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self, timeout_seconds: float = 30.0) -> int:
        """Return the exit code, once it has ended."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), timeout_seconds)

    async def request_line(self, request_id: str) -> dict[str, Any]:
        """Return the log line of a request, waiting for it."""
        for _ in range(200):
            for line in self.log:
                if line.get("event") == "request" and line["request_id"] == request_id:
                    return line
            await asyncio.sleep(0.02)
        raise AssertionError(f"no log line for {request_id}")

    async def metric(self, sample: str) -> float:
        """Return the value of a sample as it stands in /metrics, 0.0 if it is not there."""
        for line in (await self.client.get("/metrics")).text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0

    async def ready(self) -> None:
        """Wait until /health/ready says yes."""
        for _ in range(600):
            if (await self.client.get("/health/ready")).status_code == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("the gateway did not become ready")

    async def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    await self.client.get("/health")
                    return
                except httpx.TransportError:
                    assert self._process.returncode is None, "the gateway did not start"
                    await asyncio.sleep(0.05)

    async def _read_log(self) -> None:
        assert self._process is not None
        while line := await self._process.stdout.readline():
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"event": "not json", "line": line.decode()})
