"""`/admin/revocations`: tokens that no longer hold, for credentials with the scope `admin`."""

from __future__ import annotations

import time
from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from config.issuers import BUILT_IN
from gateway.api.moments import UnixTime, in_the_future
from gateway.api.pages import page
from gateway.api.state import AdminOf, RoomsOf
from gateway.errors import InvalidRequest, Unauthenticated
from gateway.identity.principal import mark_of_subject, mark_of_token
from gateway.identity.revocations import Revocation
from gateway.identity.token_text import MAX_TOKEN_BYTES
from gateway.lifespan import Rooms

router = APIRouter(prefix="/admin/revocations", tags=["admin"])

_Id = Annotated[str, Field(min_length=1, max_length=512)]


class RevocationRequest(BaseModel):
    """What is revoked: one token, as it is or by its `jti`, or all that an issuer has said of a subject so far."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Annotated[str, Field(max_length=MAX_TOKEN_BYTES)] | None = None
    jti: _Id | None = None
    subject: _Id | None = None
    issuer: str = BUILT_IN
    expires_at: UnixTime | None = None

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        if [self.token, self.jti, self.subject].count(None) != 2:
            raise ValueError("give exactly one of token, jti and subject")
        return self


@router.post("", status_code=201)
async def revoke(asked: RevocationRequest, rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """Revoke; every gateway refuses it within a second."""
    del admin
    if asked.issuer not in rooms.identity.issuers.names:
        raise InvalidRequest(f"There is no issuer '{asked.issuer}'.", param="issuer", code="invalid_value")
    in_the_future(asked.expires_at)
    mark, until = await _meant(asked, rooms)
    # What a subject has proved by an API key goes by Redis's clock, and all else by ours.
    at = None if asked.subject is None else max(time.time(), await rooms.identity.keys.now())
    return _shown(await rooms.identity.revocations.revoke(mark, asked.expires_at or until, at))


@router.get("")
async def list_revocations(rooms: RoomsOf, admin: AdminOf) -> dict[str, Any]:
    """List what is revoked, the next to be forgotten first."""
    del admin
    return page([_shown(entry) for entry in await rooms.identity.revocations.entries()])


async def _meant(asked: RevocationRequest, rooms: Rooms) -> tuple[str, float]:
    """Return the mark, and when an entry of it may be forgotten."""
    until = time.time() + rooms.settings.auth.revocation_seconds
    if asked.subject is not None:
        return mark_of_subject(asked.issuer, asked.subject), until
    if asked.jti is not None:
        return mark_of_token(asked.issuer, asked.jti), until
    try:
        principal = await rooms.identity.issuers.verify(asked.token or "")
    except Unauthenticated as error:
        raise InvalidRequest(error.message, param="token", code="invalid_value") from None
    if not principal.marks[-1].startswith("jti:"):
        raise InvalidRequest("The token has no jti. Revoke its subject.", param="token", code="invalid_value")
    return principal.marks[-1], principal.until


def _shown(entry: Revocation) -> dict[str, Any]:
    kind, _, rest = entry.mark.partition(":")
    issuer, _, name = rest.partition(":")
    about = {"api_key": rest} if kind == "key" else {"issuer": issuer, "jti" if kind == "jti" else "subject": name}
    return {
        "id": entry.mark,
        "object": "revocation",
        **about,
        "revoked_at": int(entry.at),
        "expires_at": int(entry.until),
    }
