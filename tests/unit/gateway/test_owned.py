"""What is owned is let go once, in reverse, by its last owner."""

from __future__ import annotations

import pytest

from gateway.owned import Owned


class Held:
    """Notes when it is taken and let go."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    def __enter__(self) -> None:
        self._notes.append(f"+{self._name}")

    def __exit__(self, *_: object) -> None:
        self._notes.append(f"-{self._name}")


def fail() -> None:
    """Fail to let go."""
    raise RuntimeError("held fast")


def test_what_is_owned_is_let_go_in_reverse_and_once() -> None:
    notes = list[str]()
    with Owned() as owned:
        owned.enter(Held("a", notes))
        owned.callback(lambda: notes.append("-b"))
        owned.enter(Held("c", notes))
    owned.close()
    assert notes == ["+a", "+c", "-c", "-b", "-a"]


def test_what_was_handed_over_is_the_new_owners() -> None:
    notes = list[str]()
    with Owned() as first:
        first.enter(Held("a", notes))
        second = first.pop_all()
        first.enter(Held("b", notes))
    assert notes == ["+a", "+b", "-b"]
    second.close()
    assert notes == ["+a", "+b", "-b", "-a"]


def test_one_that_cannot_be_let_go_keeps_no_other() -> None:
    notes = list[str]()
    owned = Owned()
    owned.enter(Held("a", notes))
    owned.callback(fail)
    owned.enter(Held("b", notes))
    with pytest.raises(RuntimeError, match="held fast"):
        owned.close()
    assert notes == ["+a", "+b", "-b", "-a"]
