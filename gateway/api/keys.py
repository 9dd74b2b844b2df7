"""`/admin/keys`: API keys, for credentials with the scope `admin`."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.moments import UnixTime, in_the_future
from gateway.api.pages import page
from gateway.api.state import AdminOf, RoomsOf
from gateway.errors import InvalidRequest
from gateway.identity.key_record import KeyRecord
from gateway.identity.keys import NewKey
from gateway.identity.principal import mark_of_key
from gateway.lifespan import Rooms

router = APIRouter(prefix="/admin/keys", tags=["admin"])

_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^{}\x00-\x1f]+$")]
_Scope = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class KeyRequest(BaseModel):
    """Whom a key is for. `user` is the key's own id where it is left out; `scopes` may hold `admin`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant: _Name
    user: _Name | None = None
    scopes: list[_Scope] = Field(default_factory=list, max_length=32)
    models: list[_Name] | None = Field(None, max_length=256)
    tier: _Name | None = None
    expires_at: UnixTime | None = None


class RotationRequest(BaseModel):
    """How long the present key still holds beside the new one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    grace_seconds: int = Field(0, ge=0, le=2_592_000)


@router.post("", status_code=201)
async def create_key(asked: KeyRequest, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Create a key. The answer is the only place where it is ever shown."""
    del admin
    if asked.tier is not None and asked.tier not in rooms.identity.tenants.table.tiers:
        raise InvalidRequest(f"There is no tier '{asked.tier}'.", param="tier", code="invalid_value")
    in_the_future(asked.expires_at)
    new = NewKey(
        tenant=asked.tenant,
        user=asked.user,
        scopes=frozenset(asked.scopes),
        models=None if asked.models is None else frozenset(asked.models),
        tier=asked.tier,
        expires_at=asked.expires_at,
    )
    key, record = await rooms.identity.keys.create(new)
    return {"key": key, **_shown(record)}


@router.get("")
async def list_keys(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """List the keys, without the keys themselves."""
    del admin
    return page([_shown(record) for record in await rooms.identity.keys.records()])


@router.post("/{key_id}/rotate")
async def rotate_key(
    key_id: str, rooms: RoomsOf, admin: AdminOf, asked: RotationRequest | None = None
) -> dict[str, Any]:
    """Make a new key in place of this one: of the same id, user and rights. It is shown here and nowhere else."""
    del admin
    grace_seconds = asked.grace_seconds if asked else 0
    key, record = await rooms.identity.keys.rotate(key_id, grace_seconds)
    if not grace_seconds:
        # Afterwards, and by the clock that keys are found by: what the old key makes until it is gone is revoked too,
        # and nothing of the new one's, whatever time a gateway thinks it is.
        at = await rooms.identity.keys.now()
        await rooms.identity.revocations.revoke(mark_of_key(key_id), _last_token_ends(rooms), at)
    return {"key": key, **_shown(record)}


@router.delete("/{key_id}")
async def revoke_key(key_id: str, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Revoke a key and the tokens made with it; every gateway refuses them within a second."""
    del admin
    await rooms.identity.keys.check_known(key_id)
    # First its tokens, so that a revocation that failed halfway can be asked for again.
    until = _last_token_ends(rooms)
    await rooms.identity.revocations.revoke(mark_of_key(key_id), until, at=until)
    await rooms.identity.keys.revoke(key_id)
    return {"id": key_id, "object": "api_key.deleted", "deleted": True}


def _last_token_ends(rooms: Rooms) -> float:
    auth = rooms.settings.auth
    return time.time() + auth.jwt_ttl_seconds + auth.jwt_leeway_seconds + 60.0


def _shown(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "api_key",
        "prefix": record.prefix,
        "tenant": record.tenant,
        "user": record.user,
        "scopes": sorted(record.scopes),
        "models": None if record.models is None else sorted(record.models),
        "tier": record.tier,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "last_used_at": record.last_used_at,
    }
