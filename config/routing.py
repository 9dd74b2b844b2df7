"""The settings of routing: which engines there are, how one is chosen, who waits, and what becomes of failures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from config.fields import Group, Seconds, Words


class RoutingPolicy(StrEnum):
    """How an engine is chosen among those that could take a request."""

    AFFINITY = "affinity"
    LEAST_LOADED = "least_loaded"
    ROUND_ROBIN = "round_robin"


class RoutingSettings(Group):
    """Which engines there are, how one is chosen, and who waits."""

    engines: Words = Field((), description="Base URLs of engines; none here or below: the one at engine.host:port.")
    engines_file: Path | None = Field(
        None, description="A YAML list of engines, read again when it changes: URLs, or `url`, `weight`, `media`."
    )
    dns: str = Field("", description="`host:port` whose addresses are engines, such as a headless Service.")
    discovery_seconds: Seconds = Field(5.0, description="How often the file and the name are looked at.")
    media: bool | None = Field(
        None, description="Whether engines take images and audio; not set: each is asked. The file can say it of each."
    )
    policy: RoutingPolicy = Field(
        RoutingPolicy.AFFINITY,
        description="`affinity`: a conversation stays where its prefix is cached; `least_loaded`; `round_robin`.",
    )
    affinity_load_factor: float = Field(
        1.25, ge=1, description="A conversation leaves its home when that has this many times its share of requests."
    )
    max_attempts: int = Field(2, ge=1, le=5, description="Tries before the first event of an answer, all in all.")
    retry_share: float = Field(0.2, ge=0, le=1, description="Second tries, as a share of requests; a few are spare.")
    max_in_flight: int = Field(0, ge=0, description="Requests at one engine at once; 0: what vLLM's queue allows.")
    max_prefill_tokens: int = Field(
        0, ge=0, description="Prompt tokens at one engine before their first token; 0: what vLLM's queue allows."
    )
    queue_seconds: float = Field(8.0, ge=0, description="How long a request may wait for a place at an engine.")
    max_queued: int = Field(256, ge=0, description="Requests that may wait for a place; more is 503 at once.")
    max_queued_per_tenant: int = Field(64, ge=0, description="Of them, how many may be one tenant's.")
    poll_seconds: Seconds = Field(1.0, description="How often an engine's health and load are asked for.")
    poll_timeout_seconds: Seconds = Field(5.0, description="An engine that does not say in this time how it is: sick.")
    connect_timeout_seconds: Seconds = Field(2.0, description="Longest wait for a connection to an engine.")
    breaker_failures: int = Field(5, ge=1, description="Failed requests in a row that take an engine out.")
    breaker_seconds: Seconds = Field(5.0, description="How long it is out, the first time; twice as long the next.")
    breaker_max_seconds: Seconds = Field(60.0, description="The longest that it is out before it is tried again.")
    slow_start_seconds: Seconds = Field(20.0, description="In this time an engine that was sick gets its full share.")

    @property
    def sources(self) -> tuple[str, ...]:
        """What says which engines there are; none: this machine runs the one there is."""
        return (*self.engines, *([str(self.engines_file)] if self.engines_file else []), *filter(None, [self.dns]))
