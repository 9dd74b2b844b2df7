"""`/admin/keys`: API keys, for credentials with the scope `admin`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.pages import page
from gateway.api.state import AdminOf, RoomsOf
from gateway.identity.keys import KeyRecord

router = APIRouter(prefix="/admin/keys", tags=["admin"])

_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^{}\x00-\x1f]+$")]
_Scope = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[!-~]+$")]


class NewKey(BaseModel):
    """Whom a key is for. `scopes` may hold `admin`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tenant: _Name
    user: _Name
    scopes: list[_Scope] = Field(default_factory=list, max_length=32)


@router.post("", status_code=201)
async def create_key(new: NewKey, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Create a key. The answer is the only place where it is ever shown."""
    del admin
    key, record = await rooms.keys.create(new.tenant, new.user, frozenset(new.scopes))
    return {"key": key, **_shown(record)}


@router.get("")
async def list_keys(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """List the keys, without the keys themselves."""
    del admin
    return page([_shown(record) for record in await rooms.keys.records()])


@router.delete("/{key_id}")
async def revoke_key(key_id: str, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Revoke a key; every gateway refuses it within a second."""
    del admin
    await rooms.keys.revoke(key_id)
    return {"id": key_id, "object": "api_key.deleted", "deleted": True}


def _shown(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "api_key",
        "prefix": record.prefix,
        "tenant": record.tenant,
        "user": record.user,
        "scopes": sorted(record.scopes),
        "created_at": record.created_at,
    }
