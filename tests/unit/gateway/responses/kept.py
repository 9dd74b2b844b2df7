"""Responses on a real Redis, as the tests of this folder use them."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

from config import ResponsesSettings
from gateway.domain import Caller, JsonObject
from gateway.responses import NO_ROW, KeptResponse, ResponseStore, Row
from gateway.store import Cipher, Store
from gateway.telemetry.metrics import Metrics

_NUMBERS = itertools.count(1)


class Kept:
    """The room on one store, with settings of the test's own."""

    def __init__(self, store: Store, cipher: Cipher | None = None, **settings: Any) -> None:
        self.metrics = Metrics()
        self.settings = ResponsesSettings(**settings)
        self.store = ResponseStore(store, self.settings, cipher or Cipher(), self.metrics)

    async def add(self, caller: Caller, said: str, previous: str | None = None, row: Row | None = None) -> str:
        """Keep a response that goes on from another; return its id."""
        if row is None:
            row = NO_ROW if previous is None else await self.store.row(caller, previous)
        kept = new(said, previous)
        await self.store.keep(caller, kept, row)
        return str(kept.response["id"])

    async def said(self, caller: Caller, response_id: str) -> list[str]:
        """Return what was said up to a response, question and answer by turns."""
        return [item["content"] for item in (await self.store.row(caller, response_id)).items]


def new(said: str, previous: str | None = None) -> KeptResponse:
    """Return a response that answers a question. Ids sort as they are made."""
    response_id = f"resp_{next(_NUMBERS):08x}{uuid.uuid4().hex}"
    output = [item("assistant", f"{said}!")]
    response = {"id": response_id, "status": "completed", "previous_response_id": previous, "output": output}
    return KeptResponse(response, (item("user", f"{said}?"),))


def item(role: str, words: str) -> JsonObject:
    """Return a message."""
    return {"type": "message", "role": role, "content": words}
