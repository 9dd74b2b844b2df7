"""Chat history in Redis: appended to, never rewritten; one writer at a time."""

from gateway.sessions.leases import Leases
from gateway.sessions.messages import Message
from gateway.sessions.recall import Recall
from gateway.sessions.records import SessionContent, SessionRecord
from gateway.sessions.room import SessionRoom
from gateway.sessions.store import NewSession, SessionStore, place_of

__all__ = [
    "Leases",
    "Message",
    "NewSession",
    "Recall",
    "SessionContent",
    "SessionRecord",
    "SessionRoom",
    "SessionStore",
    "place_of",
]
