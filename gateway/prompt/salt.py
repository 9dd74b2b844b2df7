"""What keeps tenants apart in an engine's prefix cache. Pure."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from functools import lru_cache

_PURPOSE = b"gemma-gateway cache salt\n"
"""The secret may be a key that has another use too."""


@lru_cache(maxsize=4096)
def cache_salt(secret: bytes, tenant: str) -> str:
    """Return 43 characters that only who has `secret` can tell for a tenant.

    Who could time answers under another tenant's salt could learn whether that tenant sent the same prompt.
    """
    digest = hmac.digest(secret, _PURPOSE + tenant.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
