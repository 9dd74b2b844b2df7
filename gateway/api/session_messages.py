"""Messages to a session, answered as a chat completion or its chunks.

`POST /v1/sessions/{id}/messages` asks something new, `POST /v1/sessions/{id}/regenerate` the last question again.
"""

from __future__ import annotations

import orjson
from starlette.types import Receive, Scope, Send

from gateway.api.completions import answer_call, read_call_body
from gateway.domain import Call, Caller, Endpoint, JsonObject, SessionId
from gateway.errors import InvalidRequest
from gateway.lifespan import Rooms
from gateway.prompt import json_object

PATH = "/v1/sessions/{session_id}/messages"
REGENERATE_PATH = "/v1/sessions/{session_id}/regenerate"


class SessionMessagesEndpoint:
    """Takes `{content, model?, stream?, …sampling}` and serves it as the chat request that it stands for.

    To regenerate there is no content, and the body may be empty.
    """

    def __init__(self, rooms: Rooms, *, regenerate: bool = False) -> None:
        self._rooms = rooms
        self._regenerate = regenerate
        self._route = REGENERATE_PATH if regenerate else PATH

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_call_body(scope, receive, self._route, self._rooms.settings)
        if body is None:
            return
        chat = _without(json_object(body or b"{}"), "content") if self._regenerate else as_chat(body)
        await serve_in_session(chat, self._rooms, scope, send, regenerate=self._regenerate)


async def serve_in_session(
    chat: JsonObject, rooms: Rooms, scope: Scope, send: Send, *, regenerate: bool = False
) -> None:
    """Serve a chat request in the session that the path names, with the session's model where it names none."""
    settlement = scope["state"]["settlement"]
    caller: Caller = scope["state"]["caller"]
    session_id = SessionId(scope["path_params"]["session_id"])
    if "model" not in chat:
        record = await rooms.sessions.read(caller, session_id)
        chat["model"] = record.model or rooms.settings.engine.served_model_name
    call = Call(settlement.request_id, Endpoint.CHAT, caller, _encoded(chat), session_id, regenerate)
    await answer_call(call, rooms, scope, send)


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
    if not isinstance(content, str | list) or not content:
        raise InvalidRequest(
            "'content' must be a text or a list of parts.", param="content", code="missing_required_parameter"
        )
    return {**_without(given), "messages": [{"role": "user", "content": content}]}


def _without(given: JsonObject, *further: str) -> JsonObject:
    """Return `given`, which must say nothing that the path says, or what would be said twice."""
    for name in ("messages", "session_id", *further):
        if name in given:
            raise InvalidRequest(f"Unrecognized request argument: '{name}'.", param=name)
    return given
