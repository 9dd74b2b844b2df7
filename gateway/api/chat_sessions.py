"""`/chat/sessions`: sessions under the names and in the shapes of a small chatbot, for clients written for one.

Aliases of `/v1/sessions` and nothing more: the same sessions, checks and promises. Times are ISO 8601.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from gateway.api.completions import read_call_body
from gateway.api.session_messages import serve_in_session
from gateway.api.sessions import Metadata, System, Title
from gateway.api.shapes import ChatEvents, ChatMessage
from gateway.api.state import CallerOf, RoomsOf
from gateway.domain import JsonObject, SessionId
from gateway.errors import InvalidRequest
from gateway.lifespan import Rooms
from gateway.prompt import json_object
from gateway.sessions import NewSession, SessionContent, SessionRecord

router = APIRouter(prefix="/chat/sessions", tags=["chat sessions"])
MESSAGES_PATH = "/chat/sessions/{session_id}/messages"
STREAM_PATH = "/chat/sessions/{session_id}/stream"


class NewChat(BaseModel):
    """A new session; other fields are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)

    system_prompt: System = Field("", validation_alias=AliasChoices("system_prompt", "system"))
    title: Title = ""
    metadata: Metadata = Field(default_factory=dict)


@router.post("")
async def create_chat(rooms: RoomsOf, caller: CallerOf, given: NewChat | None = None) -> JsonObject:
    """Create a session."""
    given = given or NewChat.model_validate({})
    content = SessionContent(given.system_prompt, given.title, given.metadata)
    return _chat(await rooms.sessions.create(caller, NewSession(content)))


@router.get("/{session_id}")
async def get_chat(session_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Read a session."""
    return _chat(await rooms.sessions.read(caller, SessionId(session_id)))


@router.get("/{session_id}/history")
async def get_chat_history(
    session_id: str, rooms: RoomsOf, caller: CallerOf, limit: Annotated[int, Query(ge=1, le=1000)] = 10
) -> JsonObject:
    """Return the last messages, the oldest of them first."""
    record, messages = await rooms.sessions.read_whole(caller, SessionId(session_id))
    shown = [
        {"role": each.role, "content": each.kept["content"], "timestamp": _time(each.kept["created_at"])}
        for each in messages[-limit:]
    ]
    return {"session_id": session_id, "messages": shown, "total": record.message_count}


@router.delete("/{session_id}")
async def delete_chat(session_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Delete a session with its messages."""
    await rooms.sessions.delete(caller, SessionId(session_id))
    return {"session_id": session_id, "deleted": True}


class ChatSessionEndpoint:
    """Takes `{content}` or `{message}` and sampling parameters; answers in one message, or in events if `stream`."""

    def __init__(self, rooms: Rooms, *, stream: bool) -> None:
        self._rooms = rooms
        self._stream = stream
        self._route = STREAM_PATH if stream else MESSAGES_PATH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_call_body(scope, receive, self._route, self._rooms.settings)
        if body is None:
            return
        chat = _as_chat(body) | {"stream": self._stream}
        state = scope["state"]
        session_id = scope["path_params"]["session_id"]
        if self._stream:
            events = ChatEvents(send, state["send"])
            state["send"] = events.send_part
            await serve_in_session(chat, self._rooms, scope, events.send)
        else:
            message = ChatMessage(send, state["send"], session_id)
            state["send"] = message.send_part
            await serve_in_session(chat, self._rooms, scope, message.send)


def _as_chat(body: bytes) -> JsonObject:
    """Return the chat request for a message. Raises InvalidRequest naming the field."""
    given = json_object(body)
    said = [given.pop(name) for name in ("content", "message") if name in given]
    if len(said) != 1 or not isinstance(said[0], str) or not said[0]:
        raise InvalidRequest("'content' must be a text.", param="content", code="missing_required_parameter")
    for name in ("messages", "session_id", "stream"):
        if given.pop(name, None) not in (None, True, False):
            raise InvalidRequest(f"Unrecognized request argument: '{name}'.", param=name)
    return {**given, "messages": [{"role": "user", "content": said[0]}]}


def _chat(record: SessionRecord) -> JsonObject:
    return {
        "session_id": record.id,
        "title": record.content.title,
        "system_prompt": record.content.system,
        "metadata": record.content.metadata,
        "message_count": record.message_count,
        "created_at": _time(record.created_at),
        "updated_at": _time(record.updated_at),
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
