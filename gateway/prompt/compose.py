"""Asked + History → the bytes that the engine gets."""

from __future__ import annotations

import orjson

from config import PromptSettings
from config.schema import UnknownFields
from gateway.domain import Asked, Endpoint, History, JsonObject, Prompt
from gateway.prompt.completion_prompt import ids_in, texts_in
from gateway.prompt.control_tokens import harmless
from gateway.prompt.media import NO_MEDIA, TEXT_ONLY, MediaLimits, media_in
from gateway.prompt.messages import checked_in_session
from gateway.prompt.normalise import normalised
from gateway.prompt.tools import with_tools

_USAGE_ON_EVERY_CHUNK = {"include_usage": True, "continuous_usage_stats": True}
"""vLLM's extension: cumulative usage on each chunk, so that a stream cut anywhere has been counted exactly."""

_TURN_TOKENS = 16
"""More than the template writes around a message."""


def compose(
    asked: Asked,
    history: History,
    settings: PromptSettings,
    limits: MediaLimits = TEXT_ONLY,
    priority: int = 0,
    defaults: JsonObject | None = None,
) -> Prompt:
    """Return the prompt: history before what is new, the server's defaults where the client was silent.

    The engine's messages are made to fit its template; `new_messages`, for the session, stay as they came. Raises
    InvalidRequest where they do not fit the session, or hold more images or clips together than `limits` allow.
    `defaults` are those of the settings, where they are at hand.
    """
    body: JsonObject = {**(defaults_of(settings) if defaults is None else defaults), **asked.body}
    new_messages: tuple[JsonObject, ...] = ()
    said: tuple[JsonObject, ...] = ()
    media = NO_MEDIA
    if asked.endpoint is Endpoint.CHAT:
        new_messages = body["messages"]
        in_session = asked.session_id is not None or bool(history.messages)
        said = _recalled(asked, history, settings, limits) if in_session else new_messages
        media = media_in(said, limits)
        body["messages"] = harmless(normalised(said)) if settings.normalise else said
    if asked.stream:
        body["stream"] = True
        body["stream_options"] = _USAGE_ON_EVERY_CHUNK
    if priority:
        body["priority"] = priority
    # orjson leaves up to four kilobytes behind the text of what it returns, and this is kept as long as the request.
    encoded = b"%b" % orjson.dumps(body)
    counted_tokens = history.counted_tokens or ids_in(body)
    if history.counted_tokens:
        text_bytes = _new_bytes(asked, said, limits)
    else:
        text_bytes = 0 if counted_tokens else len(encoded) - media.bytes
    output_tokens_limit = body.get("max_completion_tokens") or body["max_tokens"]
    prompts = texts_in(body)
    session_usage = _session_usage(history) if history.session_id else None
    # In the order of its members: by name it takes twice as long to make.
    return Prompt(
        asked.endpoint,
        asked.model,
        encoded,
        asked.stream,
        asked.wants_usage,
        new_messages,
        text_bytes,
        output_tokens_limit,
        body.get("n", 1) * prompts,
        asked.tools,
        asked.alias,
        counted_tokens,
        media.tokens,
        media.kinds,
        session_usage,
        prompts,
    )


def _new_bytes(asked: Asked, said: tuple[JsonObject, ...], limits: MediaLimits) -> int:
    """Return the bytes of what a session does not have yet: at least as many as the tokens it will have.

    They are counted as the engine gets them, at the end of what was `said`: as they came, calls have no content.
    """
    new = said[len(said) - len(asked.body["messages"]) :]
    media = media_in(new, limits)
    return len(orjson.dumps(harmless(new))) - media.bytes + len(asked.tool_text.encode()) + _TURN_TOKENS * len(new)


def _session_usage(history: History) -> JsonObject:
    """Return what of the session is in the prompt, and what is left out; null where no engine has counted it."""
    return {
        "history_messages": len(history.messages),
        "history_tokens": (history.counted_tokens or None) if history.messages else 0,
        "trimmed_messages": history.trimmed_messages,
        "trimmed_tokens": history.trimmed_tokens,
    }


def _recalled(asked: Asked, history: History, settings: PromptSettings, limits: MediaLimits) -> tuple[JsonObject, ...]:
    """Return history and new messages together. Raises InvalidRequest for a new one that does not fit."""
    drops_unknown = settings.unknown_fields is UnknownFields.DROP
    said = checked_in_session(history.messages, asked.body["messages"], drops_unknown, limits)
    return with_tools(said, asked.tool_text) if asked.tool_text else said


def defaults_of(settings: PromptSettings) -> JsonObject:
    """Return what the server asks for where the client says nothing."""
    wanted = {
        "temperature": settings.default_temperature,
        "top_p": settings.default_top_p,
        "top_k": settings.default_top_k,
    }
    return {name: value for name, value in wanted.items() if value is not None}
