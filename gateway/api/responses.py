"""`/v1/responses`: OpenAI's Responses API, each response served as the chat that it stands for.

https://platform.openai.com/docs/api-reference/responses. The pipeline sees chats only, so checks, limits, routing and
account are those of a chat.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.types import Receive, Scope, Send

from gateway.api.body import require_json
from gateway.api.completions import answer_call, read_call_body
from gateway.api.pages import page
from gateway.api.response_object import ResponseObject
from gateway.api.response_shape import ResponseShape
from gateway.api.state import CallerOf, RoomsOf
from gateway.domain import Call, Caller, Endpoint, JsonObject
from gateway.errors import GatewayError, InvalidRequest, StoreDown
from gateway.lifespan import Rooms
from gateway.prompt.response_request import Origin, ResponseRequest, as_chat, input_listed, response_request, written
from gateway.responses import NO_ROW, KeptResponse, Row
from gateway.settlement import Settlement
from gateway.store import StoreRefused

PATH = "/v1/responses"
_MAX_PAGE = 100
_NOT_KEPT = "Responses cannot be kept right now. Please try again, or ask with 'store' false."
_NO_SESSION = "Responses are in no session: name the one before with 'previous_response_id'."
_BODY = {"type": "object", "description": "What `POST /v1/responses` takes."}
_DOCUMENTED = {"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}}

router = APIRouter(prefix=PATH, tags=["responses"])


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for a response, with what it goes on from."""

    request: ResponseRequest
    row: Row
    call: Call
    origin: Origin


class ResponsesEndpoint:
    """`POST /v1/responses`."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_call_body(scope, receive, PATH, self._rooms.settings)
        if body is None:
            return
        if b"x-session-id" in scope["state"]["headers"]:
            raise InvalidRequest(_NO_SESSION, param="session_id", code="unsupported_parameter")
        settlement: Settlement = scope["state"]["settlement"]
        caller: Caller = scope["state"]["caller"]
        asked = await _asked(body, self._rooms, caller, settlement)
        request = asked.request
        store = self._rooms.settings.responses.store if request.store is None else request.store
        if store:
            self._check_it_can_be_kept(request, asked.row)
        model = str(request.chat.get("model"))
        response = ResponseObject(settlement.request_id, model, request.shown, int(time.time()), store=store)

        async def keep(whole: JsonObject) -> bool:
            given = input_listed(request, f"{response.id}_")
            try:
                await self._rooms.responses.keep(caller, KeptResponse(whole, tuple(given)), asked.row)
            except (StoreDown, StoreRefused):
                if request.store:
                    raise StoreDown(_NOT_KEPT) from None
                return False
            return True

        await answer_call(asked.call, self._rooms, scope, send, ResponseShape(response, asked.origin, keep), body)

    def _check_it_can_be_kept(self, request: ResponseRequest, row: Row) -> None:
        """Refuse before anything is generated what would not be kept after it, where it has to be."""
        if request.store and not self._rooms.responses.takes_more:
            raise StoreDown(_NOT_KEPT)
        self._rooms.responses.check_room(row, request.bytes)


@router.post("/input_tokens", openapi_extra=_DOCUMENTED)
async def count_input_tokens(request: Request, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Count the prompt tokens of a response, after everything that would be done to it. Nothing is generated."""
    settlement: Settlement = request.state.settlement
    require_json(request.state.headers)
    asked = await _asked(await request.body(), rooms, caller, settlement)
    try:
        counted = await rooms.pipeline.count_tokens(asked.call, settlement)
    except GatewayError as error:
        raise asked.origin.named(error) from None
    return {"object": "response.input_tokens", "input_tokens": counted.tokens}


@router.get("/{response_id}")
async def get_response(
    response_id: str, rooms: RoomsOf, caller: CallerOf, stream: Annotated[bool, Query()] = False
) -> JsonObject:
    """Read a kept response."""
    if stream:
        raise InvalidRequest("A response is streamed while it is made, and not again.", param="stream")
    return (await rooms.responses.read(caller, response_id)).response


@router.delete("/{response_id}")
async def delete_response(response_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Delete a kept response; what went on from it cannot go on any more."""
    await rooms.responses.delete(caller, response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.post("/{response_id}/cancel")
async def cancel_response(response_id: str, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Refuse: only a response that is made in the background can be cancelled, and none is."""
    await rooms.responses.read(caller, response_id)
    raise InvalidRequest("Only background responses can be cancelled; close the connection.", param="response_id")


@router.get("/{response_id}/input_items")
async def list_input_items(
    response_id: str,
    rooms: RoomsOf,
    caller: CallerOf,
    limit: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> JsonObject:
    """List what was new in the request for a response."""
    kept = await rooms.responses.read(caller, response_id)
    items = list(kept.input if order == "asc" else reversed(kept.input))
    start = 0
    if after is not None:
        start = next((place + 1 for place, item in enumerate(items) if item["id"] == after), -1)
        if start < 0:
            raise InvalidRequest(f"There is no item '{after}' to go on after.", param="after")
    return page(items[start : start + limit], more=len(items) > start + limit)


async def _asked(body: bytes, rooms: Rooms, caller: Caller, settlement: Settlement) -> _Asked:
    request = response_request(body, drops_unknown=rooms.settings.prompt.unknown_fields == "drop")
    previous = request.previous_response_id
    row = NO_ROW if previous is None else await rooms.responses.row(caller, previous)
    chat, origin = as_chat(request, row.items)
    return _Asked(request, row, Call(settlement.request_id, Endpoint.CHAT, caller, written(chat)), origin)
