"""Affinity beside round robin on two real engines: how much of the prompts of long chats is found in a prefix cache."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import httpx
import pytest

from tests.bench.measure import ROOT, on_core
from tests.engine.vllm_metrics import value
from tests.fakes.gateway import GatewayProcess
from tests.fakes.redis_server import RedisServer
from tests.flow.chat import PATH
from tests.unit.engine.launcher import Launcher

MODEL = "gemma-3n-demo"
USERS = 5
TURNS = 5
WORDS_A_TURN = 150
THINKING_SECONDS = 2.0
"""At most. Users who all ask in the same moment fill their home, and the bound on its load sends some elsewhere."""
LOADING_SECONDS = 420.0
HITS = "vllm:prefix_cache_hits_total"
QUERIES = "vllm:prefix_cache_queries_total"


@asynccontextmanager
async def two_engines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Launcher]]:
    """Run two of the real engine, each on a core of its own where there are two, and yield them ready."""
    cores = sorted(os.sched_getaffinity(0))
    engines = []
    try:
        for number in range(2):
            core = cores[number % len(cores)]
            monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", str(core))
            engine = Launcher(folder)
            with on_core(core):
                await engine.start()
            engines.append(engine)
        for engine in engines:
            await engine.until(lambda status: status["ready"], LOADING_SECONDS)
        yield engines
    finally:
        for engine in engines:
            await engine.close()


async def chats(gateway: GatewayProcess, policy: str) -> None:
    """Have all users say one thing after another, in another order each turn. Histories are the clients' own."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    words = [word for word in text.split() if word.isalpha()]
    random = Random(policy)
    histories: list[list[dict[str, str]]] = [[] for _ in range(USERS)]

    async def say(history: list[dict[str, str]]) -> None:
        history.append({"role": "user", "content": " ".join(random.choices(words, k=WORDS_A_TURN))})
        await asyncio.sleep(random.uniform(0, THINKING_SECONDS))
        answer = await gateway.client.post(PATH, json={"model": MODEL, "messages": history, "max_tokens": 8})
        assert answer.status_code == 200, answer.text
        history.append({"role": "assistant", "content": answer.json()["choices"][0]["message"]["content"] or "."})

    for _ in range(TURNS):
        random.shuffle(histories)
        await asyncio.gather(*map(say, histories))


async def hit_rate(redis: RedisServer, engines: list[Launcher], policy: str) -> tuple[float, list[float]]:
    """Return which share of the prompts' tokens was found in a cache, and the tokens that each engine was asked for."""
    urls = [f"http://127.0.0.1:{engine.port}" for engine in engines]
    settings = {"engine.served_model_name": MODEL, "routing.policy": policy}
    before = await asyncio.to_thread(counts, urls)
    async with GatewayProcess(redis.url, urls, settings) as gateway:
        async with asyncio.timeout(30):
            while {each["state"] for each in (await gateway.client.get("/admin/fleet")).json()["data"]} != {"ready"}:
                await asyncio.sleep(0.1)
        await chats(gateway, policy)
    after = await asyncio.to_thread(counts, urls)
    hits, queries = (
        [late[name] - early[name] for early, late in zip(before, after, strict=True)] for name in (HITS, QUERIES)
    )
    return sum(hits) / sum(queries), queries


def counts(urls: list[str]) -> list[dict[str, float]]:
    """Return what each engine has counted."""
    found = []
    for url in urls:
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            found.append({name: value(client, name) for name in (HITS, QUERIES)})
    return found


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_conversations_that_stay_find_more_of_their_prefix_than_those_passed_around(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_engines(tmp_path, monkeypatch) as engines:
        passed_around, _ = await hit_rate(redis_server, engines, "round_robin")
        staying, queries = await hit_rate(redis_server, engines, "affinity")
    print(f"prefix-cache hit rate: affinity {staying:.1%}, round robin {passed_around:.1%}; tokens asked {queries}")
    assert staying > passed_around + 0.05
