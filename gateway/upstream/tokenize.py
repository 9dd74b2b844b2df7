"""How many tokens a prompt has, as the engine counts them after its chat template: vLLM's `POST /tokenize`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from gateway.domain import EngineClient, EngineRequest, Prompt, Replica, RequestId
from gateway.errors import EngineBroke
from gateway.upstream.answer import read_all, refusal_of

_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_ASKED = ("model", "messages", "prompt")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A prompt's length, and the longest prompt and answer together that the model takes."""

    tokens: int
    max_model_len_tokens: int


async def count_tokens(client: EngineClient, replica: Replica, prompt: Prompt, request_id: RequestId) -> TokenCount:
    """Return the length of `prompt`. Raises EngineFailure, or the engine's refusal as one of ours."""
    body = orjson.loads(prompt.body)
    asked = {name: body[name] for name in _ASKED if name in body}
    if "messages" in asked:
        # As the answer will be asked for.
        asked["add_generation_prompt"] = True
    headers = (("content-type", "application/json"), ("x-request-id", request_id))
    stream = await client.open(replica, EngineRequest("POST", "/tokenize", orjson.dumps(asked), headers))
    try:
        if stream.status != 200:
            raise await refusal_of(stream)
        return _count(await read_all(stream, _MAX_ANSWER_BYTES))
    finally:
        stream.close()


def _count(answer: bytes) -> TokenCount:
    try:
        counted: Any = orjson.loads(answer)
        return TokenCount(int(counted["count"]), int(counted["max_model_len"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise EngineBroke("The engine's count has an unknown shape.") from None
