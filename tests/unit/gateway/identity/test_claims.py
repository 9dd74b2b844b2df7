"""Claims → principal: by the names in the settings, and so that no two issuers' people are ever one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.issuers import IssuerSettings
from gateway.errors import Unauthenticated
from gateway.identity.claims import principal_of
from gateway.identity.principal import Principal

SAID: dict[str, Any] = {
    "iss": "https://id.example.org",
    "sub": "ann",
    "iat": 100,
    "org": "acme",
    "plan": "gold",
    "scope": "gateway-admin profile admin",
    "models": ["a", "b"],
    "realm": {"roles": ["gateway-admin", "x"]},
    "https://example.org/org": "by URL",
}
MAPPED: dict[str, Any] = {
    "claims": {"tenant": "org", "tier": "plan", "models": "models", "scopes": "realm.roles"},
    "scopes": {"gateway-admin": "admin"},
}


def read(said: dict[str, Any] | None = None, **settings: Any) -> Principal:
    """Read SAID, changed by `said`, under these settings."""
    known = {"name": "corp", "issuer": "i", "audiences": ["a"], "algorithms": ["RS256"], "jwks_url": "https://i/k"}
    return principal_of(IssuerSettings.model_validate({**known, **settings}), {**SAID, **(said or {})}, 1000.0)


def test_without_a_mapping_a_token_says_its_user_and_nothing_more() -> None:
    assert read() == Principal("corp", "corp:ann", until=1000.0, since=100.0, marks=("sub:corp:ann",), by_token=True)


def test_a_mapping_says_which_claim_is_what() -> None:
    assert read({"jti": "t1"}, **MAPPED) == Principal(
        "corp:acme", "corp:ann", frozenset({"admin"}), frozenset({"a", "b"}), "gold", 1000.0, 100.0,
        ("sub:corp:ann", "jti:corp:t1"), True,
    )  # fmt: skip


def test_no_scope_is_taken_that_is_not_listed_not_even_admin() -> None:
    assert read(scopes={"profile": "chat"}).scopes == {"chat"}


def test_another_claim_can_be_the_user_and_the_subject_stays_what_is_revoked() -> None:
    principal = read({"email": "ann@example.org"}, claims={"user": "email"})
    assert (principal.user, principal.marks) == ("corp:ann@example.org", ("sub:corp:ann",))


def test_a_claim_is_found_by_its_very_name_before_its_dots_are_a_path() -> None:
    assert read(claims={"tenant": "https://example.org/org"}).tenant == "corp:by URL"
    assert read({"realm.roles": ["x"]}, claims={"scopes": "realm.roles"}, scopes={"x": "chat"}).scopes == {"chat"}


@pytest.mark.parametrize(("models", "allowed"), [("a b", {"a", "b"}), ([], set()), ("", set()), (None, None)])
def test_models_are_a_list_or_words(models: Any, allowed: set[str] | None) -> None:
    assert read({"models": models}, claims={"models": "models"}).models == allowed


@pytest.mark.parametrize(
    ("shared", "tenant"), [([], "corp:acme"), (["acme"], "acme"), (["other"], "corp:acme"), (["*"], "acme")]
)
def test_a_tenant_is_the_issuers_own_unless_the_settings_share_it(shared: list[str], tenant: str) -> None:
    assert read(claims={"tenant": "org"}, shared_tenants=shared).tenant == tenant


NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,5}", fullmatch=True).filter(lambda name: name != "local")
PRINTABLE = st.characters(exclude_categories=["C", "Z"], exclude_characters="{}", include_characters=" ")
TEXT = st.text(PRINTABLE, min_size=1, max_size=6)


@given(st.tuples(NAME, TEXT, TEXT), st.tuples(NAME, TEXT, TEXT))
def test_two_issuers_people_and_tenants_are_never_one(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    first, second = (
        read({"sub": user, "org": tenant}, name=name, claims={"tenant": "org"}) for name, user, tenant in (one, two)
    )
    assert (first.user == second.user) is ((one[0], one[1]) == (two[0], two[1]))
    assert (first.tenant == second.tenant) is ((one[0], one[2]) == (two[0], two[2]))
    if one[0] != two[0]:
        assert not set(first.marks) & set(second.marks)


@pytest.mark.parametrize(
    "said",
    [
        {"sub": ""}, {"sub": "a\nb"}, {"sub": "x" * 257},
        {"org": None}, {"org": ""}, {"org": 5}, {"org": ["acme"]}, {"org": "a{b"}, {"org": "a}b"}, {"org": "a\0b"},
        {"plan": ""}, {"plan": 5}, {"plan": ["gold"]}, {"models": 5}, {"models": [1]}, {"models": {"a": True}},
        {"realm": {"roles": 5}}, {"realm": {"roles": [1]}}, {"realm": {"roles": {"admin": True}}},
        {"iat": "now"}, {"iat": True}, {"iat": []},
    ],
)  # fmt: skip
def test_a_claim_that_does_not_say_what_it_must_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        read(said, **MAPPED)
