"""Where a session is cut: whole turns, enough of them, and never what waits for an answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sessions.messages import Message
from gateway.sessions.trim import cut_of, staying, turn_tokens

CALLS = [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def said(*roles: str, tokens: int = 10) -> list[Message]:
    """Return messages of these roles; `calls` is an assistant's call of a tool. Every answer has the turn's tokens."""
    kept: list[dict[str, Any]] = [
        {"role": "assistant", "tool_calls": CALLS} if role == "calls" else {"role": role} for role in roles
    ]
    return [Message(each | ({"tokens": tokens} if each["role"] == "assistant" else {}), 40) for each in kept]


TURN = ("user", "assistant")
WITH_TOOLS = ("user", "calls", "tool", "assistant")


@pytest.mark.parametrize(
    ("roles", "excess", "cut"),
    [
        ((), 5, 0),
        (TURN, 5, 2),
        (TURN * 3, 10, 2),
        (TURN * 3, 11, 4),
        (TURN * 3, 1000, 6),
        (WITH_TOOLS + TURN, 1, 4),
        ((*TURN, "user", "calls"), 1000, 2),
        (("user", "calls"), 1000, 0),
        ((*TURN, "user"), 1000, 2),
        (("system", *TURN, *TURN), 1, 3),
    ],
)
def test_whole_turns_go_until_enough_is_gone(roles: tuple[str, ...], excess: int, cut: int) -> None:
    assert cut_of(said(*roles), excess) == cut


@given(st.lists(st.sampled_from([TURN, WITH_TOOLS, ("developer", *TURN)])), st.integers(1, 500))
def test_no_turn_is_ever_cut_in_two_and_no_turn_goes_needlessly(turns: list[tuple[str, ...]], excess: int) -> None:
    messages = said(*(role for turn in turns for role in turn))
    cut = cut_of(messages, excess)
    ends = [sum(map(len, turns[:count])) for count in range(len(turns) + 1)]
    assert cut in ends
    assert turn_tokens(messages[:cut]) >= excess or cut == len(messages)
    if cut:
        assert turn_tokens(messages[: ends[ends.index(cut) - 1]]) < excess


def test_turns_that_were_not_counted_are_estimated_by_their_bytes() -> None:
    assert turn_tokens(said(*TURN, tokens=0)) == 20


def test_what_a_system_says_stays() -> None:
    assert staying(said("system", *TURN, "developer", *TURN)) == [0, 3]
