"""A seed, and prompts too long to be read beside others: together they once ended the engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def asked(through: httpx.Client, number: int) -> httpx.Response:
    """Ask with a seed and a prompt of some 2,000 tokens that nobody has asked before."""
    words = " ".join(str(number * 10_000 + index) for index in range(400))
    messages = [{"role": "user", "content": words}]
    body: dict[str, Any] = {"model": "gemma-3n-demo", "messages": messages, "max_tokens": 4, "seed": 7}
    return through.post("/v1/chat/completions", json=body)


def test_long_prompts_with_a_seed_are_answered_side_by_side(through: httpx.Client) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: asked(through, number), range(6)))
    assert [answer.status_code for answer in answers] == [200] * 6
    assert min(answer.json()["usage"]["prompt_tokens"] for answer in answers) > 1000
