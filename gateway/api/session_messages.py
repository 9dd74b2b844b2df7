"""`POST /v1/sessions/{id}/messages`: one message to a session, answered as a chat completion or its chunks."""

from __future__ import annotations

import orjson
from starlette.types import Receive, Scope, Send

from gateway.api.completions import answer_call, read_call_body
from gateway.domain import Call, Caller, Endpoint, JsonObject, SessionId
from gateway.errors import InvalidRequest
from gateway.lifespan import Rooms
from gateway.prompt import json_object

PATH = "/v1/sessions/{session_id}/messages"


class SessionMessagesEndpoint:
    """Takes `{content, model?, stream?, …sampling}` and serves it as the chat request that it stands for."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_call_body(scope, receive, PATH, self._rooms.settings)
        if body is None:
            return
        settlement = scope["state"]["settlement"]
        caller: Caller = scope["state"]["caller"]
        session_id = SessionId(scope["path_params"]["session_id"])
        chat = as_chat(body)
        if "model" not in chat:
            chat["model"] = await self._model(caller, session_id)
        call = Call(settlement.request_id, Endpoint.CHAT, caller, _encoded(chat), session_id)
        await answer_call(call, self._rooms, scope, send)

    async def _model(self, caller: Caller, session_id: SessionId) -> str:
        record = await self._rooms.sessions.read(caller, session_id)
        return record.model or self._rooms.settings.engine.served_model_name


def _encoded(chat: JsonObject) -> bytes:
    try:
        return orjson.dumps(chat)
    except orjson.JSONEncodeError:
        # What can be read may still be nested too deeply to be written.
        raise InvalidRequest("The body is nested too deeply.", code="invalid_json") from None


def as_chat(body: bytes) -> JsonObject:
    """Return the chat request for a message to a session. Raises InvalidRequest naming the field."""
    given = json_object(body)
    content = given.pop("content", None)
    if not isinstance(content, str) or not content:
        raise InvalidRequest("'content' must be a text.", param="content", code="missing_required_parameter")
    for name in ("messages", "session_id"):
        if name in given:
            raise InvalidRequest(f"Unrecognized request argument: '{name}'.", param=name)
    return {**given, "messages": [{"role": "user", "content": content}]}
