"""Key names: a tenant's keys stay together in a cluster, and no two things share a key."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from gateway.domain import SessionId
from gateway.store import keys

WITHOUT_TENANT = {
    *("api_key", "api_key_index", "api_key_earlier", "api_key_uses"),
    *("revocations", "revocations_version", "login_code", "tenants", "gateways", "drained_engines"),
}
FUNCTIONS = {
    name: function
    for name, function in inspect.getmembers(keys, inspect.isfunction)
    if function.__module__ == keys.__name__
}
TENANTS = st.text(min_size=1).filter(lambda text: text.isprintable() and not set("{}") & set(text))
SESSION = SessionId("sess_" + "0" * 32)


def made(name: str, tenant: str, of: str) -> str:
    """Return the key that a function makes."""
    function = FUNCTIONS[name]
    key: str = function(*(tenant, of)[: len(inspect.signature(function).parameters)])
    return key


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - WITHOUT_TENANT))
@given(tenant=TENANTS, of=st.text().filter(str.isprintable))
def test_all_keys_of_a_tenant_are_in_one_slot(name: str, tenant: str, of: str) -> None:
    assert key_slot(made(name, tenant, of).encode()) == key_slot(tenant.encode())


def test_only_the_named_keys_have_no_tenant() -> None:
    for name in WITHOUT_TENANT:
        assert f"`{name}`" in (keys.__doc__ or "")
        assert "tenant" not in inspect.signature(FUNCTIONS[name]).parameters
    for name in set(FUNCTIONS) - WITHOUT_TENANT:
        assert next(iter(inspect.signature(FUNCTIONS[name]).parameters)) == "tenant"


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_every_key_says_what_is_in_it(function: object) -> None:
    kinds = ("Hash", "List", "Set", "Sorted set", "String")
    assert (inspect.getdoc(function) or "").startswith(kinds)


@given(TENANTS, TENANTS, st.text(), st.text())
def test_users_of_different_tenants_never_share_a_key(one: str, other: str, user: str, second: str) -> None:
    for function in (keys.quota_of_user, keys.concurrent_of_user, keys.sessions_of):
        assert (function(one, user) == function(other, second)) == ((one, user) == (other, second))


@given(st.text())
def test_the_keys_of_a_session_and_of_a_user_differ(user: str) -> None:
    made_keys = [
        keys.session("t", SESSION),
        keys.session_messages("t", SESSION),
        keys.session_lease("t", SESSION),
        keys.sessions_of("t", user),
        keys.quota_of_user("t", user),
        keys.quota_of_model("t", user),
        keys.quota_of_tenant("t"),
        keys.concurrent_of_user("t", user),
        keys.concurrent_of_model("t", user),
        keys.concurrent_of_tenant("t"),
        keys.usage("t", user),
        keys.tenants(),
        keys.gateways(),
        keys.api_key(user),
        keys.login_code(user),
        keys.api_key_index(),
        keys.api_key_earlier(),
        keys.api_key_uses(),
        keys.revocations(),
        keys.revocations_version(),
    ]
    assert len(set(made_keys)) == len(made_keys)


def test_every_key_has_our_prefix() -> None:
    for name in WITHOUT_TENANT:
        made_key = FUNCTIONS[name](*(["d"] if inspect.signature(FUNCTIONS[name]).parameters else []))
        assert made_key.startswith("gg:")
        assert not made_key.startswith("gg:{"), "a tenant may be called anything"


def test_what_a_script_on_api_keys_or_revocations_touches_is_in_one_slot() -> None:
    of_keys = [keys.api_key("a"), keys.api_key("b"), keys.api_key_index(), keys.api_key_earlier(), keys.api_key_uses()]
    assert len({key_slot(key.encode()) for key in of_keys}) == 1
    assert key_slot(keys.revocations().encode()) == key_slot(keys.revocations_version().encode())


def test_every_key_of_a_tenant_has_our_prefix() -> None:
    assert all(made(name, "t", "x").startswith("gg:{t}:") for name in set(FUNCTIONS) - WITHOUT_TENANT)
