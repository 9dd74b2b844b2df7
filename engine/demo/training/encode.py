"""Chats → token ids, and which of them the model has to learn to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Tokenizer

from engine.demo.training.architecture import END_OF_TURN, START_OF_TURN
from engine.demo.training.chats import Chat

Renderer = Callable[[Chat], str]
"""A chat as the engine's prompt has it, the answers included; given from outside, as the gateway writes tools."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Token ids, and for each of them whether it is to be learnt."""

    ids: list[int]
    learnt: list[bool]


def encoded(tokenizer: Tokenizer, render: Renderer, made: Chat) -> Sample:
    """Return a chat as a sample."""
    ids = tokenizer.encode(render(made), add_special_tokens=False).ids
    learnt = [False] * len(ids)
    head = tokenizer.encode("model\n", add_special_tokens=False).ids
    starts = [at for at, token in enumerate(ids) if token == START_OF_TURN]
    for start in starts[-1:] if made.last_only else starts:
        begin = start + 1 + len(head)
        if ids[start + 1 : begin] == head:
            end = ids.index(END_OF_TURN, begin)
            learnt[begin : end + 1] = [True] * (end + 1 - begin)
    return Sample(ids, learnt)
