"""Asks the children how far they are while `serve` waits."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import httpx

from gateway.stack.console import Console

_POLL_SECONDS = 0.25
_TIMEOUT_SECONDS = 2.0


class Progress:
    """Reads the engine supervisor's status and the gateway's health. Use it as a context manager."""

    def __init__(self, base_url: str, status_url: str | None, console: Console) -> None:
        self._base_url = base_url
        self._status_url = status_url
        self._console = console
        # Everything asked here is on this machine, which no proxy can reach.
        self._http = httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def wait_until_ready(self) -> None:
        """Return once the gateway says that a chat could start. Without deadline: the children have theirs."""
        started = time.monotonic()
        health_url = f"{self._base_url.removesuffix('/v1')}/health/ready"
        while await self._get(health_url) is None:
            stage, seconds = await self._stage(time.monotonic() - started)
            self._console.live(stage, seconds)
            await asyncio.sleep(_POLL_SECONDS)
        self._console.end_live()

    async def model(self, key: str) -> str | None:
        """Return the first model that the gateway lists to the holder of `key`."""
        listed = await self._get(f"{self._base_url}/models", {"authorization": f"Bearer {key}"})
        models = (listed or {}).get("data") or [{}]
        name = models[0].get("id")
        return name if isinstance(name, str) else None

    async def login_code(self, key: str) -> str | None:
        """Return a code that lets a page in once as the holder of `key`, None where none can be had."""
        try:
            response = await self._http.post(
                f"{self._base_url.removesuffix('/v1')}/auth/login-codes", headers={"authorization": f"Bearer {key}"}
            )
            code = response.json()["code"] if response.status_code == httpx.codes.CREATED else None
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return None
        return code if isinstance(code, str) else None

    async def _stage(self, seconds: float) -> tuple[str, float]:
        if self._status_url is None:
            return "gateway: waiting for an engine", seconds
        status = await self._get(self._status_url)
        if status is None:
            return "engine: starting", seconds
        if status.get("state") == "ready":
            return "gateway: waiting for the engine", seconds
        stage = status.get("stage") or status.get("state") or "starting"
        return f"engine: {stage}", float(status.get("elapsed_seconds") or seconds)

    async def _get(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any] | None:
        """Return the object that `url` answers with, None where it does not answer 200."""
        try:
            response = await self._http.get(url, headers=headers)
            value = response.json() if response.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, ValueError):
            return None
        return value if isinstance(value, dict) else None
