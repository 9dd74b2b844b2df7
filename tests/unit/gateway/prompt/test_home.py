"""A conversation has one home, whatever turn it has come to, and shares it with no other tenant's."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import SessionId
from gateway.prompt import home_of

HOME = int.from_bytes(blake2b(b"t\0sess_1", digest_size=8).digest(), "big") | 1
"""Python's own hashes differ between processes; this one does not."""


def chat(*texts: str, system: str | None = "Be brief.") -> dict[str, Any]:
    """Return a chat of these turns, the user's first."""
    turns = [{"role": ("user", "assistant")[k % 2], "content": text} for k, text in enumerate(texts)]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}


def test_completions_that_begin_alike_have_one_home() -> None:
    homes = [home_of("t", None, {"prompt": prompt}) for prompt in ("a", ["a", "b"], [2, 5], [2, 6], [2, 5])]
    assert homes[0] == homes[1]
    assert homes[2] == homes[4]
    assert len(set(homes)) == 3


def test_all_turns_of_a_conversation_have_one_home() -> None:
    turns = ["Hello", "Hi!", "What is a leap second?", "One that is put in."]
    assert len({home_of("t", None, chat(*turns[:count])) for count in (1, 3, 4)}) == 1


@pytest.mark.parametrize(
    "other",
    [
        ("t", None, chat("Hello there")),
        ("t", None, chat("Hello", system="Be long.")),
        ("t", None, chat("Hello", system=None)),
        ("u", None, chat("Hello")),
        ("t", SessionId("sess_1"), chat("Hello")),
    ],
)
def test_another_conversation_has_another_home(other: tuple[str, SessionId | None, dict[str, Any]]) -> None:
    assert home_of("t", None, chat("Hello")) != home_of(*other)


def test_a_session_has_one_home_whatever_is_said() -> None:
    session = SessionId("sess_1")
    assert home_of("t", session, chat("Hello")) == home_of("t", session, chat("Something else"))


def test_a_completion_has_its_home_by_how_it_begins() -> None:
    assert home_of("t", None, {"prompt": "a" * 5000}) == home_of("t", None, {"prompt": "a" * 5000 + "b"})
    assert home_of("t", None, {"prompt": "a"}) != home_of("t", None, {"prompt": "b"})


def test_media_are_part_of_it() -> None:
    def with_image(url: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}

    assert home_of("t", None, with_image("data:a")) != home_of("t", None, with_image("data:b"))


def test_every_gateway_finds_the_same() -> None:
    assert home_of("t", SessionId("sess_1"), {}) == HOME


CONTENT = st.one_of(st.none(), st.text(), st.lists(st.one_of(st.text(), st.dictionaries(st.text(), st.text()))))


@given(st.text(), st.lists(st.fixed_dictionaries({"role": st.text(), "content": CONTENT})))
def test_whatever_is_sent_has_a_home(tenant: str, messages: list[dict[str, Any]]) -> None:
    home = home_of(tenant, None, {"messages": messages})
    assert 0 < home < 2**64
    assert home % 2 == 1
