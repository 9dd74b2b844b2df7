"""`POST /v1/tokenize`: how many prompt tokens a chat or completion request would have."""

from __future__ import annotations

from fastapi import APIRouter, Request

from gateway.api.state import CallerOf, RoomsOf
from gateway.domain import Call, Endpoint, JsonObject
from gateway.prompt import json_object
from gateway.settlement import Settlement

router = APIRouter(prefix="/v1", tags=["models"])

_BODY = {"type": "object", "description": "A chat request (`messages`) or a completion request (`prompt`)."}
_DOCUMENTED = {"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}}


@router.post("/tokenize", openapi_extra=_DOCUMENTED)
async def tokenize(request: Request, rooms: RoomsOf, caller: CallerOf) -> JsonObject:
    """Count the prompt tokens of a request, after everything that would be done to it. Nothing is generated."""
    settlement: Settlement = request.state.settlement
    body = await request.body()
    endpoint = Endpoint.COMPLETIONS if "prompt" in json_object(body) else Endpoint.CHAT
    call = Call(settlement.request_id, endpoint, caller, body)
    counted = await rooms.pipeline.count_tokens(call, settlement)
    return {
        "object": "tokenization",
        "model": settlement.model,
        "prompt_tokens": counted.tokens,
        "max_model_len": counted.max_model_len_tokens,
    }
