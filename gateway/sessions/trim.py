"""Where a session is cut so that it fits the model's context. Pure.

Whole turns go, from the oldest on, and more of them than must: the prompt then begins with the same messages for many
turns, and the engine's prefix cache, which knows prompts by their beginnings, goes on to help. See ADR 0032.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.sessions.messages import Message, ends_before_question

_BYTES_PER_TOKEN = 4
"""Where a turn's tokens are not known; rather too few tokens than too many, as what goes is counted again."""
_STAY = frozenset({"system", "developer"})


def cut_of(messages: Sequence[Message], excess_tokens: int) -> int:
    """Return how many of the first messages must go for `excess_tokens` to go; all that may, if that is not enough.

    A turn at the end that waits for an answer, or for the results of its tool calls, stays.
    """
    dropped_tokens = last = 0
    for end, tokens in _turns(messages):
        dropped_tokens, last = dropped_tokens + tokens, end
        if dropped_tokens >= excess_tokens:
            break
    return last


def staying(messages: Sequence[Message]) -> list[int]:
    """Return which of these are sent even where the others around them are not."""
    return [index for index, each in enumerate(messages) if each.role in _STAY]


def turn_tokens(messages: Sequence[Message]) -> int:
    """Return the tokens of these, as far as they are known, else an estimate."""
    return sum(tokens for _, tokens in _turns(messages))


def _turns(messages: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """Yield the end of each whole turn, a question with all that belongs to its answer, and its tokens."""
    start = 0
    for end in range(1, len(messages) + 1):
        if ends_before_question(messages[start:end]):
            yield end, messages[end - 1].tokens or _estimate(messages[start:end])
            start = end


def _estimate(messages: Sequence[Message]) -> int:
    return sum(each.bytes for each in messages) // _BYTES_PER_TOKEN
