"""A tenant's cache salt: its own, the same everywhere, and nothing that vLLM refuses."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.prompt.salt import cache_salt


def test_it_depends_on_the_tenant_and_on_the_secret() -> None:
    salts = {cache_salt(secret, tenant) for secret in (b"one", b"two") for tenant in ("acme", "umbrella")}
    assert len(salts) == 4


def test_it_is_the_same_in_every_gateway() -> None:
    assert cache_salt(b"secret", "acme") == "Cj8QLQXhxPSnlhKmYRrL97X9cJUeDL24iFI2JDtswa0"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_it_has_only_characters_that_vllm_takes(tenant: str) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{43}", cache_salt(b"secret", tenant))
