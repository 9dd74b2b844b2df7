"""`/auth`: short-lived tokens for a key or a login code, so that a browser never holds a key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.state import CallerOf, RoomsOf, rooms_of
from gateway.errors import Forbidden, Unauthenticated
from gateway.identity.login_codes import LOGIN_CODE_SECONDS
from gateway.identity.principal import Principal
from gateway.lifespan import Rooms

router = APIRouter(prefix="/auth", tags=["auth"])

LOGIN_PATH = "/auth/login"
"""The one route of these that needs no credential: the code is one."""


class Login(BaseModel):
    """A login code."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str = Field(min_length=1, max_length=128)


async def _principal_of(request: Request) -> Principal:
    identity = rooms_of(request).identity
    return await identity.authenticator.principal(request.state.headers.get(b"authorization"))


PrincipalOf = Annotated[Principal, Depends(_principal_of)]


@router.post("/token")
async def make_token(principal: PrincipalOf, caller: CallerOf, rooms: RoomsOf, response: Response) -> dict[str, Any]:
    """Exchange an API key for a token of the same user, with the same rights."""
    del caller
    if principal.by_token:
        raise Forbidden("This needs an API key: a token cannot be exchanged for a longer one.")
    return _token(rooms, principal, response)


@router.post("/login-codes", status_code=201)
async def create_login_code(
    principal: PrincipalOf, caller: CallerOf, rooms: RoomsOf, response: Response
) -> dict[str, Any]:
    """Make a code that lets a page in as the caller, once."""
    del caller
    code = await rooms.identity.login_codes.create(principal)
    response.headers["cache-control"] = "no-store"
    return {"object": "login_code", "code": code, "expires_in": LOGIN_CODE_SECONDS}


@router.post("/login")
async def login(asked: Login, rooms: RoomsOf, response: Response) -> dict[str, Any]:
    """Exchange a login code for a token. It works once, also where it is sent twice at the same moment."""
    principal = await rooms.identity.login_codes.redeem(asked.code)
    if principal is None or rooms.identity.revocations.has(principal):
        raise Unauthenticated("The login code is not valid: unknown, used already, or too old.")
    return _token(rooms, principal, response)


def _token(rooms: Rooms, principal: Principal, response: Response) -> dict[str, Any]:
    """Return a token as OAuth 2.0 writes it (RFC 6749 §5.1)."""
    token, seconds = rooms.identity.own_tokens.mint(principal)
    response.headers["cache-control"] = "no-store"
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": seconds,
        "tenant": principal.tenant,
        "user": principal.user,
    }
