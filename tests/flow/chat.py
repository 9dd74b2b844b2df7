"""Chat requests as tests send them, and streams as tests read them."""

from __future__ import annotations

import json
from typing import Any

import httpx

PATH = "/v1/chat/completions"


def body(text: str = "one two three", **fields: Any) -> dict[str, Any]:
    """Return a chat request; `fields` add to it or replace."""
    return {"model": "fake", "messages": [{"role": "user", "content": text}], "max_tokens": 8, **fields}


def payloads(text: str) -> list[str]:
    """Return the data of each event of a stream."""
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def content(text: str) -> str:
    """Return the words of a stream put together."""
    chunks = [json.loads(payload) for payload in payloads(text) if payload != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def post(client: httpx.AsyncClient, text: str = "one two three", **fields: Any) -> httpx.Response:
    """Send a chat request and return the whole response."""
    return await client.post(PATH, json=body(text, **fields))
