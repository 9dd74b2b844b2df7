"""One engine of the fleet, as this gateway process sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.domain import Replica


class State(StrEnum):
    """Whether an engine may be asked. `starting` until it has been healthy once."""

    STARTING = "starting"
    READY = "ready"
    SICK = "sick"


@dataclass(slots=True)
class Member:
    """Mutable, owned by the fleet, changed only on the event loop."""

    replica: Replica
    state: State = State.STARTING
    models: frozenset[str] = frozenset()
    max_model_len_tokens: int | None = None
    engine_version: str | None = None
    in_flight: int = 0
    last_error: str | None = None
    doubted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by a request that found it gone, so that the watcher looks at once and not at its next poll."""
