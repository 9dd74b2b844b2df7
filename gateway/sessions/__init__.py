"""Chat history in Redis: appended to, never rewritten; one writer at a time."""

from gateway.sessions.recall import Recall, SessionRoom
from gateway.sessions.records import SessionRecord
from gateway.sessions.store import SessionStore

__all__ = ["Recall", "SessionRecord", "SessionRoom", "SessionStore"]
