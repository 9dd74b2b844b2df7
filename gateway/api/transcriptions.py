"""`POST /v1/audio/transcriptions` and `/translations`: a clip as a form, answered by the pipeline as a chat."""

from __future__ import annotations

import orjson
from starlette.types import Receive, Scope, Send

from gateway.api.completions import answer_call, read_call_body
from gateway.api.form import read_form, require_form
from gateway.api.transcript_shape import TranscriptShape
from gateway.domain import Call, Caller, Endpoint
from gateway.errors import NotFound
from gateway.lifespan import Rooms
from gateway.prompt import media_limits
from gateway.prompt.transcription import Task, as_chat


class TranscriptionsEndpoint:
    """One of the two routes."""

    def __init__(self, task: Task, rooms: Rooms) -> None:
        self._task = task
        self._rooms = rooms
        self._limits = media_limits(rooms.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._limits.audios:
            raise NotFound(f"Not offered: POST {self._task}; this model hears nothing here (engine.max_audios is 0).")
        body = await read_call_body(scope, receive, self._task.value, self._rooms.settings, require_form)
        if body is None:
            return
        form = await read_form(scope["state"]["headers"], body)
        chat, response_format = as_chat(self._task, form, self._limits)
        caller: Caller = scope["state"]["caller"]
        call = Call(scope["state"]["settlement"].request_id, Endpoint.CHAT, caller, orjson.dumps(chat))
        shape = TranscriptShape(plain=response_format == "text")
        await answer_call(call, self._rooms, scope, send, shape)
