"""One engine of the fleet, as this gateway process sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from gateway.domain import ALL_MEDIA, NO_MEDIUM, Medium, Replica
from gateway.routing.engine_load import UNKNOWN_LOAD, EngineLoad

_PREFILL_TOKENS_OF_A_REQUEST = 1024
"""So many prompt tokens without a first token weigh as much as one request that runs."""


class State(StrEnum):
    """Whether an engine may be asked. `starting` until it has been healthy once; only `ready` ones are asked."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """It ends what it has and gets nothing new: an operator said so, or no source lists it any more."""
    SICK = "sick"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Member:
    """Mutable, owned by the fleet, changed only on the event loop."""

    replica: Replica
    state: State = State.STARTING
    models: frozenset[str] = frozenset()
    answered: bool = False
    """Whether it has ever said which these are."""
    stated_media: bool | None = None
    """Whether it takes images and audio, as its source says; None: as it says itself."""
    learnt_media: frozenset[Medium] | None = None
    weight: int = 1
    share: float = 1.0
    """Of its weight: less than 1 while an engine that was sick comes back."""
    max_model_len_tokens: int | None = None
    engine_version: str | None = None
    in_flight: int = 0
    prefill_tokens: int = 0
    """Of requests in flight that have no first token yet."""
    load: EngineLoad = UNKNOWN_LOAD
    others: int = 0
    """Requests of other gateways, as of the last poll."""
    failures: int = 0
    """Requests in a row that the engine failed."""
    ejections: int = 0
    ejected_until: float = 0.0
    held: bool = False
    """An operator drains it."""
    leaving: bool = False
    """No source lists it any more."""
    last_error: str | None = None
    doubted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something has changed, so that the watcher looks at once and not at its next poll."""
    seed: int = field(init=False)
    """What its name is in rendezvous hashing; odd."""

    def __post_init__(self) -> None:
        self.seed = int.from_bytes(blake2b(self.replica.name.encode(), digest_size=8).digest(), "big") | 1

    @property
    def media(self) -> frozenset[Medium]:
        """What it takes beside text; everything, until it has been asked."""
        if self.stated_media is not None:
            return ALL_MEDIA if self.stated_media else NO_MEDIUM
        return ALL_MEDIA if self.learnt_media is None else self.learnt_media

    @property
    def asks_media(self) -> bool:
        """Whether it is still to be asked what it takes."""
        return self.stated_media is None and self.learnt_media is None

    @property
    def busy(self) -> float:
        """How much it has to do, in requests: ours, other gateways', and what is still to be read of prompts."""
        return self.in_flight + self.others + self.prefill_tokens / _PREFILL_TOKENS_OF_A_REQUEST
