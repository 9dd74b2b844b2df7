"""A session that outgrows the model several times over: what vLLM finds in its prefix cache, and what it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.engine.recorder import Recorder
from tests.engine.vllm_metrics import value
from tests.fakes.gateway import GatewayProcess
from tests.fakes.redis_server import RedisServer
from tests.fakes.stack import ServeProcess

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
    # transformers' own, of a class that it has renamed.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

MODEL = "gemma-3n-demo"
TURNS = 60
FIRST_TURNS = 10
ANSWER_TOKENS = 24
SYSTEM = "You are brief."
TOPICS = ("a session", "a gateway", "an engine", "a token", "a cache", "a limit", "a key", "a model", "a prompt")
ASKED_RATE = 0.85


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: what it cost, and vLLM's counters after it."""

    prompt_tokens: int
    trimmed_messages: int
    hits: float
    queries: float


@dataclass(frozen=True, slots=True)
class Talk:
    """The whole session: its turns, its messages, and what the engine was sent."""

    turns: list[Turn]
    messages: list[dict[str, Any]]
    sent: list[dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(served: ServeProcess, direct: httpx.Client, redis_server: RedisServer) -> AsyncIterator[Talk]:
    """A conversation of many turns, through a gateway of its own with its settings as they come."""
    settings = {"engine.served_model_name": MODEL}
    async with (
        Recorder("127.0.0.1", served.engine_port) as recorder,
        GatewayProcess(redis_server.url, [recorder.url], settings) as gateway,
    ):
        await gateway.ready()
        created = await gateway.client.post("/v1/sessions", json={"system": SYSTEM})
        path = f"/v1/sessions/{created.json()['id']}"
        turns = [await _turn(gateway.client, direct, path, number) for number in range(TURNS)]
        page = (await gateway.client.get(f"{path}/messages?limit=1000&order=asc")).raise_for_status().json()
        yield Talk(turns, page["data"], recorder.bodies)


async def _turn(client: httpx.AsyncClient, direct: httpx.Client, path: str, number: int) -> Turn:
    """Ask a question of a few lines and return what came of it."""
    topics = [TOPICS[(number + step) % len(TOPICS)] for step in range(6)]
    question = " ".join(f"Question {number}: what is {topic}?" for topic in topics)
    asked = {"content": question, "max_tokens": ANSWER_TOKENS}
    answer = await client.post(f"{path}/messages", json=asked)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    counters = (value(direct, f"vllm:prefix_cache_{name}_total") for name in ("hits", "queries"))
    return Turn(usage["prompt_tokens"], usage["session"]["trimmed_messages"], *counters)


def hit_rate(turns: list[Turn]) -> float:
    """Return the share of all turns' prompts but the first's that was in the cache."""
    return (turns[-1].hits - turns[0].hits) / (turns[-1].queries - turns[0].queries)


async def test_the_prefix_cache_has_most_of_a_long_session_also_across_cuts(
    talk: Talk, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = talk.turns
    cuts = [number for number in range(1, TURNS) if turns[number].trimmed_messages > turns[number - 1].trimmed_messages]
    later, across = hit_rate(turns[FIRST_TURNS - 1 :]), hit_rate(turns[cuts[0] - 1 :])
    with capsys.disabled():
        per_turn = turns[1].prompt_tokens - turns[0].prompt_tokens
        print(f"\n{TURNS} turns of about {per_turn} tokens, cut before turns {cuts}:")
        print(f"{later:.1%} of prompt tokens cached from turn {FIRST_TURNS} on, {across:.1%} from the first cut on")
    assert len(cuts) >= 2
    assert later >= ASKED_RATE
    assert across >= ASKED_RATE


async def test_every_prompt_is_what_the_history_says_in_the_models_own_template(
    talk: Talk, direct: httpx.Client
) -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415 - it takes seconds, which collecting tests need not

    tokenizer = AutoTokenizer.from_pretrained(direct.get("/v1/models").json()["data"][0]["root"])
    said = [{"role": each["role"], "content": each["content"]} for each in talk.messages]
    assert len(talk.sent) == TURNS
    assert [each["role"] for each in said] == ["user", "assistant"] * TURNS
    for number, (turn, sent) in enumerate(zip(talk.turns, talk.sent, strict=True)):
        history = said[turn.trimmed_messages : 2 * number + 1]
        expected = [{"role": "system", "content": SYSTEM}, *history]
        rendered = tokenizer.apply_chat_template(expected, add_generation_prompt=True, tokenize=False)
        tokens = tokenizer(rendered, add_special_tokens=False)["input_ids"]
        asked = {"model": MODEL, "messages": sent["messages"]}
        seen = direct.post("/tokenize", json=asked).raise_for_status().json()["tokens"]
        assert seen == tokens
        assert turn.prompt_tokens == len(tokens)
