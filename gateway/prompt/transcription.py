"""A transcription or translation of a clip, as the chat that it stands for. Pure.

https://platform.openai.com/docs/api-reference/audio/createTranscription. Gemma 3n has no mode for it: it is asked in
words, the same that vLLM's own route uses (`get_generation_prompt` in gemma3n_mm.py). As a chat it has the same
checks, limits and account as any other, which vLLM's route would not give: it tells no tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import orjson

from gateway.domain import JsonObject
from gateway.errors import InvalidRequest
from gateway.prompt.checks import boolean, integer, number, one_of, text
from gateway.prompt.languages import LANGUAGES
from gateway.prompt.media import MediaLimits, clip_part
from gateway.prompt.policy import MAX_NAME_CHARACTERS, Action, Parameter

_NO_TIMES = "Gemma 3n tells no times and no speakers."
_SLOWS = "It can be used to slow or stop the engine."


class Task(StrEnum):
    """What is to be done with a clip; the value is the route."""

    TRANSCRIBE = "/v1/audio/transcriptions"
    TRANSLATE = "/v1/audio/translations"


def _rows(action: Action, note: str, *names: str) -> list[Parameter]:
    return [Parameter(name, action, None, note) for name in names]


_CHAT_FIELDS = (
    Parameter("temperature", Action.PASS, number(0, 2), "The default is 0."),
    Parameter("top_p", Action.PASS, number(0, 1)),
    Parameter("top_k", Action.PASS, integer(-1, 100_000)),
    Parameter("min_p", Action.PASS, number(0, 1)),
    Parameter("repetition_penalty", Action.PASS, number(0.01, 10)),
    Parameter("presence_penalty", Action.PASS, number(-2, 2)),
    Parameter("frequency_penalty", Action.PASS, number(-2, 2)),
    Parameter("seed", Action.PASS, integer(-(2**63) + 1, 2**63 - 1)),
    Parameter("max_completion_tokens", Action.PASS, integer(1, 2**63 - 1)),
    Parameter("stream", Action.PASS, boolean(), "Events `transcript.text.delta` and one `transcript.text.done`."),
    Parameter("model", Action.PASS, text(MAX_NAME_CHARACTERS, min_characters=1), "A name that /v1/models lists."),
)

FIELDS: dict[str, Parameter] = {
    row.name: row
    for row in (
        *_CHAT_FIELDS,
        Parameter("file", Action.GATEWAY, None, "A WAV, MP3, FLAC or Ogg clip."),
        Parameter("language", Action.GATEWAY, one_of(*LANGUAGES), "ISO 639-1: of the clip."),
        Parameter("to_language", Action.GATEWAY, one_of(*LANGUAGES), "vLLM's, of a translation; English without it."),
        Parameter("response_format", Action.GATEWAY, one_of("json", "text")),
        *_rows(Action.IGNORE, "Accepted without effect.", "prompt", "hotwords", "chunking_strategy", "watermarking"),
        *_rows(Action.IGNORE, "Accepted without effect.", "stream_include_usage", "stream_continuous_usage_stats"),
        *_rows(Action.IGNORE, "Accepted without effect.", "keywords", "languages"),
        *_rows(Action.REFUSE, _NO_TIMES, "timestamp_granularities", "known_speaker_names", "known_speaker_references"),
        *_rows(Action.REFUSE, "Only chats give log probabilities.", "include"),
        *_rows(Action.REFUSE, _SLOWS, "use_beam_search", "n", "length_penalty", "vllm_xargs"),
        *_rows(Action.REFUSE, "It changes how the answer is read.", "include_stop_str_in_output"),
    )
}
"""Of both routes: every field of OpenAI's SDK and of vLLM's forms; tests compare."""


def as_chat(task: Task, form: Iterable[tuple[str, str | bytes]], limits: MediaLimits) -> tuple[JsonObject, str]:
    """Return the chat request and the response format. Raises InvalidRequest naming the field."""
    passed: JsonObject = {"temperature": 0}
    own: JsonObject = {}
    for given, value in form:
        row = FIELDS.get(given.removesuffix("[]"))
        if row is None:
            raise InvalidRequest(f"Unrecognized request argument: '{given[:64]}'.", param=given[:64])
        if row.action is not Action.IGNORE:
            (passed if row.action is Action.PASS else own)[row.name] = _checked(row, value)
    if "file" not in own:
        raise InvalidRequest("You must provide a 'file'.", param="file", code="missing_required_parameter")
    words = {"type": "text", "text": _words(task, own.get("language"), own.get("to_language"))}
    content = [words, clip_part(own["file"], "file", limits)]
    chat = {**passed, "messages": [{"role": "user", "content": content}]}
    if passed.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    return chat, own.get("response_format", "json")


def _checked(row: Parameter, value: str | bytes) -> Any:
    """Return a field's value; a form has texts only, so a number or a truth value is read as JSON."""
    if isinstance(value, bytes) != (row.name == "file"):
        raise _invalid(row.name, "a file" if row.name == "file" else "a text, not a file")
    if row.action is Action.REFUSE:
        raise InvalidRequest(f"'{row.name}' is not accepted. {row.note}", param=row.name, code="unsupported_parameter")
    if row.check is None or row.check.problem(value) is None:
        return value
    try:
        read = orjson.loads(value)
    except orjson.JSONDecodeError:
        read = None
    problem = row.check.problem(read)
    if problem is not None:
        raise _invalid(row.name, problem)
    return read


def _words(task: Task, language: str | None, to_language: str | None) -> str:
    if task is Task.TRANSCRIBE:
        return f"Transcribe this audio into {LANGUAGES[language]}:" if language else "Transcribe this audio:"
    spoken = f" from {LANGUAGES[language]}" if language else ""
    return f"Translate this audio{spoken} into {LANGUAGES[to_language or 'en']}:"


def _invalid(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"'{name}' must be {wanted}.", param=name, code="invalid_value")
