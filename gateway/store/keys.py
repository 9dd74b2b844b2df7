"""Every key name in Redis.

A tenant's keys carry the tenant as the cluster hash tag (`{tenant}`), so that one script may touch several of them:
https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags. Without a tenant are
`api_key`, `api_key_index`, `api_key_earlier`, `api_key_uses` (a key must be found before its tenant is known),
`revocations`, `revocations_version`, `drained_engines` (for all gateways), `login_code`, `tenants` and `gateways`
(about all of them). What one script touches is in one slot there too.
"""

from __future__ import annotations

from gateway.domain import SessionId

_ROOT = "gg"


def quota_of_user(tenant: str, user: str) -> str:
    """Hash: a user's token buckets, `<bucket>` → balance and `<bucket>:at` → microseconds of its last refill."""
    return f"{_ROOT}:{{{tenant}}}:quota:user:{user}"


def quota_of_tenant(tenant: str) -> str:
    """Hash: the token buckets of a tenant's users together."""
    return f"{_ROOT}:{{{tenant}}}:quota:tenant"


def quota_of_model(tenant: str, model: str) -> str:
    """Hash: the token buckets of a tenant at one model."""
    return f"{_ROOT}:{{{tenant}}}:quota:model:{model}"


def concurrent_of_user(tenant: str, user: str) -> str:
    """Sorted set: a user's running requests by the end of their leases, in microseconds."""
    return f"{_ROOT}:{{{tenant}}}:concurrent:user:{user}"


def concurrent_of_tenant(tenant: str) -> str:
    """Sorted set: a tenant's running requests by the end of their leases."""
    return f"{_ROOT}:{{{tenant}}}:concurrent:tenant"


def concurrent_of_model(tenant: str, model: str) -> str:
    """Sorted set: a tenant's running requests to one model by the end of their leases."""
    return f"{_ROOT}:{{{tenant}}}:concurrent:model:{model}"


def leases(tenant: str) -> str:
    """Sorted set: a tenant's open reservations by the end of their leases, in microseconds."""
    return f"{_ROOT}:{{{tenant}}}:leases"


def reservations(tenant: str) -> str:
    """Hash: a tenant's open reservations, request id → reserved prompt and answer tokens and the ledger's field."""
    return f"{_ROOT}:{{{tenant}}}:reservations"


def reaped(tenant: str) -> str:
    """Hash with expiry: reservations that were booked unsettled, with the day; `""` for one settled out of turn."""
    return f"{_ROOT}:{{{tenant}}}:reaped"


def usage(tenant: str, day: str) -> str:
    """Hash with expiry: what a tenant used on a day (`2026-01-31`), `["user","model"]:<what>` → how much."""
    return f"{_ROOT}:{{{tenant}}}:usage:{day}"


def tenants() -> str:
    """Sorted set: tenants by when they last reserved, in seconds, so that their reservations and usage are found."""
    return f"{_ROOT}:tenants"


def gateways() -> str:
    """Sorted set: gateway processes by their last heartbeat, in seconds."""
    return f"{_ROOT}:gateways"


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


def response(tenant: str, response_id: str) -> str:
    """Hash with expiry: a kept response, its input and output, and the id of the one before it."""
    return f"{_ROOT}:{{{tenant}}}:response:{response_id}"


def responses_of(tenant: str, user: str) -> str:
    """Sorted set: a user's response ids by last use, in milliseconds."""
    return f"{_ROOT}:{{{tenant}}}:responses:{user}"


def response_sizes(tenant: str, user: str) -> str:
    """Hash: a user's response ids, each with its bytes; the field `sum` has all of them."""
    return f"{_ROOT}:{{{tenant}}}:response_bytes:{user}"


def idempotency(tenant: str, digest: str) -> str:
    """Hash with expiry: the request behind an Idempotency-Key of a user, and its answer."""
    return f"{_ROOT}:{{{tenant}}}:once:{digest}"


def api_key(digest: str) -> str:
    """String: the record, as JSON, of the API key with this SHA-256 digest."""
    return f"{_ROOT}:apikey:{{apikeys}}:{digest}"


def api_key_index() -> str:
    """Hash: public key id → digest, so that keys can be listed and revoked without their secret."""
    return f"{_ROOT}:apikeys:{{apikeys}}"


def api_key_earlier() -> str:
    """Hash: public key id → digest of the key before its rotation, which may hold for a while yet."""
    return f"{_ROOT}:apikeys:{{apikeys}}:earlier"


def api_key_uses() -> str:
    """Hash: public key id → Unix time of its last use, give or take a minute."""
    return f"{_ROOT}:apikeys:{{apikeys}}:uses"


def revocations() -> str:
    """Sorted set: what is revoked, and since when, by the Unix time at which that may be forgotten."""
    return f"{_ROOT}:revocations:{{revocations}}"


def revocations_version() -> str:
    """String: a random word, another one after each change of the revocations."""
    return f"{_ROOT}:revocations:{{revocations}}:version"


def login_code(digest: str) -> str:
    """String with expiry: whom the login code with this SHA-256 digest lets in, as JSON."""
    return f"{_ROOT}:login:{digest}"


def drained_engines() -> str:
    """Set: names of the engines that get no new requests, of any gateway."""
    return f"{_ROOT}:fleet:drained"
