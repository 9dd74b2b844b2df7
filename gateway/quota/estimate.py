"""What a request is expected to cost, learnt from what the engines counted; rather too much than too little. Pure.

A mean and a mean deviation, both decaying, as in TCP's estimate of a round trip (RFC 6298): the estimate is the mean
and twice the deviation.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil
from typing import Self

from gateway.domain import Prompt, Usage
from gateway.value import value

_WEIGHT = 0.1
_FIRST_TOKENS_PER_BYTE = 0.5
_LEAST_TOKENS_PER_BYTE, _MOST_TOKENS_PER_BYTE = 0.15, 1.0
"""Three bytes of Chinese are about one token; a byte is never more than one (Gemma falls back to single bytes)."""
_LEAST_BYTES = 64
"""A shorter prompt is mostly its template and tells nothing of its text."""
_MAX_OUTPUTS = 10_000


@value
class Expected:
    """Tokens, both upper-biased."""

    prompt_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.output_tokens


@dataclass(slots=True)
class Learnt:
    """A mean that follows what is seen, and how far from it things usually are."""

    mean: float
    deviation: float

    @classmethod
    def first(cls, value: float) -> Self:
        """Start with a deviation of half the mean, as RFC 6298 does: one value says little of the next."""
        return cls(value, value / 2)

    def add(self, value: float) -> None:
        """Follow a tenth of the way."""
        self.deviation += _WEIGHT * (abs(value - self.mean) - self.deviation)
        self.mean += _WEIGHT * (value - self.mean)

    @property
    def upper(self) -> float:
        """What few values are above."""
        return self.mean + 2 * self.deviation


class Estimator:
    """Tokens per byte for each model, answers' lengths for each tenant at each model. One for a gateway process."""

    def __init__(self) -> None:
        self._tokens_per_byte: dict[str, Learnt] = {}
        self._outputs: OrderedDict[tuple[str, str], Learnt] = OrderedDict()

    def expected(self, tenant: str, prompt: Prompt) -> Expected:
        """Return what `prompt` is expected to cost before any engine has seen it."""
        learnt = self._tokens_per_byte.get(prompt.model)
        per_byte = _FIRST_TOKENS_PER_BYTE if learnt is None else learnt.upper
        per_byte = min(_MOST_TOKENS_PER_BYTE, max(_LEAST_TOKENS_PER_BYTE, per_byte))
        prompt_tokens = ceil(prompt.text_bytes * per_byte) + prompt.counted_tokens + prompt.media_tokens
        output_tokens = prompt.output_tokens_limit * prompt.choices
        answers = self._outputs.get((tenant, prompt.model))
        if answers is not None:
            output_tokens = min(output_tokens, ceil(answers.upper * prompt.choices))
        return Expected(prompt_tokens, output_tokens)

    def learn(self, tenant: str, prompt: Prompt, usage: Usage) -> None:
        """Take in what an engine counted. Of several prompts in one it may not have come to all."""
        text_tokens = usage.prompt_tokens - prompt.counted_tokens - prompt.media_tokens
        if prompt.text_bytes >= _LEAST_BYTES and text_tokens > 0 and prompt.prompts == 1:
            per_byte = text_tokens / prompt.text_bytes
            learnt = self._tokens_per_byte.get(prompt.model)
            if learnt is None:
                learnt = self._tokens_per_byte[prompt.model] = Learnt.first(per_byte)
            learnt.add(per_byte)
        output_tokens = usage.completion_tokens / prompt.choices
        key = (tenant, prompt.model)
        answers = self._outputs.get(key)
        if answers is None:
            answers = self._outputs[key] = Learnt.first(output_tokens)
        answers.add(output_tokens)
        self._outputs.move_to_end(key)
        if len(self._outputs) > _MAX_OUTPUTS:
            self._outputs.popitem(last=False)
