"""The same chat through the gateway and straight from vLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.engine.vllm_metrics import wait_for_idle
from tests.fakes.gateway import GatewayProcess
from tests.fakes.redis_server import RedisServer
from tests.fakes.stack import ServeProcess
from tests.flow.chat import payloads

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PATH = "/v1/chat/completions"
PROMPTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "prompts.json").read_text(encoding="utf-8"))


def essence(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what must be the same: text, finish reason and token counts."""
    choice = answer["choices"][0]
    usage = {name: answer["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return {"text": choice["message"]["content"], "finish_reason": choice["finish_reason"], "usage": usage}


def test_there_are_twenty_prompts_of_every_kind() -> None:
    roles = [[message["role"] for message in prompt["messages"]] for prompt in PROMPTS]
    assert len(PROMPTS) == 20
    assert any("system" in turn for turn in roles)
    assert any(turn.count("user") > 1 for turn in roles)
    assert any("\u4e00" <= letter <= "\u9fff" for prompt in PROMPTS for letter in str(prompt))


@pytest.mark.parametrize("prompt", PROMPTS, ids=range(len(PROMPTS)))
def test_the_gateway_changes_no_answer(through: httpx.Client, direct: httpx.Client, prompt: dict[str, Any]) -> None:
    wait_for_idle(direct, 20)
    body = {"model": "gemma-3n-demo", **prompt}
    straight = direct.post(PATH, json=body).raise_for_status().json()
    relayed = through.post(PATH, json=body).raise_for_status().json()
    assert essence(relayed) == essence(straight)
    assert essence(straight)["usage"]["completion_tokens"] > 0
    streamed = through.post(PATH, json={**body, "stream": True, "stream_options": {"include_usage": True}})
    assert _put_together(streamed.text) == essence(straight)


def _put_together(text: str) -> dict[str, Any]:
    *chunks, end = payloads(text)
    assert end == "[DONE]"
    parsed = [json.loads(chunk) for chunk in chunks]
    choices = [choice for chunk in parsed for choice in chunk["choices"]]
    message = {"content": "".join(choice["delta"].get("content") or "" for choice in choices)}
    reason = next(choice["finish_reason"] for choice in reversed(choices) if choice["finish_reason"])
    return essence({"choices": [{"message": message, "finish_reason": reason}], "usage": parsed[-1]["usage"]})


def test_a_prompt_over_the_context_is_refused_as_openai_does(through: httpx.Client) -> None:
    body = {"model": "gemma-3n-demo", "messages": [{"role": "user", "content": "word " * 6000}], "max_tokens": 8}
    for stream in (False, True):
        response = through.post(PATH, json={**body, "stream": stream})
        assert (response.status_code, response.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_prompt_is_refused_from_the_token_on_from_which_vllm_refuses_it(
    served: ServeProcess, direct: httpx.Client, redis_server: RedisServer
) -> None:
    """By a gateway of its own, which has learnt of no other prompts how many bytes a token has."""

    def chat(words: int) -> dict[str, Any]:
        return {"model": "gemma-3n-demo", "messages": [{"role": "user", "content": "red " * words}], "max_tokens": 8}

    counted = direct.post("/tokenize", json=chat(100)).json()
    context_tokens, most_words = counted["max_model_len"], counted["max_model_len"] - counted["count"] + 99
    settings = {"engine.served_model_name": "gemma-3n-demo"}
    async with GatewayProcess(redis_server.url, [served.engine_url], settings) as gateway:
        await gateway.ready()
        for words, status in ((most_words + 2, 400), (most_words + 1, 400), (most_words, 200)):
            assert direct.post(PATH, json=chat(words)).status_code == status
            answer = await gateway.client.post(PATH, json=chat(words))
            assert answer.status_code == status
            if status == 400:
                tokens = context_tokens - 1 + words - most_words
                assert f"your messages resulted in {tokens} tokens" in answer.json()["error"]["message"]


def test_a_session_remembers_and_the_engine_gets_the_whole_history(through: httpx.Client) -> None:
    session = through.post("/v1/sessions", json={"system": "Be brief."}).json()
    path = f"/v1/sessions/{session['id']}/messages"
    first = through.post(path, json={"content": "My name is Ann.", "max_tokens": 8, "temperature": 0}).json()
    text = through.post(path, json={"content": "Who am I?", "max_tokens": 8, "temperature": 0, "stream": True}).text
    said = through.get(path).json()["data"]
    assert [message["role"] for message in said] == ["user", "assistant"] * 2
    assert said[1]["content"] == first["choices"][0]["message"]["content"]
    assert said[3]["content"] == "".join(
        choice["delta"].get("content") or ""
        for payload in payloads(text)[:-1]
        for choice in json.loads(payload)["choices"]
    )
    whole = [{"role": "system", "content": "Be brief."}]
    whole += [{"role": message["role"], "content": message["content"]} for message in said[:3]]
    alone = through.post(PATH, json={"model": "gemma-3n-demo", "messages": whole, "max_tokens": 8, "temperature": 0})
    assert alone.json()["choices"][0]["message"]["content"] == said[3]["content"]


def test_tokens_are_counted_as_the_engine_charges_them(through: httpx.Client) -> None:
    for prompt in PROMPTS[:6]:
        body = {"model": "gemma-3n-demo", **prompt, "max_tokens": 1}
        counted = through.post("/v1/tokenize", json=body).raise_for_status().json()
        answered = through.post(PATH, json=body).raise_for_status().json()
        assert counted["prompt_tokens"] == answered["usage"]["prompt_tokens"]


def test_the_gateway_learns_that_the_model_takes_text_alone(through: httpx.Client) -> None:
    (engine,) = through.get("/admin/fleet").raise_for_status().json()["data"]
    assert (engine["state"], engine["media"]) == ("ready", [])
