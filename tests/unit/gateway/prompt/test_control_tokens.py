"""Control tokens that people write are text to the engine, and everything else stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.prompt.control_tokens import CONTROL_TOKENS, JOINER, harmless, harmless_text

TOKENS = (*CONTROL_TOKENS, "<unused0>", "<unused98>", "<unused6241>")
PIECES = st.sampled_from(
    (*TOKENS, "<", ">", "[", "]", "start_of", "_turn>", "bos>", " ", "\n", "word", "<b>", "multimodal]")
)
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def contents(*given_contents: Any) -> list[Any]:
    """Return what becomes of these contents."""
    messages = tuple({"role": "user", "content": content} for content in given_contents)
    return [message["content"] for message in harmless(messages)]


def parts(*texts: str) -> list[dict[str, str]]:
    """Return text parts."""
    return [{"type": "text", "text": text} for text in texts]


def has_token(text: str) -> bool:
    """Say whether a tokenizer would find a control token."""
    return any(token in text for token in TOKENS)


@pytest.mark.parametrize("token", TOKENS)
def test_a_joiner_goes_behind_the_bracket(token: str) -> None:
    assert harmless_text(f"a {token} b") == f"a {token[0]}{JOINER}{token[1:]} b"


@pytest.mark.parametrize(
    "text", ["", "a < b", "<b>bold</b>", "[1, 2]", "<start_of_turn", "start_of_turn>", "< bos>", "<unused>", "<BOS>"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert harmless_text(text) is text


@given(TEXTS)
def test_no_token_is_left_and_no_word_is_lost(text: str) -> None:
    safe = harmless_text(text)
    assert not has_token(safe)
    assert safe.replace(JOINER, "") == text
    assert harmless_text(safe) is safe


def test_every_role_is_looked_at() -> None:
    messages = tuple({"role": role, "content": "<eos>"} for role in ("system", "user", "assistant"))
    assert [message["content"] for message in harmless(messages)] == [f"<{JOINER}eos>"] * 3


def test_messages_without_tokens_are_the_same_object() -> None:
    messages = ({"role": "user", "content": "a < b"}, {"role": "assistant", "content": parts("x", "y")})
    assert harmless(messages) is messages


def test_the_messages_that_came_are_not_changed() -> None:
    messages = ({"role": "user", "content": parts("<bos>")},)
    assert harmless(messages) == ({"role": "user", "content": parts(f"<{JOINER}bos>")},)
    assert messages == ({"role": "user", "content": parts("<bos>")},)


def test_parts_do_not_make_a_token_together() -> None:
    assert contents(parts("a <start_of ", "", "\n_turn> b")) == [parts(f"a <{JOINER}start_of ", "", "\n_turn> b")]


def test_parts_that_only_look_like_a_beginning_stay_as_they_are() -> None:
    content = parts("a <", "b>")
    assert contents(content) == [content]


def test_parts_of_another_type_stay_as_they_are() -> None:
    image = {"type": "image_url", "image_url": {"url": "<bos>"}}
    assert contents([image, *parts("<bos>")]) == [[image, *parts(f"<{JOINER}bos>")]]


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_the_template_writes_no_token_of_any_parts(texts: list[str]) -> None:
    ((*safe,),) = contents(parts(*texts))
    assert not has_token("".join(part["text"].strip() for part in safe))
    assert "".join(part["text"] for part in safe).replace(JOINER, "") == "".join(texts)
