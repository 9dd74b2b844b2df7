"""`/v1/sessions`: chat history on the server. Messages are sent through `session_messages.py`."""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.api.pages import page
from gateway.api.state import CallerOf, RoomsOf
from gateway.api.transcript import as_markdown
from gateway.domain import JsonObject, SessionId
from gateway.sessions import NewSession, SessionContent, place_of

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

_MAX_PAGE = 100
_MAX_MESSAGES_PAGE = 1000
_MAX_TTL_SECONDS = 31_536_000

System = Annotated[str, StringConstraints(max_length=100_000)]
Title = Annotated[str, StringConstraints(max_length=200)]
Model = Annotated[str, StringConstraints(max_length=256)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)]
TtlSeconds = Annotated[int, Field(ge=1, le=_MAX_TTL_SECONDS)]


class SessionFields(BaseModel):
    """A new session. `system` is the system prompt of every turn; `model` is asked where a message names none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    system: System = ""
    title: Title = ""
    metadata: Metadata = Field(default_factory=dict)
    model: Model = ""
    ttl_seconds: TtlSeconds | None = None


class SessionChanges(BaseModel):
    """What a session gets instead; what is left out stays. `metadata` is replaced as a whole."""

    model_config = ConfigDict(extra="forbid", strict=True)

    system: System | None = None
    title: Title | None = None
    metadata: Metadata | None = None
    model: Model | None = None
    ttl_seconds: TtlSeconds | None = None


class Fork(BaseModel):
    """A copy of a session up to and including the message `from`, or of all."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    until: str | None = Field(None, alias="from", max_length=64)
    title: Title | None = None


@router.post("", status_code=201)
async def create_session(rooms: RoomsOf, caller: CallerOf, given: SessionFields | None = None) -> JsonObject:
    """Create a session."""
    given = given or SessionFields()
    content = SessionContent(given.system, given.title, given.metadata)
    return (await rooms.sessions.create(caller, NewSession(content, given.model, given.ttl_seconds))).as_json()


@router.get("")
async def list_sessions(
    rooms: RoomsOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
    after: str | None = None,
) -> JsonObject:
    """List the caller's own sessions, the newest first."""
    records, more = await rooms.sessions.page(caller, limit, SessionId(after) if after else None)
    return page([record.as_json() for record in records], more=more)


@router.get("/{session_id}")
async def get_session(session_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Read a session."""
    return (await rooms.sessions.read(caller, SessionId(session_id))).as_json()


@router.patch("/{session_id}")
async def change_session(session_id: str, rooms: RoomsOf, caller: CallerOf, changes: SessionChanges) -> JsonObject:
    """Change a session."""
    given = changes.model_dump(exclude_none=True)
    if "metadata" in given:
        given["metadata"] = orjson.dumps(given["metadata"]).decode()
    return (await rooms.sessions.update(caller, SessionId(session_id), given)).as_json()


@router.delete("/{session_id}")
async def delete_session(session_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Delete a session with its messages."""
    await rooms.sessions.delete(caller, SessionId(session_id))
    return {"id": session_id, "object": "session.deleted", "deleted": True}


@router.get("/{session_id}/messages")
async def list_messages(
    session_id: str,
    rooms: RoomsOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=_MAX_MESSAGES_PAGE)] = 100,
    order: Literal["asc", "desc"] = "asc",
    after: str | None = None,
) -> JsonObject:
    """Return messages, the oldest first or, with `order=desc`, the newest."""
    _, messages = await rooms.sessions.read_whole(caller, SessionId(session_id))
    if order == "desc":
        messages.reverse()
    if after is not None:
        messages = messages[place_of(messages, after, "after") + 1 :]
    return page([each.as_json() for each in messages[:limit]], more=len(messages) > limit)


@router.delete("/{session_id}/messages")
async def delete_messages(
    session_id: str, rooms: RoomsOf, caller: CallerOf, since: Annotated[str | None, Query(alias="from")] = None
) -> JsonObject:
    """Delete all messages, or one and those after it. Waits for a message that is being answered."""
    deleted = await rooms.session_room.forget(caller, SessionId(session_id), since)
    return {"id": session_id, "object": "session.messages.deleted", "deleted": deleted}


@router.post("/{session_id}/fork", status_code=201)
async def fork_session(session_id: str, rooms: RoomsOf, caller: CallerOf, fork: Fork | None = None) -> JsonObject:
    """Copy a session, so that the talk can go on in two ways."""
    fork = fork or Fork()
    return (await rooms.sessions.fork(caller, SessionId(session_id), fork.until, fork.title)).as_json()


@router.get("/{session_id}/export")
async def export_session(
    session_id: str,
    rooms: RoomsOf,
    caller: CallerOf,
    form: Annotated[Literal["json", "markdown"], Query(alias="format")] = "json",
) -> Response:
    """Return a session with all its messages, as JSON or as a text to read."""
    record, messages = await rooms.sessions.read_whole(caller, SessionId(session_id))
    if form == "markdown":
        return Response(as_markdown(record, messages), media_type="text/markdown; charset=utf-8")
    whole = {**record.as_json(), "object": "session.export", "messages": [each.as_json() for each in messages]}
    return Response(orjson.dumps(whole), media_type="application/json")
