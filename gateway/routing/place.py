"""One request's place at an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gateway.domain import Replica
from gateway.errors import EngineFailure
from gateway.routing.member import Member


class Counts(Protocol):
    """Where places are counted: the fleet."""

    def answered(self, place: Place) -> None:
        """Its first content is here."""

    def failed(self, place: Place, failure: EngineFailure) -> None:
        """Its engine failed it."""

    def leave(self, place: Place) -> None:
        """It is free again."""


@dataclass(slots=True)
class Place:
    """Released once, by whoever holds it."""

    member: Member
    counts: Counts
    prefill_tokens: int
    taken_at: float
    has_content: bool = False
    has_failed: bool = False
    _held: bool = True

    @property
    def replica(self) -> Replica:
        """Where to send the request."""
        return self.member.replica

    def answered(self) -> None:
        """Note that the first content is here: the prompt has been read, and the engine works."""
        self.has_content = True
        self.counts.answered(self)
        self.prefill_tokens = 0

    def failed(self, failure: EngineFailure) -> None:
        """Note what the engine did in place of an answer, or of the rest of one, and release."""
        self.has_failed = True
        self.release()
        self.counts.failed(self, failure)

    def release(self) -> None:
        """Give the place to whoever waits. Any number of times, never waits."""
        if self._held:
            self._held = False
            self.counts.leave(self)
