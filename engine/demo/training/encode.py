"""Chats → token ids, and which of them the model has to learn to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from tokenizers import Tokenizer

from engine.demo.training.architecture import END_OF_TURN, START_OF_TURN
from engine.demo.training.chats import Chat

Renderer = Callable[[Chat], str]
"""A chat as the engine's prompt has it, the answers included; given from outside, as the gateway writes tools."""

LONGEST_TOKENS = 900


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


def batches(samples: Iterable[Sample], tokens: int, buffered: int, rng: Random) -> Iterator[list[Sample]]:
    """Return samples of like length together, at most `tokens` in a batch, padding counted, in random order."""
    buffer: list[Sample] = []
    for sample in samples:
        if len(sample.ids) <= LONGEST_TOKENS:
            buffer.append(sample)
        if len(buffer) >= buffered:
            yield from _cut(buffer, tokens, rng)
            buffer = []


def _cut(buffer: list[Sample], tokens: int, rng: Random) -> list[list[Sample]]:
    cut: list[list[Sample]] = [[]]
    for sample in sorted(buffer, key=lambda each: len(each.ids)):
        if (len(cut[-1]) + 1) * len(sample.ids) > tokens and cut[-1]:
            cut.append([])
        cut[-1].append(sample)
    rng.shuffle(cut)
    return cut
