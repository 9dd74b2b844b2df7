"""The kinds of fields that settings are made of: how each is written in YAML and in an environment variable."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode


def _split_commas(value: Any) -> Any:
    """Let an environment variable give a list as `a,b`; YAML gives a real list."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _parse_mapping(value: Any) -> Any:
    """Let an environment variable or a flag give a mapping as JSON; YAML gives a real one."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except ValueError:
        raise ValueError("must be a mapping, written as JSON") from None


def parse_list(value: Any) -> Any:
    """Let an environment variable or a flag give a list of mappings as JSON; YAML gives a real one."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "[]")
    except ValueError:
        raise ValueError("must be a list, written as JSON") from None


Names = Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_mapping)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Group(BaseModel):
    """Settings that belong together: frozen, and without room for a name that is not in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
