"""The settings of chat sessions, and of requests that are answered once."""

from __future__ import annotations

from pydantic import Field, SecretStr

from config.fields import Group, Seconds


class SessionsSettings(Group):
    """Server-side chat history."""

    ttl_seconds: int = Field(3600, ge=1, description="A session unused for this long is gone.")
    max_messages: int = Field(1000, ge=2, description="Messages in one session; more is 400.")
    max_bytes: int = Field(1_048_576, ge=1024, description="Bytes of messages in one session; more is 400.")
    max_per_user: int = Field(1000, ge=1, description="Sessions one user may have; more is 400.")
    busy_wait_seconds: float = Field(2.0, ge=0, description="How long a second message waits for the first to end.")
    max_waiting_per_tenant: int = Field(
        64,
        ge=0,
        description="Messages of a tenant that may wait for busy sessions, in one gateway; more: 409 at once.",
    )
    lease_seconds: Seconds = Field(30.0, description="A dead gateway's session is free again after this long.")
    keep_partial: bool = Field(
        True, description="Keep an answer that broke off or was stopped as far as it went, marked by its finish_reason."
    )
    trim: bool = Field(
        True, description="Leave out the oldest turns where a session no longer fits the model; else that is 400."
    )
    trim_to: float = Field(
        0.65,
        ge=0.1,
        le=0.95,
        description="Share of the room that a session fills after its oldest turns were left out.",
    )
    idempotency_seconds: int = Field(
        600, ge=1, description="How long an answer to a request with an Idempotency-Key is sent again."
    )
    idempotency_grace_seconds: float = Field(
        20.0, ge=0, description="How long such a request goes on after its client has left."
    )
    encryption_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys for what users say, 32 bytes each in base64: the first encrypts, all decrypt; empty: none.",
    )
