"""Sessions on a real Redis, as the tests of this folder use them."""

from __future__ import annotations

from typing import Any

from config import SessionsSettings
from gateway.domain import Caller, SessionId
from gateway.sessions import Leases, SessionRoom, SessionStore
from gateway.sessions.leases import Addition
from gateway.sessions.messages import new_message
from gateway.store import Cipher, Store
from gateway.telemetry.metrics import Metrics


class Kept:
    """The parts of the room on one store, with settings of the test's own."""

    def __init__(self, store: Store, cipher: Cipher | None = None, **settings: Any) -> None:
        cipher = cipher or Cipher()
        self.settings = SessionsSettings(**settings)
        self.metrics = Metrics()
        self.store = SessionStore(store, self.settings, cipher, self.metrics)
        self.leases = Leases(store, self.settings, cipher)
        self.room = SessionRoom(self.store, self.leases, self.settings, self.metrics)


def added(*texts: str) -> Addition:
    """Return what appends these messages."""
    return Addition([new_message({"role": "user", "content": text}, 1) for text in texts])


async def texts(kept: Kept, caller: Caller, session_id: SessionId) -> list[str]:
    """Return what was said."""
    return [each.kept["content"] for each in (await kept.store.read_whole(caller, session_id))[1]]
