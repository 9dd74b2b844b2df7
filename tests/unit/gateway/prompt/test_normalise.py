"""Any conversation becomes one that Gemma's template takes, and no word of it is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import JsonObject
from gateway.prompt.normalise import normalised

TEMPLATE = Path(__file__).parents[4] / "engine" / "demo" / "chat_template.jinja"
ROLES = st.sampled_from(["system", "developer", "user", "assistant"])
WORDS = st.text(alphabet="abc \n<>", max_size=6)
PARTS = st.lists(st.builds(lambda text: {"type": "text", "text": text}, WORDS), min_size=1, max_size=3)
MEDIA = st.just([{"type": "image_url", "image_url": {"url": "data:,"}}])
MESSAGES = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, ROLES, WORDS | PARTS), min_size=1
)
ANY_PART = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, WORDS),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, st.sampled_from(["i1", "i2", "i3"])),
    st.builds(lambda url: {"type": "audio_url", "audio_url": {"url": url}}, st.sampled_from(["a1", "a2", "a3"])),
)
WITH_MEDIA = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, ROLES, WORDS)
    | st.builds(lambda content: {"role": "user", "content": content}, st.lists(ANY_PART, min_size=1, max_size=4)),
    min_size=1,
)


def said(role: str, content: Any) -> JsonObject:
    """Return a message."""
    return {"role": role, "content": content}


def part(text: str) -> JsonObject:
    """Return a text part."""
    return {"type": "text", "text": text}


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("given_messages", "expected"),
    [
        ([said("developer", "a"), said("user", "b")], [said("system", "a"), said("user", "b")]),
        ([said("user", "a"), said("user", "b")], [said("user", "a\n\nb")]),
        ([said("user", "a"), said("user", ""), said("user", "b")], [said("user", "a\n\nb")]),
        ([said("assistant", "a"), said("user", "b")], [said("user", ""), said("assistant", "a"), said("user", "b")]),
        ([said("system", "a")], [said("system", "a"), said("user", "")]),
        (
            [said("system", "a"), said("user", "b"), said("system", "c"), said("user", "d")],
            [said("system", "a\n\nc"), said("user", "b\n\nd")],
        ),
        ([said("system", [part("a"), part("b")]), said("user", "c")], [said("system", "a\n\nb"), said("user", "c")]),
        (
            [said("user", [part("a"), part("b")]), said("user", "c"), said("user", [part("d"), IMAGE])],
            [said("user", [part("a"), part("b\n\nc\n\nd"), IMAGE])],
        ),
        (
            [said("user", [part("a"), IMAGE]), said("user", [IMAGE, part("b")])],
            [said("user", [part("a"), IMAGE, IMAGE, part("b")])],
        ),
        ([said("user", "a"), said("user", [IMAGE, part("b")])], [said("user", [part("a"), IMAGE, part("b")])]),
    ],
)
def test_what_the_template_would_refuse_is_put_in_turns(
    given_messages: list[JsonObject], expected: list[JsonObject]
) -> None:
    assert list(normalised(tuple(given_messages))) == expected


def in_turns(messages: tuple[JsonObject, ...]) -> bool:
    """Say whether these are user and assistant in turns, after one system text at most."""
    roles = [message["role"] for message in messages]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    return bool(turns) and turns == [("user", "assistant")[index % 2] for index in range(len(turns))]


def text_of(messages: tuple[JsonObject, ...] | list[JsonObject], system: bool) -> str:
    """Return all text of system messages, or of the others, without white space."""
    found = [
        message["content"]
        if isinstance(message["content"], str)
        else "".join(each["text"] for each in message["content"])
        for message in messages
        if (message["role"] in ("system", "developer")) is system
    ]
    return "".join("".join(found).split())


@given(MESSAGES)
def test_the_result_is_in_turns(messages: list[JsonObject]) -> None:
    assert in_turns(normalised(tuple(messages)))


@given(MESSAGES)
def test_no_text_is_lost_and_none_reordered(messages: list[JsonObject]) -> None:
    result = normalised(tuple(messages))
    for system in (True, False):
        assert text_of(result, system) == text_of(messages, system)


@given(MESSAGES)
def test_every_text_keeps_its_role(messages: list[JsonObject]) -> None:
    result = normalised(tuple(messages))
    for role in ("user", "assistant"):
        mine = [message for message in messages if message["role"] == role]
        assert text_of([each for each in result if each["role"] == role], False) == text_of(mine, False)


@given(MESSAGES)
def test_doing_it_twice_is_doing_it_once(messages: list[JsonObject]) -> None:
    once = normalised(tuple(messages))
    assert normalised(once) is once


@given(st.none() | WORDS, st.lists(WORDS | PARTS | MEDIA, min_size=1))
def test_what_is_in_turns_is_not_touched(system: str | None, contents: list[Any]) -> None:
    first = [said("system", system)] if system is not None else []
    turns = [said(("user", "assistant")[index % 2], content) for index, content in enumerate(contents)]
    messages = (*first, *turns)
    assert normalised(messages) is messages


def seen_in(messages: tuple[JsonObject, ...] | list[JsonObject]) -> list[str]:
    """Return what a reader of all but the system's text would see, letter by letter and picture by picture."""
    seen: list[str] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        content = message["content"]
        for each in [part(content)] if isinstance(content, str) else content:
            seen += "".join(each["text"].split()) if each["type"] == "text" else [each[each["type"]]["url"]]
    return seen


@given(WITH_MEDIA)
def test_images_and_clips_stay_where_they_were_among_the_words(messages: list[JsonObject]) -> None:
    result = normalised(tuple(messages))
    assert in_turns(result)
    assert seen_in(result) == seen_in(messages)
    assert normalised(result) is result


@given(MESSAGES)
def test_what_came_is_not_changed(messages: list[JsonObject]) -> None:
    before = repr(messages)
    normalised(tuple(messages))
    assert repr(messages) == before


@given(MESSAGES)
def test_the_template_takes_it_and_writes_every_word_of_it(messages: list[JsonObject]) -> None:
    result = normalised(tuple(messages))
    written = rendered(result)
    assert "".join(written.split()).count("<start_of_turn>") >= len(result) - 1
    everything = [text_of([message], system) for message in result for system in (True, False)]
    rest = "".join(written.split())
    for text in everything:
        at = rest.find(text)
        assert at >= 0
        rest = rest[at + len(text) :]


def rendered(messages: tuple[JsonObject, ...]) -> str:
    """Return what vLLM makes of messages. It gives a template that knows parts every content as parts."""
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = _raise
    as_parts = [
        {
            **message,
            "content": [part(message["content"])] if isinstance(message["content"], str) else message["content"],
        }
        for message in messages
    ]
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(messages=as_parts, bos_token="<bos>", add_generation_prompt=True)


def _raise(message: str) -> None:
    raise AssertionError(message)


def test_the_template_refuses_what_is_not_in_turns() -> None:
    with pytest.raises(AssertionError, match="alternate"):
        rendered((said("user", "a"), said("user", "b")))


def test_a_long_run_of_one_role_takes_no_square_of_time() -> None:
    text = "x" * 5000
    (turn,) = normalised(tuple([said("user", [part(text)])] + [said("user", text)] * 2000))
    assert len(turn["content"]) == 1
    assert len(turn["content"][0]["text"]) == 2001 * 5000 + 2000 * 2
