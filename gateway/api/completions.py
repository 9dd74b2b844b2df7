"""The hot routes, as pure ASGI endpoints: routing them through FastAPI's models costs more than all the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

from starlette.types import Receive, Scope, Send

from config import Settings
from gateway.api.answer_shape import AS_IT_IS, AnswerShape
from gateway.api.body import ClientGone, body_at_hand, read_body, require_json
from gateway.api.once import Recorder, send_again
from gateway.api.relay_response import RelayResponse
from gateway.api.watch import ClientWatch, client_of
from gateway.domain import Call, Caller, Endpoint, HeaderMap
from gateway.errors import GatewayError
from gateway.idempotency import Recorded
from gateway.lifespan import Rooms
from gateway.pipeline import Pipeline
from gateway.reply import Reply
from gateway.settlement import Settlement


class CompletionsEndpoint:
    """`POST /v1/chat/completions` and `/v1/completions`."""

    def __init__(self, endpoint: Endpoint, rooms: Rooms) -> None:
        self._endpoint = endpoint
        self._route = endpoint.value
        self._rooms = rooms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        settlement: Settlement = scope["state"]["settlement"]
        body = await read_call_body(scope, receive, self._route, self._rooms.settings)
        if body is not None:
            caller: Caller = scope["state"]["caller"]
            call = Call(settlement.request_id, self._endpoint, caller, body, _session_id(scope["state"]["headers"]))
            await answer_call(call, self._rooms, scope, send)


async def read_call_body(
    scope: Scope,
    receive: Receive,
    route: str,
    settings: Settings,
    require: Callable[[HeaderMap], None] = require_json,
) -> bytes | None:
    """Return the body of a call and note in the settlement what it is for; None if the client left meanwhile."""
    settlement: Settlement = scope["state"]["settlement"]
    settlement.route = route
    settlement.caller = scope["state"]["caller"]
    headers: HeaderMap = scope["state"]["headers"]
    require(headers)
    server = settings.server
    limit_bytes, client = server.max_body_bytes, client_of(scope)
    here = body_at_hand(headers, client, limit_bytes)
    if here is not None:
        return here
    try:
        return await read_body(headers, receive, limit_bytes, server.body_timeout_seconds)
    except ClientGone:
        settlement.client_gone(0.0)
        return None


def answer_call(
    call: Call, rooms: Rooms, scope: Scope, send: Send, shape: AnswerShape = AS_IT_IS, sent: bytes | None = None
) -> Coroutine[None, None, None]:
    """Serve `call` to the end: answered, refused, or left by its client, with nothing of it held afterwards.

    `sent` is the body that the client sent, where that is not the call's own.
    """
    key = scope["state"]["headers"].get(b"idempotency-key")
    if key is None:
        return _answer(call, rooms, scope, send, scope["state"]["send"], shape)
    body = call.body if sent is None else sent
    request = b"\0".join((scope["path"].encode(), (call.session_id or "").encode(), body))
    return _answer_once(key.decode("latin-1"), request, call, rooms, scope, send, shape)


async def _answer_once(
    key: str, request: bytes, call: Call, rooms: Rooms, scope: Scope, send: Send, shape: AnswerShape
) -> None:
    """Serve `call` if it is the first with its key. It may then go on for a while without its client."""
    claim = await rooms.claims.claim(call.caller, key, request)
    if isinstance(claim, Recorded):
        await send_again(claim, send, scope["state"]["send"])
        return
    with claim:
        recorder = Recorder(claim, send, scope["state"]["send"])
        grace_seconds = rooms.settings.sessions.idempotency_grace_seconds
        await _answer(call, rooms, scope, recorder.send, recorder.send_part, shape, grace_seconds)


async def _answer(
    call: Call,
    rooms: Rooms,
    scope: Scope,
    send: Send,
    send_part: Send,
    shape: AnswerShape,
    grace_seconds: float | None = None,
) -> None:
    """Serve `call` through these. With a time of grace the answer is for the record too: no chunk goes by `send`."""
    settlement: Settlement = scope["state"]["settlement"]
    client = client_of(scope)
    straight = grace_seconds is None
    response = RelayResponse(send, send_part, client, rooms.settings.stream, settlement, shape, straight=straight)
    watch = ClientWatch(client, grace_seconds or 0.0)
    try:
        with watch:
            if watch.gone_at is None:
                await _serve(call, rooms.pipeline, settlement, response)
    finally:
        if watch.gone_at is not None:
            settlement.client_gone(time.perf_counter() - watch.gone_at)


async def _serve(call: Call, pipeline: Pipeline, settlement: Settlement, response: RelayResponse) -> None:
    reply: Reply | None = None
    try:
        try:
            reply = await pipeline.serve(call, settlement, response.hold)
            await response.send(reply)
        except GatewayError as error:
            settlement.failed(error)
            if reply is not None:
                reply.failed(error)
            await response.send_error(error)
    except asyncio.CancelledError:
        if not response.stalled:
            raise
        # Ended by us, not from outside. The server closes the connection, as the response has no end.
        response.ended_stalling()
        settlement.client_gone(0.0)
    finally:
        response.close()
        if reply is not None:
            reply.close()


def _session_id(headers: HeaderMap) -> str | None:
    given = headers.get(b"x-session-id")
    return given.decode("latin-1") if given else None
