"""The last requests that ended in an error, for people who look: bounded, and without a word of what was said."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gateway.domain import Outcome

_KEPT = 20


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """`at` is in Unix seconds. The code says what was wrong; the message may quote the request and is not kept."""

    at: float
    request_id: str
    route: str
    tenant: str
    model: str
    replica: str | None
    status: int
    outcome: Outcome
    code: str


class LastErrors:
    """Keeps the last twenty."""

    def __init__(self) -> None:
        self._requests: deque[FailedRequest] = deque(maxlen=_KEPT)

    def note(self, request: FailedRequest) -> None:
        """Keep one, in the place of the oldest."""
        self._requests.append(request)

    def newest_first(self) -> list[FailedRequest]:
        """Return them."""
        return list(reversed(self._requests))
