"""The chat template is Gemma 3n's own, and it does with a conversation what Gemma 3n expects."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from engine import demo

# Of the constant `_CHAT_TEMPLATE` in transformers' convert_gemma3n_weights.py. The packages of transformers, wheel and
# source alike, leave that script out, so there is nothing installed to compare with but this digest.
UPSTREAM_SHA256 = "ac03dcb3b09726f1e50ac55ae58fc8d5930eadc3b3a12cb04286dc1d82ac8001"
TEMPLATE = Path(demo.__file__).parent / "chat_template.jinja"


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def render(checkpoint: Path, messages: list[dict[str, Any]]) -> str:
    from transformers import AutoTokenizer  # noqa: PLC0415 - absent where the engine is not installed

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert isinstance(text, str)
    return text


def test_the_template_is_byte_for_byte_gemma_3ns() -> None:
    assert hashlib.sha256(TEMPLATE.read_bytes()).hexdigest() == UPSTREAM_SHA256


def test_its_licence_and_source_are_named() -> None:
    notice = TEMPLATE.with_name("NOTICE.txt").read_text()
    assert "Apache License, Version 2.0" in notice
    assert "convert_gemma3n_weights.py" in notice


@pytest.mark.engine
def test_the_checkpoint_carries_the_template(checkpoint: Path) -> None:
    assert (checkpoint / TEMPLATE.name).read_bytes() == TEMPLATE.read_bytes()


@pytest.mark.engine
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(" Hi ")], "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"),
        (
            [system("Be brief."), user("Hi")],
            "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            [user("Hi"), assistant("Yes?"), user([{"type": "text", "text": "你"}, {"type": "text", "text": "好"}])],
            (
                "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
                "<start_of_turn>user\n你好<end_of_turn>\n<start_of_turn>model\n"
            ),
        ),
    ],
)
def test_a_conversation_becomes_gemma_3ns_turns(
    checkpoint: Path, messages: list[dict[str, Any]], expected: str
) -> None:
    assert render(checkpoint, messages) == expected


@pytest.mark.engine
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("messages", [[user("a"), user("b")], [assistant("a")], [system("a"), system("b"), user("c")]])
def test_roles_that_do_not_alternate_are_refused(checkpoint: Path, messages: list[dict[str, Any]]) -> None:
    from jinja2 import TemplateError  # noqa: PLC0415 - absent where the engine is not installed

    with pytest.raises(TemplateError, match="must alternate"):
        render(checkpoint, messages)
