"""Gemma's control tokens in what people wrote, made harmless on the way to the engine. Pure.

vLLM's tokenizer takes `<start_of_turn>` within a text for the token itself, so that a text could forge a turn, and
`<image_soft_token>` could fail the request. A zero-width joiner behind the bracket makes ordinary text of it, which
looks the same.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.domain import JsonObject

JOINER = "\u200d"
CONTROL_TOKENS = (
    *("<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "[multimodal]", "<start_of_turn>", "<end_of_turn>"),
    *("<start_of_image>", "<end_of_image>", "<image_soft_token>"),
    *("<start_of_audio>", "<end_of_audio>", "<audio_soft_token>"),
)
"""Those of Gemma 3n's tokenizer, but for `<unused0>` and on, of which there are thousands."""

_AFTER_BRACKET = "|".join(re.escape(token[1:]) for token in CONTROL_TOKENS)
_BRACKET = re.compile(rf"[<\[](?={_AFTER_BRACKET}|unused\d+>)")
_UNFINISHED = re.compile(r"[<\[](?=\w*\s*\Z)")


def harmless(messages: tuple[JsonObject, ...]) -> tuple[JsonObject, ...]:
    """Return the messages with no control token in any text; the same object where there was none."""
    for message in messages:
        if _safe(message) is not message:
            return tuple(map(_safe, messages))
    return messages


def _safe(message: JsonObject) -> JsonObject:
    content = message["content"]
    safe = harmless_text(content) if isinstance(content, str) else _safe_parts(content)
    return message if safe is content else {**message, "content": safe}


def harmless_text(text: str) -> str:
    """Return a text without control tokens; the same object where there was none."""
    if "<" not in text and "[" not in text:
        return text
    return _BRACKET.sub(_joined, text) if _BRACKET.search(text) else text


def _safe_parts(parts: list[Any]) -> list[Any]:
    """Return content parts without control tokens, also none that two parts make together.

    The template writes the parts one right behind the other, without the white space at their ends.
    """
    texts = [part["text"] if part["type"] == "text" else "" for part in parts]
    safe = [harmless_text(text) for text in texts]
    if _BRACKET.search("".join(text.strip() for text in safe)):
        safe = [_UNFINISHED.sub(_joined, text) for text in safe]
    if safe == texts:
        return parts
    return [{**part, "text": text} if part["type"] == "text" else part for part, text in zip(parts, safe, strict=True)]


def _joined(bracket: re.Match[str]) -> str:
    return bracket[0] + JOINER
