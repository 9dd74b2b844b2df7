"""Every key name in Redis.

A tenant's keys carry the tenant as the cluster hash tag (`{tenant}`), so that one script may touch several of them:
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags. Only `api_key` and
`api_key_index` have no tenant: a key must be found before its tenant is known.
"""

from __future__ import annotations

from gateway.domain import SessionId

_ROOT = "gg"


def quota(tenant: str, user: str) -> str:
    """Hash: the user's token buckets, `<bucket>` → balance and `<bucket>:at` → microseconds of its last refill."""
    return f"{_ROOT}:{{{tenant}}}:quota:{user}"


def session(tenant: str, session_id: SessionId) -> str:
    """Hash: what a session is (owner, title, counters)."""
    return f"{_ROOT}:{{{tenant}}}:session:{session_id}"


def session_messages(tenant: str, session_id: SessionId) -> str:
    """List: the session's messages as JSON, oldest first; only ever appended to."""
    return f"{_ROOT}:{{{tenant}}}:session:{session_id}:messages"


def session_lease(tenant: str, session_id: SessionId) -> str:
    """String with expiry: the token of the one request that may append."""
    return f"{_ROOT}:{{{tenant}}}:session:{session_id}:lease"


def sessions_of(tenant: str, user: str) -> str:
    """Sorted set: a user's session ids by last use."""
    return f"{_ROOT}:{{{tenant}}}:sessions:{user}"


def api_key(digest: str) -> str:
    """Hash: the caller behind the API key with this SHA-256 digest."""
    return f"{_ROOT}:apikey:{digest}"


def api_key_index() -> str:
    """Hash: public key id → digest, so that keys can be listed and revoked without their secret."""
    return f"{_ROOT}:apikeys"
