"""The settings of kept responses."""

from __future__ import annotations

from pydantic import Field

from config.fields import Group


class ResponsesSettings(Group):
    """What `/v1/responses` keeps."""

    store: bool = Field(True, description="Keep responses whose request does not say `store`.")
    ttl_seconds: int = Field(86_400, ge=1, description="A response unused for this long is gone.")
    max_turns: int = Field(500, ge=1, description="Responses in a row, by previous_response_id; more is 400.")
    max_bytes: int = Field(8_388_608, ge=1024, description="Bytes of such a row; more is 400.")
    max_bytes_per_user: int = Field(
        16_777_216, ge=1024, description="Bytes of a user's responses; those unused for longest make room for new ones."
    )
    max_redis_use: float = Field(
        0.75,
        gt=0,
        le=1,
        description="Above this share of Redis's maxmemory no response is kept.",
    )
