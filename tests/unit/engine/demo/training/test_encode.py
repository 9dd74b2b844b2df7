"""A chat as tokens: what the model learns is what it says itself, and the prompt is the gateway's own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random

import pytest

from engine.demo.training.chats import Chat
from engine.demo.training.exam import fresh_chats

pytestmark = pytest.mark.engine


def test_the_models_turns_are_learnt_and_nothing_else(checkpoint: Path) -> None:
    from tokenizers import Tokenizer  # noqa: PLC0415 - absent where the engine is not installed

    from engine.demo.training.encode import encoded  # noqa: PLC0415
    from tools.train_demo import renderer  # noqa: PLC0415

    tokenizer, render = Tokenizer.from_file(str(checkpoint / "tokenizer.json")), renderer()
    for made in islice(fresh_chats(Random(3), frozenset()), 300):
        sample = encoded(tokenizer, render, made)
        learnt = tokenizer.decode([i for i, it in zip(sample.ids, sample.learnt, strict=True) if it])
        answers = [str(message["content"]) for message in made.messages if message["role"] == "assistant"]
        assert learnt == "".join(answers[-1:] if made.last_only else answers)


def test_a_tool_is_shown_as_the_gateway_shows_it() -> None:
    from tools.train_demo import renderer  # noqa: PLC0415

    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
    text = renderer()(Chat(({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}), (tool,)))
    assert text.startswith("<bos><start_of_turn>user\nYou can call these tools.")
    assert '{"name":"get_weather","parameters":{"type":"object"}}' in text
    assert text.endswith("Hi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n")
