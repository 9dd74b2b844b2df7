"""`/v1/sessions`: chat history on the server. Messages are sent through `session_messages.py`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from gateway.api.pages import page
from gateway.api.state import CallerOf, RoomsOf
from gateway.domain import JsonObject, SessionId

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_MAX_PAGE = 100


class NewSession(BaseModel):
    """A new session. `system` is the system prompt of every turn; `model` is asked where a message names none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    system: str = Field("", max_length=100_000)
    title: str = Field("", max_length=200)
    model: str = Field("", max_length=256)
    ttl_seconds: int | None = Field(None, ge=1, le=31_536_000)


@router.post("", status_code=201)
async def create_session(rooms: RoomsOf, caller: CallerOf, new: NewSession | None = None) -> JsonObject:
    """Create a session."""
    new = new or NewSession.model_validate({})
    record = await rooms.sessions.create(caller, new.system, new.title, new.model, new.ttl_seconds)
    return record.as_json()


@router.get("")
async def list_sessions(
    rooms: RoomsOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
    after: str | None = None,
) -> JsonObject:
    """List the caller's own sessions, the latest used first."""
    records, more = await rooms.sessions.page(caller, limit, SessionId(after) if after else None)
    return page([record.as_json() for record in records], more=more)


@router.get("/{session_id}")
async def get_session(session_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Read a session."""
    return (await rooms.sessions.read(caller, SessionId(session_id))).as_json()


@router.delete("/{session_id}")
async def delete_session(session_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Delete a session with its messages."""
    await rooms.sessions.delete(caller, SessionId(session_id))
    return {"id": session_id, "object": "session.deleted", "deleted": True}


@router.get("/{session_id}/messages")
async def list_messages(
    session_id: str, rooms: RoomsOf, caller: CallerOf, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> JsonObject:
    """Return the last `limit` messages, oldest first."""
    messages = await rooms.sessions.messages(caller, SessionId(session_id))
    return page(messages[-limit:], more=len(messages) > limit)
