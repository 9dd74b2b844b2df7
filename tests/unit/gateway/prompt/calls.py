"""Requests as the tests of this room send them."""

from __future__ import annotations

from typing import Any

import orjson

from config import PromptSettings
from gateway.domain import Asked, Call, Caller, Endpoint, RequestId
from gateway.prompt import Policy, parse
from gateway.prompt.media import MediaLimits

MODEL = "gemma-3n"
HELLO: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
MEDIA = MediaLimits(2, 2, 100_000, 10_000, 30.0)
ONCE: dict[str, Any] = {"model": MODEL, "prompt": "Once"}


def call(
    body: bytes,
    endpoint: Endpoint = Endpoint.CHAT,
    session_id: str | None = None,
    models: frozenset[str] | None = None,
) -> Call:
    """Return a call with this body."""
    return Call(RequestId("req_1"), endpoint, Caller("acme", "ann", models=models), body, session_id)


def policy(**settings: Any) -> Policy:
    """Return a policy under these settings, with two models served."""
    return Policy(PromptSettings(**settings), frozenset({MODEL, "other"}), media=MEDIA)


def parsed(fields: dict[str, Any], endpoint: Endpoint = Endpoint.CHAT, **settings: Any) -> Asked:
    """Parse a minimal request with `fields` in it."""
    minimal = HELLO if endpoint is Endpoint.CHAT else ONCE
    return parse(call(orjson.dumps({**minimal, **fields}), endpoint), policy(**settings))
