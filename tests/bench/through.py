"""The real engine's throughput with and without the gateway in front: `python -m tests.bench.through`.

The recorded prompts of `tests/engine/prompts.json` are sent straight to vLLM and through the gateway in turns, so that
whatever else the machine does meets both alike.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.stack import ServeProcess

_PROMPTS = Path(__file__).resolve().parents[1] / "engine" / "prompts.json"
_ROUNDS = 6
_AT_ONCE = 16
_REPEATS = 3


async def _round(client: httpx.AsyncClient, bodies: list[dict[str, Any]]) -> float:
    """Send every body, some at once, and return the completion tokens per second."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(body: dict[str, Any]) -> int:
        async with places:
            answer = (await client.post("/v1/chat/completions", json=body)).raise_for_status().json()
            tokens: int = answer["usage"]["completion_tokens"]
            return tokens

    started = time.perf_counter()
    tokens = sum(await asyncio.gather(*map(ask, bodies)))
    return tokens / (time.perf_counter() - started)


async def _compare(stack: ServeProcess) -> tuple[list[float], list[float]]:
    prompts = json.loads(_PROMPTS.read_text(encoding="utf-8"))
    bodies = [{"model": "gemma-3n-demo", **prompt} for prompt in prompts * _REPEATS]
    headers = {"authorization": f"Bearer {stack.key}"}
    straight: list[float] = []
    through: list[float] = []
    async with (
        httpx.AsyncClient(base_url=stack.engine_url, timeout=120, trust_env=False) as engine,
        httpx.AsyncClient(base_url=stack.base_url, headers=headers, timeout=120, trust_env=False) as gateway,
    ):
        await _round(engine, bodies)
        for _ in range(_ROUNDS):
            straight.append(await _round(engine, bodies))
            through.append(await _round(gateway, bodies))
    return straight, through


def main() -> None:
    """Print tokens per second both ways and their ratio."""
    off = {"GEMMA_LIMITS__REQUESTS_PER_MINUTE": "0", "GEMMA_LIMITS__REQUESTS_PER_HOUR": "0"}
    with tempfile.TemporaryDirectory() as folder:
        stack = ServeProcess(Path(folder), off)
        try:
            stack.start()
            straight, through = asyncio.run(_compare(stack))
        finally:
            stack.close()
    for name, figures in (("straight from vLLM", straight), ("through the gateway", through)):
        print(f"{name}: median {statistics.median(figures):.0f} tokens/s of {[round(figure) for figure in figures]}")
    print(f"ratio of medians: {statistics.median(through) / statistics.median(straight):.3f}")


if __name__ == "__main__":
    main()
