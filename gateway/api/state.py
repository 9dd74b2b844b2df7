"""What the endpoints need, by its type."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from gateway.domain import Caller
from gateway.errors import Forbidden
from gateway.lifespan import Rooms


def rooms_of(request: Request) -> Rooms:
    """Return the rooms of this process."""
    return cast("Rooms", request.app.state.rooms)


def caller_of(request: Request) -> Caller:
    """Return who was authenticated, and note it in the settlement."""
    caller = cast("Caller", request.state.caller)
    request.state.settlement.caller = caller
    return caller


def admin_of(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    """Return the caller if it is an admin. Raises Forbidden."""
    if "admin" not in caller.scopes:
        raise Forbidden("This needs a credential with the scope 'admin'.")
    return caller


RoomsOf = Annotated[Rooms, Depends(rooms_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]
AdminOf = Annotated[Caller, Depends(admin_of)]
