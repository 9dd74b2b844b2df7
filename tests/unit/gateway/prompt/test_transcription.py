"""A clip's form becomes a chat in the model's own words; what it cannot mean is refused by its name."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from openai.resources.audio import Transcriptions, Translations

from gateway.errors import InvalidRequest
from gateway.prompt.languages import LANGUAGES
from gateway.prompt.media import MediaLimits
from gateway.prompt.policy import Action
from gateway.prompt.transcription import FIELDS, Task, as_chat
from tests.fakes.samples import audio_part, sample, silence

LIMITS = MediaLimits(0, 1, 500_000, 0, 30.0)
CLIP = sample("clip.wav")
_OF_THE_SDK = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}


def chat_of(fields: Mapping[str, str | bytes], task: Task = Task.TRANSCRIBE) -> tuple[dict[str, Any], str]:
    """Return what becomes of a form with a model and a clip, and with these fields."""
    return as_chat(task, list({"model": "m", "file": CLIP, **fields}.items()), LIMITS)


def words(chat: dict[str, Any]) -> str:
    """Return what the model is asked."""
    text: str = chat["messages"][0]["content"][0]["text"]
    return text


def test_a_clip_is_asked_for_in_one_turn() -> None:
    chat, form = chat_of({})
    assert form == "json"
    assert chat == {
        "model": "m",
        "temperature": 0,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Transcribe this audio:"}, audio_part()]},
        ],
    }


@pytest.mark.parametrize(
    ("task", "fields", "asked"),
    [
        (Task.TRANSCRIBE, {"language": "de"}, "Transcribe this audio into German:"),
        (Task.TRANSLATE, {}, "Translate this audio into English:"),
        (Task.TRANSLATE, {"language": "de"}, "Translate this audio from German into English:"),
        (Task.TRANSLATE, {"language": "de", "to_language": "fr"}, "Translate this audio from German into French:"),
    ],
)
def test_languages_are_named(task: Task, fields: dict[str, str], asked: str) -> None:
    assert words(chat_of(fields, task)[0]) == asked


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        ({"temperature": "0.2"}, {"temperature": 0.2}),
        ({"seed": "7", "top_p": "1"}, {"seed": 7, "top_p": 1}),
        ({"max_completion_tokens": "9"}, {"max_completion_tokens": 9}),
        ({"stream": "true"}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": "false"}, {"stream": False}),
        ({"prompt": "Style.", "chunking_strategy": "auto", "hotwords": "x"}, {}),
    ],
)
def test_numbers_are_read_and_passed_on(fields: dict[str, str], passed: dict[str, Any]) -> None:
    bare, given = chat_of({})[0], chat_of(fields)[0]
    assert given == bare | passed


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"language": "german"}, "language"),
        ({"language": "xx"}, "language"),
        ({"temperature": "warm"}, "temperature"),
        ({"temperature": "3"}, "temperature"),
        ({"temperature": "NaN"}, "temperature"),
        ({"seed": "1.5"}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"response_format": "verbose_json"}, "response_format"),
        ({"response_format": "srt"}, "response_format"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"include[]": "logprobs"}, "include"),
        ({"n": "2"}, "n"),
        ({"colour": "red"}, "colour"),
        ({"model": b"m"}, "model"),
        ({"model": ""}, "model"),
        ({"file": "not a file"}, "file"),
        ({"file": b""}, "file"),
        ({"file": b"hello"}, "file"),
        ({"file": silence(31)}, "file"),
        ({"file": silence(1) + bytes(500_000)}, "file"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, str | bytes], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat_of(fields)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_a_file_is_needed() -> None:
    with pytest.raises(InvalidRequest) as caught:
        as_chat(Task.TRANSCRIBE, [("model", "m")], LIMITS)
    assert caught.value.param == "file"


@pytest.mark.parametrize("method", [Transcriptions.create, Translations.create])
def test_every_field_of_the_sdk_has_a_row(method: Any) -> None:
    assert set(inspect.signature(method).parameters) - _OF_THE_SDK <= FIELDS.keys()


def vllm_source(path: str) -> ast.Module:
    """Return a file of the installed vLLM; importing it would take seconds."""
    found = importlib.util.find_spec("vllm")
    assert found
    assert found.origin
    return ast.parse((Path(found.origin).parent / path).read_text(encoding="utf-8"))


@pytest.mark.engine
@pytest.mark.parametrize("task", ["transcription", "translation"])
def test_every_field_of_vllm_has_a_row(task: str) -> None:
    tree = vllm_source(f"entrypoints/speech_to_text/{task}/protocol.py")
    name = f"{task.capitalize()}Request"
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    targets = [node.target for node in body if isinstance(node, ast.AnnAssign)]
    fields = {target.id for target in targets if isinstance(target, ast.Name) and not target.id.startswith("_")}
    assert "file" in fields
    assert fields <= FIELDS.keys()


@pytest.mark.engine
def test_the_languages_are_those_of_vllm() -> None:
    tree = vllm_source("model_executor/models/whisper_utils.py")
    (known,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ISO639_1_SUPPORTED_LANGS"
    )
    assert known == LANGUAGES


def test_every_refusal_has_a_reason() -> None:
    assert all(row.note for row in FIELDS.values() if row.action is Action.REFUSE)
