"""What the prompt of a completion is: one text, several, each of which is answered by itself, or token ids. Pure."""

from __future__ import annotations

from typing import Any, TypeGuard

from gateway.domain import JsonObject
from gateway.errors import InvalidRequest


def completion_prompt(given: Any) -> Any:
    """Return a prompt that has passed its check as the engine gets it. Raises InvalidRequest for an empty one."""
    if not given or (isinstance(given, list) and "" in given):
        raise InvalidRequest("You must provide a 'prompt'.", param="prompt", code="missing_required_parameter")
    return given[0] if _is_texts(given) and len(given) == 1 else given


def texts_in(body: JsonObject) -> int:
    """Return how many prompts a request has in one."""
    prompt = body.get("prompt")
    return len(prompt) if _is_texts(prompt) else 1


def ids_in(body: JsonObject) -> int:
    """Return how many token ids the prompt is made of, 0 where it is no such."""
    prompt = body.get("prompt")
    return len(prompt) if isinstance(prompt, list) and not _is_texts(prompt) else 0


def _is_texts(prompt: Any) -> TypeGuard[list[str]]:
    return isinstance(prompt, list) and isinstance(prompt[0], str)
