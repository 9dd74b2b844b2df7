"""Sealed values: nobody else's to read, to move or to change; keys can be exchanged while values live on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreDown
from gateway.store import Cipher

OLD, NEW = b"o" * 32, b"n" * 32


@given(st.binary())
@pytest.mark.parametrize("keys", [(), (OLD,), (NEW, OLD)])
def test_what_is_sealed_is_opened(keys: tuple[bytes, ...], value: bytes) -> None:
    cipher = Cipher(keys)
    assert cipher.open(cipher.seal(value, "t"), "t") == value


def test_a_sealed_value_shows_nothing_and_is_new_each_time() -> None:
    cipher = Cipher((OLD,))
    first, second = cipher.seal(b"secret words", "t"), cipher.seal(b"secret words", "t")
    assert first != second
    assert b"secret" not in first


def test_a_key_can_be_exchanged_while_values_live_on() -> None:
    before, between, after = Cipher((OLD,)), Cipher((NEW, OLD)), Cipher((NEW,))
    old, new = before.seal(b"x", "t"), between.seal(b"x", "t")
    assert between.open(old, "t") == between.open(new, "t") == after.open(new, "t") == b"x"
    with pytest.raises(StoreDown):
        after.open(old, "t")


def test_values_from_before_there_was_a_key_are_still_read() -> None:
    assert Cipher((OLD,)).open(Cipher().seal(b'{"a":1}', "t"), "t") == b'{"a":1}'


def test_a_sealed_value_cannot_be_read_without_its_key_moved_to_another_tenant_or_changed() -> None:
    sealed = Cipher((OLD,)).seal(b"x", "t")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for cipher, stored, tenant in (
        (Cipher(), sealed, "t"),
        (Cipher((OLD,)), sealed, "u"),
        (Cipher((OLD,)), changed, "t"),
    ):
        with pytest.raises(StoreDown):
            cipher.open(stored, tenant)
