"""What a client that leaves is charged, against what the real vLLM counted itself."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.engine.vllm_metrics import value, wait_for_idle

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

GENERATED, PROMPTS = "vllm:generation_tokens_total", "vllm:prompt_tokens_total"
NO_END = {"logit_bias": {"1": -100, "5": -100}}
"""The model must not end its answer."""
MOST_AHEAD_TOKENS = 2
"""Of one sequence, which an engine step gives one token."""


def charged(client: httpx.Client) -> tuple[int, int, int, int]:
    """Return requests, prompt tokens, answer tokens and unmetered requests that are booked for the key so far."""
    rows = client.get("/v1/usage").raise_for_status().json()["data"]
    names = ("requests", "prompt_tokens", "completion_tokens", "unmetered_requests")
    requests, prompts, answers, unmetered = (sum(row[name] for row in rows) for name in names)
    return requests, prompts, answers, unmetered


def leave_after(client: httpx.Client, events: int) -> None:
    """Read so many events of a long stream and hang up."""
    messages = [{"role": "user", "content": "Go on and on."}]
    body = {"model": "gemma-3n-demo", "messages": messages, "max_tokens": 3500, "stream": True} | NO_END
    seen = 0
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        for line in answer.iter_lines():
            seen += line.startswith("data: {")
            if seen == events:
                return
    raise AssertionError("the stream ended by itself")


@pytest.mark.parametrize("events", [2, 3, 5, 9, 17, 33, 65, 129, 200])
def test_an_aborted_stream_is_charged_what_the_engine_did_but_for_two_steps(
    through: httpx.Client, direct: httpx.Client, events: int
) -> None:
    wait_for_idle(direct, 30)
    before, generated, read = charged(through), value(direct, GENERATED), value(direct, PROMPTS)
    leave_after(through, events)
    wait_for_idle(direct, 10)
    time.sleep(0.2)
    requests, prompts, answers, unmetered = (now - then for now, then in zip(charged(through), before, strict=True))
    assert (requests, unmetered) == (1, 0)
    assert prompts == value(direct, PROMPTS) - read
    ahead_tokens = value(direct, GENERATED) - generated - answers
    assert 0 <= ahead_tokens <= MOST_AHEAD_TOKENS
    # The first event says the role; each other one that was read has brought a token at least.
    assert answers >= events - 1
